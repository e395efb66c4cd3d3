"""What the generator is told: healthy tissue classes of a host, a soft lesion, its strength.

A real lesion distorts its own tissue segmentation (thick cortex, "grey" white matter), so that a
generator could read the lesion from the tissue classes and ignore the mask. `heal_tissues` removes
that trace: in and around the mask the classes are replaced by an estimate of healthy anatomy,
in training and in synthesis alike.
"""

from functools import lru_cache

import numpy as np
from nilearn import datasets
from scipy import ndimage

from lesionforge.cohort.subject import TISSUES
from lesionforge.errors import GeometryError
from lesionforge.volume import Grid, grid

SEMANTIC_CHANNELS = len(TISSUES) + 2
HEAL_MARGIN_MM = 5.0
HEAL_BLEND_MM = 5.0
LESION_SIGMA_VOXELS = 0.7
CENTRE_TOLERANCE_MM = 0.1


def heal_tissues(
    tissues: np.ndarray,
    lesion: np.ndarray,
    brain: np.ndarray,
    voxel_mm: tuple[float, float, float],
    prior: np.ndarray | None = None,
) -> np.ndarray:
    """Replace the tissue classes in and around a lesion by an estimate of healthy ones.

    The estimate is the mirrored side where that is brain and clear of the lesion and its
    surroundings; elsewhere `prior`. It holds fully up to `HEAL_MARGIN_MM` from the mask and fades
    out over the next `HEAL_BLEND_MM`; beyond, the classes stay as they are.

    Args:
        tissues: (3, X, Y, Z) probabilities, on a grid whose centre is x = 0 (`check_symmetric`).
        lesion: (X, Y, Z) bool; without lesion the classes come back renormalised only.
        brain: (X, Y, Z) bool.
        voxel_mm: voxel size.
        prior: (3, X, Y, Z) mean tissues of healthy brains on this grid (`atlas_prior`, or a mean
            of training controls); without it the classes around the lesion are spread inwards.

    Returns:
        (3, X, Y, Z) float32 that sums to 1 in the brain and is 0 outside.
    """
    values = np.asarray(tissues, dtype=np.float32)
    if not lesion.any():
        return _normalise(values, brain, values)
    distance = ndimage.distance_transform_edt(~lesion, sampling=voxel_mm)
    reach = HEAL_MARGIN_MM + HEAL_BLEND_MM
    weight = smoothstep((reach - distance) / HEAL_BLEND_MM)
    known = brain & (distance >= reach)
    fallback = _spread(values, known, voxel_mm) if prior is None else prior
    clear = (brain & (distance >= reach))[::-1] & brain
    trust = smoothstep(ndimage.distance_transform_edt(clear, sampling=voxel_mm) / HEAL_BLEND_MM)
    estimate = trust * values[:, ::-1] + (1 - trust) * fallback
    healed = weight * estimate + (1 - weight) * values
    return _normalise(healed, brain, np.broadcast_to(fallback, values.shape))


def semantic_map(tissues: np.ndarray, lesion: np.ndarray, conspicuity: float) -> np.ndarray:
    """Stack what the generator reads: CSF, GM, WM, soft lesion, soft lesion times conspicuity.

    Args:
        tissues: (3, X, Y, Z) probabilities (healed where a real lesion was).
        lesion: (X, Y, Z) bool; it is blurred by `LESION_SIGMA_VOXELS`, so that borders are soft.
        conspicuity: how strongly the lesion shows, in [0, 1] or in the units of training.

    Returns:
        (SEMANTIC_CHANNELS, X, Y, Z) float32.
    """
    soft = np.zeros(lesion.shape, dtype=np.float32)
    if lesion.any():
        soft = ndimage.gaussian_filter(lesion.astype(np.float32), LESION_SIGMA_VOXELS, truncate=3)
        soft *= np.asarray(tissues).sum(0) > 0
    pair = np.stack([soft, soft * np.float32(conspicuity)])
    return np.concatenate([np.asarray(tissues, dtype=np.float32), pair]).astype(np.float32)


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


def smoothstep(x: np.ndarray) -> np.ndarray:
    """Rise smoothly (flat ends) from 0 at x <= 0 to 1 at x >= 1; float32."""
    t = np.clip(x, 0, 1)
    return (t * t * (3 - 2 * t)).astype(np.float32)


def _spread(values: np.ndarray, known: np.ndarray, voxel_mm: tuple[float, ...]) -> np.ndarray:
    """Fill unknown voxels with the classes near them: normalised convolution, coarse to fine."""
    filled = np.full_like(values, 1 / len(values))
    for sigma_mm in (40.0, 20.0, 10.0, 5.0):
        sigma = [sigma_mm / v for v in voxel_mm]
        mass = ndimage.gaussian_filter(known.astype(np.float32), sigma)
        near = np.stack([ndimage.gaussian_filter(v * known, sigma) for v in values])
        trust = smoothstep(mass / 0.05)
        filled = trust * near / np.maximum(mass, 1e-6) + (1 - trust) * filled
    return filled.astype(np.float32)


def _normalise(values: np.ndarray, brain: np.ndarray, fallback: np.ndarray) -> np.ndarray:
    """Make classes sum to 1 in the brain and 0 outside; where all are 0, take `fallback`."""
    values = np.clip(values, 0, 1)
    empty = values.sum(0) < 1e-3
    values = np.where(empty, np.clip(fallback, 0, 1), values)
    total = values.sum(0)
    flat = np.where(total > 1e-3, values / np.maximum(total, 1e-6), 1 / len(values))
    return (flat * brain).astype(np.float32)
