"""Rendering keeps its guarantees on any draw, replays a spec exactly and refuses what cannot be."""

import dataclasses
import json

import numpy as np
import pytest
from scipy import ndimage

from lesionforge.errors import MaskError
from lesionforge.lesions.growth import render_mask
from lesionforge.lesions.sampling import sample_spec
from lesionforge.lesions.spec import LesionSpec
from lesionforge.preprocessing.regions import REGIONS
from lesionforge.seeding import stream
from tests.lesions.template_hosts import known_prior, template_host


def assert_guaranteed(mask, spec, host, prior):
    """The guarantees, written anew: flood fill instead of labels, regions by name."""
    todo = [tuple(np.argwhere(mask)[0])]
    seen = set(todo)
    voxels = set(map(tuple, np.argwhere(mask)))
    while todo:
        x, y, z = todo.pop()
        near = {(x + i, y + j, z + k) for i in (-1, 0, 1) for j in (-1, 0, 1) for k in (-1, 0, 1)}
        new = (near & voxels) - seen
        seen |= new
        todo.extend(new)
    assert seen == voxels, "one component"
    assert host.brain[mask].all()
    assert not host.forbidden[mask].any()
    names = {REGIONS[code] for code in np.unique(host.regions[mask])}
    assert not names & {"background", "ventricles", "brainstem", "cerebellum"}
    low, high = prior.volume_range_mm3
    volume = mask.sum() * host.grid.voxel_mm3
    assert low - host.grid.voxel_mm3 <= volume <= high + host.grid.voxel_mm3
    assert abs(volume - spec.volume_mm3) <= host.grid.voxel_mm3
    if prior.style == "ribbon":
        assert host.ribbon[mask].mean() >= prior.config.min_cortex_share


@pytest.mark.parametrize(("style", "volume"), [("ribbon", 2000.0), ("blob", 8000.0)])
def test_guarantees_hold_on_many_draws(hosts, style, volume):
    prior = known_prior(style, volume)
    ball = np.linalg.norm(np.indices(hosts[0].grid.shape).T - [40, 30, 45], axis=-1).T < 8
    hosts = [dataclasses.replace(host, forbidden=ball) for host in hosts]
    for number in range(18):
        host = hosts[number % len(hosts)]
        spec = sample_spec(prior, host, stream(0, style, number))
        assert_guaranteed(render_mask(spec, host), spec, host, prior)


@pytest.mark.parametrize("voxel_mm", [3.0, 5.0])
def test_guarantees_hold_on_other_grids(voxel_mm):
    prior, host = known_prior("ribbon", 2000.0), template_host(7, voxel_mm)
    for number in range(3):
        spec = sample_spec(prior, host, stream(1, "grids", number))
        assert_guaranteed(render_mask(spec, host), spec, host, prior)


def test_the_same_spec_gives_the_same_mask_after_json(hosts):
    spec = sample_spec(known_prior("ribbon", 2000.0), hosts[0], stream(2, "json"))
    again = LesionSpec.from_json(json.loads(json.dumps(spec.to_json())))
    assert again == spec
    mask = render_mask(spec, hosts[0])
    assert np.array_equal(mask, render_mask(again, template_host(0, 2.5)))
    state = np.random.get_state()[1].copy()  # noqa: NPY002 (it must stay untouched)
    render_mask(spec, hosts[0])
    assert np.array_equal(state, np.random.get_state()[1])  # noqa: NPY002


def test_the_growth_parameters_do_what_they_say(hosts):
    host = hosts[0]
    spec = sample_spec(known_prior("ribbon", 4000.0), host, stream(3, "law"))
    thin = dataclasses.replace(spec, reach_in_mm=0.5, reach_out_mm=0.5, min_cortex_share=0.0)
    thick = dataclasses.replace(spec, reach_in_mm=20.0, reach_out_mm=20.0, min_cortex_share=0.0)
    flat, round_ = render_mask(thin, host), render_mask(thick, host)
    assert host.depth_mm[flat].std() < host.depth_mm[round_].std()
    axis = np.array([0.0, 1.0, 0.0])
    long = dataclasses.replace(thick, aspect=1.5, axis=tuple(axis), roughness=0.0)
    short = dataclasses.replace(long, aspect=0.0)
    extent = [np.ptp(np.argwhere(render_mask(s, host))[:, 1]) for s in (long, short)]
    assert extent[0] > extent[1]
    volumes = [render_mask(dataclasses.replace(thick, volume_mm3=v), host) for v in (1e3, 4e3)]
    assert [m.sum() for m in volumes] == [64, 256]


def test_growth_takes_the_earliest_voxels(hosts):
    """Slow and obvious: Dijkstra by relaxation over the whole grid gives the same set."""
    host = hosts[1]
    spec = sample_spec(known_prior("blob", 3000.0), host, stream(4, "slow"))
    spec = dataclasses.replace(spec, aspect=0.0, roughness=0.0, lobe=None)
    mask = render_mask(spec, host)
    cost = np.where(host.open, np.exp(1.0 * host.tissues[0]), np.inf)
    seed = tuple(np.round(host.grid.index(np.array(spec.seed_mm))).astype(int))
    times = np.full(host.grid.shape, np.inf)
    times[seed] = 0
    window = tuple(slice(s - 12, s + 13) for s in seed)
    times, cost = times[window], cost[window]
    moves = [m for m in np.ndindex(3, 3, 3) if m != (1, 1, 1)]
    for _ in range(40):
        for move in moves:
            shift = tuple(np.array(move) - 1)
            step = 2.5 * np.linalg.norm(shift)
            other = [ndimage.shift(v, shift, order=0, cval=np.inf) for v in (times, cost)]
            times = np.fmin(times, other[0] + step * (cost + other[1]) / 2)
    chosen = mask[window]
    assert chosen.sum() == mask.sum()
    assert times[chosen].max() <= times[~chosen & np.isfinite(cost)].min() + 1e-3


def test_a_host_without_room_is_refused(hosts):
    spec = sample_spec(known_prior("ribbon", 2000.0), hosts[0], stream(5, "room"))
    everything = dataclasses.replace(hosts[0], forbidden=np.ones(hosts[0].grid.shape, bool))
    with pytest.raises(MaskError, match="may have no lesion"):
        render_mask(spec, everything)
    seed = np.round(hosts[0].grid.index(np.array(spec.seed_mm))).astype(int)
    walls = np.ones(hosts[0].grid.shape, bool)
    walls[tuple(slice(s - 1, s + 2) for s in seed)] = False
    with pytest.raises(MaskError, match="has room for"):
        render_mask(spec, dataclasses.replace(hosts[0], forbidden=walls))
    deep = dataclasses.replace(spec, min_cortex_share=1.0, reach_in_mm=50.0, volume_mm3=9000.0)
    with pytest.raises(MaskError, match="in cortex or junction"):
        render_mask(deep, hosts[0])
