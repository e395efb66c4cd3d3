"""The analysis against published figures, a slow version by its textbook, and simulation.

Published figures: Van Dyke's data (five readers, 114 cases) and Franken's (four readers, 100
cases) as printed in D. P. Chakraborty's online books "The RJafroc Roc Book" (chapter on
applications of the Obuchowski-Rockette method) and "RJafroc Quick Start" (OR analysis text output).
"""

import numpy as np
import pytest
from scipy import stats

from lesionforge.errors import DataError
from lesionforge.metrics.obuchowski import (
    Parts,
    Readings,
    cohort_overlap,
    half_width,
    hillis,
    interval,
    variance_parts,
)
from lesionforge.seeding import stream

VAN_DYKE = np.array(
    [[0.9196, 0.8588, 0.9039, 0.9731, 0.8298], [0.9478, 0.9053, 0.9217, 0.9994, 0.9300]]
)


def published(value, between, common, trainings, df=113.0):
    return Parts(*(np.float64(x) for x in (value, between, common, np.nan, df)), trainings)


def published_interval(parts):
    error, df = hillis(parts)
    half = stats.t.ppf(0.975, df) * error
    p = 2 * stats.t.sf(abs(parts.value) / error, df)
    return error, df, p, parts.value - half, parts.value + half


def test_van_dyke_difference_of_two_modalities():
    cov2, cov3, ms_tr = 3.4407483e-4, 2.3902837e-4, 5.5103062e-4
    difference = VAN_DYKE[0] - VAN_DYKE[1]
    assert difference.var(ddof=1) == pytest.approx(2 * ms_tr, rel=2e-3)  # four digits of each AUC
    parts = published(-0.04380032, 2 * ms_tr, 2 * (cov2 - cov3), 5)
    _, df, p, low, high = published_interval(parts)
    assert df == pytest.approx(15.26, abs=0.005)
    assert p == pytest.approx(0.05167, abs=5e-6)
    assert (low, high) == pytest.approx((-0.0879595, 0.0003589), abs=5e-7)


def test_van_dyke_single_modality_and_fixed_readers():
    error, df, _, low, high = published_interval(published(0.8970, 0.003083, 0.0004840, 5))
    assert (error, df) == pytest.approx((0.03317, 12.74), rel=1e-3)
    assert (low, high) == pytest.approx((0.8252, 0.9689), abs=1e-4)
    # readers fixed: mean of five variances of differences and their covariances
    var, cov1, cov2, cov3 = 8.0228827e-4, 3.4661371e-4, 3.4407483e-4, 2.3902837e-4
    own, common = 2 * (var - cov1), 2 * (cov2 - cov3)
    assert np.sqrt((own + 4 * common) / 5) == pytest.approx(0.01872, abs=5e-6)


def test_franken_negative_covariance_is_taken_as_none():
    ms_tr, cov2, cov3 = 5.020264e-05, 4.836377e-04, 5.125091e-04
    parts = published(0.01085482, 2 * ms_tr, 2 * (cov2 - cov3), 4)
    error, df, p, low, high = published_interval(parts)
    assert (error, df, p) == pytest.approx((0.005010122, 3, 0.1188379), rel=1e-6)
    assert (low, high) == pytest.approx((-0.005089627, 0.02679926), rel=1e-6)
    _, df, _, low, high = published_interval(published(0.8477499, 0.0004926635, 0.0004722991, 4))
    assert df == pytest.approx(70.12179, rel=1e-6)
    assert (low, high) == pytest.approx((0.7990828, 0.8964170), abs=1e-6)


def random_readings(seed, j=4, n=(9, 6)):
    rng = stream(seed, "readings")
    values = rng.normal(size=(j, sum(n)))
    groups = np.repeat([0, 1], n)
    means = np.stack([values[:, groups == g].mean(axis=1) for g in (0, 1)])
    full = means.prod(axis=0)  # no mean over subjects
    left_out = np.empty_like(values)
    for k in range(sum(n)):
        keep = np.arange(sum(n)) != k
        left_out[:, k] = np.prod(
            [values[:, keep & (groups == g)].mean(axis=1) for g in (0, 1)], axis=0
        )
    return Readings(full, left_out, groups)


