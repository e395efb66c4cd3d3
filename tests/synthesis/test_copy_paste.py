"""Pasting copies what it says from whom it says, and nothing else."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from lesionforge.data.cohort import read_cohort, sidecar_path
from lesionforge.data.subject import read_brain, read_images, read_lesion
from lesionforge.errors import DataError, MaskError
from lesionforge.lesions.blending import feather_weight
from lesionforge.lesions.config import LesionConfig
from lesionforge.provenance import read_json, read_tsv
from lesionforge.synthesis.anatomy import read_anatomy
from lesionforge.synthesis.config import SynthesisConfig
from lesionforge.synthesis.copy_paste import carve_region, copy_tissue
from lesionforge.synthesis.effect import effect_size
from lesionforge.synthesis.pipeline import synthesize
from lesionforge.synthesis.spec import CarveSpec, SynthesisSpec
from lesionforge.synthesis.warp import WarpSpec

CONFIG = SynthesisConfig(mode="paste", feather_mm=7.5)


@pytest.fixture(scope="module")
def read(toy_cohort):
    by_id = {s.id: s for s in toy_cohort}
    return lambda name: read_anatomy(by_id[name])


@pytest.fixture(scope="module")
def made(toy_cohort, tmp_path_factory):
    """Six patients and four controls, made without any generator."""
    out = tmp_path_factory.mktemp("pasted") / "set"
    synthesize(toy_cohort, out / "nowhere", out, CONFIG, LesionConfig(), n=6, n_controls=4, seed=0)
    return out


def spec_of(margin, region="sub-p01", donor="sub-p01", host="sub-c01", flip=False, group="patient"):
    return SynthesisSpec(
        mode="paste", group=group, host=host, attempt=0, warp=WarpSpec(0, 0.0, 1.0), lesion=None,
        styles=(host,), style_weights=(1.0,), noise_seed=0, null_noise_seed=0,
        carve=CarveSpec(region, donor, flip, margin),
    )  # fmt: skip


def test_the_margin_grows_and_shrinks_what_is_carved(toy_cohort, toy_grid):
    lesion = read_lesion(toy_cohort[0])
    label, carved = carve_region(lesion, 0.0, toy_grid.voxel_mm)
    assert np.array_equal(label, lesion)
    sizes = []
    for margin in (-0.5, -0.2, 0.0, 0.5, 1.0):
        label, carved = carve_region(lesion, margin, toy_grid.voxel_mm)
        assert np.array_equal(label, lesion & carved)
        assert label.any()
        sizes.append(carved.sum())
    assert sizes == sorted(sizes)
    assert sizes[0] < lesion.sum() < sizes[-1]


def test_of_several_lesions_the_largest_is_carved(toy_grid):
    mask = np.zeros(toy_grid.shape, dtype=bool)
    mask[4:6, 4:6, 4:6] = True
    mask[15:20, 15:20, 15:20] = True
    label, _ = carve_region(mask, 1.0, toy_grid.voxel_mm)
    assert label[15:20, 15:20, 15:20].all()
    assert label.sum() == 125


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("margin", [-0.3, 0.0, 0.8])
def test_the_region_is_the_donors_and_the_rest_the_hosts(margin, flip, read, toy_grid):
    spec = spec_of(margin, flip=flip)
    host, donor = read("sub-c01"), read("sub-p01")
    before, images, lesion = copy_tissue(spec, host, read, CONFIG)
    turn = (lambda v: np.flip(v, v.ndim - 3)) if flip else (lambda v: v)
    known, carved = carve_region(turn(donor.lesion), margin, toy_grid.voxel_mm)
    both = host.brain & turn(donor.brain)
    assert np.array_equal(lesion, known & both)
    copied = carved & both
    np.testing.assert_allclose(images[:, copied], turn(donor.images)[:, copied], atol=1e-6)
    reach = feather_weight(carved, 7.5 if margin >= 0 else 0.0, toy_grid.voxel_mm) > 0
    assert np.array_equal(images[:, ~reach], host.images[:, ~reach])
    assert effect_size(before, images, lesion) > 1
    if margin < 0:  # nothing of the lesion is copied beyond its label
        changed = (images != host.images).any(0)
        assert not (changed & ~lesion).any()


def test_what_does_not_fit_is_refused(read):
    host = read("sub-c01")
    nowhere = replace(host, brain=host.brain & ~read("sub-p01").lesion)
    with pytest.raises(MaskError, match="inside the brain"):
        copy_tissue(spec_of(0.0), nowhere, read, CONFIG)
    ill = replace(host, lesion=np.roll(read("sub-p01").lesion, 2, 0))
    with pytest.raises(MaskError, match="comes near the lesion"):
        copy_tissue(spec_of(0.0), ill, read, CONFIG)
    two = read("sub-p01")
    away = ndimage.distance_transform_edt(~two.lesion)
    x, y, z = np.argwhere(two.brain & host.brain & (away > 1.9) & (away < 2.5))[0]
    second = two.lesion.copy()
    second[x, y, z] = True
    with pytest.raises(MaskError, match="More of the lesion of sub-p01"):
        copy_tissue(spec_of(1.0), host, lambda _: replace(two, lesion=second), CONFIG)
    wet = replace(host, inpainted=np.stack([host.brain, host.brain * 0.0, host.brain * 0.0]))
    with pytest.raises(MaskError, match="in the fluid"):
        copy_tissue(spec_of(0.0), wet, read, CONFIG)
    with pytest.raises(DataError, match="synthesize the set again"):
        copy_tissue(replace(spec_of(0.0), carve=None), host, read, CONFIG)


def test_a_set_is_made_of_the_training_subjects_alone(made, toy_cohort):
    groups = {s.id: s.group for s in toy_cohort}
    everybody = tuple(sorted(groups))
    subjects = read_cohort(made)
    assert [s.group for s in subjects] == ["patient"] * 6 + ["control"] * 4
    for subject in subjects:
        known = read_json(sidecar_path(subject))
        carve, host = known["Spec"]["carve"], known["Spec"]["host"]
        assert subject.sources == everybody
        assert known["GeneratorSHA256"] is None
        assert known["ContainsRealAnatomyOf"] == host
        assert groups[host] == "control"
        assert groups[carve["region"]] == "patient"
        assert groups[carve["donor"]] == subject.group
        assert carve["donor"] != host
        assert (carve["donor"] == carve["region"]) == (subject.group == "patient")
        assert read_lesion(subject).any() == (subject.group == "patient")
        assert not (read_lesion(subject) & ~read_brain(subject)).any()
        real = read_images(next(s for s in toy_cohort if s.id == host))
        real = real[:, ::-1] if known["Spec"]["warp"]["flip"] else real
        assert not np.array_equal(read_images(subject), real)
    assert not (made / "plan.tsv").exists()
    margins = [read_json(sidecar_path(s))["Spec"]["carve"]["margin"] for s in subjects]
    assert min(margins) < 0 < max(margins)
    assert min(margins) >= -0.5
    assert max(margins) <= 1
    hosts = read_tsv(made / "participants.tsv", host=str)["host"][:4]
    assert len(set(hosts)) == 4  # hosts take turns
