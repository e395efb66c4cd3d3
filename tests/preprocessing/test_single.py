"""The space of a lesion mask is judged by its grid, then by its name."""

from pathlib import Path

import numpy as np
import pytest

from lesionforge.data.volume import Grid, grid, write_volume
from lesionforge.preprocessing.raw import RawSubject
from lesionforge.preprocessing.single import lesion_space, single_threaded
from tests.conftest import CHANNELS

T1W = grid((10, 10, 10), np.diag([1.0, 1.0, 1.0, 1.0]))
FLAIR = grid((10, 10, 5), np.diag([1.0, 1.0, 2.0, 1.0]))
OTHER = grid((9, 9, 9), np.diag([1.0, 1.0, 1.0, 1.0]))


@pytest.fixture
def paths(tmp_path: Path) -> tuple[Path, Path]:
    for name, area in (("T1w", T1W), ("FLAIR", FLAIR)):
        write_volume(tmp_path / f"sub-1_{name}.nii.gz", np.zeros(area.shape), area)
    return tmp_path / "sub-1_T1w.nii.gz", tmp_path / "sub-1_FLAIR.nii.gz"


@pytest.mark.parametrize(
    ("name", "area", "space", "remark"),
    [
        ("label-lesion_mask", T1W, "T1w", False),
        ("label-lesion_mask", FLAIR, "FLAIR", False),
        ("FLAIR_roi", T1W, "T1w", False),  # the grid overrules the name
        ("acq-32ch10_FLAIR_roi", OTHER, "FLAIR", True),
        ("space-T1w_label-lesion_mask", OTHER, "T1w", True),
        ("label-lesion_mask", OTHER, "FLAIR", True),  # experts draw on FLAIR
    ],
)
def test_the_space_of_a_mask(
    paths: tuple[Path, Path], name: str, area: Grid, space: str, remark: bool
) -> None:
    raw = RawSubject(
        "sub-1",
        "patient",
        "A",
        dict(zip(CHANNELS, paths, strict=True)),
        paths[0].with_name(f"sub-1_{name}.nii.gz"),
    )
    found, why = lesion_space(raw, area)
    assert found == space
    assert bool(why) == remark


def test_thread_counts_are_put_back() -> None:
    import torch

    before = torch.get_num_threads()
    with single_threaded():
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == before
