from dataclasses import replace

import numpy as np
import pytest

from lesionforge.phantoms.ms import PLACES, MsLesion, add_ms, sample_ms
from lesionforge.phantoms.protocols import SITES
from lesionforge.phantoms.shapes import voxel_mm
from lesionforge.phantoms.signal import signal
from lesionforge.seeding import stream

LESION = MsLesion(
    place="deep",
    share=0.4,
    volume_mm3=300.0,
    aspect=1.5,
    softness_mm=0.4,
    t2=0.9,
    t1=0.3,
    pd=0.06,
    hole=0.0,
    halo_mm=3.0,
    halo=0.15,
    missed=False,
)


def add(case, *lesions):
    matter, outline = case.matter.copy(), case.far()
    centres = add_ms(lesions, case.head, matter, outline, lambda k: stream(3, "l", k))
    return matter, outline, centres


def test_a_lesion_is_bright_on_flair_dark_on_t1w_and_has_its_volume(case):
    matter, outline, _ = add(case, LESION)
    inside = outline > 0
    assert inside.sum() == pytest.approx(300, rel=0.35)
    protocols, field = SITES["A"].protocols, SITES["A"].field
    for channel, sign in (("FLAIR", 1), ("T2w", 1), ("T1w", -1)):
        before, after = (
            signal(m, protocols[channel].sequence, field)[inside].mean()
            for m in (case.matter, matter)
        )
        assert sign * (after / before - 1) > 0.08


def test_tissue_beyond_the_outline_is_changed_a_little(case):
    matter, outline, _ = add(case, LESION)
    rise = matter.t2[1] / case.matter.t2[1] - 1
    core, near = outline > 1.5, (outline > -2.5) & (outline < -1.5)
    assert 0.02 < rise[near].mean() < 0.3 * rise[core].mean()
    plain, _, _ = add(case, replace(LESION, halo=0.0))
    assert (plain.t2[1] / case.matter.t2[1] - 1)[near].mean() < 0.5 * rise[near].mean()


def test_a_hole_lengthens_t1_in_the_core_alone(case):
    plain, outline, _ = add(case, LESION)
    holed, _, _ = add(case, replace(LESION, hole=1.0))
    more = holed.t1[1] / plain.t1[1]
    core, edge = outline > 0.75 * outline.max(), (outline > 0) & (outline < 0.6)
    assert more[core].mean() > 1.4
    assert more[edge].mean() < 1.2


def test_a_missed_lesion_is_there_and_not_outlined(case):
    drawn, _, _ = add(case, LESION)
    matter, outline, _ = add(case, replace(LESION, missed=True))
    np.testing.assert_array_equal(matter.t2, drawn.t2)
    assert (outline == -4).all()


@pytest.mark.parametrize("place", PLACES)
def test_lesions_lie_where_their_place_says(case, place):
    head = case.head
    lesions = tuple(replace(LESION, place=place, share=k / 20, volume_mm3=40.0) for k in range(20))
    _, _, centres = add(case, *lesions)
    distance, depth = head.ventricle_mm[centres], head.depth_mm[centres]
    assert len(set(centres)) == 20
    if place == "periventricular":
        assert np.median(distance) < 5
    elif place == "juxtacortical":
        assert (np.abs(depth - head.thickness_mm[centres] - 1.2) < 1).all()
    elif place == "deep":
        assert (depth > 6).all()
        assert (distance > 4).all()
    else:
        assert (head.mni[2, centres] < -14).all()


def test_beside_the_ventricle_they_stand_on_its_wall(case):
    """Long axes point to the ventricle more often than by chance (mean |cos| 0.5)."""
    cosines = []
    for k in range(12):
        lesion = replace(LESION, place="periventricular", aspect=2.5, share=(k + 0.5) / 12)
        _, outline, (centre,) = add(case, lesion)
        inside = np.flatnonzero(outline > 0)
        offset = voxel_mm(case.head, inside) - voxel_mm(case.head, centre)
        axis = np.linalg.svd(offset - offset.mean(axis=0), full_matrices=False)[2][0]
        slope = np.cov((offset @ axis), case.head.ventricle_mm[inside])
        cosines.append(abs(slope[0, 1]) / np.sqrt(slope[0, 0] * slope[1, 1]))
    assert np.mean(cosines) > 0.75


def test_patients_have_many_lesions_of_all_sizes_and_some_holes():
    patients = [sample_ms(stream(k, "p"), 1.0, 0.2) for k in range(60)]
    lesions = [lesion for patient in patients for lesion in patient]
    volumes = np.array([lesion.volume_mm3 for lesion in lesions])
    assert 70 < np.median(volumes) < 200
    assert volumes.max() > 15 * np.median(volumes)
    assert {lesion.place for lesion in lesions} == set(PLACES)
    assert 0.08 < np.mean([lesion.hole > 0 for lesion in lesions]) < 0.25
    small = [lesion for lesion in lesions if lesion.volume_mm3 < 50]
    assert 0.12 < np.mean([lesion.missed for lesion in small]) < 0.28
    assert not any(lesion.missed for lesion in lesions if lesion.volume_mm3 >= 50)
