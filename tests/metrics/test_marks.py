"""Tables of anybody: what is read from them, and what is refused by name."""

import numpy as np
import pandas as pd
import pytest

from lesionforge.errors import DataError
from lesionforge.metrics.marks import NONE, headline_unit, read_marks


def tables():
    candidates = pd.DataFrame(
        {
            "participant_id": ["b", "b", "a", "k", "b"],
            "score": [0.9, 0.5, 0.4, 0.3, 0.7],
            "hit": [1, 1, 0, 0, np.nan],
            "lesion": [2, 2, 0, 0, 0],
        }
    )
    subjects = pd.DataFrame(
        {
            "participant_id": ["b", "a", "k"],
            "group": ["patient", "patient", "control"],
            "n_lesions": [3, 1, 0],
        }
    )
    return candidates, subjects


def test_patients_take_their_best_hit_and_neither_counts_nowhere():
    marks = read_marks(*tables())
    assert marks.patients.tolist() == ["a", "b"]
    assert marks.controls.tolist() == ["k"]
    assert marks.targets.value.tolist() == [NONE, 0.9]
    assert marks.false_in_patients.value.tolist() == [0.4]
    assert marks.false_in_controls.value.tolist() == [0.3]
    assert marks.best_in_patients.tolist() == [0.4, 0.9]


def test_lesions_come_from_the_candidates_and_the_numbers_of_lesions():
    marks = read_marks(*tables(), unit="lesion")
    assert marks.targets.owner.tolist() == [0, 1, 1, 1]
    assert marks.targets.value.tolist() == [NONE, 0.9, NONE, NONE]
    assert marks.share.tolist() == pytest.approx([1, 1 / 3, 1 / 3, 1 / 3])


def test_a_table_of_lesions_rules_and_small_ones_are_left_out():
    candidates, subjects = tables()
    lesions = pd.DataFrame(
        {
            "participant_id": ["a", "b", "b"],
            "score": [np.nan, 0.5, 0.9],
            "counts": [1, 1, 0],
        }
    )
    marks = read_marks(candidates.assign(lesion_hit=[0, 1, 1, 0, 0]), subjects, "lesion", lesions)
    assert marks.targets.value.tolist() == [NONE, 0.5]
    assert sorted(marks.false_in_patients.value.tolist()) == [0.7, 0.9]


def test_without_a_group_all_are_patients():
    candidates, subjects = tables()
    marks = read_marks(candidates, subjects.drop(columns="group"))
    assert marks.patients.tolist() == ["a", "b", "k"]


@pytest.mark.parametrize("column", ["participant_id", "score", "hit"])
def test_a_missing_column_is_named(column):
    candidates, subjects = tables()
    with pytest.raises(DataError, match=f"candidates has no column `{column}`"):
        read_marks(candidates.drop(columns=column), subjects)


def test_what_the_unit_of_lesions_lacks_is_named():
    candidates, subjects = tables()
    with pytest.raises(DataError, match="subjects has no column `n_lesions`"):
        read_marks(candidates, subjects.drop(columns="n_lesions"), "lesion")
    with pytest.raises(DataError, match="candidates has no column `lesion`"):
        read_marks(candidates.drop(columns="lesion"), subjects, "lesion")
    with pytest.raises(DataError, match="`lesions`"):
        read_marks(candidates.assign(lesion_hit=1), subjects, "lesion")


def test_faulty_tables_are_refused():
    candidates, subjects = tables()
    for change, words in (
        ({"participant_id": ["b", "b", "a", "k", "sub-9"]}, "sub-9"),
        ({"hit": [1, 1, 0, 2, 0]}, "`hit`"),
        ({"score": [1, np.nan, 0, 0, 0]}, "`score`"),
    ):
        with pytest.raises(DataError, match=words):
            read_marks(candidates.assign(**change), subjects)
    with pytest.raises(DataError, match="twice: b"):
        read_marks(candidates, pd.concat([subjects, subjects[:1]]))
    with pytest.raises(DataError, match="no patients"):
        read_marks(candidates, subjects.assign(group="control"))
    with pytest.raises(DataError, match="`unit`"):
        read_marks(candidates, subjects, "voxel")
    with pytest.raises(DataError, match="b has 0 lesions"):
        read_marks(candidates, subjects.assign(n_lesions=[0, 1, 0]), "lesion")


def test_the_unit_follows_the_median_patient():
    assert headline_unit([1, 1, 9]) == "patient"
    assert headline_unit([1, 2, 9]) == "lesion"
    assert headline_unit([1, 2]) == "patient"
