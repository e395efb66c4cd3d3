"""Simulated artifacts in controls without a lesion (hard negatives).

Three kinds, each of which may be taken for a lesion and is none:

- `motion`: the head moved while the lines of k-space were read. Some lines come from moved copies
  of the head, which leaves ringing and ghosts along the phase-encoding axis (as Shaw et al.,
  "MRI k-space motion artefact augmentation", MIDL 2019); lines about the centre of k-space are of
  the head at rest, so anatomy stays where it is.
- `bias`: a smooth multiplicative field, MONAI's `RandBiasField` (Legendre polynomials, after van
  Leemput et al. 1999), scaled to a given spread in the brain.
- `spots`: a few small spots deep in the white matter, bright in T2-weighted channels and faintly
  dark in T1-weighted ones, as small vessels leave them.

Each channel is an acquisition of its own, so motion and field usually spoil one of them.
"""

from dataclasses import asdict, dataclass
from typing import Any, get_args

import numpy as np
from monai.transforms import RandBiasField
from scipy import ndimage
from scipy.spatial.transform import Rotation

from lesionforge.data.volume import Grid
from lesionforge.errors import DataError
from lesionforge.lesions.blending import smoothstep
from lesionforge.preprocessing.intensity import ROBUST_SD, rescale_synthetic
from lesionforge.seeding import assigned_turn, stream
from lesionforge.synthesis.config import ArtifactKind

STRENGTHS: dict[ArtifactKind, tuple[float, float]] = {
    "motion": (2.0, 4.5),
    "bias": (0.06, 0.12),
    "spots": (1.5, 4.0),
}
"""Weakest and strongest artifact that is drawn, in the units of `ArtifactSpec.strength`."""
ALL = 0.2  # share of motion and fields that spoil every channel
REST = 0.12  # share of k-space about its centre in which the head is where it belongs
NOD = 0.25  # amplitude of periodic motion, of the strength
FIELD_DEGREE = 3
SPOTS = (3, 9)
SPOT_MM = (3.0, 8.0)  # diameter
SPOT_ASPECT = 1.6  # longest, of the diameter
SPOT_DEPTH_MM = 6.0  # from grey matter
DARK_SPOT = -0.15  # effect in a T1-weighted channel, of that in a T2-weighted one
T1_WEIGHTED = ("T1w", "inplaneT1", "MP2RAGE", "UNIT1")  # BIDS suffixes
GREY, WHITE = 1, 2


@dataclass(frozen=True)
class ArtifactSpec:
    """A frozen artifact; the same spec on the same images gives the same voxels.

    Attributes:
        kind: `motion`, `bias` or `spots`.
        channels: BIDS suffixes of the images that it spoils.
        strength: motion: largest displacement in mm, and rotation in degrees; bias: standard
            deviation of the field's logarithm in the brain; spots: the rise in a T2-weighted
            channel in robust standard deviations. Above 0.
        seed: of the rest: times and directions of motion, the field's shape, the spots' places.
    """

    kind: ArtifactKind
    channels: tuple[str, ...]
    strength: float
    seed: int

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            DataError: the kind is unknown, no channel is named, or the strength is not above 0.
        """
        known = self.kind in get_args(ArtifactKind)
        if not known or not self.channels or not 0 < self.strength < np.inf:
            raise DataError(
                f"An artifact is one of {', '.join(get_args(ArtifactKind))} in at least one "
                f"channel with a `strength` above 0, got {self}. Synthesize the set again."
            )

    def to_json(self) -> dict[str, Any]:
        """Return the spec as JSON-able values; `from_json` gives the same spec back."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "ArtifactSpec":
        """Make a spec from `to_json`'s values or from what JSON made of them."""
        return cls(**{**values, "channels": tuple(values["channels"])})


