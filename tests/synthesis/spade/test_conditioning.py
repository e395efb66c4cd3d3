"""The conditioning map says where a lesion is to be and how strong."""

import numpy as np
from scipy import ndimage

from lesionforge.data.subject import read_brain, read_tissues
from lesionforge.lesions.blending import AROUND_MM
from lesionforge.synthesis.spade.conditioning import conditioning_map, map_channels
from tests.contrasts import in_rows


def test_conditioning_map_channels(toy_cohort, toy_grid):
    control = next(s for s in toy_cohort if s.group == "control")
    tissues, brain = read_tissues(control), read_brain(control)
    index = np.indices(brain.shape).transpose(1, 2, 3, 0)
    lesion = (np.linalg.norm(index - [8, 20, 16], axis=-1) < 2.5) & brain
    contrast = in_rows(0.4, -1.5, 0.0, 2.0)
    image = conditioning_map(2, tissues, lesion.astype(int), [contrast], toy_grid.voxel_mm)
    assert image.shape == (map_channels(2), *brain.shape)
    assert image.dtype == np.float32
    np.testing.assert_array_equal(image[:3], tissues)
    _, grey, white = tissues
    np.testing.assert_allclose(image[4], image[3] * (0.4 * grey + 0.0 * white), atol=1e-6)
    np.testing.assert_allclose(image[5], image[3] * (2.0 * white - 1.5 * grey), atol=1e-6)
    assert image[3][lesion].mean() > 0.6
    assert (image[3][~ndimage.binary_dilation(lesion, iterations=6)] == 0).all()
    assert (image[3][tissues.sum(0) == 0] == 0).all()
    assert (
        conditioning_map(2, tissues, np.zeros(lesion.shape, int), [contrast], toy_grid.voxel_mm)[3:]
        == 0
    ).all()


def test_effects_around_a_lesion_fade_and_leave_its_middle_alone(toy_cohort, toy_grid):
    tissues = read_tissues(next(s for s in toy_cohort if s.group == "control"))
    lesion = np.zeros(tissues.shape[1:], bool)
    lesion[10:18, 12:22, 10:18] = True
    image = conditioning_map(
        2, tissues, lesion.astype(int), [in_rows(0, 0, 0, 0, 0, 0, 1.0, -2.0)], toy_grid.voxel_mm
    )
    effect, white = image[4:], tissues[2]
    distance = ndimage.distance_transform_edt(~lesion, sampling=toy_grid.voxel_mm)
    middle = ndimage.binary_erosion(lesion, iterations=3)
    assert np.abs(effect[:, middle]).max() < 1e-3
    assert (effect[:, distance >= AROUND_MM] == 0).all()
    near = (distance > 0) & (distance <= 4) & (white > 0.5)
    assert (effect[0][near] > 0.3 * white[near]).all()
    np.testing.assert_allclose(effect[1], -2 * effect[0], atol=1e-6)


def test_each_lesion_has_its_own_change_and_close_ones_never_add_up(toy_cohort, toy_grid):
    tissues = read_tissues(next(s for s in toy_cohort if s.group == "control"))
    labels = np.zeros(tissues.shape[1:], int)
    labels[9:13, 16:20, 12:16], labels[19:23, 16:20, 12:16] = 1, 2
    bright, dark = in_rows(0, 2.0, 0, 2.0, 0, 1.0, 0, 1.0), in_rows(0, -3.0, 0, -3.0)
    both = conditioning_map(2, tissues, labels, [bright, dark], toy_grid.voxel_mm)
    solid = tissues[1:].sum(0)
    for number, change in ((1, 2.0), (2, -3.0)):
        inside = ndimage.binary_erosion(labels == number)
        np.testing.assert_allclose(both[5][inside], change * solid[inside], atol=0.2)
    labels[13:16, 16:20, 12:16] = 2  # now they touch
    near = conditioning_map(2, tissues, labels, [bright, bright], toy_grid.voxel_mm)
    assert near[5].max() <= 2.0 + 1e-5
