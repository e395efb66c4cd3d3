"""Calibration: does what is called 70 % sure come true in 70 %?

Of candidates (is it a lesion?) and of patients (does the scan show a lesion?). The expected
calibration error (ECE) of a small sample is above 0 even for a perfectly calibrated score, so it
stands beside what such a score would have at the same probabilities and number.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from lesionforge.errors import DataError
from lesionforge.seeding import stream

BINS = 10
SIMULATIONS = 1000


@dataclass(frozen=True, eq=False)
class Calibration:
    """Figures of N probabilities and what came true.

    Attributes:
        table: a row a bin of equal counts: `n`, `predicted` (mean), `observed` (share).
        n: how many.
        base_rate: share that came true.
        brier: mean squared error of the probabilities.
        brier_skill: 1 - Brier / Brier of the base rate told for all; None if all came out alike.
        ece: mean over bins of |observed - predicted|, weighted by counts.
        perfect_ece: mean ECE of a perfectly calibrated score with the same probabilities.
        perfect_ece_95: 95 % quantile of it; above this, the score is not calibrated.
    """

    table: pd.DataFrame
    n: int
    base_rate: float
    brier: float
    brier_skill: float | None
    ece: float
    perfect_ece: float
    perfect_ece_95: float


def calibrate(probability: np.ndarray, outcome: np.ndarray, bins: int = BINS) -> Calibration:
    """Compute calibration figures.

    Args:
        probability: (N,) in [0, 1].
        outcome: (N,) 0 or 1.
        bins: of equal counts; fewer where there are fewer values.

    Raises:
        DataError: nothing is given, or a value lies outside its range.
    """
    p, y = np.asarray(probability, dtype=float), np.asarray(outcome, dtype=float)
    if not len(p) or p.shape != y.shape:
        raise DataError(f"Calibration needs pairs, got {p.shape} probabilities and {y.shape}.")
    if not ((p >= 0) & (p <= 1)).all() or not np.isin(y, (0, 1)).all():
        raise DataError("Calibration needs probabilities in [0, 1] and outcomes of 0 or 1.")
    order = np.argsort(p, kind="stable")
    parts = np.array_split(order, min(bins, len(p)))
    base = float(y.mean())
    brier = float(np.mean((p - y) ** 2))
    told = base * (1 - base)
    simulated = stream(0, "calibration").random((SIMULATIONS, len(p))) < p
    perfect = _ece(p, simulated.astype(float), parts)
    return Calibration(
        table=pd.DataFrame(
            {
                "n": [len(part) for part in parts],
                "predicted": [float(p[part].mean()) for part in parts],
                "observed": [float(y[part].mean()) for part in parts],
            }
        ),
        n=len(p),
        base_rate=base,
        brier=brier,
        brier_skill=1 - brier / told if told > 0 else None,
        ece=float(_ece(p, y[None], parts)[0]),
        perfect_ece=float(perfect.mean()),
        perfect_ece_95=float(np.quantile(perfect, 0.95)),
    )


def _ece(p: np.ndarray, outcomes: np.ndarray, parts: list[np.ndarray]) -> np.ndarray:
    """Return (R,) calibration errors of outcomes (R, N)."""
    gaps = [np.abs((outcomes[:, part] - p[part]).sum(axis=1)) for part in parts]
    return np.sum(gaps, axis=0) / len(p)


def patient_probability(
    probability: np.ndarray, owner: np.ndarray, subjects: np.ndarray
) -> np.ndarray:
    """Return the probability that each scan shows a lesion, from its candidates' (noisy or).

    Args:
        probability: (N,) of each candidate to be a lesion, taken as independent.
        owner: (N,) subject of each candidate.
        subjects: (S,) ids.

    Returns:
        (S,) 1 - product of (1 - probability); 0 without a candidate.
    """
    index = {name: i for i, name in enumerate(subjects)}
    none = np.zeros(len(subjects))
    with np.errstate(divide="ignore"):
        np.add.at(none, [index[name] for name in owner], np.log1p(-np.asarray(probability)))
    return -np.expm1(none)
