"""Candidates and hits against a slow, obvious version, and the edges of their definitions."""

import itertools

import numpy as np
import pytest
from picai_eval.eval import evaluate_case
from scipy import ndimage

from lesionforge.data.volume import grid
from lesionforge.errors import ConfigError, DataError, GeometryError
from lesionforge.metrics.config import CandidateRules
from lesionforge.metrics.matching import (
    find_candidates,
    find_lesions,
    match_candidates,
)
from lesionforge.seeding import stream

ANISOTROPIC = grid((14, 16, 10), np.diag([2.0, 2.5, 4.0, 1.0]))
CUBE = grid((24, 24, 24), np.diag([2.0, 2.0, 2.0, 1.0]))
RULES = CandidateRules(min_volume_mm3=0)


def blobs(shape, seed, n=4):
    """Smooth random probabilities and a random lesion."""
    rng = stream(seed, "test-matching")
    noise = ndimage.gaussian_filter(rng.normal(size=shape), 1.2)
    probability = np.clip((noise - noise.mean()) / noise.std() / 4 - 0.05, 0, 1).astype(np.float32)
    lesion = np.zeros(shape, bool)
    for _ in range(n):
        corner = [int(rng.integers(0, s - 3)) for s in shape]
        lesion[tuple(slice(c, c + int(rng.integers(1, 4))) for c in corner)] = True
    return probability, lesion


def slow_components(mask):
    """Flood fill over 26 neighbours."""
    left, found = {tuple(int(i) for i in v) for v in np.argwhere(mask)}, []
    steps = [d for d in itertools.product((-1, 0, 1), repeat=3) if any(d)]
    while left:
        stack, part = [left.pop()], []
        while stack:
            voxel = stack.pop()
            part.append(voxel)
            for step in steps:
                near = tuple(a + b for a, b in zip(voxel, step, strict=True))
                if near in left:
                    left.remove(near)
                    stack.append(near)
        found.append(sorted(part))
    return found


@pytest.mark.parametrize("seed", range(4))
def test_hits_equal_a_slow_version_on_an_anisotropic_grid(seed):
    probability, lesion = blobs(ANISOTROPIC.shape, seed)
    rules = CandidateRules(min_volume_mm3=45.0)
    candidates = find_candidates(probability, ANISOTROPIC, rules)
    matches, _ = match_candidates(candidates, lesion, ANISOTROPIC, rules)
    truth = np.argwhere(lesion) * [2.0, 2.5, 4.0]
    expected = {}
    for part in slow_components(probability > 0.2):
        if len(part) * 20.0 < 45.0:
            continue
        away = [min(np.linalg.norm(truth - np.multiply(v, [2, 2.5, 4]), axis=1)) for v in part]
        inside = sum(a <= 5 for a in away)
        hit = inside >= 1 and inside >= 0.1 * len(part)
        score = max(float(probability[v]) for v in part)
        expected[tuple(part)] = (hit, pytest.approx(score), pytest.approx(min(away)))
    assert len(expected) == len(candidates) > 1
    for candidate, match in zip(candidates, matches, strict=True):
        part = tuple(sorted(tuple(int(i) for i in v) for v in candidate.voxels))
        assert (match.hit, candidate.score, match.distance_mm) == expected[part]
        assert candidate.volume_mm3 == pytest.approx(len(part) * 20)


def test_scores_come_first_and_numbers_follow():
    probability, _ = blobs(CUBE.shape, 7)
    scores = [c.score for c in find_candidates(probability, CUBE, RULES)]
    assert scores == sorted(scores, reverse=True)
    assert [c.number for c in find_candidates(probability, CUBE, RULES)] == list(
        range(1, len(scores) + 1)
    )


def test_diagonal_voxels_are_one_candidate_and_the_threshold_is_exclusive():
    probability = np.zeros(CUBE.shape, np.float32)
    probability[3, 3, 3] = probability[4, 4, 4] = 0.9
    probability[10, 10, 10] = np.float32(0.25)
    rules = CandidateRules(candidate_threshold=0.25, min_volume_mm3=0)
    (only,) = find_candidates(probability, CUBE, rules)
    assert only.volume_mm3 == pytest.approx(16)
    assert only.centre_mm == (7.0, 7.0, 7.0)


def test_minimum_volume_is_inclusive():
    probability = np.zeros(CUBE.shape, np.float32)
    probability[3:5, 3, 3] = 0.9
    assert len(find_candidates(probability, CUBE, CandidateRules(min_volume_mm3=16))) == 1
    assert len(find_candidates(probability, CUBE, CandidateRules(min_volume_mm3=16.1))) == 0


