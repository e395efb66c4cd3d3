"""Reading a BIDS-like folder: names, tables and what is missing."""

import json
from pathlib import Path

import pytest

from lesionforge.errors import DataError
from lesionforge.preprocessing.config import PrepareConfig
from lesionforge.preprocessing.raw import read_data_sets, read_raw
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


def _table(root: Path, text: str) -> None:
    (root / "participants.tsv").write_text(text.replace(" ", "\t"))


def test_a_mask_makes_a_patient_and_its_absence_makes_nobody_healthy(tmp_path: Path) -> None:
    _touch(tmp_path, "sub-a", "T1w", "FLAIR", "label-lesion_mask")
    _touch(tmp_path, "sub-b", "T1w", "FLAIR", "desc-brain_mask", "FLAIR_lesion-manual")
    _touch(tmp_path, "sub-c", "T1w", "FLAIR")
    _touch(tmp_path, "derivatives/lesions/sub-c", "label-lesion_mask")
    _table(tmp_path, "participant_id age\nsub-a 4\nsub-b 5\nsub-c 6\n")
    (patient,), problems = read_raw(tmp_path, CHANNELS)
    assert patient.group == "patient"
    assert [p.subject for p in problems if p.fatal] == ["sub-b", "sub-c"]
    for problem, name in zip(problems, ("FLAIR_lesion-manual", "derivatives/"), strict=True):
        assert "nothing says that it is healthy" in problem.what
        assert name in problem.what
        assert "cohort.prepare.without_mask" in problem.remedy
    for said, brain in (("control", True), ("unlabelled", True)):
        config = PrepareConfig(without_mask=said)
        subjects, problems = read_raw(tmp_path, CHANNELS, config)
        assert [s.group for s in subjects] == ["patient", said, said]
        assert (subjects[1].brain is not None) == brain
        assert subjects[1].lesion is None
        assert not problems


def _sessions(root: Path, name: str, files: dict[str, tuple[str, ...]]) -> None:
    for session, endings in files.items():
        folder = root / name / f"ses-{session}" / "anat"
        folder.mkdir(parents=True)
        for ending in endings:
            (folder / f"{name}_ses-{session}_{ending}.nii.gz").touch()


def test_a_scan_is_a_participant_in_a_session(tmp_path: Path) -> None:
    whole = ("T1w", "FLAIR", "label-lesion_mask")
    _sessions(tmp_path, "sub-x", {"1": whole, "2": ("T1w", "FLAIR")})
    _sessions(tmp_path, "sub-y", {"preop": whole, "post": ("T1w",)})
    _sessions(tmp_path, "sub-z", {"1": ("T1w",), "2": ("FLAIR", "label-lesion_mask")})
    subjects, problems = read_raw(tmp_path, CHANNELS)
    assert [(s.id, s.participant, s.group) for s in subjects] == [
        ("sub-xses1", "sub-x", "patient"),
        ("sub-xses2", "sub-x", "unlabelled"),
        ("sub-y", "sub-y", "patient"),
    ]
    for subject in subjects:
        assert len({p.name.split("_")[1] for p in subject.files}) == 1  # one session
    remark, refused = problems
    assert (remark.subject, remark.fatal) == ("sub-y", False)
    assert "ses-post lacks FLAIR" in remark.what
    assert (refused.subject, refused.fatal) == ("sub-z", True)
    assert "ses-1 lacks FLAIR; ses-2 lacks T1w" in refused.what
    assert "never mixed" in refused.remedy


def test_data_sets_are_put_together_and_their_ids_stay_apart(tmp_path: Path) -> None:
    for place in ("ms-14", "wmh"):
        _touch(tmp_path / place, "sub-1", "T1w", "FLAIR", "label-lesion_mask")
    _touch(tmp_path / "wmh", "sub-2", "T1w")
    roots = [tmp_path / "ms-14", tmp_path / "wmh"]
    subjects, problems = read_data_sets(roots, CHANNELS, PrepareConfig())
    assert [(s.id, s.dataset) for s in subjects] == [("sub-ms141", "ms-14"), ("sub-wmh1", "wmh")]
    assert [p.subject for p in problems] == ["sub-wmh2"]
    with pytest.raises(DataError, match="different names"):
        read_data_sets([roots[0], tmp_path / "a" / "ms14"], CHANNELS, PrepareConfig())
    (alone,), _ = read_data_sets([roots[0]], CHANNELS, PrepareConfig())
    assert alone.id == "sub-1"


def test_images_of_one_space_are_taken_or_none(tmp_path: Path) -> None:
    _touch(tmp_path, "sub-a", "T1w", "FLAIR", "space-MNI_T1w", "roi")
    _touch(tmp_path, "sub-b", "T1w", "FLAIR", "space-MNI_T1w", "space-MNI_FLAIR", "roi")
    _touch(tmp_path, "sub-c", "T1w", "space-MNI_FLAIR", "roi")
    _touch(tmp_path, "sub-d", "T1w", "space-T1w_FLAIR", "roi")
    subjects, problems = read_raw(tmp_path, CHANNELS)
    assert [[p.name for p in s.images.values()] for s in subjects] == [
        ["sub-a_T1w.nii.gz", "sub-a_FLAIR.nii.gz"],
        ["sub-d_T1w.nii.gz", "sub-d_space-T1w_FLAIR.nii.gz"],
    ]
    assert [p.subject for p in problems] == ["sub-b", "sub-c"]
    assert "several spaces" in problems[0].what
    assert "no space in which every channel lies" in problems[1].what


