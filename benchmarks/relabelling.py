"""Spend the same budget of annotations by six strategies, with annotators who err.

    python benchmarks/relabelling.py [--flips 0.1 0.3 0.5] [--seeds 10] [--out DIR]

An example of the relabelling library (`label_qc.relabelling`) on other data than lesions:
scikit-learn's digits (embedded, 1797 images of 8 x 8) and a small network. To use it on other data,
replace `load_task`; to use another classifier, replace `Network` by a class with the same methods.
Annotators give a wrong label at the rate `flips`. Each (flip, strategy, seed) is a cell, written
when it is done; run the same command again to go on. The last line of the output is one JSON object
with the figures of the last round: the share of wrong labels (`noise`) and the accuracy on right
test labels, each with its 95 % interval over the seeds.
"""

import argparse
import json
import logging
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any, get_args

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from scipy import stats
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn
from tqdm import tqdm

from lesionforge.label_qc.relabelling.budget import BudgetConfig, Task, spend
from lesionforge.label_qc.relabelling.deepfool import deepfool_distance
from lesionforge.label_qc.relabelling.strategies import StrategyName, make_strategy
from lesionforge.provenance import atomic, write_tsv
from lesionforge.seeding import seeded_torch, torch_stream

logger = logging.getLogger("relabelling")
STRATEGIES = get_args(StrategyName)
TEST_SHARE = 0.25


def load_task(seed: int) -> Task:
    """Load the digits and split them, by a seed, into a pool to be labelled and a test set.

    Returns:
        task with images (N, 64) float32 from -0.5 to 0.5 and ten classes.
    """
    bunch = load_digits()
    images = (bunch.data / 16 - 0.5).astype(np.float32)
    pool, test, truth, test_truth = train_test_split(
        images, bunch.target, test_size=TEST_SHARE, random_state=seed, stratify=bunch.target
    )
    return Task(pool, truth, test, test_truth, classes=10)


