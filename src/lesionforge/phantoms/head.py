"""The healthy head of a phantom: deformed deep anatomy and a cortex of its own, at 1 mm.

Everything here lives in the *head frame*: upright, RAS, mm, close to MNI.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy import ndimage

from lesionforge.data.volume import Grid, grid
from lesionforge.phantoms.cortex import (
    CortexSpec,
    interpolate,
    ribbon,
    sample_cortex,
    smooth_noise,
    sulcal_distance,
)
from lesionforge.phantoms.template import Template, load_template
from lesionforge.seeding import stream

CORNER_MM = (-86.0, -124.0, -82.0)
SHAPE = (172, 212, 178)
WARPS_MM = ((70.0, 2.7), (35.0, 1.2), (16.0, 0.8))  # scale, standard deviation
SYMMETRY = 0.75  # share of the deformation that both hemispheres have alike
SOFT_MM = 1.5  # standard deviation
SHARPNESS = 2.0  # exponent on the template's shares: an average head is too smooth
FLOOR = 0.01
OPENING = 3.0  # factor on CSF: fissures of an average head are closed


@dataclass(frozen=True)
class HeadSpec:
    """A head: `age` in years drives `atrophy` (0 to 1); `warp` is a factor on the deformation."""

    age: float
    atrophy: float
    scale: tuple[float, float, float]
    warp: float
    ventricle_mm: float
    cortex: CortexSpec


def sample_head(rng: np.random.Generator) -> HeadSpec:
    """Draw a head."""
    age = float(rng.uniform(18, 70))
    atrophy = float(np.clip((age - 30) / 60 + rng.normal(0, 0.12), 0, 1))
    size = rng.normal(1.0, 0.03) * np.array([0.95, 0.95, 0.90])  # the template is large and tall
    scale = np.clip(size * rng.normal(1.0, 0.025, 3), 0.80, 1.05)
    return HeadSpec(
        age=age,
        atrophy=atrophy,
        scale=(float(scale[0]), float(scale[1]), float(scale[2])),
        warp=float(rng.uniform(0.7, 1.2)),
        ventricle_mm=float(np.clip(rng.normal(-0.5, 1.0) + 4.5 * atrophy, -1.5, 6.0)),
        cortex=sample_cortex(rng, atrophy),
    )


@dataclass
class Head:
    """A healthy head; (N,) arrays list the voxels of `inside`.

    Attributes:
        grid: 1 mm head frame.
        inside: (X, Y, Z) bool, brain and its CSF.
        mni: (3, N) template coordinates, mm.
        tissue: (3, N) shares of CSF, GM, WM.
        depth_mm: (N,) depth beneath the pial surface, mm; 30 in deep structures.
        thickness_mm: (N,) thickness of the cortex, mm.
        ventricle_mm: (N,) distance to the lateral and third ventricles, negative inside.
        maps: (N,) maps of the template, see `template.COARSE`.
    """

    grid: Grid
    inside: np.ndarray
    mni: np.ndarray
    tissue: np.ndarray
    depth_mm: np.ndarray
    thickness_mm: np.ndarray
    ventricle_mm: np.ndarray
    maps: dict[str, np.ndarray]

    @cached_property
    def number(self) -> np.ndarray:
        """The place (X, Y, Z) of each voxel in the (N,) arrays; -1 outside."""
        number = np.full(self.inside.shape, -1, dtype=np.int32)
        number[self.inside] = np.arange(int(self.inside.sum()), dtype=np.int32)
        return number

    @cached_property
    def soft(self) -> np.ndarray:
        """The brain with a soft edge (X, Y, Z), `SOFT_MM` wide."""
        return np.asarray(ndimage.gaussian_filter(self.inside.astype(np.float32), SOFT_MM))

    @cached_property
    def flat(self) -> np.ndarray:
        """The flat index (N,) of each voxel in the grid."""
        return np.flatnonzero(self.inside)

    def volume(self, values: np.ndarray) -> np.ndarray:
        """Put (N,) values back into the grid; 0 outside."""
        data = np.zeros(self.inside.shape, dtype=np.float32)
        data[self.inside] = values
        return data


def head_grid() -> Grid:
    """Return the head frame's grid, 1 mm."""
    affine = np.eye(4)
    affine[:3, 3] = CORNER_MM
    return grid(SHAPE, affine)


