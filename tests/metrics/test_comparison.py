"""Regimes and pairs of regimes: obvious versions, laws, and the coverage of intervals."""

from dataclasses import replace

import numpy as np
import pytest

from lesionforge.metrics.bootstrap import resample, weighted_mean
from lesionforge.metrics.comparison import compare_pair, regime_metrics
from lesionforge.metrics.config import EvaluationConfig
from lesionforge.metrics.intervals import quantiles
from lesionforge.metrics.outcomes import NONE
from lesionforge.metrics.replicates import UNVARIED, matched_replicates, sensitivity_replicates
from lesionforge.seeding import stream

CONFIG = EvaluationConfig(bootstrap=200)


@pytest.fixture
def regime(make_random_outcome):
    rng = stream(3, "regime")
    return {seed: make_random_outcome(rng) for seed in (0, 1, 2)}


def test_counts_are_per_seed_and_headlines_are_means(regime):
    measured = regime_metrics(regime, resample(40, 20, 200, 0), CONFIG)
    k = [int((o.best_hit >= 0.5).sum()) for o in regime.values()]
    assert measured["sensitivity"]["k"] == k
    assert measured["sensitivity"]["n"] == 40
    assert measured["sensitivity"]["value"] == pytest.approx(np.mean(k) / 40)
    clean = [
        sum(
            not (o.false_in_controls.value[o.false_in_controls.owner == c] >= 0.5).any()
            for c in range(20)
        )
        for o in regime.values()
    ]
    assert measured["specificity"]["k"] == clean
    false = measured["false_positives_per_subject"]
    assert false["patients"] == pytest.approx(
        np.mean([(o.false_in_patients.value >= 0.5).sum() / 40 for o in regime.values()])
    )
    assert false["value"] == pytest.approx((40 * false["patients"] + 20 * false["controls"]) / 60)
    assert sum(s["sensitivity"]["n"] for s in measured["by_site"].values()) == 40
    assert sum(s["sensitivity"]["n"] for s in measured["by_size"].values()) == 40
    assert [row["k"] for row in measured["by_seed"]] == k
    assert measured["sensitivity_at_half_fp"]["value"] == pytest.approx(
        np.mean([row["sensitivity_at_half_fp"] for row in measured["by_seed"]])
    )


def test_no_controls_leave_specificity_undefined(make_random_outcome):
    measured = regime_metrics(
        {0: make_random_outcome(stream(0, "x"), m=0)}, resample(40, 0, 200, 0), CONFIG
    )
    assert measured["specificity"]["value"] is None
    assert "no test controls" in measured["specificity"]["why"]
    assert measured["false_positives_per_subject"]["controls"] is None


def test_weighted_mean_equals_copying_subjects_and_seeds():
    rng = stream(5, "copy")
    values, draws = rng.random((3, 10)), resample(10, 0, 20, 1)
    seeds = draws.seeds((0, 1, 2))
    for row, result in enumerate(weighted_mean(values, draws.patients, seeds)):
        subjects = np.repeat(np.arange(10), draws.patients[row].astype(int))
        chosen = np.repeat(np.arange(3), np.round(3 * seeds[row]).astype(int))
        assert result == pytest.approx(values[chosen][:, subjects].mean())


def test_replicates_keep_the_size_of_each_group_and_weigh_all_seeds():
    draws = resample(7, 3, 50, 0)
    assert (draws.patients.sum(axis=1) == 7).all()
    assert (draws.controls.sum(axis=1) == 3).all()
    assert (draws.patients[0] == 1).all()
    assert len({tuple(row) for row in draws.patients}) > 40
    np.testing.assert_allclose(draws.seeds((0, 1, 2)).sum(axis=1), 1)
    assert (draws.seeds((0, 1, 2)) == draws.seeds((0, 1, 2))).all()
    assert (draws.seeds((4,)) == 1).all()


def test_all_found_falls_back_on_wilson(make_outcome):
    outcome = make_outcome(np.full(20, 0.9), [[]] * 20, [])
    found = regime_metrics({0: outcome}, resample(20, 0, 200, 0), CONFIG)
    for measure in ("sensitivity", "lesion_sensitivity", "sensitivity_at_half_fp"):
        assert found[measure]["method"].startswith("Wilson")
        assert found[measure]["ci95"][0] == pytest.approx(0.839, abs=1e-3)


def test_a_regime_against_itself_differs_by_nothing(regime):
    pair = compare_pair(regime, regime, resample(40, 20, 200, 0), CONFIG)
    assert pair["difference"] == {"value": 0.0, "ci95": None, "why": UNVARIED}
    assert pair["gained"] == pair["lost"] == [0, 0, 0]
    assert pair["mcnemar_p"] == [1.0, 1.0, 1.0]


def test_two_patients_who_change_alike_make_nothing_sure(make_outcome):
    missed = {0: make_outcome(np.full(2, 0.1), [[]] * 2, [])}
    found = {0: make_outcome(np.full(2, 0.9), [[]] * 2, [])}
    pair = compare_pair(missed, found, resample(2, 0, 200, 0), CONFIG)
    assert pair["difference"] == {"value": 1.0, "ci95": None, "why": UNVARIED}
    assert pair["mcnemar_p"] == [0.5]


