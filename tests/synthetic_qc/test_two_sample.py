"""Two samples: alike ones are a coin's throw, planted faults are found, hosts are kept together."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedGroupKFold

from lesionforge.errors import DataError
from lesionforge.synthetic_qc.two_sample import (
    Sample,
    _cross_fit,
    _permuted,
    _score,
    classifier_test,
    kernel_distance,
)


def sample(rng: np.random.Generator, n: int, mean: float = 0.0, sd: float = 1.0) -> Sample:
    names = [f"{rng.integers(1e12)}" for _ in range(n)]
    return Sample(rng.normal(mean, sd, (n, 12)), names)


def test_samples_of_one_population_are_a_coins_throw_within_the_interval():
    covered, found, reach = 0, [], []
    for seed in range(12):
        rng = np.random.default_rng(seed)
        a, b = sample(rng, 24), sample(rng, 30)
        auc = classifier_test(a, b, seed, repeats=1, permutations=25).auc
        covered += auc.ci95[0] <= 0.5 <= auc.ci95[1]
        found.append(auc.value)
        reach.append((auc.ci95[1] - auc.ci95[0]) / 2)
    assert covered >= 10
    assert abs(np.mean(found) - 0.5) < 0.08  # not below either, as pooled folds would be
    # the interval knows that fitting again gives another AUC: it is as wide as repeats are apart
    assert 0.55 < 1.96 * np.std(found) / np.mean(reach) < 1.6


@pytest.mark.parametrize(("mean", "sd", "least"), [(0.8, 1.0, 0.9), (0.0, 0.4, 0.9)])
def test_a_shift_and_a_lack_of_variety_are_found(mean, sd, least):
    rng = np.random.default_rng(0)
    test = classifier_test(sample(rng, 40), sample(rng, 40, mean, sd), 0)
    assert test.auc.value > least
    assert test.auc.ci95[0] > 0.6
    assert test.chance < 0.02


def test_a_host_on_both_sides_keeps_its_numbers_when_labels_are_permuted():
    groups = np.repeat(["a", "b", "c", "d"], [4, 2, 1, 1])
    label = np.array([0, 0, 1, 1, 0, 1, 0, 1])
    drawn = [_permuted(label, groups, np.random.default_rng(i)) for i in range(20)]
    for one in drawn:
        assert [one[groups == g].sum() for g in "ab"] == [2, 1]
        assert one[groups == "c"] + one[groups == "d"] == 1
    assert len({tuple(one) for one in drawn}) > 1


def test_what_marks_a_host_does_not_count():
    rng = np.random.default_rng(1)
    marks = rng.normal(size=(12, 12))
    values = np.repeat(marks, 4, axis=0) + rng.normal(0, 0.05, (48, 12))
    hosts = np.repeat([f"h{i}" for i in range(12)], 4)
    a, b = (Sample(values[k], hosts[k]) for k in (slice(0, 24), slice(24, 48)))
    apart = classifier_test(a, b, 0, permutations=30).auc
    alone = [Sample(s.values, [f"{g}{i}" for i, g in enumerate(s.groups)]) for s in (a, b)]
    leaky = classifier_test(*alone, 0, permutations=30).auc
    assert leaky.value > 0.9  # copies of a host in training and test give it away
    assert apart.value < 0.75
    assert apart.ci95[0] < 0.5


def test_pairs_held_out_together_give_the_common_auc():
    rng = np.random.default_rng(2)
    values, label = rng.normal(size=(60, 3)), np.repeat([0, 1], 30)
    groups = np.array([f"g{i}" for i in range(60)])
    found = _cross_fit(values, label, groups, 2, np.random.default_rng(0))
    number = int(np.random.default_rng(0).integers(2**31))
    cut = StratifiedGroupKFold(2, shuffle=True, random_state=number)
    each = [
        roc_auc_score(label[test], _score(values[train], label[train], values[test]))
        for train, test in cut.split(values, label, groups)
    ]
    assert found == pytest.approx(np.mean(each))  # folds of equal size


def test_few_subjects_leave_it_undefined_and_bad_features_are_refused():
    rng = np.random.default_rng(3)
    few = classifier_test(sample(rng, 5), sample(rng, 40), 0)
    assert few.auc.value is None
    assert few.chance is None
    assert "fewer than 6" in few.auc.why
    six = classifier_test(sample(rng, 6), sample(rng, 6), 0, permutations=20)
    assert np.isfinite([six.auc.value, *six.auc.ci95]).all()
    bad = sample(rng, 20)
    bad.values[3, 4] = np.nan
    with pytest.raises(DataError, match="not finite"):
        classifier_test(bad, sample(rng, 20), 0)


def test_the_kernel_distance_is_the_unbiased_estimate():
    rng = np.random.default_rng(4)
    a, b = sample(rng, 7, 0.3), sample(rng, 9)
    both = np.concatenate([a.values, b.values])
    x, y = ((s.values - both.mean(0)) / both.std(0) for s in (a, b))

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


def test_the_kernel_distance_knows_chance_with_hosts_that_repeat():
    chances = []
    for seed in range(24):
        rng = np.random.default_rng(seed)
        hosts = np.repeat([f"h{i}" for i in range(20)], 4)
        marks = np.repeat(rng.normal(size=(20, 12)), 4, axis=0)
        many = Sample(marks + rng.normal(0, 0.1, marks.shape), hosts)
        chances.append(kernel_distance(many, sample(rng, 20), 0, permutations=100)[1])
    assert np.mean(np.array(chances) <= 0.1) <= 0.3
    assert 0.3 < np.mean(chances) < 0.7
    rng = np.random.default_rng(5)
    assert kernel_distance(sample(rng, 30, 1.0), sample(rng, 30), 0, permutations=200)[1] < 0.01
