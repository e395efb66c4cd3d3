"""Looks a raw data set through before hours are spent on it, and reports every problem at once."""

import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from lesionforge.data.subject import UNLABELLED
from lesionforge.data.volume import Volume, read_volume
from lesionforge.errors import DataError
from lesionforge.preprocessing.headers import Header, check_header
from lesionforge.preprocessing.raw import Problem, RawSubject, entity, read_raw, stem

SHOWN_REMARKS = 10
"""Remarks of one kind that are shown one by one."""


@dataclass(frozen=True)
class Check:
    """What was found in a raw data set.

    Attributes:
        subjects: those that can be used, their remarks among their notes.
        table: one row each: participant_id, group, site, and of each file its name and voxel size;
            columns of the channels, and lesion.
        problems: everything that was found, by subject.
    """

    subjects: list[RawSubject]
    table: pd.DataFrame
    problems: list[Problem]

    @property
    def unusable(self) -> list[str]:
        """Ids of the subjects that cannot be used."""
        return sorted({p.subject for p in self.problems if p.fatal})

    def __str__(self) -> str:
        """Return the problems, what would be used, and the counts, for people."""
        groups = self.table["group"].value_counts()
        counts = ", ".join(f"{groups.get(g, 0)} {g}s" for g in ("patient", "control"))
        counts += f", {groups[UNLABELLED]} {UNLABELLED}" if UNLABELLED in groups else ""
        lines = [str(p) for p in self.problems if p.fatal]
        lines += sum_up([p for p in self.problems if not p.fatal])
        if len(self.table):
            lines += ["", self.table.to_string(index=False), ""]
        drawn = Counter(name for s in self.subjects for name, _ in s.readers)
        lines += [f"Masks of reader {name}: {n} subject(s)." for name, n in sorted(drawn.items())]
        remarks = len(self.problems) - sum(p.fatal for p in self.problems)
        lines.append(
            f"{len(self.table)} subjects can be used ({counts}), {len(self.unusable)} cannot; "
            f"{remarks} remark(s)."
        )
        return "\n".join(lines)


def sum_up(remarks: list[Problem]) -> list[str]:
    """Return a line for each remark, or one for many that differ in their numbers only."""
    alike: dict[tuple[str, str], list[Problem]] = defaultdict(list)
    for remark in remarks:
        alike[re.sub(r"[\d.]+", "#", remark.what), remark.remedy].append(remark)
    lines: list[str] = []
    for same in alike.values():
        if len(same) <= SHOWN_REMARKS:
            lines += map(str, same)
        else:
            lines.append(f"{len(same)} files, the first being {same[0]}")
    return lines


def check_raw(bids: Path, channels: Sequence[str], exclude: Sequence[str] = ()) -> Check:
    """Check a BIDS-like folder by its layout, tables and headers; no voxels are read.

    Args:
        bids: the data set.
        channels: BIDS suffixes of the images, the reference first.
        exclude: ids that are left out on purpose.

    Raises:
        DataError: the folder is missing or holds no subject.
    """
    subjects, problems = read_raw(bids, channels)
    subjects = [s for s in subjects if s.id not in exclude]
    headers: dict[str, dict[str, Header]] = {}
    for subject in subjects:
        headers[subject.id], found = check_headers(subject)
        problems += found
    problems += find_copies(headers)
    problems = sorted((p for p in problems if p.subject not in exclude), key=lambda p: p.subject)
    bad = {p.subject for p in problems if p.fatal}
    usable = [with_remarks(s, problems) for s in subjects if s.id not in bad]
    rows = [_row(s, headers[s.id]) for s in usable]
    columns = ["participant_id", "group", "site", *channels, "lesion"]
    return Check(usable, pd.DataFrame(rows, columns=columns), problems)


def with_remarks(subject: RawSubject, problems: list[Problem]) -> RawSubject:
    """Add what was remarked on a subject's files to its notes."""
    own = [p for p in problems if p.subject == subject.id]
    return replace(subject, notes=(*subject.notes, *(f"{Path(p.file).name} {p.what}" for p in own)))


def _row(subject: RawSubject, headers: dict[str, Header]) -> dict[str, str]:
    def shown(kind: str) -> str:
        header = headers.get(kind)
        if header is None:
            return "-"
        size = "x".join(f"{s:.3g}" for s in header.grid.voxel_mm)
        return f"{header.path.name.removeprefix(subject.id + '_')} {size}"

    files = {kind: shown(kind) for kind in (*subject.images, "lesion")}
    return {"participant_id": subject.id, "group": subject.group, "site": subject.site, **files}


