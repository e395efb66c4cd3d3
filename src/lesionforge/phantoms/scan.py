"""The scanner of a phantom: pose, voxels, point spread, bias field, ghosts and Rician noise."""

from dataclasses import dataclass

import nibabel as nib
import numpy as np
from scipy import ndimage
from scipy.spatial.transform import Rotation

from lesionforge.data.volume import Grid, grid
from lesionforge.phantoms.cortex import smooth_noise
from lesionforge.phantoms.head import SHAPE, SOFT_MM, Head
from lesionforge.phantoms.protocols import Protocol

SPREAD = 0.36  # standard deviation of the point spread in voxels
SIZE_MM = (176.0, 220.0, 196.0)  # field of view; the head moves inside it


@dataclass(frozen=True)
class ScanSpec:
    """One acquisition: voxels, pose of the head (degrees, mm), faults.

    Attributes:
        voxel_mm: voxel size, the slice's last.
        tilt_deg: of the slices about the left-right axis.
        orientation: how the file stores them.
        rotation_deg, translation_mm: pose of the head.
        noise: standard deviation, in shares of white matter's signal.
        smooth: correlation of noise, in voxels.
        bias: strength of the receive field (log).
        gain: stored value of white matter.
        ghost, ghost_axis, ghost_shift: strength, axis and offset (share) of motion ghosts.
        margin_mm: how far the brain mask lies outside (+) or inside the brain's surface.
    """

    voxel_mm: tuple[float, float, float]
    tilt_deg: float
    orientation: str
    rotation_deg: tuple[float, float, float]
    translation_mm: tuple[float, float, float]
    noise: float
    smooth: float
    bias: float
    gain: float
    ghost: float
    ghost_axis: int
    ghost_shift: float
    margin_mm: float


@dataclass(frozen=True)
class Pose:
    """How the head lies in the scanner: rotation in degrees and translation in mm."""

    rotation_deg: tuple[float, float, float]
    translation_mm: tuple[float, float, float]


def sample_pose(rng: np.random.Generator) -> Pose:
    """Draw a pose."""
    turn, move = rng.normal(0, 4, 3).clip(-9, 9), rng.normal(0, 4, 3).clip(-8, 8)
    return Pose(_floats(turn), _floats(move))


def sample_scan(
    rng: np.random.Generator, protocol: Protocol, voxel_mm: float, pose: Pose
) -> ScanSpec:
    """Draw a scan; the head lies within 1 degree and 1 mm of `pose`.

    Voxels finer than `voxel_mm` are made so coarse; noise falls with the volume of a voxel.
    """
    turn = _in_ball(rng) + pose.rotation_deg
    move = _in_ball(rng) + pose.translation_mm
    native = np.array(protocol.voxel_mm)
    voxel = np.maximum(native, voxel_mm * np.minimum(native / native.min(), 1.25))
    finer = np.sqrt(native.prod() / voxel.prod())  # coarser scans are acquired in less time
    ghosted, ghost = rng.random() < 0.25, rng.uniform(0.01, 0.06)
    return ScanSpec(
        voxel_mm=_floats(voxel),
        tilt_deg=protocol.tilt_deg,
        orientation=protocol.orientation,
        rotation_deg=_floats(turn),
        translation_mm=_floats(move),
        noise=float(protocol.noise * finer * np.exp(rng.normal(0, 0.2))),
        smooth=float(protocol.smooth * rng.uniform(0.85, 1.15)),
        bias=float(protocol.bias * rng.uniform(0.6, 1.3)),
        gain=float(protocol.gain * np.exp(rng.normal(0, 0.15))),
        ghost=float(ghost) if ghosted else 0.0,
        ghost_axis=int(rng.integers(2)),
        ghost_shift=float(rng.uniform(0.15, 0.5)),
        margin_mm=float(rng.normal(0.3, 0.4)),
    )


def _in_ball(rng: np.random.Generator) -> np.ndarray:
    vector = rng.normal(size=3)
    return np.asarray(vector / np.linalg.norm(vector) * rng.random() ** (1 / 3))


def _floats(values: np.ndarray) -> tuple[float, float, float]:
    x, y, z = (float(v) for v in values)
    return x, y, z


def scan_grid(scan: ScanSpec) -> Grid:
    """Return the scan's own voxel grid, in the scanner's world and its stored orientation."""
    voxel = np.array(scan.voxel_mm)
    shape = np.ceil(np.array(SIZE_MM) / voxel).astype(int)
    affine = np.diag([*voxel, 1.0])
    affine[:3, 3] = -voxel * (shape - 1) / 2
    tilt = np.eye(4)
    tilt[:3, :3] = Rotation.from_euler("x", scan.tilt_deg, degrees=True).as_matrix()
    stored = nib.orientations.axcodes2ornt(scan.orientation)
    turn = nib.orientations.ornt_transform(nib.orientations.axcodes2ornt("RAS"), stored)
    affine = tilt @ affine @ nib.orientations.inv_ornt_aff(turn, tuple(shape))
    turned = tuple(int(shape[i]) for i in np.argsort(turn[:, 0]))
    return grid(turned, affine)


def head_to_scanner(scan: ScanSpec) -> np.ndarray:
    """Return the pose: the (4, 4) matrix from the head frame to the scanner's world."""
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_euler("xyz", scan.rotation_deg, degrees=True).as_matrix()
    centre = np.array([0.0, -18.0, 4.0])
    matrix[:3, 3] = np.array(scan.translation_mm) - matrix[:3, :3] @ centre
    return matrix


