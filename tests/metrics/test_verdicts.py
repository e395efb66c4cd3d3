"""What a difference shows, alone and among several."""

import pytest
from statsmodels.stats.multitest import multipletests

from lesionforge.metrics.obuchowski import Interval
from lesionforge.metrics.verdicts import holm, verdict, verdicts
from lesionforge.seeding import stream


def difference(low, high, p=0.5):
    ci95 = None if low is None else (low, high)
    return Interval(0.0, ci95, p, "population", 5, 30, 0.0, None)


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0.01, 0.2, "shown"),
        (-0.2, -0.01, "shown"),
        (0.001, 0.002, "shown"),
        (-0.03, 0.03, "equivalent"),
        (-0.031, 0.02, "unresolved"),
        (-0.01, 0.05, "unresolved"),
        (0.0, 0.02, "equivalent"),
        (None, None, "unresolved"),
    ],
)
def test_three_statements(low, high, expected):
    assert verdict(difference(low, high)) == expected


def test_holm_equals_statsmodels():
    p = stream(0, "holm").uniform(0, 0.1, 6)
    names = [f"c{i}" for i in range(6)]
    adjusted = holm(dict(zip(names, p.tolist(), strict=True)))
    expected = multipletests(p, method="holm")[1]
    assert [adjusted[n] for n in names] == pytest.approx(expected.tolist())


def test_an_undefined_test_counts_and_stays_undefined():
    assert holm({"a": 0.01, "b": None}) == {"a": 0.02, "b": None}


def test_several_differences_are_held_to_more():
    several = {
        "a": difference(0.01, 0.2, p=0.001),
        "b": difference(0.001, 0.2, p=0.04),
        "c": difference(-0.01, 0.02, p=0.5),
    }
    found = verdicts(several)
    assert {name: v for name, (v, _) in found.items()} == {
        "a": "shown",
        "b": "unresolved",
        "c": "equivalent",
    }
    assert verdict(several["b"]) == "shown"
    assert found["b"][1] == pytest.approx(0.08)
