import json
from dataclasses import asdict

import numpy as np
import pytest
from scipy import stats

from lesionforge.errors import ConfigError
from lesionforge.phantoms.cohort import sample_cohort
from lesionforge.phantoms.config import PhantomConfig
from lesionforge.phantoms.parameters import DIFFICULTY, SCANNERS, coded
from lesionforge.phantoms.spec import sample_phantom, spec_from_json

SEED = 9100


@pytest.fixture(scope="module")
def specs():
    return sample_cohort(PhantomConfig(patients=400, controls=400, seed=SEED))


def test_same_seed_same_specs_and_another_seed_others():
    config = PhantomConfig(patients=2, controls=2, seed=SEED)
    assert sample_cohort(config) == sample_cohort(config)
    other = sample_cohort(PhantomConfig(patients=2, controls=2, seed=SEED + 1))
    assert all(a != b for a, b in zip(sample_cohort(config), other, strict=True))


def test_adding_subjects_changes_nobody(specs):
    few = sample_cohort(PhantomConfig(patients=3, controls=2, seed=SEED))
    assert few == [*specs[:3], *specs[400:402]]


def test_global_generator_is_untouched():
    np.random.seed(3)  # noqa: NPY002 (the global state is what is tested)
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    sample_phantom(SEED, "patient", 1, 2.5)
    np.testing.assert_array_equal(before, np.random.get_state()[1])  # noqa: NPY002


def test_spec_survives_json(specs):
    for spec in (specs[0], specs[-1]):
        assert spec_from_json(json.loads(json.dumps(asdict(spec)))) == spec


def test_volumes_are_right_skewed_around_two_millilitres(specs):
    volumes = np.array([s.lesion.volume_mm3 for s in specs if s.lesion])
    assert 1700 < np.median(volumes[:60]) < 2600
    assert 1800 < np.median(volumes) < 2250
    assert volumes.mean() > 1.2 * np.median(volumes)
    assert stats.skew(volumes) > 1
    assert volumes.min() >= DIFFICULTY["1"].volume_mm3[0]
    assert volumes.max() <= DIFFICULTY["1"].volume_mm3[2]


def test_lesions_vary_in_place_kind_and_conspicuity(specs):
    lesions = [s.lesion for s in specs if s.lesion]
    lobes = [lesion.lobe for lesion in lesions]
    assert max(set(lobes), key=lobes.count) == "frontal"
    assert len(set(lobes)) == 5
    assert {lesion.subtype for lesion in lesions} == {"t1w", "flair", "both"}
    assert 0.24 < np.mean([lesion.transmantle for lesion in lesions]) < 0.36
    assert 0.45 < np.mean([lesion.side == "left" for lesion in lesions]) < 0.55
    conspicuity = np.array([lesion.conspicuity for lesion in lesions])
    assert np.mean(conspicuity < 0.3) > 0.2
    assert np.mean(conspicuity > 0.7) > 0.1


def test_benign_findings_and_ghosts_are_alike_in_both_groups(specs):
    groups = [[s for s in specs if s.group == g] for g in ("patient", "control")]
    kinds = ("wm_spot", "cortical_spot", "vessel", "blurred_junction")
    for kind, rate in zip(kinds, DIFFICULTY["1"].confounder_rates, strict=True):
        counts = [[sum(c.kind == kind for c in s.confounders) for s in group] for group in groups]
        assert stats.mannwhitneyu(*counts).pvalue > 0.01
        assert all(abs(np.mean(c) - rate) < 0.25 for c in counts)
    strength = [[c.flair for s in group for c in s.confounders if c.flair] for group in groups]
    assert stats.ks_2samp(*strength, method="asymp").pvalue > 0.01
    for value in (
        lambda s: s.t1w.ghost,
        lambda s: s.flair.ghost,
        lambda s: s.t1w.noise,
        lambda s: s.anatomy.scale[0],
        lambda s: list(SCANNERS).index(s.site),
    ):
        samples = [[value(s) for s in group] for group in groups]
        assert stats.ks_2samp(*samples, method="asymp").pvalue > 0.01


