"""Label first: a table of the lesions to make, spread evenly over what training lesions cover.

`plan.tsv` has one row a lesion: number, site, lobe, side, volume_mm3, conspicuity. A user may edit
it; `n/a` leaves a value to the prior.
"""

import logging
import math
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
import pandas as pd

from lesionforge.errors import ConfigError, DataError
from lesionforge.lesions.prior import LesionPrior
from lesionforge.lesions.shape import PLACES
from lesionforge.lesions.spec import LesionRequest, Side
from lesionforge.provenance import read_tsv
from lesionforge.seeding import stream

SIDES: tuple[Side, ...] = ("left", "right")
COLUMNS = ("number", "site", "lobe", "side", "volume_mm3", "conspicuity")
UNKNOWN_SITE = "n/a"


def sample_plan(prior: LesionPrior, n: int, seed: int, evenness: float = 0.3) -> pd.DataFrame:
    """Plan n lesions whose sites, lobes, sides, volumes and conspicuities fill their targets.

    Numbers of lesions a site, lobe and side are fixed by largest remainders; volume and
    conspicuity take each n-th of their distribution once. The combination of all five is spread by
    a Kronecker sequence (Roberts 2018: powers of the root of x^(d+1) = x + 1), not left to chance.

    Args:
        prior: the training lesions.
        n: number of lesions.
        seed: of the sequence's start.
        evenness: 0 keeps the training lesions' proportions of lobes and sites, 1 gives every lobe
            and site the same number and so fills gaps.

    Returns:
        A table with the columns `COLUMNS`.
    """
    if n < 0 or not 0 <= evenness <= 1:
        raise ConfigError(
            f"A plan needs `n` of 0 or more and `evenness` in [0, 1], got {n} and {evenness}."
        )
    ranks = _even_ranks(n, 5, seed)
    sites = sorted({lesion.site for lesion in prior.lesions})
    places = _places(prior)
    quantiles = (ranks[:, 3:] + 0.5) / max(n, 1)
    site_shares = _shares([x.site for x in prior.lesions], sites, evenness)
    place_shares = _shares([x.place for x in prior.lesions], places, evenness)
    return pd.DataFrame(
        {
            "number": np.arange(1, n + 1),
            "site": _fill(sites, site_shares, ranks[:, 0]),
            "lobe": _fill(places, place_shares, ranks[:, 1]),
            "side": _fill(list(SIDES), np.array([0.5, 0.5]), ranks[:, 2]),
            # as the table keeps them: a plan that is given back asks for the same
            "volume_mm3": [float(f"{v:.6g}") for v in prior.volume_mm3(quantiles[:, 0]).round(1)],
            "conspicuity": prior.conspicuity(quantiles[:, 1]).round(3),
        },
        columns=list(COLUMNS),
    )


def read_plan(path: Path) -> pd.DataFrame:
    """Read a plan and check every row.

    Raises:
        DataError: columns are missing or values are not allowed; all faults are named.
    """
    plan = read_tsv(path, number=int, site=str, lobe=str, side=str)
    missing = [name for name in COLUMNS if name not in plan.columns]
    if missing:
        raise DataError(f"{path} lacks the column(s) {', '.join(missing)}.")
    faults = []
    if plan["number"].duplicated().any():
        faults.append("`number` must differ from row to row")
    for row in plan.to_dict("records"):
        try:
            request(cast("dict[str, Any]", row))
        except (ConfigError, ValueError) as error:
            faults.append(f"number {row['number']}: {error}")
    if faults:
        raise DataError(f"{path} cannot be followed: {' | '.join(faults)} Use n/a to leave open.")
    return plan


def request(row: dict[str, Any]) -> LesionRequest:
    """Turn a row of a plan into what it asks of `sample_spec`; `n/a` asks nothing.

    Raises:
        ConfigError: a value is not allowed.
    """
    known: dict[str, Any] = {n: row[n] for n in COLUMNS[2:] if not _is_open(row[n])}
    for name in ("volume_mm3", "conspicuity"):
        try:
            if name in known:
                known[name] = float(known[name])
        except ValueError:
            raise ConfigError(f"`{name}` must be a number, got {known[name]!r}.") from None
    return LesionRequest(**known)


def _is_open(value: Any) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))


