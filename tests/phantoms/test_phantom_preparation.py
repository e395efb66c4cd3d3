"""Preparation finds the tissues and the pose that phantoms were drawn with."""

from benchmarks.phantom_preparation import compare

from lesionforge.data.cohort import read_cohort
from lesionforge.phantoms.cohort import sample_cohort, write_phantoms
from lesionforge.phantoms.config import PhantomConfig
from lesionforge.preprocessing.config import PrepareConfig
from lesionforge.preprocessing.prepare import prepare_cohort
from tests.conftest import CHANNELS


def test_tissues_and_flair_are_found(tmp_path):
    raw, truth, cohort = (tmp_path / name for name in ("raw", "truth", "cohort"))
    write_phantoms(sample_cohort(PhantomConfig(patients=2, controls=1, seed=9200)), raw, truth, 1)
    prepare_cohort(raw, cohort, PrepareConfig(), CHANNELS)
    rows = [compare(subject, truth) for subject in read_cohort(cohort)]
    assert len(rows) == 3
    for row in rows:
        assert min(row["dice_GM"], row["dice_WM"]) > 0.85
        assert row["flair_error_mm"] < 1
        assert row["flair_error_deg"] < 1
