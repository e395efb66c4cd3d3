"""A budget of annotations, spent round by round by a strategy, with annotators who err."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from sklearn.model_selection import KFold

from lesionforge.errors import ConfigError, DataError
from lesionforge.label_qc.relabelling.scores import MISSING, majority
from lesionforge.label_qc.relabelling.strategies import Strategy, View
from lesionforge.seeding import stream


@dataclass(frozen=True)
class BudgetConfig:
    """How much is annotated, and how well.

    Attributes:
        start: cases labelled before the first round, drawn by chance.
        rounds: of annotation.
        per_round: annotations a round.
        again_share: of a round's annotations that give a label again.
        flip: how often an annotator errs, evenly among the other classes; also when asked again.
        annotators: how many there are; none is asked twice about a case.
        folds: of the cross-fitted probabilities.
        seed: of the drawn cases, annotators, errors and folds.
    """

    start: int = 100
    rounds: int = 10
    per_round: int = 60
    again_share: float = 0.3
    flip: float = 0.3
    annotators: int = 5
    folds: int = 5
    seed: int = 0

    def __post_init__(self) -> None:
        """Check the ranges."""
        if min(self.start, self.rounds, self.per_round) < 1 or min(self.annotators, self.folds) < 2:
            raise ConfigError(
                "`start`, `rounds` and `per_round` must be at least 1, `annotators` and `folds` at "
                "least 2."
            )
        if not (0 <= self.again_share <= 1 and 0 <= self.flip < 1):
            raise ConfigError(
                "`again_share` must be in [0, 1] and `flip` in [0, 1), got "
                f"{self.again_share} and {self.flip}."
            )


class Model(Protocol):
    """A fitted classifier."""

    def probabilities(self, x: np.ndarray) -> np.ndarray:
        """Return (N, K) probabilities."""
        ...

    def embeddings(self, x: np.ndarray) -> np.ndarray:
        """Return (N, D) features."""
        ...

    def boundary_distance(self, x: np.ndarray) -> np.ndarray:
        """Return (N,) distances to the decision boundary."""
        ...


class Learner(Protocol):
    """Fits a `Model`."""

    def fit(self, x: np.ndarray, labels: np.ndarray, classes: int, seed: int) -> Model:
        """Fit `labels` (N,) in [0, classes) to `x` (N, ...)."""
        ...


@dataclass(frozen=True)
class Round:
    """What a budget had bought when it was spent so far.

    Attributes:
        annotations: given so far, first and again.
        labelled: cases with a label.
        noise: share of their labels that are wrong.
        accuracy: of the model on the test cases.
        again: annotations of this round that gave a label again.
        wrong_again: of those, how many were of a wrong label.
    """

    annotations: int
    labelled: int
    noise: float
    accuracy: float
    again: int
    wrong_again: int


@dataclass(frozen=True)
class Task:
    """A pool to be labelled and a test set whose labels are right.

    Attributes:
        pool: (N, ...) cases.
        truth: (N,) their true labels, in [0, classes).
        test: (M, ...) cases.
        test_truth: (M,).
        classes: how many there are.
        balanced: whether accuracy is the mean over the classes rather than over the test cases.
    """

    pool: np.ndarray
    truth: np.ndarray
    test: np.ndarray
    test_truth: np.ndarray
    classes: int
    balanced: bool = False


class Annotators:
    """Answers about the pool, drawn beforehand, so that they do not depend on who is asked when."""

    def __init__(self, task: Task, config: BudgetConfig) -> None:
        shape = (len(task.truth), config.annotators)
        rng = stream(config.seed, "annotators")
        other = (task.truth[:, None] + rng.integers(1, task.classes, shape)) % task.classes
        self.answers = np.where(rng.random(shape) < config.flip, other, task.truth[:, None])
        self.order = rng.permuted(np.tile(np.arange(shape[1]), (shape[0], 1)), axis=1)

    def ask(self, annotations: np.ndarray, cases: np.ndarray) -> np.ndarray:
        """Return `annotations` (N, A) with one more for each of `cases`, by who comes next."""
        annotations = annotations.copy()
        turn = (annotations[cases] != MISSING).sum(axis=1)
        who = self.order[cases, turn]
        annotations[cases, who] = self.answers[cases, who]
        return annotations


def spend(
    task: Task, strategy: Strategy, learner: Learner, config: BudgetConfig
) -> Iterator[Round]:
    """Spend the budget, and yield what it has bought before the first round and after each.

    Two strategies with the same `config` start from the same cases and ask annotators whose answers
    are the same.

    Raises:
        DataError: when the pool is smaller than `start`.
    """
    cases = len(task.truth)
    if cases < config.start:
        raise DataError(f"The pool has {cases} cases, `start` asks for {config.start}.")
    annotators = Annotators(task, config)
    annotations = np.full((cases, config.annotators), MISSING)
    first = stream(config.seed, "start").choice(cases, config.start, replace=False)
    annotations = annotators.ask(annotations, first)
    again = round(config.per_round * config.again_share)
    probabilities = np.zeros((cases, task.classes))
    bought = np.zeros(2, dtype=int)
    for turn in range(config.rounds + 1):
        labels = majority(annotations, probabilities)
        view, accuracy = _look(task, learner, config, annotations, labels, turn)
        probabilities = view.probabilities
        given = labels != MISSING
        yield Round(
            annotations=int((annotations != MISSING).sum()),
            labelled=int(given.sum()),
            noise=float((labels != task.truth)[given].mean()),
            accuracy=accuracy,
            again=int(bought[0]),
            wrong_again=int(bought[1]),
        )
        if turn == config.rounds:
            return
        rng = stream(config.seed, "choice", turn)
        chosen = strategy.choose(view, config.per_round - again, again, rng)
        repeated = chosen[labels[chosen] != MISSING]
        bought = np.array([len(repeated), (labels != task.truth)[repeated].sum()])
        annotations = annotators.ask(annotations, chosen)


def _look(
    task: Task,
    learner: Learner,
    config: BudgetConfig,
    annotations: np.ndarray,
    labels: np.ndarray,
    turn: int,
) -> tuple[View, float]:
    """Fit the model, cross-fit the labelled cases' probabilities, measure the test accuracy."""
    given = np.flatnonzero(labels != MISSING)
    seed = int(stream(config.seed, "model", turn).integers(2**31))

    def fit(cases: np.ndarray) -> Model:
        return learner.fit(task.pool[cases], labels[cases], task.classes, seed)

    model = fit(given)
    probabilities = model.probabilities(task.pool)
    for train, held_out in KFold(config.folds, shuffle=True, random_state=seed).split(given):
        held_out = given[held_out]
        probabilities[held_out] = fit(given[train]).probabilities(task.pool[held_out])
    view = View(
        annotations=annotations,
        labels=labels,
        embeddings=model.embeddings(task.pool),
        probabilities=probabilities,
        boundary_distance=model.boundary_distance(task.pool),
        truth=task.truth,
        progress=turn / max(config.rounds - 1, 1),
        seed=seed,
    )
    return view, _accuracy(task, model.probabilities(task.test))


def _accuracy(task: Task, probabilities: np.ndarray) -> float:
    right = probabilities.argmax(axis=1) == task.test_truth
    if not task.balanced:
        return float(right.mean())
    return float(np.mean([right[task.test_truth == k].mean() for k in np.unique(task.test_truth)]))
