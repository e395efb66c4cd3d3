"""Descriptors of bodies whose shape, depth and place are known."""

import dataclasses

import numpy as np
import pytest

from lesionforge.errors import MaskError
from lesionforge.lesions.shape import describe_mask, largest_component
from lesionforge.preprocessing.regions import REGIONS


def test_only_the_largest_component_counts():
    mask = np.zeros((9, 9, 9), bool)
    mask[1:4, 1:4, 1:4] = True
    mask[4, 4, 4] = True  # touches by a corner: the same component
    mask[7, 7, 7] = True
    kept = largest_component(mask)
    assert kept.sum() == 28
    assert not kept[7, 7, 7]


def test_the_shape_of_simple_bodies_is_known(hosts):
    host = hosts[0]
    index = np.indices(host.grid.shape).transpose(1, 2, 3, 0) - [20, 40, 40]
    ball = np.linalg.norm(index, axis=-1) <= 8
    found = describe_mask(ball, host)
    assert found["sphericity"] > 0.9
    assert found["elongation"] > 0.98
    assert found["spread"] == pytest.approx(1, abs=0.01)
    assert found["inner_radius_mm"] == pytest.approx(8.5 * 2.5, abs=2.5)
    assert found["x_mm"] == pytest.approx(host.grid.world(np.array([20, 40, 40]))[0])
    rod = np.zeros(host.grid.shape, bool)
    rod[20, 30:50, 40] = True
    assert describe_mask(rod, host)["elongation"] == pytest.approx(1 / 20, rel=0.01)
    moved = dataclasses.replace(host, tissues=host.tissues[[1, 0, 2]])
    assert describe_mask(ball, moved)["grey_share"] != found["grey_share"]


def test_depth_shares_and_place_are_averages_over_the_mask(hosts):
    host = hosts[0]
    layer = host.cortex & (host.regions == REGIONS.index("parietal"))
    found = describe_mask(layer, host)
    assert found["ribbon_share"] == 1.0
    assert found["depth_mm"] < 0
    assert found["depth_low_mm"] <= found["depth_mm"] <= found["depth_high_mm"]
    assert found["grey_share"] == pytest.approx(host.tissues[1][layer].mean(), rel=1e-5)
    assert REGIONS[int(found["place"])] == "parietal"
    left = describe_mask(layer & (host.sides < 0), host)
    assert left["side"] == -1.0
    assert left["x_mm"] < 0
    with pytest.raises(MaskError, match="empty mask"):
        describe_mask(np.zeros_like(layer), host)
