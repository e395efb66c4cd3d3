"""From the cells' tables to `metrics.json`: every number of the report, nothing drawn or worded."""

import itertools
import math
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import pandas as pd

from lesionforge.errors import DataError
from lesionforge.metrics.bootstrap import Resamples, resample
from lesionforge.metrics.comparison import compare_pair, regime_metrics
from lesionforge.metrics.config import CandidateRules, EvaluationConfig
from lesionforge.metrics.intervals import (
    GAP_DEFINITION,
    SAVING_DEFINITION,
    Estimate,
    gap_recovered,
    label_saving,
    outlined,
)
from lesionforge.metrics.outcomes import Outcome, choose_threshold, outcome
from lesionforge.metrics.ratios import best_against_copies, label_curve, ratio_curves
from lesionforge.metrics.replicates import Outcomes, matched_replicates, sensitivity_replicates
from lesionforge.report.regime_points import read_regime_outcome
from lesionforge.report.runs import Run, RunTables, check_lineage, complete_runs, read_run

__all__ = ["Run", "compute_metrics", "read_outcomes"]
SCHEMA = 1
NUMBERS = ("n_patients", "n_controls", "n_synthetic_patients", "n_synthetic_controls")
ARMS = ("baseline", "augmented", "expanded")


def compute_metrics(
    study: str,
    config_sha256: str,
    data: Literal["phantom", "real"],
    runs: list[Run],
    rules: CandidateRules,
    config: EvaluationConfig,
    notes: Sequence[str] = (),
) -> dict[str, Any]:
    """Compute the content of `metrics.json` (schema 1) from the cells' files.

    Args:
        study: its name.
        config_sha256: of the study's configuration.
        data: what the study was run on.
        runs: trained detectors; runs of a seed that lack a fold are left out with a warning.
        rules: of candidates and hits.
        config: operating points and bootstrap.
        notes: what the caller has to say of regimes that are not there (too few patients, not
            trained yet); the page shows them as warnings.

    Returns:
        A JSON-able dictionary; what is undefined is None.

    Raises:
        LineageError: a leak, or regimes that cannot be compared.
        DataError: a file is missing or damaged, or no run is complete.
    """
    by_seed, warnings = _read_runs(runs, rules)
    outcomes = _outcomes(by_seed, rules, config)
    draws = _resamples(outcomes, config)
    rate = config.false_positives_per_subject
    entries = [
        read_regime_outcome(name, by_seed[name], mine, _counts(by_seed[name]), config)
        for name, mine in outcomes.items()
    ]
    ratios = ratio_curves(entries, draws, config)
    metrics = {
        "schema": SCHEMA,
        "study": study,
        "config_sha256": config_sha256,
        "data": data,
        "rules": {**rules.describe(), "operating_points": _operating_points(rate)},
        "test": {"patients": draws.patients.shape[1], "controls": draws.controls.shape[1]},
        "bootstrap": config.bootstrap,
        "regimes": {
            regime: {**_counts(by_seed[regime]), **regime_metrics(mine, draws, config)}
            for regime, mine in outcomes.items()
        },
        "comparisons": _comparisons(outcomes, draws, config),
        **_headline_ratios(outcomes, draws, by_seed, rate),
        "ratios": ratios,
        "label_curve": label_curve(entries, draws, config),
        "against_copies": best_against_copies(ratios, entries, draws, config),
        "warnings": [*notes, *warnings, *_uneven_seeds(outcomes)],
    }
    return jsonable(metrics)


def read_outcomes(
    runs: list[Run], rules: CandidateRules, config: EvaluationConfig
) -> dict[str, Outcomes]:
    """Read what the regimes did on the test subjects: regime to seed to outcome.

    For figures that `compute_metrics` does not have; cells are checked as there.

    Raises:
        LineageError: a leak, or regimes that cannot be compared.
        DataError: a file is missing or damaged, or no run of the baseline is complete.
    """
    return _outcomes(_read_runs(runs, rules)[0], rules, config)


def _read_runs(
    runs: list[Run], rules: CandidateRules
) -> tuple[dict[str, dict[int, list[RunTables]]], list[str]]:
    """Read the complete runs, the baseline first: others are compared with it."""
    tables = [read_run(run, rules) for run in runs]
    check_lineage(tables)
    by_seed, warnings = complete_runs(tables)
    if "baseline" not in by_seed:
        raise DataError("No complete run of the baseline. Run train_detector --regime baseline.")
    return {"baseline": by_seed.pop("baseline"), **by_seed}, warnings


def _outcomes(
    by_seed: dict[str, dict[int, list[RunTables]]], rules: CandidateRules, config: EvaluationConfig
) -> dict[str, Outcomes]:
    return {
        regime: {seed: _pooled(members, rules, config) for seed, members in seeds.items()}
        for regime, seeds in by_seed.items()
    }


def _resamples(outcomes: dict[str, Outcomes], config: EvaluationConfig) -> Resamples:
    first = next(iter(outcomes["baseline"].values()))
    if not len(first.patients):
        raise DataError("There are no test patients; sensitivity cannot be measured.")
    return resample(len(first.patients), len(first.controls), config.bootstrap, config.seed)


def _comparisons(
    outcomes: dict[str, Outcomes], draws: Resamples, config: EvaluationConfig
) -> list[dict[str, Any]]:
    """Compare every pair of regimes that have a seed in common."""
    return [
        {"a": a, "b": b, **compare_pair(outcomes[a], outcomes[b], draws, config)}
        for a, b in itertools.combinations(outcomes, 2)
        if set(outcomes[a]) & set(outcomes[b])
    ]


