"""From unlabelled patients to first labels, a person's and a model's, by the commands alone."""

import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from lesionforge.cli import run
from lesionforge.data.cohort import read_cohort
from lesionforge.data.config import SplitConfig
from lesionforge.data.labels import read_labelled
from lesionforge.data.splits import assign_splits, write_splits
from lesionforge.data.subject import read_grid, read_lesion
from lesionforge.data.volume import Volume, write_volume
from lesionforge.detection import inference
from lesionforge.preprocessing.quality import columns
from lesionforge.provenance import read_json, read_tsv, write_tsv
from tests.conftest import CHANNELS, toy_volumes, write_toy_cohort

CONFIG = """
name: late
splits: {validation_patients: 1, validation_controls: 1, test_patients: 2, test_controls: 1}
detector: {steps: 2, epoch_steps: 2, patch: 24, filters: [4, 8, 8, 8], batch_size: 1, workers: 0}
regimes:
  baseline: {patients: 2, controls: 1}
  expanded: {patients: 3, controls: 1}
  more: {patients: 6, controls: 1}
evaluation: {bootstrap: 100}
"""
SPLITS = SplitConfig(1, 1, 2, 1)
SURE = {"sub-u01": 0.97, "sub-u02": 0.5, "sub-u03": 0.92, "sub-u04": 0.1}


def call(root: Path, stage: str, *options: str) -> int:
    config = root / "late.yaml"
    config.write_text(CONFIG)
    return run(stage, ["--config", str(config), "--runs", str(root / "runs"), *options])


@pytest.fixture(scope="module")
def root(tmp_path_factory, toy_grid):
    """Six patients, three controls and four unlabelled patients, with a baseline and expanded."""
    made = tmp_path_factory.mktemp("late")
    cohort = made / "runs/late/cohort"
    people = write_toy_cohort(cohort, toy_grid, patients=6, controls=3, unlabelled=4)
    table = pd.DataFrame({"participant_id": [s.id for s in people]}).assign(
        **dict.fromkeys(columns(CHANNELS), 1.0)
    )
    write_tsv(cohort / "quality.tsv", table)
    known = table.assign(group=[s.group for s in people], site=[s.site for s in people])
    write_splits(cohort / "splits.tsv", assign_splits(known, SPLITS, [0]))
    for regime in ("baseline", "expanded"):
        assert call(made, "train-detector", "--regime", regime) == 0
    assert call(made, "compare") == 0
    return made


def truth(subject):
    return toy_volumes(subject.id, True, read_grid(subject))["label-lesion_mask"]


def sure(monkeypatch):
    """Let the detector see every unlabelled patient's lesion, more or less surely."""

    def maps(folder):
        assert (folder / "detector.safetensors").exists()
        return lambda s: Volume(np.float32(SURE[s.id]) * truth(s), read_grid(s))

    monkeypatch.setattr(inference, "probability_maps", maps)


def test_unlabelled_people_are_in_no_table_of_the_study(root):
    study = root / "runs/late"
    for path in [*study.glob("detector/*/seed-0/*.tsv"), *study.glob("report/tables/*.tsv")]:
        assert "sub-u" not in path.read_text(), path
    for path in study.glob("detector/*/seed-0/lineage.json"):
        assert "sub-u" not in path.read_text()
    assert "sub-u" not in (study / "cohort/splits.tsv").read_text()
    assert "n_model_labels" not in (study / "report/metrics.json").read_text()
    errors = ["--errors.rate", "0.3", "--errors.kinds", "[missing]"]
    assert call(root, "corrupt-labels", "--to", "wrong", *errors) == 0
    assert "sub-u" not in (study / "truth/labels/wrong.tsv").read_text()
    groups = read_tsv(study / "cohort/labels/wrong.tsv").set_index("participant_id")["group"]
    assert (groups[groups.index.str.startswith("sub-u")] == "unlabelled").all()


def test_next_cases_proposes_to_label_them(root, tmp_path):
    assert call(root, "next-cases", "--minutes", "60") == 0
    table = read_tsv(root / "runs/late/audit/next.tsv")
    named = table.loc[table["action"] == "label", "subject"]
    assert sorted(named) == ["sub-u01", "sub-u02", "sub-u03", "sub-u04"]


