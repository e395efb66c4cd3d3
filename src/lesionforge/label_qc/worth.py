"""What a label, a synthetic patient and a false positive are worth, by a study's own detectors."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from lesionforge.errors import DataError
from lesionforge.metrics.intervals import outlined


@dataclass(frozen=True)
class Worth:
    """What the study's detectors say a label, a synthetic patient and a false positive are worth.

    Attributes:
        label: points of sensitivity per labelled patient.
        synthetic: points per synthetic patient; None where no synthetic regime was trained.
        false_positive: points that the FROC gains per false positive a patient at the matched
            rate.
        basis: in words, what they were read from.
    """

    label: float
    synthetic: float | None
    false_positive: float
    basis: str


def measure_worth(metrics: Mapping[str, Any]) -> Worth:
    """Read from `metrics.json` what labels are worth.

    Patients whose masks a model drew are no labels that anybody has spent time on. The slope of
    sensitivity (at the matched operating point) between the baseline and the regime
    with most real patients, and between the baseline and the best regime that adds synthetic
    patients to the same real ones; each over the seeds that both have.

    Raises:
        DataError: no regime has more real patients than the baseline, so that the worth of a label
            is not known.
    """
    base = metrics["regimes"]["baseline"]
    gains = {
        pair["b"]: 100 * float(pair["difference_at_half_fp"]["value"])
        for pair in metrics["comparisons"]
        if pair["a"] == "baseline" and pair["difference_at_half_fp"]["value"] is not None
    }
    regimes = {name: metrics["regimes"][name] for name in ("baseline", *gains)}
    real = {n: e for n, e in regimes.items() if e["n_synthetic_patients"] == 0}
    name, most = max(real.items(), key=lambda item: outlined(item[1]))
    more = outlined(most) - outlined(base)
    if more <= 0:
        raise DataError(
            "Every regime has as many real patients as the baseline, so it is not known what a "
            "label is worth. Train a regime with more of them (expanded), or a smaller one as "
            "baseline, and compare."
        )

    per_volume = [
        gains[n] / e["n_synthetic_patients"]
        for n, e in regimes.items()
        if e["n_synthetic_patients"] and e["n_patients"] == base["n_patients"]
    ]
    basis = (
        f"{name} finds {gains[name]:+.1f} points with {more} more labelled patients, at the "
        "matched operating point"
    )
    curve = np.array(base["froc"], dtype=float)
    return Worth(
        label=max(gains[name], 0.0) / more,
        synthetic=max(per_volume) if per_volume else None,
        false_positive=_slope(curve, base["sensitivity_at_half_fp"]["false_positives_per_patient"]),
        basis=basis,
    )


def _slope(curve: np.ndarray, rate: float) -> float:
    """Return the FROC's rise around `rate`, in points per false positive a patient."""
    low, high = np.interp([rate / 2, rate * 1.5], curve[:, 0], curve[:, 1])
    return float(100 * max(high - low, 0.0) / rate)
