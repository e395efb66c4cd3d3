"""nnU-Net in and out: a regime as its raw data set, its predictions as those of a detector."""

import logging
import shutil
from collections.abc import Mapping
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from tqdm import tqdm

from lesionforge.data.subject import Subject, read_grid, read_ignore, read_lesion
from lesionforge.data.volume import Volume, read_volume, write_volume
from lesionforge.detection.inference import write_tables
from lesionforge.detection.training import lineage
from lesionforge.errors import DataError, GeometryError
from lesionforge.metrics.config import CandidateRules
from lesionforge.provenance import write_json
from lesionforge.seeding import stream

logger = logging.getLogger(__name__)
FOLDS = 5
ENDING = ".nii.gz"


def export(training: list[Subject], held_out: list[Subject], folder: Path, seed: int) -> Path:
    """Write `imagesTr`, `labelsTr`, `imagesTs`, `dataset.json` and `splits_final.json`.

    Channels are in the study's order; controls have empty labels; validation and test subjects are
    in `imagesTs`; `dataset.json` comes last and marks them complete. The folds are sampled from the
    real training subjects: a synthetic one never validates, and trains only where none of its
    sources validates.

    Args:
        training: of a regime, real and synthetic.
        held_out: validation and test subjects; their labels are not written.
        folder: `nnUNet_raw/DatasetNNN_NAME`.
        seed: of the folds.

    Returns:
        The folder.

    Raises:
        DataError: the folder is there already, or there are fewer than two real patients.
    """
    if (folder / "dataset.json").exists():
        raise DataError(f"{folder} is there already. Delete it, or choose another --number.")
    folds = assign_folds(training, seed)
    ignores = any(subject.ignore.exists() for subject in training)
    for subject in tqdm(training, desc=f"write {folder.name}", unit="subject"):
        _write_images(subject, folder / "imagesTr")
        _write_label(subject, folder / "labelsTr")
    for subject in tqdm(held_out, desc="write held-out subjects", unit="subject"):
        _write_images(subject, folder / "imagesTs")
    write_json(folder / "lineage.json", lineage(training))
    write_json(folder / "splits_final.json", folds)
    write_json(
        folder / "dataset.json",
        {
            "channel_names": {str(i): name for i, name in enumerate(training[0].channels)},
            "labels": {"background": 0, "lesion": 1} | ({"ignore": 2} if ignores else {}),
            "numTraining": len(training),
            "file_ending": ENDING,
            "description": "Written by LesionForge; controls have empty labels.",
        },
    )
    logger.info("%s: %d training, %d held-out subjects", folder, len(training), len(held_out))
    return folder


