"""Deep Active Re-Labeling: which given labels to annotate again.

Our reading of Al Forhad and Shi 2025 (arXiv:2606.08718). The abstract and a commentary name the
parts (boundary noise, inconsistency noise, a weight that moves between them over the rounds, an
exponential moving average); no formula is published in what could be found, so every constant here
is a parameter and a choice of ours.
"""

from dataclasses import dataclass

import numpy as np
from scipy.stats import rankdata

from lesionforge.errors import ConfigError
from lesionforge.label_qc.relabelling.scores import boundary_scores, inconsistency_scores


@dataclass(frozen=True)
class DarlConfig:
    """Constants of our reading.

    Attributes:
        neighbours: asked for inconsistency noise.
        c: penalty of the maximum-margin classifier.
        margin_weight: of boundary noise in the first and in the last round; linear between. Early
            the margin is unstable, so inconsistency leads.
        memory: of the exponential moving average; 0 forgets, near 1 hardly learns.
        max_annotations: a label is not annotated more often than this.
    """

    neighbours: int = 10
    c: float = 0.1
    margin_weight: tuple[float, float] = (0.2, 0.8)
    memory: float = 0.3
    max_annotations: int = 3

    def __post_init__(self) -> None:
        """Check the ranges."""
        if self.neighbours < 1 or self.max_annotations < 2 or self.c <= 0:
            raise ConfigError(
                "`neighbours` must be at least 1, `max_annotations` at least 2 and `c` above 0, "
                f"got {self.neighbours}, {self.max_annotations} and {self.c}."
            )
        if not (0 <= self.memory < 1 and all(0 <= w <= 1 for w in self.margin_weight)):
            raise ConfigError(
                "`memory` must be in [0, 1) and both `margin_weight` in [0, 1], got "
                f"{self.memory} and {self.margin_weight}."
            )


class Darl:
    """Scores of given labels over the rounds of one budget; lower means look here first.

    Args:
        cases: how many there are, labelled or not.
        config: constants.
    """

    def __init__(self, cases: int, config: DarlConfig | None = None) -> None:
        self.config = config or DarlConfig()
        self.average = np.full(cases, np.nan)
        self._labels = np.full(cases, -1)

    def update(
        self, embeddings: np.ndarray, labels: np.ndarray, progress: float, seed: int = 0
    ) -> np.ndarray:
        """Take in a round and return the averaged scores.

        A label that has changed since the last round starts its average anew.

        Args:
            embeddings: (N, D) of this round's model.
            labels: (N,), -1 where there is none.
            progress: 0 in the first round, 1 in the last.
            seed: of the cross-fitting.

        Returns:
            (N,) in [0, 1], NaN where there is no label.
        """
        given = np.flatnonzero(labels >= 0)
        first, last = self.config.margin_weight
        weight = first + (last - first) * progress
        features, own = embeddings[given], labels[given]
        margin = _ranks(boundary_scores(features, own, self.config.c, seed=seed))
        agreement = _ranks(inconsistency_scores(features, own, self.config.neighbours))
        score = weight * margin + (1 - weight) * agreement
        old = np.where(self._labels[given] == own, self.average[given], np.nan)
        memory = self.config.memory
        self.average[given] = np.where(
            np.isnan(old), score, memory * np.nan_to_num(old) + (1 - memory) * score
        )
        self._labels = labels.copy()
        return self.average.copy()


def _ranks(scores: np.ndarray) -> np.ndarray:
    """Replace scores by their ranks in [0, 1], so that two kinds can be added."""
    return np.asarray((rankdata(scores) - 0.5) / len(scores))
