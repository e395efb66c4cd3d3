"""Planted faults in a raw data set are all reported, and a sound one is left in peace."""

import gzip
from pathlib import Path

import numpy as np
import pytest

from lesionforge.data.volume import grid, write_volume
from lesionforge.errors import DataError
from lesionforge.preprocessing.checks import check_raw
from lesionforge.preprocessing.config import PrepareConfig
from lesionforge.preprocessing.problems import Problem
from lesionforge.preprocessing.raw import read_raw
from lesionforge.preprocessing.voxels import check_voxels
from tests.conftest import CHANNELS

GRID = grid((48, 48, 48), np.diag([2.5, 2.5, 2.5, 1.0]))


@pytest.fixture
def bids(tmp_path: Path) -> Path:
    data = np.random.default_rng(0).random(GRID.shape).astype(np.float32)
    for name in ("sub-1", "sub-2"):
        for kind in ("T1w", "FLAIR"):
            data = data + 1
            write_volume(tmp_path / name / "anat" / f"{name}_{kind}.nii.gz", data, GRID)
        write_volume(_mask(tmp_path, name), data % 1 > 0.99, GRID)
    return tmp_path


def _mask(root: Path, name: str) -> Path:
    return root / name / "anat" / f"{name}_label-lesion_mask.nii.gz"


def _voxel_problems(bids: Path) -> list[Problem]:
    return [problem for subject in read_raw(bids, CHANNELS)[0] for problem in check_voxels(subject)]


def test_a_sound_data_set_has_no_problem(bids: Path) -> None:
    found = check_raw(bids, CHANNELS)
    assert found.problems == []
    assert found.table["participant_id"].tolist() == ["sub-1", "sub-2"]
    assert found.table["T1w"].tolist() == ["T1w.nii.gz 2.5x2.5x2.5"] * 2
    assert "2 subjects can be used (2 patients, 0 controls), 0 cannot" in str(found)
    assert _voxel_problems(bids) == []


def test_faults_of_all_subjects_are_reported_together(bids: Path) -> None:
    write_volume(_mask(bids, "sub-1"), np.zeros(GRID.shape), GRID)
    t1w = np.random.default_rng(0).random(GRID.shape)
    t1w[3, 3, 3] = np.nan
    write_volume(bids / "sub-2" / "anat" / "sub-2_T1w.nii.gz", t1w, GRID)
    write_volume(bids / "sub-2" / "anat" / "sub-2_FLAIR.nii.gz", np.ones(GRID.shape), GRID)
    write_volume(_mask(bids, "sub-2"), t1w * 3, GRID)
    problems = _voxel_problems(bids)
    texts = [str(p) for p in problems]
    for subject, words in [
        ("sub-1", "empty lesion mask"),
        ("sub-2", "1 NaN"),
        ("sub-2", "is constant"),
        ("sub-2", "not binary"),
    ]:
        assert any(t.startswith(subject) and words in t for t in texts), words
    assert len(problems) == 4
    assert sum(p.fatal for p in problems) == 2


def test_a_bad_header_spares_the_other_subjects(bids: Path) -> None:
    flair = bids / "sub-1" / "anat" / "sub-1_FLAIR.nii.gz"
    flair.write_bytes(flair.read_bytes()[:2000])
    found = check_raw(bids, CHANNELS)
    (problem,) = found.problems
    assert problem.fatal
    assert "truncated" in problem.what or "ended" in problem.what
    assert found.unusable == ["sub-1"]
    assert found.table["participant_id"].tolist() == ["sub-2"]
    assert check_raw(bids, CHANNELS, PrepareConfig(exclude=("sub-1",))).problems == []
    with pytest.raises(DataError, match="no `sub-"):
        check_raw(bids / "sub-1", CHANNELS)


def test_an_image_under_two_subjects_is_a_leak(bids: Path) -> None:
    known = bids / "sub-1" / "anat" / "sub-1_FLAIR.nii.gz"
    copy = bids / "sub-2" / "anat" / "sub-2_FLAIR.nii.gz"
    copy.write_bytes(gzip.compress(gzip.decompress(known.read_bytes()), 1))
    found = check_raw(bids, CHANNELS)
    assert found.unusable == ["sub-1", "sub-2"]
    assert all("has the content of" in p.what for p in found.problems)
    assert len(found.problems) == 2


def test_a_t1w_that_is_the_flair_is_seen(bids: Path) -> None:
    folder = bids / "sub-1" / "anat"
    (folder / "sub-1_T1w.nii.gz").write_bytes((folder / "sub-1_FLAIR.nii.gz").read_bytes())
    assert check_raw(bids, CHANNELS).unusable == ["sub-1"]


