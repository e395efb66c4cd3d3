"""What the generator is told: healthy tissue classes of a host, a soft lesion, its signs."""

import numpy as np
from scipy import ndimage

from lesionforge.cohort.subject import TISSUES
from lesionforge.evaluation.signs import Signs, mix_signs

SEMANTIC = (*TISSUES, "lesion", "T1w effect", "FLAIR effect")
LESION_SIGMA_VOXELS = 0.7


def semantic_map(tissues: np.ndarray, lesion: np.ndarray, signs: Signs) -> np.ndarray:
    """Stack what the generator reads: CSF, GM, WM, soft lesion, and what it does to T1w and FLAIR.

    The effect of a voxel is that of its mix of tissues. One number of strength would not do: of
    lesions that are brighter and lesions that are darker than healthy tissue the generator would
    learn the mean, which is no lesion.

    Args:
        tissues: (3, X, Y, Z) probabilities (healed where a real lesion was).
        lesion: (X, Y, Z) bool; it is blurred by `LESION_SIGMA_VOXELS`, so that borders are soft.
        signs: how the lesion shows, see `lesionforge.evaluation.signs`.

    Returns:
        (len(SEMANTIC), X, Y, Z) float32.
    """
    soft = np.zeros(lesion.shape, dtype=np.float32)
    if lesion.any():
        soft = ndimage.gaussian_filter(lesion.astype(np.float32), LESION_SIGMA_VOXELS, truncate=3)
        soft *= np.asarray(tissues).sum(0) > 0
    effect = soft * mix_signs(signs, tissues[1:])
    return np.concatenate([tissues, soft[None], effect]).astype(np.float32)


def smoothstep(x: np.ndarray) -> np.ndarray:
    """Rise smoothly (flat ends) from 0 at x <= 0 to 1 at x >= 1; float32."""
    t = np.clip(x, 0, 1)
    return (t * t * (3 - 2 * t)).astype(np.float32)
