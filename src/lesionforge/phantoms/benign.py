"""What a healthy head has that may be taken for disease, alike in patients and controls.

Caps and rims of the ventricles, choroid plexus, perivascular spaces, vessels, incidental white
matter hyperintensities, CSF that flows in, blurred grey-white junctions.
"""

from dataclasses import dataclass

import numpy as np

from lesionforge.phantoms.cortex import smooth_noise
from lesionforge.phantoms.head import Head, HeadSpec
from lesionforge.phantoms.shapes import (
    blob,
    patch,
    pick,
    sigmoid,
    toward_ventricle,
    tube_distance,
    voxel_mm,
)
from lesionforge.phantoms.signal import Matter

# Large vessels (|x|, y, z) in template mm, on both sides; radius in mm.
VESSELS = (
    (((6, -2, -19), (11, 3, -17), (23, 4, -15), (35, 2, -11), (42, -8, 1)), 1.3),  # MCA
    (((6, 2, -18), (2, 20, -8), (2, 33, 8), (2, 29, 27), (2, 10, 37)), 1.0),  # ACA
    (((1, -13, -40), (1, -12, -24), (9, -18, -15), (16, -32, -8)), 1.2),  # basilar, PCA
    (((1, -38, 6), (1, -50, 10), (1, -68, 4)), 1.4),  # vein of Galen, straight sinus
)


@dataclass(frozen=True)
class BenignSpec:
    """Benign findings of a head: strengths and numbers; places come from the subject's streams.

    Attributes:
        caps: strength of caps and rims, as a rise of T2.
        choroid: share of the ventricles' trigones that the plexus fills.
        spaces: number of visible perivascular spaces.
        spots: number of incidental white matter hyperintensities.
        vessels: factor on the radius of large vessels.
        inflow: strength of CSF that flows in.
        blurs: number of stretches with a blurred grey-white junction.
    """

    caps: float
    choroid: float
    spaces: int
    spots: int
    vessels: float
    inflow: float
    blurs: int


def sample_benign(rng: np.random.Generator, head: HeadSpec) -> BenignSpec:
    """Draw benign findings; more of most with age."""
    return BenignSpec(
        caps=float(rng.gamma(3.0, 0.05) + 0.35 * head.atrophy * rng.random()),
        choroid=float(rng.uniform(0.25, 0.6)),
        spaces=int(rng.poisson(8 + 30 * head.atrophy)),
        spots=int(rng.poisson(rng.gamma(1.0, 0.8 + 7 * head.atrophy))),
        vessels=float(rng.uniform(0.8, 1.2)),
        inflow=float(rng.uniform(0.0, 0.25)),
        blurs=int(rng.poisson(0.7)),
    )


def add_benign(spec: BenignSpec, head: Head, matter: Matter, rng: np.random.Generator) -> None:
    """Apply benign findings to `matter`, in place."""
    _caps(spec, head, matter, rng)
    _choroid(spec, head, matter, rng)
    _vessels(spec, head, matter, rng)
    _inflow(spec, head, matter, rng)
    _spaces(spec, head, matter, rng)
    _spots(spec, head, matter, rng)
    for _ in range(spec.blurs):
        _blur(head, matter, rng)


def _caps(spec: BenignSpec, head: Head, matter: Matter, rng: np.random.Generator) -> None:
    """Lengthen T2 at the horns, along the wall and, faintly, in the terminal zones."""
    near = (head.ventricle_mm < 22) & (head.tissue[2] > 0)
    y, distance = head.mni[1, near], np.maximum(head.ventricle_mm[near], 0)
    uneven = np.exp(0.5 * smooth_noise(rng, head.inside.shape, 12.0)[head.inside][near])
    horns = np.clip((np.abs(y + 2) - 16) / 16, 0, 1)
    cap = (0.35 + 0.9 * horns) * np.exp(-((distance / (1.6 + 2.4 * horns)) ** 1.3))
    zone = 0.35 * np.exp(-(((y + 55) / 16) ** 2) - ((distance - 8) / 7) ** 2)
    rise = spec.caps * uneven * cap + 0.3 * zone * min(spec.caps, 0.3)
    matter.t2[1, near] *= 1 + 1.2 * rise
    matter.t1[1, near] *= 1 + 0.5 * rise


