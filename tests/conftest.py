"""A toy cohort on disk, written through the real writer; nothing of it comes from the phantoms."""

from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import ndimage

from lesionforge.data.cohort import write_description, write_participants, write_subject
from lesionforge.data.subject import Subject
from lesionforge.data.volume import Grid, grid
from lesionforge.seeding import stream

torch.set_num_threads(2)
TOY_SHAPE = (32, 40, 32)
CHANNELS = ("T1w", "FLAIR")


@pytest.fixture(scope="session")
def toy_grid() -> Grid:
    affine = np.diag([5.0, 5.0, 5.0, 1.0])
    affine[:3, 3] = [-77.5, -113.5, -73.5]
    return grid(TOY_SHAPE, affine)


def toy_volumes(subject_id: str, patient: bool, grid: Grid) -> dict[str, np.ndarray]:
    """An ellipsoid with a white core and a grey shell; a patient has one bright FLAIR ball."""
    rng = stream(0, "toy", subject_id)
    index = np.indices(grid.shape).transpose(1, 2, 3, 0)
    centre = (np.array(grid.shape) - 1) / 2
    radius = np.linalg.norm(
        (index - centre) / (np.array(grid.shape) * rng.uniform(0.40, 0.44, 3)), axis=-1
    )
    brain = radius < 1
    wm, gm = (
        (radius < 0.72).astype(np.float32),
        ((radius >= 0.72) & (radius < 0.95)).astype(np.float32),
    )
    smooth = [ndimage.gaussian_filter(v, 0.6) * brain for v in (gm, wm)]
    csf = np.clip(brain - smooth[0] - smooth[1], 0, 1).astype(np.float32)
    tissue = np.stack([csf, *smooth])
    tissue /= np.maximum(tissue.sum(0), 1e-6)
    tissue *= brain
    t1w = np.tensordot([0.2, 0.45, 0.6], tissue, 1)
    flair = np.tensordot([0.15, 0.55, 0.45], tissue, 1)
    volumes = {}
    if patient:
        shell = np.argwhere((radius > 0.75) & (radius < 0.85))
        lesion = np.linalg.norm(index - shell[rng.integers(len(shell))], axis=-1) < rng.uniform(
            2, 3.5
        )
        lesion &= brain
        volumes["label-lesion_mask"] = lesion
        flair = flair + 0.3 * ndimage.gaussian_filter(lesion.astype(float), 0.5)
        t1w = t1w - 0.1 * ndimage.gaussian_filter(lesion.astype(float), 0.5)
    noise = rng.normal(0, 0.02, (2, *grid.shape))
    volumes["T1w"] = (np.clip(t1w + noise[0], 0, 1) * brain).astype(np.float32)
    volumes["FLAIR"] = (np.clip(flair + noise[1], 0, 1) * brain).astype(np.float32)
    volumes["desc-brain_mask"] = brain
    for name, data in zip(("CSF", "GM", "WM"), tissue, strict=True):
        volumes[f"label-{name}_probseg"] = data.astype(np.float32)
    return volumes


def write_toy_cohort(
    root: Path, grid: Grid, patients: int = 6, controls: int = 4, unlabelled: int = 0
) -> list[Subject]:
    """Write a prepared cohort `sub-p01`..., `sub-c01`..., `sub-u01`... of two sites."""
    ids = [(f"sub-p{i:02d}", "patient") for i in range(1, patients + 1)]
    ids += [(f"sub-c{i:02d}", "control") for i in range(1, controls + 1)]
    ids += [(f"sub-u{i:02d}", "unlabelled") for i in range(1, unlabelled + 1)]
    subjects = [
        Subject(name, group, "AB"[i % 2], root, False, (name,), channels=CHANNELS)
        for i, (name, group) in enumerate(ids)
    ]
    write_description(root, "Toy cohort", CHANNELS)
    for subject in subjects:
        volumes = toy_volumes(subject.id, subject.group != "control", grid)
        if not subject.has_label:
            del volumes["label-lesion_mask"]
        write_subject(subject, volumes, grid, {})
    write_participants(root, subjects)
    return subjects


@pytest.fixture(scope="session")
def toy_cohort(tmp_path_factory: pytest.TempPathFactory, toy_grid: Grid) -> list[Subject]:
    """Six patients and four controls on a 32 x 40 x 32 grid of 5 mm; read-only."""
    return write_toy_cohort(tmp_path_factory.mktemp("toy") / "cohort", toy_grid)


@pytest.fixture(scope="session")
def many_patients(tmp_path_factory: pytest.TempPathFactory, toy_grid: Grid) -> list[Subject]:
    """28 patients, for what needs samples."""
    return write_toy_cohort(tmp_path_factory.mktemp("many"), toy_grid, 28, 0)
