"""Brings drawn lesions to the study grid one by one, and says what became of each."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import ndimage

from lesionforge.data.volume import Grid, Volume, grid
from lesionforge.preprocessing.resample import antialias_sigma, index_matrix, resample

FATES = ("kept", "rescued", "merged", "too small", "outside the brain")
"""`rescued`: below one half in every voxel, so the fullest voxels were taken; `merged`: touches
another lesion now."""
ROWS = "lesion_rows"
"""Where a subject's log holds what `lesion_rows` returns."""
COLUMNS = ("lesion", "raw_mm3", "volume_mm3", "x_mm", "y_mm", "z_mm", "component", "fate")
"""Of `lesions.tsv`, after `participant_id`."""
SMALLEST_VOXELS = 0.25
"""A lesion of a smaller part of a voxel of the study grid is lost."""
_CUBE = np.ones((3, 3, 3))
_TIE = 1e-4


@dataclass(frozen=True, eq=False)
class Resampled:
    """Lesions on the study grid.

    Attributes:
        owner: (X, Y, Z) int32: number of the lesion from 1; 0 where there is none.
        volumes: (N,) volume of each lesion in voxels of the study grid, before resampling.
        centres_mm: (N, 3) centre of each in the study grid's world, before resampling.
        raw_mm3: (N,) volume of each as drawn.
        rescued: numbers of the lesions of which the fullest voxels were taken.
    """

    owner: np.ndarray
    volumes: np.ndarray
    centres_mm: np.ndarray
    raw_mm3: np.ndarray
    rescued: frozenset[int]


def resample_lesions(mask: Volume, target: Grid, to_source: np.ndarray) -> Resampled:
    """Bring the 26-connected components of a mask to a grid; each is one lesion.

    A voxel is lesion where half of it or more is covered; it belongs to the lesion that covers most
    of it. Where no lesion alone covers half of a voxel that two or more share, it is left out, so
    that neighbours stay apart. A lesion that keeps less than half of its volume takes the voxels
    that it covers most, as many as its volume asks for and at least one, unless its volume is below
    a quarter of a voxel; of a mask that would come out empty the largest lesion stays.

    Args:
        mask: what was drawn (above 0.5).
        target: the study grid.
        to_source: (4, 4) RAS matrix from the target's world to the mask's.
    """
    drawn = np.asarray(mask.data > 0.5)
    labels, count = ndimage.label(drawn, _CUBE)
    to_target = np.linalg.inv(index_matrix(mask.grid, target, to_source))
    sizes = np.bincount(labels.ravel(), minlength=count + 1)[1:]
    centres = np.array(ndimage.center_of_mass(drawn, labels, range(1, count + 1))).reshape(-1, 3)
    volumes = sizes * abs(float(np.linalg.det(to_target[:3, :3])))
    cover = [_cover(mask.grid, labels, n, target, to_source) for n in range(1, count + 1)]
    owner, best = np.zeros(target.shape, np.int32), np.zeros(target.shape, np.float32)
    for number, (where, share) in enumerate(cover, 1):
        more = share > best[where]
        owner[where][more], best[where][more] = number, share[more]
    total = resample(Volume(drawn, mask.grid), target, to_source)
    shared = (best < 0.5 - _TIE) & (total - best > _TIE)
    owner[(total < 0.5) | shared] = 0
    rescued = _rescue(owner, volumes, cover)
    world = target.world(centres @ to_target[:3, :3].T + to_target[:3, 3])
    return Resampled(owner, volumes, world, sizes * mask.grid.voxel_mm3, rescued)


Cover = tuple[tuple[slice, slice, slice], np.ndarray]