@dataclass(frozen=True)
class Sampler:
    """Where a scan's voxels lie in the head.

    Attributes:
        grid: the scan's grid.
        near: (X, Y, Z) bool, the scan's voxels in or near the brain.
        points: (3, N) head voxel coordinates of those.
        slice_step: (3,) head voxels from one edge of a slice to the other.
        slices: how many thin slices are averaged into a thick one.
        mask: (X, Y, Z) bool, the brain in one piece; all else is skull-stripped.
    """

    grid: Grid
    near: np.ndarray
    points: np.ndarray
    slice_step: np.ndarray
    slices: int
    mask: np.ndarray

    def sample(self, data: np.ndarray) -> np.ndarray:
        """Average a map of the head frame over the scan's slices; linear, 0 far from the brain."""
        return _sample(data, self.near, self.points, self.slice_step, self.slices)


def _sample(
    data: np.ndarray, near: np.ndarray, points: np.ndarray, step: np.ndarray, slices: int
) -> np.ndarray:
    total = np.zeros(points.shape[1], dtype=np.float32)
    for k in range(slices):
        at = points + (step * ((k + 0.5) / slices - 0.5))[:, None].astype(np.float32)
        total += ndimage.map_coordinates(
            data.astype(np.float32, copy=False), at, order=1, mode="nearest", output=np.float32
        )
    values = np.zeros(near.shape, dtype=np.float32)
    values[near] = total / slices
    return values


def place_head(head: Head, scan: ScanSpec, rng: np.random.Generator) -> Sampler:
    """Lay a head into a scan's grid; `rng` draws the error of the brain mask."""
    target = scan_grid(scan)
    matrix = np.linalg.inv(head.grid.matrix) @ np.linalg.inv(head_to_scanner(scan)) @ target.matrix
    i, j, k = np.meshgrid(*map(np.arange, target.shape), indexing="ij", sparse=True)
    rows = [a * i + b * j + c * k + d for a, b, c, d in matrix[:3].astype(np.float32)]
    nearest = tuple(
        np.clip(np.rint(r), 0, n - 1).astype(np.intp) for r, n in zip(rows, SHAPE, strict=True)
    )
    near = head.soft[nearest] > 0.05
    points = np.stack([r[near] for r in rows])
    axis = int(np.argmax(target.voxel_mm))
    slices = max(1, round(target.voxel_mm[axis] / min(target.voxel_mm)))
    step = matrix[:3, axis]
    plane = float(np.cbrt(target.voxel_mm3))
    margin = scan.margin_mm + 0.5 * smooth_noise(rng, target.shape, 20.0, plane)
    edge = np.clip(0.5 - margin / (SOFT_MM * np.sqrt(2 * np.pi)), 0.1, 0.9)
    mask = near & (_sample(head.soft, near, points, step, slices) > edge)
    return Sampler(target, near, points, step, slices, largest_piece(mask))


def largest_piece(mask: np.ndarray) -> np.ndarray:
    """Return the largest 26-connected component of a mask that is not empty."""
    labels, _ = ndimage.label(mask, np.ones((3, 3, 3)))
    return np.asarray(labels == 1 + np.argmax(np.bincount(labels.ravel())[1:]))


def acquire(
    scan: ScanSpec, signal: np.ndarray, sampler: Sampler, rng: np.random.Generator
) -> np.ndarray:
    """Scan the noiseless `signal` of the head frame; whole numbers as float32, 0 outside the brain.

    Args:
        scan: acquisition.
        signal: (X, Y, Z) at 1 mm, about 1 in white matter.
        sampler: the head in the scan.
        rng: stream of the scan's bias field and noise.
    """
    biased = signal * np.exp(scan.bias * smooth_noise(rng, SHAPE, 110.0))
    plane = float(np.sort(scan.voxel_mm)[1])
    image = _with_ghosts(sampler.sample(ndimage.gaussian_filter(biased, SPREAD * plane)), scan)
    real, imaginary = (_noise(rng, image.shape, scan.smooth) * scan.noise for _ in range(2))
    image = np.hypot(image + real, imaginary)
    return np.where(sampler.mask, np.maximum(np.rint(image * scan.gain), 1), 0).astype(np.float32)


def _noise(rng: np.random.Generator, shape: tuple[int, ...], smooth: float) -> np.ndarray:
    """Draw noise of variance 1 that reconstruction has correlated between neighbours."""
    white = rng.standard_normal(shape, dtype=np.float32)
    kernel = np.exp(-0.5 * (np.arange(-3, 4) / smooth) ** 2)
    kernel /= np.sqrt((kernel**2).sum())
    for axis in range(3):
        white = ndimage.correlate1d(white, kernel, axis=axis, mode="wrap")
    return white


def _with_ghosts(image: np.ndarray, scan: ScanSpec) -> np.ndarray:
    """Add two faint copies along the phase-encoding axis, as periodic motion does."""
    if scan.ghost == 0:
        return image
    shift = round(scan.ghost_shift * image.shape[scan.ghost_axis])
    copies = np.roll(image, shift, scan.ghost_axis) + np.roll(image, -shift, scan.ghost_axis)
    return image * (1 - scan.ghost) + scan.ghost * copies
