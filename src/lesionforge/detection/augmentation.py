"""Augmentation of nnU-Net's strength: a small frozen value is drawn, a pure function applies it.

The kinds, probabilities and ranges are those of nnU-Net's 3D trainer (Isensee et al. 2021, Nature
Methods 18:203, supplementary note 4): rotation, scaling, noise, blur, brightness, contrast, low
resolution, gamma, gamma of the inverted image, mirroring. Every regime of a study gets the same.
"""

from dataclasses import dataclass

import numpy as np
import torch
from scipy import ndimage
from torch.nn import functional

from lesionforge.detection.config import AugmentConfig, Range


@dataclass(frozen=True)
class ChannelSpec:
    """Intensity changes of one channel, in the order they are applied; None leaves it alone."""

    blur: float | None = None
    brightness: float | None = None
    contrast: float | None = None
    zoom: float | None = None
    inverted_gamma: float | None = None
    gamma: float | None = None


@dataclass(frozen=True)
class AugmentSpec:
    """One drawn augmentation.

    Attributes:
        matrix: 3x3 map from offsets in the patch to offsets in the source, voxels; None is
            identity.
        mirror: axes (0, 1, 2) to flip.
        noise_sd: standard deviation of the added noise; 0 is none.
        noise_seed: of the noise's own stream.
        channels: one `ChannelSpec` per image.
    """

    matrix: tuple[tuple[float, ...], ...] | None = None
    mirror: tuple[int, ...] = ()
    noise_sd: float = 0.0
    noise_seed: int = 0
    channels: tuple[ChannelSpec, ...] = ()


def sample_augment(config: AugmentConfig, rng: np.random.Generator, channels: int) -> AugmentSpec:
    """Draw an augmentation; the number of draws does not depend on what is drawn."""
    mirrored = rng.random(3) < 0.5
    noise = config.noise_sd * rng.random() if rng.random() < config.noise_probability else 0.0
    return AugmentSpec(
        matrix=_sample_matrix(config, rng),
        mirror=tuple(a for a in range(3) if "xyz"[a] in config.mirror_axes and mirrored[a]),
        noise_sd=float(noise),
        noise_seed=int(rng.integers(2**62)),
        channels=tuple(_sample_channel(config, rng) for _ in range(channels)),
    )


def _sample_matrix(
    config: AugmentConfig, rng: np.random.Generator
) -> tuple[tuple[float, ...], ...] | None:
    rotate = rng.random() < config.rotation_probability
    scale = rng.random() < config.scale_probability
    angles = np.deg2rad(rng.uniform(-config.rotation_degrees, config.rotation_degrees, 3))
    factor = np.exp(rng.uniform(*np.log(config.scale)))
    if not rotate and not scale:
        return None
    matrix = np.eye(3)
    for axis, angle in enumerate(angles if rotate else ()):
        turn = np.eye(3)
        one, two = [a for a in range(3) if a != axis]
        turn[one, one] = turn[two, two] = np.cos(angle)
        turn[one, two], turn[two, one] = -np.sin(angle), np.sin(angle)
        matrix = matrix @ turn
    if scale:
        matrix = matrix / factor
    return tuple(tuple(float(v) for v in row) for row in matrix)


def _sample_channel(config: AugmentConfig, rng: np.random.Generator) -> ChannelSpec:
    def one(values: Range, probability: float) -> float | None:
        happens, value = rng.random() < probability, rng.uniform(*values)
        return float(value) if happens else None

    return ChannelSpec(
        blur=one(config.blur_sigma, config.blur_probability),
        brightness=one(config.brightness, config.brightness_probability),
        contrast=one(config.contrast, config.contrast_probability),
        zoom=one(config.zoom, config.zoom_probability),
        inverted_gamma=one(config.gamma, config.invert_probability),
        gamma=one(config.gamma, config.gamma_probability),
    )


