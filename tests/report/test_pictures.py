"""Which patients are shown, and which way they lie."""

import numpy as np

from lesionforge.report.pictures import axial, compared, crop, cut, disagreements, lesion_slice


def test_disagreements_are_taken_by_turns_in_order():
    names = [f"sub-{i}" for i in range(8)]
    base = dict.fromkeys(names, False) | {"sub-7": True}
    found = {
        "baseline": base,
        "augmented": dict.fromkeys(names, False) | {"sub-1": True, "sub-2": True, "sub-3": True},
        "expanded": dict.fromkeys(names, False) | {"sub-4": True, "sub-1": True, "sub-7": True},
    }
    chosen, kinds = disagreements(found, limit=4)
    assert kinds == {"gained": 3, "lost": 1, "otherwise": 1}
    assert chosen == ["sub-1", "sub-7", "sub-4", "sub-2"]
    assert disagreements({"a": base, "b": base})[0] == []


def test_gains_are_between_baseline_and_augmented_where_they_are():
    assert compared(["baseline", "expanded", "augmented"]) == ("baseline", "augmented")
    assert compared(["baseline", "expanded"]) == ("baseline", "expanded")
    assert compared(["copy_paste"]) == ("copy_paste", "copy_paste")


def test_pictures_are_shown_as_radiologists_read_them():
    volume = np.zeros((4, 5, 3))
    volume[3, 4, 1] = 1  # right, anterior
    picture = axial(volume, 1)
    assert picture.shape == (5, 4)
    assert picture[0, 0] == 1


def test_thick_slices_look_thick_from_the_front():
    volume = np.zeros((4, 5, 3))
    volume[3, 2, 2] = 1  # right, superior
    picture = cut(volume, "coronal", (0, 2, 0), (1.0, 1.0, 4.0))
    assert picture.shape == (12, 4)
    assert np.argwhere(picture).tolist() == [[row, 0] for row in range(4)]
    np.testing.assert_array_equal(cut(volume, "axial", (0, 0, 2)), axial(volume, 2))
    assert cut(volume, "sagittal", (3, 0, 0)).shape == (3, 5)


def test_slice_and_crop():
    lesion = np.zeros((10, 10, 10), bool)
    lesion[2, 2, 3] = lesion[2:4, 2:4, 7] = True
    assert lesion_slice(lesion) == 7
    assert lesion_slice(np.zeros_like(lesion)) == 5
    assert crop(lesion, (6.0, 6.0, 6.0)) == (slice(1, 5), slice(1, 5))
