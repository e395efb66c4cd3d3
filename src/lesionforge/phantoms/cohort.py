"""The embedded phantom cohort: a raw BIDS data set as a hospital would give it, and its truth."""

import logging
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from joblib import delayed
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]
from tqdm import tqdm

from lesionforge import __version__
from lesionforge.data.cohort import BIDS_VERSION
from lesionforge.data.subject import TISSUES, Group
from lesionforge.data.volume import Grid, write_volume
from lesionforge.errors import DataError
from lesionforge.phantoms.acquisition import (
    Sampler,
    acquire,
    head_to_scanner,
    largest_piece,
    place_head,
    scan_grid,
)
from lesionforge.phantoms.anatomy import Head, build_head, healthy_contrast
from lesionforge.phantoms.config import PhantomConfig
from lesionforge.phantoms.lesions import Signs, add_findings
from lesionforge.phantoms.parameters import DIFFICULTY, SCANNERS
from lesionforge.phantoms.spec import PhantomSpec, sample_phantom, spec_from_json
from lesionforge.provenance import atomic, read_json, write_json, write_tsv
from lesionforge.stopping import worker_pool

__all__ = [
    "DIFFICULTY",
    "SCANNERS",
    "Phantom",
    "PhantomConfig",
    "read_spec",
    "render_phantom",
    "sample_cohort",
    "write_phantoms",
]
SECONDS_EACH = 0.8  # of one core at 2.5 mm
log = logging.getLogger("lesionforge.phantoms.cohort")


@dataclass(frozen=True)
class Phantom:
    """A rendered phantom; arrays are (X, Y, Z) on the grid of their scan.

    Attributes:
        t1w: T1w, whole numbers, 0 outside the brain.
        flair: FLAIR likewise, on its own grid and in its own pose.
        t1w_grid: grid of the T1w, in the scanner's world.
        flair_grid: grid of the FLAIR.
        lesion: bool, drawn on the FLAIR; None for a control.
        lesion_t1w: the same on the T1w's grid.
        tissue: (3, X, Y, Z) true healthy CSF, GM, WM on the T1w's grid; sums to 1 in the brain.
        measured: what the truth table says of the lesion; empty for a control.
    """

    t1w: np.ndarray
    flair: np.ndarray
    t1w_grid: Grid
    flair_grid: Grid
    lesion: np.ndarray | None
    lesion_t1w: np.ndarray | None
    tissue: np.ndarray
    measured: dict[str, Any]


def sample_cohort(config: PhantomConfig) -> list[PhantomSpec]:
    """Draw the phantoms of `config`: patients, then controls."""
    counts: dict[Group, int] = {"patient": config.patients, "control": config.controls}
    return [
        sample_phantom(config.seed, group, number, config.voxel_mm, config.version)
        for group, count in counts.items()
        for number in range(1, count + 1)
    ]


def render_phantom(spec: PhantomSpec) -> Phantom:
    """Render a phantom; a pure function: the same `spec` gives the same voxels."""
    with threadpool_limits(1):  # the order of sums, so the bytes, must not depend on threads
        return _render(spec, build_head(spec))


def _render(spec: PhantomSpec, head: Head) -> Phantom:
    signs = add_findings(spec, head)
    images, clean, samplers = [], [], []
    for name, scan, added in (("T1w", spec.t1w, signs.t1w), ("FLAIR", spec.flair, signs.flair)):
        levels = healthy_contrast(spec, head, scan, name)
        signal = (signs.tissue * levels).sum(axis=0) + added
        sampler = place_head(head.grid, head.brain, scan)
        images.append(acquire(spec, scan, np.maximum(signal, 0), sampler, name))
        clean.append(signal - (head.tissue * levels).sum(axis=0))
        samplers.append(sampler)
    lesions = [_mask(signs, sampler) for sampler in samplers] if spec.lesion else [None, None]
    return Phantom(
        t1w=images[0],
        flair=images[1],
        t1w_grid=samplers[0].grid,
        flair_grid=samplers[1].grid,
        lesion=lesions[1],
        lesion_t1w=lesions[0],
        tissue=_true_tissue(head, samplers[0]),
        measured={} if lesions[1] is None else _measure(spec, head, signs, lesions[1], clean),
    )


