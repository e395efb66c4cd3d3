"""The pure parts of `benchmarks/label_audit.py` and `benchmarks/next_cases_study.py`."""

import numpy as np
import pandas as pd
import pytest

from expert_minutes import ARMS, UNIT, ask_expert, carry_out, choose_by_chance, count_actions
from keep_plantings import copy_tables, small_tables
from label_audit import measure_recovered, share_found
from lesionforge.data.labels import read_labelled
from lesionforge.data.splits import SplitConfig, assign_splits, write_splits
from lesionforge.data.subject import read_lesion
from lesionforge.errors import ConfigError, DataError
from lesionforge.label_qc.next_cases import NextConfig, inspect_actions, label_actions, plan
from lesionforge.label_qc.worth import Worth
from lesionforge.metrics.bootstrap import resample
from lesionforge.metrics.outcomes import NONE, Outcome, Scores
from lesionforge.seeding import stream
from lesionforge.study.config import Study
from lesionforge.study.regimes import Regime
from next_cases_study import gain_replicates, measure_gains
from planting import (
    check_made_with,
    correct,
    labelled,
    plant,
    plantings,
    right_labels,
    unlabelled_patients,
)
from tests.conftest import write_toy_cohort

PATIENTS = 20


def found(n):
    """Return what a detector did that finds the first `n` of the patients and nothing else."""
    best = np.where(np.arange(PATIENTS) < n, 0.9, NONE)
    none, zeros = Scores(np.empty(0), np.empty(0, dtype=int)), np.zeros(PATIENTS)
    ids = np.array([f"p{i:02d}" for i in range(PATIENTS)])
    return Outcome(
        ids, ids[:0], ids, zeros, best, best, none, none, none, zeros, zeros, zeros, zeros[:0]
    )


def arms_that_find(**counts):
    return {
        entry: {seed: found(n) for seed, n in enumerate(each)} for entry, each in counts.items()
    }


def test_the_share_recovered_by_hand():
    draws = resample(PATIENTS, 0, 500, seed=0)
    outcomes = arms_that_find(baseline=[6, 10], corrected=[12, 14], right=[14, 18])
    figures = measure_recovered(outcomes, draws, 0.5)
    assert figures["sensitivity"]["wrong"]["value"] == pytest.approx(16 / 40)
    assert figures["cost_of_wrong_labels"]["value"] == pytest.approx(16 / 40)
    assert figures["gain_by_correction"]["value"] == pytest.approx(10 / 40)
    assert figures["recovered"]["value"] == pytest.approx(10 / 16)
    low, high = figures["recovered"]["ci95"]
    assert 0 <= low < 10 / 16 < high <= 1


def test_without_a_sure_cost_nothing_is_recovered():
    draws = resample(PATIENTS, 0, 500, seed=0)
    for right in ([11, 10], [8, 8]):  # a cost that may be chance, and none
        outcomes = arms_that_find(baseline=[10, 10], corrected=[12, 12], right=right)
        share = measure_recovered(outcomes, draws, 0.5)["recovered"]
        assert share["value"] is None
        assert share["ci95"] is None
        assert "right labels minus that of wrong labels" in share["why"]


def ranking(truth):
    n = len(truth)
    return pd.DataFrame(
        {"participant_id": [f"s{i}" for i in range(n)], "truth": truth, "risk": [0.5] * n}
    )


def test_what_the_first_fifth_holds():
    lists = {
        0: ranking(["missing", "right", "shifted", *["right"] * 7]),
        1: ranking(["missing", "shifted", *["right"] * 8]),
    }
    shares = share_found(lists, 200)
    assert (shares["all"]["found"], shares["all"]["planted"]) == (3, 4)
    assert shares["all"]["value"] == pytest.approx(0.75)
    assert shares["all"]["ci95"][0] < 0.75
    assert shares["by_kind"]["missing"]["value"] == 1
    assert shares["by_kind"]["shifted"]["value"] == pytest.approx(0.5)
    assert [p["share"] for p in shares["each_planting"]] == [0.5, 1.0]
    assert shares["each_planting"][0]["brier"] == pytest.approx(0.25)
    assert shares["each_planting"][0]["brier_of_the_rate"] == pytest.approx(0.16)


