"""All endpoints of one training, in one unit, with the reason where one is undefined.

Each is a function of the weights of patients and controls, so that one computation gives the value
and its jackknife (`endpoint_readings`). Patients weigh equally in every one.

- `mean_sensitivity` (primary): mean of the FROC curve over 0 to twice the matched rate.
- `sensitivity_at_rate`: sensitivity at the matched rate of false positives a patient.
- `sensitivity_at_80`, `sensitivity_at_90`: sensitivity at the lowest threshold at which at least
  80 % (90 %) of controls have no false positive.
- `youden`: the largest sensitivity + specificity - 1 over thresholds.
- `jafroc`: weighted JAFROC figure of merit (Chakraborty and Berbaum, Medical Physics 2004;31:2313;
  weights: Chakraborty and Zhai, Medical Physics 2016;43:2548): chance that a target is marked
  higher than the highest false positive of a control; unmarked is below every mark, equal counts
  half.
- `patient_auc`: chance that a patient's highest candidate, true or not, is above a control's.
- `f1` at the threshold chosen on validation subjects: mean over patients of
  2 TP / (2 TP + FP + FN); TP are found targets.
- `sensitivity` and `specificity` at the same threshold.
- `dice` at a probability of 0.5.
"""

from collections.abc import Sequence

import numpy as np

from lesionforge.metrics.froc import ROUNDING, mean_sensitivity, sensitivity_at
from lesionforge.metrics.marks import NONE, Marks
from lesionforge.metrics.obuchowski import Readings

PRIMARY = "mean_sensitivity"
NO_CONTROLS = "There are no test controls."
NO_THRESHOLD = "No score threshold was chosen on validation subjects."
NO_DICE = "Dice of a patient is unknown."
Values = dict[str, np.ndarray | str]


def endpoints(marks: Marks, rate: float) -> dict[str, dict[str, float | str | None]]:
    """Measure every endpoint of one training.

    Args:
        marks: of the training, in the unit wanted.
        rate: matched rate of false positives a patient, above 0; see `EvaluationConfig.rate`.

    Returns:
        Name to `{"value": number or None, "why": reason where it is None}`.
    """
    full = (np.ones((1, len(marks.patients))), np.ones((1, len(marks.controls))))
    return {
        name: {"value": None, "why": value}
        if isinstance(value, str)
        else {"value": float(value[0]), "why": ""}
        for name, value in weighted_endpoints(marks, rate, *full).items()
    }


def weighted_endpoints(
    marks: Marks, rate: float, patients: np.ndarray, controls: np.ndarray
) -> Values:
    """Measure every endpoint in every replicate.

    Args:
        marks: of a training.
        rate: matched rate, above 0.
        patients: (R, P) weight of each patient in each replicate.
        controls: (R, C) the same of controls.

    Returns:
        Name to (R,) values, or to the reason why it is undefined.
    """
    return {
        PRIMARY: mean_sensitivity(marks, patients, 2 * rate),
        "sensitivity_at_rate": sensitivity_at(marks, patients, np.array([rate]))[:, 0],
        **_with_controls(marks, patients, controls),
        **_at_threshold(marks, patients, controls),
        "dice": NO_DICE if np.isnan(marks.dice).any() else _mean(marks.dice, patients),
    }