def choose_kind(
    number: int, share: float, kinds: tuple[ArtifactKind, ...], seed: int
) -> ArtifactKind | None:
    """Return which artifact a control carries, None for none; it depends on its number only.

    Of each 1 / `share` numbers one is flawed (`lesionforge.seeding.assigned_turn`); the kinds take
    turns, in an order drawn anew for each round.

    Args:
        number: 1, 2 ... among the controls.
        share: of the controls that are flawed, in [0, 1].
        kinds: to choose from.
        seed: of the set.
    """
    turn = assigned_turn(number, share, seed, "flawed")
    if turn is None:
        return None
    rounds, place = divmod(turn, len(kinds))
    return kinds[int(stream(seed, "flaw-kinds", rounds).permutation(len(kinds))[place])]


def sample_artifact(
    rng: np.random.Generator, kind: ArtifactKind, channels: tuple[str, ...]
) -> ArtifactSpec:
    """Sample an artifact of a kind: its strength within `STRENGTHS`, and the channels it spoils."""
    strength = float(rng.uniform(*STRENGTHS[kind]))
    every, which = rng.random(2)
    one = channels[len(channels) - 1 - int(which * len(channels))]
    spoilt = channels if every < ALL or kind == "spots" else (one,)
    return ArtifactSpec(kind, spoilt, strength, int(rng.integers(2**31)))


def apply_artifact(
    channels: tuple[str, ...],
    images: np.ndarray,
    tissues: np.ndarray,
    brain: np.ndarray,
    spec: ArtifactSpec,
    grid: Grid,
) -> np.ndarray:
    """Spoil images as drawn; what the artifact does not reach comes back bit for bit.

    A channel that motion or a field has spoilt is scaled again as preparation does it (median
    0.5, robust standard deviation 0.1). Masks and tissue maps are not touched: nothing moves.

    Args:
        channels: BIDS suffix of each image.
        images: (C, X, Y, Z) in [0, 1].
        tissues: (3, X, Y, Z) probabilities of CSF, GM and WM.
        brain: (X, Y, Z) bool.
        spec: the artifact.
        grid: of all of them.

    Returns:
        (C, X, Y, Z) float32 in [0, 1], 0 outside the brain.
    """
    if spec.kind == "spots":
        return _add_spots(channels, images, tissues, brain, spec, grid)
    spoilt = images.astype(np.float32)
    for index, name in enumerate(channels):
        if name not in spec.channels:
            continue
        rng = stream(spec.seed, spec.kind, name)
        if spec.kind == "motion":
            made = _move(images[index], spec.strength, rng, grid.voxel_mm)
        else:
            made = images[index] * _field(brain, spec.strength, rng)
        spoilt[index] = rescale_synthetic(made[None], brain)[0]
    return spoilt


def _move(
    image: np.ndarray, strength: float, rng: np.random.Generator, voxel_mm: tuple[float, ...]
) -> np.ndarray:
    """Read k-space of a head that jerks once to three times and nods; return its magnitude.

    The phase-encoding axis is left-right or front-back, and lines are read from end to end.
    """
    axis = int(rng.integers(2))
    n = image.shape[axis]
    line = np.fft.fftfreq(n)
    rest = np.abs(line) <= REST / 2
    # each jerk comes before or after the centre and holds until the end of that side
    space = np.fft.fft(image, axis=axis)
    for _ in range(int(rng.integers(1, 4))):
        start, side = rng.uniform(REST / 2, 0.3), rng.choice([-1.0, 1.0])
        moved = np.fft.fft(_displace(image, strength, rng, voxel_mm), axis=axis)
        late = _along(side * line > start, axis)
        space = np.where(late, moved, space)
    period, phase = rng.uniform(0.04, 0.15), rng.uniform(0, 2 * np.pi)
    nod = NOD * strength / voxel_mm[axis] * np.sin(2 * np.pi * line / period + phase)
    shift = np.exp(-2j * np.pi * line * np.where(rest, 0.0, nod))
    return np.abs(np.fft.ifft(space * _along(shift, axis), axis=axis)).astype(np.float32)


