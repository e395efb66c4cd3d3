"""Who trains, who validates, who tests: drawn once, written to `splits.tsv`, never redrawn."""

from pathlib import Path

import numpy as np
import pandas as pd

from lesionforge.data.config import SplitConfig
from lesionforge.data.subject import UNLABELLED
from lesionforge.errors import ConfigError, DataError
from lesionforge.provenance import read_tsv, write_tsv_once
from lesionforge.seeding import stream


def assign_splits(people: pd.DataFrame, config: SplitConfig, seeds: list[int]) -> pd.DataFrame:
    """Draw roles, spread evenly over sites, and the training order of each seed.

    Args:
        people: all real subjects, see `lesionforge.data.cohort.read_people`; who is unlabelled has
            no role and no row, and changes nobody else's.
        config: counts and rules.
        seeds: the study's seeds; each gets a column `order_<seed>`: the rank (from 0) of a training
            subject among the training subjects of its group. A regime takes the first n ranks, so
            smaller regimes are subsets of larger ones. All scans of a person have one rank.

    Returns:
        One row a subject: participant_id, group, site, role, order_<seed>...

    Raises:
        ConfigError: there are fewer subjects of a group than `config` asks for, or what it asks for
            is not in the cohort.
    """
    scans = people
    people = _persons(people)
    if config.leave_site_out:
        raise ConfigError(f"`leave_site_out` needs --folds {people['site'].nunique()}.")
    rows = _with_roles(people, config)
    if config.published:
        rows.loc[_published_test(people) & (rows["role"] == "train"), "role"] = "test"
    for group, (validation, test) in _counts(config).items():
        members = rows[(rows["group"] == group) & (rows["role"] == "train")]
        test = 0 if config.published else test
        if len(members) == 0 and group == "control":
            continue  # no controls: specificity is undefined, and the report says so
        if validation + test >= len(members):
            raise ConfigError(
                f"The split asks for {validation} validation and {test} test {group}s and leaves "
                f"none to train on: the cohort has {len(members)}. "
                f"Lower --splits.test_{group}s or use --folds."
            )
        dealt = _spread(members, stream(config.seed, "splits", group))
        rows.loc[dealt[:test], "role"] = "test"
        rows.loc[dealt[test : test + validation], "role"] = "validation"
    return _of_scans(_with_orders(rows, seeds), scans)


def assign_folds(
    people: pd.DataFrame, config: SplitConfig, seeds: list[int], folds: int
) -> list[pd.DataFrame]:
    """Draw k tables of roles in which every subject tests exactly once.

    Each fold's validation subjects are drawn from the rest (`config.validation_*`); the counts of
    test subjects in `config` are not used.

    Raises:
        ConfigError: see `assign_splits`.
    """
    if folds < 2:
        raise ConfigError(f"`folds` must be at least 2, got {folds}.")
    if config.published:
        raise ConfigError("A published split has one test part: set --folds 0.")
    rows = _with_roles(_persons(people), config)
    used = rows[rows["role"] == "train"]
    fold_of = pd.Series(-1, index=rows.index)
    if config.leave_site_out:
        sites = sorted(set(used["site"]))
        if len(sites) != folds:
            raise ConfigError(
                f"There are {len(sites)} sites to leave out: set --folds {len(sites)}."
            )
        fold_of[used.index] = used["site"].map(sites.index)
    else:
        for group in sorted(set(used["group"])):
            dealt = _spread(used[used["group"] == group], stream(config.seed, "folds", group))
            fold_of[dealt] = np.arange(len(dealt)) % folds
    return [
        _of_scans(_with_orders(_validating(rows, fold_of == fold, config, fold), seeds), people)
        for fold in range(folds)
    ]


def _validating(
    rows: pd.DataFrame, tests: pd.Series, config: SplitConfig, fold: int
) -> pd.DataFrame:
    """Give one fold its test subjects, and draw its validation subjects from the others."""
    table = rows.assign(role=rows["role"].mask(tests, "test"))
    for group, (validation, _) in _counts(config).items():
        members = table[(table["role"] == "train") & (table["group"] == group)]
        if len(members) == 0 and group == "control":
            continue
        if validation >= len(members):
            raise ConfigError(
                f"Fold {fold} has {len(members)} {group}s outside its test part: too few for "
                f"{validation} validation {group}s and training. Lower "
                f"--splits.validation_{group}s or the number of folds."
            )
        dealt = _spread(members, stream(config.seed, "folds", fold, group))
        table.loc[dealt[:validation], "role"] = "validation"
    return table


def _with_label(people: pd.DataFrame) -> pd.DataFrame:
    return people[people["group"] != UNLABELLED].reset_index(drop=True)


def _persons(people: pd.DataFrame) -> pd.DataFrame:
    """Return one row a person with a label: splits go by person, whatever the number of scans.

    A patient is who has a lesion in any scan; site and protocol are those of the first.
    """
    labelled = _with_label(people)
    if (
        "participant" not in labelled
        or (labelled["participant"] == labelled["participant_id"]).all()
    ):
        return labelled
    first = labelled.sort_values(
        "group", ascending=False, kind="stable"
    )  # patients before controls
    first = first.drop_duplicates("participant").sort_index()
    return first.assign(participant_id=first["participant"]).reset_index(drop=True)


