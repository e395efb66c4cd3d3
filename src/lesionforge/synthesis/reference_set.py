"""How near two heads are: the root mean square difference of small copies, mirrored or not."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lesionforge.preprocessing.intensity import ROBUST_SD

SMALL_MM = 2.0  # small copies are at most this coarse, unless the study's voxels are


def shrink(volumes: np.ndarray, voxel_mm: tuple[float, float, float]) -> np.ndarray:
    """Average blocks of voxels up to `SMALL_MM`; (C, X, Y, Z) float32, the rest is cut off."""
    factor = max(1, int(SMALL_MM / min(voxel_mm)))
    if factor == 1:
        return volumes.astype(np.float32)
    c, x, y, z = (n // factor * factor for n in (factor * len(volumes), *volumes.shape[1:]))
    blocks = volumes[:, :x, :y, :z].reshape(
        c // factor, x // factor, factor, y // factor, factor, z // factor, factor
    )
    return blocks.mean(axis=(2, 4, 6), dtype=np.float32)


def head_distances(a: Sequence[np.ndarray], b: Sequence[np.ndarray]) -> np.ndarray:
    """Return differences (N, M) of small copies (2, x, y, z), in robust standard deviations.

    Averaged over the voxels that are brain in either; the nearer of both sides counts.
    """
    found = np.empty((len(a), len(b)))
    mirrored = [np.stack([small, small[:, ::-1]]).astype(np.float32) for small in b]
    for i, one in enumerate(a):
        mine = one.astype(np.float32)
        for j, other in enumerate(mirrored):
            either = (mine[0] > 0) | (other[:, 0] > 0)
            square = ((mine - other) ** 2).sum(axis=1).sum(axis=(1, 2, 3))
            found[i, j] = np.sqrt((square / (2 * either.sum(axis=(1, 2, 3)))).min()) / ROBUST_SD
    return found


@dataclass(frozen=True, eq=False)
class ReferenceSet:
    """Real heads that a made one must not repeat.

    Attributes:
        heads: their small copies.
        least: distance of the nearest two; 0 where there are no two.
    """

    heads: tuple[np.ndarray, ...]
    least: float

    def distance(self, small: np.ndarray) -> float:
        """Return how far a small copy (2, x, y, z) is from the nearest of them."""
        return float(head_distances([small], self.heads).min())


def gather(heads: Sequence[np.ndarray]) -> ReferenceSet:
    """Make a crowd of the small copies of different people."""
    apart = [head_distances([one], heads[i + 1 :]).min() for i, one in enumerate(heads[:-1])]
    return ReferenceSet(tuple(heads), float(min(apart, default=0.0)))
