import pytest

from lesionforge.cohort import splits
from lesionforge.cohort.splits import SplitConfig, draw_folds, draw_splits, first_in_order
from lesionforge.errors import ConfigError, DataError

CONFIG = SplitConfig(validation_patients=1, validation_controls=1, test_patients=2, test_controls=1)


def test_roles_are_disjoint_and_counted(toy_cohort):
    table = draw_splits(toy_cohort, CONFIG, [0, 1])
    counts = table.groupby(["role", "group"]).size().to_dict()
    assert counts == {
        ("train", "patient"): 3,
        ("validation", "patient"): 1,
        ("test", "patient"): 2,
        ("train", "control"): 2,
        ("validation", "control"): 1,
        ("test", "control"): 1,
    }


def test_smaller_regimes_are_nested_in_larger_ones(toy_cohort):
    table = draw_splits(toy_cohort, CONFIG, [0, 1])
    for seed in (0, 1):
        assert set(first_in_order(table, "patient", 2, seed)) < set(
            first_in_order(table, "patient", 3, seed)
        )
    with pytest.raises(
        ConfigError, match="4 training patients were asked for, the training pool has 3"
    ):
        first_in_order(table, "patient", 4, 0)


def test_another_seed_keeps_roles(toy_cohort):
    one, two = draw_splits(toy_cohort, CONFIG, [0]), draw_splits(toy_cohort, CONFIG, [0, 7])
    assert one["role"].equals(two["role"])
    assert one["order_0"].equals(two["order_0"])


def test_sites_are_spread_over_roles(toy_cohort):
    table = draw_splits(toy_cohort, CONFIG, [0])
    test = table[(table.role == "test") & (table.group == "patient")]
    assert set(test.site) == {"A", "B"}


def test_every_subject_tests_in_exactly_one_fold(toy_cohort):
    tables = draw_folds(toy_cohort, CONFIG, [0], 3)
    tested = [i for table in tables for i in splits.members(table, "test")]
    assert sorted(tested) == sorted(s.id for s in toy_cohort)


def test_a_cohort_without_controls_is_allowed(toy_cohort):
    table = draw_splits([s for s in toy_cohort if s.group == "patient"], CONFIG, [0])
    assert set(table.group) == {"patient"}


def test_too_few_subjects_say_what_to_do(toy_cohort):
    with pytest.raises(ConfigError, match="leaves none to train on: the cohort has 4"):
        draw_splits(toy_cohort, SplitConfig(1, 2, 1, 2), [0])


def test_a_split_is_never_redrawn(toy_cohort, tmp_path):
    path = tmp_path / "splits.tsv"
    splits.write_splits(path, draw_splits(toy_cohort, CONFIG, [0]))
    splits.write_splits(path, draw_splits(toy_cohort, CONFIG, [0]))
    before = path.read_bytes()
    with pytest.raises(DataError, match="A split is drawn once"):
        splits.write_splits(path, draw_splits(toy_cohort, SplitConfig(2, 1, 2, 1), [0]))
    assert path.read_bytes() == before
    assert splits.read_splits(path)["order_0"].notna().sum() == 5