def test_the_price_is_paired_too(make_outcome):
    """A false positive in every patient and in five of twenty controls, none in the other."""
    hits = np.full(40, 0.9)
    shy = {0: make_outcome(hits, [[]] * 40, [[]] * 20)}
    bold = {0: make_outcome(hits, [[0.9]] * 40, [[0.9, 0.9]] * 5 + [[]] * 15)}
    pair = compare_pair(shy, bold, resample(40, 20, 500, 0), CONFIG)
    assert pair["specificity_difference"]["value"] == pytest.approx(-5 / 20)
    low, high = pair["specificity_difference"]["ci95"]
    assert -0.5 < low < -0.25 < high < 0
    same_rate = pair["specificity_difference_at_half_fp"]  # bold may keep no candidate of 0.9
    assert same_rate == {"value": 0.0, "ci95": None, "why": UNVARIED}
    assert pair["false_positives_difference"]["value"] == pytest.approx((40 + 10) / 60)
    assert pair["dice_difference"] == {"value": 0.0, "ci95": None, "why": UNVARIED}
    back = compare_pair(bold, shy, resample(40, 20, 500, 0), CONFIG)
    assert back["specificity_difference"]["ci95"] == pytest.approx([-high, -low])


def test_the_difference_in_dice_is_paired(make_random_outcome):
    before = make_random_outcome(stream(5, "dice"))
    after = replace(before, dice=0.9 * before.dice)
    draws = resample(40, 20, 500, 0)
    found = compare_pair({0: before}, {0: after}, draws, CONFIG)["dice_difference"]
    level = regime_metrics({0: before}, draws, CONFIG)["dice"]
    assert found["value"] == pytest.approx(-0.1 * level["value"])
    assert found["ci95"] == pytest.approx([-0.1 * x for x in reversed(level["ci95"])], abs=0.002)


def test_without_controls_the_difference_in_specificity_is_undefined(make_outcome):
    alone = {0: make_outcome(np.full(20, 0.9), [[]] * 20, [])}
    pair = compare_pair(alone, alone, resample(20, 0, 200, 0), CONFIG)
    assert pair["specificity_difference"]["value"] is None
    assert pair["specificity_difference_at_half_fp"]["value"] is None
    assert "no test controls" in pair["specificity_difference"]["why"]
    assert pair["false_positives_difference"]["value"] == 0


def test_pairs_use_the_seeds_that_both_have(regime):
    pair = compare_pair(regime, {2: regime[2]}, resample(40, 20, 200, 0), CONFIG)
    assert pair["seeds"] == [2]
    assert pair["difference"]["value"] == 0


def test_pairing_makes_the_interval_of_a_difference_narrow(regime, make_outcome):
    """Two nearly equal regimes: the paired interval is far narrower than either regime's."""
    hits = regime[0].best_hit.copy()
    hits[np.flatnonzero(hits < 0)[0]] = 0.9
    nothing = [[]] * 40
    a = {0: make_outcome(regime[0].best_hit, nothing, [])}
    b = {0: make_outcome(hits, nothing, [])}
    draws = resample(40, 0, 500, 0)
    low, high = compare_pair(a, b, draws, CONFIG)["difference"]["ci95"]
    one = quantiles(sensitivity_replicates(a, draws)[1:])
    assert high - low < 0.5 * (one[1] - one[0])


def test_the_same_seed_gives_the_same_numbers(regime):
    first, second = (regime_metrics(regime, resample(40, 20, 200, 7), CONFIG) for _ in range(2))
    assert first == second


def simulated_cover(make_outcome, study, n=60, seeds=8):
    """One simulated study; say whether the intervals cover the true difference and sensitivity."""
    rng = stream(study, "coverage")
    ease = rng.normal(size=n)
    regimes = []
    for level in (0.0, 0.5):
        outcomes = {}
        for seed in range(seeds):
            latent = ease + level + rng.normal(0, 0.15) + rng.normal(0, 0.7, n)
            hits = np.where(latent > 0.3, 0.3 + 0.6 / (1 + np.exp(-latent)), NONE)
            false = [rng.uniform(0.2, 0.9, rng.poisson(0.6)).tolist() for _ in range(n)]
            outcomes[seed] = make_outcome(hits, false, [])
        regimes.append(outcomes)
    draws = resample(n, 0, 200, study)
    half = np.array([0.5])
    matched = [matched_replicates(r, draws, half)[:, 0] for r in regimes]
    plain = [sensitivity_replicates(r, draws) for r in regimes]
    return [plain[0], plain[1] - plain[0], matched[0], matched[1] - matched[0]]


def test_intervals_cover_the_truth_at_about_their_nominal_rate(make_outcome):
    """The truth is the mean over 100 simulated studies of the estimates themselves."""
    studies = [simulated_cover(make_outcome, study) for study in range(100)]
    for measure in range(4):
        truth = np.mean([study[measure][0] for study in studies])
        bounds = [quantiles(study[measure][1:]) for study in studies]
        covered = np.mean([low <= truth <= high for low, high in bounds])
        assert 0.88 <= covered <= 1.0, (measure, covered)


def test_sizes_are_named_as_a_reader_writes_them(regime):
    large = {s: replace(o, lesion_ml=np.linspace(20, 250, 40)) for s, o in regime.items()}
    measured = regime_metrics(large, resample(40, 20, 200, 0), CONFIG)
    assert list(measured["by_size"]) == ["up to 97 mL", "97 to 170 mL", "above 170 mL"]
