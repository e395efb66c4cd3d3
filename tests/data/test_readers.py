"""Raw masks of several readers become label sets; unlabelled patients are prepared beside them."""

from pathlib import Path

import numpy as np
import pytest

from lesionforge.cli import run
from lesionforge.data.cohort import expected_files, json_path
from lesionforge.data.labels import label_sets, read_labelled, set_path
from lesionforge.data.subject import read_lesion
from lesionforge.data.volume import read_volume, write_volume
from lesionforge.preprocessing.checks import check_raw
from lesionforge.preprocessing.raw import read_raw
from lesionforge.preprocessing.voxels import check_voxels
from lesionforge.provenance import read_json, read_tsv
from tests.conftest import CHANNELS
from tests.preprocessing.test_prepare import _move, _write_head

SMALL = ["--cohort.prepare.voxel_mm", "4", "--cohort.prepare.levels_mm", "[8.0, 5.0]"]
SMALL += ["--cohort.prepare.workers", "1", "--cohort.prepare.tilts_deg", "[0.0]"]
SPLITS = {"validation_patients": 0, "test_patients": 1}


def touch(root: Path, subject: str, *endings: str) -> None:
    for ending in endings:
        path = root / subject / "anat" / f"{subject}_{ending}.nii.gz"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def mask_of(root: Path, subject: str, reader: str) -> Path:
    return root / subject / "anat" / f"{subject}_desc-{reader}_label-lesion_mask.nii.gz"


def draw(root: Path, subject: str, reader: str, shift: int) -> None:
    """Draw a reader's mask: the original one, moved along the FLAIR's second axis."""
    original = read_volume(root / subject / "anat" / f"{subject}_FLAIR_roi.nii.gz")
    moved = np.roll(original.data, shift, axis=1)
    write_volume(mask_of(root, subject, reader), moved > 0.5, original.grid)


