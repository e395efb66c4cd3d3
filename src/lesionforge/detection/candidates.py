"""The score of a candidate: how sure a detector is of it, from its probability map alone.

The maximum of a saturated probability is a poor score: where curves are read, most candidates have
0.9 or more. The default *formula* is fitted to nothing: logit of the maximum probability plus
2 ln(volume in mm3). Maps of any program are scored alike, also masks of 0 and 1, whose candidates
are then ranked by volume.

A *fitted* score is a ridge logistic regression of hits on three features (logit of the maximum and
of the mean probability, ln of the volume). It is used only if the validation candidates of every
regime hold at least 50 hits and 50 false positives, so that all regimes follow one recipe; each
training is fitted on its own validation candidates, never on training or test subjects.

Both are weighted sums of the features; higher is surer. Scores of a fitted training are log-odds.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd

from lesionforge.errors import DataError, LineageError
from lesionforge.metrics.config import CandidateRules
from lesionforge.metrics.lesion_matching import found_scores

FEATURES = ("logit_max", "log_volume", "logit_mean")
FEWEST = 50
"""Hits, and false positives, that validation must hold for a fitted score."""
CLIP = 1e-6
"""Probabilities are kept this far from 0 and 1."""
SMALLEST_MM3 = 1e-3
RIDGE = 1.0
"""Penalty: half the sum of squared weights of standardized features, beside the log-likelihood."""
Unit = Literal["patient", "lesion"]
HIT_COLUMN: dict[Unit, str] = {"patient": "hit", "lesion": "lesion_hit"}


@dataclass(frozen=True)
class CandidateScore:
    """A weighted sum of `FEATURES`.

    Attributes:
        kind: `formula` or `fitted`.
        intercept: constant.
        weights: of the features, in their order.
        hits: validation candidates that were hits; 0 for the formula.
        false_positives: validation candidates that were none; 0 for the formula.
    """

    kind: Literal["formula", "fitted"] = "formula"
    intercept: float = 0.0
    weights: tuple[float, ...] = (1.0, 2.0, 0.0)
    hits: int = 0
    false_positives: int = 0

    def of(self, candidates: pd.DataFrame) -> np.ndarray:
        """Score candidates (N,); see `features` for the columns needed."""
        return self.intercept + features(candidates) @ np.array(self.weights)

    def floor(self, rules: CandidateRules) -> float:
        """Return the score of the weakest candidate that the rules allow.

        Below it there are no candidates, so a score threshold need not be lower.
        """
        weakest = pd.DataFrame(
            {
                "max_probability": [rules.candidate_threshold],
                "mean_probability": [rules.candidate_threshold],
                "volume_mm3": [max(rules.min_volume_mm3, SMALLEST_MM3)],
            }
        )
        if min(self.weights) < 0:
            return float("-inf")
        return float(self.of(weakest)[0])

    def to_json(self) -> dict[str, Any]:
        """Return it as a run's record holds it."""
        return {
            "kind": self.kind,
            "intercept": self.intercept,
            "weights": dict(zip(FEATURES, self.weights, strict=True)),
            "hits": self.hits,
            "false_positives": self.false_positives,
        }


FORMULA = CandidateScore()


def features(candidates: pd.DataFrame) -> np.ndarray:
    """Compute the features of candidates.

    Args:
        candidates: `max_probability` and `mean_probability` in [0, 1], `volume_mm3` above 0.

    Returns:
        (N, 3) in the order of `FEATURES`.

    Raises:
        DataError: a column is missing, or a value lies outside its range.
    """
    missing = [
        name
        for name in ("max_probability", "mean_probability", "volume_mm3")
        if name not in candidates
    ]
    if missing:
        raise DataError(
            f"The table of candidates has no column `{'`, `'.join(missing)}`, which scores need. "
            "Predict again: maps are kept, the tables are made anew."
        )
    volume = candidates["volume_mm3"].to_numpy(dtype=float)
    logits = []
    for name in ("max_probability", "mean_probability"):
        value = candidates[name].to_numpy(dtype=float)
        if not ((value >= 0) & (value <= 1 + CLIP)).all():
            raise DataError(f"The column `{name}` of candidates must lie in [0, 1].")
        kept = np.clip(value, CLIP, 1 - CLIP)
        logits.append(np.log(kept) - np.log1p(-kept))
    if not (volume > 0).all():
        raise DataError("The column `volume_mm3` of candidates must be above 0.")
    return np.stack([logits[0], np.log(volume), logits[1]], axis=1)


def enough(validation: pd.DataFrame, unit: Unit) -> bool:
    """Tell whether validation candidates hold enough hits and false positives for a fit."""
    hit = _hits(validation, unit)
    return bool((hit == 1).sum() >= FEWEST and (hit == 0).sum() >= FEWEST)


def _hits(candidates: pd.DataFrame, unit: Unit) -> np.ndarray:
    column = HIT_COLUMN[unit]
    if column not in candidates:
        raise DataError(f"The table of candidates has no column `{column}`.")
    return candidates[column].to_numpy(dtype=float)


def choose_scores(validation: Mapping[str, pd.DataFrame], unit: Unit) -> dict[str, CandidateScore]:
    """Choose how the candidates of every training are scored: one recipe for all.

    Args:
        validation: the validation candidates of each training of every regime, by its name.
        unit: in which hits are counted.

    Returns:
        For each training its fitted score if all of them hold enough candidates, else the formula.

    Raises:
        LineageError: a candidate is not of a validation subject.
    """
    for name, candidates in validation.items():
        if "role" in candidates and (candidates["role"] != "validation").any():
            others = sorted(set(candidates["role"]) - {"validation"})
            raise LineageError(
                f"A score of {name} would be fitted on candidates of {', '.join(others)} subjects. "
                "Give those of validation subjects alone."
            )
    if not all(enough(candidates, unit) for candidates in validation.values()):
        return dict.fromkeys(validation, FORMULA)
    return {name: fit_score(candidates, unit) for name, candidates in validation.items()}


