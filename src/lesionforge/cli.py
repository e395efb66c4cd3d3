"""The command line: `lesionforge COMMAND`, and the same commands for the files in `scripts/`.

Nothing here imports what takes seconds (torch, scipy, pandas): the command that runs does.
"""

import difflib
import gc
import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from lesionforge import __version__
from lesionforge.commands.table import COMMANDS
from lesionforge.errors import LesionForgeError
from lesionforge.stopping import Stopped, end_workers, stoppable

if TYPE_CHECKING:
    from jsonargparse import Namespace

DONE, FAILED, REFUSED = 0, 1, 2
RENAMED = {"detect": "predict"}


def run(name: str, argv: list[str] | None = None, prog: str | None = None) -> int:
    """Run a command; print one message where the user can help, and where it was stopped.

    Args:
        name: of the command.
        argv: its arguments (default: those of the process).
        prog: what it is called in messages.

    Returns:
        Exit status: 0 done; 2 the input or the call is wrong, and a message says what; 130 stopped
        by Ctrl-C, 143 by SIGTERM (128 and the signal's number). Any other error is raised, which
        ends a process with 1.
    """
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    prog = prog or f"lesionforge {name}"
    with stoppable() as asked:
        try:
            status = _run(name, sys.argv[1:] if argv is None else argv, prog)
        except Stopped:
            pass
        except (SystemExit, Exception):
            if asked.stopped is None:
                raise
    if asked.stopped is None:
        return status
    asked.stopped.__traceback__ = asked.stopped.__context__ = None
    gc.collect()  # what the stopped functions held, progress bars among it, ends before the message
    end_workers()
    sys.stderr.write(
        f"{prog}: stopped by {asked.stopped.name}. The same command goes on from here.\n"
    )
    return asked.stopped.status


def _run(name: str, argv: list[str], prog: str) -> int:
    """Parse the arguments and call the command."""
    from lesionforge.arguments import command_parser, parse

    try:
        _call(name, parse(command_parser(name, prog), argv))
    except LesionForgeError as error:
        sys.stderr.write(f"{prog}: error: {error}\n")
        return REFUSED
    except OSError as error:
        sys.stderr.write(f"{prog}: error: {error}\n")
        return REFUSED if error.filename is not None else FAILED
    return DONE


def _call(name: str, arguments: "Namespace") -> None:
    """Call a command with its parsed arguments, and the study where it needs one."""
    from dataclasses import fields

    from lesionforge.arguments import read_study
    from lesionforge.study.config import Study

    command = COMMANDS[name]
    values = {key: value for key, value in vars(arguments).items() if key != "config"}
    if not command.needs_study:
        command.function(**values)
        return
    study = read_study(arguments)
    own = {key: v for key, v in values.items() if key not in {f.name for f in fields(Study)}}
    command.function(study, **own)


def main() -> int:
    """Entry point of the `lesionforge` program."""
    words = sys.argv[1:]
    if words and words[0] in COMMANDS:
        return run(words[0], words[1:])
    if words == ["--version"]:
        print(f"lesionforge {__version__}")
        return DONE
    if words and words[0] not in ("-h", "--help"):
        near = difflib.get_close_matches(words[0], COMMANDS, n=1)
        hint = f" Did you mean `{near[0]}`?" if near else " `lesionforge --help` lists them."
        if words[0] in RENAMED:
            hint = f" It is called `{RENAMED[words[0]]}` now."
        print(f"lesionforge: error: unknown command `{words[0]}`.{hint}", file=sys.stderr)
        return REFUSED
    width = max(map(len, COMMANDS))
    print("usage: lesionforge COMMAND [options]\n\nCommands:")
    for name, command in COMMANDS.items():
        print(f"  {name:<{width}}  {command.summary}")
    print("\n`lesionforge COMMAND --help` explains a command. Research use only.")
    return DONE if words else REFUSED


def script(name: str) -> None:
    """Run a command as the script that was called (the files in `scripts/`)."""
    sys.exit(run(name, sys.argv[1:], Path(sys.argv[0]).name))
