"""Ratio curves: sensitivity against the ratio of synthetic to real training patients."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from lesionforge.metrics.bootstrap import Resamples
from lesionforge.metrics.comparison import compare_pair
from lesionforge.metrics.config import EvaluationConfig
from lesionforge.metrics.intervals import Estimate, gap_recovered, label_saving, quantiles
from lesionforge.metrics.replicates import Outcomes, difference, matched_replicates, with_interval

CHOSEN = "highest sensitivity at the matched rate on the validation patients, mean over seeds"


@dataclass(frozen=True, eq=False)
class RegimeOutcome:
    """A regime as a ratio curve sees it.

    Attributes:
        regime: its name.
        patients: real training patients.
        outlined: those of them whose lesion was outlined by hand.
        ratio: synthetic patients per real one.
        source: name of its synthetic set; empty without one.
        mode: how the set was made; empty without one.
        outcomes: on the test subjects, a seed each.
        validation: sensitivity at the matched rate on the validation patients, of each seed; NaN
            where there are none.
    """

    regime: str
    patients: int
    outlined: int
    ratio: float
    source: str
    mode: str
    outcomes: Outcomes
    validation: dict[int, float]


def ratio_curves(
    entries: Sequence[RegimeOutcome], draws: Resamples, config: EvaluationConfig
) -> list[dict[str, Any]]:
    """Return a curve for each synthetic set, at the matched rate of false positives.

    Points are the baseline (ratio 0) and the regimes that add the set to the baseline's patients.
    Seeds may differ by more than ratios do, so a ratio's gain is paired with the baseline, on the
    seeds that both have. The best ratio is chosen on validation subjects, on the seeds that all
    ratios have; `enough` is the smallest ratio that no larger one is surely better than (95 %
    interval of the paired difference above 0).

    Args:
        entries: all regimes; `baseline` is one.
        draws: resamples of the test subjects.
        config: the matched rate.

    Returns:
        Of each set: set, mode, points, best (a regime), chosen_on, enough (a ratio), gap_recovered
        and label_saving at the best ratio. A point's figures are of its `seeds`, those that the
        baseline has too (without any its own, and then its gain is None); its validation
        sensitivity is what the best ratio was chosen by.
    """
    base = next(entry for entry in entries if entry.regime == "baseline")
    curves = []
    for source in dict.fromkeys(entry.source for entry in entries if entry.source):
        members = [a for a in entries if a.source == source and a.patients == base.patients]
        if not members:
            continue
        ordered = [base, *sorted(members, key=lambda entry: entry.ratio)]
        judging = set.intersection(*(set(entry.validation) for entry in members))
        best = _best(ordered[1:], judging)
        curves.append({
            "set": source,
            "mode": members[0].mode,
            "points": [_gain(base, entry, judging, (draws, config)) for entry in ordered],
            "best": best.regime if best else None,
            "chosen_on": CHOSEN,
            "enough": _enough(ordered, draws, config),
            **_worth(base, best, entries, (draws, config)),
        })  # fmt: skip
    return curves


def label_curve(
    entries: Sequence[RegimeOutcome], draws: Resamples, config: EvaluationConfig
) -> list[dict[str, Any]]:
    """Return the points of regimes without synthetic patients, by their number of real ones."""
    real = sorted((a for a in entries if not a.source), key=lambda entry: entry.patients)
    return [
        {"patients": entry.patients, **_point(entry, entry.outcomes, draws, config)}
        for entry in real
    ]


def best_against_copies(
    curves: Sequence[Mapping[str, Any]],
    entries: Sequence[RegimeOutcome],
    draws: Resamples,
    config: EvaluationConfig,
) -> list[dict[str, Any]]:
    """Compare each generated set with each pasted one, both at their best ratios."""
    by_name = {entry.regime: entry for entry in entries}
    best = {c["best"]: c["mode"] for c in curves if c["best"] is not None}
    pairs = [(a, b) for a, m in best.items() if m == "paste" for b, n in best.items() if n != m]
    return [
        {"a": a, "b": b, **compare_pair(by_name[a].outcomes, by_name[b].outcomes, draws, config)}
        for a, b in pairs
        if set(by_name[a].outcomes) & set(by_name[b].outcomes)
    ]


def _readings(
    entries: Sequence[RegimeOutcome], draws: Resamples, config: EvaluationConfig
) -> list[np.ndarray] | None:
    """Return each regime's sensitivity at the matched rate (1 + B,), on the seeds that all have.

    None where no seed is common.
    """
    rate = np.array([config.false_positives_per_subject])
    seeds = _common_seeds(entries)
    if not seeds:
        return None
    return [
        matched_replicates({s: a.outcomes[s] for s in seeds}, draws, rate)[:, 0] for a in entries
    ]


def _common_seeds(entries: Sequence[RegimeOutcome]) -> list[int]:
    return [s for s in entries[0].outcomes if all(s in entry.outcomes for entry in entries)]


def _gain(
    base: RegimeOutcome,
    entry: RegimeOutcome,
    judging: Collection[int],
    how: tuple[Resamples, EvaluationConfig],
) -> dict[str, Any]:
    """Return a point of a ratio curve: a regime where the baseline was trained too."""
    common, both = _common_seeds([base, entry]), _readings([base, entry], *how)
    shared = replace(entry, outcomes={s: entry.outcomes[s] for s in common or entry.outcomes})
    return {
        **_point(shared, judging or entry.validation, *how),
        "gain_at_half_fp": difference(both) if both else None,
    }


def _point(
    entry: RegimeOutcome, judging: Collection[int], draws: Resamples, config: EvaluationConfig
) -> dict[str, Any]:
    reading = _readings([entry], draws, config)
    return {
        "regime": entry.regime,
        "seeds": list(entry.outcomes),
        "ratio": entry.ratio,
        "sensitivity_at_half_fp": with_interval(reading[0]) if reading else None,
        "validation_sensitivity_at_half_fp": _mean(entry.validation, judging),
        "false_positives_per_subject": _false_positives(entry.outcomes),
    }


def _false_positives(outcomes: Outcomes) -> float:
    counts = [np.concatenate(o.false_positives) for o in outcomes.values()]
    return float(np.mean(counts))


def _mean(validation: Mapping[int, float], seeds: Collection[int]) -> float:
    known = [value for seed, value in validation.items() if seed in seeds]
    return float(np.mean(known)) if known else float("nan")


def _best(members: Sequence[RegimeOutcome], judging: Collection[int]) -> RegimeOutcome | None:
    """Choose by validation on the seeds `judging`; of equals the smallest ratio.

    None where no patient validates or no seed is common.
    """
    known = [entry for entry in members if np.isfinite(_mean(entry.validation, judging))]
    return max(known, key=lambda a: (_mean(a.validation, judging), -a.ratio), default=None)


def _enough(ordered: Sequence[RegimeOutcome], draws: Resamples, config: EvaluationConfig) -> float:
    """Return the smallest ratio that no larger one is surely better than."""

    def beats(larger: RegimeOutcome, smaller: RegimeOutcome) -> bool:
        pair = _readings([smaller, larger], draws, config)
        return pair is not None and quantiles((pair[1] - pair[0])[1:])[0] > 0

    return next(
        entry.ratio
        for i, entry in enumerate(ordered)
        if not any(beats(other, entry) for other in ordered[i + 1 :])
    )


def _worth(
    base: RegimeOutcome,
    best: RegimeOutcome | None,
    entries: Sequence[RegimeOutcome],
    how: tuple[Resamples, EvaluationConfig],
) -> dict[str, Any]:
    """Return gap recovered and label saving of the best ratio, at the matched rate."""
    more = next((entry for entry in entries if entry.regime == "expanded"), None)
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
