"""Who decided what about a label: an append-only log."""

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import get_args

import pandas as pd

from lesionforge.data.labels import Source
from lesionforge.errors import DataError
from lesionforge.label_qc.config import Verdict
from lesionforge.provenance import PATIENCE_S, atomic, busy, sha256

SCHEMA = 2  # the first that knows the verdict `withdraw`


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
            connection.execute(f"PRAGMA user_version = {SCHEMA}")
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
            if not self._check(connection):
                return []  # another process is about to write the first decision, or was killed
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
        except sqlite3.OperationalError as error:
            if "locked" not in str(error):
                raise DataError(f"{self.path} cannot be used: {error}") from None
            raise DataError(busy(self.path)) from None
        except sqlite3.DatabaseError as error:
            raise DataError(f"{self.path} cannot be used as a log of decisions: {error}") from None

    def _check(self, connection: sqlite3.Connection) -> bool:
        """Tell whether the table exists; refuse that of a later version."""
        version = int(connection.execute("PRAGMA user_version").fetchone()[0])
        if version > SCHEMA:
            raise DataError(
                f"{self.path} has schema {version}, this LesionForge knows {SCHEMA}. Update it: "
                "nothing was read or written."
            )
        return version > 0

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


def log_path(cohort: Path) -> Path:
    """Return the log of a cohort."""
    return cohort / "labels" / "decisions.sqlite"
