"""Healthy tissues where a lesion is: what the other side of the brain, or the atlas, has there.

A lesion distorts its own segmentation: dysplastic white matter looks grey, which would put the
lesion deep inside "cortex", and a generator could read the lesion from the tissue classes and
ignore the mask. In and around a lesion the share of grey and white matter is therefore an estimate.
Fluid stays within what the other side has nearby: a lesion blurs the grey-white junction and not
the surface, and the other side's sulci are not where this side's are.
"""

from collections.abc import Callable
from functools import lru_cache

import numpy as np
from nilearn import datasets
from scipy import ndimage

from lesionforge.data.volume import Grid, grid
from lesionforge.errors import GeometryError

HEAL_MM = 4.0  # tissues this close to a lesion are not its own any more
MIRROR_SIGMA_VOXELS = 0.7  # the two sides agree no better
FLUID_MM = 5.0  # the sides' sulci differ by this much
REACH_MM = 2 * HEAL_MM + 2 * FLUID_MM  # beyond this nothing is looked at
LEAST_MATTER = 0.2  # grey and white matter that an estimate needs to be one
CENTRE_TOLERANCE_MM = 0.1
Filter = Callable[[np.ndarray], np.ndarray]


def inpaint_tissues(tissues: np.ndarray, lesion: np.ndarray, target: Grid) -> np.ndarray:
    """Estimate the tissues that a lesion has replaced.

    The estimate holds up to `HEAL_MM` from the lesion and fades out over as much again. Grey and
    white matter are shared out as on the other side where that is brain and clear of the lesion, as
    in the atlas elsewhere; what the segmentation made of grey and white leaves no trace. Fluid is
    kept, within its least and most on the other side (or in the atlas) up to `FLUID_MM` away.

    Args:
        tissues: (3, X, Y, Z) probabilities of CSF, GM and WM; they sum to 1 in the brain and to 0
            outside.
        lesion: (X, Y, Z) bool; without any the tissues come back as they are.
        target: their grid, in MNI space: x = 0 is the midline.

    Returns:
        (3, X, Y, Z) float32 with the same sums.
    """
    inpainted = np.array(tissues, dtype=np.float32)
    if lesion.any():
        box = _surroundings(lesion, target)
        part = _part(target, box)
        cut = (slice(None), *box)
        inpainted[cut] = _inpaint(inpainted[cut], lesion[box], part, atlas_prior(target)[cut])
    return inpainted


def _surroundings(lesion: np.ndarray, target: Grid) -> tuple[slice, slice, slice]:
    """Return the box of all that healing looks at: the lesion, its mirror image and around them."""
    found = np.argwhere(lesion)
    mirrored = target.index(target.world(found) * [-1, 1, 1])
    every = np.concatenate([found, mirrored])
    margin = np.ceil(REACH_MM / np.array(target.voxel_mm)) + 1
    low = np.maximum(np.floor(every.min(axis=0)) - margin, 0).astype(int)
    high = np.minimum(np.ceil(every.max(axis=0)) + margin + 1, target.shape).astype(int)
    x, y, z = (slice(int(a), int(b)) for a, b in zip(low, high, strict=True))
    return x, y, z


def _part(target: Grid, box: tuple[slice, slice, slice]) -> Grid:
    """Return the grid of a box."""
    affine = target.matrix
    affine[:3, 3] = target.world(np.array([[part.start for part in box]]))[0]
    return grid(tuple(part.stop - part.start for part in box), affine)


