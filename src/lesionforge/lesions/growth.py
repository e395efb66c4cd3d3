"""From a drawn lesion to its voxels: growth through the host from a seed, without any chance.

Growth is the fast-marching picture on voxels: every voxel has a local cost a millimetre, Dijkstra's
algorithm gives each its arrival time from the seed, and the earliest are taken until the volume is
reached. Predecessors arrive earlier, so every such set is one 26-connected component.
"""

import numpy as np
from scipy import ndimage
from skimage.graph import MCP_Geometric

from lesionforge.errors import MaskError
from lesionforge.lesions.host import Host
from lesionforge.lesions.shape import CONNECTIVITY
from lesionforge.lesions.spec import LesionSpec
from lesionforge.preprocessing.regions import LOBES, REGIONS
from lesionforge.seeding import stream

NOISE_POINTS = 25
DEPTH_COST_CAP = 6.0
CSF_COST = 1.0
LEAVING_COST = 2.0  # of growing out of the lobe that was asked for


def render_mask(spec: LesionSpec, host: Host) -> np.ndarray:
    """Grow a drawn lesion on its host.

    Args:
        spec: the lesion.
        host: the anatomy; the same as when it was drawn gives the same mask.

    Returns:
        (X, Y, Z) bool: one 26-connected component inside `host.open`, of the spec's volume to half
        a voxel, and for `ribbon` with at least its share in cortex or junction.

    Raises:
        MaskError: the host has no room for it.
    """
    mask = grow(spec, host, domain(spec, host))
    check_mask(mask, spec, host)
    return mask


def voxel_count(volume_mm3: float, host: Host) -> int:
    """Return how many voxels of the host's grid come closest to a volume, at least one."""
    return max(1, round(volume_mm3 / host.grid.voxel_mm3))


def domain(spec: LesionSpec, host: Host) -> np.ndarray:
    """Return where a lesion may grow, (X, Y, Z) bool; `ribbon` keeps to lobes on the seed's side.

    Sides touch across the falx on coarse grids, and dysplasia does not cross it.
    """
    if spec.style == "blob":
        return host.open
    lobes = np.isin(host.regions, [REGIONS.index(name) for name in LOBES])
    return host.open & lobes & (host.sides == (1 if spec.seed_mm[0] >= 0 else -1))


def grow(spec: LesionSpec, host: Host, domain: np.ndarray) -> np.ndarray:
    """Take the voxels of `domain` that growth from the seed reaches first; see `render_mask`."""
    count = voxel_count(spec.volume_mm3, host)
    seed = np.round(host.grid.index(np.array(spec.seed_mm))).astype(int)
    if (seed < 0).any() or (seed >= host.grid.shape).any() or not domain[tuple(seed)]:
        raise MaskError(
            f"The lesion's seed at {spec.seed_mm} mm lies where {host.id} may have no lesion. "
            "Render a spec on the host that it was drawn for."
        )
    reach_mm = 2.5 * _ball_mm(spec.volume_mm3) * np.exp(spec.aspect / 2)
    while True:
        box = _box(seed, reach_mm, host)
        times = _arrival(spec, host, domain, seed, box)
        inside = times[np.isfinite(times)]
        whole = times.shape == host.grid.shape
        if len(inside) >= count:
            last = np.partition(inside, count - 1)[count - 1]
            if whole or _rim_time(times, box, host) > last:
                return _earliest(times, count, box, host)
        elif whole:
            raise MaskError(
                f"{host.id} has room for {len(inside) * host.grid.voxel_mm3:.0f} mm3 around the "
                f"seed at {spec.seed_mm} mm, the lesion needs {spec.volume_mm3:.0f} mm3. "
                "Ask for a smaller volume, another lobe or another host."
            )
        reach_mm *= 1.6


def check_mask(mask: np.ndarray, spec: LesionSpec, host: Host) -> None:
    """Check everything that a mask is guaranteed to be.

    Raises:
        MaskError: one of the guarantees is broken; says which.
    """
    faults = []
    if ndimage.label(mask, CONNECTIVITY)[1] != 1:
        faults.append("it is not one component")
    if (mask & ~host.open).any():
        faults.append("it leaves the part of the brain where lesions may be")
    if abs(mask.sum() - spec.volume_mm3 / host.grid.voxel_mm3) > 1:
        faults.append(f"its volume is off by more than a voxel from {spec.volume_mm3:.0f} mm3")
    share = float(host.ribbon[mask].mean()) if mask.any() else 0.0
    if spec.style == "ribbon" and share < spec.min_cortex_share:
        faults.append(
            f"{share:.0%} of it lie in cortex or junction, {spec.min_cortex_share:.0%} are needed"
        )
    if faults:
        raise MaskError(
            f"The lesion at {spec.seed_mm} mm does not fit {host.id}: {'; '.join(faults)}. "
            "Ask for a smaller volume, another lobe or another host."
        )


