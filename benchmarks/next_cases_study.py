"""Spend the same expert minutes by the list of `next-cases` and by chance, and train once on each.

    python benchmarks/next_cases_study.py --config configs/label_audit.yaml [--minutes 240]

Prepare the cohort first (scripts/prepare_cohort.py, same configuration); what
`benchmarks/label_audit.py` has made with the same configuration is taken over (lists, and the
detectors of wrong labels). In each planting (a seed of the study) a team has labelled subjects, a
fifth of them wrongly, patients without a label, a detector, and some minutes. The catalogue holds
a second look at every given label and a first label for every unlabelled patient; its gains and
minutes are those of `lesionforge next-cases`, computed by the same functions. One arm does what the
list puts first, the other draws actions of the catalogue uniformly, passing over what no longer
fits. The expert errs as `NextConfig.reader_error` says and answers alike in both arms. Then each
arm is trained once, for the same steps from the same seed: two trainings a planting and no more.

Left out are actions that change no label to be trained on: two readers to decide between and
synthetic volumes are not in the study, and a look at a false positive is no label.

What a label is worth is read where it may be: the validation subjects, with right labels, are tried
by the cross-fitted detectors (of part of the given labels) and by the detectors of all of them,
pooled over the plantings. It scales all gains of this catalogue alike, so no rank hangs on it: the
lists are made with the label as the unit, and its worth only turns the unit into points. Where it
is not positive `next-cases` would advise to do nothing, and summary.json says so. Test subjects are
read for the figures alone. Writes actions.tsv, next.tsv, summary.json and next_cases.png to the
study's `label-audit/next/`.
"""

import argparse
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from tqdm import tqdm

from arguments import read_arguments
from expert_minutes import ARMS, choose, count_actions, one_arm
from lesionforge.label_qc.next_cases import FORMULAS, NextConfig
from lesionforge.label_qc.worth import Worth, measure_worth
from lesionforge.metrics.bootstrap import Resamples, over_seeds, resample
from lesionforge.metrics.froc import mean_curve, sensitivity_at
from lesionforge.metrics.intervals import EvaluationConfig
from lesionforge.metrics.outcomes import Outcome, outcome
from lesionforge.metrics.replicates import Outcomes, matched_replicates, with_interval
from lesionforge.provenance import atomic, read_json, read_tsv, write_json, write_tsv
from lesionforge.report.results import jsonable, read_outcomes
from lesionforge.study.config import Study
from planting import (
    FOLDS,
    planting_root,
    plantings,
    rank_labels,
    right_labels,
    spent,
    train_arm,
)

logger = logging.getLogger("next_cases_study")
MINUTES = 240.0


def validation_outcome(folder: Path) -> Outcome:
    """Read what a detector did on the validation subjects."""
    subjects = read_tsv(
        folder / "subjects.tsv", participant_id=str, role=str, site=str, lesion_scores=str
    )
    candidates = read_tsv(
        folder / "candidates.tsv", participant_id=str, score=float, hit=int, hit_strict=int
    )
    mine = subjects[subjects["role"] == "validation"]
    candidates = candidates[candidates["role"] == "validation"]
    return outcome(candidates, mine, dict.fromkeys(mine["participant_id"], 0.0))


def worth_of_labels(fewer: Sequence[Path], every: Sequence[Path], study: Study) -> Worth:
    """Measure what a label is worth, on validation subjects (see the top of this file).

    Args:
        fewer: folders of the detectors of part of the labels.
        every: of those of all labels.
        study: the study.
    """
    right = right_labels(study)

    def entry(folders: Sequence[Path]) -> dict[str, Any]:
        outcomes = [validation_outcome(folder) for folder in folders]
        rate = study.evaluation.false_positives_per_subject
        trained = [read_json(folder / "detector.json")["training"] for folder in folders]
        ill = [sum(right[i].group == "patient" for i in names) for names in trained]
        return {
            "n_patients": round(float(np.mean(ill))),
            "n_synthetic_patients": 0,
            "sensitivity_at_half_fp": {"value": float(np.mean([_read(o, rate) for o in outcomes]))},
            "froc": mean_curve(outcomes)[:, :2].tolist(),
        }

    regimes = {"baseline": entry(fewer), "the detector of all labels": entry(every)}
    return measure_worth({"regimes": regimes})


def _read(one: Outcome, rate: float) -> float:
    """Read the sensitivity of one detector at `rate` false positives a patient."""
    return float(sensitivity_at(one, np.ones((1, len(one.patients))), np.array([rate]))[0, 0])


def gain_replicates(
    base: Outcomes, entry: Outcomes, minutes: Mapping[int, float], draws: Resamples, rate: float
) -> np.ndarray:
    """Return (1 + B,) points of sensitivity gained per minute, averaged over plantings.

    Args:
        base: planting to what the detector of the given labels did.
        entry: planting to what the arm did.
        minutes: planting to what the arm has spent; an arm that has spent none has gained nothing.
        draws: of test patients; plantings are drawn with them.
        rate: false positives a patient at which sensitivity is read.
    """
    rates = np.array([rate])
    gains = [
        100
        * (
            sensitivity_at(entry[s], draws.patients, rates)
            - sensitivity_at(base[s], draws.patients, rates)
        )[:, 0]
        / max(minutes[s], 1e-9)
        for s in entry
    ]
    return over_seeds(np.stack(gains, axis=1), draws.seeds(tuple(entry)))


