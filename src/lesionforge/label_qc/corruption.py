"""Plant label errors of known kinds at a known rate, for tests and studies."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import ndimage

from lesionforge.data.labels import Label
from lesionforge.data.subject import Subject, read_brain, read_grid, read_lesion, read_tissues
from lesionforge.errors import DataError
from lesionforge.label_qc.config import CorruptConfig, ErrorKind
from lesionforge.seeding import stream

OF_PATIENTS = ("missing", "shifted", "small", "large", "swapped")
TRIES = 400


@dataclass(frozen=True, eq=False)
class Region:
    """A labelled head without its images.

    Attributes:
        mask: (X, Y, Z) bool; all False where there is no lesion.
        brain: (X, Y, Z) bool.
        grey: (X, Y, Z) probability of grey matter.
        voxel_mm: voxel size along each axis.
    """

    mask: np.ndarray
    brain: np.ndarray
    grey: np.ndarray
    voxel_mm: tuple[float, float, float]


def read_region(subject: Subject) -> Region:
    """Read what errors are planted in."""
    tissues = read_tissues(subject)
    voxel_mm = read_grid(subject).voxel_mm
    return Region(read_lesion(subject), read_brain(subject), tissues[1], voxel_mm)


def corrupt_labels(
    subjects: Sequence[Subject], config: CorruptConfig, seed: int
) -> tuple[dict[str, Label], dict[str, ErrorKind]]:
    """Draw whose labels become wrong and how.

    Args:
        subjects: whose labels may become wrong.
        config: kinds and rate.
        seed: of the draw.

    Returns:
        Participant id to the wrong label, and to the kind of error.

    Raises:
        DataError: there are too few patients or controls for so many errors.
    """
    kinds = _deal(subjects, config, seed)
    patients = [s for s in subjects if s.group == "patient"]
    by_id = {s.id: s for s in subjects}
    swapped = [i for i, kind in kinds.items() if kind == "swapped"]
    partner = dict(zip(swapped, [*swapped[1:], *swapped[:1]], strict=True))
    labels = {}
    for name, kind in kinds.items():
        rng = stream(seed, "corrupt", name)
        region = read_region(by_id[name])
        if kind == "swapped":
            mask: np.ndarray | None = read_lesion(by_id[partner[name]])
        elif kind == "spurious":
            donor = read_region(patients[int(rng.integers(len(patients)))])
            mask = move_mask(donor, region, rng, config.shift_mm)
        else:
            mask = spoil(region, kind, rng, config.shift_mm)
        labels[name] = Label(mask, "synthetic", "corrupt_labels", f"planted error: {kind}")
    return labels, kinds


def _deal(subjects: Sequence[Subject], config: CorruptConfig, seed: int) -> dict[str, ErrorKind]:
    """Choose who gets which error; all kinds in equal parts."""
    rng = stream(seed, "corrupt")
    each = round(config.rate * len(subjects) / len(config.kinds))
    pools = {
        group: [str(i) for i in rng.permutation([s.id for s in subjects if s.group == group])]
        for group in ("patient", "control")
    }
    dealt: dict[str, ErrorKind] = {}
    for kind in config.kinds:
        pool = pools["patient" if kind in OF_PATIENTS else "control"]
        if len(pool) <= each or (kind == "swapped" and each == 1):
            raise DataError(
                f"There are too few subjects to plant {each} errors of kind `{kind}`. Lower `rate`."
            )
        dealt |= dict.fromkeys(pool[:each], kind)
        del pool[:each]
    return dealt


def spoil(
    region: Region, kind: ErrorKind, rng: np.random.Generator, shift_mm: tuple[float, float]
) -> np.ndarray | None:
    """Return the mask of `region` with an error; None for `missing`."""
    resize: dict[str, Callable[[], np.ndarray | None]] = {
        "missing": lambda: None,
        "shifted": lambda: move_mask(region, region, rng, shift_mm),
        "small": lambda: _resize(region, rng.uniform(0.2, 0.45)),
        "large": lambda: _resize(region, rng.uniform(2.2, 4.0)),
    }
    return resize[kind]()


def move_mask(
    donor: Region, host: Region, rng: np.random.Generator, shift_mm: tuple[float, float]
) -> np.ndarray:
    """Move a donor's mask to where a reader could have drawn it in a host, beside any lesion.

    The move ends in the host's brain, clear of its own mask by 5 mm, in a place with nearly as much
    grey matter. Within one head it is as long as `shift_mm` says; into another it may go anywhere.

    Raises:
        DataError: no such place was found.
    """
    shape = np.argwhere(donor.mask)
    middle = shape.mean(axis=0)
    share = float(donor.grey[donor.mask].mean())
    clear = np.ones(host.mask.shape, dtype=bool)
    if host.mask.any():
        away = ndimage.distance_transform_edt(~host.mask, sampling=host.voxel_mm)
        clear = away > 5.0
    goals = np.argwhere(host.brain & (host.grey > 0.5))
    best: tuple[float, np.ndarray] | None = None
    for goal in goals[rng.integers(len(goals), size=TRIES)]:
        offset = np.rint(goal - middle).astype(int)
        length = float(np.linalg.norm(offset * host.voxel_mm))
        if donor is host and not shift_mm[0] <= length <= shift_mm[1]:
            continue
        place = shape + offset
        if (place < 0).any() or (place >= host.mask.shape).any():
            continue
        where = tuple(place.T)
        if host.brain[where].mean() < 0.9 or not clear[where].all():
            continue
        lack = share - float(host.grey[where].mean())
        if best is None or lack < best[0]:
            best = (lack, place)
        if lack <= 0.1 * share:
            break
    if best is None:
        raise DataError("A mask finds no place to be moved to: is the brain mask right?")
    moved = np.zeros(host.mask.shape, dtype=bool)
    moved[tuple(best[1].T)] = True
    return moved & host.brain


def _resize(region: Region, factor: float) -> np.ndarray:
    """Shrink or grow a mask from its surface to `factor` times its volume, within the brain."""
    inside = ndimage.distance_transform_edt(region.mask, sampling=region.voxel_mm)
    outside = ndimage.distance_transform_edt(~region.mask, sampling=region.voxel_mm)
    depth = np.where(region.brain | region.mask, inside - outside, -np.inf)
    wanted = max(1, round(factor * int(region.mask.sum())))
    order = np.argsort(-depth, axis=None, kind="stable")[:wanted]
    resized = np.zeros(region.mask.size, dtype=bool)
    resized[order] = True
    return resized.reshape(region.mask.shape) & np.isfinite(depth)


def kinds_table(kinds: Mapping[str, ErrorKind]) -> pd.DataFrame:
    """Return the planted errors as a table: participant_id, kind."""
    return pd.DataFrame({"participant_id": list(kinds), "kind": list(kinds.values())})
