"""Moves volumes between grids through 4x4 world-to-world matrices; one interpolation each.

A matrix `to_source` maps world points (RAS, mm) of the target grid to world points of the source.
"""

import numpy as np
from scipy import ndimage

from lesionforge.data.volume import Grid, Volume, grid


def resample(
    source: Volume, target: Grid, to_source: np.ndarray | None = None, order: int = 1
) -> np.ndarray:
    """Resample a volume onto a grid, smoothed first along axes that lose resolution.

    Args:
        source: what to read.
        target: where to.
        to_source: (4, 4) world matrix from target to source; identity when None.
        order: 1 linear, 3 cubic B-spline (clipped to the source's range, so nothing overshoots).

    Returns:
        (X, Y, Z) float32 on `target`; 0 outside the source's field of view.
    """
    index = index_matrix(source.grid, target, to_source)
    data = np.asarray(source.data, dtype=np.float32)
    sigma = antialias_sigma(index)
    if sigma.max() > 0:
        data = ndimage.gaussian_filter(data, sigma, mode="nearest", truncate=3)
    result = ndimage.affine_transform(
        data, index[:3, :3], index[:3, 3], output_shape=target.shape, order=order, cval=0.0
    )
    if order > 1:
        result = np.clip(result, min(float(data.min()), 0.0), float(data.max()))
    return result.astype(np.float32)


def index_matrix(source: Grid, target: Grid, to_source: np.ndarray | None = None) -> np.ndarray:
    """Return the (4, 4) matrix from voxel indices of `target` to voxel indices of `source`."""
    world = np.eye(4) if to_source is None else to_source
    return np.linalg.inv(source.matrix) @ world @ target.matrix


def antialias_sigma(index: np.ndarray) -> np.ndarray:
    """Return the Gaussian's sigma along each source axis, in source voxels.

    It has the variance that averaging over a target voxel adds to averaging over a source voxel
    (a box of width w has w^2 / 12).
    """
    step = np.abs(index[:3, :3]).max(axis=1)
    return np.sqrt(np.maximum(step**2 - 1, 0) / 12)


def isotropic(source: Grid, voxel_mm: float) -> Grid:
    """Return an isotropic grid with the directions and field of view of `source`."""
    size = np.array(source.voxel_mm)
    extent = size * np.array(source.shape)
    shape = np.maximum(np.ceil(extent / voxel_mm - 1e-6), 1).astype(int)
    direction = source.matrix[:3, :3] / size
    affine = np.eye(4)
    affine[:3, :3] = direction * voxel_mm
    middle = source.world((np.array(source.shape) - 1) / 2)
    affine[:3, 3] = middle - affine[:3, :3] @ ((shape - 1) / 2)
    return grid(tuple(shape), affine)
