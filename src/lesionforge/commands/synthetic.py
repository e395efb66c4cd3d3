"""Stages that vet a synthetic set: by figures beside real data, and by a person's eyes."""

import logging
import secrets
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from lesionforge.data import cohort
from lesionforge.data.subject import Subject, read_lesion
from lesionforge.data.volume import Volume, read_volume
from lesionforge.detection.inference import load_detector
from lesionforge.errors import ConfigError, DataError
from lesionforge.metrics.outcomes import outcome
from lesionforge.provenance import read_json, write_json, write_tsv
from lesionforge.report.pages import false_positives as trace_page
from lesionforge.report.pages import reading as reading_page
from lesionforge.report.pages import synthetic as synthetic_page
from lesionforge.report.results import jsonable, score_threshold
from lesionforge.report.runs import Run, read_run
from lesionforge.study import runs as study_runs
from lesionforge.study.config import Study
from lesionforge.study.records import recorded
from lesionforge.synthetic_qc import false_positives, reader_study, visual_review
from lesionforge.synthetic_qc.audit import judge
from lesionforge.synthetic_qc.audit_data import new_lesions, read_audit_data
from lesionforge.synthetic_qc.config import SyntheticAuditConfig
from lesionforge.synthetic_qc.finding import Finding
from lesionforge.synthetic_qc.memorization import likest
from lesionforge.synthetic_qc.visibility import NAME, found_finding
from lesionforge.synthetic_qc.visual_review import accepted

logger = logging.getLogger(__name__)

# What an audit counts of the scene it judged.
COUNTED = ("patients", "controls", "fresh", "healthy", "trained", "hosts", "masks")


def audit_synthetic(
    study: Study,
    audit: SyntheticAuditConfig,
    set: str = "spade",
    regime: str = "baseline",
    seed: int | None = None,
    fold: int | None = None,
) -> None:
    """Audit a synthetic set: does it show what was asked, is it real enough, is it a copy?

    Compares what a person has not rejected of it with real subjects that do not stand behind it.
    Writes `audit.json`, `nearest.tsv` and `audit.html` into the set's folder; the report shows the
    same.

    Args:
        study: the study.
        audit: how it is judged.
        set: name of the synthetic set.
        regime: without synthetic data; its detector looks for the lesions, where it is trained.
        seed: only this seed (default: all of the study's).
        fold: only this fold (default: all, with --folds).
    """
    if set not in study.synthetic:
        raise ConfigError(f"`set` must be one of {', '.join(study.synthetic)}, got {set}.")
    study_runs.check_regime(study, regime)
    if study.regimes[regime].synthetic is not None:
        raise ConfigError(f"`regime` must be one without synthetic data, got {regime}.")
    for one_seed, one_fold in study.seeds_and_folds(seed, fold):
        with recorded(study, study_runs.run_name(f"audit_synthetic_{set}", one_seed, one_fold)):
            _audit_set(study, audit, (set, regime), (one_seed, one_fold))


def _audit_set(
    study: Study,
    config: SyntheticAuditConfig,
    names: tuple[str, str],
    run: tuple[int, int | None],
) -> None:
    name, regime = names
    root = study.synthetic_root(name, *run)
    behind = study_runs.baseline_subjects(study, *run)
    fresh = study_runs.fresh_subjects(study, behind, config.against, run[1])
    made = visual_review.accepted(root)
    audit_data = read_audit_data(made, behind, fresh, study.synthetic[name], config)
    findings, matches = judge(audit_data, config.seed)
    ill = [s for s in made if s.group == "patient"]
    place = new_lesions(behind, study.synthetic[name])
    findings.append(_found(study, regime, run, ill, place))
    audit: dict[str, Any] = {
        "schema": 1,
        "set": name,
        "seed": run[0],
        "against": list(config.against),
        "counts": {part: len(getattr(audit_data, part)) for part in COUNTED}
        | {"with_artifact": audit_data.with_artifact},
        "subjects": {s.id: visual_review.digest(s) for s in made},
        "findings": [finding.to_json() for finding in findings],
    }
    audit = jsonable(audit)
    cohort.write_bidsignore(root)  # the set may be older than what is listed there
    write_json(root / "audit.json", audit)
    write_tsv(root / "nearest.tsv", pd.DataFrame([asdict(m) for m in matches]))
    known = {s.id: s for s in [*behind, *made]}
    worst = likest(matches, config.pictures)
    page = synthetic_page.write_synthetic_page(root / "audit.html", audit, worst, known)
    logger.info("%s Look at %s", synthetic_page.headline(audit["findings"]), page)


