"""How many phantoms, how fine and how hard: the configuration."""

from dataclasses import dataclass
from typing import Literal

from lesionforge.errors import ConfigError
from lesionforge.ranges import check_finite

PhantomVersion = Literal["1", "2", "3"]


@dataclass(frozen=True)
class PhantomConfig:
    """How many phantoms, and how fine.

    Attributes:
        patients: phantoms with a lesion.
        controls: phantoms without.
        seed: of the cohort; each phantom depends on it, its group and its number only.
        voxel_mm: nominal voxel size of the scans; scanners differ around it.
        version: how hard the lesions are to find (`phantom_knobs.DIFFICULTY`).
    """

    patients: int = 50
    controls: int = 50
    seed: int = 0
    voxel_mm: float = 2.5
    version: PhantomVersion = "1"

    def __post_init__(self) -> None:
        check_finite(self)
        for name in ("patients", "controls"):
            if not 0 <= getattr(self, name) <= 9999:
                raise ConfigError(
                    f"`{name}` must be in [0, 9999], got {getattr(self, name)}. "
                    "Ids have four digits."
                )
        if self.patients + self.controls == 0:
            raise ConfigError("`patients` and `controls` are both 0: nothing to write.")
        if not 0.8 <= self.voxel_mm <= 5:
            raise ConfigError(
                f"`voxel_mm` must be in [0.8, 5], got {self.voxel_mm}. The template has 1 mm."
            )
