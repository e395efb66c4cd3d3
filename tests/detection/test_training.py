"""Training on the toy cohort: the laws of resuming, of identity and of what is written."""

import itertools
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from lesionforge.detection import training as detection_training
from lesionforge.detection.config import DetectorConfig
from lesionforge.detection.training import train_detector
from lesionforge.errors import DataError, LesionForgeError, LineageError
from lesionforge.provenance import read_json, read_tsv

CONFIG = DetectorConfig(
    filters=(2, 4, 4, 4),
    patch=16,
    batch_size=2,
    steps=10,
    epoch_steps=4,
    workers=0,
    precision="32-true",
    accelerator="cpu",
)


class Killed(BaseException):
    """What a kill looks like from inside."""


@pytest.fixture(scope="module")
def training(toy_cohort):
    return [*toy_cohort[:3], *toy_cohort[6:8]]


@pytest.fixture(scope="module")
def trained(training, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("trained") / "detector"
    train_detector(training, folder, CONFIG, 0)
    return folder


def same_weights(one: Path, two: Path) -> bool:
    a, b = (load_file(folder / "detector.safetensors") for folder in (one, two))
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def train_until(step, training, folder, monkeypatch):
    """Train, and be killed at a step."""
    ended = detection_training.Progress.on_train_batch_end

    def killed(self, trainer, *args, **kwargs):
        ended(self, trainer, *args, **kwargs)
        if trainer.global_step == step:
            raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(detection_training.Progress, "on_train_batch_end", killed)
        with pytest.raises(Killed):
            train_detector(training, folder, CONFIG, 0)


@pytest.mark.parametrize("kills", [(2,), (6,), (5, 9), (4,)])
def test_a_killed_and_resumed_training_equals_an_uninterrupted_one(
    trained, training, tmp_path, monkeypatch, kills
):
    for kill in kills:
        train_until(kill, training, tmp_path, monkeypatch)
        assert not (tmp_path / "detector.json").exists()
    train_detector(training, tmp_path, CONFIG, 0)
    assert same_weights(trained, tmp_path)
    assert (trained / "losses.tsv").read_bytes() == (tmp_path / "losses.tsv").read_bytes()


def test_a_kill_before_the_result_is_written_loses_nothing(
    trained, training, tmp_path, monkeypatch
):
    def killed(*args):
        raise Killed

    monkeypatch.setattr(detection_training, "_write_result", killed)
    with pytest.raises(Killed):
        train_detector(training, tmp_path, CONFIG, 0)
    monkeypatch.undo()
    train_detector(training, tmp_path, CONFIG, 0)
    assert same_weights(trained, tmp_path)
    assert len(read_tsv(tmp_path / "losses.tsv")) == CONFIG.steps


def test_the_time_of_resumed_runs_adds_up(trained, training, tmp_path, monkeypatch):
    train_until(6, training, tmp_path, monkeypatch)
    checkpoint = torch.load(tmp_path / "checkpoint.ckpt", weights_only=True)
    assert checkpoint["callbacks"]["Progress"]["seconds"] > 0
    checkpoint["callbacks"]["Progress"]["seconds"] = 5000.0
    torch.save(checkpoint, tmp_path / "checkpoint.ckpt")
    train_detector(training, tmp_path, CONFIG, 0)
    assert 0 < read_json(trained / "detector.json")["seconds"] < 5000
    assert read_json(tmp_path / "detector.json")["seconds"] > 5000


def test_a_training_is_not_resumed_in_another_precision(training, tmp_path, monkeypatch):
    train_until(6, training, tmp_path, monkeypatch)
    before = (tmp_path / "checkpoint.ckpt").read_bytes()
    monkeypatch.setattr(detection_training, "resolve_precision", lambda *args: "bf16-mixed")
    with pytest.raises(DataError, match=r"begun in 32-true.*go on in bf16-mixed"):
        train_detector(training, tmp_path, CONFIG, 0)
    assert (tmp_path / "checkpoint.ckpt").read_bytes() == before


@pytest.mark.parametrize("damage", ["cut", "empty", "foreign", "another network"])
def test_a_damaged_checkpoint_is_named_and_kept(training, tmp_path, monkeypatch, damage):
    train_until(6, training, tmp_path, monkeypatch)
    path = tmp_path / "checkpoint.ckpt"
    whole = path.read_bytes()
    if damage == "another network":
        torch.save({"state_dict": {"a": torch.zeros(1)}}, path)
    else:
        path.write_bytes({"cut": whole[: len(whole) // 2], "empty": b"", "foreign": b"x"}[damage])
    before = path.read_bytes()
    with pytest.raises(DataError, match=r"checkpoint.ckpt .*[Dd]elete it"):
        train_detector(training, tmp_path, CONFIG, 0)
    assert path.read_bytes() == before


def test_one_device_is_trained_on_whatever_a_cluster_says(trained, training, tmp_path, monkeypatch):
    slurm = {"NTASKS": 4, "JOB_ID": 1, "PROCID": 0, "LOCALID": 0, "NODEID": 0, "NODELIST": "n1"}
    for name, value in (slurm | {"JOB_NAME": "train"}).items():
        monkeypatch.setenv(f"SLURM_{name}", str(value))
    train_detector(training, tmp_path, CONFIG, 0)
    assert same_weights(trained, tmp_path)


def test_workers_do_not_change_the_weights(trained, training, tmp_path):
    train_detector(training, tmp_path, replace(CONFIG, workers=2), 0)
    assert same_weights(trained, tmp_path)


def test_another_seed_gives_other_weights(trained, training, tmp_path):
    train_detector(training, tmp_path, CONFIG, 1)
    assert not same_weights(trained, tmp_path)


def test_what_is_written_says_where_it_comes_from(trained, training):
    record = read_json(trained / "detector.json")
    assert record["training"] == [s.id for s in training]
    assert record["config"]["filters"] == [2, 4, 4, 4]
    assert record["environment"]["torch"] == torch.__version__
    lineage = read_json(trained / "lineage.json")
    assert lineage["real_subjects"] == sorted(s.id for s in training)
    curve = read_tsv(trained / "losses.tsv")
    assert curve["step"].tolist() == list(range(1, 11))
    assert np.isfinite(curve).all(axis=None)
    assert list((trained / "logs").glob("events.out.tfevents.*"))
    assert not (trained / "checkpoint.ckpt").exists()


def test_lineage_names_everybody_behind_synthetic_subjects(training):
    synthetic = replace(training[0], id="sub-syn1", synthetic=True, sources=("sub-p09", "sub-p08"))
    control = replace(training[0], id="sub-c09", group="control", sources=("sub-c09",))
    assert detection_training.lineage([synthetic, control]) == {
        "training": {"sub-syn1": ["sub-p08", "sub-p09"], "sub-c09": ["sub-c09"]},
        "real_subjects": ["sub-c09", "sub-p08", "sub-p09"],
        "participants": ["sub-c09", "sub-p08", "sub-p09"],
        "patients": ["sub-syn1"],
    }
    with pytest.raises(LineageError, match="sub-syn1"):
        detection_training.lineage([replace(synthetic, sources=())])


def test_a_training_that_diverges_says_so_and_can_begin_again(training, tmp_path, monkeypatch):
    def diverge(self):
        self.curve = [(1, float("nan"), 0.1)]

    monkeypatch.setattr(detection_training.DetectorModule, "on_train_end", diverge)
    with pytest.raises(LesionForgeError, match=r"diverged .*`detector.learning_rate`"):
        train_detector(training, tmp_path, CONFIG, 0)
    assert not (tmp_path / "checkpoint.ckpt").exists()
    assert not (tmp_path / "detector.json").exists()
    monkeypatch.undo()
    train_detector(training, tmp_path, replace(CONFIG, learning_rate=1e-4), 0)
    assert (tmp_path / "detector.json").exists()


def test_a_finished_detector_is_left_as_it_is(trained, training):
    before = (trained / "detector.json").stat().st_mtime_ns
    train_detector(training, trained, CONFIG, 0)
    assert (trained / "detector.json").stat().st_mtime_ns == before


@pytest.mark.parametrize(
    "other", [{"seed": 1}, {"config": replace(CONFIG, learning_rate=1.0e-4)}, {"drop": 1}]
)
def test_a_folder_is_never_mixed(trained, training, tmp_path, other):
    shutil.copytree(trained, tmp_path / "copy")
    subjects = training[: len(training) - other.get("drop", 0)]
    with pytest.raises(DataError, match="another configuration, seed or training set"):
        train_detector(
            subjects, tmp_path / "copy", other.get("config", CONFIG), other.get("seed", 0)
        )
    assert same_weights(trained, tmp_path / "copy")


def test_a_subject_that_must_be_mended_first_leaves_the_folder_free(
    training, tmp_path, monkeypatch
):
    def broken(subject):
        raise DataError("is empty")

    with monkeypatch.context() as patched:
        patched.setattr(detection_training, "read_case", broken)
        with pytest.raises(DataError, match="is empty"):
            train_detector(training, tmp_path / "cell", CONFIG, 0)
    train_detector(training, tmp_path / "cell", CONFIG, 1)  # not "another seed": none was trained


def test_the_global_generators_are_untouched(training, tmp_path):
    torch.manual_seed(11)
    before = torch.get_rng_state()
    train_detector(training, tmp_path, replace(CONFIG, steps=2), 0)
    assert torch.equal(torch.get_rng_state(), before)


def test_other_workers_are_not_another_training(trained, training, tmp_path):
    shutil.copytree(trained, tmp_path / "copy")
    train_detector(training, tmp_path / "copy", replace(CONFIG, workers=1), 0)
    assert same_weights(trained, tmp_path / "copy")


def test_steps_of_resumed_runs_are_counted_once(trained):
    steps = read_tsv(trained / "losses.tsv")["step"]
    assert all(b - a == 1 for a, b in itertools.pairwise(steps))
