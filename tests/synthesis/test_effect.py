"""Insertion leaves the rest of the host bit for bit, and made volumes obey the intensity rule."""

import numpy as np
import pytest
from scipy import ndimage

from lesionforge.lesions.blending import feather_weight
from lesionforge.lesions.contrast import contrast_maps, mix_contrast
from lesionforge.preprocessing.intensity import rescale_synthetic
from lesionforge.synthesis.effect import (
    contrast_factors,
    effect_contrast,
    effect_size,
    insert_effect,
    least_gain,
    reach_gain,
    scale_contrast,
)
from tests.contrasts import as_row, in_rows

SHAPE = (20, 22, 18)
VOXEL = (2.5, 2.5, 2.5)


@pytest.fixture
def host():
    rng = np.random.default_rng(0)
    images = rng.uniform(0.1, 0.9, (2, *SHAPE)).astype(np.float32)
    mask = np.zeros(SHAPE, dtype=bool)
    mask[8:12, 9:13, 7:10] = True
    return images, mask, rng.normal(0.1, 0.02, (2, *SHAPE)).astype(np.float32)


def test_insert_is_local_clipped_and_exact(host):
    images, mask, delta = host
    weight = feather_weight(mask, 5.0, VOXEL)
    out = insert_effect(images, delta, weight)
    far = weight == 0
    assert out[:, far].tobytes() == images[:, far].tobytes()
    np.testing.assert_allclose(
        out[:, mask], np.clip(images[:, mask] + delta[:, mask], 0, 1), atol=1e-6
    )
    loud = insert_effect(images, 10 * delta, weight)
    assert loud.min() >= 0
    assert loud.max() <= 1


def test_effect_size_is_in_robust_sds(host):
    images, mask, _ = host
    shifted = images.copy()
    shifted[0, mask] += 0.3
    shifted[1, mask] -= 0.4
    assert effect_size(images, shifted, mask) == pytest.approx(5.0, rel=1e-4)
    assert effect_size(images, shifted, np.zeros_like(mask)) == 0


@pytest.mark.parametrize(("target", "gain"), [(2.0, 1.0), (3.0, 1.5), (20.0, 2.0), (0.1, 1.0)])
def test_gain_strengthens_up_to_its_bound_and_never_weakens(host, target, gain):
    images, mask, _ = host
    images = images * 0 + np.float32(0.5)
    delta = np.zeros_like(images)
    delta[1] = 0.2  # two robust SDs
    used = reach_gain(delta, mask, target, 2.0)
    assert used == pytest.approx(gain, rel=1e-5)
    out = insert_effect(images, np.float32(used) * delta, feather_weight(mask, 5.0, VOXEL))
    assert effect_size(images, out, mask) == pytest.approx(2 * gain, rel=1e-4)


@pytest.mark.parametrize(("asked", "gain"), [(0.0, 1.0), (0.3, 1.35), (1.8, 1.85), (9.0, 2.0)])
def test_an_effect_is_strengthened_until_it_shows(asked, gain):
    def shown(factor: float) -> float:
        return 3 * max(0.0, factor - 1.25)  # noise hides a weaker one altogether

    assert least_gain(shown, asked, 2.0) == pytest.approx(gain, abs=0.02)
    assert least_gain(shown, asked, 1.0) == 1


def test_null_effect_changes_nothing(host):
    images, mask, delta = host
    assert reach_gain(0 * delta, mask, 2.0, 2.0) == 1
    out = insert_effect(images, 0 * delta, feather_weight(mask, 5.0, VOXEL))
    assert out.tobytes() == images.tobytes()


def test_fitted_intensities_obey_the_rule():
    rng = np.random.default_rng(1)
    brain = np.zeros(SHAPE, bool)
    brain[3:-3, 3:-3, 3:-3] = True
    images = rng.normal(0.43, 0.05, (2, *SHAPE)).astype(np.float32)
    fitted = rescale_synthetic(images, brain)
    for image in fitted:
        values = image[brain]
        assert np.median(values) == pytest.approx(0.5, abs=1e-4)
        assert 1.4826 * np.median(np.abs(values - np.median(values))) == pytest.approx(
            0.1, abs=1e-4
        )
        assert (image[~brain] == 0).all()


@pytest.fixture
def two_tissues():
    """Grey matter beside white matter in one lesion, with an effect of its own in each."""
    mask = np.zeros((18, 16, 16), bool)
    mask[4:14, 4:12, 4:12] = True
    grey = (np.arange(18) < 9)[:, None, None] * np.ones(mask.shape, np.float32)
    tissues = np.stack([0 * grey, grey, 1 - grey])
    contrast = in_rows(-0.2, 1.5, 0.4, -0.8, 0.3, 0.2, -0.6, 0.9)  # robust standard deviations
    delta = 0.1 * mix_contrast(contrast, contrast_maps(mask, tissues, VOXEL))
    return delta.astype(np.float32), mask, tissues, contrast


def test_each_tissue_is_brought_to_its_own_signs(two_tissues):
    delta, mask, tissues, contrast = two_tissues
    maps = contrast_maps(mask, tissues, VOXEL)
    made = effect_contrast(delta, maps, 1e6)
    assert as_row(made) == pytest.approx(as_row(contrast), rel=1e-3)
    asked = in_rows(-0.3, 1.2, 0.5, -1.2, 0.3, 0.2, -0.9, 0.5)
    factors = contrast_factors(made, asked, 2.0)
    expected = [1.5, 0.8, 1.25, 1.5, 1, 1, 1.5, 5 / 9]
    np.testing.assert_allclose(as_row(factors), expected, rtol=1e-3)
    scaled = scale_contrast(delta, mask, tissues, factors)
    assert as_row(effect_contrast(scaled, maps, 1e6)) == pytest.approx(
        as_row(asked), abs=0.25
    )  # they meet at the border
    deep = ndimage.binary_erosion(mask, iterations=2)
    np.testing.assert_allclose(scaled[:, deep], 0.1 * mix_contrast(asked, maps)[:, deep], rtol=0.02)
    fluid = np.concatenate([tissues[:1] + 0.5, 0.5 * tissues[1:]])
    np.testing.assert_allclose(scale_contrast(delta, mask, fluid, factors), scaled, rtol=1e-5)


def test_factors_are_bounded_and_follow_what_is_asked_without_a_step():
    made = (-0.2, 1.5, 0.4, -0.8)
    np.testing.assert_allclose(contrast_factors(made, (-9.0, 0.1, 0.4, -0.8), 2.0), [2, 0.5, 1, 1])
    # nothing, or the other way round, is asked for: as weak as may be
    for asked in ((0.3, -1.5, -0.4, 0.8), (0.0,) * 4, (-1e-4, 1e-4, 1e-4, -1e-4)):
        np.testing.assert_array_equal(contrast_factors(made, asked, 2.0), 0.5)
    np.testing.assert_array_equal(contrast_factors((0.04,) * 4, (2.0, -2.0, 0.0, 1.0), 2.0), 1)
