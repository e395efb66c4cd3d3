"""Prepares raw heads: a BIDS-like folder in, a cohort on one MNI grid out; or one new scan.

SimpleITK and the steps themselves (`lesionforge.cohort.pipeline`) are imported when work begins, so
that a study's configuration can be read without them.
"""

import logging
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import joblib
import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]
from tqdm import tqdm

from lesionforge.cohort.bids import (
    expected_files,
    json_path,
    write_description,
    write_participants,
    write_subject,
)
from lesionforge.cohort.quality import COLUMNS, GOOD_OVERLAP
from lesionforge.cohort.rawdata import Problem, RawSubject, read_raw
from lesionforge.cohort.resample import resample
from lesionforge.cohort.subject import Subject
from lesionforge.errors import ConfigError, DataError, LesionForgeError
from lesionforge.provenance import read_json, sha256, sha256_json, write_json, write_tsv
from lesionforge.volume import Grid, Volume, read_volume

PREPARATION_VERSION = 1
"""Raise it when the same input would give other voxels; subjects are then prepared again."""
_log = logging.getLogger("lesionforge.prepare")


@dataclass(frozen=True)
class PrepareConfig:
    """How raw heads are prepared.

    Attributes:
        voxel_mm: voxel size of the study grid, isotropic.
        brain_mask: `deepbet` for whole heads, `given` for skull-stripped data (the part that is not
            background, or a `*_desc-brain_mask` file), `auto` to decide by looking at each scan.
        n4: correct intensity inhomogeneity (N4).
        n4_voxel_mm: voxel size at which the field is estimated.
        register_flair: register FLAIR to T1w; false if they lie on each other already.
        levels_mm: voxel sizes of the registrations, coarse to fine.
        tilts_deg: nods of the head to try when the registration to MNI starts.
        exclude: participant ids to leave out.
        workers: processes; the result does not depend on it.
    """

    voxel_mm: float = 2.5
    brain_mask: Literal["auto", "deepbet", "given"] = "auto"
    n4: bool = True
    n4_voxel_mm: float = 8.0
    register_flair: bool = True
    levels_mm: tuple[float, ...] = (8.0, 4.0, 3.0)
    tilts_deg: tuple[float, ...] = (-20.0, -10.0, 0.0, 10.0, 20.0)
    exclude: tuple[str, ...] = ()
    workers: int = 2

    def __post_init__(self) -> None:
        if not 0.5 <= self.voxel_mm <= 5:
            raise ConfigError(f"`voxel_mm` must be in [0.5, 5], got {self.voxel_mm}.")
        if not 1 <= self.n4_voxel_mm <= 10:
            raise ConfigError(f"`n4_voxel_mm` must be in [1, 10], got {self.n4_voxel_mm}.")
        if not self.levels_mm or not all(1 <= level <= 16 for level in self.levels_mm):
            raise ConfigError(
                f"`levels_mm` must be voxel sizes from 1 to 16, got {self.levels_mm}."
            )
        if not self.tilts_deg or not all(abs(angle) <= 90 for angle in self.tilts_deg):
            raise ConfigError(f"`tilts_deg` must be angles up to 90, got {self.tilts_deg}.")
        if self.workers < 1:
            raise ConfigError(f"`workers` must be at least 1, got {self.workers}.")


@dataclass(frozen=True)
class PreparedScan:
    """One subject's scans on the study grid, and the way back.

    Attributes:
        volumes: BIDS suffix to (X, Y, Z) array: `T1w`, `FLAIR`, `desc-brain_mask`,
            `label-CSF_probseg`, `label-GM_probseg`, `label-WM_probseg`.
        grid: the study grid.
        t1w_grid: the T1w file's grid (in closest RAS order).
        t1w_from_mni: (4, 4) RAS matrix from study-grid world to T1w world.
        flair_from_t1w: (4, 4) RAS matrix from T1w world to FLAIR world.
        mask_method: `deepbet`, `nonzero` or `file`.
        figures: quality figures, see `lesionforge.cohort.quality`.
        notes: remarks.
    """

    volumes: dict[str, np.ndarray]
    grid: Grid
    t1w_grid: Grid
    t1w_from_mni: np.ndarray
    flair_from_t1w: np.ndarray
    mask_method: str
    figures: dict[str, float]
    notes: tuple[str, ...] = field(default=())

    def to_t1w(self, data: np.ndarray) -> Volume:
        """Bring a map on the study grid (a probability, say) back to the T1w scan's grid."""
        back = np.linalg.inv(self.t1w_from_mni)
        return Volume(resample(Volume(data, self.grid), self.t1w_grid, back), self.t1w_grid)

    @property
    def images(self) -> np.ndarray:
        """T1w and FLAIR as (2, X, Y, Z) float32."""
        return np.stack([self.volumes["T1w"], self.volumes["FLAIR"]])


