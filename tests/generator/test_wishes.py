"""A plan that a set can grow along, and that a person may edit."""

from collections import Counter

import pytest

from lesionforge.errors import DataError
from lesionforge.generator.wishes import control_wishes, draw_wishes, plan_table
from lesionforge.masks.prior import MaskConfig, MaskPrior, fit_prior
from lesionforge.provenance import write_tsv


@pytest.fixture(scope="module")
def prior(toy_cohort) -> MaskPrior:
    return fit_prior(toy_cohort, MaskConfig())


def test_the_first_wishes_do_not_depend_on_how_many(prior):
    many = draw_wishes(prior, 130, seed=0)
    for n in (0, 1, 35, 64, 65, 70):
        assert draw_wishes(prior, n, seed=0) == many[:n]
    assert draw_wishes(prior, 5, seed=1) != many[:5]
    assert [w.number for w in many] == list(range(1, 131))


def test_a_prefix_is_evenly_spread(prior):
    wishes = draw_wishes(prior, 24, seed=3)
    sides = Counter(w.lesion.side for w in wishes)
    assert abs(sides["left"] - sides["right"]) <= 4
    low, high = prior.volume_range_mm3
    middle = float(prior.volume_mm3(0.5))
    below = sum(w.lesion.volume_mm3 < middle for w in wishes)
    assert 8 <= below <= 16
    assert all(low <= w.lesion.volume_mm3 <= high for w in wishes)


def test_turns_count_within_a_site_and_controls_share_the_sites(prior):
    wishes = draw_wishes(prior, 40, seed=0)
    for site in {w.site for w in wishes}:
        turns = [w.turn for w in wishes if w.site == site]
        assert turns == list(range(len(turns)))
    controls = control_wishes(wishes)
    assert [w.site for w in controls] == [w.site for w in wishes]
    assert all(w.group == "control" and w.lesion.lobe is None for w in controls)


def test_an_edited_plan_is_followed(prior, tmp_path):
    plan = plan_table(draw_wishes(prior, 4, seed=0))
    volume = round(sum(prior.volume_range_mm3) / 2, 1)
    plan.loc[1, ["lobe", "side", "volume_mm3"]] = ["temporal", "left", volume]
    plan.loc[2, "lobe"] = None
    path = tmp_path / "plan.tsv"
    write_tsv(path, plan.iloc[[1, 2]])
    wishes = draw_wishes(prior, 4, 0, str(path))
    assert (wishes[1].lesion.lobe, wishes[1].lesion.side) == ("temporal", "left")
    assert wishes[1].lesion.volume_mm3 == pytest.approx(volume)
    assert wishes[2].lesion.lobe is None
    drawn = draw_wishes(prior, 4, seed=0)
    assert [wishes[0], wishes[3]] == [drawn[0], drawn[3]]


def test_a_volume_out_of_range_is_refused_before_work_begins(prior, tmp_path):
    plan = plan_table(draw_wishes(prior, 2, seed=0))
    plan.loc[0, "volume_mm3"] = 1e7
    write_tsv(tmp_path / "plan.tsv", plan)
    with pytest.raises(DataError, match=r"volume_mm3.*number 1"):
        draw_wishes(prior, 2, 0, str(tmp_path / "plan.tsv"))
