"""Endpoints against hand-computed examples and slow versions that copy subjects."""

import itertools

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from lesionforge.metrics.endpoints import (
    NO_CONTROLS,
    NO_THRESHOLD,
    PRIMARY,
    endpoint_readings,
    endpoints,
    weighted_endpoints,
)
from lesionforge.metrics.froc import CURVE_COLUMNS, curve, froc, mean_sensitivity, sensitivity_at
from lesionforge.metrics.marks import read_marks
from lesionforge.seeding import stream

RATE = 0.5


def random_tables(seed, n=14, m=8, digits=1):
    """Patients with several lesions and false positives; few digits make ties."""
    rng = stream(seed, "endpoints")
    rows, lesions, subjects = [], [], []
    for i in range(n + m):
        name = f"s{i:02d}"
        group = "patient" if i < n else "control"
        subjects.append({"participant_id": name, "group": group, "dice": rng.random()})
        for lesion in range(int(rng.integers(1, 5)) if i < n else 0):
            score = round(float(rng.uniform(-1, 2)), digits) if rng.random() < 0.6 else np.nan
            lesions.append({"participant_id": name, "lesion": lesion, "score": score})
            if np.isfinite(score):
                rows.append({"participant_id": name, "score": score, "hit": 1, "lesion_hit": 1})
        for _ in range(rng.poisson(1.5)):
            score = round(float(rng.uniform(-1.5, 1.5)), digits)
            rows.append({"participant_id": name, "score": score, "hit": 0, "lesion_hit": 0})
    thresholds = {s["participant_id"]: 0.3 for s in subjects}
    return pd.DataFrame(rows), pd.DataFrame(subjects), pd.DataFrame(lesions), thresholds


def marks_of(unit, seed, **more):
    candidates, subjects, lesions, thresholds = random_tables(seed, **more)
    return read_marks(candidates, subjects, unit, lesions if unit == "lesion" else None, thresholds)


def slow_endpoints(marks, patients, controls):
    """Copy every subject as often as it is drawn, and count with loops over thresholds."""
    drawn, others = (np.repeat(np.arange(len(w)), w.astype(int)) for w in (patients, controls))
    found = [marks.targets.value[marks.targets.owner == i] for i in drawn]
    false = [marks.false_in_patients.value[marks.false_in_patients.owner == i] for i in drawn]
    wrong = [
        max(marks.false_in_controls.value[marks.false_in_controls.owner == i], default=-np.inf)
        for i in others
    ]
    every = [*marks.targets.value, *marks.false_in_patients.value, *marks.false_in_controls.value]
    every = sorted({x for s in every if np.isfinite(s) for x in (s, np.nextafter(s, 9))})
    every.append(99.0)

    def sensitivity(t):
        return np.mean([np.mean(f >= t) for f in found])

    def rate(t):
        return sum((f >= t).sum() for f in false) / len(drawn)

    def specificity(t):
        return np.mean([w < t for w in wrong])

    def at_rate(x):
        return max(sensitivity(t) for t in every if rate(t) <= x + 1e-9)

    corners = [*sorted({rate(t) for t in every if rate(t) < 2 * RATE} | {0.0}), 2 * RATE]
    area = sum(at_rate(a) * (b - a) for a, b in itertools.pairwise(corners))
    flat = [(v, 1 / len(f)) for f in found for v in f]
    jafroc = sum(w * (1.0 if v > x else 0.5 if v == x else 0.0) for v, w in flat for x in wrong) / (
        len(drawn) * len(wrong)
    )
    best = [marks.best_in_patients[i] for i in drawn]
    scores = np.clip([*best, *wrong], -9, None)
    f1 = []
    for f, x in zip(found, false, strict=True):
        true = (f >= 0.3).sum()
        f1.append(2 * true / (2 * true + (x >= 0.3).sum() + (f < 0.3).sum()))
    return {
        PRIMARY: area / (2 * RATE),
        "sensitivity_at_rate": at_rate(RATE),
        "sensitivity_at_80": max(sensitivity(t) for t in every if specificity(t) >= 0.8 - 1e-9),
        "sensitivity_at_90": max(sensitivity(t) for t in every if specificity(t) >= 0.9 - 1e-9),
        "youden": max(sensitivity(t) + specificity(t) - 1 for t in every),
        "jafroc": jafroc,
        "patient_auc": roc_auc_score([1] * len(best) + [0] * len(wrong), scores),
        "f1": np.mean(f1),
        "sensitivity": sensitivity(0.3),
        "specificity": specificity(0.3),
        "dice": marks.dice[drawn].mean(),
    }


@pytest.mark.parametrize("unit", ["patient", "lesion"])
@pytest.mark.parametrize("seed", range(4))
def test_every_endpoint_equals_a_slow_version_in_every_replicate(unit, seed):
    marks = marks_of(unit, seed)
    rng = stream(seed, "draws")
    patients, controls = (
        np.concatenate([np.ones((1, n)), rng.multinomial(n, np.full(n, 1 / n), 4)]) for n in (14, 8)
    )
    found = weighted_endpoints(marks, RATE, patients, controls)
    for i, weights in enumerate(zip(patients, controls, strict=True)):
        expected = slow_endpoints(marks, *weights)
        assert set(found) == set(expected)
        for name, value in expected.items():
            assert found[name][i] == pytest.approx(value), name
    plain = endpoints(marks, RATE)
    assert {k: v["value"] for k, v in plain.items()} == pytest.approx(
        {k: v[0] for k, v in found.items()}
    )


