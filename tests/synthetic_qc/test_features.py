"""Features: blind to what they must not see, awake to what they must."""

import numpy as np
import pytest
from scipy import ndimage

from lesionforge.data.subject import read_brain, read_grid, read_images, read_lesion, read_tissues
from lesionforge.lesions.appearance import lesion_effect
from lesionforge.synthetic_qc.features import (
    around_features,
    lesion_features,
    split_bands,
    whole_features,
)

CHANNELS = ("T1w", "FLAIR")


@pytest.fixture(scope="module")
def patient(toy_cohort):
    subject = toy_cohort[0]
    return (
        read_images(subject),
        read_lesion(subject),
        read_tissues(subject),
        read_brain(subject),
        read_grid(subject),
    )


def test_bands_and_the_smooth_rest_add_up(patient):
    images, _, _, brain, _ = patient
    bands = split_bands(images[0], brain)
    rest = images[0] - bands.sum(0)
    assert bands.shape == (3, *brain.shape)
    assert rest[brain].std() < 0.6 * images[0][brain].std()
    flat = split_bands(np.where(brain, 0.5, 0.0), brain)
    assert np.abs(flat[:, brain]).max() < 1e-5  # the brain's edge is in no band


def test_blur_is_seen_in_the_sharp_band(patient):
    images, _, tissues, brain, grid = patient
    blurred = ndimage.gaussian_filter(images, (0, 0.6, 0.6, 0.6)) * brain
    sharp, soft = (whole_features(CHANNELS, i, tissues, brain, grid) for i in (images, blurred))
    assert list(sharp) == list(soft)
    assert all(np.isfinite(list(sharp.values())))
    for name in CHANNELS:
        assert soft[f"{name}_band1"] < sharp[f"{name}_band1"] - 0.2
        assert soft[f"{name}_smooth"] > sharp[f"{name}_smooth"]


def test_a_shading_is_seen(patient):
    images, _, tissues, brain, grid = patient
    x = np.linspace(-1, 1, brain.shape[0])[:, None, None]
    shaded = np.stack([images[0] * (1 + 0.2 * x), images[1]])
    before, after = (whole_features(CHANNELS, i, tissues, brain, grid) for i in (images, shaded))
    assert after["T1w_shading"] > before["T1w_shading"] + 0.5
    assert after["FLAIR_shading"] == before["FLAIR_shading"]


def test_what_surrounds_a_lesion_does_not_see_into_it(patient):
    images, lesion, tissues, brain, grid = patient
    altered = images.copy()
    altered[:, lesion] = np.random.default_rng(0).uniform(0, 1, (2, int(lesion.sum())))
    around, near = [], []
    for seen in (images, altered):
        effect = lesion_effect(seen, lesion, tissues, brain, grid.voxel_mm)
        around.append(around_features(CHANNELS, effect, seen, lesion, brain, grid))
        near.append(lesion_features(CHANNELS, effect, seen, lesion, brain, grid))
    assert around[0] == pytest.approx(around[1])
    assert near[0] != pytest.approx(near[1])


def test_blur_is_seen_around_a_lesion(patient):
    images, lesion, tissues, brain, grid = patient
    soft = ndimage.gaussian_filter(images, (0, 0.6, 0.6, 0.6)) * brain
    found = []
    for seen in (images, soft):
        effect = lesion_effect(seen, lesion, tissues, brain, grid.voxel_mm)
        found.append(around_features(CHANNELS, effect, seen, lesion, brain, grid))
    sharp, blurred = found
    for name in ("edge_T1w_grain", "rim_T1w_grain", "edge_FLAIR_grain", "rim_FLAIR_grain"):
        assert blurred[name] > sharp[name] + 0.05


def test_a_bright_rim_is_seen_around(patient):
    images, lesion, tissues, brain, grid = patient
    rim = ndimage.binary_dilation(lesion) & ~lesion & brain
    altered = images.copy()
    altered[1, rim] += 0.2
    found = []
    for seen in (images, altered):
        effect = lesion_effect(seen, lesion, tissues, brain, grid.voxel_mm)
        found.append(around_features(CHANNELS, effect, seen, lesion, brain, grid))
    assert found[1]["edge_FLAIR_mean"] > found[0]["edge_FLAIR_mean"] + 0.5


@pytest.mark.parametrize("radius", [1.5, 3.5])
def test_a_core_is_told_from_its_border_in_small_lesions_too(patient, radius):
    """Most voxels of a small lesion lie at its surface; the rest is its core."""
    images, _, tissues, brain, grid = patient
    centre = np.argwhere(tissues[2] > 0.9).mean(0).round()
    index = np.indices(brain.shape).transpose(1, 2, 3, 0)
    lesion = (np.linalg.norm(index - centre, axis=-1) <= radius) & brain
    planted = images.copy()
    planted[1, ndimage.binary_erosion(lesion)] += 0.3
    found = []
    for seen in (images, planted):
        effect = lesion_effect(seen, lesion, tissues, brain, grid.voxel_mm)
        found.append(lesion_features(CHANNELS, effect, seen, lesion, brain, grid)["FLAIR_core"])
    assert found[1] - found[0] > 1