def cut_patch(volume: np.ndarray, centre: np.ndarray, size: int, spec: AugmentSpec) -> np.ndarray:
    """Cut a patch around `centre`, turned and scaled by the spec, zero outside the volume.

    Args:
        volume: (C, X, Y, Z).
        centre: voxel index (3,) that the patch's central voxel `size // 2` falls on.
        size: edge of the patch.
        spec: `matrix` and `mirror` are used.

    Returns:
        (C, size, size, size) float32; linear interpolation where a matrix is given.
    """
    if spec.matrix is None:
        patch = _crop(volume, np.asarray(centre) - size // 2, (size, size, size))
    else:
        patch = _resample(volume, np.asarray(centre), size, np.array(spec.matrix))
    for axis in spec.mirror:
        patch = np.flip(patch, axis + 1)
    return np.ascontiguousarray(patch)


def _crop(volume: np.ndarray, start: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    out = np.zeros((len(volume), *shape), dtype=np.float32)
    low = np.clip(start, 0, volume.shape[1:])
    high = np.clip(start + shape, low, volume.shape[1:])
    source = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    target = tuple(slice(a, b) for a, b in zip(low - start, high - start, strict=True))
    out[(slice(None), *target)] = volume[(slice(None), *source)]
    return out


def _resample(volume: np.ndarray, centre: np.ndarray, size: int, matrix: np.ndarray) -> np.ndarray:
    """Sample the patch with PyTorch, ten times faster than SciPy's spline."""
    reach = np.ceil(np.abs(matrix).sum(axis=1) * (size / 2 + 1)).astype(int)
    source = _crop(volume, centre - reach, tuple(2 * reach + 1))
    # grid_sample counts from -1 to 1 between the outer voxels' centres, last axis first.
    theta = matrix / reach[:, None] * size / 2
    shift = matrix @ np.full(3, (size - 1) / 2 - size // 2) / reach
    affine = np.concatenate([theta, shift[:, None]], axis=1)[::-1]
    affine = np.concatenate([affine[:, 2::-1], affine[:, 3:]], axis=1)
    points = functional.affine_grid(
        torch.from_numpy(affine.astype(np.float32))[None], [1, 1, size, size, size], False
    )
    return functional.grid_sample(torch.from_numpy(source)[None], points, align_corners=True)[
        0
    ].numpy()


def change_intensities(images: np.ndarray, spec: AugmentSpec) -> np.ndarray:
    """Apply the noise and the channels' changes to `images` (C, X, Y, Z) float32."""
    if spec.noise_sd:
        rng = np.random.default_rng(spec.noise_seed)
        noise = rng.standard_normal(images.shape, dtype=np.float32)
        images = images + np.float32(spec.noise_sd) * noise
    return np.stack(
        [_change_channel(image, one) for image, one in zip(images, spec.channels, strict=True)]
    )


def _change_channel(image: np.ndarray, spec: ChannelSpec) -> np.ndarray:
    if spec.blur is not None:
        image = ndimage.gaussian_filter(image, spec.blur, truncate=3)
    if spec.brightness is not None:
        image = image * np.float32(spec.brightness)
    if spec.contrast is not None:
        low, high, mean = image.min(), image.max(), image.mean()
        image = np.clip((image - mean) * np.float32(spec.contrast) + mean, low, high)
    if spec.zoom is not None:
        image = _lower_resolution(image, spec.zoom)
    if spec.inverted_gamma is not None:
        image = -_apply_gamma(-image, spec.inverted_gamma)
    if spec.gamma is not None:
        image = _apply_gamma(image, spec.gamma)
    return image


def _lower_resolution(image: np.ndarray, zoom: float) -> np.ndarray:
    volume = torch.from_numpy(image)[None, None]
    coarse = [max(2, round(zoom * n)) for n in image.shape]
    low = functional.interpolate(volume, coarse, mode="nearest-exact")
    fine = functional.interpolate(low, list(image.shape), mode="trilinear", align_corners=False)
    return fine[0, 0].numpy()


def _apply_gamma(image: np.ndarray, gamma: float) -> np.ndarray:
    """Raise to a power between the extremes; mean and standard deviation are kept."""
    low, mean, sd = image.min(), image.mean(), image.std()
    extent = max(float(image.max() - low), 1e-6)
    changed = ((image - low) / extent) ** np.float32(gamma)
    scale = sd / max(float(changed.std()), 1e-6)
    return ((changed - changed.mean()) * scale + mean).astype(np.float32)
