"""Tissue probabilities from any images: a robust mixture with the MNI tissue maps as prior."""

from functools import lru_cache

import numpy as np
from scipy import ndimage

from lesionforge.data.volume import Grid, Volume, grid
from lesionforge.preprocessing.resample import resample

PRIOR_BLUR_MM = 3.0
"""Blur of the prior: what an affine registration leaves of the differences between brains."""
_FLOOR = 0.02
_FREEDOM = 6.0
_PAIRS = ((0, 1), (1, 2), (0, 2))
_OUTLIER_DISTANCE = 16.0
_ITERATIONS = 30
_FIT_VOXELS = 30_000
_NEIGHBOUR_WEIGHT = 0.5
_NEIGHBOUR_SIGMA = 0.7
"""Reach of the neighbours, in smallest voxel edges."""
_SMOOTHING_ROUNDS = 3
_FIELD_ROUNDS = 2
_FIELD_WAVES = 3


@lru_cache(maxsize=2)
def template(voxel_mm: int = 2) -> tuple[Volume, Volume, Volume]:
    """Return nilearn's MNI152 T1 (skull-stripped), grey and white matter maps."""
    from nilearn import datasets  # takes a second: only when maps are needed

    images = [
        datasets.load_mni152_template(resolution=voxel_mm),
        datasets.load_mni152_gm_template(resolution=voxel_mm),
        datasets.load_mni152_wm_template(resolution=voxel_mm),
    ]
    t1w, grey, white = (
        Volume(image.get_fdata(dtype=np.float32), grid(image.shape, image.affine))
        for image in images
    )
    return t1w, grey, white


@lru_cache(maxsize=1)
def tissue_prior(grid: Grid) -> np.ndarray:
    """Return (3, X, Y, Z) float32 priors of CSF, GM and WM: blurred, none below 2 %."""
    _, grey, white = template()
    sigma = PRIOR_BLUR_MM / np.array(grid.voxel_mm)
    gm, wm = (ndimage.gaussian_filter(resample(v, grid), sigma) for v in (grey, white))
    prior = np.stack([np.clip(1 - gm - wm, 0, 1), gm, wm])
    prior = _FLOOR + (1 - 3 * _FLOOR) * prior / prior.sum(axis=0)
    return prior.astype(np.float32)


