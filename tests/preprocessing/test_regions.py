"""The region map holds what anatomy says of well-known places."""

import numpy as np
import pytest

from lesionforge.data.volume import Grid, mni_grid
from lesionforge.preprocessing.regions import LOBES, REGIONS, region_map, side_map

PLACES = {  # MNI coordinates (right side) of structures nobody disputes
    "frontal": [(40, 40, 10), (5, 50, 20), (20, 30, -18), (40, -8, 55), (45, 20, 20)],
    "parietal": [(45, -45, 48), (6, -60, 48), (52, -28, 38), (44, -58, 36)],
    "temporal": [(60, -20, -8), (28, -20, -15), (40, 10, -32), (40, -40, -20), (24, -4, -18)],
    "occipital": [(10, -90, 2), (30, -88, 10), (12, -75, -6), (8, -82, 20)],
    "insula": [(38, 8, -2), (38, -8, 6)],
    "deep-grey": [(10, -18, 8), (26, 4, 2), (12, 14, 10)],
    "ventricles": [(9, 0, 20), (8, 20, 8), (16, -30, 18)],
    "brainstem": [(4, -28, -34), (6, -22, -12), (2, -40, -52)],
    "cerebellum": [(24, -60, -34), (4, -62, -16), (30, -78, -36), (20, -48, -22)],
    "background": [(0, 80, 40), (75, -16, -60)],
}


@pytest.fixture(scope="module")
def grid() -> Grid:
    return mni_grid(2.5)


@pytest.mark.parametrize("name", list(PLACES))
@pytest.mark.parametrize("side", [-1, 1])
def test_known_places(grid: Grid, name: str, side: int) -> None:
    labels = region_map(grid)
    for place in PLACES[name]:
        index = tuple(np.rint(grid.index(np.array(place) * [side, 1, 1])).astype(int))
        assert REGIONS[labels[index]] == name, place


def test_volumes_are_those_of_a_brain(grid: Grid) -> None:
    labels = region_map(grid)
    ml = dict(
        zip(REGIONS, np.bincount(labels.ravel(), minlength=10) * grid.voxel_mm3 / 1e3, strict=True)
    )
    assert 550 < ml["frontal"] < 750
    assert 150 < ml["cerebellum"] < 250
    assert 20 < ml["brainstem"] < 50
    assert 10 < ml["ventricles"] < 40
    assert ml["frontal"] > ml["parietal"] > ml["temporal"] > ml["occipital"] > ml["insula"]


def test_left_equals_right(grid: Grid) -> None:
    labels = region_map(grid)
    mirrored = labels[::-1]  # the grid is symmetric about x = 0 and so are the planes
    assert (labels != mirrored).mean() < 0.01


def test_the_map_does_not_depend_on_the_voxel_size() -> None:
    fine, coarse = mni_grid(2.0), mni_grid(4.0)
    points = coarse.world(np.indices(coarse.shape).transpose(1, 2, 3, 0))
    index = np.clip(np.rint(fine.index(points)).astype(int), 0, np.array(fine.shape) - 1)
    same = region_map(fine)[tuple(np.moveaxis(index, -1, 0))] == region_map(coarse)
    assert same.mean() > 0.95


def test_sides() -> None:
    grid = mni_grid(4.0)
    side = side_map(grid)
    assert side.dtype == np.int8
    assert set(np.unique(side)) == {-1, 1}
    assert (side[grid.world(np.indices(grid.shape).transpose(1, 2, 3, 0))[..., 0] > 0] == 1).all()


def test_lobes_are_regions() -> None:
    assert set(LOBES) < set(REGIONS)
