"""Conditioning map: tissue probabilities, soft lesion mask, requested contrast change a channel."""

import numpy as np

from lesionforge.data.subject import TISSUES
from lesionforge.lesions.blending import lesion_envelopes
from lesionforge.lesions.contrast import ContrastChange, mix_contrast, split_tissues

LESION_CHANNEL = len(TISSUES)


def map_channels(channels: int) -> int:
    """Return how many channels the conditioning map of so many image channels has."""
    return LESION_CHANNEL + 1 + channels


def conditioning_map(
    tissues: np.ndarray,
    lesion: np.ndarray,
    contrast: ContrastChange,
    voxel_mm: tuple[float, float, float],
) -> np.ndarray:
    """Stack the generator's input: CSF, GM, WM, soft lesion, and the change asked of each channel.

    The change of a voxel is that of its mix of tissues, in the mask and around it. One number of
    strength would not do: of lesions that are brighter and lesions that are darker than healthy
    tissue the generator would learn the mean, which is no lesion.

    Args:
        tissues: (3, X, Y, Z) probabilities, inpainted where a real lesion was.
        lesion: (X, Y, Z) bool; its border is softened.
        contrast: the contrast change, see `lesionforge.lesions.contrast`.
        voxel_mm: voxel size along each axis.

    Returns:
        (4 + C, X, Y, Z) float32.
    """
    places = lesion_envelopes(lesion, voxel_mm)
    soft = places[0] * (np.asarray(tissues).sum(0) > 0)
    effect = mix_contrast(contrast, split_tissues(places, tissues[1:]))
    return np.concatenate([tissues, soft[None], effect]).astype(np.float32)
