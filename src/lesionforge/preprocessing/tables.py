"""Reads `participants.tsv` as BIDS has it: tabs, no quoting, UTF-8, ids as text."""

import difflib
import re
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from lesionforge.errors import DataError
from lesionforge.preprocessing.problems import Problem

MISSING = ("", "n/a")
KEY = "participant_id"
USED = (KEY, "group", "site", "split")
"""Columns of participants.tsv that are read."""


@dataclass(frozen=True)
class Participants:
    """What participants.tsv says.

    Attributes:
        path: of the table.
        columns: its columns, in order.
        rows: id as written to column to value; what is missing is not there.
        problems: rows that contradict each other.
    """

    path: Path
    columns: tuple[str, ...]
    rows: dict[str, dict[str, str]]
    problems: tuple[Problem, ...] = ()

    @property
    def unused(self) -> list[str]:
        """Columns that nothing reads."""
        return [column for column in self.columns if column not in USED]


def read_participants(path: Path) -> Participants:
    """Read a table of participants; without one there are no rows.

    Raises:
        DataError: the table cannot be read as BIDS has it; all faulty lines are named.
    """
    if not path.exists():
        return Participants(path, (), {})
    header, lines = _lines(path)
    rows: dict[str, dict[str, str]] = {}
    problems = []
    for line in lines:
        known = dict(zip(header, line, strict=False))
        name = known.pop(KEY)
        found = {c: v for c, v in known.items() if c in USED and v not in MISSING}
        if rows.setdefault(name, found) != found:
            what = "is listed twice, with different values"
            problems.append(Problem(name, str(path), what, "Keep the row that is true."))
    return Participants(path, header, rows, tuple(problems))


def _lines(path: Path) -> tuple[tuple[str, ...], list[list[str]]]:
    """Return the header and the other lines, each as long as the header."""
    try:
        text = path.read_text("utf-8-sig")
    except UnicodeDecodeError as error:
        line = path.read_bytes()[: error.start].count(b"\n") + 1
        raise DataError(f"{path} is not UTF-8 (line {line}). Save it as UTF-8.") from None
    written = enumerate(re.split("\r\n|\r|\n", text), 1)
    lines = [(number, line.split("\t")) for number, line in written if line.strip()]
    header = tuple(name.strip() for name in lines[0][1]) if lines else ()
    if KEY not in header or len(set(header)) < len(header):
        raise DataError(
            f"{path} must have a first line with `{KEY}` and different names of columns between "
            f"tabs, it has: {' | '.join(header)}."
        )
    rows = [(number, [value.strip() for value in line]) for number, line in lines[1:]]
    wrong = [
        f"line {number} has {len(line)} values"
        for number, line in rows
        if len(line) < len(header) or any(line[len(header) :])
    ]
    if wrong:
        raise DataError(
            f"{path}: {', '.join(wrong[:10])}, the first line has {len(header)}. Put one tab "
            "between two values and n/a where one is missing."
        )
    return header, [line for _, line in rows]


def offer(name: str, known: Collection[str]) -> str | None:
    """Return the id that was probably meant: other prefix, zeros, blanks or case; else a near one.

    Args:
        name: as written somewhere.
        known: ids that there are.
    """
    meant = [k for k in known if _core(k) == _core(name)]
    near = difflib.get_close_matches(name, sorted(known), n=1, cutoff=0.8)
    return meant[0] if len(meant) == 1 else near[0] if near and not meant else None


def same_id(name: str, known: Collection[str]) -> str | None:
    """Return the one id that differs from `name` in prefix, zeros, blanks or case alone."""
    meant = [k for k in known if _core(k) == _core(name)]
    return meant[0] if len(meant) == 1 else None


def _core(name: str) -> str:
    """Strip an id of what slips change: prefix, leading zeros of numbers, blanks, case."""
    bare = re.sub(r"[\s_-]", "", name.lower().removeprefix("sub-").removesuffix(".0"))
    return re.sub(r"(?<!\d)0+(?=\d)", "", bare.removeprefix("sub"))
