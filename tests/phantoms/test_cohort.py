import hashlib
import shutil
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK

from lesionforge.data.volume import read_volume
from lesionforge.errors import DataError
from lesionforge.phantoms.cohort import read_spec, sample_cohort, write_oracle, write_phantoms
from lesionforge.phantoms.config import PhantomConfig
from lesionforge.phantoms.render import render_phantom
from lesionforge.preprocessing.raw import read_raw
from lesionforge.provenance import read_json, read_tsv, write_json

CONFIG = PhantomConfig(patients=2, controls=2, seed=9200, voxel_mm=5.0)


def digests(root: Path) -> dict[str, str]:
    return {
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


@pytest.fixture(scope="module")
def phantoms(tmp_path_factory):
    root = tmp_path_factory.mktemp("phantoms")
    write_phantoms(sample_cohort(CONFIG), root / "raw", root / "truth", workers=1)
    return root


def test_bytes_do_not_depend_on_workers(phantoms, tmp_path):
    write_phantoms(sample_cohort(CONFIG), tmp_path / "raw", tmp_path / "truth", workers=2)
    assert digests(tmp_path) == digests(phantoms)


def test_adding_subjects_changes_no_voxel_of_the_others(phantoms, tmp_path):
    few = replace(CONFIG, patients=1, controls=1)
    write_phantoms(sample_cohort(few), tmp_path / "raw", tmp_path / "truth", workers=1)
    made, all_made = digests(tmp_path), digests(phantoms)
    assert all(all_made[name] == made[name] for name in made if "/sub-" in name)
    write_phantoms(sample_cohort(CONFIG), tmp_path / "raw", tmp_path / "truth", workers=1)
    assert digests(tmp_path) == all_made


def test_the_saved_spec_replays_to_the_same_voxels(phantoms):
    spec = read_spec(phantoms / "truth", "sub-p0002")
    assert spec == sample_cohort(CONFIG)[1]
    saved = read_volume(phantoms / "raw/sub-p0002/anat/sub-p0002_FLAIR.nii.gz").data
    phantom = render_phantom(spec)
    canonical = nib.as_closest_canonical(
        nib.Nifti1Image(phantom.images["FLAIR"], phantom.grids["FLAIR"].matrix)
    )
    np.testing.assert_array_equal(saved, np.asarray(canonical.dataobj))


def test_resume_keeps_finished_files_and_replaces_half_written_ones(phantoms, tmp_path):
    shutil.copytree(phantoms, tmp_path, dirs_exist_ok=True)
    raw, truth = tmp_path / "raw", tmp_path / "truth"
    before = digests(tmp_path)
    kept = raw / "sub-p0001/anat/sub-p0001_T1w.nii.gz"
    stamp = kept.stat().st_mtime_ns
    half = raw / "sub-p0002/anat/sub-p0002_FLAIR.nii.gz"  # killed in the middle of a subject
    half.write_bytes(half.read_bytes()[:1000])
    (truth / "sub-p0002/anat/sub-p0002_phantom.json").unlink()
    (raw / "sub-c0001/anat/sub-c0001_T1w.nii.gz").unlink()
    (raw / "participants.tsv").unlink()
    write_phantoms(sample_cohort(CONFIG), raw, truth, workers=1)
    assert digests(tmp_path) == before
    assert kept.stat().st_mtime_ns == stamp


def test_phantoms_of_a_former_lesionforge_are_refused(phantoms, tmp_path):
    shutil.copytree(phantoms, tmp_path / "former")
    record = tmp_path / "former/truth/sub-p0001/anat/sub-p0001_phantom.json"
    content = read_json(record)
    del content["spec"]["benign"]
    write_json(record, content)
    with pytest.raises(DataError, match="sub-p0001"):
        write_phantoms(
            sample_cohort(CONFIG), tmp_path / "former/raw", tmp_path / "former/truth", workers=1
        )


def test_other_settings_never_mix_into_a_folder(phantoms):
    other = replace(CONFIG, seed=CONFIG.seed + 1)
    before = digests(phantoms)
    with pytest.raises(DataError, match="another seed"):
        write_phantoms(sample_cohort(other), phantoms / "raw", phantoms / "truth", workers=1)
    assert digests(phantoms) == before


def test_the_data_set_is_what_a_hospital_would_give(phantoms):
    raw = phantoms / "raw"
    people = read_tsv(raw / "participants.tsv", participant_id=str, group=str, site=str)
    assert people["group"].tolist() == ["patient"] * 2 + ["control"] * 2
    assert set(people["site"]) <= {"A", "B", "C"}
    for name, group in zip(people["participant_id"], people["group"], strict=True):
        folder = raw / name / "anat"
        t1w, flair = (read_volume(folder / f"{name}_{s}.nii.gz") for s in ("T1w", "FLAIR"))
        assert not t1w.grid.matches(flair.grid)
        mask = folder / f"{name}_label-lesion_mask.nii.gz"
        assert mask.exists() == (group == "patient")
        if group == "patient":
            lesion = read_volume(mask)
            assert lesion.grid.matches(flair.grid)
            assert set(np.unique(lesion.data)) == {0, 1}
            assert (flair.data[lesion.data > 0] > 0).all()
        brain_ml = (t1w.data > 0).sum() * t1w.grid.voxel_mm3 / 1000
        assert 1000 < brain_ml < 2600
        assert t1w.data.min() == 0
    assert not list(raw.rglob("*probseg*"))
    assert not list(raw.rglob("sub-c*lesion*"))


def test_nothing_of_the_truth_lies_in_raw(phantoms):
    for name in ("sub-p0001", "sub-c0001"):
        texts = [path.read_text() for path in (phantoms / "raw" / name).rglob("*.json")]
        assert len(texts) == 2
        assert not any(w in t for t in texts for w in ("lesion", "patient", "control", "seed"))


def test_truth_fits_the_t1w(phantoms):
    for name in ("sub-p0001", "sub-c0002"):
        t1w = read_volume(phantoms / "raw" / name / "anat" / f"{name}_T1w.nii.gz")
        maps = [
            read_volume(phantoms / "truth" / name / "anat" / f"{name}_label-{t}_probseg.nii.gz")
            for t in ("CSF", "GM", "WM")
        ]
        assert all(m.grid.matches(t1w.grid) for m in maps)
        total = sum(m.data for m in maps)
        np.testing.assert_allclose(total, t1w.data > 0, atol=1e-6)
        white, grey, csf = (t1w.data[m.data > 0.8].mean() for m in maps[::-1])
        assert white > grey > csf


def centroid_nibabel(path: Path) -> np.ndarray:
    image = nib.load(path)
    voxels = np.argwhere(np.asarray(image.dataobj) > 0)
    return (voxels @ image.affine[:3, :3].T + image.affine[:3, 3]).mean(axis=0)


def centroid_sitk(path: Path) -> np.ndarray:
    image = SimpleITK.ReadImage(str(path))
    shape = SimpleITK.LabelShapeStatisticsImageFilter()
    shape.Execute(SimpleITK.Cast(image, SimpleITK.sitkUInt8))
    return np.array(shape.GetCentroid(1)) * [-1, -1, 1]  # LPS to RAS


def test_nibabel_and_simpleitk_agree_on_where_the_lesion_is(phantoms):
    table = read_tsv(phantoms / "truth/lesions.tsv", participant_id=str).set_index("participant_id")
    for name, row in table.iterrows():
        for folder in ("raw", "truth"):
            path = phantoms / folder / name / "anat" / f"{name}_label-lesion_mask.nii.gz"
            centre = centroid_nibabel(path)
            np.testing.assert_allclose(centre, centroid_sitk(path), atol=1e-2)
            # the table's place is the T1w's; a funnel draws the centroid inward
            assert np.linalg.norm(centre - row[["x_mm", "y_mm", "z_mm"]].astype(float)) < 20


def test_lesions_table_tells_all_patients(phantoms):
    table = read_tsv(phantoms / "truth/lesions.tsv", participant_id=str)
    assert table["participant_id"].tolist() == ["sub-p0001", "sub-p0002"]
    columns = {"volume_mm3", "conspicuity", "lobe", "funnel", "x_mm", "outlined"}
    assert columns <= set(table.columns)
    assert not table[sorted(columns)].isna().any().any()


def test_the_oracle_is_an_ordinary_data_set_on_the_same_heads(tmp_path):
    config = PhantomConfig(patients=1, controls=1, seed=9200, voxel_mm=5.0, disease="ms")
    hosts = sample_cohort(config)
    write_phantoms(hosts, tmp_path / "raw", tmp_path / "truth", workers=1)
    made = write_oracle(hosts, config, 2, tmp_path / "theirs", tmp_path / "their truth", workers=1)
    assert [spec.id for spec in made] == [f"sub-o000{n}" for n in (1, 2, 3, 4)]
    found = read_tsv(tmp_path / "theirs/derived_from.tsv", participant_id=str, sources=str)
    assert found["sources"].tolist() == ["sub-p0001"] * 2 + ["sub-c0001"] * 2
    subjects, problems = read_raw(tmp_path / "theirs", ("T1w", "FLAIR"))
    assert not problems
    assert [subject.group for subject in subjects] == ["patient"] * 4
    host, theirs = (
        read_volume(tmp_path / folder / name / "anat" / f"{name}_T1w.nii.gz")
        for folder, name in (("raw", "sub-c0001"), ("theirs", "sub-o0003"))
    )
    assert host.grid.matches(theirs.grid)
    assert 0.2 < (host.data == theirs.data)[host.data > 0].mean() < 1
