"""A real subject for synthesis: images, healed tissues, lesion; mirrored or bent as drawn."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from lesionforge.data.subject import (
    Subject,
    read_brain,
    read_grid,
    read_images,
    read_lesion,
    read_tissues,
)
from lesionforge.data.volume import Grid
from lesionforge.lesions.blending import feather_weight
from lesionforge.lesions.host import Host, keep_clear
from lesionforge.lesions.inpainting import check_symmetric, inpaint_tissues
from lesionforge.synthesis.warp import WarpSpec, warp_images, warp_tissues, warp_weight

CACHED = 4
ILL_MM = 10.0  # beyond this distance from its mask nothing of a real lesion shows


@dataclass(frozen=True, eq=False)
class Anatomy:
    """The volumes of one real subject, as they are or mirrored or bent.

    Attributes:
        id: of the real subject.
        channels: BIDS suffix of each image.
        images: (C, X, Y, Z); None where unknown.
        tissues: (3, X, Y, Z) probabilities as segmented.
        inpainted: (3, X, Y, Z) probabilities with a healthy estimate at the lesion.
        lesion: (X, Y, Z) bool, the real lesion; empty for controls and once bent.
        brain: (X, Y, Z) bool.
        grid: their grid, symmetric in x.
        ill: (X, Y, Z) float32 in [0, 1], once bent: how far the images show a real lesion, which
            `lesion` no longer names; None unless bent.
    """

    id: str
    channels: tuple[str, ...]
    images: np.ndarray | None
    tissues: np.ndarray
    inpainted: np.ndarray
    lesion: np.ndarray
    brain: np.ndarray
    grid: Grid
    ill: np.ndarray | None = None

    def as_host(self) -> Host:
        """Return the place for a new lesion: the real one and 10 mm around it are forbidden."""
        forbidden = keep_clear(self.lesion, self.grid)
        return Host(self.id, self.inpainted, self.brain, self.grid, forbidden)

    def estimated(self, lesion: np.ndarray) -> np.ndarray:
        """Return tissues (3, X, Y, Z) as they are known of a patient who has this lesion.

        Whoever measures a new lesion like a real one measures it by these.
        """
        return inpaint_tissues(self.inpainted, lesion, self.grid)


def read_anatomy(subject: Subject) -> Anatomy:
    """Read a prepared subject and heal its tissues.

    Raises:
        GeometryError: the grid is not symmetric in x.
    """
    grid = read_grid(subject)
    check_symmetric(grid)
    tissues, lesion, brain = read_tissues(subject), read_lesion(subject), read_brain(subject)
    inpainted = inpaint_tissues(tissues, lesion, grid)
    images = read_images(subject)
    return Anatomy(subject.id, subject.channels, images, tissues, inpainted, lesion, brain, grid)


def anatomy_reader(subjects: Iterable[Subject]) -> Callable[[str], Anatomy]:
    """Return what reads the anatomy of a subject by its id, and keeps the last few."""
    by_id = {s.id: s for s in subjects}

    @lru_cache(maxsize=CACHED)
    def read(name: str) -> Anatomy:
        return read_anatomy(by_id[name])

    return read


def bend_anatomy(anatomy: Anatomy, spec: WarpSpec) -> Anatomy:
    """Apply a drawn deformation.

    With amplitude 0 everything is kept or mirrored, exactly. Otherwise the healed tissues are bent
    and stand for the segmented ones too; images are bent as they are, and `ill` says where a real
    lesion shows in them.
    """
    if spec.amplitude_mm > 0:
        voxel_mm, images = anatomy.grid.voxel_mm, anatomy.images
        inpainted = warp_tissues(anatomy.inpainted, spec, voxel_mm)
        brain = inpainted.sum(0) > 0.5
        if images is not None:
            images = warp_images(images, anatomy.brain, spec, voxel_mm) * brain
        reach = feather_weight(anatomy.lesion, ILL_MM, voxel_mm, whole_mm=ILL_MM / 2)
        ill, nothing = warp_weight(reach, spec, voxel_mm), np.zeros_like(brain)
        return replace(
            anatomy,
            images=images,
            tissues=inpainted,
            inpainted=inpainted,
            lesion=nothing,
            brain=brain,
            ill=ill,
        )
    if not spec.flip:
        return anatomy
    return replace(
        anatomy,
        images=None if anatomy.images is None else _mirror(anatomy.images),
        tissues=_mirror(anatomy.tissues),
        inpainted=_mirror(anatomy.inpainted),
        lesion=_mirror(anatomy.lesion),
        brain=_mirror(anatomy.brain),
    )


def _mirror(data: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(np.flip(data, axis=data.ndim - 3))
