"""Chooses who trains in a regime, and refuses every leak between roles."""

from collections.abc import Collection

import pandas as pd

from lesionforge.data.lineage import check_origin, check_roles, check_sources
from lesionforge.data.splits import first_in_order
from lesionforge.data.subject import Subject
from lesionforge.errors import ConfigError, LineageError, named
from lesionforge.study.regimes import Regime


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
