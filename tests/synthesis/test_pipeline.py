"""Synthesis: replayable, local, honest about its sources, resumable, and no mark on the label."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from lesionforge.data.cohort import read_cohort, sidecar_path
from lesionforge.data.subject import read_brain, read_grid, read_images, read_lesion, read_tissues
from lesionforge.data.volume import read_volume, write_volume
from lesionforge.errors import ConfigError, DataError, LineageError
from lesionforge.lesions.blending import feather_weight
from lesionforge.lesions.config import LesionConfig
from lesionforge.lesions.contrast import contrast_maps
from lesionforge.lesions.prior import fit_prior
from lesionforge.preprocessing.intensity import rescale_synthetic
from lesionforge.preprocessing.tissues import tissue_maps
from lesionforge.provenance import read_json, read_tsv, sha256, write_tsv
from lesionforge.synthesis.acceptance import check_distance
from lesionforge.synthesis.anatomy import bend_anatomy, read_anatomy
from lesionforge.synthesis.config import SynthesisConfig
from lesionforge.synthesis.effect import expected_contrast
from lesionforge.synthesis.pipeline import synthesize
from lesionforge.synthesis.reference_set import ReferenceSet, gather, shrink
from lesionforge.synthesis.rendering import render_synthetic
from lesionforge.synthesis.spade.config import GeneratorConfig
from lesionforge.synthesis.spade.training import load_generator, train_generator
from lesionforge.synthesis.spec import SynthesisSpec
from lesionforge.synthesis.verification import verify_synthetic
from tests.contrasts import as_row, in_rows

SMALL = GeneratorConfig(
    features=(8, 8, 8), hidden=4, style_dim=4, discriminator_width=4, steps=4, checkpoint_every=4,
    batch_size=1, patch=16, precision="32-true", accelerator="cpu",
)  # fmt: skip
EASY = {
    "min_effect_sd": 0.0, "min_effect_share": 0.0, "min_contrast_cosine": -1.0, "device": "cpu"
}  # fmt: skip
INSERT = SynthesisConfig(mode="insert", **EASY)
WHOLE = SynthesisConfig(mode="whole", **EASY)
PASTE = SynthesisConfig(mode="paste", **EASY)
MASKS = LesionConfig()


@pytest.fixture(scope="module", autouse=True)
def remembered_prior():
    """Fit the prior of the same subjects once; it is a pure function and the slowest part here."""
    known = {}

    def fit(subjects, config):
        key = (tuple(subjects), config)
        if key not in known:
            known[key] = fit_prior(subjects, config)
        return known[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("lesionforge.synthesis.run.fit_prior", fit)
        yield


@pytest.fixture(scope="module")
def trained(toy_cohort, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("generator")
    train_generator(toy_cohort, folder, SMALL, seed=0)
    return folder


@pytest.fixture(scope="module")
def make(toy_cohort, trained, tmp_path_factory):
    """Make a set (2 patients, 2 controls unless told otherwise) and return its folder."""

    def run(config, n=2, n_controls=2, out=None, seed=0, subjects=toy_cohort):
        out = out or tmp_path_factory.mktemp("set") / "set"
        synthesize(subjects, trained, out, config, MASKS, n=n, n_controls=n_controls, seed=seed)
        return out

    return run


@pytest.fixture(scope="module")
def inserted(make) -> Path:
    return make(INSERT)


@pytest.fixture(scope="module")
def whole(make) -> Path:
    return make(WHOLE)


@pytest.fixture(scope="module")
def pasted(make) -> Path:
    return make(PASTE)


def files_of(root: Path) -> dict[str, str]:
    return {str(p.relative_to(root)): sha256(p) for p in sorted(root.rglob("*")) if p.is_file()}


def sidecar_of(root: Path, name: str) -> dict:
    subject = next(s for s in read_cohort(root) if s.id == name)
    return read_json(sidecar_path(subject))


def test_all_modes_write_cohorts_that_read_back(inserted, whole, pasted):
    for root in (inserted, whole, pasted):
        made = read_cohort(root)
        assert [s.id for s in made] == ["sub-syn0001", "sub-syn0002", "sub-syc0001", "sub-syc0002"]
        verify_synthetic(root)
        for subject in made:
            images, brain = read_images(subject), read_brain(subject)
            lesion, tissues = read_lesion(subject), read_tissues(subject)
            assert np.isfinite(images).all()
            assert images.min() >= 0
            assert images.max() <= 1
            assert not images[:, ~brain].any()
            np.testing.assert_allclose(tissues.sum(0), brain, atol=1e-4)
            assert lesion.any() == (subject.group == "patient")
            assert not (lesion & ~brain).any()
            assert ndimage.label(lesion, np.ones((3, 3, 3)))[1] <= 1
            assert subject.lesion.exists() == (subject.group == "patient")


def test_sources_name_every_real_subject_behind(inserted, whole, toy_cohort):
    everybody = tuple(sorted(s.id for s in toy_cohort))
    for root, mode in ((inserted, "insert"), (whole, "whole")):
        for subject in read_cohort(root):
            known = read_json(sidecar_path(subject))
            assert subject.synthetic
            assert subject.sources == everybody
            assert tuple(known["Sources"]) == everybody
            assert known["Mode"] == mode
            assert known["ContainsRealAnatomyOf"] == known["Host"]
            assert len(known["GeneratorSHA256"]) == len(known["ConfigSHA256"]) == 64
            assert known["PackageVersion"]
            for name, checksum in known["VolumeSHA256"].items():
                assert sha256(subject.path("T1w").parent / name) == checksum


def test_a_whole_volume_of_the_generator_alone_holds_no_real_anatomy(make):
    root = make(replace(WHOLE, detail=0.0), n=1, n_controls=1)
    for subject in read_cohort(root):
        known = read_json(sidecar_path(subject))
        assert known["Host"] in subject.sources
        assert "ContainsRealAnatomyOf" not in known


@pytest.fixture(scope="module")
def read(toy_cohort):
    """Read the anatomy of a toy subject by its id."""
    by_id = {s.id: s for s in toy_cohort}
    return lambda name: read_anatomy(by_id[name])


@pytest.mark.parametrize("mode", ["insert", "whole", "paste"])
def test_replaying_the_saved_spec_gives_the_same_voxels(mode, request, trained, read):
    root = request.getfixturevalue({"insert": "inserted", "paste": "pasted"}.get(mode, mode))
    config = {"insert": INSERT, "whole": WHOLE, "paste": PASTE}[mode]
    generator = None if mode == "paste" else load_generator(trained)
    for subject in read_cohort(root)[::2]:
        stored = read_json(sidecar_path(subject))["Spec"]
        spec = SynthesisSpec.from_json(json.loads(json.dumps(stored)))
        assert json.loads(json.dumps(spec.to_json())) == stored
        made = render_synthetic(spec, read, generator, config)
        assert np.stack([made.volumes["T1w"], made.volumes["FLAIR"]]).tobytes() == (
            read_images(subject).tobytes()
        )
        if subject.group == "patient":
            np.testing.assert_array_equal(made.volumes["label-lesion_mask"], read_lesion(subject))


@pytest.mark.parametrize(("loud", "most"), [(1.5, 4.0), (0.6, 4.0), (0.6, 1.0), (-0.6, 4.0)])
def test_lesions_do_to_each_tissue_what_was_asked(loud, most, inserted, trained, read, monkeypatch):
    """An effect is brought to what was asked; one of the opposite contrast is refused."""

    def told(network, semantic, style, noise_seed, *, tile, device, part):
        window = (slice(None), *(slice(*ends) for ends in part))
        return (0.4 * semantic[:3].sum(0) + 0.1 * loud * semantic[4:])[window]

    monkeypatch.setattr("lesionforge.synthesis.spade.inference.apply_generator", told)
    asked = in_rows(-0.5, 0.8, 0.3, -0.5, 0.3, 0.2, -0.3, 0.6)
    spec = SynthesisSpec.from_json(sidecar_of(inserted, "sub-syn0001")["Spec"])
    spec = replace(spec, lesion=replace(spec.lesion, contrast=asked, conspicuity=0.1))
    config = SynthesisConfig(smooth_voxels=0, max_gain=most, device="cpu")
    made = render_synthetic(spec, read, load_generator(trained), config)
    contrast, gains = (as_row(made.checks[name]) for name in ("ContrastSD", "Gain"))
    assert ("contrast" in [r.reason for r in made.rejections]) == (loud < 0)
    host = bend_anatomy(read(spec.host), spec.warp)
    maps = contrast_maps(made.lesion, host.inpainted, host.grid.voxel_mm)
    wanted = as_row(expected_contrast(asked, maps, host.grid.voxel_mm3))
    if loud > 0 and most > 1:
        assert contrast == pytest.approx(wanted, abs=0.08)
    if most == 1:
        assert (gains == 1).all()
        assert contrast[1] < 0.65 * wanted[1]


def test_images_show_the_strength_that_was_asked(inserted, trained, read):
    """Whatever the host's noise does to a lesion's effect, if a permitted factor is enough."""
    spec = SynthesisSpec.from_json(sidecar_of(inserted, "sub-syn0001")["Spec"])

    def shown(asked, most):
        drawn = replace(spec, lesion=replace(spec.lesion, conspicuity=asked))
        config = SynthesisConfig(mode=spec.mode, max_gain=most, device="cpu")
        return render_synthetic(drawn, read, load_generator(trained), config)

    asked = 1.15 * shown(0.1, 1.0).checks["Conspicuity"]["total"]
    assert shown(asked, 1.0).checks["Conspicuity"]["total"] < 0.9 * asked
    made = shown(asked, 3.0)
    assert made.checks["Conspicuity"]["total"] == pytest.approx(asked, abs=0.05)
    assert "shown" not in [r.reason for r in made.rejections]
    assert "shown" in [r.reason for r in shown(50.0, 3.0).rejections]


def test_insert_keeps_the_host_bit_for_bit_beyond_the_feather(inserted, toy_cohort, toy_grid):
    changed = 0
    for subject in read_cohort(inserted):
        known = read_json(sidecar_path(subject))
        host = next(s for s in toy_cohort if s.id == known["Host"])
        assert host.group == "control"
        real, made = read_images(host), read_images(subject)
        if known["Spec"]["warp"]["flip"]:
            real = real[:, ::-1]
        weight = feather_weight(read_lesion(subject), INSERT.feather_mm, toy_grid.voxel_mm)
        assert np.array_equal(made[:, weight == 0], real[:, weight == 0])
        changed += int((made != real).any(0)[weight > 0].sum())
    assert changed > 0


def test_whole_copies_no_training_anatomy(whole, toy_cohort):
    for subject in read_cohort(whole):
        made = read_tissues(subject)
        for real in toy_cohort:
            other = read_tissues(real)
            for tissues in (other, other[:, ::-1]):
                assert np.abs(made - tissues)[:, read_brain(subject)].mean() > 0.01


def whole_control(whole, host):
    """A control's spec of mode `whole` on a chosen host, in the host's own style."""
    spec = SynthesisSpec.from_json(sidecar_of(whole, "sub-syc0001")["Spec"])
    return replace(spec, host=host, styles=(host,), style_weights=(1.0,), artifact=None)


def test_in_its_own_style_a_whole_volume_is_its_bent_host(whole, toy_cohort, trained, read):
    """What the generator makes cancels out; what is left is the host, moved by the bend."""
    host = next(s.id for s in toy_cohort if s.group == "control")
    spec, generator = whole_control(whole, host), load_generator(trained)
    made = render_synthetic(spec, read, generator, WHOLE).volumes
    bent = bend_anatomy(read(host), spec.warp)
    expected = rescale_synthetic(bent.images, bent.brain)
    images = np.stack([made["T1w"], made["FLAIR"]])
    np.testing.assert_allclose(images, expected, atol=1e-4)
    assert np.abs(images - read(host).images)[:, bent.brain].mean() > 0.02
    alone = render_synthetic(spec, read, generator, replace(WHOLE, detail=0.0)).volumes
    assert np.abs(np.stack([alone["T1w"], alone["FLAIR"]]) - expected).max() > 0.1


def test_nothing_of_a_hosts_own_lesion_is_kept(whole, toy_cohort, trained, read):
    """Whatever a patient's images show in the lesion, the whole volume is the same."""
    host = next(s.id for s in toy_cohort if s.group == "patient")
    spec, generator = whole_control(whole, host), load_generator(trained)
    anatomy = read(host)
    spoilt = replace(anatomy, images=np.where(anatomy.lesion, 1 - anatomy.images, anatomy.images))
    one, other = (
        render_synthetic(spec, lambda _, a=a: a, generator, WHOLE).volumes["T1w"]
        for a in (anatomy, spoilt)
    )
    bent = bend_anatomy(anatomy, spec.warp)
    ill = bent.ill > 0.999
    assert ill.any()
    np.testing.assert_allclose(one[ill], other[ill], atol=0.01)
    changed = bend_anatomy(spoilt, spec.warp).images - bent.images
    assert np.abs(changed)[0][ill].max() > 0.1