def check_headers(subject: RawSubject) -> tuple[dict[str, Header], list[Problem]]:
    """Check the headers of one subject's files, and whether they fit together.

    Returns:
        Headers by kind (a channel or `lesion`), as far as they can be read, and the problems.
    """
    paths = {**subject.images, "lesion": subject.lesion}
    headers, problems = {}, []
    for kind, path in paths.items():
        if path is None:
            continue
        header, found = check_header(subject.id, path, kind == "lesion")
        problems += found
        if header is not None:
            headers[kind] = header
    if len(headers) == len([p for p in paths.values() if p]) and subject.lesion is not None:
        problems += _check_belonging(subject, headers)
    for _, path in subject.readers:
        header, found = check_header(subject.id, path, True)
        problems += found
        if header is not None and set(subject.images) <= set(headers):
            problems += _check_belonging(subject, headers | {"lesion": header})
    return headers, problems


def _check_belonging(subject: RawSubject, headers: dict[str, Header]) -> list[Problem]:
    """Remark on a mask whose grid or name is not that of an image."""
    path = headers["lesion"].path
    images = [headers[channel] for channel in subject.images]
    on = [h for h in images if headers["lesion"].grid.matches(h.grid)]
    found = []
    if not on:
        what = f"lies on the grid of no image ({', '.join(subject.images)})"
        found.append(Problem(subject.id, str(path), what, "Its name and affine decide.", False))
    acquisition = entity(path, "acq")
    if acquisition and acquisition not in {entity(h.path, "acq") for h in images}:
        where = f"It lies on the grid of {on[0].path.name}." if on else "See that it fits."
        what = f"is named after another acquisition ({acquisition}) than the images"
        found.append(Problem(subject.id, str(path), what, where, False))
    return found


def find_copies(headers: dict[str, dict[str, Header]]) -> list[Problem]:
    """Find images with the same content: under two subjects they leak from training into test."""
    same: dict[tuple[int, int], list[tuple[str, Path]]] = defaultdict(list)
    for name, files in headers.items():
        for kind, header in files.items():
            if kind != "lesion":
                same[header.content].append((name, header.path))
    problems = []
    for copies in same.values():
        for name, path in copies[1:] + copies[:1] if len(copies) > 1 else []:
            other = next(p for _, p in copies if p != path)
            remedy = "Find out whose it is and remove or exclude the other."
            problems.append(Problem(name, str(path), f"has the content of {other}", remedy))
    return problems


def check_scan(images: Mapping[str, Path]) -> tuple[str, ...]:
    """Check the images of one new head as a cohort's are; headers first, then voxels.

    Returns:
        What is to be remarked.

    Raises:
        DataError: a scan cannot be used; all reasons are named.
    """
    first = next(iter(images.values()))
    raw = RawSubject(stem(first).rpartition("_")[0], "control", "n/a", dict(images))
    headers, problems = check_headers(raw)
    problems += find_copies({raw.id: headers})
    if not any(problem.fatal for problem in problems):
        problems += check_voxels(raw)
    if fatal := [str(problem) for problem in problems if problem.fatal]:
        raise DataError("\n".join(fatal))
    return with_remarks(raw, problems).notes


def check_voxels(subject: RawSubject) -> list[Problem]:
    """Check the voxels of one subject whose headers are in order."""
    problems = [p for path in subject.images.values() for p in _check_image(subject, path)]
    masks = [] if subject.lesion is None else [subject.lesion]
    for path in [*masks, *(path for _, path in subject.readers)]:
        problems += _check_mask(subject, path)
    return problems


def _read(subject: RawSubject, path: Path) -> Volume | Problem:
    try:
        return read_volume(path)
    except DataError as error:
        return Problem(subject.id, str(path), str(error), "Copy or convert it again.")


def _check_image(subject: RawSubject, path: Path) -> list[Problem]:
    volume = _read(subject, path)
    if isinstance(volume, Problem):
        return [volume]

    def problem(what: str, remedy: str, fatal: bool = True) -> Problem:
        return Problem(subject.id, str(path), what, remedy, fatal)

    found = []
    bad = ~np.isfinite(volume.data)
    if bad.any():
        found.append(
            problem(
                f"has {int(bad.sum())} NaN or infinite voxels",
                "They are read as 0.",
                fatal=bool(bad.mean() > 0.5),
            )
        )
    if not bad.all() and np.ptp(volume.data[~bad]) == 0:
        found.append(problem("is constant", "Copy or convert it again."))
    return found


def _check_mask(subject: RawSubject, path: Path) -> list[Problem]:
    volume = _read(subject, path)
    if isinstance(volume, Problem):
        return [volume]
    values = np.unique(volume.data[np.isfinite(volume.data)])
    if not (values > 0.5).any():
        return [
            Problem(
                subject.id,
                str(path),
                "is an empty lesion mask of a patient",
                "Draw the lesion, or set the subject's group to control and remove the mask.",
            )
        ]
    if len(values) > 2 or not set(values.tolist()) <= {0.0, float(values.max())}:
        return [
            Problem(
                subject.id,
                str(path),
                f"is not binary: {len(values)} values from {values.min():g} to {values.max():g}",
                "Values above 0.5 are taken as lesion.",
                fatal=False,
            )
        ]
    return []
