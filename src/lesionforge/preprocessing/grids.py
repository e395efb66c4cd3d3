"""Chooses the voxel size of the study grid: as configured, or from the cohort's own scans."""

from collections.abc import Sequence

import numpy as np

from lesionforge.data.volume import Grid, mni_grid
from lesionforge.errors import ConfigError
from lesionforge.preprocessing.config import VOXEL_MM, PrepareConfig

ANISOTROPIC = 3.0
"""Where the thickest axis is so many times as coarse as the others, nnU-Net plans it apart."""


def plan_voxel_mm(scans: Sequence[Grid]) -> tuple[float, float, float]:
    """Plan a voxel size that fits scans, as nnU-Net does (Isensee 2021, its target spacing).

    The median along each axis; of slices three times as thick as the other edges the 10th
    percentile, so that thin slices are not thrown away. In hundredths of a millimetre.

    Args:
        scans: grids of the cohort's reference scans, turned to RAS; at least one.

    Returns:
        Size in mm to the right, anterior and superior.
    """
    sizes = np.array([scan.voxel_mm for scan in scans])
    planned = np.median(sizes, axis=0)
    worst = int(planned.argmax())
    others = np.delete(planned, worst)
    if planned[worst] > ANISOTROPIC * others.max():
        planned[worst] = max(float(np.quantile(sizes[:, worst], 0.1)), float(others.max()))
    x, y, z = np.clip(planned.round(2), *VOXEL_MM)
    return float(x), float(y), float(z)


def study_grid(config: PrepareConfig) -> Grid:
    """Return the grid that a configuration asks for.

    Raises:
        ConfigError: its voxel size is still `auto`.
    """
    if config.voxel_mm == "auto":
        raise ConfigError("`voxel_mm: auto` needs a cohort; give the voxel size in mm.")
    return mni_grid(config.voxel_mm)
