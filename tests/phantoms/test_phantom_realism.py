"""The benchmark's fit finds what tissue maps explain of effects that are made of them."""

import numpy as np
import pytest
from benchmarks.phantom_realism import components, explained, share

RNG = np.random.default_rng(0)


def maps() -> np.ndarray:
    return RNG.random((4, 12, 12, 12))


def test_an_effect_made_of_the_maps_is_explained_and_noise_is_not():
    parts = maps()
    pure = np.tensordot([1.0, -0.5, 0.3, 0.1], parts, 1)
    energy, fit = explained(pure, parts, 0.0)
    assert fit == pytest.approx(energy)
    noise = RNG.normal(0, 1, pure.shape)
    energy, fit = explained(noise, parts, 0.0)
    assert fit < 0.02 * energy


def test_noise_of_known_strength_is_taken_off():
    parts = maps()
    noisy = np.tensordot([1.0, -0.5, 0.3, 0.1], parts, 1) + RNG.normal(0, 0.5, parts.shape[1:])
    energy, fit = explained(noisy, parts, 0.0)
    assert fit / energy < 0.7
    energy, fit = explained(noisy, parts, 0.25)
    assert fit / energy == pytest.approx(1, abs=0.1)


def test_small_pieces_are_left_out():
    lesion = np.zeros((20, 20, 20), dtype=bool)
    lesion[2:6, 2:6, 2:6] = lesion[12, 12, 12] = True
    assert [part.sum() for part in components(lesion, 1.0)] == [64]
    assert len(components(lesion, 60.0)) == 2


def test_lesions_weigh_by_their_energy():
    rows = [
        {"channel": 0, "energy": 9.0, "explained": 9.0},
        {"channel": 1, "energy": 1.0, "explained": 0.0},
    ]
    assert share(rows) == pytest.approx(0.9)
    assert share(rows, 1) == 0