def prepare_scan(t1w: Path, flair: Path, config: PrepareConfig) -> PreparedScan:
    """Prepare one new scan without a label, as a cohort's subjects are.

    Raises:
        DataError: a file cannot be read or used; the message names it.
    """
    return _single_threaded(lambda: _prepare_files(t1w, flair, None, config))


def prepare_cohort(bids: Path, cohort: Path, config: PrepareConfig) -> list[Subject]:
    """Prepare every subject of a BIDS-like folder and write the cohort and its tables.

    A subject that is complete on disk with the same inputs and configuration is kept. A bad subject
    does not stop the others.

    Returns:
        The subjects, by id.

    Raises:
        DataError: some subjects could not be prepared; all are listed, the others are written.
    """
    bids, cohort = Path(bids), Path(cohort)
    raws, problems = read_raw(bids)
    raws = [raw for raw in raws if raw.id not in config.exclude]
    problems = [p for p in problems if p.subject not in config.exclude]
    write_description(cohort, "Prepared cohort")
    begun = time.perf_counter()
    jobs = (joblib.delayed(prepare_subject)(raw, bids, cohort, config) for raw in raws)
    parallel = joblib.Parallel(
        n_jobs=min(config.workers, max(len(raws), 1)), return_as="generator", batch_size=1
    )
    outcomes = list(tqdm(parallel(jobs), total=len(raws), desc="prepare", unit="subject"))
    done = [(s, f) for s, f, _ in outcomes if s is not None]
    problems += [p for _, _, p in outcomes if p is not None]
    _log.info("%d subjects in %.0f s", len(done), time.perf_counter() - begun)
    subjects = [subject for subject, _ in done]
    write_participants(cohort, subjects, lesion_ml=[f.get("lesion_ml", 0.0) for _, f in done])
    rows = [{"participant_id": s.id, **{c: f.get(c) for c in COLUMNS}} for s, f in done]
    write_tsv(cohort / "quality.tsv", pd.DataFrame(rows, columns=["participant_id", *COLUMNS]))
    for problem in problems:
        if not problem.fatal:
            _log.warning("%s", problem)
    fatal = [str(p) for p in problems if p.fatal]
    if fatal:
        raise DataError(
            f"{len(fatal)} problem(s) in {bids}; {len(subjects)} subject(s) were prepared and "
            "kept. Mend these, or name the subjects in `exclude`, and run the command again:\n- "
            + "\n- ".join(fatal)
        )
    return subjects


def prepare_subject(
    raw: RawSubject, bids: Path, cohort: Path, config: PrepareConfig
) -> tuple[Subject | None, dict[str, Any], Problem | None]:
    """Prepare and write one subject, unless it is there already.

    Returns:
        The subject and its figures, or None, nothing and the problem.
    """
    subject = Subject(raw.id, raw.group, raw.site, cohort, False, (raw.id,))
    try:
        signature = _signature(raw, bids, config)
        figures = _finished(subject, signature)
        if figures is None:
            figures = _single_threaded(lambda: _prepare(raw, subject, bids, config, signature))
    except (LesionForgeError, RuntimeError, ArithmeticError, OSError) as error:
        what = f"cannot be prepared: {error}".rstrip(".")
        return None, {}, Problem(raw.id, str(raw.t1w.parent), what, "Mend or exclude it.")
    return subject, figures, None


def _log_path(subject: Subject) -> Path:
    return subject.root / subject.id / f"{subject.id}_desc-preparation_log.json"


