"""The configuration of a phantom cohort."""

from dataclasses import dataclass
from typing import Literal

from lesionforge.errors import ConfigError
from lesionforge.ranges import check_finite

Disease = Literal["fcd", "ms"]
Site = Literal["A", "B", "C"]


@dataclass(frozen=True)
class PhantomConfig:
    """How many phantoms, of which disease, from which scanners, and how fine.

    Attributes:
        patients: phantoms with lesions.
        controls: phantoms without.
        seed: of the cohort; each phantom depends on it, its group and its number only.
        voxel_mm: finest voxel size of the scans; protocols that are coarser keep their own.
        disease: `fcd`, focal cortical dysplasia type II, one a patient; `ms`, multiple sclerosis,
            many lesions a patient.
        lesion_contrast: factor on every change that a lesion makes; below 1 is harder to see.
        missed: share of small lesions (below 50 mm3, `ms`) that the rater overlooks.
        sites: scanners: A and B at 3 T, C at 1.5 T with FLAIR in slices of 5 mm.
    """

    patients: int = 50
    controls: int = 50
    seed: int = 0
    voxel_mm: float = 2.5
    disease: Disease = "fcd"
    lesion_contrast: float = 1.0
    missed: float = 0.1
    sites: tuple[Site, ...] = ("A", "B", "C")

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
        for name, low, high in (
            ("voxel_mm", 0.8, 5),
            ("lesion_contrast", 0.1, 3),
            ("missed", 0, 1),
        ):
            if not low <= getattr(self, name) <= high:
                raise ConfigError(
                    f"`{name}` must be in [{low}, {high}], got {getattr(self, name)}."
                )
        if not self.sites or len(set(self.sites)) != len(self.sites):
            raise ConfigError(f"`sites` must be one or more of A, B, C, got {self.sites}.")
