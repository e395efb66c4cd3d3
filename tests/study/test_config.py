"""A study's configuration can be read without what takes seconds to import."""

import subprocess
import sys
from pathlib import Path

import pytest

import lesionforge

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
