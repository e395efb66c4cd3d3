import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from lesionforge.data.subject import read_brain, read_grid, read_ignore, read_lesion
from lesionforge.data.volume import write_volume
from lesionforge.detection.config import IGNORED, DetectorConfig
from lesionforge.detection.data import (
    PatchDataset,
    StepSampler,
    read_case,
    render_patch,
    standardise,
)
from lesionforge.errors import DataError
from lesionforge.seeding import stream

CONFIG = DetectorConfig(batch_size=4, foreground_share=0.5, patch=16, steps=50, epoch_steps=20)


@pytest.fixture(scope="module")
def cases(toy_cohort):
    return [read_case(s) for s in toy_cohort]


def test_images_are_standardised_inside_the_brain():
    images = stream(0, "i").normal(3, 2, (2, 8, 8, 8)).astype(np.float32)
    brain = np.zeros((8, 8, 8), bool)
    brain[1:7, 2:6, 1:5] = True
    scaled = standardise(images, brain)
    np.testing.assert_allclose(scaled[:, brain].mean(1), 0, atol=1e-5)
    np.testing.assert_allclose(scaled[:, brain].std(1), 1, atol=1e-5)
    assert not scaled[:, ~brain].any()


def test_a_case_keeps_every_brain_and_lesion_voxel(toy_cohort, cases):
    for subject, case in zip(toy_cohort, cases, strict=True):
        assert len(case.brain) == read_brain(subject).sum()
        assert len(case.lesion) == read_lesion(subject).sum()
        assert case.volume[2].sum() == len(case.lesion)


@pytest.fixture
def ignoring(toy_cohort, tmp_path):
    """A patient of whom a slab beside and over the lesion is to be ignored."""
    first = toy_cohort[0]
    subject = replace(first, root=tmp_path)
    shutil.copytree(first.root / first.id, tmp_path / first.id)
    brain = read_brain(first)
    slab = np.zeros_like(brain)
    place = np.argwhere(read_lesion(first))[0]
    slab[place[0] : place[0] + 6] = True
    write_volume(subject.ignore, slab & brain, read_grid(first))
    return subject


def test_ignored_voxels_are_marked_in_the_target_and_lesion_wins(ignoring, toy_cohort):
    case = read_case(ignoring)
    whole = replace(PatchDataset([case], CONFIG, 0).spec(0), centre=(16, 20, 16))
    still = replace(whole, augment=replace(whole.augment, matrix=None, mirror=()))
    _, target = render_patch([case], still, 48)
    ignore, lesion = read_ignore(ignoring), read_lesion(ignoring)
    assert (target == 1).sum() == lesion.sum()
    assert (target == IGNORED).sum() == (ignore & ~lesion).sum()
    assert read_case(toy_cohort[0]).ignore is None
    assert not read_ignore(toy_cohort[0]).any()


def test_a_patient_with_an_empty_mask_is_named(toy_cohort, monkeypatch):
    monkeypatch.setattr(
        "lesionforge.detection.data.read_lesion", lambda s: np.zeros((32, 40, 32), bool)
    )
    with pytest.raises(DataError, match="sub-p01 is a patient"):
        read_case(toy_cohort[0])


def test_without_a_lesion_nothing_can_be_learned(cases):
    with pytest.raises(DataError, match="No training subject has a lesion"):
        PatchDataset(cases[6:], CONFIG, 0)


def test_workers_do_not_change_the_patches(cases):
    dataset = PatchDataset(cases, CONFIG, 7)
    batches = [
        list(DataLoader(dataset, 4, sampler=range(40), num_workers=workers)) for workers in (0, 2)
    ]
    for one, two in zip(*batches, strict=True):
        assert torch.equal(one[0], two[0])
        assert torch.equal(one[1], two[1])


def test_patches_depend_on_seed_and_position_alone(cases):
    dataset = PatchDataset(cases, CONFIG, 7)
    late = dataset[33]
    dataset[5]
    assert torch.equal(PatchDataset(cases, CONFIG, 7)[33][0], late[0])
    assert not torch.equal(PatchDataset(cases, CONFIG, 8)[33][0], late[0])
    assert not torch.equal(dataset[34][0], late[0])


