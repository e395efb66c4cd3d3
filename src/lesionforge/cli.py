"""The command line: `lesionforge <stage>`, and the same stages for the files in `scripts/`."""

import difflib
import inspect
import logging
import sys
import textwrap
from collections.abc import Callable
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any

import docstring_parser
from jsonargparse import ArgumentParser, Namespace

from lesionforge import __version__
from lesionforge.commands import advice, exchange, inference, labels, synthetic
from lesionforge.commands import study as commands_study
from lesionforge.errors import LesionForgeError
from lesionforge.study.config import Study

STAGES: dict[str, Callable[..., Any]] = {
    "check": commands_study.check_data,
    "prepare": commands_study.prepare,
    "train-generator": commands_study.train_generator,
    "synthesize": commands_study.synthesize,
    "train-detector": commands_study.train_detector,
    "compare": commands_study.compare,
    "predict": inference.predict,
    "audit-synthetic": synthetic.audit_synthetic,
    "trace-false-positives": synthetic.trace_false_positives,
    "audit-labels": labels.audit_labels,
    "next-cases": advice.next_cases,
    "pre-label": labels.pre_label,
    "decide": labels.decide,
    "apply-decisions": labels.apply_decisions,
    "corrupt-labels": labels.corrupt_labels,
    "inspect-synthetic": synthetic.inspect_synthetic,
    "reading-kit": synthetic.reading_kit,
    "score-reading": synthetic.score_reading,
    "export-nnunet": exchange.export_nnunet,
    "import-predictions": exchange.import_predictions,
}
WITHOUT_STUDY = ("check", "predict", "score-reading")
RENAMED = {"detect": "predict"}
POSITIONAL = {
    "check": ("bids", None),
    "predict": ("scans", "+"),
    "import-predictions": ("predictions", None),
    "inspect-synthetic": ("saved", None),
    "score-reading": ("readings", "+"),
}
FLAGS = {"prepare": ("check",)}
STUDY_VALUES = (
    "Every value of a study's file is an option too, which wins over the file: --detector.steps "
    "3000, --cohort.phantom.seed 7. What a synthetic set can be is told by --synthetic.help, a "
    "regime by --regimes.help; --print_config prints the study as it would run."
)


class _Parser(ArgumentParser):
    """A parser that names the nearest option when one is not known."""

    def error(self, message: str, ex: Exception | None = None) -> Any:
        for word in message.split():
            near = difflib.get_close_matches(word, self._option_string_actions, n=1, cutoff=0.7)
            if word.startswith("--") and near and near[0] != word:
                message += f". Did you mean {near[0]}?"
        super().error(message, ex)


def stage_parser(stage: str, prog: str | None = None) -> ArgumentParser:
    """Build the parser of a stage: its own options, and every value of the study."""
    function = STAGES[stage]
    prog = prog or f"lesionforge {stage}"
    parser = _Parser(
        prog=prog,
        usage=_usage(stage, prog),
        description=(function.__doc__ or "").split("Args:")[0],
        epilog=None if stage in WITHOUT_STUDY else STUDY_VALUES,
        version=__version__,
        allow_abbrev=False,
    )
    special: set[str | int] = {"study"}
    if stage in POSITIONAL:
        name, number = POSITIONAL[stage]
        parser.add_argument(name, nargs=number, type=str, help=_help(function, name))
        special.add(name)
    for name in FLAGS.get(stage, ()):
        parser.add_argument(f"--{name}", action="store_true", help=_help(function, name))
        special.add(name)
    if stage not in WITHOUT_STUDY:
        parser.add_argument(
            "--config",
            action="config",
            help="study file (YAML), e.g. configs/lgg.yaml; without one, the phantom study runs",
        )
    parser.add_function_arguments(function, skip=special)
    if stage not in WITHOUT_STUDY:
        parser.add_class_arguments(Study, None)
        default = Study()
        parser.set_defaults(
            regimes={name: asdict(regime) for name, regime in default.regimes.items()},
            synthetic={name: asdict(config) for name, config in default.synthetic.items()},
        )
    return parser


