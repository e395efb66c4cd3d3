"""The contract of metrics.json, and studies that lack something."""

import json
from dataclasses import replace

import numpy as np
import pytest

from lesionforge.errors import DataError, LineageError
from lesionforge.metrics.config import CandidateRules, EvaluationConfig
from lesionforge.metrics.intervals import Estimate, label_saving
from lesionforge.provenance import read_json, read_tsv, write_json
from lesionforge.report.results import compute_metrics, jsonable

RULES = CandidateRules()
CONFIG = EvaluationConfig(bootstrap=200)


def measure(runs, notes=()):
    return compute_metrics("toy", "0" * 64, "phantom", runs, RULES, CONFIG, notes)


@pytest.fixture(scope="module")
def metrics(bench):
    return measure(bench.runs)


def test_contract(metrics):
    assert metrics["schema"] == 1
    assert {"study", "config_sha256", "data", "rules", "regimes", "comparisons"} <= set(metrics)
    assert {"candidate_threshold", "min_volume_mm3", "connectivity", "hit"} <= set(metrics["rules"])
    assert list(metrics["regimes"]) == ["baseline", "augmented", "expanded"]
    for regime in metrics["regimes"].values():
        assert regime["seeds"] == [0, 1]
        assert len(regime["score_threshold"]) == len(regime["sensitivity"]["k"]) == 2
        assert {"n_patients", "n_controls", "n_synthetic_patients", "n_synthetic_controls"} <= set(
            regime
        )
        for key in ("sensitivity", "specificity", "lesion_sensitivity", "sensitivity_at_half_fp"):
            low, high = regime[key]["ci95"]
            assert 0 <= low <= regime[key]["value"] <= high <= 1
        rates, values = np.array(regime["froc"]).T
        assert rates[0] == 0
        assert (np.diff(rates) > 0).all()
        assert (np.diff(values) >= 0).all()
    pairs = {(p["a"], p["b"]): p for p in metrics["comparisons"]}
    assert set(pairs) == {
        ("baseline", "augmented"),
        ("baseline", "expanded"),
        ("augmented", "expanded"),
    }
    for a, b in pairs:
        k = [metrics["regimes"][x]["sensitivity"]["k"] for x in (a, b)]
        net = np.subtract(pairs[a, b]["gained"], pairs[a, b]["lost"])
        assert net.tolist() == np.subtract(k[1], k[0]).tolist()
    assert {"value", "ci95", "definition", "why"} <= set(metrics["gap_recovered"])
    assert {"value", "ci95", "definition"} <= set(metrics["label_saving"])
    json.dumps(metrics, allow_nan=False)


def test_the_dose_curve_repeats_the_regimes_figures(metrics):
    (curve,) = metrics["ratios"]
    assert (curve["set"], curve["mode"], curve["best"]) == ("spade", "insert", "augmented")
    assert [p["regime"] for p in curve["points"]] == ["baseline", "augmented"]
    for point in curve["points"]:
        regime = metrics["regimes"][point["regime"]]
        assert point["sensitivity_at_half_fp"]["value"] == pytest.approx(
            regime["sensitivity_at_half_fp"]["value"]
        )
        assert point["false_positives_per_subject"] == pytest.approx(
            regime["false_positives_per_subject"]["value"]
        )
        assert 0 <= point["validation_sensitivity_at_half_fp"] <= 1
    assert curve["gap_recovered"]["value"] == metrics["gap_recovered"]["at_half_fp"]["value"]
    assert [p["regime"] for p in metrics["label_curve"]] == ["baseline", "expanded"]
    assert metrics["against_copies"] == []


def test_label_budget_counts_validation_labels(metrics):
    regime = metrics["regimes"]["expanded"]
    assert (regime["n_patients"], regime["n_validation"], regime["n_validation_patients"]) == (
        8,
        8,
        4,
    )
    assert regime["label_budget"] == 12


def test_numbers_follow_from_the_tables(bench, metrics):
    """Sensitivity of one seed, counted by hand from the files."""
    run = next(c for c in bench.runs if (c.regime, c.seed) == ("augmented", 1))
    candidates, subjects = (
        read_tsv(run.folder / f"{name}.tsv") for name in ("candidates", "subjects")
    )
    validation = subjects[subjects["role"] == "validation"]
    false = candidates[(candidates["role"] == "validation") & (candidates["hit"] == 0)]["score"]
    threshold = metrics["regimes"]["augmented"]["score_threshold"][1]
    assert (false >= threshold).sum() <= 0.5 * len(validation)
    patients = subjects[(subjects["role"] == "test") & (subjects["group"] == "patient")]
    hits = candidates[(candidates["hit"] == 1) & (candidates["score"] >= threshold)]
    found = sum(i in set(hits["participant_id"]) for i in patients["participant_id"])
    assert metrics["regimes"]["augmented"]["sensitivity"]["k"][1] == found > 0


