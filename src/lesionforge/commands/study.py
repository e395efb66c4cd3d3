"""The stages of a study, each a function of its configuration that reads and writes its folder."""

import logging
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from lesionforge.errors import ConfigError, DataError
from lesionforge.preprocessing.config import PrepareConfig
from lesionforge.provenance import read_json, write_json
from lesionforge.study.config import CHANNELS, Study, check_name
from lesionforge.study.records import clock, recorded

logger = logging.getLogger(__name__)


def check_data(
    bids: str,
    channels: tuple[str, ...] = CHANNELS,
    exclude: tuple[str, ...] = (),
    without_mask: Literal["refuse", "unlabelled", "control"] = "refuse",
) -> None:
    """Look a BIDS-like folder through: layout, tables and headers. Nothing is written.

    Lists every problem of every subject with what to do, what would be used, and every file, column
    and folder that would not be, with the reason. The exit status is 2 if a subject cannot be used.
    `lesionforge prepare --check --config X` does the same as a study would.

    Args:
        bids: folder of the data set.
        channels: BIDS suffixes of the images, the reference first.
        exclude: participant ids that are left out on purpose.
        without_mask: what a subject is of which no mask and no `group` is known.
    """
    _check([Path(bids)], channels, PrepareConfig(exclude=exclude, without_mask=without_mask))


def _check(roots: list[Path], channels: tuple[str, ...], config: PrepareConfig) -> None:
    from lesionforge.preprocessing.checks import check_raw

    found = check_raw(roots, channels, config)
    sys.stdout.write(f"{found}\n")
    if found.unusable:
        raise DataError(
            f"{len(found.unusable)} subject(s) of {', '.join(map(str, roots))} cannot be used (see "
            "above). Fix them, or exclude them: --exclude '[ID, ...]' here, "
            "`cohort.prepare.exclude` in a study."
        )


def run(study: Study) -> None:
    """Run all stages of a study, and go on where it stopped.

    Prepares the cohort, trains the generators, makes the synthetic sets, trains the detectors and
    compares the regimes. What is finished is kept, what was stopped is resumed. Ends with the time
    of each stage.

    Args:
        study: the study.
    """
    if study.detector.devices * study.detector.num_nodes > 1:
        raise ConfigError(
            "`run` trains on one device. With more `detector.devices` or `num_nodes` run the "
            "stages one by one, or the Snakefile."
        )
    stages: dict[str, Callable[[Study], Any]] = {"prepare": prepare}
    if study.synthetic_used:
        if study.generator_used:
            stages["train-generator"] = train_generator
        stages["synthesize"] = synthesize
    stages |= {"train-detector": train_detector, "compare": compare}
    times = {}
    for name, stage in stages.items():
        start = time.monotonic()
        stage(study)
        times[name] = time.monotonic() - start
    for name, seconds in {**times, "all stages": sum(times.values())}.items():
        logger.info("%-15s %s", name, clock(seconds))


def prepare(study: Study, check: bool = False, subject: str | None = None) -> None:
    """Make the cohort: phantoms or a BIDS-like folder, on one grid, with splits.

    Args:
        study: the study.
        check: look the data set through and write nothing, see `lesionforge check`.
        subject: prepare this subject alone, without tables and splits (one job a subject on a
            cluster; then run it without, and all are kept).
    """
    if study.cohort.bids is None and (check or subject):
        raise ConfigError("Phantoms are made together. Name a data set with --cohort.bids DIR.")
    if check:
        _check(study.cohort.roots, study.channels, study.cohort.prepare)
    elif subject:
        from lesionforge.preprocessing.prepare import prepare_one

        cohort = study.cohort
        given = (study.cohort_root, cohort.prepare, study.channels, subject, cohort.labels)
        with recorded(study, f"prepare_{subject}"):
            prepare_one(cohort.roots, *given)
    else:
        with recorded(study, "prepare"):
            _prepare_all(study)


def _prepare_all(study: Study) -> None:
    """Prepare every subject, measure what may mislead a study, and assign the roles."""
    from lesionforge.phantoms.cohort import sample_cohort, write_phantoms
    from lesionforge.preprocessing.prepare import prepare_cohort

    roots = study.cohort.roots or [study.root / "raw"]
    if study.cohort.bids is None:
        phantoms, workers = sample_cohort(study.cohort.phantom), study.cohort.prepare.workers
        write_phantoms(phantoms, roots[0], study.root / "truth", workers)
    try:
        given = (study.cohort.prepare, study.channels, study.cohort.labels)
        prepare_cohort(roots, study.cohort_root, *given)
    finally:  # those that could be prepared, and why others could not
        _judge_cohort(study.cohort_root)
    _assign_roles(study)


