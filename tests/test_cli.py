"""The command line: help that teaches, errors that say what to do, files that agree."""

import subprocess
import sys
from pathlib import Path

import pytest

from lesionforge import cli

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("stage", cli.STAGES)
def test_help_describes_every_stage(stage, capsys):
    with pytest.raises(SystemExit) as stop:
        cli.run(stage, ["--help"])
    assert stop.value.code == 0
    assert len(capsys.readouterr().out) > 500


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--detector.step", "3"], "Did you mean --detector.steps?"),
        (["--detector.steps", "many"], "detector.steps"),
        (["--config", "nowhere.yaml"], "nowhere.yaml"),
    ],
)
def test_a_wrong_argument_stops_with_exit_status_2(arguments, message, capsys):
    with pytest.raises(SystemExit) as stop:
        cli.run("train-detector", arguments)
    assert stop.value.code == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("stage", "arguments", "message"),
    [
        ("train-detector", ["--regime", "augmentd"], "`regime` must be one of baseline"),
        ("train-detector", ["--seed", "9"], "Seed 9 is not one of the study's seeds"),
        ("train-generator", [], "cohort/participants.tsv is missing"),
        ("compare", [], "has no trained detector"),
        ("synthesize", ["--set", "other"], "`set` must be one of spade"),
        ("prepare", ["--cohort.bids", "nowhere"], "nowhere"),
        ("prepare", ["--regimes", "{}"], "`regimes` must contain `baseline`"),
    ],
)
def test_what_a_user_can_mend_is_one_message_and_exit_status_1(
    stage, arguments, message, tmp_path, capsys
):
    assert cli.run(stage, ["--runs", str(tmp_path), *arguments]) == 1
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error


def test_a_script_runs_its_stage():
    command = [sys.executable, str(ROOT / "scripts/synthesize.py"), "--help"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("usage: synthesize.py")
    assert "--n_controls" in done.stdout or "--n-controls" in done.stdout