def test_a_curve_by_hand_in_both_units():
    # a: lesions found at .9 and never; b: one lesion found at .5; false positives .7 (a), .4 (b)
    candidates = pd.DataFrame(
        {
            "participant_id": ["a", "a", "b", "b"],
            "score": [0.9, 0.7, 0.5, 0.4],
            "hit": [1, 0, 1, 0],
            "lesion": [1, 0, 1, 0],
        }
    )
    subjects = pd.DataFrame({"participant_id": ["a", "b"], "n_lesions": [2, 1]})
    table = froc(candidates, subjects)
    assert tuple(table.columns) == CURVE_COLUMNS
    assert table["false_positives_per_patient"].tolist() == [0, 0, 0.5, 0.5, 1]
    assert table["sensitivity"].tolist() == [0, 0.5, 0.5, 1, 1]
    lesions = froc(candidates, subjects, unit="lesion")
    assert lesions["sensitivity"].tolist() == [0, 0.25, 0.25, 0.75, 0.75]
    assert lesions["false_positives_per_control"].isna().all()
    # mean over 0 to 1: 0.5 on [0, .5), 1 on [.5, 1)
    marks = read_marks(candidates, subjects)
    assert mean_sensitivity(marks, np.ones((1, 2)), 1.0).tolist() == [0.75]
    assert mean_sensitivity(marks, np.ones((1, 2)), 0.5).tolist() == [0.5]
    assert sensitivity_at(marks, np.ones((1, 2)), np.array([0, 0.49, 0.5])).tolist() == [
        [0.5, 0.5, 1]
    ]


def test_patients_without_a_lesion_that_counts_have_false_positives_but_no_sensitivity():
    candidates = pd.DataFrame(
        {"participant_id": ["a", "b"], "score": [0.9, 0.5], "lesion_hit": [1, 0]}
    )
    lesions = pd.DataFrame(
        {"participant_id": ["a", "a", "b"], "score": [0.9, np.nan, np.nan], "counts": [1, 1, 0]}
    )
    table = froc(candidates, pd.DataFrame({"participant_id": ["a", "b"]}), "lesion", lesions)
    assert table["sensitivity"].tolist() == [0, 0.5, 0.5]
    assert table["false_positives_per_patient"].tolist() == [0, 0, 0.5]


@pytest.mark.parametrize("unit", ["patient", "lesion"])
def test_mean_sensitivity_is_the_limit_of_many_readings(unit):
    marks = marks_of(unit, 7, digits=3)
    ones = np.ones((1, 14))
    rates = (np.arange(4000) + 0.5) / 4000
    sampled = sensitivity_at(marks, ones, rates).mean()
    assert mean_sensitivity(marks, ones, 1.0)[0] == pytest.approx(sampled, abs=1e-3)
    assert sensitivity_at(marks, ones, rates).min() < sampled


def test_the_curve_of_lesions_falls_nowhere_and_reads_what_sensitivity_at_reads():
    marks = marks_of("lesion", 3)
    table = curve(marks)
    assert (np.diff(table[:, 1:], axis=0) >= 0).all()
    last = {x: s for _, x, s, _ in table}
    rates = np.array(sorted(last))
    read = sensitivity_at(marks, np.ones((1, 14)), rates)[0]
    np.testing.assert_allclose(read, [last[x] for x in rates])


def test_negative_scores_change_nothing_but_the_thresholds():
    candidates, subjects, lesions, _ = random_tables(2)
    shifted = candidates.assign(score=candidates["score"] - 100)
    lower = lesions.assign(score=lesions["score"] - 100)
    one = endpoints(read_marks(candidates, subjects, "lesion", lesions), RATE)
    two = endpoints(read_marks(shifted, subjects, "lesion", lower), RATE)
    assert one == two


def test_what_is_undefined_says_why():
    candidates, subjects, _, _ = random_tables(1)
    keep = subjects["group"] == "patient"
    mine = candidates[candidates["participant_id"].isin(subjects["participant_id"][keep])]
    found = endpoints(read_marks(mine, subjects[keep].drop(columns="dice")), RATE)
    assert found["jafroc"] == {"value": None, "why": NO_CONTROLS}
    assert found["f1"] == {"value": None, "why": NO_THRESHOLD}
    assert found["dice"]["value"] is None
    assert found[PRIMARY]["value"] > 0
    readings = endpoint_readings([read_marks(mine, subjects[keep])], RATE)
    assert readings["youden"] == NO_CONTROLS


def test_readings_leave_each_subject_out():
    candidates, subjects, lesions, thresholds = random_tables(5)
    marks = read_marks(candidates, subjects, "lesion", lesions, thresholds)
    readings = endpoint_readings([marks, marks], RATE)
    for gone in (3, 14 + 2):
        name = [*marks.patients, *marks.controls][gone]
        rest = endpoints(
            read_marks(
                candidates[candidates["participant_id"] != name],
                subjects[subjects["participant_id"] != name],
                "lesion",
                lesions[lesions["participant_id"] != name],
                thresholds,
            ),
            RATE,
        )
        for endpoint, one in readings.items():
            assert one.left_out[1, gone] == pytest.approx(rest[endpoint]["value"]), endpoint
            assert one.values[0] == pytest.approx(endpoints(marks, RATE)[endpoint]["value"])
    assert readings[PRIMARY].groups.tolist() == [0] * 14 + [1] * 8