def _judge_cohort(cohort: Path) -> None:
    """Measure what may mislead a study of this cohort, and draw its quality page."""
    from lesionforge.data.cohort import read_channels, read_people
    from lesionforge.preprocessing.confounding import measure_confounding
    from lesionforge.report.pages import quality as quality_page

    if not (cohort / "problems.tsv").exists():
        return  # preparation stopped before any subject
    found = measure_confounding(read_people(cohort), read_channels(cohort))
    write_json(cohort / "confounding.json", found.to_json())
    logger.log(logging.WARNING if found.is_high else logging.INFO, "%s", found)
    logger.info("Look at %s", quality_page.write_quality_page(cohort))


def _assign_roles(study: Study) -> None:
    """Write `splits.tsv`, or one a fold."""
    from lesionforge.data import splits
    from lesionforge.data.cohort import read_people

    people, seeds = read_people(study.cohort_root), list(study.seeds)
    if study.folds:
        drawn = splits.assign_folds(people, study.splits, seeds, study.folds)
    else:
        drawn = [splits.assign_splits(people, study.splits, seeds)]
    for fold, table in zip(study.fold_numbers, drawn, strict=True):
        splits.write_splits(study.splits_path(fold), table)


def train_generator(study: Study, seed: int | None = None, fold: int | None = None) -> None:
    """Train the SPADE generator on the baseline's training subjects, and on nobody else.

    Args:
        study: the study.
        seed: only this seed (default: all of the study's).
        fold: only this fold (default: all, with --folds).
    """
    from lesionforge.study import runs
    from lesionforge.synthesis.spade import training

    for one_seed, one_fold in study.seeds_and_folds(seed, fold):
        with recorded(study, runs.run_name("train_generator", one_seed, one_fold)):
            training.train_generator(
                runs.baseline_subjects(study, one_seed, one_fold),
                study.generator_root(one_seed, one_fold),
                study.generator,
                one_seed,
            )


def synthesize(
    study: Study,
    set: str | None = None,
    n: int | None = None,
    n_controls: int | None = None,
    seed: int | None = None,
    fold: int | None = None,
    inspect: float = 0.0,
) -> None:
    """Make synthetic patients (mask first, image second) and synthetic controls.

    With --inspect 0.1 a tenth of them, patients and controls, goes to the page `inspect.html` of
    the set, on which a person accepts or rejects each; `inspect-synthetic` records what was said.

    Args:
        study: the study.
        set: name of the synthetic set (default: every set that a regime of the study uses).
        n: synthetic patients (default: what the largest ratio of the study's regimes asks for, and
            as many more as a person has rejected).
        n_controls: synthetic controls (default: as many as --n; without it what the largest ratio
            asks for, and as many more as a person has rejected).
        seed: only this seed (default: all of the study's).
        fold: only this fold (default: all, with --folds).
        inspect: share of the set that a person looks at; 0 writes no page.
    """
    if set is not None and set not in study.synthetic:
        raise ConfigError(f"`set` must be one of {', '.join(study.synthetic)}, got {set}.")
    if not 0 <= inspect <= 1:
        raise ConfigError(f"`inspect` must be a share between 0 and 1, got {inspect:g}.")
    names = study.synthetic_used if set is None else (set,)
    if not names:
        raise ConfigError("No regime of this study uses a synthetic set. Name one with --set.")

    from lesionforge.study.runs import run_name

    for one_seed, one_fold in study.seeds_and_folds(seed, fold):
        for name in names:
            with recorded(study, run_name(f"synthesize_{name}", one_seed, one_fold)):
                _synthesize_set(study, name, (n, n_controls), one_seed, one_fold)
                if inspect:
                    _ask_a_person(study, name, one_seed, one_fold, inspect)


def _synthesize_set(
    study: Study,
    name: str,
    asked: tuple[int | None, int | None],
    seed: int,
    fold: int | None,
) -> None:
    """Make one set of one run, of as many patients and controls as were `asked` for."""
    from lesionforge.study import runs
    from lesionforge.synthesis import pipeline

    patients, controls = runs.synthetic_counts(study, name, seed, fold)
    if asked[0] is not None:
        patients = controls = asked[0]
    pipeline.synthesize(
        runs.baseline_subjects(study, seed, fold),
        study.generator_root(seed, fold),
        study.synthetic_root(name, seed, fold),
        study.synthetic[name],
        study.masks,
        n=patients,
        n_controls=controls if asked[1] is None else asked[1],
        seed=seed,
    )


