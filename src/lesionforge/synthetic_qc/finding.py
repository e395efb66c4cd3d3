"""One figure of an audit: its value, the same figure between real data, and what it means."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

Part = Literal["masks", "conditioning", "realism", "leakage", "diversity", "memorisation"]
Better = Literal["lower", "higher", "half"]
WIDEST = 0.5  # an interval of an AUC that says anything
ARROWS: dict[Better, str] = {"lower": "↓", "higher": "↑", "half": "→ 0.5"}


@dataclass(frozen=True)
class Finding:
    """A figure of a synthetic set.

    Attributes:
        part: of the audit.
        name: of the figure.
        value: None where it is undefined.
        better: which way is better; `half` for an AUC that should be a coin's.
        sentence: what the figure means, in plain words.
        ci95: 95 % interval.
        counts: numerator and denominator of a share.
        real: the same figure where real data stand in for the synthetic ones.
        limit: what is asked of the value, if anything is.
        sure: whether a miss is beyond chance; a demand that is missed within it is left open.
        why: why it is undefined.
    """

    part: Part
    name: str
    value: float | None
    better: Better
    sentence: str
    ci95: tuple[float, float] | None = None
    counts: tuple[int, int] | None = None
    real: float | None = None
    limit: float | None = None
    sure: bool = True
    why: str = ""

    @property
    def arrow(self) -> str:
        """Which way is better, as a sign."""
        return ARROWS[self.better]

    @property
    def met(self) -> bool | None:
        """Whether the value is on the right side of its limit; None without one, or if unsure."""
        if self.value is None:
            return None
        if self.better == "half":
            if self.ci95 is None:
                return None
            inside = self.ci95[0] <= 0.5 <= self.ci95[1]
            known = self.ci95[1] - self.ci95[0] <= WIDEST
            return False if not inside else (True if known else None)
        if self.limit is None:
            return None
        met = self.value <= self.limit if self.better == "lower" else self.value >= self.limit
        return True if met else (False if self.sure else None)

    def to_json(self) -> dict[str, Any]:
        """Return the finding as JSON-able values, with its arrow and whether its limit is met."""
        return {**asdict(self), "arrow": self.arrow, "met": self.met}


def standing(finding: Mapping[str, Any]) -> Literal["met", "not met", "open", ""]:
    """Say how a finding, as JSON, stands to what is asked; empty if nothing is or it is undefined.

    Open is a demand that is missed by no more than chance gives, or whose interval is too wide.
    """
    if finding["met"] is not None:
        return "met" if finding["met"] else "not met"
    asked = finding["limit"] is not None or finding["better"] == "half"
    return "open" if asked and finding["value"] is not None else ""