def _signature(raw: RawSubject, bids: Path, config: PrepareConfig) -> str:
    """Return the checksum of everything that a subject's prepared volumes depend on."""
    knobs = asdict(replace(config, workers=1, exclude=()))
    paths = [p for p in (raw.t1w, raw.flair, raw.lesion, raw.brain) if p is not None]
    files = {str(p.relative_to(bids)): sha256(p) for p in paths}
    return sha256_json([PREPARATION_VERSION, knobs, files, raw.group])


def _finished(subject: Subject, signature: str) -> dict[str, Any] | None:
    """Return the figures of a subject that was finished from the same inputs, else None."""
    sidecar = json_path(subject, "T1w")
    files = [sidecar, _log_path(subject), *expected_files(subject)]
    if not all(path.exists() for path in files):
        return None
    if read_json(sidecar).get("PreparationSHA256") != signature:
        return None
    figures: dict[str, Any] = read_json(_log_path(subject))
    return figures


def _prepare(
    raw: RawSubject, subject: Subject, bids: Path, config: PrepareConfig, signature: str
) -> dict[str, Any]:
    from lesionforge.cohort.pipeline import prepare_lesion

    begun = time.perf_counter()
    scan = _prepare_files(raw.t1w, raw.flair, raw.brain, config)
    volumes, figures, notes = dict(scan.volumes), dict(scan.figures), [*raw.notes, *scan.notes]
    if raw.lesion is not None:
        lesion = _read(raw.lesion)
        space, why = lesion_space(raw, lesion.grid)
        notes += [f"lesion mask taken as {space}: {why}"] if why else []
        mask, found = prepare_lesion(scan, lesion, space == "FLAIR")
        volumes["label-lesion_mask"], figures = mask, figures | found
        if found["lesion_in_brain"] < 0.8:
            notes.append("part of the lesion lies outside the brain mask")
    else:
        subject.lesion.unlink(missing_ok=True)
    row = {**figures, "brain_mask": scan.mask_method, "notes": "; ".join(notes) or None}
    write_json(_log_path(subject), {**row, "seconds": round(time.perf_counter() - begun, 2)})
    sources = [raw.t1w, raw.flair, *([raw.lesion] if raw.lesion else [])]
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


def lesion_space(raw: RawSubject, lesion: Grid) -> tuple[Literal["T1w", "FLAIR"], str]:
    """Judge which scan a lesion mask was drawn on: by its grid, else by its name.

    Returns:
        The scan, and a remark where the grid did not settle it.
    """
    on_flair = lesion.matches(_read(raw.flair).grid)
    on_t1w = lesion.matches(_read(raw.t1w).grid)
    name = raw.lesion.name.lower() if raw.lesion else ""
    named: Literal["T1w", "FLAIR"] = "FLAIR" if "flair" in name or "t1w" not in name else "T1w"
    if on_flair and on_t1w:
        return named, ""
    if on_flair or on_t1w:
        return ("FLAIR" if on_flair else "T1w"), ""
    return named, "its grid is neither the T1w's nor the FLAIR's, so its name and affine decided"


def _prepare_files(
    t1w: Path, flair: Path, brain: Path | None, config: PrepareConfig
) -> PreparedScan:
    """Read, check and prepare; errors name the file."""
    from lesionforge.cohort.pipeline import prepare_images

    images = [_read(t1w), _read(flair)]
    scan = prepare_images(images[0], images[1], _read(brain) if brain else None, config)
    notes = []
    if scan.figures["mni_dice"] < GOOD_OVERLAP:
        notes.append("registration to MNI is doubtful")
    if scan.figures["brain_covered"] < 0.9:
        notes.append("T1w or FLAIR does not cover the whole brain")
    return replace(scan, notes=tuple(notes))


def _read(path: Path) -> Volume:
    from lesionforge.cohort.register import check_orthogonal

    volume = read_volume(path)
    check_orthogonal(volume.grid, str(path))
    return volume


def _single_threaded(work: Callable[[], Any]) -> Any:
    """Run `work` with one thread in every numerical library, so that sums come out the same."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with threadpool_limits(1):
            return work()
    finally:
        torch.set_num_threads(threads)