def fit_score(validation: pd.DataFrame, unit: Unit) -> CandidateScore:
    """Fit a ridge logistic regression of hits on the features.

    Features are standardized for the fit, so that the penalty is alike for all; candidates that
    count as neither are left out.

    Args:
        validation: candidates of validation subjects.
        unit: in which hits are counted.

    Raises:
        DataError: there are hits alone, or false positives alone.
    """
    hit = _hits(validation, unit)
    known = np.isfinite(hit)
    x, y = features(validation[known]), hit[known]
    if not 0 < y.sum() < len(y):
        raise DataError("A score needs hits and false positives among the validation candidates.")
    mean, sd = x.mean(axis=0), x.std(axis=0)
    sd = np.where(sd > 0, sd, 1.0)
    intercept, weights = fit_logistic((x - mean) / sd, y, RIDGE)
    weights = weights / sd
    return CandidateScore(
        "fitted",
        float(intercept - weights @ mean),
        tuple(float(w) for w in weights),
        int(y.sum()),
        int((1 - y).sum()),
    )


def hit_probability(
    score: CandidateScore, validation: pd.DataFrame, candidates: pd.DataFrame, unit: Unit
) -> np.ndarray:
    """Return the probability that candidates are hits, for figures of calibration.

    A fitted score is the log-odds itself. The formula is not; a logistic regression on validation
    candidates turns it into log-odds (Platt's scaling), which changes no rank.

    Args:
        score: of the training.
        validation: its validation candidates.
        candidates: those to be told of.
        unit: in which hits are counted.

    Returns:
        (N,) in (0, 1).

    Raises:
        DataError: the formula is used and validation holds hits alone, or false positives alone.
    """
    told = score.of(candidates)
    if score.kind == "fitted":
        return probability(told)
    hit = _hits(validation, unit)
    known = np.isfinite(hit)
    x, y = score.of(validation[known]), hit[known]
    if not 0 < y.sum() < len(y):
        raise DataError(
            "Probabilities need hits and false positives among the validation candidates."
        )
    mean, sd = float(x.mean()), float(x.std()) or 1.0
    intercept, (slope,) = fit_logistic(((x - mean) / sd)[:, None], y, RIDGE)
    return probability(intercept + slope * (told - mean) / sd)


def fit_logistic(x: np.ndarray, y: np.ndarray, ridge: float) -> tuple[float, np.ndarray]:
    """Fit a logistic regression by Newton's method.

    Args:
        x: (N, F) features.
        y: (N,) 0 or 1.
        ridge: penalty of the weights, above 0; the intercept is free.

    Returns:
        The intercept and (F,) weights.
    """
    design = np.column_stack([np.ones(len(x)), x])
    penalty = np.diag([0.0, *[ridge] * x.shape[1]])
    beta = np.zeros(design.shape[1])
    beta[0] = np.log((y.sum() + 0.5) / (len(y) - y.sum() + 0.5))
    for _ in range(100):
        p = probability(design @ beta)
        slope = design.T @ (y - p) - penalty @ beta
        curvature = (design * (p * (1 - p))[:, None]).T @ design + penalty
        step = np.linalg.solve(curvature + 1e-12 * np.eye(len(beta)), slope)
        step *= min(1.0, 5.0 / max(float(np.abs(step).max()), 1e-300))
        beta = beta + step
        if np.abs(step).max() < 1e-10:
            break
    return float(beta[0]), beta[1:]


def probability(log_odds: np.ndarray) -> np.ndarray:
    """Return 1 / (1 + exp(-log_odds)), without overflow."""
    return 0.5 * (1 + np.tanh(0.5 * np.asarray(log_odds, dtype=float)))


def rescore(
    candidates: pd.DataFrame, lesions: pd.DataFrame, score: CandidateScore
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Replace the scores of candidates, and with them the found scores of lesions.

    Args:
        candidates: rows of `candidates.tsv`.
        lesions: rows of `lesions.tsv` of the same subjects.
        score: to be used.

    Returns:
        Both tables with new scores, rows in the same order.
    """
    scored = candidates.assign(score=score.of(candidates))
    by_subject = {
        name: dict(zip(mine["candidate"], mine["score"], strict=True))
        for name, mine in scored.groupby("participant_id")
    }
    found, strict = [], []
    pairs = lesions["paired_with"].to_numpy(dtype=float)
    for name, covered_by, pair in zip(
        lesions["participant_id"], lesions["covered_by"], pairs, strict=True
    ):
        mine = by_subject.get(name, {})
        found.append(_found(covered_by, mine))
        strict.append(mine[int(pair)] if np.isfinite(pair) else np.nan)
    return scored, lesions.assign(
        score=np.array(found, dtype=float), score_strict=np.array(strict, dtype=float)
    )


def _found(covered_by: object, scores: Mapping[int, float]) -> float:
    """Return a lesion's found score from what covers it, `2:0.25,5:0.05`; NaN where not found."""
    if not isinstance(covered_by, str):
        return float("nan")
    parts = [part.split(":") for part in covered_by.split(",")]
    shares = np.array([[float(share) for _, share in parts]])
    best = found_scores(shares, np.array([scores[int(number)] for number, _ in parts]))[0]
    return float(best) if np.isfinite(best) else float("nan")
