"""The report: `metrics.json`, tables, figures and one page that stands alone."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from lesionforge.cohort.subject import Subject
from lesionforge.evaluation.matching import CandidateRules
from lesionforge.evaluation.statistics import EvaluationConfig
from lesionforge.provenance import environment, read_json, write_json, write_tsv
from lesionforge.report import figures, gallery, tables
from lesionforge.report.cells import Cell, CellTables, read_cell
from lesionforge.report.html import write_page
from lesionforge.report.results import score_threshold
from lesionforge.report.synthetic_page import by_part, headline
from lesionforge.report.verdict import LIMITS, leading, verdict

logger = logging.getLogger(__name__)
COMMANDS = (
    "python scripts/prepare_cohort.py --config CONFIG",
    "python scripts/train_generator.py --config CONFIG",
    "python scripts/synthesize.py --config CONFIG",
    "python scripts/train_detector.py --config CONFIG",
    "python scripts/compare_regimes.py --config CONFIG",
)


@dataclass(frozen=True)
class Disagreements:
    """Patients that regimes disagree on.

    Attributes:
        strips: a row of pictures for each that is shown.
        note: how many there are, and how those shown were chosen.
    """

    strips: tuple[gallery.Strip, ...]
    note: str


def write_report(
    metrics: dict[str, Any],
    cells: list[Cell],
    cohort: list[Subject],
    synthetic: dict[str, list[Subject]],
    audits: list[dict[str, Any]],
    out: Path,
    judged: tuple[CandidateRules, EvaluationConfig],
) -> Path:
    """Write the report to `out`; reads files only, so it can be rebuilt without training.

    Args:
        metrics: see `results.compute_metrics`.
        cells: the trained detectors, for pictures and losses.
        cohort: the real subjects.
        synthetic: name of a synthetic set to its subjects.
        audits: what `audit-synthetic` has found out about them.
        out: folder for index.html, metrics.json, tables/ and figures/.
        judged: rules of candidates and hits, and the operating points, of `metrics`.

    Returns:
        The path of index.html.
    """
    write_json(out / "metrics.json", metrics)
    for name, table in tables.TABLES.items():
        write_tsv(out / "tables" / f"{name}.tsv", table(metrics))
    charts = _draw_charts(metrics, cells, out / "figures")
    page = write_page(
        out / "index.html",
        "index.html",
        metrics=metrics,
        verdict=verdict(metrics),
        rows=tables.regime_rows(metrics),
        regimes=list(metrics["regimes"]),
        leading=leading(metrics),
        colours={n: figures.look_of(n, list(metrics["regimes"]))[0] for n in metrics["regimes"]},
        charts=charts,
        disagreements=_draw_disagreements(
            metrics, _runs_of_one_seed(metrics, cells, judged), cohort, out / "figures" / "patients"
        ),
        audits=[
            {**a, "headline": headline(a["findings"]), "parts": by_part(a["findings"])}
            for a in audits
        ],
        synthesis=_draw_synthesis(cells, cohort, synthetic, out / "figures" / "synthetic"),
        stages=list(_stage_records(out.parent / "stages")),
        weights=list(_weights(cells)),
        environment=environment(),
        commands=COMMANDS,
        limits=LIMITS,
    )
    logger.info("The report is in %s", page)
    return page


def _draw_charts(metrics: dict[str, Any], cells: list[Cell], folder: Path) -> dict[str, Path]:
    """Draw the charts that the metrics allow; name to file."""
    charts = {name: folder / f"{name}.png" for name in ("sensitivity", "froc", "strata")}
    shown = leading(metrics)
    figures.draw_sensitivity(metrics, charts["sensitivity"])
    figures.draw_froc(metrics, charts["froc"], shown)
    figures.draw_strata(metrics, charts["strata"], shown)
    seeds = {str(metrics["regimes"].get(n, {}).get("seeds")) for n in figures.NAMED_COLOURS}
    if metrics["gap_recovered"]["value"] is not None and len(seeds) == 1:
        charts["gap"] = folder / "gap.png"
        figures.draw_gap(metrics, charts["gap"])
    if metrics["doses"]:
        charts["doses"] = folder / "doses.png"
        figures.draw_doses(metrics, charts["doses"])
    if figures.draw_losses(metrics, cells, folder / "losses.png", shown):
        charts["losses"] = folder / "losses.png"
    return charts


def _draw_disagreements(
    metrics: dict[str, Any],
    seen: tuple[dict[str, list[CellTables]], dict[Cell, float]],
    cohort: list[Subject],
    folder: Path,
) -> Disagreements:
    """Draw the patients that the regimes disagree on in `seen`, the runs of one seed."""
    runs, thresholds = seen
    if len(runs) < 2:
        return Disagreements((), "There is only one regime, or no seed that all regimes have.")
    detected = {
        regime: {
            name: bool((t.candidates["score"][_hits(t, name)] >= thresholds[t.cell]).any())
            for t in members
            for name in t.subjects.loc[_test_patients(t), "participant_id"]
        }
        for regime, members in runs.items()
    }
    chosen, kinds = gallery.disagreements(detected)
    base, other = gallery.compared(list(detected))
    subjects = {s.id: s for s in cohort}
    strips, lacking = [], []
    for name in tqdm(chosen, desc="draw patients", unit="patient", disable=not chosen):
        own = {r: next(t for t in ts if name in t.ids("test")) for r, ts in runs.items()}
        if name not in subjects or not all(t.cell.probability(name).exists() for t in own.values()):
            lacking.append(name)
            continue
        pairs = {regime: (t, thresholds[t.cell]) for regime, t in own.items()}
        strips.append(gallery.disagreement_strip(subjects[name], pairs, metrics["rules"], folder))
    note = (
        f"In seed {next(iter(runs.values()))[0].cell.seed} the regimes disagree on "
        f"{sum(kinds.values())} of {metrics['test']['patients']} test patients: {other} gains "
        f"{kinds['gained']} and loses {kinds['lost']} of them against {base}, "
        f"{kinds['otherwise']} are found or missed by another regime alone. Shown: "
        f"{len(strips)}, taken by turns from each kind in the order of their names."
    )
    if lacking:
        note += f" Without a picture, since files are missing: {', '.join(lacking)}."
    return Disagreements(tuple(strips), note)


def _hits(tables_of_cell: CellTables, name: str) -> Any:
    table = tables_of_cell.candidates
    return (table["participant_id"] == name) & (table["hit"] == 1)


def _test_patients(tables_of_cell: CellTables) -> Any:
    table = tables_of_cell.subjects
    return (table["role"] == "test") & (table["group"] == "patient")


def _runs_of_one_seed(
    metrics: dict[str, Any], cells: list[Cell], judged: tuple[CandidateRules, EvaluationConfig]
) -> tuple[dict[str, list[CellTables]], dict[Cell, float]]:
    """Read the cells of the first seed that all regimes have, and their score thresholds."""
    common = set.intersection(*(set(r["seeds"]) for r in metrics["regimes"].values()))
    if not common:
        return {}, {}
    seed = min(common)
    chosen = [read_cell(cell, judged[0]) for cell in cells if cell.seed == seed]
    return (
        {
            regime: [tables for tables in chosen if tables.cell.regime == regime]
            for regime in metrics["regimes"]
        },
        {tables.cell: score_threshold(tables, *judged) for tables in chosen},
    )


def _draw_synthesis(
    cells: list[Cell], cohort: list[Subject], synthetic: dict[str, list[Subject]], folder: Path
) -> dict[str, list[gallery.Strip]]:
    """Draw rows of mask | real | synthetic for every synthetic set."""
    baseline = [cell for cell in cells if cell.regime == "baseline"]
    trained = set(read_json(baseline[0].folder / "lineage.json")["real_subjects"])
    real = [s for s in cohort if s.id in trained and s.group == "patient"]
    return {
        name: gallery.synthesis_strips(
            real, [s for s in subjects if s.group == "patient"], folder / name
        )
        for name, subjects in synthetic.items()
    }


def _stage_records(folder: Path) -> Iterator[dict[str, Any]]:
    """Yield what each stage recorded of its run, oldest first."""
    records = [read_json(path) for path in sorted(folder.glob("[!.]*.json"))]
    for record in sorted(records, key=lambda r: str(r.get("started"))):
        if record.get("status") != "running":
            yield record


def _weights(cells: list[Cell]) -> Iterator[tuple[str, str]]:
    """Yield each detector's name and the checksum of its weights."""
    for cell in cells:
        path = cell.folder / "detector.json"
        if path.exists():
            yield cell.name, str(read_json(path).get("weights_sha256", "unknown"))
