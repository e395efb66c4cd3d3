"""Where large structures of a head lie: maps made once from nilearn's bundled MNI152 template.

A phantom takes its ventricles, deep nuclei, brainstem and lobes from here, strongly warped. Its
cortex is folded anew (`lesionforge.phantoms.cortex`), so the template is no phantom's anatomy.
"""

from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

import numpy as np
import torch
from nilearn import datasets
from scipy import ndimage
from skimage.segmentation import watershed

STEP = 2  # voxel size of the coarse maps, mm
OPEN_CSF = 0.33  # of the template's average: more is a fissure or cistern that all heads share
SYLVIAN_CSF = 0.18  # the same in the Sylvian fissure, which is narrow
FINE: tuple[str, ...] = ("csf", "grey", "brain", "open_mm")
COARSE: tuple[str, ...] = (
    *("hull_mm", "root_x", "root_y", "root_z", "ventricle_mm", "deep", "cerebellum"),
    *("texture", "iron", "limbic", "tract", "insula"),
)
# Centre (|x|, y, z), half axes in mm and share of iron, which shortens T2.
IRON = (
    ((18.0, -4.0, -1.0), (6.0, 9.0, 6.0), 1.0),  # pallidum
    ((9.0, -18.0, -12.0), (5.0, 6.0, 3.5), 0.9),  # substantia nigra
    ((5.0, -20.0, -8.0), (3.5, 3.5, 3.5), 0.8),  # red nucleus
    ((14.0, -56.0, -34.0), (6.0, 8.0, 5.0), 0.7),  # dentate nucleus
    ((25.0, 4.0, 0.0), (6.0, 17.0, 11.0), 0.35),  # putamen
    ((12.0, 12.0, 8.0), (7.0, 13.0, 11.0), 0.25),  # caudate
)
# The corticospinal tract, whose T2 is long, from the motor cortex to the pons (|x|, y, z).
TRACT = ((26, -22, 50), (25, -19, 28), (23, -17, 14), (19, -16, 0), (12, -18, -14), (6, -22, -32))
# Ellipsoids that keep the template's own tissue: deep nuclei, callosum, mesial temporal.
INSULA = ((38.0, 2.0, 2.0), (10.0, 28.0, 18.0))
DEEP = (
    ((14.0, -8.0, 4.0), (24.0, 38.0, 22.0)),
    ((0.0, -8.0, 16.0), (30.0, 56.0, 16.0)),
    ((24.0, -16.0, -18.0), (13.0, 26.0, 11.0)),
)


@dataclass(frozen=True)
class Template:
    """Maps in template space, RAS; see `FINE` (1 mm) and `COARSE` (2 mm).

    `open_mm` is the depth beneath fissures and outer surface, negative in them; `hull_mm` that
    beneath the smooth hull of a hemisphere; (`root_x`, `root_y`, `root_z`) the hull's nearest
    point, in mm.
    """

    fine: np.ndarray
    coarse: np.ndarray
    origin_mm: np.ndarray

    def sample(self, names: tuple[str, ...], places: np.ndarray) -> dict[str, np.ndarray]:
        """Read maps, all of `FINE` or all of `COARSE`, at `places` (3, ...) in mm; linear."""
        stack, known, step = (self.fine, FINE, 1)
        if names[0] in COARSE:
            stack, known, step = self.coarse, COARSE, STEP
        shape = places.shape[1:]
        last = step * (np.array(stack.shape[1:], dtype=np.float32) - 1)
        at = (places.reshape(3, -1) - self.origin_mm[:, None]) * (2 / last)[:, None] - 1
        chosen = stack[[known.index(name) for name in names]]
        found = torch.nn.functional.grid_sample(
            torch.from_numpy(chosen)[None],
            torch.from_numpy(np.ascontiguousarray(at[::-1].T, dtype=np.float32))[
                None, :, None, None
            ],
            align_corners=True,
            padding_mode="border",
        )
        values = found.numpy().reshape(len(names), *shape)
        return dict(zip(names, values, strict=True))

    def covers(self, places: np.ndarray) -> np.ndarray:
        """Tell which template coordinates (3, ...) in mm lie in the brain; bool."""
        brain = self.fine[FINE.index("brain")]
        index, valid = [], np.ones(places.shape[1:], dtype=bool)
        for axis, size in enumerate(brain.shape):
            at = np.rint(places[axis] - self.origin_mm[axis]).astype(np.int32)
            valid &= (at >= 0) & (at < size)
            index.append(np.clip(at, 0, size - 1))
        return valid & (brain[tuple(index)] > 0)


