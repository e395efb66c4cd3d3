"""Simulated artifacts: the same spec the same bytes, what they may change, and who carries them."""

import json
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from lesionforge.data.subject import read_brain, read_grid, read_images, read_tissues
from lesionforge.data.volume import grid
from lesionforge.errors import ConfigError, DataError
from lesionforge.preprocessing.intensity import rescale_synthetic
from lesionforge.seeding import stream
from lesionforge.synthesis.acceptance import check_artifact, check_images
from lesionforge.synthesis.artifacts import (
    SPOT_ASPECT,
    SPOT_MM,
    SPOTS,
    STRENGTHS,
    ArtifactSpec,
    apply_artifact,
    choose_kind,
    sample_artifact,
)
from lesionforge.synthesis.config import SynthesisConfig

CHANNELS = ("T1w", "FLAIR")

KINDS = tuple(STRENGTHS)


@pytest.fixture(scope="module")
def head(toy_cohort):
    """Images, tissues, brain and grid of a toy control, scaled as preparation scales them."""
    subject = next(s for s in toy_cohort if s.group == "control")
    brain = read_brain(subject)
    images = rescale_synthetic(read_images(subject), brain)
    return images, read_tissues(subject), brain, read_grid(subject)


def spoil(head, spec):
    images, tissues, brain, area = head
    return apply_artifact(CHANNELS, images, tissues, brain, spec, area)


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_spec_gives_the_same_bytes_and_survives_json(head, kind):
    spec = sample_artifact(stream(3, "x"), kind, CHANNELS)
    assert spec == sample_artifact(stream(3, "x"), kind, CHANNELS)
    again = ArtifactSpec.from_json(json.loads(json.dumps(spec.to_json())))
    assert again == spec
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    made = spoil(head, spec)
    assert made.tobytes() == spoil(head, again).tobytes()
    assert np.array_equal(before, np.random.get_state()[1])  # noqa: NPY002
    assert made.tobytes() != spoil(head, replace(spec, seed=spec.seed + 1)).tobytes()
    assert made.tobytes() != spoil(head, replace(spec, strength=2 * spec.strength)).tobytes()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", range(3))
def test_a_spoilt_image_is_still_an_image(head, kind, seed):
    images, _, brain, _ = head
    kept = images.copy()
    made = spoil(head, ArtifactSpec(kind, CHANNELS, STRENGTHS[kind][1], seed))
    assert np.array_equal(images, kept)
    assert (made.shape, made.dtype) == (images.shape, np.float32)
    assert check_images(CHANNELS, made, brain) == []
    assert check_artifact(images, made) == []
    for channel in made:
        values = channel[brain].astype(float)
        assert np.median(values) == pytest.approx(0.5, abs=0.01)
        assert 1.4826 * np.median(np.abs(values - 0.5)) == pytest.approx(0.1, abs=0.01)


@pytest.mark.parametrize("kind", ["motion", "bias"])
@pytest.mark.parametrize("spared", [0, 1])
def test_the_other_contrast_is_kept_bit_for_bit(head, kind, spared):
    spec = ArtifactSpec(kind, (CHANNELS[1 - spared],), STRENGTHS[kind][0], 5)
    made = spoil(head, spec)
    assert made[spared].tobytes() == head[0][spared].tobytes()
    assert np.abs(made[1 - spared] - head[0][1 - spared]).max() > 0.05


def test_contrasts_are_spoilt_each_in_its_own_way(head):
    made = spoil(head, ArtifactSpec("bias", CHANNELS, 0.1, 5))
    change = (made - head[0])[:, head[2]]
    assert abs(np.corrcoef(change)[0, 1]) < 0.95


def test_motion_leaves_anatomy_in_its_place(head):
    """The centre of k-space is of the head at rest: smoothed, nothing has moved."""
    images, _, brain, area = head
    index = np.indices(brain.shape).reshape(3, -1)
    for seed in range(5):
        made = spoil(head, ArtifactSpec("motion", CHANNELS, STRENGTHS["motion"][1], seed))
        for before, after in zip(images, made, strict=True):
            centres = [index @ v.ravel() / v.sum() for v in (before, after)]
            shift = np.abs(centres[1] - centres[0]) * area.voxel_mm
            assert shift.max() < 1.0
            best = correlation_peak(before, after)
            assert best == (0, 0, 0), best


def correlation_peak(one, other):
    """Return the shift in voxels at which two volumes are most alike."""
    product = np.fft.ifftn(np.fft.fftn(one - one.mean()).conj() * np.fft.fftn(other - other.mean()))
    peak = np.unravel_index(product.real.argmax(), one.shape)
    return tuple(
        int(p) if p <= n // 2 else int(p) - n for p, n in zip(peak, one.shape, strict=True)
    )


def test_motion_rings_along_one_axis(head):
    """Without the lines of moved copies there would be no error at high frequencies."""
    made = spoil(head, ArtifactSpec("motion", ("FLAIR",), 4.0, 1))
    error = np.abs(np.fft.fftn((made - head[0])[1]))
    shares = []
    for axis in (0, 1):
        line = np.abs(np.fft.fftfreq(error.shape[axis]))
        outer = np.take(error, np.flatnonzero(line > 0.2), axis=axis)
        shares.append((outer**2).sum() / (error**2).sum())
    assert max(shares) > 0.2


