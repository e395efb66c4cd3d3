"""How strongly a lesion shows in each channel, measured alike for real and synthetic images."""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from lesionforge.errors import DataError
from lesionforge.lesions.contrast import (
    TISSUES_TOLD,
    ContrastChange,
    contrast_maps,
    measure_contrast,
    mix_contrast,
)
from lesionforge.preprocessing.intensity import ROBUST_SD

RIM_MM = (5.0, 15.0)
WIDER_RIM_MM = (2.0, 40.0)
MIN_RIM_VOXELS = 40
REGION_MM = 4.0  # over which effects are averaged
FAINT = 0.3  # conspicuity; a fainter lesion can hardly be told from none
OUTLIER_SD = 3.0  # residuals of the rim beyond this belong to something else than noise


@dataclass(frozen=True)
class Conspicuity:
    """A lesion's effect on the images against the tissue around it.

    Attributes:
        change: mean difference of each channel from what the tissue mix predicts, in robust
            standard deviations.
        contrast: the same for grey and white matter apart, in the lesion and around it, see
            `measure_contrast`; noise is 0.2 to 0.5 where the tissues under it are an estimate.
        blur: share of the gradient between the tissues, in the first channel, that is lost in the
            lesion; 0 is as sharp as around it, 1 no edge left, negative sharper.
        total: root mean square of the regional effect over all channels beyond noise, in robust
            standard deviations; 0 is invisible, 5 obvious.
    """

    change: tuple[float, ...]
    contrast: ContrastChange
    blur: float
    total: float


@dataclass(frozen=True, eq=False)
class LesionEffect:
    """What the tissue mix does not explain of the images, around a lesion.

    Attributes:
        values: (C, x, y, z) residuals of the images in robust standard deviations.
        predicted: (C, x, y, z) what the tissue mix explains, in the images' own units.
        inside: (x, y, z) bool, the lesion in the brain.
        rim: (x, y, z) bool, the shell that the prediction was fitted in.
        box: where (x, y, z) lies in the whole volume.
    """

    values: np.ndarray
    predicted: np.ndarray
    inside: np.ndarray
    rim: np.ndarray
    box: tuple[slice, ...]


def measure_conspicuity(
    images: np.ndarray,
    lesion: np.ndarray,
    tissues: np.ndarray,
    brain: np.ndarray,
    voxel_mm: tuple[float, float, float],
) -> Conspicuity:
    """Measure how far a lesion departs from the tissue in a shell 5 to 15 mm around it.

    Each image is predicted from the tissue mix by a robust linear fit in the shell; the lesion's
    effect is what the prediction leaves, so a lesion is compared with its own mix of tissues.

    Args:
        images: (C, X, Y, Z) in [0, 1]; 0.1 is one robust standard deviation.
        lesion: (X, Y, Z) bool, at least one voxel.
        tissues: (3, X, Y, Z) probabilities of CSF, GM and WM, as they were without the lesion if
            that is known.
        brain: (X, Y, Z) bool.
        voxel_mm: voxel size along each axis.

    Raises:
        DataError: the lesion has no voxel in the brain, or there is no brain around it.
    """
    return describe_effect(
        lesion_effect(images, lesion, tissues, brain, voxel_mm), images, tissues, voxel_mm
    )


def describe_effect(
    found: LesionEffect,
    images: np.ndarray,
    tissues: np.ndarray,
    voxel_mm: tuple[float, float, float],
) -> Conspicuity:
    """Sum up an effect that `lesion_effect` has found; the other arguments as there."""
    near = tissues[(slice(None), *found.box)]
    solid = np.clip(1 - near[0, found.inside], 0.05, 1)  # fluid is left out
    change = np.average(found.values[:, found.inside], axis=1, weights=solid)
    maps = contrast_maps(found.inside, near, voxel_mm)
    seen = images[0][found.box]
    return Conspicuity(
        change=tuple(map(float, change)),
        contrast=measure_contrast(found.values, maps, float(np.prod(voxel_mm))),
        blur=_blur(seen, found.predicted[0], found.inside, found.rim, voxel_mm),
        total=_total(found.values, found.inside, found.rim, voxel_mm),
    )


