"""A real subject for synthesis: images, healed tissues, lesion; mirrored or bent as drawn."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from lesionforge.cohort.subject import (
    Subject,
    read_brain,
    read_grid,
    read_images,
    read_lesion,
    read_tissues,
)
from lesionforge.generator.warp import WarpSpec, warp_tissues
from lesionforge.masks.healing import check_symmetric, heal_tissues
from lesionforge.masks.host import Host, keep_clear
from lesionforge.volume import Grid

CACHED = 4


@dataclass(frozen=True, eq=False)
class Anatomy:
    """The volumes of one real subject, as they are or mirrored or bent.

    Attributes:
        id: of the real subject.
        images: (2, X, Y, Z) T1w and FLAIR; None once bent, since only tissues are bent.
        tissues: (3, X, Y, Z) probabilities as segmented.
        healed: (3, X, Y, Z) probabilities with a healthy estimate at the lesion.
        lesion: (X, Y, Z) bool, the real lesion; empty for controls and once bent.
        brain: (X, Y, Z) bool.
        grid: their grid, symmetric in x.
    """

    id: str
    images: np.ndarray | None
    tissues: np.ndarray
    healed: np.ndarray
    lesion: np.ndarray
    brain: np.ndarray
    grid: Grid

    def as_host(self) -> Host:
        """Return the place for a new lesion: the real one and 10 mm around it are forbidden."""
        forbidden = keep_clear(self.lesion, self.grid)
        return Host(self.id, self.healed, self.brain, self.grid, forbidden)

    def estimated(self, lesion: np.ndarray) -> np.ndarray:
        """Return tissues (3, X, Y, Z) as they are known of a patient who has this lesion.

        Whoever measures a new lesion like a real one measures it by these.
        """
        return heal_tissues(self.healed, lesion, self.grid)


def read_anatomy(subject: Subject) -> Anatomy:
    """Read a prepared subject and heal its tissues.

    Raises:
        GeometryError: the grid is not symmetric in x.
    """
    grid = read_grid(subject)
    check_symmetric(grid)
    tissues, lesion, brain = read_tissues(subject), read_lesion(subject), read_brain(subject)
    healed = heal_tissues(tissues, lesion, grid)
    return Anatomy(subject.id, read_images(subject), tissues, healed, lesion, brain, grid)


def anatomy_reader(subjects: Iterable[Subject]) -> Callable[[str], Anatomy]:
    """Return what reads the anatomy of a subject by its id, and keeps the last few."""
    by_id = {s.id: s for s in subjects}

    @lru_cache(maxsize=CACHED)
    def read(name: str) -> Anatomy:
        return read_anatomy(by_id[name])

    return read


def bend_anatomy(anatomy: Anatomy, spec: WarpSpec) -> Anatomy:
    """Apply a drawn deformation.

    With amplitude 0 everything is kept or mirrored, images included, exactly. Otherwise the healed
    tissues are bent and stand for the segmented ones too: no image and no real lesion remains.
    """
    if spec.amplitude_mm > 0:
        healed = warp_tissues(anatomy.healed, spec, anatomy.grid.voxel_mm)
        brain = healed.sum(0) > 0.5
        nothing = np.zeros_like(brain)
        return Anatomy(anatomy.id, None, healed, healed, nothing, brain, anatomy.grid)
    if not spec.flip:
        return anatomy
    return replace(
        anatomy,
        images=None if anatomy.images is None else _mirror(anatomy.images),
        tissues=_mirror(anatomy.tissues),
        healed=_mirror(anatomy.healed),
        lesion=_mirror(anatomy.lesion),
        brain=_mirror(anatomy.brain),
    )


def _mirror(data: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(np.flip(data, axis=data.ndim - 3))
