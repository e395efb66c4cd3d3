"""Calibration figures by hand, and what a perfect score looks like at small numbers."""

import numpy as np
import pytest

from lesionforge.errors import DataError
from lesionforge.metrics.calibration import calibrate, patient_probability
from lesionforge.seeding import stream


def test_figures_by_hand():
    p, y = np.array([0.2, 0.2, 0.8, 0.8]), np.array([0, 1, 1, 1])
    found = calibrate(p, y, bins=2)
    assert found.table["n"].tolist() == [2, 2]
    assert found.table["predicted"].tolist() == pytest.approx([0.2, 0.8])
    assert found.table["observed"].tolist() == [0.5, 1.0]
    assert found.brier == pytest.approx((0.04 + 0.64 + 0.04 + 0.04) / 4)
    assert found.brier_skill == pytest.approx(1 - 0.19 / (0.75 * 0.25))
    assert found.ece == pytest.approx(0.5 * 0.3 + 0.5 * 0.2)


def test_a_perfect_score_is_called_perfect_and_a_shifted_one_is_not():
    rng = stream(0, "calibration-test")
    inside, beyond = 0, 0
    for _ in range(60):
        p = rng.uniform(0.05, 0.95, 120)
        y = (rng.random(120) < p).astype(int)
        inside += calibrate(p, y).ece <= calibrate(p, y).perfect_ece_95
        shifted = calibrate(np.clip(p + 0.25, 0, 1), y)
        beyond += shifted.ece > shifted.perfect_ece_95
    assert inside >= 52
    assert beyond >= 55


def test_the_perfect_error_falls_with_the_number():
    rng = stream(1, "calibration-test")
    few, many = (
        calibrate(p, (rng.random(n) < p).astype(int)).perfect_ece
        for n in (40, 4000)
        for p in [rng.uniform(size=n)]
    )
    assert few > 3 * many > 0


def test_telling_the_base_rate_has_no_skill_and_one_kind_has_no_skill_at_all():
    y = np.array([0, 1, 1, 0])
    assert calibrate(np.full(4, 0.5), y).brier_skill == pytest.approx(0)
    assert calibrate(np.full(4, 0.5), np.ones(4)).brier_skill is None
    assert calibrate(np.array([0.3]), np.array([1])).table["n"].tolist() == [1]


def test_a_patients_probability_is_that_of_any_candidate():
    found = patient_probability(
        np.array([0.5, 0.5, 1.0]), np.array(["a", "a", "c"]), np.array(["a", "b", "c"])
    )
    assert found == pytest.approx([0.75, 0, 1])


def test_faulty_input_is_refused():
    with pytest.raises(DataError, match="pairs"):
        calibrate(np.zeros(0), np.zeros(0))
    with pytest.raises(DataError, match=r"\[0, 1\]"):
        calibrate(np.array([1.2]), np.array([1]))
