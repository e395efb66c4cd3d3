"""Ways to spend a round's budget: which cases to label for the first time, which ones again."""

from dataclasses import dataclass, field
from typing import Literal, Protocol

import numpy as np

from lesionforge.label_qc.relabelling.darl import Darl, DarlConfig
from lesionforge.label_qc.relabelling.scores import MISSING, activelab_scores

StrategyName = Literal["none", "random", "activelab", "dfal", "darl", "oracle"]


@dataclass(frozen=True)
class View:
    """What a strategy sees at the start of a round.

    Attributes:
        annotations: (N, A) labels of each annotator, `MISSING` where there is none.
        labels: (N,) in use, `MISSING` where there is none.
        embeddings: (N, D) of this round's model.
        probabilities: (N, K), out of sample for what is labelled.
        boundary_distance: (N,) the model's distance from each case to its decision boundary.
        truth: (N,) true labels; the oracle alone may look.
        progress: 0 in the first round, 1 in the last.
        seed: of this round.
    """

    annotations: np.ndarray
    labels: np.ndarray
    embeddings: np.ndarray
    probabilities: np.ndarray
    boundary_distance: np.ndarray
    truth: np.ndarray
    progress: float
    seed: int

    @property
    def count(self) -> np.ndarray:
        """(N,) how many annotations each case has."""
        return np.asarray((self.annotations != MISSING).sum(axis=1))

    def relabellable(self, most: int | None = None) -> np.ndarray:
        """(N,) bool: who has a label, and fewer annotations than there are annotators or `most`."""
        annotators = self.annotations.shape[1]
        most = annotators if most is None else min(most, annotators)
        return (self.labels != MISSING) & (self.count < most)


class Strategy(Protocol):
    """Chooses the cases to annotate in a round; a case is annotated at most once a round."""

    def choose(self, view: View, new: int, again: int, rng: np.random.Generator) -> np.ndarray:
        """Return (new + again,) indices, fewer where there are fewer.

        Args:
            view: the state.
            new: share of the budget meant for first labels.
            again: share meant for labels to be given again.
            rng: for ties and chance.
        """
        ...


def lowest(
    scores: np.ndarray, allowed: np.ndarray, wanted: int, rng: np.random.Generator
) -> np.ndarray:
    """Return the `wanted` allowed cases of the lowest scores; chance decides between equals."""
    cases = np.flatnonzero(allowed)
    order = np.lexsort([rng.random(len(cases)), scores[cases]])
    return np.asarray(cases[order[:wanted]])


def margin(probabilities: np.ndarray) -> np.ndarray:
    """Return the gap between the two likeliest classes (N,); small is uncertain."""
    two = np.sort(probabilities, axis=1)[:, -2:]
    return np.asarray(two[:, 1] - two[:, 0])


def _first(view: View, new: int, rng: np.random.Generator) -> np.ndarray:
    """Choose what to label first, alike for all but ActiveLab and DFAL: by uncertainty."""
    return lowest(margin(view.probabilities), view.labels == MISSING, new, rng)


class NoRelabelling:
    """All of the budget for new labels, chosen by uncertainty."""

    def choose(self, view: View, new: int, again: int, rng: np.random.Generator) -> np.ndarray:
        """See `Strategy`."""
        return _first(view, new + again, rng)


class Dfal:
    """All of the budget for the cases nearest to the decision boundary.

    DeepFool active learning, Ducoffe and Precioso 2018, arXiv:1802.09841; without its copies of
    adversarial examples.
    """

    def choose(self, view: View, new: int, again: int, rng: np.random.Generator) -> np.ndarray:
        """See `Strategy`."""
        return lowest(view.boundary_distance, view.labels == MISSING, new + again, rng)


@dataclass
class RandomRelabelling:
    """Labels to be given again are drawn by chance."""

    max_annotations: int = DarlConfig.max_annotations

    def choose(self, view: View, new: int, again: int, rng: np.random.Generator) -> np.ndarray:
        """See `Strategy`."""
        allowed = view.relabellable(self.max_annotations)
        chosen = lowest(np.zeros(len(allowed)), allowed, again, rng)
        return np.concatenate([_first(view, new, rng), chosen])


class ActiveLab:
    """First and further labels compete for the whole budget (`activelab_scores`)."""

    def choose(self, view: View, new: int, again: int, rng: np.random.Generator) -> np.ndarray:
        """See `Strategy`."""
        scores = activelab_scores(view.annotations, view.probabilities)
        return lowest(scores, view.count < view.annotations.shape[1], new + again, rng)


@dataclass
class DarlRelabelling:
    """Labels to be given again by our reading of Deep Active Re-Labeling (`Darl`)."""

    cases: int
    config: DarlConfig = field(default_factory=DarlConfig)

    def __post_init__(self) -> None:
        self._darl = Darl(self.cases, self.config)

    def choose(self, view: View, new: int, again: int, rng: np.random.Generator) -> np.ndarray:
        """See `Strategy`."""
        scores = self._darl.update(view.embeddings, view.labels, view.progress, view.seed)
        allowed = view.relabellable(self.config.max_annotations)
        return np.concatenate([_first(view, new, rng), lowest(scores, allowed, again, rng)])


class Oracle:
    """Labels to be given again are those that are wrong: what a perfect score would reach."""

    def choose(self, view: View, new: int, again: int, rng: np.random.Generator) -> np.ndarray:
        """See `Strategy`."""
        allowed = view.relabellable()
        right = (view.labels == view.truth).astype(float)
        return np.concatenate([_first(view, new, rng), lowest(right, allowed, again, rng)])


def make_strategy(name: StrategyName, cases: int, darl: DarlConfig | None = None) -> Strategy:
    """Make the strategy called `name` for a pool of `cases`."""
    darl = darl or DarlConfig()
    strategies: dict[StrategyName, Strategy] = {
        "none": NoRelabelling(),
        "random": RandomRelabelling(darl.max_annotations),
        "activelab": ActiveLab(),
        "dfal": Dfal(),
        "darl": DarlRelabelling(cases, darl),
        "oracle": Oracle(),
    }
    return strategies[name]