def test_volumes_keep_their_distance_from_real_heads(whole, toy_cohort, toy_grid):
    small = [shrink(read_images(s), toy_grid.voxel_mm) for s in toy_cohort]
    real = gather(small)
    assert check_distance(real.distance(small[3][:, ::-1]), real.least)[0].reason == "copy"
    for subject in read_cohort(whole):
        distance = real.distance(shrink(read_images(subject), toy_grid.voxel_mm))
        assert distance >= real.least > 0
        assert check_distance(distance, real.least) == []
        told = sidecar_of(whole, subject.id)["QualityChecks"]["NearestHeadSD"]
        assert told == pytest.approx(distance, abs=0.01)


def test_a_volume_that_is_too_near_is_drawn_again(make, monkeypatch):
    """Every head is too near where two real ones are said to be worlds apart."""
    monkeypatch.setattr(
        "lesionforge.synthesis.run.gather", lambda heads: ReferenceSet(tuple(heads), 99.0)
    )
    with pytest.raises(DataError, match=r"every draw was rejected \(3 x copy.*warp_scale_mm"):
        make(replace(WHOLE, max_attempts=3), n=0, n_controls=1)


def test_complete_volumes_are_segmented_from_their_own_images(whole):
    for subject in read_cohort(whole):
        images, brain, grid = read_images(subject), read_brain(subject), read_grid(subject)
        again = tissue_maps(images, brain, grid)
        np.testing.assert_allclose(read_tissues(subject), again, atol=0.01)