def test_the_head_moves_little_between_scans(specs):
    turn = [np.subtract(s.flair.rotation_deg, s.t1w.rotation_deg) for s in specs]
    move = [np.subtract(s.flair.translation_mm, s.t1w.translation_mm) for s in specs]
    assert 1 < np.linalg.norm(turn, axis=1).max() <= 2
    assert 1 < np.linalg.norm(move, axis=1).max() <= 2


@pytest.mark.parametrize(
    ("wrong", "name"),
    [
        ({"patients": -1}, "patients"),
        ({"controls": 10000}, "controls"),
        ({"patients": 0, "controls": 0}, "both 0"),
        ({"voxel_mm": 0.5}, "voxel_mm"),
    ],
)
def test_wrong_config_is_refused(wrong, name):
    with pytest.raises(ConfigError, match=name):
        PhantomConfig(**wrong)


def test_versions_are_frozen():
    """The first people of each version, pinned: whoever changes a knob makes a new version."""
    pinned = {}
    for version in DIFFICULTY:
        people = [sample_phantom(0, "patient", n, 2.5, version) for n in (1, 2, 3)]
        pinned[version] = [
            (round(s.lesion.conspicuity, 4), round(s.lesion.flair, 4), len(s.mimics))
            for s in people
        ]
    assert pinned == {
        "1": [(0.4881, 0.0448, 0), (0.4544, 0.1341, 0), (0.6815, 0.1825, 0)],
        "2": [(0.2136, 0.0604, 0), (0.3711, 0.138, 0), (0.1386, 0.0127, 0)],
        "3": [(0.3872, 0.1168, 0), (0.6352, 0.252, 2), (0.2915, 0.1429, 1)],
    }


def test_version_2_has_lesions_near_the_limit_of_detection():
    specs = sample_cohort(PhantomConfig(patients=400, controls=0, seed=SEED, version="2"))
    conspicuity = np.array([s.lesion.conspicuity for s in specs if s.lesion])
    assert 0.05 <= conspicuity.min() < 0.15
    assert 0.65 < conspicuity.max() <= 0.75
    assert 0.37 < conspicuity.mean() < 0.43
    assert np.mean(conspicuity < 0.2) > 0.03


def test_version_3_has_many_kinds_of_lesions_and_of_benign_stretches():
    difficulty = DIFFICULTY["3"]
    kinds = (difficulty.lesions, difficulty.mimics)
    assert all(sum(look.share for look in looks) == pytest.approx(1) for looks in kinds)
    lesions, mimics = ({look.name for look in looks} for looks in kinds)
    assert len(lesions) == len(mimics) == 15
    assert not {name[1:] for name in lesions} & {name[1:] for name in mimics}
    people = sample_cohort(PhantomConfig(patients=400, controls=400, seed=SEED, version="3"))
    assert {s.lesion.subtype for s in people if s.lesion} == lesions
    assert {m.subtype for s in people for m in s.mimics} == mimics
    counts = [[len(s.mimics) for s in people if s.group == g] for g in ("patient", "control")]
    assert stats.mannwhitneyu(*counts).pvalue > 0.01
    assert abs(np.mean(counts) - difficulty.mimic_rate) < 0.1
    for drawn in ([s.lesion for s in people if s.lesion], [m for s in people for m in s.mimics]):
        assert 1800 < np.median([one.volume_mm3 for one in drawn]) < 2250
        assert all(0.25 <= one.conspicuity <= 1 for one in drawn)


@pytest.mark.parametrize("code", ["=++0+", "|0-+0", ".+-0-"])
def test_a_look_says_what_is_brighter_and_what_is_darker(code):
    (look,) = coded(1.0, code)
    form = {"=": (1, 0), "|": (0, 1), ".": (0, 0)}[code[0]]
    thickening, blur, flair, t1w, white_flair, white_t1w = look.signs
    assert (thickening, blur) == form
    darker = [-flair, t1w, -white_flair, white_t1w]  # T1w signs are hypointensities
    assert ["+0-"[int(d) + 1] for d in darker] == list(code[1:])


def test_versions_1_and_2_have_no_benign_stretches(specs):
    second = sample_cohort(PhantomConfig(patients=20, controls=20, seed=SEED, version="2"))
    assert not any(s.mimics for s in [*specs, *second])
