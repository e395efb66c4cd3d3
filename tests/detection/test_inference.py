import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional

from lesionforge.data.subject import read_brain, read_grid, read_images, read_lesion
from lesionforge.data.volume import read_volume, write_volume
from lesionforge.detection import inference
from lesionforge.detection.data import standardise
from lesionforge.detection.inference import (
    TrainedDetector,
    load_detector,
    predict_probability,
    predict_subjects,
)
from lesionforge.errors import DataError, LineageError
from lesionforge.metrics.config import CandidateRules
from lesionforge.provenance import read_json, read_tsv, write_json

from .conftest import TINY

RULES = CandidateRules(min_volume_mm3=125.0)


class Blur(torch.nn.Module):
    """A network whose prediction is known: a 3-voxel mean of FLAIR, the same in any window."""

    def forward(self, images):
        return functional.avg_pool3d(images[:, 1:], 3, 1, 1, count_include_pad=False)


@pytest.fixture(scope="module")
def held_out(toy_cohort):
    return [*toy_cohort[4:6], *toy_cohort[8:]]


@pytest.fixture
def roles(held_out):
    return {s.id: "validation" if i % 2 else "test" for i, s in enumerate(held_out)}


def detector_of(network, **changes):
    return TrainedDetector(
        network,
        replace(TINY, **changes),
        "32-true",
        "0",
        ("T1w", "FLAIR"),
        (5.0,) * 3,
        {},
        torch.device("cpu"),
    )


@pytest.mark.parametrize("overlap", [0.25, 0.5])
def test_windows_make_the_whole(toy_cohort, overlap):
    images, brain = read_images(toy_cohort[0]), read_brain(toy_cohort[0])
    detector = detector_of(Blur(), patch=16, overlap=overlap, mirror=False)
    found = predict_probability(detector, images, brain)
    flair = torch.from_numpy(standardise(images, brain))[None]
    whole = torch.sigmoid(Blur()(flair))[0, 0].numpy() * brain
    inner = brain & (np.abs(found - whole) < 1e-5)
    # Windows see no neighbours beyond their faces; there the Gaussian weight is small, not zero.
    assert inner.sum() > 0.5 * brain.sum()
    assert np.abs(found - whole)[brain].mean() < 0.02


def test_mirroring_makes_the_prediction_symmetric(toy_cohort):
    images, brain = read_images(toy_cohort[0]), np.ones((32, 40, 32), bool)
    torch.manual_seed(0)
    network = torch.nn.Conv3d(2, 1, 3, padding=1)
    plain = predict_probability(detector_of(network, mirror=False), images, brain)
    turned = predict_probability(detector_of(network, mirror=False), images[:, ::-1], brain)
    both = predict_probability(detector_of(network, mirror=True), images, brain)
    np.testing.assert_allclose(both, (plain + turned[::-1]) / 2, atol=1e-6)
    assert not np.allclose(plain, turned[::-1], atol=1e-3)


def test_the_probability_is_inside_the_brain_and_in_range(trained, held_out):
    brain = read_brain(held_out[0])
    found = predict_probability(load_detector(trained), read_images(held_out[0]), brain)
    assert found.dtype == np.float32
    assert found.shape == brain.shape
    assert 0 <= found.min() < found.max() <= 1
    assert not found[~brain].any()


def test_lesions_of_subjects_that_were_never_seen_stand_out(trained, held_out):
    detector = load_detector(trained)
    for subject in held_out[:2]:
        brain, lesion = read_brain(subject), read_lesion(subject)
        found = predict_probability(detector, read_images(subject), brain)
        assert found[lesion].mean() > 4 * found[brain & ~lesion].mean()


def test_an_empty_brain_is_refused(trained):
    with pytest.raises(DataError, match="brain mask is empty"):
        predict_probability(
            load_detector(trained), np.zeros((2, 16, 16, 16)), np.zeros((16,) * 3, bool)
        )


def test_predictions_are_written_with_roles_and_geometry(trained_detector, held_out, roles):
    predict_subjects(trained_detector, held_out, roles, RULES)
    subjects = read_tsv(trained_detector / "subjects.tsv", participant_id=str, role=str)
    assert dict(zip(subjects["participant_id"], subjects["role"], strict=True)) == roles
    candidates = read_tsv(trained_detector / "candidates.tsv", participant_id=str, role=str)
    assert set(candidates["participant_id"]) <= set(roles)
    for subject in held_out:
        found = read_volume(trained_detector / "probability" / f"{subject.id}_probability.nii.gz")
        assert found.grid.matches(read_volume(subject.brain).grid)
        best = candidates.loc[candidates["participant_id"] == subject.id, "score"].max()
        if best == best:
            assert best == pytest.approx(found.data.max(), rel=1e-5)
    assert read_json(trained_detector / "rules.json")["min_volume_mm3"] == RULES.min_volume_mm3


