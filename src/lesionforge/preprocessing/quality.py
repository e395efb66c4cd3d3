"""One row of figures a prepared subject, and the flags of those that a person should look at."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy import ndimage

from lesionforge.data.volume import Grid, Volume
from lesionforge.preprocessing.resample import resample
from lesionforge.preprocessing.tissues import template

GOOD_OVERLAP = 0.85
"""Dice of the brain with the template's below which a registration is called doubtful."""
COLUMNS = (
    "acq_t1w",
    "acq_flair",
    "voxel_mm_t1w",
    "voxel_mm_flair",
    "flair_t1w_information",
    "flair_t1w_margin",
    "flair_t1w_shift_mm",
    "flair_t1w_angle_deg",
    "mni_information",
    "mni_dice",
    "mni_correlation",
    "mni_volume_ratio",
    "brain_ml",
    "brain_in_grid",
    "brain_covered",
    "gm_ml",
    "wm_ml",
    "cnr_gm_wm",
    "noise_t1w",
    "noise_flair",
    "sharpness_t1w",
    "sharpness_flair",
    "lesion_ml_raw",
    "lesion_ml",
    "lesion_in_brain",
    "lesion_components",
    "lesion_rescued",
    "brain_mask",
    "seconds",
    "notes",
)


@dataclass(frozen=True)
class Limit:
    """A figure that is doubtful in itself, whatever the rest of the cohort is like.

    Attributes:
        column: of `quality.tsv`.
        low: the figure is doubtful below this.
        what: in words.
    """

    column: str
    low: float
    what: str


LIMITS = (
    Limit("flair_t1w_margin", 0.0, "FLAIR moved by 3 mm or 3 degrees fits the T1w better"),
    Limit("mni_dice", GOOD_OVERLAP, "registration to MNI is doubtful"),
    Limit("brain_in_grid", 0.97, "part of the brain lies outside the study grid"),
    Limit("brain_covered", 0.9, "T1w or FLAIR does not cover the whole brain"),
    Limit("lesion_in_brain", 0.8, "part of the lesion lies outside the brain mask"),
)
COMPARED = {
    "flair_t1w_information": "FLAIR and T1w share little information: is FLAIR registered?",
    "flair_t1w_shift_mm": "FLAIR had to be moved far",
    "flair_t1w_angle_deg": "FLAIR had to be turned far",
    "mni_correlation": "the T1w is unlike the template: look at registration and contrast",
    "mni_volume_ratio": "the head had to be scaled unusually to fit MNI",
    "brain_ml": "the brain mask has an unusual size",
    "grey_share": "unusual share of grey matter: look at the tissue maps",
    "cnr_gm_wm": "unusual contrast of grey and white matter",
    "noise_t1w": "unusual noise in the T1w",
    "noise_flair": "unusual noise in the FLAIR",
    "sharpness_t1w": "unusual sharpness of the T1w: motion or thick slices?",
    "sharpness_flair": "unusual sharpness of the FLAIR: motion or thick slices?",
}
"""Figures that are compared with the rest of the cohort, and what an outlier means."""
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


def doubts(figures: Mapping[str, Any]) -> list[str]:
    """Return what is doubtful in itself about one subject's figures, in words."""
    return [limit.what for limit in _broken(figures)]


def _broken(figures: Mapping[Any, Any]) -> list[Limit]:
    found = [limit for limit in LIMITS if figures.get(limit.column) is not None]
    return [limit for limit in found if figures[limit.column] < limit.low]


def find_flags(table: pd.DataFrame) -> list[Flag]:
    """Flag subjects by fixed limits, by comparison with the cohort, and by what was noted.

    Args:
        table: `quality.tsv`.

    Returns:
        Worst first within a subject; subjects in the table's order.
    """
    known = usual_figures(table)
    flags: list[Flag] = []
    for row in table.to_dict("records"):
        own = [*_beyond_limits(row), *_outliers(row, known), *_notes(row)]
        flags += sorted(own, key=lambda flag: -flag.severity)
    return flags


def usual_figures(table: pd.DataFrame) -> dict[str, tuple[float, float]]:
    """Return median and median absolute deviation of the figures that subjects are compared by.

    Args:
        table: `quality.tsv`; with fewer than 10 subjects nothing is usual, and nothing is returned.
    """
    usual = {}
    for column in COMPARED:
        values = _grey_share(table) if column == "grey_share" else table[column]
        values = pd.to_numeric(values, errors="coerce").dropna()
        if len(values) >= MIN_COMPARED:
            middle = float(values.median())
            spread = float((values - middle).abs().median())
            usual[column] = (middle, max(spread, 1e-3 * abs(middle), 1e-9))
    return usual


def _grey_share(figures: Any) -> Any:
    return figures["gm_ml"] / (figures["gm_ml"] + figures["wm_ml"])