def _choroid(spec: BenignSpec, head: Head, matter: Matter, rng: np.random.Generator) -> None:
    """Fill part of the trigones with choroid plexus: like grey matter, with a long T2."""
    if not spec.choroid:
        return
    x, y, z = np.abs(head.mni[0]), head.mni[1], head.mni[2]
    place = np.exp(-(((x - 20) / 8) ** 2) - ((y + 36) / 9) ** 2 - ((z - 8) / 9) ** 2)
    where = (place > 0.05) & (head.tissue[0] > 0.5) & (head.ventricle_mm < 0.5)
    rough = smooth_noise(rng, head.inside.shape, 3.0)[head.inside][where]
    full = sigmoid((place[where] * 2 * spec.choroid - 0.45 + 0.25 * rough) * 10)
    moved = full * matter.tissue[0, where]
    matter.tissue[0, where] -= moved
    matter.tissue[1, where] += moved
    matter.t2[0, where] *= 1 + 0.6 * full


def _vessels(spec: BenignSpec, head: Head, matter: Matter, rng: np.random.Generator) -> None:
    for line, radius in VESSELS:
        for side in (-1, 1):
            nodes = np.array(line, dtype=np.float32) * [side, 1, 1]
            nodes += rng.normal(0, 1.2, nodes.shape) * [1, 1, 1]
            low, high = nodes.min(axis=0) - 4, nodes.max(axis=0) + 4
            near = np.ones(head.mni.shape[1], dtype=bool)
            for axis in range(3):
                near &= (head.mni[axis] > low[axis]) & (head.mni[axis] < high[axis])
            near = np.flatnonzero(near)
            gap, along = tube_distance(head.mni[:, near], nodes)
            thick = radius * spec.vessels * (1 - 0.5 * along)
            share = sigmoid((thick - gap) * 3.5)
            matter.blood[near] = np.maximum(matter.blood[near], share * (share > 0.02))


def _inflow(spec: BenignSpec, head: Head, matter: Matter, rng: np.random.Generator) -> None:
    """Let CSF escape its inversion around the pons, in the third and fourth ventricle."""
    x, y, z = head.mni
    total = np.zeros(len(x), dtype=np.float32)
    for at, half in (
        ((0, -8, -32), (14, 10, 14)),
        ((0, -42, -32), (6, 6, 9)),
        ((0, -4, 2), (5, 10, 9)),
    ):
        gap = sum(((a - c) / h) ** 2 for a, c, h in zip((x, y, z), at, half, strict=True))
        total += np.exp(-gap)
    uneven = np.clip(smooth_noise(rng, head.inside.shape, 6.0)[head.inside], 0, 2)
    matter.inflow[:] = spec.inflow * total * uneven


def _spaces(spec: BenignSpec, head: Head, matter: Matter, rng: np.random.Generator) -> None:
    """Add perivascular spaces in the basal ganglia or toward the ventricle."""
    x, y, z = np.abs(head.mni[0]), head.mni[1], head.mni[2]
    low = (np.abs(x - 23) < 6) & (np.abs(y - 3) < 10) & (np.abs(z + 6) < 6)
    high = (matter.tissue[2] > 0.95) & (z > 12) & (head.depth_mm > 5) & (head.ventricle_mm > 3)
    low &= matter.tissue[0] < 0.05
    for _ in range(spec.spaces):
        number = pick(low if rng.random() < 0.4 else high, rng.random())
        if number is not None:
            upward = np.array([0.0, 0.1, 1.0])
            axis = upward if z[number] < 8 else toward_ventricle(head, number)
            _space(head, matter, number, axis + rng.normal(0, 0.2, 3), rng)