def measure_gains(
    outcomes: Mapping[str, Outcomes], table: pd.DataFrame, draws: Resamples, rate: float
) -> dict[str, Any]:
    """Return sensitivities and gains per minute of both arms, and list minus random."""
    every = {
        entry: matched_replicates(outcomes[entry], draws, np.array([rate]))[:, 0]
        for entry in outcomes
    }
    gains = {
        entry: gain_replicates(
            outcomes["baseline"],
            outcomes[entry],
            table[table["arm"] == entry].set_index("planting")["minutes"].to_dict(),
            draws,
            rate,
        )
        for entry in ARMS
    }
    return {
        "sensitivity": {entry: with_interval(values) for entry, values in every.items()},
        "gain": {entry: with_interval(every[entry] - every["baseline"]) for entry in ARMS},
        "points_per_minute": {entry: with_interval(values) for entry, values in gains.items()},
        "list_minus_random": with_interval(gains["list"] - gains["random"]),
        "list_minus_random_points": with_interval(every["list"] - every["random"]),
    }


def with_sensitivities(
    table: pd.DataFrame, outcomes: Mapping[str, Outcomes], rate: float
) -> pd.DataFrame:
    """Add to each planting and arm its sensitivity, that before, and the points per minute."""
    start = [_read(outcomes["baseline"][seed], rate) for seed in table["planting"]]
    pairs = zip(table["arm"], table["planting"], strict=True)
    found = [_read(outcomes[entry][seed], rate) for entry, seed in pairs]
    table = table.assign(sensitivity_before=start, sensitivity=found)
    points = 100 * (table["sensitivity"] - table["sensitivity_before"])
    return table.assign(points_per_minute=points / table["minutes"].where(table["minutes"] > 0))


def summarize(
    table: pd.DataFrame, outcomes: Mapping[str, Outcomes], worth: Worth, config: EvaluationConfig
) -> dict[str, Any]:
    """Return the study's figures: what was expected, what was done, what was gained."""
    patients = len(next(iter(outcomes["baseline"].values())).patients)
    draws = resample(patients, 0, config.bootstrap, config.seed)
    means = table.groupby("arm").mean().drop(columns="planting")
    return {
        "formulas": {kind: FORMULAS[kind] for kind in ("label", "inspect")},
        "worth_of_a_label": worth.label,
        "basis": worth.basis,
        "next_cases_would_act": worth.label > 0,
        "expected_points": (means["expected_gain"] * worth.label).to_dict(),
        "mean_of_plantings": means.to_dict("index"),
        **measure_gains(outcomes, table, draws, config.false_positives_per_subject),
    }


def draw(table: pd.DataFrame, path: Path) -> None:
    """Plot the gain per minute of both arms, planting by planting."""
    figure = Figure(figsize=(4, 3.6), layout="constrained")
    axis = figure.subplots()
    each = table.pivot_table("points_per_minute", "planting", "arm")[list(ARMS)]
    axis.plot(ARMS, each.T.to_numpy(), color="C0", alpha=0.4, lw=1, marker=".")
    axis.plot(ARMS, each.mean(), color="black", marker="o")
    axis.axhline(0, color="0.6", lw=1)
    axis.set(ylabel="points of sensitivity gained per minute")
    with atomic(path) as part:
        figure.savefig(part, dpi=120, format="png")


def main() -> None:
    """Run the benchmark."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--plantings", type=int, help="the first seeds (default: all)")
    parser.add_argument("--minutes", type=float, default=MINUTES, help=f"default: {MINUTES:g}")
    parser.add_argument("--audit-folds", type=int, default=FOLDS, help=f"default: {FOLDS}")
    own, study = read_arguments(parser)
    seeds, costs = plantings(study, own.plantings), NextConfig()
    folder, config = study.root / "label-audit" / "next", study.evaluation
    runs, tables, rows = [], [], []
    for seed in tqdm(seeds, desc="plantings", unit="planting"):
        ranking = rank_labels(study, seed, own.audit_folds)
        truth = ranking.set_index("participant_id")["truth"]
        runs.append(train_arm(study, "baseline", seed, f"planted{seed}"))
        for entry, actions in choose(study, seed, ranking, costs, own.minutes).items():
            run, done = one_arm(study, seed, entry, actions, costs)
            runs.append(run)
            tables.append(done)
            rows.append({"planting": seed, "arm": entry, **count_actions(done, truth)})
    outcomes = read_outcomes(runs, study.rules, config)
    table = with_sensitivities(pd.DataFrame(rows), outcomes, config.false_positives_per_subject)
    parts = [planting_root(study, s) / f"fold-{f}" for s in seeds for f in range(own.audit_folds)]
    worth = worth_of_labels(parts, [c.folder for c in runs if c.regime == "baseline"], study)
    summary = {
        "plantings": len(seeds),
        "minutes": own.minutes,
        "reader_error": costs.reader_error,
        "retraining": spent([run.folder for run in runs if run.regime in ARMS]),
        **summarize(table, outcomes, worth, config),
    }
    write_tsv(folder / "actions.tsv", pd.concat(tables))
    write_tsv(folder / "next.tsv", table)
    write_json(folder / "summary.json", jsonable(summary))
    draw(table, folder / "next_cases.png")
    logger.info("%s", table.round(3).to_string(index=False))
    for name in ("basis", "points_per_minute", "list_minus_random"):
        logger.info("%s: %s", name, summary[name])


if __name__ == "__main__":
    main()
