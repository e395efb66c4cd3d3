"""Multiple sclerosis: many ovoid lesions along veins, beside ventricles, under cortex, in the pons.

Lesions lengthen T1 and T2 and raise water; a fifth of the larger ones have a core that is dark on
T1w. A halo of slightly changed tissue reaches beyond what a rater outlines. Numbers, sizes and
places follow Filippi et al. 2019, Brain 142:1858 (which lesions count, and where); relaxation lies
in the ranges of Stevenson et al. 2000, JMRI 12:94 and BrainWeb's lesion class (T1 752, T2 237 ms).
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from lesionforge.phantoms.head import Head
from lesionforge.phantoms.shapes import (
    Patch,
    patch,
    pick,
    sigmoid,
    toward_ventricle,
    voxel_mm,
)
from lesionforge.phantoms.signal import Matter

PLACES = ("periventricular", "juxtacortical", "deep", "infratentorial")
PLACE_SHARES = (0.40, 0.18, 0.35, 0.07)
VOLUME_FACTOR = {"periventricular": 1.7, "juxtacortical": 0.7, "deep": 0.9, "infratentorial": 0.8}
SMALL_MM3 = 50.0  # lesions below are sometimes missed by the rater


@dataclass(frozen=True)
class MsLesion:
    """A lesion; `share` in [0, 1) picks its voxel among those its place allows.

    Attributes:
        place: one of `PLACES`.
        share: picks the centre.
        volume_mm3: of the ellipsoid.
        aspect: length over width.
        softness_mm: over which it fades.
        t2, t1, pd: rises at full effect, in shares of white matter's.
        hole: further rise of T1 in the core; 0 for most.
        halo_mm, halo: how far and how strongly tissue outside is changed.
        missed: whether the rater overlooks it.
    """

    place: str
    share: float
    volume_mm3: float
    aspect: float
    softness_mm: float
    t2: float
    t1: float
    pd: float
    hole: float
    halo_mm: float
    halo: float
    missed: bool


def sample_ms(rng: np.random.Generator, contrast: float, missed: float) -> tuple[MsLesion, ...]:
    """Draw a patient's lesions; see `PhantomConfig` for `contrast` and `missed`."""
    count = int(np.clip(rng.lognormal(np.log(22), 0.55), 4, 70))
    activity = rng.normal(0, 0.15)  # of the patient: all lesions are a little stronger or weaker
    return tuple(_sample_one(rng, activity, contrast, missed) for _ in range(count))


def _sample_one(
    rng: np.random.Generator, activity: float, contrast: float, missed: float
) -> MsLesion:
    place = str(rng.choice(PLACES, p=PLACE_SHARES))
    volume = VOLUME_FACTOR[place] * 110 * rng.lognormal(0, 1.05)
    volume = float(np.clip(volume, 10, 6000))
    strength = contrast * np.exp(activity + rng.normal(0, 0.3))
    has_hole = volume > 60 and rng.random() < 0.25
    return MsLesion(
        place=place,
        share=float(rng.random()),
        volume_mm3=volume,
        aspect=float(rng.uniform(1.1, 2.6)),
        softness_mm=float(rng.uniform(0.3, 1.1)),
        t2=float(0.85 * strength),
        t1=float(0.25 * strength * rng.uniform(0.3, 1.7)),
        pd=float(0.07 * strength),
        hole=float(contrast * rng.uniform(0.4, 1.2)) if has_hole else 0.0,
        halo_mm=float(rng.uniform(1.0, 4.5)),
        halo=float(rng.uniform(0.06, 0.32)),
        missed=bool(rng.random() < missed and volume < SMALL_MM3),
    )


