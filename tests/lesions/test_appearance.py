"""Conspicuity: planted effects come back, noise does not."""

import numpy as np
import pytest
from scipy import ndimage

from lesionforge.errors import DataError
from lesionforge.lesions.appearance import lesion_effect, match_contrast, measure_conspicuity
from lesionforge.lesions.contrast import contrast_maps, measure_contrast, mix_contrast
from lesionforge.seeding import stream
from tests.contrasts import as_row, in_rows

SHAPE = (40, 44, 40)
MM = (2.0, 2.0, 2.0)


def head(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A folded two-tissue ball with noise of 0.4 robust SD, slightly smooth as real noise is."""
    rng = stream(seed, "head")
    x, y, z = np.indices(SHAPE) - (np.array(SHAPE)[:, None, None, None] - 1) / 2
    brain = np.sqrt(x**2 + y**2 + z**2) < 18
    fold = np.sin(x / 2.0) + np.sin(y / 2.4 + 1) + np.sin(z / 2.2)
    wm = np.clip(0.5 + fold, 0, 1)
    csf = np.clip(-1.2 - fold, 0, 1)
    tissues = np.stack([csf, 1 - wm - csf, wm]) * brain
    clean = np.stack(
        [np.tensordot(level, tissues, 1) for level in ([0.15, 0.45, 0.62], [0.1, 0.56, 0.48])]
    )
    noise = np.stack([ndimage.gaussian_filter(rng.normal(size=SHAPE), 0.6) for _ in range(2)])
    noise *= 0.04 / noise.std()
    return (clean + noise) * brain, tissues, brain


def lesion(seed: int, voxels: int) -> np.ndarray:
    """The `voxels` nearest to a random point, so the size is exact."""
    centre = np.array(SHAPE) / 2 + stream(seed, "lesion").uniform(-8, 8, 3)
    distance = np.linalg.norm(np.indices(SHAPE).transpose(1, 2, 3, 0) - centre, axis=-1)
    mask = np.zeros(SHAPE, bool)
    mask.flat[np.argsort(distance, axis=None)[:voxels]] = True
    return mask


@pytest.mark.parametrize("voxels", [10, 60, 400])
def test_no_effect_measures_near_zero(voxels):
    found = [
        measure_conspicuity(*_parts(head(seed), lesion(seed, voxels)), MM) for seed in range(12)
    ]
    assert np.mean([f.total for f in found]) < 0.15
    assert max(f.total for f in found) < 0.5
    for values in zip(*((*f.change, f.blur) for f in found), strict=True):
        assert abs(np.mean(values)) < 0.15


@pytest.mark.parametrize(("voxels", "slack"), [(10, 0.6), (60, 0.35), (400, 0.2)])
def test_planted_contrast_comes_back(voxels, slack):
    for seed in range(4):
        images, tissues, brain = head(seed)
        mask = lesion(seed, voxels)
        images = images.copy()
        images[0][mask] -= 0.10
        images[1][mask] += 0.25
        found = measure_conspicuity(images, mask, tissues, brain, MM)
        assert found.change[1] == pytest.approx(2.5, abs=slack)
        assert found.change[0] == pytest.approx(-1.0, abs=slack)
        assert found.total == pytest.approx(np.hypot(1.0, 2.5), abs=slack)


def test_what_is_done_to_grey_and_to_white_matter_is_told_apart():
    row = (-1.5, 2.0, 0.5, -1.0, 0.0, 0.0, 0.7, 1.5)
    planted = in_rows(*row)
    for seed in range(4):
        images, tissues, brain = head(seed)
        mask = lesion(seed, 400)
        change = 0.1 * mix_contrast(planted, contrast_maps(mask, tissues, MM))
        found = measure_conspicuity(images + change.astype(np.float32), mask, tissues, brain, MM)
        assert as_row(found.contrast) == pytest.approx(row, rel=0.4, abs=0.45)  # drawn to the mean
        assert abs(found.change[0]) < 1.2  # the mean hides what cancels


def test_an_effect_beyond_the_mask_is_told_from_one_inside():
    """A white matter sign beneath a cortical lesion, which nobody draws."""
    mask = np.zeros((20, 12, 12), bool)
    mask[5:9, 3:9, 3:9] = True
    grey = np.broadcast_to((np.arange(20) < 9)[:, None, None], mask.shape).astype(np.float32)
    tissues = np.stack([0 * grey, grey, 1 - grey])
    effect = np.zeros((2, *mask.shape))
    effect[1, 9:12, 3:9, 3:9] = 2.0
    contrast = as_row(measure_contrast(effect, contrast_maps(mask, tissues, MM), 8.0))
    assert contrast[7] > 1.0  # FLAIR in white matter around
    assert max(abs(contrast[i]) for i in (0, 1, 2, 4, 5, 6)) < 0.35


def test_a_tissue_that_the_lesion_lacks_takes_the_mean_and_around_it_nothing():
    values = np.full((2, 50, 1, 1), [[[[1.0]]], [[[-2.0]]]])
    maps = np.zeros((4, 50, 1, 1))
    maps[0] = 1
    found = as_row(measure_contrast(values, maps, 8.0))
    assert found == pytest.approx((1.0, -2.0, 1.0, -2.0, 0, 0, 0, 0))
    values[1, :5] = 9.0
    maps[:2, :5] = [[[[0]]], [[[1]]]]
    little = as_row(measure_contrast(values, maps, 1.0))  # 5 mm3 of white matter say little
    assert -1.0 < little[3] < 0.5
    assert as_row(measure_contrast(values, maps, 1e3))[3] == pytest.approx(9.0, abs=0.3)


@pytest.mark.parametrize("voxels", [10, 200])
def test_total_grows_with_the_effect(voxels):
    for seed in range(5):
        images, tissues, brain = head(seed)
        mask = lesion(seed, voxels)
        totals = []
        for amplitude in (0.0, 0.05, 0.1, 0.2, 0.4):
            planted = images.copy()
            planted[1] += amplitude * mask
            totals.append(measure_conspicuity(planted, mask, tissues, brain, MM).total)
        # below the noise of so small a lesion (0.4 robust SD) order may not be asked for
        assert max(totals[0], totals[2]) < totals[3] < totals[4]
        assert totals[4] == pytest.approx(4.0, abs=0.7)


def test_blur_is_found_by_its_lost_edge_and_shows_in_the_total():
    for seed in range(4):
        images, tissues, brain = head(seed)
        mask = lesion(seed, 500)
        found = []
        clean = np.tensordot([0.15, 0.45, 0.62], tissues, 1)
        for sigma in (0.01, 1.0, 2.0):
            change = (ndimage.gaussian_filter(clean, sigma) - clean) * mask
            planted = np.stack([images[0] + change, images[1]])  # the noise stays as it is
            found.append(measure_conspicuity(planted, mask, tissues, brain, MM))
        blur = [f.blur for f in found]
        assert blur == sorted(blur)
        assert abs(blur[0]) < 0.15
        assert blur[2] > 0.2
        assert found[2].total > found[0].total


def test_the_tissue_mix_is_matched_not_the_mean():
    """A lesion in pure white matter is as bright as white matter: that is no effect."""
    images, tissues, brain = head(0)
    white = ndimage.binary_opening((tissues[2] > 0.9) & brain)
    labels, _ = ndimage.label(white)
    mask = labels == 1 + np.argmax(np.bincount(labels.ravel())[1:])
    found = measure_conspicuity(images, mask, tissues, brain, MM)
    assert abs(found.change[0]) < 0.3
    assert found.total < 0.3
    naive = (images[0][mask].mean() - images[0][brain & ~mask].mean()) / 0.1
    assert naive > 0.5


def test_far_images_do_not_matter_and_inputs_stay():
    images, tissues, brain = head(1)
    mask = np.zeros(SHAPE, bool)
    mask[18:21, 18:21, 18:21] = True
    before = images.copy()
    wide = [np.pad(v, [(0, 0)] * (v.ndim - 3) + [(9, 9)] * 3) for v in (images, mask, tissues)]
    near = measure_conspicuity(images, mask, tissues, brain, MM)
    far = measure_conspicuity(wide[0], wide[1], wide[2], np.pad(brain, 9), MM)
    assert near.total == pytest.approx(far.total, rel=1e-9)
    assert np.array_equal(images, before)


def test_impossible_input_is_refused():
    images, tissues, brain = head(0)
    with pytest.raises(DataError, match="no voxel inside the brain"):
        measure_conspicuity(images, np.zeros(SHAPE, bool), tissues, brain, MM)
    with pytest.raises(DataError, match="nothing is left to compare"):
        measure_conspicuity(images, brain, tissues, brain, MM)


def _parts(
    drawn: tuple[np.ndarray, np.ndarray, np.ndarray], mask: np.ndarray
) -> tuple[np.ndarray, ...]:
    images, tissues, brain = drawn
    return images, mask, tissues, brain


@pytest.mark.parametrize(
    ("strength", "matched"), [(1.0, 1.0), (0.5, 0.5), (0.0, 0.0), (-1.0, -1.0)]
)
def test_a_matched_filter_tells_how_much_of_an_effect_is_there(strength, matched):
    row = (-1.0, 1.5, 0.5, -1.0)
    asked = in_rows(*row, 9.0, 9.0, 9.0, 9.0)  # what was asked around does not count
    found = []
    for seed in range(6):
        images, tissues, brain = head(seed)
        mask = lesion(seed, 120)
        planted = (
            0.1 * strength * mix_contrast(in_rows(*row), contrast_maps(mask, tissues, MM)) * mask
        )
        effect = lesion_effect(images + planted, mask, tissues, brain, MM)
        found.append(match_contrast(effect, tissues, MM, asked))
    assert np.mean(found) == pytest.approx(matched, abs=0.08)
    assert np.std(found) < 0.1
    assert match_contrast(effect, tissues, MM, in_rows()) == 0
