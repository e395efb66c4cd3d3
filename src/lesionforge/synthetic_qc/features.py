"""Fixed features of images in 3D, for whole brains and for the neighbourhood of lesions.

Nothing is learnt, so no set can be tuned to a network that judges it, and few subjects are enough.
Features are of three kinds: levels (of each tissue), bands (differences of Gaussians: what is sharp
and what is smooth) and relations (between channels, between the sides).
"""

from collections.abc import Sequence
from itertools import combinations

import numpy as np
from scipy import ndimage

from lesionforge.data.volume import Grid
from lesionforge.lesions.appearance import LesionEffect
from lesionforge.lesions.blending import smooth_within

SCALES = (1.0, 2.0, 4.0)  # of the bands, voxels
EDGE_MM, RIM_MM = 5.0, 15.0  # around a lesion: what lies at it, and what lies around that
ZONES = ("edge", "rim")
MARKS = ("mean", "spread", "texture", "grain")
SURE = 0.9  # a voxel is of a tissue from this probability on
LEAST = 8  # voxels of a zone; with fewer its features are those of no texture
FLOOR = 1e-4


def around_names(channels: Sequence[str]) -> list[str]:
    """Name the features of `around_features`, in their order."""
    return [f"{zone}_{c}_{mark}" for zone in ZONES for c in channels for mark in MARKS]


def whole_features(
    channels: Sequence[str], images: np.ndarray, tissues: np.ndarray, brain: np.ndarray, grid: Grid
) -> dict[str, float]:
    """Describe a brain's images.

    Args:
        channels: BIDS suffix of each image.
        images: (C, X, Y, Z) in [0, 1].
        tissues: (3, X, Y, Z) probabilities of CSF, GM and WM.
        brain: (X, Y, Z) bool.
        grid: theirs, symmetric in x.
    """
    interior = ndimage.binary_erosion(brain, iterations=2)
    found: dict[str, float] = {}
    bands = []
    for name, image in zip(channels, images, strict=True):
        own = split_bands(image, brain)
        bands.append(own)
        found |= {f"{name}_{k}": v for k, v in _levels(image, tissues, brain).items()}
        for scale, band in zip(SCALES, own, strict=True):
            values = band[interior]
            found[f"{name}_band{scale:g}"] = _log(values.std())
            found[f"{name}_tails{scale:g}"] = _tails(values)
        found[f"{name}_white_noise"] = _log(own[0][interior & (tissues[2] > SURE)].std())
        found[f"{name}_smooth"] = _neighbour_correlation(own[0], interior)
        found[f"{name}_shading"] = _shading(image, brain & (tissues[2] > SURE), grid)
        found[f"{name}_sides"] = _log((image - image[::-1])[interior & interior[::-1]].std())
    for one, other in combinations(range(len(bands)), 2):
        for scale, a, b in zip(SCALES, bands[one], bands[other], strict=True):
            name = f"{channels[one]}_{channels[other]}_together{scale:g}"
            found[name] = _correlation(a[interior], b[interior])
    return found


def split_bands(image: np.ndarray, brain: np.ndarray) -> np.ndarray:
    """Split an image (X, Y, Z) into bands (3, X, Y, Z), sharp first; the smooth rest is dropped.

    Averages are taken within the brain, so its edge belongs to no band.
    """
    bands, finer = [], np.where(brain, image, 0).astype(np.float32)
    for scale in SCALES:
        coarser = smooth_within(image[None], brain, scale)[0]
        bands.append(finer - coarser)
        finer = coarser
    return np.stack(bands)


def lesion_features(
    channels: Sequence[str],
    effect: LesionEffect,
    images: np.ndarray,
    lesion: np.ndarray,
    brain: np.ndarray,
    grid: Grid,
) -> dict[str, float]:
    """Describe how a lesion looks, in it and at its edge, beside what its tissues explain.

    Args:
        channels: BIDS suffix of each image.
        effect: of the lesion, see `lesionforge.lesions.appearance.lesion_effect`.
        images: (C, X, Y, Z) in [0, 1].
        lesion: (X, Y, Z) bool.
        brain: (X, Y, Z) bool.
        grid: theirs.
    """
    inside = effect.inside
    depth = ndimage.distance_transform_edt(inside, sampling=grid.voxel_mm)
    core = depth > np.median(depth[inside])
    if not core.any():  # a sheet of one voxel
        core = inside
    found = around_features(channels, effect, images, lesion, brain, grid)
    for name, values in zip(channels, effect.values, strict=True):
        seen = values[inside]
        found[f"{name}_mean"] = float(seen.mean())
        found[f"{name}_low"], found[f"{name}_high"] = np.quantile(seen, [0.1, 0.9]).tolist()
        outer = inside & ~core
        border = values[outer if outer.any() else core]
        found[f"{name}_core"] = float(values[core].mean() - border.mean())
    sharp = _sharp(effect, images, brain)
    for name, band in zip(channels, sharp, strict=True):
        found[f"{name}_texture"] = _texture(band, inside)
    for one, other in combinations(range(len(channels)), 2):
        found[f"{channels[one]}_{channels[other]}_together"] = _correlation(
            effect.values[one][inside], effect.values[other][inside]
        )
    return found