def prepare(bids: Path, root: Path) -> int:
    splits = [x for k, v in SPLITS.items() for x in (f"--splits.{k}", str(v))]
    options = ["--name", "read", "--runs", str(root), "--cohort.bids", str(bids)]
    return run("prepare", [*options, *SMALL, *splits])


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two patients, one drawn by A and B and one by B alone, and an unlabelled one."""
    root = tmp_path_factory.mktemp("raw")
    for name in ("sub-1", "sub-02", "sub-003"):
        _write_head(root, name, name != "sub-003", _move((0, 2, 0), (3, -4, 5)))
    draw(root, "sub-1", "A", 2)
    draw(root, "sub-1", "B", 0)
    draw(root, "sub-02", "B", -2)
    (root / "participants.tsv").write_text(
        "participant_id\tgroup\nsub-1\tpatient\nsub-02\tpatient\nsub-003\tunlabelled\n"
    )
    return root


@pytest.fixture(scope="module")
def runs(raw: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("runs")
    assert prepare(raw, root) == 0
    return root


def test_the_layout_tells_readers_from_the_original(tmp_path: Path) -> None:
    touch(tmp_path, "sub-1", "T1w", "FLAIR", "label-lesion_mask", "desc-A_label-lesion_mask")
    touch(tmp_path, "sub-1", "label-lesion_desc-B_mask", "desc-brain_mask")
    touch(tmp_path, "sub-2", "T1w", "FLAIR", "label-lesion_desc-A_mask")
    touch(tmp_path, "sub-3", "T1w", "FLAIR", "desc-A_roi", "desc-B_roi", "desc-lesion_mask")
    touch(tmp_path, "sub-4", "T1w", "FLAIR", "desc-A_roi", "desc-B_roi")
    subjects, problems = read_raw(tmp_path, CHANNELS)
    assert problems == []
    found = {s.id: (s.lesion.name[6:], [name for name, _ in s.readers]) for s in subjects}
    assert found == {
        "sub-1": ("label-lesion_mask.nii.gz", ["A", "B"]),
        "sub-2": ("label-lesion_desc-A_mask.nii.gz", []),  # the only mask is the original one
        "sub-3": ("desc-lesion_mask.nii.gz", ["A", "B"]),
        "sub-4": ("desc-A_roi.nii.gz", ["B"]),
    }
    assert [bool(s.notes) for s in subjects] == [False, False, False, True]
    assert "no lesion mask without `desc`" in subjects[3].notes[0]


def test_bad_names_and_groups_are_named(tmp_path: Path) -> None:
    touch(tmp_path, "sub-1", "T1w", "FLAIR", "label-lesion_mask", "desc-a.b_label-lesion_mask")
    touch(tmp_path, "sub-2", "T1w", "FLAIR", "label-lesion_mask", "desc-original_label-lesion_mask")
    touch(tmp_path, "sub-3", "T1w", "FLAIR", "desc-A_label-lesion_mask")
    (tmp_path / "participants.tsv").write_text(
        "participant_id\tgroup\nsub-1\tpatient\nsub-2\tpatient\nsub-3\tunlabelled\n"
    )
    subjects, problems = read_raw(tmp_path, CHANNELS)
    assert subjects == []
    assert [(p.subject, p.what) for p in problems] == [
        ("sub-1", "is named after a reader `a.b`"),
        ("sub-2", "is named after a reader `original`"),
        ("sub-3", "is unlabelled but has a lesion mask"),
    ]
    assert "letters and digits only" in problems[0].remedy


def test_a_readers_mask_is_checked_like_the_original(raw: Path, tmp_path: Path) -> None:
    found = check_raw(raw, CHANNELS)
    assert {p.what.split(" (")[0] for p in found.problems} == {"has thick slices"}
    assert "Masks of reader A: 1 subject(s)." in str(found)
    assert "Masks of reader B: 2 subject(s)." in str(found)
    assert "3 subjects can be used (2 patients, 0 controls, 1 unlabelled)" in str(found)
    _write_head(tmp_path, "sub-1", True, _move((0, 0, 0), (0, 0, 0)))
    draw(tmp_path, "sub-1", "A", 0)
    known = read_volume(mask_of(tmp_path, "sub-1", "A"))
    write_volume(mask_of(tmp_path, "sub-1", "B"), np.zeros(known.grid.shape), known.grid)
    mask_of(tmp_path, "sub-1", "C").write_bytes(b"no mask")
    (problem,) = [p for p in check_raw(tmp_path, CHANNELS).problems if p.fatal]
    assert "desc-C" in problem.file
    mask_of(tmp_path, "sub-1", "C").unlink()
    (problem,) = [p for s in check_raw(tmp_path, CHANNELS).subjects for p in check_voxels(s)]
    assert (problem.what, "desc-B" in problem.file) == (
        "is an empty lesion mask of a patient",
        True,
    )


def test_each_reader_has_a_label_set(runs: Path) -> None:
    cohort = runs / "read/cohort"
    assert label_sets(cohort) == ["original", "A", "B"]
    sets = {n: {s.id: s for s in read_labelled(cohort, n)} for n in ("original", "A", "B")}
    assert {p.id: p.group for p in sets["A"].values()} == {
        "sub-1": "patient", "sub-02": "patient", "sub-003": "unlabelled"
    }  # fmt: skip
    centre = {
        (n, i): np.argwhere(read_lesion(sets[n][i])).mean(axis=0)
        for n in sets
        for i in ("sub-1", "sub-02")
    }
    moved = centre["A", "sub-1"] - centre["original", "sub-1"]
    assert abs(moved[1]) > 0.8
    np.testing.assert_array_equal(
        read_lesion(sets["B"]["sub-1"]), read_lesion(sets["original"]["sub-1"])
    )
    assert sets["A"]["sub-02"].lesion == sets["original"]["sub-02"].lesion  # A did not draw it
    assert sets["B"]["sub-02"].lesion != sets["original"]["sub-02"].lesion
    table = read_tsv(set_path(cohort, "B")).set_index("participant_id")
    assert table.loc["sub-02", ["source", "reader", "version"]].tolist() == ["human", "B", "B"]
    record = read_json(json_path(sets["B"]["sub-02"], "T1w"))
    assert any("desc-B" in name for name in record["VolumeSHA256"])


def test_an_unlabelled_patient_is_prepared_and_has_no_role(runs: Path) -> None:
    cohort = runs / "read/cohort"
    (late,) = [s for s in read_labelled(cohort) if not s.has_label]
    assert late.id == "sub-003"
    assert all(path.exists() for path in expected_files(late))
    assert not late.lesion.exists()
    assert read_tsv(cohort / "splits.tsv")["participant_id"].tolist() == ["sub-02", "sub-1"]
    people = read_tsv(cohort / "participants.tsv").set_index("participant_id")
    assert people["lesion_ml"].isna().to_dict() == {
        "sub-003": True,
        "sub-02": False,
        "sub-1": False,
    }
    assert "3 subjects" in (cohort / "qc.html").read_text()
    assert "1 unlabelled: patients without" in (cohort / "qc.html").read_text()


def test_a_set_of_a_reader_is_kept_and_never_changed(raw: Path, runs: Path, capsys) -> None:
    cohort = runs / "read/cohort"
    before = {p: p.read_bytes() for p in cohort.rglob("labels/*.tsv")}
    assert prepare(raw, runs) == 0
    kept = mask_of(raw, "sub-1", "A").read_bytes()
    draw(raw, "sub-1", "A", 3)
    try:
        assert prepare(raw, runs) == 2
    finally:
        mask_of(raw, "sub-1", "A").write_bytes(kept)
    assert "the masks of reader A are others now" in capsys.readouterr().err
    assert {p: p.read_bytes() for p in cohort.rglob("labels/*.tsv")} == before
    assert not list(cohort.glob("labels/*.new"))
