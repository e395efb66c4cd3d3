"""The embedded phantom cohort: a raw BIDS data set as a hospital would give it, and its truth."""

import logging
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd
from joblib import delayed
from tqdm import tqdm

from lesionforge import __version__
from lesionforge.data.cohort import BIDS_VERSION
from lesionforge.data.subject import TISSUES, Group
from lesionforge.data.volume import write_volume
from lesionforge.errors import DataError
from lesionforge.phantoms.config import PhantomConfig
from lesionforge.phantoms.render import render_phantom
from lesionforge.phantoms.spec import (
    PhantomSpec,
    sample_phantom,
    spec_from_json,
    with_further_lesions,
)
from lesionforge.provenance import atomic, read_json, write_json, write_tsv
from lesionforge.stopping import worker_pool

SECONDS_EACH = 3.0  # of one core, any voxel size
DISEASE = {"fcd": "focal cortical dysplasia", "ms": "multiple sclerosis"}
log = logging.getLogger("lesionforge.phantoms.cohort")


def sample_cohort(
    config: PhantomConfig, channels: tuple[str, ...] = ("T1w", "FLAIR")
) -> list[PhantomSpec]:
    """Draw the phantoms of `config`: patients, then controls."""
    counts: dict[Group, int] = {"patient": config.patients, "control": config.controls}
    return [
        sample_phantom(config, group, number, channels)
        for group, count in counts.items()
        for number in range(1, count + 1)
    ]


def write_phantoms(specs: list[PhantomSpec], raw: Path, truth: Path, workers: int = 2) -> None:
    """Write phantoms as a raw BIDS data set, and their truth apart.

    Finished phantoms are kept, half-written ones replaced. The bytes do not depend on `workers`.

    Args:
        specs: the phantoms, see `sample_cohort`; at least one, no two of one id.
        raw: raw BIDS data set: `sub-p0001/anat/sub-p0001_T1w.nii.gz`, one file a channel and, for
            patients, `..._label-lesion_mask.nii.gz` on the FLAIR's grid (without a FLAIR on that
            of the first channel); participants.tsv.
        truth: tissue maps and lesion on the first channel's grid, one `..._phantom.json` a subject
            (its spec), lesions.tsv. Nothing that learns may read it.
        workers: processes.

    Raises:
        DataError: the folders hold phantoms of other settings.
    """
    raw, truth = Path(raw), Path(truth)
    todo = [spec for spec in specs if not _is_finished(spec, raw, truth)]
    if todo:
        cost = SECONDS_EACH * len(todo) / max(workers, 1)
        log.info("%d phantoms to make, about %.0f s", len(todo), cost)
    start = time.monotonic()
    jobs = worker_pool(workers, return_as="generator_unordered")(
        delayed(_write_phantom)(spec, raw, truth) for spec in todo
    )
    for _ in tqdm(jobs, total=len(todo), desc="phantoms", disable=not todo):
        pass
    _write_tables(specs, raw, truth)
    log.info("%d phantoms in %s after %.0f s", len(specs), raw, time.monotonic() - start)


def write_oracle(
    hosts: list[PhantomSpec],
    config: PhantomConfig,
    each: int,
    raw: Path,
    truth: Path,
    workers: int = 2,
) -> list[PhantomSpec]:
    """Write the hosts again with further lesions of the simulator's own: the *oracle* set.

    An ordinary labelled data set of patients, `sub-o0001` and on, that enters a study as an
    external set: `raw/derived_from.tsv` names the host of each.

    Args:
        hosts: phantoms of `config`; patients' own lesions are left out.
        config: of their cohort.
        each: sets of lesions a host, 1 or more.
        raw: as in `write_phantoms`.
        truth: likewise.
        workers: processes.
    """
    specs = [
        with_further_lesions(host, config, lesion_seed, f"sub-o{place * each + lesion_seed:04d}")
        for place, host in enumerate(hosts)
        for lesion_seed in range(1, each + 1)
    ]
    write_phantoms(specs, raw, truth, workers)
    rows = [{"participant_id": s.id, "sources": s.host} for s in specs]
    write_tsv(Path(raw) / "derived_from.tsv", pd.DataFrame(rows))
    return specs