def _world(shape: tuple[int, ...], origin: np.ndarray, step: int) -> list[np.ndarray]:
    axes = [(origin[a] + step * np.arange(shape[a])).astype(np.float32) for a in range(3)]
    return list(np.meshgrid(*axes, indexing="ij", sparse=True))


@lru_cache(maxsize=1)
def load_template() -> Template:
    """Load nilearn's MNI152 maps and make the phantoms' maps of them; cached a process."""
    images = [
        load(resolution=1)
        for load in (
            datasets.load_mni152_template,
            datasets.load_mni152_gm_template,
            datasets.load_mni152_wm_template,
            datasets.load_mni152_brain_mask,
        )
    ]
    t1w, grey, white, brain = (np.asarray(i.dataobj, dtype=np.float32) for i in images)
    spans = [np.flatnonzero(brain.any(axis=(a - 1, a - 2))) for a in range(3)]
    box = tuple(slice(max(s[0] - 6, 0), s[-1] + 7) for s in spans)
    origin = images[0].affine[:3, 3] + [s.start for s in box]
    t1w, grey, white, brain = (a[box] for a in (t1w, grey, white, brain))
    grey, white = grey * brain, white * brain
    csf = np.maximum(brain - grey - white, 0)
    parts = _parts(csf, white, brain > 0, origin)
    coarse = {"ventricle_mm": _ventricle_distance(csf, origin), **_hull(parts, origin)}
    coarse |= _regions(parts, origin)
    coarse["texture"] = _texture(t1w, csf, grey, white)[::STEP, ::STEP, ::STEP]
    fine = {"csf": csf, "grey": grey, "brain": brain, "open_mm": _open(csf, parts, coarse, origin)}
    return Template(
        np.stack([fine[name] for name in FINE]).astype(np.float32),
        np.stack([coarse[name] for name in COARSE]).astype(np.float32),
        np.asarray(origin, dtype=np.float32),
    )


def _up(data: np.ndarray, shape: tuple[int, ...], order: int = 1) -> np.ndarray:
    """Bring a coarse map to the fine grid."""
    return ndimage.affine_transform(
        data, np.full(3, 1 / STEP), output_shape=shape, order=order, mode="nearest"
    )


def _parts(csf: np.ndarray, white: np.ndarray, brain: np.ndarray, origin: np.ndarray) -> np.ndarray:
    """Part the brain along its fissures, coarse: 1 left, 2 right, 3 cerebellum, 4 brainstem."""
    fluid = ndimage.gaussian_filter(csf, 0.7)[::STEP, ::STEP, ::STEP]
    white, brain = (a[::STEP, ::STEP, ::STEP] for a in (white, brain))
    x, y, z = _world(brain.shape, origin, STEP)
    solid = brain & (fluid < 0.1)
    seeds = np.zeros(brain.shape, dtype=np.int32)
    for side, part in ((-1, 1), (1, 2)):
        seeds[(white > 0.8) & (side * x > 12) & (z > 8)] = part
        seeds[(white > 0.6) & (side * x > 30) & (y > -35) & (z < -8) & (z > -35)] = part
        seeds[(white > 0.8) & (side * x > 0) & (side * x < 3) & (y > -30) & (y < 25) & (z > 0)] = (
            part
        )
    seeds[solid & (y < -45) & (y > -80) & (z < -24) & (np.abs(x) < 40)] = 3
    seeds[solid & (np.abs(x) < 7) & (y < -14) & (y > -40) & (z < -6)] = 4
    return watershed((fluid * 1000).astype(np.int32), seeds, mask=brain)


