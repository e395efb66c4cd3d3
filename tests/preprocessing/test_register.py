"""Geometry: RAS and LPS agree in world space, and known moves are recovered."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
from scipy import ndimage
from scipy.spatial.transform import Rotation

from lesionforge.data.volume import Volume, grid, mni_grid, read_volume, write_volume
from lesionforge.errors import DataError, GeometryError
from lesionforge.preprocessing.register import (
    best_start,
    bias_field,
    centroid,
    check_orthogonal,
    margin,
    register,
    to_itk,
)
from lesionforge.preprocessing.resample import resample
from lesionforge.preprocessing.tissues import template


def _move(angles_deg: tuple[float, ...], shift: tuple[float, ...]) -> np.ndarray:
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_euler("xyz", angles_deg, degrees=True).as_matrix()
    matrix[:3, 3] = shift
    return matrix


def _oblique_blob() -> Volume:
    affine = _move((12, -7, 25), (31, -18, 9)) @ np.diag([1.2, 0.9, 3.0, 1])
    data = np.zeros((20, 24, 9), dtype=np.float32)
    data[13:17, 4:7, 5:8] = [[[1, 2, 1]]]
    return Volume(data, grid(data.shape, affine))


def _itk_centroid_ras(image: sitk.Image) -> np.ndarray:
    array = sitk.GetArrayFromImage(image)
    z, y, x = ndimage.center_of_mass(array)
    point = image.TransformContinuousIndexToPhysicalPoint((x, y, z))
    return np.array(point) * [-1, -1, 1]


@pytest.fixture(scope="module")
def head() -> Volume:
    """The template's T1 on a 3 mm grid."""
    target = mni_grid(3.0)
    return Volume(resample(template()[0], target), target)


@pytest.fixture(scope="module")
def near(head: Volume) -> Volume:
    mask = ndimage.binary_dilation(head.data > 0.1, iterations=3)
    return Volume(mask.astype(np.float32), head.grid)


def _flair_like(head: Volume, fixed_to_moving: np.ndarray) -> Volume:
    """Another contrast of the head, moved, on another grid."""
    target = grid((60, 70, 40), _move((0, 0, 0), (-88, -120, -75)) @ np.diag([3, 3, 4, 1]))
    moved = resample(head, target, np.linalg.inv(fixed_to_moving))
    return Volume(np.where(moved > 0.1, 1.2 - moved, 0).astype(np.float32), target)


def _error_mm(found: np.ndarray, true: np.ndarray) -> float:
    points = np.random.default_rng(0).uniform(-60, 60, (200, 3))
    difference = found - true
    return float(np.linalg.norm(points @ difference[:3, :3].T + difference[:3, 3], axis=1).max())


def test_a_blob_has_one_place_in_both_libraries(tmp_path: Path) -> None:
    blob = _oblique_blob()
    path = tmp_path / "blob.nii.gz"
    write_volume(path, blob.data, blob.grid)
    image = nib.load(path)
    place = nib.affines.apply_affine(image.affine, ndimage.center_of_mass(image.get_fdata()))
    np.testing.assert_allclose(_itk_centroid_ras(sitk.ReadImage(str(path))), place, atol=1e-3)
    np.testing.assert_allclose(_itk_centroid_ras(to_itk(read_volume(path))), place, atol=1e-3)
    np.testing.assert_allclose(centroid(blob), place, atol=1e-3)


def test_a_file_in_another_orientation_keeps_its_place(tmp_path: Path) -> None:
    blob = _oblique_blob()
    image = nib.Nifti1Image(blob.data[::-1, :, ::-1], blob.grid.matrix @ _flip(blob.data.shape))
    nib.save(image, tmp_path / "flipped.nii.gz")
    np.testing.assert_allclose(
        _itk_centroid_ras(to_itk(read_volume(tmp_path / "flipped.nii.gz"))),
        centroid(blob),
        atol=1e-3,
    )


