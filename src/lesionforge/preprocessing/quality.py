"""One row of figures a prepared subject, and the flags of those that a person should look at."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy import ndimage

from lesionforge.data.cohort import acquisition_column
from lesionforge.data.volume import Grid, Volume
from lesionforge.preprocessing.resample import resample
from lesionforge.preprocessing.tissues import template

THICK = 2.0
"""Of slices so many times as thick as a voxel is wide, neighbours above and below differ."""
BLANK = 0.02
"""Intensities below this part of the brain's median are no signal."""
GOOD_OVERLAP = 0.85
"""Dice of the brain with the template's below which a registration is called doubtful."""


def columns(channels: Sequence[str]) -> list[str]:
    """Return the columns of `quality.tsv` after `participant_id`.

    Args:
        channels: BIDS suffixes, the reference first.
    """
    names = [channel.lower() for channel in channels]
    pairs = [f"{name}_{names[0]}" for name in names[1:]]
    return [
        *map(acquisition_column, channels),
        *(f"voxel_mm_{name}" for name in names),
        *(f"{pair}_{figure}" for pair in pairs for figure in _OF_A_PAIR),
        *_OF_A_HEAD,
        *(f"signal_{name}" for name in names),
        *(f"noise_{name}" for name in names),
        *(f"sharpness_{name}" for name in names),
        *_OF_A_LESION,
        *_LAST,
    ]


_OF_A_PAIR = ("information", "margin", "shift_mm", "angle_deg")
_OF_A_HEAD = (
    "mni_information",
    "mni_dice",
    "mni_correlation",
    "mni_volume_ratio",
    "brain_ml",
    "brain_pieces",
    "brain_in_grid",
    "brain_covered",
    "gm_ml",
    "wm_ml",
    "cnr_gm_wm",
)
_OF_A_LESION = (
    "lesion_ml_raw",
    "lesion_ml",
    "lesion_in_brain",
    "lesions_raw",
    "lesions",
    "lesions_rescued",
    "lesions_merged",
    "lesions_lost",
    "ignore_ml",
)
_LAST = ("brain_mask", "seconds", "notes")


@dataclass(frozen=True)
class Limit:
    """A figure that is doubtful in itself, whatever the rest of the cohort is like.

    Attributes:
        column: of `quality.tsv`.
        low: the figure is doubtful below this.
        what: in words.
        high: the figure is doubtful above this.
    """

    column: str
    low: float
    what: str
    high: float = float("inf")

    def breaks(self, value: float) -> bool:
        """Tell whether a figure is doubtful."""
        return value < self.low or value > self.high


def limits(channels: Sequence[str]) -> list[Limit]:
    """Return the limits of the figures of a cohort with these channels, the reference first."""
    first, *others = channels
    return [
        *(
            Limit(
                f"{other.lower()}_{first.lower()}_margin",
                0.0,
                f"{other} moved by 3 mm or 3 degrees fits the {first} better",
            )
            for other in others
        ),
        Limit("mni_dice", GOOD_OVERLAP, "registration to MNI is doubtful"),
        Limit("brain_in_grid", 0.97, "part of the brain lies outside the study grid"),
        Limit("brain_covered", 0.9, f"{' or '.join(channels)} does not cover the whole brain"),
        *(
            Limit(f"signal_{c.lower()}", 0.97, f"part of the brain is blank in the {c}")
            for c in channels
        ),
        Limit("brain_pieces", 0.5, "the brain mask is in several pieces", high=1.5),
        Limit("lesion_in_brain", 0.8, "part of the lesion lies outside the brain mask"),
    ]


def compared(channels: Sequence[str]) -> dict[str, str]:
    """Return the figures that are compared with the rest of the cohort, and what an outlier means.

    Args:
        channels: BIDS suffixes, the reference first.
    """
    first, *others = channels
    pairs = {other: f"{other.lower()}_{first.lower()}" for other in others}
    return {
        **{
            f"{p}_information": f"{o} and {first} share little information: is {o} registered?"
            for o, p in pairs.items()
        },
        **{f"{p}_shift_mm": f"{o} had to be moved far" for o, p in pairs.items()},
        **{f"{p}_angle_deg": f"{o} had to be turned far" for o, p in pairs.items()},
        "mni_correlation": f"the {first} is unlike the template: look at registration and contrast",
        "mni_volume_ratio": "the head had to be scaled unusually to fit MNI",
        "brain_ml": "the brain mask has an unusual size",
        "grey_share": "unusual share of grey matter: look at the tissue maps",
        "cnr_gm_wm": "unusual contrast of grey and white matter",
        **{f"noise_{c.lower()}": f"unusual noise in the {c}" for c in channels},
        **{
            f"sharpness_{c.lower()}": f"unusual sharpness of the {c}: motion or thick slices?"
            for c in channels
        },
    }


