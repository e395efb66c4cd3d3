"""Prepares and writes one subject: checks, steps, sidecar, and whether it was done before."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from lesionforge.data.cohort import acquisition_column, expected_files, sidecar_path, write_subject
from lesionforge.data.subject import Subject, reader_suffix
from lesionforge.data.volume import Grid, Volume, read_volume
from lesionforge.errors import OF_ONE_SUBJECT, DataError
from lesionforge.preprocessing.checks import check_voxels, with_remarks
from lesionforge.preprocessing.config import PrepareConfig
from lesionforge.preprocessing.headers import read_header
from lesionforge.preprocessing.lesion_masks import ROWS
from lesionforge.preprocessing.pipeline import prepare_images, prepare_lesion
from lesionforge.preprocessing.quality import doubts
from lesionforge.preprocessing.raw import Problem, RawSubject, entity
from lesionforge.preprocessing.register import check_orthogonal
from lesionforge.preprocessing.scan import PreparedScan
from lesionforge.provenance import read_json, sha256, sha256_json, write_json

PREPARATION_VERSION = 2
"""Raise it when the same input would give other voxels; subjects are then prepared again."""
DRAWN_ON = ("FLAIR", "T2w", "T1w")
"""The image on which experts draw, the likeliest first, where a mask fits several."""


def prepare_subject(
    raw: RawSubject, bids: Path, cohort: Path, config: PrepareConfig
) -> tuple[Subject | None, dict[str, Any], list[Problem]]:
    """Prepare and write one subject, unless it is there already.

    Returns:
        The subject (None if it cannot be prepared), its figures, and the problems found.
    """
    channels = tuple(raw.images)
    subject = Subject(raw.id, raw.group, raw.site, cohort, False, (raw.id,), channels=channels)
    problems: list[Problem] = []
    try:
        signature = _signature(raw, bids, config)
        figures = _finished(subject, signature, raw)
        if figures is not None:
            return subject, figures, problems
        problems = check_voxels(raw)
        if any(problem.fatal for problem in problems):
            return None, {}, problems
        raw = with_remarks(raw, problems)
        with single_threaded():
            return subject, _prepare(raw, subject, bids, config, signature), problems
    except OF_ONE_SUBJECT as error:
        what = f"cannot be prepared: {error}".rstrip(".")
        problem = Problem(raw.id, str(raw.reference.parent), what, "Mend or exclude it.")
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


def _signature(raw: RawSubject, bids: Path, config: PrepareConfig) -> str:
    """Return the checksum of everything that a subject's prepared volumes depend on."""
    knobs = asdict(replace(config, workers=1, exclude=()))
    paths = [p for p in (*raw.images.values(), raw.lesion, raw.brain) if p is not None]
    paths += [path for _, path in raw.readers]
    files = {str(p.relative_to(bids)): sha256(p) for p in paths}
    return sha256_json([PREPARATION_VERSION, knobs, list(raw.images), files, raw.group])


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
    raw: RawSubject, subject: Subject, bids: Path, config: PrepareConfig, signature: str
) -> dict[str, Any]:
    begun = time.perf_counter()
    scan = prepare_files(raw.images, raw.brain, config)
    volumes, notes = dict(scan.volumes), [*raw.notes, *scan.notes]
    figures: dict[str, Any] = {**_acquisition(raw), **scan.figures}
    if raw.lesion is not None:
        volumes["label-lesion_mask"], found, remarks = _drawn(raw, scan)
        figures, notes = figures | found, [*notes, *remarks]
    else:
        subject.lesion.unlink(missing_ok=True)
    for name, path in raw.readers:
        try:
            mask, _, remarks = _drawn(replace(raw, lesion=path), scan)
        except DataError as error:
            raise DataError(f"{path.name} of reader {name}: {error}") from None
        volumes[reader_suffix(name)] = mask
        notes += [f"reader {name}: {remark}" for remark in remarks]
    row = {**figures, "brain_mask": scan.mask_method, "notes": "; ".join(notes) or None}
    sidecar_path(subject).unlink(missing_ok=True)  # a former one must not vouch for this log
    write_json(_log_path(subject), {**row, "seconds": round(time.perf_counter() - begun, 2)})
    sources = [*raw.images.values(), *([raw.lesion] if raw.lesion else [])]
    sources += [path for _, path in raw.readers]
    first, *others = scan.channels
    sidecar = {
        "RawSources": [str(p.relative_to(bids)) for p in sources],
        "BrainMask": scan.mask_method,
        f"{first}FromMNI": scan.reference_from_mni.round(6).tolist(),
        **{f"{c}From{first}": scan.from_reference[c].round(6).tolist() for c in others},
        "PreparationSHA256": signature,
    }
    write_subject(subject, volumes, scan.grid, sidecar)
    result: dict[str, Any] = read_json(_log_path(subject))
    return result


def _drawn(raw: RawSubject, scan: PreparedScan) -> tuple[np.ndarray, dict[str, Any], list[str]]:
    """Bring `raw.lesion` to the study grid: the mask, its figures (and `rows`), remarks."""
    lesion = _read(Path(str(raw.lesion)))
    space, why = lesion_space(raw, lesion.grid)
    remarks = [f"lesion mask taken as {space}: {why}"] if why else []
    mask, found, rows = prepare_lesion(scan, lesion, space)
    lost = [row for row in rows if row["component"] is None]
    if lost:
        volume = sum(row["raw_mm3"] for row in lost)
        remarks.append(f"{len(lost)} of {len(rows)} lesions are lost ({volume:.0f} mm3)")
    return mask, found | {ROWS: rows}, [*remarks, *doubts(found, scan.channels)]


def _acquisition(raw: RawSubject) -> dict[str, Any]:
    """Return protocol (the `acq` entity) and longest voxel edge of each image."""
    protocols = {acquisition_column(c): entity(path, "acq") for c, path in raw.images.items()}
    edges = {
        f"voxel_mm_{channel.lower()}": round(max(read_header(path).grid.voxel_mm), 3)
        for channel, path in raw.images.items()
    }
    return protocols | edges


def lesion_space(raw: RawSubject, lesion: Grid) -> tuple[str, str]:
    """Judge which image a lesion mask was drawn on: by its grid, else by its name.

    Returns:
        The channel, and a remark where the grid did not settle it.
    """
    name = raw.lesion.name.lower() if raw.lesion else ""
    named = [c for c in raw.images if c.lower() in name]
    by_name = (named or [c for c in DRAWN_ON if c in raw.images] or list(raw.images))[0]
    on = [c for c, path in raw.images.items() if lesion.matches(read_header(path).grid)]
    if on:
        return (by_name if by_name in on else on[0]), ""
    return (
        by_name,
        f"its grid is that of no image ({', '.join(raw.images)}); name and affine decide",
    )


def prepare_files(
    images: Mapping[str, Path], brain: Path | None, config: PrepareConfig
) -> PreparedScan:
    """Read, check and prepare; errors name the file."""
    read = {channel: _read(path) for channel, path in images.items()}
    scan = prepare_images(read, _read(brain) if brain else None, config)
    return replace(scan, notes=tuple(doubts(scan.figures, scan.channels)))


def _read(path: Path) -> Volume:
    volume = read_volume(path)
    check_orthogonal(volume.grid, str(path))
    return volume
