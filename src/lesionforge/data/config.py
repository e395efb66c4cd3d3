"""Which subjects validate and test: the configuration."""

from dataclasses import dataclass

from lesionforge.errors import ConfigError
from lesionforge.ranges import check_finite

ORIGINAL = "original"
"""The label set that preparation found."""


@dataclass(frozen=True)
class SplitConfig:
    """How many subjects validate and test; everyone else is the pool that training draws from.

    Attributes:
        validation_patients: patients that choose the score threshold; their labels are counted in
            the reported label budget.
        validation_controls: controls that choose the score threshold.
        test_patients: patients that are only ever evaluated on (not used with `folds`, which test
            everybody).
        test_controls: controls that are only ever evaluated on (the same).
        seed: of this one draw of roles (the nested training order has one draw a study seed).
        by_size: spread patients over roles by lesion size (thirds) too, not by site alone.
        matched: use only subjects whose site and protocols both groups have; the others get the
            role `unused`.
        published: test on those that `split` in participants.tsv calls `test` (`test_*` are not
            used).
        leave_site_out: with `folds`: each fold tests one site.
    """

    validation_patients: int = 6
    validation_controls: int = 6
    test_patients: int = 20
    test_controls: int = 20
    seed: int = 0
    by_size: bool = False
    matched: bool = False
    published: bool = False
    leave_site_out: bool = False

    def __post_init__(self) -> None:
        """Check the ranges."""
        check_finite(self)
        counts = ("validation_patients", "validation_controls", "test_patients", "test_controls")
        negative = [name for name in counts if getattr(self, name) < 0]
        if negative:
            raise ConfigError(f"`{negative[0]}` must be 0 or more.")
        if not self.validation_patients + self.validation_controls:
            raise ConfigError(
                "Somebody must validate, or there is no score threshold: set "
                "`validation_patients` or `validation_controls`."
            )