def _ball_mm(volume_mm3: float) -> float:
    return float((3 * volume_mm3 / (4 * np.pi)) ** (1 / 3))


def _box(seed: np.ndarray, reach_mm: float, host: Host) -> tuple[slice, ...]:
    reach = np.ceil(reach_mm / np.array(host.grid.voxel_mm)).astype(int) + 2
    low = np.maximum(seed - reach, 0)
    high = np.minimum(seed + reach + 1, host.grid.shape)
    return tuple(slice(int(a), int(b)) for a, b in zip(low, high, strict=True))


def _arrival(
    spec: LesionSpec, host: Host, domain: np.ndarray, seed: np.ndarray, box: tuple[slice, ...]
) -> np.ndarray:
    cost = np.where(domain[box], _cost(spec, host, box), -1.0)
    start = tuple(int(s - b.start) for s, b in zip(seed, box, strict=True))
    graph = MCP_Geometric(cost, fully_connected=True, sampling=host.grid.voxel_mm)
    return np.asarray(graph.find_costs([start])[0])


def _cost(spec: LesionSpec, host: Host, box: tuple[slice, ...]) -> np.ndarray:
    """Return the cost of growth a millimetre, from depth, direction, CSF and smooth noise."""
    index = np.stack(np.meshgrid(*(np.arange(s.start, s.stop) for s in box), indexing="ij"), -1)
    offset = host.grid.world(index) - np.array(spec.seed_mm)
    radius2 = np.sum(offset**2, axis=-1)
    along2 = np.square(offset @ np.array(spec.axis))
    ball_mm = _ball_mm(spec.volume_mm3)
    cost = spec.aspect * (radius2 - along2) / (radius2 + (0.3 * ball_mm) ** 2)
    cost += CSF_COST * host.tissues[0][box]
    if spec.style == "ribbon":
        deeper = host.depth_mm[box] - spec.depth_mm
        floor = 0.4 * min(host.grid.voxel_mm)
        reach = np.where(deeper > 0, max(spec.reach_in_mm, floor), max(spec.reach_out_mm, floor))
        cost += np.minimum(0.5 * (deeper / reach) ** 2, DEPTH_COST_CAP)
    if spec.lobe is not None:
        cost += LEAVING_COST * (host.regions[box] != REGIONS.index(spec.lobe))
    return np.exp(cost + spec.roughness * _noise(spec, offset, 0.6 * ball_mm))


def _noise(spec: LesionSpec, offset: np.ndarray, scale_mm: float) -> np.ndarray:
    """Return smooth noise of unit variance, tied to world space so that grids agree on it."""
    values = stream(spec.noise_seed, "mask-noise").normal(size=(NOISE_POINTS,) * 3)
    at = np.moveaxis(offset / scale_mm, -1, 0) + (NOISE_POINTS - 1) / 2
    field = ndimage.map_coordinates(values, at, order=1, mode="grid-wrap")
    return field / np.sqrt(0.3)  # mean variance left by linear interpolation, (2/3) ** 3


def _rim_time(times: np.ndarray, box: tuple[slice, ...], host: Host) -> float:
    """Return the earliest arrival at a face of the box beyond which the grid goes on."""
    earliest = np.inf
    for axis, (part, size) in enumerate(zip(box, host.grid.shape, strict=True)):
        if part.start > 0:
            earliest = min(earliest, times.take(0, axis).min())
        if part.stop < size:
            earliest = min(earliest, times.take(-1, axis).min())
    return float(earliest)


def _earliest(times: np.ndarray, count: int, box: tuple[slice, ...], host: Host) -> np.ndarray:
    order = np.argsort(times, axis=None, kind="stable")[:count]
    near = np.zeros(times.shape, bool)
    near.flat[order] = True
    mask = np.zeros(host.grid.shape, bool)
    mask[box] = near
    return mask
