"""Which label is likely to be wrong? A risk for every label, learnt from planted errors.

Nobody has a list of wrong labels to learn from, so errors of known kinds are planted in the very
cohort that is audited: what a wrong label looks like to a detector that has not seen it is then
known, and a classifier, cross-fitted so that no subject judges itself, tells how alike a given
label is. Patients' and controls' labels are judged apart, since different signals exist for them.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold
from sklearn.preprocessing import StandardScaler
from tqdm import tqdm

from lesionforge.audit.corrupt import (
    CorruptConfig,
    ErrorKind,
    Region,
    move_mask,
    read_region,
    spoil,
)
from lesionforge.audit.label_signals import SIGNALS, WITHOUT_MASK, Evidence, label_signals
from lesionforge.cohort.subject import Subject, read_lesion
from lesionforge.errors import ConfigError, DataError
from lesionforge.seeding import stream

SIGNS = ("flair", "t1w", "blur", "conspicuity", "grey")
WORDS = {
    "missing": "a lesion that was not drawn",
    "shifted": "a mask beside its lesion, or of somebody else",
    "spurious": "a mask where nothing is",
    "small": "a mask that is too small",
    "large": "a mask that is too large",
}


@dataclass(frozen=True)
class LabelAuditConfig:
    """How labels are judged.

    Attributes:
        expected_rate: share of wrong labels that is assumed; it moves all risks up or down and
            hardly changes their order.
        kinds: errors that are planted to learn from.
        size_weight: how common masks of the wrong size are assumed to be against each other kind.
        copies: planted errors of each kind a subject.
        neighbours: regions that are asked for `neighbours`.
        folds: of the cross-fitted classifier.
        reasons: how many are named a label.
        seed: of the planted errors.
        shift_mm: shortest and longest move of a shifted mask.
    """

    expected_rate: float = 0.1
    kinds: tuple[ErrorKind, ...] = ("missing", "shifted", "spurious", "small", "large")
    size_weight: float = 0.25
    copies: int = 2
    neighbours: int = 10
    folds: int = 5
    reasons: int = 3
    seed: int = 0
    shift_mm: tuple[float, float] = CorruptConfig.shift_mm

    def __post_init__(self) -> None:
        """Check the ranges."""
        if not 0 < self.expected_rate < 1:
            raise ConfigError(f"`expected_rate` must be in (0, 1), got {self.expected_rate}.")
        if set(self.kinds) - set(WORDS) or not self.kinds:
            raise ConfigError(f"`kinds` must be some of {', '.join(WORDS)}.")


Reader = Callable[[Subject], Evidence]


def audit_labels(
    subjects: Sequence[Subject], read: Reader, config: LabelAuditConfig
) -> pd.DataFrame:
    """Judge the label of every subject.

    Args:
        subjects: with the labels to be judged, patients and controls.
        read: gives a subject's evidence; its prediction must be out of fold.
        config: how.

    Returns:
        One row a subject, riskiest first: rank, participant_id, group, site, risk in [0, 1]
        (`expected_rate` where there are too few labels of its sort to learn from), suspected (the
        likeliest kind of error), consequence (share of the cohort's labelled lesion volume that the
        label holds, or would hold if it is wrong), reasons in words, and every signal of
        `SIGNALS`.

    Raises:
        DataError: there are too few patients to learn from.
    """
    patients = [s for s in subjects if s.group == "patient"]
    if len(patients) < 2 * config.folds:
        raise DataError(
            f"An audit needs at least {2 * config.folds} labelled patients, got {len(patients)}."
        )
    rows = [
        row
        for subject in tqdm(subjects, desc="read labels", unit="subject")
        for row in _subject_rows(subject, read(subject), patients, config)
    ]
    table = pd.DataFrame(rows)
    table["neighbours"] = _neighbours(table, config.neighbours)
    judged = [_judge(table[table["masked"] == masked], config) for masked in (True, False)]
    found = pd.concat(judged, ignore_index=True)
    total = table.loc[table["masked"] & (table["kind"] == "given"), "volume_ml"].sum()
    found["consequence"] = found["volume_ml"] / total
    found = found.sort_values(["risk", "participant_id"], ascending=[False, True])
    found.insert(0, "rank", range(1, len(found) + 1))
    first = ["rank", "participant_id", "group", "site", "risk", "suspected", "consequence"]
    return found[[*first, "reasons", *SIGNALS, "volume_ml"]].reset_index(drop=True)


def _subject_rows(
    subject: Subject, evidence: Evidence, patients: Sequence[Subject], config: LabelAuditConfig
) -> Iterable[dict[str, Any]]:
    """Yield the signals of a subject's given label and of the errors planted in it."""
    known = {"participant_id": subject.id, "group": subject.group, "site": subject.site}
    region = Region(
        read_lesion(subject), evidence.brain, evidence.tissues[1], evidence.grid.voxel_mm
    )
    ill = subject.group == "patient"
    given = region.mask if ill else None
    yield {**known, "kind": "given", "masked": ill, **label_signals(evidence, given)}
    for kind in config.kinds:
        if (kind == "spurious") == ill:
            continue
        for copy in range(1 if kind == "missing" else config.copies):
            rng = stream(config.seed, "audit", subject.id, kind, copy)
            try:
                mask = _plant(region, kind, patients, rng, config)
            except DataError:  # a mask too large to be moved: nothing to learn from it
                continue
            signals = label_signals(evidence, mask)
            yield {**known, "kind": kind, "masked": mask is not None, **signals}


