"""Label first: a table of the lesions to make, spread evenly over what training lesions cover.

`plan.tsv` has one row a lesion: number, site, lobe, side, volume_mm3, conspicuity. A user may edit
it; `n/a` leaves a value to the prior.
"""

import math
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd

from lesionforge.errors import ConfigError, DataError
from lesionforge.masks.descriptors import PLACES
from lesionforge.masks.prior import MaskPrior
from lesionforge.masks.spec import MaskRequest, Side
from lesionforge.provenance import read_tsv
from lesionforge.seeding import stream

SIDES: tuple[Side, ...] = ("left", "right")
COLUMNS = ("number", "site", "lobe", "side", "volume_mm3", "conspicuity")
UNKNOWN_SITE = "n/a"


def draw_plan(prior: MaskPrior, n: int, seed: int, evenness: float = 0.3) -> pd.DataFrame:
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


def request(row: dict[str, Any]) -> MaskRequest:
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
    return MaskRequest(**known)


def _is_open(value: Any) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))


def _places(prior: MaskPrior) -> list[str]:
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
