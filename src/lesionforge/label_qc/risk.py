"""Which label is likely to be wrong? A risk for every label, learnt from planted errors.

Nobody has a list of wrong labels to learn from, so errors of known kinds are planted in the very
cohort that is audited: what a wrong label looks like to a detector that has not seen it is then
known, and a classifier that has not seen the subject tells how alike a given label is. Masks and
labels without one are judged apart, since different signals exist for them: a mask by what lies in
it and elsewhere, a label without one by the candidate that looks most like a lesion.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold
from sklearn.preprocessing import StandardScaler
from tqdm import tqdm

from lesionforge.data.subject import Subject, read_lesion
from lesionforge.errors import DataError
from lesionforge.label_qc.config import ErrorKind, LabelAuditConfig
from lesionforge.label_qc.corruption import Region, move_mask, read_region, spoil
from lesionforge.label_qc.evidence import Evidence, label_signals, signals, sort_candidates
from lesionforge.label_qc.similarity import (
    PENALTY,
    candidate_features,
    features,
    measure_likeness,
    unlike_neighbours,
)
from lesionforge.seeding import stream

WORDS = {
    "missing": "a lesion that was not drawn",
    "shifted": "a mask beside its lesion, or of somebody else",
    "spurious": "a mask where nothing is",
    "small": "a mask that is too small",
    "large": "a mask that is too large",
}
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
        label holds, or would hold if it is wrong), reasons in words, `candidate` (number of the one
        that a label without a mask is judged by, 0 where there is none) and its `likeness`, every
        signal (`evidence.signals`) of a mask, and volume_ml.

    Raises:
        DataError: there are too few patients to learn from.
    """
    patients = [s for s in subjects if s.group == "patient"]
    if len(patients) < 2 * config.folds:
        raise DataError(
            f"An audit needs at least {2 * config.folds} labelled patients, got {len(patients)}."
        )
    drawn: list[dict[str, Any]] = []
    undrawn: list[dict[str, Any]] = []
    for subject in tqdm(subjects, desc="read labels", unit="subject"):
        evidence = read(subject)
        drawn += _drawn_rows(subject, evidence, patients, config)
        undrawn += _undrawn_rows(subject, evidence, config)
    masks, channels = pd.DataFrame(drawn), patients[0].channels
    judged = [
        _judge_masks(masks, channels, config),
        _judge_undrawn(pd.DataFrame(undrawn), channels, config),
    ]
    found = pd.concat([one for one in judged if len(one)], ignore_index=True)
    found["consequence"] = (
        found["volume_ml"] / masks.loc[masks["kind"] == "given", "volume_ml"].sum()
    )
    found = found.sort_values(["risk", "participant_id"], ascending=[False, True])
    found.insert(0, "rank", range(1, len(found) + 1))
    columns = ["rank", "participant_id", "group", "site", "risk", "suspected", "consequence"]
    columns += ["reasons", "candidate", "likeness", *signals(channels), "volume_ml"]
    return found.reindex(columns=columns).reset_index(drop=True)


def _known(subject: Subject, kind: str) -> dict[str, Any]:
    return {
        "participant_id": subject.id,
        "group": subject.group,
        "site": subject.site,
        "kind": kind,
    }


def _drawn_rows(
    subject: Subject, evidence: Evidence, patients: Sequence[Subject], config: LabelAuditConfig
) -> Iterator[dict[str, Any]]:
    """Yield the signals of a patient's mask, and of the wrong masks that are planted."""
    voxel_mm = evidence.grid.voxel_mm
    region = Region(read_lesion(subject), evidence.brain, evidence.tissues[1], voxel_mm)
    ill = subject.group == "patient"
    if ill:
        yield {**_known(subject, "given"), **label_signals(evidence, region.mask)}
    for kind in config.kinds:
        if kind == "missing" or (kind == "spurious") == ill:
            continue
        for copy in range(config.copies):
            rng = stream(config.seed, "audit", subject.id, kind, copy)
            try:
                mask = _plant(region, kind, patients, rng, config)
            except DataError:  # a mask too large to be moved: nothing to learn from it
                continue
            if mask is not None:
                yield {**_known(subject, kind), **label_signals(evidence, mask)}


def _undrawn_rows(
    subject: Subject, evidence: Evidence, config: LabelAuditConfig
) -> Iterator[dict[str, Any]]:
    """Yield the candidates of a control, and of a patient as if nothing had been drawn."""
    ill = subject.group == "patient"
    if ill and "missing" not in config.kinds:
        return
    known = _known(subject, "missing" if ill else "given")
    hits = {c.number for c in sort_candidates(evidence, read_lesion(subject))[0]}
    for candidate in evidence.candidates[: config.candidates]:
        yield {
            **known,
            "candidate": candidate.number,
            "hit": candidate.number in hits,
            "volume_ml": candidate.volume_mm3 / 1000,
            **candidate_features(evidence, candidate),
        }
    if not evidence.candidates:
        unknown = dict.fromkeys(features(evidence.channels), np.nan)
        yield {**known, "candidate": 0, "hit": False, "volume_ml": 0.0, **unknown}


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


