"""Brain masks: whole heads by deepbet, stripped heads by their background."""

import numpy as np
import pytest
from scipy import ndimage

from lesionforge.data.volume import Volume, grid
from lesionforge.errors import DataError
from lesionforge.preprocessing.brain import deepbet_mask, is_stripped, nonzero_mask
from lesionforge.preprocessing.resample import resample
from lesionforge.preprocessing.tissues import template

GRID = grid(
    (76, 90, 76), np.diag([2.5, 2.5, 2.5, 1.0]) + np.pad([[-95], [-130], [-95]], ((0, 1), (3, 0)))
)


@pytest.fixture(scope="module")
def brain() -> Volume:
    t1w = resample(template()[0], GRID)
    return Volume(np.where(t1w > 0.1, t1w, 0).astype(np.float32), GRID)


@pytest.fixture(scope="module")
def head(brain: Volume) -> Volume:
    """The brain inside dark skull, bright scalp and noisy air."""
    inside = ndimage.binary_fill_holes(brain.data > 0)
    away = ndimage.distance_transform_edt(~inside) * 2.5
    rng = np.random.default_rng(0)
    data = brain.data + 0.12 * ((away > 0) & (away < 4)) + 0.9 * ((away > 9) & (away < 15))
    return Volume((data + np.abs(rng.normal(0, 0.03, data.shape))).astype(np.float32), GRID)


def _dice(a: np.ndarray, b: np.ndarray) -> float:
    return float(2 * (a & b).sum() / (a.sum() + b.sum()))


def test_stripped_and_whole_heads_are_told_apart(brain: Volume, head: Volume) -> None:
    assert is_stripped(brain)
    assert is_stripped(Volume(brain.data * 700 - 50, GRID))  # another constant than 0
    assert not is_stripped(head)
    clean_air = np.where(head.data > 0.1, head.data, 0)  # air set to zero, but the scalp is there
    assert not is_stripped(Volume(clean_air, GRID))


def test_the_nonzero_part_is_cleaned_up(brain: Volume) -> None:
    data = brain.data.copy()
    data[38, 50, 40] = 0  # a hole
    data[3, 3, 3] = 1  # a speck
    mask = nonzero_mask(Volume(data, GRID))
    assert mask[38, 50, 40]
    assert not mask[3, 3, 3]
    assert _dice(mask, ndimage.binary_fill_holes(brain.data > 0)) > 0.99


def test_deepbet_finds_the_brain_of_a_whole_head(brain: Volume, head: Volume) -> None:
    assert _dice(deepbet_mask(head), ndimage.binary_fill_holes(brain.data > 0)) > 0.93


def test_an_empty_or_tiny_volume_is_refused() -> None:
    with pytest.raises(DataError, match="mL"):
        nonzero_mask(Volume(np.zeros(GRID.shape, dtype=np.float32), GRID))
    tiny = grid((20, 20, 20), np.eye(4))
    with pytest.raises(DataError, match="mL"):
        nonzero_mask(Volume(np.pad(np.ones((9, 9, 9)), (5, 6)).astype(np.float32), tiny))


def test_noise_is_no_brain() -> None:
    noise = np.random.default_rng(0).random((40, 40, 40)).astype(np.float32)
    with pytest.raises(DataError):
        deepbet_mask(Volume(noise, grid(noise.shape, np.diag([1.0, 1.0, 1.0, 1.0]))))
