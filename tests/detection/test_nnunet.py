"""nnU-Net accepts what is exported; what it saves comes back as a cell of the report."""

import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lesionforge.data.subject import Subject, read_brain, read_grid, read_lesion
from lesionforge.data.volume import grid as make_grid
from lesionforge.data.volume import read_volume, write_volume
from lesionforge.detection.nnunet import FOLDS, assign_folds, export, import_maps
from lesionforge.errors import DataError, GeometryError, LineageError
from lesionforge.metrics.config import CandidateRules
from lesionforge.provenance import read_json, read_tsv

RULES = CandidateRules()


@pytest.fixture
def held_out(toy_cohort: list[Subject]) -> list[Subject]:
    return [toy_cohort[5], toy_cohort[8]]


def test_synthetic_subjects_never_validate_and_stay_out_with_their_sources(
    toy_cohort: list[Subject],
) -> None:
    real = [*toy_cohort[:5], *toy_cohort[6:8]]
    made = Subject(
        "sub-syn0001",
        "patient",
        "A",
        Path("x"),
        True,
        (real[0].id, real[5].id),
        channels=("T1w", "FLAIR"),
    )
    folds = assign_folds([*real, made], 0)
    assert len(folds) == FOLDS
    validated = [name for fold in folds for name in fold["val"]]
    assert sorted(validated) == sorted(s.id for s in real)
    for fold in folds:
        assert not set(fold["train"]) & set(fold["val"])
        assert sum(name.startswith("sub-p") for name in fold["val"]) == 1
        with_sources = bool(set(fold["val"]) & set(made.sources))
        assert (made.id in fold["train"]) == (not with_sources)
        assert set(fold["train"]) | set(fold["val"]) >= {s.id for s in real}
    assert assign_folds([*real, made], 0) == folds
    assert assign_folds([*real, made], 1) != folds
    assert len(assign_folds(real[3:], 0)) == 2
    with pytest.raises(DataError, match="the regime has 1"):
        assign_folds(real[4:], 0)


def test_scans_of_one_person_validate_together(toy_cohort: list[Subject]) -> None:
    real = [replace(s, participant=f"sub-{i // 2}") for i, s in enumerate(toy_cohort[:6])]
    folds = assign_folds(real, 0)
    assert sorted(len(fold["val"]) for fold in folds) == [2, 2, 2]
    for fold in folds:
        assert len({s.person for s in real if s.id in fold["val"]}) == 1
        assert len(fold["train"]) == 4


def test_what_is_to_be_ignored_is_nnunets_ignore_label(
    toy_cohort: list[Subject], held_out: list[Subject], tmp_path: Path
) -> None:
    first = replace(toy_cohort[0], root=tmp_path)
    shutil.copytree(toy_cohort[0].root / first.id, tmp_path / first.id)
    write_volume(first.ignore, read_brain(first), read_grid(first))
    folder = export([first, *toy_cohort[1:4]], held_out, tmp_path / "Dataset502_ignore", 0)
    assert read_json(folder / "dataset.json")["labels"] == {
        "background": 0, "lesion": 1, "ignore": 2
    }  # fmt: skip
    label = read_volume(folder / "labelsTr" / f"{first.id}.nii.gz").data
    np.testing.assert_array_equal(label == 1, read_lesion(first))
    np.testing.assert_array_equal(label > 0, read_brain(first))


@pytest.fixture
def exported(toy_cohort: list[Subject], held_out: list[Subject], tmp_path: Path) -> Path:
    training = [*toy_cohort[:5], *toy_cohort[6:8]]
    return export(training, held_out, tmp_path / "nnUNet_raw" / "Dataset501_toy", 0)


def test_images_and_labels_are_those_of_the_cohort(
    exported: Path, toy_cohort: list[Subject], held_out: list[Subject]
) -> None:
    patient, control = toy_cohort[0], toy_cohort[6]
    for channel, path in enumerate((patient.path("T1w"), patient.path("FLAIR"))):
        copy = exported / "imagesTr" / f"{patient.id}_{channel:04d}.nii.gz"
        assert copy.read_bytes() == path.read_bytes()
    label = read_volume(exported / "labelsTr" / f"{patient.id}.nii.gz").data
    np.testing.assert_array_equal(label > 0, read_lesion(patient))
    assert not read_volume(exported / "labelsTr" / f"{control.id}.nii.gz").data.any()
    assert len(list((exported / "imagesTs").iterdir())) == 4
    assert not list(exported.rglob(f"labels*/{toy_cohort[5].id}*"))
    (exported / "dataset.json").unlink()  # as a killed export leaves it
    export(toy_cohort[:5], held_out, exported, 0)
    assert (exported / "dataset.json").exists()
    with pytest.raises(DataError, match="is there already"):
        export(toy_cohort[:5], [], exported, 0)


