"""Named random streams: the same seed and names give the same numbers, whoever else draws.

PyTorch, which takes seconds to load, is imported by the functions that open its streams.
"""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from math import ceil, floor
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch


def _entropy(seed: int, names: tuple[str | int, ...]) -> int:
    text = "\x1f".join([str(int(seed)), *map(str, names)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:16], "big")


def stream(seed: int, *names: str | int) -> np.random.Generator:
    """Open the NumPy stream of `seed` that is called `names`.

    Streams of different names are independent, and adding a subject, a worker or a stage changes
    nobody else's numbers. NumPy's and PyTorch's global generators are not touched.

    Example:
        >>> bool(stream(1, "masks", "sub-01").random() == stream(1, "masks", "sub-01").random())
        True
        >>> bool(stream(1, "masks", "sub-01").random() == stream(1, "masks", "sub-02").random())
        False
    """
    return np.random.default_rng(_entropy(seed, names))


def assigned_turn(number: int, share: float, seed: int, *names: str | int) -> int | None:
    """Tell whether `number` is one of an evenly spread share of 1, 2, 3 ..., and which.

    The numbers are cut into runs of about 1 / `share`, and one of each run is drawn. So the answer
    depends on no other number (a set may grow), the first n hold `share` n to less than one, exact
    where that is whole, and no regular pattern of the numbers (sites in turn) is hit again and
    again.

    Args:
        number: 1 or more.
        share: in [0, 1].
        seed: of the draw.
        names: of its stream.

    Returns:
        0, 1 ... for the first, second ... drawn number; None where `number` is not drawn.
    """
    rate = Fraction(share).limit_denominator(1_000_000)
    if rate <= 0:
        return None
    turn = floor((number - 1) * rate)
    first, last = ceil(turn / rate) + 1, ceil((turn + 1) / rate)
    drawn = first + int(stream(seed, *names, turn).integers(last - first + 1))
    return turn if number == drawn else None


def torch_stream(seed: int, *names: str | int) -> "torch.Generator":
    """Open the PyTorch (CPU) stream of `seed` that is called `names`; see `stream`."""
    import torch

    return torch.Generator().manual_seed(_entropy(seed, names) % 2**63)


@contextmanager
def seeded_torch(seed: int, *names: str | int) -> Iterator[None]:
    """Run a block with PyTorch's global CPU generator seeded by name, and restored afterwards.

    For what cannot be handed a generator: the initial weights of modules.
    """
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(_entropy(seed, names) % 2**63)
        yield
