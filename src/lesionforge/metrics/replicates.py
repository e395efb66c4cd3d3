"""What a regime shows in the study itself and in every bootstrap replicate of it."""

from typing import Any

import numpy as np

from lesionforge.metrics.bootstrap import Resamples, over_seeds, weighted_mean
from lesionforge.metrics.froc import sensitivity_at, specificity_at
from lesionforge.metrics.intervals import quantiles
from lesionforge.metrics.outcomes import Outcome

Outcomes = dict[int, Outcome]
"""One regime: seed to outcome, all on the same test subjects."""

UNVARIED = "Every resample of the subjects gives the same, so no interval is known."


def with_interval(replicates: np.ndarray) -> dict[str, Any]:
    """Return the value (row 0) and the 95 % interval (the other rows) of replicates (1 + B,)."""
    return {"value": float(replicates[0]), "ci95": list(quantiles(replicates[1:]))}


def difference(pair: list[np.ndarray]) -> dict[str, Any]:
    """Describe by how much the second's replicates (1 + B,) are above the first's.

    Where every resample gives the same (nobody differs, or everybody alike) no interval is known.
    """
    found = pair[1] - pair[0]
    if np.allclose(found, found[0]):
        return {"value": float(found[0]), "ci95": None, "why": UNVARIED}
    return with_interval(found)


def sensitivity_replicates(outcomes: Outcomes, draws: Resamples) -> np.ndarray:
    """Return (1 + B,) sensitivities at the score thresholds, averaged over seeds."""
    detected = np.stack([o.detected for o in outcomes.values()]).astype(float)
    return weighted_mean(detected, draws.patients, draws.seeds(tuple(outcomes)))


def matched_replicates(outcomes: Outcomes, draws: Resamples, rates: np.ndarray) -> np.ndarray:
    """Return (1 + B, X) sensitivities at `rates` false positives a patient, averaged over seeds.

    The FROC curve is read again in each replicate.
    """
    seeds = draws.seeds(tuple(outcomes))
    read = np.stack([sensitivity_at(o, draws.patients, rates) for o in outcomes.values()])
    return np.stack([over_seeds(read[:, :, i].T, seeds) for i in range(len(rates))], axis=1)


def matched_specificity_replicates(outcomes: Outcomes, draws: Resamples, rate: float) -> np.ndarray:
    """Return (1 + B,) specificities at the thresholds that give `rate` false positives a patient.

    The thresholds are read again in each replicate; the mean is over seeds.
    """
    rates, seeds = np.array([rate]), draws.seeds(tuple(outcomes))
    groups = (draws.patients, draws.controls)
    read = np.stack([specificity_at(o, *groups, rates)[:, 0] for o in outcomes.values()], axis=1)
    return over_seeds(read, seeds)


def dice_replicates(outcomes: Outcomes, draws: Resamples) -> np.ndarray:
    """Return (1 + B,) mean Dice of the patients, averaged over seeds."""
    dice = np.stack([o.dice for o in outcomes.values()])
    return weighted_mean(dice, draws.patients, draws.seeds(tuple(outcomes)))


def clean_controls(outcomes: Outcomes) -> np.ndarray:
    """Return which controls have no false positive at the score thresholds, (S, N) bool."""
    return np.stack([o.false_positives[1] == 0 for o in outcomes.values()])


def specificity_replicates(outcomes: Outcomes, draws: Resamples) -> np.ndarray:
    """Return (1 + B,) specificities at the score thresholds, averaged over seeds."""
    clean = clean_controls(outcomes).astype(float)
    return weighted_mean(clean, draws.controls, draws.seeds(tuple(outcomes)))


def false_positive_replicates(outcomes: Outcomes, draws: Resamples) -> np.ndarray:
    """Return (1 + B,) false positives a subject at the score thresholds, averaged over seeds."""
    counts = np.stack([np.concatenate(o.false_positives) for o in outcomes.values()]).astype(float)
    weights = np.concatenate([draws.patients, draws.controls], axis=1)
    return weighted_mean(counts, weights, draws.seeds(tuple(outcomes)))
