"""Hosts: cortex lies at the surface, depth has its sign, closed places stay closed."""

import numpy as np
from scipy import ndimage

from lesionforge.lesions.host import CLEARANCE_MM, JUNCTION_MM, read_host
from lesionforge.preprocessing.regions import REGIONS, region_map


def test_depth_is_negative_in_cortex_and_the_distance_to_it_in_white_matter(hosts):
    host = hosts[0]
    assert (host.depth_mm[host.cortex] < 0).all()
    cortex = host.grid.world(np.argwhere(host.cortex))
    white = np.argwhere((host.tissues[2] > 0.9) & host.brain)[::211]
    for voxel in white:
        nearest = np.linalg.norm(cortex - host.grid.world(voxel), axis=1).min()
        assert abs(host.depth_mm[tuple(voxel)] - (nearest - 1.25)) < 1e-3


def test_open_brain_leaves_out_what_it_must(hosts):
    host = hosts[0]
    names = {REGIONS[code] for code in np.unique(host.regions[host.open])}
    assert names == {"frontal", "parietal", "temporal", "occipital", "insula", "deep-grey"}
    assert not host.open[~host.brain].any()
    assert host.tissues[0][host.open].max() <= 0.95
    assert 0.5 < host.open.sum() / host.brain.sum() < 0.9


def test_the_ribbon_is_cortex_and_its_junction_away_from_ventricles(hosts):
    host = hosts[0]
    assert (host.ribbon >= host.cortex).all()
    assert host.depth_mm[host.ribbon].max() <= max(JUNCTION_MM, 0.75 * 2.5)
    ventricles = host.regions == REGIONS.index("ventricles")
    near = ndimage.distance_transform_edt(~ventricles, sampling=host.grid.voxel_mm)
    insula = host.regions == REGIONS.index("insula")
    assert near[host.cortex & ~insula].min() > 4


def test_brain_beyond_the_template_takes_the_nearest_region(hosts):
    host = hosts[0]
    assert (host.regions[host.brain] > 0).all()
    known = host.brain & (region_map(host.grid) > 0)
    assert np.array_equal(host.regions[known], region_map(host.grid)[known])


def test_a_patient_forbids_its_lesion_and_its_surroundings(toy_cohort):
    patient = next(s for s in toy_cohort if s.group == "patient")
    control = next(s for s in toy_cohort if s.group == "control")
    assert not read_host(control).forbidden.any()
    host = read_host(patient)
    from_file = host.forbidden
    assert from_file.any()
    assert not host.open[from_file].any()
    edge = ndimage.distance_transform_edt(from_file, sampling=host.grid.voxel_mm)
    assert edge.max() > CLEARANCE_MM
