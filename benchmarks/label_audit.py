"""Plant label errors, look for them, correct what was found, train again: is it worth the minutes?

    python benchmarks/label_audit.py --config configs/label_audit.yaml [--plantings N] [--retrain N]

Prepare the cohort first (scripts/prepare_cohort.py, same configuration). For each planting (a seed
of the study) a fifth of the labels becomes wrong (missing, shifted, spurious in equal parts),
detectors are cross-fitted on the wrong labels, `audit_labels` ranks all labels, and the first fifth
of the list is looked at by an expert who does not err. For the first `--retrain` plantings three
detectors are trained with the wrong labels, with those that were found corrected, and with the
right ones: three trainings a planting and no more. They are tried on test subjects whose labels are
right and which choose nothing. Everything lies in the study's folder under `label-audit/` and is
kept; the same command goes on. Writes found.tsv (every list), plantings.tsv, summary.json and
label_audit.png.

The errors that are looked for are of the kinds, and drawn by the code, that `audit_labels` learns
from: other errors may be harder to find.
"""

import argparse
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from tqdm import tqdm

from arguments import read_arguments
from lesionforge.data.labels import ORIGINAL
from lesionforge.metrics.bootstrap import Resamples, resample
from lesionforge.metrics.froc import sensitivity_at
from lesionforge.metrics.intervals import gap_recovered, wilson
from lesionforge.metrics.replicates import Outcomes, matched_replicates, with_interval
from lesionforge.provenance import atomic, write_json, write_tsv
from lesionforge.report.results import compute_metrics, jsonable, read_outcomes
from lesionforge.report.runs import Run
from lesionforge.study.config import Study
from planting import (
    FOLDS,
    LOOKED_AT,
    correct,
    first_fifth,
    planting_root,
    plantings,
    rank_labels,
    spent,
    train_arm,
)

logger = logging.getLogger("label_audit")
ARMS = {"baseline": "wrong", "corrected": "corrected", "right": "right"}
RECOVERED = (
    "(corrected - wrong) / (right - wrong), in sensitivity at the false positives a patient that "
    "the study allows, mean over plantings; paired bootstrap of test patients and plantings "
    "together, the FROC read again in each replicate"
)


def share_found(rankings: Mapping[int, pd.DataFrame], replicates: int) -> dict[str, Any]:
    """Count the planted errors in the first fifth of each list, pooled and by kind.

    Args:
        rankings: planting to its list, with `truth`.
        replicates: of a bootstrap that draws plantings and subjects together.

    Returns:
        Shares with intervals, and for each planting its share, and the Brier score of its risks
        beside that of the planted rate told for everybody.
    """
    ids = sorted({i for r in rankings.values() for i in r["participant_id"]})
    draws = resample(len(ids), 0, replicates, seed=0)
    return {
        "looked_at": LOOKED_AT,
        "by_chance": LOOKED_AT,
        "all": _share(rankings, ids, draws, None),
        "by_kind": {
            kind: _share(rankings, ids, draws, kind)
            for kind in sorted({k for r in rankings.values() for k in r["truth"]} - {"right"})
        },
        "each_planting": [{"planting": s, **_one_list(r)} for s, r in rankings.items()],
    }


def _share(
    rankings: Mapping[int, pd.DataFrame], ids: list[str], draws: Resamples, kind: str | None
) -> dict[str, Any]:
    planted, found = np.zeros((2, len(rankings), len(ids)))
    for row, ranking in enumerate(rankings.values()):
        truth = ranking.set_index("participant_id")["truth"]
        wrong = truth[truth != "right"] if kind is None else truth[truth == kind]
        seen = set(first_fifth(ranking)["participant_id"])
        planted[row] = [i in wrong.index for i in ids]
        found[row] = planted[row] * [i in seen for i in ids]
    seeds = draws.seeds(tuple(rankings))
    with np.errstate(invalid="ignore", divide="ignore"):
        shares = ((draws.patients @ found.T) * seeds).sum(axis=1) / (
            (draws.patients @ planted.T) * seeds
        ).sum(axis=1)
    k, n = int(found.sum()), int(planted.sum())
    return {"found": k, "planted": n, **with_interval(shares), "wilson95": list(wilson(k, n))}


def _one_list(ranking: pd.DataFrame) -> dict[str, Any]:
    wrong = (ranking["truth"] != "right").to_numpy(dtype=float)
    found = float((first_fifth(ranking)["truth"] != "right").sum())
    rate = wrong.mean()
    return {
        "found": int(found),
        "planted": int(wrong.sum()),
        "share": found / wrong.sum(),
        "brier": float(np.mean((ranking["risk"] - wrong) ** 2)),
        "brier_of_the_rate": float(rate * (1 - rate)),
    }


