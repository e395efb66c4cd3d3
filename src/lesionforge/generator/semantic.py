"""What the generator is told: healthy tissue classes of a host, a soft lesion, its strength."""

import numpy as np
from scipy import ndimage

from lesionforge.cohort.subject import TISSUES

SEMANTIC_CHANNELS = len(TISSUES) + 2
LESION_SIGMA_VOXELS = 0.7


def semantic_map(tissues: np.ndarray, lesion: np.ndarray, conspicuity: float) -> np.ndarray:
    """Stack what the generator reads: CSF, GM, WM, soft lesion, soft lesion times conspicuity.

    Args:
        tissues: (3, X, Y, Z) probabilities (healed where a real lesion was).
        lesion: (X, Y, Z) bool; it is blurred by `LESION_SIGMA_VOXELS`, so that borders are soft.
        conspicuity: how strongly the lesion shows, in [0, 1] or in the units of training.

    Returns:
        (SEMANTIC_CHANNELS, X, Y, Z) float32.
    """
    soft = np.zeros(lesion.shape, dtype=np.float32)
    if lesion.any():
        soft = ndimage.gaussian_filter(lesion.astype(np.float32), LESION_SIGMA_VOXELS, truncate=3)
        soft *= np.asarray(tissues).sum(0) > 0
    pair = np.stack([soft, soft * np.float32(conspicuity)])
    return np.concatenate([np.asarray(tissues, dtype=np.float32), pair]).astype(np.float32)


def smoothstep(x: np.ndarray) -> np.ndarray:
    """Rise smoothly (flat ends) from 0 at x <= 0 to 1 at x >= 1; float32."""
    t = np.clip(x, 0, 1)
    return (t * t * (3 - 2 * t)).astype(np.float32)
