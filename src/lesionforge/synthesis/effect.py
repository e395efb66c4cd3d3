"""The effect of a lesion on the images: measure it, bring it to what was asked, add it."""

from collections.abc import Callable

import numpy as np
from scipy.optimize import brentq

from lesionforge.lesions.blending import soften
from lesionforge.lesions.contrast import (
    ContrastChange,
    contrast_maps,
    measure_contrast,
    mix_contrast,
    split_tissues,
)
from lesionforge.preprocessing.intensity import ROBUST_SD

GAIN_STEP = 0.02  # to which a factor is found
LEAST_CHANGE = 0.05  # robust standard deviations; a weaker mean effect has no direction


def insert_effect(images: np.ndarray, delta: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Add a weighted effect to real images, clipped to [0, 1].

    Args:
        images: (C, X, Y, Z).
        delta: (C, X, Y, Z) effect of the lesion.
        weight: (X, Y, Z) in [0, 1]; where it is 0 the images come back bit for bit.
    """
    changed = np.clip(images + weight * delta, 0, 1)
    return np.where(weight > 0, changed, images).astype(np.float32)


def effect_size(before: np.ndarray, after: np.ndarray, mask: np.ndarray) -> float:
    """Return the root mean square change in the mask over all channels, in robust SDs.

    It has the scale of `lesionforge.lesions.appearance.Conspicuity.total`, without its noise.
    """
    if not mask.any():
        return 0.0
    change = (after[:, mask].astype(np.float64) - before[:, mask]) / ROBUST_SD
    return float(np.sqrt((change**2).sum(0).mean()))


def effect_contrast(delta: np.ndarray, maps: np.ndarray, voxel_mm3: float) -> ContrastChange:
    """Return what an effect does to grey and to white matter, in robust standard deviations.

    Args:
        delta: (C, X, Y, Z) effect.
        maps: (4, X, Y, Z) of the lesion among healthy tissues, see `contrast_maps`.
        voxel_mm3: volume of a voxel.
    """
    return measure_contrast(delta / ROBUST_SD, maps, voxel_mm3)


def expected_contrast(
    contrast: ContrastChange, maps: np.ndarray, voxel_mm3: float
) -> ContrastChange:
    """Return what `effect_contrast` would be of exactly the effect that is asked for.

    Less than `contrast` where a tissue is scarce, since measured contrast are drawn to the mean.
    """
    return measure_contrast(mix_contrast(contrast, maps), maps, voxel_mm3)


def contrast_factors(made: ContrastChange, asked: ContrastChange, max_gain: float) -> np.ndarray:
    """Return factors (C, 2, 2) that bring the contrast that was `made` to the one `asked` for.

    None lies beyond `max_gain` or its inverse, so a change that is not asked for, or has the
    other sign, is weakened as far as may be. One below `LEAST_CHANGE` is left alone.
    """
    given, wanted = np.array(made), np.array(asked)
    clear = np.abs(given) >= LEAST_CHANGE
    ratio = np.where(clear, wanted / np.where(clear, given, 1.0), 1.0)
    return np.clip(ratio, 1 / max_gain, max_gain).astype(np.float32)


def scale_contrast(
    delta: np.ndarray, lesion: np.ndarray, tissues: np.ndarray, factors: np.ndarray
) -> np.ndarray:
    """Multiply an effect by the factors of what each voxel is a mix of.

    Args:
        delta: (C, X, Y, Z) effect.
        lesion: (X, Y, Z) bool.
        tissues: (3, X, Y, Z) healthy probabilities of CSF, GM and WM.
        factors: (C, 2, 2), those around the mask for all that lies outside it.
    """
    inside, solid = soften(lesion), tissues[1:]
    share = solid / np.maximum(solid.sum(0), 1e-3)
    return delta * (
        1 + mix_contrast(factors - 1, split_tissues(np.stack([inside, 1 - inside]), share))
    )


def reach_gain(delta: np.ndarray, mask: np.ndarray, target: float, max_gain: float) -> float:
    """Return the factor that brings the effect `delta` in the mask up to `target` robust SDs.

    A generator that learned by reconstruction is timid, never loud: the effect is strengthened by
    at most `max_gain` and never weakened.

    Args:
        delta: (C, X, Y, Z) effect as the generator made it.
        mask: (X, Y, Z) bool, the lesion.
        target: effect size that was asked for.
        max_gain: largest factor, 1 or more.
    """
    size = effect_size(np.zeros_like(delta), delta, mask)
    return float(np.clip(target / size, 1.0, max_gain)) if size > 0 else 1.0


def fit_effect(
    delta: np.ndarray,
    lesion: np.ndarray,
    tissues: np.ndarray,
    voxel_mm: tuple[float, float, float],
    asked: ContrastChange,
    conspicuity: float,
    max_gain: float,
) -> tuple[np.ndarray, np.ndarray]:
    """Bring an effect to the contrast and the strength that are asked for.

    Args:
        delta: (C, X, Y, Z) effect as the generator made it.
        lesion: (X, Y, Z) bool.
        tissues: (3, X, Y, Z) healthy probabilities of CSF, GM and WM.
        voxel_mm: voxel size along each axis.
        asked: the contrast.
        conspicuity: the strength, see `reach_gain`.
        max_gain: largest factor, and inverse of the smallest, in each sign.

    Returns:
        The effect, and the factors (C, 2, 2).
    """
    maps, voxel_mm3 = contrast_maps(lesion, tissues, voxel_mm), float(np.prod(voxel_mm))
    made = effect_contrast(delta, maps, voxel_mm3)
    factors = contrast_factors(made, expected_contrast(asked, maps, voxel_mm3), max_gain)
    balanced = scale_contrast(delta, lesion, tissues, factors)
    gain = np.float32(reach_gain(balanced, lesion, conspicuity, max_gain))
    factors = np.clip(gain * factors, 1 / max_gain, max_gain)
    return scale_contrast(delta, lesion, tissues, factors), factors


def least_gain(shown: Callable[[float], float], asked: float, max_gain: float) -> float:
    """Return the least factor of an effect with which images show what was asked.

    What was asked is what a real lesion's images show, with its patient's own noise; the same
    effect in other noise may show less, down to nothing. It is never weakened: where the host alone
    looks like a lesion, nothing would be left of it.

    Args:
        shown: conspicuity of the images by the factor of the effect.
        asked: conspicuity that was asked for.
        max_gain: largest factor, taken where none is enough.
    """
    if max_gain <= 1 or shown(1.0) >= asked:
        return 1.0
    if shown(max_gain) <= asked:
        return max_gain
    return float(brentq(lambda gain: shown(gain) - asked, 1.0, max_gain, xtol=GAIN_STEP))