def test_a_persons_first_label_trains_behind_everybody_else(root, tmp_path):
    study = root / "runs/late"
    before = {p: p.read_bytes() for p in (study / "cohort").glob("*.tsv")}
    known = {s.id: s for s in read_cohort(study / "cohort")}
    mask = tmp_path / "mask.nii.gz"
    write_volume(mask, truth(known["sub-u04"]), read_grid(known["sub-u04"]))
    options = ["--subject", "sub-u04", "--by", "R", "--reason", "seen"]
    assert call(root, "decide", *options) == 2
    assert call(root, "decide", *options, "--mask", str(mask)) == 0
    assert call(root, "next-cases") == 0
    named = read_tsv(study / "audit/next.tsv").query("action == 'label'")["subject"]
    assert sorted(named) == ["sub-u01", "sub-u02", "sub-u03"]
    assert call(root, "apply-decisions", "--to", "first") == 0
    small = ["--labels", "first", "--regimes.more.patients", "4"]
    assert call(root, "train-detector", *small, "--regime", "more") == 0
    trained = read_json(study / "labels-first/detector/more/seed-0/lineage.json")["real_subjects"]
    expanded = read_json(study / "detector/expanded/seed-0/lineage.json")["real_subjects"]
    assert sorted(trained) == sorted([*expanded, "sub-u04"])
    held_out = [
        read_tsv(study / folder / "seed-0/subjects.tsv")["participant_id"].tolist()
        for folder in ("detector/expanded", "labels-first/detector/more")
    ]
    assert held_out[0] == held_out[1]
    assert {p: p.read_bytes() for p in (study / "cohort").glob("*.tsv")} == before


def test_a_models_labels_are_marked_and_counted_apart(root, monkeypatch):
    study = root / "runs/late"
    options = ["--regime", "expanded", "--to", "pre", "--labels", "first"]
    assert call(root, "train-detector", "--labels", "first", "--regime", "expanded") == 0
    sure(monkeypatch)
    assert call(root, "pre-label", *options) == 0
    table = read_tsv(study / "labels-first/pre-labels/pre.tsv").set_index("participant_id")
    assert table["accepted"].to_dict() == {"sub-u01": 1, "sub-u03": 1, "sub-u02": 0}
    assert table["inspect"].sum() == 1
    people = {s.id: s for s in read_labelled(study / "cohort", "pre")}
    assert people["sub-u02"].group == "unlabelled"
    np.testing.assert_array_equal(read_lesion(people["sub-u03"]), truth(people["sub-u03"]))
    page = (study / "labels-first/pre-labels/pre.html").read_text()
    first, *_ = re.findall(r'<article class="label" id="([^"]+)"', page)
    assert table.loc[first, "inspect"] == 1
    assert page.count("data:image/jpeg") == 2
    assert page.count("To be looked at.") == 1
    assert "http" not in page.replace("http://www.w3.org", "")

    monkeypatch.undo()
    for regime in ("baseline", "more"):
        assert call(root, "train-detector", "--labels", "pre", "--regime", regime) == 0
    assert call(root, "compare", "--labels", "pre") == 0
    metrics = json.loads((study / "labels-pre/report/metrics.json").read_text())
    more = metrics["regimes"]["more"]
    assert (more["n_patients"], more["n_model_labels"], more["label_budget"]) == (6, 2, 5)
    assert "n_model_labels" not in metrics["regimes"]["baseline"]
    (said,) = [w for w in metrics["warnings"] if "a model drew" in w]
    assert "more, seed 0: 2" in said
    assert "besides 2 masks of a model" in (study / "labels-pre/report/index.html").read_text()
    assert call(root, "next-cases", "--readers", "[first, pre]") == 0  # a first label is no dispute
    assert "adjudicate" not in set(read_tsv(study / "audit/next.tsv")["action"])


def test_a_model_that_is_not_sure_makes_no_set(root, monkeypatch, capsys):
    sure(monkeypatch)
    options = ["--regime", "expanded", "--to", "none"]
    assert call(root, "pre-label", *options, "--accept", "0.99") == 2
    said = capsys.readouterr().err
    assert "No set `none` was made: the best of 3 best candidates scores 0.970, below 0.99" in said
    assert not (root / "runs/late/cohort/labels/none.tsv").exists()
    assert call(root, "pre-label", *options, "--accept", "1.2") == 2
    assert call(root, "pre-label", "--regime", "none", "--to", "none") == 2
    assert call(root, "pre-label", "--regime", "expanded", "--to", "wrong") == 2
    assert "never changed" in capsys.readouterr().err


def test_a_model_does_not_label_again_whose_label_a_person_took_back(root, monkeypatch):
    decision = ["--subject", "sub-u03", "--by", "R", "--reason", "a vein", "--verdict", "withdraw"]
    assert call(root, "decide", "--labels", "pre", *decision) == 0
    assert call(root, "apply-decisions", "--labels", "pre", "--to", "taken") == 0
    people = {s.id: s for s in read_labelled(root / "runs/late/cohort", "taken")}
    assert not people["sub-u03"].has_label
    sure(monkeypatch)
    assert call(root, "pre-label", "--regime", "expanded", "--to", "again") == 0
    table = read_tsv(root / "runs/late/pre-labels/again.tsv")
    assert not {"sub-u03"} & set(table["participant_id"])
    assert call(root, "next-cases") == 0
    rows = read_tsv(root / "runs/late/audit/next.tsv")
    assert "sub-u03" in set(rows["subject"])
