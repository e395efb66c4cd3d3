"""Reads the layout of BIDS-like folders: who has which images and lesion mask, in which session."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from lesionforge.data.subject import UNLABELLED, Group
from lesionforge.errors import DataError
from lesionforge.preprocessing.config import PrepareConfig
from lesionforge.preprocessing.naming import (
    entity,
    is_lesion,
    is_reader,
    may_be_mask,
    nifti_files,
    reader_of,
    stem,
)
from lesionforge.preprocessing.problems import Problem
from lesionforge.preprocessing.tables import Participants, read_participants, same_id

CONTROL_WORDS = ("control", "hc", "healthy", "con", "ctrl", "normal")
UNLABELLED_WORDS = ("unlabelled", "unlabeled")
"""What `group` in participants.tsv says of a patient who has no lesion mask yet."""
_SCANNER = ("InstitutionName", "ManufacturersModelName", "DeviceSerialNumber")


@dataclass(frozen=True)
class RawSubject:
    """One scan of a raw data set: a participant in one session.

    Attributes:
        id: `sub-...`: the participant; with several sessions or data sets also those.
        group: from participants.tsv; without a word there a mask makes a patient.
        site: from participants.tsv, else the scanner of the reference's sidecar, `n/a` where
            unknown.
        images: channel (BIDS suffix) to file, in the study's order; the first is the reference.
        lesion: mask drawn by hand, None for controls and unlabelled patients.
        brain: brain mask that came with the data, None as a rule.
        notes: choices that were made in reading the folder.
        split: part of a published split (`split` in participants.tsv), `n/a` where there is none.
        readers: name and mask of each reader who drew one besides `lesion`.
        root: the data set's folder.
        dataset: its name.
        participant: who was scanned; of one data set `sub-...` as it is there.
        labels: what the mask's values mean, by number; empty where every value is lesion.
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
    root: Path = Path()
    dataset: str = "n/a"
    participant: str = ""
    labels: Mapping[int, str] = field(default_factory=dict)

    @property
    def reference(self) -> Path:
        """File of the first channel."""
        return next(iter(self.images.values()))

    @property
    def files(self) -> list[Path]:
        """Everything that preparation reads of it."""
        masks = [path for path in (self.lesion, self.brain) if path is not None]
        return [*self.images.values(), *masks, *(path for _, path in self.readers)]


def read_data_sets(
    roots: Sequence[Path], channels: Sequence[str], config: PrepareConfig
) -> tuple[list[RawSubject], list[Problem]]:
    """Read several data sets as one; the ids of several begin with the data set's name.

    Raises:
        DataError: see `read_raw`; or two data sets have the same name.
    """
    names = [re.sub("[^A-Za-z0-9]", "", root.resolve().name) for root in roots]
    if len(set(names)) < len(names):
        raise DataError(
            f"Data sets must have different names of folders, got {', '.join(map(str, roots))}."
        )
    subjects: list[RawSubject] = []
    problems: list[Problem] = []
    for root, name in zip(roots, names, strict=True):
        own, found = read_raw(root, channels, config)
        prefix = f"sub-{name}" if len(roots) > 1 else "sub-"
        subjects += [
            replace(
                s,
                id=prefix + s.id.removeprefix("sub-"),
                participant=prefix + s.participant.removeprefix("sub-"),
                dataset=root.resolve().name,
            )
            for s in own
        ]
        problems += [
            replace(p, subject=prefix + p.subject.removeprefix("sub-"))
            if p.subject.startswith("sub-")
            else p
            for p in found
        ]
    return subjects, problems


def read_raw(
    bids: Path, channels: Sequence[str], config: PrepareConfig | None = None
) -> tuple[list[RawSubject], list[Problem]]:
    """List the usable scans of a BIDS-like folder, by id, and what stops the others.

    Files are found by their endings in `sub-*`: the channels' suffixes (`_T1w`, say), and a lesion
    mask that ends in `_mask` with a `label-` that names a lesion, or in `_roi`. A scan is what one
    session has; images of two sessions are never mixed. Of several files of a channel the first by
    name is taken, and a note says so. A mask with a `desc` is that of the reader whom it names;
    where a scan has only such masks, the first is the original too.

    Args:
        bids: the data set.
        channels: BIDS suffixes of the images, the reference first.
        config: `without_mask` and `fix_ids`; the default if None.

    Raises:
        DataError: the folder is missing or holds no subject, or participants.tsv cannot be read.
    """
    config = config or PrepareConfig()
    root = Path(bids)
    folders = sorted(p for p in root.glob("sub-*") if p.is_dir())
    if not folders:
        raise DataError(
            f"{bids} holds no `sub-*` folder. Give the root of a BIDS data set (--cohort.bids DIR)."
        )
    table = read_participants(root / "participants.tsv")
    names = {folder.name for folder in folders}
    rows, problems = _matched(table, names, config.fix_ids)
    problems += table.problems
    subjects = []
    for folder in folders:
        own, found = _read_participant(folder, rows.get(folder.name, {}), channels, config)
        subjects += own
        problems += found
    return subjects, problems