def _operating_points(rate: float) -> list[str]:
    return [
        f"(a) score threshold of each regime, seed and fold: the lowest with at most {rate:g} "
        "false positives a subject on the validation patients and controls",
        f"(b) matched: sensitivity at {rate:g} false positives a patient, read from the test FROC "
        "(again in each bootstrap replicate)",
    ]


def _pooled(members: list[RunTables], rules: CandidateRules, config: EvaluationConfig) -> Outcome:
    """Pool the test subjects of a run's folds, each with its own fold's score threshold."""
    subjects, candidates, thresholds = [], [], {}
    for tables in members:
        threshold = score_threshold(tables, rules, config)
        test = set(tables.ids("test"))
        thresholds.update(dict.fromkeys(test, threshold))
        subjects.append(tables.subjects[tables.subjects["participant_id"].isin(test)])
        candidates.append(tables.candidates[tables.candidates["participant_id"].isin(test)])
    return outcome(
        pd.concat(candidates, ignore_index=True),
        pd.concat(subjects, ignore_index=True),
        thresholds,
    )


def score_threshold(tables: RunTables, rules: CandidateRules, config: EvaluationConfig) -> float:
    """Choose a cell's score threshold on its validation subjects."""
    validation = tables.ids("validation")
    mine = tables.candidates["participant_id"].isin(validation) & (tables.candidates["hit"] == 0)
    return choose_threshold(
        tables.candidates.loc[mine, "score"].to_numpy(),
        len(validation),
        config.false_positives_per_subject,
        rules.candidate_threshold,
    )


def _counts(by_seed: dict[int, list[RunTables]]) -> dict[str, Any]:
    """Return training and validation counts (with folds: their mean, rounded)."""
    runs = [tables for members in by_seed.values() for tables in members]
    counts = {name: round(float(np.mean([getattr(t.run, name) for t in runs]))) for name in NUMBERS}
    labels = round(float(np.mean([t.run.labels for t in runs])))
    by_model = round(float(np.mean([t.run.n_model_labels for t in runs])))
    validation = [t.subjects[t.subjects["role"] == "validation"] for t in runs]
    n_patients = round(float(np.mean([(v["group"] == "patient").sum() for v in validation])))
    return {
        **counts,
        "n_validation": round(float(np.mean([len(v) for v in validation]))),
        "n_validation_patients": n_patients,
        "label_budget": labels + n_patients,
        "folds": max(len(members) for members in by_seed.values()),
        **({"n_model_labels": by_model} if by_model else {}),
    }


def _headline_ratios(
    outcomes: dict[str, Outcomes],
    draws: Resamples,
    by_seed: dict[str, dict[int, list[RunTables]]],
    rate: float,
) -> dict[str, Any]:
    """Return gap recovered and label saving at both operating points."""
    gaps = _gaps(outcomes, draws, rate)
    savings = []
    for gap in gaps:
        if gap.value is None:
            savings.append(gap)
            continue
        n = [outlined(_counts(by_seed[entry])) for entry in ("baseline", "expanded")]
        savings.append(label_saving(gap, *n))
    return {
        "gap_recovered": _estimates(gaps, GAP_DEFINITION),
        "label_saving": _estimates(savings, SAVING_DEFINITION),
    }


def _gaps(outcomes: dict[str, Outcomes], draws: Resamples, rate: float) -> list[Estimate]:
    missing = [entry for entry in ARMS if entry not in outcomes]
    if missing:
        why = f"No trained regime {' and '.join(missing)}; it needs baseline, augmented, expanded."
        return [Estimate(None, None, why)] * 2
    seeds = [s for s in outcomes["baseline"] if all(s in outcomes[entry] for entry in ARMS)]
    if not seeds:
        return [Estimate(None, None, "The three regimes have no seed in common.")] * 2
    entries = [{s: outcomes[entry][s] for s in seeds} for entry in ARMS]
    plain = [sensitivity_replicates(entry, draws) for entry in entries]
    matched = [matched_replicates(entry, draws, np.array([rate]))[:, 0] for entry in entries]
    return [
        gap_recovered((b[0], a[0], e[0]), (b[1:], a[1:], e[1:])) for b, a, e in (plain, matched)
    ]


def _estimates(pair: list[Estimate], definition: str) -> dict[str, Any]:
    first, second = (e.to_json() for e in pair)
    return {**first, "definition": definition, "at_half_fp": second}


def _uneven_seeds(outcomes: dict[str, Outcomes]) -> list[str]:
    every = sorted({seed for mine in outcomes.values() for seed in mine})
    lacking = {name: [s for s in every if s not in mine] for name, mine in outcomes.items()}
    named = "; ".join(f"{k} lacks {', '.join(map(str, v))}" for k, v in lacking.items() if v)
    if not named:
        return []
    return [
        f"Not every regime is trained with every seed ({named}). Differences between two regimes "
        "use the seeds that both have."
    ]


def jsonable(value: Any) -> Any:
    """Return `value` with plain Python numbers, and None for what is not finite."""
    if isinstance(value, dict):
        return {str(key): jsonable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [jsonable(item) for item in value]
    if isinstance(value, np.generic):
        return jsonable(value.item())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
