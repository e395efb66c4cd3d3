"""Charts of the report, drawn from `metrics.json` and `losses.tsv`; no global matplotlib state."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from lesionforge.metrics.intervals import outlined
from lesionforge.provenance import atomic, read_tsv
from lesionforge.report.runs import Run

NAMED_COLOURS = {"baseline": "#64748b", "augmented": "#d97706", "expanded": "#1d4ed8"}
OTHER_COLOURS = (
    "#0f766e",
    "#9333ea",
    "#be123c",
    "#4d7c0f",
    "#0891b2",
    "#a16207",
    "#db2777",
    "#111827",
)
DOSE_COLOURS = ("#d97706", "#0f766e", "#9333ea", "#be123c")
NAMED_MARKERS = {"baseline": "o", "augmented": "D", "expanded": "s"}
OTHER_MARKERS = ("^", "v", "P", "X", "p")
STYLE: Any = {
    "font.family": "DejaVu Sans",
    "font.size": 9.5,
    "axes.edgecolor": "#94a3b8",
    "axes.labelcolor": "#334155",
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "grid.color": "#e2e8f0",
    "grid.linewidth": 0.7,
    "xtick.color": "#475569",
    "ytick.color": "#475569",
    "legend.frameon": False,
    "text.color": "#1e293b",
}
DPI = 160
SMOOTHING = 40


def look_of(regime: str, regimes: list[str]) -> tuple[str, str]:
    """Return a regime's colour and marker, the same in every figure of the same regimes."""
    if regime in NAMED_COLOURS:
        return NAMED_COLOURS[regime], NAMED_MARKERS[regime]
    number = [name for name in regimes if name not in NAMED_COLOURS].index(regime)
    return (
        OTHER_COLOURS[number % len(OTHER_COLOURS)],
        OTHER_MARKERS[number % len(OTHER_MARKERS)],
    )


