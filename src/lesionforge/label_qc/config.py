"""How labels are audited, corrupted, decided on and proposed: the configurations."""

from dataclasses import dataclass, field
from typing import Literal, get_args

from lesionforge.errors import ConfigError
from lesionforge.ranges import check_finite

ErrorKind = Literal["missing", "shifted", "spurious", "small", "large", "swapped"]
ActionKind = Literal["label", "inspect", "adjudicate", "validate", "look"]
Verdict = Literal["confirm", "replace", "healthy", "withdraw"]
AUDITED: tuple[ErrorKind, ...] = ("missing", "shifted", "spurious", "small", "large")
"""Errors that `audit-labels` can find; exchanged masks look to it like shifted ones."""


@dataclass(frozen=True)
class CorruptConfig:
    """Which errors, and how many.

    Attributes:
        rate: share of all labels, patients' and controls', that become wrong.
        kinds: in equal parts: `missing` (a patient read as normal), `shifted` (beside the lesion),
            `spurious` (a lesion drawn in a control), `small` and `large` (less than half, more than
            twice the volume), `swapped` (two patients' masks exchanged; counts as two errors).
        shift_mm: shortest and longest move of a shifted mask.
    """

    rate: float = 0.2
    kinds: tuple[ErrorKind, ...] = ("missing", "shifted", "spurious")
    shift_mm: tuple[float, float] = (15.0, 50.0)

    def __post_init__(self) -> None:
        """Check the ranges."""
        check_finite(self)
        if not 0 < self.rate < 1:
            raise ConfigError(f"`rate` must be in (0, 1), got {self.rate}.")
        unknown = [kind for kind in self.kinds if kind not in get_args(ErrorKind)]
        if unknown or not self.kinds:
            raise ConfigError(f"`kinds` must be some of {', '.join(get_args(ErrorKind))}.")


@dataclass(frozen=True)
class LabelAuditConfig:
    """How labels are judged.

    Attributes:
        expected_rate: share of wrong labels that is assumed; it moves all risks up or down and
            leaves their order.
        kinds: errors that are planted to learn from.
        size_weight: how common masks of the wrong size are assumed to be against each other kind.
        copies: planted errors of each kind a subject.
        neighbours: regions that are asked for `neighbours`.
        candidates: of a label without a mask, the most probable ones that are compared with
            lesions.
        folds: of the cross-fitted classifier.
        reasons: how many are named a label.
        seed: of the planted errors.
        shift_mm: shortest and longest move of a shifted mask.
    """

    expected_rate: float = 0.1
    kinds: tuple[ErrorKind, ...] = AUDITED
    size_weight: float = 0.25
    copies: int = 2
    neighbours: int = 10
    candidates: int = 6
    folds: int = 5
    reasons: int = 3
    seed: int = 0
    shift_mm: tuple[float, float] = CorruptConfig.shift_mm

    def __post_init__(self) -> None:
        """Check the ranges."""
        check_finite(self)
        if not 0 < self.expected_rate < 1:
            raise ConfigError(f"`expected_rate` must be in (0, 1), got {self.expected_rate}.")
        if self.candidates < 1:
            raise ConfigError(f"`candidates` must be at least 1, got {self.candidates}.")
        if set(self.kinds) - set(AUDITED) or not self.kinds:
            raise ConfigError(f"`kinds` must be some of {', '.join(AUDITED)}.")


@dataclass(frozen=True)
class Acceptance:
    """Which pre-labels are taken, and how many of them a person looks at.

    Attributes:
        accept: the best candidate's score from which on it becomes the mask.
        share: of the accepted that is sampled for a person, at least one.
    """

    accept: float = 0.9
    share: float = 0.1

    def __post_init__(self) -> None:
        """Check the ranges."""
        check_finite(self)
        if not 0.5 <= self.accept <= 1:
            raise ConfigError(f"`accept` must be in [0.5, 1], got {self.accept:g}.")
        if not 0 <= self.share <= 1:
            raise ConfigError(f"`share` must be between 0 and 1, got {self.share:g}.")


@dataclass(frozen=True)
class NextConfig:
    """What an expert's time costs and how well it is spent.

    Attributes:
        minutes_each: of each action.
        reader_error: chance that an expert who looks again is wrong.
        harm: of a wrong label, in worths of a right one.
    """

    minutes_each: dict[ActionKind, float] = field(
        default_factory=lambda: {
            "label": 30.0,
            "inspect": 6.0,
            "adjudicate": 8.0,
            "validate": 3.0,
            "look": 4.0,
        }
    )
    reader_error: float = 0.05
    harm: float = 1.0

    def __post_init__(self) -> None:
        """Check the ranges."""
        check_finite(self)
        actions = get_args(ActionKind)
        if set(self.minutes_each) != set(actions) or min(self.minutes_each.values()) <= 0:
            raise ConfigError(f"`minutes_each` must be above 0 for each of {', '.join(actions)}.")
        if not 0 <= self.reader_error < 0.5 or self.harm < 0:
            raise ConfigError("`reader_error` must be in [0, 0.5) and `harm` 0 or more.")