def rim_statistics(made: np.ndarray, real: np.ndarray, mask: np.ndarray, mm: tuple) -> tuple:
    """Mean change, and the change of high-frequency energy, in a feathered rim around a mask."""
    distance = ndimage.distance_transform_edt(~mask, sampling=mm)
    rim = (distance > 0) & (distance < INSERT.feather_mm + 5)
    rough = [np.stack([ndimage.laplace(v) for v in images])[:, rim] for images in (made, real)]
    return (made - real)[:, rim].mean(), np.square(rough[0]).mean() / np.square(rough[1]).mean()


@pytest.mark.parametrize("redraw", [False, True])
def test_a_null_lesion_leaves_no_rim(redraw, make, toy_cohort, trained, toy_grid, read):
    config = replace(INSERT, redraw_noise=redraw, feather_mm=7.5)
    generator = load_generator(trained)
    shifts, ratios = [], []
    for subject in read_cohort(make(config, n=0, n_controls=3)):
        spec = SynthesisSpec.from_json(read_json(sidecar_path(subject))["Spec"])
        host = next(s for s in toy_cohort if s.id == spec.host)
        made = render_synthetic(spec, read, generator, config)
        real = read_images(host)[:, ::-1] if spec.warp.flip else read_images(host)
        images = read_images(subject)
        assert made.lesion.any()  # a mask was drawn, and is not written
        assert not subject.lesion.exists()
        if not redraw:
            assert np.array_equal(images, real)
            continue
        assert not np.array_equal(images, real)
        shift, ratio = rim_statistics(images, real, made.lesion, toy_grid.voxel_mm)
        shifts.append(shift)
        ratios.append(ratio)
    if redraw:  # noise only: no brightness, and the rim is hardly rougher than the host there
        assert np.abs(shifts).max() < 0.005
        assert np.abs(np.log(ratios)).max() < np.log(1.25)


