from dataclasses import replace

import numpy as np
import pytest

from lesionforge.phantoms.benign import BenignSpec, add_benign, blend_junction, sample_benign
from lesionforge.phantoms.head import sample_head
from lesionforge.seeding import stream

NONE = BenignSpec(caps=0.0, choroid=0.0, spaces=0, spots=0, vessels=0.01, inflow=0.0, blurs=0)


def added(case, **found):
    matter = case.matter.copy()
    add_benign(replace(NONE, **found), case.head, matter, stream(0, "b"))
    np.testing.assert_allclose(matter.tissue.sum(axis=0), 1, atol=1e-4)
    assert matter.tissue.min() > -1e-5
    return matter


def test_without_findings_nothing_changes(case):
    matter = added(case)
    for name in ("pd", "t1", "t2"):
        changed = np.abs(getattr(matter, name) / getattr(case.matter, name) - 1) > 1e-5
        assert not changed.any()


def test_caps_lengthen_t2_at_the_horns_and_not_far_away(case):
    head, matter = case.head, added(case, caps=0.3)
    rise = matter.t2[1] / case.matter.t2[1] - 1
    white = head.tissue[2] > 0.9
    horn = white & (head.ventricle_mm < 2) & (np.abs(head.mni[1] + 2) > 30)
    body = white & (head.ventricle_mm < 2) & (np.abs(head.mni[1] + 2) < 12)
    assert rise[horn].mean() > 2 * rise[body].mean() > 0
    assert rise[horn].mean() > 0.1
    assert np.abs(rise[head.ventricle_mm > 25]).max() < 1e-6


def test_choroid_plexus_lies_in_the_trigones(case):
    head, matter = case.head, added(case, choroid=0.6)
    full = matter.tissue[1] - case.matter.tissue[1] > 0.3
    assert full.sum() > 30
    assert (head.ventricle_mm[full] < 1).all()
    assert (np.abs(head.mni[1, full] + 36) < 25).all()


def test_perivascular_spaces_are_thin_and_made_of_csf(case):
    matter = added(case, spaces=30)
    fluid = matter.tissue[0] - case.matter.tissue[0]
    assert 30 < (fluid > 0.1).sum() < 8000
    assert fluid.min() > -1e-5
    deep = fluid > 0.1
    assert (case.head.depth_mm[deep] > 3).mean() > 0.95


def test_spots_lie_in_white_matter_and_their_number_counts(case):
    few, many = (added(case, spots=n).t2[1] / case.matter.t2[1] - 1 for n in (2, 20))
    assert (many > 0.15).sum() > 3 * (few > 0.15).sum() > 0
    assert (case.head.tissue[2, few > 0.3] > 0.5).mean() > 0.9


def test_vessels_run_in_the_cisterns(case):
    matter = added(case, vessels=1.0)
    blood = matter.blood > 0.5
    assert 200 < blood.sum() < 20_000
    assert (np.abs(case.head.mni[0, blood]) < 50).all()


def test_csf_that_flows_in_is_around_the_brainstem(case):
    matter = added(case, inflow=0.3)
    strong = matter.inflow > 0.1
    assert strong.any()
    assert np.abs(case.head.mni[0, strong]).max() < 30


def test_a_junction_is_blurred_and_moved_into_white_matter(case):
    head = case.head
    folded = head.maps["deep"] < 0.02
    number = np.flatnonzero(folded & (np.abs(head.mni[0] - 30) < 12))
    grey = []
    for blur, thicker in ((0.2, 0.0), (1.2, 0.0), (0.2, 2.0)):
        matter = case.matter.copy()
        blend_junction(head, matter, number, np.ones(len(number)), blur, thicker)
        np.testing.assert_allclose(matter.tissue[0], case.matter.tissue[0], atol=1e-6)
        grey.append(matter.tissue[1, number])
    beyond = (head.depth_mm - head.thickness_mm)[number]
    just, further = (beyond > 0.7) & (beyond < 1.5), (beyond > 4) & (beyond < 6)
    sharp, blurred, moved = grey
    assert blurred[just].mean() > sharp[just].mean() + 0.1
    assert moved[just].mean() > 0.8
    assert moved[further].mean() < 0.2
    untouched = case.matter.copy()
    blend_junction(head, untouched, number, np.zeros(len(number)), 1.0, 2.0)
    np.testing.assert_allclose(untouched.tissue, case.matter.tissue, atol=1e-3)


@pytest.mark.parametrize("name", ["spaces", "spots", "caps"])
def test_findings_come_with_age(name):
    heads = [replace(sample_head(stream(0, "h")), atrophy=a) for a in (0.0, 0.9)]
    means = [
        np.mean([getattr(sample_benign(stream(k, "b"), head), name) for k in range(100)])
        for head in heads
    ]
    assert means[1] > 1.5 * means[0]
