"""The runs of a study on disk: their training and held-out subjects, and which are finished."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass

import pandas as pd

from lesionforge.data import cohort, splits
from lesionforge.data.config import ORIGINAL
from lesionforge.data.labels import drawn_by_model, read_joined, read_labelled
from lesionforge.data.late_labels import with_joined
from lesionforge.data.subject import Subject
from lesionforge.errors import ConfigError, DataError, LineageError, named
from lesionforge.label_qc import decisions
from lesionforge.provenance import read_json
from lesionforge.report.runs import Run
from lesionforge.study.config import Study
from lesionforge.study.regimes import Regime
from lesionforge.study.training_set import training_subjects
from lesionforge.synthesis.verification import read_synthetic
from lesionforge.synthetic_qc import visual_review


@dataclass(frozen=True)
class RunSubjects:
    """The subjects of one (regime, seed, fold).

    Attributes:
        training: real and synthetic, checked for leaks.
        held_out: validation and test subjects.
        roles: participant id to role, of all real subjects.
    """

    training: list[Subject]
    held_out: list[Subject]
    roles: dict[str, str]


def run_subjects(study: Study, regime: str, seed: int, fold: int | None) -> RunSubjects:
    """Read the subjects of a cell; a synthetic set is verified first.

    Synthetic subjects that a person has rejected do not train.

    Raises:
        ConfigError: the study has no such regime, or too few subjects for it.
        LineageError: a subject who must not stands behind a training volume.
    """
    study.check_regime(regime)
    real = [s for s in read_labelled(study.cohort_root, study.labels) if s.has_label]
    table = read_splits(study, fold)
    chosen = study.regimes[regime]
    synthetic: list[Subject] = []
    rejected: list[str] = []
    if chosen.synthetic is not None:
        root = study.synthetic_root(chosen.synthetic, seed, fold)
        synthetic = read_synthetic(root)
        rejected = visual_review.rejected(root)
    training = training_subjects(
        chosen, study.regimes["baseline"], table, seed, real, synthetic, rejected
    )
    roles = dict(zip(table["participant_id"], table["role"], strict=True))
    strangers = sorted(s.id for s in real if s.id not in roles)
    if strangers:
        raise LineageError(
            f"{study.splits_path(fold)} gives no role to {named(strangers)}, who joined the cohort "
            "after it was drawn. Leave them out (`cohort.prepare.exclude`), or give the study "
            "another name and prepare it anew."
        )
    held_out = [s for s in real if roles[s.id] in ("validation", "test")]
    return RunSubjects(training, held_out, roles)


def trained_subjects(study: Study, run: Run, ids: Collection[str]) -> list[Subject]:
    """Read who trained a finished cell: also those whom a person has rejected since.

    Args:
        study: the study.
        run: the cell.
        ids: of its training subjects.

    Raises:
        LineageError: somebody is no longer there.
    """
    people = read_labelled(study.cohort_root, study.labels)
    if run.source:
        people += read_synthetic(study.synthetic_root(run.source, run.seed, run.fold))
    known = {s.id: s for s in people}
    gone = sorted(set(ids) - known.keys())
    if gone:
        raise LineageError(f"{run.name} was trained on {named(gone)}, who are not there any more.")
    return [known[name] for name in ids]


def real_subjects(study: Study) -> list[Subject]:
    """Read those of the prepared cohort who have a label in the study's label set."""
    return [s for s in read_labelled(study.cohort_root, study.labels) if s.has_label]


def unlabelled_people(study: Study) -> list[Subject]:
    """Read the patients who have no label in the study's set, and wait for one.

    Who was decided on waits for `apply-decisions`, unless the label was only taken back.
    """
    people = read_labelled(study.cohort_root, study.labels)
    verdicts = decisions.last_verdicts(study.cohort_root)
    waits = (None, "withdraw")
    return [s for s in people if not s.has_label and verdicts.get(s.id) in waits]


def read_splits(study: Study, fold: int | None) -> pd.DataFrame:
    """Read a table of roles, with those behind it who joined in the study's label set."""
    table = splits.read_splits(study.splits_path(fold))
    joined = read_joined(study.cohort_root, study.labels)
    if not joined:
        return table
    return with_joined(table, joined, cohort.read_people(study.cohort_root), study.splits)


def run_name(what: str, seed: int, fold: int | None) -> str:
    """Return the name of something that belongs to one seed and fold."""
    return f"{what}_seed-{seed}" + ("" if fold is None else f"_fold-{fold}")


def finished_runs(study: Study, model: str) -> tuple[list[Run], list[tuple[str, int, int | None]]]:
    """Return the cells that have been evaluated, and regime, seed and fold of those that have not.

    Raises:
        DataError: there is none.
    """
    runs, missing = [], []
    for name, regime in study.regimes.items():
        for seed, fold in study.seeds_and_folds(None, None):
            folder = study.detector_root(name, seed, fold, model)
            if not (folder / "subjects.tsv").exists():
                missing.append((name, seed, fold))
                continue
            counts = (regime.patients, regime.controls) if regime.real else (0, 0)
            made = (regime.synthetic_count("patient"), regime.synthetic_count("control"))
            by_model = len(model_labels(study, name, seed, fold))
            labels = _patients_behind(study, regime) - by_model
            source = regime.synthetic or ""
            mode = study.synthetic[source].mode if source else ""
            numbers = (*counts, *made, labels)
            kind = (source, mode, by_model, study.folds)
            runs.append(Run(name, seed, fold, folder, *numbers, *kind))
    if not runs:
        if model == "detector":
            raise DataError(f"{study.root} has no trained detector. Run train_detector first.")
        raise DataError(f"{study.root} has no cell of `{model}`. Run import-predictions first.")
    return runs, missing