def test_tolerance_and_overlap_bound_a_hit():
    lesion = np.zeros(CUBE.shape, bool)
    lesion[5, 5, 5] = True
    probability = np.zeros(CUBE.shape, np.float32)
    probability[7, 5, 5] = 0.9  # 4 mm beside: a hit, not a strict one
    probability[5, 10, 5] = 0.8  # 10 mm beside: none
    candidates = find_candidates(probability, CUBE, RULES)
    matches, best = match_candidates(candidates, lesion, CUBE, RULES)
    assert [(m.hit, m.hit_strict, m.lesion) for m in matches] == [
        (True, False, 1),
        (False, False, 0),
    ]
    assert [m.distance_mm for m in matches] == [4.0, 10.0]
    assert best == [pytest.approx(0.9)]
    probability[:] = 0.9  # one candidate over everything: 99.9 % of it lies elsewhere
    candidates = find_candidates(probability, CUBE, RULES)
    (match,), best = match_candidates(candidates, lesion, CUBE, RULES)
    assert not match.hit
    assert best == [0.0]


def test_a_strict_hit_needs_its_share_inside_the_lesion_itself():
    lesion = np.zeros(CUBE.shape, bool)
    lesion[5, 5, 5] = True
    probability = np.zeros(CUBE.shape, np.float32)
    probability[5, 5, 5:17] = 0.9  # 1 of 12 voxels in the lesion, 3 within 5 mm
    (match,), _ = match_candidates(find_candidates(probability, CUBE, RULES), lesion, CUBE, RULES)
    assert (match.hit, match.hit_strict, match.distance_mm) == (True, False, 0.0)


def test_specks_near_each_other_are_one_lesion_and_far_ones_two():
    lesion = np.zeros(CUBE.shape, bool)
    lesion[5, 5, 5] = lesion[8, 5, 5] = True
    assert find_lesions(lesion, CUBE, 5.0)[1] == 1
    lesion[20, 5, 5] = True
    assert find_lesions(lesion, CUBE, 5.0)[1] == 2
    assert find_lesions(lesion, CUBE, 0.0)[1] == 3


def test_one_candidate_may_reach_two_lesions():
    lesion = np.zeros(CUBE.shape, bool)
    lesion[3:5, 5, 5] = lesion[18:20, 5, 5] = True
    probability = np.zeros(CUBE.shape, np.float32)
    probability[3:19, 5, 5] = 0.7
    matches, best = match_candidates(find_candidates(probability, CUBE, RULES), lesion, CUBE, RULES)
    assert len(matches) == 1
    assert best == [pytest.approx(0.7), pytest.approx(0.7)]


@pytest.mark.parametrize("seed", range(6))
def test_separated_cases_agree_with_picai_eval(seed):
    """On cases where both rules must say the same (0 mm, apart or inside), so do the programs."""
    rng = stream(seed, "picai")
    shape = CUBE.shape
    lesion, confidence = np.zeros(shape, np.uint8), np.zeros(shape, np.float32)
    for x, y in itertools.product((2, 9, 16), repeat=2):
        box = (slice(x, x + 4), slice(y, y + 4), slice(4, 8))
        if rng.random() < 0.4:
            lesion[box] = 1
        if rng.random() < 0.5:
            confidence[box] = rng.uniform(0.3, 1)
    theirs = evaluate_case(confidence, lesion)[0]
    rules = CandidateRules(min_volume_mm3=0, tolerance_mm=0)
    candidates = find_candidates(confidence, CUBE, rules)
    matches, best = match_candidates(candidates, lesion > 0, CUBE, rules)
    assert sorted(round(s, 5) for is_lesion, s, _ in theirs if is_lesion) == sorted(
        round(s, 5) for s in best
    )
    assert sorted(round(s, 5) for is_lesion, s, _ in theirs if not is_lesion) == sorted(
        round(c.score, 5) for c, m in zip(candidates, matches, strict=True) if not m.hit
    )


def test_faulty_input_is_refused():
    probability, _ = blobs(CUBE.shape, 1)
    with pytest.raises(GeometryError, match="does not fit"):
        find_candidates(probability[:-1], CUBE, RULES)
    with pytest.raises(DataError, match=r"\[0, 1\]"):
        find_candidates(probability * 5, CUBE, RULES)
    probability[0, 0, 0] = np.nan
    with pytest.raises(DataError, match="not finite"):
        find_candidates(probability, CUBE, RULES)
    with pytest.raises(ConfigError, match="min_overlap"):
        CandidateRules(min_overlap=1.4)
