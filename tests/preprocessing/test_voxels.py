"""Planted faults of intensities and coverage are found; sound images are left in peace."""

from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from lesionforge.data.volume import mni_grid, write_volume
from lesionforge.preprocessing.raw import RawSubject
from lesionforge.preprocessing.resample import resample
from lesionforge.preprocessing.tissues import template
from lesionforge.preprocessing.voxels import blank_part, blank_slices, check_voxels

GRID = mni_grid(4.0)


@pytest.fixture(scope="module")
def brain() -> np.ndarray:
    """A stripped head of intensities up to about 900."""
    _, grey, white = (resample(v, GRID) for v in template())
    noise = np.random.default_rng(0).normal(0, 20, GRID.shape)
    return (((grey > 0.2) | (white > 0.2)) * (100 + 400 * grey + 700 * white + noise)).clip(0)


@pytest.fixture(scope="module")
def head(brain: np.ndarray) -> np.ndarray:
    """The same with noisy air."""
    air = np.abs(np.random.default_rng(1).normal(0, 15, brain.shape))
    return np.where(brain > 0, brain, air)


def _found(folder: Path, data: np.ndarray) -> list[tuple[str, bool]]:
    path = folder / "sub-1_T1w.nii.gz"
    image = nib.Nifti1Image(data, GRID.matrix)
    nib.save(image, path)
    raw = RawSubject("sub-1", "control", "n/a", {"T1w": path})
    return [(p.what, p.fatal) for p in check_voxels(raw)]


SOUND: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "float": lambda d: d.astype(np.float32),
    "int16": lambda d: d.astype(np.int16),
    "uint8": lambda d: (d / 4).astype(np.uint8),
    "mirrored": lambda d: d[::-1].astype(np.float32),
    "scaled": lambda d: (d * 1e-6).astype(np.float32),
}


@pytest.mark.parametrize("kind", SOUND)
@pytest.mark.parametrize("whole", [False, True])
def test_a_sound_image_has_no_finding(
    kind: str, whole: bool, head: np.ndarray, brain: np.ndarray, tmp_path: Path
) -> None:
    assert _found(tmp_path, SOUND[kind](head if whole else brain)) == []


FAULTY: dict[str, tuple[Callable[[np.ndarray], np.ndarray], str, bool]] = {
    "int16 overflow": (lambda d: (d * 60).astype(np.int64).astype(np.int16), "jumps", True),
    "uint8 overflow": (lambda d: (d / 2).astype(np.int64).astype(np.uint8), "jumps", True),
    "saturated": (lambda d: d.clip(0, 700).astype(np.float32), "is saturated", False),
    "z-scored": (lambda d: ((d - d.mean()) / d.std()).astype(np.float32), "has values down", False),
    "all zero": (lambda d: np.zeros(d.shape, np.float32), "is constant", True),
    "NaN": (lambda d: np.full(d.shape, np.nan, np.float32), "NaN", True),
    "some NaN": (
        lambda d: np.where(d > np.quantile(d, 0.999), np.nan, d).astype(np.float32), "NaN", False
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", FAULTY)
def test_a_planted_fault_is_named(kind: str, head: np.ndarray, tmp_path: Path) -> None:
    change, words, fatal = FAULTY[kind]
    found = _found(tmp_path, change(head))
    assert [is_fatal for what, is_fatal in found if words in what] == [fatal]


def test_a_background_of_nan_is_a_remark_and_holes_of_nan_are_not(
    brain: np.ndarray, tmp_path: Path
) -> None:
    outside = np.where(brain > 0, brain, np.nan).astype(np.float32)
    assert [(f, "NaN" in w) for w, f in _found(tmp_path, outside)] == [(False, True)]
    speckled = np.where(np.random.default_rng(0).random(brain.shape) < 0.6, np.nan, brain)
    assert any(fatal for _, fatal in _found(tmp_path, speckled.astype(np.float32)))


@pytest.mark.parametrize(("axis", "place"), [(0, 20), (1, 31), (2, 25)])
def test_a_lost_slice_is_found_along_any_axis(
    head: np.ndarray, axis: int, place: int, tmp_path: Path
) -> None:
    faulty = np.moveaxis(head.copy(), axis, 0)
    faulty[place] = 0
    assert blank_slices(np.moveaxis(faulty, 0, axis)) == [(axis, place)]
    assert blank_slices(head) == []
    (remark,) = _found(tmp_path, np.moveaxis(faulty, 0, axis).astype(np.float32))
    assert f"number {place} along {'xyz'[axis]}" in remark[0]


@pytest.mark.parametrize("flip", [(), (0,), (1,), (0, 2)])
def test_a_lost_quarter_is_found_on_any_side(brain: np.ndarray, flip: tuple[int, ...]) -> None:
    x, _, z = (n // 2 for n in brain.shape)
    faulty = np.flip(brain, flip).copy()
    faulty[:x, :, :z] = 0
    assert blank_part(faulty)
    assert not blank_part(np.flip(brain, flip))


def test_the_values_of_a_mask_are_those_that_were_named(tmp_path: Path) -> None:
    path = tmp_path / "sub-1_label-lesion_dseg.nii.gz"
    image = tmp_path / "sub-1_T1w.nii.gz"
    write_volume(image, np.random.default_rng(0).random(GRID.shape), GRID)
    data = np.zeros(GRID.shape, np.uint8)
    data[20:22], data[30:32] = 1, 2

    def found(labels: dict[int, str]) -> list[tuple[str, bool]]:
        write_volume(path, data, GRID)
        raw = RawSubject("sub-1", "patient", "n/a", {"T1w": image}, path, labels=labels)
        return [(p.what, p.fatal) for p in check_voxels(raw)]

    assert found({1: "lesion", 2: "ignore"}) == []
    assert found({1: "lesion"}) == [("holds 2, which `labels` does not name", True)]
    assert found({}) == [("is not binary: 3 values from 0 to 2", False)]
    data[data == 1] = 0
    assert found({1: "lesion", 2: "ignore"})[0][0].startswith("is an empty lesion mask")
