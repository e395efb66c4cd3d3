from dataclasses import replace

import numpy as np
from scipy import ndimage

from lesionforge.phantoms.head import build_head, sample_head
from lesionforge.phantoms.template import load_template
from lesionforge.seeding import stream


def test_a_head_is_whole_and_its_tissues_sum_to_1(case):
    head = case.head
    np.testing.assert_allclose(head.tissue.sum(axis=0), 1, atol=1e-4)
    assert head.tissue.min() >= -1e-5
    brain_ml = head.inside.sum() / 1000
    assert 900 < brain_ml < 1900
    edges = [head.inside.take(k, axis=axis).any() for axis in range(3) for k in (0, -1)]
    assert not any(edges)
    csf, grey, white = head.tissue.sum(axis=1) / 1000
    assert 0.9 < grey / white < 1.8
    assert 0.08 < csf / brain_ml < 0.35


def test_cortex_is_a_ribbon_of_the_thickness_drawn(case):
    """Volume of the ribbon over its mid-surface, where sulci do not touch."""
    head = case.head
    folded = head.maps["deep"] < 0.02
    grey = head.volume(head.tissue[1] * folded) > 0.5
    reach = ndimage.distance_transform_edt(grey)
    middle = grey & (reach >= ndimage.maximum_filter(reach, 3))
    thickness = 2 * np.median(reach[middle]) - 1
    assert 0.6 * case.spec.head.cortex.thickness_mm < thickness
    assert thickness < 2.2 * case.spec.head.cortex.thickness_mm  # two closed banks at most


def test_few_islands_of_cortex_lie_in_white_matter(case):
    head = case.head
    solid = head.volume((head.tissue[0] + head.tissue[1]) * (head.maps["deep"] < 0.2)) > 0.5
    labels, _ = ndimage.label(solid, np.ones((3, 3, 3)))
    sizes = np.sort(np.bincount(labels.ravel())[1:])
    assert sizes[:-1].sum() < 0.002 * sizes[-1]


def test_its_cortex_is_not_the_template_s(case):
    """The tissue prior's anatomy would give a Dice near 1; by chance alone it is about 0.5."""
    head = case.head
    folded = (head.maps["deep"] < 0.02) & (head.maps["hull_mm"] > 2)
    grey = load_template().sample(("grey",), head.mni)["grey"][folded] > 0.5
    own = head.tissue[1, folded] > 0.5
    assert 2 * (grey & own).sum() / (grey.sum() + own.sum()) < 0.72


def test_the_same_stream_gives_the_same_head_and_another_subject_another(case):
    spec = case.spec
    again = build_head(spec.head, spec.seed, spec.host)
    np.testing.assert_array_equal(again.tissue, case.head.tissue)
    other = build_head(spec.head, spec.seed, "sub-c0002")
    assert (other.inside != case.head.inside).sum() > 10_000


def test_ventricles_are_as_large_as_drawn(case):
    spec = case.spec
    volumes = []
    for size in (-1.0, 4.0):
        head = build_head(replace(spec.head, ventricle_mm=size), spec.seed, spec.host)
        volumes.append((head.tissue[0] * (head.ventricle_mm < 0)).sum() / 1000)
    assert volumes[1] > 1.8 * volumes[0]


def test_heads_vary_and_atrophy_comes_with_age():
    heads = [sample_head(stream(k, "h")) for k in range(200)]
    assert np.corrcoef([h.age for h in heads], [h.atrophy for h in heads])[0, 1] > 0.7
    assert np.std([h.scale[0] for h in heads]) > 0.02
    assert np.ptp([h.ventricle_mm for h in heads]) > 3


def test_numbers_lead_back_to_voxels(case):
    head = case.head
    values = np.arange(head.tissue.shape[1], dtype=np.float32)
    np.testing.assert_array_equal(head.volume(values)[head.inside], values)
    np.testing.assert_array_equal(head.number.ravel()[head.flat], np.arange(len(values)))