def test_masks_on_a_strange_grid_or_of_a_strange_name_are_remarked(bids: Path) -> None:
    other = grid((50, 48, 48), GRID.matrix)
    write_volume(_mask(bids, "sub-1"), np.ones(other.shape), other)
    _mask(bids, "sub-2").rename(bids / "sub-2" / "anat" / "sub-2_acq-32ch10_FLAIR_roi.nii.gz")
    found = check_raw(bids, CHANNELS)
    assert found.unusable == ["sub-1"]
    assert [p.what for p in found.problems] == [
        "lies on the grid of no image (T1w, FLAIR)",
        "is named after another acquisition (32ch10) than the images",
    ]
    assert "cohort.prepare.drawn_on" in found.problems[0].remedy
    assert "taken as drawn on sub-2_FLAIR.nii.gz" in found.problems[1].remedy
    said = check_raw(bids, CHANNELS, PrepareConfig(drawn_on="FLAIR"))
    assert said.unusable == []


def test_many_remarks_of_one_kind_are_summed_up(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    for number in range(6):
        thick = grid((16, 16, 30), np.diag([10.0, 10.0, 4.0 + number / 10, 1.0]))
        for kind in ("T1w", "FLAIR"):
            path = tmp_path / f"sub-{number}" / "anat" / f"sub-{number}_{kind}.nii.gz"
            write_volume(path, rng.random(thick.shape).astype(np.float32), thick)
    found = check_raw(tmp_path, CHANNELS, PrepareConfig(without_mask="control"))
    assert len(found.problems) == 12
    assert str(found).startswith("12 files, the first being sub-0: has thick slices")


# The layout of the published Bonn data set (OpenNeuro ds004199): what each row stands for, T1w and
# FLAIR acquisition, the mask's acquisition, and the FLAIR's slice thickness.
BONN = {
    "sub-00001": ("fcd", "iso08", "T2sel", "T2sel", 1.0),
    "sub-00002": ("hc", "iso08", "T2sel", None, 1.0),
    "sub-00005": ("hc", "sag111", "T2sel", None, 1.0),
    "sub-00018": ("fcd", "sag111", "corhipp4mm", "corhipp4mm", 4.4),
    "sub-00048": ("fcd", "iso08", "T2sel", "32ch10", 1.0),
    "sub-00053": ("fcd", "sag111VNS", "traacpcVNS", "traacpcVNS", 5.2),
    "sub-00058": ("fcd", "sag111", "tse3dvfl", "tse3dvfl", 1.0),
}


@pytest.fixture
def bonn(tmp_path: Path) -> Path:
    rng = np.random.default_rng(2)
    rows = []
    for name, (group, t1w, flair, roi, thick) in BONN.items():
        area = grid((64, 64, 64), np.diag([2.5, 2.5, 2.5, 1.0]))
        slices = grid((64, 64, round(160 / thick)), np.diag([2.5, 2.5, thick, 1.0]))
        files = {f"acq-{t1w}_T1w": area, f"acq-{flair}_FLAIR": slices}
        files |= {f"acq-{roi}_FLAIR_roi": slices} if roi else {}
        for ending, where in files.items():
            data = rng.random(where.shape).astype(np.float32) > 0.5
            write_volume(tmp_path / name / "anat" / f"{name}_{ending}.nii.gz", data, where)
        rows.append(f"{name}\t{group}\tn/a\t{'TL,PL' if roi else 'n/a'}\ttrain\n")
    header = "participant_id\tgroup\tage_op\tlobe\tsplit\n"
    (tmp_path / "participants.tsv").write_text("\ufeff" + header + "".join(rows))
    return tmp_path


def test_the_bonn_layout_is_read_and_its_traps_are_named(bonn: Path) -> None:
    found = check_raw(bonn, CHANNELS)
    assert found.unusable == []
    table = found.table.set_index("participant_id")
    assert (table["group"] == "patient").sum() == 5
    for name, (_, t1w, flair, roi, _) in BONN.items():
        assert table.loc[name, "T1w"].startswith(f"acq-{t1w}_T1w.nii.gz")
        assert table.loc[name, "FLAIR"].startswith(f"acq-{flair}_FLAIR.nii.gz")
        if roi:
            assert table.loc[name, "lesion"].startswith(f"acq-{roi}_FLAIR_roi.nii.gz")
    thick = {p.subject for p in found.problems if "thick slices" in p.what}
    assert thick == {"sub-00018", "sub-00053"}
    (strange,) = (p for p in found.problems if "another acquisition" in p.what)
    assert strange.subject == "sub-00048"
    assert "acq-T2sel_FLAIR.nii.gz" in strange.remedy
