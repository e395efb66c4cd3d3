"""Named random streams: the same seed and names give the same numbers, whoever else draws."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
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


def torch_stream(seed: int, *names: str | int) -> torch.Generator:
    """Open the PyTorch (CPU) stream of `seed` that is called `names`; see `stream`."""
    return torch.Generator().manual_seed(_entropy(seed, names) % 2**63)


@contextmanager
def seeded_torch(seed: int, *names: str | int) -> Iterator[None]:
    """Run a block with PyTorch's global CPU generator seeded by name, and restored afterwards.

    For what cannot be handed a generator: the initial weights of modules.
    """
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(_entropy(seed, names) % 2**63)
        yield