def _judge_masks(
    table: pd.DataFrame, channels: Sequence[str], config: LabelAuditConfig
) -> pd.DataFrame:
    """Return the given masks with their risk, suspected error and reasons."""
    table["neighbours"] = unlike_neighbours(table, config.neighbours)
    words = signals(channels)
    judged, moved = _judge(table, list(words), config, penalty=PENALTY)
    return judged.assign(reasons=_name(moved, words, config.reasons))


def _judge_undrawn(
    table: pd.DataFrame, channels: Sequence[str], config: LabelAuditConfig
) -> pd.DataFrame:
    """Return the given labels without a mask, by the candidate most like a lesion."""
    if table.empty:
        return table
    real = (table["candidate"] > 0).to_numpy()
    words = features(channels)
    moved, likeness = np.zeros((len(table), len(words))), np.zeros(len(table))
    likeness[real], moved[real] = measure_likeness(table[real], config.folds)
    table["likeness"] = likeness
    best = table.groupby("participant_id", sort=False)["likeness"].idxmax().to_numpy()
    table, moved = table.loc[best].reset_index(drop=True), moved[best]
    why = moved[(table["kind"] == "given").to_numpy()]
    judged, _ = _judge(table, ["likeness"], config, penalty=1.0)
    usual = why.sum(axis=0) / max(len(why), 1)
    judged["reasons"] = _name(why - usual, words, config.reasons)
    return judged.drop(columns=[*words, "hit"])


def _name(moved: np.ndarray, words: Mapping[str, str], most: int) -> list[str]:
    """Name what moves each row (N, D) most towards a wrong label."""
    said = list(words.values())
    return ["; ".join(said[i] for i in np.argsort(-row)[:most] if row[i] > 0.1) for row in moved]


def _judge(
    table: pd.DataFrame, signals: list[str], config: LabelAuditConfig, penalty: float
) -> tuple[pd.DataFrame, np.ndarray]:
    """Return the given labels of one sort with risk and suspected error, and (N, D) why.

    The latter says how far each signal moves a label from right to its likeliest error.
    """
    given = (table["kind"] == "given").to_numpy()
    judged = table[given].drop(columns="kind").assign(risk=config.expected_rate, suspected="")
    values, groups = table[signals].to_numpy(dtype=float), table["participant_id"].to_numpy()
    moved = np.zeros(values.shape)
    if given.all() or not given.any():  # nothing to compare with, or nothing to judge
        return judged, moved[given]
    risk = np.full(len(table), config.expected_rate)
    suspected = np.full(len(table), "", dtype=object)
    kinds = table["kind"].to_numpy()
    for train, held_out in GroupKFold(config.folds).split(values, groups=groups):
        if given[train].all() or not given[train].any():
            continue  # without labels of either sort nothing is learnt about those held out
        scale = StandardScaler().fit(values[train])
        model = LogisticRegression(C=1 / penalty, max_iter=2000)
        weight = _weights(kinds[train], config)
        model.fit(scale.transform(values[train]), kinds[train], sample_weight=weight)
        points = scale.transform(values[held_out])
        chance = model.predict_proba(points)
        right = list(model.classes_).index("given")
        wrong = np.delete(np.arange(len(model.classes_)), right)
        likeliest = wrong[chance[:, wrong].argmax(axis=1)]
        risk[held_out] = _at_rate(1 - chance[:, right], config.expected_rate)
        suspected[held_out] = model.classes_[likeliest]
        moved[held_out] = points * _slopes(model, likeliest, right)
    return judged.assign(risk=risk[given], suspected=suspected[given]), moved[given]


def _weights(kinds: np.ndarray, config: LabelAuditConfig) -> np.ndarray:
    """Weigh planted errors so that together they count as much as the given labels."""
    labels = int((kinds == "given").sum())
    common = {k: config.size_weight if k in ("small", "large") else 1.0 for k in np.unique(kinds)}
    total = sum(share for kind, share in common.items() if kind != "given")
    weight = np.ones(len(kinds))
    for kind, share in common.items():
        if kind != "given":
            weight[kinds == kind] = labels * share / total / (kinds == kind).sum()
    return weight


def _at_rate(risk: np.ndarray, rate: float) -> np.ndarray:
    """Turn the risk among as many wrong as right labels into that where `rate` are wrong."""
    wrong, right = risk * rate, (1 - risk) * (1 - rate)
    return np.asarray(wrong / (wrong + right))


def _slopes(model: LogisticRegression, likeliest: np.ndarray, right: int) -> np.ndarray:
    """Return (N, D): how each signal moves a label from right to its likeliest error."""
    if len(model.classes_) == 2:
        return np.asarray(model.coef_[0] * (1 if right == 0 else -1))[None].repeat(
            len(likeliest), 0
        )
    return np.asarray(model.coef_[likeliest] - model.coef_[right])
