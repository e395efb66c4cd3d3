"""From a probability map to candidates, and from candidates to hits: defined once, used everywhere.

A *candidate* is a 26-connected component of the probability map above a threshold and of a minimum
volume; its score is its maximum probability. Two units are always computed.

- *Patients* (one or few lesions), in this module: a candidate is a *hit* when it has at least one
  voxel in the true lesion dilated by the tolerance (Euclidean, in mm) and at least `min_overlap` of
  its volume there. A *lesion* is here a 26-connected component of the dilated truth, so that the
  specks of one resampled mask, closer to each other than twice the tolerance, count once.
- *Lesions* (many), in `lesionforge.metrics.lesion_matching`.

Voxels labelled *ignore* count nowhere: a candidate with more than half of its voxels there is
dropped, other candidates lose those voxels before score, volume, centre and overlap are computed
(and are dropped if less than the minimum volume is left), and so does the truth.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from scipy import ndimage
from scipy.spatial import KDTree

from lesionforge.data.volume import Grid
from lesionforge.errors import DataError, GeometryError
from lesionforge.metrics.config import CandidateRules

DICE_THRESHOLD = 0.5
_STRUCTURE = np.ones((3, 3, 3), dtype=bool)


@dataclass(frozen=True, eq=False)
class Candidate:
    """One component of a probability map.

    Attributes:
        number: rank by score from 1 within the subject.
        score: maximum probability.
        volume_mm3: volume.
        centre_mm: centroid (x, y, z) in RAS mm.
        voxels: (N, 3) indices of its voxels.
        mean_probability: mean over its voxels.
    """

    number: int
    score: float
    volume_mm3: float
    centre_mm: tuple[float, float, float]
    voxels: np.ndarray
    mean_probability: float = float("nan")


def candidates_mask(candidates: Iterable[Candidate], shape: tuple[int, ...]) -> np.ndarray:
    """Return where (X, Y, Z) bool any of the candidates lies in a map of `shape`."""
    mask = np.zeros(shape, dtype=bool)
    for candidate in candidates:
        mask[tuple(candidate.voxels.T)] = True
    return mask


@dataclass(frozen=True)
class Match:
    """How a candidate lies to the truth.

    Attributes:
        hit: within the tolerance, see the module's definition.
        hit_strict: the same rule with a tolerance of 0 mm.
        lesion: number from 1 of the lesion that holds most of the candidate; 0 if `hit` is False.
        distance_mm: from its nearest voxel to the true lesion; NaN where there is no lesion.
    """

    hit: bool
    hit_strict: bool
    lesion: int
    distance_mm: float


def find_candidates(
    probability: np.ndarray,
    grid: Grid,
    rules: CandidateRules,
    ignore: np.ndarray | None = None,
) -> list[Candidate]:
    """Find the candidates of `probability` (X, Y, Z) in [0, 1], best score first.

    Args:
        probability: the map.
        grid: its grid.
        rules: of candidates.
        ignore: (X, Y, Z) bool, voxels that count nowhere; see the module.

    Raises:
        DataError: a value is not finite or lies outside [0, 1].
        GeometryError: the map does not fit the grid.
    """
    _check_probability(probability, grid)
    labels, n = ndimage.label(probability > rules.candidate_threshold, structure=_STRUCTURE)
    smallest = rules.min_volume_mm3 * (1 - 1e-6)
    found = []
    for label, box in enumerate(ndimage.find_objects(labels, n), start=1):
        corner = np.array([part.start for part in box])
        voxels = np.argwhere(labels[box] == label) + corner
        if ignore is not None:
            kept = voxels[~ignore[tuple(voxels.T)].astype(bool)]
            voxels = kept if 2 * len(kept) >= len(voxels) else kept[:0]
        volume = len(voxels) * grid.voxel_mm3
        if volume < smallest or not len(voxels):
            continue
        inside = probability[tuple(voxels.T)]
        x, y, z = grid.world(voxels.mean(axis=0))
        mean = float(inside.mean(dtype=np.float64))
        found.append((float(inside.max()), volume, (float(x), float(y), float(z)), voxels, mean))
    found.sort(key=lambda c: (-c[0], -c[1], c[2]))
    return [Candidate(number, *rest) for number, rest in enumerate(found, start=1)]


def _check_probability(probability: np.ndarray, grid: Grid) -> None:
    if probability.shape != grid.shape:
        raise GeometryError(f"A map of {probability.shape} does not fit the grid {grid.shape}.")
    if not np.isfinite(probability).all():
        raise DataError("A probability map has values that are not finite; training diverged?")
    if probability.min() < 0 or probability.max() > 1 + 1e-6:
        raise DataError(
            f"A probability map must lie in [0, 1], got [{probability.min()}, {probability.max()}]."
        )


def find_lesions(lesion: np.ndarray, grid: Grid, tolerance_mm: float) -> tuple[np.ndarray, int]:
    """Dilate the truth and number its lesions.

    Args:
        lesion: (X, Y, Z) bool.
        grid: its grid; voxels need not be isotropic.
        tolerance_mm: radius of the dilation.

    Returns:
        (X, Y, Z) int number of the lesion at every voxel of the dilated truth (0 elsewhere), and
        how many there are.
    """
    labels = np.zeros(lesion.shape, dtype=np.int32)
    if not lesion.any():
        return labels, 0
    reach = [int(np.ceil(tolerance_mm / size)) + 1 for size in grid.voxel_mm]
    (inner,) = ndimage.find_objects(lesion.astype(np.int8))
    box = tuple(
        slice(max(0, part.start - more), part.stop + more)
        for part, more in zip(inner, reach, strict=True)
    )
    distance = ndimage.distance_transform_edt(~lesion[box], sampling=grid.voxel_mm)
    labels[box], n = ndimage.label(distance <= tolerance_mm + 1e-6, structure=_STRUCTURE)
    return labels, int(n)


class _Distance:
    """Distance in mm from voxels to the nearest voxel of a lesion mask."""

    def __init__(self, lesion: np.ndarray, grid: Grid) -> None:
        self.voxels = np.argwhere(lesion)
        self.size = np.array(grid.voxel_mm)
        self.tree = KDTree(self.voxels * self.size) if len(self.voxels) else None

    def least(self, voxels: np.ndarray) -> float:
        """Return the distance of the nearest of `voxels` (N, 3); NaN without a lesion."""
        if self.tree is None:
            return float("nan")
        nearest = self.tree.query(voxels * self.size)[1]
        steps = (self.voxels[nearest] - voxels) * self.size
        return float(np.sqrt((steps * steps).sum(axis=1).min()))


def match_candidates(
    candidates: list[Candidate], lesion: np.ndarray, grid: Grid, rules: CandidateRules
) -> tuple[list[Match], list[float]]:
    """Match candidates to the true `lesion` (X, Y, Z) bool.

    Returns:
        One match a candidate, and for each lesion the best score of the hits that reach into it
        (0 where none does).
    """
    lesion = np.asarray(lesion, dtype=bool)
    labels, n = find_lesions(lesion, grid, rules.tolerance_mm)
    distance = _Distance(lesion, grid)
    matches, best = [], [0.0] * n
    for candidate in candidates:
        where = tuple(candidate.voxels.T)
        inside, strict = np.bincount(labels[where], minlength=n + 1)[1:], int(lesion[where].sum())
        needed = max(1, rules.min_overlap * len(candidate.voxels) - 1e-9)
        hit = bool(inside.sum() >= needed)
        for reached in np.flatnonzero(inside) if hit else ():
            best[reached] = max(best[reached], candidate.score)
        matches.append(
            Match(
                hit=hit,
                hit_strict=strict >= needed,
                lesion=int(inside.argmax()) + 1 if hit else 0,
                distance_mm=0.0 if strict else distance.least(candidate.voxels),
            )
        )
    return matches, best
