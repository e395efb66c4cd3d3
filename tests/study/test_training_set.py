from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from lesionforge.data.subject import Subject
from lesionforge.errors import ConfigError, LineageError
from lesionforge.study.regimes import Regime
from lesionforge.study.training_set import training_subjects

BASELINE = Regime(patients=2, controls=1)
AUGMENTED = Regime(patients=2, controls=1, synthetic="spade", ratio=1.5)


@pytest.fixture
def splits():
    roles = ["train"] * 4 + ["validation", "test"]
    rows = [
        {"participant_id": f"sub-{group[0]}{i}", "group": group, "site": "A", "role": role}
        for group in ("patient", "control")
        for i, role in enumerate(roles)
    ]
    table = pd.DataFrame(rows)
    ranks = {"sub-p0": 2, "sub-p1": 0, "sub-p2": 3, "sub-p3": 1}
    ranks |= {"sub-c0": 1, "sub-c1": 2, "sub-c2": 0, "sub-c3": 3}
    table["order_0"] = table["participant_id"].map(ranks)
    return table


@pytest.fixture
def real(splits):
    return [
        Subject(
            row.participant_id,
            row.group,
            "A",
            Path("cohort"),
            False,
            (row.participant_id,),
            channels=("T1w", "FLAIR"),
        )
        for row in splits.itertuples()
    ]


@pytest.fixture
def synthetic():
    """Five synthetic patients and controls made from the baseline's subjects p1, p3 and c2."""
    return [
        Subject(
            f"sub-sy{g[0]}{i}",
            g,
            "A",
            Path("syn"),
            True,
            ("sub-p1", "sub-p3", "sub-c2"),
            channels=("T1w", "FLAIR"),
        )
        for g in ("patient", "control")
        for i in range(5)
    ]


def ids(subjects):
    return [s.id for s in subjects]


def test_the_first_in_the_seeds_order_train(splits, real):
    chosen = training_subjects(BASELINE, BASELINE, splits, 0, real, [])
    assert ids(chosen) == ["sub-p1", "sub-p3", "sub-c2"]


def test_baseline_is_a_subset_of_expanded(splits, real):
    small = training_subjects(BASELINE, BASELINE, splits, 0, real, [])
    large = training_subjects(Regime(4, 3), BASELINE, splits, 0, real, [])
    assert set(ids(small)) < set(ids(large))
    assert len(large) == 7


def test_the_dose_counts_synthetic_subjects_per_real_one(splits, real, synthetic):
    chosen = training_subjects(AUGMENTED, BASELINE, splits, 0, real, synthetic)
    assert ids(chosen)[3:] == ["sub-syp0", "sub-syp1", "sub-syp2", "sub-syc0", "sub-syc1"]
    assert ids(chosen)[:3] == ids(training_subjects(BASELINE, BASELINE, splits, 0, real, []))


def test_synthetic_subjects_may_train_alone(splits, real, synthetic):
    alone = replace(AUGMENTED, real=False)
    chosen = training_subjects(alone, BASELINE, splits, 0, real, synthetic)
    assert ids(chosen) == ["sub-syp0", "sub-syp1", "sub-syp2", "sub-syc0", "sub-syc1"]


def test_a_set_that_is_too_small_is_refused(splits, real, synthetic):
    with pytest.raises(ConfigError, match="asks for 6 synthetic patients, the set `spade` has 5"):
        training_subjects(replace(AUGMENTED, ratio=3.0), BASELINE, splits, 0, real, synthetic)


def test_rejected_subjects_do_not_train(splits, real, synthetic):
    no = ["sub-syp1", "sub-syc0"]
    chosen = training_subjects(AUGMENTED, BASELINE, splits, 0, real, synthetic, no)
    assert ids(chosen)[3:] == ["sub-syp0", "sub-syp2", "sub-syp3", "sub-syc1", "sub-syc2"]
    many = [s.id for s in synthetic[:3]]
    with pytest.raises(
        ConfigError, match=r"asks for 3 .* has 2 besides 3 subject\(s\) that a pers"
    ):
        training_subjects(AUGMENTED, BASELINE, splits, 0, real, synthetic, many)


@pytest.mark.parametrize(
    ("leak", "role"),
    [("sub-p5", "test"), ("sub-c4", "validation"), ("sub-zz", "unknown")],
)
def test_a_planted_leak_is_named(splits, real, synthetic, leak, role):
    synthetic[2] = replace(synthetic[2], sources=(*synthetic[2].sources, leak))
    with pytest.raises(LineageError, match=rf"sub-syp2 goes back to {leak} \({role}\)"):
        training_subjects(AUGMENTED, BASELINE, splits, 0, real, synthetic)


def test_a_leak_beyond_the_dose_does_no_harm(splits, real, synthetic):
    synthetic[4] = replace(synthetic[4], sources=("sub-p5",))
    assert len(training_subjects(AUGMENTED, BASELINE, splits, 0, real, synthetic)) == 8


def test_synthetic_subjects_may_not_go_back_beyond_the_baseline(splits, real, synthetic):
    synthetic[5] = replace(synthetic[5], sources=("sub-p1", "sub-c0"))
    with pytest.raises(LineageError, match=r"baseline's training subjects: sub-syc0 .* sub-c0"):
        training_subjects(AUGMENTED, BASELINE, splits, 0, real, synthetic)
    expanded = replace(AUGMENTED, patients=4, controls=4, ratio=1.0)
    with pytest.raises(LineageError, match="sub-syc0 goes back to sub-c0"):
        training_subjects(expanded, BASELINE, splits, 0, real, synthetic)


@pytest.mark.parametrize("nothing", [(), ("",)])
def test_missing_lineage_is_refused(splits, real, synthetic, nothing):
    synthetic[0] = replace(synthetic[0], sources=nothing)
    with pytest.raises(LineageError, match=r"not recorded .* sub-syp0"):
        training_subjects(AUGMENTED, BASELINE, splits, 0, real, synthetic)


def test_a_real_volume_that_hides_a_test_subject_is_refused(splits, real):
    real[1] = replace(real[1], sources=("sub-p1", "sub-p5"))
    with pytest.raises(LineageError, match=r"sub-p1 goes back to sub-p5 \(test\)"):
        training_subjects(BASELINE, BASELINE, splits, 0, real, [])


def test_a_table_of_another_cohort_is_refused(splits, real):
    with pytest.raises(LineageError, match="does not have: sub-p1"):
        training_subjects(BASELINE, BASELINE, splits, 0, [s for s in real if s.id != "sub-p1"], [])
