import numpy as np
import pytest
from scipy import ndimage

from lesionforge.data.subject import read_lesion
from lesionforge.errors import ConfigError, DataError
from lesionforge.label_qc.config import CorruptConfig
from lesionforge.label_qc.corruption import corrupt_labels, move_mask, read_region, spoil
from lesionforge.seeding import stream

CONFIG = CorruptConfig(rate=0.3)


def test_the_rate_and_the_kinds_are_as_asked(toy_cohort):
    labels, kinds = corrupt_labels(toy_cohort, CONFIG, seed=0)
    assert sorted(kinds.values()) == ["missing", "shifted", "spurious"]
    groups = {s.id: s.group for s in toy_cohort}
    for name, kind in kinds.items():
        assert groups[name] == ("control" if kind == "spurious" else "patient")
        assert (labels[name].mask is None) == (kind == "missing")
        assert labels[name].source == "synthetic"


def test_same_seed_same_errors_and_another_seed_others(toy_cohort):
    labels, kinds = corrupt_labels(toy_cohort, CONFIG, seed=1)
    again, kinds_again = corrupt_labels(toy_cohort, CONFIG, seed=1)
    assert kinds == kinds_again
    for name in labels:
        np.testing.assert_array_equal(labels[name].mask, again[name].mask)
    drawn = {tuple(corrupt_labels(toy_cohort, CONFIG, seed=s)[1]) for s in range(6)}
    assert len(drawn) > 1


def test_a_shifted_mask_keeps_its_shape_beside_the_lesion(toy_cohort):
    region = read_region(toy_cohort[0])
    moved = move_mask(region, region, stream(0, "move"), CONFIG.shift_mm)
    box = ndimage.find_objects(region.mask.astype(int))[0]
    other = ndimage.find_objects(moved.astype(int))[0]
    assert moved.sum() >= 0.9 * region.mask.sum()
    assert [s.stop - s.start for s in other] <= [s.stop - s.start for s in box]
    away = ndimage.distance_transform_edt(~region.mask, sampling=region.voxel_mm)
    assert away[moved].min() > 5
    assert region.brain[moved].all()
    shift = np.subtract(ndimage.center_of_mass(moved), ndimage.center_of_mass(region.mask)) * 5
    assert 10 < np.linalg.norm(shift) < 55


def test_a_spurious_mask_lies_where_a_lesion_could(toy_cohort):
    donor, host = read_region(toy_cohort[0]), read_region(toy_cohort[-1])
    drawn = move_mask(donor, host, stream(0, "move"), CONFIG.shift_mm)
    assert host.brain[drawn].all()
    assert host.grey[drawn].mean() > 0.7 * donor.grey[donor.mask].mean()


@pytest.mark.parametrize(("kind", "low", "high"), [("small", 0.15, 0.5), ("large", 2, 4.5)])
def test_sizes_are_wrong_by_a_known_factor(toy_cohort, kind, low, high):
    region = read_region(toy_cohort[0])
    resized = spoil(region, kind, stream(0, kind), CONFIG.shift_mm)
    assert low <= resized.sum() / region.mask.sum() <= high
    smaller, larger = sorted([resized, region.mask], key=np.sum)
    assert (smaller & ~larger).sum() == 0


def test_swapped_patients_have_each_others_masks(toy_cohort):
    labels, kinds = corrupt_labels(toy_cohort, CorruptConfig(rate=0.2, kinds=("swapped",)), 0)
    by_id = {s.id: read_lesion(s) for s in toy_cohort}
    one, two = kinds
    np.testing.assert_array_equal(labels[one].mask, by_id[two])
    np.testing.assert_array_equal(labels[two].mask, by_id[one])


def test_bad_requests_are_refused(toy_cohort):
    with pytest.raises(ConfigError, match="rate"):
        CorruptConfig(rate=0)
    with pytest.raises(ConfigError, match="kinds"):
        CorruptConfig(kinds=("upside down",))
    with pytest.raises(DataError, match="too few"):
        corrupt_labels(toy_cohort, CorruptConfig(rate=0.9, kinds=("missing",)), 0)
