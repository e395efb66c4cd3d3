from dataclasses import replace
from typing import get_args

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from lesionforge.errors import ConfigError, DataError
from lesionforge.label_qc.relabelling.budget import Annotators, BudgetConfig, Task, spend
from lesionforge.label_qc.relabelling.darl import Darl, DarlConfig
from lesionforge.label_qc.relabelling.scores import MISSING, boundary_scores, inconsistency_scores
from lesionforge.label_qc.relabelling.strategies import StrategyName, make_strategy
from tests.label_qc.planted import blobs

CONFIG = BudgetConfig(start=30, rounds=4, per_round=20, flip=0.3, folds=3)
STRATEGIES = get_args(StrategyName)


class Logistic:
    """A linear learner; its features are its inputs."""

    def fit(self, x, labels, classes, seed):
        self.model = LogisticRegression(C=0.1).fit(x, labels)
        return self

    def probabilities(self, x):
        found = np.zeros((len(x), 3))
        found[:, self.model.classes_] = self.model.predict_proba(x)
        return found

    def embeddings(self, x):
        return x

    def boundary_distance(self, x):
        return np.sort(self.model.decision_function(x), axis=1)[:, -1]


@pytest.fixture(scope="module")
def task():
    points, truth, _ = blobs(n=600, flips=0)
    return Task(points[:450], truth[:450], points[450:], truth[450:], 3)


def run(task, name, config=CONFIG):
    return list(spend(task, make_strategy(name, len(task.truth)), Logistic(), config))


@pytest.mark.parametrize("name", STRATEGIES)
def test_every_strategy_spends_the_same_and_repeats(task, name):
    rounds = run(task, name)
    assert [r.annotations for r in rounds] == [30, 50, 70, 90, 110]
    assert rounds == run(task, name)
    assert rounds != run(task, name, replace(CONFIG, seed=1))
    assert rounds[0] == run(task, "none")[0]


def test_relabelling_finds_wrong_labels_better_than_chance(task):
    config = replace(CONFIG, start=100, per_round=30)
    found = {n: run(task, n, config) for n in ("none", "random", "darl", "activelab", "oracle")}
    wrong = {n: sum(r.wrong_again for r in rounds) for n, rounds in found.items()}
    noise = {n: rounds[-1].noise for n, rounds in found.items()}
    assert wrong["none"] == 0
    assert wrong["darl"] > 1.5 * wrong["random"]
    assert wrong["oracle"] >= wrong["darl"]
    assert noise["darl"] < noise["random"] < noise["none"]
    assert noise["activelab"] < noise["none"]


def test_without_errors_there_is_no_noise(task):
    assert all(r.noise == 0 for r in run(task, "darl", replace(CONFIG, flip=0.0)))


def test_annotators_err_at_the_rate_and_nobody_is_asked_twice(task):
    annotators = Annotators(task, replace(CONFIG, flip=0.3, annotators=4))
    assert (annotators.answers != task.truth[:, None]).mean() == pytest.approx(0.3, abs=0.03)
    table = np.full((len(task.truth), 4), MISSING)
    for count in range(1, 5):
        table = annotators.ask(table, np.arange(len(table)))
        assert ((table != MISSING).sum(axis=1) == count).all()
    np.testing.assert_array_equal(table, annotators.answers)


def test_darl_moves_from_inconsistency_to_margin_and_remembers():
    points, labels, _ = blobs(flips=30)
    order = np.argsort(np.argsort(inconsistency_scores(points, labels)))
    early = Darl(len(labels), DarlConfig(margin_weight=(0, 1), memory=0))
    assert np.corrcoef(early.update(points, labels, 0.0), order)[0, 1] > 0.95
    late = early.update(points, labels, 1.0)
    assert (np.argsort(late) == np.argsort(boundary_scores(points, labels, 0.1))).all()
    slow = Darl(len(labels), DarlConfig(margin_weight=(0, 1), memory=0.5))
    first = slow.update(points, labels, 0.0)
    changed = labels.copy()
    changed[3] = (labels[3] + 1) % 3
    second = slow.update(points, changed, 1.0)
    now = Darl(len(labels), DarlConfig(margin_weight=(0, 1), memory=0)).update(points, changed, 1.0)
    assert second[3] == now[3]
    kept = np.arange(len(labels)) != 3
    np.testing.assert_allclose(second[kept], 0.5 * first[kept] + 0.5 * now[kept])


def test_unlabelled_cases_have_no_score():
    points, labels, _ = blobs()
    labels[:10] = MISSING
    scores = Darl(len(labels)).update(points, labels, 0.5)
    assert np.isnan(scores[:10]).all()
    assert np.isfinite(scores[10:]).all()


@pytest.mark.parametrize("name", STRATEGIES)
def test_nobody_is_asked_twice_where_annotators_are_few(task, name):
    rounds = run(task, name, replace(CONFIG, annotators=2))
    assert rounds[-1].annotations == 110


def test_bad_budgets_are_refused(task):
    for wrong in ({"flip": 1.0}, {"rounds": 0}, {"again_share": 1.2}, {"annotators": 1}):
        with pytest.raises(ConfigError, match="must be"):
            BudgetConfig(**wrong)
    with pytest.raises(ConfigError, match="memory"):
        DarlConfig(memory=1.0)
    with pytest.raises(DataError, match="pool has 450"):
        run(task, "none", replace(CONFIG, start=451))


class Always:
    """A model that has learnt nothing and says 0; a learner of itself."""

    def fit(self, x, labels, classes, seed):
        return self

    def probabilities(self, x):
        return np.tile([1.0, 0.0], (len(x), 1))

    def embeddings(self, x):
        return x

    def boundary_distance(self, x):
        return np.zeros(len(x))


@pytest.mark.parametrize(("balanced", "accuracy"), [(True, 0.5), (False, 0.75)])
def test_a_balanced_accuracy_is_the_mean_over_the_classes(balanced, accuracy):
    x, y = np.zeros((40, 1), np.float32), np.array([0] * 30 + [1] * 10)
    task = Task(x, y, x, y, 2, balanced)
    config = BudgetConfig(start=10, rounds=1, per_round=2)
    rounds = list(spend(task, make_strategy("random", 40), Always(), config))
    assert [r.accuracy for r in rounds] == [pytest.approx(accuracy)] * 2
