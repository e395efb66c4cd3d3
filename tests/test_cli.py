"""The command line: help that teaches, errors that say what to do, files that agree."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from lesionforge import cli
from lesionforge.data.volume import grid, write_volume
from lesionforge.study.config import Study

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
        ("train-generator", [], "cohort/participants.tsv is missing. Run `lesionforge prepare`"),
        ("compare", [], "has no trained detector"),
        ("synthesize", ["--set", "other"], "`set` must be one of spade"),
        (
            "synthesize",
            ["--regimes", "{baseline: {patients: 1, controls: 1}}"],
            "Name one with --set",
        ),
        ("prepare", ["--cohort.bids", "nowhere"], "nowhere"),
        ("prepare", ["--regimes", "{}"], "`regimes` must contain `baseline`"),
        ("prepare", ["--channels", "[]"], "`channels` must be one or more"),
        ("prepare", ["--channels", "[T1w, t1w]"], "`channels` must be one or more different"),
        ("prepare", ["--channels", "[T1w, T2w]"], "Phantoms have T1w and FLAIR alone"),
    ],
)
def test_what_a_user_can_mend_is_one_message_and_exit_status_1(
    stage, arguments, message, tmp_path, capsys
):
    assert cli.run(stage, ["--runs", str(tmp_path), *arguments]) == 1
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error


def test_predict_takes_scans_by_position():
    arguments = cli.stage_parser("predict").parse_args(["--weights", "W", "a_T1w.nii", "b"])
    assert (arguments.weights, arguments.scans) == ("W", ["a_T1w.nii", "b"])


def test_the_former_name_of_a_stage_is_told_and_runs_nothing(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["lesionforge", "detect", "a_T1w.nii.gz"])
    assert cli.main() == 2
    assert "It is called `predict` now" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("stage", "arguments"), [("check", []), ("prepare", ["--check", "--cohort.bids"])]
)
def test_a_check_lists_everything_and_writes_nothing(stage, arguments, tmp_path, capsys):
    rng = np.random.default_rng(0)
    area = grid((48, 48, 48), np.diag([2.5, 2.5, 2.5, 1]))
    for name, kinds in (("sub-1", ("T1w", "FLAIR")), ("sub-2", ("T1w",))):
        for kind in kinds:
            data = rng.random(area.shape).astype(np.float32)
            write_volume(tmp_path / name / "anat" / f"{name}_{kind}.nii.gz", data, area)
    (tmp_path / "participants.tsv").write_text("participant_id\tgroup\tage\nsub-1\thc\t3\n")
    before = sorted(tmp_path.rglob("*"))
    assert cli.run(stage, [*arguments, str(tmp_path)]) == 1
    shown = capsys.readouterr()
    assert "column age (is not read)" in shown.out
    assert "sub-2/anat/sub-2_T1w.nii.gz (its subject cannot be used" in shown.out
    assert "sub-2: has no FLAIR" in shown.out
    assert "1 subjects can be used (0 patients, 1 controls), 1 cannot" in shown.out
    assert "1 subject(s)" in shown.err
    (tmp_path / "sub-2" / "anat" / "sub-2_T1w.nii.gz").unlink()
    (tmp_path / "sub-2" / "anat").rmdir()
    (tmp_path / "sub-2").rmdir()
    assert cli.run(stage, [*arguments, str(tmp_path)]) == 0
    assert set(tmp_path.rglob("*")) <= set(before)


def test_a_script_runs_its_stage():
    command = [sys.executable, str(ROOT / "scripts/synthesize.py"), "--help"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("usage: synthesize.py [--config configs/X.yaml] [--set SET]")
    usage, _, rest = done.stdout.partition("\n\n")
    assert "[--n_controls N_CONTROLS]" in usage
    assert len(usage.splitlines()) < 6  # the many values of the study are explained further down
    assert rest.startswith("Make synthetic patients")
    assert "--synthetic.help" in rest


@pytest.mark.parametrize("stage", cli.STAGES)
def test_the_usage_names_every_option_of_the_stage_itself(stage):
    parser = cli.stage_parser(stage)
    usage = parser.format_usage()
    for action in parser._actions:
        option = next(iter(action.option_strings), action.dest.upper())
        study = option.lstrip("-").split(".")[0] in Study.__dataclass_fields__
        if not study and action.dest not in ("help", "version", "print_config"):
            assert option.split(".")[0] in usage
    assert max(map(len, usage.splitlines())) <= 90