def test_noise_of_controls_is_averaged_like_that_of_patients(make, trained, read):
    """Otherwise its fineness in the mask would tell who is a patient."""
    config = replace(INSERT, redraw_noise=True)
    made = next(s for s in read_cohort(make(config, n=0, n_controls=1)))
    spec = SynthesisSpec.from_json(sidecar_of(made.root, made.id)["Spec"])
    real = bend_anatomy(read(spec.host), spec.warp).images
    rough, smooth = (
        render_synthetic(
            spec, read, load_generator(trained), replace(config, smooth_voxels=v)
        ).volumes["FLAIR"] - real[1]
        for v in (0.0, 1.5)
    )  # fmt: skip
    assert 0 < smooth.std() < 0.6 * rough.std()


def test_a_killed_run_resumes_to_the_same_bytes(make, inserted, tmp_path):
    expected = files_of(inserted)
    broken = tmp_path / "set"
    shutil.copytree(inserted, broken)
    for name in ("participants.tsv", "rejected.tsv"):
        (broken / name).unlink()
    shutil.rmtree(broken / "sub-syc0002")  # never begun
    half = broken / "sub-syn0002" / "anat"  # killed while it was written
    next(half.glob("*_T1w.json")).unlink()
    next(half.glob("*_FLAIR.nii.gz")).write_bytes(b"half")
    (half / ".part-x-sub-syn0002_T1w.nii.gz").write_bytes(b"rest")
    kept = next((broken / "sub-syn0001" / "anat").glob("*_T1w.nii.gz"))
    before = kept.stat().st_mtime_ns
    make(INSERT, out=broken)
    assert files_of(broken) == expected
    assert kept.stat().st_mtime_ns == before