def _along(values: np.ndarray, axis: int) -> np.ndarray:
    """Shape (N,) values to be spread over (X, Y, Z) along an axis."""
    shape = [1, 1, 1]
    shape[axis] = len(values)
    return values.reshape(shape)


def _displace(
    image: np.ndarray, strength: float, rng: np.random.Generator, voxel_mm: tuple[float, ...]
) -> np.ndarray:
    """Turn and shift an image rigidly by up to `strength` degrees and mm along each axis."""
    angles, shift = rng.uniform(-strength, strength, (2, 3))
    voxel = np.asarray(voxel_mm)
    turn = Rotation.from_euler("xyz", angles, degrees=True).as_matrix()
    matrix = turn * voxel / voxel[:, None]  # voxels to voxels
    centre = (np.array(image.shape) - 1) / 2
    offset = centre - matrix @ centre + shift / voxel
    return ndimage.affine_transform(image, matrix, offset, order=3)


def _field(brain: np.ndarray, strength: float, rng: np.random.Generator) -> np.ndarray:
    """Draw a smooth field (X, Y, Z) whose logarithm has mean 0 and SD `strength` in the brain."""
    field = RandBiasField(degree=FIELD_DEGREE, coeff_range=(-1.0, 1.0), prob=1.0)
    field.set_random_state(seed=int(rng.integers(2**31)))
    log = np.log(np.asarray(field(np.ones((1, *brain.shape), np.float64)))[0])
    log = (log - log[brain].mean()) / max(float(log[brain].std()), 1e-6)
    return np.exp(strength * log).astype(np.float32)


def _add_spots(
    channels: tuple[str, ...],
    images: np.ndarray,
    tissues: np.ndarray,
    brain: np.ndarray,
    spec: ArtifactSpec,
    grid: Grid,
) -> np.ndarray:
    """Brighten small ellipsoids deep in the white matter; a voxel gets its share of them."""
    rng = stream(spec.seed, spec.kind)
    weight = np.zeros(brain.shape, np.float32)
    places = np.argwhere(_deep_white(tissues, brain, grid.voxel_mm))
    voxel = np.asarray(grid.voxel_mm)
    soft = float(voxel.mean())
    for _ in range(int(rng.integers(SPOTS[0], SPOTS[1] + 1))):
        centre = places[int(rng.integers(len(places)))] + rng.uniform(-0.3, 0.3, 3)
        radius = rng.uniform(*SPOT_MM) / 2
        long, axis = radius * rng.uniform(1, SPOT_ASPECT), rng.normal(size=3)
        axis /= np.linalg.norm(axis)
        offset = (np.moveaxis(np.indices(brain.shape), 0, -1) - centre) * voxel
        along = offset @ axis
        across = np.sqrt(np.maximum((offset**2).sum(-1) - along**2, 0))
        distance = np.hypot(across, along * radius / long)
        weight = np.maximum(weight, smoothstep((radius + soft / 2 - distance) / soft))
    rise = spec.strength * ROBUST_SD * weight * tissues[WHITE] * brain
    signs = [DARK_SPOT if name in T1_WEIGHTED else 1.0 for name in channels]
    spoilt = [name in spec.channels for name in channels]
    change = np.stack([sign * there * rise for sign, there in zip(signs, spoilt, strict=True)])
    return np.where(change != 0, np.clip(images + change, 0, 1), images).astype(np.float32)


def _deep_white(tissues: np.ndarray, brain: np.ndarray, voxel_mm: tuple[float, ...]) -> np.ndarray:
    """Return the white matter (X, Y, Z) bool far from grey matter and the brain's border.

    At least `SPOT_DEPTH_MM` far, or where white matter is thin everywhere its deepest tenth.
    """
    white = (tissues.argmax(0) == WHITE) & brain
    if not white.any():
        white = brain
    solid = brain & (tissues.argmax(0) != GREY)
    depth = ndimage.distance_transform_edt(solid, sampling=voxel_mm)
    return white & (depth >= min(SPOT_DEPTH_MM, float(np.quantile(depth[white], 0.9))))
