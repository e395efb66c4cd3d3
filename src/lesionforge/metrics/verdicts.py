"""What a difference says: shown, equivalent or unresolved; several of them corrected by Holm."""

from collections.abc import Mapping
from typing import Literal

from lesionforge.metrics.obuchowski import Interval

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
