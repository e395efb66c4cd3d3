"""The steps that bring one subject's scans to the study grid, in their order.

Brain mask, bias correction, FLAIR to T1w (rigid), T1w to MNI (affine), then one interpolation of
each image through the composed transform, intensity scaling, tissue maps, lesion mask, figures.
Nothing here looks at the label before the images are finished.
"""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage
from scipy.spatial.transform import Rotation

from lesionforge.data.cohort import subject_volumes
from lesionforge.data.volume import Grid, Volume, grid, mni_grid
from lesionforge.errors import DataError
from lesionforge.preprocessing import quality
from lesionforge.preprocessing.brain import deepbet_mask, is_stripped, nonzero_mask
from lesionforge.preprocessing.config import PrepareConfig
from lesionforge.preprocessing.intensity import scale_image
from lesionforge.preprocessing.register import best_start, bias_field, centroid, margin, register
from lesionforge.preprocessing.resample import isotropic, resample, resample_label
from lesionforge.preprocessing.scan import PreparedScan
from lesionforge.preprocessing.tissues import even_out, template, tissue_maps

_MASK_MM = 4.0
_CROP_MM = 8.0


@dataclass(frozen=True)
class Native:
    """Scans on their own grids: bias-corrected T1w and FLAIR, cropped, with their brain mask.

    Attributes:
        t1w: T1w.
        flair: FLAIR.
        brain: mask (0 or 1) on the T1w grid.
        flair_from_t1w: (4, 4) RAS matrix from T1w world to FLAIR world.
        method: how the brain was found.
        figures: of the mask and the rigid registration.
        t1w_weight: where a stripped T1w holds tissue (1) and where it was blanked (0); None for a
            whole head.
        flair_weight: the same of the FLAIR.
    """

    t1w: Volume
    flair: Volume
    brain: Volume
    flair_from_t1w: np.ndarray
    method: str
    figures: dict[str, float]
    t1w_weight: Volume | None
    flair_weight: Volume | None


def prepare_images(
    t1w: Volume, flair: Volume, brain: Volume | None, config: PrepareConfig
) -> PreparedScan:
    """Bring a T1w and a FLAIR volume to the study grid.

    Args:
        t1w: as read.
        flair: as read, on its own grid.
        brain: a brain mask that came with the data, or None.
        config: knobs.

    Raises:
        DataError: no brain was found, a registration failed or an image is empty in the brain.
    """
    native = _native(_finite(t1w), _finite(flair), brain, config)
    t1w_from_mni, information = _to_mni(native, config)
    flair_from_mni = native.flair_from_t1w @ t1w_from_mni
    target = mni_grid(config.voxel_mm)
    covered = np.minimum(
        resample(_ones(t1w), target, t1w_from_mni), resample(_ones(flair), target, flair_from_mni)
    )
    whole = resample(native.brain, target, t1w_from_mni) > 0.5
    inside = whole & (covered > 0.5)
    if inside.sum() < 100:
        raise DataError("T1w, FLAIR and brain mask have next to nothing in common.")
    images = np.stack(
        [
            _interpolated(native.t1w, native.t1w_weight, target, t1w_from_mni),
            _interpolated(native.flair, native.flair_weight, target, flair_from_mni),
        ]
    )
    if config.n4:
        images = even_out(images, inside, target)
    images = np.stack(
        [scale_image(i, inside, n) for i, n in zip(images, ("T1w", "FLAIR"), strict=True)]
    )
    tissues = tissue_maps(images, inside, target)
    brain_ml = quality.mask_volume_ml(native.brain)
    ratio = 1 / abs(float(np.linalg.det(t1w_from_mni[:3, :3])))
    figures: dict[str, float] = {
        **native.figures,
        "brain_in_grid": float(whole.sum()) * target.voxel_mm3 / 1000 / ratio / brain_ml,
        "mni_information": information,
        **quality.template_figures(images[0], inside, target),
        "mni_volume_ratio": ratio,
        "brain_covered": float(inside.sum() / max(int(whole.sum()), 1)),
        **quality.image_figures(images, inside, tissues, target),
    }
    volumes = subject_volumes(("T1w", "FLAIR"), images, inside, tissues)
    return PreparedScan(
        volumes, target, t1w.grid, t1w_from_mni, native.flair_from_t1w, native.method, figures
    )


