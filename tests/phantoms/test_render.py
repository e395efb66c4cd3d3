from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from lesionforge.phantoms.config import PhantomConfig
from lesionforge.phantoms.render import render_phantom
from lesionforge.phantoms.spec import healthy_twin, sample_phantom

CONFIG = PhantomConfig(seed=9200, voxel_mm=2.5)


@pytest.fixture(scope="module", params=["fcd", "ms"])
def pair(request):
    spec = sample_phantom(
        replace(CONFIG, disease=request.param), "patient", 1, ("T1w", "T2w", "FLAIR")
    )
    return spec, render_phantom(spec), render_phantom(healthy_twin(spec))


def test_images_are_whole_numbers_on_their_own_grids(pair):
    spec, phantom, _ = pair
    assert list(phantom.images) == ["T1w", "T2w", "FLAIR"]
    for channel, image in phantom.images.items():
        assert image.shape == phantom.grids[channel].shape
        assert image.min() == 0
        np.testing.assert_array_equal(image, np.rint(image))
    assert phantom.lesion.shape == phantom.images["FLAIR"].shape
    assert phantom.true_lesion.shape == phantom.images["T1w"].shape
    assert (phantom.images["FLAIR"][phantom.lesion] > 0).all()
    assert len(phantom.measured) == len(spec.lesions)


def test_a_healthy_twin_differs_at_the_lesions_alone(pair):
    """So the difference of two phantoms is what lesions truly do."""
    _, phantom, twin = pair
    assert not twin.lesion.any()
    assert twin.measured == []
    mask, grid = phantom.lesion, phantom.grids["FLAIR"]
    ill, well = (p.images["FLAIR"].astype(float) for p in (phantom, twin))
    distance = ndimage.distance_transform_edt(~mask, sampling=grid.voxel_mm)
    inside, away = mask, (distance > 25) & (well > 0)
    level = np.median(well[well > 0])
    assert (ill - well)[inside].mean() > 0.05 * level
    if away.any():
        assert np.abs(ill - well)[away].mean() < 0.01 * level
    assert (phantom.images["T1w"] - twin.images["T1w"])[phantom.true_lesion].mean() < 0
    np.testing.assert_array_equal(phantom.tissue, twin.tissue)


def test_the_outline_is_near_the_truth_and_not_it(pair):
    _, phantom, _ = pair
    drawn = phantom.lesion.sum() * phantom.grids["FLAIR"].voxel_mm3
    true = phantom.true_lesion.sum() * phantom.grids["T1w"].voxel_mm3
    assert 0.4 < drawn / true < 2.5


def test_true_tissues_sum_to_1_in_the_brain(pair):
    _, phantom, _ = pair
    inside = phantom.images["T1w"] > 0
    np.testing.assert_allclose(phantom.tissue.sum(axis=0), inside, atol=1e-6)


def test_rendering_again_gives_the_same_voxels():
    spec = sample_phantom(CONFIG, "control", 1, ("FLAIR",))
    first, again = render_phantom(spec), render_phantom(spec)
    np.testing.assert_array_equal(first.images["FLAIR"], again.images["FLAIR"])


def test_a_channel_is_the_same_whichever_others_are_scanned():
    alone = render_phantom(sample_phantom(CONFIG, "patient", 2, ("FLAIR",)))
    both = render_phantom(sample_phantom(CONFIG, "patient", 2, ("T1w", "FLAIR")))
    np.testing.assert_array_equal(alone.images["FLAIR"], both.images["FLAIR"])
    np.testing.assert_array_equal(alone.lesion, both.lesion)