def test_a_killed_prediction_resumes_to_the_same_tables(
    trained, trained_detector, held_out, roles, tmp_path, monkeypatch
):
    predict_subjects(trained_detector, held_out, roles, RULES)
    other = Path(shutil.copytree(trained, tmp_path / "other"))
    predict_subjects(other, held_out[:2], roles, RULES)
    (other / "subjects.tsv").unlink()
    predicted = []
    original = inference.predict_probability
    monkeypatch.setattr(
        inference,
        "predict_probability",
        lambda *args: predicted.append(1) or original(*args),
    )
    predict_subjects(other, held_out, roles, RULES)
    assert len(predicted) == len(held_out) - 2
    for name in ("candidates.tsv", "subjects.tsv"):
        assert (other / name).read_bytes() == (trained_detector / name).read_bytes()


@pytest.mark.parametrize("part", ["WeightsSHA256", "VolumesSHA256"])
def test_maps_of_other_weights_or_images_do_not_count(trained_detector, held_out, roles, part):
    predict_subjects(trained_detector, held_out, roles, RULES)
    before = (trained_detector / "subjects.tsv").read_bytes()
    maps = trained_detector / "probability"
    sidecar = maps / f"{held_out[0].id}_probability.json"
    write_json(sidecar, {**read_json(sidecar), part: "other"})
    shutil.copy(
        maps / f"{held_out[1].id}_probability.nii.gz", maps / f"{held_out[0].id}_probability.nii.gz"
    )
    predict_subjects(trained_detector, held_out, roles, RULES)
    assert (trained_detector / "subjects.tsv").read_bytes() == before


def test_a_subject_that_was_prepared_again_is_predicted_again(
    trained_detector, held_out, roles, tmp_path
):
    predict_subjects(trained_detector, held_out, roles, RULES)
    root = Path(shutil.copytree(held_out[0].root, tmp_path / "again"))
    again = replace(held_out[0], root=root)
    volume = read_volume(again.path("FLAIR"))
    write_volume(again.path("FLAIR"), volume.data[::-1].copy(), volume.grid)
    path = trained_detector / "probability" / f"{again.id}_probability.nii.gz"
    before = read_volume(path).data
    predict_subjects(trained_detector, [again, *held_out[1:]], roles, RULES)
    assert not np.array_equal(read_volume(path).data, before)


def test_tables_under_way_do_not_count_as_complete(trained_detector, held_out, roles, monkeypatch):
    predict_subjects(trained_detector, held_out, roles, RULES)
    monkeypatch.setattr(inference, "evaluate_subject", _killed)
    with pytest.raises(KeyboardInterrupt):
        predict_subjects(trained_detector, held_out, roles, replace(RULES, min_volume_mm3=1.0))
    assert not (trained_detector / "subjects.tsv").exists()


def _killed(*args):
    raise KeyboardInterrupt


def test_training_subjects_are_not_predicted(trained_detector, toy_cohort, held_out, roles):
    with pytest.raises(LineageError, match="was trained on sub-p01"):
        predict_subjects(trained_detector, [toy_cohort[0], *held_out], roles, RULES)
    made = replace(held_out[0], id="sub-syn1", synthetic=True, sources=("sub-p02",))
    with pytest.raises(LineageError, match="was trained on sub-syn1"):
        predict_subjects(trained_detector, [made], roles, RULES)


def test_another_scan_of_a_training_person_is_not_predicted(
    toy_cohort, trained_detector, held_out, roles
):
    again = replace(held_out[0], participant=toy_cohort[0].id)
    with pytest.raises(LineageError, match=held_out[0].id):
        predict_subjects(trained_detector, [again], roles, RULES)


def test_what_is_to_be_ignored_is_no_candidate(
    trained_detector, held_out, roles, tmp_path, monkeypatch
):
    predict_subjects(trained_detector, held_out, roles, RULES)
    before = read_tsv(trained_detector / "candidates.tsv", participant_id=str)
    one = replace(held_out[0], root=tmp_path)
    shutil.copytree(held_out[0].root / one.id, tmp_path / one.id)
    write_volume(one.ignore, read_brain(one), read_grid(one))
    predict_subjects(trained_detector, [one, *held_out[1:]], roles, RULES)
    after = read_tsv(trained_detector / "candidates.tsv", participant_id=str)
    assert (before["participant_id"] == one.id).any()
    assert not (after["participant_id"] == one.id).any()
    others = before["participant_id"] != one.id
    assert len(after) == others.sum()


def test_detectors_of_former_code_are_refused(trained_detector):
    record = read_json(trained_detector / "detector.json")
    former = {key: value for key, value in record.items() if key != "logit_limit"}
    for wrong in (former, {**record, "logit_limit": 5.0}):
        write_json(trained_detector / "detector.json", wrong)
        with pytest.raises(DataError, match="former code"):
            load_detector(trained_detector)


def test_damaged_detectors_are_refused(trained_detector):
    weights = trained_detector / "detector.safetensors"
    content = bytearray(weights.read_bytes())
    content[-3] ^= 1
    weights.write_bytes(content)
    with pytest.raises(DataError, match="is not the file that"):
        load_detector(trained_detector)
    weights.write_bytes(b"half")
    with pytest.raises(DataError, match="does not hold a detector"):
        load_detector(trained_detector)
    weights.unlink()
    with pytest.raises(DataError, match="does not hold a detector"):
        load_detector(trained_detector)
    (trained_detector / "detector.json").unlink()
    with pytest.raises(DataError, match=r"detector\.json is missing"):
        load_detector(trained_detector)
