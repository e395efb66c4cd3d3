"""Decoys: what a detector wrongly takes for a lesion, put into controls that stay controls."""

from dataclasses import replace

import numpy as np
import pytest

from lesionforge import stages
from lesionforge.cohort.bids import json_path, read_cohort
from lesionforge.cohort.subject import read_brain, read_grid, read_images, read_lesion
from lesionforge.detector import findings
from lesionforge.detector.findings import false_findings
from lesionforge.errors import ConfigError, DataError, LineageError
from lesionforge.evaluation.envelopes import feather_weight
from lesionforge.evaluation.matching import CandidateRules
from lesionforge.evaluation.signs import INSIDE
from lesionforge.generator.anatomy import read_anatomy
from lesionforge.generator.flaws import draw_flaw
from lesionforge.generator.module import GeneratorConfig
from lesionforge.generator.recipe import SynthesisConfig, SynthesisSpec
from lesionforge.generator.render import render_synthetic
from lesionforge.generator.synthesize import synthesize
from lesionforge.generator.train import load_generator, train_generator
from lesionforge.masks.outline import Outline, lesion_outline
from lesionforge.masks.prior import MaskConfig, fit_outlines, fit_prior
from lesionforge.provenance import read_json, write_json
from lesionforge.seeding import stream
from lesionforge.study import Study
from lesionforge.volume import Volume

SMALL = GeneratorConfig(
    channels=(8, 8, 8), hidden=4, style_dim=4, discriminator_width=4, steps=4, checkpoint_every=4,
    batch_size=1, patch=16, precision="32-true", accelerator="cpu",
)  # fmt: skip
PLAIN = SynthesisConfig(
    mode="insert", min_effect_sd=0.0, min_effect_share=0.0, min_sign_cosine=-1.0, device="cpu"
)
DECOYS = replace(PLAIN, decoy_share=0.5)
MASKS = MaskConfig()


@pytest.fixture(scope="module")
def trained(toy_cohort, tmp_path_factory):
    folder = tmp_path_factory.mktemp("generator")
    train_generator(toy_cohort, folder, SMALL, seed=0)
    return folder


@pytest.fixture(scope="module")
def outlines(toy_cohort) -> list[Outline]:
    """A patient's lesion laid over a control, where there is none."""
    patient = next(s for s in toy_cohort if s.group == "patient")
    control = next(s for s in toy_cohort if s.group == "control")
    return [Outline(control, lesion_outline(patient).voxels)]


@pytest.fixture(scope="module")
def make(toy_cohort, trained, tmp_path_factory):
    def run(config, decoys):
        out = tmp_path_factory.mktemp("set") / "set"
        synthesize(toy_cohort, trained, out, config, MASKS, 2, 4, seed=0, decoys=decoys)
        return out

    return run


@pytest.fixture(scope="module")
def baited(make, outlines):
    return make(DECOYS, outlines)


def spec_of(subject) -> SynthesisSpec:
    return SynthesisSpec.from_json(read_json(json_path(subject, "T1w"))["Spec"])


def test_half_of_the_controls_carry_a_decoy_that_shows_and_is_no_label(
    baited, make, trained, toy_cohort, toy_grid
):
    real = {s.id: s for s in toy_cohort}
    plain = {s.id: s for s in read_cohort(make(PLAIN, []))}
    carriers = 0
    for subject in read_cohort(baited):
        spec, images = spec_of(subject), read_images(subject)
        if subject.group == "patient":
            assert not spec.decoy
            np.testing.assert_array_equal(images, read_images(plain[subject.id]))
            continue
        assert not subject.lesion.exists()
        assert not read_lesion(subject).any()
        host = read_images(real[spec.host])
        host = host[:, ::-1] if spec.warp.flip else host
        changed = (images != host).any(axis=0)
        carriers += spec.decoy
        assert changed.any() == spec.decoy
        if spec.decoy:
            anatomy = read_anatomy(real[spec.host])
            generator = load_generator(trained)
            made = render_synthetic(spec, lambda name, found=anatomy: found, generator, DECOYS)
            np.testing.assert_array_equal(made.volumes["T1w"], images[0])
            weight = feather_weight(made.lesion, DECOYS.feather_mm, toy_grid.voxel_mm)
            assert not (changed & (weight == 0)).any()
            assert made.checks["EffectSD"] > 0
    assert carriers == 2


