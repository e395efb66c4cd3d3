"""A planted copy is caught, mirrored and moved too; chance resemblance is not."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from lesionforge.synthetic_qc.memorization import (
    COPY,
    copy_findings,
    lesion_likeness,
    volume_distances,
    volume_findings,
)
from lesionforge.synthetic_qc.subject_features import HALF, Patch, SubjectFeatures

EDGE = 2 * HALF + 1


def patch(seed: int, radius: float = 4.0) -> Patch:
    rng = np.random.default_rng(seed)
    index = np.indices((EDGE, EDGE, EDGE)).transpose(1, 2, 3, 0)
    mask = np.linalg.norm(index - HALF, axis=-1) <= radius
    images = rng.normal(0.5, 0.1, (2, EDGE, EDGE, EDGE)).astype(np.float32)
    effect = gaussian_filter(images - 0.5, (0, 0.7, 0.7, 0.7)) * 10
    return Patch(images, effect, mask, gaussian_filter(effect, (0, 0.5, 0.5, 0.5)))


def features_of(name: str, seed: int, made: Patch | None = None) -> SubjectFeatures:
    rng = np.random.default_rng(1000 + seed)
    small = rng.uniform(0.1, 1, (2, 8, 9, 8)).astype(np.float16)
    return SubjectFeatures(
        name, "patient", "A", name, np.zeros(3), small, patch=made or patch(seed)
    )


def test_a_moved_and_mirrored_copy_is_one():
    one = patch(0)
    moved = np.roll(one.images[:, ::-1], (1, -1, 1), axis=(1, 2, 3))
    copy = replace(one, images=moved)
    assert lesion_likeness(copy, one, "images") == pytest.approx(1.0)
    assert lesion_likeness(patch(1), one, "images") < 0.3
    brighter = replace(one, images=0.7 * one.images + 0.1)
    assert lesion_likeness(brighter, one, "images") == pytest.approx(1.0)


def test_planted_copies_are_counted_and_named():
    trained = [features_of(f"t{i}", i) for i in range(8)]
    fresh = [features_of(f"f{i}", 100 + i) for i in range(12)]
    made = [features_of(f"s{i}", 200 + i) for i in range(9)] + [features_of("copy", 300, patch(5))]
    findings, matches = copy_findings(made, fresh, trained, 0)
    assert (matches[0].id, matches[0].nearest) == ("copy", "t5")
    assert matches[0].likeness >= COPY > matches[1].likeness
    copies = findings[0]
    assert copies.counts == (1, 10)
    assert copies.met is False
    assert "copy and t5" in copies.sentence
    clean, _ = copy_findings(made[:-1], fresh, trained, 0)
    assert clean[0].met is True


def test_lesions_learnt_by_heart_are_nearer_than_chance():
    trained = [features_of(f"t{i}", i) for i in range(8)]
    fresh = [features_of(f"f{i}", 100 + i) for i in range(12)]
    rng = np.random.default_rng(9)
    made = []
    for i in range(8):
        effect = patch(i).effect + rng.normal(0, 0.3, patch(i).effect.shape)
        learnt = replace(patch(200 + i), effect=effect, mask=patch(i).mask)
        made.append(features_of(f"s{i}", 200 + i, learnt))
    findings, _ = copy_findings(made, fresh, trained, 0)
    tissue, effect = findings[1:]
    assert effect.value == 1.0
    assert effect.met is False
    assert 0.2 < tissue.value < 0.8
    assert tissue.met is not False


def test_an_effect_learnt_by_heart_is_caught_in_another_host():
    """The tissue of the host hides it from the correlation of images."""
    trained = [features_of(f"t{i}", i) for i in range(8)]
    fresh = [features_of(f"f{i}", 100 + i) for i in range(12)]

    def given(i: int, added: np.ndarray) -> SubjectFeatures:
        host = patch(200 + i)
        images = host.images + 0.1 * added
        effect = host.effect + added
        made = replace(host, images=images, effect=effect, mask=patch(i).mask, added=added)
        return features_of(f"s{i}", 200 + i, made)

    own = [given(i, patch(400 + i).averaged) for i in range(7)]
    moved = np.roll(patch(7).averaged[:, ::-1], 1, axis=1)  # drawn weaker, smoother, mirrored
    findings, matches = copy_findings([*own, given(7, 0.7 * moved)], fresh, trained, 0)
    by_name = {f.name: f for f in findings}
    assert by_name["copied lesions"].met is True
    copied = by_name["copied effects"]
    assert copied.counts == (1, 8)
    assert copied.met is False
    assert "s7 and t7" in copied.sentence
    assert "Of the effects of 8 training lesions" in copied.sentence
    assert "8 would be caught" in copied.sentence
    assert [m.by for m in matches] == ["tissue"] * 8 + ["effect"] * 8
    clean, _ = copy_findings(own, fresh, trained, 0)
    assert next(f for f in clean if f.name == "copied effects").met is True


def test_a_copied_volume_is_closer_than_two_real_subjects():
    behind = [features_of(f"t{i}", i) for i in range(4)]  # patients and controls alike
    fresh = [features_of(f"f{i}", 100 + i) for i in range(6)]
    copy = SubjectFeatures("s0", "control", "A", "t1", np.zeros(3), behind[1].small[:, ::-1])
    (found,) = volume_findings([copy, features_of("s1", 400)], fresh, behind)
    assert found.counts == (1, 2)
    assert found.met is False
    assert volume_findings([features_of("s1", 400)], fresh, behind)[0].met is True
    distance = volume_distances([copy], behind)
    assert distance[0, 1] == 0
    assert distance[0, 0] > 1
    slow = behind[0].small.astype(float), behind[2].small.astype(float)
    flips = [np.sqrt(((slow[0] - s) ** 2).mean()) / 0.1 for s in (slow[1], slow[1][:, ::-1])]
    assert volume_distances([behind[0]], [behind[2]])[0, 0] == pytest.approx(min(flips), rel=1e-3)


def test_without_fresh_lesions_chance_is_unknown():
    trained = [features_of(f"t{i}", i) for i in range(4)]
    findings, _ = copy_findings([features_of("s0", 7)], [], trained, 0)
    assert [f.value is None for f in findings] == [False, True, True]
    assert all(f.why for f in findings[1:])