def _mean(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return (R,) weighted means of (N,) values with weights (R, N)."""
    return weights @ values / weights.sum(axis=1)


def _with_controls(marks: Marks, patients: np.ndarray, controls: np.ndarray) -> Values:
    names = ("sensitivity_at_80", "sensitivity_at_90", "youden", "jafroc", "patient_auc")
    if not len(marks.controls):
        return dict.fromkeys(names, NO_CONTROLS)
    targets = marks.target_weights(patients)
    values = (
        _sensitivity_at_specificity(marks, targets, controls, 0.8),
        _sensitivity_at_specificity(marks, targets, controls, 0.9),
        _youden(marks, targets, controls),
        _chance_above(marks.targets.value, targets, marks.best_false, controls),
        _chance_above(marks.best_in_patients, patients, marks.best_false, controls),
    )
    return dict(zip(names, values, strict=True))


def _sensitivity_at_specificity(
    marks: Marks, targets: np.ndarray, controls: np.ndarray, specificity: float
) -> np.ndarray:
    order = np.argsort(-marks.best_false, kind="stable")
    bounds = np.append(marks.best_false[order], NONE)
    wrong = np.cumsum(controls[:, order], axis=1) / controls.sum(axis=1)[:, None]
    refused = bounds[(wrong <= 1 - specificity + ROUNDING).sum(axis=1)]
    found = marks.targets.value[None, :] > refused[:, None]
    return (found * targets).sum(axis=1) / targets.sum(axis=1)


def _youden(marks: Marks, targets: np.ndarray, controls: np.ndarray) -> np.ndarray:
    scores = np.concatenate([marks.targets.value, marks.best_false])
    thresholds = np.unique(scores[scores > NONE])
    hit = (marks.targets.value[:, None] >= thresholds).astype(float)
    wrong = (marks.best_false[:, None] >= thresholds).astype(float)
    sensitivity = targets @ hit / targets.sum(axis=1)[:, None]
    false = controls @ wrong / controls.sum(axis=1)[:, None]
    return np.maximum(0, (sensitivity - false).max(axis=1, initial=0))


def _chance_above(
    high: np.ndarray, high_weights: np.ndarray, low: np.ndarray, low_weights: np.ndarray
) -> np.ndarray:
    """Return (R,) the weighted chance that one of `high` is above one of `low`, ties half."""
    above = (high[:, None] > low).astype(float) + 0.5 * (high[:, None] == low)
    total = ((high_weights @ above) * low_weights).sum(axis=1)
    return total / high_weights.sum(axis=1) / low_weights.sum(axis=1)


def _at_threshold(marks: Marks, patients: np.ndarray, controls: np.ndarray) -> Values:
    if np.isnan(marks.threshold_patients).any():
        return dict.fromkeys(("f1", "sensitivity", "specificity"), NO_THRESHOLD)
    found = marks.targets.value >= marks.threshold_patients[marks.targets.owner]
    n = len(marks.patients)
    count = np.bincount(marks.targets.owner, minlength=n)
    true = np.bincount(marks.targets.owner[found], minlength=n)
    false = marks.false_in_patients.at_least(marks.threshold_patients)
    has = count > 0
    f1 = 2 * true[has] / (true[has] + false[has] + count[has])
    targets = marks.target_weights(patients)
    specificity: np.ndarray | str = NO_CONTROLS
    if len(marks.controls):
        if np.isnan(marks.threshold_controls).any():
            specificity = NO_THRESHOLD
        else:
            clean = marks.best_false < marks.threshold_controls
            specificity = _mean(clean.astype(float), controls)
    return {
        "f1": _mean(f1, patients[:, has]),
        "sensitivity": (found * targets).sum(axis=1) / targets.sum(axis=1),
        "specificity": specificity,
    }


def endpoint_readings(trainings: Sequence[Marks], rate: float) -> dict[str, Readings | str]:
    """Measure every endpoint of a regime's trainings, with all subjects and without each.

    Args:
        trainings: marks of each, on the same subjects in the same order.
        rate: matched rate of false positives a patient.

    Returns:
        Name to `Readings` for `lesionforge.metrics.obuchowski.interval`, or to the reason why the
        endpoint is undefined.
    """
    p, c = len(trainings[0].patients), len(trainings[0].controls)
    without = np.concatenate([np.ones((1, p + c)), 1 - np.eye(p + c)])
    groups = np.repeat([0, 1], [p, c])
    each = [weighted_endpoints(m, rate, without[:, :p], without[:, p:]) for m in trainings]
    readings: dict[str, Readings | str] = {}
    for name in each[0]:
        values = [one[name] for one in each]
        reason = next((value for value in values if isinstance(value, str)), None)
        if reason is not None:
            readings[name] = reason
            continue
        table = np.stack([np.asarray(value) for value in values])
        readings[name] = Readings(table[:, 0], table[:, 1:], groups)
    return readings
