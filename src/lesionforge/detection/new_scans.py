"""Run a trained detector on new scans, without any label."""

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from lesionforge.data.volume import Volume, write_volume
from lesionforge.detection.inference import TrainedDetector, predict_probability
from lesionforge.errors import DataError
from lesionforge.metrics.config import CandidateRules
from lesionforge.metrics.matching import Candidate, find_candidates
from lesionforge.preprocessing.config import PrepareConfig
from lesionforge.preprocessing.naming import nifti_files, scan_name, stem
from lesionforge.preprocessing.prepare import prepare_scan
from lesionforge.preprocessing.quality import unusual
from lesionforge.preprocessing.scan import PreparedScan
from lesionforge.provenance import environment, read_json, sha256, write_json, write_tsv

logger = logging.getLogger(__name__)
COLUMNS = (
    "candidate",
    "score",
    "volume_mm3",
    "x_mm",
    "y_mm",
    "z_mm",
    "native_x_mm",
    "native_y_mm",
    "native_z_mm",
)
RECORD = "detection.json"


@dataclass(frozen=True, eq=False)
class Detection:
    """What a detector found in one new scan.

    Attributes:
        name: of the scan.
        scan: the prepared images and the way back to the reference file's space.
        probability: on the study grid, (X, Y, Z) in [0, 1].
        candidates: best score first.
        table: `candidates.tsv`.
        record: `detection.json`: files, weights, rules, quality figures, environment.
    """

    name: str
    scan: PreparedScan
    probability: np.ndarray
    candidates: list[Candidate]
    table: pd.DataFrame
    record: dict[str, Any]


def find_scans(
    paths: Iterable[Path], channels: Sequence[str]
) -> tuple[dict[str, dict[str, Path]], list[str]]:
    """Find the images of each head, as preparation does: by participant and session.

    Files without BIDS names belong together by what stands before the channel's suffix.

    Args:
        paths: NIfTI files, or folders that are searched for them (not their `derivatives`).
        channels: BIDS suffixes that the detector reads, in its order.

    Returns:
        Name to channel to file, for each head that has all channels, by name; and what is wrong
        with the others.

    Raises:
        DataError: there is no head that can be used.
    """
    found: dict[str, dict[str, Path]] = {}
    problems = []
    for path, asked in ((f, f == Path(p)) for p in paths for f in _files(Path(p))):
        channel = stem(path).rpartition("_")[2]
        if channel not in channels or not path.is_file():
            what = "is missing" if not path.exists() else f"is not named {_endings(channels)}"
            problems += [f"{path} {what}."] if asked else []
            continue
        files = found.setdefault(scan_name(path), {})
        known = files.setdefault(channel, path)
        if known.parent != path.parent:
            problems.append(f"{path} and {known} have the same name. Give one of them.")
    lacking = {n: [c for c in channels if c not in files] for n, files in found.items()}
    problems += [f"{n} has no {' and no '.join(c)}." for n, c in sorted(lacking.items()) if c]
    whole = {n: {c: found[n][c] for c in channels} for n in sorted(found) if not lacking[n]}
    if not whole:
        raise DataError("\n".join([*problems, f"No head with {_endings(channels)} was found."]))
    return whole, problems


def _endings(channels: Sequence[str]) -> str:
    return " and ".join(f"*_{channel}.nii.gz" for channel in channels)


def _files(path: Path) -> Iterable[Path]:
    return nifti_files(path) if path.is_dir() else [path]


def is_predicted(weights: Path, images: Mapping[str, Path], out: Path) -> bool:
    """Tell whether `out` holds what these weights and rules found in these very files."""
    if not (out / RECORD).exists():
        return False
    known = read_json(out / RECORD)
    same_files = known.get("images") == _checksums(images)
    same_weights = known["weights_sha256"] == sha256(weights / "detector.safetensors")
    return same_files and same_weights and known["rules"] == asdict(_rules(weights))


def _checksums(images: Mapping[str, Path]) -> dict[str, dict[str, str]]:
    return {c: {"file": str(path), "sha256": sha256(path)} for c, path in images.items()}


def predict_scan(
    detector: TrainedDetector, weights: Path, images: Mapping[str, Path], out: Path
) -> Detection:
    """Prepare one scan, predict, and write what was found to `out`.

    The scan is brought to the voxel size of the detector's cohort; the other choices of
    preparation are the defaults.

    Writes `candidates.tsv` (centres in MNI and in the reference file's space, RAS mm),
    `probability.nii.gz` on the reference file's grid, and `detection.json`.

    Args:
        detector: see `load_detector`.
        weights: its folder.
        images: each of the detector's channels to the NIfTI file of one head.
        out: folder of the result.

    Raises:
        DataError: a scan cannot be used.
    """
    rules = _rules(weights)
    scan = prepare_scan(images, PrepareConfig(voxel_mm=detector.voxel_mm))
    brain = scan.volumes["desc-brain_mask"].astype(bool)
    probability = predict_probability(detector, scan.images, brain)
    candidates = find_candidates(probability, scan.grid, rules)
    table = pd.DataFrame([_row(c, scan) for c in candidates], columns=list(COLUMNS))
    back: Volume = scan.to_reference(probability)
    record = {
        "images": _checksums(images),
        "weights": str(weights),
        "weights_sha256": detector.sha256,
        "rules": asdict(rules),
        "figures": scan.figures,
        "notes": [*scan.notes, *_strange(scan, detector)],
        "environment": environment(),
        "use": "research only",
    }
    write_volume(out / "probability.nii.gz", np.clip(back.data, 0, 1), back.grid)
    write_tsv(out / "candidates.tsv", table)
    write_json(out / RECORD, record)
    logger.info("%s: %d candidates", out, len(candidates))
    return Detection(out.name, scan, probability, candidates, table, record)


def _strange(scan: PreparedScan, detector: TrainedDetector) -> list[str]:
    """Say in what the scan differs from the detector's training subjects."""
    found = unusual(scan.figures, detector.usual_figures, scan.channels)
    return [f"unlike the scans that the detector was trained on: {what}" for what in found]


def _rules(weights: Path) -> CandidateRules:
    """Return the rules that the detector was evaluated with, where it was."""
    path = weights / "rules.json"
    return CandidateRules(**read_json(path)) if path.exists() else CandidateRules()


def _row(candidate: Candidate, scan: PreparedScan) -> dict[str, float]:
    native = scan.reference_from_mni @ np.array([*candidate.centre_mm, 1.0])
    numbers = (
        candidate.number,
        candidate.score,
        candidate.volume_mm3,
        *candidate.centre_mm,
        *native[:3],
    )
    return dict(zip(COLUMNS, numbers, strict=True))