def test_regions_that_are_no_lesion_are_not_taken_for_one(tmp_path: Path) -> None:
    for name, region in (("sub-a", "label-hippocampus_roi"), ("sub-b", "desc-brain_roi")):
        _touch(tmp_path, name, "T1w", "FLAIR", region)
    assert read_raw(tmp_path, CHANNELS)[0] == []
    _touch(tmp_path, "sub-c", "T1w", "FLAIR", "label-lesion_roi")
    _touch(tmp_path, "sub-d", "T1w", "FLAIR", "FLAIR_roi")
    assert [s.id for s in read_raw(tmp_path, CHANNELS)[0]] == ["sub-c", "sub-d"]


def test_ids_are_text_and_a_slip_is_offered_and_never_applied(tmp_path: Path) -> None:
    for name in ("sub-01", "sub-02", "sub-003"):
        _touch(tmp_path, name, "T1w", "FLAIR", "label-lesion_mask")
    _touch(tmp_path, "sub-4", "T1w", "FLAIR")
    _table(tmp_path, "participant_id group\n1 fcd\nsub-2 fcd\nSUB-003 fcd\n4 unlabelled\n")
    subjects, problems = read_raw(tmp_path, CHANNELS)
    fatal = {p.subject: p for p in problems if p.fatal}
    assert set(fatal) == {"sub-01", "sub-02", "sub-003", "sub-4"}
    assert fatal["sub-02"].what == "is listed as `sub-2`"
    assert "Write sub-02 in the table" in fatal["sub-02"].remedy
    assert "sub-4" not in [s.id for s in subjects]
    subjects, problems = read_raw(tmp_path, CHANNELS, PrepareConfig(fix_ids=True))
    assert {s.id: s.group for s in subjects} == {
        "sub-003": "patient", "sub-01": "patient", "sub-02": "patient", "sub-4": "unlabelled"
    }  # fmt: skip
    assert [p.fatal for p in problems] == [False] * 4


def test_a_slip_that_may_be_two_people_is_nobodys(tmp_path: Path) -> None:
    for name in ("sub-1", "sub-01"):
        _touch(tmp_path, name, "T1w", "FLAIR", "roi")
    _table(tmp_path, "participant_id group\n001 hc\n")
    _, problems = read_raw(tmp_path, CHANNELS, PrepareConfig(fix_ids=True))
    assert [(p.subject, p.what) for p in problems] == [("001", "is listed but has no folder")]


def test_all_problems_at_once(tmp_path: Path) -> None:
    _touch(tmp_path, "sub-1", "T1w")
    _touch(tmp_path, "sub-2", "FLAIR", "roi")
    _touch(tmp_path, "sub-3", "T1w", "FLAIR")
    _touch(tmp_path, "sub-4", "T1w", "FLAIR", "label-lesion_mask")
    _touch(tmp_path, "sub-5", "T1w", "FLAIR", "label-lesion_mask")
    _table(
        tmp_path,
        "participant_id group\nsub-1 control\nsub-2 patient\nsub-3 patient\n"
        "sub-4 healthy\nsub-5 patient\nsub-6 patient\n",
    )
    subjects, problems = read_raw(tmp_path, CHANNELS)
    assert [s.id for s in subjects] == ["sub-5"]
    found = {p.subject: p for p in problems}
    assert found["sub-1"].what == "has no FLAIR"
    assert found["sub-2"].what == "has no T1w"
    assert "no lesion mask" in found["sub-3"].what
    assert "control group but has a lesion mask" in found["sub-4"].what
    assert "no folder" in found["sub-6"].what
    assert {name: p.fatal for name, p in found.items() if not p.fatal} == {"sub-6": False}


def test_the_scanner_of_a_sidecar_stands_in_for_the_site(tmp_path: Path) -> None:
    for name in ("sub-1", "sub-2", "sub-3", "sub-4"):
        _touch(tmp_path, name, "T1w", "FLAIR", "roi")
    sidecar = {"ManufacturersModelName": "Trio\nTim", "DeviceSerialNumber": 35083}
    for name in ("sub-1", "sub-2"):
        (tmp_path / name / "anat" / f"{name}_T1w.json").write_text(json.dumps(sidecar))
    (tmp_path / "sub-4" / "anat" / "sub-4_T1w.json").write_text("")
    _table(tmp_path, "participant_id site split\nsub-1 n/a test\nsub-2 B n/a\nsub-3 n/a train\n")
    subjects, problems = read_raw(tmp_path, CHANNELS)
    assert [s.site for s in subjects] == ["Trio Tim 35083", "B", "n/a", "n/a"]
    assert [s.split for s in subjects] == ["test", "n/a", "train", "n/a"]
    assert problems == []
    assert "sub-4_T1w.json is no JSON object" in subjects[3].notes[0]


def test_a_folder_without_subjects_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no `sub-"):
        read_raw(tmp_path, CHANNELS)


@pytest.mark.parametrize("hidden", [".part-0-x-sub-a_T1w.nii.gz", "._sub-a_T1w.nii.gz"])
def test_hidden_files_are_no_images(tmp_path: Path, hidden: str) -> None:
    _touch(tmp_path, "sub-a", "T1w", "FLAIR", "label-lesion_mask")
    (tmp_path / "sub-a" / "anat" / hidden).touch()
    (subject,), problems = read_raw(tmp_path, CHANNELS)
    assert subject.images["T1w"].name == "sub-a_T1w.nii.gz"
    assert not problems