def _allowed(place: str, head: Head) -> np.ndarray:
    """Return how likely each voxel (N,) is to be the centre of a lesion."""
    white = (head.tissue[2] > 0.85).astype(np.float32)
    above = head.maps["cerebellum"] < 0.1
    cerebral = above & (head.mni[2] > -12)
    distance, depth = head.ventricle_mm, head.depth_mm
    if place == "periventricular":
        return white * cerebral * np.exp(-((np.maximum(distance - 1, 0) / 3.5) ** 2))
    if place == "juxtacortical":
        under = np.abs(depth - head.thickness_mm - 1.2) < 1.0
        return white * cerebral * under * (distance > 6)
    if place == "deep":
        wave = np.exp(-np.maximum(distance - 6, 0) / 14)
        return white * cerebral * (depth > 6) * (distance > 4) * wave * (head.maps["iron"] < 0.05)
    low = (head.mni[2] < -14) & (head.mni[1] < -12) & (head.tissue[0] < 0.05)
    return low * ((head.maps["cerebellum"] > 0.5) * white + (np.abs(head.mni[0]) < 12) * 0.5)


def add_ms(
    lesions: tuple[MsLesion, ...],
    head: Head,
    matter: Matter,
    outline: np.ndarray,
    rng_of: Callable[[int], np.random.Generator],
) -> list[int | None]:
    """Apply lesions to `matter`, in place, and what the rater sees to `outline` (N,), mm inside.

    Returns:
        The voxel of each centre; None where the head has no such place.
    """
    allowed = {place: _allowed(place, head) for place in {lesion.place for lesion in lesions}}
    centres = [pick(allowed[lesion.place], lesion.share) for lesion in lesions]
    for number, (lesion, centre) in enumerate(zip(lesions, centres, strict=True)):
        if centre is not None:
            _add_one(lesion, head, matter, outline, centre, rng_of(number))
    return centres


def _add_one(
    lesion: MsLesion,
    head: Head,
    matter: Matter,
    outline: np.ndarray,
    number: int,
    rng: np.random.Generator,
) -> None:
    """Change an uneven ellipsoid around the voxel `number`, and faintly what surrounds it."""
    radius = float(np.cbrt(lesion.volume_mm3 * 3 / (4 * np.pi)))
    reach = radius * lesion.aspect ** (2 / 3) * 1.3 + 2 * lesion.halo_mm + 3
    box = patch(head, voxel_mm(head, number), reach)
    axis = toward_ventricle(head, number) + rng.normal(0, 0.3, 3)
    inside = _inside_mm(lesion, box, axis / np.linalg.norm(axis), radius, rng)
    texture = np.exp(0.35 * box.noise(rng, 3.5) + 0.3 * box.noise(rng, 7.0))
    core = sigmoid(inside / lesion.softness_mm)
    reach = lesion.halo_mm * np.exp(0.5 * box.noise(rng, 5.0))  # farther on some sides
    halo = lesion.halo * sigmoid(2.5 * (inside + reach) / lesion.halo_mm)
    effect = np.maximum(core * texture, halo * np.exp(0.5 * box.noise(rng, 6.0)))
    hole = lesion.hole * sigmoid((inside - 0.45 * radius) / (0.25 * radius)) * texture
    for k, share in ((0, 0.35), (1, 1.0)):  # grey matter changes less
        matter.t2[k, box.number] *= 1 + share * (lesion.t2 * effect + 0.6 * hole)
        matter.t1[k, box.number] *= 1 + share * (lesion.t1 * effect + hole)
        matter.pd[k, box.number] *= 1 + share * (lesion.pd * effect + 0.08 * hole)
    if not lesion.missed:
        outline[box.number] = np.maximum(outline[box.number], inside)


def _inside_mm(
    lesion: MsLesion, box: Patch, axis: np.ndarray, radius: float, rng: np.random.Generator
) -> np.ndarray:
    """Return the depth (M,) inside an uneven ellipsoid, mm; negative outside."""
    wobble = np.stack([box.noise(rng, max(1.6 * radius, 2.5)) for _ in range(3)])
    offset = box.offset + 0.22 * radius * wobble
    short = radius * lesion.aspect ** (-1 / 3)
    along = axis @ offset
    across = np.maximum((offset**2).sum(axis=0) - along**2, 0)
    return np.asarray(short - np.sqrt((along / lesion.aspect) ** 2 + across))
