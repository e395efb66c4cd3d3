"""Planted faults of NIfTI files are named from the header; sound variants are left in peace."""

import gzip
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from lesionforge.data.volume import read_volume
from lesionforge.errors import DataError
from lesionforge.preprocessing.headers import check_header, read_header

DATA = np.random.default_rng(0).random((16, 18, 20)).astype(np.float32)
AFFINE = np.array([[8, 0, 0, -60], [0, 8, 0, -70], [0, 0, 8, -80], [0, 0, 0, 1]], dtype=float)


def _image(data: np.ndarray = DATA, affine: np.ndarray = AFFINE) -> nib.Nifti1Image:
    image = nib.Nifti1Image(data, affine)
    image.header.set_xyzt_units("mm")
    image.set_qform(affine, code=1)
    image.set_sform(affine, code=1)
    return image


def _oblique() -> np.ndarray:
    angle = np.radians(20)
    turn = np.array(
        [[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]]
    )
    affine = AFFINE.copy()
    affine[:3, :3] = turn @ AFFINE[:3, :3]
    return affine


def _forms(sform: np.ndarray, qform: np.ndarray) -> nib.Nifti1Image:
    image = _image()
    image.set_sform(sform, code=1)
    image.set_qform(qform, code=1)
    return image


def _sheared(by: float) -> nib.Nifti1Image:
    affine = AFFINE.copy()
    affine[0, 1] = by
    image = nib.Nifti1Image(DATA, affine)
    image.set_sform(affine, code=1)
    image.set_qform(None, code=0)
    return image


def _without_forms() -> nib.Nifti1Image:
    image = nib.Nifti1Image(DATA, None)
    image.header.set_zooms((8, 8, 8))
    return image


def _units(units: str) -> nib.Nifti1Image:
    image = _image()
    image.header.set_xyzt_units(units)
    return image


def _shift(mm: float) -> np.ndarray:
    affine = AFFINE.copy()
    affine[0, 3] += mm
    return affine


COLOUR = np.zeros((16, 18, 20), dtype=[("R", "u1"), ("G", "u1"), ("B", "u1")])
FLIPPED = np.diag([-1.0, 1, 1, 1]) @ AFFINE

SOUND = {
    "plain": lambda: _image(),
    "oblique": lambda: _image(affine=_oblique()),
    "left-handed": lambda: _image(affine=FLIPPED),
    "other axes": lambda: _image(affine=AFFINE[:, [2, 0, 1, 3]]),
    "integers": lambda: _image((DATA * 99).astype(np.int16)),
    "sform alone": lambda: _sheared(0.0),
    "forms almost equal": lambda: _forms(AFFINE, _shift(0.5)),
}
REMARKS = {
    "is 4D with one volume": lambda: _image(DATA[..., None]),
    "lie up to 30.0 mm apart": lambda: _forms(AFFINE, _shift(30)),
    "has thick slices": lambda: _image(affine=np.diag([8, 8, 9, 1.0])),
    "covers only 96 mm": lambda: _image(affine=np.diag([6, 8, 8, 1.0])),
}
FAULTS = {
    "one 3D volume, its shape is (16, 18, 20, 2)": lambda: _image(np.stack([DATA, DATA], -1)),
    "one 3D volume, its shape is (16, 18)": lambda: nib.Nifti1Image(DATA[..., 0], AFFINE),
    "one 3D volume, its shape is (16, 18, 20, 1, 3)": lambda: _image(
        np.stack([DATA[..., None]] * 3, -1)
    ),
    "sheared": lambda: _sheared(1.0),
    "left and right are unknown": _without_forms,
    "swap left and right": lambda: _forms(AFFINE, FLIPPED),
    "voxels are in meter": lambda: _units("meter"),
    "voxels are in micron": lambda: _units("micron"),
    "has voxels of 0.008": lambda: _image(affine=np.diag([0.008, 0.008, 0.008, 1])),
    "has voxels of 80": lambda: _image(affine=np.diag([80.0, 80, 80, 1])),
    "complex": lambda: _image(DATA.astype(np.complex64)),
    "values": lambda: nib.Nifti1Image(COLOUR, AFFINE),
    "has only": lambda: _image(DATA[:, :4]),
}


@pytest.mark.parametrize("ending", ["nii", "nii.gz"])
@pytest.mark.parametrize("make", SOUND.values(), ids=SOUND.keys())
def test_what_is_sound_is_left_in_peace(
    tmp_path: Path, make: Callable[[], nib.Nifti1Image], ending: str
) -> None:
    path = tmp_path / f"sub-1_T1w.{ending}"
    nib.save(make(), path)
    header, problems = check_header("sub-1", path)
    assert [str(p) for p in problems if "thick" not in p.what] == []
    assert header is not None
    assert header.grid.matches(read_volume(path).grid)


@pytest.mark.parametrize("what", REMARKS)
def test_oddities_are_remarked(tmp_path: Path, what: str) -> None:
    path = tmp_path / "sub-1_T1w.nii.gz"
    nib.save(REMARKS[what](), path)
    _, problems = check_header("sub-1", path)
    (problem,) = (p for p in problems if what in p.what)
    assert not any(p.fatal for p in problems)
    assert problem.remedy


@pytest.mark.parametrize("what", FAULTS)
def test_faults_are_named(tmp_path: Path, what: str) -> None:
    path = tmp_path / "sub-1_T1w.nii.gz"
    nib.save(FAULTS[what](), path)
    _, problems = check_header("sub-1", path)
    (problem,) = (p for p in problems if p.fatal)
    assert what in problem.what
    assert problem.remedy
    assert problem.file == str(path)


@pytest.mark.parametrize("keep", [0, 1, 100, 347, 360, 5000])
@pytest.mark.parametrize("ending", ["nii", "nii.gz"])
def test_a_cut_file_is_refused(tmp_path: Path, ending: str, keep: int) -> None:
    path = tmp_path / f"sub-1_T1w.{ending}"
    nib.save(_image(), path)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(DataError, match=r"sub-1_T1w"):
        read_header(path)


def test_a_file_that_is_not_what_its_name_says_is_refused(tmp_path: Path) -> None:
    nib.save(_image(), tmp_path / "plain.nii")
    (tmp_path / "a_T1w.nii.gz").write_bytes((tmp_path / "plain.nii").read_bytes())
    (tmp_path / "b_T1w.nii").write_text("<html>Please log in</html>" * 40)
    (tmp_path / "c_T1w.nii.gz").write_bytes(gzip.compress(b"no image" * 100))
    for name, words in [("a", "not compressed"), ("b", "cannot be read"), ("c", "cannot be read")]:
        ending = "nii" if name == "b" else "nii.gz"
        with pytest.raises(DataError, match=words):
            read_header(tmp_path / f"{name}_T1w.{ending}")
    with pytest.raises(DataError, match="is missing"):
        read_header(tmp_path / "d_T1w.nii")


def test_a_gzip_file_of_several_members_is_sound_and_the_same_content(tmp_path: Path) -> None:
    nib.save(_image(), tmp_path / "plain_T1w.nii")
    raw = (tmp_path / "plain_T1w.nii").read_bytes()
    parts = [raw[:1000], raw[1000:20000], raw[20000:], b""]  # as bgzip writes them
    (tmp_path / "parts_T1w.nii.gz").write_bytes(b"".join(gzip.compress(p) for p in parts))
    (tmp_path / "one_T1w.nii.gz").write_bytes(gzip.compress(raw, 1))
    contents = {read_header(p).content for p in tmp_path.glob("*_T1w.nii*")}
    assert len(contents) == 1