OUTLYING, FAR_OUT = 3.5, 6.0
MIN_COMPARED = 10


@dataclass(frozen=True)
class Flag:
    """Something that a person should look at.

    Attributes:
        participant_id: whose.
        what: in words, with the figure.
        severity: 3 doubtful in itself, 2 far from the rest of the cohort, 1 a remark.
    """

    participant_id: str
    what: str
    severity: int


def doubts(figures: Mapping[str, Any], channels: Sequence[str]) -> list[str]:
    """Return what is doubtful in itself about one subject's figures, in words."""
    return [limit.what for limit in _broken(figures, channels)]


def _broken(figures: Mapping[Any, Any], channels: Sequence[str]) -> list[Limit]:
    found = [limit for limit in limits(channels) if figures.get(limit.column) is not None]
    return [limit for limit in found if limit.breaks(figures[limit.column])]


def find_flags(table: pd.DataFrame, channels: Sequence[str]) -> list[Flag]:
    """Flag subjects by fixed limits, by comparison with the cohort, and by what was noted.

    Args:
        table: `quality.tsv`.
        channels: of the cohort, the reference first.

    Returns:
        Worst first within a subject; subjects in the table's order.
    """
    known = usual_figures(table, channels)
    flags: list[Flag] = []
    for row in table.to_dict("records"):
        own = [
            *_beyond_limits(row, channels),
            *_outliers(row, known, channels),
            *_notes(row, channels),
        ]
        flags += sorted(own, key=lambda flag: -flag.severity)
    return flags


def usual_figures(table: pd.DataFrame, channels: Sequence[str]) -> dict[str, tuple[float, float]]:
    """Return median and median absolute deviation of the figures that subjects are compared by.

    Args:
        table: `quality.tsv`; with fewer than 10 subjects nothing is usual, and nothing is returned.
        channels: of the cohort, the reference first.
    """
    usual = {}
    for column in compared(channels):
        values = _grey_share(table) if column == "grey_share" else table[column]
        values = pd.to_numeric(values, errors="coerce").dropna()
        if len(values) >= MIN_COMPARED:
            middle = float(values.median())
            spread = float((values - middle).abs().median())
            usual[column] = (middle, max(spread, 1e-3 * abs(middle), 1e-9))
    return usual


def _grey_share(figures: Any) -> Any:
    return figures["gm_ml"] / (figures["gm_ml"] + figures["wm_ml"])


def unusual(
    figures: Mapping[str, Any], usual: Mapping[str, Sequence[float]], channels: Sequence[str]
) -> dict[str, float]:
    """Return the figures that lie far from the usual ones, in words, with their scores.

    The score is the modified z-score (Iglewicz and Hoaglin 1993: 0.6745 times the distance from the
    median over the median absolute deviation); 3.5 and more is unusual.

    Args:
        figures: of one subject, see `columns`.
        usual: see `usual_figures`.
        channels: of the cohort, the reference first.
    """
    found, meaning = {}, compared(channels)
    for column, (middle, spread) in usual.items():
        value = _grey_share(figures) if column == "grey_share" else figures.get(column)
        if value is None or not np.isfinite(value):
            continue
        score = 0.6745 * abs(value - middle) / spread
        if score > OUTLYING:
            found[f"{meaning[column]} ({column} {value:.3g}, median {middle:.3g})"] = score
    return found


def _beyond_limits(row: Mapping[Any, Any], channels: Sequence[str]) -> Iterator[Flag]:
    for limit in _broken(row, channels):
        value = f"{limit.column} {row[limit.column]:.3g}, {limit.low:g} or more is expected"
        if row[limit.column] > limit.high:
            value = f"{limit.column} {row[limit.column]:.3g}, {limit.high:g} is expected"
        yield Flag(row["participant_id"], f"{limit.what} ({value})", 3)


def _outliers(
    row: Mapping[Any, Any], usual: Mapping[str, Sequence[float]], channels: Sequence[str]
) -> Iterator[Flag]:
    for what, score in unusual(row, usual, channels).items():
        yield Flag(row["participant_id"], what, 2 if score > FAR_OUT else 1)


def _notes(row: Mapping[Any, Any], channels: Sequence[str]) -> Iterator[Flag]:
    said = {limit.what for limit in limits(channels)}
    for note in row["notes"].split("; ") if isinstance(row["notes"], str) else ():
        if note not in said:
            yield Flag(row["participant_id"], note, 1)


