import numpy as np
import pytest

from lesionforge.phantoms.shapes import (
    blob,
    patch,
    pick,
    toward_ventricle,
    tube_distance,
    voxel_mm,
)


def test_a_patch_lists_the_voxels_around_a_point(case):
    centre = voxel_mm(case.head, 500_000)
    box = patch(case.head, centre, 4.0)
    assert 500_000 in box.number
    np.testing.assert_allclose(voxel_mm(case.head, box.number).T - centre[:, None], box.offset)
    assert np.abs(box.offset).max() <= 5
    outside = patch(case.head, (-80.0, -120.0, -80.0), 3.0)
    assert outside.number.size == 0


def test_a_share_picks_by_weight():
    weight = np.array([0.0, 1.0, 0.0, 3.0])
    assert [pick(weight, share) for share in (0.0, 0.24, 0.26, 0.999)] == [1, 1, 3, 3]
    assert pick(np.zeros(4), 0.5) is None


@pytest.mark.parametrize("aspect", [1.0, 2.5])
def test_a_blob_has_the_volume_of_its_ball(aspect):
    index = np.stack(np.meshgrid(*[np.arange(-30, 31)] * 3, indexing="ij")).reshape(3, -1)
    inside = blob(index.astype(float), np.array([0.0, 0.6, 0.8]), 8.0, aspect, 0.3) > 0.5
    assert inside.sum() == pytest.approx(4 / 3 * np.pi * 8**3, rel=0.05)
    spread = index[:, inside]
    assert np.ptp([0.0, 0.6, 0.8] @ spread) > 0.9 * 2 * 8 * aspect ** (2 / 3)


def test_a_tube_s_distance_is_that_to_its_nearest_segment():
    line = np.array([[0.0, 0, 0], [10, 0, 0], [10, 10, 0]])
    points = np.array([[5.0, 3, 0], [12, 5, 0], [-4, 0, 3]]).T
    gap, along = tube_distance(points, line)
    np.testing.assert_allclose(gap, [3, 2, 5], atol=1e-5)
    np.testing.assert_allclose(along, [0.25, 0.75, 0.0], atol=1e-5)


def test_the_way_to_the_ventricle_leads_there(case):
    head = case.head
    where = np.flatnonzero((head.ventricle_mm > 4) & (head.ventricle_mm < 8))[::4000]
    shorter = []
    for number in where:
        step = np.rint(voxel_mm(head, number) + 3 * toward_ventricle(head, int(number)))
        near = patch(head, step, 0.4).number
        shorter.append(head.ventricle_mm[near].mean() < head.ventricle_mm[number] - 1)
    assert np.mean(shorter) > 0.9
