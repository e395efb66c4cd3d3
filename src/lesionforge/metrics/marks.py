"""What a detector marked on test subjects, in one of the two units, as arrays that curves read.

A *target* is what can be found: a patient (unit `patient`) or a lesion (unit `lesion`). Patients
weigh equally in both units: a lesion weighs one over the number of lesions of its patient.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from lesionforge.errors import DataError, named
from lesionforge.metrics.config import Unit

NONE = -np.inf
"""Score of what was not found; below every threshold."""


@dataclass(frozen=True, eq=False)
class Scores:
    """Scores of candidates: their `value` (N,) and the index of the subject they belong to (N,)."""

    value: np.ndarray
    owner: np.ndarray

    def at_least(self, threshold: np.ndarray) -> np.ndarray:
        """Count, for each subject, its scores at or above its `threshold` (subjects,)."""
        keep = self.value >= threshold[self.owner]
        return np.bincount(self.owner[keep], minlength=len(threshold))

    def best(self, n: int) -> np.ndarray:
        """Return (n,) the best score of each of n subjects, `NONE` where there is none."""
        best = np.full(n, NONE)
        np.maximum.at(best, self.owner, self.value)
        return best


@dataclass(frozen=True, eq=False)
class Marks:
    """One training's marks on the test subjects; patients and controls are in a fixed order.

    Attributes:
        patients: (P,) ids.
        controls: (C,) ids.
        targets: found score of every target, `NONE` where it is not found, and its patient.
        false_in_patients: scores of false positives in patients.
        false_in_controls: the same in controls.
        best_in_patients: (P,) best score of any candidate of each patient.
        threshold_patients: (P,) score threshold that was chosen on validation subjects (one a
            fold); NaN where none was chosen.
        threshold_controls: (C,) the same of controls.
        dice: (P,) Dice of each patient; NaN where unknown.
    """

    patients: np.ndarray
    controls: np.ndarray
    targets: Scores
    false_in_patients: Scores
    false_in_controls: Scores
    best_in_patients: np.ndarray
    threshold_patients: np.ndarray
    threshold_controls: np.ndarray
    dice: np.ndarray

    @property
    def share(self) -> np.ndarray:
        """(T,) weight of each target within its patient, 1 over the patient's targets."""
        count = np.bincount(self.targets.owner, minlength=len(self.patients))
        return 1 / count[self.targets.owner]

    @property
    def best_false(self) -> np.ndarray:
        """(C,) best score of a false positive in each control, `NONE` where there is none."""
        return self.false_in_controls.best(len(self.controls))

    def target_weights(self, patients: np.ndarray) -> np.ndarray:
        """Return (R, T) weights of targets from those of patients (R, P).

        They sum to the weight of the patients that have a target; patients without one have no
        sensitivity and drop out of its mean.
        """
        return patients[:, self.targets.owner] * self.share


def headline_unit(lesions: Sequence[int]) -> Unit:
    """Return the unit that suits a cohort.

    Args:
        lesions: number of lesions of each training patient; at least one patient.

    Returns:
        `lesion` if the median patient has two or more, else `patient`.
    """
    return "lesion" if float(np.median(lesions)) >= 2 else "patient"


def read_marks(
    candidates: pd.DataFrame,
    subjects: pd.DataFrame,
    unit: Unit = "patient",
    lesions: pd.DataFrame | None = None,
    thresholds: dict[str, float] | None = None,
) -> Marks:
    """Turn tables into marks.

    Args:
        candidates: `participant_id`, `score` (higher is surer) and `hit` (1 true, 0 false
            positive, NaN counts as neither). For the unit `lesion` without `lesions`: `lesion`
            too, which lesion of the patient is hit. With `lesions`, `lesion_hit` is read instead
            of `hit` where there is such a column.
        subjects: `participant_id`, and `group` (`patient` or `control`; without that column all
            are patients). For the unit `lesion` without `lesions`: `n_lesions` too. A column
            `dice` is read if there.
        unit: what can be found.
        lesions: a row a lesion: `participant_id` and `score`, the found score (NaN where not
            found); rows with 0 in a column `counts` are left out.
        thresholds: participant_id to the score threshold that was chosen for it.

    Raises:
        DataError: a column is missing or holds what it must not, a subject is unknown or listed
            twice, or there is nothing to find.
    """
    if unit not in ("patient", "lesion"):
        raise DataError(f"`unit` must be `patient` or `lesion`, got `{unit}`.")
    _require("subjects", subjects, ["participant_id"])
    ids = subjects["participant_id"].astype(str)
    if ids.duplicated().any():
        twice = named(sorted(set(ids[ids.duplicated()])))
        raise DataError(f"Subjects listed twice: {twice}. Keep one row of each.")
    is_control = (
        subjects["group"].astype(str) == "control"
        if "group" in subjects
        else pd.Series(False, index=subjects.index)
    )
    patients, controls = (np.sort(ids[m].to_numpy(dtype=str)) for m in (~is_control, is_control))
    if not len(patients):
        raise DataError("The table of subjects has no patients; sensitivity cannot be measured.")
    hit = _hits(candidates, unit, lesions)
    _known("candidates", candidates, ids)
    targets = _targets(candidates, subjects, unit, lesions, hit, patients)
    if not len(targets.value):
        raise DataError("No patient has a lesion that counts; there is nothing to find.")
    false = candidates[(hit == 0).to_numpy()]
    dice = pd.Series(subjects["dice"].to_numpy(dtype=float), ids) if "dice" in subjects else None
    chosen = thresholds or {}
    return Marks(
        patients=patients,
        controls=controls,
        targets=targets,
        false_in_patients=owned_scores(false, patients),
        false_in_controls=owned_scores(false, controls),
        best_in_patients=owned_scores(candidates, patients).best(len(patients)),
        threshold_patients=np.array([chosen.get(i, np.nan) for i in patients], dtype=float),
        threshold_controls=np.array([chosen.get(i, np.nan) for i in controls], dtype=float),
        dice=np.full(len(patients), np.nan) if dice is None else dice.loc[patients].to_numpy(),
    )


