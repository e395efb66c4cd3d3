"""Dose curves: the best dose is validation's choice, and "enough" is where more stops helping."""

import numpy as np
import pytest

from lesionforge.evaluation.bootstrap import resample
from lesionforge.evaluation.doses import Arm, best_against_copies, dose_curves, label_curve
from lesionforge.evaluation.outcomes import NONE
from lesionforge.evaluation.statistics import EvaluationConfig

N, CONFIG = 100, EvaluationConfig(bootstrap=200)
DRAWS = resample(N, 10, CONFIG.bootstrap, 0)


@pytest.fixture
def arm(make_outcome):
    """Make an arm that finds the first so many of 100 patients, every other with a fp."""

    def make(regime, dose, found, validation, patients=10, source="spade", mode="insert") -> Arm:
        hits = np.where(np.arange(N) < found, 0.9, NONE)
        false = [[0.5] if i % 2 else [] for i in range(N)]
        outcomes = {0: make_outcome(hits, false, [[] for _ in range(10)])}
        return Arm(regime, patients, patients, dose, source, mode, outcomes, {0: validation})

    return make


@pytest.fixture
def base(arm):
    return arm("baseline", 0.0, 40, 0.4, source="", mode="")


@pytest.fixture
def expanded(arm):
    return arm("expanded", 0.0, 80, 0.8, patients=20, source="", mode="")


def test_the_best_dose_is_chosen_on_validation_subjects(arm, base, expanded):
    arms = [base, arm("one", 1.0, 50, 0.70), arm("two", 2.0, 70, 0.60), expanded]
    (curve,) = dose_curves(arms, DRAWS, CONFIG)
    assert curve["best"] == "one"  # although the test would have liked two
    assert [p["dose"] for p in curve["points"]] == [0.0, 1.0, 2.0]
    assert [p["sensitivity_at_half_fp"]["value"] for p in curve["points"]] == [0.4, 0.5, 0.7]
    assert curve["gap_recovered"]["value"] == pytest.approx(0.25)
    assert curve["label_saving"]["value"] == pytest.approx(1 - 10 / 12.5)
    low, high = curve["gap_recovered"]["ci95"]
    assert 0 < low < 0.25 < high < 0.6


def test_doses_are_compared_on_the_seeds_that_all_have(arm, base):
    one, two = arm("one", 1.0, 50, 0.5), arm("two", 2.0, 60, 0.6)
    two.validation[1] = 0.0  # a seed that `one` does not have yet
    assert dose_curves([base, one, two], DRAWS, CONFIG)[0]["best"] == "two"


def test_a_dose_gains_on_the_seeds_that_the_baseline_has_too(arm, base):
    """Seed 1 is harder for all; dose 2 was not trained on it, the baseline on both."""
    base.outcomes[1] = arm("hard", 0.0, 10, 0.1).outcomes[0]
    one, two = arm("one", 1.0, 50, 0.5), arm("two", 2.0, 50, 0.5)
    one.outcomes[1] = arm("hard", 1.0, 40, 0.4).outcomes[0]
    one.validation[1] = 0.1
    (curve,) = dose_curves([base, one, two], DRAWS, CONFIG)
    assert [p["seeds"] for p in curve["points"]] == [[0, 1], [0, 1], [0]]
    assert [p["gain_at_half_fp"]["value"] for p in curve["points"]] == pytest.approx([0, 0.2, 0.1])
    low, high = curve["points"][2]["gain_at_half_fp"]["ci95"]
    assert 0 < low < 0.1 < high < 0.2
    levels = [p["sensitivity_at_half_fp"]["value"] for p in curve["points"]]
    assert levels == pytest.approx([0.25, 0.45, 0.5])
    judged = [p["validation_sensitivity_at_half_fp"] for p in curve["points"]]
    assert judged == [0.4, 0.5, 0.5]  # seed 0 chooses, which both doses have
    del base.outcomes[0]
    strange = dose_curves([base, one, two], DRAWS, CONFIG)[0]["points"][2]
    assert strange["gain_at_half_fp"] is None
    assert strange["sensitivity_at_half_fp"]["value"] == 0.5


def test_of_equal_doses_the_smaller_is_taken(arm, base):
    arms = [base, arm("two", 2.0, 60, 0.5), arm("half", 0.5, 50, 0.5)]
    assert dose_curves(arms, DRAWS, CONFIG)[0]["best"] == "half"


@pytest.mark.parametrize(
    ("found", "enough"), [((40, 41, 41), 0.0), ((70, 71, 70), 1.0), ((50, 70, 90), 4.0)]
)
def test_enough_is_the_dose_that_no_larger_one_beats(arm, base, found, enough):
    arms = [base, *(arm(f"d{d:g}", d, k, 0.5) for d, k in zip((1.0, 2.0, 4.0), found, strict=True))]
    assert dose_curves(arms, DRAWS, CONFIG)[0]["enough"] == enough


def test_sets_have_curves_of_their_own_and_are_compared_at_their_best(arm, base):
    arms = [
        base,
        arm("one", 1.0, 50, 0.5),
        arm("two", 2.0, 75, 0.7),
        arm("copied", 1.0, 55, 0.6, source="paste", mode="paste"),
        arm("other", 1.0, 90, 0.9, patients=20),  # of other real patients: no point of the curve
    ]
    curves = dose_curves(arms, DRAWS, CONFIG)
    assert [(c["set"], c["best"], len(c["points"])) for c in curves] == [
        ("spade", "two", 3),
        ("paste", "copied", 2),
    ]
    (pair,) = best_against_copies(curves, arms, DRAWS, CONFIG)
    assert (pair["a"], pair["b"]) == ("copied", "two")
    assert pair["difference_at_half_fp"]["value"] == pytest.approx(0.2)
    assert best_against_copies(curves[:1], arms, DRAWS, CONFIG) == []


def test_what_cannot_be_said_is_undefined_with_the_reason(arm, base, expanded):
    blind = [base, arm("one", 1.0, 50, float("nan")), expanded]
    (curve,) = dose_curves(blind, DRAWS, CONFIG)
    assert curve["best"] is None
    assert "validation" in curve["gap_recovered"]["why"]
    (curve,) = dose_curves([base, arm("one", 1.0, 50, 0.5)], DRAWS, CONFIG)
    assert "expanded" in curve["label_saving"]["why"]
    assert dose_curves([base, expanded], DRAWS, CONFIG) == []


def test_the_label_curve_has_the_real_regimes_in_order(arm, base, expanded):
    middle = arm("middle", 0.0, 60, 0.5, patients=15, source="", mode="")
    points = label_curve([expanded, base, arm("one", 1.0, 50, 0.5), middle], DRAWS, CONFIG)
    assert [(p["regime"], p["patients"]) for p in points] == [
        ("baseline", 10),
        ("middle", 15),
        ("expanded", 20),
    ]
