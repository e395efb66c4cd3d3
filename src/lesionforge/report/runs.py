"""The trained detectors that a report compares: their tables, and the refusal of every leak."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from lesionforge.errors import DataError, LineageError, named
from lesionforge.metrics.config import CandidateRules
from lesionforge.provenance import read_json, read_tsv

FREE = ("workers", "accelerator", "devices", "num_nodes", "precision")
"""Knobs of a training that its result does not depend on, or that `made_with` has resolved."""


@dataclass(frozen=True)
class Run:
    """One trained detector: a regime, a seed and, with cross-fitting, a fold.

    Attributes:
        regime: name of the regime.
        seed: of the study.
        fold: number of the fold; None without cross-fitting.
        folder: holds candidates.tsv, subjects.tsv, lineage.json and probability maps.
        n_patients: real training patients.
        n_controls: real training controls.
        n_synthetic_patients: synthetic training patients.
        n_synthetic_controls: synthetic training controls.
        n_labels: patients outlined by hand behind all of them; None for `n_patients`.
        source: name of the synthetic set; empty without one.
        mode: how the set was made.
        n_model_labels: patients behind all of them whose masks a model drew; not in `n_labels`.
        folds: how many the study has; 0 without cross-fitting.
    """

    regime: str
    seed: int
    fold: int | None
    folder: Path
    n_patients: int
    n_controls: int
    n_synthetic_patients: int = 0
    n_synthetic_controls: int = 0
    n_labels: int | None = None
    source: str = ""
    mode: str = ""
    n_model_labels: int = 0
    folds: int = 0

    @property
    def labels(self) -> int:
        """Patients outlined by hand that stand behind the training."""
        return self.n_patients if self.n_labels is None else self.n_labels

    @property
    def name(self) -> str:
        """Name for messages: `augmented, seed 1, fold 0`."""
        fold = "" if self.fold is None else f", fold {self.fold}"
        return f"{self.regime}, seed {self.seed}{fold}"

    def probability(self, subject_id: str) -> Path:
        """Probability map of a held-out subject."""
        return self.folder / "probability" / f"{subject_id}_probability.nii.gz"


@dataclass(frozen=True, eq=False)
class RunTables:
    """What a cell's files say.

    Attributes:
        run: whose files.
        subjects: `subjects.tsv`.
        candidates: `candidates.tsv`.
        training: training id to the real ids behind it.
        training_patients: who of them has a lesion; None where it was not recorded.
        made_with: configuration and precision of the training; empty where another tool trained.
    """

    run: Run
    subjects: pd.DataFrame
    candidates: pd.DataFrame
    training: dict[str, list[str]]
    training_patients: frozenset[str] | None = None
    made_with: dict[str, Any] = field(default_factory=dict)

    def ids(self, role: str) -> list[str]:
        """Return the sorted ids of `validation` or `test`."""
        return sorted(self.subjects.loc[self.subjects["role"] == role, "participant_id"])

    @property
    def real(self) -> set[str]:
        """Real training subjects: those that stand behind themselves."""
        return {name for name, sources in self.training.items() if name in sources}

    @property
    def behind_synthetic(self) -> set[str]:
        """Every real subject behind a synthetic training volume."""
        return {
            s for name, sources in self.training.items() if name not in sources for s in sources
        }

    @property
    def behind(self) -> set[str]:
        """Every real subject behind a training volume."""
        return {source for sources in self.training.values() for source in sources}


def read_run(run: Run, rules: CandidateRules) -> RunTables:
    """Read a cell's tables.

    Raises:
        DataError: a file is missing or damaged, or was made under other rules.
        LineageError: the cell was trained on other numbers of subjects than it says.
    """
    made_with = read_json(run.folder / "rules.json")
    if made_with != asdict(rules):
        raise DataError(
            f"{run.folder} was evaluated with the rules {made_with}, the study asks for "
            f"{asdict(rules)}. Run train_detector again: trained detectors and maps are kept."
        )
    subjects = read_tsv(
        run.folder / "subjects.tsv",
        participant_id=str,
        group=str,
        site=str,
        role=str,
        lesion_ml=float,
        max_probability_in_lesion=float,
        dice=float,
        lesion_scores=str,
    )
    candidates = read_tsv(
        run.folder / "candidates.tsv", participant_id=str, score=float, hit=int, hit_strict=int
    )
    lineage = read_json(run.folder / "lineage.json")
    patients = frozenset(lineage["patients"]) if "patients" in lineage else None
    made_with = _made_with(run.folder / "detector.json")
    tables = RunTables(run, subjects, candidates, lineage["training"], patients, made_with)
    _check_counts(tables)
    return tables


def _made_with(record: Path) -> dict[str, Any]:
    """Return what must be alike in cells that are compared, as far as it was recorded."""
    known = read_json(record) if record.exists() else {}
    config = {k: v for k, v in known.get("config", {}).items() if k not in FREE}
    return {**config, "precision": known["precision"]} if config else {}


def _check_counts(tables: RunTables) -> None:
    run, real, ill = tables.run, tables.real, tables.training_patients
    said = {
        "real": (run.n_patients, run.n_controls),
        "synthetic": (run.n_synthetic_patients, run.n_synthetic_controls),
    }
    for kind, members in (("real", real), ("synthetic", tables.training.keys() - real)):
        patients, controls = said[kind]
        uneven = ill is not None and len(members & ill) != patients
        if uneven or len(members) != patients + controls:
            parts = "" if ill is None else f" ({len(members & ill)} of them patients)"
            raise LineageError(
                f"{run.folder} was trained on {len(members)} {kind} subjects{parts}; the study "
                f"says {patients} patients and {controls} controls. Train it again, or give the "
                "study another name."
            )


def check_lineage(runs: list[RunTables]) -> None:
    """Refuse a comparison that a leak or an unequal test would spoil.

    Raises:
        LineageError: with the ids, when a validation or test subject stands behind a training
            volume, regimes differ in their validation or test subjects or in how they were trained,
            `baseline` is not a subset of `expanded`, or a synthetic subject of any regime goes back
            to somebody outside the baseline's training set.
    """
    problems: list[str] = []
    for tables in runs:
        for role in ("validation", "test"):
            leaked = sorted(set(tables.ids(role)) & tables.behind)
            if leaked:
                problems.append(
                    f"{named(leaked)} ({role}) stand behind training volumes of {tables.run.name}"
                )
    by_fold: dict[int | None, RunTables] = {}
    for tables in runs:
        first = by_fold.setdefault(tables.run.fold, tables)
        for role in ("validation", "test"):
            other = set(first.ids(role)) ^ set(tables.ids(role))
            if other:
                problems.append(
                    f"{first.run.name} and {tables.run.name} differ in their {role} subjects: "
                    + named(sorted(other))
                )
    problems += _unlike_trainings(runs)
    problems += _nesting_problems({(t.run.regime, t.run.seed, t.run.fold): t for t in runs})
    if problems:
        raise LineageError("The regimes cannot be compared:\n- " + "\n- ".join(problems))


def _unlike_trainings(runs: list[RunTables]) -> list[str]:
    """Name the knobs in which cells differ from the first one: a difference may be theirs."""
    known = [tables for tables in runs if tables.made_with]
    problems = []
    for tables in known[1:]:
        first = known[0]
        knobs = sorted(
            name
            for name in first.made_with.keys() | tables.made_with.keys()
            if first.made_with.get(name) != tables.made_with.get(name)
        )
        if knobs:
            problems.append(
                f"{first.run.name} and {tables.run.name} were trained with different "
                f"{', '.join(knobs)}"
            )
    return problems


def _nesting_problems(runs: dict[tuple[str, int, int | None], RunTables]) -> list[str]:
    problems = []
    for (regime, seed, fold), tables in runs.items():
        baseline = runs.get(("baseline", seed, fold))
        if baseline is None:
            continue
        if regime == "expanded" and baseline.real - tables.real:
            missing = sorted(baseline.real - tables.real)
            problems.append(
                f"{named(missing)} train {baseline.run.name}, but not {tables.run.name}"
            )
        extra = sorted(tables.behind_synthetic - baseline.real)
        if extra:
            problems.append(
                f"{tables.run.name} goes back to {named(extra)}, outside the baseline's training"
            )
    return problems


def complete_runs(
    runs: Iterable[RunTables],
) -> tuple[dict[str, dict[int, list[RunTables]]], list[str]]:
    """Group cells by regime and seed, and leave out runs that lack a fold.

    Returns:
        Regime to seed to its cells (one a fold), and a warning for each run left out.
    """
    grouped: dict[str, dict[int, list[RunTables]]] = {}
    for tables in runs:
        grouped.setdefault(tables.run.regime, {}).setdefault(tables.run.seed, []).append(tables)
    warnings = []
    for regime, seeds in grouped.items():
        for seed, members in list(seeds.items()):
            lacking = set(range(members[0].run.folds)) - {t.run.fold for t in members}
            if lacking:
                names = ", ".join(str(f) for f in sorted(lacking))
                warnings.append(
                    f"{regime}, seed {seed} is left out: fold(s) {names} are not trained yet."
                )
                del seeds[seed]
    return {regime: dict(sorted(s.items())) for regime, s in grouped.items() if s}, warnings
