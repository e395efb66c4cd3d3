"""FROC curves: sensitivity against false positives a patient, in every replicate.

Written here because MONAI's version drops the lowest operating point. The curve is a staircase: at
a rate x it is the sensitivity of the lowest score threshold with at most x false positives a
patient, so it never falls, starts at what is found without any false positive, and is not
interpolated between operating points.

Sensitivity is the share of patients that are found (unit `patient`), or the mean over patients of
each patient's share of found lesions (unit `lesion`). False positives are those of all patients
over the number of patients; those of controls are reported apart.
"""

import numpy as np
import pandas as pd

from lesionforge.metrics.config import Unit
from lesionforge.metrics.marks import NONE, Marks, read_marks
from lesionforge.metrics.outcomes import Outcome

CHUNK = 256
CURVE_COLUMNS = (
    "threshold",
    "false_positives_per_patient",
    "sensitivity",
    "false_positives_per_control",
)
ROUNDING = 1e-9


def froc(
    candidates: pd.DataFrame,
    subjects: pd.DataFrame,
    unit: Unit = "patient",
    lesions: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """Compute a FROC curve from anybody's tables.

    Args:
        candidates: `participant_id`, `score`, `hit`; see `lesionforge.metrics.marks.read_marks`.
        subjects: `participant_id`, and `group` where there are controls.
        unit: `patient` or `lesion`.
        lesions: found scores a lesion; without it the unit `lesion` needs `lesion` in candidates
            and `n_lesions` in subjects.

    Returns:
        A row a corner, from the highest threshold down: `CURVE_COLUMNS`. The first, with no
        candidate at all, has an infinite threshold.

    Raises:
        DataError: a column is missing or wrong; the message names it.

    Example:
        >>> candidates = pd.DataFrame(
        ...     {"participant_id": ["a", "a", "b"], "score": [0.9, 0.4, 0.6], "hit": [1, 0, 0]}
        ... )
        >>> froc(candidates, pd.DataFrame({"participant_id": ["a", "b"]}))["sensitivity"].tolist()
        [0.0, 0.5, 0.5, 0.5]
    """
    return pd.DataFrame(
        curve(read_marks(candidates, subjects, unit, lesions)), columns=list(CURVE_COLUMNS)
    )


def _marks(outcome: Outcome | Marks) -> Marks:
    return outcome.marks if isinstance(outcome, Outcome) else outcome


def sensitivity_at(outcome: Outcome | Marks, weights: np.ndarray, rates: np.ndarray) -> np.ndarray:
    """Read the FROC curve of one training at `rates` in every replicate.

    Args:
        outcome: of a regime and training.
        weights: (R, P) how often each patient is drawn in each replicate.
        rates: (X,) allowed false positives a patient, ascending.

    Returns:
        (R, X) sensitivity in [0, 1].
    """
    marks = _marks(outcome)
    return share_above(
        marks.targets.value, marks.target_weights(weights), refused(marks, weights, rates)
    )


def specificity_at(
    outcome: Outcome | Marks, patients: np.ndarray, controls: np.ndarray, rates: np.ndarray
) -> np.ndarray:
    """Read one training's specificity at the thresholds of `sensitivity_at` in every replicate.

    Args:
        outcome: of a regime and training.
        patients: (R, P) how often each patient is drawn in each replicate.
        controls: (R, C) the same of controls; C is at least 1.
        rates: (X,) allowed false positives a patient, ascending.

    Returns:
        (R, X) specificity in [0, 1].
    """
    marks = _marks(outcome)
    return 1 - share_above(marks.best_false, controls, refused(marks, patients, rates))


def mean_sensitivity(outcome: Outcome | Marks, weights: np.ndarray, most: float) -> np.ndarray:
    """Return the mean of the FROC curve over rates from 0 to `most`, exactly, in every replicate.

    A target counts from the rate on at which its threshold is allowed, so the area under the
    staircase is the mean of (1 - that rate / `most`), or 0 where it is above `most`.

    Args:
        outcome: of a regime and training.
        weights: (R, P) how often each patient is drawn in each replicate.
        most: largest rate, above 0.

    Returns:
        (R,) mean sensitivity in [0, 1].
    """
    marks = _marks(outcome)
    order = np.argsort(-marks.false_in_patients.value, kind="stable")
    scores = marks.false_in_patients.value[order]
    owners = marks.false_in_patients.owner[order]
    before = np.searchsorted(-scores, -marks.targets.value, side="right")
    false = np.concatenate(
        [np.zeros((len(weights), 1)), np.cumsum(weights[:, owners], axis=1)], axis=1
    )
    rate = false[:, before] / weights.sum(axis=1)[:, None]
    counted = np.where(marks.targets.value > NONE, np.maximum(0, 1 - rate / most), 0.0)
    targets = marks.target_weights(weights)
    return (counted * targets).sum(axis=1) / targets.sum(axis=1)


def refused(marks: Marks, weights: np.ndarray, rates: np.ndarray) -> np.ndarray:
    """Return (R, X) scores: the best false positive in patients that `rates` do not allow.

    Candidates above it count; it is below every score where all are allowed.
    """
    order = np.argsort(-marks.false_in_patients.value, kind="stable")
    scores = np.append(marks.false_in_patients.value[order], NONE)
    owners = marks.false_in_patients.owner[order]
    allowed = np.empty((len(weights), len(rates)), dtype=int)
    for start in range(0, len(weights), CHUNK):
        part = weights[start : start + CHUNK]
        false, n = np.cumsum(part[:, owners], axis=1), part.sum(axis=1)
        for row in range(len(part)):
            allowed[start + row] = np.searchsorted(
                false[row], rates * n[row] + ROUNDING, side="right"
            )
    return scores[allowed]


def share_above(best: np.ndarray, weights: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Return (R, X), the weighted share of those whose `best` (N,) is above `scores` (R, X)."""
    order = np.argsort(-best, kind="stable")
    counts = np.searchsorted(-best[order], -scores, side="left")
    total = np.cumsum(weights[:, order], axis=1)
    total = np.concatenate([np.zeros((len(total), 1)), total], axis=1)
    return np.take_along_axis(total, counts, axis=1) / weights.sum(axis=1)[:, None]


def curve(outcome: Outcome | Marks) -> np.ndarray:
    """Return the corners of one training's FROC curve.

    Returns:
        (N, 4) rows of score threshold, false positives a patient, sensitivity and false positives
        a control (NaN without controls), from the highest threshold down; the first row, with no
        candidate at all, has an infinite threshold.
    """
    marks = _marks(outcome)
    found = marks.targets.value > NONE
    scores = np.concatenate(
        [
            marks.targets.value[found],
            marks.false_in_patients.value,
            marks.false_in_controls.value,
        ]
    )
    thresholds = np.concatenate([[np.inf], np.unique(scores)[::-1]])
    patients, controls = len(marks.patients), len(marks.controls)
    false_controls = (
        _at_least(marks.false_in_controls.value, thresholds) / controls
        if controls
        else np.full(len(thresholds), np.nan)
    )
    return np.stack(
        [
            thresholds,
            _at_least(marks.false_in_patients.value, thresholds) / patients,
            _sensitivity(marks, thresholds),
            false_controls,
        ],
        axis=1,
    )


def _sensitivity(marks: Marks, thresholds: np.ndarray) -> np.ndarray:
    """Return (N,) sensitivities; whole numbers of patients where each has one target."""
    count = np.bincount(marks.targets.owner, minlength=len(marks.patients))
    if (count == 1).all():
        return _at_least(marks.targets.value, thresholds) / len(marks.patients)
    order = np.argsort(marks.targets.value, kind="stable")[::-1]
    total = np.concatenate([[0.0], np.cumsum(marks.share[order])]) / (count > 0).sum()
    return total[_at_least(marks.targets.value, thresholds)]


def _at_least(scores: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
    return len(scores) - np.searchsorted(np.sort(scores), thresholds, side="left")


def mean_curve(outcomes: list[Outcome] | list[Marks]) -> np.ndarray:
    """Average the FROC curves of several trainings, each a staircase.

    Returns:
        (N, 3) rows of false positives a patient, mean sensitivity, and mean false positives a
        control at the thresholds that read it; the rates are those at which a training's curve
        rises, and the last, where no candidate is left.
    """
    curves = [curve(outcome) for outcome in outcomes]
    corners = [np.zeros(1)]
    for one in curves:
        rises = np.flatnonzero(np.diff(one[:, 2]) > 0) + 1
        corners += [one[rises, 1], one[-1:, 1]]
    rates = np.unique(np.concatenate(corners))
    rows = [np.searchsorted(one[:, 1], rates + 1e-12, side="right") - 1 for one in curves]
    sensitivity = np.mean([c[r, 2] for c, r in zip(curves, rows, strict=True)], axis=0)
    controls = np.mean([c[r, 3] for c, r in zip(curves, rows, strict=True)], axis=0)
    return np.stack([rates, sensitivity, controls], axis=1)


def control_rate(outcomes: list[Outcome] | list[Marks], rate: float) -> float:
    """Return the false positives a control, mean over trainings, at the matched operating point.

    Its threshold is each training's lowest with at most `rate` false positives a patient; NaN
    without controls.
    """
    curves = [curve(outcome) for outcome in outcomes]
    return float(np.mean([one[one[:, 1] <= rate + ROUNDING][-1, 3] for one in curves]))
