from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from lesionforge.phantoms.protocols import SITES
from lesionforge.phantoms.signal import ECHO_MS, RELAXATION, Sequence, signal, white_level

MPRAGE = SITES["A"].protocols["T1w"].sequence
FLAIR = SITES["B"].protocols["FLAIR"].sequence


def pure(case, tissue: int, **factors: float):
    """Matter of one voxel that is all one tissue."""
    matter = case.matter.copy()
    for name in ("pd", "t1", "t2"):
        setattr(matter, name, np.full((2, 1), factors.get(name, 1.0), dtype=np.float64))
    matter.tissue = np.eye(3)[:, [tissue]]
    matter.blood = matter.inflow = np.zeros(1)
    return matter


def slow_mprage(sequence: Sequence, t1: float) -> float:
    """Play the pulses one by one until the magnetization repeats."""
    angle, count = np.deg2rad(sequence.flip_deg), sequence.train / ECHO_MS

    def relax(m: float, time: float) -> float:
        return 1 + (m - 1) * np.exp(-time / t1)

    m = 1.0
    for _ in range(30):
        m = relax(-m, sequence.ti - sequence.train / 2)
        seen = []
        for _ in range(round(count)):
            seen.append(m * np.sin(angle))
            m = relax(m * np.cos(angle), ECHO_MS)
        m = relax(m, sequence.tr - sequence.ti - sequence.train / 2)
    return seen[round(count / 2)]


@pytest.mark.parametrize("tissue", [0, 1, 2])
def test_mprage_is_what_its_pulses_played_one_by_one_give(case, tissue):
    sequence = replace(MPRAGE, train=150 * ECHO_MS)
    pd, t1, _ = RELAXATION[3.0][tissue]
    found = signal(pure(case, tissue), sequence, 3.0)[0]
    assert found == pytest.approx(pd * slow_mprage(sequence, t1), rel=0.01)


def test_flair_nulls_csf_and_is_bright_where_t2_is_long(case):
    csf, grey, white = (abs(signal(pure(case, k), FLAIR, 3.0)[0]) for k in range(3))
    assert csf < 0.1 * white
    assert 1.15 < grey / white < 1.6
    longer = signal(pure(case, 2, t2=1.8), FLAIR, 3.0)[0]
    assert 1.3 < longer / white < 2.2
    assert white == pytest.approx(white_level(FLAIR, 3.0), rel=1e-5)


@pytest.mark.parametrize("site", ["A", "B", "C"])
def test_contrasts_are_those_that_radiologists_know(case, site):
    place = SITES[site]
    levels = {
        channel: [abs(signal(pure(case, k), p.sequence, place.field)[0]) for k in range(3)]
        for channel, p in place.protocols.items()
    }
    csf, grey, white = levels["T1w"]
    assert white > 1.25 * grey > 2 * csf
    csf, grey, white = levels["T2w"]
    assert csf > 1.4 * grey > 1.5 * white
    csf, grey, white = levels["FLAIR"]
    assert grey > 1.1 * white > 3 * csf


def test_longer_t1_is_darker_on_t1w(case):
    seen = [signal(pure(case, 2, t1=f), MPRAGE, 3.0)[0] for f in (1, 1.2, 1.6, 2.5, 4)]
    assert seen == sorted(seen, reverse=True)


def test_a_voxel_of_two_tissues_has_their_mean_signal(case):
    mixed = pure(case, 1)
    mixed.tissue = np.array([[0.0], [0.5], [0.5]])
    parts = [signal(pure(case, k), FLAIR, 3.0)[0] for k in (1, 2)]
    assert signal(mixed, FLAIR, 3.0)[0] == pytest.approx(np.mean(parts), rel=1e-5)


def test_blood_is_void_on_flair_and_bright_where_it_flows_into_an_mprage(case):
    vessel = pure(case, 0)
    vessel.blood = np.ones(1)
    assert signal(vessel, FLAIR, 3.0)[0] < 0.15 * white_level(FLAIR, 3.0)
    assert signal(vessel, MPRAGE, 3.0)[0] > 0.8 * white_level(MPRAGE, 3.0)
    fresh = pure(case, 0)
    fresh.inflow = np.full(1, 0.5)
    assert signal(fresh, FLAIR, 3.0)[0] > signal(pure(case, 0), FLAIR, 3.0)[0] + 0.1


def test_tissue_varies_smoothly_and_iron_shortens_t2(case):
    head, matter = case.head, case.matter
    white = head.tissue[2] > 0.95
    for values in (matter.t1[1], matter.t2[1], matter.pd[1]):
        assert 0.005 < values[white].std() / values[white].mean() < 0.12
    field = head.volume(np.where(white, matter.t1[1] - matter.t1[1, white].mean(), 0))
    both = (head.volume(white.astype(np.float32)) > 0.5)[:-2]
    both &= (head.volume(white.astype(np.float32)) > 0.5)[2:]
    near = np.corrcoef(field[:-2][both], field[2:][both])[0, 1]
    assert near > 0.7  # 2 mm apart
    rough = ndimage.gaussian_filter(field, 20)
    assert rough.std() < 0.6 * field.std()  # and not one slope over the head
    iron = head.maps["iron"] > 0.8
    assert matter.t2[0, iron].mean() < 0.9 * matter.t2[0].mean()
