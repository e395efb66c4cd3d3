"""Focal cortical dysplasia type II: thick cortex, blurred junction, a funnel toward the ventricle.

Signs as described by Blümcke et al. 2011, Epilepsia 52:158 and Urbach et al. 2002, Neuroradiology
44:1019 (a funnel of high FLAIR signal that tapers to the ventricle in type IIb); bottoms of sulci
are favoured (Besson et al. 2008, Brain 131:3246). All changes lengthen T1: none is bright on T1w.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from lesionforge.phantoms.benign import blend_junction
from lesionforge.phantoms.head import Head
from lesionforge.phantoms.shapes import Patch, patch, pick, sigmoid, tube_distance, voxel_mm
from lesionforge.phantoms.signal import Matter

LOBES = ("frontal", "temporal", "parietal", "occipital")
LOBE_SHARES = (0.52, 0.22, 0.18, 0.08)


@dataclass(frozen=True)
class FcdLesion:
    """A dysplasia; `share` in [0, 1) picks its voxel among those of its lobe's cortex.

    Attributes:
        lobe: one of `LOBES`.
        share: picks the centre.
        volume_mm3: of the ball whose cortex and white matter beneath are changed.
        conspicuity: in (0, 1]; all changes are scaled by it.
        thicker_mm: how far the junction moves into white matter.
        blur_mm: scale of the blurred junction.
        cortex_t2: rise of T2 in the cortex.
        white_t2: rise of T2 in the white matter beneath.
        t1: rise of T1 as a share of that of T2.
        reach_mm: how far the white matter beneath takes part.
        funnel: strength of the funnel toward the ventricle, as a share of `white_t2`; 0: none.
        outlined: share of the funnel that the rater outlines.
    """

    lobe: str
    share: float
    volume_mm3: float
    conspicuity: float
    thicker_mm: float
    blur_mm: float
    cortex_t2: float
    white_t2: float
    t1: float
    reach_mm: float
    funnel: float
    outlined: float


def sample_fcd(rng: np.random.Generator, contrast: float) -> FcdLesion:
    """Draw a dysplasia; `contrast` is a factor on every change."""
    conspicuity = float(0.3 + 0.7 * rng.beta(1.6, 1.3))
    strength = contrast * conspicuity
    has_funnel = rng.random() < 0.55
    return FcdLesion(
        lobe=str(rng.choice(LOBES, p=LOBE_SHARES)),
        share=float(rng.random()),
        volume_mm3=float(np.clip(2600 * rng.lognormal(0, 0.75), 500, 15000)),
        conspicuity=conspicuity,
        thicker_mm=float(strength * rng.uniform(0.8, 3.5)),
        blur_mm=float(0.15 + strength * rng.uniform(0.4, 1.8)),
        cortex_t2=float(strength * rng.uniform(0.05, 0.45)),
        white_t2=float(strength * rng.uniform(0.15, 1.0)),
        t1=float(rng.uniform(0.3, 0.7)),
        reach_mm=float(rng.uniform(2.5, 6.0)),
        funnel=float(rng.uniform(0.5, 1.0)) if has_funnel else 0.0,
        outlined=float(rng.uniform(0.2, 0.9)),
    )


def _allowed(lobe: str, head: Head) -> np.ndarray:
    """Return how likely each voxel (N,) is to be the centre: cortex, rather deep in a sulcus."""
    x, y, z = np.abs(head.mni[0]), head.mni[1], head.mni[2]
    sylvian = -10 + (20 - y) * 30 / 55
    temporal = (z < sylvian) & (x > 19) & (y < 20) & (y > -62)
    central = -5 - (z - 20) * 0.45
    found = {
        "temporal": temporal,
        "frontal": (y > central) & ~temporal,
        "occipital": (y < -74) & ~temporal,
        "parietal": (y <= central) & (y >= -74) & ~temporal,
    }[lobe]
    middle = np.abs(head.depth_mm - 0.6 * head.thickness_mm) < 0.8
    ribbon = middle & (head.maps["deep"] < 0.05) & (head.maps["insula"] < 0.3)
    return found * ribbon * (1 + np.maximum(head.maps["hull_mm"], 0) / 5)


def add_fcd(
    lesions: tuple[FcdLesion, ...],
    head: Head,
    matter: Matter,
    outline: np.ndarray,
    rng_of: Callable[[int], np.random.Generator],
) -> list[int | None]:
    """Apply dysplasias to `matter`, in place, and what a rater sees to `outline` (N,), mm inside.

    Returns:
        The voxel of each centre; None where the head has no such place.
    """
    centres = [pick(_allowed(lesion.lobe, head), lesion.share) for lesion in lesions]
    for place, (lesion, centre) in enumerate(zip(lesions, centres, strict=True)):
        if centre is not None:
            rng = rng_of(place)
            _add_one(lesion, head, matter, outline, centre, rng)
            if lesion.funnel:
                _add_funnel(lesion, head, matter, outline, centre, rng)
    return centres


def _add_one(
    lesion: FcdLesion,
    head: Head,
    matter: Matter,
    outline: np.ndarray,
    number: int,
    rng: np.random.Generator,
) -> None:
    """Change the cortex and the white matter beneath around the voxel `number`."""
    radius = float(np.cbrt(lesion.volume_mm3 * 3 / (4 * np.pi)))
    box = patch(head, voxel_mm(head, number), 1.5 * radius + lesion.reach_mm + 4)
    wobble = np.stack([box.noise(rng, radius + 3) for _ in range(3)])
    gap = np.sqrt(((box.offset + 0.28 * radius * wobble) ** 2).sum(axis=0))
    inside = radius - gap
    weight = sigmoid(inside / rng.uniform(0.8, 1.6))
    blend_junction(head, matter, box.number, weight, lesion.blur_mm, lesion.thicker_mm)
    beneath = head.depth_mm[box.number] - head.thickness_mm[box.number] - lesion.thicker_mm * weight
    white = weight * sigmoid((lesion.reach_mm - beneath) / 1.2)
    _lengthen(lesion, matter, box, weight, white, rng)
    seen = np.minimum(inside, 0.5 * lesion.reach_mm - beneath)
    seen = np.minimum(seen, 3 * (0.7 - matter.tissue[0, box.number]))  # sulci are cut out
    outline[box.number] = np.maximum(outline[box.number], seen)


def _lengthen(
    lesion: FcdLesion,
    matter: Matter,
    box: Patch,
    cortex: np.ndarray,
    white: np.ndarray,
    rng: np.random.Generator,
) -> None:
    """Lengthen T2 and T1 of the cortex and of the white matter beneath, unevenly."""
    for k, (rise, weight) in enumerate(((lesion.cortex_t2, cortex), (lesion.white_t2, white))):
        change = rise * weight * np.exp(0.35 * box.noise(rng, 5.0))
        matter.t2[k, box.number] *= 1 + change
        matter.t1[k, box.number] *= 1 + lesion.t1 * change
        matter.pd[k, box.number] *= 1 + 0.08 * change


def _add_funnel(
    lesion: FcdLesion,
    head: Head,
    matter: Matter,
    outline: np.ndarray,
    number: int,
    rng: np.random.Generator,
) -> None:
    """Add the funnel: wide under the cortex, a tip at the nearest wall of the ventricle."""
    start = voxel_mm(head, number)
    wall = np.flatnonzero(np.abs(head.ventricle_mm) < 0.7)
    places = voxel_mm(head, wall)
    end = places[np.argmin(((places - start) ** 2).sum(axis=1))]
    middle = (start + end) / 2 + rng.normal(0, 0.06, 3) * np.linalg.norm(end - start)
    box = patch(head, (start + end) / 2, float(np.abs(end - start).max()) / 2 + 12)
    line = np.stack([start, middle, end]) - (start + end) / 2
    gap, along = tube_distance(box.offset, line)
    wide = 0.45 * np.cbrt(lesion.volume_mm3 * 3 / (4 * np.pi))
    radius = (1.3 + wide * (1 - along) ** 1.3) * np.exp(0.2 * box.noise(rng, 6.0))
    inside = radius - gap
    fading = 1 - 0.6 * along
    change = lesion.white_t2 * lesion.funnel * fading * sigmoid(inside / 0.8)
    change = change * np.exp(0.3 * box.noise(rng, 4.0))
    matter.t2[1, box.number] *= 1 + change
    matter.t1[1, box.number] *= 1 + lesion.t1 * change
    drawn = np.where(along < lesion.outlined, inside - 0.5, -9.0)
    drawn = np.where(head.ventricle_mm[box.number] > 0, drawn, -9.0)
    outline[box.number] = np.maximum(outline[box.number], drawn)
