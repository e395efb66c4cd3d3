"""Intervals, paired tests and the two headline ratios, for counts of patients."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import optimize, stats
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.proportion import proportion_confint

from lesionforge.errors import DataError

GAP_DEFINITION = (
    "Gap recovered = (augmented - baseline) / (expanded - baseline), in sensitivity; the interval "
    "takes every bootstrap replicate."
)
SAVING_DEFINITION = (
    "Label saving = 1 - n / m, where n is the baseline's number of training patients and m the "
    "number at which the straight line from baseline to expanded (sensitivity against training "
    "patients) reaches the augmented regime's sensitivity; beyond either end it is extrapolated. "
    "Validation labels are outside it: every regime spends the same."
)

ROUNDING = 1e-9
"""Fewer patients than this are none."""


def wilson(k: float, n: int) -> tuple[float, float]:
    """Return Wilson's 95 % interval of the proportion k / n (NaN where n is 0)."""
    if n == 0:
        return float("nan"), float("nan")
    low, high = proportion_confint(k, n, alpha=0.05, method="wilson")
    return float(low), float(high)


def discordant(a: np.ndarray, b: np.ndarray) -> tuple[int, int]:
    """Count the patients that `b` gained and lost against `a`; both (P,) bool in the same order."""
    return int((b & ~a).sum()), int((a & ~b).sum())


def mcnemar_exact(gained: int, lost: int) -> float:
    """Return the exact two-sided McNemar p-value of the discordant counts (1 where both are 0)."""
    if gained + lost == 0:
        return 1.0
    return min(1.0, float(mcnemar([[0, gained], [lost, 0]], exact=True).pvalue))


def wilcoxon_paired(a: np.ndarray, b: np.ndarray) -> float:
    """Return the two-sided Wilcoxon signed-rank p-value of paired values (P,).

    Pairs with a missing value are left out; pairs without a difference follow Pratt. It is 1 where
    all differences are 0 and NaN without pairs.
    """
    difference = np.asarray(b, dtype=float) - np.asarray(a, dtype=float)
    difference = difference[np.isfinite(difference)]
    if len(difference) == 0:
        return float("nan")
    if not difference.any():
        return 1.0
    return float(stats.wilcoxon(difference, zero_method="pratt").pvalue)


def minimum_detectable_difference(
    n: int, discordance: float, power: float = 0.8, alpha: float = 0.05
) -> float:
    """Return the smallest difference in sensitivity that a paired study of `n` patients can show.

    Solves Connor's formula for McNemar's test (Biometrics 1987;43:207) for the difference d:
    n = (z_alpha sqrt(p) + z_power sqrt(p - d^2))^2 / d^2, where p is the share of discordant
    patients. A difference cannot exceed the discordance, so p is never taken below d.

    Args:
        n: patients.
        discordance: observed share of discordant patients, in [0, 1].
        power: of the test.
        alpha: two-sided level.

    Returns:
        The difference in [0, 1]; NaN where no difference is detectable (n too small).
    """
    if not 0 <= discordance <= 1:
        raise DataError(f"`discordance` must be in [0, 1], got {discordance}.")
    z_alpha, z_power = stats.norm.ppf(1 - alpha / 2), stats.norm.ppf(power)

    def lacking(d: float) -> float:
        p = max(discordance, d)
        needed = (z_alpha * np.sqrt(p) + z_power * np.sqrt(max(p - d * d, 0))) ** 2 / d**2
        return float(np.log(needed / n)) if n else float("inf")

    if lacking(1.0) > 0:
        return float("nan")
    return float(optimize.brentq(lacking, 1e-6, 1.0, xtol=1e-9))


@dataclass(frozen=True)
class Estimate:
    """A value with its 95 % interval; None where undefined, and then `why` says so."""

    value: float | None
    ci95: tuple[float, float] | None
    why: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return it as metrics.json holds it."""
        ci95 = None if self.ci95 is None else list(self.ci95)
        return {"value": self.value, "ci95": ci95, "why": self.why}


def quantiles(replicates: np.ndarray) -> tuple[float, float]:
    """Return the 2.5 % and 97.5 % quantiles of bootstrap replicates (B,).

    Every replicate counts: an undefined one stands below the lower and above the upper bound. The
    interval of the negative is its mirror image, so `a` minus `b` says what `b` minus `a` does.
    """

    def lower(values: np.ndarray) -> float:
        defined = np.where(np.isnan(values), -np.inf, values)
        return float(np.quantile(defined, 0.025, method="inverted_cdf"))

    return lower(replicates), -lower(-replicates)


def gap_recovered(
    values: tuple[float, float, float],
    replicates: tuple[np.ndarray, np.ndarray, np.ndarray],
    ends: tuple[str, str] = ("baseline", "expanded"),
) -> Estimate:
    """Return which share of the step from baseline to expanded the augmented regime makes.

    Args:
        values: sensitivities of baseline, augmented and expanded, or of three other regimes.
        replicates: their paired bootstrap replicates, each (B,).
        ends: names of the first and the last regime.

    Returns:
        The share with its interval over all replicates; undefined where the interval of
        expanded - baseline includes 0, lies below it or is unknown (it never varies).
    """
    gap = replicates[2] - replicates[0]
    if np.allclose(gap, gap[0]):
        why = "is the same in every resample of the subjects, so nothing says how sure it is."
        return Estimate(None, None, f"The difference of {ends[1]} and {ends[0]} {why}")
    low, high = quantiles(gap)
    if not low > 0:
        found = f"{100 * low:.1f} to {100 * high:.1f}".replace("-", "−")
        return Estimate(
            None,
            None,
            f"The sensitivity of {ends[1]} minus that of {ends[0]} has the interval {found} "
            "points, which does not lie above 0: there is no sure gap of which a share could be "
            "recovered.",
        )
    with np.errstate(divide="ignore", invalid="ignore"):
        shares = (replicates[1] - replicates[0]) / gap
    value = (values[1] - values[0]) / (values[2] - values[0])
    return Estimate(float(value), quantiles(shares))


def outlined(regime: Mapping[str, Any]) -> int:
    """Return how many of a regime's real patients a person has outlined, from metrics.json."""
    return int(regime["n_patients"] - regime.get("n_model_labels", 0))


def label_saving(gap: Estimate, n_baseline: int, n_expanded: int) -> Estimate:
    """Return the share of real labels that augmentation saves; see `SAVING_DEFINITION`.

    It grows with the gap recovered, so the interval is that of the gap, carried over.
    """
    if gap.value is None or gap.ci95 is None:
        return Estimate(None, None, gap.why)
    if n_baseline < 1:
        return Estimate(None, None, "No label of the baseline was outlined by hand.")
    if n_expanded <= n_baseline:
        return Estimate(None, None, "Expanded has no more training patients than baseline.")

    def saving(share: float) -> float:
        equivalent = n_baseline + share * (n_expanded - n_baseline)
        return 1 - n_baseline / equivalent if equivalent > ROUNDING else float("-inf")

    low, high = gap.ci95
    return Estimate(saving(gap.value), (saving(low), saving(high)))
