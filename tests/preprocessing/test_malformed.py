"""Sixty kinds of bad input: each gets one clear message, and nothing already written is lost."""

import errno
import gzip
import os
import struct
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from scipy import ndimage

from lesionforge.data import cohort as bids_files
from lesionforge.data.volume import grid, read_volume, write_volume
from lesionforge.errors import DataError
from lesionforge.preprocessing.config import PrepareConfig
from lesionforge.preprocessing.prepare import prepare_cohort
from lesionforge.preprocessing.resample import resample
from lesionforge.preprocessing.tissues import template
from tests.conftest import CHANNELS

CONFIG = PrepareConfig(
    voxel_mm=5.0, n4=False, levels_mm=(10.0,), tilts_deg=(0.0,), brain_mask="given", workers=1
)
AFFINE = np.diag([4.0, 4, 4, 1])
AFFINE[:3, 3] = [-94, -126, -72]
AREA = grid((48, 56, 44), AFFINE)
FLIP = np.diag([-1.0, 1, 1, 1])
Plant = Callable[[Path], object]


def _write_head(root: Path, name: str, seed: int) -> None:
    """A small head of the template's tissues with a bright ball, stripped."""
    rng = np.random.default_rng(seed)
    _, grey, white = (resample(v, AREA) for v in template())
    brain = ndimage.binary_fill_holes(grey + white > 0.3)
    lesion = np.zeros(AREA.shape, dtype=bool)
    lesion[15:19, 30:34, 24:28] = True
    for kind, (g, w) in {"T1w": (0.5, 0.7), "FLAIR": (0.6, 0.5)}.items():
        image = 0.2 + g * grey + w * white + (0.3 * lesion if kind == "FLAIR" else 0)
        image = (image + rng.normal(0, 0.02, image.shape)).clip(0.01) * brain
        write_volume(root / name / "anat" / f"{name}_{kind}.nii.gz", image.astype(np.float32), AREA)
    path = root / name / "anat" / f"{name}_label-lesion_mask.nii.gz"
    write_volume(path, lesion & brain, AREA)


