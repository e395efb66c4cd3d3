"""Records each run of a stage: configuration, code, when it started and how it ended."""

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict

from lesionforge.provenance import environment, write_json
from lesionforge.study.config import Study

logger = logging.getLogger(__name__)


@contextmanager
def recorded(study: Study, stage: str) -> Iterator[None]:
    """Write what runs, with which configuration and code, before it starts and how it ended."""
    path = study.labels_root / "stages" / f"{stage}.json"
    record = {
        "stage": stage,
        "config": asdict(study),
        "config_sha256": study.sha256,
        "environment": environment(),
        "started": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "status": "running",
    }
    write_json(path, record)
    start = time.monotonic()
    record["status"] = "failed"
    try:
        yield
        record["status"] = "done"
    finally:
        seconds = time.monotonic() - start
        write_json(path, {**record, "seconds": round(seconds, 1)})
        logger.info("%s: %s after %s", stage, record["status"], _clock(seconds))


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"
