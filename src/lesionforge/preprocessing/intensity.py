"""The intensity scale of a prepared cohort: the brain's median is 0.5, one robust SD is 0.1."""

import numpy as np

from lesionforge.errors import DataError

BRAIN_MEDIAN = 0.5
ROBUST_SD = 0.1
_BORDER_SHARE = 0.995
MAD_TO_SD = 1.4826
"""Of a normal distribution: its standard deviation is so many median absolute deviations."""


def robust_sd(values: np.ndarray, axis: int | None = None) -> np.ndarray:
    """Return the robust standard deviation, 1.4826 times the median absolute deviation."""
    middle = np.median(values, axis=axis, keepdims=axis is not None)
    return np.asarray(MAD_TO_SD * np.median(np.abs(values - middle), axis=axis))


def background(data: np.ndarray) -> float | None:
    """Return the value of the faces of a volume (X, Y, Z) if they have but one (to 0.5 %)."""
    faces = np.concatenate([np.take(data, [0, -1], axis).ravel() for axis in range(3)])
    values, counts = np.unique(faces, return_counts=True)
    common = int(counts.argmax())
    return float(values[common]) if counts[common] >= _BORDER_SHARE * faces.size else None


def without_offset(data: np.ndarray) -> np.ndarray:
    """Shift intensities so that none is negative and a constant background is 0.

    Bias correction divides, so z-scored images and those with a shifted zero would lose half of
    their tissue. What has neither is returned as it is.

    Args:
        data: (X, Y, Z), finite.
    """
    outside = background(data)
    if data.min() >= 0 and outside in (None, 0.0):
        return data
    if outside is None:
        return np.maximum(data - np.quantile(data, 0.001), 0).astype(np.float32)
    tissue = data != outside
    if not tissue.any():
        return np.zeros_like(data)
    low, high = np.quantile(data[tissue], [0, 0.99])
    zero = outside if low > outside else low - 0.02 * (high - low)
    return np.where(tissue, data - zero, 0).astype(np.float32)


def scale_image(image: np.ndarray, brain: np.ndarray, name: str) -> np.ndarray:
    """Scale intensities: median of the brain to 0.5, one robust standard deviation to 0.1.

    Median and MAD hold out against lesions and bright vessels up to half of the brain.

    Args:
        image: (X, Y, Z), any unit.
        brain: (X, Y, Z) bool.
        name: of the channel, for the error.

    Returns:
        (X, Y, Z) float32, clipped to [0, 1], 0 outside the brain.

    Raises:
        DataError: the image is constant in the brain.
    """
    values = image[brain].astype(np.float64)
    spread = float(robust_sd(values))
    if not spread > 1e-6 * max(abs(float(np.median(values))), 1e-12):
        raise DataError(f"The {name} volume is constant inside the brain.")
    return _scaled(image, brain, spread)


def rescale_synthetic(images: np.ndarray, brain: np.ndarray) -> np.ndarray:
    """Scale each synthetic image by the same rule; one without contrast stays flat.

    Args:
        images: (C, X, Y, Z).
        brain: (X, Y, Z) bool.

    Returns:
        (C, X, Y, Z) float32 in [0, 1], 0 outside the brain.
    """
    spreads = [max(float(robust_sd(i[brain].astype(np.float64))), 1e-3) for i in images]
    return np.stack([_scaled(i, brain, spread) for i, spread in zip(images, spreads, strict=True)])


def _scaled(image: np.ndarray, brain: np.ndarray, spread: float) -> np.ndarray:
    values = image[brain].astype(np.float64)
    scaled = np.zeros(image.shape, dtype=np.float32)
    scaled[brain] = np.clip(BRAIN_MEDIAN + ROBUST_SD * (values - np.median(values)) / spread, 0, 1)
    return scaled