def _flip(shape: tuple[int, ...]) -> np.ndarray:
    matrix = np.diag([-1.0, 1.0, -1.0, 1.0])
    matrix[:3, 3] = [shape[0] - 1, 0, shape[2] - 1]
    return matrix


@pytest.mark.parametrize("angles", [(8, -6, 10), (-11, 3, -5)])
def test_a_rigid_move_is_recovered(head: Volume, near: Volume, angles: tuple[float, ...]) -> None:
    true = _move(angles, (7, -9, 5))
    moving = _flair_like(head, true)
    found = register(head, moving, near, np.eye(4), "rigid", (8, 4, 3)).matrix
    np.testing.assert_allclose(found[:3, :3] @ found[:3, :3].T, np.eye(3), atol=1e-6)
    turn = Rotation.from_matrix(found[:3, :3] @ true[:3, :3].T).magnitude()
    assert np.degrees(turn) < 1
    middle = centroid(head)
    assert np.linalg.norm((found - true)[:3, :3] @ middle + (found - true)[:3, 3]) < 1


def test_an_affine_is_recovered(head: Volume, near: Volume) -> None:
    true = _move((6, 4, -5), (5, -6, 8)) @ np.diag([0.92, 1.06, 1.1, 1])
    found = register(head, _flair_like(head, true), near, np.eye(4), "affine", (8, 4, 3)).matrix
    assert _error_mm(found, true) < 3


def test_registration_repeats_to_the_bit(head: Volume, near: Volume) -> None:
    moving = _flair_like(head, _move((5, 0, 0), (4, 0, 0)))
    results = [register(head, moving, near, np.eye(4), "rigid", (8,)).matrix for _ in range(2)]
    np.testing.assert_array_equal(*results)


def test_the_best_start_is_the_true_one(head: Volume, near: Volume) -> None:
    true = _move((20, 0, 0), (0, 0, 0))
    starts = [_move((a, 0, 0), (0, 0, 0)) for a in (-20, 0, 20)] + [_move((0, 0, 0), (900, 0, 0))]
    chosen = best_start(head, _flair_like(head, true), near, starts, 8).matrix
    np.testing.assert_array_equal(chosen, true)


@pytest.mark.parametrize("off", [(0, 0, 4), (8, 0, 0), (0, -5, 6)])
def test_a_place_that_is_off_loses_to_its_neighbours(head: Volume, near: Volume, off) -> None:
    true = _move((4, 0, 0), (3, 2, 0))
    moving = _flair_like(head, true)
    wrong = _move((off[0], 0, 0), (0, *off[1:])) @ true
    assert margin(head, moving, near, true, 8) > 0.02
    assert margin(head, moving, near, wrong, 8) < 0


def test_images_that_do_not_meet_are_refused(head: Volume, near: Volume) -> None:
    far = [_move((0, 0, 0), (900, 0, 0))]
    with pytest.raises(DataError, match="overlap"):
        best_start(head, head, near, far, 8)


def test_a_sheared_affine_is_refused_by_name() -> None:
    affine = np.eye(4)
    affine[0, 1] = 0.2
    with pytest.raises(GeometryError, match=r"sub-7_T1w\.nii\.gz.*sheared"):
        check_orthogonal(grid((9, 9, 9), affine), "sub-7_T1w.nii.gz")


def test_n4_flattens_a_smooth_field(head: Volume) -> None:
    brain = head.data > 0.1
    place = head.grid.world(np.indices(head.data.shape).transpose(1, 2, 3, 0)) / 80
    true = np.exp(0.2 * place[..., 0] - 0.15 * place[..., 2] + 0.1 * place[..., 1] ** 2)
    field = bias_field(Volume(head.data * true, head.grid), brain, 8)
    before, after = np.log(true)[brain].std(), np.log(true / field)[brain].std()
    assert after < 0.6 * before
    assert abs(np.log(field)[brain].mean()) < 0.02
