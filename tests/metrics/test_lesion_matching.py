"""The unit of lesions against slow versions and picai_eval, and the edges of its definitions."""

import itertools

import numpy as np
import pytest
from picai_eval.eval import evaluate_case
from scipy import ndimage

from lesionforge.data.volume import grid
from lesionforge.errors import DataError, GeometryError
from lesionforge.metrics.config import CandidateRules
from lesionforge.metrics.evaluation import LESION_COLUMNS, evaluate_subject
from lesionforge.metrics.lesion_matching import NOT_FOUND, Truth, found_scores, match_lesions
from lesionforge.metrics.matching import find_candidates
from lesionforge.seeding import stream

CUBE = grid((24, 24, 24), np.diag([2.0, 2.0, 2.0, 1.0]))
RULES = CandidateRules(min_volume_mm3=0)


def empty():
    return np.zeros(CUBE.shape, np.float32), np.zeros(CUBE.shape, bool)


def random_case(seed):
    """Boxes of lesions and of candidates that overlap at random, each candidate one score."""
    rng = stream(seed, "lesion-unit")
    probability, lesion = empty()
    for corner in itertools.product((1, 9, 17), repeat=3):
        box = tuple(slice(c, c + int(rng.integers(2, 6))) for c in corner)
        if rng.random() < 0.5:
            lesion[box] = True
        for _ in range(int(rng.integers(0, 3))):
            start = [c + int(rng.integers(-1, 4)) for c in corner]
            part = tuple(slice(max(s, 0), s + int(rng.integers(1, 4))) for s in start)
            probability[part] = np.float32(rng.integers(3, 10) / 10)
    return probability, lesion


def rows_of(probability, truth, rules=RULES):
    candidates, lesions, _ = evaluate_subject(
        "sub-1", "patient", "A", probability, truth, CUBE, rules
    )
    return candidates, lesions


def slow_lesions(probability, lesion, rules):
    """Count voxels with sets, threshold by threshold, straight from the definitions."""
    labels, n = ndimage.label(lesion, structure=np.ones((3, 3, 3)))
    sets = [set(map(tuple, np.argwhere(labels == i + 1))) for i in range(n)]
    big = [len(s) * 8 >= rules.min_volume_mm3 for s in sets]
    kind, parts = [], []
    for c in find_candidates(probability, CUBE, rules):
        voxels = set(map(tuple, c.voxels))
        inside = [len(voxels & s) for s in sets]
        if sum(inside) < 0.1 * len(voxels) or not sum(inside):
            kind.append(0)
        elif any(k and ok for k, ok in zip(inside, big, strict=True)):
            kind.append(1)
        else:
            kind.append(None)
        parts.append((c.score, voxels, kind[-1]))
    found = []
    for s in sets:
        works = [
            t
            for t in {score for score, _, _ in parts}
            if len(set().union(*[v & s for score, v, k in parts if score >= t and k == 1]))
            >= 0.1 * len(s)
        ]
        found.append(max(works, default=None))
    return kind, found, big


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("smallest", [0.0, 150.0])
def test_both_tables_equal_a_slow_version_at_every_threshold(seed, smallest):
    probability, lesion = random_case(seed)
    rules = CandidateRules(min_volume_mm3=smallest)
    candidates, lesions = rows_of(probability, lesion, rules)
    kind, found, big = slow_lesions(probability, lesion, rules)
    assert [None if np.isnan(r["lesion_hit"]) else r["lesion_hit"] for r in candidates] == kind
    assert [None if np.isnan(r["score"]) else r["score"] for r in lesions] == found
    assert [bool(r["counts"]) for r in lesions] == big
    assert kind


@pytest.mark.parametrize("seed", range(8))
def test_one_to_one_agrees_with_picai_eval(seed):
    probability, lesion = random_case(seed)
    # picai_eval parts a map by equal confidence; give every candidate its own maximum
    for c in find_candidates(probability, CUBE, RULES):
        probability[tuple(c.voxels.T)] = np.float32(c.score - 0.001 * c.number)
    theirs = evaluate_case(
        probability,
        lesion.astype(np.uint8),
        min_overlap=0.1,
        overlap_func="IoU",
        allow_unmatched_candidates_with_minimal_overlap=False,
    )[0]
    candidates, lesions = rows_of(probability, lesion)
    ours = [0.0 if np.isnan(r["score_strict"]) else round(r["score_strict"], 5) for r in lesions]
    assert sorted(ours) == sorted(round(s, 5) for true, s, _ in theirs if true)
    false = [round(r["score"], 5) for r in candidates if r["lesion_strict"] == 0]
    assert sorted(false) == sorted(round(s, 5) for true, s, _ in theirs if not true)
    assert any(ours)


