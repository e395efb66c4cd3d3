"""A warp is smooth, invertible, replayable, and moves anatomy off its original."""

import numpy as np
import pytest
from scipy import ndimage

from lesionforge.data.subject import read_brain, read_tissues
from lesionforge.seeding import stream
from lesionforge.synthesis.warp import (
    ASYMMETRY,
    MIN_JACOBIAN,
    WarpSpec,
    _positions,
    jacobian,
    sample_warp,
    warp_images,
    warp_tissues,
    warp_weight,
)

VOXEL = (5.0, 5.0, 5.0)


@pytest.fixture(scope="module")
def host(toy_cohort):
    return read_tissues(toy_cohort[-1]), read_brain(toy_cohort[-1])


def test_same_spec_same_voxels_and_other_seed_other_voxels(host):
    tissues, _ = host
    spec = sample_warp(stream(0, "w"), 4.0, 30.0)
    again = sample_warp(stream(0, "w"), 4.0, 30.0)
    assert spec == again
    first = warp_tissues(tissues, spec, VOXEL)
    assert first.tobytes() == warp_tissues(tissues, again, VOXEL).tobytes()
    other = warp_tissues(tissues, sample_warp(stream(1, "w"), 4.0, 30.0), VOXEL)
    assert np.abs(first - other).max() > 0.3


def test_probabilities_stay_probabilities_and_anatomy_moves(host):
    tissues, brain = host
    warped = warp_tissues(tissues, WarpSpec(3, 4.0, 30.0), VOXEL)
    total = warped.sum(0)
    assert np.isin(np.round(total, 5), (0, 1)).all()
    assert (total > 0.5).sum() == pytest.approx(brain.sum(), rel=0.15)
    assert np.abs(warped - tissues)[:, brain].mean() > 0.02


@pytest.mark.parametrize("amplitude", [4.0, 25.0])
def test_a_field_never_folds(amplitude):
    shape = (32, 40, 32)
    at = _positions(shape, WarpSpec(5, amplitude, 30.0), VOXEL)
    world = at * np.array(VOXEL).reshape(3, 1, 1, 1)
    assert jacobian(world, VOXEL).min() >= MIN_JACOBIAN * 0.99


def test_field_has_the_amplitude_in_mm_on_any_grid():
    for voxel, shape in ((5.0, (32, 40, 32)), (2.5, (64, 80, 64))):
        at = _positions(shape, WarpSpec(5, 3.0, 40.0), (voxel,) * 3)
        shift = (at - np.indices(shape)) * voxel
        assert np.sqrt((shift**2).mean()) == pytest.approx(3.0, rel=0.05)


def test_a_bent_head_is_nearly_as_symmetric_as_before():
    shape = (64, 80, 64)
    at = _positions(shape, WarpSpec(5, 4.0, 30.0), (2.5,) * 3)
    shift = (at - np.indices(shape)) * 2.5
    sides = shift - shift[:, ::-1] * np.array([-1, 1, 1]).reshape(3, 1, 1, 1)
    share = np.sqrt((sides**2).mean() / (shift**2).mean()) / 2
    assert share == pytest.approx(ASYMMETRY, rel=0.01)


def test_bent_images_keep_their_noise_and_take_no_background():
    rng = stream(0, "noise")
    brain = np.linalg.norm(np.indices((48, 48, 48)) - 23.5, axis=0) < 20
    noise = ndimage.gaussian_filter(rng.normal(size=(1, 48, 48, 48)), (0, 0.5, 0.5, 0.5))
    spec = sample_warp(stream(1, "w"), 4.0, 30.0)
    inside = warp_weight(brain.astype(np.float32), spec, (2.5,) * 3) > 0.5
    flat = warp_images(np.where(brain, np.ones_like(noise), 0), brain, spec, (2.5,) * 3)
    np.testing.assert_allclose(flat[:, inside], 1, atol=1e-5)
    bent = warp_images(np.where(brain, noise, 0), brain, spec, (2.5,) * 3)
    assert bent[:, inside].std() / noise[:, brain].std() > 0.9


def test_no_amplitude_is_identity_or_mirror(host):
    tissues, _ = host
    assert warp_tissues(tissues, WarpSpec(0, 0, 30.0), VOXEL).tobytes() == tissues.tobytes()
    mirrored = warp_tissues(tissues, WarpSpec(0, 0, 30.0, flip=True), VOXEL)
    np.testing.assert_array_equal(mirrored, tissues[:, ::-1])
    flips = {sample_warp(stream(i, "f"), 4.0, 30.0, flip=True).flip for i in range(20)}
    assert flips == {True, False}
    assert not any(sample_warp(stream(i, "f"), 4.0, 30.0, flip=False).flip for i in range(20))
