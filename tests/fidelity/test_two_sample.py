"""Two samples: alike ones are a coin's throw, planted faults are found, hosts are kept together."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from lesionforge.errors import DataError
from lesionforge.fidelity.two_sample import Sample, _auc, classifier_auc, kernel_distance


def sample(rng: np.random.Generator, n: int, mean: float = 0.0, sd: float = 1.0) -> Sample:
    names = [f"{rng.integers(1e12)}" for _ in range(n)]
    return Sample(rng.normal(mean, sd, (n, 12)), names)


def test_samples_of_one_population_are_a_coins_throw():
    covered, found = 0, []
    for seed in range(12):
        rng = np.random.default_rng(seed)
        auc = classifier_auc(sample(rng, 30), sample(rng, 40), seed, repeats=2, replicates=200)
        assert auc.ci95 is not None
        covered += auc.ci95[0] <= 0.5 <= auc.ci95[1]
        found.append(auc.value)
    assert covered >= 9
    assert abs(np.mean(found) - 0.5) < 0.06  # not below either, as pooled folds would be


@pytest.mark.parametrize(("mean", "sd", "least"), [(0.8, 1.0, 0.9), (0.0, 0.4, 0.9)])
def test_a_shift_and_a_lack_of_variety_are_found(mean, sd, least):
    rng = np.random.default_rng(0)
    auc = classifier_auc(sample(rng, 40), sample(rng, 40, mean, sd), 0, replicates=200)
    assert auc.value is not None
    assert auc.value > least
    assert auc.ci95[0] > 0.7


def test_what_marks_a_host_does_not_count():
    rng = np.random.default_rng(1)
    marks = rng.normal(size=(12, 12))
    values = np.repeat(marks, 4, axis=0) + rng.normal(0, 0.05, (48, 12))
    hosts = np.repeat([f"h{i}" for i in range(12)], 4)
    a, b = (Sample(values[k], hosts[k]) for k in (slice(0, 24), slice(24, 48)))
    apart = classifier_auc(a, b, 0, replicates=100)
    alone = [Sample(s.values, [f"{g}{i}" for i, g in enumerate(s.groups)]) for s in (a, b)]
    leaky = classifier_auc(*alone, 0, replicates=100)
    assert leaky.value > 0.9  # copies of a host in training and test give it away
    assert apart.value < 0.75
    assert np.ptp(apart.ci95) > 2 * np.ptp(leaky.ci95)


def test_pairs_in_one_fold_give_the_common_auc():
    rng = np.random.default_rng(2)
    score, label = rng.normal(size=50).round(1), rng.integers(2, size=50)
    found = _auc(score, np.zeros(50, int), label, np.ones((1, 50)))
    assert found[0] == pytest.approx(roc_auc_score(label, score))


def test_few_subjects_leave_it_undefined_and_bad_features_are_refused():
    rng = np.random.default_rng(3)
    few = classifier_auc(sample(rng, 5), sample(rng, 40), 0)
    assert few.value is None
    assert "six" in few.why
    bad = sample(rng, 20)
    bad.values[3, 4] = np.nan
    with pytest.raises(DataError, match="not finite"):
        classifier_auc(bad, sample(rng, 20), 0)


def test_the_kernel_distance_is_the_unbiased_estimate():
    rng = np.random.default_rng(4)
    a, b = sample(rng, 7, 0.3), sample(rng, 9)
    x, y = ((s.values - b.values.mean(0)) / b.values.std(0) for s in (a, b))

    def mean(one: np.ndarray, other: np.ndarray, same: bool) -> float:
        kernel = [
            (one[i] @ other[j] / 12 + 1) ** 3
            for i in range(len(one))
            for j in range(len(other))
            if not (same and i == j)
        ]
        return float(np.mean(kernel))

    slow = mean(x, x, True) + mean(y, y, True) - 2 * mean(x, y, False)
    assert kernel_distance(a, b, 0, permutations=20)[0] == pytest.approx(slow)


def test_the_kernel_distance_knows_chance():
    rng = np.random.default_rng(5)
    same = kernel_distance(sample(rng, 30), sample(rng, 30), 0, permutations=200)
    other = kernel_distance(sample(rng, 30, 1.0), sample(rng, 30), 0, permutations=200)
    assert other[0] > 5 * abs(same[0])
    assert other[1] < 0.01 < same[1]
