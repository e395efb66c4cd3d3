"""The ceiling of a study on phantoms: the lesion model itself writes a set."""

from dataclasses import replace

import pytest
from benchmarks.perfect_inserter import SIGNS, STRENGTH, insert, write_set

from lesionforge.commands import study as commands_study
from lesionforge.data.splits import SplitConfig
from lesionforge.data.subject import read_images, read_lesion
from lesionforge.phantoms.cohort import PhantomConfig, sample_cohort
from lesionforge.provenance import read_json
from lesionforge.seeding import stream
from lesionforge.study.config import CohortConfig, Study
from lesionforge.study.regimes import Regime
from lesionforge.synthesis.config import SynthesisConfig
from lesionforge.synthesis.verification import read_synthetic

PHANTOMS = PhantomConfig(patients=3, controls=3, seed=9201, version="3")


def test_an_inserted_lesion_looks_like_a_training_lesion_elsewhere():
    specs = sample_cohort(PHANTOMS)
    look, host = specs[0].lesion, specs[-1]
    ill = insert(host, stream(0, "test"), [look], "patient")
    assert replace(ill, group="control", lesion=None) == host
    factors = [getattr(ill.lesion, k) / getattr(look, k) for k in SIGNS if getattr(look, k)]
    assert STRENGTH[0] <= factors[0] <= STRENGTH[1]
    assert factors == pytest.approx([factors[0]] * len(factors))
    assert ill.lesion.subtype == look.subtype
    assert ill.lesion.place != look.place
    bait = insert(host, stream(0, "test"), [look], "control")
    assert bait.lesion is None
    assert bait.mimics[:-1] == host.mimics
    assert bait.mimics[-1] == ill.lesion
    fresh = insert(host, stream(0, "test"), [], "patient")
    assert (fresh.lesion.place, fresh.lesion.lobe) == (ill.lesion.place, ill.lesion.lobe)


def test_a_regime_trains_on_a_perfect_set_as_on_any(tmp_path):
    study = Study(
        name="tiny",
        runs=str(tmp_path),
        cohort=CohortConfig(phantom=PHANTOMS),
        splits=SplitConfig(
            validation_patients=1, validation_controls=1, test_patients=1, test_controls=1
        ),
        synthetic={"perfect": SynthesisConfig()},
        regimes={
            "baseline": Regime(patients=1, controls=1),
            "perfect": Regime(patients=1, controls=1, synthetic="perfect", ratio=2.0),
        },
    )
    commands_study.prepare(study)
    root = write_set(study, "perfect", 0, fresh=False, stretches=False)
    made = read_synthetic(root)
    assert [s.group for s in made] == ["patient"] * 2 + ["control"] * 2
    assert all(s.synthetic and len(s.sources) == 2 for s in made)
    assert all(read_lesion(s).any() == (s.group == "patient") for s in made)
    real = {s.id: s for s in commands_study.regimes.real_subjects(study)}
    for subject in made:
        host = read_json(subject.t1w.with_name(f"{subject.t1w.name[:-7]}.json"))["Host"]
        changed = (read_images(subject) != read_images(real[host])).any()
        assert changed == (subject.group == "patient")
    people = commands_study.regimes.run_subjects(study, "perfect", 0, None)
    assert sum(s.synthetic for s in people.training) == 4
