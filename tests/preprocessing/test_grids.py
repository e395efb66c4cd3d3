"""The voxel size of a study, planned from its scans or given."""

import numpy as np
import pytest

from lesionforge.data.volume import Grid, grid
from lesionforge.errors import ConfigError
from lesionforge.preprocessing.config import PrepareConfig
from lesionforge.preprocessing.grids import plan_voxel_mm, study_grid


def _scans(*sizes: tuple[float, float, float]) -> list[Grid]:
    return [grid((100, 100, 50), np.diag([*size, 1.0])) for size in sizes]


def test_the_median_along_each_axis_is_planned() -> None:
    scans = _scans((1, 1, 1), (0.8, 1.2, 1), (0.9, 1.1, 1.5))
    assert plan_voxel_mm(scans) == (0.9, 1.1, 1)


def test_of_thick_slices_the_thin_end_is_planned_as_nnunet_does() -> None:
    thick = [6.0, 6.4, 6.5, 6.5, 6.5, 7.0, 7.2, 8.0, 8.1, 8.1, 8.1]
    scans = _scans(*((0.9, 0.9, z) for z in thick))
    assert plan_voxel_mm(scans) == (0.9, 0.9, pytest.approx(np.quantile(thick, 0.1), abs=0.005))
    mixed = _scans((1, 1, 1), (1, 1, 6), (1, 1, 6))
    assert plan_voxel_mm(mixed)[2] == pytest.approx(2)  # never finer than the other edges


def test_tiny_voxels_are_planned_within_the_limits() -> None:
    assert plan_voxel_mm(_scans((0.3, 0.3, 0.9))) == (0.5, 0.5, 0.9)


def test_the_grid_has_the_size_that_was_asked_for() -> None:
    thick = study_grid(PrepareConfig(voxel_mm=(0.9, 0.9, 6.5)))
    assert thick.voxel_mm == pytest.approx((0.9, 0.9, 6.5))
    assert all(size % 16 == 0 for size in thick.shape)
    extent = np.array(thick.shape) * thick.voxel_mm
    assert (extent >= [160, 200, 160]).all()
    assert thick.steps == pytest.approx((1, 1, 6.5 / 0.9))
    assert study_grid(PrepareConfig(voxel_mm=2.5)).shape == (64, 80, 64)
    with pytest.raises(ConfigError, match="auto"):
        study_grid(PrepareConfig(voxel_mm="auto"))
