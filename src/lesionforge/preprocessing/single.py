"""Prepares and writes one subject: checks, steps, sidecar, and whether it was done before."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from lesionforge.data.cohort import acquisition_column, expected_files, sidecar_path, write_subject
from lesionforge.data.subject import Subject, reader_suffix
from lesionforge.data.volume import Volume, read_volume
from lesionforge.errors import OF_ONE_SUBJECT, DataError
from lesionforge.preprocessing.checks import mask_space, with_remarks
from lesionforge.preprocessing.config import PrepareConfig
from lesionforge.preprocessing.headers import read_header
from lesionforge.preprocessing.lesion_masks import ROWS
from lesionforge.preprocessing.naming import entity
from lesionforge.preprocessing.pipeline import prepare_ignore, prepare_images, prepare_lesion
from lesionforge.preprocessing.privacy import shows_face
from lesionforge.preprocessing.problems import Problem
from lesionforge.preprocessing.quality import doubts
from lesionforge.preprocessing.raw import RawSubject
from lesionforge.preprocessing.register import centroid, check_orthogonal
from lesionforge.preprocessing.resample import resample
from lesionforge.preprocessing.scan import PreparedScan
from lesionforge.preprocessing.spaces import Space
from lesionforge.preprocessing.voxels import check_voxels
from lesionforge.provenance import read_json, sha256, sha256_json, write_json

PREPARATION_VERSION = 2
"""Raise it when the same input would give other voxels; subjects are then prepared again."""
LESION, IGNORE = "label-lesion_mask", "label-ignore_mask"
PARTED_MM = 2.0
"""Images of one grid so far apart are not in register."""


def prepare_subject(
    raw: RawSubject, cohort: Path, config: PrepareConfig
) -> tuple[Subject | None, dict[str, Any], list[Problem]]:
    """Prepare and write one subject, unless it is there already.

    Returns:
        The subject (None if it cannot be prepared), its figures, and the problems found.
    """
    subject = Subject(
        raw.id,
        raw.group,
        raw.site,
        cohort,
        sources=(raw.id,),
        participant="" if raw.participant == raw.id else raw.participant,
        dataset=raw.dataset,
        channels=tuple(raw.images),
    )
    problems: list[Problem] = []
    try:
        signature = _signature(raw, config)
        figures = _finished(subject, signature, raw)
        if figures is not None:
            return subject, figures, problems
        problems = check_voxels(raw)
        if any(problem.fatal for problem in problems):
            return None, {}, problems
        raw = with_remarks(raw, problems)
        with single_threaded():
            return subject, _prepare(raw, subject, config, signature), problems
    except OF_ONE_SUBJECT as error:
        what = f"cannot be prepared: {error}".rstrip(".")
        problem = Problem(raw.id, str(raw.reference.parent), what, "Fix or exclude it.")
        return None, {}, [*problems, problem]


@contextmanager
def single_threaded() -> Iterator[None]:
    """Run with one thread in every numerical library, so that sums come out the same."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with threadpool_limits(1):
            yield
    finally:
        torch.set_num_threads(threads)


def _log_path(subject: Subject) -> Path:
    return subject.root / subject.id / f"{subject.id}_desc-preparation_log.json"


def _signature(raw: RawSubject, config: PrepareConfig) -> str:
    """Return the checksum of everything that a subject's prepared volumes depend on."""
    knobs = asdict(replace(config, workers=1, exclude=()))
    files = {str(p.relative_to(raw.root)): sha256(p) for p in raw.files}
    what = [list(raw.images), files, raw.group, dict(raw.labels)]
    return sha256_json([PREPARATION_VERSION, knobs, *what])


def _finished(subject: Subject, signature: str, raw: RawSubject) -> dict[str, Any] | None:
    """Return the figures of a subject that was finished from the same inputs, else None."""
    sidecar = sidecar_path(subject)
    files = [sidecar, _log_path(subject), *expected_files(subject)]
    files += [subject.path(reader_suffix(name)) for name, _ in raw.readers]
    if not all(path.exists() for path in files):
        return None
    if read_json(sidecar).get("PreparationSHA256") != signature:
        return None
    figures: dict[str, Any] = read_json(_log_path(subject))
    return figures


