"""Hosts for mask tests: nilearn's bundled MNI152 tissues, warped; nothing of the phantoms."""

from functools import lru_cache

import numpy as np
import pytest
from nilearn import datasets
from scipy import ndimage

from lesionforge.masks.host import Host
from lesionforge.seeding import stream
from lesionforge.volume import grid, mni_grid


@lru_cache(maxsize=1)
def _template() -> tuple[np.ndarray, object]:
    load = (datasets.load_mni152_gm_template, datasets.load_mni152_wm_template)
    images = [f(resolution=2) for f in load]
    grey, white = (image.get_fdata(dtype=np.float32) for image in images)
    brain = datasets.load_mni152_brain_mask(resolution=2).get_fdata() > 0.5
    matter = np.stack([grey, white]) * brain
    matter /= np.maximum(matter.sum(0), 1)
    return np.concatenate([(1 - matter.sum(0))[None] * brain, matter]), images[0].affine


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


@pytest.fixture(scope="session")
def hosts() -> list[Host]:
    """Three hosts at 2.5 mm."""
    return [template_host(seed, 2.5) for seed in range(3)]
