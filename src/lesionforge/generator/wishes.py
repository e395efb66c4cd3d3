"""What is asked of each synthetic subject: a plan's rows, in an order that a set can grow along."""

import logging
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from lesionforge.errors import DataError
from lesionforge.masks.plan import COLUMNS, UNKNOWN_SITE, draw_plan, read_plan, request
from lesionforge.masks.prior import MaskPrior
from lesionforge.masks.spec import MaskRequest
from lesionforge.seeding import stream

logger = logging.getLogger(__name__)
Group = Literal["patient", "control"]
BLOCK = 64


@dataclass(frozen=True)
class Wish:
    """What is asked of one synthetic subject.

    Attributes:
        group: patient or control.
        number: 1, 2 ... in its group.
        turn: 0, 1 ... among the subjects of its group and site; hosts take turns by it.
        site: scanner or hospital it should look like; None leaves it open.
        lesion: what is asked of its lesion.
    """

    group: Group
    number: int
    turn: int
    site: str | None
    lesion: MaskRequest

    def loosened(self) -> "Wish":
        """Let go of lobe and side, keep site, volume and conspicuity."""
        return replace(self, lesion=replace(self.lesion, lobe=None, side=None))

    def to_json(self) -> dict[str, Any]:
        """Return site and lesion as JSON-able values."""
        return {"site": self.site, **asdict(self.lesion)}


def draw_wishes(prior: MaskPrior, n: int, seed: int, plan: str | None = None) -> list[Wish]:
    """Plan `n` synthetic patients; more later leave the first ones as they are.

    `draw_plan` fills its targets exactly for a fixed number, so it is asked for blocks of `BLOCK`
    rows, of which the first `n` are taken: its sequence is evenly spread from the start.

    Args:
        prior: the training lesions.
        n: how many.
        seed: of the set.
        plan: table with rows to follow instead (`plan.tsv`, perhaps edited); numbers it lacks are
            drawn.

    Raises:
        DataError: the plan is missing or asks for what is not allowed.
    """
    tables = [
        draw_plan(prior, BLOCK, int(stream(seed, "plan-block", block).integers(2**31)))
        for block in range(-(-n // BLOCK))
    ]
    rows = [row for table in tables for row in table.to_dict("records")][:n]
    if plan is not None:
        fixed = {row["number"]: row for row in read_plan(Path(plan)).to_dict("records")}
        _check_volumes(list(fixed.values()), prior, plan)
        beyond = sorted(int(number) for number in fixed if number > n)
        if beyond:
            logger.warning("%s: rows beyond the %d wanted are not used: %s", plan, n, beyond[:10])
        rows = [fixed.get(number, row) for number, row in enumerate(rows, 1)]
    wishes: list[Wish] = []
    for number, row in enumerate(rows, 1):
        site = _site(row["site"])
        turn = sum(wish.site == site for wish in wishes)
        lesion = request({str(key): value for key, value in row.items()})
        wishes.append(Wish("patient", number, turn, site, lesion))
    return wishes


def control_wishes(wishes: list[Wish]) -> list[Wish]:
    """Ask for controls of the same sites as patients, so that a site's look marks no label.

    Their null lesions are left to the prior.
    """
    return [replace(wish, group="control", lesion=MaskRequest()) for wish in wishes]


def plan_table(wishes: list[Wish]) -> pd.DataFrame:
    """Return the wishes as the table that `plan.tsv` holds."""
    return pd.DataFrame(
        [{"number": wish.number, **wish.to_json()} for wish in wishes], columns=list(COLUMNS)
    )


def _site(value: Any) -> str | None:
    return value if isinstance(value, str) and value != UNKNOWN_SITE else None


def _check_volumes(rows: list[dict[Any, Any]], prior: MaskPrior, plan: str) -> None:
    low, high = prior.volume_range_mm3
    bad = [row["number"] for row in rows if row["volume_mm3"] < low or row["volume_mm3"] > high]
    if bad:
        raise DataError(
            f"{plan}: `volume_mm3` must be between {low:.0f} and {high:.0f}, the range of the "
            f"training lesions; see number {', '.join(map(str, bad[:10]))}. Or raise "
            "`masks.volume_margin`."
        )
