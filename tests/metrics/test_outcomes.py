"""Reading the tables, and the choice of the score threshold."""

import numpy as np
import pandas as pd
import pytest

from lesionforge.errors import DataError
from lesionforge.metrics.outcomes import NONE, choose_threshold, outcome
from lesionforge.seeding import stream


@pytest.mark.parametrize("seed", range(5))
def test_threshold_is_the_lowest_that_is_allowed(seed):
    rng = stream(seed, "threshold")
    scores = rng.uniform(0.2, 1, 23).round(1)
    chosen = choose_threshold(scores, 12, 0.5, 0.2)
    assert (scores >= chosen).sum() <= 6
    lower = max([0.2, *scores[scores < chosen]])
    assert chosen == 0.2 or (scores >= lower).sum() > 6


def test_threshold_is_the_floor_when_all_is_allowed_and_above_all_ties_when_none_is():
    assert choose_threshold(np.array([0.9, 0.8]), 4, 0.5, 0.2) == 0.2
    assert choose_threshold(np.array([]), 4, 0.5, 0.2) == 0.2
    assert choose_threshold(np.ones(9), 4, 0.5, 0.2) > 1.0
    with pytest.raises(DataError, match="validation"):
        choose_threshold(np.array([]), 0, 0.5, 0.2)


def test_tables_become_arrays():
    candidates = pd.DataFrame(
        [
            ("sub-b", 0.9, 1, 0),
            ("sub-b", 0.7, 0, 0),
            ("sub-b", 0.6, 1, 1),
            ("sub-c", 0.8, 0, 0),
            ("sub-z", 1.0, 0, 0),
        ],
        columns=["participant_id", "score", "hit", "hit_strict"],
    )
    subjects = pd.DataFrame(
        {
            "participant_id": ["sub-c", "sub-b", "sub-a"],
            "group": ["control", "patient", "patient"],
            "site": ["A", "B", np.nan],
            "lesion_ml": [0, 2.5, 1.5],
            "max_probability_in_lesion": [np.nan, 0.95, 0.1],
            "dice": [np.nan, 0.5, 0.0],
            "lesion_scores": [np.nan, "0.9,0", "0"],
        }
    )
    made = outcome(candidates, subjects, {"sub-a": 0.5, "sub-b": 0.75, "sub-c": 0.5})
    assert made.patients.tolist() == ["sub-a", "sub-b"]
    assert made.site.tolist() == ["n/a", "B"]
    assert made.best_hit.tolist() == [NONE, 0.9]
    assert made.best_hit_strict.tolist() == [NONE, 0.6]
    assert made.detected.tolist() == [False, True]
    assert [x.tolist() for x in made.false_positives] == [[0, 0], [1]]
    assert made.lesions.at_least(made.threshold_patients).tolist() == [0, 1]
    assert made.lesions.owner.tolist() == [0, 1, 1]
    subjects.loc[2, "lesion_scores"] = np.nan
    with pytest.raises(DataError, match="without a lesion in their mask: sub-a"):
        outcome(candidates, subjects, {"sub-a": 0.5, "sub-b": 0.75, "sub-c": 0.5})
