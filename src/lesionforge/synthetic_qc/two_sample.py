"""Can two samples be told apart? A classifier's AUC and a kernel distance, on fixed features."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.metrics.pairwise import polynomial_kernel
from sklearn.model_selection import StratifiedGroupKFold
from sklearn.preprocessing import StandardScaler

from lesionforge.errors import DataError
from lesionforge.metrics.intervals import Estimate
from lesionforge.seeding import stream

STRENGTH = 0.03  # of the classifier's fit against its penalty (scikit-learn's C)
LIMIT = 4.0  # standard deviations; features beyond are cut there
LEAST = 6  # subjects, and groups, of a sample


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


@dataclass(frozen=True)
class Separation:
    """What a classifier two-sample test found.

    Attributes:
        auc: 0.5 cannot be told apart, 1 always can; undefined below six subjects a sample.
        chance: of an AUC as far from 0.5 if the samples were one population; None if undefined.
    """

    auc: Estimate
    chance: float | None = None


def classifier_test(
    a: Sample, b: Sample, seed: int, folds: int = 5, repeats: int = 4, permutations: int = 100
) -> Separation:
    """Run a classifier two-sample test (Lopez-Paz and Oquab, ICLR 2017).

    A penalised logistic regression on standardised features and their distances from the mean (so
    that too much and too little variety show as well) is cross-fitted with groups kept together.
    Pairs are compared within the fold that held them out. The interval has the width of the AUC's
    spread when whole groups change sides at random and everything is fitted again; a bootstrap of
    finished scores would leave the fitting out and be too narrow. Far from 0.5 it is too wide.

    Args:
        a: one sample.
        b: the other.
        seed: of folds and permutations.
        folds: fewer where groups are few.
        repeats: of the cross-fitting, averaged.
        permutations: each with one cross-fitting.
    """
    fewest = min(len(set(a.groups)), len(set(b.groups)))
    if fewest < LEAST:
        return Separation(Estimate(None, None, f"fewer than {LEAST} subjects or hosts in a sample"))
    values = np.concatenate([a.values, b.values])
    if not np.isfinite(values).all():
        raise DataError("Features are not finite. Prepare or synthesize the subjects again.")
    label = np.repeat([0, 1], [len(a), len(b)])
    groups = np.array([*a.groups, *b.groups])
    folds = min(folds, fewest // 2)

    def fit(labels: np.ndarray, number: int) -> float:
        return _cross_fit(values, labels, groups, folds, stream(seed, "two-sample", number))

    value = float(np.nanmean([fit(label, i) for i in range(repeats)]))
    rng = stream(seed, "two-sample", "permutations")
    null = np.array([fit(_permuted(label, groups, rng), i) for i in range(permutations)])
    null = null[np.isfinite(null)]
    reach = 1.96 * float(np.sqrt(np.mean((null - 0.5) ** 2)))
    chance = float((1 + np.sum(abs(null - 0.5) >= abs(value - 0.5))) / (1 + len(null)))
    return Separation(Estimate(value, (max(0.0, value - reach), min(1.0, value + reach))), chance)


def _permuted(label: np.ndarray, groups: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Let groups change sides; one with both labels keeps how many it has of each."""
    number = np.unique(groups, return_inverse=True)[1]
    units, place = np.unique(np.stack([number, label], axis=1), axis=0, return_inverse=True)
    owner, side = units.T
    drawn, mixed = side.copy(), np.bincount(owner)[owner] > 1
    for group in np.unique(owner[mixed]):
        drawn[owner == group] = rng.permutation(side[owner == group])
    drawn[~mixed] = rng.permutation(side[~mixed])
    return drawn[place.ravel()]


def _cross_fit(
    values: np.ndarray,
    label: np.ndarray,
    groups: np.ndarray,
    folds: int,
    rng: np.random.Generator,
) -> float:
    """Return the AUC of pairs that were held out together; NaN if no fold has both labels."""
    cut = StratifiedGroupKFold(folds, shuffle=True, random_state=int(rng.integers(2**31)))
    won, pairs = 0.0, 0
    for train, test in cut.split(values, label, groups):
        score = _score(values[train], label[train], values[test])
        low, high = (score[label[test] == k] for k in (0, 1))
        won += float(wins(high, low).sum())
        pairs += len(high) * len(low)
    return won / pairs if pairs else float("nan")


def wins(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return which of `a` are above which of `b` (N, M), a tie being 0.5; the mean is an AUC."""
    return (a[:, None] > b) + 0.5 * (a[:, None] == b)


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


def kernel_distance(
    a: Sample, b: Sample, seed: int, permutations: int = 500
) -> tuple[float, float]:
    """Return the squared kernel distance and the chance of one as large within one population.

    The unbiased estimate with the cubic kernel (Binkowski et al., ICLR 2018), on features
    standardised over both samples, with one subject a group, drawn at random.
    """
    one, other = (_one_a_group(s, stream(seed, "kernel", i)) for i, s in enumerate((a, b)))
    both = np.concatenate([one, other])
    points = np.clip(StandardScaler().fit_transform(both), -LIMIT, LIMIT)
    kernel = polynomial_kernel(points, degree=3, coef0=1)
    side = np.repeat([True, False], [len(one), len(other)])
    found = _distance(kernel, side)
    rng = stream(seed, "kernel", "permutations")
    drawn = np.array([_distance(kernel, rng.permutation(side)) for _ in range(permutations)])
    return found, float((1 + np.sum(drawn >= found)) / (1 + permutations))


def _one_a_group(sample: Sample, rng: np.random.Generator) -> np.ndarray:
    groups = np.array(sample.groups)
    chosen = [int(rng.choice(np.flatnonzero(groups == name))) for name in np.unique(groups)]
    return sample.values[sorted(chosen)]


def _distance(kernel: np.ndarray, side: np.ndarray) -> float:
    one, other = kernel[np.ix_(side, side)], kernel[np.ix_(~side, ~side)]
    n, m = len(one), len(other)
    if min(n, m) < 2:
        return float("nan")
    within = (one.sum() - np.trace(one)) / (n * (n - 1))
    across = (other.sum() - np.trace(other)) / (m * (m - 1))
    return float(within + across - 2 * kernel[np.ix_(side, ~side)].mean())
