"""The rows of the three tables."""

import numpy as np
import pytest
from scipy import ndimage

from lesionforge.data.volume import grid
from lesionforge.metrics.config import CandidateRules
from lesionforge.metrics.evaluation import (
    CANDIDATE_COLUMNS,
    LESION_COLUMNS,
    SUBJECT_COLUMNS,
    evaluate_subject,
)
from lesionforge.metrics.lesion_matching import Truth
from lesionforge.metrics.matching import find_candidates
from lesionforge.seeding import stream

CUBE = grid((24, 24, 24), np.diag([2.0, 2.0, 2.0, 1.0]))
RULES = CandidateRules(min_volume_mm3=0)


def blobs(shape, seed):
    noise = ndimage.gaussian_filter(stream(seed, "test-evaluation").normal(size=shape), 1.2)
    probability = np.clip(noise / noise.std() / 4 - 0.05, 0, 1).astype(np.float32)
    lesion = np.zeros(shape, bool)
    lesion[3:6, 3:6, 3:6] = lesion[14:18, 14:18, 14:18] = True
    return probability, lesion


def test_rows_have_the_contract_columns_and_undefined_is_nan():
    probability, lesion = blobs(CUBE.shape, 3)
    rows, lesions, subject = evaluate_subject(
        "sub-1", "patient", "A", probability, lesion, CUBE, RULES
    )
    assert all(tuple(row) == CANDIDATE_COLUMNS for row in rows)
    assert tuple(subject) == SUBJECT_COLUMNS
    assert all(tuple(row) == LESION_COLUMNS for row in lesions)
    assert len(lesions) == 2
    assert subject["lesion_ml"] == pytest.approx(lesion.sum() * 8 / 1000)
    assert subject["max_probability_in_lesion"] == pytest.approx(probability[lesion].max())
    found = probability > 0.5
    assert subject["dice"] == pytest.approx(
        2 * (found & lesion).sum() / (found.sum() + lesion.sum())
    )
    rows, _, subject = evaluate_subject(
        "sub-2", "control", "A", probability, np.zeros_like(lesion), CUBE, RULES
    )
    assert not any(row["hit"] for row in rows)
    assert all(np.isnan(row["distance_mm"]) for row in rows)
    assert np.isnan(subject["dice"])
    assert subject["n_lesions"] == 0


def test_means_and_maxima_are_those_of_the_candidates_voxels():
    probability, lesion = blobs(CUBE.shape, 1)
    rows, _, _ = evaluate_subject("sub-1", "patient", "A", probability, lesion, CUBE, RULES)
    for row, candidate in zip(rows, find_candidates(probability, CUBE, RULES), strict=True):
        inside = probability[tuple(candidate.voxels.T)]
        assert row["max_probability"] == inside.max() == row["score"]
        assert row["mean_probability"] == pytest.approx(inside.mean())


def test_ignored_voxels_are_out_of_dice_and_of_the_lesions_volume():
    probability, lesion = blobs(CUBE.shape, 2)
    ignore = np.zeros(CUBE.shape, bool)
    ignore[:12] = True
    _, _, subject = evaluate_subject(
        "sub-1", "patient", "A", probability, Truth(lesion, ignore), CUBE, RULES
    )
    half = (slice(12, None),)
    found, true = probability[half] > 0.5, lesion[half]
    assert subject["lesion_ml"] == pytest.approx(true.sum() * 8 / 1000)
    assert subject["max_probability_in_lesion"] == probability[half][true].max()
    expected = 2 * (found & true).sum() / (found.sum() + true.sum())
    assert subject["dice"] == pytest.approx(expected)
