"""A regime as the dose curves see it, read from its cells."""

from typing import Any

import numpy as np

from lesionforge.evaluation.doses import Arm
from lesionforge.evaluation.froc import sensitivity_at
from lesionforge.evaluation.outcomes import outcome
from lesionforge.evaluation.replicates import Outcomes
from lesionforge.evaluation.statistics import EvaluationConfig, outlined
from lesionforge.report.cells import CellTables


def read_arm(
    name: str,
    runs: dict[int, list[CellTables]],
    outcomes: Outcomes,
    counts: dict[str, Any],
    config: EvaluationConfig,
) -> Arm:
    """Describe a regime for the dose curves.

    Args:
        name: of the regime.
        runs: seed to its cells.
        outcomes: seed to what was found on the test subjects.
        counts: of its training, as metrics.json holds them.
        config: the matched rate.
    """
    cell = next(iter(runs.values()))[0].cell
    patients = counts["n_patients"]
    return Arm(
        regime=name,
        patients=patients,
        outlined=outlined(counts),
        dose=counts["n_synthetic_patients"] / patients if patients else float("inf"),
        source=cell.source,
        mode=cell.mode,
        outcomes=outcomes,
        validation={
            seed: float(np.mean([_validation_sensitivity(one, config) for one in members]))
            for seed, members in runs.items()
        },
    )


def _validation_sensitivity(tables: CellTables, config: EvaluationConfig) -> float:
    """Read the FROC of a cell's validation patients at the matched rate; NaN without any."""
    members = tables.subjects[tables.subjects["role"] == "validation"]
    if not (members["group"] == "patient").any():
        return float("nan")
    seen = outcome(tables.candidates, members, dict.fromkeys(members["participant_id"], 0.0))
    rate = np.array([config.false_positives_per_subject])
    return float(sensitivity_at(seen, np.ones((1, len(seen.patients))), rate)[0, 0])
