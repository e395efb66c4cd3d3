"""Gaussian noise that belongs to places: a hash of the voxel's position, not of when it is drawn.

A tile asks for the noise of its own voxels and gets what the whole volume has there, so a volume
made tile by tile equals one made whole. The hash is SplitMix64 (Steele, Lea and Flood, 2014), the
step to normal numbers is Box and Muller's.
"""

import math

import torch
from torch import Tensor

_MASK = (1 << 64) - 1
_STEP = 0x9E3779B97F4A7C15
_FIRST = 0xBF58476D1CE4E5B9
_SECOND = 0x94D049BB133111EB


def position_noise(
    seed: int,
    level: int,
    channels: int,
    start: tuple[int, int, int],
    stop: tuple[int, int, int],
    device: torch.device | str = "cpu",
) -> Tensor:
    """Return standard normal noise of the voxels from `start` up to `stop`.

    Args:
        seed: any integer; another seed gives other noise everywhere.
        level: resolution level; levels have independent noise.
        channels: how many independent values a voxel has.
        start: first voxel along x, y, z, in voxels of that level, counted from the volume's corner.
        stop: one past the last voxel.
        device: where to compute.

    Returns:
        (channels, X, Y, Z) float32.
    """
    x, y, z = (torch.arange(a, b, device=device) for a, b in zip(start, stop, strict=True))
    volumes = []
    for channel in range(channels):
        key = _mix_int(_mix_int(_mix_int(seed & _MASK) + level) + channel)
        plane = _mix(_mix(x + _signed(key))[:, None] + y)
        volumes.append(_normal(_mix(plane[..., None] + z)))
    return torch.stack(volumes)


def _normal(bits: Tensor) -> Tensor:
    """Turn 64 random bits into a standard normal number: 24 bits for the radius, 24 the angle."""
    high = (_shift(bits, 40).float() + 0.5) * 2.0**-24
    low = (bits & 0xFFFFFF).float() * 2.0**-24
    return torch.sqrt(-2 * torch.log(high)) * torch.cos(2 * math.pi * low)


def _mix(value: Tensor) -> Tensor:
    """SplitMix64 of an int64 tensor (two's complement, wrapping like unsigned)."""
    value = value + _signed(_STEP)
    value = (value ^ _shift(value, 30)) * _signed(_FIRST)
    value = (value ^ _shift(value, 27)) * _signed(_SECOND)
    return value ^ _shift(value, 31)


def _mix_int(value: int) -> int:
    value = (value + _STEP) & _MASK
    value = ((value ^ (value >> 30)) * _FIRST) & _MASK
    value = ((value ^ (value >> 27)) * _SECOND) & _MASK
    return value ^ (value >> 31)


def _shift(value: Tensor, count: int) -> Tensor:
    """Shift right and fill with zeros; PyTorch's own shift copies the sign."""
    return (value >> count) & ((1 << (64 - count)) - 1)


def _signed(value: int) -> int:
    return value - (1 << 64) if value >> 63 else value
