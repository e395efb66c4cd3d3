"""The report: `metrics.json`, tables, figures and one page that stands alone."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from lesionforge.data.subject import Subject
from lesionforge.metrics.config import CandidateRules, EvaluationConfig
from lesionforge.provenance import environment, read_json, write_json, write_tsv
from lesionforge.report import figures, pictures, tables
from lesionforge.report.html import write_page
from lesionforge.report.pages.synthetic import by_part, headline
from lesionforge.report.results import score_threshold
from lesionforge.report.runs import Run, RunTables, read_run
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

    strips: tuple[pictures.Strip, ...]
    note: str


def write_report(
    metrics: dict[str, Any],
    runs: list[Run],
    cohort: list[Subject],
    synthetic: dict[str, list[Subject]],
    audits: list[dict[str, Any]],
    out: Path,
    judged: tuple[CandidateRules, EvaluationConfig],
) -> Path:
    """Write the report to `out`; reads files only, so it can be rebuilt without training.

    Args:
        metrics: see `results.compute_metrics`.
        runs: the trained detectors, for pictures and losses.
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
    charts = _plot_charts(metrics, runs, out / "figures")
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
        disagreements=_plot_disagreements(
            metrics, _runs_of_one_seed(metrics, runs, judged), cohort, out / "figures" / "patients"
        ),
        audits=[
            {**a, "headline": headline(a["findings"]), "parts": by_part(a["findings"])}
            for a in audits
        ],
        synthesis=_plot_synthesis(runs, cohort, synthetic, out / "figures" / "synthetic"),
        stages=list(_stage_records(out.parent / "stages")),
        weights=list(_weights(runs)),
        environment=environment(),
        commands=COMMANDS,
        limits=LIMITS,
    )
    logger.info("The report is in %s", page)
    return page


def _plot_charts(metrics: dict[str, Any], runs: list[Run], folder: Path) -> dict[str, Path]:
    """Draw the charts that the metrics allow; name to file."""
    charts = {name: folder / f"{name}.png" for name in ("sensitivity", "froc", "strata")}
    shown = leading(metrics)
    figures.plot_sensitivity(metrics, charts["sensitivity"])
    figures.plot_froc(metrics, charts["froc"], shown)
    figures.plot_strata(metrics, charts["strata"], shown)
    seeds = {str(metrics["regimes"].get(n, {}).get("seeds")) for n in figures.NAMED_COLOURS}
    if metrics["gap_recovered"]["value"] is not None and len(seeds) == 1:
        charts["gap"] = folder / "gap.png"
        figures.plot_gap(metrics, charts["gap"])
    if metrics["ratios"]:
        charts["ratios"] = folder / "ratios.png"
        figures.plot_ratios(metrics, charts["ratios"])
    if figures.plot_losses(metrics, runs, folder / "losses.png", shown):
        charts["losses"] = folder / "losses.png"
    return charts


def _plot_disagreements(
    metrics: dict[str, Any],
    seen: tuple[dict[str, list[RunTables]], dict[Run, float]],
    cohort: list[Subject],
    folder: Path,
) -> Disagreements:
    """Draw the patients that the regimes disagree on in `seen`, the runs of one seed."""
    by_seed, thresholds = seen
    if len(by_seed) < 2:
        return Disagreements((), "There is only one regime, or no seed that all regimes have.")
    detected = {
        regime: {
            name: bool((t.candidates["score"][_hits(t, name)] >= thresholds[t.run]).any())
            for t in members
            for name in t.subjects.loc[_test_patients(t), "participant_id"]
        }
        for regime, members in by_seed.items()
    }
    chosen, kinds = pictures.disagreements(detected)
    base, other = pictures.compared(list(detected))
    subjects = {s.id: s for s in cohort}
    strips, lacking = [], []
    for name in tqdm(chosen, desc="draw patients", unit="patient", disable=not chosen):
        own = {r: next(t for t in ts if name in t.ids("test")) for r, ts in by_seed.items()}
        if name not in subjects or not all(t.run.probability(name).exists() for t in own.values()):
            lacking.append(name)
            continue
        pairs = {regime: (t, thresholds[t.run]) for regime, t in own.items()}
        strips.append(pictures.disagreement_strip(subjects[name], pairs, metrics["rules"], folder))
    note = (
        f"In seed {next(iter(by_seed.values()))[0].run.seed} the regimes disagree on "
        f"{sum(kinds.values())} of {metrics['test']['patients']} test patients: {other} gains "
        f"{kinds['gained']} and loses {kinds['lost']} of them against {base}, "
        f"{kinds['otherwise']} are found or missed by another regime alone. Shown: "
        f"{len(strips)}, taken by turns from each kind in the order of their names."
    )
    if lacking:
        note += f" Without a picture, since files are missing: {', '.join(lacking)}."
    return Disagreements(tuple(strips), note)


def _hits(tables_of_run: RunTables, name: str) -> Any:
    table = tables_of_run.candidates
    return (table["participant_id"] == name) & (table["hit"] == 1)


def _test_patients(tables_of_run: RunTables) -> Any:
    table = tables_of_run.subjects
    return (table["role"] == "test") & (table["group"] == "patient")


def _runs_of_one_seed(
    metrics: dict[str, Any], runs: list[Run], judged: tuple[CandidateRules, EvaluationConfig]
) -> tuple[dict[str, list[RunTables]], dict[Run, float]]:
    """Read the cells of the first seed that all regimes have, and their score thresholds."""
    common = set.intersection(*(set(r["seeds"]) for r in metrics["regimes"].values()))
    if not common:
        return {}, {}
    seed = min(common)
    chosen = [read_run(run, judged[0]) for run in runs if run.seed == seed]
    return (
        {
            regime: [tables for tables in chosen if tables.run.regime == regime]
            for regime in metrics["regimes"]
        },
        {tables.run: score_threshold(tables, *judged) for tables in chosen},
    )


def _plot_synthesis(
    runs: list[Run], cohort: list[Subject], synthetic: dict[str, list[Subject]], folder: Path
) -> dict[str, list[pictures.Strip]]:
    """Draw rows of mask | real | synthetic for every synthetic set."""
    baseline = [run for run in runs if run.regime == "baseline"]
    trained = set(read_json(baseline[0].folder / "lineage.json")["real_subjects"])
    real = [s for s in cohort if s.id in trained and s.group == "patient"]
    return {
        name: pictures.synthesis_strips(
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


def _weights(runs: list[Run]) -> Iterator[tuple[str, str]]:
    """Yield each detector's name and the checksum of its weights."""
    for run in runs:
        path = run.folder / "detector.json"
        if path.exists():
            yield run.name, str(read_json(path).get("weights_sha256", "unknown"))
