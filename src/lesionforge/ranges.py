"""Checks of numbers in a configuration that hold for every configuration."""

import math
from typing import Any

from lesionforge.errors import ConfigError


def check_finite(config: Any) -> None:
    """Refuse NaN and infinity, which pass any comparison that is written as a range.

    Args:
        config: a dataclass instance; its own values are looked at, tuples and dictionaries of
            numbers too, nested configurations not (they check themselves).

    Raises:
        ConfigError: a value is not finite.
    """
    for name, value in vars(config).items():
        if isinstance(value, dict):
            numbers: tuple[Any, ...] = tuple(value.values())
        else:
            numbers = value if isinstance(value, tuple) else (value,)
        if any(isinstance(number, float) and not math.isfinite(number) for number in numbers):
            raise ConfigError(f"`{name}` must be a number, neither NaN nor infinite, got {value}.")