def signal_figures(
    channels: Sequence[str], images: np.ndarray, brain: np.ndarray
) -> dict[str, float]:
    """Measure in which part of the brain each image holds anything: above 2 % of its median.

    Args:
        channels: BIDS suffixes of the images.
        images: (C, X, Y, Z) intensities, not negative, before they are scaled.
        brain: (X, Y, Z) bool.
    """
    inside = images[:, brain]
    there = inside > BLANK * np.median(inside, axis=1, keepdims=True)
    return {
        f"signal_{c.lower()}": float(part.mean()) for c, part in zip(channels, there, strict=True)
    }


def image_figures(
    channels: Sequence[str],
    images: np.ndarray,
    brain: np.ndarray,
    tissues: np.ndarray,
    grid: Grid,
) -> dict[str, float]:
    """Measure contrast, noise, sharpness and volumes on the study grid.

    Args:
        channels: BIDS suffixes of the images, the reference first.
        images: (C, X, Y, Z) scaled images.
        brain: (X, Y, Z) bool.
        tissues: (3, X, Y, Z) CSF, GM and WM.
        grid: the study grid.

    Returns:
        `noise_*`: robust standard deviation of what a median of 3 voxels a side (within the slice,
        of thick slices) removes, in white matter;
        `cnr_gm_wm`: difference of the medians over the noise, in the reference; `sharpness_*`: 95th
        percentile of the gradient in the brain, in scaled units a smallest voxel edge; volumes in
        MNI space, mL.
    """
    white, grey = (binary_core(tissues[k], brain) for k in (2, 1))
    noise = [_noise(image, white, grid) for image in images]
    contrast = abs(float(np.median(images[0][white]) - np.median(images[0][grey])))
    inner = ndimage.binary_erosion(brain)
    names = [channel.lower() for channel in channels]
    return {
        "gm_ml": float(tissues[1].sum()) * grid.voxel_mm3 / 1000,
        "wm_ml": float(tissues[2].sum()) * grid.voxel_mm3 / 1000,
        "cnr_gm_wm": contrast / max(noise[0], 1e-6),
        **{f"noise_{n}": value for n, value in zip(names, noise, strict=True)},
        **{
            f"sharpness_{n}": _sharpness(i, inner, grid) for n, i in zip(names, images, strict=True)
        },
    }


def binary_core(probability: np.ndarray, brain: np.ndarray) -> np.ndarray:
    """Return where a tissue is nearly certain, or its likeliest 5 % of the brain."""
    core = brain & (probability > 0.9)
    if core.sum() < 50:
        core = brain & (probability >= np.quantile(probability[brain], 0.95))
    return core


def _noise(image: np.ndarray, where: np.ndarray, grid: Grid) -> float:
    window = tuple(3 if step < THICK else 1 for step in grid.steps)
    residual = (image - ndimage.median_filter(image, window))[where]
    return float(1.4826 * np.median(np.abs(residual - np.median(residual))))


def _sharpness(image: np.ndarray, where: np.ndarray, grid: Grid) -> float:
    gradient = np.sqrt(sum(g**2 for g in np.gradient(image, *grid.steps)))
    return float(np.quantile(gradient[where], 0.95)) if where.any() else 0.0


def template_figures(image: np.ndarray, brain: np.ndarray, grid: Grid) -> dict[str, float]:
    """Compare the prepared reference and brain with the template: Dice and correlation."""
    reference = resample(template()[0], grid)
    known = ndimage.binary_fill_holes(reference > 0.1)
    both = known & brain
    correlation = np.corrcoef(image[both], reference[both])[0, 1] if both.sum() > 2 else 0.0
    return {
        "mni_dice": float(2 * both.sum() / max(known.sum() + brain.sum(), 1)),
        "mni_correlation": float(np.nan_to_num(correlation)),
    }


def motion_figures(matrix: np.ndarray, centre: np.ndarray) -> dict[str, float]:
    """Describe a rigid move: `shift_mm` of a point and `angle_deg`.

    Args:
        matrix: (4, 4) RAS matrix.
        centre: the point (3,) in mm, the brain's centre as a rule.
    """
    cosine = np.clip((np.trace(matrix[:3, :3]) - 1) / 2, -1, 1)
    moved = matrix[:3, :3] @ centre + matrix[:3, 3]
    return {
        "shift_mm": float(np.linalg.norm(moved - centre)),
        "angle_deg": float(np.degrees(np.arccos(cosine))),
    }


def mask_volume_ml(mask: Volume) -> float:
    """Return the volume of a mask (above 0.5) in mL on its own grid."""
    return float((mask.data > 0.5).sum()) * mask.grid.voxel_mm3 / 1000
