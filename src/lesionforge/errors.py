"""Errors that say what is wrong, which file, what was allowed and what to do."""

from collections.abc import Sequence

NAMED = 10


def named(items: Sequence[str]) -> str:
    """List names for a message: the first ten, and how many more there are."""
    rest = f" and {len(items) - NAMED} more" if len(items) > NAMED else ""
    return ", ".join(items[:NAMED]) + rest


class LesionForgeError(ValueError):
    """Base of every error a user can mend; the command line prints its text without a traceback."""


# What one subject or scan may raise that must not end the others: ours, and the libraries' own.
OF_ONE_SUBJECT = (LesionForgeError, RuntimeError, ArithmeticError, OSError)


class ConfigError(LesionForgeError):
    """A configuration value is unknown, of the wrong type or outside its range."""


class DataError(LesionForgeError):
    """An input file or table is missing, damaged or not what it should be."""


class GeometryError(DataError):
    """Volumes that should share a grid do not, or an affine cannot be used."""


class LineageError(LesionForgeError):
    """A subject stands where the study's design forbids it (a leak between roles)."""


class MaskError(LesionForgeError):
    """A lesion mask cannot be made as asked on this host, or the prior cannot be fitted."""
