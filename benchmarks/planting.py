"""What the studies of planted label errors share: the errors, the lists, the trainings.

A planting is one of the study's seeds. It draws who of the training subjects is labelled (the
baseline's subjects in the seed's order), whose labels become wrong, the folds and every detector.
The truth about a label is read in two places only: by the simulated expert who is sent to it, and
when the figures are made. Test subjects are read when the figures are made.
"""

from collections.abc import Collection
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd

from lesionforge.data import cohort, splits
from lesionforge.data.labels import (
    ORIGINAL,
    Label,
    label_sets,
    read_labelled,
    set_path,
    write_label_set,
)
from lesionforge.data.subject import Subject, read_lesion
from lesionforge.data.volume import read_volume
from lesionforge.detection.inference import predict_subjects
from lesionforge.detection.training import train_detector
from lesionforge.errors import ConfigError, DataError
from lesionforge.label_qc.corruption import CorruptConfig, corrupt_labels, kinds_table
from lesionforge.label_qc.evidence import Evidence, read_evidence
from lesionforge.label_qc.risk import LabelAuditConfig, audit_labels
from lesionforge.provenance import read_json, read_tsv, sha256, sha256_json, write_json, write_tsv
from lesionforge.report.runs import Run
from lesionforge.study.config import Study

LOOKED_AT = 0.2
FOLDS = 3


def plantings(study: Study, wanted: int | None) -> tuple[int, ...]:
    """Return the seeds of the first `wanted` plantings; None: of all.

    Raises:
        ConfigError: the study has fewer seeds, counts other labels than the original ones, or has
            folds.
    """
    if study.labels != ORIGINAL or study.folds:
        raise ConfigError("A study of planted errors has its own labels and folds: set neither.")
    if wanted is not None and not 0 < wanted <= len(study.seeds):
        raise ConfigError(
            f"{wanted} plantings were asked for, the study has {len(study.seeds)} seeds: lower the "
            "number, or give the study more `seeds` and another name."
        )
    return study.seeds[:wanted]


def check_made_with(folder: Path, facts: dict[str, Any]) -> None:
    """Write down what a folder is made with.

    Raises:
        DataError: it was begun with something else.
    """
    path, digest = folder / "made_with.json", sha256_json(facts)
    if path.exists() and read_json(path)["sha256"] != digest:
        raise DataError(
            f"{folder} was made with other settings or labels. Give the study another name, or "
            "delete the study's folder."
        )
    write_json(path, {"sha256": digest, **facts})


def settings(study: Study) -> dict[str, Any]:
    """Return what every trained detector of a study depends on; `workers` change nothing."""
    detector = {k: v for k, v in asdict(study.detector).items() if k != "workers"}
    return {"detector": detector, "rules": asdict(study.rules)}


def right_labels(study: Study) -> dict[str, Subject]:
    """Return every subject with its right label, by id."""
    return {s.id: s for s in read_labelled(study.cohort_root)}


def labelled(study: Study, seed: int) -> list[str]:
    """Return the ids of a planting's labelled training subjects: the baseline's in its order."""
    table, baseline = splits.read_splits(study.splits_path(None)), study.regimes["baseline"]
    patients = splits.first_in_order(table, "patient", baseline.patients, seed)
    return patients + splits.first_in_order(table, "control", baseline.controls, seed)


def unlabelled_patients(study: Study, seed: int) -> list[str]:
    """Return the ids of the training patients whose labels a planting does not know."""
    table, known = splits.read_splits(study.splits_path(None)), set(labelled(study, seed))
    pool = table[(table["role"] == "train") & (table["group"] == "patient")]
    return [name for name in pool["participant_id"] if name not in known]


def with_role(study: Study, role: str) -> list[Subject]:
    """Return the subjects of a role (`validation` or `test`) with their right labels."""
    names = splits.members(splits.read_splits(study.splits_path(None)), role)
    right = right_labels(study)
    return [right[name] for name in names]


def plant(study: Study, seed: int) -> tuple[str, pd.DataFrame]:
    """Plant the errors of `seed` in the labelled subjects; return the label set and the truth."""
    name = f"planted{seed}"
    path = study.root / "truth" / "labels" / f"{name}.tsv"
    if name not in label_sets(study.cohort_root):
        right = right_labels(study)
        pool = [right[i] for i in labelled(study, seed)]
        labels, kinds = corrupt_labels(pool, CorruptConfig(), seed)
        write_tsv(path, kinds_table(kinds))
        write_label_set(study.cohort_root, name, ORIGINAL, labels)
    return name, read_tsv(path, participant_id=str, kind=str)


