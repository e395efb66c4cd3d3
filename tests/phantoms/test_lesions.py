from dataclasses import replace

import nibabel as nib
import numpy as np
import pytest
from scipy import ndimage

from lesionforge.phantoms.acquisition import acquire, place_head, scan_grid
from lesionforge.phantoms.anatomy import build_head, head_grid, smooth_field
from lesionforge.phantoms.lesions import add_findings, lobe_map
from lesionforge.phantoms.spec import sample_phantom
from lesionforge.seeding import stream

SEED = 9300
VOXEL = 3.0


@pytest.fixture(scope="module")
def cases():
    made = []
    for number in range(1, 9):
        spec = replace(sample_phantom(SEED, "patient", number, VOXEL), confounders=())
        head = build_head(spec)
        made.append((spec, head, add_findings(spec, head)))
    return made


def test_tissues_are_a_brain(cases):
    for _, head, signs in cases:
        np.testing.assert_allclose(head.tissue.sum(0), head.brain, atol=1e-4)
        np.testing.assert_allclose(signs.tissue.sum(0), head.brain, atol=1e-4)
        assert signs.tissue.min() > -1e-5
        litres = head.tissue.sum(axis=(1, 2, 3)) * head.grid.voxel_mm3 / 1e6
        assert 0.5 < litres[1] < 1.2  # grey
        assert 0.3 < litres[2] < 0.9  # white


def test_heads_differ_in_folding_and_ventricles(cases):
    size = [((h.ventricle_mm < 0) & (h.brain > 0.5)).sum() for _, h, _ in cases]
    assert max(size) > 1.5 * min(size)
    grey = [h.tissue[1].ravel() for _, h, _ in cases[:4]]
    correlation = np.corrcoef(grey)
    assert correlation[np.triu_indices(4, 1)].max() < 0.85


def test_a_lesion_lies_in_cortex_of_its_lobe_and_side(cases):
    for spec, head, signs in cases:
        lesion = signs.lesion > 0.5
        cortex = head.tissue[1] + ndimage.gaussian_filter(head.tissue[1], 1) > 0.6
        body = signs.lesion * (ndimage.gaussian_filter(head.tissue[1], 1) > 0.1)
        assert (lesion & cortex).sum() > 0.5 * (body > 0.5).sum()
        lobes = lobe_map(head)
        assert (lobes[lesion] > 0).mean() > 0.8  # a tail may run through deep structures
        mni = np.full((*head.grid.shape, 3), np.nan)
        mni[head.inside] = head.mni
        side = np.nanmedian(mni[lesion][:, 0])
        assert side > -8 if spec.lesion.side == "right" else side < 8


def test_a_lesion_has_about_its_drawn_volume(cases):
    for spec, head, signs in cases:
        volume = (signs.lesion > 0.5).sum() * head.grid.voxel_mm3
        tail = 1.6 if spec.lesion.transmantle else 1.3
        assert 0.5 < volume / spec.lesion.volume_mm3 < tail


def test_signs_are_those_of_a_dysplasia(cases):
    spec, head, _ = cases[0]
    strong = replace(
        spec.lesion,
        thickening_mm=2.5,
        blur_mm=3.0,
        flair=0.3,
        t1w=0.1,
        volume_mm3=6000.0,
        transmantle=False,
    )
    signs = add_findings(replace(spec, lesion=strong), head)
    lesion = signs.lesion > 0.5
    away = signs.lesion < 1e-4
    assert signs.flair[lesion].mean() > 0.15
    assert signs.t1w[lesion].mean() < -0.03
    assert signs.tissue[1][lesion].mean() > head.tissue[1][lesion].mean() + 0.03  # thicker
    core = signs.lesion > 0.8
    steep = [
        np.linalg.norm(np.gradient(t[2]), axis=0)[core].mean() for t in (head.tissue, signs.tissue)
    ]
    assert steep[1] < 0.8 * steep[0]  # blurred junction
    np.testing.assert_allclose(signs.tissue[0], head.tissue[0], atol=1e-5)  # sulci stay
    np.testing.assert_allclose(signs.flair[away], 0, atol=1e-4)
    np.testing.assert_allclose(signs.tissue[:, away], head.tissue[:, away], atol=1e-3)


def test_a_transmantle_tail_reaches_toward_the_ventricle(cases):
    spec, head, _ = max(cases, key=lambda c: c[1].ventricle_mm[c[2].lesion > 0.5].mean())
    near = []
    for tail in (False, True):
        lesion = replace(spec.lesion, transmantle=tail, volume_mm3=2000.0, flair=0.3)
        signs = add_findings(replace(spec, lesion=lesion), head)
        near.append(head.ventricle_mm[signs.flair > 0.05].min())
    assert near[1] < near[0] - 4
    assert near[1] < 8


