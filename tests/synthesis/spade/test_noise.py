import math

import numpy as np
import torch
from scipy import stats

from lesionforge.synthesis.spade.noise import position_noise

MASK = 2**64 - 1


def splitmix64(value: int) -> int:
    """SplitMix64 as published, on Python's unbounded integers."""
    value = (value + 0x9E3779B97F4A7C15) & MASK
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & MASK
    return value ^ (value >> 31)


def test_published_vector():
    # First output of the reference generator seeded with 1234567.
    assert splitmix64(1234567) == 6457827717110365317


def test_noise_is_the_hash_of_the_position():
    noise = position_noise(7, 1, 2, (3, 0, 250), (5, 2, 252))
    for channel, i, j, k in np.ndindex(2, 2, 2, 2):
        key = splitmix64(splitmix64(splitmix64(7) + 1) + channel)
        bits = splitmix64(splitmix64(splitmix64((3 + i + key) & MASK) + j) + 250 + k)
        radius = math.sqrt(-2 * math.log(((bits >> 40) + 0.5) / 2**24))
        expected = radius * math.cos(2 * math.pi * (bits & 0xFFFFFF) / 2**24)
        assert math.isclose(float(noise[channel, i, j, k]), expected, abs_tol=1e-5)


def test_a_part_has_the_noise_of_the_whole():
    whole = position_noise(3, 0, 1, (0, 0, 0), (20, 24, 28))
    part = position_noise(3, 0, 1, (5, 8, 11), (13, 20, 28))
    assert torch.allclose(part, whole[:, 5:13, 8:20, 11:28], atol=1e-6)


def test_noise_is_standard_normal_and_independent():
    noise = position_noise(0, 2, 2, (0, 0, 0), (40, 40, 40)).numpy()
    assert stats.kstest(noise[0].ravel(), "norm").pvalue > 0.01
    other_seed = position_noise(1, 2, 2, (0, 0, 0), (40, 40, 40)).numpy()
    other_level = position_noise(0, 1, 2, (0, 0, 0), (40, 40, 40)).numpy()
    for other in (noise[1], other_seed[0], other_level[0]):
        assert abs(np.corrcoef(noise[0].ravel(), other.ravel())[0, 1]) < 0.015
    for axis in range(3):
        shifted = np.roll(noise[0], 1, axis)
        assert abs(np.corrcoef(noise[0].ravel(), shifted.ravel())[0, 1]) < 0.015
