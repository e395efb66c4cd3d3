"""Turns a command line and a study file into checked values.

jsonargparse reads types and help from the commands' signatures and docstrings. Added here: study
files are read strictly, and an error names file, line and the nearest key.
"""

import difflib
import inspect
import re
import textwrap
from collections.abc import Callable, Mapping
from dataclasses import asdict, fields, is_dataclass
from itertools import pairwise
from pathlib import Path
from types import MappingProxyType
from typing import Any

import docstring_parser
import yaml
from jsonargparse import ArgumentParser, Namespace, set_loader

from lesionforge import __version__
from lesionforge.commands.table import COMMANDS, Command
from lesionforge.errors import ConfigError
from lesionforge.study.config import REMOVED, RENAMED, Study
from lesionforge.study.reading import Key, load_text, read_lines
from lesionforge.study.regimes import Regime
from lesionforge.synthesis.config import SynthesisConfig

STUDY_VALUES = (
    "Every value of a study's file is an option too, which wins over the file: --detector.steps "
    "3000, --cohort.phantom.seed 7. What a synthetic set can be is told by --synthetic.help, a "
    "regime by --regimes.help; --print_config prints the study as it would run."
)
BLOCKS: dict[str, type[Any]] = {"regimes": Regime, "synthetic": SynthesisConfig}
"""Values of a study whose keys are names of the user's, and what each of them holds."""
PLAIN = {
    r"\s*Problem with given class_path '[^']*':\s*": " ",
    r"""Parser key ['"]([^'"]+)['"]:\s*""": r"`\1`: ",
    r"Group '([^']+)' does not accept option '([^']+)'": r"there is no key `\1.\2`",
    r"Option '([^']+)' is not accepted": r"there is no key `\1`",
    r"Expected a <class 'int'>\.": "expected a whole number,",
    r"Expected a <class 'float'>\.": "expected a number,",
    r"Expected a <class 'bool'>\.": "expected true or false,",
    r"Expected a <class 'str'>\.": "expected text (put what looks like a number in quotes),",
    r"Expected a <class 'tuple'>\.": "expected a list such as [a, b],",
    r"Expected a typing\.Literal\[([^]]+)\]\.": r"expected one of \1,",
    r"Got value:": "got",
}
"""What jsonargparse says, and the same in plain words."""
set_loader("study", load_text, (yaml.YAMLError,))


class CommandParser(ArgumentParser):
    """A parser whose errors say where the wrong key stands and which one is near.

    Attributes:
        lines: file and line of each key of the study files.
    """

    lines: Mapping[Key, tuple[Path, int]] = MappingProxyType({})

    def error(self, message: str, ex: Exception | None = None) -> Any:
        """Print what is wrong and what was meant, and end with status 2."""
        super().error(self.explain(message), ex)

    def read_lines(self, paths: list[Path]) -> None:
        """Read where the keys of study files stand.

        Raises:
            ConfigError: a file cannot be read, or one of its keys is unknown.
        """
        self.lines = {key: (path, line) for path in paths for key, line in read_lines(path).items()}
        for key in self.lines:
            if not self._is_known(key):
                raise ConfigError(self.explain(f"there is no key `{'.'.join(key)}`"))

    def explain(self, message: str) -> str:
        """Say a message in plain words, with file, line and the nearest known key."""
        for pattern, words in PLAIN.items():
            message = re.sub(pattern, words, message)
        message = message.rstrip()
        keys = re.findall(r"`([\w.-]+)`", message)
        keys += re.findall(r"--([\w.-]+)", message)
        for hint in (self._nearest(keys), self._line(keys)):
            if hint and hint not in message:  # the parser of a single value may have said it
                message += f" {hint}" if message.endswith((".", "?")) else f". {hint}"
        return message

    @property
    def _options(self) -> set[str]:
        return {option.lstrip("-") for option in self._option_string_actions}

    def _is_known(self, key: Key) -> bool:
        """Tell whether a key of a study file means something, also where it holds nothing."""
        if key[0] in BLOCKS and len(key) > 1:
            return len(key) == 2 or key[2] in {field.name for field in fields(BLOCKS[key[0]])}
        name = ".".join(key)
        if any(f"{option}.".startswith(f"{name}.") for option in self._options):
            return True
        above = {option for option in self._options if name.startswith(f"{option}.")}
        groups = {o for o in above for other in self._options if other.startswith(f"{o}.")}
        return bool(above - groups)  # a key of a dictionary

    def _nearest(self, names: list[str]) -> str | None:
        """Say what an unknown key is called now, or which known one is near."""
        known = {part for option in self._options for part in option.split(".")}
        known |= {field.name for kind in BLOCKS.values() for field in fields(kind)}
        for name in names:
            strange = [part for part in name.split(".") if part not in known]
            if not strange or name in self._options:
                continue
            if strange[-1] in RENAMED:
                return f"`{strange[-1]}` is called `{RENAMED[strange[-1]]}` now."
            if strange[-1] in REMOVED:
                return REMOVED[strange[-1]]
            near = difflib.get_close_matches(name, sorted(self._options), n=1, cutoff=0.7)
            near += difflib.get_close_matches(strange[-1], sorted(known), n=1)
            if near:
                return f"Did you mean `{near[0]}`?"
        return None

    def _line(self, names: list[str]) -> str | None:
        """Say in which line of which study file the first of some keys stands."""
        places = {".".join(key): place for key, place in self.lines.items()}
        for name in names:
            found = [key for key in places if key == name]
            found += [key for key in places if key.endswith(f".{name}")]
            found += [key for key in places if name.startswith(f"{key}.")]
            if found:
                return "({}, line {})".format(*places[found[0]])
        return None