def _ask_a_person(study: Study, set: str, seed: int, fold: int | None, share: float) -> None:
    """Write the page of a set that a person looks at, and say what to do with it."""
    from lesionforge.report.pages import review

    root = study.synthetic_root(set, seed, fold)
    name = f"{set}, seed {seed}" + ("" if fold is None else f", fold {fold}")
    page, asked = review.write_inspection_page(root, share, seed, name)
    which = f"--set {set} --seed {seed}" + ("" if fold is None else f" --fold {fold}")
    logger.info("%d subjects to look at in %s", asked, page)
    logger.info("Then: lesionforge inspect-synthetic FILE %s --by NAME", which)


def train_detector(
    study: Study, regime: str | None = None, seed: int | None = None, fold: int | None = None
) -> None:
    """Train the detector of a regime and predict the validation and test subjects.

    Args:
        study: the study.
        regime: baseline, augmented, expanded or another of the study's regimes (default: all that
            the cohort has enough patients for).
        seed: only this seed (default: all of the study's).
        fold: only this fold (default: all, with --folds).
    """
    if regime is not None:
        study.check_regime(regime)
    pairs = list(study.seeds_and_folds(seed, fold))
    names = tuple(study.regimes) if regime is None else (regime,)
    if study.detector.devices * study.detector.num_nodes > 1 and len(pairs) * len(names) > 1:
        raise ConfigError(
            "With more than one device each cell is a run of its own: name its --regime and --seed"
            + (" and --fold." if study.folds else ".")
        )

    from lesionforge.study import runs

    for one_seed, one_fold in pairs:
        for name in names:
            why_not = runs.shortage(study, name, one_fold)
            if why_not and regime is None:
                logger.warning("Regime %s is left out: %s", name, why_not)
                continue
            with recorded(study, runs.run_name(f"train_detector_{name}", one_seed, one_fold)):
                _train_run(study, name, one_seed, one_fold)


def _train_run(study: Study, regime: str, seed: int, fold: int | None) -> None:
    from lesionforge.detection import inference, training
    from lesionforge.study import runs

    people = runs.run_subjects(study, regime, seed, fold)
    folder = study.detector_root(regime, seed, fold)
    training.train_detector(people.training, folder, study.detector, seed)
    inference.predict_subjects(folder, people.held_out, people.roles, study.rules)


def compare(study: Study, model: str = "detector") -> Path:
    """Compare the regimes that have been trained and write the report; nothing is retrained.

    Args:
        study: the study.
        model: whose predictions: `detector`, or what `import-predictions` was given (its report is
            in `report-<model>`).
    """
    check_name("model", model)
    with recorded(study, "compare"):
        page = _write_report(study, model)
    from lesionforge.report.tables import text_table

    sys.stdout.write(text_table(read_json(study.report_root(model) / "metrics.json")) + "\n")
    sys.stdout.write(f"Report: {page}\n")
    return page


def _write_report(study: Study, model: str) -> Path:
    """Compute the metrics of a model's finished runs, and write tables, figures and pages."""
    from lesionforge.report import results
    from lesionforge.report.pages.report import write_report
    from lesionforge.study import runs
    from lesionforge.synthetic_qc.visual_review import accepted

    finished, missing = runs.finished_runs(study, model)
    audits, outdated = _audits(study)
    notes = runs.why_missing(study, missing)
    confounding = study.cohort_root / "confounding.json"
    if confounding.exists() and read_json(confounding)["is_high"]:
        notes.append(read_json(confounding)["text"])
    notes += runs.outdated(study, finished)
    notes += runs.labelled_by_model(study, finished)
    notes += runs.changed_tests(study)
    notes += outdated
    for note in notes:
        logger.warning("%s", note)
    metrics = results.compute_metrics(
        study.name, study.sha256, study.data, finished, study.rules, study.evaluation, notes
    )
    first = {
        name: study.synthetic_root(name, study.seeds[0], study.fold_numbers[0])
        for name in study.synthetic
    }
    return write_report(
        metrics,
        finished,
        runs.real_subjects(study),
        {n: accepted(root) for n, root in first.items() if (root / "participants.tsv").exists()},
        audits,
        study.report_root(model),
        (study.rules, study.evaluation),
    )


def _audits(study: Study) -> tuple[list[dict[str, Any]], list[str]]:
    """Read the audits of the synthetic sets, and name those of another state of their set."""
    from lesionforge.synthetic_qc.visual_review import is_of_now

    audits, outdated = [], []
    for name in study.synthetic:
        for seed in study.seeds:
            root = study.synthetic_root(name, seed, study.fold_numbers[0])
            if not (root / "audit.json").exists():
                continue
            audits.append(read_json(root / "audit.json"))
            if not is_of_now(audits[-1], root):
                outdated.append(
                    f"The audit of `{name}`, seed {seed}, is of another state of the set. Run "
                    f"`lesionforge audit-synthetic --set {name} --seed {seed}` again."
                )
    return audits, outdated