def _inpaint(
    tissues: np.ndarray, lesion: np.ndarray, target: Grid, atlas: np.ndarray
) -> np.ndarray:
    inpainted = tissues.copy()
    distance = ndimage.distance_transform_edt(~lesion, sampling=target.voxel_mm)
    near = distance < 2 * HEAL_MM
    mirrored = target.world(np.argwhere(near)) * [-1, 1, 1]
    across = target.index(mirrored).T

    def look_across(volume: np.ndarray) -> np.ndarray:
        return np.asarray(ndimage.map_coordinates(volume, across, order=1, cval=0.0))

    hurt = distance <= HEAL_MM
    smooth = [look_across(_smooth_outside(t, hurt)) for t in tissues[1:]]
    clear = (look_across(hurt.astype(np.float32)) == 0) & (sum(smooth) > LEAST_MATTER)
    other = np.where(clear, np.stack(smooth), atlas[1:, near])
    matter = other.sum(axis=0)
    # beyond the atlas there is the surface, which is grey
    grey_share = np.where(matter > LEAST_MATTER, other[0] / np.maximum(matter, 1e-6), 1.0)
    own = inpainted[:, near]
    total = own.sum(axis=0)
    low, high = (
        np.where(clear, look_across(extreme(tissues[0])), extreme(atlas[0])[near])
        for extreme in _fluid_extremes(target)
    )
    fluid = np.minimum(np.clip(own[0], low, high), total)
    estimate = np.stack([fluid, (total - fluid) * grey_share, (total - fluid) * (1 - grey_share)])
    weight = np.clip(2 - distance[near] / HEAL_MM, 0, 1)
    inpainted[:, near] = weight * estimate + (1 - weight) * own
    return inpainted


def _smooth_outside(tissue: np.ndarray, hurt: np.ndarray) -> np.ndarray:
    """Blur a tissue map (X, Y, Z) without what lies in a lesion."""
    known = (~hurt).astype(np.float32)
    mass = ndimage.gaussian_filter(known, MIRROR_SIGMA_VOXELS)
    return ndimage.gaussian_filter(tissue * known, MIRROR_SIGMA_VOXELS) / np.maximum(mass, 1e-3)


def _fluid_extremes(target: Grid) -> tuple[Filter, Filter]:
    """Return filters that give the least and the most within `FLUID_MM`."""
    reach = [int(FLUID_MM / v) for v in target.voxel_mm]
    offsets = np.indices([2 * r + 1 for r in reach]).reshape(3, -1).T - reach
    ball = np.linalg.norm(offsets * target.voxel_mm, axis=1) <= FLUID_MM
    footprint = ball.reshape([2 * r + 1 for r in reach])
    return (
        lambda volume: ndimage.minimum_filter(volume, footprint=footprint),
        lambda volume: ndimage.maximum_filter(volume, footprint=footprint),
    )


@lru_cache(maxsize=2)
def atlas_prior(target: Grid) -> np.ndarray:
    """Return mean healthy tissues (3, X, Y, Z) on `target` from nilearn's bundled MNI152 maps.

    What is neither grey nor white matter there counts as CSF. Made symmetric in x. Read-only,
    since it is remembered.
    """
    index = np.indices(target.shape).reshape(3, -1).T
    maps = []
    for load in (datasets.load_mni152_gm_template, datasets.load_mni152_wm_template):
        image = load(resolution=2)
        source = grid(image.shape, image.affine)
        blur = np.maximum(np.array(target.voxel_mm) / np.array(source.voxel_mm), 1) * 0.7
        smooth = ndimage.gaussian_filter(image.get_fdata(dtype=np.float32), blur)
        at = source.index(target.world(index)).T
        values = ndimage.map_coordinates(smooth, at, order=1, mode="constant")
        maps.append(np.clip(values, 0, 1).reshape(target.shape))
    matter = np.stack(maps)
    matter /= np.maximum(matter.sum(0), 1)
    prior = np.concatenate([1 - matter.sum(0, keepdims=True), matter])
    symmetric = ((prior + prior[:, ::-1]) / 2).astype(np.float32)
    symmetric.flags.writeable = False
    return symmetric


def check_symmetric(target: Grid) -> None:
    """Refuse a grid whose mirror image in x is not itself (flipping axis 0 must mirror the brain).

    Raises:
        GeometryError: the grid is oblique or its centre is not at x = 0.
    """
    matrix = target.matrix[:3, :3]
    centre = target.world((np.array(target.shape) - 1) / 2)[0]
    oblique = np.abs(matrix[0, 1:]).max() > 1e-3 or np.abs(matrix[1:, 0]).max() > 1e-3
    if oblique or abs(centre) > CENTRE_TOLERANCE_MM:
        raise GeometryError(
            "The grid must be symmetric in x (RAS axes, centre at x = 0 mm), got a centre at "
            f"x = {centre:.2f} mm{' and oblique axes' if oblique else ''}. "
            "Prepare the cohort again."
        )
