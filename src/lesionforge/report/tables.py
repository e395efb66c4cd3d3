"""The regimes' numbers as rows of text, for the terminal, the page and `tables/*.tsv`."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pandas as pd

Numbers = dict[str, Any]
"""A regime in `metrics.json`."""
UNDEFINED = "n/a"


def percent(value: float | None, digits: int = 1) -> str:
    """Return 0.361 as `36.1 %`."""
    return UNDEFINED if value is None else f"{100 * value:.{digits}f} %"


def signed(value: float | None, digits: int = 2) -> str:
    """Return a difference with its sign, `+0.08`; what rounds to 0 is `+0.00`."""
    if value is None:
        return UNDEFINED
    return f"{round(value, digits) + 0.0:+.{digits}f}".replace("-", "−")


def points(value: float | None) -> str:
    """Return a difference 0.082 as `+8.2`, in percentage points."""
    return UNDEFINED if value is None else signed(100 * value, 1)


def p_value(p: float | None) -> str:
    """Return `0.125`, or `< 0.001`."""
    if p is None:
        return "n/a"
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def interval(ci95: list[float | None] | None, scale: float = 100, digits: int = 1) -> str:
    """Return an interval as `25.2 to 48.6`; an open end is `unbounded`."""
    if ci95 is None:
        return UNDEFINED
    low, high = (
        "unbounded" if b is None else f"{scale * b:.{digits}f}".replace("-", "−") for b in ci95
    )
    return f"{low} to {high}"


def counts(entry: Numbers) -> str:
    """Return the counts per seed, `22 · 25 · 21 of 61`."""
    return f"{' · '.join(map(str, entry['k']))} of {entry['n']}"


def number(value: float | None, digits: int = 2) -> str:
    """Return a number, or `n/a` for None."""
    return UNDEFINED if value is None else f"{value:.{digits}f}"


@dataclass(frozen=True)
class Entry:
    """One entry of the table: its main `value`, its 95 % interval `ci95`, and a `note` below."""

    value: str
    ci95: str = ""
    note: str = ""


@dataclass(frozen=True)
class Row:
    """One measure: its name, which way is better (`↑`, `↓` or nothing), and one cell a regime."""

    name: str
    better: str
    cells: tuple[Entry, ...]


def _share(key: str) -> Callable[[Numbers], Entry]:
    def cell(regime: Numbers) -> Entry:
        entry = regime[key]
        if entry["value"] is None:
            return Entry(UNDEFINED, note=entry.get("why", ""))
        note = counts(entry) if "k" in entry else ""
        return Entry(percent(entry["value"]), interval(entry["ci95"]), note)

    return cell


def _training(regime: Numbers) -> Entry:
    synthetic = (regime["n_synthetic_patients"], regime["n_synthetic_controls"])
    real = f"{regime['n_patients']} + {regime['n_controls']}"
    note = f"and {synthetic[0]} + {synthetic[1]} synthetic" if any(synthetic) else ""
    return Entry(real, note=note)


def _budget(regime: Numbers) -> Entry:
    all_of_them, validation = regime["label_budget"], regime["n_validation_patients"]
    note = f"{all_of_them - validation} training, {validation} validation"
    if regime.get("n_model_labels"):
        note += f"; besides {regime['n_model_labels']} masks of a model"
    return Entry(str(all_of_them), note=note)


def _false_positives(regime: Numbers) -> Entry:
    entry = regime["false_positives_per_subject"]
    return Entry(
        number(entry["value"]),
        interval(entry["ci95"], 1, 2),
        f"patients {number(entry['patients'])}, controls {number(entry['controls'])}",
    )


def _confidence(regime: Numbers) -> Entry:
    entry = regime["lesion_site_confidence"]
    return Entry(number(entry["mean"]), note=f"sd {number(entry['sd'])}")


def _dice(regime: Numbers) -> Entry:
    entry = regime["dice"]
    return Entry(
        number(entry["value"]),
        interval(entry["ci95"], 1, 2),
        f"median {number(entry['median'])}",
    )


def regime_rows(metrics: dict[str, Any]) -> list[Row]:
    """Return the rows of the regime table; their cells follow `metrics["regimes"]`."""
    rate = metrics["regimes"]["baseline"]["sensitivity_at_half_fp"]["false_positives_per_patient"]
    measures: list[tuple[str, str, Callable[[Numbers], Entry]]] = [
        ("Training patients + controls", "", _training),
        ("Patients outlined by hand", "", _budget),
        ("Sensitivity, patients", "↑", _share("sensitivity")),
        (f"Sensitivity at {rate:g} FP a patient", "↑", _share("sensitivity_at_half_fp")),
        ("Specificity, controls", "↑", _share("specificity")),
        (f"Specificity at {rate:g} FP a patient", "↑", _share("specificity_at_half_fp")),
        ("False positives a subject", "↓", _false_positives),
        ("Sensitivity, lesions", "↑", _share("lesion_sensitivity")),
        ("Sensitivity, strict overlap", "↑", _share("sensitivity_strict")),
        ("Confidence at the lesion", "↑", _confidence),
        ("Dice", "↑", _dice),
    ]
    regimes = metrics["regimes"].values()
    return [
        Row(name, better, tuple(measure(regime) for regime in regimes))
        for name, better, measure in measures
    ]


def text_table(metrics: dict[str, Any], width: int = 132) -> str:
    """Return the regime table as plain text for a terminal, with intervals and counts.

    Args:
        metrics: of a report.
        width: characters of a line; regimes that do not fit beside each other follow below.
    """
    lines = [["", *metrics["regimes"]]]
    for row in regime_rows(metrics):
        lines.append([f"{row.name} {row.better}".strip(), *map(_in_one_line, row.cells)])
        if any(len(c.note) > 0 for c in row.cells):
            lines.append(["", *(_short(c.note) for c in row.cells)])
    first, *columns = ([c.ljust(max(map(len, x))) for c in x] for x in zip(*lines, strict=True))
    blocks, room = [[first]], width - len(first[0])
    for column in columns:
        if room < len(column[0]) + 2 and len(blocks[-1]) > 1:
            blocks.append([first])
            room = width - len(first[0])
        blocks[-1].append(column)
        room -= len(column[0]) + 2
    test = metrics["test"]
    note = (
        f"Mean over {len(metrics['regimes']['baseline']['seeds'])} seed(s), 95 % intervals, "
        f"{test['patients']} test patients and {test['controls']} test controls. "
        + ("Phantoms, not patients. " if metrics["data"] == "phantom" else "")
        + "Research use only."
    )
    return "\n\n".join(map(_ruled, blocks)) + f"\n{note}"


def _ruled(columns: list[list[str]]) -> str:
    """Return padded columns side by side, with rules below the head and the last line."""
    text = ["  ".join(line).rstrip() for line in zip(*columns, strict=True)]
    rule = "-" * max(map(len, text))
    return "\n".join([text[0], rule, *text[1:], rule])


def _in_one_line(cell: Entry) -> str:
    return f"{cell.value} ({cell.ci95.replace(' to ', '–')})" if cell.ci95 else cell.value


def _short(note: str, limit: int = 30) -> str:
    return note if len(note) <= limit else "see the report"


def regime_table(metrics: dict[str, Any]) -> pd.DataFrame:
    """Return one row a regime and measure: value, low, high, k of each seed, n."""
    rows = []
    for name, regime in metrics["regimes"].items():
        for measure, entry in regime.items():
            if not isinstance(entry, dict) or not {"value", "mean"} & set(entry):
                continue
            low, high = entry.get("ci95") or (None, None)
            rows.append(
                {
                    "regime": name,
                    "measure": measure,
                    "value": entry.get("value", entry.get("mean")),
                    "low95": low,
                    "high95": high,
                    "k": ",".join(map(str, entry.get("k", []))) or None,
                    "n": entry.get("n"),
                }
            )
    return pd.DataFrame(rows)


def comparison_table(metrics: dict[str, Any]) -> pd.DataFrame:
    """Return one row a pair of regimes, lists joined by commas."""
    rows = []
    for pair in metrics["comparisons"]:
        row: dict[str, Any] = {}
        for key, entry in pair.items():
            if isinstance(entry, dict):
                low, high = entry["ci95"] or (None, None)
                row |= {key: entry["value"], f"{key}_low95": low, f"{key}_high95": high}
            else:
                row[key] = ",".join(map(str, entry)) if isinstance(entry, list) else entry
        rows.append(row)
    return pd.DataFrame(rows)


def seed_table(metrics: dict[str, Any]) -> pd.DataFrame:
    """Return one row a regime and seed."""
    return pd.DataFrame(
        [
            {
                "regime": name,
                **{k: ",".join(map(str, v)) if isinstance(v, list) else v for k, v in row.items()},
            }
            for name, regime in metrics["regimes"].items()
            for row in regime["by_seed"]
        ]
    )


def strata_table(metrics: dict[str, Any]) -> pd.DataFrame:
    """Return one row a regime and part of the patients (site, lesion size)."""
    rows = []
    for name, regime in metrics["regimes"].items():
        for key in ("by_site", "by_size"):
            for part, entry in regime[key].items():
                share = entry["sensitivity"]
                rows.append(
                    {
                        "regime": name,
                        "by": key.removeprefix("by_"),
                        "part": part,
                        "sensitivity": share["value"],
                        "low95": share["ci95"][0],
                        "high95": share["ci95"][1],
                        "k": ",".join(map(str, share["k"])),
                        "n": share["n"],
                        "false_positives_per_patient": entry["false_positives_per_patient"],
                        "dice": entry["dice"],
                    }
                )
    return pd.DataFrame(rows)


def froc_table(metrics: dict[str, Any]) -> pd.DataFrame:
    """Return the corners of every regime's FROC curve, with the controls' rate beside."""
    rows = [
        (name, rate, sensitivity, controls)
        for name, regime in metrics["regimes"].items()
        for (rate, sensitivity), (_, controls) in zip(
            regime["froc"], regime["froc_controls"], strict=True
        )
    ]
    return pd.DataFrame(
        rows,
        columns=["regime", "false_positives_per_patient", "sensitivity", "fp_per_control"],
    )


TABLES: dict[str, Callable[[dict[str, Any]], pd.DataFrame]] = {
    "regimes": regime_table,
    "comparisons": comparison_table,
    "seeds": seed_table,
    "strata": strata_table,
    "froc": froc_table,
}
