"""Volumes in RAS world space: arrays with an affine, read, written and compared.

Everything inside LesionForge is RAS+: the first array axis runs to the subject's right, the
second to anterior, the third to superior, and affines are in millimetres. Files in other
orientations are turned on reading. SimpleITK (LPS, reversed axes) meets nibabel only in
`lesionforge.preprocessing.register`.
"""

import gzip
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
from nibabel.filebasedimages import ImageFileError
from nibabel.spatialimages import HeaderDataError

from lesionforge.errors import DataError, GeometryError
from lesionforge.provenance import atomic

MNI_FIELD_OF_VIEW_MM = (160.0, 200.0, 160.0)
MNI_CENTRE_MM = (0.0, -16.0, 7.0)  # more room at the vertex, where cortex is, than at the medulla
GRID_MULTIPLE = 16
SHEAR_TOLERANCE = 1e-3


@dataclass(frozen=True)
class Grid:
    """A voxel grid: `shape` (X, Y, Z) and its 4x4 voxel-to-world `affine` (RAS, mm) as tuples."""

    shape: tuple[int, int, int]
    affine: tuple[tuple[float, ...], ...]

    @property
    def matrix(self) -> np.ndarray:
        """The affine as a (4, 4) float64 array."""
        return np.array(self.affine, dtype=np.float64)

    @property
    def voxel_mm(self) -> tuple[float, float, float]:
        """Voxel size along each axis."""
        x, y, z = np.sqrt((self.matrix[:3, :3] ** 2).sum(axis=0))
        return float(x), float(y), float(z)

    @property
    def steps(self) -> tuple[float, float, float]:
        """Voxel size along each axis over the smallest: 1, 1, 1 where all are the same."""
        x, y, z = np.array(self.voxel_mm) / min(self.voxel_mm)
        return float(x), float(y), float(z)

    @property
    def voxel_mm3(self) -> float:
        """Volume of one voxel."""
        return float(abs(np.linalg.det(self.matrix[:3, :3])))

    @property
    def is_orthogonal(self) -> bool:
        """Whether the voxel axes are at right angles (and none is empty), to 1e-3."""
        with np.errstate(all="ignore"):
            axes = self.matrix[:3, :3] / np.array(self.voxel_mm)
            return bool(np.abs(axes.T @ axes - np.eye(3)).max() <= SHEAR_TOLERANCE)

    def world(self, index: np.ndarray) -> np.ndarray:
        """Map voxel indices (..., 3) to world coordinates (..., 3) in mm."""
        return np.asarray(index) @ self.matrix[:3, :3].T + self.matrix[:3, 3]

    def index(self, world: np.ndarray) -> np.ndarray:
        """Map world coordinates (..., 3) in mm to fractional voxel indices (..., 3)."""
        return (np.asarray(world) - self.matrix[:3, 3]) @ np.linalg.inv(self.matrix[:3, :3]).T

    def matches(self, other: "Grid") -> bool:
        """Tell whether two grids are the same to 1e-3 mm."""
        return self.shape == other.shape and np.allclose(self.matrix, other.matrix, atol=1e-3)


def grid(shape: tuple[int, ...], affine: np.ndarray) -> Grid:
    """Make a `Grid` from an array's shape (X, Y, Z) and a 4x4 affine."""
    x, y, z = shape
    return Grid((int(x), int(y), int(z)), tuple(tuple(float(v) for v in row) for row in affine))


def mni_grid(voxel_mm: float | Sequence[float]) -> Grid:
    """Return the study grid: RAS, over the MNI brain, axes a multiple of 16 voxels.

    At 2.5 mm it is 64 x 80 x 64.

    Args:
        voxel_mm: voxel size in mm: one number, or one an axis (right, anterior, superior).
    """
    size = np.broadcast_to(np.asarray(voxel_mm, dtype=np.float64), 3)
    shape = np.ceil(MNI_FIELD_OF_VIEW_MM / size / GRID_MULTIPLE - 1e-9).astype(int) * GRID_MULTIPLE
    affine = np.diag([*size, 1.0])
    affine[:3, 3] = np.array(MNI_CENTRE_MM) - size * (shape - 1) / 2
    return grid(tuple(shape), affine)


@dataclass(frozen=True)
class Volume:
    """A 3D array `data` (X, Y, Z) on `grid`, RAS."""

    data: np.ndarray
    grid: Grid


def open_image(path: Path) -> tuple[nib.Nifti1Image, nib.Nifti1Image]:
    """Open a NIfTI file as it is, and turned to the closest RAS orientation; reads no voxels.

    Raises:
        DataError: the file is missing, not NIfTI, or its affine places no volume in space.
    """
    try:
        image = nib.load(path)
        affine = image.affine
        if not np.isfinite(affine).all() or abs(np.linalg.det(affine[:3, :3])) < 1e-12:
            raise DataError(f"{path} has a singular affine (or NaN in it). Convert it again.")
        return image, nib.as_closest_canonical(image)
    except FileNotFoundError:
        raise DataError(f"{path} is missing.") from None
    except (
        OSError,
        EOFError,
        ValueError,
        ImageFileError,
        HeaderDataError,
    ) as error:
        raise DataError(
            f"{path} cannot be read as NIfTI ({error}). Convert or copy it again."
        ) from None


def read_volume(path: Path) -> Volume:
    """Read a NIfTI file, turned to the closest RAS orientation; float32, scaling applied.

    Raises:
        DataError: the file is missing, truncated, not NIfTI or not 3D (a 4D file of one volume is
            taken as 3D).
    """
    _, image = open_image(path)
    try:
        _verify_checksum(path)
        data = np.asarray(image.dataobj, dtype=np.float32)
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise DataError(f"{path} cannot be read to its end ({error}). Copy it again.") from None
    if data.ndim == 4 and data.shape[3] == 1:
        data = data[..., 0]
    if data.ndim != 3:
        raise DataError(f"{path} must be a 3D volume, got shape {data.shape}.")
    return Volume(data, grid(data.shape, image.affine))


def _verify_checksum(path: Path) -> None:
    """Read a compressed file to its end, where its checksum is; nibabel stops before that."""
    if str(path).endswith(".gz"):
        with gzip.open(path, "rb") as file:
            while file.read(1 << 22):
                pass


def write_volume(path: Path, data: np.ndarray, grid: Grid) -> None:
    """Write `data` (X, Y, Z) as NIfTI-1 on `grid`, atomically.

    Boolean and integer arrays become uint8 (labels) and float arrays float32; units (mm, s) and
    both sform and qform are set. The same array gives the same bytes.
    """
    if data.shape != grid.shape:
        raise GeometryError(f"{path}: data of shape {data.shape} do not fit the grid {grid.shape}.")
    kind = np.float32 if np.issubdtype(data.dtype, np.floating) else np.uint8
    image = nib.Nifti1Image(np.ascontiguousarray(data, dtype=kind), grid.matrix)
    image.header.set_xyzt_units("mm", "sec")
    image.set_sform(grid.matrix, code=4)
    image.set_qform(grid.matrix, code=4)
    with atomic(path) as part:
        nib.save(image, part)
