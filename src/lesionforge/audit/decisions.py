"""Who decided what about a label: an append-only log, and the label sets that follow from it."""

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import pandas as pd

from lesionforge.cohort.labels import (
    Label,
    Source,
    drawn_by_model,
    read_joined,
    read_labelled,
    write_label_set,
)
from lesionforge.cohort.subject import Subject, read_grid, read_lesion
from lesionforge.errors import DataError, GeometryError
from lesionforge.provenance import atomic, sha256
from lesionforge.volume import read_volume

SCHEMA = 1
Verdict = Literal["confirm", "replace", "healthy", "withdraw"]
PATIENCE_S = 60.0  # for another process that is appending


@dataclass(frozen=True)
class Decision:
    """One decision about one label.

    Attributes:
        participant_id: whose label.
        verdict: `confirm` it as it is, `replace` its mask, call the subject `healthy`, or
            `withdraw` a first label that is wrong while nobody knows the right one.
        decided_by: name of the person or model.
        reason: in words.
        minutes: of expert time that it took.
        source: who decided.
        reviewed_by: a second person, empty where there was none.
        mask: of `replace`: SHA-256 of the mask, which is kept beside the log.
        base: the label set that was looked at.
        decided_at: UTC, ISO 8601; by default now.
    """

    participant_id: str
    verdict: Verdict
    decided_by: str
    reason: str
    minutes: float = 0.0
    source: Source = "human"
    reviewed_by: str = ""
    mask: str = ""
    base: str = "original"
    decided_at: str = ""

    def __post_init__(self) -> None:
        """Check what belongs together."""
        if self.verdict not in get_args(Verdict) or self.source not in get_args(Source):
            raise DataError(
                f"A decision is one of {', '.join(get_args(Verdict))} by one of "
                f"{', '.join(get_args(Source))}, got {self.verdict} by {self.source}."
            )
        if (self.verdict == "replace") != bool(self.mask):
            raise DataError("`replace` needs a mask, and no other verdict takes one.")
        if not self.decided_by or not self.reason:
            raise DataError("A decision says who decided (`decided_by`) and why (`reason`).")
        if not 0 <= self.minutes < 24 * 60:
            raise DataError(f"`minutes` must be in [0, 1440), got {self.minutes}.")


COLUMNS = tuple(f.name for f in fields(Decision))


class DecisionLog:
    """The decisions about a cohort's labels, in one SQLite file that is only ever appended to.

    Each append is one transaction that is on disk when it returns: a killed process loses at most
    the decision it was writing, and processes that append at once wait for each other. The file
    itself refuses changes and deletions.

    Args:
        path: of the file; made with the first decision.

    Raises:
        DataError: the file is no log, or of a later LesionForge.
    """

    def __init__(self, path: Path) -> None:
        self.path = Path(path)
        if self.path.exists():
            with self._open() as connection:
                self._check(connection)

    def append(self, decision: Decision) -> int:
        """Write a decision and return its number, from 1."""
        values = asdict(decision)
        values["decided_at"] = decision.decided_at or datetime.now(UTC).isoformat("T", "seconds")
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self._open() as connection:
            connection.execute("BEGIN IMMEDIATE")
            if not self._check(connection):
                self._create(connection)
            marks = ", ".join("?" * len(COLUMNS))
            found = connection.execute(
                f"INSERT INTO decisions ({', '.join(COLUMNS)}) VALUES ({marks})",
                [values[name] for name in COLUMNS],
            )
            connection.execute("COMMIT")
            return int(found.lastrowid or 0)

    def read(self) -> list[Decision]:
        """Return all decisions, oldest first."""
        if not self.path.exists():
            return []
        with self._open() as connection:
            self._check(connection)
            query = f"SELECT {', '.join(COLUMNS)} FROM decisions ORDER BY number"
            return [Decision(*row) for row in connection.execute(query)]

    def table(self) -> pd.DataFrame:
        """Return all decisions as a table with their numbers."""
        rows = [{"number": n, **asdict(d)} for n, d in enumerate(self.read(), start=1)]
        return pd.DataFrame(rows, columns=["number", *COLUMNS])

    def mask_path(self, digest: str) -> Path:
        """Return where the mask with a SHA-256 is kept."""
        return self.path.parent / "masks" / f"{digest}.nii.gz"

    def keep_mask(self, mask: Path) -> str:
        """Copy a mask beside the log, so that later changes to the file do not matter."""
        digest = sha256(mask)
        target = self.mask_path(digest)
        if not target.exists():
            with atomic(target) as part:
                shutil.copyfile(mask, part)
        return digest

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        try:
            with closing(sqlite3.connect(self.path, PATIENCE_S, isolation_level=None)) as found:
                found.execute("PRAGMA synchronous = FULL")
                yield found
        except sqlite3.DatabaseError as error:
            raise DataError(f"{self.path} cannot be used as a log of decisions: {error}") from None

    def _check(self, connection: sqlite3.Connection) -> bool:
        """Tell whether the tables exist; refuse those of a later version."""
        version = int(connection.execute("PRAGMA user_version").fetchone()[0])
        if version > SCHEMA:
            raise DataError(
                f"{self.path} has schema {version}, this LesionForge knows {SCHEMA}. Update it: "
                "nothing was read or written."
            )
        return version == SCHEMA

    def _create(self, connection: sqlite3.Connection) -> None:
        columns = ", ".join(f"{c} {'REAL' if c == 'minutes' else 'TEXT'} NOT NULL" for c in COLUMNS)
        connection.execute(
            f"CREATE TABLE decisions (number INTEGER PRIMARY KEY AUTOINCREMENT, {columns})"
        )
        for change in ("UPDATE", "DELETE"):
            connection.execute(
                f"CREATE TRIGGER no_{change.lower()} BEFORE {change} ON decisions "
                "BEGIN SELECT RAISE(ABORT, 'decisions are only ever added'); END"
            )
        connection.execute(f"PRAGMA user_version = {SCHEMA}")


