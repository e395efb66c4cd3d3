"""Averages within a mask, to whose edge nothing from beyond it comes in."""

import numpy as np
from scipy import ndimage

LEAST_MASS = 1e-3


def smooth_within(images: np.ndarray, where: np.ndarray, voxels: float) -> np.ndarray:
    """Average images within a mask by a Gaussian, normalised by what of it lies in the mask.

    Args:
        images: (C, X, Y, Z).
        where: (X, Y, Z) bool.
        voxels: standard deviation of the Gaussian; 0 averages nothing.

    Returns:
        (C, X, Y, Z) float32, 0 outside the mask.
    """
    mass = np.maximum(ndimage.gaussian_filter(where.astype(np.float32), voxels), LEAST_MASS)
    smooth = [ndimage.gaussian_filter(np.where(where, i, 0), voxels) / mass for i in images]
    return np.where(where, np.stack(smooth), 0).astype(np.float32)