def test_two_candidates_together_find_a_lesion_and_the_second_sets_the_threshold():
    probability, lesion = empty()
    lesion[2:22, 5, 5] = True
    probability[2, 5, 5] = 0.9  # 1 of 20 voxels
    probability[10, 5, 5] = 0.7  # with it 2 of 20: 10 %
    probability[20, 5, 5] = 0.4
    candidates, (row,) = rows_of(probability, lesion)
    assert tuple(row) == LESION_COLUMNS
    assert row["score"] == pytest.approx(0.7)
    assert row["covered"] == pytest.approx(0.15)
    assert row["covered_by"] == "1:0.05,2:0.05,3:0.05"
    assert np.isnan(row["paired_with"])
    assert [r["lesion_hit"] for r in candidates] == [1, 1, 1]
    assert [r["lesion_strict"] for r in candidates] == [0, 0, 0]  # 1/20 of the union each
    assert (row["volume_mm3"], row["x_mm"]) == pytest.approx((160.0, 23.0))


def test_a_blob_over_everything_finds_nothing_and_is_one_false_positive():
    probability, lesion = empty()
    lesion[5:8, 5:8, 5:8] = lesion[15:18, 15:18, 15:18] = True
    probability[:] = 0.9
    (candidate,), lesions = rows_of(probability, lesion)
    assert candidate["lesion_hit"] == 0
    assert all(np.isnan(row["score"]) for row in lesions)


def test_one_candidate_on_two_lesions_finds_both_but_one_only_one_to_one():
    probability, lesion = empty()
    lesion[4:8, 5, 5] = lesion[10:15, 5, 5] = True
    probability[4:15, 5, 5] = 0.6
    (candidate,), lesions = rows_of(probability, lesion)
    assert candidate["lesion_hit"] == candidate["lesion_strict"] == 1
    assert [row["score"] for row in lesions] == pytest.approx([0.6, 0.6])
    strict = [row["score_strict"] for row in lesions]
    assert np.isnan(strict[0])
    assert strict[1] == pytest.approx(0.6)
    assert lesions[1]["paired_with"] == 1


def test_small_lesions_are_neither_found_nor_missed_and_no_false_positives():
    probability, lesion = empty()
    lesion[5, 5, 5] = True  # 8 mm3
    lesion[15:19, 5, 5] = True  # 32 mm3
    probability[5:9, 5, 5] = 0.9  # 25 % of it on the small one
    probability[5:9, 15, 5] = 0.8
    rules = CandidateRules(min_volume_mm3=30)
    candidates, lesions = rows_of(probability, lesion, rules)
    assert [row["counts"] for row in lesions] == [0, 1]
    assert np.isnan(candidates[0]["lesion_hit"])
    assert np.isnan(candidates[0]["lesion_strict"])
    assert candidates[1]["lesion_hit"] == candidates[1]["lesion_strict"] == 0


def test_as_many_pairs_as_there_can_be_come_before_the_best_overlap():
    lesion = np.zeros((1, 1, 40), bool)
    lesion[0, 0, 0:10] = lesion[0, 0, 12:22] = True

    def voxels(*columns):
        return np.array([[0, 0, c] for c in columns])

    first = voxels(*range(1, 15))  # 9 of the first lesion, 3 of the second
    second = voxels(0, 30, 31)  # 1 of the first: an intersection over union of 1/12
    wide = voxels(0, 30)  # 1/11
    unit = match_lesions([first, second], np.array([0.9, 0.8]), Truth(lesion), 0)
    assert unit.partner.tolist() == [0, -1]
    lesion[0, 0, 9] = False  # 1/10
    unit = match_lesions([first, wide], np.array([0.9, 0.8]), Truth(lesion), 0)
    assert unit.partner.tolist() == [1, 0]


