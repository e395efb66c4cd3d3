"""A prepared subject, real or synthetic: its volumes on disk and its source subjects."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np

from lesionforge.data.volume import Grid, Volume, read_volume
from lesionforge.errors import DataError, GeometryError

SPACE = "MNI152NLin2009aSym"
TISSUES = ("CSF", "GM", "WM")
Group = Literal["patient", "control", "unlabelled"]
UNLABELLED: Group = "unlabelled"
"""The group of people who are known to be patients and have no lesion mask yet."""


@dataclass(frozen=True)
class Subject:
    """One subject of a prepared cohort on the study grid.

    Attributes:
        id: BIDS participant label with its prefix, `sub-0001`.
        group: `patient` (has a lesion mask), `control`, or `unlabelled` (a patient without a mask
            as yet, who is neither trained nor tested on).
        site: scanner or hospital, `n/a` where unknown.
        root: the cohort's folder.
        synthetic: whether LesionForge made it.
        sources: ids of every real subject that this subject goes back to; a real subject has
            itself.
        lesion_file: mask below `root` that counts instead of the one preparation found; see
            `lesionforge.data.labels`.
        participant: who was scanned; several scans (sessions) may be of one. `id` where empty.
        dataset: name of the data set that it comes from, `n/a` where there is but one.
        channels: BIDS suffixes of the images (`T1w`, `FLAIR`, ...), in the study's order; the first
            is the reference.
    """

    id: str
    group: Group
    site: str
    root: Path
    synthetic: bool = False
    sources: tuple[str, ...] = ()
    lesion_file: str = ""
    participant: str = ""
    dataset: str = "n/a"
    channels: tuple[str, ...] = field(kw_only=True)

    def path(self, suffix: str) -> Path:
        """Return the NIfTI file of a BIDS entity-suffix such as `T1w` or `desc-brain_mask`."""
        return self.root / self.id / "anat" / f"{self.id}_space-{SPACE}_{suffix}.nii.gz"

    @property
    def has_label(self) -> bool:
        """Whether it is known where the subject's lesion is, or that there is none."""
        return self.group != UNLABELLED

    @property
    def images(self) -> list[Path]:
        """One volume a channel, in [0, 1]; see `read_images`."""
        return [self.path(channel) for channel in self.channels]

    @property
    def lesion(self) -> Path:
        """Binary lesion mask (patients only)."""
        file = self.lesion_file
        return self.root / file if file else self.path("label-lesion_mask")

    @property
    def person(self) -> str:
        """Who was scanned."""
        return self.participant or self.id

    @property
    def ignore(self) -> Path:
        """Binary mask of what counts neither as lesion nor as healthy; there where any is drawn."""
        return self.path("label-ignore_mask")

    @property
    def brain(self) -> Path:
        """Binary brain mask."""
        return self.path("desc-brain_mask")

    def tissue(self, name: str) -> Path:
        """Probability map of `CSF`, `GM` or `WM`."""
        return self.path(f"label-{name}_probseg")


def reader_suffix(name: str) -> str:
    """Return the BIDS suffix of the lesion masks of a reader or label set."""
    return f"label-lesion_desc-{name}_mask"


def read_grid(subject: Subject) -> Grid:
    """Return the grid of a subject's volumes."""
    return read_volume(subject.brain).grid


def read_images(subject: Subject) -> np.ndarray:
    """Read the images as (C, X, Y, Z) float32, in the order of `subject.channels`.

    Skull-stripped and scaled: 0 is background, 0.5 the brain's median, 0.1 one robust standard
    deviation, clipped to [0, 1].
    """
    return np.stack([v.data for v in _same_grid(*subject.images)])


def read_lesion(subject: Subject) -> np.ndarray:
    """Read the lesion mask as (X, Y, Z) bool; all False for a control.

    Raises:
        DataError: the subject is unlabelled; nothing may take it for healthy.
    """
    if not subject.has_label:
        raise DataError(
            f"{subject.id} is unlabelled: it has no lesion mask yet. Label it (`lesionforge "
            "decide`, then `apply-decisions`) and use that label set, or leave it out."
        )
    if subject.group == "control":
        return np.zeros(read_volume(subject.brain).data.shape, dtype=bool)
    return read_volume(subject.lesion).data > 0.5


def read_ignore(subject: Subject) -> np.ndarray:
    """Read what is to be ignored as (X, Y, Z) bool; all False where nothing is."""
    if not subject.ignore.exists():
        return np.zeros(read_volume(subject.brain).data.shape, dtype=bool)
    return read_volume(subject.ignore).data > 0.5


def read_brain(subject: Subject) -> np.ndarray:
    """Read the brain mask as (X, Y, Z) bool."""
    return read_volume(subject.brain).data > 0.5


def read_tissues(subject: Subject) -> np.ndarray:
    """Read the tissue probabilities as (3, X, Y, Z) float32, in the order of `TISSUES`.

    They sum to 1 inside the brain and to 0 outside.
    """
    return np.stack([v.data for v in _same_grid(*(subject.tissue(t) for t in TISSUES))])


def _same_grid(*paths: Path) -> list[Volume]:
    volumes = [read_volume(path) for path in paths]
    for path, volume in zip(paths[1:], volumes[1:], strict=True):
        if not volume.grid.matches(volumes[0].grid):
            raise GeometryError(
                f"{path} and {paths[0]} are on different grids. Prepare the cohort again."
            )
    return volumes
