"""Remarks on what may identify a person: a face, names and dates in headers and sidecars."""

import json
import re
from pathlib import Path

import nibabel as nib
import numpy as np

from lesionforge.data.volume import Volume, grid
from lesionforge.preprocessing.naming import stem
from lesionforge.preprocessing.problems import Problem
from lesionforge.preprocessing.resample import resample

FACE_MM = ((-35.0, 35.0), (72.0, 104.0), (-62.0, -26.0))
"""Box in MNI space in front of and below the frontal lobes: eyes and nose."""
FACE_SHARE = 0.3
"""Share of that box that tissue fills in a head whose face was not taken away."""
FIELDS = ("PatientName", "PatientID", "PatientBirthDate", "PatientAddress", "OtherPatientIDs",
          "ReferringPhysicianName", "PerformingPhysicianName", "OperatorsName", "AccessionNumber",
          "AcquisitionDate", "AcquisitionDateTime", "StudyDate", "SeriesDate", "ContentDate",
          "InstitutionAddress", "StudyInstanceUID", "SeriesInstanceUID")  # fmt: skip
"""DICOM fields that a sidecar should not hold when data are shared."""
REMEDY = "Take it out before you share the data; nothing of it is copied into the cohort."
_DICOM = 2
_TELLING = re.compile(r"\^|\d{4}-\d\d-\d\d|(?<!\d)(19|20)\d{6}(?!\d)")


def check_sidecar(subject: str, image: Path) -> list[Problem]:
    """Remark on fields of an image's sidecar that may identify a person."""
    sidecar = image.with_name(stem(image) + ".json")
    try:
        known = json.loads(sidecar.read_text("utf-8-sig"), strict=False)
    except (OSError, ValueError):
        return []
    named = [key for key in FIELDS if isinstance(known, dict) and known.get(key)]
    what = f"holds {', '.join(named)}"
    return [Problem(subject, str(sidecar), what, REMEDY, False)] if named else []


def telling_fields(header: nib.Nifti1Header) -> list[str]:
    """Name the fields of a NIfTI header that hold names, dates or a copy of the DICOM header."""
    texts = {key: header[key].item().decode("latin-1") for key in ("descrip", "db_name")}
    telling = [key for key, text in texts.items() if _TELLING.search(text)]
    dicom = any(extension.get_code() == _DICOM for extension in header.extensions)
    return [*telling, "DICOM extension"] if dicom else telling


def shows_face(image: Volume, brain_median: float, from_mni: np.ndarray) -> bool:
    """Tell whether a whole head has tissue where eyes and nose are.

    Args:
        image: a head on its own grid, not stripped.
        brain_median: median intensity of its brain.
        from_mni: (4, 4) RAS matrix from MNI to the image's world.
    """
    low, high = np.array(FACE_MM).T
    affine = np.diag([4.0, 4.0, 4.0, 1.0])
    affine[:3, 3] = low
    box = grid(tuple(np.ceil((high - low) / 4).astype(int)), affine)
    return bool((resample(image, box, from_mni) > 0.25 * brain_median).mean() > FACE_SHARE)
