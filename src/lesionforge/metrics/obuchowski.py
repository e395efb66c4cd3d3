"""Intervals over subjects and trainings: the Obuchowski-Rockette analysis, and what mends it.

Trainings (seeds, cohorts, or repeats of a cross-fitted study) are the readers, regimes are the
modalities, subjects are the cases. The analysis needs only the value of an endpoint for every
training, with all subjects and without each of them, so it holds for endpoints that have no value
a subject (areas, sensitivity at a matched rate).

With d_j the difference of two regimes in training j of J, its variance over trainings (s^2, that is
2 MS(TR)) and the mean jackknife covariance of two trainings' differences (c, that is
2 (Cov2 - Cov3)), the mean difference has the variance s^2 / J + max(c, 0): the first part is of the
trainings, with J - 1 degrees of freedom, the second of the subjects.

- Obuchowski and Rockette, Communications in Statistics - Simulation and Computation 1995;24:285,
  with the degrees of freedom of Hillis, Statistics in Medicine 2007;26:596: one t quantile for the
  sum. A sum that is small by chance gets too many degrees of freedom, and the subjects' part is
  taken as known: in simulation (benchmarks/coverage.py) it covers 91.6 to 95 %, least with three
  trainings or 14 patients. It is reported as `hillis` and not used for a verdict.
- `ci95` gives each part its own t quantile, half width = sqrt(t^2[J - 1] s^2 / J + t^2[n - 1] c),
  which covers at least 95 % for independent parts (Banerjee, Sankhya 1960;22:357).
- Trainings whose cohorts share subjects vary less than new cohorts would. With a correlation rho of
  their effects, s^2 estimates (1 - rho) of their variance and rho of it is common to all: the first
  part becomes s^2 (1 / J + rho / (1 - rho)), as Nadeau and Bengio, Machine Learning 2003;52:239,
  correct resampled trainings. `cohort_overlap` gives rho under the assumption that trainings differ
  by their cohorts alone, each subject adding its own effect: random starts lower rho, so the
  interval is too wide rather than too narrow.
- In a cross-fitted study a subject's folds change from repeat to repeat and each repeat gives one
  value of all test subjects. Without correction the interval speaks of cohorts drawn from these
  subjects (`scope` is `pool`); with it, of cohorts of other subjects as well (`population`).
- One training says nothing of trainings: its interval is of subjects alone, with this training
  fixed (`scope` is `this training`).
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from scipy import optimize, stats

from lesionforge.errors import DataError

LEVEL = 0.95
MOST_OVERLAP = 0.95
"""Above this overlap of cohorts nothing is known of other cohorts."""
SMALLEST_P = 1e-12


@dataclass(frozen=True, eq=False)
class Readings:
    """An endpoint of one regime, or of a difference of regimes, in J trainings.

    Attributes:
        values: (J,) with all subjects.
        left_out: (J, N) without each subject in turn.
        groups: (N,) int group of each subject (patient, control); the jackknife respects it.
    """

    values: np.ndarray
    left_out: np.ndarray
    groups: np.ndarray

    def minus(self, other: "Readings") -> "Readings":
        """Return this minus `other`, training by training.

        Raises:
            DataError: they are not of the same trainings and subjects.
        """
        if self.left_out.shape != other.left_out.shape or (self.groups != other.groups).any():
            raise DataError(
                "Only regimes with the same trainings and test subjects can be compared, got "
                f"{self.left_out.shape} and {other.left_out.shape} (trainings, subjects)."
            )
        return Readings(self.values - other.values, self.left_out - other.left_out, self.groups)


@dataclass(frozen=True, eq=False)
class Parts:
    """Parts of the variance of a mean over J trainings; arrays have any leading shape (...).

    Attributes:
        value: (...) mean over trainings.
        between: (...) variance over trainings, s^2; NaN with one training.
        common: (...) mean jackknife covariance of two trainings, c; with one its variance.
        fixed: (...) jackknife variance of the mean with the trainings fixed.
        df: (...) degrees of freedom of the subjects' part.
        trainings: J.
    """

    value: np.ndarray
    between: np.ndarray
    common: np.ndarray
    fixed: np.ndarray
    df: np.ndarray
    trainings: int


def variance_parts(values: np.ndarray, left_out: np.ndarray, groups: np.ndarray) -> Parts:
    """Estimate the parts of the variance of a mean over trainings.

    Args:
        values: (..., J) endpoint of each training.
        left_out: (..., J, N) the same without each subject.
        groups: (N,) int group of each subject; each has at least two subjects.

    Raises:
        DataError: a group has a single subject.
    """
    j = values.shape[-1]
    fixed, df = _jackknife(left_out.mean(axis=-2), groups)
    if j == 1:
        return Parts(values[..., 0], np.full(fixed.shape, np.nan), fixed, fixed, df, 1)
    own = _jackknife(left_out, groups)[0].mean(axis=-1)
    return Parts(
        value=values.mean(axis=-1),
        between=values.var(axis=-1, ddof=1),
        common=(j * fixed - own) / (j - 1),
        fixed=fixed,
        df=df,
        trainings=j,
    )


def _jackknife(left_out: np.ndarray, groups: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return jackknife variances (...) of (..., N), group by group, and degrees of freedom."""
    total = np.zeros(left_out.shape[:-1])
    squares = np.zeros(left_out.shape[:-1])
    smallest = np.inf
    for group in np.unique(groups):
        mine = left_out[..., groups == group]
        n = mine.shape[-1]
        if n < 2:
            raise DataError("A group of test subjects has one member; the jackknife needs two.")
        variance = (n - 1) ** 2 / n * mine.var(axis=-1, ddof=1)
        total, squares = total + variance, squares + variance**2 / (n - 1)
        smallest = min(smallest, n - 1)
    with np.errstate(invalid="ignore", divide="ignore"):
        df = np.where(squares > 0, total**2 / squares, smallest)
    return total, df


