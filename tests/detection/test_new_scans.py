"""Detection in scans that come as files: T1w and FLAIR on their own grids, no label."""

import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from lesionforge.commands import inference
from lesionforge.data.subject import read_brain, read_images, read_lesion
from lesionforge.data.volume import grid, read_volume, write_volume
from lesionforge.detection import new_scans
from lesionforge.detection.config import DetectorConfig
from lesionforge.detection.inference import load_detector
from lesionforge.detection.new_scans import detect_scan, find_pairs
from lesionforge.detection.training import train_detector
from lesionforge.errors import DataError
from lesionforge.preprocessing.prepare import PreparedScan
from lesionforge.preprocessing.quality import COLUMNS
from lesionforge.provenance import read_json, read_tsv, sha256, write_json, write_tsv
from lesionforge.report.pages.scan import write_scan_page

SHORT = DetectorConfig(
    filters=(4, 8, 8, 8), patch=24, steps=1, epoch_steps=1, workers=0, precision="32-true"
)
SHIFT = np.array([7.0, -12.0, 20.0])


@pytest.fixture
def scan_files(toy_cohort, toy_grid, tmp_path):
    """A patient's images as a scanner would give them: moved by `SHIFT`, on a finer grid."""
    affine = toy_grid.matrix.copy()
    affine[:3, 3] += SHIFT
    native = grid(toy_grid.shape, affine)
    for name, data in zip(("T1w", "FLAIR"), read_images(toy_cohort[5]), strict=True):
        write_volume(tmp_path / "in" / f"sub-x_{name}.nii.gz", data, native)
    return tmp_path / "in"


@pytest.fixture
def prepared(toy_cohort, toy_grid, scan_files, monkeypatch):
    """Preparation has its own tests; here it knows the shift and returns the toy's volumes."""
    t1w_from_mni = np.eye(4)
    t1w_from_mni[:3, 3] = SHIFT
    images = read_images(toy_cohort[5])
    scan = PreparedScan(
        volumes={
            "T1w": images[0],
            "FLAIR": images[1],
            "desc-brain_mask": read_brain(toy_cohort[5]),
        },
        grid=toy_grid,
        t1w_grid=read_volume(scan_files / "sub-x_T1w.nii.gz").grid,
        t1w_from_mni=t1w_from_mni,
        flair_from_t1w=np.eye(4),
        mask_method="nonzero",
        figures={"mni_dice": 0.9},
        notes=("A remark <b>of preparation</b>.",),
    )
    monkeypatch.setattr(new_scans, "prepare_scan", lambda *args: scan)
    return scan


@pytest.fixture
def known(toy_cohort, monkeypatch):
    """The truth as the prediction, so that places can be checked."""
    lesion = read_lesion(toy_cohort[5])
    monkeypatch.setattr(
        new_scans, "predict_probability", lambda *args: lesion.astype(np.float32) * 0.75
    )
    return lesion


def run(trained, folder, out):
    files = (folder / "sub-x_T1w.nii.gz", folder / "sub-x_FLAIR.nii.gz")
    return detect_scan(trained, *files, out)


def test_scans_are_prepared_at_the_voxel_size_of_the_detectors_cohort(
    trained_detector, scan_files, prepared, known, tmp_path, monkeypatch
):
    asked = []
    monkeypatch.setattr(new_scans, "prepare_scan", lambda *args: asked.append(args[2]) or prepared)
    run(trained_detector, scan_files, tmp_path / "out")
    assert asked[0].voxel_mm == 5.0


def test_a_scan_unlike_the_detectors_cohort_is_flagged(
    toy_cohort, scan_files, prepared, tmp_path, known
):
    cohort = tmp_path / "cohort"
    cohort.mkdir()
    for path in toy_cohort[0].root.iterdir():
        (cohort / path.name).symlink_to(path)
    table = pd.DataFrame({c: np.linspace(0.9, 1.1, len(toy_cohort)) for c in COLUMNS})
    table.insert(0, "participant_id", [s.id for s in toy_cohort])
    write_tsv(cohort / "quality.tsv", table)
    training = [replace(s, root=cohort) for s in toy_cohort]
    train_detector(training, tmp_path / "detector", SHORT, 0)
    usual = dict.fromkeys(COLUMNS, 1.0)
    for figures, strange in ((usual, []), (usual | {"sharpness_t1w": 0.2}, ["sharpness"])):
        found = new_scans.unusual(figures, load_detector(tmp_path / "detector").usual_figures)
        assert [s for s in strange if s not in str(found)] == []
        assert len(found) == len(strange)
    prepared.figures.update(usual | {"sharpness_t1w": 0.2})
    notes = run(tmp_path / "detector", scan_files, tmp_path / "out").record["notes"]
    assert [n for n in notes if n.startswith("unlike the scans") and "sharpness_t1w 0.2" in n]


def test_candidates_are_given_in_both_spaces(
    trained_detector, scan_files, prepared, known, toy_grid, tmp_path
):
    found = run(trained_detector, scan_files, tmp_path / "out")
    table = read_tsv(tmp_path / "out" / "candidates.tsv")
    assert len(table) == len(found.candidates) == 1
    centre = toy_grid.world(np.argwhere(known).mean(axis=0))
    np.testing.assert_allclose(table.loc[0, ["x_mm", "y_mm", "z_mm"]].astype(float), centre, 1e-4)
    native = table.loc[0, ["native_x_mm", "native_y_mm", "native_z_mm"]].astype(float)
    np.testing.assert_allclose(native, centre + SHIFT, 1e-4)
    assert table.loc[0, "score"] == pytest.approx(0.75)


