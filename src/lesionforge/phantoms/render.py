"""Render a phantom: a pure function from its spec to the scans and the truth."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from lesionforge.data.volume import Grid
from lesionforge.phantoms.benign import add_benign
from lesionforge.phantoms.fcd import add_fcd
from lesionforge.phantoms.head import Head, build_head
from lesionforge.phantoms.ms import add_ms
from lesionforge.phantoms.protocols import SITES
from lesionforge.phantoms.rater import FAR_MM, drawn, outline_mask
from lesionforge.phantoms.scan import Sampler, acquire, head_to_scanner, place_head
from lesionforge.phantoms.shapes import voxel_mm
from lesionforge.phantoms.signal import Matter, healthy_matter, signal, white_level
from lesionforge.phantoms.spec import PhantomSpec


@dataclass(frozen=True)
class Phantom:
    """A rendered phantom; arrays are (X, Y, Z) on the grid of their scan.

    Attributes:
        images: a channel each: whole numbers, 0 outside the brain.
        grids: grids of the images, in the scanner's world.
        lesion: bool, as a rater outlines it on the scan `spec.outlined_on`; empty for a control.
        true_lesion: bool, on the first channel's grid, without the rater's error.
        tissue: (3, X, Y, Z) true healthy CSF, GM, WM on the first channel's grid; sums to 1.
        measured: a lesion each: whether the rater outlined it, and its centre (mm) in the world of
            the first channel.
    """

    images: dict[str, np.ndarray]
    grids: dict[str, Grid]
    lesion: np.ndarray
    true_lesion: np.ndarray
    tissue: np.ndarray
    measured: list[dict[str, Any]]


def render_phantom(spec: PhantomSpec) -> Phantom:
    """Render a phantom; the same `spec` gives the same voxels."""
    with threadpool_limits(1):  # the order of sums, so the bytes, must not depend on threads
        return _render(spec, build_head(spec.head, spec.seed, spec.host))


def _render(spec: PhantomSpec, head: Head) -> Phantom:
    matter = healthy_matter(spec.head, head, spec.rng("matter"))
    add_benign(spec.benign, head, matter, spec.rng("benign findings"))
    outline, measured = _add_lesions(spec, head, matter)
    site, images, samplers = SITES[spec.site], {}, {}
    for channel, scan in spec.scans.items():
        sequence = site.protocols[channel].sequence
        level = head.volume(signal(matter, sequence, site.field))
        level /= white_level(sequence, site.field)
        sampler = place_head(head, scan, spec.rng(channel, "mask"))
        images[channel] = acquire(scan, level, sampler, spec.rng(channel, "scan"))
        samplers[channel] = sampler
    first, seen = samplers[next(iter(spec.scans))], samplers[spec.outlined_on]
    outlined, true = np.zeros(seen.mask.shape, bool), np.zeros(first.mask.shape, bool)
    if spec.lesions:
        depth = drawn(spec.rater, head, outline, spec.rng("rater", spec.lesion_seed))
        one = spec.disease == "fcd"
        outlined = outline_mask(depth, seen, one)
        exact = head.volume(np.clip(outline, -FAR_MM, FAR_MM) + FAR_MM) - FAR_MM
        true = outline_mask(exact, first, one)
    return Phantom(
        images=images,
        grids={channel: sampler.grid for channel, sampler in samplers.items()},
        lesion=outlined,
        true_lesion=true,
        tissue=_true_tissue(head, first),
        measured=measured,
    )


def _add_lesions(
    spec: PhantomSpec, head: Head, matter: Matter
) -> tuple[np.ndarray, list[dict[str, Any]]]:
    """Apply the lesions to `matter`, in place; return the depth inside them, mm, and a row each."""
    outline = np.full(head.tissue.shape[1], -FAR_MM, dtype=np.float32)
    adders: dict[str, Callable[..., list[int | None]]] = {"fcd": add_fcd, "ms": add_ms}
    centres = adders[spec.disease](
        spec.lesions, head, matter, outline, lambda k: spec.rng("lesion", spec.lesion_seed, k)
    )
    pose = head_to_scanner(next(iter(spec.scans.values())))
    rows = []
    for lesion, centre in zip(spec.lesions, centres, strict=True):
        seen = centre is not None and not getattr(lesion, "missed", False)
        place = np.full(3, np.nan) if centre is None else voxel_mm(head, centre)
        world = pose @ np.append(place, 1)
        named = {f"{axis}_mm": float(v) for axis, v in zip("xyz", world[:3], strict=True)}
        rows.append({"outlined": int(seen), **named})
    return outline, rows


def _true_tissue(head: Head, sampler: Sampler) -> np.ndarray:
    maps = np.stack([sampler.sample(head.volume(share)) for share in head.tissue])
    maps /= np.maximum(maps.sum(axis=0), 1e-3)
    maps = np.rint(maps * 255) / 255  # steps of a byte: files compress four times better
    maps[1] = np.minimum(maps[1], 1 - maps[0])
    maps[2] = 1 - maps[0] - maps[1]
    return np.maximum(maps, 0) * sampler.mask
