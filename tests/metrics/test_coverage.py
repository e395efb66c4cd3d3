"""The benchmark of coverage: its curves are ours, its truths true, and it sees a bad interval."""

import importlib.util
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from lesionforge.metrics.endpoints import PRIMARY, endpoint_readings
from lesionforge.metrics.marks import Marks, Scores
from lesionforge.seeding import stream

# by its path: another package is called `coverage` too
PLACE = Path(__file__).parents[2] / "benchmarks" / "coverage.py"
SPEC = importlib.util.spec_from_file_location("coverage_benchmark", PLACE)
coverage = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(coverage)


def test_its_froc_areas_and_jackknife_are_the_librarys():
    rng = stream(0, "areas")
    score = rng.normal(size=(1, 2, 2, 9)).astype(np.float32)
    drawn = []

    class Recorded:
        def normal(self, *args, **kwargs):
            drawn.append(rng.normal(*args, **kwargs))
            return drawn[-1]

        def random(self, shape):
            drawn.append(rng.random(shape))
            return drawn[-1]

    values, left_out = coverage.froc_areas(score, Recorded())
    false = drawn[0].astype(np.float32)
    false[drawn[1] < 0.5] = -np.inf
    for regime in range(2):
        for training in range(2):
            mine = false[0, regime, training]
            owner, slot = np.nonzero(np.isfinite(mine))
            found = score[0, regime, training].astype(float)
            nothing = np.full(9, np.nan)
            marks = Marks(
                np.arange(9).astype(str), np.zeros(0, str), Scores(found, np.arange(9)),
                Scores(mine[owner, slot].astype(float), owner),
                Scores(np.zeros(0), np.zeros(0, int)), found, nothing, nothing[:0], nothing,
            )  # fmt: skip
            ours = endpoint_readings([marks], 0.5)[PRIMARY]
            assert values[0, regime, training] == pytest.approx(ours.values[0], abs=1e-6)
            np.testing.assert_allclose(left_out[0, regime, training], ours.left_out[0], atol=1e-6)


@pytest.mark.parametrize("endpoint", ["graded", "found"])
def test_true_values_are_those_of_many_patients(endpoint):
    scores = stream(1, "truth").normal(0.3, 1.3, 400_000)
    cut = np.clip(scores / coverage.WIDTH + 0.5, 0, 1)
    each = scores > 0 if endpoint == "found" else cut
    assert coverage.expected(endpoint, np.float64(0.3), 1.3) == pytest.approx(
        each.mean(), abs=0.003
    )


@pytest.mark.parametrize("layout", ["disjoint", "shared", "cross-fitted, pool"])
def test_the_spread_between_trainings_is_as_asked(layout):
    rng = stream(2, "spread", layout)
    sd = coverage.latent_sd("found", 5)
    own, common = coverage.effects(layout, sd, (20_000, 3), rng)
    assert own.std() == pytest.approx(sd, rel=0.03)
    shared = np.corrcoef(own[:, 0, 0, 0], own[:, 0, 1, 0])[0, 1]
    assert shared == pytest.approx(0 if layout == "disjoint" else 0.5, abs=0.03)
    assert common.std() == pytest.approx(0 if layout == "disjoint" else sd * 0.5**0.5, rel=0.03)


def test_a_cell_covers_and_halved_intervals_do_not(monkeypatch):
    cell = ("graded", "disjoint", 14, 5, 3, 0)
    good = coverage.count(cell, 600)
    assert good["coverage"] > 0.93
    half = coverage.half_width
    monkeypatch.setattr(coverage, "half_width", lambda *args: half(*args) / 2)
    assert coverage.count(cell, 600)["coverage"] < 0.8


def test_the_table_is_kept_and_the_last_line_is_json(tmp_path, monkeypatch, capsys):
    some = [("graded", "disjoint", 14, 3, 0, 0), ("found", "shared", 35, 10, 3, 0)]
    monkeypatch.setattr(coverage, "cells", lambda: some)
    table = tmp_path / "coverage.tsv"
    monkeypatch.setattr(
        "sys.argv", ["coverage.py", "--table", str(table), "--studies", "100", "--whole", "2"]
    )
    coverage.main()
    first = table.read_bytes()
    coverage.main()
    assert table.read_bytes() == first
    lines = capsys.readouterr().out.splitlines()
    assert '"cells": 2' in lines[-1]
    assert any(line.startswith("0 cells to do") for line in lines)
    assert len(pd.read_csv(table, sep="\t")) == 2


def test_whole_studies_have_all_endpoints_and_no_difference():
    table = coverage.whole_studies(12)
    assert len(table) == 3 * 11
    assert table["coverage"].mean() > 0.9
    assert table["width_points"].between(2, 80).all()