def _matched(
    table: Participants, names: set[str], fix_ids: bool
) -> tuple[dict[str, dict[str, str]], list[Problem]]:
    """Find the folder of each row; ids are compared as text."""
    rows = {name: row for name, row in table.rows.items() if name in names}
    problems = []
    for name in sorted(set(table.rows) - names):
        meant = same_id(name, names - set(rows))
        if meant is None:
            what, remedy = "is listed but has no folder", "Add its files, or leave it as it is."
            problems.append(Problem(name, str(table.path), what, remedy, False))
            continue
        remedy = f"Write {meant} in the table, or set `cohort.prepare.fix_ids: true`."
        if fix_ids:
            rows[meant], remedy = table.rows[name], "It is taken as that (`fix_ids`)."
        what = f"is listed as `{name}`"
        problems.append(Problem(meant, str(table.path), what, remedy, not fix_ids))
    return rows, problems


def _read_participant(
    folder: Path, row: Mapping[str, str], channels: Sequence[str], config: PrepareConfig
) -> tuple[list[RawSubject], list[Problem]]:
    """Read one participant's folder: a scan a session that has every channel."""
    sessions: dict[str, list[Path]] = {}
    for path in nifti_files(folder):
        sessions.setdefault(_session(path, folder), []).append(path)
    lacking = {
        session: [c for c in channels if not _of_channel(files, c)]
        for session, files in sessions.items()
    }
    whole = [session for session in sessions if not lacking[session]]
    problems = _incomplete(folder, lacking, channels)
    subjects = []
    masked = any(_masks(sessions[session]) for session in whole)
    for session in whole:
        name = folder.name + (re.sub("[^A-Za-z0-9]", "", session) if len(whole) > 1 else "")
        known = dict(row)
        if not _masks(sessions[session]) and masked and not _is_control(known.get("group", "")):
            known["group"] = UNLABELLED
        found = _read_scan(name, folder, sessions[session], known, channels, config)
        if isinstance(found, RawSubject):
            subjects.append(found)
        else:
            problems += found
    return subjects, problems


def _session(path: Path, folder: Path) -> str:
    """Return the session of a file by its name, else by its folder; empty without one."""
    named = entity(path, "ses")
    inside = [p for p in path.relative_to(folder).parts[:-1] if p.startswith("ses-")]
    return f"ses-{named}" if named else inside[0] if inside else ""


def _incomplete(
    folder: Path, lacking: Mapping[str, Sequence[str]], channels: Sequence[str]
) -> list[Problem]:
    """Say which sessions lack a channel; fatal where none is whole."""
    if len(lacking) < 2:
        missing = next(iter(lacking.values()), channels)
        remedy = "Add it, or exclude the subject."
        return [Problem(folder.name, str(folder), f"has no {c}", remedy) for c in missing]
    bad = {session: lacks for session, lacks in lacking.items() if lacks}
    said = "; ".join(f"{s or 'no session'} lacks {', '.join(c)}" for s, c in sorted(bad.items()))
    if not bad:
        return []
    if len(bad) < len(lacking):
        remedy = "That session is not used."
        return [Problem(folder.name, str(folder), said, remedy, False)]
    what = f"has no session with every channel ({said})"
    remedy = "Images of two sessions are never mixed: put those of one head in one session."
    return [Problem(folder.name, str(folder), what, remedy)]


def _of_channel(files: Sequence[Path], channel: str) -> list[Path]:
    return [path for path in files if stem(path).endswith(f"_{channel}")]


def _masks(files: Sequence[Path]) -> list[Path]:
    return [path for path in files if is_lesion(path)]


def _read_scan(
    name: str,
    folder: Path,
    files: Sequence[Path],
    row: Mapping[str, str],
    channels: Sequence[str],
    config: PrepareConfig,
) -> RawSubject | list[Problem]:
    """Read one scan from the files of its session; its problems if it cannot be used."""
    masks, readers = _by_reader(_masks(files))
    images, problems = _chosen(name, {c: _of_channel(files, c) for c in channels})
    group, found = _group(name, folder, row.get("group", ""), masks, config)
    problems += found
    problems += [p for path in readers for p in _name_problems(name, path)]
    if problems:
        return problems
    brains = [p for p in files if stem(p).endswith("_desc-brain_mask")]
    counted = [*((c, _of_channel(files, c)) for c in channels), ("lesion mask", masks)]
    notes = [
        f"{len(some)} {kind} files, took {images.get(kind, some[0]).name}"
        for kind, some in counted
        if len(some) > 1
    ]
    if readers and reader_of(masks[0]) is not None:
        notes.append(f"no lesion mask without `desc`, took {masks[0].name}")
    site, remark = _scanner(images[channels[0]])
    return RawSubject(
        name,
        group,
        row.get("site") or site,
        images,
        masks[0] if masks else None,
        brains[0] if brains else None,
        (*notes, *([] if "site" in row else remark)),
        row.get("split", "n/a").lower(),
        tuple(sorted({str(reader_of(path)): path for path in reversed(readers)}.items())),
        root=folder.parent,
        participant=folder.name,
    )


