"""Sampling: requests are met, chance is named, impossible requests say what to do."""

import dataclasses

import numpy as np
import pytest

from lesionforge.errors import ConfigError, MaskError
from lesionforge.lesions.growth import render_mask
from lesionforge.lesions.sampling import sample_spec
from lesionforge.lesions.shape import describe_mask
from lesionforge.lesions.spec import LesionRequest
from lesionforge.preprocessing.regions import LOBES, REGIONS
from lesionforge.seeding import stream
from tests.contrasts import as_row, in_rows
from tests.lesions.template_hosts import known_prior


def test_the_same_stream_draws_the_same_spec(hosts):
    prior = known_prior("ribbon", 2000.0)
    first = sample_spec(prior, hosts[0], stream(0, "masks", "sub-syn0001"))
    assert first == sample_spec(prior, hosts[0], stream(0, "masks", "sub-syn0001"))
    assert first != sample_spec(prior, hosts[0], stream(0, "masks", "sub-syn0002"))


@pytest.mark.parametrize("lobe", LOBES)
def test_requests_are_met(hosts, lobe):
    prior = known_prior("ribbon", 2000.0)
    for number, side in enumerate(("left", "right")):
        wanted = LesionRequest(volume_mm3=1500.0, lobe=lobe, side=side, conspicuity=1.25)
        spec = sample_spec(prior, hosts[number], stream(0, lobe, side), wanted)
        found = describe_mask(render_mask(spec, hosts[number]), hosts[number])
        assert REGIONS[int(found["place"])] == lobe
        assert (found["x_mm"] < 0) == (side == "left")
        assert found["volume_mm3"] == pytest.approx(1500.0)
        assert spec.conspicuity == 1.25


def test_signs_are_those_of_a_lesion_about_as_conspicuous(hosts):
    prior = known_prior("ribbon", 2000.0)  # contrast are -0.4, 0.9, 0.2, -0.5, in and around
    weak = min(prior.lesions, key=lambda x: x.conspicuity)
    odd = [
        dataclasses.replace(x, contrast=in_rows(0.5, 0.1)) if x == weak else x
        for x in prior.lesions
    ]
    prior = dataclasses.replace(prior, lesions=tuple(odd))
    strong = max(x.conspicuity for x in odd)
    found = []
    for number in range(8):
        rng = stream(0, "contrast", number)
        spec = sample_spec(prior, hosts[0], rng, LesionRequest(conspicuity=strong))
        found.append(as_row(spec.contrast) / strong)
    ratios = np.array(found) / ([-0.4, 0.9, 0.2, -0.5] * 2)
    assert (ratios > 0.4).all()  # a weak one is at most doubled, and no sign turns round
    assert (ratios < 1.6).all()
    assert len(np.unique(ratios.round(6))) == ratios.size  # no lesion is another's copy


def test_lobes_without_training_lesions_stay_possible_and_sides_mirror(hosts):
    prior = known_prior("ribbon", 800.0, place_floor=0.5)
    only = [
        dataclasses.replace(x, place="frontal", side="left", centroid_mm=(-30.0, 30.0, 30.0))
        for x in prior.lesions
    ]
    prior = dataclasses.replace(prior, lesions=tuple(only))
    found = [
        describe_mask(render_mask(sample_spec(prior, h, stream(0, "floor", n)), h), h)
        for n, h in enumerate(hosts * 9)
    ]
    places = {REGIONS[int(f["place"])] for f in found}
    assert {"frontal", "parietal", "temporal"} <= places
    right = np.mean([f["side"] > 0 for f in found])
    assert 0.25 < right < 0.75
    # with no floor, nothing but the mirrored training place is left
    strict = dataclasses.replace(prior.config, place_floor=0.0, spatial_floor=0.0)
    prior = dataclasses.replace(prior, config=strict)
    for number in range(6):
        spec = sample_spec(prior, hosts[0], stream(0, "strict", number))
        at = np.abs(spec.seed_mm[0]), *spec.seed_mm[1:]
        assert np.linalg.norm(np.array(at) - [30, 30, 30]) < 55


def test_impossible_requests_are_refused(hosts):
    prior = known_prior("ribbon", 2000.0)
    rng = stream(0, "no")
    with pytest.raises(MaskError, match=r"between \d+ and \d+, the range of the training"):
        sample_spec(prior, hosts[0], rng, LesionRequest(volume_mm3=1e6))
    with pytest.raises(ConfigError, match="`lobe` must be one of frontal"):
        LesionRequest(lobe="cerebellum")
    with pytest.raises(ConfigError, match="`conspicuity` must be 0 or more"):
        LesionRequest(conspicuity=-1.0)
    frontal = hosts[0].regions == REGIONS.index("frontal")
    blocked = dataclasses.replace(hosts[0], forbidden=frontal)
    with pytest.raises(MaskError, match=r"lobe frontal.* in 40 attempts.*another host"):
        sample_spec(prior, blocked, rng, LesionRequest(lobe="frontal"))
    sliver = dataclasses.replace(hosts[0], forbidden=hosts[0].depth_mm < 4)
    with pytest.raises(MaskError, match="no place for a lesion"):
        sample_spec(prior, sliver, rng)
