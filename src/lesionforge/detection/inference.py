"""Predict with a trained detector: whole volumes, then candidates of every held-out subject."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from monai.inferers import sliding_window_inference
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn
from tqdm import tqdm

from lesionforge.data.subject import Subject, read_ignore, read_images, read_lesion
from lesionforge.data.volume import Volume, read_volume, write_volume
from lesionforge.detection.config import AugmentConfig, DetectorConfig
from lesionforge.detection.data import brain_box, standardise
from lesionforge.detection.networks import LOGIT_LIMIT, build_network, load_network_state
from lesionforge.errors import DataError, LineageError
from lesionforge.hardware import exact_float32, find_device
from lesionforge.metrics.config import NEGLIGIBLE, CandidateRules
from lesionforge.metrics.evaluation import (
    CANDIDATE_COLUMNS,
    LESION_COLUMNS,
    SUBJECT_COLUMNS,
    evaluate_subject,
)
from lesionforge.metrics.lesion_matching import Truth
from lesionforge.provenance import read_json, sha256, write_json, write_tsv

WINDOWS_AT_ONCE = 4


@dataclass(frozen=True, eq=False)
class TrainedDetector:
    """A detector ready to predict.

    Attributes:
        network: in evaluation mode, on `device`.
        config: what it was trained with.
        precision: what it was trained in.
        sha256: of its weights.
        channels: BIDS suffixes of the images that it reads, in this order.
        voxel_mm: of the cohort that it was trained on.
        usual_figures: median and spread of its training subjects' quality figures.
        device: where it runs.
    """

    network: nn.Module
    config: DetectorConfig
    precision: str
    sha256: str
    channels: tuple[str, ...]
    voxel_mm: tuple[float, float, float]
    usual_figures: dict[str, tuple[float, float]]
    device: torch.device


def load_detector(folder: Path) -> TrainedDetector:
    """Load the detector that `train_detector` wrote to `folder`.

    Raises:
        DataError: files are missing, damaged, or do not belong together.
    """
    record = read_json(folder / "detector.json")
    weights = folder / "detector.safetensors"
    if record.get("logit_limit") != LOGIT_LIMIT:
        raise DataError(
            f"{folder} holds a detector of former code, whose logits differ. Train it again."
        )
    try:
        content, channels = dict(record["config"]), tuple(map(str, record["channels"]))
        x, y, z = (float(v) for v in record["voxel_mm"])
        usual = {str(k): (float(m), float(s)) for k, (m, s) in record["usual_figures"].items()}
        content["augment"] = AugmentConfig(**_tuples(content["augment"]))
        config = DetectorConfig(**_tuples(content))
        state = load_file(weights)
        network = build_network(len(channels), config.filters, seed=0)
        load_network_state(network, state)
    except (KeyError, TypeError, ValueError, RuntimeError, OSError, SafetensorError) as error:
        raise DataError(
            f"{folder} does not hold a detector of this version ({error}). Train it again."
        ) from None
    found = sha256(weights)
    if found != record["weights_sha256"]:
        raise DataError(
            f"{weights} is not the file that {folder / 'detector.json'} describes. Copy the whole "
            "folder again, or delete it and train again."
        )
    device = torch.device(find_device(config.accelerator))
    network.eval().to(device)
    return TrainedDetector(
        network, config, record["precision"], found, channels, (x, y, z), usual, device
    )


def _tuples(content: Mapping[str, Any]) -> dict[str, Any]:
    return {k: tuple(v) if isinstance(v, list) else v for k, v in content.items()}


def predict_probability(
    detector: TrainedDetector, images: np.ndarray, brain: np.ndarray
) -> np.ndarray:
    """Predict the probability of a lesion at every voxel.

    Sliding windows of the training patch's size with Gaussian weights; with `mirror`, averaged
    with the prediction of the left-right mirrored volume.

    Args:
        detector: see `load_detector`.
        images: (C, X, Y, Z) of a prepared subject, in the order of `detector.channels`.
        brain: (X, Y, Z) bool.

    Returns:
        (X, Y, Z) float32 in [0, 1]; 0 outside the brain.

    Raises:
        DataError: the brain mask is empty.
    """
    if not brain.any():
        raise DataError("A brain mask is empty; nothing can be predicted.")
    box = brain_box(brain)
    volume = torch.from_numpy(standardise(images, brain)[(slice(None), *box)].copy())
    inside = _slide(detector, volume)
    if detector.config.mirror:
        inside = (inside + _slide(detector, volume.flip(1)).flip(0)) / 2
    probability = np.zeros(brain.shape, dtype=np.float32)
    probability[box] = inside.numpy()
    return probability * brain


def _slide(detector: TrainedDetector, volume: torch.Tensor) -> torch.Tensor:
    """Return the probability (X, Y, Z) of a standardised `volume` (2, X, Y, Z)."""

    def predict(windows: torch.Tensor) -> torch.Tensor:
        windows = windows.contiguous(memory_format=torch.channels_last_3d)
        return torch.sigmoid(detector.network(windows).float())

    bf16 = detector.precision == "bf16-mixed"
    precision = torch.autocast(detector.device.type, torch.bfloat16, bf16)
    with torch.inference_mode(), exact_float32(), precision:
        return sliding_window_inference(
            volume[None],
            roi_size=detector.config.patch,
            sw_batch_size=WINDOWS_AT_ONCE,
            predictor=predict,
            overlap=detector.config.overlap,
            mode="gaussian",
            sw_device=detector.device,
            device=torch.device("cpu"),
        )[0, 0].clamp(0, 1)


def predict_subjects(
    folder: Path, subjects: list[Subject], roles: Mapping[str, str], rules: CandidateRules
) -> None:
    """Predict held-out subjects and write their maps, candidates and figures; resumes.

    Writes `probability/<id>_probability.nii.gz` (0 where below 0.005, for small files),
    `candidates.tsv` and `subjects.tsv`, both with a `role` column. Maps that these weights made
    of the same images are kept.

    Args:
        folder: of a trained detector.
        subjects: validation and test subjects.
        roles: participant id to `validation` or `test`.
        rules: of candidates and hits.

    Raises:
        LineageError: a subject stands behind the detector's training.
    """
    write_tables(folder, subjects, roles, rules, probability_maps(folder))


def probability_maps(folder: Path) -> Callable[[Subject], Volume]:
    """Return what gives the map of a subject by a trained detector; maps are kept and reused.

    Args:
        folder: of the detector; maps of other weights or images in it are made anew.

    Raises:
        DataError: the detector is missing or damaged.
    """
    detector = load_detector(folder)
    return lambda subject: _saved_probability(folder / "probability", subject, detector)


def write_tables(
    folder: Path,
    subjects: list[Subject],
    roles: Mapping[str, str],
    rules: CandidateRules,
    probability_of: Callable[[Subject], Volume],
) -> None:
    """Find the candidates in held-out subjects' maps and write the three tables.

    `candidates.tsv`, `lesions.tsv` and `subjects.tsv`, which comes last and marks them complete.

    Args:
        folder: with the `lineage.json` of what made the maps.
        subjects: validation and test subjects.
        roles: participant id to `validation` or `test`.
        rules: of candidates and hits.
        probability_of: returns the map of a subject.

    Raises:
        LineageError: a subject stands behind the training of what made the maps.
    """
    known = read_json(folder / "lineage.json")
    trained_on = {*known["real_subjects"], *known.get("participants", ())}
    leaks = [s.id for s in subjects if trained_on & {s.id, s.person, *s.sources}]
    if leaks:
        raise LineageError(
            f"The detector in {folder} was trained on {', '.join(leaks)}, who are to be predicted. "
            "Was splits.tsv changed since? Put it back, or train under another `name`."
        )
    (folder / "subjects.tsv").unlink(missing_ok=True)
    candidates: list[dict[str, Any]] = []
    lesions: list[dict[str, Any]] = []
    rows: list[dict[str, Any]] = []
    for subject in tqdm(subjects, desc="predict", unit="subject"):
        probability = probability_of(subject)
        found, true, row = evaluate_subject(
            subject.id,
            subject.group,
            subject.site,
            probability.data,
            Truth(read_lesion(subject), read_ignore(subject)),
            probability.grid,
            rules,
        )
        candidates += [{**one, "role": roles[subject.id]} for one in found]
        lesions += [{**one, "role": roles[subject.id]} for one in true]
        rows.append({**row, "role": roles[subject.id]})
    write_json(folder / "rules.json", asdict(rules))
    write_tsv(
        folder / "candidates.tsv", pd.DataFrame(candidates, columns=[*CANDIDATE_COLUMNS, "role"])
    )
    write_tsv(folder / "lesions.tsv", pd.DataFrame(lesions, columns=[*LESION_COLUMNS, "role"]))
    write_tsv(folder / "subjects.tsv", pd.DataFrame(rows, columns=[*SUBJECT_COLUMNS, "role"]))


def _saved_probability(folder: Path, subject: Subject, detector: TrainedDetector) -> Volume:
    """Read a subject's map, or predict and write it; both give the same values."""
    path = folder / f"{subject.id}_probability.nii.gz"
    sidecar = folder / f"{subject.id}_probability.json"
    volumes = [sha256(volume) for volume in (*subject.images, subject.brain)]
    made_from = {"WeightsSHA256": detector.sha256, "VolumesSHA256": volumes}
    if not (path.exists() and sidecar.exists() and read_json(sidecar) == made_from):
        sidecar.unlink(missing_ok=True)
        brain = read_volume(subject.brain)
        data = predict_probability(detector, read_images(subject), brain.data > 0.5)
        write_volume(path, np.where(data < NEGLIGIBLE, np.float32(0), data), brain.grid)
        write_json(sidecar, made_from)
    return read_volume(path)
