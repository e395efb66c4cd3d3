"""A lesion's contrast change: its mean effect on each channel, tissue and zone, in robust SDs.

A lesion may be bright in the cortex and dark beneath; its mean effect would tell of neither. It
also reaches beyond its outline, so the zone around the mask counts too: on phantoms with healthy
twins half of a lesion's effect within 10 mm lay outside the mask.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from lesionforge.lesions.blending import lesion_envelopes

TISSUES_TOLD = ("grey matter", "white matter")
ZONES = ("in", "around")
ContrastChange = tuple[tuple[tuple[float, ...], ...], ...]
"""Robust standard deviations by channel, tissue (of `TISSUES_TOLD`) and zone (of `ZONES`)."""
# Of a tissue; with less of it the change there leans to the lesion's mean, or around it to none.
# Effects planted into healthy phantoms came back with the least error for 50 to 100.
HOLD_MM3 = 100.0


def as_contrast(values: Any) -> ContrastChange:
    """Return a contrast change as nested tuples.

    Args:
        values: numbers of shape (channels, 2 tissues, 2 zones), as an array or nested lists.

    Raises:
        ValueError: the shape is another.
        TypeError: they are no numbers.
    """
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 3 or array.shape[1:] != (len(TISSUES_TOLD), len(ZONES)):
        raise ValueError(f"a contrast change has shape (channels, 2, 2), got {array.shape}")
    return tuple(tuple(tuple(zones) for zones in tissues) for tissues in array.tolist())


def no_contrast(channels: int) -> ContrastChange:
    """Return the contrast change of no lesion."""
    return as_contrast(np.zeros((channels, len(TISSUES_TOLD), len(ZONES))))


def contrast_names(channels: Sequence[str]) -> list[str]:
    """Name the numbers of a contrast change, in the order of its flattened array."""
    return [
        f"{channel} in {tissue}{' around' if zone == 'around' else ''}"
        for channel in channels
        for tissue in TISSUES_TOLD
        for zone in ZONES
    ]


def contrast_maps(
    lesion: np.ndarray, tissues: np.ndarray, voxel_mm: tuple[float, float, float]
) -> np.ndarray:
    """Return how much of each voxel each zone and tissue is.

    Args:
        lesion: (X, Y, Z) bool.
        tissues: (3, X, Y, Z) probabilities of CSF, GM and WM.
        voxel_mm: voxel size along each axis.

    Returns:
        (4, X, Y, Z) float32 in [0, 1]: grey and white matter in the lesion, then around it.
    """
    return split_tissues(lesion_envelopes(lesion, voxel_mm), tissues[1:])


def split_tissues(places: np.ndarray, solid: np.ndarray) -> np.ndarray:
    """Split zones (2, X, Y, Z) into grey and white matter (2, X, Y, Z); see `contrast_maps`."""
    return (places[:, None] * solid).reshape(4, *solid.shape[1:])


def measure_contrast(effect: np.ndarray, maps: np.ndarray, voxel_mm3: float) -> ContrastChange:
    """Measure what a lesion does to grey and to white matter, in its mask and around it.

    Ridge regression of the effect on the maps. Changes in the mask are drawn towards its mean
    effect, those around to none, by as much as `HOLD_MM3` of a tissue would; so a tissue that the
    lesion hardly reaches has the mean.

    Args:
        effect: (C, X, Y, Z).
        maps: (4, X, Y, Z), see `contrast_maps`.
        voxel_mm3: volume of a voxel.

    Returns:
        Effects in the units of `effect`.
    """
    reached = maps.any(axis=0)
    parts, values = (v[:, reached].T.astype(np.float64) for v in (maps, effect))
    own = len(TISSUES_TOLD)  # maps of the mask
    inside = parts[:, :own].sum(axis=1)
    usual = np.zeros((len(maps), values.shape[1]))
    usual[:own] = inside @ values / max(float(inside.sum()), 1e-9)
    hold = HOLD_MM3 / voxel_mm3
    wanted = parts.T @ values + hold * usual
    found = np.linalg.solve(parts.T @ parts + hold * np.eye(len(maps)), wanted)
    return as_contrast(found.reshape(len(ZONES), own, -1).transpose(2, 1, 0))


def mix_contrast(contrast: np.ndarray | ContrastChange, maps: np.ndarray) -> np.ndarray:
    """Return the contrast change of each voxel, that of its mix of tissues and zones.

    Args:
        contrast: (C, 2, zones), of as many zones as `maps` has.
        maps: (2 x zones, X, Y, Z), see `contrast_maps`.

    Returns:
        (C, X, Y, Z).
    """
    changes = np.asarray(contrast).transpose(2, 1, 0)
    return np.tensordot(changes.reshape(len(maps), -1).T, maps, 1)