class Network:
    """A small network: a perceptron for vectors, a convolutional one for images; a `Learner`."""

    def __init__(self, epochs: int = 40, batch: int = 64, width: int = 64) -> None:
        self.epochs, self.batch, self.width = epochs, batch, width

    def fit(self, x: np.ndarray, labels: np.ndarray, classes: int, seed: int) -> "FittedNetwork":
        """Fit with cross-entropy; at least 300 steps however few the cases are."""
        images, target = torch.from_numpy(x), torch.from_numpy(labels).long()
        with seeded_torch(seed, "network"):
            body, head = self._body(images.shape[1:]), nn.Linear(self.width, classes)
        network = nn.Sequential(body, head)
        steps = max(300, self.epochs * len(images) // self.batch)
        optimizer = torch.optim.AdamW(network.parameters(), lr=2e-3, weight_decay=1e-2, fused=True)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
        generator = torch_stream(seed, "batches")
        for _ in range(steps):
            rows = torch.randint(len(images), (self.batch,), generator=generator)
            loss = nn.functional.cross_entropy(network(images[rows]), target[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
        return FittedNetwork(body, network.eval().requires_grad_(requires_grad=False))

    def _body(self, shape: torch.Size) -> nn.Module:
        if len(shape) == 1:
            return nn.Sequential(nn.Linear(shape[0], self.width), nn.ReLU())
        return nn.Sequential(
            nn.Conv2d(shape[0], 16, 3, 2, 1), nn.ReLU(),
            nn.Conv2d(16, 32, 3, 2, 1), nn.ReLU(),
            nn.Conv2d(32, self.width, 3, 2, 1), nn.ReLU(),
            nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        )  # fmt: skip


class FittedNetwork:
    """A trained `Network`; a `Model`."""

    def __init__(self, body: nn.Module, network: nn.Module) -> None:
        self.body, self.network = body, network

    def probabilities(self, x: np.ndarray) -> np.ndarray:
        """(N, K) softmax."""
        with torch.no_grad():
            return np.asarray(self.network(torch.from_numpy(x)).softmax(dim=1).double())

    def embeddings(self, x: np.ndarray) -> np.ndarray:
        """(N, width) of the layer before the last."""
        with torch.no_grad():
            return np.asarray(self.body(torch.from_numpy(x)))

    def boundary_distance(self, x: np.ndarray) -> np.ndarray:
        """(N,) DeepFool's distances."""
        return np.asarray(deepfool_distance(self.network, torch.from_numpy(x)))


def run_cell(flip: float, strategy: StrategyName, seed: int, path: Path) -> None:
    """Run a cell and write its rounds."""
    task, config = load_task(seed), BudgetConfig(flip=flip, seed=seed)
    rounds = spend(task, make_strategy(strategy, len(task.truth)), Network(), config)
    known = {"flip": flip, "strategy": strategy, "seed": seed}
    rows = [{**known, "round": number, **asdict(spent)} for number, spent in enumerate(rounds)]
    write_tsv(path, pd.DataFrame(rows))


def summarize(table: pd.DataFrame) -> pd.DataFrame:
    """Average the last round over the seeds, with 95 % t intervals and pairs against two others."""
    last = table[table["round"] == table["round"].max()]
    rows = []
    for (flip, strategy), cells in last.groupby(["flip", "strategy"], sort=False):
        row = {"flip": flip, "strategy": strategy, "seeds": len(cells)}
        for figure in ("noise", "accuracy"):
            row |= _interval(figure, cells[figure])
        row["labelled"] = cells["labelled"].mean()
        every = table[(table["flip"] == flip) & (table["strategy"] == strategy)]
        row["again"] = every["again"].sum() / len(cells)
        row["wrong_again"] = every["wrong_again"].sum() / len(cells)
        for other, figure in (("random", "noise"), ("activelab", "accuracy")):
            rival = last[(last["flip"] == flip) & (last["strategy"] == other)]
            pair = cells.set_index("seed")[figure] - rival.set_index("seed")[figure]
            row[f"less_{figure}_than_{other}"] = int((pair < 0).sum())
            row |= _interval(f"{figure}_minus_{other}", pair.dropna())
        rows.append(row)
    return pd.DataFrame(rows)


def _interval(name: str, values: pd.Series) -> dict[str, float]:
    mean, n = float(values.mean()), len(values)
    half = float(stats.t.ppf(0.975, n - 1) * values.sem()) if n > 1 else float("nan")
    return {name: mean, f"{name}_low": mean - half, f"{name}_high": mean + half}


def to_json(table: pd.DataFrame, summary: pd.DataFrame) -> dict[str, Any]:
    """Return the figures as plain JSON; what one seed cannot tell (an interval) is null."""
    rows = [
        {k: None if isinstance(v, float) and np.isnan(v) else v for k, v in row.items()}
        for row in summary.to_dict("records")
    ]
    return {"data": "digits", "annotations": int(table["annotations"].max()), "figures": rows}


def plot(table: pd.DataFrame, path: Path) -> None:
    """Plot accuracy and remaining noise of each round against the annotations spent by then."""
    flips = sorted(table["flip"].unique())
    figure, axes = plt.subplots(
        2, len(flips), figsize=(4 * len(flips), 6), squeeze=False, sharex=True
    )
    for column, flip in enumerate(flips):
        for row, name in enumerate(("accuracy", "noise")):
            axis = axes[row, column]
            for number, strategy in enumerate(STRATEGIES):
                cells = table[(table["flip"] == flip) & (table["strategy"] == strategy)]
                rounds = cells.groupby("round")
                spent, curve = rounds["annotations"].mean(), rounds[name].agg(["mean", "sem"])
                axis.plot(spent, curve["mean"], color=f"C{number}", label=strategy)
                half = 1.96 * curve["sem"].fillna(0)
                band = (curve["mean"] - half, curve["mean"] + half)
                axis.fill_between(spent, *band, color=f"C{number}", alpha=0.15, lw=0)
            axis.set_title(f"{flip:.0%} flips") if row == 0 else axis.set_xlabel("annotations")
        axes[0, 0].set_ylabel("test accuracy")
        axes[1, 0].set_ylabel("share of wrong labels")
    axes[0, -1].legend(fontsize=8)
    figure.tight_layout()
    with atomic(path) as part:
        figure.savefig(part, dpi=110, format="png")
    plt.close(figure)


def main() -> None:
    """Run the benchmark."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--flips", type=float, nargs="+", default=[0.1, 0.3, 0.5])
    parser.add_argument("--strategies", nargs="+", default=list(STRATEGIES), choices=STRATEGIES)
    parser.add_argument("--seeds", type=int, default=10, help="repetitions (default: 10)")
    parser.add_argument("--first-seed", type=int, default=0, help="default: 0")
    parser.add_argument("--out", type=Path, default=Path("runs/relabelling"))
    arguments = parser.parse_args()
    seeds = range(arguments.first_seed, arguments.first_seed + arguments.seeds)
    wanted = [(f, s, seed) for seed in seeds for f in arguments.flips for s in arguments.strategies]
    files = {
        cell: arguments.out / "cells" / f"digits_{cell[0]:g}_{cell[1]}_{cell[2]}.tsv"
        for cell in wanted
    }
    for cell in tqdm([c for c in wanted if not files[c].exists()], desc="cells", unit="cell"):
        run_cell(*cell, files[cell])
    table = pd.concat([pd.read_csv(file, sep="\t") for file in files.values()], ignore_index=True)
    summary = summarize(table)
    write_tsv(arguments.out / "digits.tsv", summary)
    plot(table, arguments.out / "digits.png")
    logger.info("%s", summary.round(3).to_string(index=False))
    sys.stdout.write(json.dumps(to_json(table, summary)) + "\n")


if __name__ == "__main__":
    main()