def command_parser(name: str, prog: str | None = None) -> CommandParser:
    """Build the parser of a command: its own options, and every value of the study."""
    command = COMMANDS[name]
    function, prog = command.function, prog or f"lesionforge {name}"
    parser = CommandParser(
        prog=prog,
        usage=_usage(command, prog),
        description=(function.__doc__ or "").split("Args:")[0],
        epilog=STUDY_VALUES if command.needs_study else None,
        version=__version__,
        allow_abbrev=False,
        parser_mode="study",
    )
    special: set[str | int] = {"study", *command.flags}
    if command.positional:
        about = _help(function, command.positional)
        parser.add_argument(command.positional, nargs=command.number, type=str, help=about)
        special.add(command.positional)
    for flag in command.flags:
        parser.add_argument(f"--{flag}", action="store_true", help=_help(function, flag))
    if command.needs_study:
        parser.add_argument(
            "--config",
            action="config",
            help="study file (YAML), e.g. configs/lgg.yaml; without one, the phantom study runs",
        )
    parser.add_function_arguments(function, skip=special)
    if command.needs_study:
        parser.add_class_arguments(Study, None)
        default = Study()
        parser.set_defaults(
            regimes={name: asdict(regime) for name, regime in default.regimes.items()},
            synthetic={name: asdict(config) for name, config in default.synthetic.items()},
        )
    return parser


def parse(parser: CommandParser, argv: list[str]) -> Namespace:
    """Parse a command line and build what it describes.

    Raises:
        ConfigError: a study file cannot be read, or a value is outside its range.
        SystemExit: with 2, an option or value is wrong; with 0, help was asked for.
    """
    parser.read_lines(_study_files(argv))
    for name in BLOCKS:  # given as a whole: no key of a default entry stays
        if (name,) in parser.lines or any(word.startswith(f"--{name}") for word in argv):
            parser.set_defaults({name: {}})
    arguments = parser.parse_args(argv)
    try:
        return parser.instantiate(arguments)
    except ConfigError as error:
        raise ConfigError(parser.explain(str(error))) from None


def read_study(arguments: Namespace) -> Study:
    """Return the study that a command's parsed and instantiated arguments describe."""
    return Study(**{field.name: getattr(arguments, field.name) for field in fields(Study)})


def _study_files(argv: list[str]) -> list[Path]:
    """Return the study files of a command line."""
    after = [Path(value) for word, value in pairwise(argv) if word == "--config"]
    return after + [Path(word[9:]) for word in argv if word.startswith("--config=")]


def _usage(command: Command, prog: str) -> str:
    """Return what the command itself takes; the study's values, which are many, are named below."""
    words = [prog]
    if command.needs_study:
        words.append("[--config configs/X.yaml]")
    for own in inspect.signature(command.function).parameters.values():
        if is_dataclass(own.annotation) and own.name != "study":
            words.append(f"[--{own.name}.VALUE ...]")
        elif own.name not in ("study", command.positional):
            flag = own.name in command.flags
            word = f"--{own.name}" if flag else f"--{own.name} {own.name.upper()}"
            words.append(word if own.default is own.empty else f"[{word}]")
    if command.needs_study:
        words.append("[--VALUE.OF.THE.STUDY ...]")
    if command.positional:
        words.append(command.positional.upper() + (" ..." if command.many else ""))
    whole = " ".join(word.replace(" ", "\xa0") for word in words)  # options are not torn apart
    return textwrap.fill(
        whole, 72, subsequent_indent=" " * 7, break_long_words=False, break_on_hyphens=False
    ).replace("\xa0", " ")


def _help(function: Callable[..., Any], name: str) -> str | None:
    parameters = docstring_parser.parse(function.__doc__ or "").params
    return next(p.description for p in parameters if p.arg_name == name)
