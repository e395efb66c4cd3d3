"""Reading a BIDS-like folder: names, tables and what is missing."""

import json
from pathlib import Path

import pytest

from lesionforge.errors import DataError
from lesionforge.preprocessing.raw import read_raw
from tests.conftest import CHANNELS


def _touch(root: Path, subject: str, *endings: str) -> None:
    for ending in endings:
        path = root / subject / "anat" / f"{subject}_{ending}.nii.gz"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def test_a_published_layout_with_a_bom(tmp_path: Path) -> None:
    _touch(
        tmp_path, "sub-1", "acq-a_T1w", "acq-T2sel_FLAIR", "acq-T2sel_FLAIR_roi"
    )  # the mask is named after its FLAIR, and must not be taken for one
    _touch(tmp_path, "sub-2", "acq-a_T1w", "acq-T2sel_FLAIR")
    (tmp_path / "participants.tsv").write_bytes(
        "\ufeffparticipant_id\tgroup\tsite\nsub-1\tfcd\tB\nsub-2\thc\tn/a\n".encode()
    )
    subjects, problems = read_raw(tmp_path, CHANNELS)
    assert problems == []
    assert [(s.id, s.group, s.site) for s in subjects] == [
        ("sub-1", "patient", "B"),
        ("sub-2", "control", "n/a"),
    ]
    assert subjects[0].images["FLAIR"].name.endswith("acq-T2sel_FLAIR.nii.gz")
    assert subjects[0].lesion is not None
    assert subjects[0].lesion.name.endswith("_roi.nii.gz")
    assert subjects[1].lesion is None


def test_the_group_defaults_to_the_presence_of_a_mask(tmp_path: Path) -> None:
    _touch(tmp_path, "sub-a", "T1w", "FLAIR", "label-lesion_mask")
    _touch(tmp_path, "sub-b", "T1w", "FLAIR", "desc-brain_mask")
    (tmp_path / "participants.tsv").write_text("participant_id\tage\na\t4\nb\t5\n")
    subjects, problems = read_raw(tmp_path, CHANNELS)
    assert [s.group for s in subjects] == ["patient", "control"]
    assert subjects[1].brain is not None
    assert subjects[1].lesion is None
    assert not problems


def test_without_tables_and_with_sessions(tmp_path: Path) -> None:
    for session in ("ses-1", "ses-2"):
        folder = tmp_path / "sub-x" / session / "anat"
        folder.mkdir(parents=True)
        for kind in ("T1w", "FLAIR"):
            (folder / f"sub-x_{session}_{kind}.nii").touch()
    (subject,), problems = read_raw(tmp_path, CHANNELS)
    assert subject.images["T1w"].name == "sub-x_ses-1_T1w.nii"
    assert any("2 T1w files" in note for note in subject.notes)
    assert not problems


def test_all_problems_at_once(tmp_path: Path) -> None:
    _touch(tmp_path, "sub-1", "T1w")
    _touch(tmp_path, "sub-2", "FLAIR", "roi")
    _touch(tmp_path, "sub-3", "T1w", "FLAIR")
    _touch(tmp_path, "sub-4", "T1w", "FLAIR", "label-lesion_mask")
    _touch(tmp_path, "sub-5", "T1w", "FLAIR", "label-lesion_mask")
    (tmp_path / "participants.tsv").write_text(
        "participant_id\tgroup\nsub-1\tcontrol\nsub-2\tpatient\nsub-3\tpatient\n"
        "sub-4\thealthy\nsub-5\tpatient\nsub-6\tpatient\n"
    )
    subjects, problems = read_raw(tmp_path, CHANNELS)
    assert [s.id for s in subjects] == ["sub-5"]
    found = {p.subject: p.what for p in problems}
    assert found["sub-1"] == "has no FLAIR"
    assert found["sub-2"] == "has no T1w"
    assert "no lesion mask" in found["sub-3"]
    assert "control group but has a lesion mask" in found["sub-4"]
    assert "no folder" in found["sub-6"]
    assert [p.fatal for p in problems] == [True, True, True, True, False]


def test_the_scanner_of_a_sidecar_stands_in_for_the_site(tmp_path: Path) -> None:
    for name in ("sub-1", "sub-2", "sub-3"):
        _touch(tmp_path, name, "T1w", "FLAIR")
    sidecar = {"ManufacturersModelName": "TrioTim", "DeviceSerialNumber": 35083}
    (tmp_path / "sub-1" / "anat" / "sub-1_T1w.json").write_text(json.dumps(sidecar))
    (tmp_path / "sub-2" / "anat" / "sub-2_T1w.json").write_text(json.dumps(sidecar))
    (tmp_path / "participants.tsv").write_text(
        "participant_id\tsite\tsplit\nsub-1\tn/a\ttest\nsub-2\tB\tn/a\nsub-3\tn/a\ttrain\n"
    )
    subjects, _ = read_raw(tmp_path, CHANNELS)
    assert [s.site for s in subjects] == ["TrioTim 35083", "B", "n/a"]
    assert [s.split for s in subjects] == ["test", "n/a", "train"]


def test_a_folder_without_subjects_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no `sub-"):
        read_raw(tmp_path, CHANNELS)
