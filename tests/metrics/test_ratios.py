"""Ratio curves: the best ratio is validation's choice, and "enough" is where more stops helping."""

import numpy as np
import pytest

from lesionforge.metrics.bootstrap import resample
from lesionforge.metrics.config import EvaluationConfig
from lesionforge.metrics.outcomes import NONE
from lesionforge.metrics.ratios import RegimeOutcome, best_against_copies, label_curve, ratio_curves

N, CONFIG = 100, EvaluationConfig(bootstrap=200)
DRAWS = resample(N, 10, CONFIG.bootstrap, 0)


@pytest.fixture
def entry(make_outcome):
    """Make an regime that finds the first so many of 100 patients, every other with a fp."""

    def make(
        regime, ratio, found, validation, patients=10, source="spade", mode="insert"
    ) -> RegimeOutcome:
        hits = np.where(np.arange(N) < found, 0.9, NONE)
        false = [[0.5] if i % 2 else [] for i in range(N)]
        outcomes = {0: make_outcome(hits, false, [[] for _ in range(10)])}
        return RegimeOutcome(
            regime, patients, patients, ratio, source, mode, outcomes, {0: validation}
        )

    return make


@pytest.fixture
def base(entry):
    return entry("baseline", 0.0, 40, 0.4, source="", mode="")


@pytest.fixture
def expanded(entry):
    return entry("expanded", 0.0, 80, 0.8, patients=20, source="", mode="")


def test_the_best_dose_is_chosen_on_validation_subjects(entry, base, expanded):
    entries = [base, entry("one", 1.0, 50, 0.70), entry("two", 2.0, 70, 0.60), expanded]
    (curve,) = ratio_curves(entries, DRAWS, CONFIG)
    assert curve["best"] == "one"  # although the test would have liked two
    assert [p["ratio"] for p in curve["points"]] == [0.0, 1.0, 2.0]
    assert [p["sensitivity_at_half_fp"]["value"] for p in curve["points"]] == [0.4, 0.5, 0.7]
    assert curve["gap_recovered"]["value"] == pytest.approx(0.25)
    assert curve["label_saving"]["value"] == pytest.approx(1 - 10 / 12.5)
    low, high = curve["gap_recovered"]["ci95"]
    assert 0 < low < 0.25 < high < 0.6


def test_doses_are_compared_on_the_seeds_that_all_have(entry, base):
    one, two = entry("one", 1.0, 50, 0.5), entry("two", 2.0, 60, 0.6)
    two.validation[1] = 0.0  # a seed that `one` does not have yet
    assert ratio_curves([base, one, two], DRAWS, CONFIG)[0]["best"] == "two"


def test_a_dose_gains_on_the_seeds_that_the_baseline_has_too(entry, base):
    """Seed 1 is harder for all; ratio 2 was not trained on it, the baseline on both."""
    base.outcomes[1] = entry("hard", 0.0, 10, 0.1).outcomes[0]
    one, two = entry("one", 1.0, 50, 0.5), entry("two", 2.0, 50, 0.5)
    one.outcomes[1] = entry("hard", 1.0, 40, 0.4).outcomes[0]
    one.validation[1] = 0.1
    (curve,) = ratio_curves([base, one, two], DRAWS, CONFIG)
    assert [p["seeds"] for p in curve["points"]] == [[0, 1], [0, 1], [0]]
    assert [p["gain_at_half_fp"]["value"] for p in curve["points"]] == pytest.approx([0, 0.2, 0.1])
    low, high = curve["points"][2]["gain_at_half_fp"]["ci95"]
    assert 0 < low < 0.1 < high < 0.2
    levels = [p["sensitivity_at_half_fp"]["value"] for p in curve["points"]]
    assert levels == pytest.approx([0.25, 0.45, 0.5])
    judged = [p["validation_sensitivity_at_half_fp"] for p in curve["points"]]
    assert judged == [0.4, 0.5, 0.5]  # seed 0 chooses, which both ratios have
    del base.outcomes[0]
    strange = ratio_curves([base, one, two], DRAWS, CONFIG)[0]["points"][2]
    assert strange["gain_at_half_fp"] is None
    assert strange["sensitivity_at_half_fp"]["value"] == 0.5


def test_of_equal_doses_the_smaller_is_taken(entry, base):
    entries = [base, entry("two", 2.0, 60, 0.5), entry("half", 0.5, 50, 0.5)]
    assert ratio_curves(entries, DRAWS, CONFIG)[0]["best"] == "half"


@pytest.mark.parametrize(
    ("found", "enough"), [((40, 41, 41), 0.0), ((70, 71, 70), 1.0), ((50, 70, 90), 4.0)]
)
def test_enough_is_the_dose_that_no_larger_one_beats(entry, base, found, enough):
    entries = [
        base,
        *(entry(f"d{d:g}", d, k, 0.5) for d, k in zip((1.0, 2.0, 4.0), found, strict=True)),
    ]
    assert ratio_curves(entries, DRAWS, CONFIG)[0]["enough"] == enough


def test_sets_have_curves_of_their_own_and_are_compared_at_their_best(entry, base):
    entries = [
        base,
        entry("one", 1.0, 50, 0.5),
        entry("two", 2.0, 75, 0.7),
        entry("copied", 1.0, 55, 0.6, source="paste", mode="paste"),
        entry("other", 1.0, 90, 0.9, patients=20),  # of other real patients: no point of the curve
    ]
    curves = ratio_curves(entries, DRAWS, CONFIG)
    assert [(c["set"], c["best"], len(c["points"])) for c in curves] == [
        ("spade", "two", 3),
        ("paste", "copied", 2),
    ]
    (pair,) = best_against_copies(curves, entries, DRAWS, CONFIG)
    assert (pair["a"], pair["b"]) == ("copied", "two")
    assert pair["difference_at_half_fp"]["value"] == pytest.approx(0.2)
    assert best_against_copies(curves[:1], entries, DRAWS, CONFIG) == []


def test_what_cannot_be_said_is_undefined_with_the_reason(entry, base, expanded):
    blind = [base, entry("one", 1.0, 50, float("nan")), expanded]
    (curve,) = ratio_curves(blind, DRAWS, CONFIG)
    assert curve["best"] is None
    assert "validation" in curve["gap_recovered"]["why"]
    (curve,) = ratio_curves([base, entry("one", 1.0, 50, 0.5)], DRAWS, CONFIG)
    assert "expanded" in curve["label_saving"]["why"]
    assert ratio_curves([base, expanded], DRAWS, CONFIG) == []


def test_the_label_curve_has_the_real_regimes_in_order(entry, base, expanded):
    middle = entry("middle", 0.0, 60, 0.5, patients=15, source="", mode="")
    points = label_curve([expanded, base, entry("one", 1.0, 50, 0.5), middle], DRAWS, CONFIG)
    assert [(p["regime"], p["patients"]) for p in points] == [
        ("baseline", 10),
        ("middle", 15),
        ("expanded", 20),
    ]
