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
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from scipy import ndimage

from lesionforge.data.volume import Grid
from lesionforge.errors import ConfigError, DataError, GeometryError
from lesionforge.metrics.lesion_matching import LesionMatches, Truth, match_lesions

CONNECTIVITY = 26
NEGLIGIBLE = 0.005
"""Probabilities below this are kept as 0, for small files."""
DICE_THRESHOLD = 0.5
CANDIDATE_COLUMNS = (
    "participant_id",
    "candidate",
    "score",
    "volume_mm3",
    "x_mm",
    "y_mm",
    "z_mm",
    "hit",
    "hit_strict",
    "lesion",
    "distance_mm",
    "lesion_hit",
    "lesion_strict",
    "max_probability",
    "mean_probability",
)
LESION_COLUMNS = (
    "participant_id",
    "lesion",
    "volume_mm3",
    "x_mm",
    "y_mm",
    "z_mm",
    "counts",
    "score",
    "score_strict",
    "covered",
    "covered_by",
)
SUBJECT_COLUMNS = (
    "participant_id",
    "group",
    "site",
    "lesion_ml",
    "max_probability_in_lesion",
    "dice",
    "n_lesions",
    "lesion_scores",
)
_STRUCTURE = np.ones((3, 3, 3), dtype=bool)


@dataclass(frozen=True)
class CandidateRules:
    """What counts as a candidate and as a hit; the same in every regime, seed and study.

    Attributes:
        candidate_threshold: probability above which voxels form candidates.
        min_volume_mm3: smaller components are dropped.
        tolerance_mm: how far beside the true lesion a candidate may lie and still hit it.
        min_overlap: share of a candidate's volume that must lie within the tolerance.
    """

    candidate_threshold: float = 0.2
    min_volume_mm3: float = 100.0
    tolerance_mm: float = 5.0
    min_overlap: float = 0.1

    def __post_init__(self) -> None:
        """Check the ranges."""
        if not NEGLIGIBLE <= self.candidate_threshold < 1:
            raise ConfigError(
                f"`candidate_threshold` must be in [{NEGLIGIBLE:g}, 1), since maps hold nothing "
                f"below; got {self.candidate_threshold}."
            )
        if not 0 <= self.min_overlap < 1:
            raise ConfigError(f"`min_overlap` must be in [0, 1), got {self.min_overlap}.")
        for name in ("min_volume_mm3", "tolerance_mm"):
            if not getattr(self, name) >= 0:
                raise ConfigError(f"`{name}` must be 0 or more, got {getattr(self, name)}.")

    def describe(self) -> dict[str, Any]:
        """Return the rules as `metrics.json` states them."""
        hit = (
            f"at least one voxel in the true lesion dilated by {self.tolerance_mm:g} mm and at "
            f"least {100 * self.min_overlap:g} % of the candidate's volume there"
        )
        return {**asdict(self), "connectivity": CONNECTIVITY, "hit": hit}


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


def find_lesions(
    lesion: np.ndarray, grid: Grid, tolerance_mm: float
) -> tuple[np.ndarray, np.ndarray, int]:
    """Dilate the truth and number its lesions.

    Args:
        lesion: (X, Y, Z) bool.
        grid: its grid; voxels need not be isotropic.
        tolerance_mm: radius of the dilation.

    Returns:
        (X, Y, Z) distance to the lesion in mm (infinite where there is none), (X, Y, Z) int number
        of the lesion at every voxel of the dilated truth (0 elsewhere), and how many there are.
    """
    if not lesion.any():
        return np.full(lesion.shape, np.inf), np.zeros(lesion.shape, dtype=int), 0
    distance = ndimage.distance_transform_edt(~lesion, sampling=grid.voxel_mm)
    labels, n = ndimage.label(distance <= tolerance_mm + 1e-6, structure=_STRUCTURE)
    return distance, labels, int(n)


def match_candidates(
    candidates: list[Candidate], lesion: np.ndarray, grid: Grid, rules: CandidateRules
) -> tuple[list[Match], list[float]]:
    """Match candidates to the true `lesion` (X, Y, Z) bool.

    Returns:
        One match a candidate, and for each lesion the best score of the hits that reach into it
        (0 where none does).
    """
    distance, labels, n = find_lesions(np.asarray(lesion, dtype=bool), grid, rules.tolerance_mm)
    matches, best = [], [0.0] * n
    for candidate in candidates:
        where = tuple(candidate.voxels.T)
        inside, away = np.bincount(labels[where], minlength=n + 1)[1:], distance[where]
        needed = max(1, rules.min_overlap * len(candidate.voxels) - 1e-9)
        hit = bool(inside.sum() >= needed)
        for reached in np.flatnonzero(inside) if hit else ():
            best[reached] = max(best[reached], candidate.score)
        matches.append(
            Match(
                hit=hit,
                hit_strict=bool((away == 0).sum() >= needed),
                lesion=int(inside.argmax()) + 1 if hit else 0,
                distance_mm=float(away.min()) if n else float("nan"),
            )
        )
    return matches, best