def prepare_lesion(
    scan: PreparedScan, lesion: Volume, in_flair_space: bool
) -> tuple[np.ndarray, dict[str, float]]:
    """Bring a hand-drawn mask to the study grid, cut to the brain.

    Returns:
        (X, Y, Z) bool and its figures.

    Raises:
        DataError: nothing of it lies inside the brain.
    """
    matrix = scan.t1w_from_mni
    if in_flair_space:
        matrix = scan.flair_from_t1w @ matrix
    whole, counts = resample_label(_finite(lesion), scan.grid, matrix)
    mask = whole & scan.volumes["desc-brain_mask"]
    if not mask.any():
        raise DataError(
            "No part of the lesion mask lies inside the brain. Check that it belongs to these "
            "scans, and look at the brain mask."
        )
    return mask, {
        "lesion_ml_raw": quality.mask_volume_ml(lesion),
        "lesion_ml": float(mask.sum()) * scan.grid.voxel_mm3 / 1000,
        "lesion_in_brain": float(mask.sum() / whole.sum()),
        "lesion_components": counts["components"],
        "lesion_rescued": counts["rescued"],
    }


def _native(t1w: Volume, flair: Volume, given: Volume | None, config: PrepareConfig) -> Native:
    """Find the brain, correct the bias fields and register FLAIR to T1w."""
    mask, method = _brain(t1w, given, config)
    t1w_weight, flair_weight = _tissue_weight(t1w), _tissue_weight(flair)
    figures = {"brain_ml": quality.mask_volume_ml(mask)}
    t1w, mask = _cropped(t1w, mask), _cropped(mask, mask)
    if config.n4:
        field = bias_field(t1w, mask.data > 0.5, config.n4_voxel_mm)
        t1w = Volume(t1w.data / field, t1w.grid)
    near = _dilated(mask)
    if config.register_flair:
        starts = [np.eye(4), _shift(centroid(flair) - centroid(t1w))]
        start = best_start(t1w, flair, near, starts, config.levels_mm[0]).matrix
        match = register(t1w, flair, near, start, "rigid", config.levels_mm)
    else:
        match = best_start(t1w, flair, near, [np.eye(4)], config.levels_mm[-1])
    matrix, figures["flair_t1w_information"] = match.matrix, match.information
    middle = config.levels_mm[len(config.levels_mm) // 2]
    figures["flair_t1w_margin"] = margin(t1w, flair, near, matrix, middle)
    figures |= quality.motion_figures(matrix, centroid(mask))
    in_flair = Volume(resample(mask, flair.grid, np.linalg.inv(matrix)), flair.grid)
    flair, in_flair = _cropped(flair, in_flair), _cropped(in_flair, in_flair)
    if config.n4:
        field = bias_field(flair, in_flair.data > 0.5, config.n4_voxel_mm)
        flair = Volume(flair.data / field, flair.grid)
    return Native(t1w, flair, mask, matrix, method, figures, t1w_weight, flair_weight)


def _tissue_weight(image: Volume) -> Volume | None:
    """Return 1 where a stripped volume holds tissue, 0 where it was blanked; None for a head."""
    if not is_stripped(image):
        return None
    return Volume(nonzero_mask(image).astype(np.float32), image.grid)


def _interpolated(
    image: Volume, weight: Volume | None, target: Grid, matrix: np.ndarray
) -> np.ndarray:
    """Resample by cubic splines; blanked voxels of a stripped volume do not darken its rim."""
    if weight is None:
        return resample(image, target, matrix, order=3)
    area = resample(weight, image.grid)
    inside = Volume(image.data * area, image.grid)
    share = resample(Volume(area, image.grid), target, matrix, order=3)
    values = resample(inside, target, matrix, order=3) / np.maximum(share, 0.3)
    return np.clip(values, 0, float(image.data.max())).astype(np.float32)


def _brain(t1w: Volume, given: Volume | None, config: PrepareConfig) -> tuple[Volume, str]:
    """Return the brain mask on the T1w grid and where it is from."""
    if given is not None and config.brain_mask != "deepbet":
        data, method = resample(given, t1w.grid) > 0.5, "file"
        if not data.any():
            raise DataError("The brain mask that came with the data is empty on the T1w grid.")
    elif config.brain_mask == "given" or (config.brain_mask == "auto" and is_stripped(t1w)):
        data, method = nonzero_mask(t1w), "nonzero"
    else:
        data, method = deepbet_mask(t1w), "deepbet"
    return Volume(data.astype(np.float32), t1w.grid), method


def _to_mni(native: Native, config: PrepareConfig) -> tuple[np.ndarray, float]:
    """Register the brain to the template, from its centre and extent and the best of some tilts."""
    fixed = template()[0]
    brain = Volume(native.t1w.data * native.brain.data, native.t1w.grid)
    known = Volume(ndimage.binary_fill_holes(fixed.data > 0.1).astype(np.float32), fixed.grid)
    near = _dilated(known)
    stretch = np.clip(_extent(native.brain) / _extent(known), 0.75, 1.33)
    centre, middle = centroid(known), centroid(native.brain)
    starts = [
        _shift(middle) @ _tilt(angle) @ np.diag([*size, 1.0]) @ _shift(-centre)
        for angle in config.tilts_deg
        for size in (stretch, np.full(3, float(stretch.prod() ** (1 / 3))))
    ]
    start = best_start(fixed, brain, near, starts, config.levels_mm[0]).matrix
    match = register(fixed, brain, near, start, "affine", config.levels_mm)
    return match.matrix, match.information


def _extent(mask: Volume) -> np.ndarray:
    """Return the standard deviation of a mask's voxels along x, y and z, in mm."""
    points = mask.grid.world(np.argwhere(mask.data > 0.5)[::7])
    return points.std(axis=0)


def _tilt(angle_deg: float) -> np.ndarray:
    """Return a (4, 4) rotation about the left-right axis (a nod)."""
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_euler("x", angle_deg, degrees=True).as_matrix()
    return matrix


def _shift(vector: np.ndarray) -> np.ndarray:
    matrix = np.eye(4)
    matrix[:3, 3] = vector
    return matrix


def _dilated(mask: Volume) -> Volume:
    """Return a mask on a coarse grid, 8 mm wider, so that its border counts in a comparison."""
    coarse = isotropic(mask.grid, _MASK_MM)
    padded = np.pad(resample(mask, coarse) > 0.5, 2)
    affine = coarse.matrix
    affine[:3, 3] = coarse.world(np.array([-2, -2, -2]))
    wide = ndimage.binary_dilation(padded, iterations=2).astype(np.float32)
    return Volume(wide, grid(wide.shape, affine))


def _cropped(volume: Volume, mask: Volume) -> Volume:
    """Cut a volume to the box around a mask on the same grid, and a margin."""
    where = ndimage.find_objects((mask.data > 0.5).astype(np.uint8))
    if not where:
        raise DataError("The brain lies outside the FLAIR volume; check the affines.")
    margin = np.ceil(_CROP_MM / np.array(volume.grid.voxel_mm)).astype(int)
    box = tuple(
        slice(max(0, s.start - m), min(n, s.stop + m))
        for s, m, n in zip(where[0], margin, volume.data.shape, strict=True)
    )
    affine = volume.grid.matrix
    affine[:3, 3] = volume.grid.world(np.array([s.start for s in box]))
    data = np.ascontiguousarray(volume.data[box])
    return Volume(data, grid(data.shape, affine))


def _ones(volume: Volume) -> Volume:
    return Volume(np.ones(volume.data.shape, dtype=np.float32), volume.grid)


def _finite(volume: Volume) -> Volume:
    data = np.nan_to_num(volume.data, nan=0.0, posinf=0.0, neginf=0.0)
    return Volume(data.astype(np.float32), volume.grid)
