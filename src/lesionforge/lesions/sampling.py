"""Draw a lesion for a host: all the chance of mask making is here."""

import numpy as np

from lesionforge.errors import MaskError
from lesionforge.lesions.contrast import TISSUES_TOLD, ZONES, ContrastChange, as_contrast
from lesionforge.lesions.growth import render_mask, voxel_count
from lesionforge.lesions.growth_fit import Growth, inwards
from lesionforge.lesions.host import Host
from lesionforge.lesions.prior import Lesion, LesionPrior
from lesionforge.lesions.shape import PLACES, describe_mask
from lesionforge.lesions.spec import LesionRequest, LesionSpec
from lesionforge.preprocessing.regions import REGIONS

JITTER = 0.1  # standard deviation of the logarithm of reaches and contrast, of aspect, of roughness
DEPTH_JITTER_MM = 0.3
DEPTH_SLACK_MM = 1.0  # between the seed and the preferred depth
DEPTH_SIGMA_MM = 2.0  # how far places may be from the depth that is looked for
SEED_REACH_MM = 8.0  # from the drawn place to a seed of the right depth
MAX_CANDIDATES = 20_000
MAX_CSF = 0.5  # of a seed
MAX_SCALE = 2.0  # of a training lesion's contrast


def sample_spec(
    prior: LesionPrior,
    host: Host,
    rng: np.random.Generator,
    request: LesionRequest | None = None,
) -> LesionSpec:
    """Draw a lesion that is known to fit its host.

    Volume and conspicuity are drawn first and kept while places are tried, so that what does not
    fit a place does not thin out the large lesions.

    Args:
        prior: what lesions are like.
        host: where it is to grow.
        rng: a named stream, see `lesionforge.seeding.stream`.
        request: what a plan fixes.

    Returns:
        A spec that `render_mask` draws on this host, in the lobe and on the side asked for.

    Raises:
        MaskError: the request is outside the prior's range, or no attempt fitted this host.
    """
    request = request or LesionRequest()
    volume = _volume(prior, host, rng, request)
    shown = request.conspicuity
    if shown is None:
        shown = float(prior.conspicuity(rng.uniform()))
    reason = "no open voxel of the host lies there"
    for _ in range(prior.config.attempts):
        spec = _sample(prior, host, rng, request, (volume, shown))
        if spec is None:
            continue
        try:
            found = describe_mask(render_mask(spec, host), host)
        except MaskError as error:
            reason = str(error)
            continue
        fault = _fault(found, request)
        if fault is None:
            return spec
        reason = fault
    raise MaskError(
        f"No lesion of {volume:.0f} mm3 fits {host.id} (lobe {request.lobe or 'any'}, side "
        f"{request.side or 'any'}) in {prior.config.attempts} attempts; the last failed as: "
        f"{reason} Change this row of the plan, take another host or raise `attempts`."
    )


def _volume(
    prior: LesionPrior, host: Host, rng: np.random.Generator, request: LesionRequest
) -> float:
    low, high = prior.volume_range_mm3
    if request.volume_mm3 is None:
        return float(prior.volume_mm3(rng.uniform()))
    voxel = host.grid.voxel_mm3
    if not low - voxel <= request.volume_mm3 <= high + voxel:
        raise MaskError(
            f"`volume_mm3` must be between {low:.0f} and {high:.0f}, the range of the training "
            f"lesions, got {request.volume_mm3:.0f}. Change it in the plan or raise "
            "`volume_margin`."
        )
    return request.volume_mm3


def _fault(found: dict[str, float], request: LesionRequest) -> str | None:
    """Tell what of the request a mask misses."""
    place = REGIONS[int(found["place"])]
    if request.lobe is not None and place != request.lobe:
        return f"most of it grew into {place}."
    if request.side is not None and (found["side"] < 0) != (request.side == "left"):
        return "its centroid lies on the other side."
    return None


def _sample(
    prior: LesionPrior,
    host: Host,
    rng: np.random.Generator,
    request: LesionRequest,
    amount: tuple[float, float],
) -> LesionSpec | None:
    """Draw one spec of a volume and conspicuity; None where the drawn place has no open voxel."""
    volume, shown = amount
    growth = _growth(prior, volume, rng)
    candidates = _candidates(prior, host, rng, request)
    if len(candidates) == 0:
        return None
    seed = _seed(prior, host, rng, candidates, growth.depth_mm)
    at = host.grid.world(seed)
    # where this cortex is thinner than the patient's, the lesion takes to the depth that there is
    here = float(host.depth_mm[tuple(seed)])
    depth = here + float(np.clip(growth.depth_mm - here, -DEPTH_SLACK_MM, DEPTH_SLACK_MM))
    axis = _axis(prior, host, rng, seed, growth.tilt)
    return LesionSpec(
        style=prior.style,
        seed_mm=(float(at[0]), float(at[1]), float(at[2])),
        volume_mm3=voxel_count(volume, host) * host.grid.voxel_mm3,
        depth_mm=depth,
        reach_out_mm=growth.reach_out_mm,
        reach_in_mm=growth.reach_in_mm,
        aspect=growth.aspect,
        axis=(float(axis[0]), float(axis[1]), float(axis[2])),
        roughness=growth.roughness,
        noise_seed=int(rng.integers(2**31)),
        lobe=request.lobe,
        min_cortex_share=prior.config.min_cortex_share if prior.style == "ribbon" else 0.0,
        conspicuity=shown,
        contrast=_contrast(prior, shown, rng),
    )


