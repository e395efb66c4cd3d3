"""Several labels of one cohort: which mask counts for whom, and where it came from.

What preparation found is the label set `original`, which `participants.tsv` and the files
`*_label-lesion_mask.nii.gz` hold. Every other set (a second reader's masks, a corrected version,
planted errors) is a table `labels/<set>.tsv` in the cohort, one row a subject, beside masks
`sub-X/anat/sub-X_space-..._label-lesion_desc-<set>_mask.nii.gz` of those that differ from its base.
A set is complete and is never changed: a correction is a new set. Unlabelled people stay so in a
set until one of its labels is their first; see `lesionforge.data.late_labels`.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, cast

import numpy as np
import pandas as pd

from lesionforge.data.cohort import json_path, read_cohort
from lesionforge.data.config import ORIGINAL
from lesionforge.data.late_labels import Joined, join
from lesionforge.data.subject import UNLABELLED, Group, Subject, read_grid, reader_suffix
from lesionforge.data.volume import write_volume
from lesionforge.errors import DataError, GeometryError
from lesionforge.provenance import alone, read_tsv, sha256, write_json, write_tsv, write_tsv_once

NONE = "n/a"
LOCK = ".labels.lock"
Source = Literal["human", "model", "synthetic"]


@dataclass(frozen=True, eq=False)
class Label:
    """A subject's label in a set.

    Attributes:
        mask: (X, Y, Z) bool on the study grid; None: the subject has no lesion.
        source: who drew it; `model` for what no person outlined, `synthetic` for what was planted.
        reader: name of the person or model.
        reason: why it differs from its base.
        withdrawn: a first label is taken back: nobody knows, the subject is unlabelled again.
    """

    mask: np.ndarray | None
    source: Source
    reader: str
    reason: str
    withdrawn: bool = False

    def __post_init__(self) -> None:
        """Refuse a mask that is withdrawn and given at once.

        Raises:
            DataError: see above.
        """
        if self.withdrawn and self.mask is not None:
            raise DataError("A label that is withdrawn has no mask.")


def set_path(cohort: Path, name: str) -> Path:
    """Return the table of the label set `name`.

    Raises:
        DataError: the name cannot be part of a BIDS file name, or is `original`.
    """
    if not re.fullmatch("[A-Za-z0-9]+", name) or name == ORIGINAL:
        raise DataError(
            f"`{name}` cannot name a label set: use letters and digits only, and not `{ORIGINAL}`, "
            "which is what preparation found."
        )
    return cohort / "labels" / f"{name}.tsv"


def new_set_path(cohort: Path, name: str) -> Path:
    """Return the table of a label set that is to be made.

    Raises:
        DataError: the name is not allowed, or the set exists.
    """
    path = set_path(cohort, name)
    if path.exists():
        raise DataError(f"{path} exists. A label set is never changed: choose another name.")
    return path


def label_sets(cohort: Path) -> list[str]:
    """Return the names of a cohort's label sets, `original` first."""
    return [ORIGINAL, *sorted(path.stem for path in (cohort / "labels").glob("[!.]*.tsv"))]


def read_labelled(cohort: Path, name: str = ORIGINAL) -> list[Subject]:
    """Read a prepared cohort with the groups and masks of a label set.

    Raises:
        DataError: the set does not exist, does not fit the cohort, or a mask is missing or is not
            the one that was written.
    """
    subjects = read_cohort(cohort)
    if name == ORIGINAL:
        return subjects
    if not set_path(cohort, name).exists():
        known = ", ".join(label_sets(cohort))
        raise DataError(f"{cohort} has no label set `{name}`. It has: {known}.")
    table = _read_table(cohort, name)
    ids, late = {s.id for s in subjects}, {s.id for s in subjects if not s.has_label}
    if set(table.index) - ids or ids - late - set(table.index) or table.index.has_duplicates:
        raise DataError(
            f"{set_path(cohort, name)} does not name every subject of {cohort} once. Was the "
            "cohort prepared anew? Make the label set again."
        )
    chosen = []
    for subject in subjects:
        if subject.id not in table.index:  # an unlabelled patient who came after the set
            chosen.append(subject)
            continue
        row = table.loc[subject.id]
        file = "" if row["mask"] == NONE else str(row["mask"])
        if file and (not (cohort / file).exists() or sha256(cohort / file) != row["sha256"]):
            raise DataError(
                f"{cohort / file} is missing or was changed after it was written. Put it back, or "
                "make the label set again under another name."
            )
        chosen.append(replace(subject, group=cast(Group, row["group"]), lesion_file=file))
    return chosen


def write_label_set(cohort: Path, name: str, base: str, labels: Mapping[str, Label]) -> None:
    """Write a label set: `base` with other labels for some subjects. Nothing is overwritten.

    Args:
        cohort: the prepared cohort.
        name: of the new set.
        base: the set that it changes.
        labels: participant id to label. Who was unlabelled joins the training in this order.
            Whose label is withdrawn had joined; those behind them move up.

    Raises:
        DataError: the set exists, a subject is unknown, or a label is withdrawn that is no first
            one.
        GeometryError: a mask has another shape than the subject's volumes.
    """
    path = set_path(cohort, name)
    with alone(path.parent / LOCK, path):  # of two processes the later one finds the set
        _write_label_set(cohort, name, base, labels)


