"""Preparation of small heads made from the template: places, scale, resumption, workers, errors."""

from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from scipy import ndimage
from scipy.spatial.transform import Rotation

from lesionforge.data import cohort as bids_files
from lesionforge.data.cohort import read_cohort, read_people
from lesionforge.data.subject import (
    read_brain,
    read_grid,
    read_ignore,
    read_images,
    read_lesion,
    read_tissues,
)
from lesionforge.data.volume import grid, mni_grid, read_volume, write_volume
from lesionforge.errors import ConfigError, DataError
from lesionforge.preprocessing.intensity import scale_image
from lesionforge.preprocessing.prepare import (
    PrepareConfig,
    prepare_cohort,
    prepare_one,
    prepare_scan,
)
from lesionforge.preprocessing.resample import resample
from lesionforge.preprocessing.tissues import template
from lesionforge.provenance import read_tsv
from tests.conftest import CHANNELS

CONFIG = PrepareConfig(voxel_mm=4.0, levels_mm=(8.0, 5.0), workers=1)
LESION_MNI = np.array([32.0, 20.0, 34.0])  # right frontal: a flipped side would show


def _move(angles_deg: tuple[float, ...], shift: tuple[float, ...]) -> np.ndarray:
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_euler("xyz", angles_deg, degrees=True).as_matrix()
    matrix[:3, 3] = shift
    return matrix


def _write_head(bids: Path, name: str, patient: bool, flair_move: np.ndarray) -> None:
    """Write a skull-stripped head: T1w and FLAIR on different grids, the lesion on the FLAIR's."""
    _, grey, white = template()
    rng = np.random.default_rng(len(name))
    head_from_mni = _move((6, -3, 4), (5, 12, -8)) @ np.diag([0.95, 1.03, 0.97, 1])
    t1w_grid = grid((56, 66, 56), _move((0, 0, 0), (-80, -95, -95)) @ np.diag([3, 3, 3, 1]))
    flair_grid = grid((70, 80, 38), _move((3, 0, 0), (-90, -110, -95)) @ np.diag([2.5, 2.5, 4, 1]))
    for kind, target, move in (
        ("T1w", t1w_grid, np.eye(4)),
        ("FLAIR", flair_grid, flair_move),
    ):
        mni_from_scan = np.linalg.inv(move @ head_from_mni)
        gm, wm = (resample(v, target, mni_from_scan) for v in (grey, white))
        brain = ndimage.binary_fill_holes(gm + wm > 0.3)
        values = (0.25, 0.5, 0.7) if kind == "T1w" else (0.2, 0.6, 0.5)
        image = values[0] * np.clip(1 - gm - wm, 0, 1) + values[1] * gm + values[2] * wm
        place = target.world(np.indices(target.shape).transpose(1, 2, 3, 0))
        mni = place @ mni_from_scan[:3, :3].T + mni_from_scan[:3, 3]
        lesion = (np.linalg.norm(mni - LESION_MNI, axis=-1) < 12) & brain
        if patient:
            image[lesion] = 0.45 if kind == "T1w" else 0.9
        image = (image + rng.normal(0, 0.02, image.shape)) * 800 * brain
        path = bids / name / "anat" / f"{name}_{kind}.nii.gz"
        write_volume(path, np.maximum(image, 0).astype(np.float32), target)
        if patient and kind == "FLAIR":
            write_volume(path.with_name(f"{name}_FLAIR_roi.nii.gz"), lesion, target)


