"""Rigid and affine registration and bias correction: the one place where SimpleITK is used.

SimpleITK counts x to the left and y to the back (LPS) and stores arrays as (z, y, x). Both are
turned here, in `to_itk` and `_world_matrix`, and nowhere else; callers see RAS volumes and 4x4 RAS
matrices. Every call is single-threaded and samples on a regular lattice with a fixed seed, so
results do not depend on the machine's load or the number of workers.
"""

from contextlib import suppress
from dataclasses import dataclass
from typing import Literal

import numpy as np
import SimpleITK as sitk  # noqa: N813 (the library's own customary name)
from scipy import ndimage
from scipy.spatial.transform import Rotation

from lesionforge.data.volume import Grid, Volume, grid
from lesionforge.errors import DataError, GeometryError
from lesionforge.preprocessing.resample import isotropic, resample

_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
_HISTOGRAM_BINS = 32
_SAMPLES = 25_000
_MASK_MM = 4.0
NEARBY_MM = NEARBY_DEG = 3.0
_SAMPLING = 1  # ITK's seed of the sampling; 0 would be the clock


@dataclass(frozen=True)
class Match:
    """A registration's result: `matrix` from fixed to moving world (RAS), and mutual information.

    `information` is Mattes' estimate in nats, larger is better.
    """

    matrix: np.ndarray
    information: float


def check_orthogonal(grid: Grid, name: str) -> None:
    """Refuse a sheared affine.

    Raises:
        GeometryError: the voxel axes of `grid` (of the file called `name`) are not at right angles.
    """
    if not grid.is_orthogonal:
        raise GeometryError(
            f"{name} has a sheared or singular affine: its voxel axes are not at right angles. "
            "Resample it to an unsheared grid, or convert it from DICOM again."
        )


def to_itk(volume: Volume) -> sitk.Image:
    """Hand a RAS volume to SimpleITK: float32, LPS, direction cosines made exactly orthogonal."""
    check_orthogonal(volume.grid, "The volume")
    image = sitk.GetImageFromArray(np.ascontiguousarray(volume.data.T, dtype=np.float32))
    affine = _LPS @ volume.grid.matrix
    size = np.array(volume.grid.voxel_mm)
    left, _, right = np.linalg.svd(affine[:3, :3] / size)
    image.SetSpacing(size.tolist())
    image.SetOrigin(affine[:3, 3].tolist())
    image.SetDirection((left @ right).ravel().tolist())
    return image


def register(
    fixed: Volume,
    moving: Volume,
    mask: Volume,
    start: np.ndarray,
    kind: Literal["rigid", "affine"],
    levels_mm: tuple[float, ...],
) -> Match:
    """Align `moving` to `fixed` by Mattes' mutual information, from coarse to fine.

    Args:
        fixed: the reference.
        moving: what is to be brought onto it.
        mask: where the two are compared (above 0.5), in the fixed image's world.
        start: (4, 4) RAS matrix from fixed to moving world, to start from.
        kind: 6 or 12 degrees of freedom.
        levels_mm: working voxel sizes, coarse first.

    Raises:
        DataError: the images do not overlap or the search failed.
    """
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    matrix, information = start, 0.0
    for level in levels_mm:
        method, pair = _method(fixed, moving, mask, level)
        transform = _transform(matrix, centroid(mask), kind)
        method.SetInitialTransform(transform, inPlace=True)
        try:
            method.Execute(*pair)
        except RuntimeError as error:
            raise DataError(f"Registration failed at {level:g} mm: {_reason(error)}") from None
        matrix, information = _world_matrix(transform), -method.GetMetricValue()
    return Match(matrix, float(information))


def rigid_match(fixed: Volume, moving: Volume, mask: Volume, levels_mm: tuple[float, ...]) -> Match:
    """Align two scans of one head: from where their headers place them, or centre on centre.

    Args:
        fixed: see `register`.
        moving: see `register`.
        mask: see `register`.
        levels_mm: see `register`.

    Raises:
        DataError: see `register`.
    """
    starts = [np.eye(4), translation(centroid(moving) - centroid(fixed))]
    start = best_start(fixed, moving, mask, starts, levels_mm[0]).matrix
    return register(fixed, moving, mask, start, "rigid", levels_mm)


