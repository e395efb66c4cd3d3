"""Fold a cortex: sulci are thin walls that run inward from the zero lines of a random field.

A band-limited random field on a hemisphere's hull has zero lines like a labyrinth, one gyrus apart.
Each line is carried inward along the hull's normal to a depth that varies; what lies within the
cortical thickness of a wall or of open CSF is grey matter, what lies deeper white matter. Distances
are in the subject's own millimetres, so thickness is that of the specification.
"""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

LATTICE_MM = 2.5
LATTICE_CORNER_MM = -130.0
LATTICE_SIZE_MM = 230.0
BAND = 1.3  # ratio of the two Gaussians whose difference limits the field's band


@dataclass(frozen=True)
class CortexSpec:
    """How a cortex is folded; mm.

    Attributes:
        gyrus_mm: mean distance from one sulcus to the next on the surface.
        depth_mm: mean depth of sulci.
        depth_sd_mm: how depth varies from place to place.
        thickness_mm: mean cortical thickness.
        thickness_sd_mm: how it varies from place to place.
        width_mm: of a sulcus at depth, more at its mouth; closed at -1.
        meander_mm: how much a sulcus wanders on its way inward.
    """

    gyrus_mm: float
    depth_mm: float
    depth_sd_mm: float
    thickness_mm: float
    thickness_sd_mm: float
    width_mm: float
    meander_mm: float


def sample_cortex(rng: np.random.Generator, atrophy: float) -> CortexSpec:
    """Draw a cortex; `atrophy` (0 young, 1 old) widens sulci and thins the ribbon."""
    return CortexSpec(
        gyrus_mm=float(rng.uniform(11.2, 12.8)),
        depth_mm=float(rng.normal(16.0, 1.2)),
        depth_sd_mm=float(rng.uniform(3.0, 4.5)),
        thickness_mm=float(np.clip(rng.normal(2.6, 0.15) - 0.3 * atrophy, 2.1, 3.2)),
        thickness_sd_mm=float(rng.uniform(0.2, 0.35)),
        width_mm=float(np.clip(rng.normal(-0.1, 0.15) + 1.2 * atrophy, -0.5, 1.5)),
        meander_mm=float(rng.uniform(2.0, 3.5)),
    )


def smooth_noise(
    rng: np.random.Generator, shape: tuple[int, ...], scale_mm: float, voxel_mm: float = 1.0
) -> np.ndarray:
    """Draw a smooth field, mean 0 and variance 1, whose correlation falls to 0.37 at `scale_mm`.

    A sum of Gaussian bumps with normal weights on a lattice; float32 of `shape`.
    """
    sigma, step = scale_mm / 2, 0.55 * scale_mm
    bases, counts = [], []
    for size in shape:
        centres = step * np.arange(-1, int(np.ceil(size * voxel_mm / step)) + 2)
        places = voxel_mm * np.arange(size)
        basis = np.exp(-0.5 * ((places[:, None] - centres) / sigma) ** 2)
        bases.append(basis / np.linalg.norm(basis, axis=1, keepdims=True))
        counts.append(len(centres))
    return _separable(rng.standard_normal(counts, dtype=np.float32), bases)


def interpolate(coarse: np.ndarray, step: int, shape: tuple[int, ...]) -> np.ndarray:
    """Interpolate an array of every `step`-th voxel to `shape`, linearly."""
    bases = []
    for size, count in zip(shape, coarse.shape, strict=True):
        at = np.minimum(np.arange(size) / step, count - 1)
        bases.append(np.maximum(1 - np.abs(at[:, None] - np.arange(count)), 0))
    return _separable(coarse, bases)


def _separable(values: np.ndarray, bases: list[np.ndarray]) -> np.ndarray:
    for basis in bases:  # tensordot turns the axes once around
        values = np.tensordot(values, basis.astype(np.float32), axes=(0, 1))
    return values


