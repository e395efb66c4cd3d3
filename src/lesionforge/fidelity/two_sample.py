"""Can two samples be told apart? A classifier's AUC and a kernel distance, on fixed features."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedGroupKFold
from sklearn.preprocessing import StandardScaler

from lesionforge.errors import DataError
from lesionforge.evaluation.statistics import Estimate, quantiles
from lesionforge.seeding import stream

STRENGTH = 0.03  # of the classifier's fit against its penalty (scikit-learn's C)
LIMIT = 4.0  # standard deviations; features beyond are cut there


@dataclass(frozen=True, eq=False)
class Sample:
    """Features of a group of subjects.

    Attributes:
        values: (N, D).
        groups: N names; subjects of one name share an anatomy and are never parted.
    """

    values: np.ndarray
    groups: Sequence[str]

    def __len__(self) -> int:
        return len(self.values)


def classifier_auc(
    a: Sample,
    b: Sample,
    seed: int,
    folds: int = 5,
    repeats: int = 4,
    replicates: int = 1000,
) -> Estimate:
    """Run a classifier two-sample test (Lopez-Paz and Oquab, ICLR 2017).

    A penalised logistic regression on standardised features and their distances from the mean (so
    that too much and too little variety show as well) is cross-fitted with groups kept together.
    Pairs are compared within the fold that held them out. The interval resamples groups.

    Args:
        a: one sample.
        b: the other.
        seed: of folds and resampling.
        folds: fewer where groups are few.
        repeats: of the cross-fitting, averaged.
        replicates: of the bootstrap.

    Returns:
        The AUC: 0.5 cannot be told apart, 1 always can; undefined below six subjects a sample.
    """
    fewest = min(len(set(a.groups)), len(set(b.groups)))
    if min(len(a), len(b), fewest) < 6:
        return Estimate(None, None, "fewer than six subjects or hosts in one of the samples")
    values = np.concatenate([a.values, b.values])
    if not np.isfinite(values).all():
        raise DataError("Features are not finite. Prepare or synthesize the subjects again.")
    label = np.repeat([0, 1], [len(a), len(b)])
    groups = np.array([*a.groups, *b.groups])
    fold = np.empty((repeats, len(values)), dtype=int)
    score = np.empty((repeats, len(values)))
    for repeat in range(repeats):
        draw = int(stream(seed, "two-sample", repeat).integers(2**31))
        cut = StratifiedGroupKFold(min(folds, fewest), shuffle=True, random_state=draw)
        for number, (train, test) in enumerate(cut.split(values, label, groups)):
            fold[repeat, test] = number
            score[repeat, test] = _score(values[train], label[train], values[test])
    names, place = np.unique(groups, return_inverse=True)
    rng = stream(seed, "two-sample", "bootstrap")
    drawn = rng.multinomial(len(names), np.full(len(names), 1 / len(names)), size=replicates)
    weights = np.concatenate([np.ones((1, len(names))), drawn])[:, place]
    found = np.mean([_auc(score[r], fold[r], label, weights) for r in range(repeats)], axis=0)
    return Estimate(float(found[0]), quantiles(found[1:]))


def _score(train: np.ndarray, label: np.ndarray, test: np.ndarray) -> np.ndarray:
    if len(np.unique(label)) < 2:  # a fold of few groups may leave one sample alone
        return np.zeros(len(test))
    scale = StandardScaler().fit(train)
    model = LogisticRegression(C=STRENGTH, max_iter=2000, class_weight="balanced")
    both = StandardScaler().fit(_folded(scale, train))
    model.fit(both.transform(_folded(scale, train)), label)
    return np.asarray(model.decision_function(both.transform(_folded(scale, test))))


def _folded(scale: StandardScaler, values: np.ndarray) -> np.ndarray:
    """Return standardised features and their absolute values, (N, 2 D)."""
    points = np.clip(scale.transform(values), -LIMIT, LIMIT)
    return np.concatenate([points, np.abs(points)], axis=1)


def _auc(score: np.ndarray, fold: np.ndarray, label: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return the AUC (R,) of weighted pairs that were held out together."""
    won, pairs = np.zeros(len(weights)), np.zeros(len(weights))
    for number in np.unique(fold):
        low, high = ((fold == number) & (label == k) for k in (0, 1))
        above = score[high][:, None] - score[low][None]
        wins = (above > 0) + 0.5 * (above == 0)
        won += np.einsum("ri,ij,rj->r", weights[:, high], wins, weights[:, low])
        pairs += weights[:, high].sum(1) * weights[:, low].sum(1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return won / pairs


def kernel_distance(
    a: Sample, b: Sample, seed: int, permutations: int = 500
) -> tuple[float, float]:
    """Return the squared kernel distance and the chance of one as large within one population.

    The unbiased estimate with the cubic kernel (Binkowski et al., ICLR 2018), on features
    standardised by `b`; whole groups change sides in the permutations.
    """
    scale = StandardScaler().fit(b.values)
    points = [np.clip(scale.transform(s.values), -LIMIT, LIMIT) for s in (a, b)]
    both = np.concatenate(points)
    kernel = (both @ both.T / both.shape[1] + 1) ** 3
    side = np.repeat([True, False], [len(a), len(b)])
    names, place = np.unique([*a.groups, *b.groups], return_inverse=True)
    found = _distance(kernel, side)
    rng = stream(seed, "kernel-distance")
    first = np.array([side[place == i][0] for i in range(len(names))])
    drawn = [_distance(kernel, rng.permutation(first)[place]) for _ in range(permutations)]
    return found, float((1 + np.sum(np.array(drawn) >= found)) / (1 + permutations))


def _distance(kernel: np.ndarray, side: np.ndarray) -> float:
    one, other = kernel[np.ix_(side, side)], kernel[np.ix_(~side, ~side)]
    n, m = len(one), len(other)
    if min(n, m) < 2:
        return float("nan")
    within = (one.sum() - np.trace(one)) / (n * (n - 1))
    across = (other.sum() - np.trace(other)) / (m * (m - 1))
    return float(within + across - 2 * kernel[np.ix_(side, ~side)].mean())
