"""The verdict in plain words: what was gained and lost, how sure that is, and what it cost."""

from dataclasses import dataclass
from typing import Any

from lesionforge.report.headline import dose_of, headline, spoken_of, where, words
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
MATCHED = "At the same rate of false positives: "
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
        headline: whether it helped, in a sentence.
        price: at what price, and against copies.
        parts: what follows, by question.
        banner: what must not be overlooked (phantoms); empty if nothing.
    """

    headline: str
    price: str
    parts: tuple[Part, ...]
    banner: str = ""


def leading(metrics: dict[str, Any]) -> list[str]:
    """Name the regimes that a reader looks at first: all, if they are few.

    Of many: the baseline, the published dose, the headline's, the best pasted dose, expanded.
    """
    names = list(metrics["regimes"])
    pasted = [c["best"] for c in metrics["doses"] if c["mode"] == "paste"]
    first = {"baseline", "augmented", "expanded", spoken_of(metrics), *pasted[:1]}
    chosen = [name for name in names if name in first]
    return chosen if len(names) > FEW and len(chosen) > 2 else names


def verdict(metrics: dict[str, Any]) -> Verdict:
    """Put `metrics` (the content of metrics.json) into words."""
    pairs, first = {(p["a"], p["b"]): p for p in metrics["comparisons"]}, leading(metrics)
    parts = [
        Part(
            f"{_begin(b)} against baseline{where(metrics, a, b)}",
            _pair_lines(metrics, pair, b),
            b in first,
        )
        for (a, b), pair in pairs.items()
        if a == "baseline"
    ]
    worth = [*_gap_lines(metrics), *_real_instead(metrics, pairs)]
    parts.append(Part("What synthetic patients are worth", tuple(worth)))
    banner = PHANTOM_LIMIT if metrics["data"] == "phantom" else ""
    return Verdict(*headline(metrics), tuple(parts), banner)


def _begin(name: str) -> str:
    """Begin a sentence with a regime's name, the rest of which stays as the user wrote it."""
    return name[:1].upper() + name[1:]


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
        f"(95 % interval {interval(plain['ci95'])}), which {words(plain['ci95'])}.",
        f"At the same {rate:g} false positives a patient: {points(matched['value'])} points "
        f"({interval(matched['ci95'])}), which {words(matched['ci95'])}.",
        _power(pair, n),
        _cost(pair, name),
    )


def p_value(p: float | None) -> str:
    """Return `0.125`, or `< 0.001`."""
    if p is None:
        return "n/a"
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


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
            f"{words(specificity['ci95'])}; at the same false positives a patient "
            f"{points(matched['value'])} ({interval(matched['ci95'])})"
        )
    return text + "."


def _gap_lines(metrics: dict[str, Any]) -> list[str]:
    """Say what share of the gap the headline's regime and the published dose recovered."""
    gap, saving = metrics["gap_recovered"], metrics["label_saving"]
    plain = _gap_line(metrics, "augmented", gap, saving)
    matched = _gap_line(metrics, "augmented", gap["at_half_fp"], saving["at_half_fp"])
    lines = [plain] if plain == matched else [plain, MATCHED + matched]
    curve, _ = dose_of(metrics, best := spoken_of(metrics))
    if curve is None or best != curve["best"] or best == "augmented":
        return lines
    return [
        MATCHED + _gap_line(metrics, best, curve["gap_recovered"], curve["label_saving"]),
        *lines,
    ]


def _gap_line(
    metrics: dict[str, Any], name: str, gap: dict[str, Any], saving: dict[str, Any]
) -> str:
    if gap["value"] is None:
        return f"Gap recovered and label saving of {name} are undefined. {gap['why']}"
    return (
        f"{name} makes {percent(gap['value'])} of the step from baseline to expanded"
        f"{where(metrics, 'baseline', name, 'expanded')} (95 % interval {interval(gap['ci95'])}), "
        f"a label saving of {percent(saving['value'])} ({interval(saving['ci95'])})."
    )


def _real_instead(metrics: dict[str, Any], pairs: dict[tuple[str, str], Any]) -> list[str]:
    """Say what real patients in place of the headline's synthetic ones would change."""
    name = spoken_of(metrics)
    if dose_of(metrics, name)[0] is None:
        return []
    if pair := pairs.get((name, "expanded")):
        both = pair["difference"], pair["difference_at_half_fp"]
    elif pair := pairs.get(("expanded", name)):
        both = _turned(pair["difference"]), _turned(pair["difference_at_half_fp"])
    else:
        return []
    plain, matched = (f"{points(d['value'])} points ({interval(d['ci95'])})" for d in both)
    return [
        f"Real patients in place of the synthetic ones (expanded minus {name}"
        f"{where(metrics, name, 'expanded')}): {plain}; at the same rate of false positives "
        f"{matched}."
    ]


def _turned(difference: dict[str, Any]) -> dict[str, Any]:
    """Return a difference in sensitivity the other way round."""
    ends = difference["ci95"]
    return {"value": -difference["value"], "ci95": ends and [-ends[1], -ends[0]]}
