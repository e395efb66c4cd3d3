"""Plans fill their targets exactly, spread evenly, and can be edited."""

import itertools

import numpy as np
import pandas as pd
import pytest
from template_hosts import known_prior

from lesionforge.cohort.regions import LOBES
from lesionforge.errors import ConfigError, DataError
from lesionforge.masks.plan import draw_plan, read_plan, request
from lesionforge.masks.spec import MaskRequest
from lesionforge.provenance import write_tsv


def test_targets_are_filled_by_largest_remainders():
    prior = known_prior("ribbon", 2000.0)
    for n, evenness in itertools.product((1, 7, 35, 500), (0.0, 0.3, 1.0)):
        plan = draw_plan(prior, n, 3, evenness)
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
        cells = pd.crosstab([plan["lobe"], plan["side"]], large).to_numpy()
        return float(np.square(cells - cells.mean()).sum())

    ours = [unevenness(draw_plan(prior, 60, seed, 1.0)) for seed in range(8)]
    rng = np.random.default_rng(0)
    plans = [draw_plan(prior, 60, seed, 1.0) for seed in range(8)]
    shuffled = [
        unevenness(p.assign(**{c: rng.permutation(p[c]) for c in ("lobe", "side")})) for p in plans
    ]
    assert np.mean(ours) < 0.7 * np.mean(shuffled)


def test_a_plan_is_repeatable_and_survives_the_disk(tmp_path):
    prior = known_prior("ribbon", 2000.0)
    plan = draw_plan(prior, 12, 5)
    pd.testing.assert_frame_equal(plan, draw_plan(prior, 12, 5))
    assert not plan.equals(draw_plan(prior, 12, 6))
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
    assert first == MaskRequest(side="left")
    assert second == MaskRequest(volume_mm3=900.0, lobe="insula", conspicuity=1.5)
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
        draw_plan(known_prior("ribbon", 2000.0), 3, 0, 1.5)
