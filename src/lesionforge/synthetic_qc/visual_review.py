"""A person looks at a share of a synthetic set: who is looked at, and which verdicts stand.

What is said is appended to `inspected.tsv` in the set's folder; the last verdict about a subject
counts, as long as its volumes are the ones that were looked at. Rejected subjects do not train.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, get_args

import pandas as pd

from lesionforge.data.cohort import read_channels, sidecar_path
from lesionforge.data.subject import Subject
from lesionforge.errors import ConfigError, DataError, named
from lesionforge.provenance import alone, read_json, read_tsv, sha256_json, write_tsv
from lesionforge.seeding import assigned_turn, stream
from lesionforge.synthesis.verification import read_synthetic

SCHEMA = 1
PAGE = "inspection"
TABLE = "inspected.tsv"
LOCK = ".inspected.lock"
Verdict = Literal["accept", "reject"]


@dataclass(frozen=True)
class Inspection:
    """What a person said of one synthetic subject.

    Attributes:
        participant_id: whom.
        verdict: `accept` or `reject`.
        by: name of the person.
        when: UTC, ISO 8601.
        reason: in words; a rejection has one.
        sha256: of what was looked at, see `digest`.
    """

    participant_id: str
    verdict: Verdict
    by: str
    when: str
    reason: str
    sha256: str

    def __post_init__(self) -> None:
        """Check what belongs together.

        Raises:
            DataError: the verdict is unknown, nobody gave it, or a rejection has no reason.
        """
        if self.verdict not in get_args(Verdict):
            raise DataError(
                f"{self.participant_id}: a verdict is accept or reject, got {self.verdict!r}."
            )
        if not self.by:
            raise DataError("A verdict says whose it is: give a name (--by).")
        if self.verdict == "reject" and not self.reason:
            raise DataError(f"{self.participant_id}: a rejection needs a reason.")


COLUMNS = tuple(f.name for f in fields(Inspection))


def sample_sheet(subjects: Sequence[Subject], share: float, seed: int) -> list[Subject]:
    """Draw who is looked at: a share of the patients and of the controls, one of each at least.

    A set may grow: those drawn before are drawn again, and of the new ones the same share.

    Args:
        subjects: of the set, in the order of their numbers.
        share: in (0, 1].
        seed: of the set.

    Raises:
        ConfigError: the share is not allowed.
    """
    if not 0 < share <= 1:
        raise ConfigError(f"`inspect` must be a share above 0 and at most 1, got {share:g}.")
    drawn = []
    for group in ("patient", "control"):
        members = [s for s in subjects if s.group == group]
        picked = [
            s
            for number, s in enumerate(members, start=1)
            if assigned_turn(number, share, seed, "inspect", group) is not None
        ]
        if members and not picked:
            picked = [members[int(stream(seed, "inspect", group).integers(len(members)))]]
        drawn += picked
    return drawn


def digest(subject: Subject) -> str | None:
    """Return the checksum of a synthetic subject's volumes; None where it is not on disk."""
    path = sidecar_path(subject)
    return sha256_json(read_json(path)["VolumeSHA256"]) if path.exists() else None


def is_of_now(audit: Mapping[str, Any], root: Path) -> bool:
    """Tell whether the audit of a set judged what the set consists of now."""
    return bool(audit.get("subjects") == {s.id: digest(s) for s in accepted(root)})


def read_inspections(root: Path) -> list[Inspection]:
    """Return all verdicts about a set, oldest first.

    Raises:
        DataError: the table is damaged.
    """
    path = root / TABLE
    if not path.exists():
        return []
    table = read_tsv(path, **dict.fromkeys(COLUMNS, str))
    try:
        rows = table[list(COLUMNS)].fillna("").to_dict("records")
        return [Inspection(**{str(k): v for k, v in row.items()}) for row in rows]
    except DataError as error:
        raise DataError(f"{path} was changed by hand: {error}") from None


def standing(root: Path) -> dict[str, Inspection]:
    """Return the last verdict about each subject, by participant id.

    A verdict about volumes that are no longer there (the subject was made otherwise since) does not
    stand.
    """
    last = {row.participant_id: row for row in read_inspections(root)}
    return {name: row for name, row in last.items() if digest(_subject(root, name)) == row.sha256}


def rejected(root: Path) -> list[str]:
    """Return the ids of a set's subjects that a person has rejected, sorted."""
    return sorted(name for name, row in standing(root).items() if row.verdict == "reject")


def accepted(root: Path) -> list[Subject]:
    """Read those of a synthetic set whom no person has rejected: what trains, and what is shown.

    Raises:
        DataError: files are missing or damaged, see `verify_synthetic`.
    """
    bad = rejected(root)
    return [subject for subject in read_synthetic(root) if subject.id not in bad]


