"""Plant label errors, look for them, correct what was found, train again: is it worth the minutes?

    python benchmarks/label_audit.py --config configs/label_audit.yaml [--plantings 10]

Prepare the cohort first (scripts/prepare_cohort.py, same configuration). For each planting a fifth
of the training labels becomes wrong (missing, shifted, spurious in equal parts), detectors are
cross-fitted on the wrong labels, `audit_labels` ranks all labels, and the first fifth of the list
is looked at. For the first `--retrain` plantings three detectors are trained on all training
subjects, with the wrong labels, with those that were found corrected, and with the right ones, and
tested on subjects whose labels are right. Everything lies in the study's folder under
`label-audit/` and is kept; the same command goes on. Writes found.tsv, retrained.tsv, summary.json.
"""

import argparse
import logging
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

from lesionforge import arms
from lesionforge.audit.corrupt import CorruptConfig, corrupt_labels, kinds_table
from lesionforge.audit.label_risk import LabelAuditConfig, audit_labels
from lesionforge.audit.label_signals import Evidence, read_evidence
from lesionforge.cli import read_study, stage_parser
from lesionforge.cohort import bids, splits
from lesionforge.cohort.labels import Label, label_sets, read_labelled, write_label_set
from lesionforge.cohort.subject import Subject, read_lesion
from lesionforge.detector.predict import predict_subjects
from lesionforge.detector.train import train_detector
from lesionforge.evaluation.statistics import wilson
from lesionforge.provenance import read_tsv, write_json, write_tsv
from lesionforge.report.cells import Cell
from lesionforge.report.results import compute_metrics
from lesionforge.study import Study
from lesionforge.volume import read_volume

logger = logging.getLogger("label_audit")
LOOKED_AT = 0.2


def plant(study: Study, seed: int) -> tuple[str, pd.DataFrame]:
    """Plant the errors of `seed` in the training subjects; return the label set and the truth."""
    name = f"planted{seed}"
    path = study.root / "truth" / "labels" / f"{name}.tsv"
    if name not in label_sets(study.cohort_root):
        training = splits.members(splits.read_splits(study.splits_path(None)), "train")
        pool = [s for s in arms.real_subjects(study) if s.id in training]
        labels, kinds = corrupt_labels(pool, CorruptConfig(), seed)
        write_tsv(path, kinds_table(kinds))
        write_label_set(study.cohort_root, name, "original", labels)
    return name, read_tsv(path, participant_id=str, kind=str)


def cross_fit(
    study: Study, subjects: list[Subject], folds: int, seed: int, folder: Path
) -> dict[str, Path]:
    """Train a detector a fold on the others; return each subject's out-of-fold probability map."""
    people = bids.read_people(study.cohort_root)
    people = people[people["participant_id"].isin([s.id for s in subjects])]
    rule = splits.SplitConfig(validation_patients=1, validation_controls=1, seed=seed)
    maps = {}
    for fold, table in enumerate(splits.draw_folds(people, rule, [seed], folds)):
        tests = set(splits.members(table, "test"))
        cell = folder / f"fold-{fold}"
        train_detector([s for s in subjects if s.id not in tests], cell, study.detector, seed)
        held_out = [s for s in subjects if s.id in tests]
        predict_subjects(cell, held_out, {s.id: "test" for s in held_out}, study.rules)
        maps |= {n: cell / "probability" / f"{n}_probability.nii.gz" for n in tests}
    return maps


def audit(study: Study, seed: int, folds: int, folder: Path) -> pd.DataFrame:
    """Audit the labels of one planting; returns its ranking with the truth."""
    name, truth = plant(study, seed)
    path = folder / "ranking.tsv"
    if not path.exists():
        training = splits.members(splits.read_splits(study.splits_path(None)), "train")
        given = [s for s in read_labelled(study.cohort_root, name) if s.id in training]
        maps = cross_fit(study, given, folds, seed, folder)

        def read(subject: Subject) -> Evidence:
            return read_evidence(subject, read_volume(maps[subject.id]).data, study.rules)

        table = audit_labels(given, read, LabelAuditConfig(seed=seed))
        kinds = truth.set_index("participant_id")["kind"]
        table["truth"] = table["participant_id"].map(kinds).fillna("right")
        write_tsv(path, table)
    return read_tsv(path, participant_id=str, truth=str)