def test_a_damaged_finished_subject_is_made_anew(make, inserted, tmp_path, caplog):
    broken = tmp_path / "set"
    shutil.copytree(inserted, broken)
    next((broken / "sub-syn0001" / "anat").glob("*_T1w.nii.gz")).write_bytes(b"damaged")
    make(INSERT, out=broken)
    assert files_of(broken) == files_of(inserted)
    assert "Made anew, since damaged" in caplog.text


@pytest.mark.parametrize("mode", ["insert", "whole"])
def test_a_set_grows_and_keeps_what_it_has(mode, make, inserted, whole):
    config, at_once = (INSERT, inserted) if mode == "insert" else (WHOLE, whole)
    grown = make(config, n=1, n_controls=1)
    old = files_of(grown)
    make(config, out=grown)
    new = files_of(grown)
    assert new == files_of(at_once)
    assert all(new[name] == checksum for name, checksum in old.items() if name.startswith("sub-"))
    make(config, n=1, n_controls=1, out=grown)  # asking for less takes nothing away
    assert files_of(grown) == new


def test_another_seed_makes_others(make, inserted):
    other = make(INSERT, n=1, n_controls=0, seed=1)
    assert sidecar_of(other, "sub-syn0001")["Spec"] != sidecar_of(inserted, "sub-syn0001")["Spec"]


@pytest.mark.parametrize("fault", ["changed", "truncated", "exchanged"])
def test_damage_is_found_and_named(inserted, tmp_path, fault):
    root = tmp_path / "set"
    shutil.copytree(inserted, root)
    path = next((root / "sub-syn0002" / "anat").glob("*_FLAIR.nii.gz"))
    if fault == "changed":
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 1
        path.write_bytes(bytes(data))
    elif fault == "truncated":
        path.write_bytes(path.read_bytes()[:-100])
    else:
        shutil.copy(next((root / "sub-syn0001" / "anat").glob("*_FLAIR.nii.gz")), path)
    with pytest.raises(DataError, match=path.name):
        verify_synthetic(root)


def test_a_set_refuses_another_configuration(make, inserted):
    before = files_of(inserted)
    with pytest.raises(DataError, match="another configuration"):
        make(replace(INSERT, feather_mm=9.0), out=inserted)
    assert files_of(inserted) == before