def _contrast(prior: LesionPrior, shown: float, rng: np.random.Generator) -> ContrastChange:
    """Take the contrast of a training lesion of similar conspicuity, scaled and jittered."""
    values = np.array([lesion.conspicuity for lesion in prior.lesions])
    width = max(0.6 * float(values.std()), 0.1)
    weight = np.exp(-0.5 * ((values - shown) / width) ** 2) + 1e-6
    like = prior.lesions[rng.choice(len(values), p=weight / weight.sum())]
    own = np.array(like.contrast)
    inside = np.ascontiguousarray(own[..., 0].T)
    # root mean square over tissues; noise is not taken off, as in `shown`
    size = float(np.sqrt(np.square(inside).sum() / len(TISSUES_TOLD)))
    strength = max(like.conspicuity, size, 1e-3)
    scale = float(np.clip(shown / strength, 1 / MAX_SCALE, MAX_SCALE))
    jitter = rng.normal(size=(len(ZONES), len(TISSUES_TOLD), len(own))).transpose(2, 1, 0)
    return as_contrast(own * scale * np.exp(JITTER * jitter))


def _growth(prior: LesionPrior, volume: float, rng: np.random.Generator) -> Growth:
    """Take the growth of a training lesion of similar volume, slightly changed."""
    logs = np.log([lesion.volume_mm3 for lesion in prior.lesions])
    width = max(0.6 * float(logs.std()), 0.1)
    weight = np.exp(-0.5 * ((logs - np.log(volume)) / width) ** 2) + 1e-6
    like = prior.lesions[rng.choice(len(logs), p=weight / weight.sum())].growth
    scale = np.exp(JITTER * rng.normal(size=2))
    change = JITTER * rng.normal(size=2)
    return Growth(
        depth_mm=like.depth_mm + DEPTH_JITTER_MM * float(rng.normal()),
        reach_out_mm=like.reach_out_mm * float(scale[0]),
        reach_in_mm=like.reach_in_mm * float(scale[1]),
        aspect=max(0.0, like.aspect + float(change[0])),
        roughness=max(0.0, like.roughness + float(change[1])),
        tilt=like.tilt,
    )


def _candidates(
    prior: LesionPrior, host: Host, rng: np.random.Generator, request: LesionRequest
) -> np.ndarray:
    """Draw place and side, and list the voxels (N, 3) there that a lesion may start from."""
    room = host.open & (host.tissues[0] < MAX_CSF)
    if prior.style == "ribbon":
        room &= host.ribbon
    place = request.lobe or _place(prior, host, rng, room)
    side = request.side or ("left" if rng.uniform() < 0.5 else "right")
    room &= (host.regions == REGIONS.index(place)) & (host.sides == (-1 if side == "left" else 1))
    found = np.argwhere(room)
    if len(found) > MAX_CANDIDATES:
        found = found[np.sort(rng.choice(len(found), MAX_CANDIDATES, replace=False))]
    return found


def _place(prior: LesionPrior, host: Host, rng: np.random.Generator, room: np.ndarray) -> str:
    """Draw a place by the training lesions, with a floor by how much room the host has there."""
    sizes = np.bincount(host.regions[room], minlength=len(REGIONS))
    size = np.array([sizes[REGIONS.index(place)] for place in PLACES], dtype=float)
    count = np.array([sum(x.place == place for x in prior.lesions) for place in PLACES], float)
    count *= size > 0
    floor = prior.config.place_floor if count.any() else 1.0
    share = floor * size / max(size.sum(), 1) + (1 - floor) * count / max(count.sum(), 1)
    if share.sum() <= 0:
        raise MaskError(f"{host.id} has no place for a lesion. Take another host.")
    return PLACES[int(rng.choice(len(PLACES), p=share / share.sum()))]


def _seed(
    prior: LesionPrior,
    host: Host,
    rng: np.random.Generator,
    candidates: np.ndarray,
    depth_mm: float,
) -> np.ndarray:
    """Draw a place by the spatial density where the depth is right, then the best voxel near it."""
    world = host.grid.world(candidates)
    off_depth = np.abs(host.depth_mm[tuple(candidates.T)] - depth_mm)
    density = _density(prior.lesions, world, prior.config.spatial_sigma_mm)
    floor = prior.config.spatial_floor
    share = floor / len(world) + (1 - floor) * density / density.sum()
    share *= np.exp(-0.5 * (off_depth / DEPTH_SIGMA_MM) ** 2) + 1e-4
    drawn = world[rng.choice(len(world), p=share / share.sum())]
    distance = np.linalg.norm(world - drawn, axis=1)
    cost = np.where(distance <= SEED_REACH_MM, off_depth + 0.1 * distance, np.inf)
    return candidates[int(np.argmin(cost))]


def _density(lesions: tuple[Lesion, ...], world: np.ndarray, sigma_mm: float) -> np.ndarray:
    """Sum Gaussians around the training lesions and their mirror images, at points (N, 3)."""
    centres = np.array([lesion.centroid_mm for lesion in lesions])
    density = np.full(len(world), 1e-12)
    for centre in np.concatenate([centres, centres * [-1, 1, 1]]):
        density += np.exp(-0.5 * np.sum((world - centre) ** 2, axis=1) / sigma_mm**2)
    return density


def _axis(
    prior: LesionPrior, host: Host, rng: np.random.Generator, seed: np.ndarray, tilt: float
) -> np.ndarray:
    """Draw the axis of fastest growth; a `ribbon` lesion's keeps its tilt against the cortex."""
    axis = rng.normal(size=3)
    deeper = inwards(host, seed[None])[0]
    if prior.style == "ribbon" and deeper.any():
        axis -= (axis @ deeper) * deeper
        axis /= np.linalg.norm(axis)
        axis = tilt * deeper + np.sqrt(1 - tilt**2) * axis
    return axis / np.linalg.norm(axis)
