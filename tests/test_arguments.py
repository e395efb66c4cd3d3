"""What a command line or study file gets wrong is named, with its place and what was meant."""

import pytest

from lesionforge.arguments import command_parser, parse, read_study
from lesionforge.errors import ConfigError


@pytest.fixture
def refused(tmp_path, capsys):
    """Return what is said of a study file, and of further words of the command line."""

    def read(text: str, *words: str) -> str:
        path = tmp_path / "my.yaml"
        path.write_text(text, encoding="utf-8")
        with pytest.raises((ConfigError, SystemExit)) as refusal:
            read_study(parse(command_parser("prepare"), ["--config", str(path), *words]))
        if isinstance(refusal.value, ConfigError):
            return str(refusal.value)
        assert refusal.value.code == 2
        return capsys.readouterr().err

    return read


@pytest.mark.parametrize(
    ("text", "key", "line", "near"),
    [
        ("name: x\ndetektor: {steps: 5}\n", "detektor", 2, "`detector`"),
        ("detector:\n  stpes: 5\n", "detector.stpes", 2, "`detector.steps`"),
        ("detektor:\n", "detektor", 1, "`detector`"),
        ("detector:\n  stpes: {}\n", "detector.stpes", 2, "`detector.steps`"),
        ("synthetic:\n  a:\n    max_gains: 2\n", "synthetic.a.max_gains", 3, "`max_gain`"),
    ],
)
def test_an_unknown_key_is_named_with_its_line_and_the_nearest(refused, text, key, line, near):
    message = refused(text)
    assert f"`{key}`" in message
    assert near in message
    assert f"my.yaml, line {line})" in message


@pytest.mark.parametrize(
    ("text", "new"),
    [
        ("regimes: {baseline: {patients: 1, controls: 1, dose: 2}}\n", "`ratio`"),
        ("synthetic: {spade: {flaw_share: 0.5}}\n", "`artifact_share`"),
        ("synthetic: {spade: {flaw_kinds: [bias]}}\n", "`artifact_kinds`"),
        ("generator: {generator_rate: 0.1}\n", "`generator_learning_rate`"),
        ("generator: {discriminator_rate: 0.1}\n", "`discriminator_learning_rate`"),
        ("arms: {}\n", "`regimes`"),
        ("synthetic: {spade: {decoy_share: 0.5}}\n", "removed"),
    ],
)
def test_a_key_of_the_first_version_names_its_new_one(refused, text, new):
    assert new in refused(text)


def test_old_keys_on_the_command_line_name_the_new_one_too(refused):
    regimes = "{baseline: {patients: 1, controls: 1, dose: 2}}"
    assert "`ratio`" in refused("name: x\n", "--regimes", regimes)
    assert "`detector.steps`" in refused("name: x\n", "--detector.step", "3")


@pytest.mark.parametrize(
    ("text", "key", "line"),
    [
        ("name: x\ndetector: {steps: many}\n", "detector.steps", 2),
        ("detector:\n  learning_rate: nan\n", "detector.learning_rate", 2),
        ("detector:\n  learning_rate: .nan\n", "learning_rate", 2),
        ("detector:\n  learning_rate: .inf\n", "learning_rate", 2),
        ("detector: {steps: 5.0}\n", "detector.steps", 1),
        ("detector: {steps: true}\n", "detector.steps", 1),
        ("detector: {precision: fp16}\n", "detector.precision", 1),
        ("seeds: 0\n", "seeds", 1),
        ("name: 2024\n", "name", 1),
        ("cohort:\n  prepare:\n    voxel_mm: 90\n", "voxel_mm", 3),
        ("cohort: {prepare: {exclude: sub-01}}\n", "cohort.prepare.exclude", 1),
    ],
)
def test_a_wrong_value_is_named_with_its_line(refused, text, key, line):
    message = refused(text)
    assert f"`{key}`" in message
    assert f"my.yaml, line {line})" in message


@pytest.mark.parametrize("number", ["nan", ".nan", ".inf"])
def test_the_command_line_takes_no_number_that_is_none(refused, number):
    assert "learning_rate" in refused("name: x\n", "--detector.learning_rate", number)


def test_a_regime_takes_nothing_from_a_default_one_of_its_name(refused, tmp_path):
    assert "controls" in refused("regimes: {baseline: {patients: 1}}\n")
    whole = "{baseline: {patients: 1, controls: 1}, augmented: {patients: 2, controls: 1}}"
    study = read_study(parse(command_parser("prepare"), ["--regimes", whole]))
    assert study.regimes["augmented"].synthetic is None


def test_the_command_line_wins_over_the_file(tmp_path):
    path = tmp_path / "my.yaml"
    path.write_text("detector: {steps: 5, patch: 32}\n")
    words = ["--config", str(path), "--detector.steps", "1000"]
    study = read_study(parse(command_parser("prepare"), words))
    assert (study.detector.steps, study.detector.patch) == (1000, 32)


def test_several_positional_values_become_a_list():
    words = ["--weights", "W", "a_T1w.nii", "b"]
    found = parse(command_parser("predict"), words)
    assert (found.weights, found.scans) == ("W", ["a_T1w.nii", "b"])
