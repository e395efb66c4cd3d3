"""The numbers of one regime, with intervals over subjects and seeds, and of a pair of regimes."""

from typing import Any

import numpy as np

from lesionforge.metrics.bootstrap import Resamples, over_seeds, weighted_mean
from lesionforge.metrics.config import EvaluationConfig
from lesionforge.metrics.froc import control_rate, mean_curve, sensitivity_at
from lesionforge.metrics.intervals import (
    discordant,
    mcnemar_exact,
    minimum_detectable_difference,
    quantiles,
    wilcoxon_paired,
    wilson,
)
from lesionforge.metrics.outcomes import Outcome
from lesionforge.metrics.replicates import (
    Outcomes,
    clean_controls,
    dice_replicates,
    difference,
    false_positive_replicates,
    matched_replicates,
    matched_specificity_replicates,
    sensitivity_replicates,
    specificity_replicates,
    with_interval,
)

BAND_RATES = np.concatenate([np.arange(50) * 0.02, np.linspace(1, 4, 61)])
NO_CONTROLS = "The cohort has no test controls, so specificity is undefined."


def regime_metrics(
    outcomes: Outcomes, draws: Resamples, config: EvaluationConfig
) -> dict[str, Any]:
    """Measure one regime.

    Returns:
        The entries of a regime in `metrics.json` that come from its test subjects; undefined
        numbers are NaN or infinite.
    """
    first = next(iter(outcomes.values()))
    seeds = draws.seeds(tuple(outcomes))
    strict = np.stack([o.best_hit_strict >= o.threshold_patients for o in outcomes.values()])
    return {
        "seeds": list(outcomes),
        "score_threshold": [
            float(np.mean([*o.threshold_patients, *o.threshold_controls]))
            for o in outcomes.values()
        ],
        "sensitivity": _proportion(
            np.stack([o.detected for o in outcomes.values()]),
            sensitivity_replicates(outcomes, draws),
        ),
        "sensitivity_strict": _proportion(
            strict, weighted_mean(strict.astype(float), draws.patients, seeds)
        ),
        "specificity": _specificity(outcomes, draws),
        "specificity_at_half_fp": _matched_specificity(outcomes, draws, config),
        "lesion_sensitivity": _lesion_sensitivity(outcomes, draws, seeds),
        "false_positives_per_subject": _false_positives(outcomes, draws),
        **_froc(outcomes, draws, config.false_positives_per_subject),
        "lesion_site_confidence": _confidence(outcomes),
        "dice": _dice(outcomes, draws),
        "by_site": _strata(outcomes, {s: first.site == s for s in sorted(set(first.site))}),
        "by_size": _strata(outcomes, _size_thirds(first.lesion_ml)),
        "by_seed": [_one_seed(seed, o, config) for seed, o in outcomes.items()],
    }


def _froc(outcomes: Outcomes, draws: Resamples, rate: float) -> dict[str, Any]:
    """Describe the FROC curve: its corners, its band, and the reading at `rate`."""
    corners = mean_curve(list(outcomes.values()))
    band = matched_replicates(outcomes, draws, BAND_RATES)
    reading = matched_replicates(outcomes, draws, np.array([rate]))[:, 0]
    return {
        "sensitivity_at_half_fp": {
            **_share(reading, len(next(iter(outcomes.values())).patients)),
            "false_positives_per_patient": rate,
            "false_positives_per_control": control_rate(list(outcomes.values()), rate),
        },
        "froc": corners[:, :2].tolist(),
        "froc_controls": corners[:, [0, 2]].tolist(),
        "froc_band": [[float(x), *quantiles(band[1:, i])] for i, x in enumerate(BAND_RATES)],
    }


def _confidence(outcomes: Outcomes) -> dict[str, Any]:
    """Describe the maximum probability in the lesion, of each patient the mean over seeds."""
    mean = np.mean([o.confidence for o in outcomes.values()], axis=0)
    sd = float(mean.std(ddof=1)) if len(mean) > 1 else float("nan")
    return {"mean": float(mean.mean()), "sd": sd, "n": len(mean)}