def around_features(
    channels: Sequence[str],
    effect: LesionEffect,
    images: np.ndarray,
    lesion: np.ndarray,
    brain: np.ndarray,
    grid: Grid,
) -> dict[str, float]:
    """Describe what surrounds a lesion and nothing of the lesion itself; arguments as above.

    Returns:
        The features called `around_names`, at the lesion and further away: mean and spread of what
        the tissues do not explain; of the sharpest band its size (texture) and the correlation of
        neighbours (grain, which blurring and interpolation change whatever the noise).
    """
    near = np.asarray(lesion, bool)[effect.box]
    head = np.asarray(brain, bool)[effect.box]
    distance = ndimage.distance_transform_edt(~near, sampling=grid.voxel_mm)
    zones = (
        head & ~near & (distance <= EDGE_MM),
        head & (distance > EDGE_MM) & (distance <= RIM_MM),
    )
    # what is sharp is measured with the lesion taken out, or its border would show in the rim
    sharp = _sharp(effect, images, np.asarray(brain, bool) & ~np.asarray(lesion, bool))
    found = []
    for where in zones:
        for values, band in zip(effect.values, sharp, strict=True):
            seen = values[where] if where.sum() >= LEAST else np.zeros(LEAST)
            grain = _neighbour_correlation(band, where)
            found += [float(seen.mean()), _log(seen.std()), _texture(band, where), grain]
    return dict(zip(around_names(channels), found, strict=True))


def _sharp(effect: LesionEffect, images: np.ndarray, brain: np.ndarray) -> np.ndarray:
    """Return the sharpest band (C, x, y, z) of the images in the effect's box."""
    head = np.asarray(brain, bool)[effect.box]
    known = np.where(head, images[(slice(None), *effect.box)], 0).astype(np.float32)
    return known - smooth_within(known, head, SCALES[0])


def _texture(band: np.ndarray, where: np.ndarray) -> float:
    return _log(band[where].std()) if where.sum() >= LEAST else _log(0.0)


def _levels(image: np.ndarray, tissues: np.ndarray, brain: np.ndarray) -> dict[str, float]:
    found = {}
    for name, tissue in zip(("csf", "grey", "white"), tissues, strict=True):
        weight = np.where(brain, tissue, 0) ** 2
        total = max(float(weight.sum()), 1e-6)
        mean = float((weight * image).sum()) / total
        found[name] = mean
        found[f"{name}_spread"] = _log(np.sqrt((weight * (image - mean) ** 2).sum() / total))
    return found


def _shading(image: np.ndarray, white: np.ndarray, grid: Grid) -> float:
    """Return how much of white matter's brightness is a smooth field (its SD, log)."""
    if white.sum() < 100:
        return _log(0.0)
    place = grid.world(np.argwhere(white)) / 100
    terms = np.column_stack([np.ones(len(place)), place, place**2])
    values = image[white].astype(np.float64)
    fitted = terms @ np.linalg.lstsq(terms, values, rcond=None)[0]
    return _log(fitted.std())


def _neighbour_correlation(band: np.ndarray, where: np.ndarray) -> float:
    """Return the mean correlation of neighbours along the axes: what interpolation leaves."""
    found = []
    for axis in range(3):
        one = np.moveaxis(band, axis, 0)
        known = np.moveaxis(where, axis, 0)
        both = known[1:] & known[:-1]
        found.append(_correlation(one[1:][both], one[:-1][both]))
    return float(np.mean(found))


def _correlation(a: np.ndarray, b: np.ndarray) -> float:
    if len(a) < LEAST or a.std() < FLOOR or b.std() < FLOOR:
        return 0.0
    return float(np.corrcoef(a, b)[0, 1])


def _tails(values: np.ndarray) -> float:
    """Return how heavy the tails are: the 98 % range over the interquartile range, log."""
    low, first, third, high = np.quantile(values, [0.01, 0.25, 0.75, 0.99])
    return _log((high - low) / max(third - first, FLOOR))


def _log(value: float | np.floating) -> float:
    return float(np.log(max(float(value), FLOOR)))
