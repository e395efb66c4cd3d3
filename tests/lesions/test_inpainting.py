"""The healthy estimate hides a lesion from the tissue map and keeps the surface."""

import numpy as np
import pytest
from scipy import ndimage

from lesionforge.data.subject import Subject, read_brain, read_tissues
from lesionforge.data.volume import Grid, grid, mni_grid
from lesionforge.errors import GeometryError
from lesionforge.lesions.inpainting import (
    FLUID_MM,
    HEAL_MM,
    atlas_prior,
    check_symmetric,
    inpaint_tissues,
)


def ball(shape: tuple[int, ...], centre: tuple[int, ...], radius: float) -> np.ndarray:
    index = np.indices(shape).transpose(1, 2, 3, 0)
    return np.linalg.norm(index - np.array(centre), axis=-1) < radius


def turn_grey(tissues: np.ndarray, lesion: np.ndarray) -> np.ndarray:
    """Call white matter grey at the lesion, as a segmentation of a dysplasia would."""
    marked = tissues.copy()
    marked[1, lesion] += marked[2, lesion]
    marked[2, lesion] = 0
    return marked


@pytest.fixture(scope="module")
def healthy(toy_cohort: list[Subject]) -> tuple[np.ndarray, np.ndarray]:
    control = next(s for s in toy_cohort if s.group == "control")
    return read_tissues(control), read_brain(control)


@pytest.mark.parametrize("centre", [(7, 20, 16), (15, 30, 16), (16, 12, 20)])
def test_what_became_of_grey_and_white_matter_leaves_no_trace(healthy, toy_grid, centre):
    tissues, brain = healthy
    lesion = ball(brain.shape, centre, 2.5) & brain
    marked = turn_grey(tissues, lesion)
    assert np.abs(marked - tissues).max() > 0.5
    inpainted = inpaint_tissues(marked, lesion, toy_grid)
    unmarked = inpaint_tissues(tissues, lesion, toy_grid)
    np.testing.assert_allclose(inpainted[:, lesion], unmarked[:, lesion], atol=1e-6)


def test_a_lesion_that_turns_white_matter_grey_is_undone(hosts):
    host = hosts[0]
    lesion = ball(host.grid.shape, (18, 45, 42), 3.01) & host.brain
    distorted = turn_grey(host.tissues, lesion)
    inpainted = inpaint_tissues(distorted, lesion, host.grid)
    before = np.abs(distorted - host.tissues)[:, lesion].mean()
    after = np.abs(inpainted - host.tissues)[:, lesion].mean()
    assert after < 0.6 * before


def test_sulci_stay_where_they_are(hosts):
    host = hosts[0]
    place = np.argwhere(host.cortex)[::3000]
    kept, fluid = [], []
    for centre in place:
        lesion = ball(host.grid.shape, tuple(centre), 3) & host.brain
        inpainted = inpaint_tissues(turn_grey(host.tissues, lesion), lesion, host.grid)
        kept.append(np.abs(inpainted[0] - host.tissues[0])[lesion].mean())
        fluid.append(np.abs(host.tissues[0][::-1] - host.tissues[0])[lesion].mean())
    assert np.mean(kept) < 0.25 * np.mean(fluid)  # the mirror image alone is far off


def test_a_lesion_that_looks_like_fluid_is_undone(hosts):
    host = hosts[0]
    deep = (host.tissues[2] > 0.95) & ndimage.binary_erosion(host.tissues[2] > 0.9, iterations=3)
    deep &= deep[::-1]
    lesion = ball(host.grid.shape, tuple(np.argwhere(deep)[0]), 2.5)
    distorted = host.tissues.copy()
    distorted[:, lesion] = np.array([1.0, 0.0, 0.0])[:, None]
    inpainted = inpaint_tissues(distorted, lesion, host.grid)
    index = np.argwhere(lesion)
    mirror = [host.grid.shape[0] - 1, 0, 0] + index * [-1, 1, 1]
    reach = ball((9, 9, 9), (4, 4, 4), FLUID_MM / 2.5 + 1.01)  # interpolation reaches one further
    most = ndimage.maximum_filter(host.tissues[0], footprint=reach)[tuple(mirror.T)]
    assert (inpainted[0][tuple(index.T)] <= most + 1e-5).all()
    assert inpainted[0][lesion].mean() < 0.2


def test_far_tissue_is_kept_and_sums_hold(healthy, toy_grid):
    tissues, brain = healthy
    lesion = ball(brain.shape, (8, 20, 16), 2.5) & brain
    inpainted = inpaint_tissues(tissues, lesion, toy_grid)
    far = ndimage.distance_transform_edt(~lesion, sampling=toy_grid.voxel_mm) >= 2 * HEAL_MM
    np.testing.assert_array_equal(inpainted[:, far], tissues[:, far])
    np.testing.assert_allclose(inpainted.sum(0)[brain], 1, atol=1e-5)
    assert (inpainted[:, ~brain] == 0).all()
    assert (inpainted >= 0).all()
    assert inpainted.dtype == np.float32
    np.testing.assert_array_equal(
        inpaint_tissues(tissues, np.zeros_like(lesion), toy_grid), tissues
    )


def test_where_both_sides_are_hurt_the_atlas_is_asked(hosts):
    host = hosts[0]
    middle = (host.grid.shape[0] // 2, 30, 45)
    lesion = ball(host.grid.shape, middle, 5) & host.brain
    inpainted = inpaint_tissues(turn_grey(host.tissues, lesion), lesion, host.grid)
    atlas = atlas_prior(host.grid)
    matter = lesion & (atlas[1:].sum(0) > 0.5) & (inpainted[1:].sum(0) > 0.5)
    share, expected = (t[1][matter] / t[1:].sum(0)[matter] for t in (inpainted, atlas))
    np.testing.assert_allclose(share, expected, atol=1e-5)


def test_a_lesion_over_the_whole_brain_still_gives_tissue(healthy, toy_grid):
    tissues, brain = healthy
    inpainted = inpaint_tissues(tissues, brain.copy(), toy_grid)
    assert np.isfinite(inpainted).all()
    np.testing.assert_allclose(inpainted.sum(0)[brain], 1, atol=1e-5)


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
