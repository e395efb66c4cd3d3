"""FROC curves: sensitivity of patients against false positives a patient, in every replicate.

Written here because MONAI's version drops the lowest operating point. The curve is a staircase: at
a rate x it is the sensitivity of the lowest score threshold with at most x false positives a
patient, so it never falls, starts at the patients found without any false positive, and is not
interpolated between operating points.
"""

import numpy as np

from lesionforge.metrics.outcomes import Outcome

CHUNK = 256


def sensitivity_at(outcome: Outcome, weights: np.ndarray, rates: np.ndarray) -> np.ndarray:
    """Read the FROC curve of one seed at `rates` in every replicate.

    Args:
        outcome: a regime and seed.
        weights: (R, P) how often each patient is drawn in each replicate.
        rates: (X,) allowed false positives a patient, ascending.

    Returns:
        (R, X) sensitivity in [0, 1].
    """
    return _share_above(outcome.best_hit, weights, _refused(outcome, weights, rates))


def specificity_at(
    outcome: Outcome, patients: np.ndarray, controls: np.ndarray, rates: np.ndarray
) -> np.ndarray:
    """Read one seed's specificity at the thresholds of `sensitivity_at` in every replicate.

    Args:
        outcome: a regime and seed.
        patients: (R, P) how often each patient is drawn in each replicate.
        controls: (R, C) the same of controls; C is at least 1.
        rates: (X,) allowed false positives a patient, ascending.

    Returns:
        (R, X) specificity in [0, 1].
    """
    return 1 - _share_above(outcome.best_false, controls, _refused(outcome, patients, rates))


def _refused(outcome: Outcome, weights: np.ndarray, rates: np.ndarray) -> np.ndarray:
    """Return (R, X) scores: the best false positive in patients that `rates` do not allow.

    Candidates above it count; it is 0, below every score, where all are allowed.
    """
    order = np.argsort(-outcome.false_in_patients.value, kind="stable")
    scores = np.append(outcome.false_in_patients.value[order], 0.0)
    owners = outcome.false_in_patients.owner[order]
    allowed = np.empty((len(weights), len(rates)), dtype=int)
    for start in range(0, len(weights), CHUNK):
        part = weights[start : start + CHUNK]
        false, n = np.cumsum(part[:, owners], axis=1), part.sum(axis=1)
        for row in range(len(part)):
            allowed[start + row] = np.searchsorted(false[row], rates * n[row] + 1e-9, side="right")
    return scores[allowed]


def _share_above(best: np.ndarray, weights: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Return (R, X), the weighted share of subjects whose `best` (N,) is above `scores` (R, X)."""
    order = np.argsort(-best, kind="stable")
    counts = np.searchsorted(-best[order], -scores, side="left")
    total = np.cumsum(weights[:, order], axis=1)
    total = np.concatenate([np.zeros((len(total), 1)), total], axis=1)
    return np.take_along_axis(total, counts, axis=1) / weights.sum(axis=1)[:, None]


def curve(outcome: Outcome) -> np.ndarray:
    """Return the corners of one seed's FROC curve.

    Returns:
        (N, 4) rows of score threshold, false positives a patient, sensitivity and false positives
        a control (NaN without controls), from the highest threshold down; the first row, with no
        candidate at all, has an infinite threshold.
    """
    scores = np.concatenate(
        [
            outcome.best_hit[outcome.best_hit > 0],
            outcome.false_in_patients.value,
            outcome.false_in_controls.value,
        ]
    )
    thresholds = np.concatenate([[np.inf], np.unique(scores)[::-1]])
    patients, controls = len(outcome.patients), len(outcome.controls)
    false_controls = (
        _at_least(outcome.false_in_controls.value, thresholds) / controls
        if controls
        else np.full(len(thresholds), np.nan)
    )
    return np.stack(
        [
            thresholds,
            _at_least(outcome.false_in_patients.value, thresholds) / patients,
            _at_least(outcome.best_hit, thresholds) / patients,
            false_controls,
        ],
        axis=1,
    )


def _at_least(scores: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
    return len(scores) - np.searchsorted(np.sort(scores), thresholds, side="left")


def mean_curve(outcomes: list[Outcome]) -> np.ndarray:
    """Average the FROC curves of several seeds, each a staircase.

    Returns:
        (N, 3) rows of false positives a patient, mean sensitivity, and mean false positives a
        control at the thresholds that read it; the rates are those at which a seed's curve rises,
        and the last, where no candidate is left.
    """
    curves = [curve(outcome) for outcome in outcomes]
    corners = [np.array([0.0])]
    for one in curves:
        rises = np.flatnonzero(np.diff(one[:, 2]) > 0) + 1
        corners += [one[rises, 1], one[-1:, 1]]
    rates = np.unique(np.concatenate(corners))
    rows = [np.searchsorted(one[:, 1], rates + 1e-12, side="right") - 1 for one in curves]
    sensitivity = np.mean([c[r, 2] for c, r in zip(curves, rows, strict=True)], axis=0)
    controls = np.mean([c[r, 3] for c, r in zip(curves, rows, strict=True)], axis=0)
    return np.stack([rates, sensitivity, controls], axis=1)


def control_rate(outcomes: list[Outcome], rate: float) -> float:
    """Return the false positives a control, mean over seeds, at the matched operating point.

    Its threshold is each seed's lowest with at most `rate` false positives a patient; NaN without
    controls.
    """
    curves = [curve(outcome) for outcome in outcomes]
    return float(np.mean([one[one[:, 1] <= rate + 1e-9][-1, 3] for one in curves]))
