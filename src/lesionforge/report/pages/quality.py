"""The quality page of a prepared cohort: one row a subject, those to look at first on top."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from tqdm import tqdm

from lesionforge.data.cohort import read_channels, read_cohort
from lesionforge.data.subject import (
    Subject,
    read_brain,
    read_grid,
    read_images,
    read_lesion,
    read_tissues,
)
from lesionforge.preprocessing.quality import Flag, columns, find_flags
from lesionforge.provenance import read_json, read_tsv
from lesionforge.report.html import write_page
from lesionforge.report.pictures import axial, cut, lesion_slice, middle
from lesionforge.report.strips import css_colours, join, outlined

MAX_PICTURES = 300
"""The worst are drawn; more would make a page that no browser opens gladly."""


@dataclass(frozen=True)
class Entry:
    """One row: the subject, its flags worst first, its figures, its picture if it is drawn.

    `changed` are its drawn lesions that the study grid did not keep apart or at all, in words.
    """

    subject: Subject
    flags: tuple[Flag, ...]
    figures: dict[str, Any]
    picture: str | None
    changed: tuple[str, ...]

    @property
    def severity(self) -> int:
        """Of the worst flag; 0 without one."""
        return max((flag.severity for flag in self.flags), default=0)


def write_quality_page(cohort: Path) -> Path:
    """Write `qc.html` of a prepared cohort.

    Each subject's row shows the first channel with brain and lesion, then with the borders of grey
    and white matter, the others with the same borders (they must fit), and coronal slices of all
    with the white matter's border (of the worst 300); `problems.tsv` gives the subjects that
    are not there.

    Args:
        cohort: folder with `participants.tsv` and `quality.tsv`.

    Returns:
        The page's path.
    """
    table = read_tsv(cohort / "quality.tsv", participant_id=str)
    figures = {str(row["participant_id"]): row for row in table.to_dict("records")}
    flags: dict[str, list[Flag]] = {name: [] for name in figures}
    channels = read_channels(cohort)
    for flag in find_flags(table, channels):
        flags[flag.participant_id].append(flag)
    lesions = _changed_lesions(cohort)
    subjects = sorted(read_cohort(cohort), key=lambda s: _urgency(flags[s.id], s.id))
    drawn = {
        subject.id: plot_strip(subject)
        for subject in tqdm(subjects[:MAX_PICTURES], desc="draw quality page", unit="subject")
    }
    entries = [
        Entry(
            subject,
            tuple(flags[subject.id]),
            {c: shown(figures[subject.id].get(c)) for c in columns(channels) if c != "notes"},
            drawn.get(subject.id),
            tuple(map(_fate, lesions[lesions["participant_id"] == subject.id].to_dict("records"))),
        )
        for subject in subjects
    ]
    confounding = cohort / "confounding.json"
    missing = read_tsv(cohort / "problems.tsv", participant_id=str).to_dict("records")
    return write_page(
        cohort / "qc.html",
        "qc.html",
        entries=entries,
        unlabelled=sum(not subject.has_label for subject in subjects),
        pictures=MAX_PICTURES,
        missing=[row for row in missing if row["fatal"]],
        confounding=read_json(confounding) if confounding.exists() else None,
        colours=css_colours("brain", "grey matter", "white matter", "lesion"),
    )


def _changed_lesions(cohort: Path) -> pd.DataFrame:
    """Return the rows of `lesions.tsv` whose fate is not `kept`."""
    table = read_tsv(cohort / "lesions.tsv", participant_id=str, fate=str)
    return table[table["fate"] != "kept"]


def _fate(row: dict[Any, Any]) -> str:
    """Say what became of a drawn lesion."""
    place = ", ".join(f"{row[f'{axis}_mm']:.0f}" for axis in "xyz")
    return f"lesion {row['lesion']} at {place} mm (MNI), {row['raw_mm3']:.0f} mm3: {row['fate']}"


def _urgency(flags: list[Flag], name: str) -> tuple[int, int, str]:
    return -max((flag.severity for flag in flags), default=0), -len(flags), name


def shown(value: Any) -> str:
    """Return a figure as short text."""
    if value is None or (isinstance(value, float) and not np.isfinite(value)):
        return "n/a"
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def plot_strip(subject: Subject) -> str:
    """Draw the pictures of a subject side by side; a data URI."""
    images = read_images(subject)
    first = images[0]
    brain, tissues, steps = read_brain(subject), read_tissues(subject), read_grid(subject).steps
    lesion = read_lesion(subject) if subject.has_label else np.zeros_like(brain)
    grey, white = tissues[1] > 0.5, tissues[2] > 0.5
    place = middle(lesion if lesion.any() else brain)
    z = lesion_slice(lesion) if lesion.any() else place[2]

    def coronal(volume: np.ndarray) -> np.ndarray:
        return cut(volume, "coronal", place, steps)

    borders = [("grey matter", axial(grey, z)), ("white matter", axial(white, z))]
    panels = [
        (axial(first, z), [("brain", axial(brain, z)), ("lesion", axial(lesion, z))]),
        (axial(first, z), borders),
        *((axial(i, z), [*borders[1:], ("lesion", axial(lesion, z))]) for i in images[1:]),
        (coronal(first), [("brain", coronal(brain)), ("lesion", coronal(lesion))]),
        *((coronal(i), [("white matter", coronal(white))]) for i in images[1:]),
    ]
    return join([outlined(*panel, brain.shape[1]) for panel in panels])
