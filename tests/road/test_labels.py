"""From planted errors to a corrected label set by the commands alone, on a toy cohort."""

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import ndimage

from lesionforge.cli import run
from lesionforge.data.config import SplitConfig
from lesionforge.data.labels import read_labelled
from lesionforge.data.splits import assign_folds, write_splits
from lesionforge.data.subject import read_brain, read_grid, read_lesion
from lesionforge.data.volume import write_volume
from lesionforge.provenance import read_tsv
from lesionforge.seeding import stream
from lesionforge.study.config import Study
from tests.conftest import write_toy_cohort


@pytest.fixture(scope="module")
def study(tmp_path_factory, toy_grid):
    """Fifteen patients and controls in three folds."""
    made = Study(name="toy", runs=str(tmp_path_factory.mktemp("runs")), folds=3)
    subjects = write_toy_cohort(made.cohort_root, toy_grid, patients=15, controls=15)
    people = pd.DataFrame(
        {
            "participant_id": [s.id for s in subjects],
            "group": [s.group for s in subjects],
            "site": [s.site for s in subjects],
            "lesion_ml": 1.0,
        }
    )
    config = SplitConfig(validation_patients=1, validation_controls=1)
    for fold, table in enumerate(assign_folds(people, config, [0], 3)):
        write_splits(made.splits_path(fold), table)
    return made


def write_predictions(study, labels):
    """Write what a good detector of `labels` would say about the subjects that each fold tests."""
    truth = {s.id: s for s in read_labelled(study.cohort_root)}
    learnt = Study(name=study.name, runs=study.runs, folds=3, labels=labels)
    for fold in range(3):
        table = read_tsv(study.splits_path(fold), participant_id=str)
        for name in table.loc[table["role"] == "test", "participant_id"]:
            soft = ndimage.gaussian_filter(read_lesion(truth[name]).astype(np.float32), 0.7)
            noise = 0.2 * ndimage.gaussian_filter(stream(0, name).random(soft.shape), 2.0)
            seen = np.clip(soft + noise, 0, 1) * read_brain(truth[name])
            folder = learnt.detector_root("baseline", 0, fold) / "probability"
            grid = read_grid(truth[name])
            write_volume(folder / f"{name}_probability.nii.gz", seen.astype(np.float32), grid)


def call(study, stage, *options):
    return run(stage, ["--name", study.name, "--runs", study.runs, "--folds", "3", *options])


def test_from_planted_errors_to_a_corrected_set(study, capsys):
    assert call(study, "corrupt-labels", "--to", "planted", "--errors.rate", "0.2") == 0
    kinds = read_tsv(study.root / "truth" / "labels" / "planted.tsv", participant_id=str)
    assert sorted(kinds["kind"]) == sorted(["missing", "shifted", "spurious"] * 2)
    write_predictions(study, "planted")
    assert call(study, "audit-labels", "--labels", "planted", "--audit.copies", "1") == 0
    folder = study.root / "labels-planted" / "audit"
    table = read_tsv(folder / "labels.tsv", participant_id=str)
    assert len(table) == 30
    first = table["participant_id"].head(6)
    assert first.isin(kinds["participant_id"]).sum() >= 4
    page = (folder / "labels.html").read_text()
    shown = re.findall(r'<article class="label" id="([^"]+)"', page)
    assert shown == table["participant_id"].tolist()
    assert page.count("data:image/jpeg") == 30
    assert "http" not in page.replace("http://www.w3.org", "")

    original = {s.id: s for s in read_labelled(study.cohort_root)}
    for name in kinds["participant_id"]:  # the expert looks and tells the truth
        options = ["--labels", "planted", "--subject", name, "--by", "R", "--reason", "seen"]
        if original[name].group == "patient":
            options += ["--mask", str(original[name].lesion), "--minutes", "5"]
        else:
            options += ["--verdict", "healthy"]
        assert call(study, "decide", *options) == 0
    assert call(study, "apply-decisions", "--labels", "planted", "--to", "v2") == 0
    for subject in read_labelled(study.cohort_root, "v2"):
        np.testing.assert_array_equal(read_lesion(subject), read_lesion(original[subject.id]))
        assert subject.group == original[subject.id].group


def test_label_sets_and_decisions_are_valid_bids(study):
    validator = Path(sys.executable).with_name("bids-validator-deno")
    command = [str(validator), "--json", str(study.cohort_root)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    found = json.loads(done.stdout)
    assert list((study.cohort_root / "labels").iterdir())
    assert [i for i in found["issues"]["issues"] if i["severity"] == "error"] == []


def test_without_predictions_it_says_what_to_do(study, capsys):
    assert call(study, "audit-labels") == 2
    assert "Train it first, best with --folds 3" in capsys.readouterr().err
    assert call(study, "audit-labels", "--labels", "none") == 2
    assert "no predictions" in capsys.readouterr().err
    options = ["--subject", "sub-x", "--by", "R", "--reason", "seen"]
    assert call(study, "decide", *options) == 2
    assert "no subject sub-x" in capsys.readouterr().err
    assert call(study, "apply-decisions", "--to", "original") == 2