def _plant(
    region: Region,
    kind: ErrorKind,
    patients: Sequence[Subject],
    rng: np.random.Generator,
    config: LabelAuditConfig,
) -> np.ndarray | None:
    if kind != "spurious":
        return spoil(region, kind, rng, config.shift_mm)
    donor = read_region(patients[int(rng.integers(len(patients)))])
    return move_mask(donor, region, rng, config.shift_mm)


def _neighbours(table: pd.DataFrame, neighbours: int) -> np.ndarray:
    """Return the share of regions with similar signs that are no given lesion.

    Given lesions are compared with planted masks, which lie where no lesion is; a candidate of a
    label without a mask is compared with both as if it were a lesion.
    """
    lesion = (table["masked"] & (table["kind"] == "given")).to_numpy()
    away = table["kind"].isin(["shifted", "spurious"]).to_numpy()
    known = lesion | away
    values = table[list(SIGNS)].to_numpy(dtype=float)
    if not away.any():
        return np.zeros(len(table))
    points = StandardScaler().fit(values[known]).transform(values)
    who = table["participant_id"].to_numpy()
    found = np.empty(len(table))
    for row, point in enumerate(points):
        others = known & (who != who[row])
        distance = np.linalg.norm(points[others] - point, axis=1)
        nearest = np.argsort(distance, kind="stable")[:neighbours]
        weight = 1 / (distance[nearest] + distance[nearest].mean() + 1e-12)
        found[row] = float((weight * away[others][nearest]).sum() / weight.sum())
    return found


def _judge(table: pd.DataFrame, config: LabelAuditConfig) -> pd.DataFrame:
    """Return the given labels of one sort with their risk, suspected error and reasons."""
    given = (table["kind"] == "given").to_numpy()
    judged = table[given].copy()
    if given.all() or not given.any():  # nothing to compare with, or nothing to judge
        return judged.assign(risk=config.expected_rate, suspected="", reasons="")
    words = SIGNALS if table["masked"].iloc[0] else WITHOUT_MASK
    columns = [name for name in words if table[name].nunique() > 1]
    kinds = table["kind"].to_numpy()
    weight = _weights(kinds, config)
    values, groups = table[columns].to_numpy(dtype=float), table["participant_id"].to_numpy()
    risk = np.full(len(table), config.expected_rate)
    suspected = np.full(len(table), "", dtype=object)
    contribution = np.zeros(values.shape)
    for train, held_out in GroupKFold(config.folds).split(values, groups=groups):
        if given[train].all() or not given[train].any():
            continue  # without labels of either sort nothing is learnt about those held out
        scale = StandardScaler().fit(values[train])
        model = LogisticRegression(C=0.1, max_iter=2000)
        model.fit(scale.transform(values[train]), kinds[train], sample_weight=weight[train])
        points = scale.transform(values[held_out])
        chance = model.predict_proba(points)
        right = list(model.classes_).index("given")
        wrong = np.delete(np.arange(len(model.classes_)), right)
        likeliest = wrong[chance[:, wrong].argmax(axis=1)]
        risk[held_out] = 1 - chance[:, right]
        suspected[held_out] = model.classes_[likeliest]
        contribution[held_out] = points * _slopes(model, likeliest, right)
    judged["risk"], judged["suspected"] = risk[given], suspected[given]
    judged["reasons"] = [
        "; ".join(words[columns[i]] for i in np.argsort(-row)[: config.reasons] if row[i] > 0.1)
        for row in contribution[given]
    ]
    return judged


def _weights(kinds: np.ndarray, config: LabelAuditConfig) -> np.ndarray:
    """Weigh planted errors so that together they are `expected_rate` of all labels."""
    labels = int((kinds == "given").sum())
    common = {k: config.size_weight if k in ("small", "large") else 1.0 for k in np.unique(kinds)}
    total = sum(share for kind, share in common.items() if kind != "given")
    weight = np.ones(len(kinds))
    for kind, share in common.items():
        if kind != "given":
            wrong = config.expected_rate / (1 - config.expected_rate) * labels
            weight[kinds == kind] = wrong * share / total / (kinds == kind).sum()
    return weight


def _slopes(model: LogisticRegression, likeliest: np.ndarray, right: int) -> np.ndarray:
    """Return (N, D): how each signal moves a label from right to its likeliest error."""
    if len(model.classes_) == 2:
        return np.asarray(model.coef_[0] * (1 if right == 0 else -1))[None].repeat(
            len(likeliest), 0
        )
    return np.asarray(model.coef_[likeliest] - model.coef_[right])
