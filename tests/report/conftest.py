"""Cells on disk, fabricated from a simulation of scores with known sensitivities."""

import importlib.util
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import ndimage

from lesionforge.data.cohort import write_subject
from lesionforge.data.subject import Subject, read_brain, read_lesion
from lesionforge.data.volume import Grid, write_volume
from lesionforge.metrics.config import CandidateRules
from lesionforge.metrics.evaluation import (
    CANDIDATE_COLUMNS,
    SUBJECT_COLUMNS,
    evaluate_subject,
)
from lesionforge.provenance import write_json, write_tsv
from lesionforge.report.runs import Run
from lesionforge.seeding import stream

_spec = importlib.util.spec_from_file_location("toy", Path(__file__).parents[1] / "conftest.py")
toy = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(toy)

RULES = CandidateRules()
LEVEL = {"baseline": -0.4, "augmented": -0.1, "expanded": 1.2}
SIZES = {"baseline": 4, "augmented": 4, "expanded": 8}
N_VALIDATION = 4


@dataclass(frozen=True)
class Bench:
    """A cohort, its synthetic set, and trained cells on disk."""

    root: Path
    cohort: list[Subject]
    synthetic: list[Subject]
    runs: list[Run]


def simulate_probability(subject: Subject, regime: str, seed: int, shape: tuple) -> np.ndarray:
    """A blob on the lesion when it is found, and blobs elsewhere; ease is a patient's own."""
    rng = stream(seed, "map", subject.id, regime)
    ease = stream(0, "ease", subject.id).normal()
    probability = np.zeros(shape, np.float32)
    lesion, brain = read_lesion(subject), read_brain(subject)
    score = 1 / (1 + np.exp(-(ease + LEVEL[regime] + rng.normal(0, 0.3))))
    if lesion.any() and score > 0.5:
        probability = np.maximum(probability, lesion * np.float32(score))
    away = np.argwhere(
        brain & (ndimage.distance_transform_edt(~lesion) > 3 if lesion.any() else brain)
    )
    for _ in range(rng.poisson(0.7)):
        x, y, z = away[rng.integers(len(away))]
        probability[x : x + 2, y : y + 2, z : z + 2] = rng.uniform(0.3, 0.85)
    return probability


def write_cell(run: Run, roles: dict, subjects: list, training: dict, grid: Grid) -> None:
    """Write what training and prediction leave in a cell's folder."""
    candidates, rows = [], []
    for subject in subjects:
        if roles[subject.id] == "train":
            continue
        probability = simulate_probability(subject, run.regime, run.seed, grid.shape)
        write_volume(run.probability(subject.id), probability, grid)
        found, _, row = evaluate_subject(
            subject.id, subject.group, subject.site, probability, read_lesion(subject), grid, RULES
        )
        candidates += [{**c, "role": roles[subject.id]} for c in found]
        rows.append({**row, "role": roles[subject.id]})
    columns = [*CANDIDATE_COLUMNS, "role"]
    write_tsv(run.folder / "candidates.tsv", pd.DataFrame(candidates, columns=columns))
    write_tsv(run.folder / "subjects.tsv", pd.DataFrame(rows, columns=[*SUBJECT_COLUMNS, "role"]))
    write_json(run.folder / "rules.json", asdict(RULES))
    real = sorted({s for sources in training.values() for s in sources})
    ill = [i for i in training if i.startswith(("sub-p", "sub-syn"))]
    known = {"training": training, "real_subjects": real, "patients": ill}
    write_json(run.folder / "lineage.json", known)
    made_with = {"config": {"steps": 300, "workers": run.seed}, "precision": "32-true"}
    weights = {"weights_sha256": f"{run.seed:064d}"}
    write_json(run.folder / "detector.json", weights | made_with)
    step = np.arange(0, 300, 5)
    loss = 0.4 + 1.2 * np.exp(-step / 80) + stream(run.seed, run.regime).normal(0, 0.05, 60)
    write_tsv(run.folder / "losses.tsv", pd.DataFrame({"step": step, "loss": loss}))


def build_bench(
    root: Path, grid: Grid, n: int = 24, m: int = 18, seeds: tuple = (0, 1), folds: int = 0
) -> Bench:
    """Write a cohort of `n` patients and `m` controls, and the cells of three regimes."""
    cohort = toy.write_toy_cohort(root / "cohort", grid, n, m)
    synthetic = [
        Subject(
            f"sub-syn{i:04d}",
            "patient",
            s.site,
            root / "synthetic",
            True,
            (s.id,),
            channels=("T1w", "FLAIR"),
        )
        for i, s in enumerate(cohort[:4])
    ]
    for subject in synthetic:
        write_subject(subject, toy.toy_volumes(subject.id, True, grid), grid, {})
    groups = {g: [s.id for s in cohort if s.group == g] for g in ("patient", "control")}
    runs = []
    for fold in range(folds) if folds else (None,):
        roles = roles_of(groups, fold, folds)
        for regime, size in SIZES.items():
            for seed in seeds:
                place = root if fold is None else root / f"fold-{fold}"
                chosen = [
                    i for g in groups for i in [x for x in groups[g] if roles[x] == "train"][:size]
                ]
                training = {i: [i] for i in chosen}
                n_synthetic = 4 if regime == "augmented" else 0
                for k in range(n_synthetic):
                    training[f"sub-syn{k:04d}"] = [chosen[k]]
                run = Run(
                    regime,
                    seed,
                    fold,
                    place / "detector" / regime / f"seed-{seed}",
                    size,
                    size,
                    n_synthetic,
                    0,
                    source="spade" if n_synthetic else "",
                    mode="insert" if n_synthetic else "",
                    folds=folds,
                )
                write_cell(run, roles, cohort, training, grid)
                runs.append(run)
    return Bench(root, cohort, synthetic, runs)


def roles_of(groups: dict, fold: int | None, folds: int) -> dict[str, str]:
    """Train first, validation next, the rest tests; with folds every `folds`-th subject tests."""
    roles = {}
    for ids in groups.values():
        test = set(ids[8 + N_VALIDATION :]) if fold is None else set(ids[fold::folds])
        rest = [i for i in ids if i not in test]
        roles.update(dict.fromkeys(test, "test"))
        roles.update(dict.fromkeys(rest[:8], "train"))
        roles.update(dict.fromkeys(rest[8:], "validation"))
    return roles


@pytest.fixture(scope="session")
def bench(tmp_path_factory: pytest.TempPathFactory, toy_grid: Grid) -> Bench:
    """24 patients, 18 controls, three regimes, two seeds; read-only."""
    return build_bench(tmp_path_factory.mktemp("bench"), toy_grid)


@pytest.fixture
def make_bench(tmp_path: Path, toy_grid: Grid) -> Callable[..., Bench]:
    return lambda **options: build_bench(tmp_path, toy_grid, **options)