def test_a_flaw_does_not_make_a_decoy_show(baited, trained, toy_cohort, monkeypatch):
    """What a decoy does is measured in the images as they were before they were spoilt."""
    real = {s.id: s for s in toy_cohort}
    carrier = next(s for s in read_cohort(baited) if spec_of(s).decoy)
    spec, generator = spec_of(carrier), load_generator(trained)
    anatomy = read_anatomy(real[spec.host])
    flaw = draw_flaw(stream(0, "flaw"), "bias")
    checks = [
        render_synthetic(s, lambda _: anatomy, generator, DECOYS).checks
        for s in (spec, replace(spec, flaw=flaw))
    ]
    assert checks[1]["FlawSD"] > 0.2
    assert checks[0]["EffectSD"] == checks[1]["EffectSD"]
    assert checks[0]["Conspicuity"] == checks[1]["Conspicuity"]


def test_decoys_have_the_signs_of_findings_and_not_of_lesions(baited, outlines, toy_cohort):
    finding = fit_outlines(outlines, MASKS).lesions[0]
    lesions = fit_prior(toy_cohort, MASKS).lesions
    for subject in read_cohort(baited):
        spec = spec_of(subject)
        if not spec.decoy:
            continue
        cosines = [alike(spec.lesion.signs, lesion.signs) for lesion in (finding, *lesions)]
        assert cosines[0] > 0.95
        assert max(cosines[1:]) < cosines[0]


def alike(one, other) -> float:
    a, b = np.array(one[:INSIDE]), np.array(other[:INSIDE])
    return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))


def test_findings_are_what_a_detector_sees_far_from_any_lesion(toy_cohort, tmp_path, monkeypatch):
    patient = next(s for s in toy_cohort if s.group == "patient")
    control = next(s for s in toy_cohort if s.group == "control")
    grid, brain = read_grid(patient), read_brain(patient)
    lesion = np.argwhere(read_lesion(patient))
    away = np.argwhere(brain)
    distance = np.linalg.norm((away[:, None] - lesion[None, ::7]) * grid.voxel_mm, axis=2).min(1)
    far, near = away[distance.argmax()], away[np.abs(distance - 7).argmin()]
    unsure = away[np.abs(distance - distance.max() / 2).argmin()]

    def map_of(subject):
        data = np.zeros(grid.shape, np.float32)
        for score, at in ((0.9, lesion[0]), (0.8, near), (0.7, far), (0.4, unsure)):
            data[tuple(slice(i - 1, i + 2) for i in at)] = score
        return Volume(data, grid)

    monkeypatch.setattr(findings, "probability_maps", lambda folder: map_of)
    write_json(tmp_path / "lineage.json", {"real_subjects": [patient.id, control.id]})
    rules = CandidateRules(min_volume_mm3=1.0)
    found = false_findings(tmp_path, [patient, control], rules)
    of_patient = [o for o in found if o.subject == patient]
    assert len(of_patient) == 1
    assert of_patient[0].mask(grid.shape)[tuple(far)]
    assert {o.subject for o in found} == {patient, control}
    assert not any(o.mask(grid.shape)[tuple(unsure)] for o in found)
    assert sum(o.mask(grid.shape)[tuple(lesion[0])] for o in found if o.subject == control) == 1
    with pytest.raises(LineageError, match="not trained on just"):
        false_findings(tmp_path, [patient], rules)


def test_decoys_without_anything_to_draw_them_from_are_refused(
    make, toy_cohort, outlines, trained, tmp_path
):
    with pytest.raises(DataError, match="Set `decoy_share` to 0"):
        make(DECOYS, [])
    stranger = [replace_subject(outlines[0], "sub-stranger")]
    with pytest.raises(LineageError, match="sub-stranger"):
        make(DECOYS, stranger)
    with pytest.raises(ConfigError, match="`decoy_share` is 0 with `paste`"):
        SynthesisConfig(mode="paste", decoy_share=0.5)
    study = Study(runs=str(tmp_path), synthetic={"spade": DECOYS})
    with pytest.raises(DataError, match="train_detector --regime baseline --seed 0 first"):
        stages._decoys(study, 0, None, toy_cohort)


def replace_subject(outline: Outline, name: str) -> Outline:
    return Outline(replace(outline.subject, id=name), outline.voxels)


def test_a_set_refuses_other_findings_and_knows_none_without_decoys(baited, toy_cohort, trained):
    other = [Outline(s, lesion_outline(s).voxels) for s in toy_cohort if s.group == "patient"]
    with pytest.raises(DataError, match="another configuration"):
        synthesize(toy_cohort, trained, baited, DECOYS, MASKS, 2, 4, seed=0, decoys=other)
    assert "decoy_share" not in PLAIN.content()
    assert DECOYS.content()["decoy_share"] == 0.5


def test_a_patient_never_has_a_decoy(baited):
    patient = next(s for s in read_cohort(baited) if s.group == "patient")
    with pytest.raises(DataError, match="decoys are for controls"):
        replace(spec_of(patient), decoy=True)
