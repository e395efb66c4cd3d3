"""The page stands alone, shows every regime, escapes what it is given, and warns."""

import re
from dataclasses import replace

import numpy as np
import pytest

from lesionforge.metrics.config import CandidateRules, EvaluationConfig
from lesionforge.provenance import read_json, read_tsv, write_json
from lesionforge.report.pages import report as report_page
from lesionforge.report.pages.report import write_report
from lesionforge.report.results import compute_metrics

CONFIG = EvaluationConfig(bootstrap=200)
NAME = "toy <b>study</b> & more"


@pytest.fixture(autouse=True, scope="module")
def steady_environment():
    """The commit may change while tests run."""
    record = {"lesionforge": "0.1.0", "python": "3", "commit": "c" * 40}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(report_page, "environment", lambda: record)
        yield


def make_report(bench, runs, out, data="phantom", synthetic=None):
    metrics = compute_metrics(NAME, "ab" * 32, data, runs, CandidateRules(), CONFIG)
    path = write_report(
        metrics,
        runs,
        bench.cohort,
        {"spade": bench.synthetic} if synthetic is None else synthetic,
        [],
        out,
        (CandidateRules(), CONFIG),
    )
    return metrics, path


@pytest.fixture(scope="module")
def report(bench):
    """The full report: metrics and the folder."""
    write_json(
        bench.root / "stages" / "prepare.json",
        {
            "stage": "prepare",
            "started": "2026",
            "status": "done",
            "seconds": 3,
            "environment": {"commit": "f" * 40},
        },
    )
    metrics, path = make_report(bench, bench.runs, bench.root / "report")
    return metrics, path


def test_page_stands_alone(report):
    text = report[1].read_text()
    sources = re.findall(r"""(?:src|href)\s*=\s*["']([^"']*)""", text)
    assert len(sources) > 20
    assert all(s.startswith("data:image/png;base64,") for s in sources)
    assert not re.search(r"https?://|@import|url\(|<script|<link", text)


def test_page_shows_regimes_intervals_and_limits(report):
    metrics, path = report
    text = path.read_text()
    for name, regime in metrics["regimes"].items():
        assert f"</span>{name}</th>" in text
        assert f"{100 * regime['sensitivity']['value']:.1f} %" in text
    for words in ("Research use only", "Phantoms, not patients", "ab" * 32, "McNemar", "Wilson"):
        assert words in text
    assert metrics["gap_recovered"]["definition"].split("=")[0] in text
    assert text.count('class="strip"') == 4 + len(
        {p.name.split("_")[0] for p in (path.parent / "figures" / "patients").glob("*_truth.png")}
    )


def test_names_are_escaped(report):
    text = report[1].read_text()
    assert "<b>study</b>" not in text
    assert "toy &lt;b&gt;study&lt;/b&gt; &amp; more" in text


def test_files_beside_the_page(report):
    metrics, path = report
    assert read_json(path.parent / "metrics.json") == metrics
    tables = {p.stem for p in (path.parent / "tables").glob("*.tsv")}
    assert tables == {"regimes", "comparisons", "seeds", "strata", "froc"}
    regimes = read_tsv(path.parent / "tables" / "regimes.tsv")
    row = regimes[(regimes["regime"] == "expanded") & (regimes["measure"] == "sensitivity")]
    assert row["value"].item() == pytest.approx(
        metrics["regimes"]["expanded"]["sensitivity"]["value"], abs=1e-5
    )
    assert {p.stem for p in (path.parent / "figures").glob("*.png")} >= {
        "froc",
        "sensitivity",
        "losses",
    }


def test_rebuilding_gives_the_same_page(report, bench):
    before = report[1].read_bytes()
    make_report(bench, bench.runs, bench.root / "report")
    assert report[1].read_bytes() == before


def test_real_data_without_expanded_or_synthetic(bench, tmp_path):
    runs = [
        c for c in bench.runs if c.regime != "expanded" and (c.regime, c.seed) != ("augmented", 1)
    ]
    _, path = make_report(bench, runs, tmp_path / "report", "real", {})
    text = path.read_text()
    assert "Phantoms, not patients" not in text
    assert "Undefined." in text
    assert "No trained regime expanded" in text
    assert "There is no synthetic set yet." in text
    assert "<strong>Warning.</strong> Not every regime is trained with every seed (augm" in text
    assert "of 12 test patients (seed 0): " in text


def test_of_many_regimes_the_others_fold_away(bench, tmp_path):
    more = [
        replace(c, regime=f"dose_{i}")
        for c in bench.runs
        if c.regime == "augmented"
        for i in range(4)
    ]
    metrics, path = make_report(bench, [*bench.runs, *more], tmp_path / "report")
    assert len(metrics["regimes"]) == 7
    text = path.read_text()
    assert text.count("Of baseline, augmented, expanded; the others are in metrics.json.") == 2
    assert "<summary>Every pair of regimes</summary>" in text


def test_missing_maps_are_told_not_hidden(make_bench, tmp_path):
    bench = make_bench(n=18, m=13, seeds=(0,))
    for path in bench.runs[0].folder.glob("probability/*"):
        path.unlink()
    _, path = make_report(bench, bench.runs, tmp_path / "report")
    assert "Without a picture, since files are missing: sub-p" in path.read_text()


def test_one_regime_only(bench, tmp_path):
    runs = [c for c in bench.runs if c.regime == "baseline"]
    _, path = make_report(bench, runs, tmp_path / "report")
    assert "One regime only" in path.read_text()


def test_global_generators_and_styles_are_untouched(bench, tmp_path):
    import matplotlib as mpl

    before, style = np.random.get_state()[1].copy(), dict(mpl.rcParams)  # noqa: NPY002
    make_report(bench, bench.runs[:2], tmp_path / "report", synthetic={})
    assert (np.random.get_state()[1] == before).all()  # noqa: NPY002
    assert dict(mpl.rcParams) == style