def evaluate_subject(
    subject_id: str,
    group: str,
    site: str,
    probability: np.ndarray,
    lesion: np.ndarray | Truth,
    grid: Grid,
    rules: CandidateRules,
) -> tuple[list[dict[str, Any]], list[dict[str, Any]], dict[str, Any]]:
    """Evaluate one probability map against the truth, in both units.

    Args:
        subject_id: participant_id, with its prefix.
        group: `patient` or `control`.
        site: scanner or hospital.
        probability: (X, Y, Z) in [0, 1].
        lesion: (X, Y, Z) bool mask or integer instance map, all 0 for a control; a `Truth` holds
            voxels to ignore besides.
        grid: the common grid.
        rules: of candidates and hits.

    Returns:
        The subject's rows of `candidates.tsv` (`CANDIDATE_COLUMNS`), its rows of `lesions.tsv`
        (`LESION_COLUMNS`) and its row of `subjects.tsv` (`SUBJECT_COLUMNS`). Dice is that of
        probability > 0.5. `lesion_scores` holds, for each lesion of the patient unit, the best
        score of a hit (0 where none), joined by commas. `lesion_hit` and `lesion_strict` are NaN
        for a candidate that is left out; `score` and `score_strict` of a lesion are NaN where no
        threshold finds it; `covered_by` lists the true candidates and the share of the lesion that
        each covers, as `2:0.25,5:0.05`. What is undefined without a lesion is NaN.
    """
    truth = lesion if isinstance(lesion, Truth) else Truth(np.asarray(lesion))
    mask = truth.mask
    candidates = find_candidates(probability, grid, rules, truth.ignore)
    matches, best = match_candidates(candidates, mask, grid, rules)
    unit = match_lesions(
        [c.voxels for c in candidates],
        np.array([c.score for c in candidates]),
        truth,
        rules.min_volume_mm3 / grid.voxel_mm3,
    )
    rows = [
        _row(subject_id, candidate, match, unit)
        for candidate, match in zip(candidates, matches, strict=True)
    ]
    size = int(mask.sum())
    subject = {
        "participant_id": subject_id,
        "group": group,
        "site": site,
        "lesion_ml": size * grid.voxel_mm3 / 1000,
        "max_probability_in_lesion": float(probability[mask].max()) if size else float("nan"),
        "dice": _dice(probability, mask, truth.ignore) if size else float("nan"),
        "n_lesions": len(best),
        "lesion_scores": ",".join(f"{score:.6g}" for score in best) or float("nan"),
    }
    return rows, _lesion_rows(subject_id, unit, grid), subject


def _dice(probability: np.ndarray, mask: np.ndarray, ignore: np.ndarray | None) -> float:
    found = probability > DICE_THRESHOLD
    if ignore is not None:
        found = found & ~ignore.astype(bool)
    return 2 * int((found & mask).sum()) / (int(found.sum()) + int(mask.sum()))


def _row(
    subject_id: str, candidate: Candidate, match: Match, unit: LesionMatches
) -> dict[str, Any]:
    """Return a row of `candidates.tsv`."""
    x, y, z = candidate.centre_mm
    place = candidate.number - 1
    return {
        "participant_id": subject_id,
        "candidate": candidate.number,
        "score": candidate.score,
        "volume_mm3": candidate.volume_mm3,
        "x_mm": x,
        "y_mm": y,
        "z_mm": z,
        "hit": int(match.hit),
        "hit_strict": int(match.hit_strict),
        "lesion": match.lesion,
        "distance_mm": match.distance_mm,
        "lesion_hit": float(unit.hit[place]),
        "lesion_strict": float(unit.hit_strict[place]),
        "max_probability": candidate.score,
        "mean_probability": candidate.mean_probability,
    }


def _lesion_rows(subject_id: str, unit: LesionMatches, grid: Grid) -> list[dict[str, Any]]:
    """Return the rows of `lesions.tsv`."""
    rows = []
    for i, name in enumerate(unit.names):
        x, y, z = grid.world(unit.centres[i])
        true = np.flatnonzero((unit.hit == 1) & (unit.covered[i] > 0))
        scores = [
            float(s) if np.isfinite(s) else float("nan")
            for s in (unit.found[i], unit.found_strict[i])
        ]
        rows.append(
            {
                "participant_id": subject_id,
                "lesion": int(name),
                "volume_mm3": float(unit.voxels[i] * grid.voxel_mm3),
                "x_mm": float(x),
                "y_mm": float(y),
                "z_mm": float(z),
                "counts": int(unit.counts[i]),
                "score": scores[0],
                "score_strict": scores[1],
                "covered": float(unit.covered[i, true].sum()),
                "covered_by": ",".join(f"{c + 1}:{unit.covered[i, c]:.9g}" for c in true)
                or float("nan"),
            }
        )
    return rows
