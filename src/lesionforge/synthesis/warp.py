"""Bend a host's anatomy smoothly, so that a made volume copies nobody's brain."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy import ndimage
from scipy.spatial.transform import Rotation

from lesionforge.seeding import stream

MIN_JACOBIAN = 0.25
SHRINK = 0.8
MAX_SHRINKS = 20
ASYMMETRY = 0.15
"""Share of a displacement in which the sides differ: bent heads are as symmetric as real ones."""
TILT_DEG = (1.0, 0.3, 0.3)


@dataclass(frozen=True)
class WarpSpec:
    """A frozen smooth deformation; the same spec on the same grid gives the same voxels.

    Attributes:
        seed: seed of the displacement field.
        amplitude_mm: root mean square displacement along each axis, most of it the same on both
            sides of the head.
        scale_mm: distance over which the displacement changes.
        scaling: factor along x, y and z.
        rotation_deg: rotation about x, y and z.
        flip: whether left and right are exchanged first.
    """

    seed: int
    amplitude_mm: float
    scale_mm: float
    scaling: tuple[float, float, float] = (1.0, 1.0, 1.0)
    rotation_deg: tuple[float, float, float] = (0.0, 0.0, 0.0)
    flip: bool = False


def sample_warp(
    rng: np.random.Generator, amplitude_mm: float, scale_mm: float, flip: bool = True
) -> WarpSpec:
    """Draw a deformation: a field of `amplitude_mm`, 3 % in size, 1 degree of nodding, either side.

    Without amplitude nothing is bent, scaled or turned; `flip` allows the left-right mirror.
    """
    on = float(amplitude_mm > 0)
    scaling = np.exp(rng.normal(0, 0.03, 3).clip(-0.06, 0.06) * on)
    angle = rng.normal(0, 1.0, 3).clip(-2, 2) * TILT_DEG * on
    return WarpSpec(
        seed=int(rng.integers(2**31)),
        amplitude_mm=amplitude_mm,
        scale_mm=scale_mm,
        scaling=(float(scaling[0]), float(scaling[1]), float(scaling[2])),
        rotation_deg=(float(angle[0]), float(angle[1]), float(angle[2])),
        flip=bool(rng.random() < 0.5) and flip,
    )


def warp_tissues(
    tissues: np.ndarray, spec: WarpSpec, voxel_mm: tuple[float, float, float]
) -> np.ndarray:
    """Apply a deformation to tissue probabilities, cubic; sums to 1 in the brain, 0 outside.

    Args:
        tissues: (3, X, Y, Z), on a grid that is symmetric in x.
        spec: the deformation.
        voxel_mm: voxel size.

    Returns:
        (3, X, Y, Z) float32.
    """
    if spec.amplitude_mm <= 0:
        source = tissues[:, ::-1] if spec.flip else tissues
        return np.ascontiguousarray(source, dtype=np.float32)
    inside = _bend(tissues.sum(0)[None], spec, voxel_mm, 1, "constant")[0] > 0.5
    warped = np.clip(_bend(tissues, spec, voxel_mm, 3, "constant"), 0, 1)
    total = warped.sum(0)
    warped = np.where(total > 1e-3, warped / np.maximum(total, 1e-6), 1 / len(warped))
    return (warped * inside).astype(np.float32)


def warp_images(
    images: np.ndarray, brain: np.ndarray, spec: WarpSpec, voxel_mm: tuple[float, float, float]
) -> np.ndarray:
    """Apply a deformation to images, by splines that keep their noise (order 5).

    Beyond the brain its nearest voxel goes on, so that none of the background comes into it.

    Args:
        images: (C, X, Y, Z), on a grid that is symmetric in x.
        brain: (X, Y, Z) bool, theirs.
        spec: the deformation, of an amplitude above 0.
        voxel_mm: voxel size.

    Returns:
        (C, X, Y, Z) float32; what lies outside the bent brain means nothing.
    """
    nearest = ndimage.distance_transform_edt(~brain, return_distances=False, return_indices=True)
    return _bend(images[(slice(None), *nearest)], spec, voxel_mm, 5, "nearest")


def warp_weight(
    weight: np.ndarray, spec: WarpSpec, voxel_mm: tuple[float, float, float]
) -> np.ndarray:
    """Apply a deformation of an amplitude above 0 to a weight (X, Y, Z) in [0, 1], linear."""
    return _bend(weight[None], spec, voxel_mm, 1, "constant")[0]


def _bend(
    volumes: np.ndarray,
    spec: WarpSpec,
    voxel_mm: tuple[float, float, float],
    order: int,
    beyond: str,
) -> np.ndarray:
    source = volumes[:, ::-1] if spec.flip else volumes
    at = _positions(volumes.shape[1:], spec, voxel_mm)
    bent = [ndimage.map_coordinates(v, at, order=order, mode=beyond) for v in source]
    return np.stack(bent).astype(np.float32)


@lru_cache(maxsize=2)
def _positions(shape: tuple[int, ...], spec: WarpSpec, voxel_mm: tuple[float, ...]) -> np.ndarray:
    """Return where each voxel's value comes from: (3, X, Y, Z) voxel indices, read-only.

    The field is shrunk step by step until it folds nowhere (Jacobian above `MIN_JACOBIAN`).
    """
    voxel = np.array(voxel_mm).reshape(3, 1, 1, 1)
    index = np.indices(shape).astype(np.float32)
    centre = ((np.array(shape) - 1) / 2).reshape(3, 1, 1, 1)
    turn = Rotation.from_euler("xyz", spec.rotation_deg, degrees=True).as_matrix()
    matrix = turn @ np.diag(1 / np.array(spec.scaling))
    linear = np.einsum("ij,jxyz->ixyz", matrix, (index - centre) * voxel)
    field = _field(shape, spec, voxel_mm)
    for _ in range(MAX_SHRINKS):
        world = linear + field
        if jacobian(world, voxel_mm).min() >= MIN_JACOBIAN:
            break
        field = field * SHRINK
    positions = (linear + field) / voxel + centre
    positions.flags.writeable = False  # since it is remembered
    return positions


def _field(shape: tuple[int, ...], spec: WarpSpec, voxel_mm: tuple[float, ...]) -> np.ndarray:
    """Draw the displacement (3, X, Y, Z) in mm: normal at coarse nodes, cubic in between."""
    rng = stream(spec.seed, "warp")
    extent = np.array(shape) * np.array(voxel_mm)
    nodes = tuple(int(n) for n in np.ceil(extent / spec.scale_mm).astype(int) + 3)
    coarse = rng.normal(0, 1, (3, *nodes)).astype(np.float32)
    step = (np.array(voxel_mm) / spec.scale_mm).reshape(3, 1, 1, 1)
    at = np.indices(shape) * step + 1
    field = np.stack([ndimage.map_coordinates(c, at, order=3, mode="nearest") for c in coarse])
    mirrored = field[:, ::-1] * np.array([-1, 1, 1], np.float32).reshape(3, 1, 1, 1)
    alike, unlike = (_scaled((field + sign * mirrored) / 2) for sign in (1, -1))
    share = np.float32(ASYMMETRY)
    return np.float32(spec.amplitude_mm) * (np.sqrt(1 - share**2) * alike + share * unlike)


def _scaled(field: np.ndarray) -> np.ndarray:
    return field / np.float32(max(float(np.sqrt((field**2).mean())), 1e-6))


def jacobian(world: np.ndarray, voxel_mm: tuple[float, ...]) -> np.ndarray:
    """Return the Jacobian determinant (X, Y, Z) of a map given as positions (3, X, Y, Z) in mm."""
    gradients = np.stack([np.stack(np.gradient(w, *voxel_mm)) for w in world])
    return np.linalg.det(np.moveaxis(gradients, (0, 1), (-2, -1)))
