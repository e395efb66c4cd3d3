"""Looks at the voxels of raw images and masks: intensities, lost slices, values of labels."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from scipy import ndimage

from lesionforge.data.volume import Volume, read_volume
from lesionforge.errors import DataError
from lesionforge.preprocessing.headers import read_header
from lesionforge.preprocessing.intensity import background
from lesionforge.preprocessing.problems import Problem
from lesionforge.preprocessing.raw import RawSubject

SATURATED = 0.01
"""Share of the voxels with signal that may hold the highest value."""
JUMPS = 1e-4
"""Share of neighbours that may jump over most of an integer type's range: more is an overflow."""
STRIPPED_ML = (500.0, 2300.0)
"""Volumes of the non-background part that a skull-stripped head may have; whole heads have more."""
_AGAIN = "Copy or convert it again."
Finding = tuple[str, str, bool]


def check_voxels(subject: RawSubject) -> list[Problem]:
    """Check the voxels of one subject whose headers are in order."""
    problems: list[Problem] = []
    masks = [] if subject.lesion is None else [subject.lesion]
    masks += [path for _, path in subject.readers]
    for path in [*subject.images.values(), *masks]:
        try:
            volume = read_volume(path)
        except DataError as error:
            problems.append(Problem(subject.id, str(path), str(error), _AGAIN))
            continue
        found = _mask(volume, subject) if path in masks else _image(volume, path)
        problems += [Problem(subject.id, str(path), *finding) for finding in found]
    return problems


def _image(volume: Volume, path: Path) -> Iterator[Finding]:
    """Yield what is wrong with an image."""
    bad = ~np.isfinite(volume.data)
    if bad.any():
        fatal = bool(bad.mean() > 0.5) and not _is_background(bad, volume)
        yield f"has {int(bad.sum())} NaN or infinite voxels", "They are read as 0.", fatal
    if bad.all():
        return
    if np.ptp(volume.data[~bad]) == 0:
        yield "is constant", _AGAIN, True
        return
    data = np.where(bad, 0, volume.data)
    if _overflows(data, read_header(path).kind):
        remedy = "Values ran over the end of their integer type: convert it again as float."
        yield "jumps from its highest to its lowest values between neighbours", remedy, True
    outside = background(data)
    signal = np.abs(data - (0 if outside is None else outside))
    inside = signal > 0.1 * np.quantile(signal, 0.99)
    share = float((data[inside] == data.max()).mean())
    if share > SATURATED:
        what = f"is saturated: {100 * share:.1f} % of the tissue holds the highest value"
        yield what, "Contrast is lost there; use the original if there is one.", False
    if data.min() < 0:
        yield f"has values down to {data.min():.3g}", "They are shifted above 0.", False
    for axis, place in blank_slices(signal):
        what = f"has a blank slice (number {place} along {'xyz'[axis]})"
        yield what, "Use a complete scan if there is one.", False
    if blank_part(signal):
        yield "has a blank quarter or half", "Use a complete scan if there is one.", False


def _is_background(bad: np.ndarray, volume: Volume) -> bool:
    """Tell whether NaN is what surrounds a stripped brain."""
    millilitres = (~bad).sum() * volume.grid.voxel_mm3 / 1000
    holes = ndimage.binary_fill_holes(~bad) & bad
    return bool(
        background(np.where(bad, 0.0, 1.0)) == 0
        and STRIPPED_ML[0] <= millilitres <= STRIPPED_ML[1]
        and holes.sum() < 0.01 * (~bad).sum()
    )


def _overflows(data: np.ndarray, kind: np.dtype) -> bool:
    """Tell whether many neighbours differ by most of an integer type's range."""
    if kind.kind not in "iu" or kind.itemsize > 2:
        return False
    width = 0.75 * 2.0 ** (8 * kind.itemsize)
    jumps = sum(int((np.abs(np.diff(data, axis=axis)) > width).sum()) for axis in range(3))
    return jumps > JUMPS * data.size


def blank_slices(signal: np.ndarray) -> list[tuple[int, int]]:
    """Find slices with a tenth of the signal of those beside them, or less.

    Args:
        signal: (X, Y, Z) distance from the background's value.

    Returns:
        Axis and index of each.
    """
    found = []
    for axis in range(3):
        mean = signal.mean(axis=tuple(a for a in range(3) if a != axis))
        strong = np.flatnonzero(mean > 0.1 * mean.max())
        for place in range(strong[0] + 1, strong[-1]):
            below, above = strong[strong < place][-1], strong[strong > place][0]
            if mean[place] < 0.1 * min(mean[below], mean[above]):
                found.append((axis, place))
    return found


def blank_part(signal: np.ndarray) -> bool:
    """Tell whether an eighth of the head's box has next to no signal where its mirror has."""
    inside = signal > 0.05 * np.quantile(signal, 0.99)
    box = ndimage.find_objects(inside.astype(np.uint8))[0]
    parts = np.empty((2, 2, 2))
    for place in np.ndindex(2, 2, 2):
        part = inside[box]
        for axis, side in enumerate(place):
            middle = part.shape[axis] // 2
            part = part.take(range(middle) if side == 0 else range(middle, part.shape[axis]), axis)
        parts[place] = part.mean()
    mirrored = parts[::-1]
    turned = parts[:, ::-1]
    return bool((parts < 0.2 * mirrored).any() or (parts < 0.1 * turned).any())


def _mask(volume: Volume, subject: RawSubject) -> Iterator[Finding]:
    """Yield what is wrong with a lesion mask."""
    values = np.unique(volume.data[np.isfinite(volume.data)])
    meant = [value for value, what in subject.labels.items() if what == "lesion"]
    if not (np.isin(values, meant) if subject.labels else values > 0.5).any():
        remedy = "Draw the lesion, or say in `group` that the subject is a control or unlabelled."
        yield "is an empty lesion mask of a patient", remedy, True
        return
    if subject.labels:
        strange = sorted(set(values.tolist()) - {0.0, *map(float, subject.labels)})
        if strange:
            shown = ", ".join(f"{value:g}" for value in strange[:5])
            yield f"holds {shown}, which `labels` does not name", "Name it there.", True
    elif len(values) > 2 or not set(values.tolist()) <= {0.0, float(values.max())}:
        what = f"is not binary: {len(values)} values from {values.min():g} to {values.max():g}"
        remedy = "All above 0.5 are taken as lesion; `cohort.labels` says if some are not."
        yield what, remedy, False