def match_contrast(
    found: LesionEffect,
    tissues: np.ndarray,
    voxel_mm: tuple[float, float, float],
    asked: ContrastChange,
) -> float:
    """Return how much of an effect that was asked for the images show, inside the lesion.

    The least-squares factor of the asked effect in what `lesion_effect` has found (a matched
    filter): about 1 if it is there as asked, about 0 if it is not, negative if it is turned round.

    Args:
        found: the images' effect.
        tissues: (3, X, Y, Z) as given to `lesion_effect`.
        voxel_mm: voxel size along each axis.
        asked: contrast of the lesion; those around it do not count.
    """
    maps = contrast_maps(found.inside, tissues[(slice(None), *found.box)], voxel_mm)
    inside = np.array(asked)[..., :1]
    told = mix_contrast(inside, maps[: len(TISSUES_TOLD)] * found.inside)
    power = float(np.sum(told**2))
    return float(np.sum(found.values * told)) / power if power > 0 else 0.0


def lesion_effect(
    images: np.ndarray,
    lesion: np.ndarray,
    tissues: np.ndarray,
    brain: np.ndarray,
    voxel_mm: tuple[float, float, float],
) -> LesionEffect:
    """Return what the tissue mix does not explain, in and around a lesion.

    Args:
        images: (C, X, Y, Z) in [0, 1]; 0.1 is one robust standard deviation.
        lesion: (X, Y, Z) bool, at least one voxel.
        tissues: (3, X, Y, Z) probabilities of CSF, GM and WM.
        brain: (X, Y, Z) bool.
        voxel_mm: voxel size along each axis.

    Raises:
        DataError: the lesion has no voxel in the brain, or there is no brain around it.
    """
    inside = np.asarray(lesion, bool) & np.asarray(brain, bool)
    if not inside.any():
        raise DataError("The lesion has no voxel inside the brain; its conspicuity is undefined.")
    box = _box(inside, WIDER_RIM_MM[1], voxel_mm)
    near, mix = images[(slice(None), *box)], tissues[(slice(None), *box)]
    rim = _rim(np.asarray(lesion, bool)[box], np.asarray(brain, bool)[box], voxel_mm)
    predicted = np.stack([_predict(image, mix, rim) for image in near])
    return LesionEffect((near - predicted) / ROBUST_SD, predicted, inside[box], rim, box)


def _box(inside: np.ndarray, margin_mm: float, voxel_mm: tuple[float, ...]) -> tuple[slice, ...]:
    """Return the lesion's bounding box widened by `margin_mm` (the images beyond do not matter)."""
    found = ndimage.find_objects(inside.astype(np.uint8))[0]
    margin = np.ceil(margin_mm / np.asarray(voxel_mm)).astype(int)
    return tuple(slice(max(0, s.start - m), s.stop + m) for s, m in zip(found, margin, strict=True))


def _rim(lesion: np.ndarray, brain: np.ndarray, voxel_mm: tuple[float, ...]) -> np.ndarray:
    distance = ndimage.distance_transform_edt(~lesion, sampling=voxel_mm)
    for low, high in (RIM_MM, WIDER_RIM_MM):
        rim = brain & (distance > low) & (distance <= high)
        if rim.sum() >= MIN_RIM_VOXELS:
            return rim
    raise DataError(
        f"Fewer than {MIN_RIM_VOXELS} brain voxels lie within {WIDER_RIM_MM[1]:g} mm of the "
        "lesion; nothing is left to compare it with. Check the brain mask and the lesion mask."
    )


