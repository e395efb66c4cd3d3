"""Where every file comes from: atomic writes, checksums, and the record of a stage's run.

Every configuration imports this module, so pandas, torch and filelock, which take seconds to load,
are imported by the functions that use them.
"""

import contextlib
import fcntl
import hashlib
import json
import os
import platform
import subprocess
import tempfile
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lesionforge.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

PART = ".part-"
FOREIGN_S = 24 * 3600.0
"""Temporary files of other machines are left alone for so long: their locks may be invisible."""
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

    The temporary name keeps the suffixes of `path` (NIfTI writers choose their format by them). It
    is hidden (readers leave out what begins with a dot) and locked, so that `sweep` knows whether
    its writer still lives. File and folder are on disk when the name appears: a process killed at
    any moment, or a machine that loses power, leaves either the old file or the new one, never half
    of it.
    """
    path = Path(path)
    _make(path.parent)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=_own_prefix(), suffix=f"-{path.name}")
    try:
        with contextlib.suppress(OSError):  # not every file system has locks
            _lock(handle)
        yield Path(name)
        os.chmod(name, 0o666 & ~_umask())  # noqa: PTH101 (mkstemp's 0600 would outlive the rename)
        _sync(Path(name))
        os.replace(name, path)  # noqa: PTH105 (atomic on one file system)
        _sync(path.parent)
    finally:
        os.close(handle)
        Path(name).unlink(missing_ok=True)


def sweep(folder: Path) -> list[Path]:
    """Delete the temporary files that killed processes have left in a folder and those below it.

    A file whose writer lives is locked and stays. Locks of other machines may be invisible: their
    files stay for a day. Links are not followed.

    Returns:
        What was deleted.
    """
    swept = []
    for above, _, names in os.walk(folder):
        for path in (Path(above, name) for name in names if name.startswith(PART)):
            with contextlib.suppress(OSError):  # locked, gone meanwhile, or no right to delete it
                young = time.time() - path.stat().st_mtime < FOREIGN_S
                if young and not path.name.startswith(_own_prefix()):
                    continue
                with path.open("rb") as file:
                    _lock(file.fileno())
                    path.unlink()
                swept.append(path)
    return swept


def is_hidden(path: Path, root: Path) -> bool:
    """Tell whether a file below `root`, or a folder above it, has a name that begins with a dot.

    Such files are no data: temporary files, and what other systems leave (`._sub-01_T1w.nii.gz`).
    """
    return any(part.startswith(".") for part in path.relative_to(root).parts)


def _own_prefix() -> str:
    """Return how temporary files of this machine begin."""
    return f"{PART}{zlib.crc32(platform.node().encode()):08x}-"


def _lock(handle: int) -> None:
    """Lock an open file; raises OSError if another process has locked it."""
    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _make(folder: Path) -> None:
    """Make a folder and those above it, each one on disk before it is used."""
    if folder.is_dir():
        return
    _make(folder.parent)
    folder.mkdir(exist_ok=True)
    _sync(folder.parent)


def _sync(path: Path) -> None:
    """Wait until a file or folder is on disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def alone(lock: Path, what: Path, patience_s: float = PATIENCE_S) -> Iterator[None]:
    """Keep other processes out while a file that grows or must not be made twice is written.

    Args:
        lock: beside it; anybody may take it.
        what: is written, for the message.
        patience_s: how long to wait for another process.

    Raises:
        DataError: another process holds the lock for longer.
    """
    from filelock import FileLock, Timeout

    lock.parent.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(lock, patience_s, mode=0o666):
            yield
    except Timeout:
        raise DataError(busy(what, patience_s)) from None


def busy(what: Path, patience_s: float = PATIENCE_S) -> str:
    """Say that another process has been writing a file for too long."""
    for_long = f" for {patience_s:g} s" if patience_s else ""
    return (
        f"Another process has been writing {what}{for_long}. Nothing was written here: try again "
        "when it has ended."
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
        part.write_text(text, encoding="utf-8")


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises:
        DataError: the file is missing or is not JSON.
    """
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
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
    text = _tsv(table)
    with atomic(path) as part:
        part.write_text(text, encoding="utf-8")


def _tsv(table: "pd.DataFrame") -> str:
    text: str = table.to_csv(sep="\t", index=False, na_rep="n/a", float_format="%.6g")
    return text


def write_tsv_once(path: Path, table: "pd.DataFrame") -> bool:
    """Write a table that is never changed; returns False if the file exists and holds another."""
    if not path.exists():
        write_tsv(path, table)
        return True
    return path.read_bytes() == _tsv(table).encode()


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
