"""What one trained detector did on the test subjects, as arrays that every metric reads."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from lesionforge.errors import DataError
from lesionforge.metrics.marks import NONE, Marks, Scores, owned_scores


@dataclass(frozen=True, eq=False)
class Outcome:
    """One regime and seed on the test subjects; patients and controls are in a fixed order.

    Attributes:
        patients: (P,) ids.
        controls: (C,) ids.
        site: (P,) site of each patient.
        lesion_ml: (P,) true volume.
        best_hit: (P,) best score of a hit, `NONE` where there is none.
        best_hit_strict: (P,) the same for hits that overlap the undilated truth.
        lesions: of every lesion, the best score of a hit that reaches it.
        false_in_patients: scores of candidates in patients that are no hits.
        false_in_controls: scores of candidates in controls.
        confidence: (P,) maximum probability in the true lesion.
        dice: (P,) of probability > 0.5.
        threshold_patients: (P,) score threshold that applies (one a fold).
        threshold_controls: (C,) the same of controls.
    """

    patients: np.ndarray
    controls: np.ndarray
    site: np.ndarray
    lesion_ml: np.ndarray
    best_hit: np.ndarray
    best_hit_strict: np.ndarray
    lesions: Scores
    false_in_patients: Scores
    false_in_controls: Scores
    confidence: np.ndarray
    dice: np.ndarray
    threshold_patients: np.ndarray
    threshold_controls: np.ndarray

    @property
    def detected(self) -> np.ndarray:
        """(P,) bool: the patient has a hit at or above the score threshold."""
        return self.best_hit >= self.threshold_patients

    @property
    def best_false(self) -> np.ndarray:
        """(C,) best score of a false positive in each control, `NONE` where there is none."""
        return self.false_in_controls.best(len(self.controls))

    @property
    def marks(self) -> Marks:
        """The same in the unit of patients, for curves and endpoints."""
        n = len(self.patients)
        return Marks(
            patients=self.patients,
            controls=self.controls,
            targets=Scores(self.best_hit, np.arange(n)),
            false_in_patients=self.false_in_patients,
            false_in_controls=self.false_in_controls,
            best_in_patients=np.maximum(self.best_hit, self.false_in_patients.best(n)),
            threshold_patients=self.threshold_patients,
            threshold_controls=self.threshold_controls,
            dice=self.dice,
        )

    @property
    def false_positives(self) -> tuple[np.ndarray, np.ndarray]:
        """(P,) and (C,) int: false positives at the score threshold of patients and controls."""
        return (
            self.false_in_patients.at_least(self.threshold_patients),
            self.false_in_controls.at_least(self.threshold_controls),
        )


def choose_threshold(
    false_scores: np.ndarray, n_subjects: int, per_subject: float, floor: float
) -> float:
    """Choose the lowest score threshold with at most `per_subject` false positives a subject.

    Args:
        false_scores: (N,) scores of all false positives of the validation subjects.
        n_subjects: how many validation subjects there are, patients and controls.
        per_subject: false positives a subject that are allowed.
        floor: the candidate threshold, below which there are no candidates.

    Returns:
        `floor` when everything is allowed, else the next number above the score of the best false
        positive that must go (which may lie above every score there is).

    Raises:
        DataError: there are no validation subjects.
    """
    if n_subjects < 1:
        raise DataError(
            "There are no validation subjects to choose the score threshold on. "
            "Give --splits.validation_patients at least 1."
        )
    allowed = int(np.floor(per_subject * n_subjects + 1e-9))
    ordered = np.sort(np.asarray(false_scores, dtype=np.float64))[::-1]
    if len(ordered) <= allowed:
        return float(floor)
    return max(float(floor), float(np.nextafter(ordered[allowed], np.inf)))


def outcome(
    candidates: pd.DataFrame, subjects: pd.DataFrame, thresholds: dict[str, float]
) -> Outcome:
    """Turn the rows of test subjects of `candidates.tsv` and `subjects.tsv` into an `Outcome`.

    Args:
        candidates: rows of the test subjects' candidates; others are ignored.
        subjects: rows of the test subjects.
        thresholds: participant_id to the score threshold that applies to it.

    Raises:
        DataError: a patient has no lesion on the grid, so it can neither be found nor missed.
    """
    table = subjects.sort_values("participant_id", ignore_index=True)
    patients = table[table["group"] == "patient"]
    controls = table.loc[table["group"] == "control", "participant_id"].to_numpy(dtype=str)
    ids = patients["participant_id"].to_numpy(dtype=str)
    if patients["lesion_scores"].isna().any():
        empty = ", ".join(ids[patients["lesion_scores"].isna()])
        raise DataError(
            f"Held-out patients without a lesion in their mask: {empty}. Mend their masks, or make "
            "them controls in participants.tsv, and prepare the cohort again."
        )
    hit = candidates["hit"] == 1
    lesions = [
        (i, float(s) if float(s) > 0 else NONE)
        for i, text in enumerate(patients["lesion_scores"])
        for s in str(text).split(",")
    ]
    return Outcome(
        patients=ids,
        controls=controls,
        site=patients["site"].fillna("n/a").to_numpy(dtype=str),
        lesion_ml=patients["lesion_ml"].to_numpy(dtype=float),
        best_hit=_best(candidates[hit], ids),
        best_hit_strict=_best(candidates[candidates["hit_strict"] == 1], ids),
        lesions=Scores(
            np.array([score for _, score in lesions], dtype=float),
            np.array([owner for owner, _ in lesions], dtype=int),
        ),
        false_in_patients=owned_scores(candidates[~hit], ids),
        false_in_controls=owned_scores(candidates[~hit], controls),
        confidence=patients["max_probability_in_lesion"].to_numpy(dtype=float),
        dice=patients["dice"].to_numpy(dtype=float),
        threshold_patients=np.array([thresholds[i] for i in ids], dtype=float),
        threshold_controls=np.array([thresholds[i] for i in controls], dtype=float),
    )


def _best(candidates: pd.DataFrame, ids: np.ndarray) -> np.ndarray:
    best = candidates.groupby("participant_id")["score"].max()
    return best.reindex(ids).fillna(NONE).to_numpy(dtype=float)
