from dataclasses import replace

import numpy as np
import pytest

from lesionforge.phantoms.rater import RaterSpec, drawn, outline_mask
from lesionforge.phantoms.shapes import voxel_mm
from lesionforge.seeding import stream

EXACT = RaterSpec(bias_mm=0.0, jitter_mm=0.0)


@pytest.fixture(scope="module")
def ball(case):
    """Depth (N,) inside a ball of 8 mm radius in the middle of the head, mm."""
    head = case.head
    every = voxel_mm(head, np.arange(head.tissue.shape[1]))
    return 8.0 - np.linalg.norm(every - [20.0, -20.0, 30.0], axis=1)


def volume(case, spec, ball, seed=0):
    return float((drawn(spec, case.head, ball, stream(seed, "r")) > 0).sum())


def test_an_exact_rater_draws_the_edge_a_generous_one_more(case, ball):
    exact = volume(case, EXACT, ball)
    assert exact == (ball > 0).sum()
    assert volume(case, replace(EXACT, bias_mm=1.0), ball) == pytest.approx(
        exact * (9 / 8) ** 3, rel=0.05
    )


def test_jitter_moves_the_edge_smoothly_and_not_the_size(case, ball):
    exact = drawn(EXACT, case.head, ball, stream(0, "r")) > 0
    shaky = drawn(replace(EXACT, jitter_mm=0.5), case.head, ball, stream(0, "r")) > 0
    assert 0.85 < 2 * (exact & shaky).sum() / (exact.sum() + shaky.sum()) < 0.99
    assert shaky.sum() == pytest.approx(exact.sum(), rel=0.15)
    other = drawn(replace(EXACT, jitter_mm=0.5), case.head, ball, stream(1, "r")) > 0
    assert (other != shaky).any()


def test_a_mask_lies_on_the_scan_and_is_never_empty(case, ball):
    sampler = case.place(case.spec.scans["FLAIR"])
    depth = drawn(EXACT, case.head, ball, stream(0, "r"))
    mask = outline_mask(depth, sampler, one=True)
    assert mask.sum() * sampler.grid.voxel_mm3 == pytest.approx((ball > 0).sum(), rel=0.2)
    tiny = drawn(EXACT, case.head, ball - 7.5, stream(0, "r"))
    assert outline_mask(tiny, sampler, one=False).sum() >= 1


def test_only_a_disease_of_one_lesion_is_drawn_in_one_piece(case, ball):
    head = case.head
    every = voxel_mm(head, np.arange(head.tissue.shape[1]))
    second = 5.0 - np.linalg.norm(every - [-25.0, -20.0, 30.0], axis=1)
    sampler = case.place(case.spec.scans["FLAIR"])
    depth = drawn(EXACT, head, np.maximum(ball, second), stream(0, "r"))
    one, many = (outline_mask(depth, sampler, one=one) for one in (True, False))
    assert many.sum() > one.sum() > 0
