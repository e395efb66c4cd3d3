"""How lesions are modelled: the configuration."""

from dataclasses import dataclass
from typing import Literal

from lesionforge.errors import ConfigError
from lesionforge.ranges import check_finite


@dataclass(frozen=True)
class LesionConfig:
    """How lesion masks are modelled.

    Attributes:
        min_volume_mm3: smaller lesions are not fitted; a patient whose lesions
            are all smaller keeps the largest.
        max_growths: how many lesions the growth parameters are searched for, spread evenly over
            volumes; others take those of the nearest volume.
        style: how lesions grow: `ribbon` along the cortex, `blob` in the brain at large, `auto` as
            the training masks say.
        min_cortex_share: least share of a `ribbon` lesion in cortex or its junction.
        volume_margin: factor by which the range of volumes exceeds the training lesions' on either
            side.
        smoothing: width of the smoothing of volume and conspicuity, times Silverman's rule.
        place_floor: share of lesions spread over lobes by their cortex, so that lobes without any
            training lesion stay possible.
        spatial_floor: share of lesions spread evenly within their lobe.
        spatial_sigma_mm: how far from a training lesion, or its mirror image, others are likely.
        attempts: seeds tried on a host before a lesion is refused.
    """

    min_volume_mm3: float = 50.0
    max_growths: int = 150
    style: Literal["auto", "ribbon", "blob"] = "auto"
    min_cortex_share: float = 0.5
    volume_margin: float = 1.25
    smoothing: float = 1.0
    place_floor: float = 0.2
    spatial_floor: float = 0.2
    spatial_sigma_mm: float = 15.0
    attempts: int = 40

    def __post_init__(self) -> None:
        check_finite(self)
        for name in ("min_cortex_share", "place_floor", "spatial_floor"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"`{name}` must be in [0, 1], got {getattr(self, name)}.")
        if self.style not in ("auto", "ribbon", "blob"):
            raise ConfigError(f"`style` must be auto, ribbon or blob, got {self.style!r}.")
        if self.min_volume_mm3 < 0 or self.max_growths < 1:
            raise ConfigError("`min_volume_mm3` must be 0 or more, `max_growths` 1 or more.")
        if self.volume_margin < 1:
            raise ConfigError(f"`volume_margin` must be 1 or more, got {self.volume_margin}.")
        if self.smoothing <= 0 or self.spatial_sigma_mm <= 0 or self.attempts < 1:
            raise ConfigError("`smoothing`, `spatial_sigma_mm` and `attempts` must be above 0.")
