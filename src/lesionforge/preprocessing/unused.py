"""Lists what of a data set is not read, and why: every file, column, row and folder."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from lesionforge.preprocessing.naming import NIFTI, entity, is_lesion, may_be_mask, stem
from lesionforge.preprocessing.raw import RawSubject
from lesionforge.preprocessing.tables import read_participants

OTHER_FORMATS = (".img", ".hdr", ".mgz", ".mgh", ".nrrd", ".nhdr", ".mha", ".mhd", ".dcm", ".ima",
                 ".nii.zip", ".nii.bz2", ".nii.xz", ".nii.zst")  # fmt: skip


@dataclass(frozen=True)
class Unused:
    """Something that nothing reads.

    Attributes:
        what: file or folder below the data set, or column or row of a table.
        why: in words.
    """

    what: str
    why: str


def find_unused(
    root: Path, subjects: Sequence[RawSubject], channels: Sequence[str]
) -> list[Unused]:
    """List what of a data set no usable subject reads.

    Hidden files and folders (those that begin with a dot) are passed over.

    Args:
        root: the data set.
        subjects: those that can be used.
        channels: BIDS suffixes of the images.
    """
    used = {path for subject in subjects for path in subject.files}
    usable = {subject.participant for subject in subjects}
    found = [
        Unused(str(path.relative_to(root)), _why(path.relative_to(root), usable, channels))
        for path in _images(root)
        if path not in used
    ]
    table = read_participants(root / "participants.tsv")
    folders = sorted(p for p in root.iterdir() if p.is_dir() and not p.name.startswith("."))
    have = {p.name for p in folders}
    found += [Unused(f"column {name}", "is not read") for name in table.unused]
    found += [Unused(f"row {name}", "has no folder") for name in sorted(set(table.rows) - have)]
    found += [
        Unused(f"{folder.name}/", "is no `sub-*` folder, so nothing in it is read")
        for folder in folders
        if not folder.name.startswith("sub-")
    ]
    return found


def _images(root: Path) -> Iterator[Path]:
    """Find everything that may be an image, in any format, links to nothing included."""
    for path in sorted(root.rglob("*")):
        hidden = any(part.startswith(".") for part in path.relative_to(root).parts)
        name = path.name.lower()
        if not hidden and name.endswith((*NIFTI, *OTHER_FORMATS)) and not path.is_dir():
            yield path


def _why(path: Path, usable: set[str], channels: Sequence[str]) -> str:
    """Say why a file, given below its data set, is not read."""
    suffix = stem(path).rpartition("_")[2]
    if "derivatives" in path.parts:
        return "derivatives are not read; copy masks that count beside the images"
    if not path.parts[0].startswith("sub-"):
        return "lies in no `sub-*` folder"
    if not path.name.endswith(NIFTI):
        return "is no .nii or .nii.gz"
    if suffix in channels or is_lesion(path):
        session = entity(path, "ses")
        if path.parts[0] not in usable:
            return "its subject cannot be used, or is excluded"
        where = f"session {session}" if session else "the subject"
        return f"another file was taken, or {where} lacks a channel"
    if may_be_mask(path):
        return "may be a mask, but its name does not say so: `*_label-lesion_mask.nii.gz` does"
    return f"`{suffix}` is no channel of the study ({', '.join(channels)})"


def list_unused(found: Sequence[Unused]) -> list[str]:
    """Return a line for each reason, with everything that it holds for."""
    by_reason = sorted(found, key=lambda one: (one.why, one.what))
    return [
        f"Not used: {', '.join(one.what for one in same)} ({why})"
        for why, same in groupby(by_reason, key=lambda one: one.why)
    ]
