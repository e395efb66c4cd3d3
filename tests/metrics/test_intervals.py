"""The published counts, textbook values, and powers found by simulation."""

import numpy as np
import pytest
from scipy import stats

from lesionforge.errors import ConfigError, DataError
from lesionforge.metrics.bootstrap import resample
from lesionforge.metrics.comparison import compare_pair, regime_metrics
from lesionforge.metrics.config import EvaluationConfig
from lesionforge.metrics.intervals import (
    Estimate,
    gap_recovered,
    label_saving,
    mcnemar_exact,
    minimum_detectable_difference,
    quantiles,
    wilcoxon_paired,
    wilson,
)
from lesionforge.metrics.outcomes import NONE
from lesionforge.metrics.replicates import sensitivity_replicates
from lesionforge.seeding import stream

CONFIG = EvaluationConfig(bootstrap=500)


@pytest.fixture
def published(make_outcome):
    """22, 27 and 45 of 61 patients found; augmented gains 6 and loses 1."""
    detected = np.zeros((3, 61), bool)
    detected[0, :22] = True
    detected[1, 1:28] = True
    detected[2, :45] = True
    nothing = [[] for _ in range(61)]
    return [make_outcome(np.where(row, 0.9, NONE), nothing, []) for row in detected]


def test_published_counts_give_the_published_numbers(published):
    draws = resample(61, 0, CONFIG.bootstrap, 0)
    baseline, augmented, expanded = ({0: outcome} for outcome in published)
    shares = [regime_metrics(r, draws, CONFIG)["sensitivity"] for r in (baseline, augmented)]
    assert [round(100 * s["value"], 1) for s in shares] == [36.1, 44.3]
    assert regime_metrics(expanded, draws, CONFIG)["sensitivity"]["value"] == pytest.approx(45 / 61)
    pair = compare_pair(baseline, augmented, draws, CONFIG)
    assert (pair["gained"], pair["lost"], pair["mcnemar_p"]) == ([6], [1], [0.125])
    assert compare_pair(baseline, expanded, draws, CONFIG)["mcnemar_p"][0] < 2e-4
    low, high = pair["difference"]["ci95"]
    assert low < 5 / 61 < high
    assert pair["minimum_detectable_difference"] > 5 / 61
    replicates = tuple(sensitivity_replicates(r, draws) for r in (baseline, augmented, expanded))
    gap = gap_recovered(tuple(r[0] for r in replicates), tuple(r[1:] for r in replicates))
    assert round(100 * gap.value, 1) == 21.7
    assert gap.ci95[0] < 0.217 < gap.ci95[1]
    assert round(100 * label_saving(gap, 35, 70).value, 1) == 17.9


def test_wilson_intervals_of_the_published_counts():
    expected = {22: (25.2, 48.6), 27: (32.5, 56.7), 45: (61.6, 83.2)}
    for k, bounds in expected.items():
        assert tuple(round(100 * b, 1) for b in wilson(k, 61)) == bounds
    assert np.isnan(wilson(0, 0)).all()


def test_mcnemar_is_the_sign_test_of_the_discordant_patients():
    for gained, lost in [(6, 1), (1, 6), (7, 2), (5, 0), (3, 3), (10, 4)]:
        expected = stats.binomtest(min(gained, lost), gained + lost, 0.5).pvalue
        assert mcnemar_exact(gained, lost) == pytest.approx(expected)
    assert mcnemar_exact(0, 0) == 1.0


def test_wilcoxon_edges():
    a = np.array([0.1, 0.5, np.nan, 0.4])
    assert wilcoxon_paired(a, a) == 1.0
    assert np.isnan(wilcoxon_paired(a[2:3], a[2:3]))
    rng = stream(0, "wilcoxon")
    x = rng.random(40)
    assert wilcoxon_paired(x, x + rng.normal(0.3, 0.1, 40)) < 1e-6


@pytest.mark.parametrize(("n", "discordance"), [(60, 0.12), (61, 0.4), (300, 0.25)])
def test_minimum_detectable_difference_has_80_percent_power(n, discordance):
    d = minimum_detectable_difference(n, discordance)
    p = max(discordance, d)
    gained, lost = (p + d) / 2, (p - d) / 2
    drawn = stream(n, "power").multinomial(n, [gained, lost, 1 - gained - lost], 1500)
    rejected = [mcnemar_exact(int(b), int(c)) <= 0.05 for b, c, _ in drawn]
    assert np.mean(rejected) == pytest.approx(0.8, abs=0.06)


