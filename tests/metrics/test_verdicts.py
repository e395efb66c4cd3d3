"""What a difference shows, alone and among several."""

import json

import numpy as np
import pytest
from statsmodels.stats.multitest import multipletests

from lesionforge.errors import DataError
from lesionforge.metrics.endpoints import NO_CONTROLS, PRIMARY
from lesionforge.metrics.obuchowski import Interval, Readings, interval
from lesionforge.metrics.verdicts import contrast, holm, verdict, verdicts
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


def made(mean, j=4, n=30, seed=0):
    """Readings of an endpoint that is a mean over subjects."""
    rng = stream(seed, "contrast", str(mean))
    each = mean + 0.02 * rng.normal(size=(j, n))
    full = each.mean(axis=1)
    return Readings(full, (n * full[:, None] - each) / (n - 1), np.zeros(n, int))


def test_a_contrast_names_the_endpoints_that_disagree():
    a = {PRIMARY: made(0.6), "jafroc": made(0.5), "dice": made(0.501), "youden": NO_CONTROLS}
    b = {PRIMARY: made(0.5, seed=1), "jafroc": made(0.6, seed=1), "dice": made(0.5, seed=1),
         "youden": made(0.4)}  # fmt: skip
    found = contrast(a, b, overlap=0.0)
    assert found.verdict == "shown"
    assert found.endpoints[PRIMARY] == interval(a[PRIMARY].minus(b[PRIMARY]))
    assert found.endpoints[PRIMARY].value == pytest.approx(0.1, abs=0.01)
    assert found.endpoints["youden"].why == NO_CONTROLS
    assert found.shown_against == ("jafroc",)
    assert set(found.other_sign) >= {"jafroc"}
    back = contrast(b, a, overlap=0.0)
    assert back.endpoints[PRIMARY].value == -found.endpoints[PRIMARY].value
    assert back.endpoints[PRIMARY].p == pytest.approx(found.endpoints[PRIMARY].p)
    json.dumps(found.to_json(), allow_nan=False)


def test_a_contrast_needs_the_same_trainings():
    with pytest.raises(DataError, match="same trainings"):
        contrast({PRIMARY: made(0.6)}, {PRIMARY: made(0.6, j=3)}, overlap=0.0)
