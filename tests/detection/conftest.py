"""A tiny trained detector, and one thread: two that wait for each other are slower."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from lesionforge.data.subject import Subject
from lesionforge.detection.config import DetectorConfig
from lesionforge.detection.training import train_detector

TINY = DetectorConfig(
    filters=(4, 8, 8, 8),
    patch=24,
    steps=100,
    epoch_steps=100,
    batch_size=2,
    learning_rate=1.0e-2,
    workers=0,
    precision="32-true",
    accelerator="cpu",
)


@pytest.fixture(autouse=True, scope="package")
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="package")
def trained(toy_cohort: list[Subject], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A detector trained on four toy patients and two controls; read-only."""
    folder = tmp_path_factory.mktemp("trained") / "detector"
    train_detector([*toy_cohort[:4], *toy_cohort[6:8]], folder, TINY, 0)
    return folder


@pytest.fixture
def trained_detector(trained: Path, tmp_path: Path) -> Path:
    """A copy of the tiny detector that a test may change."""
    return Path(shutil.copytree(trained, tmp_path / "detector"))
