import numpy as np
import pandas as pd
import pytest

from lesionforge.errors import ConfigError, DataError
from lesionforge.label_qc.config import NextConfig
from lesionforge.label_qc.next_cases import (
    Action,
    adjudicate_actions,
    inspect_actions,
    label_actions,
    look_actions,
    plan,
    repeated_false_positives,
    validate_actions,
)
from lesionforge.label_qc.worth import Worth, measure_worth

WORTH = Worth(label=0.5, synthetic=-0.2, false_positive=10.0, basis="")
COSTS = NextConfig(reader_error=0.1, harm=1.0)


def regime(value, patients, synthetic=0):
    froc = [[0.0, 0.2], [0.25, 0.4], [0.75, 0.5], [2.0, 0.6]]
    return {
        "n_patients": patients,
        "n_synthetic_patients": synthetic,
        "sensitivity_at_half_fp": {"value": value, "false_positives_per_patient": 0.5},
        "froc": froc,
    }


def with_pairs(regimes):
    """Metrics whose pairs, of the seeds that both have, differ by what the regimes differ by."""

    def value(name):
        return regimes[name]["sensitivity_at_half_fp"]["value"]

    pairs = [
        {"a": "baseline", "b": b, "difference_at_half_fp": {"value": value(b) - value("baseline")}}
        for b in regimes
        if b != "baseline"
    ]
    return {"regimes": regimes, "comparisons": pairs}


def test_worth_is_read_from_the_regimes():
    regimes = {
        "baseline": regime(0.40, 10),
        "augmented": regime(0.46, 10, 12),
        "expanded": regime(0.60, 20),
        "only": regime(0.10, 0, 12),
    }
    worth = measure_worth(with_pairs(regimes))
    assert worth.label == pytest.approx(2.0)
    assert worth.synthetic == pytest.approx(0.5)
    assert worth.false_positive == pytest.approx(20.0)
    assert "expanded finds +20.0 points with 10 more" in worth.basis
    regimes["expanded"]["n_model_labels"] = 5  # half of the new masks cost nobody's time
    assert measure_worth(with_pairs(regimes)).label == pytest.approx(4.0)
    regimes["expanded"] = regime(0.30, 20)
    assert measure_worth(with_pairs(regimes)).label == 0
    del regimes["expanded"]
    with pytest.raises(DataError, match="not known what a label is worth"):
        measure_worth(with_pairs(regimes))


def test_worth_is_of_the_seeds_that_both_have_and_of_the_studys_rate():
    metrics = with_pairs({"baseline": regime(0.30, 10), "expanded": regime(0.60, 20)})
    metrics["comparisons"][0]["difference_at_half_fp"]["value"] = 0.5  # of common seeds
    metrics["regimes"]["baseline"]["sensitivity_at_half_fp"]["false_positives_per_patient"] = 1.0
    worth = measure_worth(metrics)
    assert worth.label == pytest.approx(5.0)
    assert worth.false_positive == pytest.approx(100 * (0.56 - 0.45))  # from 0.5 to 1.5 a patient


def test_the_formulas_by_hand():
    labels = pd.DataFrame({"participant_id": ["a"], "risk": [0.4], "reasons": ["odd"]})
    (inspect,) = inspect_actions(labels, WORTH, COSTS)
    assert (inspect.gain, inspect.risk) == (pytest.approx(0.4), pytest.approx(0.06))
    assert inspect.rate == pytest.approx(0.34 / 6)
    new = {a.subject: a for a in label_actions({"b": 0.9, "c": 0.3}, 0.2, WORTH, COSTS)}
    assert new["b"].gain == pytest.approx(0.75)
    assert new["c"].risk == pytest.approx(0.1)
    (adjudicate,) = adjudicate_actions({"d": 0.2, "e": 1.0}, ("A", "B"), WORTH, COSTS)
    assert (adjudicate.gain, adjudicate.risk) == (pytest.approx(0.4), pytest.approx(0.1))
    (validate,) = validate_actions({"f": 0.5}, WORTH, COSTS)
    assert (validate.gain, validate.risk) == (pytest.approx(0.1), pytest.approx(0.01))
    (look,) = look_actions({"g": (3, 4)}, 50, WORTH, COSTS)
    assert look.gain == pytest.approx(0.15)
    assert validate_actions({"f": 0.5}, Worth(1, None, 1, ""), COSTS) == []


def test_the_list_is_ranked_and_fits_the_minutes():
    actions = [
        Action("label", "a", "", 3.0, 0.0, 30.0),
        Action("inspect", "b", "", 1.2, 0.0, 6.0),
        Action("inspect", "c", "", 0.1, 0.2, 6.0),
        Action("look", "d", "", 0.2, 0.0, 4.0),
    ]
    table = plan(actions, 11)
    assert table["subject"].tolist() == ["b", "a", "d", "c"]
    assert table["chosen"].tolist() == [1, 0, 1, 0]
    np.testing.assert_allclose(table["return"], (table["gain"] - table["risk"]) / table["minutes"])
    assert plan(actions, 1000)["chosen"].tolist() == [1, 1, 1, 0]
    assert len(plan([], 10)) == 0
    with pytest.raises(ConfigError, match="minutes"):
        plan(actions, 0)


def test_false_positives_that_come_back():
    columns = ["participant_id", "x_mm", "y_mm", "z_mm", "hit"]
    one = pd.DataFrame([["a", 0, 0, 0, 0], ["b", 0, 0, 0, 0], ["c", 5, 5, 5, 1]], columns=columns)
    two = pd.DataFrame([["a", 3, 4, 0, 0], ["b", 30, 0, 0, 0], ["c", 5, 5, 5, 1]], columns=columns)
    three = pd.DataFrame([["a", 50, 0, 0, 0], ["a", 0, 6, 0, 0]], columns=columns)
    everybody = ["abc"] * 3
    assert repeated_false_positives([one, two, three], everybody) == {"a": (3, 3)}
    assert repeated_false_positives([one], everybody[:1]) == {}
    folds = ["abc", "abc", "xyz"]  # the third training was tried on others
    assert repeated_false_positives([one, two, one.head(0)], folds) == {"a": (2, 2)}


def test_bad_costs_are_refused():
    with pytest.raises(ConfigError, match="minutes_each"):
        NextConfig(minutes_each={"label": 1.0})
    with pytest.raises(ConfigError, match="reader_error"):
        NextConfig(reader_error=0.7)