def count_rejected(root: Path) -> dict[str, int]:
    """Count the rejected subjects of each group; none where there is no set yet."""
    counts = {"patient": 0, "control": 0}
    if (root / "participants.tsv").exists():
        table = read_tsv(root / "participants.tsv", participant_id=str, group=str)
        for group in table["group"][table["participant_id"].isin(rejected(root))]:
            counts[group] += 1
    return counts


def record_inspection(path: Path, subjects: Sequence[Subject], by: str) -> list[Inspection]:
    """Append the verdicts that the page `inspect.html` has saved to the set's table.

    Verdicts that stand already, word for word and by the same person, are not written again.

    Args:
        path: of the saved file.
        subjects: of the set.
        by: who has looked.

    Returns:
        What was written.

    Raises:
        DataError: the file is of another page, version or set, or lacks verdicts; all faults are
            named, and nothing is written.
    """
    by = _one_line(by)
    if not by:
        raise DataError("A verdict says whose it is: give a name (--by).")
    root = subjects[0].root
    asked, rows = _read_saved(path)
    _check_rows(path, asked, rows, {s.id: digest(s) for s in subjects}, root)
    now = datetime.now(UTC).isoformat("T", "seconds")
    found = [
        Inspection(name, row["verdict"], by, now, _one_line(row.get("reason")), row["sha256"])
        for name, row in rows.items()
    ]
    # of two people who record at once neither loses a verdict
    with alone(root / LOCK, root / TABLE):
        known = standing(root)
        fresh = [v for v in found if v.participant_id not in known or _differ(v, known)]
        table = pd.DataFrame(map(asdict, [*read_inspections(root), *fresh]), columns=list(COLUMNS))
        write_tsv(root / TABLE, table.replace("", None))
    return fresh


def _read_saved(path: Path) -> tuple[list[str], dict[str, dict[str, Any]]]:
    """Return whom the page asked about, and the rows that it saved by participant id."""
    content = read_json(path)
    if not isinstance(content, dict) or content.get("page") != PAGE:
        raise DataError(f"{path} was not saved by an inspection page (inspect.html).")
    if content.get("schema") != SCHEMA:
        raise DataError(
            f"{path} has schema {content.get('schema')}, this LesionForge knows {SCHEMA}. Was it "
            "saved by a page of another version? Synthesize again with --inspect and look again."
        )
    asked, rows = content.get("asked"), content.get("verdicts")
    whole = isinstance(asked, list) and isinstance(rows, list)
    if not whole or not all(isinstance(row, dict) for row in rows or ()):
        raise DataError(f"{path} is not whole. Open the page again and save.")
    asked, rows = list(asked or ()), list(rows or ())
    return [str(name) for name in asked], {str(row.get("participant_id")): row for row in rows}


def _check_rows(
    path: Path,
    asked: Sequence[str],
    rows: dict[str, dict[str, Any]],
    digests: dict[str, str | None],
    root: Path,
) -> None:
    given = {name for name, row in rows.items() if row.get("verdict") in get_args(Verdict)}
    strange = [name for name in rows if name not in digests]
    faults = {
        f"names subjects that {root} does not have:": strange,
        f"is about other volumes than {root} holds (another set or seed?):": [
            n for n, row in rows.items() if n in digests and row.get("sha256") != digests[n]
        ],
        "has no verdict about": [name for name in {*asked, *rows} if name not in given],
        "gives no reason to reject": [
            n
            for n in given
            if rows[n]["verdict"] == "reject" and not _one_line(rows[n].get("reason"))
        ],
    }
    found = [f"{what} {named(sorted(which))}" for what, which in faults.items() if which]
    if not rows and not asked:
        found.append("has no verdict at all")
    if found:
        raise DataError(
            f"{path} {'; '.join(found)}. Nothing was recorded. Open inspect.html of the set again, "
            "finish and save."
        )


def _one_line(words: Any) -> str:
    """Return words as a table keeps them: on one line, and nothing for what it reads as nothing."""
    text = " ".join(str(words or "").split())
    return "" if text == "n/a" else text


def _differ(verdict: Inspection, known: dict[str, Inspection]) -> bool:
    old = known[verdict.participant_id]
    return (old.verdict, old.by, old.reason) != (verdict.verdict, verdict.by, verdict.reason)


def _subject(root: Path, name: str) -> Subject:
    return Subject(name, "patient", "n/a", root, True, channels=read_channels(root))


def summary(root: Path, subjects: Sequence[Subject]) -> str:
    """Say in one line how many were looked at and how many of them rejected, and why."""
    found = standing(root)
    parts = []
    for group in ("patient", "control"):
        mine = [found[s.id] for s in subjects if s.group == group and s.id in found]
        bad = sum(row.verdict == "reject" for row in mine)
        members = sum(s.group == group for s in subjects)
        share = f" ({100 * bad / len(mine):.0f} %)" if mine else ""
        parts.append(f"{len(mine)} of {members} {group}s inspected, {bad} rejected{share}")
    return "; ".join(parts)