def _mask(signs: Signs, sampler: Sampler) -> np.ndarray:
    """Draw the lesion as an expert would: one piece, where the effect exceeds a half."""
    effect = sampler.sample(signs.lesion) * sampler.mask
    return largest_piece(effect > min(0.5, 0.7 * float(effect.max())))


def _true_tissue(head: Head, sampler: Sampler) -> np.ndarray:
    maps = np.stack([sampler.sample(t) for t in head.tissue])
    maps /= np.maximum(maps.sum(axis=0), 1e-3)
    maps = np.rint(maps * 255) / 255  # steps of a byte: files compress four times better
    maps[2] = 1 - maps[0] - maps[1]
    return np.maximum(maps, 0) * sampler.mask


def _measure(
    spec: PhantomSpec, head: Head, signs: Signs, mask: np.ndarray, clean: list[np.ndarray]
) -> dict[str, Any]:
    """Measure the rendered lesion: volume, centre (T1w world and MNI), contrast to noise."""
    inside = signs.lesion > 0.5 if (signs.lesion > 0.5).any() else signs.lesion > 0
    runs = np.argwhere(inside).mean(axis=0)
    world = head_to_scanner(spec.t1w) @ [*head.grid.world(runs), 1]
    mni = head.mni[inside[head.inside]].mean(axis=0)
    return {
        "volume_mm3": float(mask.sum() * scan_grid(spec.flair).voxel_mm3),
        **{f"{a}_mm": float(v) for a, v in zip("xyz", world[:3], strict=True)},
        **{f"{a}_mni_mm": float(v) for a, v in zip("xyz", mni, strict=True)},
        "cnr_t1w": float(np.abs(clean[0][inside]).mean() / spec.t1w.noise),
        "cnr_flair": float(np.abs(clean[1][inside]).mean() / spec.flair.noise),
    }


def write_phantoms(specs: list[PhantomSpec], raw: Path, truth: Path, workers: int = 2) -> None:
    """Write phantoms as a raw BIDS data set, and their truth apart.

    Finished phantoms are kept, half-written ones replaced. The bytes do not depend on `workers`.

    Args:
        specs: the phantoms, see `sample_cohort`; at least one, no two of one id.
        raw: raw BIDS data set: `sub-p0001/anat/sub-p0001_T1w.nii.gz`, `..._FLAIR.nii.gz` and, for
            patients, `..._label-lesion_mask.nii.gz` on the FLAIR's grid; participants.tsv.
        truth: tissue maps and lesion on the T1w's grid, one `..._phantom.json` a subject (its
            spec), lesions.tsv. Nothing that learns may read it.
        workers: processes.

    Raises:
        DataError: the folders hold phantoms of other settings.
    """
    raw, truth = Path(raw), Path(truth)
    todo = [spec for spec in specs if not _is_finished(spec, raw, truth)]
    if todo:
        cost = SECONDS_EACH * (2.5 / specs[0].voxel_mm) ** 3 * len(todo) / max(workers, 1)
        log.info("%d phantoms to make, about %.0f s", len(todo), cost)
    start = time.monotonic()
    jobs = worker_pool(workers, return_as="generator_unordered")(
        delayed(_write_phantom)(spec, raw, truth) for spec in todo
    )
    for _ in tqdm(jobs, total=len(todo), desc="phantoms", disable=not todo):
        pass
    _write_tables(specs, raw, truth)
    log.info("%d phantoms in %s after %.0f s", len(specs), raw, time.monotonic() - start)


def read_spec(truth: Path, participant_id: str) -> PhantomSpec:
    """Read the spec a phantom was rendered from."""
    return spec_from_json(read_json(_record(truth, participant_id))["spec"])


