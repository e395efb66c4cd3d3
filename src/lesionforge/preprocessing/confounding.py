"""Can scanner and protocol alone tell patients from controls? Then a detector may learn them."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from lesionforge.data.cohort import acquisition_column
from lesionforge.data.subject import UNLABELLED
from lesionforge.seeding import stream

_MEASURES = {"voxel_mm": "voxel size", "sharpness": "sharpness"}
MIN_SUBJECTS = 10
HIGH_AUC = 0.65
FOLDS, REPEATS, BOOTSTRAP = 5, 10, 1000


@dataclass(frozen=True)
class Confounding:
    """How well acquisition alone tells patients from controls.

    Attributes:
        auc: cross-validated, from all fields together; None where it cannot be computed.
        ci95: its interval (bootstrap over subjects).
        fields: the same AUC from each field alone, highest first.
        one_sided: for each named field the numbers of patients and of controls whose value occurs
            in their own group only.
        reason: why `auc` is None.
    """

    auc: float | None
    ci95: tuple[float, float] | None
    fields: dict[str, float]
    one_sided: dict[str, tuple[int, int]]
    reason: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Return everything as JSON-able values, the sentence and `is_high` included."""
        return {**asdict(self), "is_high": self.is_high, "text": str(self)}

    @property
    def is_high(self) -> bool:
        """Whether readers must be warned."""
        return (
            self.auc is not None and self.auc >= HIGH_AUC and bool(self.ci95 and self.ci95[0] > 0.5)
        )

    def __str__(self) -> str:
        """Say it in one or two sentences."""
        if self.auc is None or self.ci95 is None:
            return f"Confounding by scanner was not measured: {self.reason}"
        span = f"AUC {self.auc:.2f}, {self.ci95[0]:.2f} to {self.ci95[1]:.2f}"
        if not self.is_high:
            return f"Scanner and protocol alone hardly tell patients from controls ({span})."
        best, auc = next(iter(self.fields.items()))
        text = f"Scanner and protocol alone tell patients from controls ({span})"
        text += f", {best} most ({auc:.2f})"
        for field, (patients, controls) in self.one_sided.items():
            text += f"; the {field} alone gives away {patients} patients and {controls} controls"
        return text + ". A detector may have learned the scanner: do not trust its specificity."


def measure_confounding(table: pd.DataFrame, channels: Sequence[str]) -> Confounding:
    """Predict the group of each subject from its acquisition, by the others.

    A logistic regression on protocols (those of one subject taken together) and measures, in 10
    times 5-fold cross-validation.

    Args:
        table: see `lesionforge.data.cohort.read_people`; what is missing or constant is not used,
            and nobody who is unlabelled.
        channels: BIDS suffixes of the cohort's images.
    """
    table = table[table["group"] != UNLABELLED]
    ill = (table["group"] == "patient").to_numpy()
    if min(ill.sum(), (~ill).sum()) < MIN_SUBJECTS:
        reason = f"it needs {MIN_SUBJECTS} patients and {MIN_SUBJECTS} controls, there are "
        return Confounding(None, None, {}, {}, f"{reason}{ill.sum()} and {(~ill).sum()}.")
    protocols = {f"{channel} protocol": acquisition_column(channel) for channel in channels}
    named = {n: _words(table, column) for n, column in {"site": "site", **protocols}.items()}
    measures = {
        f"{channel} {words}": _numbers(table, f"{column}_{channel.lower()}")
        for column, words in _MEASURES.items()
        for channel in channels
    }
    columns = {n: c for n, c in {**named, **measures}.items() if c.nunique() > 1}
    if not columns:
        return Confounding(None, None, {}, {}, "no field of the acquisition differs.")
    alone = {name: _auc(pd.DataFrame({name: c}), ill)[0] for name, c in columns.items()}
    sides = {n: _one_sided(c, ill) for n, c in named.items() if n in columns}
    return Confounding(
        *_auc(pd.DataFrame(columns), ill),
        dict(sorted(alone.items(), key=lambda item: -item[1])),
        {name: counts for name, counts in sides.items() if sum(counts)},
    )


def _words(table: pd.DataFrame, column: str) -> pd.Series:
    if column not in table:
        return pd.Series("n/a", index=table.index)
    return table[column].fillna("n/a").astype(str)


def _numbers(table: pd.DataFrame, column: str) -> pd.Series:
    if column not in table:
        return pd.Series(0.0, index=table.index)
    values = pd.to_numeric(table[column], errors="coerce")
    return values.fillna(values.median() if values.notna().any() else 0.0)


def _auc(columns: pd.DataFrame, ill: np.ndarray) -> tuple[float, tuple[float, float]]:
    """Return the cross-validated AUC and its interval.

    Patients are compared with the controls of their own fold only: models of different folds give
    tied subjects different scores, which would count against them.
    """
    words = [name for name in columns if columns[name].dtype.kind not in "if"]
    numbers = [name for name in columns if name not in words]
    encoder = OneHotEncoder(min_frequency=2, sparse_output=False)
    features = make_column_transformer((encoder, words), (StandardScaler(), numbers))
    values = features.fit_transform(columns)  # knows no group, so nothing leaks
    weights = _bootstrap_weights(ill)
    won, pairs = np.zeros(len(weights)), np.zeros(len(weights))
    for repeat in range(REPEATS):
        seed = int(stream(0, "confounding", repeat).integers(2**31))
        for train, test in StratifiedKFold(FOLDS, shuffle=True, random_state=seed).split(ill, ill):
            model = LogisticRegression(class_weight="balanced", max_iter=1000)
            scores = model.fit(values[train], ill[train]).decision_function(values[test])
            p, n = ill[test], ~ill[test]
            gaps = scores[p][:, None] - scores[n][None]
            wins = (gaps > 1e-9) + 0.5 * (np.abs(gaps) <= 1e-9)
            won += ((weights[:, test[p]] @ wins) * weights[:, test[n]]).sum(1)
            pairs += weights[:, test[p]].sum(1) * weights[:, test[n]].sum(1)
    auc = won / np.maximum(pairs, 1)
    low, high = np.quantile(auc[1:], [0.025, 0.975])
    return float(auc[0]), (float(low), float(high))


def _bootstrap_weights(ill: np.ndarray) -> np.ndarray:
    """Return how often each subject is drawn: once in the first row, by chance in the others."""
    rng = stream(0, "confounding", "bootstrap")
    weights = np.ones((1 + BOOTSTRAP, len(ill)))
    for group in (np.flatnonzero(ill), np.flatnonzero(~ill)):
        even = np.full(len(group), 1 / len(group))
        weights[1:, group] = rng.multinomial(len(group), even, BOOTSTRAP)
    return weights


def _one_sided(values: pd.Series, ill: np.ndarray) -> tuple[int, int]:
    """Count patients and controls whose value no subject of the other group has."""
    among_ill, among_well = set(values[ill]), set(values[~ill])
    return int((~values[ill].isin(among_well)).sum()), int((~values[~ill].isin(among_ill)).sum())
