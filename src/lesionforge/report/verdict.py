"""The verdict in one paragraph: what the synthetic set changed, and at what cost."""

from dataclasses import dataclass
from typing import Any

from lesionforge.report.tables import interval, number, percent, points, signed

LIMITS = (
    "Research use only. This is no medical device; nothing here may guide the care of a patient.",
    "Score thresholds come from the validation subjects, whose labels are in the label budget; "
    "the matched comparison reads the test FROC and is not a deployable operating point.",
    "Intervals are bootstrap intervals over subjects and seeds; few seeds understate the spread "
    "between trainings. Intervals of sites and sizes are Wilson's at the mean count. Nothing is "
    "corrected for the number of comparisons.",
    "Seeds are repeated trainings on the same test subjects: they are never counted as more "
    "patients.",
    "A control counts as a false alarm with any candidate at or above the threshold. Candidates in "
    "patients that miss the outlined lesion count as false positives, even where an outline may "
    "be incomplete.",
)
PHANTOM_LIMIT = (
    "The subjects are phantoms: simulated heads with simulated lesions. The numbers test the "
    "method and the program; they say nothing about patients."
)
FEW = 5  # regimes; a page shows all of so few


@dataclass(frozen=True)
class Verdict:
    """The first paragraph of the page.

    Attributes:
        headline: the effect on sensitivity, in a sentence.
        price: the effect on false positives, and the comparison with copy-paste.
        banner: that the subjects are phantoms; empty for real subjects.
    """

    headline: str
    price: str
    banner: str = ""


def verdict(metrics: dict[str, Any]) -> Verdict:
    """Summarize `metrics` (the content of metrics.json) in a paragraph."""
    banner = PHANTOM_LIMIT if metrics["data"] == "phantom" else ""
    return Verdict(*headline(metrics), banner)


def leading(metrics: dict[str, Any]) -> list[str]:
    """Name the regimes that a reader looks at first: all, if they are few.

    Of many: the baseline, the published ratio, the headline's, the best pasted ratio, expanded.
    """
    names = list(metrics["regimes"])
    pasted = [c["best"] for c in metrics["ratios"] if c["mode"] == "paste"]
    first = {"baseline", "augmented", "expanded", spoken_of(metrics), *pasted[:1]}
    chosen = [name for name in names if name in first]
    return chosen if len(names) > FEW and len(chosen) > 2 else names


def headline(metrics: dict[str, Any]) -> tuple[str, str]:
    """Say whether and by how much it helped; and at what price, and against copies."""
    name = spoken_of(metrics)
    pair = next((p for p in metrics["comparisons"] if (p["a"], p["b"]) == ("baseline", name)), None)
    if pair is None:
        only = metrics["regimes"]["baseline"]["sensitivity"]
        return (
            f"One regime only: the baseline detects {percent(only['value'])} of the patients.",
            "",
        )
    price = f"{_at_thresholds(pair)}{_against_copies(metrics, name)}"
    if len(pair["seeds"]) == 1:
        price += " One training of each regime: how trainings differ is in no interval."
    return _helped(metrics, pair, name), price


def _helped(metrics: dict[str, Any], pair: dict[str, Any], name: str) -> str:
    """Answer in a sentence, by the difference at the matched rate of false positives."""
    curve, ratio = ratio_of(metrics, name)
    subject, given = f"Regime {name}", ""
    if curve:
        subject = f"The synthetic set {curve['set']}"
        many = "s" if ratio != 1 else ""
        given = f"with {ratio:.2g} synthetic patient{many} for each real one ({name}) "
    matched = pair["difference_at_half_fp"]
    answer = {"above": "helped", "below": "did harm"}.get(
        side(matched["ci95"]), "is not shown to help"
    )
    mine, usual = metrics["regimes"][name], metrics["regimes"]["baseline"]
    reading = mine["sensitivity_at_half_fp"]
    kind = "test phantom patients" if metrics["data"] == "phantom" else "test patients"
    shares = f" of {metrics['test']['patients']} {kind}{where(metrics, 'baseline', name)}"
    if mine["seeds"] == usual["seeds"]:
        level = number(100 * usual["sensitivity_at_half_fp"]["value"], 1)
        shares = f" goes from {level} to {percent(reading['value'])}{shares}"
    return (
        f"{subject} {answer}: {given}sensitivity at {reading['false_positives_per_patient']:g} "
        f"false positives a patient{shares}: {_in_words(matched)}."
    )


