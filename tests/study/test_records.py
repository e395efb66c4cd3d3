"""A stage's record: what ran, how it ended; and a clean folder to begin in."""

from dataclasses import replace

import pytest

from lesionforge import provenance
from lesionforge.errors import DataError
from lesionforge.provenance import read_json
from lesionforge.stopping import Stopped
from lesionforge.study.config import Study
from lesionforge.study.records import recorded


@pytest.fixture
def study(tmp_path) -> Study:
    return Study(name="x", runs=str(tmp_path))


def record_of(study):
    return read_json(study.root / "stages" / "toy.json")


def test_a_record_says_what_runs_and_how_it_ended(study):
    with recorded(study, "toy"):
        assert record_of(study)["status"] == "running"
    found = record_of(study)
    assert found["status"] == "done"
    assert found["config_sha256"] == study.sha256
    assert found["config"]["name"] == "x"
    assert found["seconds"] >= 0


@pytest.mark.parametrize(("error", "status"), [(ValueError(), "failed"), (Stopped(15), "stopped")])
def test_a_record_tells_a_failure_from_a_stop(study, error, status):
    with pytest.raises(type(error)), recorded(study, "toy"):
        raise error
    assert record_of(study)["status"] == status


def test_a_stage_begins_without_what_a_killed_process_left(study):
    folder = study.root / "raw" / "sub-p0001" / "anat"
    folder.mkdir(parents=True)
    left = folder / f"{provenance._own_prefix()}x-sub-p0001_T1w.nii.gz"
    left.touch()
    with recorded(study, "toy"):
        assert list(folder.iterdir()) == []


def test_only_another_stage_runs_beside_a_stage(study):
    twin = recorded(study, "toy")
    with recorded(study, "toy"), recorded(study, "other"), pytest.raises(DataError, match="toy"):
        twin.__enter__()


def test_further_devices_of_a_training_share_its_record(study, monkeypatch):
    several = replace(study, detector=replace(study.detector, devices=2))
    monkeypatch.setenv("LOCAL_RANK", "1")
    with recorded(several, "toy"):
        assert not (study.root / "stages").exists()
