"""The commands of the `lesionforge` program: their names, their functions and how they are called.

The first line of a function's docstring is the command's line in `lesionforge --help`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from lesionforge.commands import advice, exchange, inference, labels, study, synthetic


@dataclass(frozen=True)
class Command:
    """How a function is called from the command line; its other parameters are options.

    Attributes:
        function: what the command does.
        positional: the parameter that is given without its name.
        many: the positional parameter is a list, of one or more.
        flags: parameters that are true where their option stands, without a value.
        needs_study: the first parameter is the study: every value of it is an option too.
    """

    function: Callable[..., Any]
    positional: str | None = None
    many: bool = False
    flags: tuple[str, ...] = ()
    needs_study: bool = True

    @property
    def number(self) -> Literal["+"] | None:
        """How many positional arguments there are, as argparse writes it."""
        return "+" if self.many else None

    @property
    def summary(self) -> str:
        """What the command does, in a line."""
        return (self.function.__doc__ or "").splitlines()[0]


COMMANDS = {
    "check": Command(study.check_data, positional="bids", needs_study=False),
    "run": Command(study.run),
    "prepare": Command(study.prepare, flags=("check",)),
    "train-generator": Command(study.train_generator),
    "synthesize": Command(study.synthesize),
    "train-detector": Command(study.train_detector),
    "compare": Command(study.compare),
    "predict": Command(inference.predict, positional="scans", many=True, needs_study=False),
    "audit-synthetic": Command(synthetic.audit_synthetic),
    "trace-false-positives": Command(synthetic.trace_false_positives),
    "audit-labels": Command(labels.audit_labels),
    "next-cases": Command(advice.next_cases),
    "pre-label": Command(labels.pre_label),
    "decide": Command(labels.decide),
    "apply-decisions": Command(labels.apply_decisions),
    "corrupt-labels": Command(labels.corrupt_labels),
    "inspect-synthetic": Command(synthetic.inspect_synthetic, positional="saved"),
    "reading-kit": Command(synthetic.reading_kit),
    "score-reading": Command(
        synthetic.score_reading, positional="readings", many=True, needs_study=False
    ),
    "export-nnunet": Command(exchange.export_nnunet),
    "import-predictions": Command(exchange.import_predictions, positional="predictions"),
}
