"""Resampling keeps places, amounts and lesions."""

import numpy as np
import pytest
from scipy import ndimage

from lesionforge.data.volume import Volume, grid, mni_grid
from lesionforge.preprocessing.resample import isotropic, resample, resample_label


def _volume(data: np.ndarray, spacing: tuple[float, ...] = (1, 1, 1)) -> Volume:
    return Volume(data.astype(np.float32), grid(data.shape, np.diag([*spacing, 1.0])))


@pytest.mark.parametrize("order", [1, 3])
def test_the_same_grid_gives_the_same_voxels(order: int) -> None:
    data = np.random.default_rng(0).random((12, 9, 7))
    volume = _volume(data)
    np.testing.assert_allclose(resample(volume, volume.grid, order=order), data, atol=1e-5)


def test_a_shift_by_whole_voxels_is_a_shift() -> None:
    data = np.random.default_rng(0).random((12, 9, 7))
    matrix = np.eye(4)
    matrix[:3, 3] = [2, 0, -1]
    moved = resample(_volume(data), _volume(data).grid, matrix)
    np.testing.assert_allclose(moved[:10, :, 1:], data[2:, :, :6], atol=1e-5)


def test_cubic_interpolation_does_not_overshoot() -> None:
    data = np.zeros((12, 12, 12))
    data[4:8] = 1
    fine = isotropic(_volume(data).grid, 0.7)
    result = resample(_volume(data), fine, order=3)
    assert 0 <= result.min() <= result.max() <= 1


def test_fine_patterns_vanish_instead_of_folding() -> None:
    data = np.indices((40, 40, 40)).sum(0) % 2  # the finest checkerboard there is
    coarse = isotropic(_volume(data).grid, 3.0)
    inner = resample(_volume(data), coarse)[2:-2, 2:-2, 2:-2]
    np.testing.assert_allclose(inner, 0.5, atol=0.02)


def test_an_isotropic_grid_covers_the_same_place() -> None:
    source = grid((40, 50, 10), np.diag([1.0, 1.0, 5.0, 1.0]))
    coarse = isotropic(source, 4.0)
    assert coarse.voxel_mm == pytest.approx((4, 4, 4))
    middles = [g.world((np.array(g.shape) - 1) / 2) for g in (source, coarse)]
    np.testing.assert_allclose(*middles)


def test_a_ball_keeps_volume_and_place() -> None:
    index = np.indices((60, 60, 60))
    ball = ((index - 30) ** 2).sum(0) < 12**2
    source = _volume(ball)
    coarse = isotropic(source.grid, 2.5)
    mask, counts = resample_label(source, coarse, np.eye(4))
    assert mask.sum() * coarse.voxel_mm3 == pytest.approx(ball.sum(), rel=0.025)
    centre = coarse.world(np.array(ndimage.center_of_mass(mask)))
    np.testing.assert_allclose(centre, [30, 30, 30], atol=0.3)
    assert counts == {"components": 1, "rescued": 0, "dropped": 0}


def test_no_lesion_is_lost() -> None:
    data = np.zeros((60, 60, 60))
    data[10:30, 10:30, 10:30] = 1
    data[44:46, 44:47, 44:46] = 1  # 12 mm3 of a 27 mm3 voxel, across voxel borders
    data[5, 55, 5] = 1  # a speck
    source = _volume(data)
    coarse = isotropic(source.grid, 3.0)
    mask, counts = resample_label(source, coarse, np.eye(4))
    assert counts == {"components": 3, "rescued": 1, "dropped": 1}
    small = np.argwhere(ndimage.label(mask, np.ones((3, 3, 3)))[0] == 2)
    assert len(small) == 1
    np.testing.assert_allclose(coarse.world(small[0]), [44.5, 45, 44.5], atol=2)


def test_a_lone_speck_is_kept() -> None:
    data = np.zeros((30, 30, 30))
    data[14, 14, 14] = 1
    mask, counts = resample_label(_volume(data), isotropic(_volume(data).grid, 4.0), np.eye(4))
    assert mask.sum() == 1
    assert counts["rescued"] == 1


def test_outside_the_field_of_view_is_zero() -> None:
    volume = _volume(np.ones((10, 10, 10)))
    assert resample(volume, mni_grid(5.0))[-1, -1, -1] == 0