def _chosen(
    name: str, found: Mapping[str, Sequence[Path]]
) -> tuple[dict[str, Path], list[Problem]]:
    """Choose one file a channel, all in one space: by `space-`, then the first by name."""

    def space(path: Path) -> str:
        named = entity(path, "space") or ""
        return "" if named in found else named  # `space-T1w`: on the grid of an image

    spaces = sorted(set.intersection(*({space(p) for p in files} for files in found.values())))
    if len(spaces) == 1:
        own = {c: [p for p in some if space(p) == spaces[0]] for c, some in found.items()}
        return {channel: some[0] for channel, some in own.items()}, []
    first = next(iter(found.values()))[0]
    shown = ", ".join(f"{p.name}" for some in found.values() for p in some)
    what = f"has images in several spaces and none is certain: {shown}"
    if not spaces:
        what = f"has no space in which every channel lies: {shown}"
    remedy = "Leave the images of one space (`space-`) in the folder, or exclude the subject."
    return {}, [Problem(name, str(first.parent), what, remedy)]


def _is_control(word: str) -> bool:
    return word.lower() in CONTROL_WORDS


def _group(
    name: str, folder: Path, word: str, masks: Sequence[Path], config: PrepareConfig
) -> tuple[Group, list[Problem]]:
    """Return what a scan is: as participants.tsv says, else by its mask, else as configured."""
    if not word and not masks and config.without_mask == "refuse":
        return UNLABELLED, [_nothing_said(name, folder)]
    group: Group = "patient"
    if not word and not masks:
        group = "control" if config.without_mask == "control" else UNLABELLED
    elif _is_control(word):
        group = "control"
    elif word.lower() in UNLABELLED_WORDS:
        group = UNLABELLED
    if group == "patient" and not masks:
        what = f"is in group `{word}` but has no lesion mask{_elsewhere(folder)}"
        remedy = (
            "Add `*_label-lesion_mask.nii.gz` or `*_roi.nii.gz`, or set its group to control, or "
            f"to {UNLABELLED} if it is a patient whose lesion nobody has outlined yet."
        )
        return group, [Problem(name, str(folder), what, remedy)]
    if group != "patient" and masks:
        what = "in the control group" if group == "control" else UNLABELLED
        remedy = "Set its group to patient, or keep the mask out of the data set."
        return group, [Problem(name, str(masks[0]), f"is {what} but has a lesion mask", remedy)]
    return group, []


def _nothing_said(name: str, folder: Path) -> Problem:
    what = f"has no lesion mask, and nothing says that it is healthy{_elsewhere(folder)}"
    remedy = (
        "Add its mask (`*_label-lesion_mask.nii.gz`), or say in `group` of participants.tsv "
        f"whether it is a control or {UNLABELLED}, or of all such subjects in "
        "`cohort.prepare.without_mask`."
    )
    return Problem(name, str(folder), what, remedy)


def _elsewhere(folder: Path) -> str:
    """Name the files that may be a participant's mask under another name or in derivatives."""
    files = [*nifti_files(folder)]
    files += sorted(folder.parent.glob(f"derivatives/**/{folder.name}/**/*.nii*"))
    found = [str(p.relative_to(folder.parent)) for p in files if may_be_mask(p)]
    return f"; {', '.join(found[:3])} may be one and is not read" if found else ""


def _scanner(image: Path) -> tuple[str, list[str]]:
    """Name the scanner by a scan's BIDS sidecar: `n/a` where it has none or does not say.

    Returns:
        The scanner, and a remark where the sidecar cannot be read.
    """
    sidecar = image.with_name(stem(image) + ".json")
    if not sidecar.is_file():
        return "n/a", []
    try:
        known = json.loads(sidecar.read_text("utf-8-sig"), strict=False)
        parts = [str(known[key]).strip() for key in _SCANNER if known.get(key)]
    except (ValueError, AttributeError, TypeError, OSError):
        return "n/a", [f"{sidecar.name} is no JSON object in UTF-8, so the scanner is not known"]
    return " ".join(" ".join(parts).split()) or "n/a", []


def _by_reader(masks: list[Path]) -> tuple[list[Path], list[Path]]:
    """Part a scan's lesion masks into those without a reader, and those of readers."""
    original = [p for p in masks if reader_of(p) is None] or masks[:1]
    return original, [p for p in masks if p not in original]


def _name_problems(subject: str, mask: Path) -> list[Problem]:
    """Refuse a reader's name that cannot name a label set."""
    name = reader_of(mask)
    if is_reader(name):
        return []
    remedy = "A reader's name has letters and digits only and is not `original`: rename the file."
    return [Problem(subject, str(mask), f"is named after a reader `{name}`", remedy)]
