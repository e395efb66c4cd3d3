"""Pictures of subjects: where regimes disagree, and mask | real | synthetic side by side."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from lesionforge.data.subject import (
    Subject,
    read_brain,
    read_grid,
    read_images,
    read_lesion,
    read_tissues,
)
from lesionforge.data.volume import read_volume
from lesionforge.provenance import atomic
from lesionforge.report.runs import RunTables

TRUTH_COLOUR = "#38bdf8"
PREDICTION_COLOUR = "#fb923c"
LINE_WIDTHS = {TRUTH_COLOUR: 3.4, PREDICTION_COLOUR: 1.7}
TILE_INCHES = 2.0
DPI = 150
MARGIN_MM = 12.0


@dataclass(frozen=True)
class Tile:
    """One picture: its file and the words below it."""

    file: Path
    caption: str


@dataclass(frozen=True)
class Strip:
    """A row of pictures of one subject."""

    title: str
    tiles: tuple[Tile, ...]


def axial(volume: np.ndarray, z: int) -> np.ndarray:
    """Return slice `z` of (X, Y, Z) as a picture: anterior up, the subject's right on the left."""
    return volume[:, :, z].T[::-1, ::-1]


def cut(
    volume: np.ndarray,
    view: str,
    voxel: Sequence[int] | np.ndarray,
    steps: Sequence[float] = (1.0, 1.0, 1.0),
) -> np.ndarray:
    """Cut (X, Y, Z) at `voxel`: superior or anterior up; the subject's right, or front, left.

    Args:
        volume: what to cut.
        view: `axial`, `coronal` or `sagittal`.
        voxel: (x, y, z) that the plane goes through.
        steps: of the volume's grid; pixels are repeated so that thick slices look thick.
    """
    across = {"axial": 2, "coronal": 1, "sagittal": 0}[view]
    plane = volume.take(int(voxel[across]), axis=across)
    own = np.delete(steps, across)
    places = [
        np.minimum(np.arange(round(n * s)) / s, n - 1).astype(int)
        for n, s in zip(plane.shape, own, strict=True)
    ]
    return plane[np.ix_(*places)].T[::-1, ::-1]


def middle(mask: np.ndarray) -> tuple[int, int, int]:
    """Return the voxel in the middle of a mask (X, Y, Z), not empty."""
    x, y, z = (int(v) for v in np.argwhere(mask).mean(axis=0).round())
    return x, y, z


def lesion_slice(lesion: np.ndarray) -> int:
    """Return the axial slice with most lesion in it (the middle one without a lesion)."""
    area = lesion.sum(axis=(0, 1))
    return int(area.argmax()) if area.any() else lesion.shape[2] // 2


def write_tile(
    path: Path,
    picture: np.ndarray,
    outlines: Iterable[tuple[np.ndarray, str, float]] = (),
) -> None:
    """Write a slice (rows, columns) in [0, 1] in grey, with outlines of (array, colour, level).

    The truth's outline is broad and the prediction's narrow, so that both are seen where equal.
    """
    rows, columns = picture.shape
    figure = Figure(figsize=(TILE_INCHES, TILE_INCHES * rows / columns), facecolor="black")
    axis = figure.add_axes((0, 0, 1, 1))
    axis.imshow(picture, cmap="gray", vmin=0, vmax=1, interpolation="bicubic")
    for mask, colour, level in outlines:
        if (mask > level).any() and not (mask > level).all():
            values, width = mask.astype(float), LINE_WIDTHS[colour]
            axis.contour(values, levels=[level], colors=[colour], linewidths=width)
    axis.set_axis_off()
    with atomic(path) as part:
        figure.savefig(part, dpi=DPI, format="png", metadata={"Software": None})


def crop(brain: np.ndarray, voxel_mm: tuple[float, ...]) -> tuple[slice, slice]:
    """Return the (x, y) box of a brain (X, Y, Z) with a small margin."""
    found = np.argwhere(brain.any(axis=2))
    pad = [round(MARGIN_MM / size / 2) for size in voxel_mm[:2]]
    low, high = found.min(axis=0) - pad, found.max(axis=0) + pad + 1
    low, high = np.maximum(low, 0), np.minimum(high, brain.shape[:2])
    return slice(int(low[0]), int(high[0])), slice(int(low[1]), int(high[1]))


def compared(regimes: Sequence[str]) -> tuple[str, str]:
    """Return the two regimes that gains and losses are between: baseline and augmented, if there.

    Args:
        regimes: at least one, in the order of the report.
    """
    if {"baseline", "augmented"} <= set(regimes):
        return "baseline", "augmented"
    return regimes[0], regimes[min(1, len(regimes) - 1)]


