"""The figures and the data of `benchmarks/relabelling.py`."""

import json

import numpy as np
import pandas as pd
import pytest
from benchmarks.relabelling import load_task, summarize, to_json


def rounds(noise):
    """Return the rounds of two strategies, whose last round has the given noise a seed."""
    return pd.DataFrame(
        {
            "flip": 0.3, "strategy": strategy, "seed": seed, "round": number,
            "annotations": 100 + 60 * number, "labelled": 100, "again": 2, "wrong_again": 1,
            "noise": values[seed] if number else 0.5, "accuracy": 0.8,
        }
        for strategy, values in noise.items()
        for seed in range(len(values))
        for number in (0, 1)
    )  # fmt: skip


def test_the_pool_and_the_test_set_are_split_by_the_seed():
    task = load_task(3)
    assert (task.pool.shape, task.test.shape) == ((1347, 64), (450, 64))
    assert (task.pool.min(), task.pool.max()) == (-0.5, 0.5)
    assert set(task.truth) == set(task.test_truth) == set(range(10))
    np.testing.assert_array_equal(task.pool, load_task(3).pool)
    assert (task.truth != load_task(4).truth).any()


def test_figures_are_means_of_the_last_round_paired_by_seed():
    table = rounds({"random": [0.3, 0.2], "darl": [0.1, 0.2]})
    figures = summarize(table).set_index("strategy")
    assert figures.loc["random", "noise"] == pytest.approx(0.25)
    assert figures.loc["darl", "noise_minus_random"] == pytest.approx(-0.1)
    assert figures.loc["darl", "less_noise_than_random"] == 1
    assert figures.loc["darl", "wrong_again"] == 2
    half = 12.706 * 0.1  # t of one degree of freedom, times the standard error
    assert figures.loc["darl", "noise_minus_random_high"] == pytest.approx(-0.1 + half, abs=1e-4)


def test_what_one_seed_cannot_tell_is_null():
    table = rounds({"random": [0.3]})
    text = json.dumps(to_json(table, summarize(table)), allow_nan=False)
    found = json.loads(text)
    assert found["annotations"] == 160
    assert found["figures"][0]["noise"] == pytest.approx(0.3)
    assert found["figures"][0]["noise_low"] is None