def _at_thresholds(pair: dict[str, Any]) -> str:
    """Give sensitivity and its price in false positives at the validation thresholds."""
    shares, false = pair["sensitivity"], pair["false_positives_per_subject"]
    more, lost = pair["false_positives_difference"], pair["specificity_difference"]
    text = (
        f"At the score thresholds chosen on validation subjects it detects {percent(shares[1])} "
        f"against {percent(shares[0])}: {_in_words(pair['difference'])}. The price there: "
        f"{number(false[1])} against {number(false[0])} false positives a subject "
        f"({signed(more['value'])}; {interval(more['ci95'], 1, 2)})"
    )
    if lost["value"] is not None:
        text += f" and {points(lost['value'])} points of specificity ({interval(lost['ci95'])})"
    return f"{text}."


def _against_copies(metrics: dict[str, Any], name: str) -> str:
    """Say how generated lesions do against pasted real ones, which cost no training."""
    if not any(curve["mode"] != "paste" for curve in metrics["ratios"]):
        return ""
    pairs = [pair for pair in metrics["against_copies"] if pair["b"] == name]
    if not pairs:
        if all(curve["mode"] != "paste" for curve in metrics["ratios"]):
            return " There is no copy-paste regime to compare with."
        return (
            " It is not compared with copy-paste: no ratio of both was chosen on validation "
            "patients and trained with the same seed."
        )
    copies = pairs[0]["a"]
    return (
        f" Against pasted real lesions ({name} minus {copies}, each at its best ratio"
        f"{where(metrics, copies, name)}), at the same rate of false positives: "
        f"{_in_words(pairs[0]['difference_at_half_fp'])}."
    )


def _in_words(difference: dict[str, Any]) -> str:
    """Say a difference in sensitivity with its interval."""
    value, ci95 = points(difference["value"]), interval(difference["ci95"])
    return f"{value} points, whose interval ({ci95}) {words(difference['ci95'])}"


def spoken_of(metrics: dict[str, Any]) -> str:
    """Name the regime of the headline: the best ratio of the first generated set, or augmented.

    Without either it is the first one that is compared with the baseline.
    """
    best = [c["best"] for c in metrics["ratios"] if c["mode"] != "paste" and c["best"]]
    compared = [pair["b"] for pair in metrics["comparisons"] if pair["a"] == "baseline"]
    wanted = [name for name in (*best[:1], "augmented") if name in compared]
    return [*wanted, *compared, "baseline"][0]


def ratio_of(metrics: dict[str, Any], name: str) -> tuple[dict[str, Any] | None, float]:
    """Find the ratio curve that a regime is on, and its ratio; None and 0 if it is on none."""
    for curve in metrics["ratios"]:
        for point in curve["points"]:
            if point["regime"] == name and point["ratio"]:
                return curve, point["ratio"]
    return None, 0.0


def where(metrics: dict[str, Any], *names: str) -> str:
    """Return ` (seeds 0, 1)`, those that all of some regimes have; empty if that is all of them."""
    seeds = [set(metrics["regimes"][name]["seeds"]) for name in names]
    common = sorted(set.intersection(*seeds))
    if all(mine == set(common) for mine in seeds):
        return ""
    return f" (seed{'s' if len(common) > 1 else ''} {', '.join(map(str, common))})"


def side(ci95: list[float | None] | None) -> str:
    """Tell whether an interval lies `above`, `below` or `around` 0, or is `unknown`."""
    if ci95 is None:
        return "unknown"
    low, high = ci95
    if low is not None and low > 0:
        return "above"
    return "below" if high is not None and high < 0 else "around"


def words(ci95: list[float | None] | None) -> str:
    """Say where an interval lies, as the end of a clause."""
    return {
        "above": "lies wholly above 0",
        "below": "lies wholly below 0",
        "around": "includes 0",
        "unknown": "is not known: every resample of the subjects gives the same",
    }[side(ci95)]
