"""What the name of a file says: BIDS entities, sessions, lesion masks and who drew them."""

import re
from collections.abc import Iterator
from pathlib import Path

from lesionforge.data.labels import ORIGINAL
from lesionforge.provenance import is_hidden

LESION_WORDS = ("lesion", "roi", "tumor", "tumour", "fcd", "wmh", "infarct", "stroke", "glioma")
"""In `label-` or `desc-` of a mask: what is outlined is a lesion."""
MASK_WORDS = (*LESION_WORDS, "mask", "msk", "seg", "label")
"""In the name of a file that may be a mask, whatever it is called."""
ANATOMY = ("brain", "head", "skull", "face", "eye", "orbit", "csf", "gm", "wm", "ventric", "cortex",
           "hippoc", "thalam", "cerebell", "stem", "nucle", "hemi")  # fmt: skip
"""In `desc-` of a region of interest: what is outlined is no lesion, and `desc` names no reader."""
NIFTI = (".nii", ".nii.gz")
READER = "[A-Za-z0-9]+"


def stem(path: Path) -> str:
    """Return a NIfTI file's name without `.nii` or `.nii.gz`."""
    return path.name.removesuffix(".gz").removesuffix(".nii")


def entity(path: Path, name: str) -> str | None:
    """Return the value of a BIDS entity in a file's name (`iso08` of `acq` in `_acq-iso08_`)."""
    parts = (part.partition("-") for part in stem(path).split("_"))
    return next((value for key, dash, value in parts if dash and key == name), None)


def scan_name(path: Path) -> str:
    """Return whose image a file is: participant and session, else its name without the suffix.

    Entities such as `acq` and `run` tell images of one head apart, not heads.
    """
    subject, session = entity(path, "sub"), entity(path, "ses")
    if subject is None:
        return stem(path).rpartition("_")[0]
    return f"sub-{subject}" + (f"_ses-{session}" if session else "")


def nifti_files(folder: Path) -> Iterator[Path]:
    """List a folder's NIfTI files, sorted: no hidden ones, nothing in `derivatives`."""
    for path in sorted(folder.rglob("*")):
        derived = "derivatives" in path.relative_to(folder).parts
        if not derived and not is_hidden(path, folder) and path.name.endswith(NIFTI):
            yield path


def reader_of(mask: Path) -> str | None:
    """Return the reader whom a mask's `desc` names; None without one, or where it says lesion."""
    name = entity(mask, "desc")
    return None if name is None or any(w in name.lower() for w in LESION_WORDS) else name


def is_reader(name: str | None) -> bool:
    """Tell whether a reader's name can name a label set."""
    return bool(name and re.fullmatch(READER, name) and name != ORIGINAL)


def is_lesion(path: Path) -> bool:
    """Tell whether a name is that of a lesion mask.

    `*_mask` or `*_dseg` with a `label-` (or `desc-`) that names a lesion, or `*_roi` unless its
    `label-` or `desc-` names something else.
    """
    name = stem(path).lower()
    label, desc = ((entity(path, key) or "").lower() for key in ("label", "desc"))
    lesion = any(word in label or word in desc for word in LESION_WORDS)
    if name.endswith("_roi"):
        other = label or any(desc.startswith(word) for word in ANATOMY)
        return lesion or not other
    return name.endswith(("_mask", "_dseg")) and lesion


def may_be_mask(path: Path) -> bool:
    """Tell whether a file may be somebody's lesion mask under another name."""
    name = stem(path).lower()
    return any(word in name for word in MASK_WORDS) and "brain" not in name