@contextmanager
def drawing(path: Path, width: float, height: float) -> Iterator[Figure]:
    """Yield a figure of `width` x `height` inches, written to `path` (PNG) at the end."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(width, height), layout="constrained")
        yield figure
        with atomic(path) as part:
            figure.savefig(part, dpi=DPI, format="png", metadata={"Software": None})


def plot_sensitivity(metrics: dict[str, Any], path: Path) -> None:
    """Draw sensitivity of each regime at both operating points: mean, interval, a dot a seed."""
    regimes = list(metrics["regimes"])
    with drawing(path, 7.2, 0.75 + 0.62 * len(regimes)) as figure:
        axes = figure.subplots(1, 2, sharey=True)
        for axis, key in zip(axes, ("sensitivity", "sensitivity_at_half_fp"), strict=True):
            for row, name in enumerate(regimes):
                regime = metrics["regimes"][name]
                dots = [seed[key] for seed in regime["by_seed"]]
                _interval_row(axis, row, regime[key], dots, look_of(name, regimes))
            axis.set(xlim=(-0.02, 1.02), ylim=(len(regimes) - 0.4, -0.6))
            axis.grid(visible=False, axis="y")
        rate = metrics["regimes"]["baseline"]["sensitivity_at_half_fp"]
        rate = rate["false_positives_per_patient"]
        axes[0].set_xlabel("sensitivity at the\nvalidation threshold  →  better")
        axes[1].set_xlabel(f"sensitivity at\n{rate:g} FP a patient  →  better")
        axes[0].set_yticks(range(len(regimes)), regimes)


def _interval_row(
    axis: Axes, row: float, entry: dict[str, Any], dots: list[float], look: tuple[str, str]
) -> None:
    if entry["value"] is None:
        return
    if entry["ci95"] and None not in entry["ci95"]:
        axis.plot(entry["ci95"], [row, row], color=look[0], linewidth=2.2, solid_capstyle="round")
    axis.plot(
        dots,
        row + 0.24 * np.ones(len(dots)),
        linestyle="none",
        marker="o",
        markersize=4,
        color=look[0],
        alpha=0.55,
        markeredgewidth=0,
    )
    axis.plot(entry["value"], row, color=look[0], marker=look[1], markersize=8)


def plot_froc(metrics: dict[str, Any], path: Path, shown: list[str]) -> None:
    """Draw FROC curves of the regimes `shown`, with bands and the two operating points."""
    regimes = list(metrics["regimes"])
    with drawing(path, 7.2, 4.1) as figure:
        axis = figure.subplots()
        limit = _froc_limit([metrics["regimes"][name] for name in shown])
        for name in shown:
            regime = metrics["regimes"][name]
            shade, mark = look_of(name, regimes)
            band = np.array(regime["froc_band"], dtype=float)
            axis.fill_between(
                band[:, 0],
                band[:, 1],
                band[:, 2],
                color=shade,
                alpha=0.13,
                linewidth=0,
                step="post",
            )
            froc = np.array([*regime["froc"], [max(limit, regime["froc"][-1][0]), np.nan]])
            froc[-1, 1] = froc[-2, 1]
            axis.plot(froc[:, 0], froc[:, 1], color=shade, drawstyle="steps-post", label=name)
            axis.plot(
                regime["false_positives_per_subject"]["patients"],
                regime["sensitivity"]["value"],
                color=shade,
                marker=mark,
                markersize=8,
                markeredgecolor="white",
                zorder=4,
            )
        reading = metrics["regimes"]["baseline"]["sensitivity_at_half_fp"]
        rate = reading["false_positives_per_patient"]
        axis.axvline(rate, color="#94a3b8", linewidth=1, linestyle=(0, (4, 3)), zorder=1)
        axis.text(rate, 1.0, f" (b) {rate:g} FP a patient", color="#64748b", fontsize=8.5, va="top")
        axis.set(
            xlim=(0, limit),
            ylim=(0, 1.02),
            xlabel="false positives a patient   ← better",
            ylabel="sensitivity, patients   → better",
        )
        axis.legend(loc="lower right")


def _froc_limit(regimes: list[dict[str, Any]]) -> float:
    """End the axis where every curve is flat, between 1 and 4 false positives a patient."""
    ends = [regime["froc"][-1][0] for regime in regimes]
    return float(np.clip(1.1 * max(ends), 1.0, 4.0))


def plot_gap(metrics: dict[str, Any], path: Path) -> None:
    """Draw sensitivity against training patients: the straight line that defines label saving."""
    regimes = metrics["regimes"]
    base, other, more = (regimes[name] for name in NAMED_COLOURS)
    start, end = outlined(base), outlined(more)
    low, high = base["sensitivity"]["value"], more["sensitivity"]["value"]
    level = other["sensitivity"]["value"]
    with drawing(path, 7.2, 3.3) as figure:
        axis = figure.subplots()
        axis.plot([start, end], [low, high], color="#94a3b8", linewidth=1.4, zorder=1)
        for x, name in ((start, "baseline"), (start, "augmented"), (end, "expanded")):
            entry = regimes[name]["sensitivity"]
            shift = 0.012 * (end - start) * {"baseline": -1, "augmented": 1}.get(name, 0)
            axis.plot([x + shift] * 2, entry["ci95"], color=NAMED_COLOURS[name], linewidth=2.2)
            axis.plot(
                x + shift,
                entry["value"],
                color=NAMED_COLOURS[name],
                marker=NAMED_MARKERS[name],
                markersize=8,
                linestyle="none",
                label=name,
            )
        meets = start + metrics["gap_recovered"]["value"] * (end - start)
        axis.plot([start, meets, meets], [level, level, 0], color="#d97706", linestyle=(0, (4, 3)))
        axis.annotate(f" worth {meets:.1f} patients", (meets, 0.02), color="#b45309")
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
        axis.set(
            xlabel="real training patients, outlined by hand",
            ylabel="sensitivity, patients   → better",
            ylim=(0, min(1.02, 0.15 + more["sensitivity"]["ci95"][1])),
        )
        axis.legend(loc="lower right")


def plot_ratios(metrics: dict[str, Any], path: Path) -> None:
    """Draw the gain over the baseline, at the matched rate, against the ratio of each set.

    A point of fewer seeds than the baseline has is hollow.
    """
    all_seeds = len(metrics["regimes"]["baseline"]["seeds"])
    with drawing(path, 7.2, 3.6) as figure:
        axis = figure.subplots()
        axis.axhline(0, color="#94a3b8", linewidth=1)
        for number, curve in enumerate(metrics["ratios"]):
            shade = DOSE_COLOURS[number % len(DOSE_COLOURS)]
            points = [point for point in curve["points"] if point["gain_at_half_fp"]]
            ratios = np.array([point["ratio"] for point in points])
            values = 100 * np.array([point["gain_at_half_fp"]["value"] for point in points])
            known = [point["gain_at_half_fp"]["ci95"] or (np.nan, np.nan) for point in points]
            bounds = 100 * np.array(known)
            place = ratios + 0.015 * number * max(ratios)
            axis.errorbar(place, values, abs(bounds.T - values), color=shade, capsize=2,
                          linewidth=1.6, label=curve["set"])  # fmt: skip
            for x, y, point in zip(place, values, points, strict=True):
                fill = shade if len(point["seeds"]) == all_seeds else "white"
                axis.plot(x, y, "o", color=shade, markerfacecolor=fill, zorder=4)
                if point["regime"] == curve["best"]:
                    axis.plot(x, y, "o", markersize=13, fillstyle="none", color=shade)
        pairs = {(pair["a"], pair["b"]): pair for pair in metrics["comparisons"]}
        if more := pairs.get(("baseline", "expanded")):
            level = 100 * more["difference_at_half_fp"]["value"]
            axis.axhline(level, color="#94a3b8", linewidth=1.2, linestyle=(0, (4, 3)))
            largest = max(p["ratio"] for c in metrics["ratios"] for p in c["points"])
            axis.text(0.75 * largest, level, "expanded", color="#64748b", fontsize=8.5,
                      va="bottom", ha="center")  # fmt: skip
        axis.set(
            xlabel="synthetic patients per real patient",
            ylabel="gain in sensitivity, matched, points   → better",
        )
        axis.legend(loc="best")


def plot_strata(metrics: dict[str, Any], path: Path, shown: list[str]) -> None:
    """Draw sensitivity by site and by lesion size, a marker for each of the regimes `shown`."""
    regimes = list(metrics["regimes"])
    first = metrics["regimes"][regimes[0]]
    rows = [(key, part) for key in ("by_site", "by_size") for part in first[key]]
    step = 0.62 / max(len(shown) - 1, 1)
    with drawing(path, 7.2, 0.9 + 0.6 * len(rows)) as figure:
        axis = figure.subplots()
        for i, name in enumerate(shown):
            shade, mark = look_of(name, regimes)
            for row, (key, part) in enumerate(rows):
                entry = metrics["regimes"][name][key][part]["sensitivity"]
                y = row + (i - (len(shown) - 1) / 2) * step
                axis.plot(entry["ci95"], [y, y], color=shade, linewidth=2)
                axis.plot(
                    entry["value"],
                    y,
                    color=shade,
                    marker=mark,
                    linestyle="none",
                    label=name if row == 0 else None,
                )
        sizes = [first[key][part]["sensitivity"]["n"] for key, part in rows]
        labels = [
            f"{'site ' if key == 'by_site' else ''}{part}  (n = {n})"
            for (key, part), n in zip(rows, sizes, strict=True)
        ]
        axis.set_yticks(range(len(rows)), labels)
        axis.grid(visible=False, axis="y")
        axis.set(xlim=(-0.02, 1.02), ylim=(len(rows) - 0.4, -0.6))
        axis.set_xlabel("sensitivity, patients   → better")
        axis.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=len(shown))


def plot_losses(metrics: dict[str, Any], runs: list[Run], path: Path, shown: list[str]) -> bool:
    """Draw the training loss of each cell of the regimes `shown` that kept one, if any did."""
    kept = [c for c in runs if c.regime in shown and (c.folder / "losses.tsv").exists()]
    if not kept:
        return False
    regimes = list(metrics["regimes"])
    with drawing(path, 7.2, 3.2) as figure:
        axis = figure.subplots()
        named: set[str] = set()
        for run in kept:
            losses = read_tsv(run.folder / "losses.tsv", step=float, loss=float)
            width = max(1, min(SMOOTHING, len(losses) // 10))
            axis.plot(
                losses["step"],
                losses["loss"].rolling(width, min_periods=1).median(),
                color=look_of(run.regime, regimes)[0],
                linewidth=1.2,
                alpha=0.85,
                label=None if run.regime in named else run.regime,
            )
            named.add(run.regime)
        axis.set(xlabel="step", ylabel="training loss (running median)   ← better", ylim=(0, None))
        axis.legend(loc="upper right")
    return True
