"""Tissue maps against the template's own tissues, with noise, a field and a lesion."""

import numpy as np
import pytest

from lesionforge.data.volume import Grid, mni_grid
from lesionforge.preprocessing.resample import resample
from lesionforge.preprocessing.tissues import even_out, template, tissue_maps
from lesionforge.seeding import stream

GRID = mni_grid(3.0)


def _dice(a: np.ndarray, b: np.ndarray) -> float:
    return float(2 * (a & b).sum() / (a.sum() + b.sum()))


@pytest.fixture(scope="module")
def truth() -> tuple[np.ndarray, np.ndarray]:
    """The template's CSF, GM and WM, and its brain."""
    t1w, grey, white = (resample(v, GRID) for v in template())
    return np.stack([np.clip(1 - grey - white, 0, 1), grey, white]), t1w > 0.1


@pytest.fixture(scope="module")
def images(truth: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    tissues, brain = truth
    rng = stream(0, "tissue test")
    t1w = np.tensordot([0.2, 0.45, 0.65], tissues, 1) + rng.normal(0, 0.03, brain.shape)
    flair = np.tensordot([0.1, 0.5, 0.42], tissues, 1) + rng.normal(0, 0.03, brain.shape)
    return (np.maximum(np.stack([t1w, flair]), 0) * brain).astype(np.float32)


def _field(grid: Grid) -> np.ndarray:
    x, y, z = np.moveaxis(grid.world(np.indices(grid.shape).transpose(1, 2, 3, 0)) / 80, -1, 0)
    return np.exp(0.15 * x + 0.12 * y**2 - 0.1 * z)


def test_grey_and_white_matter_are_found(
    truth: tuple[np.ndarray, np.ndarray], images: np.ndarray
) -> None:
    tissues, brain = truth
    maps = tissue_maps(images, brain, GRID)
    for k, least in ((1, 0.85), (2, 0.88)):
        assert _dice((maps.argmax(0) == k) & brain, (tissues.argmax(0) == k) & brain) > least


def test_probabilities_sum_to_one_in_the_brain(
    truth: tuple[np.ndarray, np.ndarray], images: np.ndarray
) -> None:
    maps = tissue_maps(images, truth[1], GRID)
    np.testing.assert_allclose(maps.sum(0), truth[1].astype(float), atol=1e-5)
    assert maps.min() >= 0
    assert maps.dtype == np.float32


def test_a_large_lesion_leaves_the_rest_alone(
    truth: tuple[np.ndarray, np.ndarray], images: np.ndarray
) -> None:
    _, brain = truth
    place = GRID.world(np.indices(GRID.shape).transpose(1, 2, 3, 0))
    lesion = (np.linalg.norm(place - [30, 20, 25], axis=-1) < 30) & brain  # 100 mL
    ill = images.copy()
    ill[0][lesion], ill[1][lesion] = 0.3, 0.9
    healthy, other = tissue_maps(images, brain, GRID), tissue_maps(ill, brain, GRID)
    elsewhere = brain & (np.linalg.norm(place - [30, 20, 25], axis=-1) > 40)
    assert (healthy.argmax(0) == other.argmax(0))[elsewhere].mean() > 0.97


def test_a_field_is_evened_out(truth: tuple[np.ndarray, np.ndarray], images: np.ndarray) -> None:
    _, brain = truth
    field = _field(GRID)
    evened = even_out(images * np.stack([field, 1 / field]), brain, GRID)
    for channel, true in enumerate((field, 1 / field)):
        there = brain & (images[channel] > 0.05)
        left = np.log(evened[channel][there] / images[channel][there])
        assert left.std() < 0.35 * np.log(true)[there].std()
    assert (evened[:, ~brain] == images[:, ~brain]).all()


def test_an_even_image_stays_as_it_is(
    truth: tuple[np.ndarray, np.ndarray], images: np.ndarray
) -> None:
    _, brain = truth
    ratio = even_out(images, brain, GRID)[:, brain] / np.maximum(images[:, brain], 1e-3)
    assert np.median(np.abs(ratio - 1)) < 0.03
