"""Reads the layout of a BIDS-like folder: who has which images and lesion mask."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from lesionforge.data.subject import UNLABELLED, Group
from lesionforge.errors import DataError
from lesionforge.provenance import read_json, read_tsv

CONTROL_WORDS = ("control", "hc", "healthy", "con", "ctrl", "normal")
UNLABELLED_WORDS = ("unlabelled", "unlabeled")
"""What `group` in participants.tsv says of a patient who has no lesion mask yet."""
_MASK_WORDS = ("lesion", "roi", "tumor", "tumour", "fcd")


@dataclass(frozen=True)
class Problem:
    """Something wrong with the input: which subject and file, what, and what to do.

    Attributes:
        subject: participant label or table.
        file: the file, or the folder that should hold it.
        what: the finding.
        remedy: what to do.
        fatal: False for a remark that does not stop preparation.
    """

    subject: str
    file: str
    what: str
    remedy: str
    fatal: bool = True

    def __str__(self) -> str:
        """Return one line for people."""
        return f"{self.subject}: {self.what} ({self.file}). {self.remedy}"


@dataclass(frozen=True)
class RawSubject:
    """One subject of a raw folder.

    Attributes:
        id: `sub-...`.
        group: from participants.tsv, or from the presence of a mask.
        site: from participants.tsv, else the scanner of the reference's sidecar, `n/a` where
            unknown.
        images: channel (BIDS suffix) to file, in the study's order; the first is the reference.
        lesion: mask drawn by hand, None for controls and unlabelled patients.
        brain: brain mask that came with the data, None as a rule.
        notes: choices that were made in reading the folder.
        split: part of a published split (`split` in participants.tsv), `n/a` where there is none.
        readers: name and mask of each reader who drew one besides `lesion`.
    """

    id: str
    group: Group
    site: str
    images: dict[str, Path]
    lesion: Path | None = None
    brain: Path | None = None
    notes: tuple[str, ...] = ()
    split: str = "n/a"
    readers: tuple[tuple[str, Path], ...] = ()

    @property
    def reference(self) -> Path:
        """File of the first channel."""
        return next(iter(self.images.values()))


def read_raw(bids: Path, channels: Sequence[str]) -> tuple[list[RawSubject], list[Problem]]:
    """List the usable subjects of a BIDS-like folder, by id, and what stops the others.

    Files are found by their endings in `sub-*/anat` or `sub-*/ses-*/anat`: the channels' suffixes
    (`_T1w`, say), and a lesion mask that ends in `_mask` with a `label-` that names a lesion, or in
    `_roi`. Of several files of a channel the first by name is taken, and a note says so. A mask
    with a `desc` is that of the reader whom it names; where a subject has only such masks, the
    first is the original too.

    Args:
        bids: the data set.
        channels: BIDS suffixes of the images, the reference first.

    Raises:
        DataError: the folder is missing or holds no subject.
    """
    folders = sorted(p for p in Path(bids).glob("sub-*") if p.is_dir())
    if not folders:
        raise DataError(
            f"{bids} holds no `sub-*` folder. Give the root of a BIDS data set (--cohort.bids DIR)."
        )
    table, problems = _participants(Path(bids))
    subjects = []
    for folder in folders:
        row = table.get(folder.name, {})
        found = _read_subject(folder, row, channels)
        if isinstance(found, RawSubject):
            subjects.append(found)
        else:
            problems += found
    names = {folder.name for folder in folders}
    for name in sorted(set(table) - names):
        problems.append(
            Problem(
                name,
                str(Path(bids) / "participants.tsv"),
                "is listed but has no folder",
                "Add its files or remove its row.",
                fatal=False,
            )
        )
    return subjects, problems


def _participants(bids: Path) -> tuple[dict[str, dict[str, str]], list[Problem]]:
    """Read group, site and split of each participant; BOM, `n/a` and missing `sub-` are met."""
    path = bids / "participants.tsv"
    if not path.exists():
        return {}, []
    table = read_tsv(path, participant_id=str)
    rows: dict[str, dict[str, str]] = {}
    problems = []
    for row in table.to_dict("records"):
        name = str(row["participant_id"])
        name = name if name.startswith("sub-") else f"sub-{name}"
        found: dict[str, str] = {
            column: str(row[column]).strip()
            for column in ("group", "site", "split")
            if column in row and not pd.isna(row[column]) and str(row[column]).strip()
        }
        if rows.setdefault(name, found) != found:
            what = "is listed twice, with different values"
            problems.append(Problem(name, str(path), what, "Keep the row that is true."))
    return rows, problems


def _read_subject(
    folder: Path, row: dict[str, str], channels: Sequence[str]
) -> RawSubject | list[Problem]:
    """Read one subject's folder; its problems if it cannot be used."""
    group = row.get("group", "")
    files = list(nifti_files(folder))
    masks, readers = _by_reader([p for p in files if _is_lesion(p)])
    brains = [p for p in files if stem(p).endswith("_desc-brain_mask")]
    images = {c: [p for p in files if stem(p).endswith(f"_{c}")] for c in channels}
    problems = [
        Problem(folder.name, str(folder), f"has no {channel}", "Add it, or exclude the subject.")
        for channel in channels
        if not images[channel]
    ]
    meant = _group(group, bool(masks))
    problems += _group_problems(folder, group, meant, masks)
    problems += [p for path in readers for p in _name_problems(folder.name, path)]
    if problems:
        return problems
    notes = [
        f"{len(chosen)} {kind} files, took {chosen[0].name}"
        for kind, chosen in [*images.items(), ("lesion mask", masks)]
        if len(chosen) > 1
    ]
    if readers and reader_of(masks[0]) is not None:
        notes.append(f"no lesion mask without `desc`, took {masks[0].name}")
    return RawSubject(
        folder.name,
        meant,
        row.get("site") or _scanner(images[channels[0]][0]),
        {channel: files[0] for channel, files in images.items()},
        masks[0] if masks else None,
        brains[0] if brains else None,
        tuple(notes),
        row.get("split", "n/a").lower(),
        tuple(sorted({str(reader_of(path)): path for path in reversed(readers)}.items())),
    )


