from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from lesionforge.data import splits
from lesionforge.data.config import SplitConfig
from lesionforge.data.late_labels import Joined, with_joined
from lesionforge.data.lineage import check_roles
from lesionforge.data.splits import assign_folds, assign_splits, first_in_order
from lesionforge.data.subject import Subject
from lesionforge.errors import ConfigError, DataError, LineageError
from tests.conftest import CHANNELS

CONFIG = SplitConfig(validation_patients=1, validation_controls=1, test_patients=2, test_controls=1)


@pytest.fixture
def people(toy_cohort):
    return pd.DataFrame(
        {
            "participant_id": [s.id for s in toy_cohort],
            "group": [s.group for s in toy_cohort],
            "site": [s.site for s in toy_cohort],
        }
    )


def test_roles_are_disjoint_and_counted(people):
    table = assign_splits(people, CONFIG, [0, 1])
    counts = table.groupby(["role", "group"]).size().to_dict()
    assert counts == {
        ("train", "patient"): 3,
        ("validation", "patient"): 1,
        ("test", "patient"): 2,
        ("train", "control"): 2,
        ("validation", "control"): 1,
        ("test", "control"): 1,
    }


def test_smaller_regimes_are_nested_in_larger_ones(people):
    table = assign_splits(people, CONFIG, [0, 1])
    for seed in (0, 1):
        assert set(first_in_order(table, "patient", 2, seed)) < set(
            first_in_order(table, "patient", 3, seed)
        )
    with pytest.raises(
        ConfigError, match="4 training patients were asked for, the training pool has 3"
    ):
        first_in_order(table, "patient", 4, 0)


def test_another_seed_keeps_roles(people):
    one, two = assign_splits(people, CONFIG, [0]), assign_splits(people, CONFIG, [0, 7])
    assert one["role"].equals(two["role"])
    assert one["order_0"].equals(two["order_0"])


def test_sites_are_spread_over_roles(people):
    table = assign_splits(people, CONFIG, [0])
    test = table[(table.role == "test") & (table.group == "patient")]
    assert set(test.site) == {"A", "B"}


def test_every_subject_tests_in_exactly_one_fold(people):
    tables = assign_folds(people, CONFIG, [0], 3)
    tested = [i for table in tables for i in splits.members(table, "test")]
    assert sorted(tested) == sorted(people["participant_id"])


def test_a_cohort_without_controls_is_allowed(people):
    table = assign_splits(people[people["group"] == "patient"], CONFIG, [0])
    assert set(table.group) == {"patient"}


def test_too_few_subjects_say_what_to_do(people):
    with pytest.raises(ConfigError, match="leaves none to train on: the cohort has 4"):
        assign_splits(people, SplitConfig(1, 2, 1, 2), [0])


def test_a_split_is_never_redrawn(people, tmp_path):
    path = tmp_path / "splits.tsv"
    splits.write_splits(path, assign_splits(people, CONFIG, [0]))
    splits.write_splits(path, assign_splits(people, CONFIG, [0]))
    before = path.read_bytes()
    with pytest.raises(DataError, match="A split is drawn once"):
        splits.write_splits(path, assign_splits(people, SplitConfig(2, 1, 2, 1), [0]))
    assert path.read_bytes() == before
    assert splits.read_splits(path)["order_0"].notna().sum() == 5


def _many(seed=0):
    """Forty patients and thirty controls of two scanners; one scanner has patients only."""
    rng = np.random.default_rng(seed)
    groups = ["patient"] * 40 + ["control"] * 30
    flair = ["T2sel"] * 20 + ["tse3dvfl"] * 20 + ["T2sel"] * 30
    lesion_ml = np.where(np.arange(70) < 40, rng.lognormal(0.5, 1, 70), 0)
    return pd.DataFrame(
        {
            "participant_id": [f"sub-{i:02d}" for i in range(70)],
            "group": groups,
            "site": "n/a",
            "acq_t1w": "iso08",
            "acq_flair": flair,
            "lesion_ml": lesion_ml,
            "split": ["test" if i % 3 == 0 and i < 40 else "train" for i in range(70)],
        }
    )


def test_large_and_small_lesions_are_spread_over_roles():
    people = _many()
    config = SplitConfig(9, 5, 15, 10, by_size=True)
    thirds = people[people.group == "patient"].lesion_ml.rank(pct=True).mul(3).apply(np.ceil)
    for seed in range(20):
        table = assign_splits(people, replace(config, seed=seed), [0])
        tests = table[(table.role == "test") & (table.group == "patient")].index
        assert thirds[tests].value_counts().max() <= 6
    chance = [assign_splits(people, replace(config, seed=s, by_size=False), [0]) for s in range(20)]
    tests = [t[(t.role == "test") & (t.group == "patient")].index for t in chance]
    assert max(thirds[found].value_counts().max() for found in tests) > 6