def test_minimum_detectable_difference_shrinks_with_patients_and_needs_some():
    values = [minimum_detectable_difference(n, 0.2) for n in (20, 61, 300, 1000)]
    assert values == sorted(values, reverse=True)
    assert np.isnan(minimum_detectable_difference(3, 0.2))
    assert np.isnan(minimum_detectable_difference(0, 0.2))
    with pytest.raises(DataError, match="discordance"):
        minimum_detectable_difference(10, 1.4)


def test_gap_is_undefined_without_a_sure_gap():
    rng = stream(1, "gap")
    replicates = tuple(rng.normal(0.5, 0.05, 500) for _ in range(3))
    gap = gap_recovered((0.5, 0.5, 0.52), replicates)
    assert gap.value is None
    assert "does not lie above 0" in gap.why
    assert label_saving(gap, 35, 70) == Estimate(None, None, gap.why)


def test_a_gap_that_never_varies_is_not_sure():
    same = (np.zeros(100), np.full(100, 0.5), np.ones(100))
    gap = gap_recovered((0.0, 0.5, 1.0), same)
    assert gap.value is None
    assert "is the same in every resample" in gap.why


def test_gap_keeps_every_replicate():
    """Replicates whose gap is nearly nil widen the interval instead of vanishing."""
    baseline, augmented, expanded = np.zeros(1000), np.full(1000, 0.1), np.full(1000, 0.4)
    expanded[:20] = [0.0, -0.1] * 10  # fewer than 2.5 %: the gap is still sure
    assert gap_recovered((0.0, 0.1, 0.4), (baseline, augmented, expanded)).ci95 == (0.25, 0.25)
    expanded[20:60] = 0.001
    gap = gap_recovered((0.0, 0.1, 0.4), (baseline, augmented, expanded))
    assert gap.value == pytest.approx(0.25)
    assert gap.ci95[1] == pytest.approx(100)
    expanded[20:60] = 0.0
    assert gap_recovered((0.0, 0.1, 0.4), (baseline, augmented, expanded)).value is None


def test_undefined_replicates_stand_on_both_sides():
    assert quantiles(np.array([np.nan] * 30 + [1.0] * 970)) == (-np.inf, np.inf)
    assert quantiles(np.array([np.nan] * 20 + [1.0] * 980)) == (1.0, 1.0)


def test_a_difference_turned_round_has_the_mirrored_interval():
    gains = np.random.default_rng(0).normal(0.05, 0.1, 2000).round(2)
    low, high = quantiles(gains)
    assert quantiles(-gains) == (-high, -low)
    assert quantiles(np.arange(2000.0)) == (49.0, 1950.0)  # 49 lie beyond either end


def test_label_saving_follows_the_straight_line():
    assert label_saving(Estimate(1.0, (0.0, 2.0)), 35, 70) == Estimate(0.5, (0.0, 1 - 35 / 105))
    for lost in (-1.0, -1 + 1e-15):  # worth no patient at all, but for rounding
        assert label_saving(Estimate(0.5, (lost, 1.0)), 35, 70).ci95 == (-np.inf, 0.5)
    assert label_saving(Estimate(0.5, (0.0, 1.0)), 35, 35).value is None
    assert "outlined by hand" in label_saving(Estimate(0.5, (0.0, 1.0)), 0, 35).why


def test_config_is_checked():
    with pytest.raises(ConfigError, match="bootstrap"):
        EvaluationConfig(bootstrap=10)
    with pytest.raises(ConfigError, match="false_positives"):
        EvaluationConfig(false_positives_per_subject=-1)
    with pytest.raises(ConfigError, match="matched_rate"):
        EvaluationConfig(matched_rate=0)
    with pytest.raises(ConfigError, match="unit"):
        EvaluationConfig(unit="voxel")


def test_the_matched_rate_follows_the_unit_unless_given():
    assert [EvaluationConfig().rate(unit) for unit in ("patient", "lesion")] == [0.5, 2.0]
    assert EvaluationConfig(matched_rate=1.0).rate("lesion") == 1.0