def test_a_candidate_on_a_small_lesion_that_touches_a_large_one_is_no_false_positive():
    probability, lesion = empty()
    lesion[5:7, 5, 5] = True  # 16 mm3
    lesion[8:20, 5, 5] = True
    probability[5:9, 5, 5] = 0.9  # half of it on the small one, one voxel on the large one
    (candidate,), lesions = rows_of(probability, lesion, CandidateRules(min_volume_mm3=30))
    assert candidate["lesion_hit"] == 1
    assert np.isnan(candidate["lesion_strict"])
    assert [row["counts"] for row in lesions] == [0, 1]


def test_touching_instances_stay_apart_and_keep_their_numbers():
    probability, _ = empty()
    instances = np.zeros(CUBE.shape, np.int16)
    instances[4:8, 5, 5], instances[8:12, 5, 5] = 7, 3
    probability[4:8, 5, 5] = 0.6
    _, lesions = rows_of(probability, instances)
    assert [row["lesion"] for row in lesions] == [3, 7]
    assert [row["volume_mm3"] for row in lesions] == pytest.approx([32.0, 32.0])
    assert np.isnan(lesions[0]["score"])
    assert lesions[1]["score"] == pytest.approx(0.6)
    _, lesions = rows_of(probability, instances > 0)
    assert len(lesions) == 1


def test_ignored_voxels_count_nowhere():
    probability, lesion = empty()
    ignore = np.zeros(CUBE.shape, bool)
    ignore[10:, :, :] = True
    probability[8:20, 5, 5] = 0.9  # 2 of 12 voxels outside: dropped
    probability[4:12, 15, 5] = 0.6  # 6 of 8 outside: stays, with 6
    probability[11, 15, 5] = 0.95  # its maximum is ignored
    lesion[9:13, 15, 5] = True  # 1 of 4 voxels left
    lesion[20, 20, 20] = True  # nothing left
    candidates, lesions = rows_of(probability, Truth(lesion, ignore))
    assert len(candidates) == 1
    assert candidates[0]["volume_mm3"] == pytest.approx(48)
    assert candidates[0]["score"] == pytest.approx(0.6)
    assert candidates[0]["lesion_hit"] == 1  # 1 of 6
    assert candidates[0]["distance_mm"] == 0
    assert [row["counts"] for row in lesions] == [1, 0]
    assert [row["volume_mm3"] for row in lesions] == pytest.approx([8, 0])
    without, _ = rows_of(probability, lesion)
    assert len(without) == 2


def test_an_empty_ignore_mask_changes_no_row():
    probability, lesion = random_case(3)
    plain = rows_of(probability, lesion)
    masked = rows_of(probability, Truth(lesion, np.zeros(CUBE.shape, bool)))
    np.testing.assert_equal(masked, plain)


def test_ignore_never_splits_a_lesion():
    probability, lesion = empty()
    ignore = np.zeros(CUBE.shape, bool)
    lesion[4:13, 5, 5] = True
    ignore[8, 5, 5] = True
    _, lesions = rows_of(probability, Truth(lesion, ignore))
    assert [row["volume_mm3"] for row in lesions] == pytest.approx([64.0])


def test_found_scores_follow_new_scores_of_the_same_candidates():
    covered = np.array([[0.05, 0.05, 0.2], [0.0, 0.0, 0.05]])
    assert found_scores(covered, np.array([3.0, 2.0, 1.0])).tolist() == [2.0, NOT_FOUND]
    assert found_scores(covered, np.array([-3.0, -2.0, -1.0])).tolist() == [-1.0, NOT_FOUND]
    assert found_scores(covered[:, :0], np.zeros(0)).tolist() == [NOT_FOUND, NOT_FOUND]


def test_no_candidates_and_no_lesions_are_no_special_cases():
    _, lesion = empty()
    unit = match_lesions([], np.zeros(0), Truth(lesion), 0)
    assert unit.hit.shape == (0,)
    assert unit.found.shape == (0,)
    unit = match_lesions([np.array([[1, 1, 1]])], np.array([0.5]), Truth(lesion), 0)
    assert unit.hit.tolist() == unit.hit_strict.tolist() == [0]


def test_faulty_truth_is_refused():
    _, lesion = empty()
    with pytest.raises(DataError, match="float"):
        Truth(lesion.astype(float))
    with pytest.raises(DataError, match="negative"):
        Truth(lesion.astype(int) - 1)
    with pytest.raises(GeometryError, match="grid"):
        Truth(lesion, lesion[:-1])
