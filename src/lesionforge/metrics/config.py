"""What counts as found, and how it is evaluated: the configuration."""

from dataclasses import asdict, dataclass
from typing import Any, Literal

from lesionforge.errors import ConfigError
from lesionforge.ranges import check_finite

CONNECTIVITY = 26
NEGLIGIBLE = 0.005
"""Probabilities below this are kept as 0, for small files."""
Unit = Literal["patient", "lesion"]
MATCHED_RATE: dict[Unit, float] = {"patient": 0.5, "lesion": 2.0}
"""Default rate of false positives a patient at which regimes are compared."""


@dataclass(frozen=True)
class CandidateRules:
    """What counts as a candidate and as a hit; the same in every regime, seed and study.

    Attributes:
        candidate_threshold: probability above which voxels form candidates.
        min_volume_mm3: smaller components are dropped.
        tolerance_mm: how far beside the true lesion a candidate may lie and still hit it.
        min_overlap: share of a candidate's volume that must lie within the tolerance.
    """

    candidate_threshold: float = 0.2
    min_volume_mm3: float = 100.0
    tolerance_mm: float = 5.0
    min_overlap: float = 0.1

    def __post_init__(self) -> None:
        """Check the ranges."""
        check_finite(self)
        if not NEGLIGIBLE <= self.candidate_threshold < 1:
            raise ConfigError(
                f"`candidate_threshold` must be in [{NEGLIGIBLE:g}, 1), since maps hold nothing "
                f"below; got {self.candidate_threshold}."
            )
        if not 0 <= self.min_overlap < 1:
            raise ConfigError(f"`min_overlap` must be in [0, 1), got {self.min_overlap}.")
        for name in ("min_volume_mm3", "tolerance_mm"):
            if not getattr(self, name) >= 0:
                raise ConfigError(f"`{name}` must be 0 or more, got {getattr(self, name)}.")

    def describe(self) -> dict[str, Any]:
        """Return the rules as `metrics.json` states them."""
        hit = (
            f"at least one voxel in the true lesion dilated by {self.tolerance_mm:g} mm and at "
            f"least {100 * self.min_overlap:g} % of the candidate's volume there"
        )
        return {**asdict(self), "connectivity": CONNECTIVITY, "hit": hit}


@dataclass(frozen=True)
class EvaluationConfig:
    """Operating points and resampling.

    Attributes:
        false_positives_per_subject: what both operating points allow: the score threshold chosen on
            validation subjects, and the reading of the test FROC curve.
        bootstrap: replicates; each resamples patients, controls and seeds.
        seed: of the bootstrap.
        unit: what is found or missed in the headline: `patient`, `lesion`, or `auto` (lesions where
            the median training patient has two or more). Both are always computed.
        matched_rate: false positives a patient at which regimes are compared; the primary endpoint
            is the mean sensitivity over rates from 0 to twice as many. By default 0.5 for patients
            and 2 for lesions.
    """

    false_positives_per_subject: float = 0.5
    bootstrap: int = 2000
    seed: int = 0
    unit: Literal["auto", "patient", "lesion"] = "auto"
    matched_rate: float | None = None

    def __post_init__(self) -> None:
        """Check the ranges."""
        check_finite(self)
        if not self.false_positives_per_subject >= 0:
            raise ConfigError(
                "`false_positives_per_subject` must be 0 or more, got "
                f"{self.false_positives_per_subject}."
            )
        if self.bootstrap < 100:
            raise ConfigError(
                f"`bootstrap` must be at least 100 for a 95 % interval, got {self.bootstrap}."
            )
        if self.unit not in ("auto", "patient", "lesion"):
            raise ConfigError(f"`unit` must be auto, patient or lesion, got {self.unit}.")
        if self.matched_rate is not None and not self.matched_rate > 0:
            raise ConfigError(f"`matched_rate` must be above 0, got {self.matched_rate}.")

    def rate(self, unit: Unit) -> float:
        """Return the matched rate of a unit."""
        return MATCHED_RATE[unit] if self.matched_rate is None else self.matched_rate
