from dataclasses import replace

import nibabel as nib
import numpy as np
import pytest
from scipy import ndimage

from lesionforge.phantoms.protocols import SITES
from lesionforge.phantoms.scan import (
    Pose,
    acquire,
    head_to_scanner,
    sample_pose,
    sample_scan,
    scan_grid,
)
from lesionforge.seeding import stream

POSE = Pose((0.0, 0.0, 0.0), (0.0, 0.0, 0.0))


def drawn(site="A", channel="T1w", voxel=2.5, **changes):
    scan = sample_scan(stream(1, "s"), SITES[site].protocols[channel], voxel, POSE)
    return replace(scan, **{"bias": 0.0, "ghost": 0.0, "gain": 1000.0, **changes})


def flat(case, scan, level=1.0, seed=0):
    """Scan a head of one flat intensity: what is not flat is the scanner's."""
    sampler = case.place(scan)
    signal = np.full(case.head.inside.shape, level, dtype=np.float32)
    image = acquire(scan, signal, sampler, stream(seed, "noise"))
    inner = ndimage.binary_erosion(sampler.mask, iterations=3)
    return image / scan.gain, sampler, inner


@pytest.mark.parametrize("site", ["A", "B", "C"])
@pytest.mark.parametrize("channel", ["T1w", "FLAIR"])
def test_the_grid_stores_the_axes_as_the_scanner_does(site, channel):
    scan = drawn(site, channel)
    area = scan_grid(scan)
    assert "".join(nib.aff2axcodes(area.matrix)) == scan.orientation
    np.testing.assert_allclose(area.world((np.array(area.shape) - 1) / 2), 0, atol=1e-9)
    np.testing.assert_allclose(sorted(area.voxel_mm), sorted(scan.voxel_mm))


def test_voxels_are_no_finer_than_asked_and_coarser_protocols_stay():
    assert drawn("A", "T1w", 2.5).voxel_mm == (2.5, 2.5, 2.5)
    assert drawn("C", "FLAIR", 2.5).voxel_mm == (2.5, 2.5, 5.0)
    assert drawn("C", "FLAIR", 1.0).voxel_mm == (1.0, 1.0, 5.0)


def test_noise_is_rician_of_the_strength_drawn_and_correlated(case):
    scan = drawn(noise=0.05, smooth=0.6)
    image, _, inner = flat(case, scan)
    assert image[inner].std() == pytest.approx(0.05, rel=0.05)
    assert image[inner].mean() == pytest.approx(1.0, abs=0.01)
    both = inner[1:] & inner[:-1]
    near = np.corrcoef(image[1:][both], image[:-1][both])[0, 1]
    assert 0.3 < near < 0.7
    dark, _, inner = flat(case, scan, level=0.0)
    assert dark[inner].mean() == pytest.approx(0.05 * np.sqrt(np.pi / 2), rel=0.05)


def test_a_bias_field_shades_and_ghosts_repeat(case):
    even, sampler, inner = flat(case, drawn(noise=0.0))
    assert np.ptp(even[inner]) < 0.01
    shaded, _, _ = flat(case, drawn(noise=0.0, bias=0.2))
    assert 0.05 < np.log(shaded[inner]).std() < 0.5
    ghosted, _, _ = flat(case, drawn(noise=0.0, ghost=0.1, ghost_axis=0, ghost_shift=0.3))
    assert np.abs(ghosted - even)[inner].max() > 0.05
    assert (ghosted[~sampler.mask] == 0).all()


def test_a_thick_slice_is_the_mean_of_what_lies_in_it(case):
    """A ramp along z stays a ramp; a sheet of 1 mm loses four fifths of its signal in 5 mm."""
    scan = drawn("C", "FLAIR", 1.0, tilt_deg=0.0, rotation_deg=(0, 0, 0), translation_mm=(0, 0, 0))
    sampler = case.place(scan)
    assert sampler.slices == 5
    sheet = np.zeros(case.head.inside.shape, dtype=np.float32)
    sheet[:, :, 90] = 1
    seen = sampler.sample(sheet)[sampler.mask]
    assert 0.15 < seen.max() < 0.27
    ramp = np.broadcast_to(np.arange(sheet.shape[2], dtype=np.float32), sheet.shape)
    found = sampler.sample(ramp)[sampler.mask]
    assert len(np.unique(found.round(2))) <= scan_grid(scan).shape[2]


def test_the_brain_is_one_piece_and_fits_the_head(case):
    scan = drawn(voxel=2.5, margin_mm=0.0)
    sampler = case.place(scan)
    volume = sampler.mask.sum() * sampler.grid.voxel_mm3
    assert volume == pytest.approx(case.head.inside.sum(), rel=0.05)
    assert ndimage.label(sampler.mask, np.ones((3, 3, 3)))[1] == 1
    wider = case.place(replace(scan, margin_mm=1.0)).mask.sum() * sampler.grid.voxel_mm3
    assert wider > 1.02 * volume


def test_a_pose_moves_the_head(case):
    turned = drawn(rotation_deg=(5.0, 0.0, 10.0), translation_mm=(3.0, -4.0, 5.0))
    image, sampler, _ = flat(case, replace(turned, noise=0.0))
    centre = sampler.grid.world(np.argwhere(image > 0).mean(axis=0))
    head = case.head.grid.world(np.argwhere(case.head.inside).mean(axis=0))
    np.testing.assert_allclose((head_to_scanner(turned) @ [*head, 1])[:3], centre, atol=1.0)
    poses = [sample_pose(stream(k, "p")) for k in range(100)]
    assert np.abs([p.rotation_deg for p in poses]).max() <= 9
    assert np.abs([p.translation_mm for p in poses]).max() <= 8
