"""One probability map against the truth, in both units: the rows of a study's three tables."""

from typing import Any

import numpy as np

from lesionforge.data.volume import Grid
from lesionforge.metrics.config import CandidateRules
from lesionforge.metrics.lesion_matching import LesionMatches, Truth, match_lesions
from lesionforge.metrics.matching import (
    DICE_THRESHOLD,
    Candidate,
    Match,
    find_candidates,
    match_candidates,
)

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
    "paired_with",
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
        each covers, as `2:0.25,5:0.05`; `paired_with` is its candidate in the one-to-one matching.
        What is undefined without a lesion is NaN.
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
        pair = np.flatnonzero(unit.partner == i)
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
                "covered_by": ",".join(f"{c + 1}:{unit.covered[i, c]:.12g}" for c in true)
                or float("nan"),
                "paired_with": int(pair[0]) + 1 if len(pair) else float("nan"),
            }
        )
    return rows
