"""Something outlined on a subject: a lesion, or a finding that looks like one and is none."""

from dataclasses import dataclass

import numpy as np

from lesionforge.cohort.subject import (
    Subject,
    read_brain,
    read_grid,
    read_lesion,
    read_tissues,
)
from lesionforge.masks.healing import heal_tissues
from lesionforge.masks.host import Host


@dataclass(frozen=True, eq=False)
class Outline:
    """What somebody or something has drawn.

    Attributes:
        subject: on whom.
        voxels: (N, 3) indices of the voxels inside.
    """

    subject: Subject
    voxels: np.ndarray

    def mask(self, shape: tuple[int, ...]) -> np.ndarray:
        """Return the outline as (X, Y, Z) bool."""
        mask = np.zeros(shape, dtype=bool)
        mask[tuple(self.voxels.T)] = True
        return mask


def lesion_outline(subject: Subject) -> Outline:
    """Read what the experts drew on a patient; no voxel on a control."""
    return Outline(subject, np.argwhere(read_lesion(subject)))


def read_outlined(outline: Outline) -> tuple[Host, np.ndarray]:
    """Read the anatomy as it would be without what is outlined, and the outline in the brain.

    Returns:
        A host with nothing forbidden, and (X, Y, Z) bool.
    """
    subject = outline.subject
    brain, grid = read_brain(subject), read_grid(subject)
    mask = outline.mask(brain.shape) & brain
    healthy = heal_tissues(read_tissues(subject), read_lesion(subject) | mask, grid)
    return Host(subject.id, healthy, brain, grid, np.zeros_like(mask)), mask
