"""Apply a generator to a whole head, at once or tile by tile in constant memory."""

from collections.abc import Iterator
from itertools import product

import numpy as np
import torch
from torch import Tensor

from lesionforge.errors import ConfigError
from lesionforge.hardware import exact_float32
from lesionforge.synthesis.spade.config import STRIDES
from lesionforge.synthesis.spade.layers import SPADEBlock
from lesionforge.synthesis.spade.network import ALIGNMENT, Crop, Generator, halos, pool
from lesionforge.synthesis.spade.noise import position_noise

Window = tuple[tuple[int, int], ...]


def apply_generator(
    network: Generator,
    semantic: np.ndarray | Tensor,
    style: np.ndarray | Tensor,
    noise_seed: int,
    tile: int | None = None,
    device: torch.device | str = "cpu",
    part: Window | None = None,
) -> np.ndarray:
    """Make the images of a whole conditioning map, or of a part of it.

    Tiles know their surroundings as far as the network sees and noise belongs to voxels, so the
    result is the same with any `tile` up to rounding (below 1e-4).

    Args:
        network: the generator; it is put in evaluation mode and moved to `device`.
        semantic: (semantic_channels, X, Y, Z), any size.
        style: (style_dim,).
        noise_seed: chooses the noise.
        tile: edge of a tile in voxels, a multiple of 4; None makes the volume at once.
        device: where to compute, in float32.
        part: first voxel and one past the last along x, y, z; None makes everything. A part is
            equal to the same part of the whole up to rounding, at less cost.

    Returns:
        (C, X, Y, Z) float32 in [0, 1], of the size of `part` if given.

    Raises:
        ConfigError: `tile` is not a positive multiple of 4.
    """
    if tile is not None and (tile < ALIGNMENT or tile % ALIGNMENT):
        raise ConfigError(f"`tile` must be a positive multiple of {ALIGNMENT}, got {tile}.")
    network = network.to(device).eval()
    semantic = torch.as_tensor(semantic, dtype=torch.float32)
    code = torch.as_tensor(style, dtype=torch.float32, device=device)[None]
    size = tuple(-(-n // ALIGNMENT) * ALIGNMENT for n in semantic.shape[1:])
    part = part or tuple((0, n) for n in semantic.shape[1:])
    region = tuple((a // ALIGNMENT * ALIGNMENT, -(-b // ALIGNMENT) * ALIGNMENT) for a, b in part)
    output = np.empty((network.images, *(b - a for a, b in region)), dtype=np.float32)
    with torch.inference_mode(), exact_float32():
        for target in _tiles(region, tile):
            made = _apply_tile(network, semantic, code, noise_seed, (target, size))
            place = _within(target, region, 1)
            output[(slice(None), *place)] = made.cpu().numpy()
    return np.ascontiguousarray(output[(slice(None), *_within(part, region, 1))])


def _tiles(region: Window, tile: int | None) -> Iterator[Window]:
    steps = [b - a if tile is None else tile for a, b in region]
    for corner in product(*(range(a, b, s) for (a, b), s in zip(region, steps, strict=True))):
        yield tuple((c, min(c + s, b)) for c, s, (_, b) in zip(corner, steps, region, strict=True))


def _apply_tile(
    network: Generator,
    semantic: Tensor,
    style: Tensor,
    noise_seed: int,
    place: tuple[Window, tuple[int, ...]],
) -> Tensor:
    """Make the (C, x, y, z) of one tile; coarser strides see a wider window around it."""
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
