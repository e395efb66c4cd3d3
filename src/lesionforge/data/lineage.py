"""Lineage: the real subjects that training volumes derive from, and the refusal of leaks."""

from collections.abc import Iterable

import pandas as pd

from lesionforge.data.subject import Subject
from lesionforge.errors import LineageError, named


def check_sources(training: Iterable[Subject]) -> None:
    """Refuse training subjects that do not say which real subjects stand behind them.

    Raises:
        LineageError: with their ids.
    """
    orphans = [s.id for s in training if not any(s.sources)]
    if orphans:
        raise LineageError(
            f"It is not recorded which real subjects stand behind {named(orphans)}. "
            "Synthesize them again."
        )


def check_roles(training: Iterable[Subject], splits: pd.DataFrame) -> None:
    """Refuse a training volume behind which stands anyone but a training subject.

    A person of whom any scan validates or tests is no training subject.
    """
    roles = dict(zip(splits["participant_id"], splits["role"], strict=True))
    if "participant" in splits:
        held_out = splits["role"].isin(["validation", "test"])
        persons = set(splits.loc[held_out, "participant"])
        roles |= {
            name: f"another scan of {person} is held out"
            for name, person in zip(splits["participant_id"], splits["participant"], strict=True)
            if person in persons and roles[name] == "train"
        }
    leaks = [
        f"{s.id} goes back to {source} ({roles.get(source, 'unknown')})"
        for s in training
        for source in {*s.sources, *([] if s.synthetic else [s.id])}
        if roles.get(source) != "train"
    ]
    if leaks:
        raise LineageError(
            "Only training subjects may stand behind training volumes: " + named(sorted(leaks))
        )


def check_origin(synthetic: Iterable[Subject], allowed: set[str]) -> None:
    """Refuse a synthetic subject made from reals that the baseline does not train on."""
    extra = [
        f"{s.id} goes back to {source}"
        for s in synthetic
        for source in sorted(set(s.sources) - allowed)
    ]
    if extra:
        raise LineageError(
            "Synthetic subjects may only go back to the baseline's training subjects: "
            + named(extra)
            + ". Train the generator on the baseline's subjects of this seed and synthesize again."
        )
