from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from lesionforge.phantoms.fcd import LOBES, FcdLesion, add_fcd, sample_fcd
from lesionforge.phantoms.protocols import SITES
from lesionforge.phantoms.signal import signal
from lesionforge.seeding import stream

LESION = FcdLesion(
    lobe="frontal",
    share=0.5,
    volume_mm3=4000.0,
    conspicuity=1.0,
    thicker_mm=2.0,
    blur_mm=1.2,
    cortex_t2=0.2,
    white_t2=0.5,
    t1=0.5,
    reach_mm=4.0,
    funnel=0.0,
    outlined=0.5,
)


def add(case, lesion):
    matter, outline = case.matter.copy(), case.far()
    (centre,) = add_fcd((lesion,), case.head, matter, outline, lambda k: stream(3, "l", k))
    return matter, outline, centre


def test_cortex_is_thicker_its_junction_blurred_and_sulci_stay(case):
    matter, outline, _ = add(case, LESION)
    inside = outline > 1
    before, after = case.matter.tissue[:, inside], matter.tissue[:, inside]
    assert after[1].mean() > before[1].mean() + 0.1
    np.testing.assert_allclose(after[0], before[0], atol=1e-5)
    steep = []
    for tissue in (case.matter.tissue, matter.tissue):
        slopes = np.gradient(case.head.volume(tissue[2]))
        core = case.head.volume(inside.astype(np.float32)) > 0.5
        steep.append(np.linalg.norm(slopes, axis=0)[core].max())
    assert steep[1] < 0.85 * steep[0]


@pytest.mark.parametrize("number", range(8))
def test_it_is_bright_on_flair_and_never_bright_on_t1w(case, number):
    lesion = sample_fcd(stream(number, "f"), 1.0)
    matter, outline, _ = add(case, lesion)
    protocols, field = SITES["A"].protocols, SITES["A"].field
    before, after = (signal(m, protocols["T1w"].sequence, field) for m in (case.matter, matter))
    white = np.median(before[case.head.tissue[2] > 0.95])
    assert (after - before).max() < 0.02 * white
    before, after = (signal(m, protocols["FLAIR"].sequence, field) for m in (case.matter, matter))
    assert after[outline > 0].mean() > 1.02 * before[outline > 0].mean()


def test_a_funnel_reaches_the_ventricle_and_fades_on_its_way(case):
    plain, _, _ = add(case, LESION)
    matter, outline, centre = add(case, replace(LESION, funnel=1.0, outlined=0.4))
    head = case.head
    rise = matter.t2[1] / plain.t2[1] - 1
    seen = (rise > 0.08) & (head.tissue[2] > 0.5)
    assert head.ventricle_mm[seen].min() < 3 < head.ventricle_mm[centre]
    far, near = (head.ventricle_mm[seen] < 6), (head.ventricle_mm[seen] > 14)
    if far.any() and near.any():
        assert rise[seen][far].mean() < rise[seen][near].mean()
    assert (outline[seen & (head.ventricle_mm < 2)] < 0).all()  # the rater stops before


def test_changes_reach_beyond_the_outline_and_end(case):
    matter, outline, centre = add(case, LESION)
    rise = np.abs(matter.t2 / case.matter.t2 - 1).max(axis=0)
    drawn = case.head.volume((outline > 0).astype(np.float32)) > 0.5
    distance = ndimage.distance_transform_edt(~drawn)[case.head.inside]
    assert rise[(distance > 0) & (distance <= 1.5)].max() > 0.05
    assert rise[distance > 12].max() < 0.01
    assert distance[centre] <= 3


def test_lesions_lie_in_the_lobe_drawn(case):
    for lobe in LOBES:
        for share in (0.1, 0.5, 0.9):
            _, _, centre = add(case, replace(LESION, lobe=lobe, share=share))
            x, y, z = case.head.mni[:, centre]
            assert case.head.tissue[1, centre] > 0.2
            if lobe == "frontal":
                assert y > -60
            elif lobe == "occipital":
                assert y < -74
            elif lobe == "temporal":
                assert abs(x) > 19
                assert z < 40


def test_dysplasias_vary():
    many = [sample_fcd(stream(k, "f"), 1.0) for k in range(300)]
    lobes = [one.lobe for one in many]
    assert max(set(lobes), key=lobes.count) == "frontal"
    assert set(lobes) == set(LOBES)
    assert 0.45 < np.mean([one.funnel > 0 for one in many]) < 0.65
    volumes = np.array([one.volume_mm3 for one in many])
    assert 1800 < np.median(volumes) < 3500
    assert np.ptp([one.conspicuity for one in many]) > 0.5