def slow_analysis(a, b):
    """Obuchowski and Rockette by the textbook: all covariances, then the analysis of variance."""
    both = np.concatenate([a.left_out, b.left_out])
    j = len(a.values)
    covariance = np.zeros((2 * j, 2 * j))
    for group in (0, 1):
        mine = both[:, a.groups == group]
        away = mine - mine.mean(axis=1, keepdims=True)
        covariance += (mine.shape[1] - 1) / mine.shape[1] * away @ away.T
    cov2 = [covariance[i * j + x, i * j + y] for i in (0, 1) for x in range(j) for y in range(j)
            if x != y]  # fmt: skip
    cov3 = [covariance[x, j + y] for x in range(j) for y in range(j) if x != y]
    theta = np.stack([a.values, b.values])
    away = theta - theta.mean(axis=1, keepdims=True) - theta.mean(axis=0) + theta.mean()
    ms_tr = (away**2).sum() / (j - 1)
    excess = max(np.mean(cov2) - np.mean(cov3), 0)
    error = np.sqrt(2 / j * (ms_tr + j * excess))
    df = (ms_tr + j * excess) ** 2 / (ms_tr**2 / (j - 1))
    return theta[0].mean() - theta[1].mean(), error, df


@pytest.mark.parametrize("seed", range(5))
def test_the_difference_form_is_the_whole_analysis_of_variance(seed):
    a, b = random_readings(seed), random_readings(seed + 100)
    value, error, df = slow_analysis(a, b)
    found = interval(a.minus(b))
    assert found.value == pytest.approx(value)
    assert (found.hillis["se"], found.hillis["df"]) == pytest.approx((error, df))


def test_jackknife_of_an_auc_agrees_with_delong():
    rng = stream(1, "auc")
    ill, well = rng.normal(1, 1, 60), rng.normal(0, 1, 80)
    above = (ill[:, None] > well).astype(float)
    n, m = above.shape
    left_out = np.concatenate(
        [
            (above.sum() - above.sum(axis=1)) / ((n - 1) * m),
            (above.sum() - above.sum(axis=0)) / (n * (m - 1)),
        ]
    )
    delong = above.mean(axis=1).var(ddof=1) / n + above.mean(axis=0).var(ddof=1) / m
    parts = variance_parts(np.array([above.mean()]), left_out[None], np.repeat([0, 1], [n, m]))
    assert float(parts.fixed) == pytest.approx(delong, rel=1e-9)


def test_p_and_interval_agree_and_each_part_has_its_own_quantile():
    readings = random_readings(3)
    parts = variance_parts(readings.values, readings.left_out, readings.groups)
    own, common = float(parts.between) / 4, max(float(parts.common), 0)
    t = stats.t.ppf(0.975, [3, float(parts.df)])
    found = interval(readings)
    assert found.ci95[1] - found.value == pytest.approx(
        np.sqrt(t[0] ** 2 * own + t[1] ** 2 * common)
    )
    at_p = half_width(parts, 1 - found.p)
    assert float(at_p) == pytest.approx(abs(found.value), rel=1e-6)
    assert found.scope == "population"
    wider = interval(readings, overlap=0.5)
    assert wider.ci95[0] < found.ci95[0]
    assert wider.p > found.p
    assert interval(readings, overlap=None).scope == "pool"
    assert interval(readings, overlap=None).ci95 == found.ci95


def test_no_difference_has_p_1_and_a_certain_one_the_smallest():
    readings = random_readings(6)
    away = readings.values.mean()
    level = Readings(readings.values - away, readings.left_out - away, readings.groups)
    assert interval(level).p == pytest.approx(1, abs=1e-6)
    far = Readings(level.values + 1e9, level.left_out + 1e9, level.groups)
    assert interval(far).p <= 1e-9


