"""Ends a command when it is asked to stop, and its worker processes with it."""

import contextlib
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Iterator
from types import FrameType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import joblib

SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP")  # Ctrl-C, a cluster's or container's end, a closed shell
ATTENTION_S = 1.0
"""How often a worker process looks whether its parent is still there."""


class Stopped(BaseException):
    """The command was asked to stop; no `Exception`, so that nothing that handles errors takes it.

    Args:
        number: of the signal.
    """

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.name = signal.Signals(number).name
        self.status = 128 + number


class Asked:
    """Whether the command was asked to stop, also where the exception itself was lost on its way.

    Attributes:
        stopped: what was raised; None so far.
    """

    def __init__(self) -> None:
        self.stopped: Stopped | None = None


@contextlib.contextmanager
def stoppable() -> Iterator[Asked]:
    """Raise `Stopped` in this block when a signal asks the process to stop.

    Lightning turns Ctrl-C into status 1 and SIGTERM into a quiet end with status 0; it passes on
    what a handler that was there before has raised. Signals that are ignored (`nohup`) stay so.
    Outside the main thread, where Python takes no signals, nothing is changed.
    """
    asked, owner = Asked(), os.getpid()

    def stop(number: int, frame: FrameType | None) -> None:
        if os.getpid() != owner:  # a forked worker: its parent ends it
            if number != signal.SIGINT:
                signal.signal(number, signal.SIG_DFL)
                os.kill(os.getpid(), number)
            return
        asked.stopped = Stopped(number)
        raise asked.stopped

    former: dict[int, Any] = {}
    if threading.current_thread() is threading.main_thread():
        for name in SIGNALS:
            number = getattr(signal, name, None)  # not every system has all of them
            if number is not None and signal.getsignal(number) != signal.SIG_IGN:
                former[number] = signal.signal(number, stop)
    try:
        yield asked
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)


def end_workers() -> None:
    """Kill the worker processes of this process that are still there."""
    for process in multiprocessing.active_children():
        process.kill()


def worker_pool(workers: int, **options: Any) -> "joblib.Parallel":
    """Return a joblib pool whose processes end with this one, however this one ends.

    Args:
        workers: processes; with 1 the work is done in this process.
        options: of `joblib.Parallel`.
    """
    import joblib

    if workers > 1:
        options |= {"initializer": _attend, "initargs": (os.getpid(),)}
    return joblib.Parallel(n_jobs=workers, **options)


def _attend(parent: int) -> None:
    """Leave Ctrl-C to the parent, and end when the parent has gone (even if it was killed)."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(ATTENTION_S)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
