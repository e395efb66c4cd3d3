"""Where do a synthetic regime's new false positives come from? The training lesions most like them.

A generator that leaves a mark on what it makes teaches the detector to look for the mark. False
candidates that a regime with synthetic data has and the baseline has not are therefore set beside
the lesions it was trained on, real and synthetic: if they resemble synthetic ones more than false
positives that both regimes share do, the generator is the likely cause.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from tqdm import tqdm

from lesionforge.data.subject import Subject, read_brain, read_grid, read_lesion
from lesionforge.data.volume import Volume
from lesionforge.errors import DataError
from lesionforge.metrics.config import CandidateRules
from lesionforge.metrics.intervals import quantiles
from lesionforge.metrics.matching import candidates_mask, find_candidates
from lesionforge.seeding import stream
from lesionforge.synthetic_qc.subject_features import measure_subject
from lesionforge.synthetic_qc.two_sample import LIMIT

SAME_MM = 10.0
"""Candidates of two regimes whose centres are this close are one."""
COLUMNS = ("x_mm", "y_mm", "z_mm")
SHOWN = 3  # synthetic lesions that are named of each false positive
TRACED = (
    "nearest_synthetic",
    "synthetic_distance",
    "synthetic_next",
    "nearest_real",
    "real_distance",
    "synthetic_away_mm",
    "closer",
)


@dataclass(frozen=True, eq=False)
class TrainingLesions:
    """The lesions that a regime was trained on.

    Attributes:
        ids: of the patients that have them.
        features: (N, D) of how they look, see `lesionforge.synthetic_qc.features.lesion_features`.
        synthetic: (N,) bool.
        centres_mm: (N, 3) centroids.
    """

    ids: Sequence[str]
    features: np.ndarray
    synthetic: np.ndarray
    centres_mm: np.ndarray


def read_training_lesions(
    subjects: Sequence[Subject], place: Callable[[Subject], np.ndarray]
) -> TrainingLesions:
    """Portray the patients among a regime's training subjects.

    Args:
        subjects: real and synthetic.
        place: gives the lesion that a synthetic patient was given.

    Raises:
        DataError: they are not both real and synthetic.
    """
    patients = [s for s in subjects if s.group == "patient"]
    synthetic = np.array([s.synthetic for s in patients], dtype=bool)
    if synthetic.all() or not synthetic.any():
        raise DataError("Traces need a regime that was trained on real and on synthetic patients.")
    features, centres = [], []
    for subject in tqdm(patients, desc="training lesions", unit="patient"):
        mask = place(subject) if subject.synthetic else read_lesion(subject)
        features.append(measure_subject(subject, mask, subject.id).near)
        centres.append(read_grid(subject).world(np.argwhere(mask)).mean(axis=0))
    return TrainingLesions(
        [s.id for s in patients], np.array(features, dtype=float), synthetic, np.stack(centres)
    )


def false_candidates(
    mine: pd.DataFrame, theirs: pd.DataFrame, thresholds: tuple[float, float]
) -> pd.DataFrame:
    """Return a regime's false positives, and whether another regime has each of them too.

    Args:
        mine: `candidates.tsv` of the regime, of the subjects that count.
        theirs: of the other regime.
        thresholds: score thresholds of both.

    Returns:
        Rows of `mine` at or above its threshold that are no hits, with `new`: 1 where the other
        regime has no candidate at or above its own threshold within `SAME_MM`.
    """
    false = mine[(mine["hit"] == 0) & (mine["score"] >= thresholds[0])].copy()
    others = theirs[theirs["score"] >= thresholds[1]]
    new = []
    for row in false.to_dict("records"):
        near = others[others["participant_id"] == row["participant_id"]]
        centre = np.array([row[c] for c in COLUMNS], dtype=float)
        distance = np.linalg.norm(near[list(COLUMNS)].to_numpy(dtype=float) - centre, axis=1)
        new.append(int(not (distance <= SAME_MM).any()))
    return false.assign(new=new)


def trace(
    false: pd.DataFrame,
    subjects: Sequence[Subject],
    read: Callable[[str], Volume],
    rules: CandidateRules,
    lesions: TrainingLesions,
) -> pd.DataFrame:
    """Find the training lesions that look most like each false positive.

    Likeness is the distance of the lesion's features, standardised over the training lesions.

    Args:
        false: see `false_candidates`.
        subjects: that the candidates belong to.
        read: gives a subject's probability map by its id.
        rules: of candidates.
        lesions: of the training.

    Returns:
        `false` with the nearest synthetic and the nearest real lesion by features and their
        distances, the next synthetic ones, how far the nearest synthetic one lies in the brain (mm,
        mirrored or not), and `closer`: 1 where the nearest of all is synthetic.
    """
    known = lesions.features
    middle, spread = known.mean(axis=0), np.maximum(known.std(axis=0), 1e-6)
    points = np.clip((known - middle) / spread, -LIMIT, LIMIT)
    by_id = {s.id: s for s in subjects}
    rows = []
    for row in tqdm(false.to_dict("records"), desc="trace false positives", unit="candidate"):
        subject = by_id[row["participant_id"]]
        place = candidate_place(read(subject.id), rules, int(row["candidate"])) & read_brain(
            subject
        )
        try:
            seen = measure_subject(subject, place, subject.id, lesion=True).near
        except DataError:  # no brain around it to compare with
            continue
        point = np.clip((seen - middle) / spread, -LIMIT, LIMIT)
        distance = np.linalg.norm(points - point, axis=1)
        rows.append({**row, **_nearest(row, distance, lesions)})
    return pd.DataFrame(rows, columns=[*false.columns, *TRACED])


def summarise(traces: pd.DataFrame, lesions: TrainingLesions, lost: int = 0) -> str:
    """Say whether new false positives resemble synthetic lesions more than shared ones do.

    Args:
        traces: see `trace`.
        lesions: of the training.
        lost: false positives that could not be traced, having no brain around them.
    """
    if traces.empty:
        return "No false positive could be traced."
    share = float(lesions.synthetic.mean())
    parts = []
    for new, words in ((1, "that the other regime does not have"), (0, "that both regimes have")):
        rows = traces[traces["new"] == new]
        k, n = int(rows["closer"].sum()), len(rows)
        if n:
            low, high = _interval(rows)
            parts.append(
                f"of {n} false positives {words}, {k} are most like a synthetic training lesion "
                f"({100 * k / n:.0f} %, {100 * low:.0f} to {100 * high:.0f})"
            )
    text = "; ".join(parts)
    left = f" {lost} more could not be traced." if lost else ""
    return (
        f"{text[0].upper()}{text[1:]}.{left} Synthetic are {100 * share:.0f} % of the training "
        "lesions."
    )


def _interval(rows: pd.DataFrame) -> tuple[float, float]:
    """Return the bootstrap interval of the share `closer`; subjects are resampled, not candidates.

    One subject alone gives no interval.
    """
    each = rows.groupby("participant_id")["closer"].agg(["sum", "count"]).to_numpy(dtype=float)
    if len(each) < 2:
        return 0.0, 1.0
    drawn = stream(0, "traces").integers(len(each), size=(1000, len(each)))
    k, n = each[drawn].sum(axis=1).T
    return quantiles(k / n)


def candidate_place(probability: Volume, rules: CandidateRules, number: int) -> np.ndarray:
    """Return where (X, Y, Z) bool candidate `number` of a probability map lies."""
    found = find_candidates(probability.data, probability.grid, rules)
    return candidates_mask([found[number - 1]], probability.data.shape)


def _nearest(row: dict, distance: np.ndarray, lesions: TrainingLesions) -> dict[str, object]:
    made, real = np.flatnonzero(lesions.synthetic), np.flatnonzero(~lesions.synthetic)
    made, other = made[distance[made].argsort(kind="stable")], real[distance[real].argmin()]
    centre = np.array([row[c] for c in COLUMNS], dtype=float)
    away = [
        np.linalg.norm(lesions.centres_mm[made] - centre * side, axis=1).min()
        for side in ([1, 1, 1], [-1, 1, 1])
    ]
    values = (
        lesions.ids[made[0]],
        float(distance[made[0]]),
        ", ".join(lesions.ids[i] for i in made[1:SHOWN]),
        lesions.ids[other],
        float(distance[other]),
        float(min(away)),
        int(distance[made[0]] < distance[other]),
    )
    return dict(zip(TRACED, values, strict=True))
