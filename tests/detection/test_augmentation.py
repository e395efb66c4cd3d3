from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from lesionforge.detection.augmentation import (
    AugmentSpec,
    ChannelSpec,
    change_intensities,
    cut_patch,
    sample_augment,
)
from lesionforge.detection.config import AugmentConfig
from lesionforge.errors import ConfigError
from lesionforge.seeding import stream

EVERYTHING = AugmentConfig(
    **{f: 1.0 for f in AugmentConfig.__dataclass_fields__ if f.endswith("_probability")}
)


@pytest.fixture
def volume():
    return stream(0, "volume").random((2, 20, 24, 18)).astype(np.float32)


def matrix_of(config, seed=0):
    spec = sample_augment(config, stream(seed, "augment"), 2)
    return np.array(spec.matrix), spec


def test_the_same_stream_draws_the_same_augmentation():
    one, two = (sample_augment(EVERYTHING, stream(3, "a"), 2) for _ in range(2))
    assert one == two
    assert one != sample_augment(EVERYTHING, stream(4, "a"), 2)


def test_nothing_happens_at_probability_zero(volume):
    never = AugmentConfig(
        mirror_axes="", **{f: 0.0 for f in vars(EVERYTHING) if f.endswith("_probability")}
    )
    spec = sample_augment(never, stream(0, "a"), 2)
    patch = cut_patch(volume, np.array([10, 12, 9]), 16, spec)
    np.testing.assert_array_equal(change_intensities(patch, spec), volume[:, 2:18, 4:20, 1:17])


def test_patches_are_zero_outside_the_volume(volume):
    patch = cut_patch(volume, np.array([0, 0, 17]), 8, AugmentSpec())
    np.testing.assert_array_equal(patch[:, 4:, 4:, :5], volume[:, :4, :4, 13:])
    assert not patch[:, :4].any()
    assert not patch[..., 5:].any()


@pytest.mark.parametrize("seed", range(4))
def test_turned_patches_equal_an_independent_resampling(volume, seed):
    matrix, spec = matrix_of(replace(EVERYTHING, mirror_axes=""), seed)
    centre, size = np.array([9, 11, 8]), 12
    offsets = np.indices((size,) * 3).reshape(3, -1) - size // 2
    where = matrix @ offsets + centre[:, None]
    expected = np.stack(
        [ndimage.map_coordinates(v, where, order=1, mode="grid-constant") for v in volume]
    ).reshape(2, size, size, size)
    np.testing.assert_allclose(cut_patch(volume, centre, size, spec), expected, atol=2e-5)


def test_a_rotation_keeps_volume_and_a_scale_changes_it():
    turned = matrix_of(replace(EVERYTHING, scale_probability=0.0))[0]
    np.testing.assert_allclose(turned @ turned.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(turned) == pytest.approx(1)
    scaled = matrix_of(replace(EVERYTHING, rotation_probability=0.0, scale=(2.0, 2.0)))[0]
    np.testing.assert_allclose(scaled, np.eye(3) / 2)


def test_a_larger_scale_makes_a_lesion_larger():
    ball = (np.linalg.norm(np.indices((32,) * 3) - 16, axis=0) < 4)[None].astype(np.float32)
    spec = AugmentSpec(matrix=tuple(map(tuple, np.eye(3) / 1.5)))
    grown = cut_patch(ball, np.array([16, 16, 16]), 32, spec) > 0.5
    assert grown.sum() / ball.sum() == pytest.approx(1.5**3, rel=0.15)


def test_mirroring_flips_the_named_axes_only(volume):
    centre = np.array([10, 12, 9])
    plain = cut_patch(volume, centre, 8, AugmentSpec())
    np.testing.assert_array_equal(
        cut_patch(volume, centre, 8, AugmentSpec(mirror=(0,))), plain[:, ::-1]
    )
    drawn = {sample_augment(AugmentConfig(), stream(i, "m"), 2).mirror for i in range(20)}
    assert drawn == {(), (0,)}


def test_gamma_keeps_mean_and_spread(volume):
    for spec in (ChannelSpec(gamma=1.4), ChannelSpec(inverted_gamma=0.75)):
        changed = change_intensities(volume, AugmentSpec(channels=(spec, ChannelSpec())))
        assert changed[0].mean() == pytest.approx(volume[0].mean(), abs=1e-4)
        assert changed[0].std() == pytest.approx(volume[0].std(), rel=1e-3)
        assert not np.allclose(changed[0], volume[0], atol=1e-2)
        np.testing.assert_array_equal(changed[1], volume[1])


@pytest.mark.parametrize("spec", [ChannelSpec(blur=1.0), ChannelSpec(zoom=0.5)])
def test_blur_and_low_resolution_remove_detail(volume, spec):
    changed = change_intensities(volume, AugmentSpec(channels=(spec, ChannelSpec())))
    rough = [np.abs(np.diff(v, axis=0)).mean() for v in (volume[0], changed[0])]
    assert rough[1] < 0.7 * rough[0]
    assert changed.shape == volume.shape


def test_contrast_and_brightness_act_as_named(volume):
    specs = (ChannelSpec(contrast=0.8), ChannelSpec(brightness=1.2))
    changed = change_intensities(volume, AugmentSpec(channels=specs))
    assert changed[0].std() == pytest.approx(0.8 * volume[0].std(), rel=1e-3)
    np.testing.assert_allclose(changed[1], 1.2 * volume[1], rtol=1e-6)


def test_noise_has_its_size_and_its_own_stream(volume):
    spec = AugmentSpec(noise_sd=0.3, noise_seed=5, channels=(ChannelSpec(), ChannelSpec()))
    noise = change_intensities(volume, spec) - volume
    assert noise.std() == pytest.approx(0.3, rel=0.03)
    np.testing.assert_array_equal(noise, change_intensities(volume, spec) - volume)
    other = change_intensities(volume, replace(spec, noise_seed=6)) - volume
    assert abs(np.corrcoef(noise.ravel(), other.ravel())[0, 1]) < 0.05


def test_a_spec_renders_finite_images_at_full_strength(volume):
    for seed in range(10):
        spec = sample_augment(EVERYTHING, stream(seed, "a"), 2)
        patch = cut_patch(volume, np.array([10, 12, 9]), 16, spec)
        assert np.isfinite(change_intensities(patch, spec)).all()
    flat = np.zeros((2, 8, 8, 8), np.float32)
    assert np.isfinite(change_intensities(flat, spec)).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"gamma_probability": 1.4}, r"`gamma_probability` must be in \[0, 1\], got 1.4"),
        ({"scale": (1.4, 0.7)}, "`scale` must be two rising positive numbers"),
        ({"mirror_axes": "w"}, "`mirror_axes` must name axes"),
        ({"rotation_degrees": 200.0}, "`rotation_degrees` must be in"),
    ],
)
def test_bad_values_are_refused(change, message):
    with pytest.raises(ConfigError, match=message):
        AugmentConfig(**change)