def _hull(parts: np.ndarray, origin: np.ndarray) -> dict[str, np.ndarray]:
    """Return the depth beneath each hemisphere's smooth hull, and the hull's nearest point."""
    depth = np.zeros(parts.shape, dtype=np.float32)
    root = np.zeros((3, *parts.shape), dtype=np.float32)
    outer = np.zeros(parts.shape, dtype=bool)
    for part in (1, 2):
        mine = parts == part
        hull = ndimage.gaussian_filter(np.pad(mine, 6).astype(np.float32), 2.5) > 0.45
        distance, nearest = ndimage.distance_transform_edt(hull, return_indices=True)
        depth[mine] = STEP * distance[6:-6, 6:-6, 6:-6][mine]
        nearest = nearest[:, 6:-6, 6:-6, 6:-6].astype(np.float32) - 6
        for axis in range(3):
            root[axis][mine] = ndimage.gaussian_filter(nearest[axis], 1.5)[mine]
        outer |= mine
    index = ndimage.distance_transform_edt(~outer, return_distances=False, return_indices=True)
    root = root[:, *index] * STEP + origin[:, None, None, None]
    return {"hull_mm": depth, **dict(zip(("root_x", "root_y", "root_z"), root, strict=True))}


def _open(
    csf: np.ndarray, parts: np.ndarray, coarse: dict[str, np.ndarray], origin: np.ndarray
) -> np.ndarray:
    """Return the depth (mm, 1 mm grid) of each hemisphere's voxels beneath open CSF."""
    fluid = ndimage.gaussian_filter(csf, 0.7)
    shallow = (coarse["ventricle_mm"] > 3) & (coarse["hull_mm"] < 16)
    near = np.repeat(np.repeat(np.repeat(shallow, STEP, 0), STEP, 1), STEP, 2)
    whole = np.repeat(np.repeat(np.repeat(parts, STEP, 0), STEP, 1), STEP, 2)
    near, whole = (a[tuple(slice(n) for n in csf.shape)] for a in (near, whole))
    x, y, z = _world(csf.shape, origin, 1)
    sylvian = (np.abs(x) > 28) & (y > -42) & (y < 25) & (z > -22) & (z < 30)
    wide = ndimage.gaussian_filter(csf, 1.0) > SYLVIAN_CSF
    wide = ndimage.binary_closing(wide & sylvian, iterations=2)
    fluid = (fluid > OPEN_CSF) & near | wide
    outside = ~np.isin(whole, (1, 2, 4)) | fluid
    pieces, _ = ndimage.label(outside, np.ones((3, 3, 3)))
    outside = pieces == pieces[0, 0, 0]
    depth = 0.5 - ndimage.distance_transform_edt(outside)
    for part in (1, 2):
        inside = (whole == part) & ~outside
        depth[inside] = ndimage.distance_transform_edt(inside)[inside] - 0.5
    return ndimage.gaussian_filter(depth.clip(-3, 30).astype(np.float32), 0.6)


def _ventricle_distance(csf: np.ndarray, origin: np.ndarray) -> np.ndarray:
    """Return the coarse distance (mm) to the lateral and third ventricles, negative inside."""
    fluid = csf[::STEP, ::STEP, ::STEP] > 0.5
    x, y, z = _world(fluid.shape, origin, STEP)
    fluid &= (np.abs(x) < 40) & (y > -60) & (y < 45) & (z > -22) & (z < 36)
    labels, count = ndimage.label(fluid)
    numbers = np.arange(1, count + 1)
    from_centre = np.abs(x) + np.abs(y + 10) + np.abs(z - 14)
    near = ndimage.minimum(from_centre, labels, numbers) < 40
    large = ndimage.sum_labels(fluid, labels, numbers) > 20
    inside = np.isin(labels, numbers[near & large])
    half = ndimage.distance_transform_edt(~inside) - ndimage.distance_transform_edt(inside)
    return ndimage.gaussian_filter(STEP * half.astype(np.float32), 0.5)


