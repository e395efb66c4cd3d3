"""A lesion's signs: what it does to T1w and FLAIR, in grey and white matter, inside and around.

A lesion may be bright in the cortex and dark beneath; its mean effect would tell of neither. And it
reaches beyond what an expert draws: half of what phantom lesions of version 3 do to the images
within 10 mm lies outside their masks. `benchmarks/healthy_twins.py` compares with that true effect:
measured from the images of 16 patients, signs in the mask explain half of it (median 0.50, mean
0.50), signs in the mask and around it two thirds (0.67, 0.57).
"""

from collections.abc import Iterable

import numpy as np

from lesionforge.lesions.blending import lesion_envelopes

Signs = tuple[float, float, float, float, float, float, float, float]
SIGNS = (
    "T1w in grey matter",
    "FLAIR in grey matter",
    "T1w in white matter",
    "FLAIR in white matter",
    "T1w in grey matter around",
    "FLAIR in grey matter around",
    "T1w in white matter around",
    "FLAIR in white matter around",
)
INSIDE = 4  # so many of `SIGNS`, the first, are of the mask
NO_SIGNS: Signs = (0.0,) * 8
# Of a tissue; with less of it a lesion's sign there leans to its mean effect, or around it to none.
# Effects planted into healthy phantoms came back with the least error for 50 to 100.
HOLD_MM3 = 100.0


def as_signs(values: Iterable[float]) -> Signs:
    """Return eight numbers in the order of `SIGNS`.

    Raises:
        ValueError: there are more or fewer, or one is no number.
        TypeError: they are no numbers at all.
    """
    a, b, c, d, e, f, g, h = (float(value) for value in values)
    return a, b, c, d, e, f, g, h


def sign_maps(
    lesion: np.ndarray, tissues: np.ndarray, voxel_mm: tuple[float, float, float]
) -> np.ndarray:
    """Return how much of each voxel each pair of signs (T1w, FLAIR) is of.

    Args:
        lesion: (X, Y, Z) bool.
        tissues: (3, X, Y, Z) probabilities of CSF, GM and WM.
        voxel_mm: voxel size along each axis.

    Returns:
        (4, X, Y, Z) float32 in [0, 1]: grey and white matter in the lesion, and around it.
    """
    return split_tissues(lesion_envelopes(lesion, voxel_mm), tissues[1:])


def split_tissues(places: np.ndarray, solid: np.ndarray) -> np.ndarray:
    """Split places (2, X, Y, Z) into grey and white matter (2, X, Y, Z); see `sign_maps`."""
    return (places[:, None] * solid).reshape(4, *solid.shape[1:])


def measure_signs(effect: np.ndarray, maps: np.ndarray, voxel_mm3: float) -> Signs:
    """Tell apart what a lesion does to grey and to white matter, in its mask and around it.

    Ridge regression of the effect on the maps. Signs of the mask are drawn towards its mean effect,
    those around to none, by as much as `HOLD_MM3` of a tissue would; so a tissue that the lesion
    hardly reaches has the mean.

    Args:
        effect: (2, X, Y, Z) on T1w and FLAIR.
        maps: (4, X, Y, Z), see `sign_maps`.
        voxel_mm3: volume of a voxel.

    Returns:
        Effects in the units of `effect`, in the order of `SIGNS`.
    """
    reached = maps.any(axis=0)
    parts, values = (v[:, reached].T.astype(np.float64) for v in (maps, effect))
    own = INSIDE // values.shape[1]  # maps of the mask
    inside = parts[:, :own].sum(axis=1)
    usual = np.zeros((len(maps), values.shape[1]))
    usual[:own] = inside @ values / max(float(inside.sum()), 1e-9)
    hold = HOLD_MM3 / voxel_mm3
    wanted = parts.T @ values + hold * usual
    return as_signs(np.linalg.solve(parts.T @ parts + hold * np.eye(len(maps)), wanted).ravel())


def mix_signs(signs: np.ndarray | Signs, maps: np.ndarray) -> np.ndarray:
    """Return what signs are in each voxel.

    Args:
        signs: numbers in the order of `SIGNS`, two for each map.
        maps: (4, X, Y, Z), see `sign_maps`, or the first of them.

    Returns:
        (2, X, Y, Z) for T1w and FLAIR.
    """
    return np.tensordot(np.reshape(signs, (len(maps), 2)).T, maps, 1)
