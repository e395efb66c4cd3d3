"""Train regimes of a study for several numbers of steps: is an arm limited by its training?

    python benchmarks/learning_curves.py --steps 1500,3000 --regimes baseline,expanded --config FILE

Each training is complete (the learning rate falls to its end) and goes through the same prediction
and evaluation as the study's own, which counts as the last point of the curve where it exists; test
controls are left out, which the figure does not need. The cells lie in the study's folder under
`steps-N`; what is there is kept, so that regimes can be run at once, each in a process of its own,
and drawn by a last call with all of them. Writes `learning_curves.tsv` and a plot of the
sensitivity at 0.5 false positives a patient against the steps. Test subjects are read for this
plot: choose a study's steps by another study's curves.
"""

import argparse
import logging
from dataclasses import replace
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from arguments import read_arguments
from lesionforge.detection.inference import predict_subjects
from lesionforge.detection.training import train_detector
from lesionforge.errors import LesionForgeError
from lesionforge.provenance import write_tsv
from lesionforge.report.results import compute_metrics
from lesionforge.study import runs as study_runs
from lesionforge.study.config import Study

logger = logging.getLogger("learning_curves")


def train_cell(study: Study, regime: str, seed: int, steps: int) -> None:
    """Train and predict one cell for `steps` steps; resumes, and is done once."""
    people = study_runs.run_subjects(study, regime, seed, None)
    folder = study.detector_root(regime, seed, None, f"steps-{steps}")
    train_detector(people.training, folder, replace(study.detector, steps=steps), seed)
    held_out = [s for s in people.held_out if s.group == "patient" or people.roles[s.id] != "test"]
    predict_subjects(folder, held_out, people.roles, study.rules)


def curve_rows(study: Study, regimes: list[str], steps: int, model: str) -> list[dict[str, object]]:
    """Return sensitivity at 0.5 false positives of those of the regimes with cells of `model`."""
    try:
        runs = [c for c in study_runs.finished_runs(study, model)[0] if c.regime in regimes]
        metrics = compute_metrics(
            study.name, study.sha256, study.data, runs, study.rules, study.evaluation
        )
    except LesionForgeError as error:
        logger.warning("%d steps: %s", steps, error)
        return []
    rows = []
    for name, regime in metrics["regimes"].items():
        entry = regime["sensitivity_at_half_fp"]
        low, high = entry["ci95"]
        rows.append({
            "regime": name, "steps": steps, "seeds": len(regime["seeds"]),
            "sensitivity_at_half_fp": entry["value"], "low95": low, "high95": high,
        })  # fmt: skip
    return rows


def draw(table: pd.DataFrame, path: Path) -> None:
    """Plot the curves with their intervals."""
    figure = Figure(figsize=(6, 3.6), layout="constrained")
    axis = figure.subplots()
    for name, rows in table.groupby("regime", sort=False):
        value = rows["sensitivity_at_half_fp"]
        bars = [value - rows["low95"], rows["high95"] - value]
        axis.errorbar(rows["steps"], value, bars, marker="o", capsize=3, label=name)
    axis.set(xlabel="steps", ylabel="sensitivity at 0.5 FP a patient", ylim=(0, 1), xscale="log")
    numbers = sorted(table["steps"].unique())
    axis.set_xticks(numbers, [f"{n:,}" for n in numbers])
    axis.minorticks_off()
    axis.legend()
    figure.savefig(path, dpi=120)


def main() -> None:
    """Run the benchmark."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", required=True, help="numbers of steps, e.g. 1500,3000")
    parser.add_argument("--regimes", default="baseline,expanded", help="of the study")
    parser.add_argument("--seed", type=int, default=0, help="of the cells (default: 0)")
    own, study = read_arguments(parser)
    numbers = sorted({int(n) for n in own.steps.split(",")} - {study.detector.steps})
    regimes = own.regimes.split(",")
    for steps in numbers:
        for regime in regimes:
            train_cell(study, regime, own.seed, steps)
    models = [(steps, f"steps-{steps}") for steps in numbers] + [(study.detector.steps, "detector")]
    rows = [row for steps, model in models for row in curve_rows(study, regimes, steps, model)]
    if not rows:
        logger.info("No curve yet: the baseline belongs to it.")
        return
    table = pd.DataFrame(rows)
    write_tsv(study.root / "learning_curves.tsv", table)
    draw(table, study.root / "learning_curves.png")
    logger.info("%s", table.to_string(index=False))


if __name__ == "__main__":
    main()