def test_benign_findings_change_controls_and_leave_no_lesion():
    spec = sample_phantom(SEED, "control", 1, VOXEL)
    number = 1
    while not {"wm_spot", "blurred_junction"} <= {c.kind for c in spec.confounders}:
        number += 1
        spec = sample_phantom(SEED, "control", number, VOXEL)
    head = build_head(spec)
    signs = add_findings(spec, head)
    assert signs.lesion.max() == 0
    assert signs.flair.max() > 0.05
    assert np.abs(signs.tissue[1] - head.tissue[1]).max() > 0.05


@pytest.mark.parametrize("signs", [(0.3, 0.0, 0.0, 0.0), (0.0, 0.0, 0.3, -0.2)])
def test_a_benign_stretch_changes_its_cortex_or_the_white_matter_beneath(cases, signs):
    spec, head, _ = cases[0]
    flair, t1w, white_flair, white_t1w = signs
    mimic = replace(
        spec.lesion,
        thickening_mm=0.0,
        blur_mm=0.0,
        flair=flair,
        t1w=t1w,
        white_flair=white_flair,
        white_t1w=white_t1w,
        volume_mm3=4000.0,
        transmantle=False,
    )
    found = add_findings(replace(spec, lesion=None, mimics=(mimic,)), head)
    assert found.lesion.max() == 0
    np.testing.assert_allclose(found.tissue, head.tissue, atol=1e-3)
    white = head.tissue[2] > 0.9
    grey = head.tissue[1] > 0.9
    if flair:
        assert found.flair[grey].max() > 0.2
        assert np.abs(found.t1w).max() == 0
    else:
        assert found.flair[white].max() > 0.2
        assert found.t1w[white].max() > 0.1  # darker by -0.2: brighter
        assert np.abs(found.flair[grey]).max() < 0.05


def test_benign_stretches_differ_from_each_other_and_leave_the_lesion_where_it_is():
    spec = replace(sample_phantom(SEED, "patient", 1, VOXEL, "3"), confounders=())
    head = build_head(spec)
    alone = add_findings(replace(spec, mimics=()), head)
    mimic = replace(spec.lesion, side="left", flair=0.3)
    many = add_findings(replace(spec, mimics=(mimic, mimic)), head)
    np.testing.assert_array_equal(many.lesion, alone.lesion)
    one = add_findings(replace(spec, mimics=(mimic,)), head)
    assert np.abs(many.flair - one.flair).max() > 0.05


def scan(spec, head, level):
    """Scan a head of one flat intensity: what is not flat is the scanner's."""
    sampler = place_head(head.grid, head.brain, level)
    flat = np.ones(head.grid.shape, dtype=np.float32)
    image = acquire(spec, replace(level, bias=0.0, ghost=0.0), flat, sampler, "T1w")
    inner = ndimage.binary_erosion(sampler.mask, iterations=3)
    return image[inner] / level.gain


def test_scanners_differ_in_noise_contrast_and_voxels(cases):
    _, head, _ = cases[0]
    found = {}
    number = 0
    while set(found) < {"A", "B", "C"}:
        number += 1
        spec = sample_phantom(SEED, "control", number, VOXEL)
        found.setdefault(spec.site, spec)
    noise = {site: scan(spec, head, spec.t1w).std() for site, spec in found.items()}
    for site, spec in found.items():
        assert noise[site] == pytest.approx(spec.t1w.noise, rel=0.05)
    many = [sample_phantom(SEED, "control", n, VOXEL) for n in range(1, 121)]
    by_site = {k: [s for s in many if s.site == k] for k in "ABC"}
    level = {k: np.mean([s.t1w.noise for s in v]) for k, v in by_site.items()}
    assert level["A"] < level["B"] < level["C"]
    contrast = {
        k: np.mean([s.t1w.tissue[2] - s.t1w.tissue[1] for s in v]) for k, v in by_site.items()
    }
    assert contrast["A"] > contrast["B"] + 0.02 > contrast["C"] + 0.04
    assert len({s.flair.voxel_mm for s in found.values()}) == 3


def test_scan_grid_stores_the_axes_as_the_scanner_does():
    for number in range(1, 12):
        spec = sample_phantom(SEED, "patient", number, VOXEL)
        for level in (spec.t1w, spec.flair):
            area = scan_grid(level)
            assert "".join(nib.aff2axcodes(area.matrix)) == level.orientation
            middle = area.world((np.array(area.shape) - 1) / 2)
            np.testing.assert_allclose(middle, 0, atol=1e-9)
            np.testing.assert_allclose(sorted(area.voxel_mm), sorted(level.voxel_mm))


def test_a_field_has_unit_variance_and_the_same_shape_on_a_finer_grid():
    coarse, fine = head_grid(5.0), head_grid(2.5)
    a = smooth_field(stream(0, "field"), coarse, 20.0)
    b = smooth_field(stream(0, "field"), fine, 20.0)[::2, ::2, ::2]
    overlap = tuple(slice(min(m, n)) for m, n in zip(a.shape, b.shape, strict=True))
    np.testing.assert_allclose(a[overlap], b[overlap], atol=1e-4)
    assert 0.8 < a.std() < 1.2