def margin(
    fixed: Volume, moving: Volume, mask: Volume, matrix: np.ndarray, level_mm: float
) -> float:
    """Return how clearly `matrix` is the best place in its neighbourhood.

    It is compared with the twelve moves by 3 mm along and 3 degrees about each axis, through the
    centre of the mask.

    Args:
        fixed: see `register`.
        moving: see `register`.
        mask: see `register`.
        matrix: (4, 4) from fixed to moving world.
        level_mm: voxel size at which places are compared.

    Returns:
        The share of mutual information that is lost by the best of the moves; negative where one of
        them fits better, so that the registration has failed or was never made.
    """
    centre = (matrix @ np.append(centroid(mask), 1))[:3]
    moves = []
    for step in np.concatenate([np.eye(3), -np.eye(3)]):
        shift, turn = np.eye(4), np.eye(4)
        shift[:3, 3] = NEARBY_MM * step
        turn[:3, :3] = Rotation.from_rotvec(np.radians(NEARBY_DEG) * step).as_matrix()
        turn[:3, 3] = centre - turn[:3, :3] @ centre
        moves += [shift @ matrix, turn @ matrix]
    here, *there = _information(fixed, moving, mask, [matrix, *moves], level_mm)
    return float((here - np.nanmax(there)) / max(abs(here), 1e-9))


def best_start(
    fixed: Volume,
    moving: Volume,
    mask: Volume,
    starts: list[np.ndarray],
    level_mm: float,
) -> Match:
    """Return the matrix among `starts` with the most mutual information at one voxel size.

    Raises:
        DataError: the images overlap under none of them.
    """
    found = _information(fixed, moving, mask, starts, level_mm)
    best = int(np.nanargmax(found))
    return Match(starts[best], float(found[best]))


def _information(
    fixed: Volume, moving: Volume, mask: Volume, matrices: list[np.ndarray], level_mm: float
) -> np.ndarray:
    """Return the mutual information at each of `matrices`, NaN where the images do not overlap.

    Raises:
        DataError: they overlap under none of them.
    """
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    method, pair = _method(fixed, moving, mask, level_mm)
    found = np.full(len(matrices), np.nan)
    for index, matrix in enumerate(matrices):
        method.SetInitialTransform(_transform(matrix, centroid(mask), "affine"))
        with suppress(RuntimeError):  # no overlap from here
            found[index] = -method.MetricEvaluate(*pair)
    if np.isnan(found).all():
        raise DataError("The two images do not overlap in world space; check their affines.")
    return found


def _method(
    fixed: Volume, moving: Volume, mask: Volume, level_mm: float
) -> tuple[sitk.ImageRegistrationMethod, tuple[sitk.Image, sitk.Image]]:
    """Set up the search at one voxel size, with both images brought to it."""
    method = sitk.ImageRegistrationMethod()
    method.SetMetricAsMattesMutualInformation(_HISTOGRAM_BINS)
    method.SetInterpolator(sitk.sitkLinear)
    method.SetOptimizerAsRegularStepGradientDescent(
        learningRate=level_mm / 2,
        minStep=level_mm / 200,
        numberOfIterations=80,
        gradientMagnitudeTolerance=1e-5,
        relaxationFactor=0.6,
    )
    method.SetOptimizerScalesFromPhysicalShift()
    coarse = isotropic(fixed.grid, level_mm)
    inside = resample(mask, coarse) > 0.5
    method.SetMetricSamplingStrategy(method.REGULAR)
    method.SetMetricSamplingPercentage(min(1.0, _SAMPLES / max(int(inside.sum()), 1)), _SAMPLING)
    method.SetMetricFixedMask(sitk.Cast(to_itk(Volume(inside, coarse)), sitk.sitkUInt8))
    return method, (_at(fixed, level_mm), _at(moving, level_mm))


def _at(volume: Volume, level_mm: float) -> sitk.Image:
    coarse = isotropic(volume.grid, level_mm)
    data = resample(volume, coarse)
    return to_itk(Volume(ndimage.gaussian_filter(data, 0.5), coarse))


def centroid(volume: Volume) -> np.ndarray:
    """Return the world point (3,) of a non-negative volume's centre of mass."""
    return volume.grid.world(np.array(ndimage.center_of_mass(volume.data)))


def translation(vector: np.ndarray) -> np.ndarray:
    """Return the (4, 4) matrix of a translation by (3,) mm."""
    matrix = np.eye(4)
    matrix[:3, 3] = vector
    return matrix


