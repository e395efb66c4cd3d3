"""Where a mask lies is said by its name, its grid or the user, and is never guessed."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from lesionforge.data.volume import Grid, grid, write_volume
from lesionforge.errors import DataError
from lesionforge.preprocessing.config import PrepareConfig
from lesionforge.preprocessing.headers import Header, read_header
from lesionforge.preprocessing.spaces import find_space

T1W = grid((10, 10, 10), np.diag([1.0, 1.0, 1.0, 1.0]))
FLAIR = grid((10, 10, 9), np.diag([1.0, 1.0, 2.0, 1.0]))
OTHER = grid((9, 9, 9), np.diag([1.0, 1.0, 1.0, 1.0]))
DEFAULT = PrepareConfig()


def _header(folder: Path, name: str, area: Grid) -> Header:
    path = folder / f"sub-1_{name}.nii.gz"
    write_volume(path, np.zeros(area.shape), area)
    return read_header(path)


@pytest.fixture
def images(tmp_path: Path) -> dict[str, Header]:
    return {"T1w": _header(tmp_path, "T1w", T1W), "FLAIR": _header(tmp_path, "FLAIR", FLAIR)}


@pytest.mark.parametrize(
    ("name", "area", "channel"),
    [
        ("label-lesion_mask", T1W, "T1w"),
        ("label-lesion_mask", FLAIR, "FLAIR"),
        ("FLAIR_roi", T1W, "T1w"),  # the grid overrules the name
        ("space-T1w_label-lesion_mask", OTHER, "T1w"),
        ("space-FLAIR_label-lesion_mask", T1W, "FLAIR"),
    ],
)
def test_name_and_grid_decide(
    images: dict[str, Header], tmp_path: Path, name: str, area: Grid, channel: str
) -> None:
    found = find_space(_header(tmp_path, name, area), images, DEFAULT)
    assert (found.channel, found.grid, found.remark) == (channel, None, "")


@pytest.mark.parametrize("name", ["label-lesion_mask", "acq-32ch10_FLAIR_roi", "T1w_roi"])
def test_a_grid_of_no_image_is_refused_until_the_user_says_which(
    images: dict[str, Header], tmp_path: Path, name: str
) -> None:
    mask = _header(tmp_path, name, OTHER)
    with pytest.raises(DataError, match=r"lies on the grid of no image \(T1w, FLAIR\)"):
        find_space(mask, images, DEFAULT)
    said = find_space(mask, images, PrepareConfig(drawn_on="FLAIR"))
    assert (said.channel, said.grid) == ("FLAIR", None)


def test_the_right_shape_in_another_frame_is_refused_until_the_user_says_so(
    images: dict[str, Header], tmp_path: Path
) -> None:
    moved = grid(T1W.shape, np.diag([-1.0, -1.0, 1.0, 1.0]))
    mask = _header(tmp_path, "label-lesion_mask", moved)
    with pytest.raises(DataError, match="grid of no image"):
        find_space(mask, images, DEFAULT)
    said = find_space(mask, images, PrepareConfig(drawn_on="T1w", mask_affine="image"))
    assert (said.channel, said.grid) == ("T1w", images["T1w"].grid)
    with pytest.raises(DataError, match="`mask_affine: image` cannot be"):
        find_space(mask, images, PrepareConfig(drawn_on="FLAIR", mask_affine="image"))


def test_another_space_than_the_images_is_refused(
    images: dict[str, Header], tmp_path: Path
) -> None:
    with pytest.raises(DataError, match="is in space MNI, and no image is"):
        find_space(_header(tmp_path, "space-MNI_roi", T1W), images, DEFAULT)


@pytest.mark.parametrize("shift", [0.3, 18.0])
@pytest.mark.parametrize("turned", [False, True])
def test_a_mask_saved_in_the_other_frame_of_its_image_has_its_voxels(
    images: dict[str, Header], tmp_path: Path, shift: float, turned: bool
) -> None:
    affine = np.diag([-1.0, 1.0, 1.0, 1.0]) if turned else np.eye(4)
    scanner = affine.copy()
    scanner[1, 3] += shift
    image = nib.Nifti1Image(np.zeros((10, 12, 14), np.float32), affine)
    image.set_sform(affine, 2)
    image.set_qform(scanner, 1)
    nib.save(image, tmp_path / "sub-1_T1w.nii.gz")
    mask = nib.Nifti1Image(np.zeros((10, 12, 14), np.uint8), scanner)
    mask.set_sform(scanner, 1)
    mask.set_qform(scanner, 1)
    nib.save(mask, tmp_path / "sub-1_roi.nii.gz")
    images["T1w"] = read_header(tmp_path / "sub-1_T1w.nii.gz")
    found = find_space(read_header(tmp_path / "sub-1_roi.nii.gz"), images, DEFAULT)
    assert (found.channel, found.grid) == ("T1w", images["T1w"].grid)
    assert "by sform or qform" in found.remark


@pytest.mark.parametrize(
    ("name", "channel", "others"),
    [
        ("label-lesion_mask", "FLAIR", ("T1w", "T2w")),  # experts draw on FLAIR
        ("T1w_roi", "T1w", ()),
        ("acq-T2w_roi", "T2w", ()),
    ],
)
def test_of_several_images_on_one_grid_the_named_one_counts(
    tmp_path: Path, name: str, channel: str, others: tuple[str, ...]
) -> None:
    images = {c: _header(tmp_path, c, T1W) for c in ("T1w", "T2w", "FLAIR")}
    found = find_space(_header(tmp_path, name, T1W), images, DEFAULT)
    assert (found.channel, found.others) == (channel, others)
