"""Matching in the unit of lesions: what each candidate and each true lesion count as.

The unit for many lesions a patient; that for one or few is in `lesionforge.metrics.matching`.

- A *lesion* is a 26-connected component of the truth, or one instance of an instance map. Voxels
  to ignore are taken out of it afterwards, so that they never split a lesion in two. It *counts*
  if at least `min_volume_mm3` is left; a smaller one is neither found nor missed.
- A candidate is *true* if at least 10 % of it is lesion of any size and some of that belongs to a
  lesion that counts. If all of it belongs to lesions that do not count, the candidate is left out:
  neither true nor a false positive. Every other candidate is a false positive.
- A lesion is *found* if true candidates cover at least 10 % of it. False positives do not help to
  cover it: one candidate over the whole brain would find every lesion for one false positive. Its
  *found score* is the highest threshold at which the true candidates with at least that score cover
  10 % of it, so a curve over thresholds is exact.
- *Strict*: one candidate a lesion and one lesion a candidate, with an intersection over union of
  at least 10 %, as many pairs as there can be and then the largest sum (Hungarian method), as in
  picai_eval. It is done once with all candidates; a pair holds at every threshold up to the
  candidate's score. A candidate without a partner is a false positive, unless it is left out as
  above or its intersection over union with a lesion that does not count is 10 % or more.
"""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage, optimize

from lesionforge.errors import DataError, GeometryError

LESION_SHARE = 0.1
"""Share of a lesion that must be covered, of a candidate that must be lesion, and of the union."""
NOT_FOUND = -np.inf
"""Found score of a lesion that is found at no threshold."""
_ROUNDING = 1e-9
_STRUCTURE = np.ones((3, 3, 3), dtype=bool)


@dataclass(frozen=True, eq=False)
class Truth:
    """What is known of one subject.

    Attributes:
        lesion: (X, Y, Z) bool mask, or instance map of integers, 0 where there is no lesion.
        ignore: (X, Y, Z) bool, voxels that count nowhere; None where all count. A voxel that is
            lesion and to be ignored is ignored.
    """

    lesion: np.ndarray
    ignore: np.ndarray | None = None

    def __post_init__(self) -> None:
        """Check kinds and shapes."""
        if self.lesion.dtype.kind not in "biu":
            raise DataError(
                f"A lesion mask must be bool and an instance map integer, got {self.lesion.dtype}. "
                "Convert it, for example with `mask > 0.5`."
            )
        if self.lesion.size and self.lesion.min() < 0:
            raise DataError(
                f"An instance map must not be negative, got {self.lesion.min()}. Number the "
                "lesions from 1; 0 is no lesion."
            )
        if self.ignore is not None and self.ignore.shape != self.lesion.shape:
            raise GeometryError(
                f"The ignore mask {self.ignore.shape} does not fit the lesion mask "
                f"{self.lesion.shape}. Bring them onto one grid."
            )

    @property
    def mask(self) -> np.ndarray:
        """(X, Y, Z) bool, all lesion voxels that count."""
        lesion = self.lesion > 0
        return lesion if self.ignore is None else lesion & ~self.ignore.astype(bool)

    def instances(self) -> tuple[np.ndarray, np.ndarray]:
        """Number the lesions.

        Returns:
            (X, Y, Z) int, 1 to N at the voxels of each lesion that are not ignored, and (N,) the
            lesions' names: the numbers of the instance map, or 1 to N of a mask's components.
        """
        if self.lesion.dtype.kind == "b":
            labels, n = ndimage.label(self.lesion, structure=_STRUCTURE)
            names = np.arange(1, n + 1)
        else:
            names = np.unique(self.lesion[self.lesion > 0]).astype(int)
            labels = np.zeros(self.lesion.shape, dtype=np.int32)
            inside = self.lesion > 0
            labels[inside] = np.searchsorted(names, self.lesion[inside]) + 1
        return np.where(self.mask, labels, 0), names


@dataclass(frozen=True, eq=False)
class LesionMatches:
    """The lesion unit of one subject with C candidates and N lesions.

    Attributes:
        names: (N,) of the lesions.
        voxels: (N,) size of each lesion without ignored voxels.
        counts: (N,) bool, large enough to be found or missed.
        centres: (N, 3) centroid in voxel indices; NaN where nothing is left.
        hit: (C,) 1 true, 0 false positive, NaN left out.
        hit_strict: (C,) the same of the one-to-one matching.
        covered: (N, C) share of each lesion that each candidate covers.
        found: (N,) found score, `NOT_FOUND` where none.
        found_strict: (N,) score of the partner, `NOT_FOUND` where there is none.
        partner: (C,) index of the candidate's lesion in the one-to-one matching, -1 without.
    """

    names: np.ndarray
    voxels: np.ndarray
    counts: np.ndarray
    centres: np.ndarray
    hit: np.ndarray
    hit_strict: np.ndarray
    covered: np.ndarray
    found: np.ndarray
    found_strict: np.ndarray
    partner: np.ndarray


