"""One row of figures a prepared subject, so that a bad scan or registration shows in a table."""

import numpy as np
from scipy import ndimage

from lesionforge.cohort.resample import resample
from lesionforge.cohort.segment import template
from lesionforge.volume import Grid, Volume

GOOD_OVERLAP = 0.85
"""Dice of the brain with the template's below which a registration is called doubtful."""
COLUMNS = (
    "flair_t1w_information",
    "flair_t1w_shift_mm",
    "flair_t1w_angle_deg",
    "mni_information",
    "mni_dice",
    "mni_correlation",
    "mni_volume_ratio",
    "brain_ml",
    "brain_covered",
    "gm_ml",
    "wm_ml",
    "cnr_gm_wm",
    "noise_t1w",
    "noise_flair",
    "sharpness_t1w",
    "sharpness_flair",
    "lesion_ml_raw",
    "lesion_ml",
    "lesion_in_brain",
    "lesion_components",
    "lesion_rescued",
    "brain_mask",
    "seconds",
    "notes",
)


def image_figures(
    images: np.ndarray, brain: np.ndarray, tissues: np.ndarray, grid: Grid
) -> dict[str, float]:
    """Measure contrast, noise, sharpness and volumes on the study grid.

    Args:
        images: (2, X, Y, Z) scaled T1w and FLAIR.
        brain: (X, Y, Z) bool.
        tissues: (3, X, Y, Z) CSF, GM and WM.
        grid: the study grid.

    Returns:
        `noise_*`: robust standard deviation of what a 3-voxel median removes, in white matter;
        `cnr_gm_wm`: difference of the medians over the T1w noise; `sharpness_*`: 95th percentile of
        the gradient in the brain, in scaled units a voxel; volumes in MNI space, in mL.
    """
    white, grey = (binary_core(tissues[k], brain) for k in (2, 1))
    noise = [_noise(image, white) for image in images]
    contrast = abs(float(np.median(images[0][white]) - np.median(images[0][grey])))
    inner = ndimage.binary_erosion(brain)
    sharpness = [_sharpness(image, inner) for image in images]
    return {
        "gm_ml": float(tissues[1].sum()) * grid.voxel_mm3 / 1000,
        "wm_ml": float(tissues[2].sum()) * grid.voxel_mm3 / 1000,
        "cnr_gm_wm": contrast / max(noise[0], 1e-6),
        "noise_t1w": noise[0],
        "noise_flair": noise[1],
        "sharpness_t1w": sharpness[0],
        "sharpness_flair": sharpness[1],
    }


def binary_core(probability: np.ndarray, brain: np.ndarray) -> np.ndarray:
    """Return where a tissue is nearly certain, or its likeliest 5 % of the brain."""
    core = brain & (probability > 0.9)
    if core.sum() < 50:
        core = brain & (probability >= np.quantile(probability[brain], 0.95))
    return core


def _noise(image: np.ndarray, where: np.ndarray) -> float:
    residual = (image - ndimage.median_filter(image, 3))[where]
    return float(1.4826 * np.median(np.abs(residual - np.median(residual))))


def _sharpness(image: np.ndarray, where: np.ndarray) -> float:
    gradient = np.sqrt(sum(g**2 for g in np.gradient(image)))
    return float(np.quantile(gradient[where], 0.95)) if where.any() else 0.0


def template_figures(t1w: np.ndarray, brain: np.ndarray, grid: Grid) -> dict[str, float]:
    """Compare a prepared T1w volume and brain with the template: Dice and correlation."""
    reference = resample(template()[0], grid)
    known = ndimage.binary_fill_holes(reference > 0.1)
    both = known & brain
    correlation = np.corrcoef(t1w[both], reference[both])[0, 1] if both.sum() > 2 else 0.0
    return {
        "mni_dice": float(2 * both.sum() / max(known.sum() + brain.sum(), 1)),
        "mni_correlation": float(np.nan_to_num(correlation)),
    }


def motion_figures(flair_from_t1w: np.ndarray, centre: np.ndarray) -> dict[str, float]:
    """Describe the rigid move from T1w to FLAIR: its angle and the shift of the brain's centre."""
    cosine = np.clip((np.trace(flair_from_t1w[:3, :3]) - 1) / 2, -1, 1)
    moved = flair_from_t1w[:3, :3] @ centre + flair_from_t1w[:3, 3]
    return {
        "flair_t1w_shift_mm": float(np.linalg.norm(moved - centre)),
        "flair_t1w_angle_deg": float(np.degrees(np.arccos(cosine))),
    }


def mask_volume_ml(mask: Volume) -> float:
    """Return the volume of a mask (above 0.5) in mL on its own grid."""
    return float((mask.data > 0.5).sum()) * mask.grid.voxel_mm3 / 1000
