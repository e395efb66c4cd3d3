"""FROC against an obvious version and picai_eval, ties and the lowest point included."""

import numpy as np
import pytest
from picai_eval.metrics import Metrics

from lesionforge.metrics.froc import control_rate, curve, mean_curve, sensitivity_at, specificity_at
from lesionforge.metrics.outcomes import NONE
from lesionforge.seeding import stream

RATES = np.array([0.0, 0.1, 0.25, 0.5, 1.0, 2.0, 50.0])


def slow_reading(outcome, weights, controls, rate):
    """Try every score as the threshold, and one above all; count in copied lists of subjects."""
    drawn, others = (np.repeat(np.arange(len(w)), w.astype(int)) for w in (weights, controls))
    false, owner = outcome.false_in_patients.value, outcome.false_in_patients.owner
    scores = [*outcome.best_hit[outcome.best_hit > 0], *false, 0.01]
    fitting = [
        threshold
        for threshold in {s for score in scores for s in (score, np.nextafter(score, 2))}
        if sum((false[owner == i] >= threshold).sum() for i in drawn) <= rate * len(drawn) + 1e-9
    ]
    cut = min(fitting)
    wrong = outcome.false_in_controls.owner[outcome.false_in_controls.value >= cut]
    return (outcome.best_hit[drawn] >= cut).mean(), (~np.isin(others, wrong)).mean()


@pytest.mark.parametrize("seed", range(3))
def test_reading_equals_trying_every_threshold_in_every_replicate(seed, make_random_outcome):
    rng = stream(seed, "froc")
    outcome = make_random_outcome(rng, n=15, m=9, digits=1)
    patients, controls = (
        np.concatenate([np.ones((1, n)), rng.multinomial(n, np.full(n, 1 / n), 6)]) for n in (15, 9)
    )
    expected = [
        [slow_reading(outcome, p, c, rate) for rate in RATES]
        for p, c in zip(patients, controls, strict=True)
    ]
    sensitivity, specificity = np.moveaxis(expected, 2, 0)
    np.testing.assert_allclose(sensitivity_at(outcome, patients, RATES), sensitivity)
    np.testing.assert_allclose(specificity_at(outcome, patients, controls, RATES), specificity)
    assert specificity.min() < specificity.max()


@pytest.mark.parametrize("seed", range(3))
def test_curve_agrees_with_picai_eval(seed, make_random_outcome):
    outcome = make_random_outcome(stream(seed, "picai"), n=30, m=0, digits=3)
    results = {
        str(i): [
            (1, max(score, 0.0), 1.0),
            *(
                (0, s, 0.0)
                for s in outcome.false_in_patients.value[outcome.false_in_patients.owner == i]
            ),
        ]
        for i, score in enumerate(outcome.best_hit)
    }
    theirs = Metrics(lesion_results=results)
    for rate in (0.1, 0.25, 0.5, 1.0):
        ours = sensitivity_at(outcome, np.ones((1, 30)), np.array([rate]))[0, 0]
        assert ours == pytest.approx(theirs.lesion_TPR_at_FPR(rate))


def test_perfect_detector_has_full_sensitivity_without_false_positives(make_outcome):
    outcome = make_outcome([0.9, 0.8], [[], []], [[]])
    assert sensitivity_at(outcome, np.ones((1, 2)), np.array([0.0])).tolist() == [[1.0]]
    assert mean_curve([outcome]).tolist() == [[0.0, 1.0, 0.0]]


def test_blind_detector_finds_nothing_at_any_rate(make_outcome):
    outcome = make_outcome([NONE, NONE], [[0.9], [0.4]], [])
    assert not sensitivity_at(outcome, np.ones((1, 2)), RATES).any()
    assert np.isnan(mean_curve([outcome])[:, 2]).all()


@pytest.mark.parametrize("seed", range(3))
def test_mean_curve_never_falls_and_equals_the_readings(seed, make_random_outcome):
    rng = stream(seed, "mean")
    outcomes = [make_random_outcome(rng) for _ in range(3)]
    mean = mean_curve(outcomes)
    assert mean[0, 0] == 0
    assert (np.diff(mean, axis=0) >= 0).all()
    read = np.mean([sensitivity_at(o, np.ones((1, 40)), mean[:, 0])[0] for o in outcomes], axis=0)
    np.testing.assert_allclose(mean[:, 1], read)
    assert mean[-1, 1] == pytest.approx(np.mean([(o.best_hit > 0).mean() for o in outcomes]))


def test_a_tie_of_hit_and_false_positive_counts_both(make_outcome):
    outcome = make_outcome([0.7], [[0.7]], [[0.7, 0.3]])
    assert curve(outcome).tolist() == [
        [np.inf, 0.0, 0.0, 0.0],
        [0.7, 1.0, 1.0, 1.0],
        [0.3, 1.0, 1.0, 2.0],
    ]
    assert sensitivity_at(outcome, np.ones((1, 1)), np.array([0.5]))[0, 0] == 0


def test_false_positives_of_controls_are_those_at_the_lowest_allowed_threshold(make_outcome):
    false = [[0.8], [0.5], [0.45], [0.4], [0.35], [0.2], *[[]] * 4]
    controls = [[0.36], [0.37], [0.38], [0.4], *[[]] * 6]
    outcome = make_outcome([0.9, 0.1, *[NONE] * 8], false, controls)
    assert control_rate([outcome], 0.5) == pytest.approx(0.4)
    assert control_rate([outcome], 0.1) == 0.0
    assert np.isnan(control_rate([make_outcome([0.9], [[]], [])], 0.5))