def _found(
    study: Study,
    regime: str,
    where: tuple[int, int | None],
    patients: list[Subject],
    place: Callable[[Subject], np.ndarray],
) -> Finding:
    """Look for the synthetic lesions with a regime's detector, if it is trained."""
    folder = study.detector_root(regime, *where)
    if not (folder / "subjects.tsv").exists():
        why = f"regime {regime} is not trained yet"
        return Finding("conditioning", NAME, None, "higher", "", why=why)
    done = study_runs.finished_runs(study, "detector")[0]
    run = next(c for c in done if (c.regime, c.seed, c.fold) == (regime, *where))
    tables = read_run(run, study.rules)
    threshold = score_threshold(tables, study.rules, study.evaluation)
    members = tables.subjects[tables.subjects["role"] == "validation"]
    seen = outcome(tables.candidates, members, dict.fromkeys(members["participant_id"], threshold))
    usual = int(seen.detected.sum()), len(seen.patients)
    return found_finding(load_detector(folder), patients, study.rules, threshold, usual, place)


def trace_false_positives(
    study: Study,
    regime: str = "augmented",
    against: str = "baseline",
    role: Literal["validation", "test"] = "validation",
    seed: int | None = None,
    fold: int | None = None,
) -> None:
    """Trace a regime's new false positives to the training lesions most like them.

    Writes `false_positives.tsv` and `false_positives.html` beside the regime's tables.

    Args:
        study: the study.
        regime: with real and synthetic training patients.
        against: the regime whose false positives are no news.
        role: whose false positives; `test` is for a last report: a generator that was mended by it
            has made the test set a training set.
        seed: only this seed (default: all that both regimes have).
        fold: only this fold (default: all, with --folds).
    """
    wanted = list(study.seeds_and_folds(seed, fold))
    done = {(c.regime, c.seed, c.fold): c for c in study_runs.finished_runs(study, "detector")[0]}
    runs = [run for run in wanted if all((r, *run) in done for r in (regime, against))]
    if not runs:
        raise DataError(f"Train `{regime}` and `{against}` first; no seed has both.")
    for run in runs:
        with recorded(study, study_runs.run_name(f"trace_{regime}", *run)):
            _trace_run(study, done[regime, *run], done[against, *run], role)


def _trace_run(study: Study, run: Run, other: Run, role: str) -> None:
    both = [read_run(one, study.rules) for one in (run, other)]
    thresholds = [score_threshold(one, study.rules, study.evaluation) for one in both]
    members = both[0].ids(role)
    mine, theirs = (t.candidates[t.candidates["participant_id"].isin(members)] for t in both)
    false = false_positives.false_candidates(mine, theirs, (thresholds[0], thresholds[1]))
    training = study_runs.trained_subjects(study, run, both[0].training)
    place_of: Callable[[Subject], np.ndarray] = read_lesion
    if run.source:
        behind = study_runs.baseline_subjects(study, run.seed, run.fold)
        place_of = new_lesions(behind, study.synthetic[run.source])
    lesions = false_positives.read_training_lesions(training, place_of)
    held_out = [s for s in study_runs.real_subjects(study) if s.id in members]

    def read(name: str) -> Volume:
        return read_volume(run.probability(name))

    def place(name: str, number: int) -> np.ndarray:
        return false_positives.candidate_place(read(name), study.rules, number)

    found = false_positives.trace(false, held_out, read, study.rules, lesions)
    write_tsv(run.folder / "false_positives.tsv", found)
    summary = false_positives.summarise(found, lesions, len(false) - len(found))
    known = {s.id: s for s in [*training, *held_out]}
    page = trace_page.write_trace_page(
        run.folder / "false_positives.html",
        found,
        summary,
        known,
        place,
        (run.regime, other.regime, role),
    )
    logger.info("%s Look at %s", summary, page)