def correct(study: Study, seed: int, ranking: pd.DataFrame) -> str:
    """Make the label set in which the first fifth of the list has been looked at and put right."""
    name = f"corrected{seed}"
    if name not in label_sets(study.cohort_root):
        right = {s.id: s for s in arms.real_subjects(study)}
        looked_at = ranking.head(round(LOOKED_AT * len(ranking)))
        labels = {}
        for subject_id in looked_at.loc[looked_at["truth"] != "right", "participant_id"]:
            ill = right[subject_id].group == "patient"
            mask = read_lesion(right[subject_id]) if ill else None
            labels[subject_id] = Label(mask, "human", "simulated expert", "re-inspected")
        write_label_set(study.cohort_root, name, f"planted{seed}", labels)
    return name


def retrain(study: Study, labels: str, arm: str, seed: int) -> Cell:
    """Train on all training subjects with a label set; test on right labels."""
    roles = splits.read_splits(study.splits_path(None)).set_index("participant_id")["role"]
    given = {s.id: s for s in read_labelled(study.cohort_root, labels)}
    right = {s.id: s for s in arms.real_subjects(study)}
    training = [given[name] for name in roles.index[roles == "train"]]
    held_out = [right[name] for name in roles.index[roles.isin(["validation", "test"])]]
    folder = study.root / "label-audit" / arm / f"seed-{seed}"
    train_detector(training, folder, study.detector, seed)
    predict_subjects(folder, held_out, roles.to_dict(), study.rules)
    counts = [sum(right[s.id].group == g for s in training) for g in ("patient", "control")]
    return Cell(arm, seed, None, folder, *counts)


def share_found(rankings: list[pd.DataFrame]) -> dict[str, object]:
    """Count the planted errors in the first fifth of each list, pooled, by kind."""
    first = pd.concat([r.head(round(LOOKED_AT * len(r))) for r in rankings])
    everything = pd.concat(rankings)
    wrong = everything[everything["truth"] != "right"]
    found = first[first["truth"] != "right"]
    kinds = {
        kind: [int((found["truth"] == kind).sum()), int((wrong["truth"] == kind).sum())]
        for kind in sorted(wrong["truth"].unique())
    }
    each = [
        float(
            (r.head(round(LOOKED_AT * len(r)))["truth"] != "right").sum()
            / (r["truth"] != "right").sum()
        )
        for r in rankings
    ]
    rng = np.random.default_rng(0)
    means = rng.choice(each, (2000, len(each))).mean(axis=1)
    return {
        "plantings": len(rankings),
        "found": len(found),
        "planted": len(wrong),
        "share": len(found) / len(wrong),
        "wilson95": list(wilson(len(found), len(wrong))),
        "bootstrap95_over_plantings": np.quantile(means, [0.025, 0.975]).tolist(),
        "each_planting": each,
        "by_kind": kinds,
        "looked_at": LOOKED_AT,
    }


def main() -> None:
    """Run the benchmark."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--plantings", type=int, default=10, help="default: 10")
    parser.add_argument("--retrain", type=int, default=3, help="plantings (default: 3)")
    parser.add_argument("--audit-folds", type=int, default=3, help="default: 3")
    own, rest = parser.parse_known_args()
    stage = stage_parser("train-generator")
    study = read_study(stage.instantiate(stage.parse_args(rest)))
    folder = study.root / "label-audit"
    rankings = []
    for seed in tqdm(range(own.plantings), desc="plantings"):
        rankings.append(audit(study, seed, own.audit_folds, folder / f"planting-{seed}"))
        found = share_found(rankings)
        logger.info(
            "planting %d: %.2f found; so far %.2f", seed, found["each_planting"][-1], found["share"]
        )
        write_json(folder / "found.json", found)
    write_tsv(
        folder / "found.tsv", pd.concat([r.assign(planting=s) for s, r in enumerate(rankings)])
    )
    cells = []
    for seed in range(own.retrain):
        for arm, labels in (
            ("baseline", f"planted{seed}"),
            ("corrected", correct(study, seed, rankings[seed])),
            ("right", "original"),
        ):
            cells.append(retrain(study, labels, arm, seed))
    if cells:
        metrics = compute_metrics(
            study.name, study.sha256, study.data, cells, study.rules, study.evaluation
        )
        write_json(folder / "metrics.json", metrics)
        for name, regime in metrics["regimes"].items():
            logger.info("%s: %s", name, regime["sensitivity_at_half_fp"])
        for pair in metrics["comparisons"]:
            logger.info("%s - %s: %s", pair["b"], pair["a"], pair["difference_at_half_fp"])


if __name__ == "__main__":
    main()
