"""How a lesion grew: the growth parameters that give a mask like a training lesion on its host."""

import dataclasses
import itertools
from dataclasses import dataclass

import numpy as np

from lesionforge.errors import MaskError
from lesionforge.lesions.contrast import no_contrast
from lesionforge.lesions.growth import domain, grow
from lesionforge.lesions.host import Host
from lesionforge.lesions.shape import describe_mask
from lesionforge.lesions.spec import LesionSpec, Style

REACHES = (0.6, 1.2, 2.5)  # times the mask's own depth range
ASPECTS = (0.0, 0.5, 1.0)
ROUGHNESSES = (0.0, 0.2, 0.6)
NOISES = 2  # fields of roughness that a try is judged by: one lucky field must not win
# Differences of descriptors that count alike; depths in voxels or mm, whichever is larger.
SCALES = {
    "sphericity": 0.06,
    "elongation": 0.15,
    "flatness": 0.12,
    "spread": 0.12,
    "grey_share": 0.08,
    "ribbon_share": 0.08,
}
DEPTHS = ("depth_mm", "depth_low_mm", "depth_high_mm")
DEPTH_SCALE_MM = 0.5


@dataclass(frozen=True)
class Growth:
    """The fields of `LesionSpec` that make a lesion's shape, and the tilt of its axis.

    Attributes:
        depth_mm: preferred depth, see `LesionSpec`.
        reach_out_mm: reach towards the pia.
        reach_in_mm: reach towards white matter.
        aspect: logarithm of the growth speeds' ratio along and across the axis.
        roughness: of the local growth speed.
        tilt: cosine of the angle between the axis and the way inwards, 0 along the cortex, 1
            across.
    """

    depth_mm: float
    reach_out_mm: float
    reach_in_mm: float
    aspect: float
    roughness: float
    tilt: float


def fit_growth(mask: np.ndarray, host: Host, style: Style) -> Growth:
    """Search the growth parameters whose mask, grown from inside a lesion, resembles it most.

    Masks are compared by `describe_mask` (shape, depth, shares), not voxel by voxel: the prior
    wants lesions of this kind, not this lesion.

    Args:
        mask: (X, Y, Z) bool, one component.
        host: the patient's own anatomy, with the lesion itself not forbidden.
        style: see `LesionSpec`.

    Raises:
        MaskError: less than a tenth of the lesion lies where lesions may be.
    """
    start = _start(mask, host, style)
    wanted = describe_mask(mask, host)
    room = domain(start, host)
    best, least = start, np.inf
    for reach, aspect, roughness in _tries(style):
        spec = dataclasses.replace(
            start,
            reach_out_mm=start.reach_out_mm * reach,
            reach_in_mm=start.reach_in_mm * reach,
            aspect=aspect,
            roughness=roughness,
        )
        miss = _miss(spec, host, room, wanted)
        if miss < least:
            best, least = spec, miss
    return Growth(
        depth_mm=best.depth_mm,
        reach_out_mm=best.reach_out_mm,
        reach_in_mm=best.reach_in_mm,
        aspect=best.aspect,
        roughness=best.roughness,
        tilt=_tilt(mask, host, np.array(best.axis)),
    )


def _miss(spec: LesionSpec, host: Host, room: np.ndarray, wanted: dict[str, float]) -> float:
    """Return the mean mismatch of a spec's masks over `NOISES` noise fields."""
    misses = []
    for number in range(NOISES if spec.roughness else 1):
        try:
            mask = grow(dataclasses.replace(spec, noise_seed=number), host, room)
        except MaskError:
            return float("inf")  # no room on this side of the brain; the start itself will do
        misses.append(mismatch(describe_mask(mask, host), wanted, max(host.grid.voxel_mm)))
    return float(np.mean(misses))


def mismatch(found: dict[str, float], wanted: dict[str, float], voxel_mm: float) -> float:
    """Return the mean squared difference of two descriptions, each in its own scale."""
    depth_scale = max(DEPTH_SCALE_MM, 0.4 * voxel_mm)
    scales = {**SCALES, **dict.fromkeys(DEPTHS, depth_scale)}
    return float(np.mean([((found[k] - wanted[k]) / s) ** 2 for k, s in scales.items()]))


def inwards(host: Host, index: np.ndarray) -> np.ndarray:
    """Return unit vectors (N, 3) that point deeper at voxels (N, 3); zero where depth is flat."""
    shape = np.array(host.grid.shape)
    gradient = np.zeros(index.shape, dtype=np.float64)
    for axis in range(3):
        step = np.eye(3, dtype=int)[axis]
        ahead = np.minimum(index + step, shape - 1)
        behind = np.maximum(index - step, 0)
        rise = host.depth_mm[tuple(ahead.T)] - host.depth_mm[tuple(behind.T)]
        gradient[:, axis] = rise / host.grid.voxel_mm[axis]
    length = np.linalg.norm(gradient, axis=1, keepdims=True)
    return gradient / np.maximum(length, 1e-6)


def _tries(style: Style) -> list[tuple[float, float, float]]:
    reaches = REACHES if style == "ribbon" else (1.0,)
    return list(itertools.product(reaches, ASPECTS, ROUGHNESSES))


def _start(mask: np.ndarray, host: Host, style: Style) -> LesionSpec:
    usable = np.argwhere(mask & host.open)
    if len(usable) < max(1, 0.1 * mask.sum()):
        raise MaskError(
            f"The lesion of {host.id} lies almost wholly in ventricles, brainstem, cerebellum or "
            "outside the brain. Check its mask and its registration to MNI."
        )
    points = host.grid.world(np.argwhere(mask))
    centroid = points.mean(axis=0)
    depth = host.depth_mm[mask]
    low, middle, high = np.percentile(depth, [10, 50, 90])
    off_centre = np.linalg.norm(host.grid.world(usable) - centroid, axis=1)
    off_depth = np.abs(host.depth_mm[tuple(usable.T)] - middle)
    seed = host.grid.world(usable[np.argmin(off_centre + 2 * off_depth)])
    principal = np.linalg.eigh(np.cov(points.T) if len(points) > 3 else np.eye(3))[1][:, -1]
    least_mm = 0.4 * min(host.grid.voxel_mm)
    return LesionSpec(
        style=style,
        seed_mm=(float(seed[0]), float(seed[1]), float(seed[2])),
        volume_mm3=float(mask.sum() * host.grid.voxel_mm3),
        depth_mm=float(middle),
        reach_out_mm=max(float(middle - low), least_mm),
        reach_in_mm=max(float(high - middle), least_mm),
        aspect=0.0,
        axis=(float(principal[0]), float(principal[1]), float(principal[2])),
        roughness=0.2,
        noise_seed=0,
        lobe=None,
        min_cortex_share=0.0,
        conspicuity=0.0,
        contrast=no_contrast(1),
    )


def _tilt(mask: np.ndarray, host: Host, axis: np.ndarray) -> float:
    return float(np.abs(inwards(host, np.argwhere(mask)) @ axis).mean())
