"""The verdict in plain words: what was gained and lost, how sure that is, and what it cost."""

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


FEW = 5  # regimes, of which all are looked at first


@dataclass(frozen=True)
class Part:
    """Sentences about one question; `leads` if a reader looks at it first."""

    title: str
    lines: tuple[str, ...]
    leads: bool = True


@dataclass(frozen=True)
class Verdict:
    """What the page says first.

    Attributes:
        headline: one or two sentences.
        parts: what follows, by question.
        banner: what must not be overlooked (phantoms); empty if nothing.
    """

    headline: str
    parts: tuple[Part, ...]
    banner: str = ""


def leading(metrics: dict[str, Any]) -> list[str]:
    """Name the regimes that a reader looks at first: all, if they are few.

    Of many: the baseline, the published dose, the headline's, the best pasted dose, expanded.
    """
    names = list(metrics["regimes"])
    pasted = [c["best"] for c in metrics["doses"] if c["mode"] == "paste"]
    first = {"baseline", "augmented", "expanded", _spoken_of(metrics), *pasted[:1]}
    chosen = [name for name in names if name in first]
    return chosen if len(names) > FEW and len(chosen) > 2 else names


def verdict(metrics: dict[str, Any]) -> Verdict:
    """Put `metrics` (the content of metrics.json) into words."""
    pairs, first = {(p["a"], p["b"]): p for p in metrics["comparisons"]}, leading(metrics)
    parts = [
        Part(
            f"{_begin(b)} against baseline{_where(metrics, a, b)}",
            _pair_lines(metrics, pair, b),
            b in first,
        )
        for (a, b), pair in pairs.items()
        if a == "baseline"
    ]
    worth = _gap_lines(metrics)
    if ("augmented", "expanded") in pairs:
        difference = pairs["augmented", "expanded"]["difference"]
        worth.append(
            "Real patients in place of the synthetic ones (expanded minus augmented"
            f"{_where(metrics, 'augmented', 'expanded')}): "
            f"{points(difference['value'])} points ({interval(difference['ci95'])})."
        )
    parts.append(Part("What synthetic patients are worth", tuple(worth)))
    banner = PHANTOM_LIMIT if metrics["data"] == "phantom" else ""
    return Verdict(_headline(metrics, pairs), tuple(parts), banner)


def _begin(name: str) -> str:
    """Begin a sentence with a regime's name, the rest of which stays as the user wrote it."""
    return name[:1].upper() + name[1:]


def _where(metrics: dict[str, Any], *names: str) -> str:
    """Return ` (seeds 0, 1)`, those that all of some regimes have; empty if that is all of them."""
    seeds = [set(metrics["regimes"][name]["seeds"]) for name in names]
    common = sorted(set.intersection(*seeds))
    if all(mine == set(common) for mine in seeds):
        return ""
    return f" (seed{'s' if len(common) > 1 else ''} {', '.join(map(str, common))})"


def _headline(metrics: dict[str, Any], pairs: dict[tuple[str, str], Any]) -> str:
    key = ("baseline", _spoken_of(metrics))
    if key not in pairs:
        only = metrics["regimes"]["baseline"]["sensitivity"]
        return f"One regime only: the baseline detects {percent(only['value'])} of the patients."
    pair, who = pairs[key], "phantom patients" if metrics["data"] == "phantom" else "patients"
    shares, false = pair["sensitivity"], pair["false_positives_per_subject"]
    plain, matched = pair["difference"], pair["difference_at_half_fp"]
    text = (
        f"{_begin(key[1])} detects {percent(shares[1])} of the test {who}, the baseline "
        f"{percent(shares[0])}{_where(metrics, *key)}: a difference of {points(plain['value'])} "
        "points, "
    )
    text += {
        "above": "whose whole interval lies above 0.",
        "below": "whose whole interval lies below 0.",
        "around": "but its interval includes 0, so no difference is shown.",
        "unknown": "whose interval is not known, so no difference is shown.",
    }[side(plain["ci95"])]
    shown = [side(found["ci95"]) in ("above", "below") for found in (plain, matched)]
    if any(shown) and side(plain["ci95"]) != side(matched["ci95"]):
        text += (
            " The matched comparison says otherwise: at the same rate of false positives "
            f"{_matched_words(matched)}."
        )
    text += f" False positives a subject: {number(false[1])} against {number(false[0])}."
    text += _against_copies(metrics)
    if len(pair["seeds"]) == 1:
        text += " One training of each arm: how trainings differ is in no interval."
    return text


def _spoken_of(metrics: dict[str, Any]) -> str:
    """Name the regime of the headline: the best dose of the first generated set, or augmented.

    Without either it is the first one that is compared with the baseline.
    """
    best = [c["best"] for c in metrics["doses"] if c["mode"] != "paste" and c["best"]]
    compared = [pair["b"] for pair in metrics["comparisons"] if pair["a"] == "baseline"]
    wanted = [name for name in (*best[:1], "augmented") if name in compared]
    return [*wanted, *compared, "baseline"][0]