def _dice(outcomes: Outcomes, draws: Resamples) -> dict[str, Any]:
    dice = np.stack([o.dice for o in outcomes.values()])
    return {
        **with_interval(dice_replicates(outcomes, draws)),
        "median": float(np.median(dice)),
        "n": dice.shape[1],
    }


def _proportion(yes: np.ndarray, replicates: np.ndarray) -> dict[str, Any]:
    """Describe a share of subjects by who has it, (S, N) bool, and its replicates (1 + B,)."""
    share = _share(replicates, yes.shape[1])
    return {**share, "k": yes.sum(axis=1).tolist(), "n": yes.shape[1]}


def _share(replicates: np.ndarray, n: int) -> dict[str, Any]:
    """Describe a share of `n` by its value and replicates.

    Where all or none of them have it, the bootstrap sees no doubt, and Wilson's interval is given.
    """
    result = with_interval(replicates)
    result["method"] = "bootstrap of subjects and seeds"
    if any(np.allclose([result["value"], *result["ci95"]], end) for end in (0, 1)):
        result["ci95"] = list(wilson(round(result["value"] * n), n))
        result["method"] = "Wilson (all alike)"
    return result


def _specificity(outcomes: Outcomes, draws: Resamples) -> dict[str, Any]:
    clean = clean_controls(outcomes)
    if clean.shape[1] == 0:
        return {"value": None, "why": NO_CONTROLS}
    return _proportion(clean, specificity_replicates(outcomes, draws))


def _matched_specificity(
    outcomes: Outcomes, draws: Resamples, config: EvaluationConfig
) -> dict[str, Any]:
    n = clean_controls(outcomes).shape[1]
    if n == 0:
        return {"value": None, "why": NO_CONTROLS}
    rate = config.false_positives_per_subject
    return _share(matched_specificity_replicates(outcomes, draws, rate), n)


def _lesion_sensitivity(outcomes: Outcomes, draws: Resamples, seeds: np.ndarray) -> dict[str, Any]:
    found = np.stack([o.lesions.at_least(o.threshold_patients) for o in outcomes.values()])
    first = next(iter(outcomes.values()))
    lesions = np.bincount(first.lesions.owner, minlength=len(first.patients))
    share = (draws.patients @ found.T) / (draws.patients @ lesions)[:, None]
    return {
        **_share(over_seeds(share, seeds), int(lesions.sum())),
        "k": found.sum(axis=1).tolist(),
        "n": int(lesions.sum()),
    }


def _false_positives(outcomes: Outcomes, draws: Resamples) -> dict[str, Any]:
    patients, controls = (
        np.stack([o.false_positives[i] for o in outcomes.values()]) for i in (0, 1)
    )
    return {
        **with_interval(false_positive_replicates(outcomes, draws)),
        "patients": float(patients.mean()),
        "controls": float(controls.mean()) if controls.size else None,
    }


def _strata(outcomes: Outcomes, members: dict[str, np.ndarray]) -> dict[str, Any]:
    """Describe sensitivity in parts of the patients, with Wilson's interval at the mean count."""
    result = {}
    for name, chosen in members.items():
        k, n = [int(o.detected[chosen].sum()) for o in outcomes.values()], int(chosen.sum())
        false = [o.false_positives[0][chosen].mean() for o in outcomes.values()]
        dice = [np.mean(o.dice[chosen]) for o in outcomes.values()]
        result[name] = {
            "sensitivity": {
                "value": float(np.mean(k)) / n,
                "ci95": list(wilson(float(np.mean(k)), n)),
                "k": k,
                "n": n,
            },
            "false_positives_per_patient": float(np.mean(false)),
            "dice": float(np.mean(dice)),
        }
    return result