@pytest.fixture(scope="module")
def bids(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("raw")
    _write_head(root, "sub-1", True, _move((4, 2, -3), (3, -4, 5)))
    _write_head(root, "sub-02", False, _move((-2, 0, 3), (0, 5, -3)))
    (root / "participants.tsv").write_text(
        "participant_id\tgroup\tsite\nsub-1\tpatient\tA\nsub-02\tcontrol\tn/a\n"
    )
    return root


@pytest.fixture(scope="module")
def cohort(bids: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("prepared") / "cohort"
    prepare_cohort(bids, root, CONFIG, CHANNELS)
    return root


def _bytes(root: Path) -> dict[str, bytes]:
    return {
        str(p.relative_to(root)): p.read_bytes()
        for p in sorted(root.rglob("*"))
        if p.is_file() and p.name != "quality.tsv" and not p.name.endswith("_log.json")
    }


def test_the_cohort_reads_as_one(cohort: Path) -> None:
    control, patient = read_cohort(cohort)
    assert (patient.id, patient.group, patient.site) == ("sub-1", "patient", "A")
    assert (control.id, control.group, control.site) == ("sub-02", "control", "n/a")
    assert read_grid(patient).matches(mni_grid(4.0))
    table = read_tsv(cohort / "participants.tsv", lesion_ml=float)
    assert table["lesion_ml"].tolist()[0] == 0
    assert table["lesion_ml"].tolist()[1] == pytest.approx(7.2, rel=0.2)


def test_the_lesion_lies_where_it_was_drawn(cohort: Path) -> None:
    patient = read_cohort(cohort)[1]
    lesion, target = read_lesion(patient), read_grid(patient)
    centre = target.world(np.array(ndimage.center_of_mass(lesion)))
    assert np.linalg.norm(centre - LESION_MNI) < 3
    t1w, flair = read_images(patient)
    brain = read_brain(patient)
    assert flair[lesion].mean() > np.quantile(flair[brain], 0.9)  # T1w and FLAIR agree with it
    assert t1w[lesion].mean() < np.quantile(t1w[brain], 0.6)
    assert (lesion <= brain).all()


def test_the_head_lies_on_the_template(cohort: Path) -> None:
    quality = read_tsv(cohort / "quality.tsv", participant_id=str)
    assert (quality["mni_dice"] > 0.95).all()
    assert (quality["mni_correlation"] > 0.9).all()
    assert quality["voxel_mm_t1w"].tolist() == [3, 3]
    assert quality["voxel_mm_flair"].tolist() == [4.0, 4.0]
    assert quality["brain_mask"].tolist() == ["nonzero", "nonzero"]
    assert quality["flair_t1w_angle_deg"].tolist() == pytest.approx([3.6, 5.4], abs=1)
    assert quality.loc[1, "lesion_in_brain"] > 0.95


def test_intensities_and_tissues_keep_the_contract(cohort: Path) -> None:
    for subject in read_cohort(cohort):
        brain = read_brain(subject)
        for image in read_images(subject):
            assert np.median(image[brain]) == pytest.approx(0.5, abs=1e-3)
            spread = 1.4826 * np.median(np.abs(image[brain] - np.median(image[brain])))
            assert spread == pytest.approx(0.1, abs=2e-3)
            assert (image[~brain] == 0).all()
            assert 0 <= image.min() <= image.max() <= 1
        tissues = read_tissues(subject)
        np.testing.assert_allclose(tissues.sum(0), brain.astype(float), atol=1e-5)


def test_both_libraries_see_the_result_in_one_place(cohort: Path) -> None:
    import SimpleITK as sitk  # noqa: N813

    path = read_cohort(cohort)[1].lesion
    image, other = nib.load(path), sitk.ReadImage(str(path))
    index = ndimage.center_of_mass(image.get_fdata())
    place = nib.affines.apply_affine(image.affine, index)
    point = np.array(other.TransformContinuousIndexToPhysicalPoint(index)) * [-1, -1, 1]
    np.testing.assert_allclose(point, place, atol=1e-3)


def test_finished_subjects_are_kept_and_lost_files_made_again(bids: Path, cohort: Path) -> None:
    before = _bytes(cohort)
    control, patient = read_cohort(cohort)
    kept = control.path("T1w").stat().st_mtime_ns
    patient.lesion.unlink()
    part = patient.path("T1w").with_name(".part-killed-" + patient.path("T1w").name)
    part.write_bytes(b"half")
    prepare_cohort(bids, cohort, CONFIG, CHANNELS)
    part.unlink()
    assert control.path("T1w").stat().st_mtime_ns == kept
    assert _bytes(cohort) == before


def test_two_workers_give_the_same_bytes(bids: Path, cohort: Path, tmp_path: Path) -> None:
    prepare_cohort(bids, tmp_path / "cohort", replace(CONFIG, workers=2), CHANNELS)
    assert _bytes(tmp_path / "cohort") == _bytes(cohort)


def test_another_configuration_prepares_again(bids: Path, cohort: Path, tmp_path: Path) -> None:
    only = replace(CONFIG, exclude=("sub-1",), n4=False, register_channels=False)
    (control,) = prepare_cohort(bids, tmp_path, only, CHANNELS)
    first = control.path("T1w").read_bytes()
    prepare_cohort(bids, tmp_path, replace(only, voxel_mm=5.0), CHANNELS)
    assert control.path("T1w").read_bytes() != first
    assert read_grid(control).matches(mni_grid(5.0))


@pytest.mark.parametrize(
    ("channels", "size"), [(CHANNELS, (3.0, 3.0, 3.0)), (("FLAIR",), (2.5, 2.5, 4.0))]
)
def test_the_voxel_size_may_come_from_the_scans(
    bids: Path, tmp_path: Path, channels: tuple[str, ...], size: tuple[float, ...]
) -> None:
    rough = replace(CONFIG, voxel_mm="auto", n4=False, register_channels=False)
    subjects = prepare_cohort(bids, tmp_path, rough, channels)
    assert read_grid(subjects[1]).voxel_mm == pytest.approx(size)
    assert subjects[0].channels == channels
    before = _bytes(tmp_path)
    prepare_one(bids, tmp_path, rough, channels, "sub-1")  # the same size: nothing is made again
    assert _bytes(tmp_path) == before
    lesions = read_tsv(tmp_path / "lesions.tsv", participant_id=str, fate=str)
    assert lesions[["participant_id", "lesion", "fate"]].to_numpy().tolist() == [
        ["sub-1", 1, "kept"]
    ]


def test_a_subject_that_was_half_prepared_again_is_not_complete(
    bids: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    only = replace(CONFIG, exclude=("sub-1",), n4=False, register_channels=False)
    (control,) = prepare_cohort(bids, tmp_path, only, CHANNELS)
    first = control.path("T1w").read_bytes()

    def killed(path: Path, *_: object) -> None:
        path.write_bytes(b"half")
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(bids_files, "write_volume", killed)
        with pytest.raises(KeyboardInterrupt):
            prepare_cohort(bids, tmp_path, replace(only, voxel_mm=5.0), CHANNELS)
    assert not bids_files.is_complete(control)
    prepare_cohort(bids, tmp_path, only, CHANNELS)
    assert control.path("T1w").read_bytes() == first


def test_one_subject_alone_is_the_same_and_is_kept_by_the_whole(
    bids: Path, cohort: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("sub-1", "sub-02"):
        prepare_one(bids, tmp_path, CONFIG, CHANNELS, name)
    assert not (tmp_path / "participants.tsv").exists()
    stamps = {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*.nii.gz")}
    prepare_cohort(bids, tmp_path, CONFIG, CHANNELS)
    assert {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*.nii.gz")} == stamps
    assert _bytes(tmp_path) == _bytes(cohort)
    with pytest.raises(DataError, match="has no subject sub-3"):
        prepare_one(bids, tmp_path, CONFIG, CHANNELS, "sub-3")


def test_bad_subjects_are_reported_together_and_do_not_stop_others(
    bids: Path, cohort: Path, tmp_path: Path
) -> None:
    raw = tmp_path / "raw"
    good = raw / "sub-02"
    good.parent.mkdir()
    good.symlink_to(bids / "sub-02")
    names = ("sub-02", "sub-3", "sub-4", "sub-5")
    (raw / "participants.tsv").write_text(
        "\n".join(["participant_id\tgroup", *(f"{name}\thc" for name in names)])
    )
    for name in ("sub-3", "sub-4"):
        for kind in ("T1w", "FLAIR"):
            target = raw / name / "anat" / f"{name}_{kind}.nii.gz"
            target.parent.mkdir(parents=True, exist_ok=True)
            image = nib.load(bids / "sub-02" / "anat" / f"sub-02_{kind}.nii.gz")
            image.header["descrip"] = name  # the same content would be a leak
            nib.save(image, target)
    broken = raw / "sub-3" / "anat" / "sub-3_FLAIR.nii.gz"
    broken.write_bytes(broken.read_bytes()[:5000])
    sheared = raw / "sub-4" / "anat" / "sub-4_T1w.nii.gz"
    image = nib.load(sheared)
    shear = np.eye(4)
    shear[0, 1] = 0.3
    nib.save(nib.Nifti1Image(np.asarray(image.dataobj), shear @ image.affine), sheared)
    (raw / "sub-5").mkdir()
    with pytest.raises(DataError) as caught:
        prepare_cohort(raw, tmp_path / "out", CONFIG, CHANNELS)
    message = str(caught.value)
    for words in ("sub-3_FLAIR.nii.gz", "sub-4: has a sheared", "sub-5: has no T1w"):
        assert words in message
    assert "exclude" in message
    (kept,) = read_cohort(tmp_path / "out")
    assert kept.path("T1w").read_bytes() == (read_cohort(cohort)[0]).path("T1w").read_bytes()


def test_a_new_scan_is_prepared_like_the_cohort_and_mapped_back(bids: Path, cohort: Path) -> None:
    anat = bids / "sub-1" / "anat"
    scan = prepare_scan({c: anat / f"sub-1_{c}.nii.gz" for c in CHANNELS}, CONFIG)
    patient = read_cohort(cohort)[1]
    np.testing.assert_array_equal(scan.images, read_images(patient))
    back = scan.to_reference(read_lesion(patient).astype(np.float32))
    t1w = read_volume(anat / "sub-1_T1w.nii.gz")
    assert back.grid.matches(t1w.grid)
    inside = t1w.data[back.data > 0.7] / 800
    assert abs(np.median(inside) - 0.45) < 0.05  # the dark spot that was written there


def test_a_new_scan_is_checked_like_the_cohort(bids: Path, tmp_path: Path) -> None:
    head = {c: tmp_path / f"sub-x_{c}.nii.gz" for c in CHANNELS}
    t1w, flair = head.values()
    for path in (t1w, flair):
        path.write_bytes((bids / "sub-1" / "anat" / path.name.replace("-x", "-1")).read_bytes())
    assert any("thick slices" in note for note in prepare_scan(head, CONFIG).notes)
    whole, half = flair.read_bytes(), flair.stat().st_size // 2
    flair.write_bytes(whole[:half] + bytes(200) + whole[half + 200 :])
    with pytest.raises(DataError, match="cannot be read to its end"):
        prepare_scan(head, CONFIG)
    flair.write_bytes(t1w.read_bytes())
    with pytest.raises(DataError, match="has the content of"):
        prepare_scan(head, CONFIG)
    image = nib.Nifti1Image(np.asarray(nib.load(t1w).dataobj), None)
    nib.save(image, flair)
    with pytest.raises(DataError, match="left and right are unknown"):
        prepare_scan(head, CONFIG)


def test_data_sets_sessions_and_labels_to_ignore_are_one_cohort(
    bids: Path, cohort: Path, tmp_path: Path
) -> None:
    known = bids / "sub-1" / "anat"
    mask = read_volume(known / "sub-1_FLAIR_roi.nii.gz")
    cut = mask.data.astype(np.uint8)
    middle = int(np.argwhere(cut)[:, 0].mean())
    cut[middle:] *= 2  # a part of it is other pathology
    for session in ("a", "b"):
        folder = tmp_path / "long" / "sub-1" / f"ses-{session}" / "anat"
        folder.mkdir(parents=True)
        for channel in CHANNELS:
            image = nib.load(known / f"sub-1_{channel}.nii.gz")
            image.header["descrip"] = session
            nib.save(image, folder / f"sub-1_ses-{session}_{channel}.nii.gz")
    write_volume(folder / "sub-1_ses-b_label-lesion_dseg.nii.gz", cut, mask.grid)
    (tmp_path / "plain").mkdir()
    (tmp_path / "plain" / "sub-02").symlink_to(bids / "sub-02")
    (tmp_path / "plain" / "participants.tsv").write_text("participant_id\tgroup\nsub-02\thc\n")
    roots = [tmp_path / "long", tmp_path / "plain"]
    quick = replace(CONFIG, n4=False)
    prepare_cohort(roots, tmp_path / "out", quick, CHANNELS, {1: "lesion", 2: "ignore"})
    first, second, control = read_cohort(tmp_path / "out")
    assert [s.id for s in (first, second, control)] == [
        "sub-long1sesa", "sub-long1sesb", "sub-plain02"
    ]  # fmt: skip
    assert [s.person for s in (first, second)] == ["sub-long1"] * 2
    assert [s.group for s in (first, second, control)] == ["unlabelled", "patient", "control"]
    assert [s.dataset for s in (first, second, control)] == ["long", "long", "plain"]
    lesion, ignore = read_lesion(second), read_ignore(second)
    assert lesion.any()
    assert ignore.any()
    assert not (lesion & ignore).any()
    whole = read_lesion(read_cohort(cohort)[1])
    both = lesion | ignore
    assert 2 * (both & whole).sum() / (both.sum() + whole.sum()) > 0.9
    figures = read_tsv(tmp_path / "out" / "quality.tsv", participant_id=str, ignore_ml=float)
    assert figures["ignore_ml"].notna().tolist() == [False, True, False]
    assert not control.ignore.exists()
    people = read_people(tmp_path / "out")
    assert people["participant"].tolist() == ["sub-long1", "sub-long1", "sub-plain02"]


def test_scaling_survives_a_lesion_of_a_fifth_of_the_brain() -> None:
    rng = np.random.default_rng(0)
    image = rng.normal(100, 10, (20, 20, 20))
    brain = np.ones(image.shape, dtype=bool)
    ill = image.copy()
    ill[:4] = 400
    healthy, other = (scale_image(i, brain, "T1w")[4:] for i in (image, ill))
    assert abs(np.median(healthy) - np.median(other)) < 0.05
    with pytest.raises(DataError, match="constant"):
        scale_image(np.ones_like(image), brain, "T1w")


@pytest.mark.parametrize(
    "wrong",
    [
        {"voxel_mm": 0.2},
        {"voxel_mm": (1.0, 1.0, 13.0)},
        {"levels_mm": ()},
        {"workers": 0},
        {"n4_voxel_mm": 0},
    ],
)
def test_the_configuration_is_checked(wrong: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=f"`{next(iter(wrong))}`"):
        replace(CONFIG, **wrong)


def test_reading_the_configuration_does_not_import_simpleitk() -> None:
    import subprocess
    import sys

    code = (
        "import sys, lesionforge.preprocessing.prepare, lesionforge.preprocessing.regions;"
        "sys.exit('SimpleITK' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_volume_without_a_brain_names_the_subject(tmp_path: Path) -> None:
    target = grid((16, 16, 16), np.diag([3.0, 3.0, 3.0, 1.0]))
    data = np.zeros(target.shape, dtype=np.float32)
    for kind in ("T1w", "FLAIR"):
        write_volume(tmp_path / "raw/sub-9/anat" / f"sub-9_{kind}.nii.gz", data, target)
    with pytest.raises(DataError, match="sub-9"):
        prepare_cohort(
            tmp_path / "raw", tmp_path / "out", replace(CONFIG, brain_mask="given"), CHANNELS
        )