def test_a_matched_subset_leaves_out_the_scanner_of_one_group():
    table = assign_splits(_many(), SplitConfig(3, 5, 7, 10, matched=True), [0])
    assert (table[20:40].role == "unused").all()
    assert not (table[:20].role == "unused").any()
    assert not (table[40:].role == "unused").any()
    assert table[20:40].order_0.isna().all()
    people = _many()[20:]
    with pytest.raises(ConfigError, match="no site and protocol has both"):
        assign_splits(people[people.group == "patient"], SplitConfig(matched=True), [0])


def test_a_published_split_is_followed():
    people = _many()
    table = assign_splits(people, SplitConfig(5, 5, 99, 99, published=True), [0])
    assert (table.role == "test").equals(people["split"] == "test")
    assert (table[table.role == "validation"].group == "patient").sum() == 5
    with pytest.raises(ConfigError, match="nobody `test`"):
        assign_splits(people.assign(split="n/a"), SplitConfig(published=True), [0])
    with pytest.raises(ConfigError, match="--folds 0"):
        assign_folds(people, SplitConfig(published=True), [0], 3)


def test_each_site_is_left_out_once():
    people = _many().assign(site=["A", "B", "C", "D", "E"] * 14)
    config = SplitConfig(3, 3, leave_site_out=True)
    tables = assign_folds(people, config, [0], 5)
    assert [set(t[t.role == "test"].site) for t in tables] == [{s} for s in "ABCDE"]
    with pytest.raises(ConfigError, match="set --folds 5"):
        assign_folds(people, config, [0], 4)
    with pytest.raises(ConfigError, match="--folds 5"):
        assign_splits(people, config, [0])


@pytest.mark.parametrize(
    "wrong", [{"test_patients": -5}, {"validation_patients": 0, "validation_controls": 0}]
)
def test_counts_are_checked(wrong):
    with pytest.raises(ConfigError, match="must"):
        SplitConfig(**wrong)


@pytest.fixture
def scans(people):
    """Every second person has two scans, one of them perhaps unlabelled."""
    first = people.assign(participant=people["participant_id"], lesion_ml=1.0)
    again = first.iloc[::2].copy()
    again["participant_id"] += "ses2"
    again.loc[again.index[0], "group"] = "unlabelled"
    return pd.concat([again, first], ignore_index=True)


def _by_person(table):
    return table.groupby("participant")[["role", "order_0"]].agg(["nunique", "first"])


@pytest.mark.parametrize("by_size", [False, True])
def test_all_scans_of_a_person_have_one_role_and_one_place(scans, by_size):
    table = assign_splits(scans, replace(CONFIG, by_size=by_size), [0])
    labelled = scans[scans["group"] != "unlabelled"]
    assert table["participant_id"].tolist() == labelled["participant_id"].tolist()
    found = _by_person(table)
    assert (found["role", "nunique"] == 1).all()
    assert (found["order_0", "nunique"] <= 1).all()
    for role, n in (("train", 3), ("validation", 1), ("test", 2)):
        own = table[(table["role"] == role) & (table["group"] == "patient")]
        assert own["participant"].nunique() == n  # persons are counted, not scans
    two = first_in_order(table, "patient", 2, 0)
    persons = table.set_index("participant_id").loc[two, "participant"]
    assert persons.nunique() == 2
    assert set(two) == set(table.loc[table["participant"].isin(persons), "participant_id"])
    with pytest.raises(ConfigError, match="the training pool has 3"):
        first_in_order(table, "patient", 4, 0)


def test_no_fold_parts_the_scans_of_a_person(scans):
    tested = []
    for table in assign_folds(scans, CONFIG, [0], 3):
        assert (_by_person(table)["role", "nunique"] == 1).all()
        tested += splits.members(table, "test")
    assert sorted(tested) == sorted(scans.loc[scans["group"] != "unlabelled", "participant_id"])


def test_with_one_scan_a_person_nothing_differs(people):
    alone = people.assign(participant=people["participant_id"])
    pd.testing.assert_frame_equal(
        assign_splits(people, CONFIG, [0, 1]), assign_splits(alone, CONFIG, [0, 1])
    )


def test_another_scan_of_somebody_held_out_never_trains(scans, tmp_path):
    table = assign_splits(scans, CONFIG, [0])
    twice = table[table["participant_id"].str.endswith("ses2")]
    held = twice[twice["role"].isin(["test", "validation"])].iloc[0]
    moved = table.assign(
        role=table["role"].mask(table["participant_id"] == held["participant_id"], "train")
    )
    subject = Subject(
        held["participant_id"], "patient", "A", tmp_path, sources=(held["participant_id"],),
        channels=CHANNELS,
    )  # fmt: skip
    with pytest.raises(LineageError, match=r"another scan of .* is held out"):
        check_roles([subject], moved)
    late = scans.assign(
        group=scans["group"].mask(scans["participant_id"] == held["participant_id"], "unlabelled")
    )
    rest = table[table["participant_id"] != held["participant_id"]]
    joined = with_joined(rest, [Joined(held["participant_id"], "patient", 0)], late, CONFIG)
    assert joined["role"].tolist()[-1] == "unused"
