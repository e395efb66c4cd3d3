"""A set on disk becomes portraits; pasted lesions are found out as copies; leaks are refused."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lesionforge.data.cohort import read_cohort
from lesionforge.data.subject import Subject, read_images, read_lesion
from lesionforge.errors import DataError, LineageError
from lesionforge.lesions.config import LesionConfig
from lesionforge.synthesis.config import SynthesisConfig
from lesionforge.synthesis.pipeline import synthesize
from lesionforge.synthetic_qc.audit import AuditData, judge, sample
from lesionforge.synthetic_qc.audit_data import new_lesions, read_audit_data
from lesionforge.synthetic_qc.config import SyntheticAuditConfig
from lesionforge.synthetic_qc.subject_features import measure_subject
from lesionforge.synthetic_qc.two_sample import classifier_test

PASTE = SynthesisConfig(mode="paste", min_effect_sd=0.0, min_effect_share=0.0)


@pytest.fixture(scope="module")
def behind(toy_cohort) -> list[Subject]:
    return [s for s in toy_cohort if s.id in ("sub-p01", "sub-p02", "sub-c01", "sub-c02")]


@pytest.fixture(scope="module")
def fresh(toy_cohort, behind) -> list[Subject]:
    return [s for s in toy_cohort if s not in behind]


@pytest.fixture(scope="module")
def pasted(behind, tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("pasted")
    synthesize(behind, Path("none"), root, PASTE, LesionConfig(), n=4, n_controls=2, seed=0)
    return root


@pytest.fixture(scope="module")
def audit_data(pasted, behind, fresh) -> AuditData:
    return read_audit_data(read_cohort(pasted), behind, fresh, PASTE, SyntheticAuditConfig())


def test_everybody_is_portrayed_once(audit_data, pasted, fresh):
    made = read_cohort(pasted)
    assert [p.id for p in audit_data.patients] == [s.id for s in made if s.group == "patient"]
    assert [p.id for p in audit_data.fresh] == [s.id for s in fresh if s.group == "patient"]
    assert [p.id for p in audit_data.trained] == ["sub-p01", "sub-p02"]
    assert {p.host for p in audit_data.patients} <= {"sub-c01", "sub-c02"}
    assert all(p.near is not None and p.around is not None for p in audit_data.patients)
    assert all(p.near is None and p.around is not None for p in audit_data.controls)
    assert len(audit_data.masks) == 4  # paste has no prior to draw more from
    for features_of, subject in zip(audit_data.patients, made, strict=False):
        mask = read_lesion(subject)
        assert features_of.shape["volume_mm3"] == pytest.approx(mask.sum() * 125)


def test_a_new_lesion_is_told_from_its_hosts_own(behind, tmp_path):
    ill = [s for s in behind if s.group == "patient"]
    made = synthesize(ill, Path("none"), tmp_path, PASTE, LesionConfig(), n=2, n_controls=0, seed=0)
    place = new_lesions(ill, PASTE)
    for subject in made:
        new, label = place(subject), read_lesion(subject)
        assert (label & ~new).any()
        assert not (new & ~label).any()


def test_what_was_added_to_a_host_is_known(behind):
    patient = next(s for s in behind if s.group == "patient")
    place, bump = read_lesion(patient), np.zeros_like(read_images(patient))
    bump[1, place] = 0.2
    made = measure_subject(patient, place, "sub-c01", bare=read_images(patient) - bump)
    assert made.patch.added[1, made.patch.mask] == pytest.approx(2.0, rel=1e-4)
    assert not made.patch.added[0].any()
    assert measure_subject(patient, place, "sub-c01").patch.added is None


def test_a_blurred_portrait_differs_and_has_the_same_lesion(audit_data):
    for plain, blurred in zip(audit_data.trained, audit_data.spoilt, strict=True):
        assert plain.shape == blurred.shape
        assert not np.allclose(plain.whole, blurred.whole)


def test_pasted_lesions_are_copies_and_real_ones_are_not(audit_data):
    assert audit_data.with_artifact == 0
    assert [p.id for p in audit_data.hosts] == ["sub-c01", "sub-c02"]
    findings, matches = judge(audit_data, 0)
    copies = next(f for f in findings if f.name == "copied lesions")
    assert copies.counts[0] >= 3
    assert copies.met is False
    assert copies.real == 0
    assert {m.nearest for m in matches} <= {"sub-p01", "sub-p02"}


def test_a_blurred_set_is_found_out_and_real_data_are_not(many_patients):
    plain = [measure_subject(s, read_lesion(s), s.id) for s in many_patients]
    blurred = [
        measure_subject(s, read_lesion(s), s.id, smooth_voxels=0.5) for s in many_patients[:14]
    ]
    for what in ("whole", "near"):
        half, other, bad = (sample(x, what) for x in (plain[:14], plain[14:], blurred))
        assert classifier_test(other, bad, 0, permutations=20).auc.value >= 0.9
        low, high = classifier_test(other, half, 0, permutations=40).auc.ci95
        assert low <= 0.5 <= high


def test_flawed_controls_are_no_leak(behind, fresh, tmp_path):
    config = replace(PASTE, artifact_share=0.5)
    synthesize(behind, Path("none"), tmp_path, config, LesionConfig(), n=1, n_controls=2, seed=0)
    audit_data = read_audit_data(
        read_cohort(tmp_path), behind, fresh, config, SyntheticAuditConfig()
    )
    assert (audit_data.with_artifact, len(audit_data.controls)) == (1, 1)


def test_figures_of_few_subjects_are_undefined_with_the_reason(audit_data):
    findings, _ = judge(audit_data, 0)
    undefined = [f for f in findings if f.value is None]
    assert {f.part for f in undefined} >= {"realism", "leakage", "diversity"}
    assert all(f.why for f in undefined)


def test_a_subject_behind_the_set_is_no_fresh_one(pasted, behind, fresh):
    with pytest.raises(DataError, match="synthesize first"):
        read_audit_data([], behind, fresh, PASTE, SyntheticAuditConfig())
    with pytest.raises(LineageError, match="sub-p01"):
        read_audit_data(
            read_cohort(pasted), behind, [*fresh, behind[0]], PASTE, SyntheticAuditConfig()
        )
    with pytest.raises(DataError, match=r"--audit\.against"):
        read_audit_data(
            read_cohort(pasted),
            behind,
            [s for s in fresh if s.group == "control"],
            PASTE,
            SyntheticAuditConfig(),
        )
