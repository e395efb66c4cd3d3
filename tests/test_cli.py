"""The command line: help that teaches, errors that say what to do, an exit status that is true."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from lesionforge import arguments, cli
from lesionforge.commands.table import COMMANDS
from lesionforge.data.volume import grid, write_volume
from lesionforge.study.config import Study

ROOT = Path(__file__).parents[1]
HEAVY = ("torch", "lightning", "monai", "numpy", "scipy", "pandas", "nibabel", "SimpleITK")


def lesionforge(*words: str, before: str = "", after: str = "") -> subprocess.CompletedProcess[str]:
    """Run the program in a process of its own, with Python code before and after it."""
    code = f"""import sys
from lesionforge import cli
{before}
sys.argv[1:] = {list(words)}
try:
    status = cli.main()
except SystemExit as end:
    status = end.code
{after}
sys.exit(status)
"""
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)


@pytest.mark.parametrize("name", COMMANDS)
def test_help_describes_every_command(name, capsys):
    with pytest.raises(SystemExit) as stop:
        cli.run(name, ["--help"])
    assert stop.value.code == 0
    assert len(capsys.readouterr().out) > 500


@pytest.mark.parametrize(
    ("words", "status"),
    [
        (["--help"], 0),
        (["--version"], 0),
        (["check", "--help"], 0),
        (["synthesize", "--help"], 0),
        (["train-detector", "--detector.step", "3"], 2),
        (["train-detector", "--regime", "augmentd"], 2),
        (["comparr"], 2),
        ([], 2),
    ],
)
def test_help_and_wrong_calls_are_answered_without_loading_anything_heavy(words, status):
    loaded = f"print('heavy:', *(m for m in {HEAVY} if m in sys.modules))"
    done = lesionforge(*words, after=loaded)
    assert done.returncode == status
    assert done.stdout.splitlines()[-1].strip() == "heavy:"


def test_the_package_runs_as_a_module_and_lists_its_commands():
    command = [sys.executable, "-m", "lesionforge", "--help"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    shown = [line.split()[0] for line in done.stdout.splitlines() if line.startswith("  ")]
    assert shown == list(COMMANDS)


def test_an_unknown_command_names_the_nearest(capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["lesionforge", "sythesize"])
    assert cli.main() == 2
    assert "`synthesize`" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "words", "message"),
    [
        ("train-detector", ["--regime", "augmentd"], "`regime` must be one of baseline"),
        ("train-detector", ["--seed", "9"], "Seed 9 is not one of the study's seeds"),
        ("train-generator", [], "cohort/participants.tsv is missing. Run `lesionforge prepare`"),
        ("compare", [], "has no trained detector"),
        ("compare", ["--model", "../x"], "../x"),
        ("synthesize", ["--set", "other"], "`set` must be one of spade"),
        (
            "synthesize",
            ["--regimes", "{baseline: {patients: 1, controls: 1}}"],
            "Name one with --set",
        ),
        ("prepare", ["--cohort.bids", "nowhere"], "nowhere"),
        ("prepare", ["--regimes", "{}"], "`regimes` must contain `baseline`"),
        ("run", ["--detector.devices", "2"], "detector.devices"),
        ("run", ["--config", "nowhere.yaml"], "nowhere.yaml"),
        ("score-reading", ["--kit", "nowhere", "reading.json"], "nowhere"),
        ("prepare", ["--channels", "[]"], "`channels` must be one or more"),
        ("prepare", ["--channels", "[T1w, t1w]"], "`channels` must be one or more different"),
        ("prepare", ["--channels", "[T1w, T2w]"], "Phantoms have T1w and FLAIR alone"),
    ],
)
def test_what_a_user_can_help_is_one_message_and_status_2(name, words, message, tmp_path, capsys):
    study = ["--runs", str(tmp_path)] if COMMANDS[name].needs_study else []
    assert cli.run(name, [*study, *words]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error


@pytest.mark.parametrize(
    ("error", "status", "traceback"),
    [
        ("FileNotFoundError(2, 'No such file', 'some.nii.gz')", 2, False),
        ("OSError(28, 'No space left on device')", 1, False),
        ("RuntimeError('a defect')", 1, True),
    ],
)
def test_the_status_tells_whose_fault_an_error_is(error, status, traceback):
    fail = f"import lesionforge.commands.table as t\ndef fail(bids: str):\n    raise {error}"
    fail += "\nfail.__doc__ = 'Fail.\\n\\nArgs:\\n    bids: any.\\n'"
    fail += "\nt.COMMANDS['check'] = t.Command(fail, positional='bids', needs_study=False)"
    done = lesionforge("check", "some", before=fail)
    assert done.returncode == status
    assert ("Traceback" in done.stderr) == traceback
    assert error.split("'")[1] in done.stderr


def test_the_former_name_of_a_stage_is_told_and_runs_nothing(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["lesionforge", "detect", "a_T1w.nii.gz"])
    assert cli.main() == 2
    assert "It is called `predict` now" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "words"), [("check", []), ("prepare", ["--check", "--cohort.bids"])]
)
def test_a_check_lists_everything_and_writes_nothing(name, words, tmp_path, capsys):
    rng = np.random.default_rng(0)
    area = grid((48, 48, 48), np.diag([2.5, 2.5, 2.5, 1]))
    for subject, kinds in (("sub-1", ("T1w", "FLAIR")), ("sub-2", ("T1w",))):
        for kind in kinds:
            data = rng.random(area.shape).astype(np.float32)
            write_volume(tmp_path / subject / "anat" / f"{subject}_{kind}.nii.gz", data, area)
    (tmp_path / "participants.tsv").write_text("participant_id\tgroup\tage\nsub-1\thc\t3\n")
    before = sorted(tmp_path.rglob("*"))
    assert cli.run(name, [*words, str(tmp_path)]) == 2
    shown = capsys.readouterr()
    assert "column age (is not read)" in shown.out
    assert "sub-2/anat/sub-2_T1w.nii.gz (its subject cannot be used" in shown.out
    assert "sub-2: has no FLAIR" in shown.out
    assert "1 subjects can be used (0 patients, 1 controls), 1 cannot" in shown.out
    assert "1 subject(s)" in shown.err
    (tmp_path / "sub-2" / "anat" / "sub-2_T1w.nii.gz").unlink()
    (tmp_path / "sub-2" / "anat").rmdir()
    (tmp_path / "sub-2").rmdir()
    assert cli.run(name, [*words, str(tmp_path)]) == 0
    assert set(tmp_path.rglob("*")) <= set(before)


def test_a_script_runs_its_command():
    command = [sys.executable, str(ROOT / "scripts/synthesize.py"), "--help"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("usage: synthesize.py [--config configs/X.yaml] [--set SET]")
    usage, _, rest = done.stdout.partition("\n\n")
    assert "[--n_controls N_CONTROLS]" in usage
    assert len(usage.splitlines()) < 6  # the many values of the study are explained further down
    assert rest.startswith("Make synthetic patients")
    assert "--synthetic.help" in rest


@pytest.mark.parametrize("name", COMMANDS)
def test_the_usage_names_every_option_of_the_command_itself(name):
    parser = arguments.command_parser(name)
    usage = parser.format_usage()
    for action in parser._actions:
        option = next(iter(action.option_strings), action.dest.upper())
        study = option.lstrip("-").split(".")[0] in Study.__dataclass_fields__
        if not study and action.dest not in ("help", "version", "print_config"):
            assert option.split(".")[0] in usage
    assert max(map(len, usage.splitlines())) <= 90