def measure_recovered(
    outcomes: Mapping[str, Outcomes], draws: Resamples, rate: float
) -> dict[str, Any]:
    """Return the sensitivities of the arms, what wrong labels cost, and what correcting recovers.

    Args:
        outcomes: of the arms `baseline` (wrong labels), `corrected` and `right`, by planting.
        draws: of test patients; plantings are drawn with them.
        rate: false positives a patient at which sensitivity is read.
    """
    read = {
        name: matched_replicates(outcomes[entry], draws, np.array([rate]))[:, 0]
        for entry, name in ARMS.items()
    }
    wrong, corrected, right = read.values()
    share = gap_recovered(
        (wrong[0], corrected[0], right[0]),
        (wrong[1:], corrected[1:], right[1:]),
        ends=("wrong labels", "right labels"),
    )
    return {
        "sensitivity": {name: with_interval(values) for name, values in read.items()},
        "cost_of_wrong_labels": with_interval(right - wrong),
        "gain_by_correction": with_interval(corrected - wrong),
        "recovered": {
            "value": share.value,
            "ci95": share.ci95,
            "why": share.why,
            "definition": RECOVERED,
        },
    }


def each_sensitivity(outcomes: Mapping[str, Outcomes], rate: float) -> pd.DataFrame:
    """Return the sensitivity of every planting (rows) and arm (columns)."""
    return pd.DataFrame(
        {
            name: {
                seed: sensitivity_at(one, np.ones((1, len(one.patients))), np.array([rate]))[0, 0]
                for seed, one in outcomes[entry].items()
            }
            for entry, name in ARMS.items()
        }
    )


def draw(rankings: Mapping[int, pd.DataFrame], each: pd.DataFrame | None, path: Path) -> None:
    """Plot the errors found against the part of the list looked at, and the arms' sensitivities."""
    panels = 1 if each is None else 2
    figure = Figure(figsize=(4 * panels, 3.6), layout="constrained")
    axes = figure.subplots(1, panels, squeeze=False)[0]
    left = axes[0]
    for ranking in rankings.values():
        wrong = (ranking["truth"] != "right").to_numpy(dtype=float)
        seen = np.arange(len(wrong) + 1) / len(wrong)
        left.plot(seen, np.append(0, wrong.cumsum()) / wrong.sum(), color="C0", alpha=0.4, lw=1)
    left.plot([0, 1], [0, 1], color="0.6", ls="--", label="by chance")
    left.axvline(LOOKED_AT, color="0.6", lw=1)
    left.set(xlabel="share of the list looked at", ylabel="share of planted errors found")
    left.legend(loc="lower right")
    if each is not None:
        right = axes[1]
        right.plot(each.columns, each.T.to_numpy(), color="C0", alpha=0.4, lw=1, marker=".")
        right.plot(each.columns, each.mean(), color="black", marker="o")
        right.set(ylim=(0, 1), ylabel="sensitivity at the allowed false positives")
    with atomic(path) as part:
        figure.savefig(part, dpi=120, format="png")


def retrain(
    study: Study, rankings: Mapping[int, pd.DataFrame], seeds: tuple[int, ...]
) -> list[Run]:
    """Train the three arms of some plantings."""
    runs = []
    for seed in tqdm(seeds, desc="retrain", unit="planting"):
        sets = (f"planted{seed}", correct(study, seed, rankings[seed]), ORIGINAL)
        runs += [
            train_arm(study, entry, seed, labels) for entry, labels in zip(ARMS, sets, strict=True)
        ]
    return runs


def main() -> None:
    """Run the benchmark."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--plantings", type=int, help="the first seeds (default: all)")
    parser.add_argument("--retrain", type=int, help="plantings (default: all; 0: none)")
    parser.add_argument("--audit-folds", type=int, default=FOLDS, help=f"default: {FOLDS}")
    own, study = read_arguments(parser)
    seeds = plantings(study, own.plantings)
    folder, config = study.root / "label-audit", study.evaluation
    rankings: dict[int, pd.DataFrame] = {}
    for seed in tqdm(seeds, desc="plantings", unit="planting"):
        rankings[seed] = rank_labels(study, seed, own.audit_folds)
        found = share_found(rankings, config.bootstrap)
        logger.info("planting %d; so far %.2f found", seed, found["all"]["value"])
    table = pd.DataFrame(found["each_planting"]).set_index("planting")
    lists = [planting_root(study, s) / f"fold-{f}" for s in seeds for f in range(own.audit_folds)]
    summary = {"plantings": len(seeds), "cross_fitting": spent(lists), "found": found}
    runs = retrain(study, rankings, seeds[: own.retrain])
    each = None
    if runs:
        outcomes = read_outcomes(runs, study.rules, config)
        first = next(iter(outcomes["baseline"].values()))
        draws = resample(len(first.patients), 0, config.bootstrap, config.seed)
        rate = config.false_positives_per_subject
        summary["retraining"] = spent([run.folder for run in runs])
        summary |= measure_recovered(outcomes, draws, rate)
        each = each_sensitivity(outcomes, rate)
        table = table.join(each)
        known = (study.name, study.sha256, study.data)
        write_json(folder / "metrics.json", compute_metrics(*known, runs, study.rules, config))
    write_tsv(folder / "found.tsv", pd.concat(r.assign(planting=s) for s, r in rankings.items()))
    write_tsv(folder / "plantings.tsv", table.reset_index())
    write_json(folder / "summary.json", jsonable(summary))
    draw(rankings, each, folder / "label_audit.png")
    logger.info("%s", table.round(3).to_string())
    for name in ("cost_of_wrong_labels", "gain_by_correction", "recovered"):
        logger.info("%s: %s", name, summary.get(name, "not measured"))


if __name__ == "__main__":
    main()