def _against_copies(metrics: dict[str, Any]) -> str:
    """Say how generated lesions do against pasted real ones, which cost no training."""
    if not any(curve["mode"] != "paste" for curve in metrics["doses"]):
        return ""
    if not metrics["against_copies"]:
        return " There is no copy-paste arm to compare with."
    pair = metrics["against_copies"][0]
    matched = pair["difference_at_half_fp"]
    return (
        f" Against pasted real lesions ({pair['b']} minus {pair['a']}, each at its best dose"
        f"{_where(metrics, pair['a'], pair['b'])}), at the same rate of false positives: "
        f"{_matched_words(matched)}."
    )


def _matched_words(matched: dict[str, Any]) -> str:
    """Say a difference at the matched rate with its interval."""
    value, ci95 = points(matched["value"]), interval(matched["ci95"])
    return f"{value} points, whose interval ({ci95}) {_words(matched['ci95'])}"


def side(ci95: list[float | None] | None) -> str:
    """Tell whether an interval lies `above`, `below` or `around` 0, or is `unknown`."""
    if ci95 is None:
        return "unknown"
    low, high = ci95
    if low is not None and low > 0:
        return "above"
    return "below" if high is not None and high < 0 else "around"


def _pair_lines(metrics: dict[str, Any], pair: dict[str, Any], name: str) -> tuple[str, ...]:
    other = metrics["regimes"][name]
    n, many = metrics["test"]["patients"], len(pair["seeds"]) > 1
    gained, lost = (" / ".join(map(str, pair[key])) for key in ("gained", "lost"))
    p = " / ".join(p_value(value) for value in pair["mcnemar_p"])
    seeds = f" in seeds {' / '.join(map(str, pair['seeds']))}" if many else ""
    plain, matched = pair["difference"], pair["difference_at_half_fp"]
    rate = other["sensitivity_at_half_fp"]["false_positives_per_patient"]
    return (
        f"Gained {gained} of {n} patients that the baseline missed and lost {lost} that it had "
        f"found{seeds} (exact McNemar p: {p}).",
        f"Difference in sensitivity: {points(plain['value'])} points "
        f"(95 % interval {interval(plain['ci95'])}), which {_words(plain['ci95'])}.",
        f"At the same {rate:g} false positives a patient: {points(matched['value'])} points "
        f"({interval(matched['ci95'])}), which {_words(matched['ci95'])}.",
        _power(pair, n),
        _cost(pair, name),
    )


def p_value(p: float | None) -> str:
    """Return `0.125`, or `< 0.001`."""
    if p is None:
        return "n/a"
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def _words(ci95: list[float | None] | None) -> str:
    return {
        "above": "lies wholly above 0",
        "below": "lies wholly below 0",
        "around": "includes 0",
        "unknown": "is not known: every resample of the subjects gives the same",
    }[side(ci95)]


def _power(pair: dict[str, Any], n: int) -> str:
    least = pair["minimum_detectable_difference"]
    if least is None:
        return f"{n} test patients are too few to show any difference."
    text = (
        f"Of the {n} test patients, {percent(pair['discordance'])} differ between the two regimes: "
        f"one seed can show {100 * least:.1f} points or more (80 % power)"
    )
    if abs(pair["difference"]["value"] or 0) < least:
        return text + ". The difference seen is smaller, so this test set has less power for it."
    return text + "."


def _cost(pair: dict[str, Any], name: str) -> str:
    base, other = pair["false_positives_per_subject"]
    more, specificity = pair["false_positives_difference"], pair["specificity_difference"]
    matched = pair["specificity_difference_at_half_fp"]
    text = (
        f"Cost in false positives a subject: {number(other)} in {name}, {number(base)} in the "
        f"baseline, a difference of {signed(more['value'])} ({interval(more['ci95'], 1, 2)})"
    )
    if specificity["value"] is not None:
        base, other = pair["false_positives_per_control"]
        text += (
            f"; controls alone {number(other)} and {number(base)}. Difference in specificity: "
            f"{points(specificity['value'])} points ({interval(specificity['ci95'])}), which "
            f"{_words(specificity['ci95'])}; at the same false positives a patient "
            f"{points(matched['value'])} ({interval(matched['ci95'])})"
        )
    return text + "."


def _gap_lines(metrics: dict[str, Any]) -> list[str]:
    """Say what share of the gap was recovered at the thresholds, and at the matched rate."""
    arms = [name for name in ("baseline", "augmented", "expanded") if name in metrics["regimes"]]
    gap, saving, where = metrics["gap_recovered"], metrics["label_saving"], _where(metrics, *arms)
    plain = _gap_line(gap, saving, where)
    matched = _gap_line(gap["at_half_fp"], saving["at_half_fp"], where)
    lines = [plain, f"At the same rate of false positives: {matched}"]
    return lines[:1] if plain == matched else lines


def _gap_line(gap: dict[str, Any], saving: dict[str, Any], where: str) -> str:
    if gap["value"] is None:
        return f"Gap recovered and label saving are undefined. {gap['why']}"
    return (
        f"Synthetic patients made {percent(gap['value'])} of the step from baseline to expanded"
        f"{where} (95 % interval {interval(gap['ci95'])}), a label saving of "
        f"{percent(saving['value'])} ({interval(saving['ci95'])})."
    )
