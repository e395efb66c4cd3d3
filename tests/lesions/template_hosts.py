"""Hosts for mask tests: nilearn's bundled MNI152 tissues, warped; nothing of the phantoms."""

from functools import lru_cache

import numpy as np
from nilearn import datasets
from scipy import ndimage

from lesionforge.data.volume import grid, mni_grid
from lesionforge.lesions.config import LesionConfig
from lesionforge.lesions.growth_fit import Growth
from lesionforge.lesions.host import Host
from lesionforge.lesions.prior import Lesion, LesionPrior
from lesionforge.lesions.shape import PLACES
from lesionforge.seeding import stream
from tests.contrasts import in_rows


@lru_cache(maxsize=1)
def _template() -> tuple[np.ndarray, object]:
    load = (datasets.load_mni152_gm_template, datasets.load_mni152_wm_template)
    images = [f(resolution=2) for f in load]
    grey, white = (image.get_fdata(dtype=np.float32) for image in images)
    brain = datasets.load_mni152_brain_mask(resolution=2).get_fdata() > 0.5
    matter = np.stack([grey, white]) * brain
    matter /= np.maximum(matter.sum(0), 1)
    return np.concatenate([(1 - matter.sum(0))[None] * brain, matter]), images[0].affine


@lru_cache(maxsize=8)
def template_host(seed: int, voxel_mm: float) -> Host:
    """The template's anatomy, scaled and smoothly warped by up to some mm, segmented as drawn."""
    tissues, affine = _template()
    target, source = mni_grid(voxel_mm), grid(tissues.shape[1:], affine)
    rng = stream(seed, "template-host")
    world = target.world(np.indices(target.shape).transpose(1, 2, 3, 0))
    coarse = rng.normal(size=(3, 8, 10, 8)) * 2.5
    zoom = np.array(target.shape) / coarse.shape[1:]
    warp = np.stack([ndimage.zoom(c, zoom, order=3, mode="nearest") for c in coarse], -1)
    at = np.moveaxis(source.index(world * rng.uniform(0.95, 1.05, 3) + warp), -1, 0)
    blur = max(voxel_mm / 2 - 0.5, 0) * 0.5
    maps = np.stack([ndimage.gaussian_filter(t, blur) for t in tissues])
    maps = np.clip([ndimage.map_coordinates(t, at, order=1) for t in maps], 0, 1)
    brain = maps.sum(0) > 0.5
    maps = np.where(brain, maps / np.maximum(maps.sum(0), 1e-6), 0).astype(np.float32)
    return Host(f"sub-h{seed}", maps, brain, target, np.zeros(target.shape, bool))


def known_prior(style: str, median_mm3: float, lesions: int = 16, **config: float) -> LesionPrior:
    """A prior made up for tests: right-skewed volumes, most lesions frontal or temporal."""
    rng = stream(0, "known-prior", style)
    spread = [_known_lesion(rng, i, median_mm3) for i in range(lesions)]
    volumes = [lesion.volume_mm3 for lesion in spread]
    limits = (min(volumes) / 1.25, max(volumes) * 1.25)
    return LesionPrior(LesionConfig(style=style, **config), style, limits, tuple(spread))


def _known_lesion(rng: np.random.Generator, number: int, median_mm3: float) -> Lesion:
    side = rng.choice([-1, 1])
    return Lesion(
        subject=f"sub-p{number:02d}",
        site="AB"[number % 2],
        volume_mm3=float(median_mm3 * np.exp(rng.normal(0, 0.6))),
        centroid_mm=(
            float(side * rng.uniform(20, 50)),
            float(rng.uniform(-60, 50)),
            float(rng.uniform(-10, 50)),
        ),
        place=PLACES[rng.choice(4, p=[0.5, 0.15, 0.3, 0.05])],
        side="left" if side < 0 else "right",
        conspicuity=(shown := float(rng.gamma(2, 0.7))),
        contrast=in_rows(*(shown * np.array([-0.4, 0.9, 0.2, -0.5] * 2))),
        growth=Growth(
            depth_mm=float(rng.normal(-0.5, 0.5)),
            reach_out_mm=float(rng.uniform(0.8, 2)),
            reach_in_mm=float(rng.uniform(1, 4)),
            aspect=float(rng.uniform(0, 0.8)),
            roughness=float(rng.uniform(0.2, 0.8)),
            tilt=0.3,
        ),
    )
