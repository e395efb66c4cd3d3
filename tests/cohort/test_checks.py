"""Planted faults in a raw data set are all reported, and a sound one is left in peace."""

from pathlib import Path

import numpy as np
import pytest

from lesionforge.cohort.checks import check_raw
from lesionforge.volume import grid, write_volume

GRID = grid((16, 16, 16), np.diag([10.0, 10.0, 10.0, 1.0]))


@pytest.fixture
def bids(tmp_path: Path) -> Path:
    data = np.random.default_rng(0).random(GRID.shape).astype(np.float32)
    for name in ("sub-1", "sub-2"):
        for kind in ("T1w", "FLAIR"):
            write_volume(tmp_path / name / "anat" / f"{name}_{kind}.nii.gz", data, GRID)
        write_volume(_mask(tmp_path, name), data > 0.99, GRID)
    return tmp_path


def _mask(root: Path, name: str) -> Path:
    return root / name / "anat" / f"{name}_label-lesion_mask.nii.gz"


def test_a_sound_data_set_has_no_problem(bids: Path) -> None:
    assert check_raw(bids) == []


def test_faults_of_all_subjects_are_reported_together(bids: Path) -> None:
    flair = bids / "sub-1" / "anat" / "sub-1_FLAIR.nii.gz"
    flair.write_bytes(flair.read_bytes()[:200])
    write_volume(_mask(bids, "sub-1"), np.zeros(GRID.shape), GRID)
    t1w = np.random.default_rng(0).random(GRID.shape)
    t1w[3, 3, 3] = np.nan
    write_volume(bids / "sub-2" / "anat" / "sub-2_T1w.nii.gz", t1w, GRID)
    write_volume(bids / "sub-2" / "anat" / "sub-2_FLAIR.nii.gz", np.ones(GRID.shape), GRID)
    write_volume(_mask(bids, "sub-2"), t1w * 3, GRID)
    problems = check_raw(bids)
    texts = [str(p) for p in problems]
    for subject, words in [
        ("sub-1", "cannot be read"),
        ("sub-1", "empty lesion mask"),
        ("sub-2", "1 NaN"),
        ("sub-2", "is constant"),
        ("sub-2", "not binary"),
    ]:
        assert any(t.startswith(subject) and words in t for t in texts), words
    assert len(problems) == 5
    assert sum(p.fatal for p in problems) == 3
    assert check_raw(bids, exclude=("sub-1", "sub-2")) == []


def test_a_header_without_millimetres_is_seen(bids: Path) -> None:
    small = grid(GRID.shape, np.diag([0.001, 0.001, 0.001, 1.0]))
    data = np.random.default_rng(0).random(GRID.shape).astype(np.float32)
    write_volume(bids / "sub-1" / "anat" / "sub-1_T1w.nii.gz", data, small)
    (problem,) = check_raw(bids)
    assert "voxels of" in problem.what
    assert problem.fatal
