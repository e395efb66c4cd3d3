"""Conditioning map: tissue probabilities, soft lesion mask, requested contrast change a channel."""

from collections.abc import Sequence

import numpy as np
from scipy import ndimage

from lesionforge.data.subject import TISSUES
from lesionforge.lesions.blending import AROUND_MM, lesion_envelopes
from lesionforge.lesions.contrast import ContrastChange, mix_contrast, split_tissues

LESION_CHANNEL = len(TISSUES)
SOFT_MARGIN = 4  # voxels that a softened border may reach beyond the mask


def map_channels(channels: int) -> int:
    """Return how many channels the conditioning map of so many image channels has."""
    return LESION_CHANNEL + 1 + channels


def conditioning_map(
    channels: int,
    tissues: np.ndarray,
    lesions: np.ndarray,
    contrasts: Sequence[ContrastChange],
    voxel_mm: tuple[float, float, float],
) -> np.ndarray:
    """Stack the generator's input: CSF, GM, WM, soft lesion, and the change asked of each channel.

    The change of a voxel is that of its mix of tissues, in the mask and around it. One number of
    strength would not do: of lesions that are brighter and lesions that are darker than healthy
    tissue the generator would learn the mean, which is no lesion. Where the surroundings of several
    lesions meet, their changes are averaged.

    Args:
        channels: number of image channels C.
        tissues: (3, X, Y, Z) probabilities, inpainted where a real lesion was.
        lesions: (X, Y, Z) int, 0 outside and 1 to n in the lesions; borders are softened.
        contrasts: the contrast change of each lesion, see `lesionforge.lesions.contrast`.
        voxel_mm: voxel size along each axis.

    Returns:
        (4 + C, X, Y, Z) float32.
    """
    shape = tissues.shape[1:]
    soft, reached = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
    effect = np.zeros((channels, *shape))
    margin = np.ceil((AROUND_MM + 1) / np.asarray(voxel_mm)).astype(int) + SOFT_MARGIN
    for number, contrast in enumerate(contrasts, start=1):
        box = _box(lesions == number, margin)
        if box is None:
            continue
        places = lesion_envelopes(lesions[box] == number, voxel_mm)
        change = mix_contrast(contrast, split_tissues(places, tissues[1:][(slice(None), *box)]))
        effect[(slice(None), *box)] += change
        reached[box] += places.sum(axis=0)
        soft[box] = np.maximum(soft[box], places[0])
    soft *= np.asarray(tissues).sum(0) > 0
    if len(contrasts) > 1:
        effect /= np.maximum(reached, 1)
    return np.concatenate([tissues, soft[None], effect]).astype(np.float32)


def _box(mask: np.ndarray, margin: np.ndarray) -> tuple[slice, ...] | None:
    """Return the bounding box of a mask with a margin in voxels; None for an empty mask."""
    found = ndimage.find_objects(mask.astype(np.uint8))
    if not found:
        return None
    return tuple(
        slice(max(0, part.start - int(m)), part.stop + int(m))
        for part, m in zip(found[0], margin, strict=True)
    )