@pytest.mark.parametrize("strength", [0.06, 0.12])
def test_a_field_is_smooth_and_as_strong_as_asked(head, strength):
    """On a chequerboard neighbours differ by a constant times the field, however it is scaled."""
    _, tissues, brain, area = head
    light = np.indices(brain.shape).sum(0) % 2 == 1
    board = (np.where(light, 0.6, 0.4) * brain).astype(np.float32)
    spec = ArtifactSpec("bias", ("T1w",), strength, 2)
    made = apply_artifact(CHANNELS, np.stack([board, board]), tissues, brain, spec, area)[0]
    steps = np.where(light[1:], 1, -1) * np.diff(made, axis=0)
    log = np.log(np.maximum(steps, 1e-3))[brain[1:] & brain[:-1]]
    assert log.std() == pytest.approx(strength, rel=0.15)
    inner = brain[2:] & brain[1:-1] & brain[:-2]
    change = np.diff(np.log(np.maximum(steps, 1e-3)), axis=0)[inner]
    assert np.abs(change).mean() < strength / 2


def test_spots_are_small_bright_in_flair_and_deep_in_white_matter():
    """On a fine grid: a ball of white matter in a shell of grey."""
    area = grid((64, 64, 64), np.diag([1.0, 1.0, 1.0, 1.0]))
    radius = np.linalg.norm(np.indices(area.shape).T - 31.5, axis=-1).T
    brain = radius < 30
    tissues = np.stack([0 * radius, (radius >= 22) & brain, radius < 22]).astype(np.float32)
    images = np.float32([0.5, 0.5])[:, None, None, None] * brain.astype(np.float32)
    for seed in range(4):
        made = apply_artifact(
            CHANNELS, images, tissues, brain, ArtifactSpec("spots", CHANNELS, 3.0, seed), area
        )
        rise = made[1] - images[1]
        assert rise.min() == 0
        assert rise.max() == pytest.approx(0.3, abs=1e-3)
        assert (made[0] <= images[0]).all()
        assert (images[0] - made[0]).max() < 0.06
        found = rise > 0.15
        assert (22 - radius[found]).min() > 6 - SPOT_MM[1] / 2 * SPOT_ASPECT - 1
        most = SPOTS[1] * np.pi / 6 * SPOT_MM[1] ** 3 * SPOT_ASPECT
        least = SPOTS[0] * np.pi / 6 * SPOT_MM[0] ** 3 / 2
        assert least < found.sum() < most


def test_spots_are_found_a_place_where_white_matter_is_thin():
    area = grid((16, 16, 16), np.diag([2.5, 2.5, 2.5, 1.0]))
    brain = np.ones(area.shape, bool)
    tissues = np.zeros((3, *area.shape), np.float32)
    tissues[1], tissues[1, 8], tissues[2, 8] = 1, 0, 1
    images = np.full((2, *area.shape), 0.5, np.float32)
    made = apply_artifact(
        CHANNELS, images, tissues, brain, ArtifactSpec("spots", CHANNELS, 2.0, 0), area
    )
    changed = (made != images).any(0)
    assert changed.any()
    assert not np.delete(changed, 8, axis=0).any()


def test_spots_go_where_they_can_be_seen_and_motion_spoils_mostly_one_contrast():
    drawn = [sample_artifact(stream(0, "draw", i), KINDS[i % 3], CHANNELS) for i in range(300)]
    for spec in drawn:
        low, high = STRENGTHS[spec.kind]
        assert low <= spec.strength <= high
    assert all(len(s.channels) == 2 for s in drawn if s.kind == "spots")
    counts = Counter(s.channels for s in drawn if s.kind != "spots")
    assert counts[CHANNELS] == pytest.approx(40, abs=20)
    assert min(counts[("T1w",)], counts[("FLAIR",)]) > 50


@pytest.mark.parametrize("share", [0.1, 0.25, 1 / 3, 0.5, 0.7, 1.0])
def test_the_share_is_exact_and_spread_and_kinds_take_turns(share):
    kinds = [choose_kind(n, share, KINDS, seed=4) for n in range(1, 241)]
    with_artifact = [kind is not None for kind in kinds]
    assert sum(with_artifact) == round(share * 240)
    for n in range(1, 241):
        assert abs(sum(with_artifact[:n]) - share * n) < 1
    counts = Counter(kind for kind in kinds if kind)
    assert max(counts.values()) - min(counts.values()) <= 1
    assert kinds == [choose_kind(n, share, KINDS, seed=4) for n in range(1, 241)]
    if share < 1:
        assert kinds != [choose_kind(n, share, KINDS, seed=5) for n in range(1, 241)]


def test_no_regular_pattern_of_numbers_is_always_flawed():
    """Sites that alternate must not give all the artifacts to one of them."""
    numbers = [n for n in range(1, 201) if choose_kind(n, 0.5, KINDS, seed=0)]
    even = sum(n % 2 == 0 for n in numbers)
    assert 30 < even < 70
    assert not any(choose_kind(n, 0.0, KINDS, seed=0) for n in range(1, 50))


def test_a_flaw_that_changes_nothing_is_refused(head):
    images = head[0]
    (found,) = check_artifact(images, images + np.float32(0.001))
    assert found.reason == "artifact"


@pytest.mark.parametrize(
    "values",
    [
        {"kind": "blur"},
        {"channels": ()},
        {"strength": 0.0},
        {"strength": float("nan")},
        {"strength": float("inf")},
    ],
)
def test_a_spec_is_checked(values):
    with pytest.raises(DataError, match="An artifact is one of motion, bias, spots"):
        ArtifactSpec(**{"kind": "bias", "channels": ("T1w",), "strength": 0.1, "seed": 0} | values)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"artifact_share": 1.5}, "artifact_share"),
        ({"artifact_share": -0.1}, "artifact_share"),
        ({"artifact_kinds": ()}, "`artifact_kinds` must be one or more of motion, bias, spots"),
        ({"artifact_kinds": ("motion", "motion")}, "each once"),
        ({"artifact_kinds": ("blur",)}, "blur"),
    ],
)
def test_config_is_checked(values, message):
    with pytest.raises(ConfigError, match=message):
        SynthesisConfig(**values)
