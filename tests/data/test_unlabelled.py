"""Patients without a mask as yet are prepared like anybody, and are nobody's patient or control."""

import json

import numpy as np
import pandas as pd
import pytest

from lesionforge.data.cohort import read_cohort, write_participants
from lesionforge.data.labels import Label, read_joined, read_labelled, set_path, write_label_set
from lesionforge.data.subject import read_grid, read_lesion
from lesionforge.data.volume import write_volume
from lesionforge.errors import DataError, LineageError
from lesionforge.label_qc.decision_log import Decision
from lesionforge.label_qc.decisions import apply_decisions, decide
from lesionforge.preprocessing.confounding import measure_confounding
from lesionforge.preprocessing.raw import read_raw
from lesionforge.provenance import read_tsv
from lesionforge.report.pages.quality import plot_strip
from lesionforge.study.regimes import Regime
from lesionforge.study.training_set import training_subjects
from tests.conftest import CHANNELS, write_toy_cohort


@pytest.fixture
def cohort(tmp_path, toy_grid):
    write_toy_cohort(tmp_path / "cohort", toy_grid, patients=2, controls=1, unlabelled=3)
    return tmp_path / "cohort"


def touch(root, subject, *endings):
    for ending in endings:
        path = root / subject / "anat" / f"{subject}_{ending}.nii.gz"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def test_the_raw_table_calls_them_unlabelled(tmp_path):
    for name in ("sub-1", "sub-2", "sub-3", "sub-4"):
        touch(tmp_path, name, "T1w", "FLAIR")
    touch(tmp_path, "sub-5", "T1w", "FLAIR", "label-lesion_mask")
    (tmp_path / "participants.tsv").write_text(
        "participant_id\tgroup\nsub-1\tunlabelled\nsub-2\tUnlabeled\nsub-3\tcontrol\n"
        "sub-4\tpatient\nsub-5\tunlabelled\n"
    )
    subjects, problems = read_raw(tmp_path, CHANNELS)
    assert [s.group for s in subjects] == ["unlabelled", "unlabelled", "control"]
    patient, masked = problems
    assert (patient.subject, patient.what) == (
        "sub-4", "is in group `patient` but has no lesion mask"
    )  # fmt: skip
    assert "to unlabelled if it is a patient whose lesion nobody has outlined" in patient.remedy
    assert masked.what == "is unlabelled but has a lesion mask"
    assert "Set its group to patient" in masked.remedy


def test_nobody_takes_them_for_healthy(cohort):
    people = read_cohort(cohort)
    late = [s for s in people if not s.has_label]
    assert [s.id for s in late] == ["sub-u01", "sub-u02", "sub-u03"]
    with pytest.raises(DataError, match="sub-u01 is unlabelled: it has no lesion mask yet"):
        read_lesion(late[0])
    assert plot_strip(late[0]).startswith("data:image/jpeg")
    table = pd.DataFrame(
        {"participant_id": ["sub-u01"], "group": ["patient"], "role": ["train"], "order_0": [0]}
    )
    regime = Regime(1, 0)
    with pytest.raises(LineageError, match="Nobody trains without a label: sub-u01"):
        training_subjects(regime, regime, table, 0, people, [])


def test_the_tables_say_so_only_where_there_is_somebody(cohort, tmp_path):
    levels = json.loads((cohort / "participants.json").read_text())["group"]["Levels"]
    assert list(levels) == ["patient", "control", "unlabelled"]
    labelled = [s for s in read_cohort(cohort) if s.has_label]
    write_participants(tmp_path / "other", labelled)
    levels = json.loads((tmp_path / "other" / "participants.json").read_text())["group"]["Levels"]
    assert list(levels) == ["patient", "control"]
    write_label_set(cohort, "v2", "original", {"sub-p01": Label(None, "human", "R", "seen")})
    table = read_tsv(set_path(cohort, "v2"))
    assert "joined_as" not in table
    assert table.loc[table["group"] == "unlabelled", "source"].isna().all()


def test_confounding_does_not_count_them():
    rng = np.random.default_rng(0)
    table = pd.DataFrame(
        {
            "group": ["patient"] * 20 + ["control"] * 20 + ["unlabelled"] * 9,
            "site": rng.choice(["A", "B"], 49),
            "sharpness_t1w": rng.normal(size=49),
        }
    )
    mixed = table.sample(frac=1, random_state=1)
    without = mixed[mixed["group"] != "unlabelled"].reset_index(drop=True)
    assert measure_confounding(mixed, CHANNELS) == measure_confounding(without, CHANNELS)


def test_a_first_label_makes_a_patient_or_a_control_who_joins_last(cohort, tmp_path):
    files = {p: p.read_bytes() for p in cohort.rglob("*.nii.gz")}
    known = {s.id: s for s in read_cohort(cohort)}
    with pytest.raises(DataError, match="sub-u01 is unlabelled in the set `original`, so there is"):
        decide(cohort, "original", Decision("sub-u01", "confirm", "R", "seen"))
    mask = tmp_path / "mask.nii.gz"
    drawn = np.roll(read_lesion(known["sub-p01"]), 1, axis=2)
    write_volume(mask, drawn, read_grid(known["sub-u03"]))
    decide(cohort, "original", Decision("sub-u03", "confirm", "R", "seen"), mask)
    decide(cohort, "original", Decision("sub-u02", "healthy", "R", "nothing there"))
    assert apply_decisions(cohort, "original", "v2") == ["sub-u02", "sub-u03"]
    after = {s.id: s for s in read_labelled(cohort, "v2")}
    assert [after[f"sub-u0{i}"].group for i in (1, 2, 3)] == ["unlabelled", "control", "patient"]
    np.testing.assert_array_equal(read_lesion(after["sub-u03"]), drawn)
    decide(cohort, "v2", Decision("sub-u01", "confirm", "R", "seen"), mask)
    apply_decisions(cohort, "v2", "v3")
    assert [(j.participant_id, j.group, j.rank) for j in read_joined(cohort, "v3")] == [
        ("sub-u02", "control", 0), ("sub-u03", "patient", 0), ("sub-u01", "patient", 1)
    ]  # fmt: skip
    decide(cohort, "v3", Decision("sub-u03", "healthy", "R", "nothing after all"))
    apply_decisions(cohort, "v3", "v4")
    assert read_joined(cohort, "v4") == read_joined(cohort, "v3")  # another label, the same place
    assert read_joined(cohort, "original") == []
    assert all(path.read_bytes() == content for path, content in files.items())


def test_a_set_outlives_unlabelled_people_who_come_later(cohort):
    write_label_set(cohort, "v2", "original", {})
    table = set_path(cohort, "v2")
    lines = table.read_text().splitlines()
    table.write_text("\n".join(x for x in lines if not x.startswith("sub-u03")) + "\n")
    assert [s.group for s in read_labelled(cohort, "v2")][-1] == "unlabelled"
    write_label_set(cohort, "v3", "v2", {})
    table.write_text("\n".join(x for x in lines if not x.startswith("sub-p01")) + "\n")
    with pytest.raises(DataError, match="does not name every subject"):
        read_labelled(cohort, "v2")
