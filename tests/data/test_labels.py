import shutil

import numpy as np
import pytest

from lesionforge.data.cohort import read_cohort
from lesionforge.data.labels import Label, label_sets, read_labelled, set_path, write_label_set
from lesionforge.data.subject import read_grid, read_lesion
from lesionforge.errors import DataError, GeometryError
from lesionforge.provenance import read_tsv
from lesionforge.training import identify


@pytest.fixture
def cohort(tmp_path, toy_cohort):
    return shutil.copytree(toy_cohort[0].root, tmp_path / "cohort")


def label(mask, reason="looked again"):
    return Label(mask, "human", "Reader 2", reason)


def ball(subject):
    mask = np.zeros(read_grid(subject).shape, bool)
    mask[14:17, 18:22, 15:18] = True
    return mask


def change(cohort):
    """Make one patient healthy and one control ill; return the subjects before and after."""
    before = {s.id: s for s in read_cohort(cohort)}
    new = {"sub-p01": label(None), "sub-c01": label(ball(before["sub-c01"]))}
    write_label_set(cohort, "v2", "original", new)
    return before, {s.id: s for s in read_labelled(cohort, "v2")}


def test_a_set_changes_groups_and_masks_of_some_and_files_of_none(cohort):
    files = {p: p.read_bytes() for p in cohort.rglob("*.nii.gz")}
    before, after = change(cohort)
    assert list(before) == list(after)
    assert (after["sub-p01"].group, after["sub-c01"].group) == ("control", "patient")
    assert not read_lesion(after["sub-p01"]).any()
    np.testing.assert_array_equal(read_lesion(after["sub-c01"]), ball(before["sub-c01"]))
    np.testing.assert_array_equal(read_lesion(after["sub-p02"]), read_lesion(before["sub-p02"]))
    assert all(path.read_bytes() == content for path, content in files.items())
    assert label_sets(cohort) == ["original", "v2"]
    assert [s.group for s in read_labelled(cohort)] == [s.group for s in before.values()]


def test_sets_build_on_each_other_and_remember_who_said_what(cohort):
    before, _ = change(cohort)
    third = ball(before["sub-p02"])
    write_label_set(cohort, "v3", "v2", {"sub-p02": label(third, "adjudicated")})
    after = {s.id: s for s in read_labelled(cohort, "v3")}
    assert after["sub-c01"].group == "patient"
    np.testing.assert_array_equal(read_lesion(after["sub-p02"]), third)
    table = read_tsv(set_path(cohort, "v3")).set_index("participant_id")
    assert table.loc["sub-c01", ["version", "reader"]].tolist() == ["v2", "Reader 2"]
    assert table.loc["sub-p02", ["version", "reason"]].tolist() == ["v3", "adjudicated"]
    assert table.loc["sub-p03", "version"] == "original"


def test_a_training_is_another_with_another_mask(cohort):
    before = read_cohort(cohort)
    moved = np.roll(read_lesion(before[1]), 2, axis=0)
    write_label_set(cohort, "moved", "original", {before[1].id: label(moved)})
    record = {"config": {}}
    assert identify(record, before) != identify(record, read_labelled(cohort, "moved"))
    write_label_set(cohort, "same", "original", {})
    assert identify(record, before) == identify(record, read_labelled(cohort, "same"))


def test_nothing_is_overwritten_and_changes_are_noticed(cohort):
    before, after = change(cohort)
    with pytest.raises(DataError, match="never changed"):
        write_label_set(cohort, "v2", "original", {})
    after["sub-c01"].lesion.write_bytes(before["sub-p01"].lesion.read_bytes())
    with pytest.raises(DataError, match="was changed"):
        read_labelled(cohort, "v2")
    after["sub-c01"].lesion.unlink()
    with pytest.raises(DataError, match="missing"):
        read_labelled(cohort, "v2")


def test_bad_sets_are_refused(cohort):
    before = read_cohort(cohort)
    for name in ("original", "a b", "../x", ""):
        with pytest.raises(DataError, match="cannot name"):
            write_label_set(cohort, name, "original", {})
    with pytest.raises(DataError, match=r"no label set `v9`\. It has: original"):
        read_labelled(cohort, "v9")
    with pytest.raises(DataError, match="no subject sub-x"):
        write_label_set(cohort, "v2", "original", {"sub-x": label(None)})
    with pytest.raises(GeometryError, match="shape"):
        write_label_set(cohort, "v2", "original", {before[0].id: label(np.ones((2, 2, 2), bool))})
    assert label_sets(cohort) == ["original"]
    write_label_set(cohort, "v2", "original", {})
    table = set_path(cohort, "v2")
    table.write_text("\n".join(table.read_text().splitlines()[:-1]) + "\n")
    with pytest.raises(DataError, match="does not name every subject"):
        read_labelled(cohort, "v2")


def test_a_withdrawn_label_has_no_mask():
    with pytest.raises(DataError, match="has no mask"):
        Label(np.ones((2, 2, 2), bool), "human", "R", "seen", withdrawn=True)