def _of_scans(table: pd.DataFrame, people: pd.DataFrame) -> pd.DataFrame:
    """Give every labelled scan the role and order of its person."""
    labelled = _with_label(people)
    if (
        "participant" not in labelled
        or (labelled["participant"] == labelled["participant_id"]).all()
    ):
        return table
    scans = labelled[["participant_id", "participant", "group", "site"]]
    roles = table.drop(columns=["group", "site"]).rename(columns={"participant_id": "participant"})
    return scans.merge(roles, on="participant", validate="many_to_one")


def _with_roles(people: pd.DataFrame, config: SplitConfig) -> pd.DataFrame:
    """Return participant_id, group, site, the stratum, and the role `train` or `unused`."""
    rows = people[["participant_id", "group", "site"]].reset_index(drop=True)
    rows["role"] = "train"
    rows["stratum"] = rows["site"]
    if config.by_size:
        lesion_ml = people["lesion_ml"].reset_index(drop=True).where(rows["group"] == "patient")
        third = lesion_ml.rank(pct=True).mul(3).apply(np.ceil).fillna(0)
        rows["stratum"] += third.map(" size {:.0f}".format)
    if config.matched:
        rows["scanner"] = scanners(people)
        both = rows.groupby("scanner")["group"].transform("nunique") == 2
        if not both.any():
            raise ConfigError("`matched`: no site and protocol has both patients and controls.")
        rows.loc[~both, "role"] = "unused"
    return rows


def scanners(people: pd.DataFrame) -> list[str]:
    """Return the site and protocols of each of `lesionforge.data.cohort.read_people` in a word."""
    protocols = sorted((c for c in map(str, people) if c.startswith("acq_")), reverse=True)
    known = people[["site", *protocols]].fillna("n/a").astype(str)
    return [" ".join(values) for values in known.to_numpy()]


def _published_test(people: pd.DataFrame) -> pd.Series:
    """Tell who is in the published test part.

    Raises:
        ConfigError: participants.tsv of the raw data has no `split`, or nobody tests.
    """
    tests = (people["split"] == "test").reset_index(drop=True)
    if not tests.any():
        raise ConfigError("`published`: participants.tsv calls nobody `test` in a column `split`.")
    return tests


def _counts(config: SplitConfig) -> dict[str, tuple[int, int]]:
    return {
        "patient": (config.validation_patients, config.test_patients),
        "control": (config.validation_controls, config.test_controls),
    }


def _spread(rows: pd.DataFrame, rng: np.random.Generator) -> list[int]:
    """Shuffle rows so that every stretch of the result holds the strata in their proportions."""
    keys: dict[int, float] = {}
    for _, members in rows.groupby("stratum", sort=True):
        shuffled = rng.permutation(members.index.to_numpy())
        for place, index in enumerate(shuffled):
            keys[int(index)] = (place + rng.random()) / len(shuffled)
    return sorted(keys, key=keys.__getitem__)


def _with_orders(rows: pd.DataFrame, seeds: list[int]) -> pd.DataFrame:
    for seed in seeds:
        order = pd.Series(pd.NA, index=rows.index, dtype="Int64")
        for group in ("patient", "control"):
            members = rows[(rows["role"] == "train") & (rows["group"] == group)]
            dealt = _spread(members, stream(seed, "order", group))
            order[dealt] = range(len(dealt))
        rows[f"order_{seed}"] = order
    return rows.drop(columns=["stratum", "scanner"], errors="ignore")


def write_splits(path: Path, table: pd.DataFrame) -> None:
    """Write `splits.tsv`; an existing table with other content is never overwritten.

    Raises:
        DataError: the file exists and differs.
    """
    if not write_tsv_once(path, table):
        raise DataError(
            f"{path} exists and the configuration now asks for other splits. A split is drawn "
            "once: give the study another name (--name), or delete the study's folder."
        )


def read_splits(path: Path) -> pd.DataFrame:
    """Read `splits.tsv`."""
    return read_tsv(path, participant_id=str, group=str, site=str, role=str)


def members(splits: pd.DataFrame, role: str) -> list[str]:
    """Return the ids of a role (`train`, `validation` or `test`), in the table's order."""
    return splits.loc[splits["role"] == role, "participant_id"].tolist()


def first_in_order(splits: pd.DataFrame, group: str, n: int, seed: int) -> list[str]:
    """Return the scans of the first `n` training persons of `group` in the order of `seed`.

    Raises:
        ConfigError: the training pool is smaller than `n`, or the seed has no order.
    """
    column = f"order_{seed}"
    if column not in splits.columns:
        raise ConfigError(
            f"Seed {seed} has no training order in splits.tsv; it has "
            f"{', '.join(c for c in splits.columns if c.startswith('order_'))}."
        )
    pool = splits[(splits["role"] == "train") & (splits["group"] == group)].sort_values(column)
    ranks = pool[column].unique()  # one a person
    if len(ranks) < n:
        raise ConfigError(
            f"{n} training {group}s were asked for, the training pool has {len(ranks)}. Lower "
            f"`{group}s` of the regime (generators use `regimes.baseline`), or, before anything is "
            "prepared, the counts under `splits`."
        )
    return pool.loc[pool[column].isin(ranks[:n]), "participant_id"].tolist()