def log_path(cohort: Path) -> Path:
    """Return the log of a cohort."""
    return cohort / "labels" / "decisions.sqlite"


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
    """Return the last verdict of a person about each subject's label, by id."""
    log = DecisionLog(log_path(cohort))
    return {d.participant_id: d.verdict for d in log.read() if d.source == "human"}


def _late(cohort: Path, base: str) -> set[str]:
    return {j.participant_id for j in read_joined(cohort, base)}


def _check_mask(subject: Subject, path: Path) -> None:
    volume = read_volume(path)
    if not volume.grid.matches(read_grid(subject)):
        raise GeometryError(
            f"{path} is not on the grid of {subject.id}'s prepared volumes. Draw the mask on "
            f"{subject.t1w}."
        )
    if not (volume.data > 0.5).any():
        raise DataError(f"{path} is empty. If {subject.id} has no lesion, decide `healthy`.")


def apply_decisions(cohort: Path, base: str, name: str) -> list[str]:
    """Write the label set `name`: `base` with the last decision of a person about each subject.

    A label that was confirmed in another set than `base` is taken from there; a mask that a model
    drew stays a model's. What a model decided counts in the set that it was decided for, and in
    those that are made from it: it is not applied again.

    Returns:
        The ids whose label changed.

    Raises:
        DataError: there are no decisions of people, a kept mask is missing, or the set exists.
    """
    log = DecisionLog(log_path(cohort))
    last = {d.participant_id: d for d in log.read() if d.source != "model"}
    if not last:
        raise DataError(f"{log.path} holds no decision of a person: there is nothing to apply.")
    labels, withdrawn, late = {}, {}, _late(cohort, base)
    for subject_id, decision in last.items():
        if decision.verdict == "withdraw":
            if subject_id in late:
                withdrawn[subject_id] = _decided_label(cohort, log, decision)
        elif decision.verdict != "confirm" or decision.base != base:
            labels[subject_id] = _decided_label(cohort, log, decision)
    write_label_set(cohort, name, base, labels, withdrawn)
    return sorted({*labels, *withdrawn})


def _decided_label(cohort: Path, log: DecisionLog, decision: Decision) -> Label:
    """Return the label that a decision stands for."""
    mask, by = _decided_mask(cohort, log, decision), decision.decided_by
    confirmed = decision.verdict == "confirm"
    if confirmed and decision.participant_id in drawn_by_model(cohort, decision.base):
        return Label(mask, "model", f"a model, confirmed by {by}", decision.reason)
    return Label(mask, decision.source, by, decision.reason)


def _decided_mask(cohort: Path, log: DecisionLog, decision: Decision) -> np.ndarray | None:
    """Return the mask that a decision stands for; None for no lesion."""
    if decision.verdict in ("healthy", "withdraw"):
        return None
    if decision.verdict == "confirm":
        known = {s.id: s for s in read_labelled(cohort, decision.base)}
        subject = known[decision.participant_id]
        return read_lesion(subject) if subject.group == "patient" else None
    path = log.mask_path(decision.mask)
    if not path.exists() or sha256(path) != decision.mask:
        raise DataError(f"{path}, the mask of {decision.participant_id}, is missing or changed.")
    return read_volume(path).data > 0.5
