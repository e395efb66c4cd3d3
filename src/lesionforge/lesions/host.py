"""A host: the anatomy a lesion is placed in, with its cortex, regions and forbidden places."""

from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
from scipy import ndimage

from lesionforge.data.subject import Subject, read_brain, read_grid, read_lesion, read_tissues
from lesionforge.data.volume import Grid
from lesionforge.lesions.inpainting import inpaint_tissues
from lesionforge.preprocessing.regions import LOBES, REGIONS, region_map, side_map

CLEARANCE_MM = 10.0  # a new lesion keeps this distance from an old one
JUNCTION_MM = 3.0  # white matter this close to the cortex belongs to the grey-white junction
VENTRICLE_REACH_MM = 6.0  # a host's own ventricles may exceed the template's by this
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


def keep_clear(lesion: np.ndarray, grid: Grid) -> np.ndarray:
    """Return where a lesion (X, Y, Z) bool leaves no room for another, (X, Y, Z) bool."""
    return np.asarray(_distance(~lesion, grid) <= CLEARANCE_MM)


def read_host(subject: Subject) -> Host:
    """Read a prepared subject as a host: its healthy anatomy; old lesions are forbidden."""
    grid, lesion = read_grid(subject), read_lesion(subject)
    healthy = inpaint_tissues(read_tissues(subject), lesion, grid)
    return Host(subject.id, healthy, read_brain(subject), grid, keep_clear(lesion, grid))
