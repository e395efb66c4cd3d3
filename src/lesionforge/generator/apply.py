"""Apply a generator to a whole head, at once or tile by tile in constant memory."""

from collections.abc import Iterator
from itertools import product

import numpy as np
import torch
from torch import Tensor

from lesionforge.errors import ConfigError
from lesionforge.generator.network import ALIGNMENT, STRIDES, Crop, Generator, halos, pool
from lesionforge.generator.noise import position_noise
from lesionforge.generator.spade import SPADEBlock

Window = tuple[tuple[int, int], ...]


def apply_generator(
    network: Generator,
    semantic: np.ndarray | Tensor,
    style: np.ndarray | Tensor,
    noise_seed: int,
    tile: int | None = None,
    device: torch.device | str = "cpu",
) -> np.ndarray:
    """Make T1w and FLAIR of a whole semantic map.

    Tiles know their surroundings as far as the network sees and noise belongs to voxels, so the
    result is the same with any `tile` up to rounding (below 1e-4).

    Args:
        network: the generator; it is put in evaluation mode and moved to `device`.
        semantic: (semantic_channels, X, Y, Z), any size.
        style: (style_dim,).
        noise_seed: chooses the noise.
        tile: edge of a tile in voxels, a multiple of 4; None makes the volume at once.
        device: where to compute, in float32.

    Returns:
        (2, X, Y, Z) float32 in [0, 1].

    Raises:
        ConfigError: `tile` is not a positive multiple of 4.
    """
    if tile is not None and (tile < ALIGNMENT or tile % ALIGNMENT):
        raise ConfigError(f"`tile` must be a positive multiple of {ALIGNMENT}, got {tile}.")
    network = network.to(device).eval()
    semantic = torch.as_tensor(semantic, dtype=torch.float32)
    code = torch.as_tensor(style, dtype=torch.float32, device=device)[None]
    size = tuple(-(-n // ALIGNMENT) * ALIGNMENT for n in semantic.shape[1:])
    output = np.empty((2, *semantic.shape[1:]), dtype=np.float32)
    with torch.inference_mode():
        for target in _tiles(size, tile):
            made = _apply_tile(network, semantic, code, noise_seed, (target, size))
            place = tuple(slice(a, min(b, n)) for (a, b), n in
                          zip(target, output.shape[1:], strict=True))  # fmt: skip
            inside = tuple(slice(0, s.stop - s.start) for s in place)
            output[(slice(None), *place)] = made[(slice(None), *inside)].cpu().numpy()
    return output


def _tiles(size: tuple[int, ...], tile: int | None) -> Iterator[Window]:
    steps = [n if tile is None else tile for n in size]
    for corner in product(*(range(0, n, s) for n, s in zip(size, steps, strict=True))):
        yield tuple((c, min(c + s, n)) for c, s, n in zip(corner, steps, size, strict=True))


def _apply_tile(
    network: Generator,
    semantic: Tensor,
    style: Tensor,
    noise_seed: int,
    place: tuple[Window, tuple[int, ...]],
) -> Tensor:
    """Make the (2, x, y, z) of one tile; coarser strides see a wider window around it."""
    target, size = place
    windows = [_widen(target, halo, size) for halo in halos()]
    pyramid, noise = [], []
    for level, (stride, window) in enumerate(zip(STRIDES, windows, strict=True)):
        pyramid.append(pool(_cut(semantic, window)[None].to(style.device), stride))
        start, stop = zip(*((a // stride, b // stride) for a, b in window), strict=True)
        drawn = position_noise(noise_seed, level, SPADEBlock.NOISES, start, stop, style.device)
        noise.append(drawn[None])
    crops = [
        _within(inner, outer, stride)
        for outer, inner, stride in zip(windows, windows[1:], STRIDES[1:], strict=False)
    ]
    made = network.render(pyramid, style, noise, crops)[0]
    return made[(slice(None), *_within(target, windows[-1], 1))]


def _widen(target: Window, halo: int, size: tuple[int, ...]) -> Window:
    halo = -(-halo // ALIGNMENT) * ALIGNMENT
    return tuple((max(0, a - halo), min(n, b + halo)) for (a, b), n in
                 zip(target, size, strict=True))  # fmt: skip


def _within(inner: Window, outer: Window, stride: int) -> Crop:
    x, y, z = (slice((a - c) // stride, (b - c) // stride) for (a, b), (c, _) in
               zip(inner, outer, strict=True))  # fmt: skip
    return x, y, z


def _cut(semantic: Tensor, window: Window) -> Tensor:
    """Cut a window out of the map; what lies beyond its end (the alignment's rest) is 0."""
    part = semantic[(slice(None), *(slice(a, b) for a, b in window))]
    padding = [p for (a, b), n in zip(reversed(window), reversed(part.shape[1:]), strict=True)
               for p in (0, b - a - n)]  # fmt: skip
    return torch.nn.functional.pad(part, padding)
