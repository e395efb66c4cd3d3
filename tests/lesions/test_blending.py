"""Where a lesion's effect reaches: all of its mask, nothing far from it, less on the way out."""

import numpy as np
import pytest
from scipy import ndimage

from lesionforge.lesions.blending import AROUND_MM, feather_weight, lesion_envelopes, smooth_within

VOXEL = (2.5, 2.5, 2.5)


@pytest.fixture
def mask():
    mask = np.zeros((20, 22, 18), dtype=bool)
    mask[8:12, 9:13, 7:10] = True
    return mask


def test_feather_is_one_in_the_mask_and_zero_beyond(mask):
    weight = feather_weight(mask, 5.0, VOXEL)
    distance = ndimage.distance_transform_edt(~mask, sampling=VOXEL)
    assert (weight[mask] == 1).all()
    assert (weight[distance >= 5.0] == 0).all()
    rim = (distance > 0) & (distance < 5.0)
    assert rim.any()
    assert ((weight[rim] > 0) & (weight[rim] < 1)).all()
    order = np.argsort(distance.ravel())
    assert (np.diff(weight.ravel()[order]) <= 1e-6).all()  # never rises on the way out


def test_all_of_an_effect_is_seen_up_to_where_it_is_to_be_whole(mask):
    weight = feather_weight(mask, 10.0, VOXEL, whole_mm=5.0)
    distance = ndimage.distance_transform_edt(~mask, sampling=VOXEL)
    assert (weight[distance <= 5.0] == 1).all()
    assert (weight[distance >= 10.0] == 0).all()
    between = (distance > 5.0) & (distance < 10.0)
    assert ((weight[between] > 0) & (weight[between] < 1)).all()


def test_no_mask_no_weight_and_hard_edge_without_feather(mask):
    assert not feather_weight(np.zeros_like(mask), 5.0, VOXEL).any()
    np.testing.assert_array_equal(feather_weight(mask, 0.0, VOXEL), mask)


def test_inside_and_around_share_a_voxel_and_end(mask):
    inside, around = lesion_envelopes(mask, VOXEL)
    distance = ndimage.distance_transform_edt(~mask, sampling=VOXEL)
    assert inside[mask].min() > 0.4
    assert (inside + around <= 1 + 1e-6).all()
    np.testing.assert_allclose((inside + around)[mask], 1, atol=1e-6)
    assert (around[distance >= AROUND_MM] == 0).all()
    assert around[(distance > 2) & (distance < 4)].min() > 0.4
    assert not lesion_envelopes(np.zeros_like(mask), VOXEL).any()


SHAPE = (20, 22, 18)


def test_smoothing_keeps_a_level_up_to_the_edge_of_the_brain_and_takes_off_noise():
    brain = np.zeros(SHAPE, bool)
    brain[3:-3, 3:-3, 3:-3] = True
    level = np.where(brain, np.float32(0.3), 7.0)[None]
    np.testing.assert_allclose(smooth_within(level, brain, 0.7)[:, brain], 0.3, atol=1e-6)
    assert (smooth_within(level, brain, 0.7)[:, ~brain] == 0).all()
    noise = np.random.default_rng(0).normal(size=(2, *SHAPE)) * brain
    assert smooth_within(noise, brain, 0.7)[:, brain].std() < 0.5
    np.testing.assert_allclose(smooth_within(noise, brain, 0.0), noise, rtol=1e-6)
