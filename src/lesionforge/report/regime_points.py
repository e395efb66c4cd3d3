"""A regime as the ratio curves see it, read from its cells."""

from typing import Any

import numpy as np

from lesionforge.metrics.config import EvaluationConfig
from lesionforge.metrics.froc import sensitivity_at
from lesionforge.metrics.intervals import outlined
from lesionforge.metrics.outcomes import outcome
from lesionforge.metrics.ratios import RegimeOutcome
from lesionforge.metrics.replicates import Outcomes
from lesionforge.report.runs import RunTables


def read_regime_outcome(
    name: str,
    by_seed: dict[int, list[RunTables]],
    outcomes: Outcomes,
    counts: dict[str, Any],
    config: EvaluationConfig,
) -> RegimeOutcome:
    """Describe a regime for the ratio curves.

    Args:
        name: of the regime.
        by_seed: seed to its cells.
        outcomes: seed to what was found on the test subjects.
        counts: of its training, as metrics.json holds them.
        config: the matched rate.
    """
    run = next(iter(by_seed.values()))[0].run
    patients = counts["n_patients"]
    return RegimeOutcome(
        regime=name,
        patients=patients,
        outlined=outlined(counts),
        ratio=counts["n_synthetic_patients"] / patients if patients else float("inf"),
        source=run.source,
        mode=run.mode,
        outcomes=outcomes,
        validation={
            seed: float(np.mean([_validation_sensitivity(one, config) for one in members]))
            for seed, members in by_seed.items()
        },
    )


def _validation_sensitivity(tables: RunTables, config: EvaluationConfig) -> float:
    """Read the FROC of a cell's validation patients at the matched rate; NaN without any."""
    members = tables.subjects[tables.subjects["role"] == "validation"]
    if not (members["group"] == "patient").any():
        return float("nan")
    seen = outcome(tables.candidates, members, dict.fromkeys(members["participant_id"], 0.0))
    rate = np.array([config.false_positives_per_subject])
    return float(sensitivity_at(seen, np.ones((1, len(seen.patients))), rate)[0, 0])
