"""New false positives are told from shared ones, and traced to the lesions they are like."""

import numpy as np
import pandas as pd
import pytest

from lesionforge.data.subject import Subject, read_brain, read_grid, read_lesion
from lesionforge.data.volume import Volume
from lesionforge.errors import DataError
from lesionforge.metrics.config import CandidateRules
from lesionforge.synthetic_qc.false_positives import (
    TrainingLesions,
    candidate_place,
    false_candidates,
    read_training_lesions,
    summarise,
    trace,
)

RULES = CandidateRules()


def candidates(*rows: tuple) -> pd.DataFrame:
    names = ["participant_id", "candidate", "score", "x_mm", "y_mm", "z_mm", "hit"]
    return pd.DataFrame(rows, columns=names)


def test_new_is_what_the_other_regime_does_not_see_there():
    mine = candidates(
        ("a", 1, 0.9, 0, 0, 0, 1),
        ("a", 2, 0.8, 30, 0, 0, 0),
        ("a", 3, 0.7, 60, 0, 0, 0),
        ("b", 1, 0.6, 30, 0, 0, 0),
        ("b", 2, 0.2, 90, 0, 0, 0),
    )
    theirs = candidates(
        ("a", 1, 0.9, 30, 6, 0, 0),
        ("a", 2, 0.3, 60, 0, 0, 0),  # below its threshold
        ("a", 3, 0.8, 60, 0, 12, 0),  # too far
    )
    false = false_candidates(mine, theirs, (0.5, 0.5))
    found = {(r.participant_id, r.candidate): r.new for r in false.itertuples()}
    assert found == {("a", 2): 0, ("a", 3): 1, ("b", 1): 1}
    assert false_candidates(mine, theirs.head(0), (0.5, 0.5))["new"].tolist() == [1, 1, 1]


@pytest.fixture(scope="module")
def tested(toy_cohort) -> Subject:
    return toy_cohort[0]


@pytest.fixture(scope="module")
def probability(tested) -> Volume:
    """Its lesion is the second candidate, a place without anything the first."""
    grid, brain = read_grid(tested), read_brain(tested)
    data = np.zeros(grid.shape, np.float32)
    data[read_lesion(tested)] = 0.6
    outside = np.argwhere(brain & ~read_lesion(tested))
    middle = outside[np.linalg.norm(outside - np.array(grid.shape) / 2, axis=1).argmin()]
    x, y, z = middle
    data[x - 1 : x + 2, y - 1 : y + 2, z - 1 : z + 2] = 0.9
    return Volume(data, grid)


def test_candidates_are_found_again_by_their_number(tested, probability):
    first, second = (candidate_place(probability, RULES, n) for n in (1, 2))
    assert first.sum() == 27
    np.testing.assert_array_equal(second, read_lesion(tested))


def test_a_false_positive_is_traced_to_the_lesion_it_is_like(toy_cohort, tested, probability):
    ill = [s for s in toy_cohort if s.group == "patient"]
    known = read_training_lesions(
        [
            Subject(s.id, s.group, s.site, s.root, i < 2, (s.id,), channels=("T1w", "FLAIR"))
            for i, s in enumerate(ill)
        ],
        read_lesion,
    )
    assert known.synthetic.tolist() == [True, True, False, False, False, False]
    false = candidates((tested.id, 2, 0.6, *known.centres_mm[0], 0)).assign(new=1)
    (row,) = trace(false, [tested], lambda _: probability, RULES, known).to_dict("records")
    assert row["nearest_synthetic"] == tested.id  # the place is this very lesion
    assert row["synthetic_distance"] == pytest.approx(0, abs=1e-9)
    assert row["real_distance"] > 0.5
    assert row["synthetic_away_mm"] == pytest.approx(0)
    assert row["closer"] == 1
    assert row["synthetic_next"] == ill[1].id
    none = trace(false.head(0), [tested], lambda _: probability, RULES, known)
    assert list(none.columns) == list(pd.DataFrame([row]).columns)  # the table has its header


def test_the_summary_counts_new_and_shared_apart():
    synthetic = np.array([True, False, False, False])
    lesions = TrainingLesions(list("abcd"), np.zeros((4, 2)), synthetic, np.zeros((4, 3)))
    closer = [1] * 6 + [0] * 2 + [1, 0, 0, 0]
    table = pd.DataFrame({"new": [1] * 8 + [0] * 4, "closer": closer})
    table["participant_id"] = [f"p{i}" for i in range(12)]
    text = summarise(table, lesions)
    assert "Of 8 false positives that the other regime does not have, 6" in text
    assert "of 4 false positives that both regimes have, 1" in text
    assert "25 % of the training lesions" in text
    alone = summarise(table.assign(participant_id="p"), lesions)
    assert "0 to 100" in alone  # many candidates of one subject are one observation
    assert "3 more could not be traced" in summarise(table, lesions, 3)
    assert "No false positive" in summarise(table.head(0), lesions)


def test_without_synthetic_lesions_there_is_nothing_to_trace(toy_cohort):
    with pytest.raises(DataError, match="synthetic"):
        read_training_lesions(toy_cohort, read_lesion)
