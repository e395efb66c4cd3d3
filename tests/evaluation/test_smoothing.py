"""Averages within a mask keep levels up to its edge and let nothing in from beyond."""

import numpy as np

from lesionforge.evaluation.smoothing import smooth_within

SHAPE = (20, 22, 18)


def test_smoothing_keeps_a_level_up_to_the_edge_of_the_brain_and_takes_off_noise():
    brain = np.zeros(SHAPE, bool)
    brain[3:-3, 3:-3, 3:-3] = True
    level = np.where(brain, np.float32(0.3), 7.0)[None]
    np.testing.assert_allclose(smooth_within(level, brain, 0.7)[:, brain], 0.3, atol=1e-6)
    assert (smooth_within(level, brain, 0.7)[:, ~brain] == 0).all()
    noise = np.random.default_rng(0).normal(size=(2, *SHAPE)) * brain
    assert smooth_within(noise, brain, 0.7)[:, brain].std() < 0.5
    np.testing.assert_allclose(smooth_within(noise, brain, 0.0), noise, rtol=1e-6)