@pytest.fixture(scope="module")
def heads(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("heads")
    _write_head(root, "sub-good", 1)
    _write_head(root, "sub-bad", 2)
    return root


@pytest.fixture(scope="module")
def prepared(heads: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cohort with both heads, to be kept."""
    cohort = tmp_path_factory.mktemp("prepared") / "cohort"
    prepare_cohort(heads, cohort, CONFIG, CHANNELS)
    return cohort


@pytest.fixture
def raw(heads: Path, tmp_path: Path) -> Path:
    for path in heads.rglob("*.nii.gz"):
        copy = tmp_path / "raw" / path.relative_to(heads)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(path.read_bytes())
    return tmp_path / "raw"


def _file(raw: Path, kind: str) -> Path:
    return raw / "sub-bad" / "anat" / f"sub-bad_{kind}.nii.gz"


def _edit(kind: str, change: Callable[[nib.Nifti1Image], nib.Nifti1Image]) -> Plant:
    """Replace a file by what `change` makes of its image."""

    def plant(raw: Path) -> None:
        path = _file(raw, kind)
        nib.save(change(nib.Nifti1Image.from_bytes(gzip.decompress(path.read_bytes()))), path)

    return plant


def _data(kind: str, change: Callable[[np.ndarray], np.ndarray]) -> Plant:
    def edit(image: nib.Nifti1Image) -> nib.Nifti1Image:
        made = nib.Nifti1Image(change(np.asarray(image.dataobj)), image.affine)
        made.header.set_xyzt_units("mm")
        return made

    return _edit(kind, edit)


def _affine(kind: str, change: Callable[[np.ndarray], np.ndarray]) -> Plant:
    def edit(image: nib.Nifti1Image) -> nib.Nifti1Image:
        made = nib.Nifti1Image(np.asarray(image.dataobj), None)
        made.set_sform(change(image.affine), code=1)
        return made

    return _edit(kind, edit)


def _header(kind: str, change: Callable[[nib.Nifti1Image], object]) -> Plant:
    def edit(image: nib.Nifti1Image) -> nib.Nifti1Image:
        change(image)
        return image

    return _edit(kind, edit)


def _bytes(kind: str, change: Callable[[bytes], bytes]) -> Plant:
    return lambda raw: _file(raw, kind).write_bytes(change(_file(raw, kind).read_bytes()))


def _without(*kinds: str) -> Plant:
    return lambda raw: [_file(raw, kind).unlink() for kind in kinds]


def _table(text: str | bytes) -> Plant:
    content = text if isinstance(text, bytes) else text.replace(" ", "\t").encode()
    return lambda raw: (raw / "participants.tsv").write_bytes(content)


def _copy(source: str, target: str) -> Plant:
    return lambda raw: (raw / target).write_bytes((raw / source).read_bytes())


def _both(*plants: Plant) -> Plant:
    return lambda raw: [plant(raw) for plant in plants]


def _link_to_nothing(raw: Path) -> None:
    _file(raw, "FLAIR").unlink()
    _file(raw, "FLAIR").symlink_to("../../.git/annex/objects/nowhere")


def _folder_as_file(raw: Path) -> None:
    _file(raw, "T1w").unlink()
    _file(raw, "T1w").mkdir()


def _shear(affine: np.ndarray) -> np.ndarray:
    bent = affine.copy()
    bent[0, 1] = 2.0
    return bent


def _with_nan(content: bytes) -> bytes:
    raw = bytearray(gzip.decompress(content))
    struct.pack_into("<f", raw, 300, float("nan"))  # srow_y[1]
    return gzip.compress(bytes(raw))


def _flat(affine: np.ndarray) -> np.ndarray:
    return affine @ np.diag([1.0, 1, 0, 1])


def _spoil_middle(content: bytes) -> bytes:
    half = len(content) // 2
    return content[:half] + bytes(200) + content[half + 200 :]


def _far(affine: np.ndarray) -> np.ndarray:
    moved = affine.copy()
    moved[:3, 3] += 500
    return moved


LESION = "label-lesion_mask"
FATAL: dict[str, tuple[Plant, str]] = {
    "no T1w": (_without("T1w"), "has no T1w"),
    "no FLAIR": (_without("FLAIR"), "has no FLAIR"),
    "neither": (_without("T1w", "FLAIR"), "has no T1w"),
    "a patient without a mask": (
        _both(_without(LESION), _table("participant_id group\nsub-bad fcd\n")),
        "is in group `fcd` but has no lesion mask",
    ),
    "a control with a mask": (
        _table("participant_id group\nsub-bad hc\n"),
        "is in the control group but has a lesion mask",
    ),
    "listed twice": (
        _table("participant_id group\nsub-bad fcd\nsub-bad hc\n"),
        "is listed twice, with different values",
    ),
    "an empty folder": (_without("T1w", "FLAIR", LESION), "has no T1w"),
    "a link to nothing": (_link_to_nothing, "datalad get"),
    "a folder in a file's place": (_folder_as_file, "is missing"),
    "an empty file": (_bytes("T1w", lambda _: b""), "not compressed"),
    "a truncated T1w": (_bytes("T1w", lambda b: b[: len(b) // 2]), "cannot be read"),
    "a truncated FLAIR": (_bytes("FLAIR", lambda b: b[:-9]), "cannot be read"),
    "a truncated mask": (_bytes(LESION, lambda b: b[:300]), "cannot be read"),
    "spoilt in the middle": (_bytes("FLAIR", _spoil_middle), "cannot be read to its end"),
    "not compressed": (_bytes("T1w", gzip.decompress), "Rename it to .nii"),
    "a web page": (_bytes("T1w", lambda _: b"<html>log in</html>" * 50), "not compressed"),
    "a compressed web page": (_bytes("T1w", lambda _: gzip.compress(b"<html>" * 99)), "cannot be"),
    "a mask that is a web page": (_bytes(LESION, lambda _: b"<html>" * 99), "not compressed"),
    "two volumes": (_data("FLAIR", lambda d: np.stack([d, d], -1)), "must be one 3D volume"),
    "one slice": (_data("T1w", lambda d: d[:, :, 20]), "must be one 3D volume"),
    "five axes": (_data("T1w", lambda d: np.stack([d[..., None]] * 2, -1)), "one 3D volume"),
    "a mask of two volumes": (_data(LESION, lambda d: np.stack([d, d], -1)), "one 3D volume"),
    "few slices": (_data("FLAIR", lambda d: d[:, :, 20:25]), "has only"),
    "complex numbers": (_data("T1w", lambda d: d.astype(np.complex64)), "complex"),
    "colours": (
        _data("T1w", lambda d: np.zeros(d.shape, [("R", "u1"), ("G", "u1"), ("B", "u1")])),
        "holds",
    ),
    "metres": (_header("T1w", lambda i: i.header.set_xyzt_units("meter")), "in meter"),
    "microns": (_header("FLAIR", lambda i: i.header.set_xyzt_units("micron")), "in micron"),
    "tiny voxels": (_affine("T1w", lambda a: a @ np.diag([0.01, 0.01, 0.01, 1])), "has voxels of"),
    "huge voxels": (_affine("FLAIR", lambda a: a @ np.diag([9, 9, 9, 1])), "has voxels of"),
    "a sheared T1w": (_affine("T1w", _shear), "sheared"),
    "a sheared FLAIR": (_affine("FLAIR", _shear), "sheared"),
    "a sheared mask": (_affine(LESION, _shear), "sheared"),
    "a flat affine": (_affine("T1w", _flat), "singular affine"),
    "an affine with NaN": (_bytes("T1w", _with_nan), "NaN in it"),
    "no orientation": (
        _header("T1w", lambda i: (i.set_sform(None, 0), i.set_qform(None, 0))),
        "left and right are unknown",
    ),
    "two orientations": (
        _header("FLAIR", lambda i: (i.set_sform(i.affine, 1), i.set_qform(FLIP @ i.affine, 1))),
        "swap left and right",
    ),
    "a constant T1w": (_data("T1w", lambda d: np.full_like(d, 7)), "is constant"),
    "a FLAIR of zeros": (_data("FLAIR", np.zeros_like), "is constant"),
    "NaN everywhere": (_data("T1w", lambda d: np.full_like(d, np.nan)), "NaN or infinite"),
    "mostly NaN": (_data("FLAIR", lambda d: np.where(d > 0.7, d, np.nan)), "NaN or infinite"),
    "an empty mask": (_data(LESION, np.zeros_like), "empty lesion mask"),
    "a mask of NaN": (
        _data(LESION, lambda d: np.full(d.shape, np.nan, np.float32)),
        "empty lesion",
    ),
    "a faint mask": (_data(LESION, lambda d: d.astype(np.float32) * 0.3), "empty lesion mask"),
    "a mask outside the brain": (
        _data(LESION, lambda d: np.pad(np.ones((3, 3, 3)), [(0, n - 3) for n in d.shape])),
        "No part of the lesion mask lies inside the brain",
    ),
    "a mask far away": (_affine(LESION, _far), "lies on the grid of no image (T1w, FLAIR)"),
    "a mask on another grid": (_data(LESION, lambda d: d[:, :, :-2]), "on the grid of no image"),
    "a mask in another space": (
        lambda raw: _file(raw, LESION).rename(_file(raw, "space-MNI_" + LESION)),
        "is in space MNI, and no image is",
    ),
    "no mask and no word on it": (_without(LESION), "nothing says that it is healthy"),
    "a brain as lesion": (_data(LESION, lambda d: np.ones_like(d)), "100 % of the brain"),
    "an inverted mask": (_data(LESION, lambda d: 1 - d), "of the brain. Is it inverted"),
    "an overflow": (
        _data("T1w", lambda d: (d * 60000).astype(np.int64).astype(np.int16)),
        "jumps from its highest to its lowest",
    ),
    "an id without its prefix": (_table("participant_id group\nbad fcd\n"), "is listed as `bad`"),
    "a brain mask of another grid": (
        lambda raw: write_volume(
            _file(raw, "desc-brain_mask"), np.ones((9, 9, 9)), grid((9, 9, 9), AFFINE)
        ),
        "lies on the grid of no image",
    ),
    "T1w and FLAIR are one image": (
        _copy("sub-bad/anat/sub-bad_T1w.nii.gz", "sub-bad/anat/sub-bad_FLAIR.nii.gz"),
        "has the content of",
    ),
}
REMARKS: dict[str, tuple[Plant, str]] = {
    "a background of NaN": (_data("FLAIR", lambda d: np.where(d > 0, d, np.nan)), "NaN"),
    "z-scored": (
        _data("T1w", lambda d: np.where(d > 0, (d - d[d > 0].mean()) / d[d > 0].std(), 0)),
        "has values down to -",
    ),
    "saturated": (_data("FLAIR", lambda d: np.minimum(d, 0.75)), "is saturated"),
    "a blank slice": (
        _data("T1w", lambda d: np.where(np.indices(d.shape)[2] == 18, 0, d)),
        "has a blank slice (number 18 along z)",
    ),
    "a blank quarter": (
        _data(
            "FLAIR",
            lambda d: np.where((np.indices(d.shape)[0] > 24) & (np.indices(d.shape)[2] < 21), 0, d),
        ),
        "has a blank quarter",
    ),
    "a mask with a frame of its own": (
        _header(LESION, lambda i: (i.set_qform(i.affine, 1), i.set_sform(_shifted(i.affine), 1))),
        "by sform or qform its voxels are those of",
    ),
    "a name in the header": (
        _header("T1w", lambda i: i.header.__setitem__("descrip", b"DOE^JANE")),
        "may identify a person (descrip)",
    ),
    "a birth date in the sidecar": (
        lambda raw: (raw / "sub-bad/anat/sub-bad_T1w.json").write_text('{"PatientBirthDate": "x"}'),
        "PatientBirthDate",
    ),
    "a sidecar in Latin-1": (
        lambda raw: (raw / "sub-bad/anat/sub-bad_T1w.json").write_bytes(b'{"A": "\xfc"}'),
        "is no JSON object in UTF-8",
    ),
    "files that a Mac leaves": (
        lambda raw: (raw / "sub-bad/anat/._sub-bad_T1w.nii.gz").write_bytes(b"\x00\x05" * 2000),
        "",
    ),
    "files that are not read": (
        _copy("sub-good/anat/sub-good_T1w.nii.gz", "sub-bad/anat/sub-bad_bold.nii.gz"),
        "`bold` is no channel of the study",
    ),
    "4D with one volume": (_data("FLAIR", lambda d: d[..., None]), "is 4D with one volume"),
    "some NaN": (
        _data("T1w", lambda d: np.where(d > d.max() * 0.999, np.nan, d)),
        "NaN or infinite",
    ),
    "some infinite": (_data("FLAIR", lambda d: np.where(d == d.max(), np.inf, d)), "infinite"),
    "a mask of 0 and 255": (_data(LESION, lambda d: d * np.uint8(255)), ""),
    "a mask of fractions": (
        _data(LESION, lambda d: ndimage.gaussian_filter(d.astype(np.float32), 0.7)),
        "is not binary",
    ),
    "several labels": (
        _data(LESION, lambda d: (d * (1 + np.indices(d.shape)[0] % 3)).astype(np.uint8)),
        "not binary",
    ),
    "a mirrored array": (
        _edit("T1w", lambda i: nib.Nifti1Image(np.asarray(i.dataobj)[::-1], i.affine @ _mirror(i))),
        "",
    ),
    "orientations apart": (
        _header("T1w", lambda i: (i.set_sform(i.affine, 1), i.set_qform(_shifted(i.affine), 1))),
        "The sform is used",
    ),
    "two FLAIRs": (
        _copy("sub-good/anat/sub-good_FLAIR.nii.gz", "sub-bad/anat/sub-bad_run-2_FLAIR.nii.gz"),
        "2 FLAIR files, took sub-bad_FLAIR.nii.gz",
    ),
    "two masks": (
        _copy("sub-bad/anat/sub-bad_label-lesion_mask.nii.gz", "sub-bad/anat/sub-bad_roi.nii.gz"),
        "2 lesion mask files",
    ),
    "a name with a space": (
        _copy("sub-good/anat/sub-good_T1w.nii.gz", "sub-bad/anat/sub-bad copy.nii.gz"),
        "",
    ),
}


def _mirror(image: nib.Nifti1Image) -> np.ndarray:
    flip = np.diag([-1.0, 1, 1, 1])
    flip[0, 3] = image.shape[0] - 1
    return flip


def _shifted(affine: np.ndarray) -> np.ndarray:
    moved = affine.copy()
    moved[0, 3] += 20
    return moved


def _state(cohort: Path, subject: str) -> dict[str, bytes]:
    return {str(p): p.read_bytes() for p in sorted((cohort / subject).rglob("*")) if p.is_file()}


def test_there_are_sixty_kinds() -> None:
    assert len(FATAL) + len(REMARKS) + 2 >= 60  # two more below: the output's faults


@pytest.mark.parametrize("kind", FATAL)
def test_what_cannot_be_used_is_said_and_costs_nothing(
    kind: str, raw: Path, prepared: Path
) -> None:
    plant, words = FATAL[kind]
    plant(raw)
    before = _state(prepared, "sub-good"), _state(prepared, "sub-bad")
    with pytest.raises(DataError) as caught:
        prepare_cohort(raw, prepared, CONFIG, CHANNELS)
    message = str(caught.value)
    assert words in message
    assert "sub-bad" in message
    assert "Traceback" not in message
    assert (_state(prepared, "sub-good"), _state(prepared, "sub-bad")) == before


@pytest.mark.parametrize("kind", REMARKS)
def test_what_can_be_used_is_prepared_and_remarked(
    kind: str, raw: Path, prepared: Path, tmp_path: Path
) -> None:
    plant, words = REMARKS[kind]
    plant(raw)
    (raw / "sub-good").rename(tmp_path / "aside")
    (subject,) = prepare_cohort(raw, tmp_path / "cohort", CONFIG, CHANNELS)
    notes = (tmp_path / "cohort" / "quality.tsv").read_text()
    problems = (tmp_path / "cohort" / "problems.tsv").read_text()
    assert words in notes + problems
    lesion = read_volume(subject.lesion).data > 0
    known = read_volume(prepared / subject.lesion.relative_to(tmp_path / "cohort")).data > 0
    assert 2 * (lesion & known).sum() / (lesion.sum() + known.sum()) > 0.6


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EACCES], ids=["a full disk", "read-only"])
def test_a_disk_that_refuses_is_named(
    number: int, raw: Path, prepared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args: object) -> None:
        raise OSError(number, os.strerror(number), "somewhere/sub-bad")

    _data("T1w", lambda d: d * np.float32(1.01))(raw)
    before = _state(prepared, "sub-good")
    monkeypatch.setattr(bids_files, "write_volume", refuse)
    with pytest.raises(DataError, match=os.strerror(number)):
        prepare_cohort(raw, prepared, CONFIG, CHANNELS)
    assert _state(prepared, "sub-good") == before