def test_gains_per_minute_by_hand():
    draws = resample(PATIENTS, 0, 200, seed=0)
    outcomes = arms_that_find(baseline=[10, 10], list=[14, 16], random=[12, 10])
    rows = [(0, "list", 100.0), (1, "list", 50.0), (0, "random", 100.0), (1, "random", 0.0)]
    table = pd.DataFrame(rows, columns=["planting", "regime", "minutes"])
    figures = measure_gains(outcomes, table, draws, 0.5)
    per_minute = figures["points_per_minute"]
    assert per_minute["list"]["value"] == pytest.approx((20 / 100 + 30 / 50) / 2)
    assert per_minute["random"]["value"] == pytest.approx((10 / 100 + 0) / 2)
    assert figures["list_minus_random"]["value"] == pytest.approx(0.35)
    assert figures["list_minus_random_points"]["value"] == pytest.approx(0.2)
    same = gain_replicates(outcomes["list"], outcomes["list"], {0: 1.0, 1: 1.0}, draws, 0.5)
    assert not same.any()


def some_actions(worth=UNIT):
    labels = pd.DataFrame({"participant_id": list("abcdef"), "risk": np.linspace(0.05, 0.9, 6)})
    uncertainty = {"x": 0.9, "y": 0.5, "z": 0.2}
    actions = inspect_actions(labels.assign(reasons=""), worth, NextConfig())
    return actions + label_actions(uncertainty, 0.2, worth, NextConfig())


def test_no_rank_hangs_on_what_a_label_is_worth():
    lists = [plan(some_actions(Worth(w, None, 0, "")), 60) for w in (1.0, 0.037, 4.2)]
    for other in lists[1:]:
        columns = ["rank", "action", "subject", "chosen"]
        pd.testing.assert_frame_equal(lists[0][columns], other[columns])


def test_chance_spends_no_more_than_the_minutes_and_draws_uniformly():
    table = plan(some_actions(), 40)
    drawn = []
    for seed in range(300):
        other = choose_by_chance(table, 40, stream(seed, "test"))
        used = other.loc[other["chosen"] == 1, "minutes"].sum()
        left = other.loc[other["chosen"] == 0, "minutes"]
        assert used <= 40
        assert left.empty or used + left.min() > 40
        drawn.append(other["chosen"])
    often = pd.concat(drawn, axis=1).mean(axis=1)
    for cost, rows in often.groupby(table["minutes"]):
        assert rows.max() - rows.min() < 0.15, cost
    again = choose_by_chance(table, 40, stream(7, "test"))
    assert (again["chosen"] == drawn[7]).all()


@pytest.fixture(scope="module")
def study(tmp_path_factory, toy_grid):
    made = Study(
        name="toy",
        runs=str(tmp_path_factory.mktemp("runs")),
        seeds=(0, 1),
        regimes={"baseline": Regime(patients=6, controls=6)},
    )
    subjects = write_toy_cohort(made.cohort_root, toy_grid, patients=12, controls=9)
    columns = ["participant_id", "group", "site"]
    people = pd.DataFrame([(s.id, s.group, s.site) for s in subjects], columns=columns)
    config = SplitConfig(1, 1, test_patients=2, test_controls=1)
    write_splits(made.splits_path(None), assign_splits(people, config, list(made.seeds)))
    return made


def test_errors_are_planted_in_labelled_subjects_only(study):
    name, truth = plant(study, 0)
    known, fresh = labelled(study, 0), unlabelled_patients(study, 0)
    assert (len(known), len(fresh)) == (12, 3)
    assert not set(known) & set(fresh)
    assert set(truth["participant_id"]) <= set(known)
    assert sorted(truth["kind"]) == ["missing", "shifted", "spurious"]
    assert plant(study, 0)[1].equals(truth)
    assert plantings(study, 1) == (0,)
    with pytest.raises(ConfigError, match="3 plantings"):
        plantings(study, 3)
    ids = [
        *truth["participant_id"][:2],
        *(i for i in known if i not in set(truth["participant_id"])),
    ]
    kinds = truth.set_index("participant_id")["kind"].reindex(ids).fillna("right")
    first = pd.DataFrame({"participant_id": ids, "truth": kinds.to_numpy()})
    mended = {s.id: s for s in read_labelled(study.cohort_root, correct(study, 0, first))}
    planted = {s.id: s for s in read_labelled(study.cohort_root, name)}
    for i, subject in right_labels(study).items():
        expected = subject if i in ids[:2] else planted[i]
        np.testing.assert_array_equal(read_lesion(mended[i]), read_lesion(expected))


def test_the_expert_answers_alike_whoever_asks(toy_cohort):
    donors = [s for s in toy_cohort if s.group == "patient"]
    first = {s.id: ask_expert(s, donors, 3, 0.49) for s in toy_cohort}
    second = {s.id: ask_expert(s, donors, 3, 0.49) for s in reversed(toy_cohort)}
    errors = 0
    for subject in toy_cohort:
        (one, wrong), (other, _) = first[subject.id], second[subject.id]
        truth = read_lesion(subject)
        masks = [np.zeros_like(truth) if m.mask is None else m.mask for m in (one, other)]
        np.testing.assert_array_equal(*masks)
        assert (masks[0] != truth).any() == wrong
        errors += wrong
        assert not ask_expert(subject, donors, 3, 0.0)[1]
    assert 0 < errors < len(toy_cohort)


