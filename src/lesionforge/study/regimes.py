"""One regime of a study: what its detector is trained on."""

from dataclasses import dataclass

from lesionforge.errors import ConfigError
from lesionforge.ranges import check_finite


@dataclass(frozen=True)
class Regime:
    """What one detector of a study is trained on.

    Attributes:
        patients: real training patients, the first in the seed's order.
        controls: real training controls, the first in the seed's order.
        synthetic: name of the synthetic set that is added; none by default.
        ratio: synthetic patients per real patient, and synthetic controls per real control.
        real: whether the real subjects train at all; without them (`synthetic_only`) they give the
            synthetic numbers alone.
    """

    patients: int
    controls: int
    synthetic: str | None = None
    ratio: float = 1.0
    real: bool = True

    def __post_init__(self) -> None:
        """Check the ranges."""
        check_finite(self)
        if self.patients < 1 or self.controls < 0:
            raise ConfigError(
                "A regime needs `patients` of at least 1 and `controls` of at least 0, got "
                f"{self.patients} and {self.controls}."
            )
        if self.ratio < 0:
            raise ConfigError(f"`ratio` must not be negative, got {self.ratio}.")
        if not self.real and not self.synthetic_count("patient"):
            raise ConfigError("A regime without real subjects needs synthetic patients.")

    def synthetic_count(self, group: str) -> int:
        """Return how many synthetic `patient`s or `control`s the regime adds."""
        if self.synthetic is None:
            return 0
        return round(self.ratio * (self.patients if group == "patient" else self.controls))