def _predict(image: np.ndarray, tissues: np.ndarray, rim: np.ndarray) -> np.ndarray:
    """Predict an image from its tissue mix by least squares in the rim, repeated without outliers.

    A weak pull towards the rim's median holds tissues that the rim lacks.
    """
    mix, values = tissues[:, rim].T.astype(np.float64), image[rim].astype(np.float64)
    keep = np.ones(len(values), bool)
    for _ in range(3):
        centre = float(np.median(values[keep]))
        normal = mix[keep].T @ mix[keep] + np.eye(3)
        level = np.linalg.solve(normal, mix[keep].T @ (values[keep] - centre)) + centre
        residual = values - mix @ level
        middle = np.median(residual)
        spread = 1.4826 * np.median(np.abs(residual - middle)) + 1e-6
        keep = np.abs(residual - middle) < OUTLIER_SD * spread
    return np.tensordot(level, tissues, 1)


def _blur(
    image: np.ndarray,
    predicted: np.ndarray,
    inside: np.ndarray,
    rim: np.ndarray,
    voxel_mm: tuple[float, ...],
) -> float:
    """Compare the image's gradient along the predicted one, inside the lesion and around it.

    The projection is linear in the image, so noise does not bias it as it would a magnitude.
    """
    seen, expected = np.gradient(image, *voxel_mm), np.gradient(predicted, *voxel_mm)
    along = np.sum([s * e for s, e in zip(seen, expected, strict=True)], axis=0)
    power = np.sum([e * e for e in expected], axis=0)
    # A lesion with no junction in it has no edge to lose: pull it to the rim's slope.
    hold = power[rim].mean() * (1 + 0.05 * inside.sum())
    around = along[rim].sum() / max(power[rim].sum(), 1e-9)
    if around <= 0:
        return 0.0
    within = (along[inside].sum() + hold * around) / max(power[inside].sum() + hold, 1e-9)
    return float(1 - within / around)


def _total(
    effect: np.ndarray, inside: np.ndarray, rim: np.ndarray, voxel_mm: tuple[float, ...]
) -> float:
    """Return the root of the lesion's mean squared regional effect beyond what noise would give.

    The effect is first averaged within the lesion over half its radius or `REGION_MM`, whichever is
    less: what is left of noise and of misplaced tissue borders cancels, and a lesion's own effect
    does not. Taken off are the same figure of the rim and one standard deviation of it over
    patches of the lesion's size, so that chance seldom looks visible.
    """
    volume_mm3 = inside.sum() * np.prod(voxel_mm)
    width_mm = min(REGION_MM, 0.5 * float((3 * volume_mm3 / (4 * np.pi)) ** (1 / 3)))
    sigma = width_mm / np.asarray(voxel_mm)
    power, share = _regional_power(effect, inside, sigma)
    noise, rim_share = _regional_power(effect, rim, sigma)
    noise *= share / rim_share  # a lesion's edge is averaged over less than a broad rim is
    usual = np.minimum(noise[rim], np.quantile(noise[rim], 0.98))
    patch = np.zeros(rim.shape)
    patch[rim] = usual
    edge = max(1, round(int(inside.sum()) ** (1 / 3)))
    known = ndimage.uniform_filter(rim.astype(np.float64), edge, mode="constant")
    whole = rim & (known > 0.5)
    means = ndimage.uniform_filter(patch, edge, mode="constant")[whole] / known[whole]
    spread = float(means.std()) if len(means) > 1 else float(usual.std())
    return float(np.sqrt(max(0.0, float(power[inside].mean() - usual.mean()) - spread)))


def _regional_power(
    effect: np.ndarray, where: np.ndarray, sigma: np.ndarray
) -> tuple[np.ndarray, float]:
    """Average effects (C, X, Y, Z) within `where` by a Gaussian, square them and sum images.

    Returns:
        The power (X, Y, Z), and the share of white noise's power that averaging leaves, up to a
        factor that depends on `sigma` only.
    """
    mass = ndimage.gaussian_filter(where.astype(np.float64), sigma)
    total = np.zeros(where.shape)
    for channel in effect:
        near = ndimage.gaussian_filter(np.where(where, channel, 0.0), sigma)
        total[where] += (near[where] / mass[where]) ** 2
    # the squared kernel is a kernel of 1 / sqrt(2) the width
    squared = ndimage.gaussian_filter(where.astype(np.float64), sigma / np.sqrt(2))
    return total, float((squared[where] / mass[where] ** 2).mean())