def test_a_spec_replays_its_patch(cases):
    dataset = PatchDataset(cases, CONFIG, 0)
    images, lesion = render_patch(cases, dataset.spec(3), CONFIG.patch)
    assert torch.equal(images, dataset[3][0])
    assert torch.equal(lesion, dataset[3][1])
    assert images.shape == (2, 16, 16, 16)
    assert set(lesion.unique().tolist()) <= {0.0, 1.0}


def test_patches_hold_little_air_and_small_volumes_are_centred(cases):
    dataset = PatchDataset(cases, CONFIG, 0)
    for position in range(200):
        spec = dataset.spec(position)
        shape = np.array(cases[spec.case].volume.shape[1:])
        first = np.array(spec.centre) - CONFIG.patch // 2
        assert (first >= -2).all()
        assert (first + CONFIG.patch <= shape + 2).all()
    large = PatchDataset(cases, replace(CONFIG, patch=64), 0).spec(1)
    np.testing.assert_array_equal(large.centre, np.array(cases[large.case].volume.shape[1:]) // 2)


@pytest.mark.parametrize("share", [0.25, 0.5, 1.0])
def test_every_batch_has_its_share_of_lesion_patches(cases, share):
    dataset = PatchDataset(cases, replace(CONFIG, foreground_share=share), 0)
    near = []
    for position in range(40):
        spec = dataset.spec(position)
        away = np.abs(cases[spec.case].lesion - np.array(spec.centre)).max(1)
        near.append(len(away) > 0 and away.min() < CONFIG.patch // 2)
    assert np.mean(near[int(1 / share) - 1 :: int(1 / share)]) == 1


def test_lesion_patches_choose_every_patient_and_the_others_every_subject(cases):
    config = replace(CONFIG, steps=500)
    dataset = PatchDataset(cases, config, 0)
    chosen = np.array([dataset.spec(i).case for i in range(1200)])
    lesion, other = chosen[1::2], chosen[0::2]
    assert set(lesion) == set(range(6))
    assert np.bincount(lesion, minlength=10)[:6].min() > 60
    assert np.bincount(other, minlength=10).min() > 30


def test_the_stated_share_of_synthetic_patches_is_kept(cases):
    mixed = [replace(c, synthetic=i in (0, 1, 6)) for i, c in enumerate(cases)]

    def synthetic(share):
        dataset = PatchDataset(mixed, replace(CONFIG, steps=500, synthetic_share=share), 0)
        chosen = [mixed[dataset.spec(i).case].synthetic for i in range(1000)]
        return np.mean(chosen[1::2]), np.mean(chosen[0::2])

    assert synthetic(0.5) == pytest.approx((0.5, 0.5), abs=0.06)
    assert synthetic(0.0) == (0, 0)
    assert synthetic(None) == pytest.approx((1 / 3, 0.3), abs=0.06)


def test_epochs_and_devices_share_the_positions_out():
    everything = []
    for epoch in range(3):
        samplers = [StepSampler(CONFIG, rank, 2) for rank in range(2)]
        for sampler in samplers:
            sampler.set_epoch(epoch)
        parts = [list(s) for s in samplers]
        assert [len(s) for s in samplers] == [len(p) for p in parts]
        whole = StepSampler(CONFIG)
        whole.set_epoch(epoch)
        assert sorted([p for part in parts for p in part]) == list(whole)
        everything += list(whole)
    assert everything == list(range(50 * 4))


def test_the_global_generators_are_untouched(cases):
    np.random.seed(0)  # noqa: NPY002
    torch.manual_seed(0)
    before = np.random.get_state()[1].copy(), torch.get_rng_state()  # noqa: NPY002
    dataset = PatchDataset(cases, CONFIG, 0)
    for position in range(10):
        dataset[position]
    assert (np.random.get_state()[1] == before[0]).all()  # noqa: NPY002
    assert torch.equal(torch.get_rng_state(), before[1])
