"""Places that look unusual: where a training should look for what is no lesion but resembles one.

Benign bright spots, vessels and artefacts are rare, so patches drawn anywhere in the brain seldom
show one, and a detector learns late what it must not find. This finds them without labels.
"""

import numpy as np
from scipy import ndimage
from scipy.stats import median_abs_deviation

from lesionforge.evaluation.conspicuity import predict_from_tissues
from lesionforge.masks.host import CLEARANCE_MM

LOCAL_MM = 20.0  # slower changes belong to the coil or the anatomy
SMOOTH_MM = 4.0  # faster ones to noise
SOLID = 0.7  # least probability of grey and white matter together
TOP_SHARE = 0.01  # of the brain; 6 times as many lesions are near such a place as near any other


def unusual_places(
    images: np.ndarray,
    tissues: np.ndarray,
    brain: np.ndarray,
    lesion: np.ndarray,
    voxel_mm: tuple[float, float, float],
) -> np.ndarray:
    """Find where T1w and FLAIR are least like what the tissue mix predicts.

    Each image is predicted from the tissue mix of the whole brain; residuals are taken against
    their local mean, smoothed and divided by their robust standard deviation.

    Args:
        images: (2, X, Y, Z) T1w and FLAIR in any units.
        tissues: (3, X, Y, Z) probabilities of CSF, GM and WM.
        brain: (X, Y, Z) bool.
        lesion: (X, Y, Z) bool; it and `CLEARANCE_MM` around it are left out.
        voxel_mm: voxel size along each axis.

    Returns:
        (K, 3) int16 indices of the `TOP_SHARE` of brain voxels that stand out most; K may be 0.
    """
    solid = (tissues[1] + tissues[2]) * brain
    allowed = brain & (solid >= SOLID)
    if lesion.any():
        allowed &= ndimage.distance_transform_edt(~lesion, sampling=voxel_mm) > CLEARANCE_MM
    if not allowed.any():
        return np.empty((0, 3), np.int16)
    power = np.zeros(brain.shape)
    for image in images:
        left = image - predict_from_tissues(image, tissues, brain)
        left = left - _smooth(left, solid, LOCAL_MM, voxel_mm)
        left = _smooth(left, solid, SMOOTH_MM, voxel_mm)
        power += (left / (median_abs_deviation(left[allowed], scale="normal") + 1e-6)) ** 2
    wanted = min(max(1, round(TOP_SHARE * int(brain.sum()))), int(allowed.sum()))
    least = np.partition(power[allowed], -wanted)[-wanted]
    return np.argwhere(allowed & (power >= least)).astype(np.int16)


def _smooth(
    values: np.ndarray, weight: np.ndarray, width_mm: float, voxel_mm: tuple[float, float, float]
) -> np.ndarray:
    """Average values by a Gaussian of `width_mm`, weighted."""
    sigma = width_mm / np.asarray(voxel_mm)
    mass = ndimage.gaussian_filter(weight, sigma)
    return ndimage.gaussian_filter(values * weight, sigma) / np.maximum(mass, 1e-2)
