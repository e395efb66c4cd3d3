"""Places and shapes inside a head: soft blobs and tubes on lists of voxels."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lesionforge.phantoms.cortex import smooth_noise
from lesionforge.phantoms.head import CORNER_MM, SHAPE, Head


@dataclass(frozen=True)
class Patch:
    """The voxels of a head in a box.

    Attributes:
        number: (M,) their places in the head's (N,) arrays.
        offset: (3, M) from the box's centre, mm.
        shape: of the box.
        mask: of the box, bool, which of its voxels are in the head.
    """

    number: np.ndarray
    offset: np.ndarray
    shape: tuple[int, ...]
    mask: np.ndarray

    def noise(self, rng: np.random.Generator, scale_mm: float) -> np.ndarray:
        """Draw a smooth field (M,), mean 0 and variance 1."""
        return smooth_noise(rng, self.shape, scale_mm)[self.mask]


def patch(head: Head, centre_mm: Sequence[float] | np.ndarray, reach_mm: float) -> Patch:
    """Return the voxels within `reach_mm` of a point of the head frame, along each axis."""
    at = np.asarray(centre_mm, dtype=float) - CORNER_MM
    low = np.clip(np.floor(at - reach_mm), 0, np.array(SHAPE) - 1).astype(int)
    high = np.clip(np.ceil(at + reach_mm) + 1, 1, SHAPE).astype(int)
    box = tuple(slice(a, max(b, a + 1)) for a, b in zip(low, high, strict=True))
    number = head.number[box]
    mask = number >= 0
    offset = np.argwhere(mask).T + (low - at)[:, None]
    return Patch(number[mask], offset.astype(np.float32), number.shape, mask)


def voxel_mm(head: Head, number: int | np.ndarray) -> np.ndarray:
    """Return the head frame coordinates (3,) of a voxel, or (M, 3) of several."""
    index = np.stack(np.unravel_index(head.flat[number], SHAPE), axis=-1)
    return np.asarray(index + np.array(CORNER_MM))


def pick(weight: np.ndarray, share: float) -> int | None:
    """Return the voxel at the `share` of the cumulated `weight` (N,); None if that is all 0."""
    allowed = np.flatnonzero(weight)
    if not len(allowed):
        return None
    total = np.cumsum(weight[allowed], dtype=np.float64)
    place = int(np.searchsorted(total, share * total[-1], side="right"))
    return int(allowed[min(place, len(allowed) - 1)])


def blob(
    offset: np.ndarray, axis: np.ndarray, radius_mm: float, aspect: float, soft_mm: float
) -> np.ndarray:
    """Return a soft ellipsoid (M,), 0.5 at its surface.

    Args:
        offset: (3, M) mm.
        axis: (3,) unit vector of the long axis.
        radius_mm: of the ball of equal volume.
        aspect: long axis over the short ones.
        soft_mm: over which it fades.
    """
    short = radius_mm * aspect ** (-1 / 3)
    along = axis @ offset
    across = np.maximum((offset**2).sum(axis=0) - along**2, 0)
    radius = np.sqrt((along / aspect) ** 2 + across)
    return sigmoid((short - radius) / soft_mm)


def sigmoid(value: np.ndarray) -> np.ndarray:
    """Return the logistic function, float32."""
    return (1 / (1 + np.exp(-np.clip(value, -30, 30)))).astype(np.float32)


def tube_distance(points: np.ndarray, line: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the distance (M,) of `points` (3, M) from a polyline (K, 3), and where along it.

    The place along the line runs from 0 to 1, a segment the same share.
    """
    nearest = np.full(points.shape[1], np.inf, dtype=np.float32)
    place = np.zeros(points.shape[1], dtype=np.float32)
    count = len(line) - 1
    for k in range(count):
        step = line[k + 1] - line[k]
        offset = points - line[k][:, None]
        along = np.clip(step @ offset / (step @ step), 0, 1)
        gap = ((offset - step[:, None] * along) ** 2).sum(axis=0)
        closer = gap < nearest
        nearest[closer] = gap[closer]
        place[closer] = ((k + along) / count)[closer]
    return np.sqrt(nearest), place


def toward_ventricle(head: Head, number: int) -> np.ndarray:
    """Return the unit vector (3,) from a voxel toward the nearest ventricle."""
    box = patch(head, voxel_mm(head, number), 3.5)
    distance = head.ventricle_mm[box.number]
    centred = box.offset - box.offset.mean(axis=1, keepdims=True)
    slope = centred @ (distance - distance.mean())
    length = float(np.linalg.norm(slope))
    return -slope / length if length > 1e-6 else np.array([0.0, 0.0, 1.0])
