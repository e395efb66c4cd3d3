"""Do 95 % intervals over subjects and trainings hold what they promise?

    python benchmarks/coverage.py --table coverage.tsv

Simulates studies of two regimes, J trainings each, on P patients, and counts how often the interval
of `lesionforge.metrics.obuchowski` contains the true difference, how wide it is, and how often it
lies above the true difference (which is 0 but for the cells with an effect). The same is counted
for the analysis as published (Hillis' degrees of freedom).

A patient's latent score is the sum of its difficulty (SD 1), its difficulty for a regime (0.4), the
training's effect and chance (0.5). Endpoints: `graded`, the mean over patients of the score cut to
[0, 1] (what a mean sensitivity over rates looks like); `found`, the share of patients with a score
above 0; `froc`, the mean sensitivity over 0 to 1 false positives a patient, read from a FROC curve
whose false positives are simulated too (up to 35 patients: its jackknife grows with their square).
The SD between trainings is that of one training's true value, all of it a regime's own.

Layouts: `disjoint`, cohorts that share nobody; `shared`, two cohorts share half of their subjects;
`cross-fitted`, five folds, each patient judged by its fold's training, cohorts of folds and repeats
share half of their subjects; its interval speaks of this pool's cohorts (`pool`) or of others'
(`population`). All of the spread between trainings comes from cohorts, which is the worst case.

Besides, whole studies of patients and controls are simulated with all their candidates, and every
endpoint of `lesionforge.metrics.endpoints` is compared as reports do, without a difference
(`--whole`).

Cells that the table has are kept. The last line is one JSON object.
"""

import argparse
import itertools
import json
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import stats

from lesionforge.metrics.endpoints import endpoint_readings
from lesionforge.metrics.marks import NONE, Marks, Scores
from lesionforge.metrics.obuchowski import LEVEL, half_width, hillis, variance_parts
from lesionforge.metrics.verdicts import contrast
from lesionforge.provenance import write_tsv
from lesionforge.seeding import stream

PATIENTS, TRAININGS, POINTS = (14, 35, 300), (3, 5, 10, 15), (0, 1, 3, 5, 8)
FOLDS, SHARED, WIDTH = 5, 0.5, 1.5
REPEATS_SHARE = SHARED * FOLDS / (1 + (FOLDS - 1) * SHARED)
DIFFICULTY, OWN, CHANCE = 1.0, 0.4, 0.5
TOTAL = float(np.sqrt(DIFFICULTY**2 + OWN**2 + CHANCE**2))
OVERLAP = {
    "disjoint": 0.0,
    "shared": SHARED,
    "cross-fitted, pool": 0.0,
    "cross-fitted, population": REPEATS_SHARE,
}
KEYS = ["endpoint", "layout", "patients", "trainings", "sd_points", "effect_points"]
FALSE_SCORES, SLOTS = 0.6, 3
ELEMENTS = 6_000_000


def say(text: str) -> None:
    """Write a line to stdout at once."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def cells() -> list[tuple[str, str, int, int, int, int]]:
    """List all cells, quick ones first."""
    listed = []
    for p, j, sd in itertools.product(PATIENTS, TRAININGS, POINTS):
        for endpoint, layout in itertools.product(("graded", "found"), OVERLAP):
            listed.append((endpoint, layout, p, j, sd, 0))
            if layout == "disjoint":
                listed.append((endpoint, layout, p, j, sd, 5))
        if p <= 35:
            listed += [("froc", layout, p, j, sd, 0) for layout in ("disjoint", "shared")]
    return sorted(listed, key=lambda cell: cell[2] * cell[3])


def expected(endpoint: str, mean: np.ndarray, sd: float) -> np.ndarray:
    """Return the endpoint's true value for latent scores of N(mean, sd)."""
    if endpoint == "found":
        return stats.norm.cdf(mean / sd)
    low, high = (-WIDTH / 2 - mean) / sd, (WIDTH / 2 - mean) / sd

    def part(z: np.ndarray) -> np.ndarray:
        return z * stats.norm.cdf(z) + stats.norm.pdf(z)

    return 1 - sd * (part(high) - part(low)) / WIDTH


