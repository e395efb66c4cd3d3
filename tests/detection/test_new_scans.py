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
from lesionforge.detection.new_scans import find_scans, predict_scan
from lesionforge.detection.training import train_detector
from lesionforge.errors import DataError
from lesionforge.preprocessing.quality import columns
from lesionforge.preprocessing.scan import PreparedScan
from lesionforge.provenance import read_json, read_tsv, sha256, write_json, write_tsv
from lesionforge.report.pages.scan import write_scan_page
from tests.conftest import CHANNELS

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
    reference_from_mni = np.eye(4)
    reference_from_mni[:3, 3] = SHIFT
    images = read_images(toy_cohort[5])
    scan = PreparedScan(
        channels=CHANNELS,
        volumes={
            "T1w": images[0],
            "FLAIR": images[1],
            "desc-brain_mask": read_brain(toy_cohort[5]),
        },
        grid=toy_grid,
        reference_grid=read_volume(scan_files / "sub-x_T1w.nii.gz").grid,
        reference_from_mni=reference_from_mni,
        from_reference=dict.fromkeys(CHANNELS, np.eye(4)),
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
    images = {channel: folder / f"sub-x_{channel}.nii.gz" for channel in CHANNELS}
    return predict_scan(load_detector(trained), trained, images, out)


def test_scans_are_prepared_at_the_voxel_size_of_the_detectors_cohort(
    trained_detector, scan_files, prepared, known, tmp_path, monkeypatch
):
    asked = []
    monkeypatch.setattr(new_scans, "prepare_scan", lambda *args: asked.append(args[1]) or prepared)
    run(trained_detector, scan_files, tmp_path / "out")
    assert asked[0].voxel_mm == (5.0, 5.0, 5.0)


def test_a_scan_unlike_the_detectors_cohort_is_flagged(
    toy_cohort, scan_files, prepared, tmp_path, known
):
    cohort = tmp_path / "cohort"
    cohort.mkdir()
    for path in toy_cohort[0].root.iterdir():
        (cohort / path.name).symlink_to(path)
    table = pd.DataFrame({c: np.linspace(0.9, 1.1, len(toy_cohort)) for c in columns(CHANNELS)})
    table.insert(0, "participant_id", [s.id for s in toy_cohort])
    write_tsv(cohort / "quality.tsv", table)
    training = [replace(s, root=cohort) for s in toy_cohort]
    train_detector(training, tmp_path / "detector", SHORT, 0)
    usual = dict.fromkeys(columns(CHANNELS), 1.0)
    for figures, strange in ((usual, []), (usual | {"sharpness_t1w": 0.2}, ["sharpness"])):
        found = new_scans.unusual(
            figures, load_detector(tmp_path / "detector").usual_figures, CHANNELS
        )
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
    assert record["images"]["T1w"]["sha256"] == sha256(scan_files / "sub-x_T1w.nii.gz")
    assert record["weights_sha256"] == sha256(trained_detector / "detector.safetensors")
    assert record["rules"]["candidate_threshold"] == 0.4


def test_scans_that_are_done_are_passed_over_and_bad_ones_stop_nobody(
    trained_detector, scan_files, prepared, known, tmp_path, monkeypatch
):
    for suffix in ("T1w", "FLAIR"):
        (scan_files / f"sub-a_{suffix}.nii.gz").write_bytes(b"no image")

    def prepare(images, *others):
        tried.append(images["T1w"].name)
        if images["T1w"].name == "sub-a_T1w.nii.gz":
            raise RuntimeError("is no NIfTI file")  # as SimpleITK does
        return prepared

    monkeypatch.setattr(new_scans, "prepare_scan", prepare)
    tried: list[str] = []
    call = (str(trained_detector), [str(scan_files)], str(tmp_path / "out"))
    for _ in range(2):
        with pytest.raises(DataError, match="sub-a: is no NIfTI file"):
            inference.predict(*call)
    assert tried == ["sub-a_T1w.nii.gz", "sub-x_T1w.nii.gz", "sub-a_T1w.nii.gz"]
    assert (tmp_path / "out/sub-x/index.html").exists()
    rules = {"candidate_threshold": 0.4, "min_volume_mm3": 250.0}
    write_json(trained_detector / "rules.json", rules)
    with pytest.raises(DataError, match="sub-a"):
        inference.predict(*call)
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


def test_heads_are_found_in_folders_as_preparation_finds_them(scan_files, tmp_path):
    anat = tmp_path / "bids/sub-y/ses-1/anat"
    for path in (
        anat / "sub-y_ses-1_acq-iso08_T1w.nii",
        anat / "sub-y_ses-1_acq-T2sel_FLAIR.nii.gz",
        anat / "sub-y_ses-1_bold.nii.gz",
        anat / "._sub-y_ses-1_T1w.nii.gz",
        tmp_path / "bids/derivatives/bet/sub-y/anat/sub-y_ses-1_T1w.nii.gz",
    ):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    heads, problems = find_scans([scan_files, tmp_path / "bids"], CHANNELS)
    assert problems == []
    assert list(heads) == ["sub-x", "sub-y_ses-1"]
    assert heads["sub-y_ses-1"]["T1w"].name == "sub-y_ses-1_acq-iso08_T1w.nii"
    files = [scan_files / "sub-x_FLAIR.nii.gz", scan_files / "sub-x_T1w.nii.gz"]
    heads, _ = find_scans(files, CHANNELS)
    assert list(heads["sub-x"].items()) == [("T1w", files[1]), ("FLAIR", files[0])]
    assert find_scans(files, ["FLAIR"])[0] == {"sub-x": {"FLAIR": files[0]}}


def test_what_is_wrong_with_some_scans_is_said_and_stops_nobody(scan_files, tmp_path):
    (scan_files / "lonely_T1w.nii.gz").touch()
    (scan_files / "notes.txt").touch()
    asked = [scan_files, scan_files / "notes.txt", Path("gone_T1w.nii.gz")]
    heads, problems = find_scans(asked, CHANNELS)
    assert list(heads) == ["sub-x"]
    for words in ("lonely has no FLAIR", "notes.txt is not named", "gone_T1w.nii.gz is missing"):
        assert words in "\n".join(problems)
    shutil.copytree(scan_files, tmp_path / "twin")
    _, problems = find_scans([scan_files, tmp_path / "twin"], CHANNELS)
    assert sum("have the same name" in problem for problem in problems) == 3
    with pytest.raises(DataError, match=r"_T1w.*_FLAIR.* was found"):
        find_scans([], CHANNELS)
