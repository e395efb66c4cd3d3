"""The scanner of a phantom: pose, voxels, blur, bias field, ghosts and Rician noise."""

import nibabel as nib
import numpy as np
from scipy import ndimage
from scipy.spatial.transform import Rotation

from lesionforge.cohort.phantom_anatomy import HEAD_SIZE_MM, smooth_field
from lesionforge.cohort.phantom_spec import PhantomSpec, ScanSpec
from lesionforge.seeding import stream
from lesionforge.volume import Grid, grid

BLUR = 0.36  # standard deviation of a voxel's point spread, in `blur_mm`
EDGE = 0.5  # of the brain's partial volume; less is skull-stripped


def scan_grid(scan: ScanSpec) -> Grid:
    """Return the scan's own voxel grid, in the scanner's world and its stored orientation."""
    voxel = np.array(scan.voxel_mm)
    shape = np.ceil(np.array(HEAD_SIZE_MM) / voxel).astype(int)
    affine = np.diag([*voxel, 1.0])
    affine[:3, 3] = -voxel * (shape - 1) / 2
    stored = nib.orientations.axcodes2ornt(scan.orientation)
    turn = nib.orientations.ornt_transform(nib.orientations.axcodes2ornt("RAS"), stored)
    affine = affine @ nib.orientations.inv_ornt_aff(turn, tuple(shape))
    turned = tuple(int(shape[i]) for i in np.argsort(turn[:, 0]))
    return grid(turned, affine)


def head_to_scanner(scan: ScanSpec) -> np.ndarray:
    """Return the pose: the (4, 4) matrix from the head frame to the scanner's world."""
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_euler("xyz", scan.rotation_deg, degrees=True).as_matrix()
    centre = np.array([0.0, -18.0, 4.0])
    matrix[:3, 3] = np.array(scan.translation_mm) - matrix[:3, :3] @ centre
    return matrix


def resample(data: np.ndarray, head: Grid, scan: ScanSpec) -> np.ndarray:
    """Sample a map of the head frame on the scan's grid; linear, 0 outside; float32."""
    target = scan_grid(scan)
    matrix = np.linalg.inv(head.matrix) @ np.linalg.inv(head_to_scanner(scan)) @ target.matrix
    return ndimage.affine_transform(
        data.astype(np.float32, copy=False),
        matrix[:3, :3],
        matrix[:3, 3],
        target.shape,
        order=1,
        mode="constant",
        output=np.float32,
    )


def brain_mask(brain: np.ndarray, head: Grid, scan: ScanSpec) -> np.ndarray:
    """Return the brain on the scan's grid, (X, Y, Z) bool."""
    return resample(brain, head, scan) > EDGE


def acquire(
    spec: PhantomSpec, head: Grid, scan: ScanSpec, signal: np.ndarray, mask: np.ndarray, name: str
) -> np.ndarray:
    """Scan the noiseless `signal` of the head frame; whole numbers as float32, 0 outside `mask`.

    Args:
        spec: whose head.
        head: grid of `signal`.
        scan: acquisition.
        signal: (X, Y, Z), about 1 in the brightest tissue.
        mask: brain on the scan's grid.
        name: `T1w` or `FLAIR`, names the random streams.
    """
    rng = stream(spec.seed, "phantom", spec.id, "scan", name)
    thickness = np.array(scan.voxel_mm) / min(scan.voxel_mm)
    sigma = BLUR * scan.blur_mm * thickness / np.array(head.voxel_mm)
    biased = signal * np.exp(scan.bias * smooth_field(rng, head, 75.0))
    image = resample(ndimage.gaussian_filter(biased, sigma), head, scan)
    image = _with_ghosts(image, scan)
    noise = rng.standard_normal((2, *image.shape), dtype=np.float32) * scan.noise
    image = np.hypot(image + noise[0], noise[1])
    return np.where(mask, np.maximum(np.rint(image * scan.gain), 1), 0).astype(np.float32)


def _with_ghosts(image: np.ndarray, scan: ScanSpec) -> np.ndarray:
    """Add two faint copies along the phase-encoding axis, as periodic motion does."""
    if scan.ghost == 0:
        return image
    shift = round(scan.ghost_shift * image.shape[scan.ghost_axis])
    copies = np.roll(image, shift, scan.ghost_axis) + np.roll(image, -shift, scan.ghost_axis)
    return image * (1 - scan.ghost) + scan.ghost * copies