def half_width(parts: Parts, level: float | np.ndarray, overlap: float = 0.0) -> np.ndarray:
    """Return half the width (...) of the interval of a mean; see the module.

    Args:
        parts: of its variance.
        level: of confidence, in (0, 1).
        overlap: correlation of the trainings' effects through shared subjects, in [0, 1).
    """
    tail = (1 + np.asarray(level)) / 2
    common = np.maximum(parts.common, 0) * stats.t.ppf(tail, parts.df) ** 2
    if parts.trainings == 1:
        return np.sqrt(common)
    share = 1 / parts.trainings + overlap / (1 - overlap)
    return np.sqrt(parts.between * share * stats.t.ppf(tail, parts.trainings - 1) ** 2 + common)


def hillis(parts: Parts) -> tuple[np.ndarray, np.ndarray]:
    """Return the standard error (...) and Hillis' degrees of freedom (...) of a mean.

    With one training they are those of the jackknife.
    """
    common = np.maximum(parts.common, 0)
    if parts.trainings == 1:
        return np.sqrt(common), parts.df
    own = parts.between / parts.trainings
    with np.errstate(invalid="ignore", divide="ignore"):
        df = (own + common) ** 2 * (parts.trainings - 1) / own**2
    return np.sqrt(own + common), df


@dataclass(frozen=True)
class Interval:
    """A value with its 95 % interval; what is undefined is None, and `why` says why.

    Attributes:
        value: the endpoint, or by how much the first regime is above the second.
        ci95: interval that verdicts use.
        p: two-sided, of the hypothesis that the value is 0; agrees with `ci95`.
        scope: `population` (other subjects and other cohorts), `pool` (other subjects, cohorts
            drawn from these) or `this training` (other subjects, this training fixed).
        trainings: how many.
        subjects: how many.
        overlap: of the trainings' cohorts, as corrected for; None where not.
        hillis: standard error, degrees of freedom, interval and p of the analysis as published.
        why: reason for what is None.
    """

    value: float | None
    ci95: tuple[float, float] | None
    p: float | None
    scope: str
    trainings: int
    subjects: int
    overlap: float | None
    hillis: dict[str, Any] | None
    why: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return it as metrics.json holds it."""
        content = asdict(self)
        return {**content, "ci95": None if self.ci95 is None else list(self.ci95)}


def interval(readings: Readings, overlap: float | None = 0.0) -> Interval:
    """Give the mean over trainings its interval over subjects and trainings.

    Args:
        readings: an endpoint of a regime, or `a.minus(b)` for a paired difference.
        overlap: correlation of the trainings' effects, see `cohort_overlap`; 0 for cohorts that
            share nobody, None for an interval over cohorts drawn from the same pool.

    Returns:
        The interval; without one where a value is undefined, where nothing varies, or where the
        cohorts are (nearly) the same and others are asked for.
    """
    j, n = readings.left_out.shape
    scope = "this training" if j == 1 else "pool" if overlap is None else "population"
    told = overlap if scope == "population" else None

    def nothing(value: float | None, why: str) -> Interval:
        return Interval(value, None, None, scope, j, n, told, None, why)

    if not np.isfinite(readings.values).all():
        return nothing(None, "The endpoint is undefined in a training.")
    value = float(readings.values.mean())
    if told is not None and not 0 <= told <= MOST_OVERLAP:
        shared = f"The trainings share {100 * told:.0f} % of their cohorts"
        return nothing(value, f"{shared}: nothing is known of other cohorts.")
    if not np.isfinite(readings.left_out).all():
        return nothing(value, "The endpoint is undefined without one of the subjects.")
    if np.unique(readings.groups, return_counts=True)[1].min() < 2:
        return nothing(value, "An interval needs at least two patients (and two controls, if any).")
    parts = variance_parts(readings.values, readings.left_out, readings.groups)
    half = float(half_width(parts, LEVEL, told or 0.0))
    if half <= 1e-12:
        return nothing(value, "Neither subjects nor trainings vary, so no interval is known.")
    return Interval(
        value=value,
        ci95=(value - half, value + half),
        p=_p_value(parts, told or 0.0),
        scope=scope,
        trainings=j,
        subjects=n,
        overlap=told,
        hillis=_hillis_entry(parts),
    )


def _hillis_entry(parts: Parts) -> dict[str, Any]:
    error, df = (float(x) for x in hillis(parts))
    value, df = float(parts.value), min(df, 1e9)
    half = float(stats.t.ppf((1 + LEVEL) / 2, df)) * error
    p = 2 * float(stats.t.sf(abs(value) / error, df)) if error > 0 else None
    return {"se": error, "df": df, "ci95": [value - half, value + half], "p": p}


def _p_value(parts: Parts, overlap: float) -> float:
    """Return 1 minus the level at which the interval's end is 0."""

    def beyond(log_p: float) -> float:
        return float(half_width(parts, -np.expm1(log_p), overlap) - abs(parts.value))

    least, most = float(np.log(SMALLEST_P)), -1e-12
    if beyond(least) <= 0:
        return SMALLEST_P
    if beyond(most) >= 0:
        return 1.0
    return float(np.exp(optimize.brentq(beyond, least, most, xtol=1e-10)))


def cohort_overlap(trainings: Sequence[Sequence[frozenset[str]]]) -> float:
    """Return the correlation of trainings' effects that shared subjects cause.

    Each subject of a cohort is taken to add an effect of its own; a training's effect is the mean
    over its cohort, and that of a cross-fitted repeat the mean over its folds.

    Args:
        trainings: for each training its cohort of subjects, in a list of one; for each repeat of a
            cross-fitted study the cohorts of its folds. A lone training gives 0.

    Returns:
        Mean covariance of two trainings over their mean variance, in [0, 1]: for single cohorts of
        equal size the mean share of subjects that two have in common.
    """
    weights: list[dict[str, float]] = []
    for folds in trainings:
        mine: dict[str, float] = {}
        for cohort in folds:
            for subject in cohort:
                mine[subject] = mine.get(subject, 0.0) + 1 / (len(cohort) * len(folds))
        weights.append(mine)
    if len(weights) < 2:
        return 0.0
    names = sorted(set().union(*weights))
    table = np.array([[mine.get(name, 0.0) for name in names] for mine in weights])
    products = table @ table.T
    j = len(weights)
    own = float(np.trace(products)) / j
    return max(0.0, (float(products.sum()) / j - own) / (j - 1) / own)
