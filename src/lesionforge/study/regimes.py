"""Who trains in which regime, and the refusal of every leak between roles."""

from collections.abc import Collection
from dataclasses import dataclass

import pandas as pd

from lesionforge.data.lineage import check_origin, check_roles, check_sources
from lesionforge.data.splits import first_in_order
from lesionforge.data.subject import Subject
from lesionforge.errors import ConfigError, LineageError, named


@dataclass(frozen=True)
class Regime:
    """One regime of a study.

    Attributes:
        patients: real training patients, the first in the seed's order.
        controls: real training controls, the first in the seed's order.
        synthetic: name of the synthetic set that is added; none by default.
        ratio: synthetic patients per real patient, and synthetic controls per real control.
        real: whether the real subjects train at all; without them (`synthetic_only`) they give the
            synthetic numbers alone.
    """

    patients: int
    controls: int
    synthetic: str | None = None
    ratio: float = 1.0
    real: bool = True

    def __post_init__(self) -> None:
        """Check the ranges."""
        if self.patients < 1 or self.controls < 0:
            raise ConfigError(
                "A regime needs `patients` of at least 1 and `controls` of at least 0, got "
                f"{self.patients} and {self.controls}."
            )
        if self.ratio < 0:
            raise ConfigError(f"`ratio` must not be negative, got {self.ratio}.")
        if not self.real and not self.synthetic_count("patient"):
            raise ConfigError("A regime without real subjects needs synthetic patients.")

    def synthetic_count(self, group: str) -> int:
        """Return how many synthetic `patient`s or `control`s the regime adds."""
        if self.synthetic is None:
            return 0
        return round(self.ratio * (self.patients if group == "patient" else self.controls))


def training_subjects(
    regime: Regime,
    baseline: Regime,
    splits: pd.DataFrame,
    seed: int,
    real: list[Subject],
    synthetic: list[Subject],
    rejected: Collection[str] = (),
) -> list[Subject]:
    """Choose the training subjects of a regime.

    The real ones are the first in the seed's order, so that a smaller regime is a subset of a
    larger one; the synthetic ones are the first of their set that nobody has rejected.

    Args:
        regime: the regime.
        baseline: the regime whose real subjects may stand behind synthetic ones.
        splits: `splits.tsv`.
        seed: of the study.
        real: the prepared cohort.
        synthetic: the regime's synthetic set; may be empty if it names none.
        rejected: ids of synthetic subjects that a person has rejected.

    Raises:
        LineageError: a validation, test or unknown subject stands behind a training volume; a
            synthetic subject goes back to somebody outside the baseline's training set, or does
            not say whom it goes back to; somebody unlabelled would train.
        ConfigError: there are too few subjects.
    """
    known = {s.id: s for s in real}
    chosen = _real_ids(regime, splits, seed) if regime.real else []
    missing = [i for i in chosen if i not in known]
    if missing:
        raise LineageError(
            f"splits.tsv names subjects that the cohort does not have: {named(missing)}. "
            "Prepare the cohort again, or give the study another name."
        )
    without = [i for i in chosen if not known[i].has_label]
    if without:
        raise LineageError(
            f"Nobody trains without a label: {named(without)} are unlabelled in this label set. "
            "Use the set in which they were labelled (--labels)."
        )
    fit = [s for s in synthetic if s.id not in rejected]
    turned_down = len(synthetic) - len(fit)
    added = [s for g in ("patient", "control") for s in _first(regime, g, fit, turned_down)]
    training = [known[i] for i in chosen] + added
    check_sources(training)
    check_roles(training, splits)
    check_origin(added, set(_real_ids(baseline, splits, seed)))
    return training


def _real_ids(regime: Regime, splits: pd.DataFrame, seed: int) -> list[str]:
    return [
        *first_in_order(splits, "patient", regime.patients, seed),
        *first_in_order(splits, "control", regime.controls, seed),
    ]


def _first(regime: Regime, group: str, fit: list[Subject], turned_down: int) -> list[Subject]:
    """Return the first of a group that are fit to train, as many as the ratio asks for."""
    n = regime.synthetic_count(group)
    pool = [s for s in fit if s.group == group]
    if len(pool) < n:
        raise ConfigError(
            f"The regime asks for {n} synthetic {group}s, the set `{regime.synthetic}` has "
            f"{len(pool)}{_without(turned_down)}. Synthesize more (without --n as many are made as "
            "ratios and rejections ask for), or lower `ratio`."
        )
    return pool[:n]


def _without(turned_down: int) -> str:
    return f" besides {turned_down} subject(s) that a person rejected" if turned_down else ""