def test_both_arms_meet_the_same_expert(study):
    _, truth = plant(study, 1)
    known, fresh = labelled(study, 1), unlabelled_patients(study, 1)
    rows = [("inspect", i, 6.0) for i in known] + [("label", i, 30.0) for i in fresh]
    table = pd.DataFrame(rows, columns=["action", "subject", "minutes"]).assign(gain=1.0, risk=0.5)
    costs = NextConfig(reader_error=0.4)
    everything = carry_out(study, 1, "list", table.assign(chosen=1), costs)
    some = carry_out(study, 1, "random", table.assign(chosen=[1, 0, 1] * 5), costs)
    merged = everything.merge(some, on="subject")
    assert len(merged) == 10
    assert (merged["wrong_x"] == merged["wrong_y"]).all()
    sets = [{s.id: s for s in read_labelled(study.cohort_root, f"{entry}1")} for entry in ARMS]
    for name in some["subject"]:
        np.testing.assert_array_equal(*(read_lesion(one[name]) for one in sets))
        assert sets[0][name].group == sets[1][name].group
    kinds = truth.set_index("participant_id")["kind"].reindex(known).fillna("right")
    counts = count_actions(everything, kinds)
    assert (counts["inspected"], counts["bought"], counts["minutes"]) == (12, 3, 162.0)
    assert counts["expected_gain"] == pytest.approx(7.5)
    inspected = everything[everything["action"] == "inspect"].set_index("subject")["wrong"]
    assert counts["corrected"] == int((inspected[truth["participant_id"]] == 0).sum())
    assert counts["corrected"] + counts["spoiled"] + counts["bought_wrong"] > 0


def test_a_folder_made_with_something_else_is_refused(tmp_path):
    check_made_with(tmp_path, {"minutes": 60})
    check_made_with(tmp_path, {"minutes": 60})
    with pytest.raises(DataError, match="other settings"):
        check_made_with(tmp_path, {"minutes": 61})


def test_cells_whose_weights_are_still_to_be_read_are_not_kept(tmp_path):
    audit = tmp_path / "audit"
    for run in ("planting-0/fold-0", "planting-1/fold-0", "baseline/seed-0", "baseline/seed-1"):
        (audit / run).mkdir(parents=True)
        for name in ("training.json", "subjects.tsv"):
            (audit / run / name).write_text("")
    (audit / "planting-0/ranking.tsv").write_text("")
    (audit / "next/planting-0").mkdir(parents=True)
    (audit / "next/planting-0/random.tsv").write_text("")
    runs = {str(path.parent.relative_to(audit)) for path in small_tables(audit)}
    whole = {"planting-0", "next/planting-0"}
    assert runs == {"planting-0/fold-0", "baseline/seed-0"} | whole


def test_finished_plantings_are_kept_whole_and_put_back(tmp_path):
    begun, done = tmp_path / "audit/right/seed-1", tmp_path / "audit/right/seed-0"
    for run in (begun, done):
        (run / "logs").mkdir(parents=True)
        for name in ("training.json", "made_with.json", "logs/hparams.json", "x.safetensors"):
            (run / name).write_text(f"{run.name} {name}")
    (done / "subjects.tsv").write_text("table")
    (tmp_path / "audit/summary.json").write_text("{}")
    kept, again = tmp_path / "kept", tmp_path / "again"
    assert copy_tables(tmp_path / "audit", kept) == 4
    names = ["made_with.json", "seed-0", "subjects.tsv", "training.json"]
    assert sorted(p.name for p in (kept / "right").rglob("*")) == names
    (again / "right/seed-0").mkdir(parents=True)
    (again / "right/seed-0/made_with.json").write_text("seed-0 made_with.json")
    assert copy_tables(kept, again) == 4
    assert (again / "right/seed-0/subjects.tsv").read_text() == "table"
    (again / "right/seed-0/made_with.json").write_text("other settings")
    (again / "right/seed-0/subjects.tsv").write_text("untouched")
    with pytest.raises(DataError, match="other settings"):
        copy_tables(kept, again)
    assert (again / "right/seed-0/subjects.tsv").read_text() == "untouched"
    with pytest.raises(DataError, match="no finished planting"):
        copy_tables(tmp_path / "nothing", again)