def test_the_same_files_give_the_same_bytes(bench, metrics):
    assert json.dumps(measure(bench.runs)) == json.dumps(metrics)


def test_a_missing_regime_leaves_the_others(bench):
    metrics = measure(
        [c for c in bench.runs if c.regime != "expanded"], ["expanded: too few patients"]
    )
    assert metrics["warnings"] == ["expanded: too few patients"]
    assert list(metrics["regimes"]) == ["baseline", "augmented"]
    assert metrics["gap_recovered"]["value"] is None
    assert "expanded" in metrics["gap_recovered"]["why"]
    assert metrics["label_saving"]["value"] is None


def test_a_missing_seed_is_told(bench):
    metrics = measure([c for c in bench.runs if (c.regime, c.seed) != ("augmented", 1)])
    assert metrics["comparisons"][0]["seeds"] == [0]
    assert "(augmented lacks 1)" in metrics["warnings"][0]


def test_without_a_baseline_nothing_is_compared(bench):
    with pytest.raises(DataError, match="baseline"):
        measure([c for c in bench.runs if c.regime == "expanded"])


def test_no_controls(make_bench):
    bench = make_bench(n=16, m=0, seeds=(0,))
    metrics = measure([c.__class__(**{**vars(c), "n_controls": 0}) for c in bench.runs])
    entry = metrics["regimes"]["baseline"]["specificity"]
    assert entry["value"] is None
    assert "no test controls" in entry["why"]
    assert metrics["regimes"]["baseline"]["false_positives_per_subject"]["controls"] is None


def test_folds_pool_their_test_subjects(make_bench):
    bench = make_bench(n=24, m=24, seeds=(0,), folds=2)
    metrics = measure(bench.runs)
    assert metrics["test"] == {"patients": 24, "controls": 24}
    assert metrics["regimes"]["baseline"]["folds"] == 2
    assert metrics["regimes"]["baseline"]["sensitivity"]["n"] == 24


def test_a_leak_on_disk_is_refused(make_bench):
    bench = make_bench(n=14, m=13, seeds=(0,))
    path = bench.runs[1].folder / "lineage.json"
    lineage = read_json(path)
    lineage["training"]["sub-syn0000"] = ["sub-p14"]
    write_json(path, lineage)
    with pytest.raises(LineageError, match="sub-p14"):
        measure(bench.runs)


def test_jsonable():
    made = jsonable({1: (np.float64(0.5), np.nan, [np.int64(2), float("inf"), None, "x", True])})
    assert made == {"1": [0.5, None, [2, None, None, "x", True]]}


def test_masks_of_a_model_are_outside_the_label_budget_and_the_label_saving(
    bench, metrics, monkeypatch
):
    gap = Estimate(0.5, (0.2, 0.8), "")
    monkeypatch.setattr("lesionforge.report.results.gap_recovered", lambda *_: gap)
    runs = [
        replace(run, n_labels=run.n_patients - 2, n_model_labels=2)
        if run.regime == "expanded"
        else run
        for run in bench.runs
    ]
    found = measure(runs)
    ours, before = found["regimes"]["expanded"], metrics["regimes"]["expanded"]
    assert (ours["n_model_labels"], ours["n_patients"]) == (2, before["n_patients"])
    assert ours["label_budget"] == before["label_budget"] - 2
    assert found["regimes"]["baseline"] == metrics["regimes"]["baseline"]
    sizes = [metrics["regimes"][entry]["n_patients"] for entry in ("baseline", "expanded")]
    saved = label_saving(gap, sizes[0], sizes[1] - 2)
    assert found["label_saving"]["value"] == pytest.approx(saved.value)


def test_the_order_of_the_regimes_changes_nothing(bench, metrics):
    turned = measure(bench.runs[::-1])
    assert next(iter(turned["regimes"])) == "baseline"
    ours = {(p["a"], p["b"]): p for p in turned["comparisons"]}
    for pair in metrics["comparisons"]:
        if pair["a"] == "baseline":
            assert ours[pair["a"], pair["b"]] == pair
