"""What the generator is told: healthy tissue classes of a host, a soft lesion, its signs."""

import numpy as np

from lesionforge.data.subject import TISSUES
from lesionforge.lesions.blending import lesion_envelopes
from lesionforge.lesions.contrast import Signs, mix_signs, split_tissues

SEMANTIC = (*TISSUES, "lesion", "T1w effect in and around", "FLAIR effect in and around")


def semantic_map(
    tissues: np.ndarray, lesion: np.ndarray, signs: Signs, voxel_mm: tuple[float, float, float]
) -> np.ndarray:
    """Stack what the generator reads: CSF, GM, WM, soft lesion, and what it does to T1w and FLAIR.

    The effect of a voxel is that of its mix of tissues, in the mask and around it. One number of
    strength would not do: of lesions that are brighter and lesions that are darker than healthy
    tissue the generator would learn the mean, which is no lesion.

    Args:
        tissues: (3, X, Y, Z) probabilities (healed where a real lesion was).
        lesion: (X, Y, Z) bool; its border is softened.
        signs: how the lesion shows, see `lesionforge.lesions.contrast`.
        voxel_mm: voxel size along each axis.

    Returns:
        (len(SEMANTIC), X, Y, Z) float32.
    """
    places = lesion_envelopes(lesion, voxel_mm)
    soft = places[0] * (np.asarray(tissues).sum(0) > 0)
    effect = mix_signs(signs, split_tissues(places, tissues[1:]))
    return np.concatenate([tissues, soft[None], effect]).astype(np.float32)
