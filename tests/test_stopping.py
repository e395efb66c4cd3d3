"""A command that is asked to stop ends with its status, a line that says so, and no process left.

The tests start the program in processes of its own, with a toy command beside the real ones.
"""

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lesionforge.stopping import Stopped, stoppable, worker_pool

TOY = """
import os, signal, sys, time
from pathlib import Path
from joblib import delayed
from lesionforge import cli
from lesionforge.commands import table
from lesionforge.stopping import worker_pool
from lesionforge.study.config import Study
from lesionforge.study.records import recorded

def work(folder, seconds):
    (folder / f"pid-{os.getpid()}").touch()
    time.sleep(seconds)

def toy(study: Study, way: str, seconds: float = 60.0) -> None:
    '''Work for some time.

    Args:
        study: the study.
        way: with `workers`, a `fork` that outlives its parent for a while, or `alone`.
        seconds: how long.
    '''
    with recorded(study, "toy"):
        if way == "fork" and os.fork() == 0:
            time.sleep(4)
            os._exit(0)
        (study.root / "begun").touch()
        if way == "workers":
            worker_pool(2)(delayed(work)(study.root, seconds) for _ in range(2))
        else:
            time.sleep(seconds)

table.COMMANDS["toy"] = table.Command(toy)
signal.signal(signal.SIGINT, signal.default_int_handler)  # shells ignore it in the background
sys.exit(cli.run("toy"))
"""


TRAINING = """
import numpy as np
from lesionforge.data.volume import grid
from lesionforge.detection.config import DetectorConfig
from lesionforge.detection.training import train_detector
from tests.conftest import TOY_SHAPE, write_toy_cohort

def toy(study: Study) -> None:
    '''Train for hours.

    Args:
        study: the study.
    '''
    subjects = write_toy_cohort(study.root / "toy", grid(TOY_SHAPE, np.diag([5.0, 5, 5, 1])), 2, 0)
    config = DetectorConfig(
        filters=(2, 2, 2, 2), patch=16, batch_size=2, steps=10**6, epoch_steps=2, workers=2,
        accelerator="cpu", precision="32-true",
    )
    with recorded(study, "toy"):
        train_detector(subjects, study.root / "detector", config, 0)
"""
"""Takes the place of the toy command."""


def start(runs: Path, way: str, *more: str) -> subprocess.Popen:
    program, options = TOY, ["--way", way]
    if way == "training":
        program, options = TOY.replace("table.COMMANDS", f"{TRAINING}\ntable.COMMANDS"), []
    command = [sys.executable, "-c", program, "--runs", str(runs), "--name", "x", *options, *more]
    return subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        # tests that run under nohup hand on that SIGHUP is ignored
        preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_DFL),
    )


def wait_until(true, seconds: float = 60.0) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if true():
            return True
        time.sleep(0.05)
    return False


def workers(runs: Path) -> list[int]:
    return [int(path.name.split("-")[1]) for path in (runs / "x").glob("pid-*")]


def lives(pid: int) -> bool:
    """Tell whether a process is there and not only waiting to be counted (a zombie)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def group(number: int) -> list[int]:
    """Return the processes of a process group that live."""
    found = subprocess.run(
        ["pgrep", "-g", str(number)], capture_output=True, text=True, check=False
    )
    return [pid for pid in map(int, found.stdout.split()) if lives(pid)]


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_a_signal_ends_a_command_and_its_workers(tmp_path, number, status):
    process = start(tmp_path, "workers")
    assert wait_until(lambda: len(workers(tmp_path)) == 2)
    process.send_signal(number)
    output = process.communicate(timeout=30)[0]
    assert process.returncode == status
    assert "Traceback" not in output
    assert signal.Signals(number).name in output.splitlines()[-1]
    assert "same command" in output.splitlines()[-1]
    assert '"status": "stopped"' in (tmp_path / "x/stages/toy.json").read_text()
    assert wait_until(lambda: not any(map(lives, workers(tmp_path))), 5)


def test_a_signal_to_the_whole_group_ends_as_one_to_the_command(tmp_path):
    process = start(tmp_path, "workers")
    assert wait_until(lambda: len(workers(tmp_path)) == 2)
    os.killpg(process.pid, signal.SIGTERM)
    output = process.communicate(timeout=30)[0]
    assert process.returncode == 143
    assert "Traceback" not in output
    assert wait_until(lambda: not any(map(lives, workers(tmp_path))), 5)


def test_workers_end_when_their_parent_is_killed(tmp_path):
    process = start(tmp_path, "workers")
    assert wait_until(lambda: len(workers(tmp_path)) == 2)
    process.kill()
    assert wait_until(lambda: not any(map(lives, workers(tmp_path))), 10)
    process.communicate(timeout=10)


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGKILL, -9)]
)
def test_a_training_ends_with_its_workers_and_its_status(tmp_path, number, status):
    process = start(tmp_path, "training")
    assert wait_until((tmp_path / "x/detector/checkpoint.ckpt").exists, 120)
    assert len(group(process.pid)) > 1
    process.send_signal(number)
    assert process.wait(60) == status
    assert wait_until(lambda: not group(process.pid), 15), "workers look for their parent every 5 s"
    output = process.communicate(timeout=30)[0]
    assert "Traceback" not in output
    assert number == signal.SIGKILL or "same command" in output.splitlines()[-1]


def test_a_second_process_of_a_stage_is_refused_and_told_which_one_runs(tmp_path):
    first = start(tmp_path, "alone")
    assert wait_until((tmp_path / "x/begun").exists)
    second = start(tmp_path, "alone")
    output = second.communicate(timeout=60)[0]
    assert second.returncode == 2
    for part in ("`toy`", str(first.pid), os.uname().nodename, "toy.lock"):
        assert part in output
    assert "Traceback" not in output
    first.terminate()
    assert first.wait(30) == 143
    assert start(tmp_path, "alone", "--seconds", "0").wait(60) == 0


@pytest.mark.parametrize("way", ["alone", "fork"])
def test_the_lock_of_a_killed_process_does_not_block(tmp_path, way):
    process = start(tmp_path, way)
    assert wait_until((tmp_path / "x/begun").exists)
    process.kill()
    process.wait(10)
    again = start(tmp_path, "alone", "--seconds", "0")
    assert again.wait(60) == 0, again.communicate()[0]
    process.communicate(timeout=10)


def test_signals_that_are_ignored_stay_so():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with stoppable() as asked:
            signal.raise_signal(signal.SIGHUP)
        assert asked.stopped is None
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_stop_is_known_where_its_exception_was_lost():
    before = signal.getsignal(signal.SIGTERM)
    with stoppable() as asked, contextlib.suppress(Stopped):
        signal.raise_signal(signal.SIGTERM)
    assert asked.stopped.status == 143
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_pool_of_one_works_in_this_process():
    assert worker_pool(1)([(os.getpid, (), {})]) == [os.getpid()]
