"""Bend a host's anatomy smoothly, so that a made volume copies nobody's brain."""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage
from scipy.spatial.transform import Rotation

from lesionforge.seeding import stream

MIN_JACOBIAN = 0.25
SHRINK = 0.8
MAX_SHRINKS = 20


@dataclass(frozen=True)
class WarpSpec:
    """A frozen smooth deformation; the same spec on the same grid gives the same voxels.

    Attributes:
        seed: seed of the displacement field.
        amplitude_mm: root mean square displacement along each axis.
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
    """Draw a deformation: a field of `amplitude_mm`, 5 % in size, 2 degrees of tilt, either side.

    Without amplitude nothing is bent, scaled or turned; `flip` allows the left-right mirror.
    """
    on = float(amplitude_mm > 0)
    scaling = np.exp(rng.normal(0, 0.03, 3).clip(-0.06, 0.06) * on)
    angle = rng.normal(0, 1.0, 3).clip(-2, 2) * on
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
    source = tissues[:, ::-1] if spec.flip else tissues
    if spec.amplitude_mm <= 0:
        return np.ascontiguousarray(source, dtype=np.float32)
    at = _positions(tissues.shape[1:], spec, voxel_mm)
    inside = ndimage.map_coordinates(source.sum(0), at, order=1, mode="constant") > 0.5
    warped = np.stack([ndimage.map_coordinates(v, at, order=3, mode="constant") for v in source])
    warped = np.clip(warped, 0, 1)
    total = warped.sum(0)
    warped = np.where(total > 1e-3, warped / np.maximum(total, 1e-6), 1 / len(warped))
    return (warped * inside).astype(np.float32)


def _positions(shape: tuple[int, ...], spec: WarpSpec, voxel_mm: tuple[float, ...]) -> np.ndarray:
    """Return where each voxel's value comes from: (3, X, Y, Z) voxel indices.

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
    return (linear + field) / voxel + centre


def _field(shape: tuple[int, ...], spec: WarpSpec, voxel_mm: tuple[float, ...]) -> np.ndarray:
    """Draw the displacement (3, X, Y, Z) in mm: normal at coarse nodes, cubic in between."""
    rng = stream(spec.seed, "warp")
    extent = np.array(shape) * np.array(voxel_mm)
    nodes = tuple(int(n) for n in np.ceil(extent / spec.scale_mm).astype(int) + 3)
    coarse = rng.normal(0, 1, (3, *nodes)).astype(np.float32)
    step = (np.array(voxel_mm) / spec.scale_mm).reshape(3, 1, 1, 1)
    at = np.indices(shape) * step + 1
    field = np.stack([ndimage.map_coordinates(c, at, order=3, mode="nearest") for c in coarse])
    rms = np.sqrt((field**2).mean())
    return field * np.float32(spec.amplitude_mm / max(float(rms), 1e-6))


def jacobian(world: np.ndarray, voxel_mm: tuple[float, ...]) -> np.ndarray:
    """Return the Jacobian determinant (X, Y, Z) of a map given as positions (3, X, Y, Z) in mm."""
    gradients = np.stack([np.stack(np.gradient(w, *voxel_mm)) for w in world])
    return np.linalg.det(np.moveaxis(gradients, (0, 1), (-2, -1)))
