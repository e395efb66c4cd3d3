"""Where a lesion's effect reaches: softly in its mask, and fading in the tissue around it."""

import numpy as np
from scipy import ndimage

SOFT_VOXELS = 0.7
AROUND_MM = 9.0


def smoothstep(x: np.ndarray) -> np.ndarray:
    """Rise smoothly (flat ends) from 0 at x <= 0 to 1 at x >= 1; float32."""
    t = np.clip(x, 0, 1)
    return (t * t * (3 - 2 * t)).astype(np.float32)


def feather_weight(
    mask: np.ndarray, feather_mm: float, voxel_mm: tuple[float, float, float], whole_mm: float = 0.0
) -> np.ndarray:
    """Return how much of what is put at a mask is to be seen, so that it has no edge.

    Args:
        mask: (X, Y, Z) bool.
        feather_mm: distance from the mask where nothing is left; 0 for a hard edge at the mask.
        voxel_mm: voxel size along each axis.
        whole_mm: distance up to which all of it is seen, less than `feather_mm`.

    Returns:
        (X, Y, Z) float32, 1 in the mask, falling smoothly to 0.
    """
    if not mask.any():
        return np.zeros(mask.shape, dtype=np.float32)
    distance = ndimage.distance_transform_edt(~mask, sampling=voxel_mm)
    if feather_mm <= 0:
        return mask.astype(np.float32)
    return smoothstep((feather_mm - distance) / (feather_mm - whole_mm))


def soften(mask: np.ndarray) -> np.ndarray:
    """Blur a mask by `SOFT_VOXELS`, so that its border is soft; (X, Y, Z) float32 in [0, 1]."""
    if not mask.any():
        return np.zeros(mask.shape, dtype=np.float32)
    return ndimage.gaussian_filter(mask.astype(np.float32), SOFT_VOXELS, truncate=3)


def lesion_envelopes(mask: np.ndarray, voxel_mm: tuple[float, float, float]) -> np.ndarray:
    """Return where a lesion is, and where it only reaches.

    Args:
        mask: (X, Y, Z) bool.
        voxel_mm: voxel size along each axis.

    Returns:
        (2, X, Y, Z) float32 in [0, 1]: the soft mask, and what surrounds it, which fades to 0 at
        `AROUND_MM` from the mask; 0 for an empty mask.
    """
    inside = soften(mask)
    return np.stack([inside, feather_weight(mask, AROUND_MM, voxel_mm) * (1 - inside)])


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
