"""Verify that a synthetic set on disk is what was written."""

from pathlib import Path

from tqdm import tqdm

from lesionforge.data.cohort import expected_files, read_cohort, sidecar_path
from lesionforge.data.subject import Subject
from lesionforge.errors import DataError, named
from lesionforge.provenance import read_json, sha256


def verify_synthetic(root: Path) -> None:
    """Check every volume of a synthetic set against the checksum in its subject's sidecar.

    Raises:
        DataError: files are missing, damaged or exchanged; all are named (up to 10).
    """
    damaged: list[str] = []
    for subject in tqdm(read_cohort(root), desc="Checksums", disable=None, leave=False):
        damaged += [str(path) for path in damaged_files(subject)]
    if damaged:
        raise DataError(
            f"{root}: {len(damaged)} file(s) are not what was written: "
            f"{named(damaged)}. Synthesize the set again with the same "
            "command: damaged subjects are made anew, as they were."
        )


def read_synthetic(root: Path) -> list[Subject]:
    """Read a synthetic set after `verify_synthetic`.

    Raises:
        DataError: see there.
    """
    verify_synthetic(root)
    return read_cohort(root)


def damaged_files(subject: Subject) -> list[Path]:
    """List a subject's volumes that are missing or do not match their checksum."""
    known = read_json(sidecar_path(subject)).get("VolumeSHA256", {})
    return [
        path
        for path in expected_files(subject)
        if not path.exists() or known.get(path.name) != sha256(path)
    ]