def test_nnunet_itself_accepts_the_data_set(exported: Path, tmp_path: Path) -> None:
    folders = {
        f"nnUNet_{kind}": str(tmp_path / f"nnUNet_{kind}")
        for kind in ("raw", "preprocessed", "results")
    }
    command = Path(sys.executable).with_name("nnUNetv2_plan_and_preprocess")
    done = subprocess.run(
        [str(command), "-d", "501", "--verify_dataset_integrity", "--no_pp", "-npfp", "1"],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **folders},
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert "verify_dataset_integrity Done" in done.stdout
    plans = read_json(tmp_path / "nnUNet_preprocessed" / exported.name / "nnUNetPlans.json")
    assert "3d_fullres" in plans["configurations"]


def _save(folder: Path, subject: Subject, probability: np.ndarray) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    stack = np.stack([1 - probability, probability]).transpose(0, 3, 2, 1)
    np.savez_compressed(folder / f"{subject.id}.npz", probabilities=stack.astype(np.float16))


def test_what_nnunet_saves_becomes_a_cell(
    toy_cohort: list[Subject], held_out: list[Subject], tmp_path: Path
) -> None:
    patient, control = held_out
    lesion = read_lesion(patient)
    _save(tmp_path / "out", patient, lesion * 0.75)
    _save(tmp_path / "out", control, np.roll(lesion, 5, 1) * 0.6)
    roles = {patient.id: "test", control.id: "validation"}
    import_maps(tmp_path / "out", tmp_path / "cell", toy_cohort[:4], held_out, roles, RULES)
    candidates = read_tsv(tmp_path / "cell" / "candidates.tsv", participant_id=str)
    assert candidates["score"].tolist() == pytest.approx([0.75, 0.6], abs=1e-3)
    assert candidates["hit"].tolist() == [1, 0]
    subjects = read_tsv(tmp_path / "cell" / "subjects.tsv", participant_id=str)
    assert subjects["role"].tolist() == ["test", "validation"]
    assert subjects["dice"].tolist()[0] == pytest.approx(1)
    back = read_volume(tmp_path / "cell" / "probability" / f"{patient.id}_probability.nii.gz")
    assert back.grid.matches(read_grid(patient))
    np.testing.assert_allclose(back.data, lesion * 0.75, atol=1e-3)
    known = read_json(tmp_path / "cell" / "lineage.json")
    assert known["real_subjects"] == sorted(s.id for s in toy_cohort[:4])


def test_maps_that_are_no_maps_are_refused(
    toy_cohort: list[Subject], held_out: list[Subject], tmp_path: Path
) -> None:
    patient, control = held_out
    roles = {patient.id: "test", control.id: "test"}
    grid, lesion = read_grid(patient), read_lesion(patient)

    def run() -> None:
        import_maps(tmp_path / "out", tmp_path / "cell", toy_cohort[:4], held_out, roles, RULES)

    with pytest.raises(DataError, match=f"maps of 2 held-out subjects: {patient.id}"):
        run()
    _save(tmp_path / "out", control, lesion * 0.5)
    path = tmp_path / "out" / f"{patient.id}.nii.gz"
    for data, words in [
        (lesion, "holds labels"),
        (lesion * np.float32(80), "between 0 and 1"),
        (np.where(lesion, np.nan, np.float32(0)), "between 0 and 1"),
    ]:
        write_volume(path, data, grid)
        with pytest.raises(DataError, match=words):
            run()
    moved = grid.matrix.copy()
    moved[0, 3] += 5
    write_volume(path, lesion * np.float32(0.5), make_grid(grid.shape, moved))
    with pytest.raises(GeometryError, match="another grid"):
        run()
    path.unlink()
    np.savez(tmp_path / "out" / f"{patient.id}.npz", softmax=np.zeros(3))
    with pytest.raises(DataError, match="not what nnU-Net saves"):
        run()
    _save(tmp_path / "out", patient, lesion[:-1] * 0.5)
    with pytest.raises(DataError, match="has shape"):
        run()


def test_a_leak_is_refused(
    toy_cohort: list[Subject], held_out: list[Subject], tmp_path: Path
) -> None:
    for subject in held_out:
        _save(tmp_path / "out", subject, np.zeros(read_grid(subject).shape))
    roles = {s.id: "test" for s in held_out}
    with pytest.raises(LineageError, match=held_out[0].id):
        import_maps(tmp_path / "out", tmp_path / "cell", toy_cohort[:6], held_out, roles, RULES)
