"""The whole road on tiny phantoms, through the command line, twice: the same bytes."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from lesionforge import cli
from lesionforge.data.cohort import read_cohort
from lesionforge.provenance import sha256

CONFIG = """
name: tiny
cohort:
  phantom: {patients: 7, controls: 6, seed: 9100, voxel_mm: 5.0}
  prepare: {voxel_mm: 5.0, levels_mm: [10.0], tilts_deg: [0.0]}
splits: {validation_patients: 1, validation_controls: 1, test_patients: 2, test_controls: 2}
generator: {steps: 4, checkpoint_every: 2, features: [8, 8, 8], hidden: 4, discriminator_width: 4,
            patch: 24, batch_size: 1}
synthetic:
  spade: {mode: insert, min_effect_sd: 0.0, min_effect_share: 0.0, min_contrast_cosine: -1.0}
detector: {steps: 6, epoch_steps: 3, patch: 24, filters: [4, 8, 8, 8], batch_size: 2}
regimes:
  baseline: {patients: 2, controls: 2}
  augmented: {patients: 2, controls: 2, synthetic: spade, ratio: 1.0}
  expanded: {patients: 4, controls: 3}
  synthetic_only: {patients: 2, controls: 2, synthetic: spade, ratio: 1.0, real: false}
evaluation: {bootstrap: 100}
"""
STAGES = ("prepare", "train-generator", "synthesize", "train-detector", "compare")


def _run(root: Path, stage: str, *arguments: str) -> int:
    config = root / "tiny.yaml"
    config.write_text(CONFIG)
    return cli.run(stage, ["--config", str(config), "--runs", str(root / "runs"), *arguments])


@pytest.fixture(scope="module")
def road(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("road")
    for stage in STAGES:
        assert _run(root, stage) == 0, stage
    return root


def test_the_report_compares_three_regimes(road):
    metrics = json.loads((road / "runs/tiny/report/metrics.json").read_text())
    assert metrics["schema"] == 1
    assert list(metrics["regimes"]) == ["baseline", "augmented", "expanded", "synthetic_only"]
    alone = metrics["regimes"]["synthetic_only"]
    assert (alone["n_patients"], alone["n_synthetic_patients"]) == (0, 2)
    assert [r["label_budget"] for r in metrics["regimes"].values()] == [3, 3, 5, 3]
    augmented = metrics["regimes"]["augmented"]
    assert (augmented["n_patients"], augmented["n_synthetic_patients"]) == (2, 2)
    assert augmented["sensitivity"]["n"] == 2
    page = (road / "runs/tiny/report/index.html").read_text()
    assert "augmented" in page
    assert "esearch use only" in page


def test_every_synthetic_volume_goes_back_to_the_baselines_training_subjects(road):
    table = pd.read_csv(road / "runs/tiny/cohort/splits.tsv", sep="\t")
    allowed = set(table[(table["role"] == "train") & (table["order_0"] < 2)]["participant_id"])
    synthetic = read_cohort(road / "runs/tiny/synthetic/spade/seed-0")
    assert [s.group for s in synthetic] == ["patient", "patient", "control", "control"]
    for subject in synthetic:
        assert set(subject.sources) <= allowed


def test_the_synthetic_set_is_audited_on_a_page_and_in_the_report(road):
    root = road / "runs/tiny/synthetic/spade/seed-0"
    (root / ".bidsignore").write_text("")  # as in a set made by former code
    assert _run(road, "audit-synthetic", "--audit.masks", "4") == 0
    audit = json.loads((root / "audit.json").read_text())
    assert audit["counts"] == {
        "patients": 2, "controls": 2, "fresh": 3, "healthy": 2, "trained": 2,
        "hosts": 2, "masks": 6, "with_artifact": 0,
    }  # fmt: skip
    assert {f["part"] for f in audit["findings"]} == {
        "masks", "conditioning", "realism", "leakage", "diversity", "memorisation"
    }  # fmt: skip
    assert all(f["why"] or f["sentence"] for f in audit["findings"])
    seen = audit["findings"][-1]
    assert seen["counts"][1] == 2
    assert "of 1 real validation patients" in seen["sentence"]
    assert _run(road, "audit-synthetic", "--regime", "augmented") == 2
    page = (root / "audit.html").read_text()
    assert page.count("data:image/jpeg") == 4  # of each lesion, by its tissue and by its effect
    assert "undefined" in page
    copied = next(f for f in audit["findings"] if f["name"] == "copied effects")
    assert copied["counts"][1] == 2
    assert _run(road, "compare") == 0
    assert "under audit" in (road / "runs/tiny/report/index.html").read_text()
    assert _run(road, "audit-synthetic", "--set", "spode") == 2


def test_false_positives_are_traced(road):
    assert _run(road, "trace-false-positives") == 0
    assert _run(road, "trace-false-positives", "--role", "test") == 0
    folder = road / "runs/tiny/detector/augmented/seed-0"
    assert "esearch use only" in (folder / "false_positives.html").read_text()
    assert (folder / "false_positives.tsv").exists()
    assert _run(road, "trace-false-positives", "--regime", "expanded") == 2
    for name in ("false_positives.tsv", "false_positives.html"):
        (folder / name).unlink()


def test_another_tools_maps_are_compared_in_a_report_of_their_own(road, tmp_path):
    study = road / "runs/tiny"
    for regime in ("baseline", "augmented"):
        out = ["--regime", regime, "--out", str(tmp_path / regime)]
        assert _run(road, "export-nnunet", *out) == 0
        (exported,) = (tmp_path / regime).iterdir()
        assert len(list((exported / "labelsTr").iterdir())) == (4 if regime == "baseline" else 8)
        asked = {path.name.rsplit("_", 1)[0] for path in (exported / "imagesTs").iterdir()}
        assert len(asked) == 6
        for name in asked:
            ours = study / "detector" / regime / "seed-0/probability" / f"{name}_probability.nii.gz"
            shutil.copyfile(ours, tmp_path / regime / f"{name}.nii.gz")
        assert _run(road, "import-predictions", str(tmp_path / regime), "--regime", regime) == 0
    assert _run(road, "compare", "--model", "nnunet") == 0
    theirs = json.loads((study / "report-nnunet/metrics.json").read_text())["regimes"]
    ours = json.loads((study / "report/metrics.json").read_text())["regimes"]
    assert list(theirs) == ["baseline", "augmented"]
    for name in theirs:
        assert theirs[name]["sensitivity"] == ours[name]["sensitivity"]
        assert theirs[name]["specificity"] == ours[name]["specificity"]
    shutil.rmtree(study / "nnunet")
    shutil.rmtree(study / "report-nnunet")


@pytest.mark.parametrize("folder", ["cohort", "synthetic/spade/seed-0"])
def test_what_is_written_is_valid_bids(road, folder):
    root = road / "runs/tiny" / folder
    if folder != "cohort" and not (root / "audit.json").exists():
        assert _run(road, "audit-synthetic", "--audit.masks", "4") == 0
    validator = Path(sys.executable).with_name("bids-validator-deno")
    command = [str(validator), "--json", str(root)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    found = json.loads(done.stdout)
    assert found["summary"]["totalFiles"] > 30
    assert [i for i in found["issues"]["issues"] if i["severity"] == "error"] == []
    assert done.returncode == 0


def test_a_second_run_with_other_workers_gives_the_same_bytes(road, tmp_path):
    workers = {
        "prepare": ["--cohort.prepare.workers", "1"],
        "train-generator": ["--generator.workers", "1"],
        "train-detector": ["--detector.workers", "0"],
    }
    for stage in STAGES[:-1]:
        assert _run(tmp_path, stage, *workers.get(stage, [])) == 0
    ours, other = road / "runs/tiny", tmp_path / "runs/tiny"
    volumes = sorted(p.relative_to(ours) for p in (ours / "synthetic").rglob("*.nii.gz"))
    volumes += sorted(p.relative_to(ours) for p in (ours / "cohort").rglob("*.nii.gz"))
    assert len(volumes) > 100
    assert [p for p in volumes if sha256(ours / p) != sha256(other / p)] == []
    for regime in ("baseline", "augmented", "expanded"):
        for name in ("candidates.tsv", "subjects.tsv"):
            path = Path("detector") / regime / "seed-0" / name
            assert (ours / path).read_bytes() == (other / path).read_bytes()


def test_a_finished_stage_is_not_done_again(road):
    weights = road / "runs/tiny/detector/baseline/seed-0/detector.safetensors"
    before = weights.stat().st_mtime_ns
    for stage in STAGES:
        assert _run(road, stage) == 0
    assert weights.stat().st_mtime_ns == before


def test_a_test_subject_behind_a_synthetic_volume_is_refused(road, capsys):
    root = road / "runs/tiny/synthetic/spade/seed-0/participants.tsv"
    kept = root.read_text()
    table = pd.read_csv(road / "runs/tiny/cohort/splits.tsv", sep="\t")
    leak = table.loc[table["role"] == "test", "participant_id"].iloc[0]
    rows = pd.read_csv(root, sep="\t")
    rows.loc[0, "sources"] += f",{leak}"
    rows.to_csv(root, sep="\t", index=False, na_rep="n/a")
    try:
        assert _run(road, "train-detector", "--regime", "augmented") == 2
    finally:
        root.write_text(kept)
    assert f"goes back to {leak} (test)" in capsys.readouterr().err


def test_folds_cross_fit_everything_and_the_report_says_what_is_missing(road, tmp_path):
    for part in ("raw", "truth", "cohort"):
        shutil.copytree(road / "runs/tiny" / part, tmp_path / "runs/tiny" / part)
    for stage in STAGES:
        assert _run(tmp_path, stage, "--folds", "2") == 0, stage
    root = tmp_path / "runs/tiny"
    tables = [pd.read_csv(root / f"fold-{i}/splits.tsv", sep="\t") for i in (0, 1)]
    tested = [set(t[t["role"] == "test"]["participant_id"]) for t in tables]
    assert tested[0] | tested[1] == {s.id for s in read_cohort(root / "cohort")}
    assert not tested[0] & tested[1]
    for i, table in enumerate(tables):
        training = set(table[table["role"] == "train"]["participant_id"])
        for subject in read_cohort(root / f"fold-{i}/synthetic/spade/seed-0"):
            assert set(subject.sources) <= training
    metrics = json.loads((root / "report/metrics.json").read_text())
    assert list(metrics["regimes"]) == ["baseline", "augmented", "synthetic_only"]
    assert metrics["regimes"]["baseline"]["sensitivity"]["n"] == 7
    assert metrics["gap_recovered"]["value"] is None
    assert "expanded" in metrics["gap_recovered"]["why"]
    notes = [w for w in metrics["warnings"] if "Not in this report" in w]
    assert all("expanded (seed 0 fold" in note for note in notes)
    assert all("4 training patients were asked for" in note for note in notes)
    assert sum(note.count("fold ") for note in notes) == 2
