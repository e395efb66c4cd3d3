import json
from dataclasses import asdict, replace

import numpy as np
import pytest
from scipy import stats

from lesionforge.errors import ConfigError
from lesionforge.phantoms.cohort import sample_cohort
from lesionforge.phantoms.config import PhantomConfig
from lesionforge.phantoms.protocols import SITES
from lesionforge.phantoms.spec import (
    healthy_twin,
    sample_phantom,
    spec_from_json,
    with_further_lesions,
)

SEED = 9100
FCD = PhantomConfig(patients=300, controls=300, seed=SEED)
MS = replace(FCD, disease="ms", controls=1)


@pytest.fixture(scope="module")
def specs():
    return sample_cohort(FCD)


def test_same_seed_same_specs_and_another_seed_others():
    config = PhantomConfig(patients=2, controls=2, seed=SEED)
    assert sample_cohort(config) == sample_cohort(config)
    other = sample_cohort(replace(config, seed=SEED + 1))
    assert all(a != b for a, b in zip(sample_cohort(config), other, strict=True))


def test_adding_subjects_changes_nobody(specs):
    few = sample_cohort(replace(FCD, patients=3, controls=2))
    assert few == [*specs[:3], *specs[300:302]]


def test_other_channels_change_no_other_choice():
    alone = sample_phantom(FCD, "patient", 1, ("FLAIR",))
    many = sample_phantom(FCD, "patient", 1, ("T1w", "T2w", "FLAIR"))
    assert many.scans["FLAIR"] == alone.scans["FLAIR"]
    assert replace(many, scans={}) == replace(alone, scans={})
    assert (many.outlined_on, sample_phantom(FCD, "patient", 1, ("T2w",)).outlined_on) == (
        "FLAIR",
        "T2w",
    )


@pytest.mark.parametrize("channels", [(), ("T1w", "DWI")])
def test_a_channel_that_no_scanner_has_is_refused(channels):
    with pytest.raises(ConfigError, match="T1w, T2w, FLAIR"):
        sample_phantom(FCD, "patient", 1, channels)


def test_global_generator_is_untouched():
    np.random.seed(3)  # noqa: NPY002 (the global state is what is tested)
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    sample_phantom(MS, "patient", 1)
    np.testing.assert_array_equal(before, np.random.get_state()[1])  # noqa: NPY002


def test_spec_survives_json(specs):
    for spec in (specs[0], specs[-1], sample_phantom(MS, "patient", 1)):
        assert spec_from_json(json.loads(json.dumps(asdict(spec)))) == spec


def test_controls_have_no_lesions_and_patients_those_of_their_disease(specs):
    assert all(len(s.lesions) == (s.group == "patient") for s in specs)
    many = [len(s.lesions) for s in sample_cohort(MS) if s.group == "patient"]
    assert 18 < np.median(many) < 26
    assert (min(many), max(many)) > (3, 40)


def test_what_is_not_a_lesion_is_alike_in_both_groups(specs):
    groups = [[s for s in specs if s.group == g] for g in ("patient", "control")]
    for value in (
        lambda s: s.head.age,
        lambda s: s.head.scale[0],
        lambda s: s.head.cortex.thickness_mm,
        lambda s: s.benign.caps,
        lambda s: s.benign.spots,
        lambda s: s.scans["FLAIR"].ghost,
        lambda s: s.scans["T1w"].noise,
        lambda s: list(SITES).index(s.site),
    ):
        samples = [[value(s) for s in group] for group in groups]
        assert stats.ks_2samp(*samples, method="asymp").pvalue > 0.01


def test_only_the_named_sites_scan():
    specs = sample_cohort(replace(FCD, patients=40, controls=40, sites=("A", "C")))
    assert {s.site for s in specs} == {"A", "C"}


def test_the_head_moves_little_between_scans(specs):
    scans = [(s.scans["T1w"], s.scans["FLAIR"]) for s in specs]
    turn = [np.subtract(a.rotation_deg, b.rotation_deg) for a, b in scans]
    move = [np.subtract(a.translation_mm, b.translation_mm) for a, b in scans]
    assert 1 < np.linalg.norm(turn, axis=1).max() <= 2
    assert 1 < np.linalg.norm(move, axis=1).max() <= 2


def test_lesion_contrast_scales_every_change(specs):
    weak = sample_cohort(replace(FCD, patients=5, controls=0, lesion_contrast=0.5))
    for a, b in zip(specs, weak, strict=False):
        full, half = a.lesions[0], b.lesions[0]
        assert half.white_t2 == pytest.approx(full.white_t2 / 2)
        assert half.thicker_mm == pytest.approx(full.thicker_mm / 2)
        assert half.volume_mm3 == full.volume_mm3
    strong = sample_phantom(MS, "patient", 1).lesions
    faint = sample_phantom(replace(MS, lesion_contrast=0.5), "patient", 1).lesions
    assert [f.t2 for f in faint] == pytest.approx([s.t2 / 2 for s in strong])


def test_a_twin_and_further_lesions_keep_the_head_and_its_scans():
    spec = sample_phantom(MS, "patient", 1)
    twin, other = healthy_twin(spec), with_further_lesions(spec, MS, 1, "sub-o0001")
    assert twin == replace(spec, lesions=())
    assert (other.id, other.host, other.group) == ("sub-o0001", spec.id, "patient")
    assert other.lesions != spec.lesions
    assert replace(other, id=spec.id, lesion_seed=0, lesions=spec.lesions) == spec
    assert with_further_lesions(spec, MS, 2, "sub-o0001").lesions != other.lesions
    control = sample_phantom(MS, "control", 1)
    assert with_further_lesions(control, MS, 1, "sub-o0002").group == "patient"
    with pytest.raises(ConfigError, match="lesion_seed"):
        with_further_lesions(spec, MS, 0, "sub-o0001")