def _cover(
    source: Grid, labels: np.ndarray, number: int, target: Grid, to_source: np.ndarray
) -> Cover:
    """Return where one lesion may lie on the target grid, and how much of each voxel it covers."""
    index = index_matrix(source, target, to_source)
    pad = np.ceil(3 * antialias_sigma(index)).astype(int) + 2
    found = ndimage.find_objects(labels, number)[number - 1]
    start = np.array([s.start for s in found]) - pad
    shape = np.array([s.stop - s.start for s in found]) + 2 * pad
    inner = [(max(a, 0), min(a + n, size)) for a, n, size in zip(start, shape, labels.shape)]  # noqa: B905
    data = np.zeros(shape, dtype=np.float32)
    data[tuple(slice(a - s, b - s) for (a, b), s in zip(inner, start, strict=True))] = (
        labels[tuple(slice(a, b) for a, b in inner)] == number
    )
    corners = start + np.array(list(np.ndindex(2, 2, 2))) * (shape - 1)
    back = np.linalg.inv(index)
    reached = corners @ back[:3, :3].T + back[:3, 3]
    low = np.clip(np.floor(reached.min(axis=0)).astype(int), 0, target.shape)
    high = np.clip(np.ceil(reached.max(axis=0)).astype(int) + 1, low, target.shape)
    where = (slice(low[0], high[0]), slice(low[1], high[1]), slice(low[2], high[2]))
    if (high == low).any():
        return where, np.zeros(high - low, dtype=np.float32)
    piece = Volume(data, grid(data.shape, _moved(source, start)))
    return where, resample(piece, grid(tuple(high - low), _moved(target, low)), to_source)


def _moved(area: Grid, start: np.ndarray) -> np.ndarray:
    """Return the affine of a part of a grid that begins at index `start`."""
    affine = area.matrix
    affine[:3, 3] = area.world(start)
    return affine


def _rescue(owner: np.ndarray, volumes: np.ndarray, cover: list[Cover]) -> frozenset[int]:
    """Give lesions that would be lost, or lose half of themselves, their fullest voxels."""
    rescued = set()
    kept = np.bincount(owner.ravel(), minlength=len(volumes) + 1)[1:]
    for number in 1 + np.argsort(-volumes, kind="stable"):
        volume, (where, share) = volumes[number - 1], cover[number - 1]
        alone = number == 1 + int(volumes.argmax()) and not kept.any()
        if kept[number - 1] >= volume / 2 or (volume < SMALLEST_VOXELS and not alone):
            continue
        free = np.isin(owner[where], (0, number)) & (share > 0)
        places = np.argwhere(free)[np.argsort(-share[free], kind="stable")]
        wanted = places[: max(1, round(float(volume)))]
        owner[where][tuple(wanted.T)] = number
        rescued.add(int(number))
    return frozenset(rescued)


def lesion_rows(found: Resampled, brain: np.ndarray, area: Grid) -> list[dict[str, Any]]:
    """Say what became of each drawn lesion once the mask is cut to the brain.

    Args:
        found: the lesions on the study grid.
        brain: (X, Y, Z) bool.
        area: the study grid.

    Returns:
        One row a drawn lesion: `lesion` (number from 1), `raw_mm3` (as drawn), `volume_mm3` (on the
        study grid, in MNI space), `x_mm`, `y_mm`, `z_mm` (centre in MNI space, RAS), `component`
        (number in the prepared mask, None where it is lost) and `fate` (see `FATES`).
    """
    owner = np.where(brain, found.owner, 0)
    components, _ = ndimage.label(owner > 0, _CUBE)
    before = np.bincount(found.owner.ravel(), minlength=len(found.volumes) + 1)
    own = [np.unique(components[owner == n]) for n in range(1, len(found.volumes) + 1)]
    holders = np.bincount(np.concatenate([*own, np.zeros(0, int)]).astype(int))
    rows = []
    for number, parts in enumerate(own, 1):
        fate = "rescued" if number in found.rescued else "kept"
        if len(parts) == 0:
            fate = "outside the brain" if before[number] else "too small"
        elif (holders[parts] > 1).any():
            fate = "merged"
        centre = found.centres_mm[number - 1]
        rows.append(
            {
                "lesion": number,
                "raw_mm3": float(found.raw_mm3[number - 1]),
                "volume_mm3": float((owner == number).sum()) * area.voxel_mm3,
                **{f"{axis}_mm": float(c) for axis, c in zip("xyz", centre, strict=True)},
                "component": int(parts[0]) if len(parts) else None,
                "fate": fate,
            }
        )
    return rows