def test_hosts_without_controls_are_patients_and_both_lesions_are_labelled(
    toy_cohort, tmp_path, toy_grid, caplog
):
    patients = [s for s in toy_cohort if s.group == "patient"]
    generator = tmp_path / "generator"
    train_generator(patients, generator, SMALL, seed=0)
    made = synthesize(
        patients, generator, tmp_path / "set", INSERT, MASKS, n=2, n_controls=2, seed=0
    )
    assert [s.group for s in made] == ["patient", "patient"]
    assert "No synthetic controls are made" in caplog.text
    for subject in made:
        known = read_json(sidecar_path(subject))
        old = read_lesion(next(s for s in patients if s.id == known["Host"]))
        old = old[::-1] if known["Spec"]["warp"]["flip"] else old
        label = read_lesion(subject)
        new = label & ~old
        assert label[old].all()
        assert new.any()
        gap = ndimage.distance_transform_edt(~old, sampling=toy_grid.voxel_mm)[new].min()
        assert gap > 10


def test_strangers_behind_the_generator_are_refused(toy_cohort, trained, tmp_path):
    with pytest.raises(LineageError, match="sub-p01"):
        synthesize(toy_cohort[1:], trained, tmp_path, INSERT, MASKS, n=1, n_controls=0, seed=0)


def test_a_generator_of_former_volumes_is_refused(toy_cohort, trained, inserted, tmp_path):
    root = Path(shutil.copytree(toy_cohort[0].root, tmp_path / "cohort"))
    again = [replace(s, root=root) for s in toy_cohort]
    set_of = Path(shutil.copytree(inserted, tmp_path / "set"))
    synthesize(again, trained, set_of, INSERT, MASKS, n=1, n_controls=0, seed=0)  # the same
    volume = read_volume(again[0].lesion)
    write_volume(again[0].lesion, np.roll(volume.data, 1, 0), volume.grid)
    with pytest.raises(DataError, match="have changed since"):
        synthesize(again, trained, set_of, INSERT, MASKS, n=1, n_controls=0, seed=0)


def test_a_site_without_hosts_is_named(toy_cohort, trained, tmp_path, caplog):
    one_site = [replace(s, site="C") if s.group == "control" else s for s in toy_cohort]
    synthesize(one_site, trained, tmp_path / "set", INSERT, MASKS, n=2, n_controls=0, seed=0)
    assert "No patient's host is of site A" in caplog.text


def test_the_plan_asks_for_the_sites_of_controls_too(make, tmp_path):
    plan = tmp_path / "plan.tsv"
    table = read_tsv(make(INSERT, n_controls=0) / "plan.tsv")
    write_tsv(plan, table.assign(site="B"))
    assert {s.site for s in read_cohort(make(replace(INSERT, plan=str(plan))))} == {"B"}


def test_synthetic_subjects_are_no_sources(inserted, trained, tmp_path):
    with pytest.raises(LineageError, match="sub-syn0001"):
        synthesize(read_cohort(inserted), trained, tmp_path, INSERT, MASKS, 1, 0, 0)


def test_invisible_lesions_are_drawn_again_then_refused(make, tmp_path):
    config = replace(INSERT, min_effect_sd=9.0, max_attempts=2)
    with pytest.raises(DataError, match=r"sub-syn0001 could not be made.*2 x effect.*longer"):
        make(config, out=tmp_path / "set", n=1, n_controls=0)
    assert not (tmp_path / "set" / "participants.tsv").exists()


def test_rejections_are_listed(make, inserted, tmp_path):
    names = ("sub-syn0001", "sub-syn0002")
    sizes = [sidecar_of(inserted, name)["QualityChecks"]["EffectSD"] for name in names]
    limit = min(sizes) * 1.001  # the weaker of the two is drawn again
    config = replace(INSERT, min_effect_sd=limit, max_attempts=30)
    root = make(config, out=tmp_path / "set", n_controls=0)
    table = read_tsv(root / "rejected.tsv", participant_id=str, reason=str)
    assert set(table["participant_id"]) == {names[int(np.argmin(sizes))]}
    assert set(table["reason"]) == {"effect"}
    for name in names:
        known = sidecar_of(root, name)
        assert known["QualityChecks"]["EffectSD"] >= limit
        assert known["Spec"]["attempt"] == len(known["Rejected"])


@pytest.mark.parametrize(
    ("values", "message"),
    [({"mode": "both"}, "mode"), ({"feather_mm": -1.0}, "feather_mm"), ({"max_gain": 0.5}, "gain")],
)
def test_config_is_checked(values, message):
    with pytest.raises(ConfigError, match=message):
        SynthesisConfig(**values)


