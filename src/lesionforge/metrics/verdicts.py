"""What a difference says: shown, equivalent or unresolved; several of them corrected by Holm."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from lesionforge.metrics.endpoints import PRIMARY
from lesionforge.metrics.obuchowski import Interval, Readings, interval

Verdict = Literal["shown", "equivalent", "unresolved"]
MARGIN = 0.03
"""Differences up to 3 points are taken as none."""
ALPHA = 0.05


def verdict(difference: Interval, margin: float = MARGIN) -> Verdict:
    """Say what one planned difference shows.

    Args:
        difference: with its 95 % interval.
        margin: largest difference that is taken as none, in the endpoint's own unit.

    Returns:
        `shown` if the interval lies beyond 0, `equivalent` if it contains 0 and lies within the
        margin on both sides, else `unresolved`; so also without an interval.
    """
    if difference.ci95 is None:
        return "unresolved"
    low, high = difference.ci95
    if low > 0 or high < 0:
        return "shown"
    return "equivalent" if -margin <= low and high <= margin else "unresolved"


def holm(p_values: Mapping[str, float | None]) -> dict[str, float | None]:
    """Adjust p-values for their number (Holm, Scandinavian Journal of Statistics 1979;6:65).

    Args:
        p_values: by name; None where undefined, which counts as a test that shows nothing.

    Returns:
        Adjusted p-values in [0, 1] by name, in the order given; None stays None.
    """
    known = sorted((p, name) for name, p in p_values.items() if p is not None)
    adjusted: dict[str, float | None] = dict.fromkeys(p_values)
    largest = 0.0
    for rank, (p, name) in enumerate(known):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p))
        adjusted[name] = largest
    return adjusted


def verdicts(
    differences: Mapping[str, Interval], margin: float = MARGIN
) -> dict[str, tuple[Verdict, float | None]]:
    """Say what several secondary differences show, together.

    A difference is `shown` only if its p-value, adjusted by Holm, is below 0.05. What its own
    interval alone would show is `unresolved` then. `equivalent` is read from its own interval.

    Returns:
        For each name the verdict and the adjusted p-value.
    """
    adjusted = holm({name: one.p for name, one in differences.items()})
    result: dict[str, tuple[Verdict, float | None]] = {}
    for name, one in differences.items():
        found, p = verdict(one, margin), adjusted[name]
        if found == "shown" and (p is None or p >= ALPHA):
            found = "unresolved"
        result[name] = (found, p)
    return result


@dataclass(frozen=True)
class Contrast:
    """How much one regime is above another, at every endpoint; more is better at all of them.

    Attributes:
        endpoints: name to the difference with its interval.
        verdict: of the primary endpoint.
        other_sign: endpoints whose difference has the other sign than the primary's.
        shown_against: those of them whose own interval lies beyond 0.
    """

    endpoints: dict[str, Interval]
    verdict: Verdict
    other_sign: tuple[str, ...]
    shown_against: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Return it as metrics.json holds it."""
        return {
            "endpoints": {name: one.to_json() for name, one in self.endpoints.items()},
            "verdict": self.verdict,
            "other_sign": list(self.other_sign),
            "shown_against": list(self.shown_against),
        }


def regime_intervals(
    readings: Mapping[str, Readings | str], overlap: float | None
) -> dict[str, Interval]:
    """Give every endpoint of a regime, or of a difference, its interval.

    Args:
        readings: from `lesionforge.metrics.endpoints.endpoint_readings`; a text says why an
            endpoint is undefined.
        overlap: see `lesionforge.metrics.obuchowski.interval`.
    """
    return {
        name: Interval(None, None, None, "", 0, 0, None, None, one)
        if isinstance(one, str)
        else interval(one, overlap)
        for name, one in readings.items()
    }


def contrast(
    a: Mapping[str, Readings | str],
    b: Mapping[str, Readings | str],
    overlap: float | None,
    margin: float = MARGIN,
) -> Contrast:
    """Compare regime `a` with regime `b`: `a` minus `b` at every endpoint, paired.

    Args:
        a: readings of the trainings that both regimes have, in the same order.
        b: the same of the other regime.
        overlap: of the trainings' cohorts, see `lesionforge.metrics.obuchowski.interval`.
        margin: largest difference that is taken as none.

    Raises:
        DataError: the regimes do not have the same trainings and subjects.
    """
    differences: dict[str, Readings | str] = {}
    for name, one in a.items():
        other = b[name]
        if isinstance(one, str) or isinstance(other, str):
            differences[name] = one if isinstance(one, str) else str(other)
        else:
            differences[name] = one.minus(other)
    found = regime_intervals(differences, overlap)
    value = found[PRIMARY].value or 0.0
    opposite = tuple(n for n, one in found.items() if (one.value or 0.0) * value < 0)
    return Contrast(
        endpoints=found,
        verdict=verdict(found[PRIMARY], margin),
        other_sign=opposite,
        shown_against=tuple(n for n in opposite if verdict(found[n], margin) == "shown"),
    )
