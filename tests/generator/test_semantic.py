"""The healthy estimate hides a lesion from the tissue map; the semantic map says what it means."""

import numpy as np
import pytest
from scipy import ndimage

from lesionforge.cohort.subject import Subject, read_brain, read_tissues
from lesionforge.errors import GeometryError
from lesionforge.generator.semantic import (
    HEAL_BLEND_MM,
    HEAL_MARGIN_MM,
    SEMANTIC_CHANNELS,
    atlas_prior,
    check_symmetric,
    heal_tissues,
    semantic_map,
)
from lesionforge.volume import Grid, grid, mni_grid

VOXEL = (5.0, 5.0, 5.0)
REACH_MM = HEAL_MARGIN_MM + HEAL_BLEND_MM


def ball(shape: tuple[int, ...], centre: tuple[int, ...], radius: float) -> np.ndarray:
    index = np.indices(shape).transpose(1, 2, 3, 0)
    return np.linalg.norm(index - np.array(centre), axis=-1) < radius


@pytest.fixture(scope="module")
def healthy(toy_cohort: list[Subject]) -> tuple[np.ndarray, np.ndarray]:
    control = next(s for s in toy_cohort if s.group == "control")
    return read_tissues(control), read_brain(control)


def plant(tissues: np.ndarray, lesion: np.ndarray) -> np.ndarray:
    """Call the lesion and its rim grey matter, as a segmentation of a dysplasia would."""
    trace = ndimage.binary_dilation(lesion)
    marked = tissues.copy()
    marked[:, trace] = np.array([0.0, 1.0, 0.0])[:, None] * (tissues[:, trace].sum(0) > 0)
    return marked


@pytest.mark.parametrize("centre", [(7, 20, 16), (15, 30, 16), (16, 12, 20)])
@pytest.mark.parametrize("with_prior", [True, False])
def test_planted_trace_is_gone(healthy, toy_grid, centre, with_prior):
    tissues, brain = healthy
    lesion = ball(brain.shape, centre, 2.5) & brain
    prior = tissues.mean(0, keepdims=True) * 0 + tissues[:, ::-1] if with_prior else None
    marked = plant(tissues, lesion)
    healed = heal_tissues(marked, lesion, brain, VOXEL, prior)
    unmarked = heal_tissues(tissues, lesion, brain, VOXEL, prior)
    # the strongest law: what comes out does not depend on what the lesion did to its surroundings
    assert np.abs(marked - tissues).max() > 0.5
    np.testing.assert_array_equal(healed, unmarked)


def test_grey_share_of_a_lesion_looks_like_that_of_healthy_places(healthy):
    tissues, brain = healthy
    rng = np.random.default_rng(0)
    inside = np.argwhere(ndimage.binary_erosion(brain, iterations=3))
    marked_excess, healed_excess = [], []
    for centre in inside[rng.choice(len(inside), 20, replace=False)]:
        lesion = ball(brain.shape, tuple(centre), 2.5) & brain
        marked = plant(tissues, lesion)
        healed = heal_tissues(marked, lesion, brain, VOXEL)
        truth = tissues[1][lesion].mean()
        marked_excess.append(marked[1][lesion].mean() - truth)
        healed_excess.append(healed[1][lesion].mean() - truth)
    assert np.mean(marked_excess) > 0.3
    assert abs(np.mean(healed_excess)) < 0.1


def test_far_tissue_is_kept_and_sums_hold(healthy):
    tissues, brain = healthy
    lesion = ball(brain.shape, (8, 20, 16), 2.5) & brain
    healed = heal_tissues(tissues, lesion, brain, VOXEL)
    far = ndimage.distance_transform_edt(~lesion, sampling=VOXEL) >= REACH_MM
    np.testing.assert_allclose(healed[:, far], tissues[:, far], atol=1e-5)
    np.testing.assert_allclose(healed.sum(0)[brain], 1, atol=1e-5)
    assert (healed[:, ~brain] == 0).all()
    assert healed.dtype == np.float32


def test_mirror_is_used_where_it_is_healthy(healthy):
    tissues, brain = healthy
    brain = brain & brain[::-1]
    tissues = (tissues + tissues[:, ::-1]) / 2 * brain
    tissues /= np.maximum(tissues.sum(0), 1e-6)
    lesion = ball(brain.shape, (8, 20, 16), 2.0) & brain
    healed = heal_tissues(plant(tissues, lesion), lesion, brain, VOXEL)
    # a symmetric brain comes back as it was
    np.testing.assert_allclose(healed[:, lesion], tissues[:, lesion], atol=0.02)


def test_a_lesion_over_the_whole_brain_still_gives_tissue(healthy):
    tissues, brain = healthy
    healed = heal_tissues(tissues, brain.copy(), brain, VOXEL)
    assert np.isfinite(healed).all()
    np.testing.assert_allclose(healed.sum(0)[brain], 1, atol=1e-5)


def test_semantic_map_channels(healthy):
    tissues, brain = healthy
    lesion = ball(brain.shape, (8, 20, 16), 2.5) & brain
    image = semantic_map(tissues, lesion, 0.4)
    assert image.shape == (SEMANTIC_CHANNELS, *brain.shape)
    assert image.dtype == np.float32
    np.testing.assert_array_equal(image[:3], tissues)
    np.testing.assert_allclose(image[4], 0.4 * image[3], rtol=1e-6)
    assert image[3][lesion].mean() > 0.6
    assert (image[3][~ndimage.binary_dilation(lesion, iterations=6)] == 0).all()
    assert (image[3][tissues.sum(0) == 0] == 0).all()
    assert (semantic_map(tissues, np.zeros_like(lesion), 0.4)[3:] == 0).all()


def test_atlas_prior_is_a_symmetric_brain():
    target = mni_grid(5)
    prior = atlas_prior(target)
    np.testing.assert_allclose(prior.sum(0), 1, atol=1e-5)
    np.testing.assert_allclose(prior, prior[:, ::-1], atol=1e-6)
    deep = np.round(target.index(np.array([25.0, -20.0, 25.0]))).astype(int)
    assert prior[(2, *deep)] > 0.6  # white matter of the corona radiata


def test_asymmetric_grid_is_refused(toy_grid):
    check_symmetric(toy_grid)
    check_symmetric(mni_grid(2.5))
    affine = toy_grid.matrix
    affine[0, 3] += 3
    shifted: Grid = grid(toy_grid.shape, affine)
    with pytest.raises(GeometryError, match="symmetric in x"):
        check_symmetric(shifted)
