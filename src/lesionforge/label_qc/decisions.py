"""Decisions about labels, checked against the cohort, and the label sets that follow from them."""

import logging
from dataclasses import asdict
from pathlib import Path

import numpy as np

from lesionforge.data.cohort import read_cohort
from lesionforge.data.labels import (
    Label,
    drawn_by_model,
    read_joined,
    read_labelled,
    write_label_set,
)
from lesionforge.data.subject import Subject, read_grid, read_lesion
from lesionforge.data.volume import read_volume
from lesionforge.errors import DataError, GeometryError, named
from lesionforge.label_qc.config import Verdict
from lesionforge.label_qc.decision_log import Decision, DecisionLog, log_path
from lesionforge.provenance import sha256

logger = logging.getLogger(__name__)


def decide(
    cohort: Path, base: str, decision: Decision, mask: Path | None = None
) -> tuple[int, Decision]:
    """Check a decision against the cohort and append it to the cohort's log.

    Args:
        cohort: the prepared cohort.
        base: the label set that was looked at.
        decision: without its mask and base.
        mask: NIfTI file of `replace`, on the grid of the subject's prepared volumes.

    Returns:
        Its number, and the decision as it was written.

    Raises:
        DataError: the subject is unknown, or unlabelled and to be confirmed, or to be withdrawn
            without having joined; the mask is empty, missing, or contradicts the verdict.
        GeometryError: the mask lies on another grid.
    """
    subjects = {s.id: s for s in read_labelled(cohort, base)}
    subject = subjects.get(decision.participant_id)
    if subject is None:
        raise DataError(f"{cohort} has no subject {decision.participant_id}. Nothing was decided.")
    if mask is not None and decision.verdict in ("healthy", "withdraw"):
        raise DataError(
            f"`{decision.verdict}` goes without a mask: give a mask or the verdict, not both."
        )
    if decision.verdict == "withdraw" and subject.id not in _late(cohort, base):
        raise DataError(
            f"{subject.id} did not get a first label in the set `{base}` or in one that it was "
            "made from, so it cannot be unlabelled again. Nothing was decided."
        )
    if not subject.has_label and mask is None and decision.verdict != "healthy":
        raise DataError(
            f"{subject.id} is unlabelled in the set `{base}`, so there is nothing to confirm. Give "
            "a mask (--mask FILE), or --verdict healthy. Nothing was decided."
        )
    log = DecisionLog(log_path(cohort))
    digest = ""
    if mask is not None:
        _check_mask(subject, mask)
        digest = log.keep_mask(mask)
    verdict: Verdict = "replace" if digest else decision.verdict
    content = {**asdict(decision), "verdict": verdict, "mask": digest, "base": base}
    written = Decision(**content)
    return log.append(written), written


def last_verdicts(cohort: Path) -> dict[str, Verdict]:
    """Return the verdict of a person that stands about each subject's label, by id."""
    decided, withdrawn = _standing(cohort, DecisionLog(log_path(cohort)))
    found = {**decided, **withdrawn}
    return {name: d.verdict for name, d in found.items() if d.source == "human"}


def _standing(cohort: Path, log: DecisionLog) -> tuple[dict[str, Decision], dict[str, Decision]]:
    """Return the decisions of people that stand, and the labels taken back, each by subject.

    Taking a label back ends the decision that stood for the same mask; where another mask was
    decided on, that decision stands. Who is labelled again after that is last in order.
    """
    decided: dict[str, Decision] = {}
    withdrawn: dict[str, Decision] = {}
    decisions, known = log.read(), {s.id for s in read_cohort(cohort)}
    gone = sorted({d.participant_id for d in decisions} - known)
    if gone:
        logger.warning("Decisions about who is not in the cohort are passed over: %s", named(gone))
    for decision in decisions:
        name = decision.participant_id
        if name in gone:
            continue
        if decision.source == "model":
            continue
        if decision.verdict != "withdraw":
            withdrawn.pop(name, None)
            decided[name] = decision
        elif name not in decided or _same(
            _decided_mask(cohort, log, decided[name]), _mask_in(cohort, decision.base, name)
        ):
            decided.pop(name, None)
            withdrawn[name] = decision
    return decided, withdrawn


def _same(one: np.ndarray | None, other: np.ndarray | None) -> bool:
    return one is other if one is None or other is None else np.array_equal(one, other)


def _mask_in(cohort: Path, base: str, name: str) -> np.ndarray | None:
    """Return the mask of a subject in a label set; None for no lesion, or no label."""
    subject = next(s for s in read_labelled(cohort, base) if s.id == name)
    return read_lesion(subject) if subject.group == "patient" else None


def _late(cohort: Path, base: str) -> set[str]:
    """Return the ids of those whose first label is in a set or in one that it was made from."""
    return {j.participant_id for j in read_joined(cohort, base)}


def _check_mask(subject: Subject, path: Path) -> None:
    volume = read_volume(path)
    if not volume.grid.matches(read_grid(subject)):
        raise GeometryError(
            f"{path} is not on the grid of {subject.id}'s prepared volumes. Draw the mask on "
            f"{subject.images[0]}."
        )
    if not (volume.data > 0.5).any():
        raise DataError(f"{path} is empty. If {subject.id} has no lesion, decide `healthy`.")


def apply_decisions(cohort: Path, base: str, name: str) -> list[str]:
    """Write the label set `name`: `base` with the last decision of a person about each subject.

    A label that was confirmed in another set than `base` is taken from there; a mask that a model
    drew stays a model's. What a model decided counts in the set that it was decided for, and in
    those that are made from it: it is not applied again. A label that was taken back is taken from
    the sets that hold the same mask.

    Returns:
        The ids whose label changed.

    Raises:
        DataError: there are no decisions of people, a kept mask is missing, or the set exists.
    """
    log = DecisionLog(log_path(cohort))
    decided, withdrawn = _standing(cohort, log)
    if not decided and not withdrawn:
        raise DataError(f"{log.path} holds no decision of a person: there is nothing to apply.")
    late = _late(cohort, base)
    new = {w: d for w, d in decided.items() if d.verdict != "confirm" or d.base != base}
    back = {
        who: decision
        for who, decision in withdrawn.items()
        if who in late and _same(_mask_in(cohort, decision.base, who), _mask_in(cohort, base, who))
    }
    labels = {who: _decided_label(cohort, log, decision) for who, decision in (new | back).items()}
    write_label_set(cohort, name, base, labels)
    return sorted(labels)


def _decided_label(cohort: Path, log: DecisionLog, decision: Decision) -> Label:
    """Return the label that a decision stands for."""
    mask, by = _decided_mask(cohort, log, decision), decision.decided_by
    confirmed = decision.verdict == "confirm"
    if confirmed and decision.participant_id in drawn_by_model(cohort, decision.base):
        return Label(mask, "model", f"a model, confirmed by {by}", decision.reason)
    back = decision.verdict == "withdraw"
    return Label(mask, decision.source, by, decision.reason, withdrawn=back)


def _decided_mask(cohort: Path, log: DecisionLog, decision: Decision) -> np.ndarray | None:
    """Return the mask that a decision stands for; None for no lesion."""
    if decision.verdict in ("healthy", "withdraw"):
        return None
    if decision.verdict == "confirm":
        return _mask_in(cohort, decision.base, decision.participant_id)
    path = log.mask_path(decision.mask)
    if not path.exists() or sha256(path) != decision.mask:
        raise DataError(
            f"{path}, the mask of {decision.participant_id}, is missing or changed. Put the file "
            "back, or `decide` on the subject again with --mask FILE."
        )
    return read_volume(path).data > 0.5
