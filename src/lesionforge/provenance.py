"""Where every file comes from: atomic writes, checksums, and the record of a stage's run.

Every configuration imports this module, so pandas, torch and filelock, which take seconds to load,
are imported by the functions that use them.
"""

import hashlib
import json
import os
import platform
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lesionforge.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

PATIENCE_S = 60.0  # for another process that is writing
WRITERS = {  # what writes a folder of a study, by its name and that of the folder inside it
    "cohort": "prepare",
    "generator": "train-generator",
    "synthetic": "synthesize --set {}",
    "detector": "train-detector --regime {}",
    "report": "compare",
    "audit": "audit-labels",
}


@contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """Yield a temporary sibling of `path` to write to; rename it to `path` when all went well.

    The temporary name keeps the suffixes of `path` (NIfTI writers choose their format by them).
    A process killed at any moment leaves either the old file or the new one, never half of it.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=".part-", suffix="-" + path.name)
    os.close(handle)
    try:
        yield Path(name)
        os.chmod(name, 0o666 & ~_umask())  # noqa: PTH101 (mkstemp's 0600 would outlive the rename)
        os.replace(name, path)  # noqa: PTH105 (atomic on one file system)
    finally:
        Path(name).unlink(missing_ok=True)


@contextmanager
def alone(lock: Path, what: Path) -> Iterator[None]:
    """Keep other processes out while a file that grows or must not be made twice is written.

    Args:
        lock: beside it; anybody may take it.
        what: is written, for the message.

    Raises:
        DataError: another process holds the lock for long.
    """
    from filelock import FileLock, Timeout

    lock.parent.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(lock, PATIENCE_S, mode=0o666):
            yield
    except Timeout:
        raise DataError(busy(what)) from None


def busy(what: Path) -> str:
    """Say that another process has been writing a file for too long."""
    return (
        f"Another process has been writing {what} for {PATIENCE_S:g} s. Nothing was recorded: try "
        "again when it has ended."
    )


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file as 64 hexadecimal digits."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sha256_json(value: Any) -> str:
    """Return the SHA-256 of a JSON-able value, independent of key order."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()


def write_json(path: Path, value: Any) -> None:
    """Write `value` as indented JSON, atomically; NaN is refused (use None)."""
    text = json.dumps(value, indent=1, default=str, allow_nan=False) + "\n"
    with atomic(path) as part:
        part.write_text(text)


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises:
        DataError: the file is missing or is not JSON.
    """
    try:
        return json.loads(Path(path).read_text())
    except FileNotFoundError:
        raise DataError(f"{path} is missing. {_remedy(Path(path))}") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise DataError(
            f"{path} is not JSON ({error}). Delete it and run its stage again."
        ) from None


def _remedy(path: Path) -> str:
    """Say what writes a file that is missing."""
    for folder, inside in reversed([*pairwise(path.parts)]):
        if folder in WRITERS:
            return f"Run `lesionforge {WRITERS[folder].format(inside)}` of this study first."
    return "Is the path right?"


def write_tsv(path: Path, table: "pd.DataFrame") -> None:
    """Write a table as BIDS does: tab-separated, `n/a` for missing, no index; atomically."""
    with atomic(path) as part:
        table.to_csv(part, sep="\t", index=False, na_rep="n/a", float_format="%.6g")


def write_tsv_once(path: Path, table: "pd.DataFrame") -> bool:
    """Write a table that is never changed; returns False if the file exists and holds another."""
    if not path.exists():
        write_tsv(path, table)
        return True
    again = path.with_suffix(".new")
    write_tsv(again, table)
    same = path.read_bytes() == again.read_bytes()
    again.unlink()
    return same


def read_tsv(path: Path, **columns: type) -> "pd.DataFrame":
    """Read a BIDS table (`n/a` is missing); `columns` that must be there, with their types.

    Raises:
        DataError: the file is missing, unreadable or lacks one of `columns`.
    """
    import pandas as pd

    try:
        table = pd.read_csv(
            path,
            sep="\t",
            dtype=columns,
            na_values=["n/a"],
            keep_default_na=False,
            encoding="utf-8-sig",
        )
    except FileNotFoundError:
        raise DataError(f"{path} is missing. {_remedy(Path(path))}") from None
    except (ValueError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read as a table: {error}") from None
    missing = [name for name in columns if name not in table.columns]
    if missing:
        raise DataError(
            f"{path} lacks the column(s) {', '.join(missing)}; it has {', '.join(table.columns)}."
        )
    return table


def environment() -> dict[str, str]:
    """Describe the code and machine that run: package and library versions, commit, platform."""
    import torch

    names = ("lesionforge", "lightning", "monai", "numpy", "scipy", "nibabel", "simpleitk")
    record = {name: _version(name) for name in names}
    record["torch"] = str(torch.__version__)  # with the build, which packages do not always name
    record["python"] = platform.python_version()
    record["platform"] = platform.platform()
    record["commit"] = _commit()
    return record


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def _commit() -> str:
    """Return the git commit of the package's source with `+dirty` if changed, or `unknown`."""
    command = [
        "git",
        "-C",
        str(Path(__file__).parent),
        "describe",
        "--always",
        "--dirty=+dirty",
        "--abbrev=40",
        "--exclude=*",
    ]
    try:
        found = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return "unknown"
    return found.stdout.strip() or "unknown"
