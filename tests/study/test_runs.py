"""Who is asked for in a study's regimes, and what is said when somebody is not there."""

import pandas as pd
import pytest

from lesionforge.commands.exchange import export_nnunet, import_predictions
from lesionforge.data.config import SplitConfig
from lesionforge.data.splits import assign_splits, write_splits
from lesionforge.errors import ConfigError, LineageError
from lesionforge.study import runs
from lesionforge.study.config import Study
from lesionforge.study.regimes import Regime
from tests.conftest import write_toy_cohort

REGIMES = {
    "baseline": Regime(2, 3),
    "augmented": Regime(2, 3, synthetic="spade", ratio=2.0),
    "patients": Regime(2, 0, synthetic="spade", ratio=3.0),
    "controls": Regime(2, 9),
    "only": Regime(9, 9, synthetic="spade", ratio=0.5, real=False),
}


@pytest.fixture
def study(tmp_path, toy_grid):
    """Five patients and five controls, of whom one each validates and tests."""
    made = Study(name="toy", runs=str(tmp_path), regimes=REGIMES, seeds=(0, 1))
    people = write_toy_cohort(made.cohort_root, toy_grid, patients=5, controls=5)
    rows = [(s.id, s.group, s.site) for s in people]
    table = pd.DataFrame(rows, columns=["participant_id", "group", "site"])
    write_splits(made.splits_path(None), assign_splits(table, SplitConfig(1, 1, 1, 1), [0, 1]))
    return made


def test_a_set_has_what_the_largest_doses_of_either_group_ask_for(study):
    assert runs.synthetic_counts(study, "spade", 0, None) == (6, 6)
    assert runs.synthetic_counts(study, "other", 0, None) == (0, 0)


def test_a_regime_with_too_few_controls_is_told_apart(study):
    assert runs.shortage(study, "baseline", None) is None
    assert "9 training controls were asked for" in str(runs.shortage(study, "controls", None))
    assert runs.shortage(study, "only", None) is None  # takes no real subject itself
    missing = [("controls", 0, None), ("baseline", 1, None), ("controls", 1, None)]
    few, untrained = runs.why_missing(study, [*missing, ("augmented", 1, None)])
    assert few.startswith("Not in this report: controls (seed 0, seed 1). 9 training controls")
    assert untrained.startswith("Not in this report: baseline (seed 1); augmented (seed 1). Not tr")


def test_somebody_who_joined_after_the_splits_is_named(study, toy_grid):
    assert len(runs.run_subjects(study, "baseline", 0, None).training) == 5
    write_toy_cohort(study.cohort_root, toy_grid, patients=6, controls=5)
    with pytest.raises(LineageError, match="gives no role to sub-p06"):
        runs.run_subjects(study, "baseline", 0, None)


def test_the_baseline_is_real():
    with pytest.raises(ConfigError, match="real subjects alone"):
        Study(regimes={"baseline": Regime(2, 2, synthetic="spade")})


def test_a_seed_has_its_own_number_in_another_tools_folder(study, tmp_path):
    export_nnunet(study, "baseline", seed=1, out=str(tmp_path / "raw"))
    (written,) = (tmp_path / "raw").iterdir()
    assert written.name == "Dataset502_toy_baseline_seed-1"
    for name in ("detector", "cohort"):
        with pytest.raises(ConfigError, match="keeps its own files"):
            import_predictions(study, str(tmp_path), "baseline", model=name)
