"""Resampling keeps places, amounts and lesions."""

import numpy as np
import pytest

from lesionforge.data.volume import Volume, grid, mni_grid
from lesionforge.preprocessing.resample import isotropic, resample


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


def test_outside_the_field_of_view_is_zero() -> None:
    volume = _volume(np.ones((10, 10, 10)))
    assert resample(volume, mni_grid(5.0))[-1, -1, -1] == 0