def dilated(mask: Volume) -> Volume:
    """Return a mask on a coarse grid, 8 mm wider, so that its border counts in a comparison."""
    coarse = isotropic(mask.grid, _MASK_MM)
    padded = np.pad(resample(mask, coarse) > 0.5, 2)
    affine = coarse.matrix
    affine[:3, 3] = coarse.world(np.array([-2, -2, -2]))
    wide = ndimage.binary_dilation(padded, iterations=2).astype(np.float32)
    return Volume(wide, grid(wide.shape, affine))


def _transform(
    matrix: np.ndarray, centre: np.ndarray, kind: Literal["rigid", "affine"]
) -> sitk.Euler3DTransform | sitk.AffineTransform:
    """Write a RAS matrix as an ITK transform about a RAS centre."""
    lps = _LPS @ matrix @ _LPS
    middle = _LPS[:3, :3] @ centre
    if kind == "rigid":
        left, _, right = np.linalg.svd(lps[:3, :3])
        transform: sitk.Euler3DTransform | sitk.AffineTransform = sitk.Euler3DTransform()
        linear = left @ right
    else:
        transform, linear = sitk.AffineTransform(3), lps[:3, :3]
    transform.SetCenter(middle.tolist())
    transform.SetMatrix(linear.ravel().tolist())
    transform.SetTranslation((lps[:3, :3] @ middle + lps[:3, 3] - middle).tolist())
    return transform


def _world_matrix(transform: sitk.Euler3DTransform | sitk.AffineTransform) -> np.ndarray:
    """Read an ITK transform as a (4, 4) RAS matrix."""
    linear = np.array(transform.GetMatrix()).reshape(3, 3)
    centre, shift = np.array(transform.GetCenter()), np.array(transform.GetTranslation())
    lps = np.eye(4)
    lps[:3, :3], lps[:3, 3] = linear, centre + shift - linear @ centre
    return _LPS @ lps @ _LPS


def bias_field(volume: Volume, mask: np.ndarray, voxel_mm: float) -> np.ndarray:
    """Estimate the smooth intensity inhomogeneity by N4 (Tustison 2010) on a shrunk copy.

    Args:
        volume: a non-negative image.
        mask: (X, Y, Z) bool: the tissue to estimate it from.
        voxel_mm: voxel size of the shrunk copy.

    Returns:
        (X, Y, Z) float32, positive, geometric mean 1 inside the mask: divide the image by it.

    Raises:
        DataError: the mask holds too little tissue.
    """
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    coarse = isotropic(volume.grid, voxel_mm)
    small = resample(volume, coarse)
    inside = (resample(Volume(mask, volume.grid), coarse) > 0.5) & (small > 0)
    if inside.sum() < 500:
        raise DataError(
            f"Bias correction found {int(inside.sum())} voxels of {voxel_mm:g} mm inside the "
            "brain: the brain mask or the image is empty."
        )
    n4 = sitk.N4BiasFieldCorrectionImageFilter()
    n4.SetMaximumNumberOfIterations([10, 10, 5])
    n4.SetConvergenceThreshold(1e-3)
    image = to_itk(Volume(np.maximum(small, 1e-6 * float(small.max())), coarse))
    try:
        n4.Execute(image, sitk.Cast(to_itk(Volume(inside, coarse)), sitk.sitkUInt8))
        field = sitk.GetArrayFromImage(n4.GetLogBiasFieldAsImage(image)).T
    except RuntimeError as error:
        raise DataError(f"Bias correction (N4) failed: {_reason(error)}") from None
    field = field - field[inside].mean()
    near = ndimage.binary_dilation(inside, iterations=2)
    outer = ndimage.distance_transform_edt(~near, return_distances=False, return_indices=True)
    field = ndimage.gaussian_filter(field[tuple(outer)], 0.5)  # no extrapolation into the air
    padded = np.pad(field, 1, mode="edge")
    shifted = coarse.matrix
    shifted[:3, 3] = coarse.world(np.array([-1, -1, -1]))
    larger = Grid(tuple(padded.shape), tuple(map(tuple, shifted)))
    return np.exp(resample(Volume(padded, larger), volume.grid))


def _reason(error: RuntimeError) -> str:
    return str(error).strip().splitlines()[-1].strip()
