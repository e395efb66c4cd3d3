"""Reading runs, and every refusal with its ids."""

from dataclasses import replace

import pytest

from lesionforge.errors import DataError, LineageError
from lesionforge.metrics.config import CandidateRules
from lesionforge.report.runs import RunTables, check_lineage, complete_runs, read_run

RULES = CandidateRules()


@pytest.fixture
def runs(bench):
    return [read_run(run, RULES) for run in bench.runs]


def of(runs, regime, seed=0):
    return next(t for t in runs if (t.run.regime, t.run.seed) == (regime, seed))


def changed(runs, victim, **changes):
    """Replace one cell's tables."""
    made = RunTables(**{**vars(victim), **changes})
    return [made if t is victim else t for t in runs]


def test_a_sound_study_passes(runs):
    check_lineage(runs)
    assert of(runs, "augmented").behind == of(runs, "baseline").real
    assert len(of(runs, "baseline").real) == 8


@pytest.mark.parametrize("role", ["validation", "test"])
def test_a_held_out_subject_behind_training_is_refused(runs, role):
    victim = of(runs, "expanded")
    leaked = victim.ids(role)[0]
    planted = changed(runs, victim, training={**victim.training, "sub-syn0009": [leaked]})
    with pytest.raises(LineageError, match=rf"{leaked} \({role}\).*expanded, seed 0"):
        check_lineage(planted)


def test_unequal_test_subjects_are_refused(runs):
    victim = of(runs, "augmented", 1)
    missing = victim.ids("test")[3]
    kept = victim.subjects[victim.subjects["participant_id"] != missing]
    with pytest.raises(LineageError, match=f"differ in their test subjects: {missing}"):
        check_lineage(changed(runs, victim, subjects=kept))


def test_a_baseline_outside_expanded_is_refused(runs):
    victim = of(runs, "expanded")
    training = {k: v for k, v in victim.training.items() if k != "sub-p02"}
    with pytest.raises(LineageError, match="sub-p02 train baseline, seed 0, but not expanded"):
        check_lineage(changed(runs, victim, training=training))


@pytest.mark.parametrize(("knob", "value"), [("steps", 5000), ("precision", "bf16-mixed")])
def test_arms_that_were_trained_otherwise_are_refused(runs, knob, value):
    victim = of(runs, "augmented")
    other = changed(runs, victim, made_with={**victim.made_with, knob: value})
    with pytest.raises(LineageError, match=f"augmented, seed 0 were trained with different {knob}"):
        check_lineage(other)
    check_lineage(changed(runs, victim, made_with={}))  # trained by another tool


@pytest.mark.parametrize("name", ["augmented", "expanded"])
def test_synthetic_from_outside_the_baseline_is_refused(runs, name):
    victim = of(runs, name)
    with pytest.raises(LineageError, match="goes back to sub-p07"):
        check_lineage(
            changed(runs, victim, training={**victim.training, "sub-syn0000": ["sub-p07"]})
        )


def test_all_problems_are_told_at_once(runs):
    victim = of(runs, "augmented")
    leaked = victim.ids("test")[0]
    with pytest.raises(LineageError) as caught:
        check_lineage(
            changed(runs, victim, training={**victim.training, "sub-syn0000": [leaked, "sub-p07"]})
        )
    assert str(caught.value).count("\n- ") == 2


def test_other_rules_and_other_counts_are_refused(bench):
    with pytest.raises(DataError, match="evaluated with the rules"):
        read_run(bench.runs[0], CandidateRules(min_volume_mm3=7))
    with pytest.raises(LineageError, match=r"8 real subjects .4 of them patients.; .* 5 patients"):
        read_run(replace(bench.runs[0], n_patients=5), RULES)
    with pytest.raises(LineageError, match=r"8 real subjects .4 of them patients.; .* 5 patients"):
        read_run(replace(bench.runs[0], n_patients=5, n_controls=3), RULES)
    with pytest.raises(LineageError, match="0 synthetic subjects"):
        read_run(replace(bench.runs[0], n_synthetic_patients=1), RULES)
    with pytest.raises(DataError, match="missing"):
        read_run(replace(bench.runs[0], folder=bench.root / "nowhere"), RULES)


def test_runs_that_lack_a_fold_are_left_out(runs):
    folded = [
        RunTables(**{**vars(t), "run": replace(t.run, fold=fold, folds=2)})
        for t in runs
        for fold in (0, 1)
        if (t.run.regime, t.run.seed, fold) != ("augmented", 1, 1)
    ]
    runs, warnings = complete_runs(folded)
    assert list(runs["augmented"]) == [0]
    assert list(runs["baseline"]) == [0, 1]
    assert warnings == ["augmented, seed 1 is left out: fold(s) 1 are not trained yet."]
    three = [RunTables(**{**vars(t), "run": replace(t.run, folds=3)}) for t in folded]
    assert complete_runs(three)[0] == {}  # nobody has trained fold 2
