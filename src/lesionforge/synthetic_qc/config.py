"""How a synthetic set is audited: the configuration."""

from dataclasses import dataclass

from lesionforge.errors import ConfigError
from lesionforge.ranges import check_finite

ROLES = ("train", "validation", "test")


@dataclass(frozen=True)
class SyntheticAuditConfig:
    """How a synthetic set is judged.

    Attributes:
        against: roles of the real subjects that it is compared with; those behind it never count.
            `test` is for a last report: a set that was chosen by it makes the test set a training
            set.
        masks: masks drawn beside those of the set, since few masks tell little.
        blur_voxels: standard deviation by which the set that must be found out is blurred.
        pictures: worst pairs that are drawn.
        seed: of masks, folds and resampling.
    """

    against: tuple[str, ...] = ("train", "validation")
    masks: int = 100
    blur_voxels: float = 0.5
    pictures: int = 8
    seed: int = 0

    def __post_init__(self) -> None:
        """Check the ranges."""
        check_finite(self)
        if not self.against or set(self.against) - set(ROLES):
            raise ConfigError(f"`against` must be some of {', '.join(ROLES)}, got {self.against}.")
        if self.masks < 0 or self.pictures < 0:
            raise ConfigError("`masks` and `pictures` must be 0 or more.")
        if not 0 < self.blur_voxels <= 5:
            raise ConfigError(
                f"`blur_voxels` must be above 0 and at most 5, got {self.blur_voxels}."
            )
