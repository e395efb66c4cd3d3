"""A table of a detector's candidates as a task of `benchmarks/relabelling.py`."""

import numpy as np
import pandas as pd
import pytest

from lesionforge.errors import DataError
from lesionforge.label_qc.relabelling.budget import BudgetConfig, Task, spend
from lesionforge.label_qc.relabelling.strategies import make_strategy
from lesionforge.provenance import write_tsv
from relabelling import scaled_budget
from relabelling_data import load_candidates, load_task


def table(subjects=20):
    rng = np.random.default_rng(0)
    rows = [
        {"participant_id": f"sub-{i:02d}", "candidate": j + 1, "hit": int(j == 0), "who": float(i)}
        for i in range(subjects)
        for j in range(3)
    ]
    return pd.DataFrame(rows).assign(score=rng.random(3 * subjects))


def test_nobody_is_in_pool_and_test_and_the_pool_sets_the_scale(tmp_path):
    path = tmp_path / "candidates.tsv"
    write_tsv(path, table())
    task = load_task(str(path), 3)
    assert task.pool.shape == (45, 2)
    assert task.test.shape == (15, 2)
    assert not set(task.pool[:, 0]) & set(task.test[:, 0])
    np.testing.assert_allclose(task.pool.mean(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(task.pool.std(axis=0), 1, atol=1e-5)
    assert (task.truth.sum(), task.test_truth.sum()) == (15, 5)
    np.testing.assert_array_equal(task.pool, load_candidates(path, 3).pool)
    assert (task.pool[:, 0] != load_candidates(path, 4).pool[:, 0]).any()


def test_tables_that_teach_nothing_are_refused(tmp_path):
    path = tmp_path / "candidates.tsv"
    write_tsv(path, table().assign(hit=1))
    with pytest.raises(DataError, match="too few candidates"):
        load_candidates(path, 0)
    write_tsv(path, table().assign(score=np.nan))
    with pytest.raises(DataError, match="without a value"):
        load_candidates(path, 0)


class Always:
    """A model that has learnt nothing and says 0; a learner of itself."""

    def fit(self, x, labels, classes, seed):
        return self

    def probabilities(self, x):
        return np.tile([0.9, 0.1], (len(x), 1))

    def embeddings(self, x):
        return x

    def boundary_distance(self, x):
        return np.zeros(len(x))


def test_always_saying_false_positive_is_no_better_than_chance():
    x, y = np.zeros((40, 1), np.float32), np.array([0] * 30 + [1] * 10)
    config = BudgetConfig(start=10, rounds=1, per_round=2)
    for balanced, accuracy in ((True, 0.5), (False, 0.75)):
        task = Task(x, y, x, y, 2, balanced)
        rounds = list(spend(task, make_strategy("random", 40), Always(), config))
        assert [r.accuracy for r in rounds] == [pytest.approx(accuracy)] * 2


def test_the_budget_is_the_same_share_of_a_smaller_pool():
    usual = BudgetConfig(flip=0.1, seed=4)
    assert scaled_budget(1347, 0.1, 4) == usual
    assert scaled_budget(5000, 0.1, 4) == usual
    half = scaled_budget(674, 0.1, 4)
    assert (half.start, half.per_round, half.rounds) == (50, 30, 10)
    tiny = scaled_budget(20, 0.1, 4)
    assert (tiny.start, tiny.per_round) == (10, 2)
