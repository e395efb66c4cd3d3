from dataclasses import replace

import numpy as np
import pytest

from lesionforge.phantoms.cortex import (
    CortexSpec,
    interpolate,
    ribbon,
    sample_cortex,
    smooth_noise,
)
from lesionforge.seeding import stream

SPEC = CortexSpec(12.0, 16.0, 4.0, 2.5, 0.0, -0.2, 2.0)


@pytest.mark.parametrize("voxel", [1.0, 2.0])
def test_noise_has_variance_1_and_falls_to_037_at_its_scale(voxel):
    scale = 8.0
    fields = [smooth_noise(stream(k, "n"), (60, 60, 60), scale, voxel) for k in range(4)]
    assert np.mean([f.std() for f in fields]) == pytest.approx(1, abs=0.1)
    step = int(scale / voxel)
    corr = np.mean([(f[step:] * f[:-step]).mean() / f.var() for f in fields])
    assert corr == pytest.approx(np.exp(-1), abs=0.08)


def test_noise_is_the_stream_s():
    first = smooth_noise(stream(1, "n"), (20, 30, 10), 6.0)
    assert first.shape == (20, 30, 10)
    np.testing.assert_array_equal(first, smooth_noise(stream(1, "n"), (20, 30, 10), 6.0))
    assert np.abs(first - smooth_noise(stream(2, "n"), (20, 30, 10), 6.0)).max() > 0.5


def test_interpolation_is_exact_for_a_plane():
    x, y, z = np.meshgrid(np.arange(10), np.arange(7), np.arange(13), indexing="ij")
    plane = 2.0 * x - y + 0.5 * z
    found = interpolate(plane[::3, ::3, ::3], 3, plane.shape)
    np.testing.assert_allclose(found, plane, atol=1e-4)


def slab(width: float, **changes: float) -> tuple[np.ndarray, np.ndarray]:
    """Cut through one sulcus: shares (3, x) along a line across it, 20 mm on each side."""
    place = np.abs(np.arange(-20, 21) + 0.3)
    inside = np.ones((len(place), 1, 1), dtype=bool)
    far = np.full(len(place), 30.0)
    spec = replace(SPEC, width_mm=width, **changes)
    shares, depth, thickness = ribbon(spec, stream(0, "r"), inside, place, far, far)
    assert thickness.mean() == pytest.approx(spec.thickness_mm, abs=1e-4)
    assert depth.shape == place.shape
    return shares, place


@pytest.mark.parametrize("thickness", [2.0, 3.0])
def test_each_bank_of_a_sulcus_has_the_thickness_asked_for(thickness):
    shares, _ = slab(2.0, thickness_mm=thickness)
    np.testing.assert_allclose(shares.sum(axis=0), 1, atol=1e-5)
    assert shares.min() >= 0
    assert shares[1].sum() == pytest.approx(2 * thickness, abs=0.3)  # mm of grey, two banks
    assert shares[2][:10].min() > 0.99


def test_a_wider_sulcus_holds_more_csf_and_a_closed_one_hardly_any():
    fluid = [slab(width)[0][0].sum() for width in (-0.9, 0.0, 1.5, 3.0)]
    assert fluid == sorted(fluid)
    assert fluid[0] < 0.3
    assert fluid[3] > 2


def test_age_widens_sulci_and_thins_cortex():
    young, old = (
        [sample_cortex(stream(k, "c"), atrophy) for k in range(60)] for atrophy in (0.0, 1.0)
    )
    assert np.mean([s.width_mm for s in old]) > np.mean([s.width_mm for s in young]) + 0.8
    assert np.mean([s.thickness_mm for s in old]) < np.mean([s.thickness_mm for s in young]) - 0.2
