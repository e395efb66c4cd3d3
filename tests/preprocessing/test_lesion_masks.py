"""Each drawn lesion keeps place, volume and neighbours' distance, or it is said what it lost."""

import numpy as np
import pytest
from scipy import ndimage

from lesionforge.data.volume import Grid, Volume, grid, mni_grid
from lesionforge.preprocessing.lesion_masks import Resampled, lesion_rows, resample_lesions
from lesionforge.preprocessing.resample import isotropic, resample
from tests.preprocessing.test_pipeline import _move

CUBE = np.ones((3, 3, 3))


def _volume(data: np.ndarray, spacing: tuple[float, ...] = (1, 1, 1)) -> Volume:
    return Volume(data.astype(np.float32), grid(data.shape, np.diag([*spacing, 1.0])))


def _resampled(data: np.ndarray, voxel_mm: float) -> tuple[Resampled, Grid]:
    target = isotropic(_volume(data).grid, voxel_mm)
    return resample_lesions(_volume(data), target, np.eye(4)), target


def _fates(found: Resampled, area: Grid) -> list[str]:
    return [row["fate"] for row in lesion_rows(found, np.ones(area.shape, bool), area)]


def test_a_ball_keeps_volume_and_place() -> None:
    ball = ((np.indices((60, 60, 60)) - 30) ** 2).sum(0) < 12**2
    found, coarse = _resampled(ball, 2.5)
    (row,) = lesion_rows(found, np.ones(coarse.shape, bool), coarse)
    assert row["raw_mm3"] == ball.sum()
    assert row["volume_mm3"] == pytest.approx(ball.sum(), rel=0.025)
    assert [row["x_mm"], row["y_mm"], row["z_mm"]] == pytest.approx([30, 30, 30], abs=0.01)
    centre = coarse.world(np.array(ndimage.center_of_mass(found.owner)))
    np.testing.assert_allclose(centre, [30, 30, 30], atol=0.3)
    assert (row["fate"], row["component"]) == ("kept", 1)


def test_one_lesion_is_what_area_alone_says() -> None:
    ball = ((np.indices((40, 40, 40)) - [[[[19]]], [[[22]]], [[[17]]]]) ** 2).sum(0) < 7**2
    source, target = _volume(ball, (0.9, 0.9, 3.0)), mni_grid((1.5, 2.0, 4.0))
    matrix = _move((8, 5, -12), (20, 50, 60))
    found = resample_lesions(source, target, matrix)
    plain = resample(Volume(ball, source.grid), target, matrix) >= 0.5
    np.testing.assert_array_equal(found.owner > 0, plain)
    assert plain.sum() > 50


def test_no_lesion_is_lost_but_specks() -> None:
    data = np.zeros((60, 60, 60))
    data[10:30, 10:30, 10:30] = 1
    data[44:46, 44:47, 44:46] = 1  # 12 mm3 of a 27 mm3 voxel, across voxel borders
    data[5, 55, 5] = 1  # a speck
    found, coarse = _resampled(data, 3.0)
    rows = lesion_rows(found, np.ones(coarse.shape, bool), coarse)
    assert sorted(row["fate"] for row in rows) == ["kept", "rescued", "too small"]
    small = next(row for row in rows if row["fate"] == "rescued")
    place = np.argwhere(found.owner == small["lesion"])
    assert len(place) == 1
    np.testing.assert_allclose(coarse.world(place[0]), [44.5, 45, 44.5], atol=2)
    speck = next(row for row in rows if row["fate"] == "too small")
    assert (speck["raw_mm3"], speck["volume_mm3"], speck["component"]) == (1, 0, None)


def test_a_lone_speck_is_kept() -> None:
    data = np.zeros((30, 30, 30))
    data[14, 14, 14] = 1
    found, coarse = _resampled(data, 4.0)
    assert (found.owner > 0).sum() == 1
    assert _fates(found, coarse) == ["rescued"]


def test_a_thin_lesion_keeps_its_volume() -> None:
    data = np.zeros((60, 60, 60))
    data[10:50, 30, 30] = 1  # 40 mm3, a thread: nowhere half of a voxel of 27 mm3
    owner = _resampled(data, 3.0)[0].owner
    assert (owner > 0).sum() == round(40 / 27)


def test_neighbours_stay_apart_where_the_grid_allows_it_and_merging_is_told() -> None:
    apart, together = np.zeros((2, 40, 40, 40))
    apart[10:18, 10:30, 10:30] = apart[22:30, 10:30, 10:30] = 1
    together[10:19, 10:30, 10:30] = together[20:29, 10:30, 10:30] = 1
    for data, expected in ((apart, ["kept", "kept"]), (together, ["merged", "merged"])):
        found, coarse = _resampled(data, 2.5)
        assert _fates(found, coarse) == expected
        assert len(np.unique(found.owner)) == 3
    found, coarse = _resampled(together, 2.5)
    one, other = (np.argwhere(found.owner == n)[:, 0] for n in (1, 2))
    assert one.max() < other.min()


def test_a_bridge_that_neither_of_two_lesions_fills_is_left_out() -> None:
    data = np.zeros((30, 30, 30))
    data[4:13, 3:27, 3:27] = data[14:22, 3:27, 3:27] = 1  # voxel 12 to 14 is a third of each
    target = grid((10, 10, 10), np.diag([3.0, 3, 3, 1]) + np.pad([[1], [1], [1]], ((0, 1), (3, 0))))
    total = resample(_volume(data), target)
    found = resample_lesions(_volume(data), target, np.eye(4))
    assert total[4, 4, 4] > 0.5
    assert found.owner[4, 4, 4] == 0
    assert _fates(found, target) == ["kept", "kept"]


def test_thick_slices_keep_single_slice_lesions() -> None:
    rng = np.random.default_rng(0)
    data = np.zeros((180, 220, 24))
    for _ in range(40):
        x, y, z = rng.integers([60, 70, 6], [120, 150, 18])
        data[x : x + 5, y : y + 4, z] = 1  # 105 mm3 in one slice
    source = Volume(data.astype(np.float32), grid(data.shape, np.diag([0.9, 0.9, 6.5, 1])))
    matrix = _move((12, 3, -4), (81, 115, 71))
    count = ndimage.label(data, CUBE)[1]
    thick, cubes = (
        resample_lesions(source, mni_grid(size), matrix) for size in ((0.9, 0.9, 6.5), 2.5)
    )
    assert len(set(np.unique(thick.owner)) - {0}) == count  # none is lost
    voxels = np.bincount(thick.owner.ravel())[1:]
    assert np.abs(voxels / thick.volumes - 1).mean() < 0.35
    assert len(set(np.unique(cubes.owner)) - {0}) == count


def test_what_lies_outside_the_brain_is_told() -> None:
    data = np.zeros((30, 30, 30))
    data[3:9, 3:9, 3:9] = data[18:26, 18:26, 18:26] = 1
    found, coarse = _resampled(data, 2.0)
    brain = np.zeros(coarse.shape, bool)
    brain[7:] = True
    rows = lesion_rows(found, brain, coarse)
    assert [row["fate"] for row in rows] == ["outside the brain", "kept"]
    assert [row["volume_mm3"] for row in rows] == pytest.approx([0, 512])