def read_spec(truth: Path, participant_id: str) -> PhantomSpec:
    """Read the spec a phantom was rendered from."""
    return spec_from_json(read_json(_record(truth, participant_id))["spec"])


def _record(truth: Path, name: str) -> Path:
    return truth / name / "anat" / f"{name}_phantom.json"


def _files(spec: PhantomSpec, raw: Path, truth: Path) -> dict[str, Path]:
    """List the files of a phantom by what they hold."""
    stem, true = (folder / spec.id / "anat" / spec.id for folder in (raw, truth))
    files = {
        **{channel: Path(f"{stem}_{channel}.nii.gz") for channel in spec.scans},
        **{t: Path(f"{true}_label-{t}_probseg.nii.gz") for t in TISSUES},
    }
    if spec.lesions:
        files["lesion"] = Path(f"{stem}_label-lesion_mask.nii.gz")
        files["true lesion"] = Path(f"{true}_label-lesion_mask.nii.gz")
    return files


def _is_finished(spec: PhantomSpec, raw: Path, truth: Path) -> bool:
    record = _record(truth, spec.id)
    if not record.exists():
        return False
    try:
        same = spec_from_json(read_json(record)["spec"]) == spec
    except (KeyError, TypeError, StopIteration):  # of an earlier LesionForge
        same = False
    if not same:
        raise DataError(
            f"{record} was made with another seed, voxel size, disease or LesionForge. Give other "
            f"folders, or delete {raw} and {truth}."
        )
    return all(path.exists() for path in _files(spec, raw, truth).values())


def _write_phantom(spec: PhantomSpec, raw: Path, truth: Path) -> None:
    """Write one phantom; its record comes last and marks it finished."""
    record = _record(truth, spec.id)
    record.unlink(missing_ok=True)
    phantom = render_phantom(spec)
    files = _files(spec, raw, truth)
    for channel, image in phantom.images.items():
        write_volume(files[channel], image, phantom.grids[channel])
        sidecar = files[channel].with_name(files[channel].name.removesuffix(".nii.gz") + ".json")
        content = {"Manufacturer": f"Simulated {spec.site}", "SkullStripped": True}
        write_json(sidecar, {**content, "SliceThickness": spec.scans[channel].voxel_mm[2]})
    first = next(iter(spec.scans))
    for name, data in zip(TISSUES, phantom.tissue, strict=True):
        write_volume(files[name], data, phantom.grids[first])
    if spec.lesions:
        write_volume(files["lesion"], phantom.lesion, phantom.grids[spec.outlined_on])
        write_volume(files["true lesion"], phantom.true_lesion, phantom.grids[first])
    write_json(record, {"spec": asdict(spec), "lesions": phantom.measured})


def _write_tables(specs: list[PhantomSpec], raw: Path, truth: Path) -> None:
    write_json(
        raw / "dataset_description.json",
        {
            "Name": "LesionForge phantoms",
            "BIDSVersion": BIDS_VERSION,
            "DatasetType": "raw",
            "GeneratedBy": [{"Name": "LesionForge", "Version": __version__}],
        },
    )
    with atomic(raw / "README") as part:
        part.write_text(
            f"Simulated heads with simulated {DISEASE[specs[0].disease]}. Not people.\n"
        )
    people = [{"participant_id": s.id, "group": s.group, "site": s.site} for s in specs]
    lesions = [row for spec in specs for row in _rows(spec, truth)]
    write_tsv(truth / "lesions.tsv", pd.DataFrame(lesions))
    write_tsv(raw / "participants.tsv", pd.DataFrame(people))


def _rows(spec: PhantomSpec, truth: Path) -> list[dict[str, Any]]:
    """List a phantom's lesions: what was measured, then what was drawn."""
    measured = read_json(_record(truth, spec.id))["lesions"]
    rows = []
    for number, (lesion, found) in enumerate(zip(spec.lesions, measured, strict=True), start=1):
        values = {k: int(v) if isinstance(v, bool) else v for k, v in asdict(lesion).items()}
        row = {"participant_id": spec.id, "site": spec.site, "lesion": number}
        rows.append({**row, **found, **values})
    return rows