def _record(truth: Path, name: str) -> Path:
    return truth / name / "anat" / f"{name}_phantom.json"


def _files(spec: PhantomSpec, raw: Path, truth: Path) -> dict[str, Path]:
    """List the files of a phantom by what they hold."""
    stem, true = (folder / spec.id / "anat" / spec.id for folder in (raw, truth))
    files = {
        "T1w": Path(f"{stem}_T1w.nii.gz"),
        "FLAIR": Path(f"{stem}_FLAIR.nii.gz"),
        **{t: Path(f"{true}_label-{t}_probseg.nii.gz") for t in TISSUES},
    }
    if spec.lesion is not None:
        files["lesion"] = Path(f"{stem}_label-lesion_mask.nii.gz")
        files["lesion_t1w"] = Path(f"{true}_label-lesion_mask.nii.gz")
    return files


def _is_finished(spec: PhantomSpec, raw: Path, truth: Path) -> bool:
    record = _record(truth, spec.id)
    if not record.exists():
        return False
    if spec_from_json(read_json(record)["spec"]) != spec:
        raise DataError(
            f"{record} was made with another seed, voxel size or phantom version. Give other "
            f"folders, or delete {raw} and {truth}."
        )
    return all(path.exists() for path in _files(spec, raw, truth).values())


def _write_phantom(spec: PhantomSpec, raw: Path, truth: Path) -> None:
    """Write one phantom; its record comes last and marks it finished."""
    record = _record(truth, spec.id)
    record.unlink(missing_ok=True)
    phantom = render_phantom(spec)
    files = _files(spec, raw, truth)
    for name, scan, image, area in (
        ("T1w", spec.t1w, phantom.t1w, phantom.t1w_grid),
        ("FLAIR", spec.flair, phantom.flair, phantom.flair_grid),
    ):
        write_volume(files[name], image, area)
        sidecar = files[name].with_name(files[name].name.removesuffix(".nii.gz") + ".json")
        write_json(
            sidecar,
            {
                "Manufacturer": f"Simulated {spec.site}",
                "SkullStripped": True,
                "SliceThickness": scan.voxel_mm[2],
            },
        )
    for name, data in zip(TISSUES, phantom.tissue, strict=True):
        write_volume(files[name], data, phantom.t1w_grid)
    if phantom.lesion is not None and phantom.lesion_t1w is not None:
        write_volume(files["lesion"], phantom.lesion, phantom.flair_grid)
        write_volume(files["lesion_t1w"], phantom.lesion_t1w, phantom.t1w_grid)
    write_json(record, {"spec": asdict(spec), "measured": phantom.measured})


def _write_tables(specs: list[PhantomSpec], raw: Path, truth: Path) -> None:
    write_json(
        raw / "dataset_description.json",
        {
            "Name": f"LesionForge phantoms, version {specs[0].version}",
            "BIDSVersion": BIDS_VERSION,
            "DatasetType": "raw",
            "GeneratedBy": [{"Name": "LesionForge", "Version": __version__}],
        },
    )
    with atomic(raw / "README") as part:
        part.write_text("Simulated heads with simulated focal cortical dysplasia. Not people.\n")
    people = [{"participant_id": s.id, "group": s.group, "site": s.site} for s in specs]
    write_tsv(truth / "lesions.tsv", pd.DataFrame([_row(s, truth) for s in specs if s.lesion]))
    write_tsv(raw / "participants.tsv", pd.DataFrame(people))


def _row(spec: PhantomSpec, truth: Path) -> dict[str, Any]:
    lesion = asdict(spec.lesion) if spec.lesion else {}
    lesion["drawn_volume_mm3"] = lesion.pop("volume_mm3")
    lesion["transmantle"] = int(lesion["transmantle"])
    measured = read_json(_record(truth, spec.id))["measured"]
    return {"participant_id": spec.id, "site": spec.site, **measured, **lesion}