def even_out(images: np.ndarray, brain: np.ndarray, grid: Grid) -> np.ndarray:
    """Divide out what inhomogeneity N4 has left, with the tissue classes as reference.

    N4 sharpens a histogram and leaves about half of a strong field. In MNI space the classes say
    what each voxel should look like: the log ratio of image and expected image is fitted by a few
    cosines (as in Ashburner and Friston 2005) with robust weights, so that a lesion counts little.

    Args:
        images: (C, X, Y, Z) intensities, the reference first, not negative.
        brain: (X, Y, Z) bool.
        grid: the study grid.

    Returns:
        (C, X, Y, Z) float32, corrected inside the brain.
    """
    prior = tissue_prior(grid)[:, brain].astype(np.float64)
    values = images[:, brain].astype(np.float64)
    values /= np.maximum(np.median(values, axis=1, keepdims=True), 1e-12)
    basis = _waves(brain)
    step = max(1, values.shape[1] // _FIT_VOXELS)
    total = np.zeros_like(values)
    for _ in range(_FIELD_ROUNDS):
        even = values / np.exp(total)
        means, scales = _fit(even[:, ::step], prior[:, ::step])
        share, _, distance = _shares(even[:, ::step], prior[:, ::step], means, scales)
        solid = share[1] + share[2]
        usual = solid * _typical(distance) / (_FREEDOM + distance.min(axis=0))
        for channel in range(len(values)):
            expected = np.maximum(means[:, channel] @ share, 1e-3)
            ratio = np.log(np.maximum(even[channel, ::step], 0.05 * expected) / expected)
            weight = usual[:, None] * basis[::step]
            normal = basis[::step].T @ weight + 1e-3 * weight.sum() / weight.size * np.eye(
                basis.shape[1]
            )
            total[channel] += basis @ np.linalg.solve(normal, weight.T @ ratio)
    result = images.astype(np.float32).copy()
    total -= total.mean(axis=1, keepdims=True)
    result[:, brain] = images[:, brain] / np.exp(total)
    return result


def _waves(brain: np.ndarray) -> np.ndarray:
    """Return (N, K) products of cosines over the brain's box, up to `_FIELD_WAVES` half waves."""
    index = np.argwhere(brain).astype(np.float64)
    low, high = index.min(axis=0), index.max(axis=0)
    phase = np.pi * (index - low) / np.maximum(high - low, 1)
    orders = np.array(list(np.ndindex(*[_FIELD_WAVES + 1] * 3)))
    orders = orders[orders.sum(axis=1) <= _FIELD_WAVES]
    cosine = np.cos(phase[:, :, None] * np.arange(_FIELD_WAVES + 1))
    return np.stack([cosine[:, 0, i] * cosine[:, 1, j] * cosine[:, 2, k] for i, j, k in orders], 1)


def tissue_maps(images: np.ndarray, brain: np.ndarray, grid: Grid) -> np.ndarray:
    """Segment a brain in MNI space into CSF, GM and WM.

    A mixture of Student t distributions is fitted by expectation-maximization (Peel and McLachlan
    2000): three pure classes, and between each two a class of voxels that hold some of both (Noe
    and Gee 2001), whose share is read off the line between the pure means. Heavy tails and trimming
    keep lesions and artefacts from moving the classes. The prior of each voxel is the template's,
    and in the end a few mean-field rounds let neighbours agree, against noise.

    Args:
        images: (C, X, Y, Z) scaled intensities, the reference first.
        brain: (X, Y, Z) bool.
        grid: the study grid.

    Returns:
        (3, X, Y, Z) float32, sum 1 inside `brain` and 0 outside.
    """
    prior = tissue_prior(grid)[:, brain].astype(np.float64)
    values = images[:, brain].astype(np.float64)
    step = max(1, values.shape[1] // _FIT_VOXELS)
    means, scales = _fit(values[:, ::step], prior[:, ::step])
    share = _shares(values, prior, means, scales)[0]
    volume = np.zeros((3, *brain.shape), dtype=np.float32)
    sigma = _NEIGHBOUR_SIGMA / np.array(grid.steps)
    weight = ndimage.gaussian_filter(brain.astype(np.float32), sigma)[brain]
    for _ in range(_SMOOTHING_ROUNDS):
        volume[:, brain] = share
        near = np.stack([ndimage.gaussian_filter(v, sigma)[brain] for v in volume]) / weight
        local = prior * (near + _FLOOR) ** _NEIGHBOUR_WEIGHT
        share = _shares(values, local / local.sum(axis=0), means, scales)[0]
    volume[:, brain] = share
    volume[:, brain] /= volume[:, brain].sum(axis=0)
    return volume


def _fit(values: np.ndarray, prior: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Fit the pure classes' means (3, C) and scale matrices (3, C, C)."""
    means, scales = _start(values, prior)
    for _ in range(_ITERATIONS):
        _, pure, distance = _shares(values, prior, means, scales)
        pure = pure * _typical(distance)
        weight = pure * (_FREEDOM + len(values)) / (_FREEDOM + distance[:3])
        new = weight @ values.T / weight.sum(axis=1, keepdims=True)
        for k in range(3):
            centred = values - new[k][:, None]
            scales[k] = (weight[k] * centred) @ centred.T / pure[k].sum() + _jitter(values)
        moved, means = np.abs(new - means).max(), new
        if moved < 1e-3:
            break
    return means, scales


def _typical(distance: np.ndarray) -> np.ndarray:
    """Tell which voxels some class explains (trimmed likelihood); at least 70 % of them.

    A large bright lesion would otherwise pull a class over to itself.
    """
    nearest = distance.min(axis=0)
    return nearest <= max(_OUTLIER_DISTANCE, float(np.quantile(nearest, 0.7)))


def _start(values: np.ndarray, prior: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Start from the voxels where the prior is surest: their medians and a common spread.

    No order of the tissues is assumed. The surest voxels of CSF still hold cortex: where their
    median is the lowest or the highest of the three in the reference, CSF starts at that end.
    """
    means = np.empty((3, len(values)))
    for k in range(3):
        sure = prior[k] >= np.quantile(prior[k], 0.9)
        means[k] = np.median(values[:, sure], axis=1)
    csf, *others = means[:, 0]
    if csf < min(others):
        means[0, 0] = min(csf, np.quantile(values[0], 0.05))
    elif csf > max(others):
        means[0, 0] = max(csf, np.quantile(values[0], 0.95))
    spread = np.median(np.abs(values - np.median(values, axis=1, keepdims=True)), axis=1) * 1.4826
    return means, np.stack([np.diag((0.6 * spread) ** 2) + _jitter(values)] * 3)


def _jitter(values: np.ndarray) -> np.ndarray:
    """Keep a scale matrix invertible where an image is constant."""
    return np.eye(len(values)) * 1e-5


def _shares(
    values: np.ndarray, prior: np.ndarray, means: np.ndarray, scales: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return what each voxel holds of the classes, and how well it fits them.

    The prior of a mixed voxel is that of drawing its two classes in two draws: (p + q + r)^2.

    Returns:
        (3, N) shares; (3, N) probabilities of being pure; (6, N) squared distances to the pure and
        the mixed classes.
    """
    logs, distance = [], []
    for k in range(3):
        density, far = _log_density(values, means[k], scales[k])
        logs.append(2 * np.log(prior[k]) + density)
        distance.append(far)
    fractions = []
    for a, b in _PAIRS:
        line = means[b] - means[a]
        scale = (scales[a] + scales[b]) / 2
        direction = np.linalg.solve(scale, line)
        fractions.append(
            np.clip(direction @ (values - means[a][:, None]) / max(direction @ line, 1e-9), 0, 1)
        )
        spread = scale + np.outer(line, line) / 12  # of a share that is uniform from 0 to 1
        density, far = _log_density(values, (means[a] + means[b]) / 2, spread)
        logs.append(np.log(2 * prior[a] * prior[b]) + density)
        distance.append(far)
    weight = _normalized(np.stack(logs))
    share = weight[:3].copy()
    for (a, b), mixed, fraction in zip(_PAIRS, weight[3:], fractions, strict=True):
        share[a] += mixed * (1 - fraction)
        share[b] += mixed * fraction
    return share, weight[:3], np.stack(distance)


def _log_density(
    values: np.ndarray, mean: np.ndarray, scale: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return a t distribution's log density up to a constant, and squared distances, (N,) each."""
    centred = values - mean[:, None]
    distance = ((np.linalg.inv(scale) @ centred) * centred).sum(axis=0)
    tail = 0.5 * (_FREEDOM + len(values)) * np.log1p(distance / _FREEDOM)
    return -0.5 * np.linalg.slogdet(scale)[1] - tail, distance


def _normalized(log_weights: np.ndarray) -> np.ndarray:
    weights = np.exp(log_weights - log_weights.max(axis=0))
    return weights / weights.sum(axis=0)