def _usage(stage: str, prog: str) -> str:
    """Return what the stage itself takes; the study's values, which are many, are named below."""
    name, number = POSITIONAL.get(stage, ("", None))
    words, flags = [prog], FLAGS.get(stage, ())
    if stage not in WITHOUT_STUDY:
        words.append("[--config configs/X.yaml]")
    for own in inspect.signature(STAGES[stage]).parameters.values():
        if is_dataclass(own.annotation) and own.name != "study":
            words.append(f"[--{own.name}.VALUE ...]")
        elif own.name not in ("study", name):
            word = f"--{own.name}" if own.name in flags else f"--{own.name} {own.name.upper()}"
            words.append(word if own.default is own.empty else f"[{word}]")
    if stage not in WITHOUT_STUDY:
        words.append("[--VALUE.OF.THE.STUDY ...]")
    if name:
        words.append(name.upper() + (" ..." if number else ""))
    whole = " ".join(word.replace(" ", "\xa0") for word in words)  # options are not torn apart
    return textwrap.fill(
        whole, 72, subsequent_indent=" " * 7, break_long_words=False, break_on_hyphens=False
    ).replace("\xa0", " ")


def _help(function: Callable[..., Any], name: str) -> str | None:
    parameters = docstring_parser.parse(function.__doc__ or "").params
    return next(p.description for p in parameters if p.arg_name == name)


def run(stage: str, argv: list[str] | None = None, prog: str | None = None) -> int:
    """Parse `argv`, run a stage, and turn an error a user can mend into one clear message.

    Returns:
        Exit status: 0 done, 1 refused or failed with a message, 130 interrupted.
    """
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    try:
        parser = stage_parser(stage, prog)
        arguments = parser.instantiate(parser.parse_args(argv))
        _call(stage, arguments)
    except LesionForgeError as error:
        print(f"{prog or 'lesionforge'}: error: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"{prog or 'lesionforge'}: error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("Interrupted. The same command goes on from here.", file=sys.stderr)
        return 130
    return 0


def read_study(arguments: Namespace) -> Study:
    """Return the study that a stage's parsed and instantiated arguments describe."""
    values = vars(arguments)
    return Study(**{name: values[name] for name in Study.__dataclass_fields__})


def _call(stage: str, arguments: Namespace) -> None:
    values = {k: v for k, v in vars(arguments).items() if k != "config"}
    if stage in WITHOUT_STUDY:
        STAGES[stage](**values)
        return
    study = read_study(arguments)
    values = {k: v for k, v in values.items() if k not in Study.__dataclass_fields__}
    STAGES[stage](study, **values)
    if stage == "compare":
        print(commands_study.regime_table(study, values["model"]))
        print(f"Report: {study.report_root(values['model']) / 'index.html'}")


def main() -> int:
    """Entry point of the `lesionforge` command."""
    arguments = sys.argv[1:]
    if arguments and arguments[0] in STAGES:
        return run(arguments[0], arguments[1:])
    width = max(map(len, STAGES))
    lines = [f"  {n:<{width}}  {(f.__doc__ or '').splitlines()[0]}" for n, f in STAGES.items()]
    text = "usage: lesionforge STAGE [options]\n\nStages, in this order:\n" + "\n".join(lines)
    text += "\n\n`lesionforge STAGE --help` explains a stage. Research use only."
    if arguments in (["--version"],):
        text = f"lesionforge {__version__}"
    elif arguments and arguments[0] not in ("-h", "--help"):
        near = difflib.get_close_matches(arguments[0], STAGES, n=1)
        hint = f" Did you mean `{near[0]}`?" if near else ""
        if arguments[0] in RENAMED:
            hint = f" It is called `{RENAMED[arguments[0]]}` now."
        print(f"lesionforge: error: unknown stage `{arguments[0]}`.{hint}", file=sys.stderr)
        return 2
    print(text)
    return 0 if arguments else 2


def script(stage: str) -> None:
    """Run a stage as the script that was called (the files in `scripts/`)."""
    sys.exit(run(stage, sys.argv[1:], Path(sys.argv[0]).name))
