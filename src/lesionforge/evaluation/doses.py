"""Dose curves: what more synthetic patients are worth, and when more are not shown to be better."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from lesionforge.evaluation.bootstrap import Resamples
from lesionforge.evaluation.metrics import compare_pair
from lesionforge.evaluation.replicates import (
    Outcomes,
    difference,
    matched_replicates,
    with_interval,
)
from lesionforge.evaluation.statistics import (
    Estimate,
    EvaluationConfig,
    gap_recovered,
    label_saving,
    quantiles,
)

CHOSEN = "highest sensitivity at the matched rate on the validation patients, mean over seeds"


@dataclass(frozen=True, eq=False)
class Arm:
    """A regime as a dose curve sees it.

    Attributes:
        regime: its name.
        patients: real training patients.
        outlined: those of them whose lesion was outlined by hand.
        dose: synthetic patients per real one.
        source: name of its synthetic set; empty without one.
        mode: how the set was made; empty without one.
        outcomes: on the test subjects, a seed each.
        validation: sensitivity at the matched rate on the validation patients, of each seed; NaN
            where there are none.
    """

    regime: str
    patients: int
    outlined: int
    dose: float
    source: str
    mode: str
    outcomes: Outcomes
    validation: dict[int, float]


def dose_curves(
    arms: Sequence[Arm], draws: Resamples, config: EvaluationConfig
) -> list[dict[str, Any]]:
    """Return a curve for each synthetic set, at the matched rate of false positives.

    Points are the baseline (dose 0) and the regimes that add the set to the baseline's patients.
    Seeds may differ by more than doses do, so a dose's gain is paired with the baseline, on the
    seeds that both have. The best dose is chosen on validation subjects, on the seeds that all
    doses have; `enough` is the smallest dose that no larger one is surely better than (95 %
    interval of the paired difference above 0).

    Args:
        arms: all regimes; `baseline` is one.
        draws: resamples of the test subjects.
        config: the matched rate.

    Returns:
        Of each set: set, mode, points, best (a regime), chosen_on, enough (a dose), gap_recovered
        and label_saving at the best dose. A point's figures are of its `seeds`, those that the
        baseline has too (without any its own, and then its gain is None); its validation
        sensitivity is what the best dose was chosen by.
    """
    base = next(arm for arm in arms if arm.regime == "baseline")
    curves = []
    for source in dict.fromkeys(arm.source for arm in arms if arm.source):
        members = [a for a in arms if a.source == source and a.patients == base.patients]
        if not members:
            continue
        ordered = [base, *sorted(members, key=lambda arm: arm.dose)]
        judging = set.intersection(*(set(arm.validation) for arm in members))
        best = _best(ordered[1:], judging)
        curves.append({
            "set": source,
            "mode": members[0].mode,
            "points": [_gain(base, arm, judging, (draws, config)) for arm in ordered],
            "best": best.regime if best else None,
            "chosen_on": CHOSEN,
            "enough": _enough(ordered, draws, config),
            **_worth(base, best, arms, (draws, config)),
        })  # fmt: skip
    return curves


def label_curve(
    arms: Sequence[Arm], draws: Resamples, config: EvaluationConfig
) -> list[dict[str, Any]]:
    """Return the points of regimes without synthetic patients, by their number of real ones."""
    real = sorted((a for a in arms if not a.source), key=lambda arm: arm.patients)
    return [{"patients": arm.patients, **_point(arm, arm.outcomes, draws, config)} for arm in real]


def best_against_copies(
    curves: Sequence[Mapping[str, Any]],
    arms: Sequence[Arm],
    draws: Resamples,
    config: EvaluationConfig,
) -> list[dict[str, Any]]:
    """Compare each generated set with each pasted one, both at their best doses."""
    by_name = {arm.regime: arm for arm in arms}
    best = {c["best"]: c["mode"] for c in curves if c["best"] is not None}
    pairs = [(a, b) for a, m in best.items() if m == "paste" for b, n in best.items() if n != m]
    return [
        {"a": a, "b": b, **compare_pair(by_name[a].outcomes, by_name[b].outcomes, draws, config)}
        for a, b in pairs
        if set(by_name[a].outcomes) & set(by_name[b].outcomes)
    ]


def _readings(
    arms: Sequence[Arm], draws: Resamples, config: EvaluationConfig
) -> list[np.ndarray] | None:
    """Return each arm's sensitivity at the matched rate (1 + B,), on the seeds that all have.

    None where no seed is common.
    """
    rate = np.array([config.false_positives_per_subject])
    seeds = _common_seeds(arms)
    if not seeds:
        return None
    return [matched_replicates({s: a.outcomes[s] for s in seeds}, draws, rate)[:, 0] for a in arms]


def _common_seeds(arms: Sequence[Arm]) -> list[int]:
    return [s for s in arms[0].outcomes if all(s in arm.outcomes for arm in arms)]


def _gain(
    base: Arm, arm: Arm, judging: Collection[int], how: tuple[Resamples, EvaluationConfig]
) -> dict[str, Any]:
    """Return a point of a dose curve: an arm where the baseline was trained too."""
    common, both = _common_seeds([base, arm]), _readings([base, arm], *how)
    shared = replace(arm, outcomes={s: arm.outcomes[s] for s in common or arm.outcomes})
    return {
        **_point(shared, judging or arm.validation, *how),
        "gain_at_half_fp": difference(both) if both else None,
    }


def _point(
    arm: Arm, judging: Collection[int], draws: Resamples, config: EvaluationConfig
) -> dict[str, Any]:
    reading = _readings([arm], draws, config)
    return {
        "regime": arm.regime,
        "seeds": list(arm.outcomes),
        "dose": arm.dose,
        "sensitivity_at_half_fp": with_interval(reading[0]) if reading else None,
        "validation_sensitivity_at_half_fp": _mean(arm.validation, judging),
        "false_positives_per_subject": _false_positives(arm.outcomes),
    }


def _false_positives(outcomes: Outcomes) -> float:
    counts = [np.concatenate(o.false_positives) for o in outcomes.values()]
    return float(np.mean(counts))


def _mean(validation: Mapping[int, float], seeds: Collection[int]) -> float:
    known = [value for seed, value in validation.items() if seed in seeds]
    return float(np.mean(known)) if known else float("nan")


def _best(members: Sequence[Arm], judging: Collection[int]) -> Arm | None:
    """Choose by validation on the seeds `judging`; of equals the smallest dose.

    None where no patient validates or no seed is common.
    """
    known = [arm for arm in members if np.isfinite(_mean(arm.validation, judging))]
    return max(known, key=lambda a: (_mean(a.validation, judging), -a.dose), default=None)


def _enough(ordered: Sequence[Arm], draws: Resamples, config: EvaluationConfig) -> float:
    """Return the smallest dose that no larger one is surely better than."""

    def beats(larger: Arm, smaller: Arm) -> bool:
        pair = _readings([smaller, larger], draws, config)
        return pair is not None and quantiles((pair[1] - pair[0])[1:])[0] > 0

    return next(
        arm.dose
        for i, arm in enumerate(ordered)
        if not any(beats(other, arm) for other in ordered[i + 1 :])
    )


def _worth(
    base: Arm,
    best: Arm | None,
    arms: Sequence[Arm],
    how: tuple[Resamples, EvaluationConfig],
) -> dict[str, Any]:
    """Return gap recovered and label saving of the best dose, at the matched rate."""
    more = next((arm for arm in arms if arm.regime == "expanded"), None)
    if more is None:
        gap = saving = Estimate(None, None, "There is no regime `expanded`.")
    elif best is None:
        gap = saving = Estimate(None, None, "There is no validation patient to choose by.")
    elif (found := _readings([base, best, more], *how)) is None:
        gap = saving = Estimate(None, None, "The regimes have no seed in common.")
    else:
        b, a, e = found
        gap = gap_recovered((b[0], a[0], e[0]), (b[1:], a[1:], e[1:]))
        saving = label_saving(gap, base.outlined, more.outlined)
    return {"gap_recovered": gap.to_json(), "label_saving": saving.to_json()}
