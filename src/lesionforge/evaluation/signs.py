"""A lesion's signs: what it does to T1w and FLAIR, in grey and in white matter apart.

A lesion may be bright in the cortex and dark beneath; its mean effect would tell of neither.
"""

from collections.abc import Iterable

import numpy as np

Signs = tuple[float, float, float, float]
SIGNS = (
    "T1w in grey matter",
    "FLAIR in grey matter",
    "T1w in white matter",
    "FLAIR in white matter",
)
NO_SIGNS: Signs = (0.0, 0.0, 0.0, 0.0)
# Of a tissue; with less of it a lesion's sign there leans to its mean effect. Effects planted into
# healthy phantoms came back with the least error for 50 to 100.
HOLD_MM3 = 100.0


def as_signs(values: Iterable[float]) -> Signs:
    """Return four numbers in the order of `SIGNS`.

    Raises:
        ValueError: there are more or fewer, or one is no number.
        TypeError: they are no numbers at all.
    """
    grey_t1w, grey_flair, white_t1w, white_flair = (float(value) for value in values)
    return grey_t1w, grey_flair, white_t1w, white_flair


def measure_signs(values: np.ndarray, mix: np.ndarray, voxel_mm3: float) -> Signs:
    """Tell apart what a lesion does to grey and to white matter.

    Ridge regression of the effect on the tissue mix, drawn towards the mean effect by as much as
    `HOLD_MM3` of either tissue would; so a tissue that the lesion hardly reaches has the mean.

    Args:
        values: (2, N) effect on T1w and FLAIR at the lesion's voxels.
        mix: (3, N) probabilities of CSF, GM and WM there.
        voxel_mm3: volume of a voxel.

    Returns:
        Effects in the units of `values`, in the order of `SIGNS`.
    """
    solid = mix[1:].T.astype(np.float64)
    hold = HOLD_MM3 / voxel_mm3
    wanted = solid.T @ values.T.astype(np.float64) + hold * mean_effect(values, mix)
    return as_signs(np.linalg.solve(solid.T @ solid + hold * np.eye(2), wanted).ravel())


def mean_effect(values: np.ndarray, mix: np.ndarray) -> np.ndarray:
    """Return the mean effect (2,) on T1w and FLAIR, fluid left out; arguments as above."""
    return np.average(values, axis=1, weights=np.clip(1 - mix[0], 0.05, 1))


def mix_signs(signs: np.ndarray | Signs, solid: np.ndarray) -> np.ndarray:
    """Return what signs are for each voxel's mix of grey and white matter.

    Args:
        signs: four numbers in the order of `SIGNS`.
        solid: (2, X, Y, Z) probabilities of GM and WM.

    Returns:
        (2, X, Y, Z) for T1w and FLAIR.
    """
    return np.tensordot(np.reshape(signs, (2, 2)).T, solid, 1)
