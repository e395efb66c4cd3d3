"""People who get their first label after the splits were drawn: they join the training, last.

`splits.tsv` is drawn once and does not know them. A label set in which somebody unlabelled became a
patient or a control remembers as what and in which place (`joined_as`, `joined_rank` in its table),
and whoever trains on that set reads `splits.tsv` with them behind everybody else of their group.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from lesionforge.data.config import SplitConfig
from lesionforge.data.splits import scanners
from lesionforge.data.subject import Group


@dataclass(frozen=True)
class Joined:
    """Somebody who was labelled after the splits had been drawn.

    Attributes:
        participant_id: who.
        group: `patient` or `control`, as the first label said. As with everybody else, a later
            label changes the mask and not the place.
        rank: place among those who joined the group, from 0.
    """

    participant_id: str
    group: Group
    rank: int


def join(before: Sequence[Joined], fresh: Mapping[str, Group]) -> list[Joined]:
    """Append those who are labelled for the first time, in their order.

    Args:
        before: who joined in the set that a new one is made from, in order.
        fresh: participant id to group of those who were unlabelled there.
    """
    joined: list[Joined] = []
    for name, group in [*((j.participant_id, j.group) for j in before), *fresh.items()]:
        joined.append(Joined(name, group, sum(j.group == group for j in joined)))
    return joined


def with_joined(
    table: pd.DataFrame, joined: Sequence[Joined], people: pd.DataFrame, config: SplitConfig
) -> pd.DataFrame:
    """Append those who joined to a table of splits; the rows that it has stay as they are.

    They train (never validate, never test), behind everybody else of their group in every seed's
    order. Where the rules of the splits would keep them from training, their role is `unused`:
    somebody of the published test part, of the site that a fold leaves out, or of a scanner that a
    matched cohort does not use.

    Args:
        table: `splits.tsv`.
        joined: see `lesionforge.data.labels.read_joined`.
        people: see `lesionforge.data.cohort.read_people`.
        config: that the splits were drawn with.
    """
    orders = [c for c in table.columns if c.startswith("order_")]
    known = people.set_index("participant_id")
    barred = _barred(table, people, config)
    train = table[table["role"] == "train"]
    pools = train.groupby("group")[orders[0]].nunique() if orders else train.groupby("group").size()
    rows = []
    for one in sorted(joined, key=lambda j: (j.group, j.rank)):
        trains = one.participant_id not in barred
        place = int(pools.get(one.group, 0)) + one.rank if trains else None
        rows.append({
            "participant_id": one.participant_id,
            "group": one.group,
            "site": known.loc[one.participant_id, "site"],
            "role": "train" if trains else "unused",
            **dict.fromkeys(orders, place),
        })  # fmt: skip
    added = pd.DataFrame(rows, columns=table.columns).astype(dict.fromkeys(orders, "float64"))
    first = table.astype(dict.fromkeys(orders, "float64"))
    return pd.concat([first, added], ignore_index=True) if rows else table


def _barred(table: pd.DataFrame, people: pd.DataFrame, config: SplitConfig) -> set[str]:
    """Return the ids of those whom the rules of the splits keep from training."""
    bad = pd.Series(False, index=people.index)
    if config.published:
        bad |= people["split"] == "test"
    if config.leave_site_out:
        bad |= people["site"].isin(table.loc[table["role"] == "test", "site"].fillna("n/a"))
    if config.matched:
        scanner = pd.Series(scanners(people), index=people.index)
        used = table.loc[table["role"] != "unused", "participant_id"]
        bad |= ~scanner.isin(scanner[people["participant_id"].isin(used)])
    if "participant" in people:  # another scan of somebody who validates or tests
        held = table.loc[table["role"].isin(["validation", "test"]), "participant_id"]
        persons = people.loc[people["participant_id"].isin(held), "participant"]
        bad |= people["participant"].isin(persons)
    return set(people.loc[bad, "participant_id"])
