"""Records each run of a stage (configuration, code, start and end), and lets no second one in."""

import logging
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from lesionforge.errors import DataError
from lesionforge.provenance import environment, read_json, sweep, write_json
from lesionforge.study.config import Study

RANKS = ("RANK", "LOCAL_RANK", "NODE_RANK", "SLURM_PROCID")
ORPHANS_S = 15.0
"""How long the workers of a killed process may keep its lock: they look for it every 5 s."""
logger = logging.getLogger(__name__)


@contextmanager
def recorded(study: Study, stage: str) -> Iterator[None]:
    """Write what runs, where, with which configuration and code, and in the end how it ended.

    While it runs, no other process can run the same stage of the same study. The lock ends with the
    process, however it ends. Processes that Lightning starts for further devices belong to the one
    that has the lock, and write nothing.

    Args:
        study: the study.
        stage: its name, with those of its regime or set, seed and fold.

    Raises:
        DataError: another process runs this stage; the message says which.
    """
    if _belongs_to_another(study):
        yield
        return
    path = study.labels_root / "stages" / f"{stage}.json"
    record = {
        "stage": stage,
        "config": asdict(study),
        "config_sha256": study.sha256,
        "environment": environment(),
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "started": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "status": "running",
    }
    with _alone(path):
        if swept := sweep(study.root):
            logger.info("%d temporary file(s) of a killed process were deleted", len(swept))
        write_json(path, record)
        start = time.monotonic()
        status = "stopped"
        try:
            yield
            status = "done"
        except Exception:
            status = "failed"
            raise
        finally:
            seconds = time.monotonic() - start
            write_json(path, {**record, "status": status, "seconds": round(seconds, 1)})
            logger.info("%s: %s after %s", stage, status, clock(seconds))


def clock(seconds: float) -> str:
    """Return a duration as people read it."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"


def _belongs_to_another(study: Study) -> bool:
    """Tell whether this process is not the first of a training on several devices."""
    several = study.detector.devices * study.detector.num_nodes > 1
    return several and any(os.environ.get(rank, "0") != "0" for rank in RANKS)


@contextmanager
def _alone(record: Path) -> Iterator[None]:
    """Hold the lock of a stage.

    Args:
        record: its record; the lock lies beside it.

    Raises:
        DataError: another process holds it.
    """
    from filelock import FileLock, Timeout

    record.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(record.with_suffix(".lock"), mode=0o666)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        holder = _holder(record)
        try:
            lock.acquire(timeout=ORPHANS_S if _is_dead(holder) else 0)
        except Timeout:
            who = f"Process {holder['pid']} on {holder['host']}" if holder else "Another process"
            raise DataError(
                f"{who} runs the stage `{record.stem}` of this study ({lock.lock_file} is locked). "
                "Wait until it has ended, or end it; then run the same command again."
            ) from None
    try:
        yield
    finally:
        lock.release()


def _holder(record: Path) -> dict[str, Any] | None:
    """Return the record of the process that runs a stage; None if it has written none yet."""
    if not record.exists():
        return None
    found = read_json(record)
    return found if found.get("status") == "running" and "pid" in found else None


def _is_dead(holder: dict[str, Any] | None) -> bool:
    """Tell whether a process of this host has ended (its forked workers may hold its lock on)."""
    if holder is None or holder["host"] != socket.gethostname():
        return False
    try:
        os.kill(holder["pid"], 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        pass
    return False