def match_lesions(
    candidates: list[np.ndarray], scores: np.ndarray, truth: Truth, min_voxels: float
) -> LesionMatches:
    """Match candidates and lesions; see the module's definitions.

    Args:
        candidates: (V, 3) voxel indices of each candidate, ignored voxels already taken out.
        scores: (C,) of the candidates.
        truth: of the subject.
        min_voxels: lesions of fewer voxels do not count.
    """
    labels, names = truth.instances()
    n = len(names)
    voxels = np.bincount(labels.ravel(), minlength=n + 1)[1:]
    counts = (voxels > 0) & (voxels >= min_voxels * (1 - 1e-6))
    sizes = np.array([len(c) for c in candidates], dtype=float)
    shared = np.zeros((n, len(candidates)))
    for i, where in enumerate(candidates):
        shared[:, i] = np.bincount(labels[tuple(where.T)], minlength=n + 1)[1:]
    hit = _true_candidates(shared, sizes, counts)
    covered = shared / np.maximum(voxels, 1)[:, None]
    union = voxels[:, None] + sizes[None, :] - shared
    iou = np.where(shared > 0, shared / np.maximum(union, 1), 0.0)
    partner = _pairs(iou, counts)
    small = (iou[~counts] >= LESION_SHARE - _ROUNDING).any(axis=0)
    left_out = (partner < 0) & (np.isnan(hit) | small)
    found_strict = np.full(n, NOT_FOUND)
    paired = partner >= 0
    found_strict[partner[paired]] = np.asarray(scores, dtype=float)[paired]
    return LesionMatches(
        names=names,
        voxels=voxels,
        counts=counts,
        centres=_centres(labels, n),
        hit=hit,
        hit_strict=np.where(left_out, np.nan, paired.astype(float)),
        covered=covered,
        found=found_scores(np.where(hit == 1, covered, 0.0), np.asarray(scores, dtype=float)),
        found_strict=found_strict,
        partner=partner,
    )


def _true_candidates(shared: np.ndarray, sizes: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Return (C,) 1 true, 0 false positive, NaN left out, from shared voxels (N, C)."""
    on_lesion = shared.sum(axis=0) >= np.maximum(1, LESION_SHARE * sizes - _ROUNDING)
    on_counted = shared[counts].sum(axis=0) > 0
    return np.where(on_lesion, np.where(on_counted, 1.0, np.nan), 0.0)


def found_scores(covered: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Return the highest threshold at which each lesion is found.

    Args:
        covered: (N, C) share of each lesion that each true candidate covers, 0 for others.
        scores: (C,) of the candidates.

    Returns:
        (N,) the largest t such that candidates with a score of at least t cover 10 % of the
        lesion; `NOT_FOUND` where all of them together do not.
    """
    if not len(scores):
        return np.full(len(covered), NOT_FOUND)
    order = np.argsort(-scores, kind="stable")
    total = np.cumsum(covered[:, order], axis=1)
    enough = total >= LESION_SHARE - _ROUNDING
    found = np.full(len(covered), NOT_FOUND)
    some = enough.any(axis=1)
    found[some] = scores[order][enough[some].argmax(axis=1)]
    return found


def _pairs(iou: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Return (C,) the lesion that each candidate is paired with, -1 for none."""
    partner = np.full(iou.shape[1], -1)
    value = np.where(iou >= LESION_SHARE - _ROUNDING, 1 + iou, 0.0)
    value[~counts] = 0
    for lesion, candidate in zip(*optimize.linear_sum_assignment(-value), strict=True):
        if value[lesion, candidate] > 0:
            partner[candidate] = lesion
    return partner


def _centres(labels: np.ndarray, n: int) -> np.ndarray:
    where = np.argwhere(labels > 0)
    names = labels[tuple(where.T)] - 1
    total = np.stack([np.bincount(names, where[:, i], minlength=n) for i in range(3)], axis=1)
    with np.errstate(invalid="ignore"):
        return total / np.bincount(names, minlength=n)[:, None]
