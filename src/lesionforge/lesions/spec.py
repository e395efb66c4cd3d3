"""A lesion mask before it is drawn on a host: what is asked for, and the frozen draw."""

import dataclasses
import math
from dataclasses import dataclass
from typing import Any, Literal

from lesionforge.errors import ConfigError, DataError
from lesionforge.lesions.contrast import ContrastChange, as_contrast
from lesionforge.lesions.shape import PLACES

Style = Literal["ribbon", "blob"]
Side = Literal["left", "right"]


@dataclass(frozen=True)
class LesionRequest:
    """What a plan fixes of a mask; None leaves it to the prior.

    Attributes:
        volume_mm3: size of the lesion.
        lobe: where most of it lies, one of `lesionforge.lesions.shape.PLACES`.
        side: hemisphere of its centroid.
        conspicuity: how strongly it is to show (`Conspicuity.total`, 0 or more).
    """

    volume_mm3: float | None = None
    lobe: str | None = None
    side: Side | None = None
    conspicuity: float | None = None

    def __post_init__(self) -> None:
        volume, conspicuity = self.volume_mm3, self.conspicuity
        if volume is not None and not (math.isfinite(volume) and volume > 0):
            raise ConfigError(f"`volume_mm3` must be above 0, got {volume}.")
        if self.lobe is not None and self.lobe not in PLACES:
            raise ConfigError(f"`lobe` must be one of {', '.join(PLACES)}, got {self.lobe!r}.")
        if self.side not in (None, "left", "right"):
            raise ConfigError(f"`side` must be left or right, got {self.side!r}.")
        if conspicuity is not None and not (math.isfinite(conspicuity) and conspicuity >= 0):
            raise ConfigError(f"`conspicuity` must be 0 or more, got {conspicuity}.")


@dataclass(frozen=True)
class LesionSpec:
    """One drawn lesion; `lesionforge.lesions.growth.render_mask` makes its voxels on its host.

    Attributes:
        style: `ribbon` follows the cortex, `blob` grows in the brain at large.
        seed_mm: where growth starts, world (MNI) mm.
        volume_mm3: size; the mask has it to half a voxel.
        depth_mm: depth that the lesion prefers, mm inside (+) or outside (-) the grey-white
            junction.
        reach_out_mm: how far growth goes from that depth towards the pia at little cost.
        reach_in_mm: the same towards white matter.
        aspect: natural logarithm of how much faster it grows along `axis` than across.
        axis: unit vector of the fastest growth.
        roughness: standard deviation of the logarithm of local growth speed.
        noise_seed: of the smooth field of local growth speed.
        lobe: place that growth keeps to, if one was asked for.
        min_cortex_share: least share of a `ribbon` lesion in cortex or junction.
        conspicuity: how strongly it is to show, robust standard deviations.
        contrast: what it is to do to grey and to white matter, see `Conspicuity.contrast`.
    """

    style: Style
    seed_mm: tuple[float, float, float]
    volume_mm3: float
    depth_mm: float
    reach_out_mm: float
    reach_in_mm: float
    aspect: float
    axis: tuple[float, float, float]
    roughness: float
    noise_seed: int
    lobe: str | None
    min_cortex_share: float
    conspicuity: float
    contrast: ContrastChange

    def to_json(self) -> dict[str, Any]:
        """Return the spec as JSON-able values; `from_json` gives the same spec back."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "LesionSpec":
        """Make a spec from `to_json`'s values or from what JSON made of them.

        Raises:
            DataError: a field is missing or unknown.
        """
        try:
            spec = cls(**values)
            (x, y, z), (a, b, c) = spec.seed_mm, spec.axis
            contrast = as_contrast(spec.contrast)
        except (TypeError, ValueError) as error:
            raise DataError(f"This is no mask spec ({error}). Synthesize the set again.") from None
        return dataclasses.replace(spec, seed_mm=(x, y, z), axis=(a, b, c), contrast=contrast)