def model_labels(study: Study, regime: str, seed: int, fold: int | None) -> list[str]:
    """Return the ids of the patients behind a cell's training whose masks a model drew."""
    drawn = drawn_by_model(study.cohort_root, study.labels)
    if not drawn:
        return []
    n = _patients_behind(study, study.regimes[regime])
    order = splits.first_in_order(read_splits(study, fold), "patient", n, seed)
    return sorted(drawn & set(order))


def _patients_behind(study: Study, regime: Regime) -> int:
    """Count the real patients behind a regime: its own, or the baseline's behind its set."""
    augmented = any(regime.synthetic_count(group) for group in ("patient", "control"))
    behind = study.regimes["baseline"].patients if augmented else 0
    return max(regime.patients if regime.real else 0, behind)


def labelled_by_model(study: Study, runs: list[Run]) -> list[str]:
    """Say which cells were trained with masks that a model drew."""
    found = [f"{run.name}: {run.n_model_labels}" for run in runs if run.n_model_labels]
    if not found:
        return []
    return [
        f"The label set `{study.labels}` holds masks that a model drew and nobody outlined. They "
        f"train as other masks do and are not counted as labels ({'; '.join(found)})."
    ]


def synthetic_counts(study: Study, name: str, seed: int, fold: int | None) -> tuple[int, int]:
    """Return how many synthetic patients and controls a set must have for the largest ratio.

    Those that a person has rejected are made up for.
    """
    bad = visual_review.count_rejected(study.synthetic_root(name, seed, fold))
    patients, controls = (study.synthetic_count(name, g) + bad[g] for g in ("patient", "control"))
    return patients, controls


def outdated(study: Study, runs: list[Run]) -> list[str]:
    """Say which cells were trained on synthetic subjects that a person has rejected since."""
    notes = []
    for run in runs:
        name, lineage = study.regimes[run.regime].synthetic, run.folder / "lineage.json"
        if name is None or not lineage.exists():
            continue
        bad = visual_review.rejected(study.synthetic_root(name, run.seed, run.fold))
        trained = sorted(set(bad) & set(read_json(lineage)["training"]))
        if trained:
            notes.append(
                f"{run_name(run.regime, run.seed, run.fold)} was trained on synthetic subjects "
                f"that a person has rejected since ({', '.join(trained[:10])}). Delete its folder "
                "and train it again."
            )
    return notes


def changed_tests(study: Study) -> list[str]:
    """Say which test labels of the study's label set differ from those that preparation found."""
    if study.labels == ORIGINAL or not (study.cohort_root / "participants.tsv").exists():
        return []
    first = {s.id: (s.group, s.lesion_file) for s in read_labelled(study.cohort_root)}
    tables = [read_splits(study, fold) for fold in study.fold_numbers]
    tests = {name for table in tables for name in splits.members(table, "test")}
    people = read_labelled(study.cohort_root, study.labels)
    changed = [s.id for s in people if s.id in tests and (s.group, s.lesion_file) != first[s.id]]
    if not changed:
        return []
    return [
        f"The label set `{study.labels}` gives {len(changed)} test subject(s) other labels than "
        f"preparation found ({named(changed)}). Labels that were looked at because a detector "
        "contradicted them favour that detector: compare with `original` too."
    ]


def why_missing(study: Study, missing: Iterable[tuple[str, int, int | None]]) -> list[str]:
    """Say why cells (regime, seed, fold) are not in a report, a line for each reason."""
    found: dict[str, dict[str, list[str]]] = {}
    for regime, seed, fold in missing:
        where = f"seed {seed}" + ("" if fold is None else f" fold {fold}")
        why = shortage(study, regime, fold) or "Not trained yet."
        found.setdefault(why, {}).setdefault(regime, []).append(where)
    lines = []
    for why, runs in found.items():
        which = "; ".join(f"{regime} ({', '.join(where)})" for regime, where in runs.items())
        lines.append(f"Not in this report: {which}. {why}")
    return lines


def shortage(study: Study, regime: str, fold: int | None) -> str | None:
    """Say why a cohort is too small for a regime, or None if it is not."""
    if not study.splits_path(fold).exists():
        return None
    table, asked = read_splits(study, fold), study.regimes[regime]
    if not asked.real:
        asked = study.regimes["baseline"]  # what its synthetic subjects are made of
    try:
        splits.first_in_order(table, "patient", asked.patients, study.seeds[0])
        splits.first_in_order(table, "control", asked.controls, study.seeds[0])
    except ConfigError as error:
        return str(error)
    return None


def baseline_subjects(study: Study, seed: int, fold: int | None) -> list[Subject]:
    """Read the real training subjects of the baseline: all that a generator may learn from."""
    real = read_labelled(study.cohort_root, study.labels)
    table = read_splits(study, fold)
    baseline = study.regimes["baseline"]
    return training_subjects(baseline, baseline, table, seed, real, [])


def fresh_subjects(
    study: Study, behind: Iterable[Subject], roles: Iterable[str], fold: int | None
) -> list[Subject]:
    """Read the real subjects of some roles who are not among those `behind` a generator."""
    table = read_splits(study, fold)
    fresh = {i for role in roles for i in splits.members(table, role)} - {s.id for s in behind}
    return [s for s in real_subjects(study) if s.id in fresh]