def inspect_synthetic(
    study: Study,
    saved: str,
    by: str,
    set: str = "spade",
    seed: int | None = None,
    fold: int | None = None,
) -> None:
    """Record what a person said on the page of `synthesize --inspect`; the rejected do not train.

    Verdicts are appended to `inspected.tsv` in the set's folder, and the last one counts. Then
    `synthesize` makes as many more as were rejected.

    Args:
        study: the study.
        saved: file that the page has saved.
        by: who has looked.
        set: name of the synthetic set.
        seed: of the set (needed where the study has several).
        fold: of the set (needed with --folds).
    """
    if set not in study.synthetic:
        raise ConfigError(f"`set` must be one of {', '.join(study.synthetic)}, got {set}.")
    runs = list(study.seeds_and_folds(seed, fold))
    if len(runs) > 1:
        raise ConfigError(
            f"The study has {len(runs)} sets `{set}`, verdicts belong to one: name its --seed"
            + (" and --fold." if study.folds else ".")
        )
    root = study.synthetic_root(set, *runs[0])
    subjects = cohort.read_cohort(root)
    written = visual_review.record_inspection(Path(saved), subjects, by)
    for row in written:
        if row.verdict == "reject":
            logger.info("%s is rejected: %s", row.participant_id, row.reason)
    logger.info("%d new verdicts in %s", len(written), root / visual_review.TABLE)
    logger.info("%s", visual_review.summary(root, subjects))


def reading_kit(
    study: Study,
    n: int = 14,
    set: str = "spade",
    seed: int = 0,
    out: str = "reading",
) -> Path:
    """Make a blinded reading of real against synthetic volumes: a page, a commitment, a sealed key.

    Send `reading.html` to readers, publish `commitment.json` before they begin, keep `key/`.

    Args:
        study: the study.
        n: real patients, and as many synthetic ones; T1w and FLAIR are read apart.
        set: name of the synthetic set (of the study's first seed and fold).
        seed: of choice and order.
        out: folder of the kit.
    """
    one_seed, one_fold = next(study.seeds_and_folds(None, None))
    made = accepted(study.synthetic_root(set, one_seed, one_fold))
    real = study_runs.real_subjects(study)
    cases = reader_study.sample_cases(real, made, n, seed)
    promised = reader_study.seal(cases, secrets.token_bytes(reader_study.SALT_BYTES), Path(out))
    known = {s.id: s for s in [*real, *made]}
    page = reading_page.write_reading_page(Path(out) / "reading.html", cases, known, promised)
    logger.info("%d volumes to read in %s; keep %s to yourself", len(cases), page, Path(out, "key"))
    return page


def score_reading(kit: str, readings: list[str]) -> None:
    """Score readings against a kit's key: accuracy, agreement, and what fooled each reader.

    Writes `scores.json` into the kit.

    Args:
        kit: folder that `reading-kit` made.
        readings: files that the page has saved, one a reader.
    """
    folder = Path(kit)
    cases = reader_study.open_key(folder)
    promised = read_json(folder / "commitment.json")["sha256"]
    found = [reader_study.read_reading(Path(path), cases, promised) for path in readings]
    scored = reader_study.score_readings(cases, found)
    write_json(folder / "scores.json", scored)
    sys.stdout.write(reader_study.reading_table(scored).to_string(index=False) + "\n")
    for pair in scored["agreement"]:
        kappa = "undefined" if pair["kappa"] is None else f"{pair['kappa']:.2f}"
        names = " and ".join(pair["readers"])
        sys.stdout.write(f"Kappa of {names}, {pair['contrast']}: {kappa}\n")
