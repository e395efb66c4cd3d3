"""The growth that is fitted to a mask makes masks like it, better than another lesion's does."""

import dataclasses

import numpy as np
import pytest

from lesionforge.errors import MaskError
from lesionforge.lesions.growth import render_mask
from lesionforge.lesions.growth_fit import fit_growth, inwards, mismatch
from lesionforge.lesions.sampling import sample_spec
from lesionforge.lesions.shape import describe_mask
from lesionforge.seeding import stream
from tests.lesions.template_hosts import known_prior


def test_a_fitted_growth_beats_the_opposite_kind(hosts):
    host = hosts[0]
    base = sample_spec(known_prior("ribbon", 4000.0), host, stream(0, "growth"))
    thin = {"reach_in_mm": 0.5, "reach_out_mm": 1.0, "aspect": 1.0, "roughness": 0.8}
    thick = {"reach_in_mm": 12.0, "reach_out_mm": 12.0, "aspect": 0.0, "roughness": 0.1}
    kinds = [dataclasses.replace(base, min_cortex_share=0.0, **k) for k in (thin, thick)]
    masks = [render_mask(kind, host) for kind in kinds]
    fits = [fit_growth(mask, host, "ribbon") for mask in masks]
    wanted = [describe_mask(mask, host) for mask in masks]
    for fit, own, other in ((fits[0], 0, 1), (fits[1], 1, 0)):
        fields = dataclasses.asdict(fit)
        fields.pop("tilt")
        again = render_mask(dataclasses.replace(kinds[own], noise_seed=5, **fields), host)
        found = describe_mask(again, host)
        assert mismatch(found, wanted[own], 2.5) < mismatch(found, wanted[other], 2.5)
    assert fits[0].reach_in_mm < fits[1].reach_in_mm


def test_a_lesion_in_the_ventricles_only_is_refused(hosts):
    host = hosts[0]
    closed = ~host.open & host.brain
    with pytest.raises(MaskError, match="almost wholly in ventricles"):
        fit_growth(closed, host, "blob")


def test_inwards_points_to_greater_depth(hosts):
    host = hosts[0]
    index = np.argwhere(host.cortex)[::97]
    direction = inwards(host, index)
    length = np.linalg.norm(direction, axis=1)
    assert ((np.abs(length - 1) < 1e-6) | (length == 0)).all()
    ahead = np.clip(np.round(index + 1.5 * direction).astype(int), 0, np.array(host.grid.shape) - 1)
    rise = host.depth_mm[tuple(ahead.T)] - host.depth_mm[tuple(index.T)]
    assert (rise[length > 0] > 0).mean() > 0.9
