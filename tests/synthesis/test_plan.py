"""A plan that a set can grow along, and that a person may edit."""

import itertools
from collections import Counter

import numpy as np
import pandas as pd
import pytest

from lesionforge.errors import ConfigError, DataError
from lesionforge.lesions.config import LesionConfig
from lesionforge.lesions.prior import LesionPrior, fit_prior
from lesionforge.lesions.spec import LesionRequest
from lesionforge.preprocessing.regions import LOBES
from lesionforge.provenance import write_tsv
from lesionforge.synthesis.plan import (
    control_requests,
    plan_table,
    read_plan,
    request,
    sample_plan,
    sample_requests,
)
from tests.lesions.template_hosts import known_prior


@pytest.fixture(scope="module")
def prior(toy_cohort) -> LesionPrior:
    return fit_prior(toy_cohort, LesionConfig())


def test_the_first_wishes_do_not_depend_on_how_many(prior):
    many = sample_requests(prior, 130, seed=0)
    for n in (0, 1, 35, 64, 65, 70):
        assert sample_requests(prior, n, seed=0) == many[:n]
    assert sample_requests(prior, 5, seed=1) != many[:5]
    assert [w.number for w in many] == list(range(1, 131))


def test_a_prefix_is_evenly_spread(prior):
    requests = sample_requests(prior, 24, seed=3)
    sides = Counter(w.lesion.side for w in requests)
    assert abs(sides["left"] - sides["right"]) <= 4
    low, high = prior.volume_range_mm3
    middle = float(prior.volume_mm3(0.5))
    below = sum(w.lesion.volume_mm3 < middle for w in requests)
    assert 8 <= below <= 16
    assert all(low <= w.lesion.volume_mm3 <= high for w in requests)


def test_turns_count_within_a_site_and_controls_share_the_sites(prior):
    requests = sample_requests(prior, 40, seed=0)
    for site in {w.site for w in requests}:
        turns = [w.turn for w in requests if w.site == site]
        assert turns == list(range(len(turns)))
    controls = control_requests(requests)
    assert [w.site for w in controls] == [w.site for w in requests]
    assert all(w.group == "control" and w.lesion.lobe is None for w in controls)


def test_an_edited_plan_is_followed(prior, tmp_path):
    plan = plan_table(sample_requests(prior, 4, seed=0))
    volume = round(sum(prior.volume_range_mm3) / 2, 1)
    plan.loc[1, ["lobe", "side", "volume_mm3"]] = ["temporal", "left", volume]
    plan.loc[2, "lobe"] = None
    path = tmp_path / "plan.tsv"
    write_tsv(path, plan.iloc[[1, 2]])
    requests = sample_requests(prior, 4, 0, str(path))
    assert (requests[1].lesion.lobe, requests[1].lesion.side) == ("temporal", "left")
    assert requests[1].lesion.volume_mm3 == pytest.approx(volume)
    assert requests[2].lesion.lobe is None
    drawn = sample_requests(prior, 4, seed=0)
    assert [requests[0], requests[3]] == [drawn[0], drawn[3]]


def test_a_volume_out_of_range_is_refused_before_work_begins(prior, tmp_path):
    plan = plan_table(sample_requests(prior, 2, seed=0))
    plan.loc[0, "volume_mm3"] = 1e7
    write_tsv(tmp_path / "plan.tsv", plan)
    with pytest.raises(DataError, match=r"volume_mm3.*number 1"):
        sample_requests(prior, 2, 0, str(tmp_path / "plan.tsv"))


def test_targets_are_filled_by_largest_remainders():
    prior = known_prior("ribbon", 2000.0)
    for n, evenness in itertools.product((1, 7, 35, 500), (0.0, 0.3, 1.0)):
        plan = sample_plan(prior, n, 3, evenness)
        assert len(plan) == n
        for lobe in LOBES:
            own = sum(lesion.place == lobe for lesion in prior.lesions) / len(prior.lesions)
            target = n * (evenness / 5 + (1 - evenness) * own)
            assert abs((plan["lobe"] == lobe).sum() - target) < 1
        assert abs((plan["side"] == "left").sum() - n / 2) <= 0.5
        low, high = prior.volume_range_mm3
        assert plan["volume_mm3"].between(low - 0.1, high + 0.1).all()
        thirds = prior.volume_mm3(np.array([1, 2]) / 3)
        counts = np.bincount(np.searchsorted(thirds, plan["volume_mm3"]), minlength=3)
        assert np.ptp(counts) <= 1


def test_combinations_are_more_even_than_chance():
    prior = known_prior("ribbon", 2000.0)

    def unevenness(plan: pd.DataFrame) -> float:
        large = plan["volume_mm3"] > plan["volume_mm3"].median()
        runs = pd.crosstab([plan["lobe"], plan["side"]], large).to_numpy()
        return float(np.square(runs - runs.mean()).sum())

    ours = [unevenness(sample_plan(prior, 60, seed, 1.0)) for seed in range(8)]
    rng = np.random.default_rng(0)
    plans = [sample_plan(prior, 60, seed, 1.0) for seed in range(8)]
    shuffled = [
        unevenness(p.assign(**{c: rng.permutation(p[c]) for c in ("lobe", "side")})) for p in plans
    ]
    assert np.mean(ours) < 0.7 * np.mean(shuffled)


def test_a_plan_is_repeatable_and_survives_the_disk(tmp_path):
    prior = known_prior("ribbon", 2000.0)
    plan = sample_plan(prior, 12, 5)
    pd.testing.assert_frame_equal(plan, sample_plan(prior, 12, 5))
    assert not plan.equals(sample_plan(prior, 12, 6))
    write_tsv(tmp_path / "plan.tsv", plan)
    back = read_plan(tmp_path / "plan.tsv")
    asked = [request(row) for row in back.to_dict("records")]
    assert asked == [request(row) for row in plan.to_dict("records")]
    assert asked[0].lobe == plan["lobe"][0]


def test_a_user_may_open_values_and_is_told_of_all_faults(tmp_path):
    path = tmp_path / "plan.tsv"
    head = "number\tsite\tlobe\tside\tvolume_mm3\tconspicuity\n"
    path.write_text(head + "1\tn/a\tn/a\tleft\tn/a\tn/a\n2\tA\tinsula\tn/a\t900\t1.5\n")
    first, second = (request(row) for row in read_plan(path).to_dict("records"))
    assert first == LesionRequest(side="left")
    assert second == LesionRequest(volume_mm3=900.0, lobe="insula", conspicuity=1.5)
    path.write_text(
        head + "1\tA\tmoon\tleft\t5\t1\n1\tA\tinsula\tup\t5\t1\n3\tA\tn/a\tn/a\tbig\t1\n"
    )
    with pytest.raises(DataError) as caught:
        read_plan(path)
    for part in ("number` must differ", "moon", "'up'", "'big'"):
        assert part in str(caught.value)
    path.write_text("number\tsite\tlobe\tside\n1\tA\tn/a\tn/a\n")
    with pytest.raises(DataError, match="lacks the column"):
        read_plan(path)
    with pytest.raises(ConfigError, match="evenness"):
        sample_plan(known_prior("ribbon", 2000.0), 3, 0, 1.5)
