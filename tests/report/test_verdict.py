"""Numbers as words: what a reader would be misled by if it were wrong."""

import copy

import pytest

from lesionforge.metrics.config import CandidateRules, EvaluationConfig
from lesionforge.report.results import compute_metrics
from lesionforge.report.tables import interval, p_value, percent, points, text_table
from lesionforge.report.verdict import leading, side, verdict


@pytest.fixture(scope="module")
def metrics(bench):
    return compute_metrics(
        "toy", "0" * 64, "phantom", bench.runs, CandidateRules(), EvaluationConfig(bootstrap=200)
    )


def with_difference(metrics, low, high, matched=None):
    made = copy.deepcopy(metrics)
    pair = made["comparisons"][0]
    pair["difference"] = {"value": (low + high) / 2, "ci95": [low, high]}
    pair["difference_at_half_fp"] = {"value": 0.0, "ci95": matched or [low, high]}
    return verdict(made)


def test_formats():
    assert (percent(0.3607), percent(None)) == ("36.1 %", "n/a")
    assert (points(0.082), points(-0.082)) == ("+8.2", "−8.2")
    assert interval([0.252, None]) == "25.2 to unbounded"
    assert (p_value(0.125), p_value(0.0002)) == ("0.125", "< 0.001")


def test_the_headline_answers_with_its_price_and_against_the_copies(metrics):
    made = copy.deepcopy(metrics)
    first = verdict(made)
    assert first.headline.startswith("The synthetic set spade ")
    assert "with 1 synthetic patient for each real one (augmented) sensitivity at 0.5 false" in (
        first.headline
    )
    assert "of 12 test phantom patients: " in first.headline
    assert "false positives a subject (" in first.price
    assert "no copy-paste regime" in first.price
    made["ratios"].append({**made["ratios"][0], "mode": "paste", "best": "copied"})
    assert "no ratio of both was chosen" in verdict(made).price
    pair = {**made["comparisons"][0], "a": "copied", "b": "other"}
    pair["difference_at_half_fp"] = {"value": 0.07, "ci95": [0.01, 0.13]}
    made["against_copies"] = [pair]
    made["regimes"]["copied"] = made["regimes"]["augmented"]
    assert "+7.0 points" not in verdict(made).price  # of another regime
    pair["b"] = "augmented"
    assert "(augmented minus copied, each at its best ratio)" in verdict(made).price
    assert "+7.0 points, whose interval (1.0 to 13.0) lies wholly above 0" in verdict(made).price
    made["ratios"][0]["best"] = "expanded"
    assert verdict(made).headline.startswith("Regime expanded ")


def test_only_an_interval_beyond_nothing_is_called_help_or_harm(metrics):
    assert "spade is not shown to help: with" in with_difference(metrics, -0.01, 0.17).headline
    assert "spade helped: with" in with_difference(metrics, 0.01, 0.17).headline
    assert "spade did harm: with" in with_difference(metrics, -0.17, -0.01).headline
    assert [side(x) for x in ([0.0, 0.1], [None, 0.1], [0.1, None])] == [
        "around",
        "around",
        "above",
    ]


def test_operating_points_that_disagree_are_both_told(metrics):
    """Equal false positives decide; what the thresholds say stands beside it."""
    told = with_difference(metrics, 0.02, 0.2, [-0.01, 0.17])
    assert "is not shown to help" in told.headline
    assert "whose interval (−1.0 to 17.0) includes 0" in told.headline
    assert "+11.0 points, whose interval (2.0 to 20.0) lies wholly above 0" in told.price
    assert "spade helped" in with_difference(metrics, -0.01, 0.17, [0.02, 0.2]).headline


def test_an_unknown_interval_shows_nothing_and_names_stay_as_written(metrics):
    pair = {**metrics["comparisons"][0], "b": "oddName_A"}
    pair["difference"] = {"value": 1.0, "ci95": None}
    regimes = {**metrics["regimes"], "oddName_A": metrics["regimes"]["augmented"]}
    pair["difference_at_half_fp"] = {"value": 1.0, "ci95": None}
    made = verdict({**metrics, "comparisons": [pair], "regimes": regimes, "ratios": []})
    assert made.headline.startswith("Regime oddName_A is not shown to help: sensitivity at")
    assert "is not known: every resample of the subjects gives the same" in made.headline


def test_the_headline_owns_up_to_a_single_training(metrics):
    pair, warning = metrics["comparisons"][0], "how trainings differ is in no interval"
    one, two = (
        verdict({**metrics, "comparisons": [{**pair, "seeds": seeds}]}).price
        for seeds in ([0], [0, 1])
    )
    assert one.endswith(f"{warning}.")
    assert warning not in two


def test_two_ways_to_show_nothing_do_not_contradict_each_other(metrics):
    """Everybody is found in both regimes: one interval is unknown, the other holds 0."""
    pair = {**metrics["comparisons"][0], "b": "augmented"}
    pair["difference"] = {"value": 0.0, "ci95": None}
    pair["difference_at_half_fp"] = {"value": 0.0, "ci95": [0.0, 0.04]}
    made = verdict({**metrics, "comparisons": [pair], "ratios": []})
    assert "is not shown to help" in made.headline


def test_phantoms_are_named_and_real_subjects_are_not_called_phantoms(metrics):
    made = verdict(metrics)
    assert "phantom" in made.headline
    assert "phantom" in made.banner
    assert verdict({**metrics, "data": "real"}).banner == ""


def test_text_table_fits_and_is_whole(metrics):
    lines = text_table(metrics).splitlines()
    assert max(map(len, lines)) <= 132
    assert lines[0].split() == ["baseline", "augmented", "expanded"]
    k = metrics["regimes"]["expanded"]["sensitivity"]["k"]
    assert f"{k[0]} · {k[1]} of 12" in text_table(metrics)
    assert "Phantoms, not patients" in lines[-1]


def test_of_many_regimes_a_few_lead(metrics):
    regimes = metrics["regimes"]
    assert leading(metrics) == list(regimes)
    pair = metrics["comparisons"][0]
    ratios = {f"dose_{i}": regimes["augmented"] for i in range(4)}
    pairs = [{**pair, "b": name} for name in ratios]
    many = {
        **metrics,
        "regimes": regimes | ratios,
        "comparisons": [*metrics["comparisons"], *pairs],
        "ratios": [
            {"mode": "insert", "best": "dose_2", "points": []},
            {"mode": "paste", "best": "dose_1", "points": []},
        ],
        "against_copies": [{**pair, "a": "dose_1", "b": "dose_2"}],
    }
    assert leading(many) == ["baseline", "augmented", "expanded", "dose_1", "dose_2"]
    real = {f"real_{i}": regimes["expanded"] for i in range(6)}
    plain = {"regimes": {"baseline": regimes["baseline"], **real}, "ratios": [], "comparisons": []}
    assert len(leading({**metrics, **plain})) == 7


def test_text_table_of_many_regimes_goes_on_below(metrics):
    regimes = metrics["regimes"]
    many = {**metrics, "regimes": regimes | {f"dose_{i}": regimes["augmented"] for i in range(7)}}
    table = text_table(many)
    lines = table.splitlines()
    assert max(map(len, lines)) <= 132
    heads = [line.split() for line in lines if "baseline" in line or "dose_" in line]
    assert len(heads) > 1
    assert [name for head in heads for name in head] == list(many["regimes"])
    assert table.count("Sensitivity, patients") == len(heads)
