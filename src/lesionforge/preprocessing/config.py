"""How raw scans are prepared: the configuration."""

from dataclasses import dataclass
from typing import Literal

from lesionforge.errors import ConfigError
from lesionforge.ranges import check_finite

VOXEL_MM = (0.5, 12.0)
"""Smallest and largest edge of a voxel of the study grid."""


@dataclass(frozen=True)
class PrepareConfig:
    """How raw heads are prepared.

    Attributes:
        voxel_mm: voxel size of the study grid: one number, three (right, anterior, superior:
            `[0.9, 0.9, 6.5]`), or `auto`: the median of the cohort's scans of the first channel.
        brain_mask: `deepbet` for whole heads, `given` for skull-stripped data (the part that is not
            background, or a `*_desc-brain_mask` file), `auto` to decide by looking at each scan.
        n4: correct intensity inhomogeneity, by N4 and then by the tissue classes.
        n4_voxel_mm: voxel size at which the field is estimated.
        register_channels: register the other channels to the first; false if they lie on each other
            already.
        levels_mm: voxel sizes of the registrations, coarse to fine.
        tilts_deg: nods of the head to try when the registration to MNI starts.
        exclude: participant ids to leave out.
        without_mask: what a subject is of which no mask and no `group` is known: `refuse` it,
            `unlabelled` (a patient whose lesion nobody has outlined) or a healthy `control`.
        fix_ids: take ids in participants.tsv that differ from a folder's name in prefix, zeros,
            blanks or case alone as that folder's.
        drawn_on: channel that lesion masks were drawn on, where neither their names (`space-`) nor
            their grids say so; without it such a subject is refused.
        mask_affine: with `drawn_on`: `own` where the mask's header places it in that image's world,
            `image` where it has that image's voxels whatever its header says.
        workers: processes; the result does not depend on it.
    """

    voxel_mm: float | tuple[float, float, float] | Literal["auto"] = 2.5
    brain_mask: Literal["auto", "deepbet", "given"] = "auto"
    n4: bool = True
    n4_voxel_mm: float = 8.0
    register_channels: bool = True
    levels_mm: tuple[float, ...] = (8.0, 4.0, 3.0)
    tilts_deg: tuple[float, ...] = (-20.0, -10.0, 0.0, 10.0, 20.0)
    exclude: tuple[str, ...] = ()
    without_mask: Literal["refuse", "unlabelled", "control"] = "refuse"
    fix_ids: bool = False
    drawn_on: str | None = None
    mask_affine: Literal["own", "image"] = "own"
    workers: int = 2

    def __post_init__(self) -> None:
        check_finite(self)
        sizes = self.voxel_mm if isinstance(self.voxel_mm, tuple) else (self.voxel_mm,)
        low, high = VOXEL_MM
        if self.voxel_mm != "auto" and not all(low <= float(size) <= high for size in sizes):
            raise ConfigError(
                f"`voxel_mm` must be `auto` or sizes in [{low:g}, {high:g}], got {self.voxel_mm}."
            )
        if not 1 <= self.n4_voxel_mm <= 10:
            raise ConfigError(f"`n4_voxel_mm` must be in [1, 10], got {self.n4_voxel_mm}.")
        if not self.levels_mm or not all(1 <= level <= 16 for level in self.levels_mm):
            raise ConfigError(
                f"`levels_mm` must be voxel sizes from 1 to 16, got {self.levels_mm}."
            )
        if not self.tilts_deg or not all(abs(angle) <= 90 for angle in self.tilts_deg):
            raise ConfigError(f"`tilts_deg` must be angles up to 90, got {self.tilts_deg}.")
        if self.workers < 1:
            raise ConfigError(f"`workers` must be at least 1, got {self.workers}.")