def test_one_training_is_fixed_and_called_so():
    readings = random_readings(2, j=1)
    found = interval(readings)
    parts = variance_parts(readings.values, readings.left_out, readings.groups)
    half = stats.t.ppf(0.975, float(parts.df)) * np.sqrt(float(parts.fixed))
    assert found.scope == "this training"
    assert found.ci95 == pytest.approx((found.value - half, found.value + half))
    assert 5 <= float(parts.df) <= 13


def test_one_training_covers_in_simulation():
    rng = stream(0, "fixed")
    x = rng.exponential(size=(4000, 14)) - rng.exponential(size=(4000, 14))
    mean = x.mean(axis=1)
    left_out = (14 * mean[:, None] - x) / 13
    parts = variance_parts(mean[:, None], left_out[:, None], np.zeros(14, int))
    half = half_width(parts, 0.95)
    assert 0.935 < (np.abs(mean) <= half).mean() < 0.97


def test_a_shift_of_all_trainings_leaves_the_width():
    readings = random_readings(4)
    moved = Readings(readings.values + 1, readings.left_out + 1, readings.groups)
    one, two = interval(readings), interval(moved)
    assert np.subtract(two.ci95, one.ci95) == pytest.approx([1, 1])


def test_what_is_undefined_says_why():
    readings = random_readings(1)
    same = readings.minus(readings)
    assert interval(same).ci95 is None
    assert "vary" in interval(same).why
    lost = Readings(readings.values * np.nan, readings.left_out, readings.groups)
    assert interval(lost).value is None
    assert "share 100 %" in interval(readings, overlap=1.0).why
    alone = Readings(readings.values, readings.left_out[:, :3], np.array([0, 1, 1]))
    assert "two patients" in interval(alone).why
    with pytest.raises(DataError, match="one member"):
        variance_parts(alone.values, alone.left_out, alone.groups)
    lost = Readings(readings.values, readings.left_out * np.nan, readings.groups)
    assert interval(lost).value is not None
    assert "without one" in interval(lost).why
    with pytest.raises(DataError, match="same trainings"):
        readings.minus(random_readings(1, j=3))


def cohort(*names):
    return frozenset(names)


def test_overlap_of_cohorts():
    assert cohort_overlap([[cohort("a", "b")]]) == 0
    assert cohort_overlap([[cohort("a", "b")], [cohort("c", "d")]]) == 0
    assert cohort_overlap([[cohort("a", "b")], [cohort("a", "d")]]) == pytest.approx(0.5)
    assert cohort_overlap([[cohort("a", "b")], [cohort("a", "b")]]) == pytest.approx(1)
    three = [[cohort("a", "b")], [cohort("a", "d")], [cohort("e", "f")]]
    assert cohort_overlap(three) == pytest.approx(0.5 / 3)


def test_overlap_is_the_correlation_of_simulated_effects():
    rng = stream(2, "overlap")
    pool = [f"s{i}" for i in range(20)]
    repeats = []
    for _ in range(3):
        order = rng.permutation(20)
        folds = np.array_split(order, 4)
        repeats.append(
            [frozenset(pool[i] for i in rng.choice(np.setdiff1d(order, f), 8, replace=False))
             for f in folds]
        )  # fmt: skip
    each = rng.normal(size=(200_000, 20))
    effects = np.stack(
        [
            np.mean([each[:, [int(s[1:]) for s in fold]].mean(axis=1) for fold in folds], axis=0)
            for folds in repeats
        ]
    )
    covariance = np.cov(effects)
    pairs = covariance[np.triu_indices(3, 1)].mean()
    assert cohort_overlap(repeats) == pytest.approx(pairs / np.trace(covariance) * 3, abs=0.01)