def latent_sd(endpoint: str, points: float) -> float:
    """Return the latent SD that moves the endpoint's true value by `points` of SD."""
    step = 1e-3
    kind = "found" if endpoint == "found" else "graded"
    rise = float(expected(kind, np.float64(step), TOTAL) - expected(kind, np.float64(-step), TOTAL))
    return points / 100 / (rise / (2 * step))


def effects(
    layout: str, sd: float, size: tuple[int, int], rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Sample trainings' effects (S, 2, J, folds) and what all of a regime's share, (S, 2)."""
    studies, j = size
    common = np.zeros((studies, 2))
    folds = FOLDS if layout.startswith("cross") else 1
    own = rng.normal(size=(studies, 2, j, folds))
    if layout != "disjoint":
        common = rng.normal(size=(studies, 2)) * np.sqrt(SHARED) * sd
        own *= np.sqrt(1 - SHARED)
    return own * sd + common[:, :, None, None], common


def simulate(
    cell: tuple[str, str, int, int, int, int], studies: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Simulate studies of a cell.

    Returns:
        (S, J) differences of the endpoint, (S, J, P) the same without each patient, and (S,) the
        true difference.
    """
    endpoint, layout, p, j, points, effect = cell
    sd = latent_sd(endpoint, points)
    training, common = effects(layout, sd, (studies, j), rng)
    if training.shape[3] > 1:
        fold = np.argsort(rng.random((studies, 1, j, p)), axis=3) % FOLDS
        training = np.take_along_axis(training, np.broadcast_to(fold, (studies, 2, j, p)), axis=3)
    shift = np.array([latent_sd(endpoint, effect), 0.0])
    score = rng.standard_normal((studies, 2, j, p), dtype=np.float32) * np.float32(CHANCE)
    score += rng.normal(size=(studies, 2, 1, p)) * OWN + rng.normal(size=(studies, 1, 1, p))
    score += training + shift[:, None, None]
    if endpoint == "froc":
        values, left_out = froc_areas(score, rng)
        return values[:, 0] - values[:, 1], left_out[:, 0] - left_out[:, 1], np.zeros(studies)
    each = score > 0 if endpoint == "found" else np.clip(score / WIDTH + 0.5, 0, 1)
    difference = each[:, 0].astype(float) - each[:, 1]
    values = difference.mean(axis=-1)
    left_out = (p * values[..., None] - difference) / (p - 1)
    seen = common if layout.endswith("pool") else np.zeros_like(common)
    unseen = sd**2 - (SHARED * sd**2 if layout.endswith("pool") else 0)
    truth = expected(endpoint, seen + shift, float(np.sqrt(TOTAL**2 + unseen)))
    return values, left_out, truth[:, 0] - truth[:, 1]


def froc_areas(score: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Read mean sensitivities over 0 to 1 false positives from simulated curves.

    Args:
        score: (S, 2, J, P) of each patient's lesion.
        rng: of the false positives: up to three a patient.

    Returns:
        (S, 2, J) areas and (S, 2, J, P) areas without each patient.
    """
    p = score.shape[-1]
    false = rng.normal(FALSE_SCORES, 0.7, size=(*score.shape, SLOTS)).astype(np.float32)
    false[rng.random(false.shape) < 0.5] = -np.inf
    above = np.zeros((*score.shape, p), dtype=np.int8)  # (..., lesion of p, false positives of q)
    for slot in range(SLOTS):
        above += false[..., slot][..., None, :] >= score[..., :, None]
    total = above.sum(axis=-1, dtype=np.int32)
    values = np.maximum(0, 1 - total / p).mean(axis=-1)
    without = np.maximum(0, 1 - (total[..., None] - above) / np.float32(p - 1))
    own = np.einsum("...pp->...p", without)
    return values, (without.sum(axis=-2) - own) / (p - 1)


def whole_study(sizes: tuple[int, int, int], rng: np.random.Generator) -> list[list[Marks]]:
    """Simulate the marks of two alike regimes on patients and controls.

    Args:
        sizes: patients, controls, trainings.
        rng: of the study.
    """
    p, c, trainings = sizes
    floor, threshold = -0.3, 0.8
    ids = np.arange(p + c).astype(str)
    difficulty, place = rng.normal(1.2, 1, p), rng.normal(0, 0.7, (p + c, 2))
    present = rng.random(place.shape) < 0.7
    regimes = []
    for _ in range(2):
        own, regime = rng.normal(0, 0.3, p), []
        for _ in range(trainings):
            lesion = difficulty + own + rng.normal(0, 0.15) + rng.normal(0, CHANCE, p)
            found = np.where(lesion > floor, lesion, NONE)
            false = place + rng.normal(0, CHANCE, place.shape)
            owner, slot = np.nonzero(present & (false > floor))
            score, ill = false[owner, slot], owner < p
            in_patients = Scores(score[ill], owner[ill])
            regime.append(
                Marks(
                    patients=ids[:p],
                    controls=ids[p:],
                    targets=Scores(found, np.arange(p)),
                    false_in_patients=in_patients,
                    false_in_controls=Scores(score[~ill], owner[~ill] - p),
                    best_in_patients=np.maximum(found, in_patients.best(p)),
                    threshold_patients=np.full(p, threshold),
                    threshold_controls=np.full(c, threshold),
                    dice=np.clip(lesion / 3, 0, 1),
                )
            )
        regimes.append(regime)
    return regimes


def whole_studies(studies: int) -> pd.DataFrame:
    """Count, a row an endpoint and size, how often intervals of whole studies contain 0."""
    rows = []
    for sizes in ((14, 20, 5), (35, 35, 5), (35, 35, 10)):
        for number in range(studies):
            rng = stream(0, "coverage-whole", *sizes, number)
            a, b = (endpoint_readings(one, 0.5) for one in whole_study(sizes, rng))
            for name, one in contrast(a, b, overlap=0.0).endpoints.items():
                low, high = one.ci95 or (np.nan, np.nan)
                rows.append((*sizes, name, low <= 0 <= high, low > 0, 100 * (high - low)))
    columns = [
        "patients",
        "controls",
        "trainings",
        "endpoint",
        "coverage",
        "above_0",
        "width_points",
    ]
    return pd.DataFrame(rows, columns=columns).groupby(columns[:4]).mean().reset_index()


def count(cell: tuple[str, str, int, int, int, int], studies: int) -> dict[str, object]:
    """Simulate a cell and count what its intervals do."""
    rng = stream(0, "coverage", *map(str, cell))
    endpoint, layout, p, j, _, _ = cell
    at_once = max(1, ELEMENTS // (2 * j * p * (p if endpoint == "froc" else 1)))
    inside, above, width, by_hillis, hillis_above, hillis_width = ([] for _ in range(6))
    for start in range(0, studies, at_once):
        n = min(at_once, studies - start)
        values, left_out, truth = simulate(cell, n, rng)
        parts = variance_parts(values, left_out, np.zeros(p, dtype=int))
        half = half_width(parts, LEVEL, OVERLAP[layout])
        error, df = hillis(parts)
        theirs = stats.t.ppf((1 + LEVEL) / 2, np.minimum(df, 1e9)) * error
        inside += (np.abs(parts.value - truth) <= half).tolist()
        above += (parts.value - half > truth).tolist()
        width += (2 * half).tolist()
        by_hillis += (np.abs(parts.value - truth) <= theirs).tolist()
        hillis_above += (parts.value - theirs > truth).tolist()
        hillis_width += (2 * theirs).tolist()
    row: dict[str, object] = dict(zip(KEYS, cell, strict=True))
    return {
        **row,
        "studies": studies,
        "coverage": float(np.mean(inside)),
        "too_high": float(np.mean(above)),
        "width_points": 100 * float(np.mean(width)),
        "hillis_coverage": float(np.mean(by_hillis)),
        "hillis_too_high": float(np.mean(hillis_above)),
        "hillis_width_points": 100 * float(np.mean(hillis_width)),
    }


def work(cell: tuple[str, str, int, int, int, int]) -> float:
    """Return how much work a cell is, in numbers to sample."""
    endpoint, _, p, j, _, _ = cell
    return 2.0 * j * p * (0.6 * p if endpoint == "froc" else 1) + 200


def main() -> None:
    """Fill the table and print it."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--table", type=Path, default=Path("coverage.tsv"))
    parser.add_argument("--studies", type=int, default=5000, help="simulated studies a cell")
    parser.add_argument("--whole", type=int, default=1000, help="simulated whole studies a size")
    arguments = parser.parse_args()
    rows = []
    if arguments.table.exists():
        kept = pd.read_csv(arguments.table, sep="\t")
        rows = kept[kept["studies"] == arguments.studies].to_dict("records")
    done = {tuple(row[key] for key in KEYS) for row in rows}
    todo = [cell for cell in cells() if cell not in done]
    start = time.perf_counter()
    trial = [cell for cell in cells() if cell[2] == 35 and cell[3] == 10 and cell[4] == 3]
    for cell in trial:
        count(cell, max(1, arguments.studies // 50))
    pace = (time.perf_counter() - start) * 50 / sum(map(work, trial))
    say(f"{len(todo)} cells to do, about {pace * sum(map(work, todo)) / 60:.0f} min on one core")
    say(f"and {arguments.whole} whole studies of three sizes, about {arguments.whole / 11:.0f} s")
    for cell in todo:
        rows.append(count(cell, arguments.studies))
        write_tsv(arguments.table, pd.DataFrame(rows))
        cells_text = (f"{v:.4g}" if isinstance(v, float) else str(v) for v in rows[-1].values())
        say("\t".join(cells_text))
    whole = whole_studies(arguments.whole)
    summarize(pd.DataFrame(rows), whole, time.perf_counter() - start)


def summarize(table: pd.DataFrame, whole: pd.DataFrame, seconds: float) -> None:
    """Print coverage by layout and trainings, and the JSON line."""
    null = table[table["effect_points"] == 0]
    for name, part in (("least coverage", table), ("most above the truth", null)):
        column = "coverage" if name == "least coverage" else "too_high"
        grid = part.pivot_table(
            index=["endpoint", "layout", "patients"],
            columns="trainings",
            values=column,
            aggfunc="min" if column == "coverage" else "max",
        )
        say(f"\n{name}, over all spreads between trainings\n{(100 * grid).round(1).to_string()}")
    widths = table.pivot_table(
        index=["layout", "patients", "sd_points"], columns="trainings", values="width_points"
    )
    say(f"\nwidth in points, mean over endpoints\n{widths.round(1).to_string()}")
    say(f"\nwhole studies\n{whole.round(3).to_string(index=False)}")
    worst = table.loc[table["coverage"].idxmin()]
    figures = {
        "cells": len(table),
        "studies_a_cell": int(table["studies"].iloc[0]),
        "least_coverage": float(table["coverage"].min()),
        "least_coverage_cell": {key: str(worst[key]) for key in KEYS},
        "most_false_above_0": float(null["too_high"].max()),
        "cells_below_93": int((table["coverage"] < 0.93).sum()),
        "least_hillis_coverage": float(
            table.loc[table["layout"] == "disjoint", "hillis_coverage"].min()
        ),
        "least_whole_coverage": float(whole["coverage"].min()),
        "most_whole_above_0": float(whole["above_0"].max()),
        "seconds_s": round(seconds, 1),
    }
    say(json.dumps(figures))


if __name__ == "__main__":
    main()