def _prepare(
    raw: RawSubject, subject: Subject, config: PrepareConfig, signature: str
) -> dict[str, Any]:
    begun = time.perf_counter()
    scan = prepare_files(raw, config)
    volumes, notes = dict(scan.volumes), [*raw.notes, *scan.notes]
    figures: dict[str, Any] = {**_acquisition(raw), **scan.figures}
    if raw.lesion is not None:
        masks, found, remarks = _drawn(raw, raw.lesion, scan, config)
        volumes |= masks
        figures, notes = figures | found, [*notes, *remarks]
    else:
        for path in (subject.lesion, subject.ignore):
            path.unlink(missing_ok=True)
    for name, path in raw.readers:
        try:
            masks, _, remarks = _drawn(raw, path, scan, config)
        except DataError as error:
            raise DataError(f"{path.name} of reader {name}: {error}") from None
        volumes[reader_suffix(name)] = masks[LESION]
        notes += [f"reader {name}: {remark}" for remark in remarks]
    row = {**figures, "brain_mask": scan.mask_method, "notes": "; ".join(notes) or None}
    sidecar_path(subject).unlink(missing_ok=True)  # a former one must not vouch for this log
    write_json(_log_path(subject), {**row, "seconds": round(time.perf_counter() - begun, 2)})
    first, *others = scan.channels
    sidecar = {
        "RawSources": [str(p.relative_to(raw.root)) for p in raw.files],
        "BrainMask": scan.mask_method,
        f"{first}FromMNI": scan.reference_from_mni.round(6).tolist(),
        **{f"{c}From{first}": scan.from_reference[c].round(6).tolist() for c in others},
        "PreparationSHA256": signature,
    }
    write_subject(subject, volumes, scan.grid, sidecar)
    result: dict[str, Any] = read_json(_log_path(subject))
    return result


def _drawn(
    raw: RawSubject, path: Path, scan: PreparedScan, config: PrepareConfig
) -> tuple[dict[str, np.ndarray], dict[str, Any], list[str]]:
    """Bring a mask to the study grid: masks by suffix, figures (and `lesion_rows`), remarks."""
    volume, space = _read(path), mask_space(raw, path, config)
    area = space.grid or volume.grid
    named = {what: [v for v, w in raw.labels.items() if w == what] for what in ("lesion", "ignore")}
    lesion = np.isin(volume.data, named["lesion"]) if raw.labels else volume.data > 0.5
    mask, found, rows = prepare_lesion(scan, Volume(lesion, area), space.channel)
    masks = {LESION: mask}
    if named["ignore"]:
        other = Volume(np.isin(volume.data, named["ignore"]), area)
        masks[IGNORE] = prepare_ignore(scan, other, space.channel) & ~mask
        found["ignore_ml"] = float(masks[IGNORE].sum()) * scan.grid.voxel_mm3 / 1000
    remarks = [space.remark] if space.remark else []
    remarks += _parted(scan, space, Volume(lesion, area))
    lost = [row for row in rows if row["component"] is None]
    if lost:
        size = sum(row["raw_mm3"] for row in lost)
        remarks.append(f"{len(lost)} of {len(rows)} lesions are lost ({size:.0f} mm3)")
    return masks, found | {ROWS: rows}, [*remarks, *doubts(found, scan.channels)]


def _parted(scan: PreparedScan, space: Space, lesion: Volume) -> list[str]:
    """Remark on a mask that lies on the grid of several images which are not in register."""
    if not space.others or not lesion.data.any():
        return []
    centre = np.append(centroid(Volume(lesion.data.astype(np.float32), lesion.grid)), 1)
    places = [
        (np.linalg.inv(scan.from_reference[channel]) @ centre)[:3]
        for channel in (space.channel, *space.others)
    ]
    apart = max(float(np.linalg.norm(place - places[0])) for place in places)
    if apart < PARTED_MM:
        return []
    where = f"{', '.join(space.others)} lies {apart:.1f} mm beside it"
    return [f"mask taken as {space.channel}'s, and {where}: `space-` in its name settles it"]


def _acquisition(raw: RawSubject) -> dict[str, Any]:
    """Return protocol (the `acq` entity) and longest voxel edge of each image."""
    protocols = {acquisition_column(c): entity(path, "acq") for c, path in raw.images.items()}
    edges = {
        f"voxel_mm_{channel.lower()}": round(max(read_header(path).grid.voxel_mm), 3)
        for channel, path in raw.images.items()
    }
    return protocols | edges


def prepare_files(raw: RawSubject, config: PrepareConfig) -> PreparedScan:
    """Read, check and prepare a scan's images; errors name the file."""
    images = {channel: _read(path) for channel, path in raw.images.items()}
    brain = None
    if raw.brain is not None:
        brain, space = _read(raw.brain), mask_space(raw, raw.brain, config)
        brain = Volume(brain.data, space.grid or brain.grid)
    scan = prepare_images(images, brain, config)
    notes = doubts(scan.figures, scan.channels)
    if scan.mask_method == "deepbet":
        reference = next(iter(images.values()))
        there = resample(reference, scan.grid, scan.reference_from_mni)
        middle = float(np.median(there[scan.volumes["desc-brain_mask"].astype(bool)]))
        if shows_face(reference, middle, scan.reference_from_mni):
            notes.append("the face may be recognized: deface scans before you share them")
    return replace(scan, notes=tuple(notes))


def _read(path: Path) -> Volume:
    volume = read_volume(path)
    check_orthogonal(volume.grid, str(path))
    return volume