def build_head(spec: HeadSpec, seed: int, name: str) -> Head:
    """Build the healthy head of the subject `name`, by its own streams."""
    template = load_template()
    places = _template_places(spec, template, stream(seed, "phantom", name, "warp"))
    inside = template.covers(places)
    mni = places[:, inside]
    del places
    names: tuple[str, ...] = (
        "deep",
        "cerebellum",
        "texture",
        "iron",
        "limbic",
        "tract",
        "insula",
        "hull_mm",
    )
    maps = template.sample((*names, "ventricle_mm"), mni)
    tissue = _deep_tissue(template, mni)
    _carve_folia(inside, mni, maps["cerebellum"], tissue, stream(seed, "phantom", name, "folia"))
    depth = np.full(mni.shape[1], 30.0, dtype=np.float32)
    thickness = np.full(mni.shape[1], spec.cortex.thickness_mm, dtype=np.float32)
    cerebrum = maps["deep"] < 0.999
    rng = stream(seed, "phantom", name, "folds")
    folded, depth[cerebrum], thickness[cerebrum] = _fold(spec, template, rng, inside, mni, cerebrum)
    share = maps["deep"][cerebrum]
    tissue[:, cerebrum] = share * tissue[:, cerebrum] + (1 - share) * folded
    return Head(head_grid(), inside, mni, tissue, depth, thickness, maps.pop("ventricle_mm"), maps)


def _template_places(spec: HeadSpec, template: Template, rng: np.random.Generator) -> np.ndarray:
    """Return where in the template (mm) each voxel comes from, (3, X, Y, Z) float32."""
    places = np.empty((3, *SHAPE), dtype=np.float32)
    for axis in range(3):
        turned = [1, 1, 1]
        turned[axis] = -1
        world = (CORNER_MM[axis] + np.arange(SHAPE[axis])) / spec.scale[axis]
        places[axis] = world.astype(np.float32).reshape(turned)
        for scale, spread in WARPS_MM:
            places[axis] += spread * spec.warp * _warp(rng, scale, axis)
    coarse = template.sample(("ventricle_mm",), places[:, ::3, ::3, ::3])
    distance = ndimage.gaussian_filter(coarse["ventricle_mm"], 1.0)
    pull = np.stack(np.gradient(distance, 3.0)) * np.exp(-np.abs(distance) / 12.0)
    for axis in range(3):
        places[axis] -= spec.ventricle_mm * interpolate(pull[axis], 3, SHAPE)
    return places


def _warp(rng: np.random.Generator, scale_mm: float, axis: int) -> np.ndarray:
    """Draw a displacement along an axis, unit variance, mostly symmetric about the midline."""
    field = smooth_noise(rng, SHAPE, scale_mm)
    if scale_mm < 20:
        return field
    mirrored = field[::-1] * (-1 if axis == 0 else 1)
    return np.asarray(np.sqrt(SYMMETRY / 2) * (field + mirrored) + np.sqrt(1 - SYMMETRY) * field)


def _deep_tissue(template: Template, mni: np.ndarray) -> np.ndarray:
    """Return the template's tissues, sharpened and a little moved, (3, N)."""
    csf, grey, brain = template.sample(("csf", "grey", "brain"), mni).values()
    odds = np.stack([csf, grey, np.maximum(brain - csf - grey, 0)])
    odds = np.power(odds + FLOOR, SHARPNESS)
    odds[0] *= OPENING
    return odds / odds.sum(axis=0)


def _carve_folia(
    inside: np.ndarray,
    mni: np.ndarray,
    cerebellum: np.ndarray,
    tissue: np.ndarray,
    rng: np.random.Generator,
) -> None:
    """Cut thin fissures between the cerebellum's folia, which fan out from its middle; in place."""
    mine = cerebellum > 0.5
    x, y, z = mni[:, mine]
    bent = 0.0006 * x**2
    angle = np.arctan2(z + 32 + 12 * bent, -(y + 48))
    angle += 0.07 * smooth_noise(rng, inside.shape, 14.0)[inside][mine]
    radius = np.hypot(y + 48, z + 32)
    slit = np.clip(np.cos(angle * 58) * 1.8 - 0.8, 0, 1) * np.clip((radius - 16) / 10, 0, 1)
    fluid = 0.33 * slit * tissue[1, mine]
    tissue[0, mine] += fluid
    tissue[1, mine] -= fluid


def _fold(
    spec: HeadSpec,
    template: Template,
    rng: np.random.Generator,
    inside: np.ndarray,
    mni: np.ndarray,
    cerebrum: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Fold the cortex of the `cerebrum` (N,) bool: tissues (3, M), depth and thickness (M,)."""
    where = np.zeros_like(inside)
    where[inside] = cerebrum
    at = mni[:, cerebrum]
    maps = template.sample(("root_x", "root_y", "root_z", "hull_mm", "insula"), at)
    root, hull = np.stack([maps[f"root_{axis}"] for axis in "xyz"]), maps["hull_mm"]
    open_mm = template.sample(("open_mm",), at)["open_mm"]
    sulcus = sulcal_distance(spec.cortex, rng, where, root, at[0] > 0, hull)
    sulcus += 15 * maps["insula"]  # its own sulci are shallow
    return ribbon(spec.cortex, rng, where, sulcus, open_mm, hull)
