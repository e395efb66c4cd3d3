"""The steps that bring one subject's scans to the study grid, in their order.

Brain mask on the reference (the first channel), bias correction, the other channels to the
reference (rigid), the reference to MNI (affine), then one interpolation of each image through the
composed transform, intensity scaling, tissue maps, lesion mask, figures. Nothing here looks at the
label before the images are finished.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import ndimage
from scipy.spatial.transform import Rotation

from lesionforge.data.cohort import subject_volumes
from lesionforge.data.volume import Grid, Volume, grid
from lesionforge.errors import DataError
from lesionforge.preprocessing import quality
from lesionforge.preprocessing.brain import count_pieces, find_brain, is_stripped, nonzero_mask
from lesionforge.preprocessing.config import PrepareConfig
from lesionforge.preprocessing.grids import study_grid
from lesionforge.preprocessing.intensity import scale_image, without_offset
from lesionforge.preprocessing.lesion_masks import lesion_rows, resample_lesions
from lesionforge.preprocessing.register import (
    best_start,
    bias_field,
    centroid,
    dilated,
    margin,
    register,
    rigid_match,
    translation,
)
from lesionforge.preprocessing.resample import resample
from lesionforge.preprocessing.scan import PreparedScan
from lesionforge.preprocessing.tissues import even_out, template, tissue_maps

_CROP_MM = 8.0
LARGEST_SHARE = 0.5
"""A lesion of a larger part of the brain is none."""


@dataclass(frozen=True, eq=False)
class Native:
    """Scans on their own grids: bias-corrected and cropped, with the brain mask.

    Attributes:
        images: channel to image, the reference first.
        brain: mask (0 or 1) on the reference's grid.
        from_reference: channel to (4, 4) RAS matrix from the reference's world to the channel's.
        method: how the brain was found.
        figures: of the mask and the rigid registrations.
        weights: channel to where a stripped image holds tissue (1) and where it was blanked (0);
            None for a whole head.
    """

    images: dict[str, Volume]
    brain: Volume
    from_reference: dict[str, np.ndarray]
    method: str
    figures: dict[str, float]
    weights: dict[str, Volume | None]


def prepare_images(
    images: Mapping[str, Volume], brain: Volume | None, config: PrepareConfig
) -> PreparedScan:
    """Bring the images of one head to the study grid.

    Args:
        images: BIDS suffix to image as read, each on its own grid; the first is the reference.
        brain: a brain mask that came with the data, on the reference's grid, or None.
        config: knobs; `voxel_mm` is not `auto` here.

    Raises:
        DataError: no brain was found, a registration failed or an image is empty in the brain.
    """
    channels = tuple(images)
    raw = {channel: _usable(image) for channel, image in images.items()}
    native = _native(raw, brain, config)
    from_mni, information = _to_mni(native, config)
    target = study_grid(config)
    moves = {channel: native.from_reference[channel] @ from_mni for channel in channels}
    covered = np.minimum.reduce(
        [resample(_ones(raw[channel]), target, moves[channel]) for channel in channels]
    )
    whole = resample(native.brain, target, from_mni) > 0.5
    inside = whole & (covered > 0.5)
    if inside.sum() < 100:
        raise DataError(f"{', '.join(channels)} and brain mask have next to nothing in common.")
    stack = np.stack(
        [_interpolated(native.images[c], native.weights[c], target, moves[c]) for c in channels]
    )
    signal = quality.signal_figures(channels, stack, inside)
    if config.n4:
        stack = even_out(stack, inside, target)
    stack = np.stack([scale_image(i, inside, n) for i, n in zip(stack, channels, strict=True)])
    tissues = tissue_maps(stack, inside, target)
    brain_ml = quality.mask_volume_ml(native.brain)
    ratio = 1 / abs(float(np.linalg.det(from_mni[:3, :3])))
    figures: dict[str, float] = {
        **native.figures,
        "brain_in_grid": float(whole.sum()) * target.voxel_mm3 / 1000 / ratio / brain_ml,
        "mni_information": information,
        **quality.template_figures(stack[0], inside, target),
        "mni_volume_ratio": ratio,
        "brain_covered": float(inside.sum() / max(int(whole.sum()), 1)),
        **signal,
        **quality.image_figures(channels, stack, inside, tissues, target),
    }
    return PreparedScan(
        channels,
        subject_volumes(channels, stack, inside, tissues),
        target,
        images[channels[0]].grid,
        from_mni,
        native.from_reference,
        native.method,
        figures,
    )


def prepare_lesion(
    scan: PreparedScan, lesion: Volume, channel: str
) -> tuple[np.ndarray, dict[str, float], list[dict[str, Any]]]:
    """Bring a hand-drawn mask to the study grid, cut to the brain.

    Args:
        scan: the subject's prepared images.
        lesion: the mask as read.
        channel: the image in whose space it was drawn.

    Returns:
        (X, Y, Z) bool, its figures, and a row a drawn lesion, see `lesion_rows`.

    Raises:
        DataError: nothing of it lies inside the brain, or it is most of the brain.
    """
    found = resample_lesions(_finite(lesion), scan.grid, scan.from_mni(channel))
    brain = scan.volumes["desc-brain_mask"].astype(bool)
    whole = found.owner > 0
    mask = whole & brain
    if not mask.any():
        raise DataError(
            "No part of the lesion mask lies inside the brain. Check that it belongs to these "
            "scans, and look at the brain mask."
        )
    if mask.sum() > LARGEST_SHARE * brain.sum():
        raise DataError(
            f"The lesion mask holds {100 * mask.sum() / brain.sum():.0f} % of the brain. Is it "
            "inverted, or a brain mask?"
        )
    rows = lesion_rows(found, brain, scan.grid)
    fates = [row["fate"] for row in rows]
    figures = {
        "lesion_ml_raw": quality.mask_volume_ml(lesion),
        "lesion_ml": float(mask.sum()) * scan.grid.voxel_mm3 / 1000,
        "lesion_in_brain": float(mask.sum() / whole.sum()),
        "lesions_raw": len(rows),
        "lesions": len({row["component"] for row in rows} - {None}),
        "lesions_rescued": fates.count("rescued"),
        "lesions_merged": fates.count("merged"),
        "lesions_lost": fates.count("too small") + fates.count("outside the brain"),
    }
    return mask, figures, rows


def _native(images: dict[str, Volume], given: Volume | None, config: PrepareConfig) -> Native:
    """Find the brain, correct the bias fields and register the other channels to the reference."""
    first, *others = images
    mask, method = find_brain(images, given, config)
    weights = {channel: _tissue_weight(image) for channel, image in images.items()}
    figures = {"brain_ml": quality.mask_volume_ml(mask), "brain_pieces": count_pieces(mask)}
    reference, mask = _cropped(images[first], mask), _cropped(mask, mask)
    if config.n4:
        reference = _even(reference, mask, config)
    even, moves = {first: reference}, {first: np.eye(4)}
    for channel in others:
        moves[channel], found = _to_reference(reference, images[channel], mask, config)
        named = f"{channel.lower()}_{first.lower()}"
        figures |= {f"{named}_{figure}": value for figure, value in found.items()}
        image = images[channel]
        inside = Volume(resample(mask, image.grid, np.linalg.inv(moves[channel])), image.grid)
        image, inside = _cropped(image, inside, channel), _cropped(inside, inside, channel)
        even[channel] = _even(image, inside, config) if config.n4 else image
    return Native(even, mask, moves, method, figures, weights)


def _even(image: Volume, mask: Volume, config: PrepareConfig) -> Volume:
    field = bias_field(image, mask.data > 0.5, config.n4_voxel_mm)
    return Volume(image.data / field, image.grid)


def _to_reference(
    reference: Volume, image: Volume, mask: Volume, config: PrepareConfig
) -> tuple[np.ndarray, dict[str, float]]:
    """Return the rigid matrix from the reference's world to an image's world, and its figures."""
    near = dilated(mask)
    if config.register_channels:
        match = rigid_match(reference, image, near, config.levels_mm)
    else:
        match = best_start(reference, image, near, [np.eye(4)], config.levels_mm[-1])
    middle = config.levels_mm[len(config.levels_mm) // 2]
    return match.matrix, {
        "information": match.information,
        "margin": margin(reference, image, near, match.matrix, middle),
        **quality.motion_figures(match.matrix, centroid(mask)),
    }


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


def _to_mni(native: Native, config: PrepareConfig) -> tuple[np.ndarray, float]:
    """Register the brain to the template, from its centre and extent and the best of some tilts."""
    fixed = template()[0]
    reference = next(iter(native.images.values()))
    brain = Volume(reference.data * native.brain.data, reference.grid)
    known = Volume(ndimage.binary_fill_holes(fixed.data > 0.1).astype(np.float32), fixed.grid)
    near = dilated(known)
    stretch = np.clip(_extent(native.brain) / _extent(known), 0.75, 1.33)
    centre, middle = centroid(known), centroid(native.brain)
    starts = [
        translation(middle) @ _tilt(angle) @ np.diag([*size, 1.0]) @ translation(-centre)
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


def _cropped(volume: Volume, mask: Volume, channel: str = "reference") -> Volume:
    """Cut a volume to the box around a mask on the same grid, and a margin."""
    where = ndimage.find_objects((mask.data > 0.5).astype(np.uint8))
    if not where:
        raise DataError(f"The brain lies outside the {channel} volume; check the affines.")
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


def prepare_ignore(scan: PreparedScan, mask: Volume, channel: str) -> np.ndarray:
    """Bring a mask of voxels to ignore to the study grid, cut to the brain: (X, Y, Z) bool."""
    share = resample(_finite(mask), scan.grid, scan.from_mni(channel))
    return (share >= 0.5) & scan.volumes["desc-brain_mask"].astype(bool)


def _usable(volume: Volume) -> Volume:
    """Return an image without NaN and without negative values."""
    return Volume(without_offset(_finite(volume).data), volume.grid)


def _finite(volume: Volume) -> Volume:
    data = np.nan_to_num(volume.data, nan=0.0, posinf=0.0, neginf=0.0)
    return Volume(data.astype(np.float32), volume.grid)
