"""The scanner of a phantom: pose, voxels, blur, bias field, ghosts and Rician noise."""

from dataclasses import dataclass

import nibabel as nib
import numpy as np
from scipy import ndimage
from scipy.spatial.transform import Rotation

from lesionforge.data.volume import Grid, grid
from lesionforge.phantoms.anatomy import HEAD_SIZE_MM, smooth_field
from lesionforge.phantoms.spec import PhantomSpec, ScanSpec
from lesionforge.seeding import stream

BLUR = 0.36  # standard deviation of a voxel's point spread, in `blur_mm`
EDGE = 0.5  # of the brain's partial volume; less is skull-stripped


def scan_grid(scan: ScanSpec) -> Grid:
    """Return the scan's own voxel grid, in the scanner's world and its stored orientation."""
    voxel = np.array(scan.voxel_mm)
    shape = np.ceil(np.array(HEAD_SIZE_MM) / voxel).astype(int)
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
        head: grid of the head frame.
        grid: the scan's grid.
        near: (X, Y, Z) bool, the scan's voxels in or near the brain.
        points: (3, N) head voxel coordinates of those.
        mask: (X, Y, Z) bool, the brain in one piece; all else is skull-stripped.
    """

    head: Grid
    grid: Grid
    near: np.ndarray
    points: np.ndarray
    mask: np.ndarray

    def sample(self, data: np.ndarray) -> np.ndarray:
        """Sample a map of the head frame on the scan's grid; linear, 0 far from the brain."""
        return _sample(data, self.near, self.points)


def _sample(data: np.ndarray, near: np.ndarray, points: np.ndarray) -> np.ndarray:
    values = np.zeros(near.shape, dtype=np.float32)
    values[near] = ndimage.map_coordinates(
        data.astype(np.float32, copy=False), points, order=1, mode="nearest", output=np.float32
    )
    return values


def place_head(head: Grid, brain: np.ndarray, scan: ScanSpec) -> Sampler:
    """Lay a head, with its soft `brain` mask, into a scan's grid."""
    target = scan_grid(scan)
    matrix = np.linalg.inv(head.matrix) @ np.linalg.inv(head_to_scanner(scan)) @ target.matrix
    i, j, k = np.meshgrid(*map(np.arange, target.shape), indexing="ij", sparse=True)
    rows = [a * i + b * j + c * k + d for a, b, c, d in matrix[:3].astype(np.float32)]
    limits = np.array(brain.shape) - 1
    nearest = tuple(
        np.clip(np.rint(r), 0, n).astype(np.intp) for r, n in zip(rows, limits, strict=True)
    )
    near = brain[nearest] > 0.02
    points = np.stack([r[near] for r in rows])
    return Sampler(head, target, near, points, largest_piece(_sample(brain, near, points) > EDGE))


def largest_piece(mask: np.ndarray) -> np.ndarray:
    """Return the largest 26-connected component of a mask that is not empty."""
    labels, _ = ndimage.label(mask, np.ones((3, 3, 3)))
    return labels == 1 + np.argmax(np.bincount(labels.ravel())[1:])


def acquire(
    spec: PhantomSpec, scan: ScanSpec, signal: np.ndarray, sampler: Sampler, name: str
) -> np.ndarray:
    """Scan the noiseless `signal` of the head frame; whole numbers as float32, 0 outside the brain.

    Args:
        spec: whose head.
        scan: acquisition.
        signal: (X, Y, Z) on the head's grid, about 1 in the brightest tissue.
        sampler: the head in the scan.
        name: `T1w` or `FLAIR`, names the random streams.
    """
    rng = stream(spec.seed, "phantom", spec.id, "scan", name)
    thickness = np.array(scan.voxel_mm) / min(scan.voxel_mm)
    sigma = BLUR * scan.blur_mm * thickness / np.array(sampler.head.voxel_mm)
    biased = signal * np.exp(scan.bias * smooth_field(rng, sampler.head, 75.0))
    image = _with_ghosts(sampler.sample(ndimage.gaussian_filter(biased, sigma)), scan)
    noise = rng.standard_normal((2, *image.shape), dtype=np.float32) * scan.noise
    image = np.hypot(image + noise[0], noise[1])
    return np.where(sampler.mask, np.maximum(np.rint(image * scan.gain), 1), 0).astype(np.float32)


def _with_ghosts(image: np.ndarray, scan: ScanSpec) -> np.ndarray:
    """Add two faint copies along the phase-encoding axis, as periodic motion does."""
    if scan.ghost == 0:
        return image
    shift = round(scan.ghost_shift * image.shape[scan.ghost_axis])
    copies = np.roll(image, shift, scan.ghost_axis) + np.roll(image, -shift, scan.ghost_axis)
    return image * (1 - scan.ghost) + scan.ghost * copies