def _ellipsoid(
    x: np.ndarray, y: np.ndarray, z: np.ndarray, at: tuple[float, ...], half: tuple[float, ...]
) -> np.ndarray:
    """Return the squared radius, 1 on the surface, of an ellipsoid on both sides."""
    radius: np.ndarray = (
        ((np.abs(x) - at[0]) / half[0]) ** 2
        + ((y - at[1]) / half[1]) ** 2
        + ((z - at[2]) / half[2]) ** 2
    )
    return radius


def _regions(parts: np.ndarray, origin: np.ndarray) -> dict[str, np.ndarray]:
    """Return soft masks of regions that differ in kind or in relaxation, coarse."""
    x, y, z = _world(parts.shape, origin, STEP)
    deep = (parts == 3) | (parts == 4)
    for at, half in DEEP:
        deep = deep | (_ellipsoid(x, y, z, at, half) < 1)
    iron = np.zeros(parts.shape, dtype=np.float32)
    for at, half, share in IRON:
        soft = 1 / (1 + np.exp(5 * (_ellipsoid(x, y, z, at, half) - 1).clip(-2, 8)))
        iron = np.maximum(iron, share * soft)
    return {
        "deep": ndimage.gaussian_filter(deep.astype(np.float32), 0.8),
        "cerebellum": ndimage.gaussian_filter((parts == 3).astype(np.float32), 0.8),
        "iron": iron,
        "limbic": _limbic(np.abs(x), y, z),
        "tract": _tract(np.abs(x), y, z),
        "insula": 1 / (1 + np.exp(4 * (_ellipsoid(x, y, z, *INSULA) - 1).clip(-2, 8))),
    }


def _limbic(x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Return insula, cingulate and mesial temporal cortex, whose T2 is long.

    Georgiades et al. 2001, AJNR 22:1732: insula, then cingulate and hippocampus, above the rest.
    """
    insula = ((x - 37) / 8) ** 2 + ((y - 3) / 26) ** 2 + ((z - 2) / 16) ** 2
    cingulate = (x / 12) ** 2 + ((np.hypot(y + 5, 1.2 * (z - 12)) - 32) / 11) ** 2
    mesial = ((x - 24) / 10) ** 2 + ((y + 16) / 22) ** 2 + ((z + 18) / 9) ** 2
    nearest: np.ndarray = np.minimum(np.minimum(insula, cingulate + 9 * (z < -5)), mesial)
    return np.exp(-(nearest**2))


def _tract(x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Return the corticospinal tract as a soft tube."""
    nearest = np.full(np.broadcast_shapes(x.shape, y.shape, z.shape), np.inf, dtype=np.float32)
    for start, end in pairwise(TRACT):
        line = np.subtract(end, start)
        offset = [a - s for a, s in zip((x, y, z), start, strict=True)]
        along = np.clip(sum(o * v for o, v in zip(offset, line, strict=True)) / (line @ line), 0, 1)
        gap = sum((o - v * along) ** 2 for o, v in zip(offset, line, strict=True))
        nearest = np.minimum(nearest, gap)
    return np.exp(-nearest / (2 * 3.0**2))


def _texture(t1w: np.ndarray, csf: np.ndarray, grey: np.ndarray, white: np.ndarray) -> np.ndarray:
    """Return the T1w's slow deviation from a mix of tissues (myelin), in shares of white matter."""
    inside = csf + grey + white > 0.9
    parts = np.stack([a[inside][::20] for a in (csf, grey, white)], axis=1)
    levels, *_ = np.linalg.lstsq(parts, t1w[inside][::20], rcond=None)
    rest = np.tensordot(levels.astype(np.float32), np.stack([csf, grey, white]), 1)
    solid = grey + white
    rest = np.clip((t1w - rest) / levels[2], -0.15, 0.15) * solid
    smooth = ndimage.gaussian_filter(rest, 3.0) / (ndimage.gaussian_filter(solid, 3.0) + 0.05)
    return np.asarray(smooth)
