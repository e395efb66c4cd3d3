"""Run a trained detector on new scans, without any label."""

import logging
import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from lesionforge.data.volume import Volume, write_volume
from lesionforge.detection.inference import TrainedDetector, load_detector, predict_probability
from lesionforge.errors import DataError
from lesionforge.metrics.config import CandidateRules
from lesionforge.metrics.matching import Candidate, find_candidates
from lesionforge.preprocessing.config import PrepareConfig
from lesionforge.preprocessing.prepare import PreparedScan, prepare_scan
from lesionforge.preprocessing.quality import unusual
from lesionforge.provenance import environment, is_hidden, read_json, sha256, write_json, write_tsv

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
_SCAN = re.compile(r"(?P<name>.+)_(?P<suffix>T1w|FLAIR)\.nii(\.gz)?$")


@dataclass(frozen=True, eq=False)
class Detection:
    """What a detector found in one new scan.

    Attributes:
        name: of the scan.
        scan: the prepared images and the way back to the T1w file's space.
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


def find_pairs(scans: Iterable[Path]) -> dict[str, tuple[Path, Path]]:
    """Pair T1w and FLAIR files by the name before `_T1w` and `_FLAIR`.

    Args:
        scans: NIfTI files, or folders that are searched for them.

    Returns:
        Name to (T1w, FLAIR), sorted by name.

    Raises:
        DataError: a path is missing or has another name, a scan lacks its partner, a name comes
            twice, or there is nothing; all problems at once.
    """
    found: dict[str, dict[str, Path]] = {}
    problems = []
    for path in (file for scan in scans for file in _files(Path(scan))):
        match = _SCAN.fullmatch(path.name)
        if match is None or not path.is_file():
            what = "is missing" if match else "is not named *_T1w.nii.gz or *_FLAIR.nii.gz"
            problems.append(f"{path} {what}.")
            continue
        files = found.setdefault(match["name"], {})
        if files.setdefault(match["suffix"], path) != path:
            problems.append(f"{path} and {files[match['suffix']]} have the same name.")
    for name, files in sorted(found.items()):
        if len(files) == 1:
            have = next(iter(files))
            lacks = "FLAIR" if have == "T1w" else "T1w"
            problems.append(f"{name} has a {have} ({files[have]}), but no {lacks}.")
    if problems or not found:
        raise DataError("\n".join(problems) or "No *_T1w.nii.gz and *_FLAIR.nii.gz were found.")
    return {name: (files["T1w"], files["FLAIR"]) for name, files in sorted(found.items())}


def _files(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    return sorted(
        p for p in path.rglob("*.nii*") if _SCAN.fullmatch(p.name) and not is_hidden(p, path)
    )


def is_detected(weights: Path, t1w: Path, flair: Path, out: Path) -> bool:
    """Tell whether `out` holds what these weights and rules found in these very files."""
    if not (out / "detection.json").exists():
        return False
    known = read_json(out / "detection.json")
    same_files = all(
        known[name]["sha256"] == sha256(path) for name, path in (("t1w", t1w), ("flair", flair))
    )
    same_weights = known["weights_sha256"] == sha256(weights / "detector.safetensors")
    return same_files and same_weights and known["rules"] == asdict(_rules(weights))


def detect_scan(weights: Path, t1w: Path, flair: Path, out: Path) -> Detection:
    """Prepare one scan, predict, and write what was found to `out`.

    The scan is brought to the voxel size of the detector's cohort; the other choices of
    preparation are the defaults.

    Writes `candidates.tsv` (centres in MNI and in the T1w file's space, RAS mm),
    `probability.nii.gz` on the T1w file's grid, and `detection.json`.

    Args:
        weights: folder of a trained detector.
        t1w: NIfTI file.
        flair: NIfTI file of the same head.
        out: folder of the result.

    Raises:
        DataError: the detector or a scan cannot be used.
    """
    detector = load_detector(weights)
    rules = _rules(weights)
    scan = prepare_scan(t1w, flair, PrepareConfig(voxel_mm=detector.voxel_mm[0]))
    probability = predict_probability(
        detector, scan.images, scan.volumes["desc-brain_mask"].astype(bool)
    )
    candidates = find_candidates(probability, scan.grid, rules)
    table = pd.DataFrame([_row(c, scan) for c in candidates], columns=list(COLUMNS))
    back: Volume = scan.to_t1w(probability)
    record = {
        "t1w": {"file": str(t1w), "sha256": sha256(t1w)},
        "flair": {"file": str(flair), "sha256": sha256(flair)},
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
    write_json(out / "detection.json", record)
    logger.info("%s: %d candidates", out, len(candidates))
    return Detection(out.name, scan, probability, candidates, table, record)


def _strange(scan: PreparedScan, detector: TrainedDetector) -> list[str]:
    """Say in what the scan differs from the detector's training subjects."""
    found = unusual(scan.figures, detector.usual_figures)
    return [f"unlike the scans that the detector was trained on: {what}" for what in found]


def _rules(weights: Path) -> CandidateRules:
    """Return the rules that the detector was evaluated with, where it was."""
    path = weights / "rules.json"
    return CandidateRules(**read_json(path)) if path.exists() else CandidateRules()


def _row(candidate: Candidate, scan: PreparedScan) -> dict[str, float]:
    native = scan.t1w_from_mni @ np.array([*candidate.centre_mm, 1.0])
    numbers = (
        candidate.number,
        candidate.score,
        candidate.volume_mm3,
        *candidate.centre_mm,
        *native[:3],
    )
    return dict(zip(COLUMNS, numbers, strict=True))