def test_the_map_lies_on_the_scans_own_grid(
    trained_detector, scan_files, prepared, known, tmp_path
):
    run(trained_detector, scan_files, tmp_path / "out")
    back = read_volume(tmp_path / "out" / "probability.nii.gz")
    assert back.grid.matches(read_volume(scan_files / "sub-x_T1w.nii.gz").grid)
    np.testing.assert_allclose(back.data, known * 0.75, atol=1e-4)


def test_the_record_says_which_files_and_weights(trained_detector, scan_files, prepared, tmp_path):
    write_json(
        trained_detector / "rules.json",
        {
            "candidate_threshold": 0.4,
            "min_volume_mm3": 250.0,
            "tolerance_mm": 5.0,
            "min_overlap": 0.1,
        },
    )
    run(trained_detector, scan_files, tmp_path / "out")
    record = read_json(tmp_path / "out" / "detection.json")
    assert record["t1w"]["sha256"] == sha256(scan_files / "sub-x_T1w.nii.gz")
    assert record["weights_sha256"] == sha256(trained_detector / "detector.safetensors")
    assert record["rules"]["candidate_threshold"] == 0.4


def test_scans_that_are_done_are_passed_over_and_bad_ones_stop_nobody(
    trained_detector, scan_files, prepared, known, tmp_path, monkeypatch
):
    for suffix in ("T1w", "FLAIR"):
        (scan_files / f"sub-a_{suffix}.nii.gz").write_bytes(b"no image")

    def prepare(t1w, *others):
        tried.append(t1w.name)
        if t1w.name == "sub-a_T1w.nii.gz":
            raise RuntimeError("is no NIfTI file")  # as SimpleITK does
        return prepared

    monkeypatch.setattr(new_scans, "prepare_scan", prepare)
    tried: list[str] = []
    call = (str(trained_detector), [str(scan_files)], str(tmp_path / "out"))
    for _ in range(2):
        with pytest.raises(DataError, match="sub-a: is no NIfTI file"):
            inference.detect(*call)
    assert tried == ["sub-a_T1w.nii.gz", "sub-x_T1w.nii.gz", "sub-a_T1w.nii.gz"]
    assert (tmp_path / "out/sub-x/index.html").exists()
    rules = {"candidate_threshold": 0.4, "min_volume_mm3": 250.0}
    write_json(trained_detector / "rules.json", rules)
    with pytest.raises(DataError, match="sub-a"):
        inference.detect(*call)
    assert tried[-1] == "sub-x_T1w.nii.gz"


def test_the_page_stands_alone_and_escapes(trained_detector, scan_files, prepared, known, tmp_path):
    found = run(trained_detector, scan_files, tmp_path / "out")
    page = write_scan_page(found, tmp_path / "out").read_text()
    assert page.count("data:image/png;base64,") == 6
    assert not re.search(r'(src|href)="(?!data:)', page)
    assert "A remark &lt;b&gt;of preparation" in page
    assert "Research use only" in page
    assert "1 candidate, the best with score 0.75" in page


def test_a_scan_without_candidates_says_so(
    trained_detector, scan_files, prepared, known, tmp_path, monkeypatch
):
    monkeypatch.setattr(new_scans, "predict_probability", lambda *args: np.zeros(known.shape))
    found = run(trained_detector, scan_files, tmp_path / "out")
    page = write_scan_page(found, tmp_path / "out").read_text()
    assert "No candidate above probability" in page
    assert page.count("data:image/png;base64,") == 6
    assert len(read_tsv(tmp_path / "out" / "candidates.tsv", candidate=float)) == 0


def test_pairs_are_found_in_folders_and_by_name(scan_files):
    (scan_files / "sub-y_ses-1_T1w.nii").touch()
    (scan_files / "sub-y_ses-1_FLAIR.nii.gz").touch()
    (scan_files / "sub-y_ses-1_bold.nii.gz").touch()
    (scan_files / "._sub-z_T1w.nii.gz").touch()
    pairs = find_pairs([scan_files])
    assert list(pairs) == ["sub-x", "sub-y_ses-1"]
    assert pairs["sub-y_ses-1"][0].name == "sub-y_ses-1_T1w.nii"
    files = [scan_files / "sub-x_FLAIR.nii.gz", scan_files / "sub-x_T1w.nii.gz"]
    assert find_pairs(files)["sub-x"] == (files[1], files[0])


def test_all_problems_with_scans_are_told_at_once(scan_files, tmp_path):
    shutil.copytree(scan_files, tmp_path / "twin")
    (scan_files / "lonely_T1w.nii.gz").touch()
    (scan_files / "notes.txt").touch()
    with pytest.raises(DataError) as error:
        find_pairs(
            [scan_files, tmp_path / "twin", scan_files / "notes.txt", Path("gone_T1w.nii.gz")]
        )
    for words in (
        "lonely has a T1w",
        "have the same name",
        "notes.txt is not named",
        "gone_T1w.nii.gz is missing",
    ):
        assert words in str(error.value)
    with pytest.raises(DataError, match=r"No .* were found"):
        find_pairs([])
