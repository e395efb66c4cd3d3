"""What of a data set nothing reads is listed, each with its reason."""

from pathlib import Path

import pytest

from lesionforge.preprocessing.raw import read_raw
from lesionforge.preprocessing.unused import find_unused, list_unused
from tests.conftest import CHANNELS


@pytest.fixture
def bids(tmp_path: Path) -> Path:
    for file in (
        "sub-1/anat/sub-1_T1w.nii.gz",
        "sub-1/anat/sub-1_FLAIR.nii.gz",
        "sub-1/anat/sub-1_label-lesion_mask.nii.gz",
        "sub-1/anat/sub-1_run-2_FLAIR.nii.gz",
        "sub-1/anat/sub-1_msk.nii",
        "sub-1/anat/sub-1_scan.mgz",
        "sub-1/anat/._sub-1_T1w.nii.gz",
        "sub-1/func/sub-1_bold.nii.gz",
        "sub-2/ses-1/anat/sub-2_ses-1_T1w.nii.gz",
        "derivatives/lesions/sub-1/anat/sub-1_label-lesion_mask.nii.gz",
        "sourcedata/a.nii",
        "loose.nii.gz",
    ):
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).touch()
    (tmp_path / "sub-1/anat/sub-1_T2w.nii.gz").symlink_to("nowhere")
    (tmp_path / "participants.tsv").write_text("participant_id\tage\nsub-1\t3\nsub-9\t4\n")
    return tmp_path


def test_every_file_column_row_and_folder_is_listed_with_its_reason(bids: Path) -> None:
    found = find_unused(bids, read_raw(bids, CHANNELS)[0], CHANNELS)
    reasons = {one.what: one.why for one in found}
    for what, why in {
        "sub-1/anat/sub-1_run-2_FLAIR.nii.gz": "another file was taken",
        "sub-1/anat/sub-1_msk.nii": "may be a mask, but its name does not say so",
        "sub-1/anat/sub-1_scan.mgz": "is no .nii or .nii.gz",
        "sub-1/anat/sub-1_T2w.nii.gz": "`T2w` is no channel of the study (T1w, FLAIR)",
        "sub-1/func/sub-1_bold.nii.gz": "`bold` is no channel",
        "sub-2/ses-1/anat/sub-2_ses-1_T1w.nii.gz": "its subject cannot be used",
        "derivatives/lesions/sub-1/anat/sub-1_label-lesion_mask.nii.gz": "derivatives are not read",
        "sourcedata/a.nii": "lies in no `sub-*` folder",
        "loose.nii.gz": "lies in no `sub-*` folder",
        "column age": "is not read",
        "row sub-9": "has no folder",
        "derivatives/": "is no `sub-*` folder",
        "sourcedata/": "is no `sub-*` folder",
    }.items():
        assert why in reasons.pop(what)
    assert not reasons  # the files that are read, and hidden ones


def test_what_is_read_with_more_channels_is_not_listed(bids: Path) -> None:
    one = read_raw(bids, ["T1w"])[0]
    assert {s.id for s in one} == {"sub-1"}  # nobody says what sub-2 is
    listed = {u.what for u in find_unused(bids, one, ["T1w"])}
    assert "sub-1/anat/sub-1_FLAIR.nii.gz" in listed
    assert "sub-1/anat/sub-1_T1w.nii.gz" not in listed


def test_the_list_names_everything_a_line_for_each_reason(bids: Path) -> None:
    found = find_unused(bids, [], CHANNELS)
    lines = list_unused(found)
    assert len(lines) == len({one.why for one in found})
    assert all(one.what in "\n".join(lines) for one in found)