def _require(name: str, table: pd.DataFrame, columns: Sequence[str]) -> None:
    missing = [column for column in columns if column not in table]
    if missing:
        raise DataError(
            f"The table of {name} has no column {', '.join(f'`{c}`' for c in missing)}; it has "
            f"{', '.join(f'`{c}`' for c in table.columns)}. Rename or add it."
        )


def _known(name: str, table: pd.DataFrame, ids: pd.Series) -> None:
    strangers = sorted(set(table["participant_id"].astype(str)) - set(ids))
    if strangers:
        raise DataError(
            f"The table of {name} has subjects that the table of subjects has not: "
            f"{named(strangers)}. Write the ids alike in both, or give the subjects' rows."
        )


def _hits(candidates: pd.DataFrame, unit: Unit, lesions: pd.DataFrame | None) -> pd.Series:
    """Return 1 true, 0 false positive, NaN neither, for each candidate; checks the columns."""
    _require("candidates", candidates, ["participant_id", "score"])
    column = "hit"
    if unit == "lesion" and "lesion_hit" in candidates:
        if lesions is None:
            raise DataError(
                "Candidates with a column `lesion_hit` go with a table of lesions for the unit "
                "`lesion`. Give `lesions` (lesions.tsv)."
            )
        column = "lesion_hit"
    _require("candidates", candidates, [column])
    hit = pd.to_numeric(candidates[column].astype(float), errors="coerce")
    if not hit.dropna().isin([0, 1]).all():
        raise DataError(f"The column `{column}` of candidates must hold 1, 0 or nothing.")
    if not np.isfinite(candidates["score"].to_numpy(dtype=float)).all():
        raise DataError("The column `score` of candidates has values that are not finite.")
    return hit


def _targets(
    candidates: pd.DataFrame,
    subjects: pd.DataFrame,
    unit: Unit,
    lesions: pd.DataFrame | None,
    hit: pd.Series,
    patients: np.ndarray,
) -> Scores:
    hits = candidates[(hit == 1).to_numpy()]
    if unit == "patient":
        return Scores(owned_scores(hits, patients).best(len(patients)), np.arange(len(patients)))
    if lesions is None:
        return _lesions_of_hits(hits, subjects, patients)
    _require("lesions", lesions, ["participant_id", "score"])
    _known("lesions", lesions, subjects["participant_id"].astype(str))
    counted = lesions[lesions["counts"] == 1] if "counts" in lesions else lesions
    found = owned_scores(counted, patients)
    return Scores(np.where(np.isnan(found.value), NONE, found.value), found.owner)


def _lesions_of_hits(hits: pd.DataFrame, subjects: pd.DataFrame, patients: np.ndarray) -> Scores:
    """Take the best hit of each lesion that the candidates name; the others are not found."""
    _require("candidates", hits, ["lesion"])
    _require("subjects", subjects, ["n_lesions"])
    best = hits.groupby([hits["participant_id"].astype(str), "lesion"])["score"].max()
    count = pd.Series(
        subjects["n_lesions"].to_numpy(dtype=int), subjects["participant_id"].astype(str)
    )
    values, owners = [], []
    for owner, name in enumerate(patients):
        mine = best.loc[[name]].tolist() if name in best.index.get_level_values(0) else []
        n = int(count[name])
        if len(mine) > n:
            raise DataError(
                f"{name} has {n} lesions (`n_lesions`) but hits on {len(mine)} (`lesion`). Correct "
                "the tables."
            )
        values += [*mine, *[NONE] * (n - len(mine))]
        owners += [owner] * n
    return Scores(np.array(values, dtype=float), np.array(owners, dtype=int))


def owned_scores(candidates: pd.DataFrame, ids: np.ndarray) -> Scores:
    """Return the scores of the candidates that belong to subjects of `ids`."""
    index = {name: i for i, name in enumerate(ids)}
    owner = candidates["participant_id"].astype(str).map(index)
    mine = candidates[owner.notna()]
    return Scores(
        mine["score"].to_numpy(dtype=float), owner[owner.notna()].to_numpy(dtype=float).astype(int)
    )
