"""Looks a raw data set through before hours are spent on it, and reports every problem at once."""

import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pandas as pd

from lesionforge.data.subject import UNLABELLED
from lesionforge.errors import DataError
from lesionforge.preprocessing.config import PrepareConfig
from lesionforge.preprocessing.headers import Header, check_header
from lesionforge.preprocessing.naming import entity, scan_name
from lesionforge.preprocessing.privacy import check_sidecar
from lesionforge.preprocessing.problems import Problem
from lesionforge.preprocessing.raw import RawSubject, read_data_sets
from lesionforge.preprocessing.spaces import Space, find_space
from lesionforge.preprocessing.tables import offer
from lesionforge.preprocessing.unused import Unused, find_unused, list_unused
from lesionforge.preprocessing.voxels import check_voxels

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
        unused: what is not read, and why.
    """

    subjects: list[RawSubject]
    table: pd.DataFrame
    problems: list[Problem]
    unused: list[Unused] = field(default_factory=list)

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
        lines += list_unused(self.unused)
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


def check_raw(
    bids: Path | Sequence[Path],
    channels: Sequence[str],
    config: PrepareConfig | None = None,
    labels: Mapping[int, str] | None = None,
) -> Check:
    """Check BIDS-like folders by their layout, tables and headers; no voxels are read.

    Args:
        bids: the data set, or several.
        channels: BIDS suffixes of the images, the reference first.
        config: how the data are prepared; the default if None.
        labels: what the values of lesion masks mean; without it every value is lesion.

    Raises:
        DataError: a folder is missing or holds no subject, or its table cannot be read.
    """
    config = config or PrepareConfig()
    roots = [bids] if isinstance(bids, str | Path) else list(bids)
    roots = [Path(root) for root in roots]
    subjects, problems = read_data_sets(roots, channels, config)
    known = {s.id for s in subjects} | {s.participant for s in subjects}
    known |= {problem.subject for problem in problems}
    problems += _strangers(config.exclude, known, roots[0])
    subjects = [s for s in subjects if not {s.id, s.participant} & set(config.exclude)]
    subjects = [replace(s, labels=dict(labels or {})) for s in subjects]
    headers: dict[str, dict[str, Header]] = {}
    for subject in subjects:
        headers[subject.id], found = check_headers(subject, config)
        problems += found
    problems += find_copies(headers)
    excluded = set(config.exclude) & known
    problems = sorted((p for p in problems if p.subject not in excluded), key=lambda p: p.subject)
    bad = {p.subject for p in problems if p.fatal}
    usable = [with_remarks(s, problems) for s in subjects if s.id not in bad]
    rows = [_row(s, headers[s.id]) for s in usable]
    columns = ["participant_id", "group", "site", *channels, "lesion"]
    unused = [
        one
        for root in roots
        for one in find_unused(root, [s for s in usable if s.root == root], channels)
    ]
    return Check(usable, pd.DataFrame(rows, columns=columns), problems, unused)


def _strangers(exclude: Sequence[str], known: set[str], root: Path) -> list[Problem]:
    """Refuse ids to leave out that are nobody's."""
    found = []
    for name in exclude:
        if name in known:
            continue
        near = offer(name, known)
        remedy = f"Did you mean {near}?" if near else "Write it as the folder is called."
        found.append(Problem(name, str(root), "is to be excluded, and there is no such id", remedy))
    return found


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
        name = header.path.name.removeprefix(scan_name(header.path) + "_")
        return f"{name} {size}"

    files = {kind: shown(kind) for kind in (*subject.images, "lesion")}
    return {"participant_id": subject.id, "group": subject.group, "site": subject.site, **files}


def check_headers(
    subject: RawSubject, config: PrepareConfig
) -> tuple[dict[str, Header], list[Problem]]:
    """Check the headers of one subject's files, and whether they fit together.

    Returns:
        Headers by kind (a channel or `lesion`), as far as they can be read, and the problems.
    """
    headers, problems = {}, []
    for kind, path in subject.images.items():
        header, found = check_header(subject.id, path)
        problems += [*found, *check_sidecar(subject.id, path)]
        if header is not None:
            headers[kind] = header
    images = dict(headers)
    masks = {"lesion": subject.lesion, "brain": subject.brain, **dict(subject.readers)}
    for kind, mask in masks.items():
        if mask is None:
            continue
        header, found = check_header(subject.id, mask, True)
        problems += found
        if header is None:
            continue
        if kind == "lesion":
            headers[kind] = header
        if set(images) == set(subject.images):
            problems += _check_belonging(subject, header, images, config)
    return headers, problems


def _check_belonging(
    subject: RawSubject, mask: Header, images: dict[str, Header], config: PrepareConfig
) -> list[Problem]:
    """Refuse a mask of which it is not certain where it lies; remark on a strange name."""
    found = []
    remedy = (
        "Name the image it was drawn on (`space-T1w` in its name, or `cohort.prepare.drawn_on`), "
        "and with `mask_affine: image` that it has that image's voxels whatever its header says."
    )
    space = None
    try:
        space = find_space(mask, images, config)
    except DataError as error:
        found.append(Problem(subject.id, str(mask.path), str(error), remedy))
    if space and mask.path == subject.brain and space.channel != next(iter(images)):
        what = f"is a brain mask of {space.channel}, not of {next(iter(images))}"
        remedy = "Give the brain mask of the first channel, or change the order of `channels`."
        found.append(Problem(subject.id, str(mask.path), what, remedy))
    acquisition = entity(mask.path, "acq")
    if acquisition and acquisition not in {entity(h.path, "acq") for h in images.values()}:
        where = f"It is taken as drawn on {images[space.channel].path.name}." if space else ""
        what = f"is named after another acquisition ({acquisition}) than the images"
        found.append(Problem(subject.id, str(mask.path), what, where or remedy, False))
    return found


def mask_space(subject: RawSubject, mask: Path, config: PrepareConfig) -> Space:
    """Decide where one of a subject's masks lies, see `find_space`.

    Raises:
        DataError: nothing decides, or a header cannot be read.
    """
    paths = {**subject.images, "mask": mask}
    headers = {kind: check_header(subject.id, path, True)[0] for kind, path in paths.items()}
    known = {kind: header for kind, header in headers.items() if header is not None}
    return find_space(known.pop("mask"), known, config)


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
            remedy = "Find out whose it is, and exclude the other."
            problems.append(Problem(name, str(path), f"has the content of {other}", remedy))
    return problems


def check_scan(images: Mapping[str, Path]) -> RawSubject:
    """Check the images of one new head as a cohort's are; headers first, then voxels.

    Returns:
        The scan, with what is to be remarked among its notes.

    Raises:
        DataError: a scan cannot be used; all reasons are named.
    """
    raw = RawSubject(scan_name(next(iter(images.values()))), "control", "n/a", dict(images))
    headers, problems = check_headers(raw, PrepareConfig())
    problems += find_copies({raw.id: headers})
    if not any(problem.fatal for problem in problems):
        problems += check_voxels(raw)
    if fatal := [str(problem) for problem in problems if problem.fatal]:
        raise DataError("\n".join(fatal))
    return with_remarks(raw, problems)