def _space(
    head: Head, matter: Matter, number: int, axis: np.ndarray, rng: np.random.Generator
) -> None:
    """Add a thin, bent tube of CSF along `axis` through a voxel."""
    axis = axis / np.linalg.norm(axis)
    length, radius = rng.uniform(3, 9), rng.gamma(4.0, 0.11) + 0.15
    box = patch(head, voxel_mm(head, number), length + 2)
    bend = np.cross(axis, rng.normal(size=3))
    line = np.stack([-axis * length, 0.15 * length * bend, axis * length])
    gap, _ = tube_distance(box.offset, line)
    fluid = np.clip(0.5 + radius - gap, 0, 1) * np.minimum(1, np.pi * radius**2)
    tissue = matter.tissue[:, box.number]
    matter.tissue[:, box.number] = tissue * (1 - fluid) + np.array([[1.0], [0], [0]]) * fluid


def _spots(spec: BenignSpec, head: Head, matter: Matter, rng: np.random.Generator) -> None:
    """Add incidental hyperintensities: small, in deep or periventricular white matter."""
    white = (matter.tissue[2] > 0.9) & (head.maps["cerebellum"] < 0.1) & (head.mni[2] > -5)
    white &= (head.depth_mm > 4.5) & (head.maps["iron"] < 0.05) & (head.maps["deep"] < 0.8)
    weight = white * (0.3 + np.exp(-np.maximum(head.ventricle_mm - 2, 0) / 15))
    for _ in range(spec.spots):
        number = pick(weight, rng.random())
        if number is not None:
            _spot(head, matter, number, rng)


def _spot(head: Head, matter: Matter, number: int, rng: np.random.Generator) -> None:
    radius = np.clip(rng.lognormal(0.55, 0.35), 0.8, 4.5)
    box = patch(head, voxel_mm(head, number), 2.5 * radius + 4)
    wobble = np.stack([box.noise(rng, 2.0 * radius) for _ in range(3)])
    axis = rng.normal(size=3)
    shape = blob(
        box.offset + 0.25 * radius * wobble,
        axis / np.linalg.norm(axis),
        radius,
        rng.uniform(1, 2),
        rng.uniform(0.35, 0.7),
    )
    rise = rng.uniform(0.25, 0.8) * shape
    matter.t2[1, box.number] *= 1 + rise
    matter.t1[1, box.number] *= 1 + 0.35 * rise


def _blur(head: Head, matter: Matter, rng: np.random.Generator) -> None:
    """Blur the grey-white junction of a stretch of cortex, as partial volume and poles do."""
    junction = np.abs(head.depth_mm - head.thickness_mm) < 0.6
    number = pick(junction * (0.3 + 2 * (head.mni[2] < -15)), rng.random())
    if number is None:
        return
    radius = rng.uniform(5, 12)
    box = patch(head, voxel_mm(head, number), radius + 6)
    weight = np.exp(-0.5 * ((box.offset**2).sum(axis=0)) / (0.7 * radius) ** 2)
    blend_junction(head, matter, box.number, weight * 0.8, rng.uniform(0.3, 0.8), 0.0)


def blend_junction(
    head: Head,
    matter: Matter,
    number: np.ndarray,
    weight: np.ndarray,
    blur_mm: float | np.ndarray,
    thicker_mm: float | np.ndarray,
) -> None:
    """Blur and move the grey-white junction of the voxels `number` (M,), in place.

    Args:
        head: its depth and thickness of the cortex say where the junction is.
        matter: changed in place; CSF stays.
        number: voxels.
        weight: (M,) in [0, 1], how far a voxel takes part.
        blur_mm: scale of the logistic junction.
        thicker_mm: how far it moves into white matter.
    """
    solid = matter.tissue[1, number] + matter.tissue[2, number]
    grey = matter.tissue[1, number] / np.maximum(solid, 1e-3)
    gap = head.thickness_mm[number] + thicker_mm * weight - head.depth_mm[number]
    moved = np.maximum(sigmoid(gap / np.maximum(blur_mm, 0.15)), grey)  # never less grey
    part = weight * (head.depth_mm[number] < 29)
    grey = grey + part * (moved - grey)
    matter.tissue[1, number], matter.tissue[2, number] = grey * solid, (1 - grey) * solid