def _labyrinth(rng: np.random.Generator, gyrus_mm: float) -> np.ndarray:
    """Draw a band-limited field for each hemisphere, (2, n, n, n) over template space."""
    count = int(LATTICE_SIZE_MM / LATTICE_MM)
    sigma = 2 * gyrus_mm / (2 * np.pi) * 1.2 / LATTICE_MM
    fields = []
    for _ in range(2):
        noise = rng.standard_normal((count, count, count), dtype=np.float32)
        field = ndimage.gaussian_filter(noise, sigma) - ndimage.gaussian_filter(noise, BAND * sigma)
        fields.append(field / field.std())
    return np.stack(fields)


def _on_hull(fields: np.ndarray, root: np.ndarray, right: np.ndarray, step: float) -> np.ndarray:
    """Read each voxel's field at its hull point; `root` (3, N) mm, `right` (N,) bool."""
    at = (root - LATTICE_CORNER_MM) / step
    found = np.empty(root.shape[1], dtype=np.float32)
    for side, field in enumerate(fields):
        mine = right == bool(side)
        found[mine] = ndimage.map_coordinates(
            field, at[:, mine], order=1, mode="nearest", output=np.float32
        )
    return found


def sulcal_distance(
    spec: CortexSpec,
    rng: np.random.Generator,
    inside: np.ndarray,
    root: np.ndarray,
    right: np.ndarray,
    hull_mm: np.ndarray,
) -> np.ndarray:
    """Return the distance (N,) in mm from a sulcus' middle; negative nowhere.

    Args:
        spec: how it is folded.
        rng: its stream.
        inside: (X, Y, Z) bool on a 1 mm grid, the N voxels of the cerebrum.
        root: (3, N) hull points in template mm.
        right: (N,) bool, right hemisphere.
        hull_mm: (N,) depth beneath the hull.
    """
    meander = np.minimum(hull_mm / 10, 1.5) * spec.meander_mm
    wandering = root + meander * np.stack(
        [smooth_noise(rng, inside.shape, 12.0)[inside] for _ in range(3)]
    )
    grid = np.zeros(inside.shape, dtype=np.float32)
    grid[inside] = _on_hull(_labyrinth(rng, spec.gyrus_mm), wandering, right, LATTICE_MM)
    grid = _spread(grid, inside)
    field = ndimage.gaussian_filter(grid, 0.8)
    steep = np.sqrt(sum(np.gradient(field, axis=a)[inside] ** 2 for a in range(3)))
    beside = np.abs(field[inside]) / np.maximum(steep, 0.35 * np.pi / spec.gyrus_mm)
    count = int(LATTICE_SIZE_MM / 6.0)
    deep = np.stack([smooth_noise(rng, (count,) * 3, 22.0, 6.0) for _ in range(2)])
    depth = spec.depth_mm + spec.depth_sd_mm * _on_hull(deep, root, right, 6.0)
    return np.asarray(np.hypot(beside, np.maximum(hull_mm - np.clip(depth, 3, 26), 0)))


def _spread(grid: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """Carry values outward past the surface, so that a gradient there means something."""
    weight = ndimage.gaussian_filter(inside.astype(np.float32), 1.5)
    mean = ndimage.gaussian_filter(grid, 1.5) / np.maximum(weight, 1e-3)
    return np.where(inside, grid, mean)


def ribbon(
    spec: CortexSpec,
    rng: np.random.Generator,
    inside: np.ndarray,
    sulcus_mm: np.ndarray,
    open_mm: np.ndarray,
    hull_mm: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return shares (3, N) of CSF, GM, WM, depth beneath the pia and thickness (N,) in mm."""
    rough = smooth_noise(rng, inside.shape, 10.0)[inside]
    mouth = (1.0 + 1.2 * max(spec.width_mm, 0)) * np.exp(-hull_mm / 4.0)
    half = np.maximum(spec.width_mm + 0.35 * rough + mouth, -0.9) / 2
    depth = np.minimum(sulcus_mm - half, open_mm + 0.2 - half)
    uneven = spec.thickness_sd_mm * smooth_noise(rng, inside.shape, 14.0)[inside]
    thickness = np.maximum(spec.thickness_mm + uneven, 1.4)
    csf = np.clip(0.5 - depth, 0, 1)
    solid = np.clip(0.5 + thickness - depth, 0, 1)
    grey = np.maximum(solid - csf, 0)
    return np.stack([csf, grey, 1 - csf - grey]), depth, thickness