def unusual(figures: Mapping[str, Any], usual: Mapping[str, Sequence[float]]) -> dict[str, float]:
    """Return the figures that lie far from the usual ones, in words, with their scores.

    The score is the modified z-score (Iglewicz and Hoaglin 1993: 0.6745 times the distance from the
    median over the median absolute deviation); 3.5 and more is unusual.

    Args:
        figures: of one subject, see `COLUMNS`.
        usual: see `usual_figures`.
    """
    found = {}
    for column, (middle, spread) in usual.items():
        value = _grey_share(figures) if column == "grey_share" else figures.get(column)
        if value is None or not np.isfinite(value):
            continue
        score = 0.6745 * abs(value - middle) / spread
        if score > OUTLYING:
            found[f"{COMPARED[column]} ({column} {value:.3g}, median {middle:.3g})"] = score
    return found


def _beyond_limits(row: Mapping[Any, Any]) -> Iterator[Flag]:
    for limit in _broken(row):
        value = f"{limit.column} {row[limit.column]:.3g} < {limit.low:g}"
        yield Flag(row["participant_id"], f"{limit.what} ({value})", 3)


def _outliers(row: Mapping[Any, Any], usual: Mapping[str, Sequence[float]]) -> Iterator[Flag]:
    for what, score in unusual(row, usual).items():
        yield Flag(row["participant_id"], what, 2 if score > FAR_OUT else 1)


def _notes(row: Mapping[Any, Any]) -> Iterator[Flag]:
    said = {limit.what for limit in LIMITS}
    for note in row["notes"].split("; ") if isinstance(row["notes"], str) else ():
        if note not in said:
            yield Flag(row["participant_id"], note, 1)


def image_figures(
    images: np.ndarray, brain: np.ndarray, tissues: np.ndarray, grid: Grid
) -> dict[str, float]:
    """Measure contrast, noise, sharpness and volumes on the study grid.

    Args:
        images: (2, X, Y, Z) scaled T1w and FLAIR.
        brain: (X, Y, Z) bool.
        tissues: (3, X, Y, Z) CSF, GM and WM.
        grid: the study grid.

    Returns:
        `noise_*`: robust standard deviation of what a 3-voxel median removes, in white matter;
        `cnr_gm_wm`: difference of the medians over the T1w noise; `sharpness_*`: 95th percentile of
        the gradient in the brain, in scaled units a voxel; volumes in MNI space, in mL.
    """
    white, grey = (binary_core(tissues[k], brain) for k in (2, 1))
    noise = [_noise(image, white) for image in images]
    contrast = abs(float(np.median(images[0][white]) - np.median(images[0][grey])))
    inner = ndimage.binary_erosion(brain)
    sharpness = [_sharpness(image, inner) for image in images]
    return {
        "gm_ml": float(tissues[1].sum()) * grid.voxel_mm3 / 1000,
        "wm_ml": float(tissues[2].sum()) * grid.voxel_mm3 / 1000,
        "cnr_gm_wm": contrast / max(noise[0], 1e-6),
        "noise_t1w": noise[0],
        "noise_flair": noise[1],
        "sharpness_t1w": sharpness[0],
        "sharpness_flair": sharpness[1],
    }


def binary_core(probability: np.ndarray, brain: np.ndarray) -> np.ndarray:
    """Return where a tissue is nearly certain, or its likeliest 5 % of the brain."""
    core = brain & (probability > 0.9)
    if core.sum() < 50:
        core = brain & (probability >= np.quantile(probability[brain], 0.95))
    return core


def _noise(image: np.ndarray, where: np.ndarray) -> float:
    residual = (image - ndimage.median_filter(image, 3))[where]
    return float(1.4826 * np.median(np.abs(residual - np.median(residual))))


def _sharpness(image: np.ndarray, where: np.ndarray) -> float:
    gradient = np.sqrt(sum(g**2 for g in np.gradient(image)))
    return float(np.quantile(gradient[where], 0.95)) if where.any() else 0.0


def template_figures(t1w: np.ndarray, brain: np.ndarray, grid: Grid) -> dict[str, float]:
    """Compare a prepared T1w volume and brain with the template: Dice and correlation."""
    reference = resample(template()[0], grid)
    known = ndimage.binary_fill_holes(reference > 0.1)
    both = known & brain
    correlation = np.corrcoef(t1w[both], reference[both])[0, 1] if both.sum() > 2 else 0.0
    return {
        "mni_dice": float(2 * both.sum() / max(known.sum() + brain.sum(), 1)),
        "mni_correlation": float(np.nan_to_num(correlation)),
    }


def motion_figures(flair_from_t1w: np.ndarray, centre: np.ndarray) -> dict[str, float]:
    """Describe the rigid move from T1w to FLAIR: its angle and the shift of the brain's centre."""
    cosine = np.clip((np.trace(flair_from_t1w[:3, :3]) - 1) / 2, -1, 1)
    moved = flair_from_t1w[:3, :3] @ centre + flair_from_t1w[:3, 3]
    return {
        "flair_t1w_shift_mm": float(np.linalg.norm(moved - centre)),
        "flair_t1w_angle_deg": float(np.degrees(np.arccos(cosine))),
    }


def mask_volume_ml(mask: Volume) -> float:
    """Return the volume of a mask (above 0.5) in mL on its own grid."""
    return float((mask.data > 0.5).sum()) * mask.grid.voxel_mm3 / 1000
