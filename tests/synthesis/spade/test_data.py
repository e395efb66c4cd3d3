import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch

from lesionforge.data.subject import read_brain, read_images, read_lesion
from lesionforge.data.volume import write_volume
from lesionforge.errors import DataError
from lesionforge.lesions.appearance import measure_conspicuity
from lesionforge.lesions.blending import AROUND_MM, feather_weight
from lesionforge.synthesis.spade.config import GeneratorConfig
from lesionforge.synthesis.spade.data import (
    PatchBatches,
    PatchSpec,
    Scan,
    StepSampler,
    read_scan,
    style_view,
)

CONFIG = GeneratorConfig(steps=40, checkpoint_every=10, patch=16, batch_size=2)


@pytest.fixture(scope="module")
def scans(toy_cohort) -> list[Scan]:
    return [read_scan(subject) for subject in (*toy_cohort[:3], *toy_cohort[-2:])]


def test_a_scan_holds_the_brain_and_the_measured_lesion(toy_cohort, scans, toy_grid):
    subject, scan = toy_cohort[0], scans[0]
    lesion, brain = read_lesion(subject), read_brain(subject)
    assert len(scan.brain) == brain.sum()
    assert len(scan.lesion) == (lesion & brain).sum()
    assert scan.contrasts[0][1][0][0] > 1  # FLAIR, grey matter, in the mask
    tissues = np.zeros((3, *toy_grid.shape), dtype=np.float32)
    box = tuple(slice(i.min(), i.max() + 1) for i in np.nonzero(brain))
    tissues[(slice(None), *box)] = scan.semantic[:3]
    again = measure_conspicuity(read_images(subject), lesion, tissues, brain, toy_grid.voxel_mm)
    (own,) = scan.contrasts
    np.testing.assert_allclose(own, again.contrast, atol=0.03)
    soft = scan.semantic[3].astype(np.float32)
    effects = np.tensordot(np.array(own)[..., 0], scan.semantic[1:3], 1)
    beyond = np.tensordot(np.array(own)[..., 1], scan.semantic[1:3], 1)
    reach = feather_weight(lesion > 0, AROUND_MM, toy_grid.voxel_mm)[box]
    told = soft * effects + (1 - soft) * reach * beyond
    np.testing.assert_allclose(scan.semantic[4:], told, atol=5e-3)


def test_a_control_has_no_lesion_channel(scans):
    assert len(scans[-1].lesion) == 0
    assert scans[-1].contrasts == ()
    assert (scans[-1].semantic[3:] == 0).all()


def test_batches_do_not_depend_on_what_was_asked_before(scans):
    first, second = PatchBatches(scans, CONFIG, 0), PatchBatches(scans, CONFIG, 0)
    for step in range(5):
        first[step]
    for name, value in first[7].items():
        assert np.array_equal(value, second[7][name])
    assert not torch.equal(first[7]["images"], PatchBatches(scans, CONFIG, 1)[7]["images"])


def test_half_of_the_patches_show_a_lesion_and_controls_take_part(scans):
    batches = PatchBatches(scans, CONFIG, 0)
    specs = [batches.spec(position) for position in range(80)]
    for spec in specs[1::2]:
        assert len(scans[spec.scan].lesion)
        nearest = np.abs(scans[spec.scan].lesion - np.array(spec.centre)).max(axis=1).min()
        assert nearest <= CONFIG.patch // 4
    assert {spec.scan for spec in specs} == set(range(len(scans)))
    assert {spec.flip for spec in specs} == {True, False}
    at_lesion = [batches[step]["semantic"][1, 3].max() > 0.3 for step in range(20)]
    assert all(at_lesion)


def test_without_patients_every_patch_comes_from_controls(scans):
    batch = PatchBatches(scans[-2:], CONFIG, 0)[0]
    assert (batch["semantic"][:, 3:] == 0).all()
    assert (batch["semantic"][:, :3].sum((1, 2, 3, 4)) > 0).all()


def test_images_and_maps_stay_together(scans):
    """Patches are cut and mirrored alike: found again in the volume, voxel by voxel."""
    batches = PatchBatches(scans, CONFIG, 0)
    for position in range(6):
        spec = batches.spec(position)
        patch = batches.render([spec])
        both = torch.cat([patch["images"], patch["semantic"]], dim=1)[0].numpy()
        both = both[:, ::-1] if spec.flip else both
        scan = scans[spec.scan]
        volume = np.concatenate([scan.images, scan.semantic]).astype(np.float32)
        start = [
            min(max(c - 8, 0), n - 16) for c, n in zip(spec.centre, volume.shape[1:], strict=True)
        ]
        found = volume[(slice(None), *(slice(s, s + 16) for s in start))]
        assert np.array_equal(both, found)


def test_a_style_knows_nothing_of_the_lesion(scans):
    ill = next(scan for scan in scans if len(scan.lesion))
    other = replace(ill, images=ill.images.copy())
    other.images[(slice(None), *ill.lesion.T)] = 1
    place = tuple(int(v) for v in ill.lesion.mean(axis=0).round())
    spec = PatchSpec(0, place, place, flip=False, style_flip=False)
    one, two = (PatchBatches([scan], CONFIG, 0).render([spec]) for scan in (ill, other))
    assert not torch.equal(one["images"], two["images"])
    assert torch.equal(one["style_images"], two["style_images"])
    whole = [style_view(scan, lambda volume: volume)[0] for scan in (ill, other)]
    assert whole[0].any()
    np.testing.assert_array_equal(*whole)
    hidden = one["style_tissues"].sum(1) < one["semantic"][:, :3].sum(1)
    assert hidden.sum() >= len(ill.lesion)
    assert torch.equal(one["style_images"][0, :, ~hidden[0]], one["images"][0, :, ~hidden[0]])


def test_a_scan_smaller_than_a_patch_is_padded(scans):
    wide = replace(CONFIG, patch=40)
    batch = PatchBatches(scans, wide, 0)[0]
    assert batch["images"].shape == (2, 2, 40, 40, 40)
    brains = [len(scans[PatchBatches(scans, wide, 0).spec(i).scan].brain) for i in range(2)]
    inside = (batch["semantic"][:, :3].sum(1) > 0.5).sum((1, 2, 3))
    assert inside.tolist() == brains  # the whole brain is there, once


def test_the_sampler_goes_on_where_the_training_is():
    done = [0]
    sampler = StepSampler(lambda: done[-1], 10)
    assert list(sampler) == list(range(10))
    done.append(20)
    assert list(sampler) == list(range(20, 30))


def test_the_panel_shows_lesions_and_a_control(scans):
    panel = PatchBatches(scans, CONFIG, 0).panel()
    strength = panel["semantic"][:, 3].amax((1, 2, 3))
    assert (strength[:3] > 0.3).all()
    assert strength[3] == 0


def test_a_patient_without_lesion_is_named(toy_cohort, tmp_path, toy_grid):
    good = toy_cohort[0]
    shutil.copytree(good.root / good.id, tmp_path / good.id)
    bad = replace(good, root=tmp_path)
    write_volume(bad.lesion, np.zeros(toy_grid.shape, dtype=bool), toy_grid)
    with pytest.raises(DataError, match=f"{good.id}_.*lesion"):
        read_scan(bad)