def cross_fit(
    study: Study, subjects: list[Subject], folds: int, seed: int, folder: Path
) -> dict[str, Path]:
    """Train a detector a fold on the others; return each subject's out-of-fold probability map.

    The folds are balanced by the labels that are given, right or wrong. Validation subjects are
    predicted too: they tell what a label is worth (`next_cases_study.py`).
    """
    given = {s.id: s.group for s in subjects}
    people = cohort.read_people(study.cohort_root)
    people = people[people["participant_id"].isin(given)]
    people = people.assign(group=people["participant_id"].map(given))
    rule = splits.SplitConfig(validation_patients=1, validation_controls=1, seed=seed)
    validation = with_role(study, "validation")
    maps = {}
    for fold, table in enumerate(splits.assign_folds(people, rule, [seed], folds)):
        tests = set(splits.members(table, "test"))
        run = folder / f"fold-{fold}"
        if not (run / "subjects.tsv").exists():
            train_detector([s for s in subjects if s.id not in tests], run, study.detector, seed)
            held_out = [s for s in subjects if s.id in tests]
            roles = {s.id: "validation" for s in validation} | dict.fromkeys(tests, "test")
            predict_subjects(run, held_out + validation, roles, study.rules)
        maps |= {n: run / "probability" / f"{n}_probability.nii.gz" for n in tests}
    return maps


def planting_root(study: Study, seed: int) -> Path:
    """Return the folder of a planting's cross-fitted detectors and list."""
    return study.root / "label-audit" / f"planting-{seed}"


def rank_labels(study: Study, seed: int, folds: int) -> pd.DataFrame:
    """Audit the labels of one planting; return its list with the truth (`truth`, for figures)."""
    name, truth = plant(study, seed)
    folder, config = planting_root(study, seed), LabelAuditConfig(seed=seed)
    set_file = set_path(study.cohort_root, name)
    facts = {"folds": folds, "audit": asdict(config), "labels": sha256(set_file)}
    check_made_with(folder, {**facts, **settings(study)})
    path = folder / "ranking.tsv"
    if not path.exists():
        by_id = {s.id: s for s in read_labelled(study.cohort_root, name)}
        given = [by_id[i] for i in labelled(study, seed)]
        maps = cross_fit(study, given, folds, seed, folder)

        def read(subject: Subject) -> Evidence:
            return read_evidence(subject, read_volume(maps[subject.id]).data, study.rules)

        table = audit_labels(given, read, config)
        kinds = truth.set_index("participant_id")["kind"]
        table["truth"] = table["participant_id"].map(kinds).fillna("right")
        write_tsv(path, table)
    table = read_tsv(path, participant_id=str, risk=float, reasons=str, truth=str)
    return table.assign(reasons=table["reasons"].fillna(""))


def first_fifth(ranking: pd.DataFrame) -> pd.DataFrame:
    """Return the part of a list that is looked at."""
    return ranking.head(round(LOOKED_AT * len(ranking)))


def right_label(subject: Subject, reason: str) -> Label:
    """Return what an expert who does not err says of a subject with its right label."""
    mask = read_lesion(subject) if subject.group == "patient" else None
    return Label(mask, "human", "simulated expert", reason)


def correct(study: Study, seed: int, ranking: pd.DataFrame) -> str:
    """Make the label set in which the first fifth of the list has been looked at and put right."""
    name = f"corrected{seed}"
    if name not in label_sets(study.cohort_root):
        right, seen = right_labels(study), first_fifth(ranking)
        wrong = seen.loc[seen["truth"] != "right", "participant_id"]
        labels = {i: right_label(right[i], "re-inspected") for i in wrong}
        write_label_set(study.cohort_root, name, f"planted{seed}", labels)
    return name


def train_arm(study: Study, entry: str, seed: int, labels: str, more: Collection[str] = ()) -> Run:
    """Train on a planting's labelled subjects and `more`, try on right labels; done once.

    Args:
        study: the study.
        entry: name of the cell's folder.
        seed: of the planting.
        labels: the label set that is trained on.
        more: ids of further training subjects.

    Returns:
        The cell, with patients and controls as the labels say, right or wrong.
    """
    names = [*labelled(study, seed), *sorted(more)]
    given = {s.id: s for s in read_labelled(study.cohort_root, labels)}
    folder = study.root / "label-audit" / entry / f"seed-{seed}"
    set_file = None if labels == ORIGINAL else sha256(set_path(study.cohort_root, labels))
    facts = {"labels": labels, "set": set_file, "training": names}
    check_made_with(folder, {**facts, **settings(study)})
    if not (folder / "subjects.tsv").exists():
        train_detector([given[i] for i in names], folder, study.detector, seed)
        held_out = [*with_role(study, "validation"), *with_role(study, "test")]
        roles = splits.read_splits(study.splits_path(None)).set_index("participant_id")["role"]
        predict_subjects(folder, held_out, roles.to_dict(), study.rules)
    ill = sum(given[i].group == "patient" for i in names)
    return Run(entry, seed, None, folder, ill, len(names) - ill)


def spent(runs: Collection[Path]) -> dict[str, Any]:
    """Say what trainings have cost: their number, steps each, and hours."""
    records = [read_json(folder / "detector.json") for folder in runs]
    return {
        "trainings": len(records),
        "steps_each": sorted({r["config"]["steps"] for r in records}),
        "hours": sum(r["seconds"] for r in records) / 3600,
    }