def disagreements(
    detected: dict[str, dict[str, bool]], limit: int = 8
) -> tuple[list[str], dict[str, int]]:
    """Choose patients that regimes disagree on: gained and lost by turns, then the others.

    Args:
        detected: regime to patient id to whether it was found, of one seed.
        limit: how many to choose.

    Returns:
        The ids (first by name of each kind, never by look) and the count of each kind.
    """
    patients = sorted(next(iter(detected.values())))
    base, other = compared(list(detected))
    kinds: dict[str, list[str]] = {"gained": [], "lost": [], "otherwise": []}
    for name in patients:
        row = {regime: found[name] for regime, found in detected.items()}
        if len(set(row.values())) == 1:
            continue
        kind = "otherwise" if row[base] == row[other] else "gained" if row[other] else "lost"
        kinds[kind].append(name)
    chosen: list[str] = []
    queues = {kind: list(names) for kind, names in kinds.items()}
    while len(chosen) < limit and any(queues.values()):
        for queue in queues.values():
            if queue and len(chosen) < limit:
                chosen.append(queue.pop(0))
    return chosen, {kind: len(names) for kind, names in kinds.items()}


def disagreement_strip(
    subject: Subject,
    by_seed: dict[str, tuple[RunTables, float]],
    rules: dict[str, Any],
    folder: Path,
) -> Strip:
    """Draw each channel, truth and one prediction a regime, in the slice with most lesion.

    Truth and predictions are outlined on the last channel.

    Args:
        subject: a test patient.
        by_seed: regime to its cell and score threshold.
        rules: of candidates, as in `metrics.json`.
        folder: for the pictures.
    """
    images, lesion = read_images(subject), read_lesion(subject)
    grid = read_grid(subject)
    z, box = lesion_slice(lesion), crop(read_brain(subject), grid.voxel_mm)
    *shown, truth = (axial(v[box], z) for v in (*images, lesion))
    outline = (truth, TRUTH_COLOUR, 0.5)
    tiles = [
        *(
            _tile(folder, f"{subject.id}_{name}", picture, name)
            for name, picture in zip(subject.channels, shown, strict=True)
        ),
        _tile(folder, f"{subject.id}_truth", shown[-1], "Truth", [outline]),
    ]
    for regime, (tables, threshold) in by_seed.items():
        probability = read_volume(tables.run.probability(subject.id)).data
        seen = (axial(probability[box], z), PREDICTION_COLOUR, rules["candidate_threshold"])
        caption = f"{regime}: {_found(tables, subject.id, threshold)}"
        name = f"{subject.id}_{regime}"
        tiles.append(_tile(folder, name, shown[-1], caption, [outline, seen]))
    size = lesion.sum() * grid.voxel_mm3 / 1000
    height = grid.world(np.array([0, 0, z]))[2]
    return Strip(
        f"{subject.id} · site {subject.site} · {size:.1f} mL · z = {height:.0f} mm", tuple(tiles)
    )


def _tile(
    folder: Path,
    name: str,
    picture: np.ndarray,
    caption: str,
    outlines: Iterable[tuple[np.ndarray, str, float]] = (),
) -> Tile:
    write_tile(folder / f"{name}.png", picture, outlines)
    return Tile(folder / f"{name}.png", caption)


def _found(tables: RunTables, subject_id: str, threshold: float) -> str:
    mine = tables.candidates[tables.candidates["participant_id"] == subject_id]
    best = mine.loc[mine["hit"] == 1, "score"].max()
    false = int(((mine["hit"] == 0) & (mine["score"] >= threshold)).sum())
    if best >= threshold:
        return f"found ({best:.3f} ≥ {threshold:.3f}), {false} FP"
    below = f" ({best:.3f} < {threshold:.3f})" if best == best else ""
    return f"missed{below}, {false} FP"


def synthesis_strips(
    real: list[Subject], synthetic: list[Subject], folder: Path, limit: int = 4
) -> list[Strip]:
    """Draw real and synthetic patients of the nearest lesion volume side by side.

    Each strip: mask (on the tissue map) of a synthetic patient, then each channel of the real
    training patient whose lesion volume is nearest and of the synthetic one.
    """
    if not real or not synthetic:
        return []
    sizes = {s.id: read_lesion(s).sum() for s in real}
    strips = []
    for subject in synthetic[:limit]:
        size = read_lesion(subject).sum()
        match = min(real, key=lambda s: (abs(sizes[s.id] - size), s.id))
        box = crop(read_brain(subject) | read_brain(match), read_grid(subject).voxel_mm)
        *made, mask, tissue = _views(subject, box)
        near = _views(match, box)
        tiles = [_tile(folder, f"{subject.id}_mask", tissue, "mask", [(mask, TRUTH_COLOUR, 0.5)])]
        for index, name in enumerate(subject.channels):
            real_name = f"{subject.id}_real_{name}"
            tiles += [
                _tile(folder, real_name, near[index], f"real {name} ({match.id})"),
                _tile(folder, f"{subject.id}_{name}", made[index], f"synthetic {name}"),
            ]
        strips.append(Strip(f"{subject.id} · from {', '.join(subject.sources[:3])}", tuple(tiles)))
    return strips


def _views(subject: Subject, box: tuple[slice, slice]) -> list[np.ndarray]:
    """Return slices of each channel, lesion, and tissue (CSF dark, white matter bright)."""
    images, lesion, tissues = read_images(subject), read_lesion(subject), read_tissues(subject)
    tissue = np.tensordot([0.2, 0.5, 0.8], tissues, 1)
    z = lesion_slice(lesion)
    return [axial(v[box], z) for v in (*images, lesion, tissue)]
