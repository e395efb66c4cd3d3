"""Nearness of heads: nothing for the same one, mirrored or not, and what differs counts in SDs."""

import numpy as np
import pytest

from lesionforge.synthesis.reference_set import gather, head_distances, shrink

SHAPE = (12, 14, 10)


@pytest.fixture
def heads():
    rng = np.random.default_rng(0)
    return [rng.uniform(0.2, 0.8, (2, *SHAPE)).astype(np.float32) for _ in range(3)]


def test_a_head_is_no_distance_from_itself_and_its_mirror_image(heads):
    mirrored = [head[:, ::-1] for head in heads]
    for others in (heads, mirrored):
        found = head_distances(heads, others)
        np.testing.assert_allclose(np.diag(found), 0, atol=1e-6)
        assert found[~np.eye(3, dtype=bool)].min() > 1
    assert gather([*heads, mirrored[1]]).least == pytest.approx(0, abs=1e-6)


def test_distances_are_in_robust_sds_over_what_is_brain_in_either(heads):
    one, brain = heads[0].copy(), np.zeros(SHAPE, bool)
    brain[:6] = True  # half of the volume: the rest must not dilute the distance
    one *= brain
    assert head_distances([one + 0.2 * brain], [one])[0, 0] == pytest.approx(2, rel=1e-4)


def test_the_least_distance_is_that_of_the_nearest_two(heads):
    apart = head_distances(heads, heads)[np.triu_indices(3, 1)]
    reference_set = gather(heads)
    assert reference_set.least == pytest.approx(apart.min())
    assert reference_set.distance(heads[2] + 0.01) == pytest.approx(0.1, rel=1e-3)
    assert gather(heads[:1]).least == 0


def test_copies_are_small_up_to_two_millimetres(heads):
    assert shrink(heads[0], (2.5, 2.5, 2.5)).shape == (2, *SHAPE)
    small = shrink(heads[0], (1.0, 1.0, 1.0))
    assert small.shape == (2, 6, 7, 5)
    assert small[1, 0, 0, 0] == pytest.approx(heads[0][1, :2, :2, :2].mean())