def _group(word: str, has_mask: bool) -> Group:
    """Return the group that participants.tsv means by `word`; without one, the mask decides."""
    if word.lower() in UNLABELLED_WORDS:
        return UNLABELLED
    is_control = word.lower() in CONTROL_WORDS or (not word and not has_mask)
    return "control" if is_control else "patient"


def _group_problems(folder: Path, word: str, meant: Group, masks: list[Path]) -> list[Problem]:
    """Say where group and lesion mask contradict each other."""
    name = folder.name
    if meant == "patient" and not masks:
        what = f"is in group `{word}` but has no lesion mask"
        remedy = (
            "Add `*_label-lesion_mask.nii.gz` or `*_roi.nii.gz`, or set its group to control, or "
            f"to {UNLABELLED} if it is a patient whose lesion nobody has outlined yet."
        )
        return [Problem(name, str(folder), what, remedy)]
    if meant != "patient" and masks:
        group = "in the control group" if meant == "control" else UNLABELLED
        remedy = "Set its group to patient, or remove the mask."
        return [Problem(name, str(masks[0]), f"is {group} but has a lesion mask", remedy)]
    return []


_SCANNER = ("InstitutionName", "ManufacturersModelName", "DeviceSerialNumber")


def _scanner(image: Path) -> str:
    """Name the scanner by a scan's BIDS sidecar, `n/a` where it has none or does not say."""
    sidecar = image.with_name(stem(image) + ".json")
    if not sidecar.exists():
        return "n/a"
    known = read_json(sidecar)
    parts = [str(known[key]).strip() for key in _SCANNER if known.get(key)]
    return " ".join(parts) or "n/a"


def stem(path: Path) -> str:
    """Return a NIfTI file's name without `.nii` or `.nii.gz`."""
    return path.name.removesuffix(".gz").removesuffix(".nii")


def entity(path: Path, name: str) -> str | None:
    """Return the value of a BIDS entity in a file's name (`iso08` of `acq` in `_acq-iso08_`)."""
    parts = (part.partition("-") for part in stem(path).split("_"))
    return next((value for key, dash, value in parts if dash and key == name), None)


def scan_name(path: Path) -> str:
    """Return whose image a file is: participant and session, else its name without the suffix.

    Entities such as `acq` and `run` tell images of one head apart, not heads.
    """
    subject, session = entity(path, "sub"), entity(path, "ses")
    if subject is None:
        return stem(path).rpartition("_")[0]
    return f"sub-{subject}" + (f"_ses-{session}" if session else "")


def nifti_files(folder: Path) -> Iterable[Path]:
    """List a folder's NIfTI files, sorted: no hidden ones, nothing in `derivatives`."""
    for path in sorted(folder.rglob("*")):
        hidden = any(
            p.startswith(".") or p == "derivatives" for p in path.relative_to(folder).parts
        )
        if not hidden and path.name.endswith((".nii", ".nii.gz")):
            yield path


def reader_of(mask: Path) -> str | None:
    """Return the reader whom a mask's `desc` names; None without one, or where it says lesion."""
    name = entity(mask, "desc")
    return None if name is None or any(w in name.lower() for w in _MASK_WORDS) else name


def _by_reader(masks: list[Path]) -> tuple[list[Path], list[Path]]:
    """Part a subject's lesion masks into those without a reader, and those of readers."""
    original = [p for p in masks if reader_of(p) is None] or masks[:1]
    return original, [p for p in masks if p not in original]


def _name_problems(subject: str, mask: Path) -> list[Problem]:
    """Refuse a reader's name that cannot name a label set."""
    name = reader_of(mask)
    if name and re.fullmatch("[A-Za-z0-9]+", name) and name != "original":
        return []
    remedy = "A reader's name has letters and digits only and is not `original`: rename the file."
    return [Problem(subject, str(mask), f"is named after a reader `{name}`", remedy)]


def _is_lesion(path: Path) -> bool:
    name = stem(path).lower()
    if name.endswith("_roi"):
        return True
    label = [part for part in name.split("_") if part.startswith(("label-", "desc-"))]
    return name.endswith(("_mask", "_dseg")) and any(w in e for e in label for w in _MASK_WORDS)
