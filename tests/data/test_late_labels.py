"""Who is labelled late joins the training behind everybody else; nothing that was drawn moves."""

import pandas as pd
import pytest

from lesionforge.data.config import SplitConfig
from lesionforge.data.late_labels import Joined, join, with_joined
from lesionforge.data.splits import (
    assign_folds,
    assign_splits,
    first_in_order,
    read_splits,
    write_splits,
)

CONFIG = SplitConfig(validation_patients=2, validation_controls=2, test_patients=3, test_controls=3)


def people(unlabelled=4):
    groups = ["patient"] * 12 + ["control"] * 10 + ["unlabelled"] * unlabelled
    return pd.DataFrame(
        {
            "participant_id": [f"sub-{g[0]}{i:02d}" for i, g in enumerate(groups)],
            "group": groups,
            "site": ["A", "B"] * (len(groups) // 2),
            "acq_t1w": "iso",
            "acq_flair": ["x", "x", "y", "y"] * (len(groups) // 4) + ["x"] * (len(groups) % 4),
            "lesion_ml": 1.0,
            "split": "n/a",
        }
    )


def newcomers(table, *groups):
    names = table.loc[table["group"] == "unlabelled", "participant_id"]
    return join([], dict(zip(names, groups, strict=False)))


@pytest.mark.parametrize("changes", [{}, {"by_size": True}, {"matched": True}])
def test_splits_are_the_same_with_and_without_unlabelled_people(changes, tmp_path):
    config = SplitConfig(2, 2, 3, 3, **changes)
    mixed = people().sample(frac=1, random_state=0)
    without = mixed[mixed["group"] != "unlabelled"]
    for name, table in (("a", mixed), ("b", without)):
        write_splits(tmp_path / name, assign_splits(table, config, [0, 1]))
        for fold, drawn in enumerate(assign_folds(table, config, [0], 3)):
            write_splits(tmp_path / f"{name}{fold}", drawn)
    for end in ("", "0", "1", "2"):
        assert (tmp_path / f"a{end}").read_bytes() == (tmp_path / f"b{end}").read_bytes()
    assert not read_splits(tmp_path / "a")["participant_id"].str.startswith("sub-u").any()


def test_order_columns_are_only_appended_to(tmp_path):
    known = people()
    write_splits(tmp_path / "splits.tsv", assign_splits(known, CONFIG, [0, 1]))
    table = read_splits(tmp_path / "splits.tsv")
    joined = newcomers(known, "patient", "control", "patient")
    wider = with_joined(table, joined, known, CONFIG)
    first = wider.head(len(table))
    pd.testing.assert_frame_equal(first, table)
    assert set(wider["role"][len(table) :]) == {"train"}
    late = [j.participant_id for j in joined if j.group == "patient"]
    for seed in (0, 1):
        before = first_in_order(table, "patient", 7, seed)
        assert first_in_order(wider, "patient", 9, seed) == before + late
        assert first_in_order(wider, "control", 6, seed)[-1] == joined[1].participant_id
    assert with_joined(table, [], known, CONFIG) is table


def test_places_stay_when_more_people_join():
    first = join([], {"sub-2": "patient", "sub-1": "patient", "sub-3": "control"})
    more = join(first, {"sub-0": "patient"})
    assert more[:3] == first
    assert more[3] == Joined("sub-0", "patient", 2)


def test_a_cohort_without_controls_gets_its_first():
    known = people()
    known = known[known["group"] != "control"]
    table = assign_splits(known, CONFIG, [0])
    wider = with_joined(table, newcomers(known, "control"), known, CONFIG)
    assert first_in_order(wider, "control", 1, 0) == ["sub-u22"]


def test_the_rules_of_the_splits_hold_for_those_who_join():
    known = people().assign(split=["n/a"] * 22 + ["test", "train", "n/a", "n/a"])
    joined = newcomers(known, *["patient"] * 4)

    def roles(table, config):
        wider = with_joined(table, joined, known, config)
        return wider["role"].tolist()[len(table) :]

    published = SplitConfig(2, 2, 3, 3, published=True)
    table = assign_splits(known, CONFIG, [0])
    assert roles(table, published) == ["unused", "train", "train", "train"]
    sites = SplitConfig(1, 1, leave_site_out=True)
    for fold, drawn in enumerate(assign_folds(known, sites, [0], 2)):
        (left_out,) = set(drawn.loc[drawn["role"] == "test", "site"])
        trains = [site != left_out for site in known["site"][22:]]
        assert [role == "train" for role in roles(drawn, sites)] == trains, fold
    matched = SplitConfig(2, 2, 3, 3, matched=True)
    known.loc[known.index[24], "acq_flair"] = "another"
    table = assign_splits(known, matched, [0])
    assert roles(table, matched) == ["train", "train", "unused", "train"]
    assert with_joined(table, joined, known, matched)["order_0"].isna().iloc[-2]
