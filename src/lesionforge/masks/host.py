"""A host: the anatomy a lesion is placed in, with its cortex, regions and forbidden places."""

from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
from scipy import ndimage

from lesionforge.cohort.regions import LOBES, REGIONS, region_map, side_map
from lesionforge.cohort.subject import (
    Subject,
    read_brain,
    read_grid,
    read_lesion,
    read_tissues,
)
from lesionforge.volume import Grid

CLEARANCE_MM = 10.0  # a new lesion keeps this distance from an old one
JUNCTION_MM = 3.0  # white matter this close to the cortex belongs to the grey-white junction
VENTRICLE_REACH_MM = 6.0  # a host's own ventricles may exceed the template's by this
HEAL_MM = 4.0  # tissues this close to a lesion are not its own any more
MIRROR_SIGMA_VOXELS = 0.7  # the two sides agree no better
# Grey matter this close to the template's ventricles or deep nuclei is their border, not cortex.
VENTRICLE_RIM_MM = 4.0
NUCLEUS_RIM_MM = 3.0
CLOSED = ("background", "ventricles", "brainstem", "cerebellum")
CSF_CLOSED = 0.95


@dataclass(frozen=True, eq=False)
class Host:
    """The anatomy of one subject on the study grid.

    Attributes:
        id: subject id.
        tissues: (3, X, Y, Z) probabilities of CSF, GM, WM.
        brain: (X, Y, Z) bool.
        grid: their grid, in MNI space.
        forbidden: (X, Y, Z) bool where no lesion may grow (old lesions with their surroundings).
    """

    id: str
    tissues: np.ndarray
    brain: np.ndarray
    grid: Grid
    forbidden: np.ndarray

    @cached_property
    def regions(self) -> np.ndarray:
        """Indices into `REGIONS`, (X, Y, Z) uint8; brain beyond the template takes the nearest."""
        return np.where(self.brain, _filled_regions(self.grid), 0).astype(np.uint8)

    @cached_property
    def sides(self) -> np.ndarray:
        """Side of each voxel, (X, Y, Z) int8: -1 left, +1 right."""
        return side_map(self.grid)

    @cached_property
    def open(self) -> np.ndarray:
        """Where a lesion may be, (X, Y, Z) bool: brain without `CLOSED` regions, CSF, forbidden."""
        reach = _distance(~self._in("ventricles"), self.grid)
        csf = self.tissues[0]
        closed = self._in(*CLOSED) | self.forbidden | (csf > CSF_CLOSED)
        return self.brain & ~closed & ~((csf > 0.5) & (reach <= VENTRICLE_REACH_MM))

    @cached_property
    def cortex(self) -> np.ndarray:
        """Voxels that are mostly cortical grey matter, (X, Y, Z) bool."""
        csf, grey, white = self.tissues
        rim = _distance(~self._in("ventricles"), self.grid) <= VENTRICLE_RIM_MM
        rim |= _distance(~self._in("deep-grey"), self.grid) <= NUCLEUS_RIM_MM
        outer = self._in("insula") | (self._in(*LOBES) & ~rim)
        return self.brain & outer & (grey > white) & (grey >= csf)

    @cached_property
    def depth_mm(self) -> np.ndarray:
        """Signed distance to the grey-white junction, (X, Y, Z) float32 mm.

        Negative in the cortex and outside it, positive in white matter and all that lies deeper.
        """
        csf, _, white = self.tissues
        deep = self.brain & ~self.cortex & ((white >= csf) | self._in("deep-grey", "ventricles"))
        half = min(self.grid.voxel_mm) / 2
        inwards = _distance(~self.cortex, self.grid) - half
        outwards = _distance(~deep, self.grid) - half
        return np.where(deep, inwards, -outwards).astype(np.float32)

    @cached_property
    def ribbon(self) -> np.ndarray:
        """Cortex and its junction, (X, Y, Z) bool: where a `ribbon` lesion belongs."""
        reach = max(JUNCTION_MM, 0.75 * max(self.grid.voxel_mm))
        junction = (self.depth_mm > 0) & (self.depth_mm <= reach) & self._in(*LOBES)
        return (self.cortex | junction) & self.brain

    def _in(self, *names: str) -> np.ndarray:
        return np.isin(self.regions, [REGIONS.index(name) for name in names])


@lru_cache(maxsize=2)
def _filled_regions(grid: Grid) -> np.ndarray:
    """Spread the regions of a grid over its background; computed once a grid, read-only."""
    regions = region_map(grid)
    nearest = ndimage.distance_transform_edt(
        regions == 0, sampling=grid.voxel_mm, return_distances=False, return_indices=True
    )
    filled = regions[tuple(nearest)]
    filled.setflags(write=False)
    return filled


def _distance(outside: np.ndarray, grid: Grid) -> np.ndarray:
    """Distance to the nearest voxel that is not `outside`; infinite distances become large."""
    if outside.all():
        return np.full(outside.shape, 1e3)
    return ndimage.distance_transform_edt(outside, sampling=grid.voxel_mm)


def read_host(subject: Subject) -> Host:
    """Read a prepared subject as a host: its healthy anatomy; old lesions are forbidden.

    In and around a lesion the tissue maps are `mirrored_tissues`: a lesion distorts its own
    segmentation (its white matter looks grey), which would put it deep inside "cortex".
    """
    grid, lesion, tissues = read_grid(subject), read_lesion(subject), read_tissues(subject)
    if not lesion.any():
        return Host(subject.id, tissues, read_brain(subject), grid, lesion)
    distance = _distance(~lesion, grid)
    healthy = mirrored_tissues(tissues, distance, grid)
    return Host(subject.id, healthy, read_brain(subject), grid, distance <= CLEARANCE_MM)


def mirrored_tissues(tissues: np.ndarray, distance_mm: np.ndarray, grid: Grid) -> np.ndarray:
    """Share out grey and white matter in and around a lesion as on the other side of the brain.

    CSF stays: a lesion blurs the grey-white junction, not the surface, and the other side's sulci
    are not where this side's are.

    Args:
        tissues: (3, X, Y, Z) probabilities.
        distance_mm: (X, Y, Z) distance to the lesion. Shares are replaced up to `HEAL_MM`, then
            fade back over as much again; where the other side has a lesion too or no brain, they
            stay.
        grid: in MNI space: x = 0 is the midline.

    Returns:
        (3, X, Y, Z) float32.
    """
    x, y, z = np.argwhere(distance_mm < 2 * HEAL_MM).T
    points = grid.world(np.stack([x, y, z], axis=-1)) * [-1, 1, 1]
    across = np.moveaxis(grid.index(points), -1, 0)
    smooth = [ndimage.gaussian_filter(t, MIRROR_SIGMA_VOXELS) for t in tissues[1:]]
    grey, white = (ndimage.map_coordinates(t, across, order=1) for t in smooth)
    clear = ndimage.map_coordinates(distance_mm, across, order=1, cval=0.0) > HEAL_MM
    share = np.clip(2 - distance_mm[x, y, z] / HEAL_MM, 0, 1) * (clear & (grey + white > 0.2))
    matter = tissues[1, x, y, z] + tissues[2, x, y, z]
    healed = tissues.astype(np.float32)
    for channel, part in ((1, grey), (2, white)):
        other = matter * part / np.maximum(grey + white, 1e-6)
        healed[channel, x, y, z] = share * other + (1 - share) * tissues[channel, x, y, z]
    return healed