def _write_label_set(cohort: Path, name: str, base: str, labels: Mapping[str, Label]) -> None:
    path = new_set_path(cohort, name)
    subjects = read_labelled(cohort, base)
    late = {s.id for s in subjects if not s.has_label}
    fresh: dict[str, Group] = {
        subject_id: "control" if label.mask is None else "patient"
        for subject_id, label in labels.items()
        if subject_id in late and not label.withdrawn
    }
    unknown = sorted(set(labels) - {s.id for s in subjects})
    if unknown:
        raise DataError(f"{cohort} has no subject {', '.join(unknown[:10])}.")
    withdrawn = {subject_id for subject_id, label in labels.items() if label.withdrawn}
    joined = read_joined(cohort, base)
    firm = sorted(withdrawn - {j.participant_id for j in joined})
    if firm:
        raise DataError(
            f"{', '.join(firm[:10])}: only who got the first label in `{base}` or in a set that it "
            "was made from can be unlabelled again."
        )
    known = None if base == ORIGINAL else _read_table(cohort, base)
    rows = []
    for subject in subjects:
        if subject.id in labels:
            rows.append(_write_label(subject, name, labels[subject.id]))
            continue
        source = "human" if subject.has_label else NONE
        row = {"source": source, "reader": NONE, "reason": NONE, "version": ORIGINAL}
        if known is not None and subject.id in known.index:
            row = {column: str(known.loc[subject.id, column]) for column in row}
        rows.append(_row(subject, subject.lesion if subject.group == "patient" else None) | row)
    stay = [j for j in joined if j.participant_id not in withdrawn]
    write_tsv(path, _with_places(pd.DataFrame(rows), join(stay, fresh)))


def _with_places(table: pd.DataFrame, people: Sequence[Joined]) -> pd.DataFrame:
    """Add the columns `joined_as` and `joined_rank`, where anybody has joined."""
    joined = {j.participant_id: j for j in people}
    if not joined:
        return table
    found = [joined.get(name) for name in table["participant_id"]]
    ranks = pd.array([j.rank if j else None for j in found], dtype="Int64")
    groups = pd.Series([j.group if j else None for j in found], index=table.index)
    return table.assign(joined_as=groups, joined_rank=ranks)


def read_joined(cohort: Path, name: str) -> list[Joined]:
    """Return those who got their first label in a set or in one that it was made from, in order.

    Nobody where the set does not exist: `read_labelled` says so.
    """
    if name == ORIGINAL or not set_path(cohort, name).exists():
        return []
    table = _read_table(cohort, name)
    if "joined_as" not in table:
        return []
    rows = table[table["joined_as"] != NONE]
    joined = [
        Joined(str(i), cast(Group, row["joined_as"]), int(row["joined_rank"]))
        for i, row in rows.iterrows()
    ]
    return sorted(joined, key=lambda j: (j.group, j.rank))


def drawn_by_model(cohort: Path, name: str) -> set[str]:
    """Return the ids of a set's patients whose masks a model drew."""
    if name == ORIGINAL or not set_path(cohort, name).exists():
        return set()
    table = _read_table(cohort, name)
    return {str(i) for i in table.index[(table["source"] == "model") & (table["mask"] != NONE)]}


def write_reader_sets(cohort: Path, drawn: Mapping[str, Mapping[str, str]]) -> None:
    """Write the label set of each reader whose masks preparation has brought to the study grid.

    Whom a reader did not draw keeps the original label. Unlabelled people have no row: they stay
    unlabelled, and may come later.

    Args:
        cohort: the prepared cohort.
        drawn: reader to participant id to the name of the raw mask.

    Raises:
        DataError: a set exists and holds other labels.
    """
    subjects = [s for s in read_cohort(cohort) if s.has_label] if drawn else []
    for name, files in sorted(drawn.items()):
        rows = []
        for subject in subjects:
            row = {"source": "human", "reader": NONE, "reason": NONE, "version": ORIGINAL}
            mask = subject.lesion if subject.group == "patient" else None
            if subject.id in files:
                mask = subject.path(reader_suffix(name))
                row |= {"reader": name, "reason": f"raw mask {files[subject.id]}", "version": name}
            rows.append(_row(subject, mask) | row)
        path = set_path(cohort, name)
        if not write_tsv_once(path, pd.DataFrame(rows)):
            raise DataError(
                f"{path} exists, and the masks of reader {name} are others now. A label set is "
                "never changed: rename the reader in the raw data, or delete the set."
            )


def _write_label(subject: Subject, name: str, label: Label) -> dict[str, object]:
    path = None
    group: Group = UNLABELLED if label.withdrawn else "control"
    if label.mask is not None:
        grid = read_grid(subject)
        if label.mask.shape != grid.shape:
            raise GeometryError(
                f"The new mask of {subject.id} has shape {label.mask.shape}, its volumes "
                f"{grid.shape}."
            )
        group, suffix = "patient", reader_suffix(name)
        path = subject.path(suffix)
        write_volume(path, label.mask.astype(np.uint8), grid)
        known = {"Type": "Lesion", "Sources": list(subject.sources), "Reader": label.reader}
        drawn = {"LabelSource": "model"} if label.source == "model" else {}
        write_json(json_path(subject, suffix), known | {"Reason": label.reason} | drawn)
    known = {"source": label.source, "reader": label.reader, "reason": label.reason}
    return _row(replace(subject, group=group), path) | known | {"version": name}


def _row(subject: Subject, mask: Path | None) -> dict[str, object]:
    return {
        "participant_id": subject.id,
        "group": subject.group,
        "mask": None if mask is None else str(mask.relative_to(subject.root)),
        "sha256": None if mask is None else sha256(mask),
    }


def _read_table(cohort: Path, name: str) -> pd.DataFrame:
    """Read a set's table, by participant id; what is missing is `n/a`."""
    path = set_path(cohort, name)
    table = read_tsv(path, participant_id=str, group=str, mask=str, sha256=str)
    return table.set_index("participant_id").astype(object).fillna(NONE)
