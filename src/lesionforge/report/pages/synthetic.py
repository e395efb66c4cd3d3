"""The page of a synthetic set's audit: a verdict, every figure in words, the likest pairs."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lesionforge.data.subject import Subject, read_lesion
from lesionforge.report.html import write_page
from lesionforge.report.strips import join, through
from lesionforge.synthetic_qc.finding import standing
from lesionforge.synthetic_qc.memorization import Match

TITLES = {
    "masks": "Masks: are they like real ones?",
    "conditioning": "Lesions: do they show what was asked?",
    "realism": "Realism: can they be told from real ones?",
    "leakage": "Leakage: does anything but the lesion mark the label?",
    "diversity": "Variety: does the set repeat itself?",
    "memorisation": "Memorisation: is anything a copy?",
}


def headline(findings: Sequence[Mapping[str, Any]]) -> str:
    """Say in a sentence how a set did; findings as `Finding.to_json` gives them."""
    standings = [(standing(f), f["name"]) for f in findings]
    met, missed, left = (
        [name for stand, name in standings if stand == wanted]
        for wanted in ("met", "not met", "open")
    )
    unknown = sum(f["value"] is None for f in findings)
    text = f"{len(met)} of {len(met) + len(missed) + len(left)} demands are met."
    if missed:
        text += f" Not met: {', '.join(missed)}."
    if left:
        text += f" Open, since too few were compared to tell: {', '.join(left)}."
    if unknown:
        text += f" {unknown} figure{'s are' if unknown > 1 else ' is'} undefined, with the reason."
    return text


def by_part(findings: Sequence[Mapping[str, Any]]) -> list[tuple[str, str, list[Any]]]:
    """Group findings: part, its title, its rows, each with its standing."""
    return [
        (part, title, [{**f, "standing": standing(f)} for f in findings if f["part"] == part])
        for part, title in TITLES.items()
    ]


def write_synthetic_page(
    path: Path, audit: Mapping[str, Any], pairs: Sequence[Match], known: Mapping[str, Subject]
) -> Path:
    """Write the page.

    Args:
        path: of the page.
        audit: content of `audit.json`.
        pairs: synthetic lesions with their nearest training lesions, to be drawn.
        known: participant id to subject, synthetic and real.

    Returns:
        The page's path.
    """
    drawn = [
        {
            "title": f"{pair.id} and {pair.nearest}: {pair.by}, correlation {pair.likeness:.3f}",
            "picture": join(
                [
                    *through(known[pair.id], read_lesion(known[pair.id])),
                    *through(known[pair.nearest], read_lesion(known[pair.nearest])),
                ]
            ),
        }
        for pair in pairs
    ]
    return write_page(
        path,
        "synthetic.html",
        audit=audit,
        headline=headline(audit["findings"]),
        parts=by_part(audit["findings"]),
        pairs=drawn,
    )