def _write_images(subject: Subject, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for channel, path in enumerate(subject.images):
        shutil.copyfile(path, folder / f"{subject.id}_{channel:04d}{ENDING}")


def _write_label(subject: Subject, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / f"{subject.id}{ENDING}"
    if subject.ignore.exists():
        lesion = read_lesion(subject)
        label = np.where(lesion, 1, 2 * read_ignore(subject)).astype(np.uint8)
        write_volume(target, label, read_grid(subject))
    elif subject.group == "patient":
        shutil.copyfile(subject.lesion, target)
    else:
        grid = read_grid(subject)
        write_volume(target, np.zeros(grid.shape, dtype=bool), grid)


def assign_folds(training: list[Subject], seed: int) -> list[dict[str, list[str]]]:
    """Deal the real persons into validation parts, patients and controls evenly.

    There are five, or as many as real patients if those are fewer.

    Returns:
        nnU-Net's `splits_final.json`: for each fold the ids that train and that validate.

    Raises:
        DataError: there are fewer than two real patients.
    """
    real = [s for s in training if not s.synthetic]
    person = {s.id: s.person for s in real}
    count = min(FOLDS, len({s.person for s in real if s.group == "patient"}))
    if count < 2:
        raise DataError(f"Folds need two real patients or more, the regime has {count}.")
    part: dict[str, int] = {}
    for group in ("patient", "control"):
        ids = sorted({s.person for s in real if s.group == group} - part.keys())
        order = stream(seed, "nnunet-folds", group).permutation(len(ids))
        part |= {ids[place]: rank % count for rank, place in enumerate(order)}
    folds = []
    for fold in range(count):
        validating = {name for name, number in part.items() if number == fold}
        train = [
            s.id
            for s in training
            if not validating & {s.person, *(person.get(source, source) for source in s.sources)}
        ]
        validate = sorted(name for name, who in person.items() if who in validating)
        folds.append({"train": train, "val": validate})
    return folds


def import_maps(
    predictions: Path,
    folder: Path,
    training: list[Subject],
    held_out: list[Subject],
    roles: Mapping[str, str],
    rules: CandidateRules,
) -> None:
    """Turn another tool's probability maps into a cell that the report compares.

    Args:
        predictions: folder with `<subject>.npz` (nnU-Net's `--save_probabilities`: `probabilities`,
            (2, Z, Y, X)) or `<subject>.nii.gz` (probability of a lesion) of every held-out subject.
        folder: of the cell; gets `probability/`, `lineage.json`, `candidates.tsv`, `subjects.tsv`.
        training: the subjects that the tool was trained on.
        held_out: validation and test subjects.
        roles: participant id to role.
        rules: of candidates and hits.

    Raises:
        DataError: maps are missing (all are named), or hold something else.
        GeometryError: a map lies on another grid than its subject.
        LineageError: a held-out subject stands behind a training subject.
    """
    found = {s.id: _find(predictions, s) for s in held_out}
    lacking = [name for name, path in found.items() if path is None]
    if lacking:
        raise DataError(
            f"{predictions} lacks the maps of {len(lacking)} held-out subjects: "
            f"{', '.join(lacking[:10])}. Predict imagesTs with --save_probabilities."
        )
    (folder / "subjects.tsv").unlink(missing_ok=True)  # of a former import
    write_json(folder / "lineage.json", lineage(training))

    def probability_of(subject: Subject) -> Volume:
        volume = _read_map(found[subject.id] or predictions, subject)
        path = folder / "probability" / f"{subject.id}_probability{ENDING}"
        write_volume(path, volume.data, volume.grid)
        return volume

    write_tables(folder, held_out, roles, rules, probability_of)


def _find(predictions: Path, subject: Subject) -> Path | None:
    for ending in (".npz", ENDING):
        if (predictions / f"{subject.id}{ending}").exists():
            return predictions / f"{subject.id}{ending}"
    return None


def _read_map(path: Path, subject: Subject) -> Volume:
    """Read a map as (X, Y, Z) on the subject's grid, and make sure that it holds probabilities."""
    grid = read_grid(subject)
    if path.suffix == ".npz":
        try:
            with np.load(path) as content:
                data = content["probabilities"][1].transpose(2, 1, 0).astype(np.float32)
        except (OSError, ValueError, KeyError, IndexError, BadZipFile) as error:
            raise DataError(f"{path} is not what nnU-Net saves ({error}).") from None
    else:
        volume = read_volume(path)
        if not volume.grid.matches(grid):
            raise GeometryError(
                f"{path} lies on another grid (shape or affine) than {subject.id}. Predict the "
                "exported images themselves, and do not resample what comes out."
            )
        data = volume.data
    if data.shape != grid.shape:
        raise DataError(f"{path} has shape {data.shape}, {subject.id} has {grid.shape}.")
    if not np.isfinite(data).all() or data.min() < 0 or data.max() > 1 + 1e-3:
        raise DataError(f"{path} does not hold probabilities between 0 and 1.")
    if path.suffix != ".npz" and data.any() and set(np.unique(data)) <= {0.0, 1.0}:
        raise DataError(
            f"{path} holds labels, not probabilities: predict with --save_probabilities."
        )
    return Volume(np.clip(data, 0, 1), grid)
