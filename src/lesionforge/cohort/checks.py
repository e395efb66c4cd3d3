"""Looks a raw data set through before hours are spent on it, and reports every problem at once."""

from pathlib import Path

import numpy as np

from lesionforge.cohort.rawdata import Problem, RawSubject, read_raw
from lesionforge.errors import DataError
from lesionforge.volume import Volume, read_volume


def check_raw(bids: Path, exclude: tuple[str, ...] = ()) -> list[Problem]:
    """Check a BIDS-like folder: layout, tables, headers and voxels.

    Args:
        bids: the data set.
        exclude: ids that are left out on purpose.

    Returns:
        Every problem found, by subject; `fatal` ones stop a subject's preparation.
    """
    subjects, problems = read_raw(bids)
    for subject in subjects:
        if subject.id not in exclude:
            problems += check_subject(subject)
    return sorted((p for p in problems if p.subject not in exclude), key=lambda p: p.subject)


def check_subject(subject: RawSubject) -> list[Problem]:
    """Check the files of one subject."""
    problems = [*_check_image(subject, subject.t1w), *_check_image(subject, subject.flair)]
    if subject.lesion is not None:
        problems += _check_mask(subject, subject.lesion)
    return problems


def _read(subject: RawSubject, path: Path) -> Volume | Problem:
    try:
        return read_volume(path)
    except DataError as error:
        return Problem(subject.id, str(path), str(error), "Copy or convert it again.")


def _check_image(subject: RawSubject, path: Path) -> list[Problem]:
    volume = _read(subject, path)
    if isinstance(volume, Problem):
        return [volume]

    def problem(what: str, remedy: str, fatal: bool = True) -> Problem:
        return Problem(subject.id, str(path), what, remedy, fatal)

    found = []
    bad = ~np.isfinite(volume.data)
    if bad.any():
        found.append(
            problem(
                f"has {int(bad.sum())} NaN or infinite voxels",
                "They are read as 0.",
                fatal=bool(bad.mean() > 0.5),
            )
        )
    if not bad.all() and np.ptp(volume.data[~bad]) == 0:
        found.append(problem("is constant", "Copy or convert it again."))
    if min(volume.data.shape) < 8:
        found.append(problem(f"has only {volume.data.shape} voxels", "Use a full volume."))
    size = volume.grid.voxel_mm
    if not all(0.2 <= s <= 12 for s in size):
        found.append(
            problem(
                f"has voxels of {tuple(round(s, 3) for s in size)} mm",
                "Voxels of 0.2 to 12 mm are allowed: mend the header.",
            )
        )
    return found


def _check_mask(subject: RawSubject, path: Path) -> list[Problem]:
    volume = _read(subject, path)
    if isinstance(volume, Problem):
        return [volume]
    values = np.unique(volume.data[np.isfinite(volume.data)])
    if not (values > 0.5).any():
        return [
            Problem(
                subject.id,
                str(path),
                "is an empty lesion mask of a patient",
                "Draw the lesion, or set the subject's group to control and remove the mask.",
            )
        ]
    if len(values) > 2 or not set(values.tolist()) <= {0.0, float(values.max())}:
        return [
            Problem(
                subject.id,
                str(path),
                f"is not binary: {len(values)} values from {values.min():g} to {values.max():g}",
                "Values above 0.5 are taken as lesion.",
                fatal=False,
            )
        ]
    return []