@pytest.fixture(scope="module")
def with_artifact(make) -> dict[str, Path]:
    """For each mode two patients and two controls, of which one carries a artifact."""
    return {c.mode: make(replace(c, artifact_share=0.5)) for c in (INSERT, WHOLE, PASTE)}


@pytest.mark.parametrize("mode", ["insert", "whole", "paste"])
def test_flaws_change_the_images_of_their_controls_and_nothing_else(
    mode, with_artifact, request, trained, read
):
    plain = request.getfixturevalue({"insert": "inserted", "paste": "pasted"}.get(mode, mode))
    config = replace({"insert": INSERT, "whole": WHOLE, "paste": PASTE}[mode], artifact_share=0.5)
    generator = None if mode == "paste" else load_generator(trained)
    root, names = with_artifact[mode], []
    verify_synthetic(root)
    for subject in read_cohort(root):
        known = read_json(sidecar_path(subject))
        other = next(s for s in read_cohort(plain) if s.id == subject.id)
        before = read_json(sidecar_path(other))
        artifact = known["Spec"]["artifact"]
        assert known["Spec"] | {"artifact": None} == before["Spec"]
        changed = {
            name
            for name, checksum in known["VolumeSHA256"].items()
            if before["VolumeSHA256"][name] != checksum
        }
        if artifact is None:
            assert not changed
            continue
        names.append(subject.id)
        assert changed == {subject.path(contrast).name for contrast in artifact["channels"]}
        assert known["QualityChecks"]["ArtifactSD"] > 0
        change = np.abs(read_images(subject) - read_images(other)).max(axis=0)
        x, y, z = (
            read_grid(subject).index(known["QualityChecks"]["ArtifactPeakMM"]).round().astype(int)
        )
        assert change[x, y, z] == change.max() > 0
        spec = SynthesisSpec.from_json(known["Spec"])
        made = render_synthetic(spec, read, generator, config)
        images = np.stack([made.volumes["T1w"], made.volumes["FLAIR"]])
        assert images.tobytes() == read_images(subject).tobytes()
        assert not images[:, ~read_brain(subject)].any()
    assert len(names) == 1
    assert names[0].startswith("sub-syc")


def test_a_flawed_set_grows_and_keeps_what_it_has(make, with_artifact):
    config = replace(INSERT, artifact_share=0.5)
    grown = make(config, n=0, n_controls=1)
    old = files_of(grown)
    make(config, out=grown)
    new = files_of(grown)
    assert new == files_of(with_artifact["insert"])
    assert all(new[name] == checksum for name, checksum in old.items() if name.startswith("sub-"))


def test_a_set_refuses_another_share_of_flaws(make, inserted, with_artifact):
    with pytest.raises(DataError, match="another configuration"):
        make(replace(INSERT, artifact_share=0.5), out=inserted)
    with pytest.raises(DataError, match="another configuration"):
        make(
            replace(INSERT, artifact_share=0.5, artifact_kinds=("bias",)),
            out=with_artifact["insert"],
        )


def test_knobs_of_flaws_count_only_where_there_are_any():
    old = {
        "mode", "feather_mm", "redraw_noise", "flip_hosts", "warp_mm", "warp_scale_mm",
        "mix_styles", "smooth_voxels", "max_gain", "min_effect_sd", "min_effect_share",
        "min_shown_share", "min_contrast_cosine", "plan", "max_attempts", "tile", "device",
    }  # fmt: skip
    assert set(INSERT.content()) == old
    assert set(replace(INSERT, artifact_share=0.5).content()) == old | {
        "artifact_share",
        "artifact_kinds",
    }
    assert replace(INSERT, artifact_kinds=("bias",)).content() == INSERT.content()


def test_a_patient_never_has_a_flaw(with_artifact):
    stored = sidecar_of(with_artifact["insert"], "sub-syn0001")["Spec"]
    artifact = {"kind": "bias", "channels": ["T1w"], "strength": 0.1, "seed": 0}
    with pytest.raises(DataError, match="Artifacts are for controls"):
        SynthesisSpec.from_json(stored | {"artifact": artifact})
    del stored["artifact"]  # as sidecars were before
    assert SynthesisSpec.from_json(stored).artifact is None
