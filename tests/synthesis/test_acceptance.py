"""Every check finds its planted fault and passes what is sound."""

import numpy as np
import pytest

from lesionforge.synthesis.acceptance import (
    check_contrast,
    check_effect,
    check_images,
    check_lesion,
    check_shown,
)
from lesionforge.synthesis.config import SynthesisConfig
from tests.contrasts import in_rows

CHANNELS = ("T1w", "FLAIR")


@pytest.fixture
def sound():
    brain = np.zeros((12, 12, 12), bool)
    brain[2:-2, 2:-2, 2:-2] = True
    images = np.random.default_rng(0).uniform(0.2, 0.8, (2, 12, 12, 12)).astype(np.float32)
    return images * brain, brain


def test_sound_images_pass(sound):
    assert check_images(CHANNELS, *sound) == []


@pytest.mark.parametrize(
    ("value", "place", "reason"),
    [
        (np.nan, (0, 5, 5, 5), "finite"),
        (1.2, (1, 5, 5, 5), "range"),
        (-0.1, (0, 5, 5, 5), "range"),
        (0.5, (0, 0, 0, 0), "outside"),
    ],
)
def test_planted_faults_in_images(sound, value, place, reason):
    images, brain = sound
    images[place] = value
    assert [r.reason for r in check_images(CHANNELS, images, brain)] == [reason]


def test_flat_images_are_found(sound):
    images, brain = sound
    images[1] = 0.5 * brain
    (found,) = check_images(CHANNELS, images, brain)
    assert found.reason == "flat"
    assert "FLAIR" in found.detail
    assert "T1w" not in found.detail


def test_lesions(sound):
    _, brain = sound
    lesion = np.zeros_like(brain)
    lesion[4:6, 4:6, 4:6] = True
    assert check_lesion(lesion, brain) == []
    lesion[8, 8, 8] = True
    assert [r.reason for r in check_lesion(lesion, brain)] == ["components"]
    lesion[8, 8, 8] = False
    lesion[4, 4, 1:4] = True
    assert [r.reason for r in check_lesion(lesion, brain)] == ["brain"]
    assert [r.reason for r in check_lesion(lesion & False, brain)] == ["components"]


@pytest.mark.parametrize(
    ("effect", "asked", "passes"),
    [(0.25, 0.0, True), (0.15, 0.0, False), (0.9, 4.0, False), (1.1, 4.0, True)],
)
def test_effect_limits(effect, asked, passes):
    config = SynthesisConfig(min_effect_sd=0.2, min_effect_share=0.25)
    assert (check_effect(effect, asked, config) == []) == passes


@pytest.mark.parametrize(
    ("before", "after", "reasons"),
    [(0.9, 1.0, []), (0.9, 0.9, ["shown"]), (1.0, 3.0, ["place"]), (1.0, 0.5, ["shown", "place"])],
)
def test_images_must_show_the_lesion_and_not_only_its_place(before, after, reasons):
    found = check_shown(before, after, 2.0, SynthesisConfig(min_shown_share=0.5))
    assert [r.reason for r in found] == reasons
    assert check_shown(before, after, 2.0, SynthesisConfig(min_shown_share=0)) == []
    assert check_shown(before, after, 0.0, SynthesisConfig()) == []  # paste asks for nothing


@pytest.mark.parametrize(
    ("made", "least", "passes"),
    [
        ((-0.1, 0.3, 0.0, 0.0), 0.0, True),
        ((0.1, -0.3, 0.0, 0.0), 0.0, False),
        ((0.0, 0.0, 1.0, -1.0), 0.0, True),
        ((0.0, 0.0, 1.0, -1.0), 0.5, False),
        ((0.1, -0.3, 0.0, 0.0), -1.0, True),
        ((0.0, 0.0, 0.0, 0.0), 0.0, True),  # the effect's own check tells
    ],
)
def test_signs_that_turn_round_are_found(made, least, passes):
    found = check_contrast(
        in_rows(*made), in_rows(-0.5, 1.5), SynthesisConfig(min_contrast_cosine=least)
    )
    assert [r.reason for r in found] == ([] if passes else ["contrast"])
