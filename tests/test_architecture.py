"""The shape of the project, held by tests (import layers are held by import-linter)."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCES = sorted((ROOT / "src").rglob("*.py"))
SCRIPTS = sorted((ROOT / "scripts").glob("*.py"))


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda p: p.name)
def test_scripts_are_thin(path):
    assert len(path.read_text().splitlines()) <= 30


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: p.name)
def test_files_stay_short(path):
    assert len(path.read_text().splitlines()) <= 400


def _imports(path: Path) -> set[str]:
    """Modules that a file imports when it is loaded (imports inside functions do not count)."""
    names = set()
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module}
    return names


def test_simpleitk_is_imported_in_one_place():
    users = [p.name for p in SOURCES if any(n.startswith("SimpleITK") for n in _imports(p))]
    assert users == ["register.py"]


def test_no_pickle_and_no_unsafe_loading():
    for path in SOURCES:
        text = path.read_text()
        assert "import pickle" not in text
        loading = [line for line in text.splitlines() if "save_checkpoint" not in line]
        assert not any("weights_only=False" in line for line in loading)
        assert "yaml.load(" not in text


def test_nothing_draws_from_a_global_generator():
    """Every draw has a named stream; torch's modules are seeded in `lesionforge.seeding`."""
    forbidden = ("np.random.seed", "np.random.rand", "np.random.normal", "random.random(",
                 "torch.manual_seed", "seed_everything", "torch.randn(", "torch.rand(")  # fmt: skip
    for path in SOURCES:
        for line in path.read_text().splitlines():
            found = [f for f in forbidden if f in line and "generator=" not in line]
            assert not found, f"{path.name}: {line.strip()}"
