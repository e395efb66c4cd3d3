"""Prepares and writes one subject: checks, steps, sidecar, and whether it was done before."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from lesionforge.data.cohort import expected_files, sidecar_path, write_subject
from lesionforge.data.subject import Subject, reader_suffix
from lesionforge.data.volume import Grid, Volume, read_volume
from lesionforge.errors import OF_ONE_SUBJECT, DataError
from lesionforge.preprocessing.checks import check_voxels, with_remarks
from lesionforge.preprocessing.config import PrepareConfig
from lesionforge.preprocessing.headers import read_header
from lesionforge.preprocessing.pipeline import prepare_images, prepare_lesion
from lesionforge.preprocessing.quality import doubts
from lesionforge.preprocessing.raw import Problem, RawSubject, entity
from lesionforge.preprocessing.register import check_orthogonal
from lesionforge.preprocessing.scan import PreparedScan
from lesionforge.provenance import read_json, sha256, sha256_json, write_json

PREPARATION_VERSION = 1
"""Raise it when the same input would give other voxels; subjects are then prepared again."""


def prepare_subject(
    raw: RawSubject, bids: Path, cohort: Path, config: PrepareConfig
) -> tuple[Subject | None, dict[str, Any], list[Problem]]:
    """Prepare and write one subject, unless it is there already.

    Returns:
        The subject (None if it cannot be prepared), its figures, and the problems found.
    """
    subject = Subject(
        raw.id, raw.group, raw.site, cohort, False, (raw.id,), channels=("T1w", "FLAIR")
    )
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
        problem = Problem(raw.id, str(raw.t1w.parent), what, "Mend or exclude it.")
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
    paths = [p for p in (raw.t1w, raw.flair, raw.lesion, raw.brain) if p is not None]
    paths += [path for _, path in raw.readers]
    files = {str(p.relative_to(bids)): sha256(p) for p in paths}
    return sha256_json([PREPARATION_VERSION, knobs, files, raw.group])


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
    scan = prepare_files(raw.t1w, raw.flair, raw.brain, config)
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
    sources = [raw.t1w, raw.flair, *([raw.lesion] if raw.lesion else [])]
    sources += [path for _, path in raw.readers]
    sidecar = {
        "RawSources": [str(p.relative_to(bids)) for p in sources],
        "BrainMask": scan.mask_method,
        "T1wFromMNI": scan.t1w_from_mni.round(6).tolist(),
        "FLAIRFromT1w": scan.flair_from_t1w.round(6).tolist(),
        "PreparationSHA256": signature,
    }
    write_subject(subject, volumes, scan.grid, sidecar)
    result: dict[str, Any] = read_json(_log_path(subject))
    return result


def _drawn(raw: RawSubject, scan: PreparedScan) -> tuple[np.ndarray, dict[str, float], list[str]]:
    """Bring `raw.lesion` to the study grid; returns the mask, its figures, and remarks."""
    lesion = _read(Path(str(raw.lesion)))
    space, why = lesion_space(raw, lesion.grid)
    remarks = [f"lesion mask taken as {space}: {why}"] if why else []
    mask, found = prepare_lesion(scan, lesion, space == "FLAIR")
    return mask, found, [*remarks, *doubts(found)]


def _acquisition(raw: RawSubject) -> dict[str, Any]:
    """Return protocol (the `acq` entity) and longest voxel edge of both scans."""
    scans = {"t1w": raw.t1w, "flair": raw.flair}
    protocols = {f"acq_{name}": entity(path, "acq") for name, path in scans.items()}
    edges = {f"voxel_mm_{n}": max(read_header(p).grid.voxel_mm) for n, p in scans.items()}
    return protocols | {name: round(edge, 3) for name, edge in edges.items()}


def lesion_space(raw: RawSubject, lesion: Grid) -> tuple[Literal["T1w", "FLAIR"], str]:
    """Judge which scan a lesion mask was drawn on: by its grid, else by its name.

    Returns:
        The scan, and a remark where the grid did not settle it.
    """
    on_flair = lesion.matches(read_header(raw.flair).grid)
    on_t1w = lesion.matches(read_header(raw.t1w).grid)
    name = raw.lesion.name.lower() if raw.lesion else ""
    named: Literal["T1w", "FLAIR"] = "FLAIR" if "flair" in name or "t1w" not in name else "T1w"
    if on_flair and on_t1w:
        return named, ""
    if on_flair or on_t1w:
        return ("FLAIR" if on_flair else "T1w"), ""
    return named, "its grid is neither the T1w's nor the FLAIR's, so its name and affine decided"


def prepare_files(
    t1w: Path, flair: Path, brain: Path | None, config: PrepareConfig
) -> PreparedScan:
    """Read, check and prepare; errors name the file."""
    images = [_read(t1w), _read(flair)]
    scan = prepare_images(images[0], images[1], _read(brain) if brain else None, config)
    return replace(scan, notes=tuple(doubts(scan.figures)))


def _read(path: Path) -> Volume:
    volume = read_volume(path)
    check_orthogonal(volume.grid, str(path))
    return volume
