"""A study's configuration loads nothing heavy, and its names are safe."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

import lesionforge
from lesionforge.errors import ConfigError
from lesionforge.study.config import Study
from lesionforge.study.regimes import Regime
from lesionforge.synthesis.config import SynthesisConfig

PACKAGE = Path(lesionforge.__file__).parent
HEAVY = ("torch", "lightning", "monai", "numpy", "scipy", "pandas", "nibabel", "SimpleITK")
CONFIGS = sorted(
    ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts)
    for path in PACKAGE.rglob("config.py")
)


def loaded_by(code: str) -> set[str]:
    """Run `code` in a fresh interpreter and return the heavy packages that it has loaded."""
    report = f"import sys; print(*(m for m in {HEAVY} if m in sys.modules))"
    command = [sys.executable, "-c", f"{code}\n{report}"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return set(done.stdout.splitlines()[-1].split())


def test_the_modules_that_hold_configurations_are_found():
    assert len(CONFIGS) >= 9
    assert loaded_by("import numpy") == {"numpy"}


@pytest.mark.parametrize("module", CONFIGS)
def test_a_configuration_loads_nothing_heavy(module):
    assert not loaded_by(f"import {module}")


GOOD = ("a", "A-1_b.c", "_x", "0", "x" * 64)
BAD = (
    "",
    ".",
    "..",
    ".x",
    "-x",
    "a/b",
    "a b",
    "a;b",
    "$(x)",
    "a'b",
    "a\nb",
    "a\x00",
    "é",
    "x" * 65,
)


@pytest.mark.parametrize("name", GOOD)
def test_plain_names_are_taken(name):
    regimes = {"baseline": Regime(1, 1), name: Regime(1, 1, synthetic=name)}
    study = Study(name=name, regimes=regimes, synthetic={name: SynthesisConfig()})
    assert study.root.parent == Path("runs")


@pytest.mark.parametrize("name", [*BAD, None, 7])
def test_a_name_cannot_leave_its_folder_or_be_read_as_anything_else(name):
    baseline = {"baseline": Regime(1, 1)}
    for values in (
        {"name": name},
        {"labels": name},
        {"regimes": baseline | {name: Regime(1, 1)}},
        {"regimes": baseline, "synthetic": {name: SynthesisConfig()}},
    ):
        with pytest.raises(ConfigError, match=re.escape(repr(name))):
            Study(**values)


def test_only_sets_of_a_generator_need_one():
    pasted = {"pasted": SynthesisConfig(mode="paste"), "spade": SynthesisConfig()}
    regimes = {"baseline": Regime(1, 1), "more": Regime(1, 1, synthetic="pasted")}
    assert not Study(regimes=regimes, synthetic=pasted).generator_used
    regimes["most"] = Regime(1, 1, synthetic="spade")
    assert Study(regimes=regimes, synthetic=pasted).generator_used