def _places(prior: LesionPrior) -> list[str]:
    """List the places a plan fills: every lobe, and deep grey matter where lesions may be there."""
    if prior.style == "blob":
        return list(PLACES)
    return [place for place in PLACES if place != "deep-grey"]


def _shares(found: list[str], names: list[str], evenness: float) -> np.ndarray:
    counts = np.array([found.count(name) for name in names], dtype=float)
    even = np.full(len(names), 1 / len(names))
    share = counts / counts.sum() if counts.sum() else even
    return evenness * even + (1 - evenness) * share


def _fill(names: list[str], shares: np.ndarray, ranks: np.ndarray) -> list[str]:
    """Give each rank a name so that names hold their shares by largest remainders."""
    ideal = shares * len(ranks)
    counts = np.floor(ideal).astype(int)
    short = len(ranks) - int(counts.sum())
    counts[np.argsort(counts - ideal, kind="stable")[:short]] += 1
    of_rank = np.repeat(names, counts)
    return [str(name) for name in of_rank[ranks]]


def _even_ranks(n: int, dimensions: int, seed: int) -> np.ndarray:
    """Rank a shifted Kronecker sequence: (n, dimensions) permutations of 0 to n - 1, well spread.

    Names come in blocks of neighbouring ranks, so a lobe's lesions are spread over all else.
    """
    root = 2.0
    for _ in range(64):
        root = (1 + root) ** (1 / (dimensions + 1))
    steps = root ** -np.arange(1.0, dimensions + 1)
    start = stream(seed, "plan").uniform(size=dimensions)
    points = (start + np.arange(n)[:, None] * steps) % 1
    return np.argsort(np.argsort(points, axis=0, kind="stable"), axis=0, kind="stable")


logger = logging.getLogger(__name__)
Group = Literal["patient", "control"]
BLOCK = 64


@dataclass(frozen=True)
class SubjectRequest:
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
    lesion: LesionRequest

    def relax_location(self) -> "SubjectRequest":
        """Let go of lobe and side, keep site, volume and conspicuity."""
        return replace(self, lesion=replace(self.lesion, lobe=None, side=None))

    def to_json(self) -> dict[str, Any]:
        """Return site and lesion as JSON-able values."""
        return {"site": self.site, **asdict(self.lesion)}


def sample_requests(
    prior: LesionPrior, n: int, seed: int, plan: str | None = None
) -> list[SubjectRequest]:
    """Plan `n` synthetic patients; more later leave the first ones as they are.

    `sample_plan` fills its targets exactly for a fixed number, so it is asked for blocks of `BLOCK`
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
        sample_plan(prior, BLOCK, int(stream(seed, "plan-block", block).integers(2**31)))
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
    requests: list[SubjectRequest] = []
    for number, row in enumerate(rows, 1):
        site = _site(row["site"])
        turn = sum(request.site == site for request in requests)
        lesion = request({str(key): value for key, value in row.items()})
        requests.append(SubjectRequest("patient", number, turn, site, lesion))
    return requests


def control_requests(requests: list[SubjectRequest]) -> list[SubjectRequest]:
    """Ask for controls of the same sites as patients, so that a site's look marks no label.

    Their null lesions are left to the prior.
    """
    return [replace(request, group="control", lesion=LesionRequest()) for request in requests]


def plan_table(requests: list[SubjectRequest]) -> pd.DataFrame:
    """Return the wishes as the table that `plan.tsv` holds."""
    return pd.DataFrame(
        [{"number": request.number, **request.to_json()} for request in requests],
        columns=list(COLUMNS),
    )


def _site(value: Any) -> str | None:
    return value if isinstance(value, str) and value != UNKNOWN_SITE else None


def _check_volumes(rows: list[dict[Any, Any]], prior: LesionPrior, plan: str) -> None:
    low, high = prior.volume_range_mm3
    bad = [row["number"] for row in rows if row["volume_mm3"] < low or row["volume_mm3"] > high]
    if bad:
        raise DataError(
            f"{plan}: `volume_mm3` must be between {low:.0f} and {high:.0f}, the range of the "
            f"training lesions; see number {', '.join(map(str, bad[:10]))}. Or raise "
            "`masks.volume_margin`."
        )