def _size_thirds(lesion_ml: np.ndarray) -> dict[str, np.ndarray]:
    """Part the patients in thirds by lesion volume, named by their bounds in mL."""
    low, high = np.quantile(lesion_ml, [1 / 3, 2 / 3])
    a, b = (f"{float(f'{bound:.2g}'):g}" for bound in (low, high))  # 2.3, 160
    thirds = {
        f"up to {a} mL": lesion_ml <= low,
        f"{a} to {b} mL": (lesion_ml > low) & (lesion_ml <= high),
        f"above {b} mL": lesion_ml > high,
    }
    return {name: chosen for name, chosen in thirds.items() if chosen.any()}


def _one_seed(seed: int, outcome: Outcome, config: EvaluationConfig) -> dict[str, Any]:
    k, n = int(outcome.detected.sum()), len(outcome.patients)
    patients, controls = outcome.false_positives
    rate = np.array([config.false_positives_per_subject])
    thresholds = np.concatenate([outcome.threshold_patients, outcome.threshold_controls])
    return {
        "seed": seed,
        "score_thresholds": sorted(set(thresholds.tolist())),
        "k": k,
        "n": n,
        "sensitivity": k / n,
        "wilson95": list(wilson(k, n)),
        "specificity": float((controls == 0).mean()) if len(controls) else None,
        "false_positives_per_patient": float(patients.mean()),
        "false_positives_per_control": float(controls.mean()) if len(controls) else None,
        "sensitivity_at_half_fp": float(sensitivity_at(outcome, np.ones((1, n)), rate)[0, 0]),
        "dice": float(np.mean(outcome.dice)),
    }


def compare_pair(
    a: Outcomes, b: Outcomes, draws: Resamples, config: EvaluationConfig
) -> dict[str, Any]:
    """Compare regime `b` with regime `a` on the seeds that both have, paired by subject.

    Returns:
        The entries of a comparison in `metrics.json`, without the names. Lists of two numbers are
        both regimes' own, on those seeds.
    """
    seeds = [seed for seed in a if seed in b]
    a, b = {s: a[s] for s in seeds}, {s: b[s] for s in seeds}
    pairs = [discordant(a[s].detected, b[s].detected) for s in seeds]
    n = len(next(iter(a.values())).patients)
    rate = np.array([config.false_positives_per_subject])
    found, false, dice = (
        [replicates(x, draws) for x in (a, b)]
        for replicates in (sensitivity_replicates, false_positive_replicates, dice_replicates)
    )
    matched = [matched_replicates(x, draws, rate)[:, 0] for x in (a, b)]
    controls: list[float | None] = [None, None]
    specificity: dict[str, Any] = {"value": None, "ci95": None, "why": NO_CONTROLS}
    at_matched = specificity
    if clean_controls(a).size:
        controls = [float(np.mean([o.false_positives[1] for o in x.values()])) for x in (a, b)]
        specificity = difference([specificity_replicates(x, draws) for x in (a, b)])
        at_matched = difference(
            [matched_specificity_replicates(x, draws, float(rate[0])) for x in (a, b)]
        )
    confidence = [np.mean([o.confidence for o in x.values()], axis=0) for x in (a, b)]
    discordance = float(np.mean([gained + lost for gained, lost in pairs]) / n)
    return {
        "seeds": seeds,
        "sensitivity": [float(x[0]) for x in found],
        "false_positives_per_subject": [float(x[0]) for x in false],
        "false_positives_per_control": controls,
        "gained": [gained for gained, _ in pairs],
        "lost": [lost for _, lost in pairs],
        "mcnemar_p": [mcnemar_exact(*pair) for pair in pairs],
        "confidence_p": wilcoxon_paired(*confidence),
        "difference": difference(found),
        "difference_at_half_fp": difference(matched),
        "specificity_difference": specificity,
        "specificity_difference_at_half_fp": at_matched,
        "false_positives_difference": difference(false),
        "dice_difference": difference(dice),
        "discordance": discordance,
        "minimum_detectable_difference": minimum_detectable_difference(n, discordance),
    }
