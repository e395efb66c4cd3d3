"""What speaks for and against one subject's label, from images and an out-of-fold prediction."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from lesionforge.data.subject import Subject, read_brain, read_grid, read_images, read_tissues
from lesionforge.data.volume import Grid
from lesionforge.errors import DataError
from lesionforge.lesions.appearance import measure_conspicuity
from lesionforge.metrics.config import CandidateRules
from lesionforge.metrics.matching import (
    DICE_THRESHOLD,
    Candidate,
    candidates_mask,
    find_candidates,
    match_candidates,
)
from lesionforge.preprocessing.intensity import ROBUST_SD

SMOOTH_MM = 2.5
SIGNALS = {
    "loss": "the detector, which has not seen this label, contradicts it",
    "disagreement": "label and prediction overlap little",
    "elsewhere": "the detector sees a lesion where the label has none",
    "larger": "what the detector sees there is larger than the mask",
    "smaller": "what the detector sees there is smaller than the mask",
    "uncertainty": "the detector is undecided",
    "blur": "the grey-white junction inside is unlike that of other lesions",
    "conspicuity": "what is inside stands out unlike other lesions",
    "grey": "the mask holds an unusual share of grey matter",
    "neighbours": "regions with similar image features are mostly no lesions",
}
"""The signals of every cohort, and what each says when it raises the risk that a mask is wrong."""
IMAGE_SIGNALS = {
    "{}": "{} inside is unlike that of other lesions",
    "{}_side": "{} differs from the other side unlike in other lesions",
}
"""The same of each channel."""


def signals(channels: Sequence[str]) -> dict[str, str]:
    """Return all signals of a cohort with these channels, and what each says."""
    return SIGNALS | channel_words(IMAGE_SIGNALS, channels)


def channel_words(words: Mapping[str, str], channels: Sequence[str]) -> dict[str, str]:
    """Fill names and words that stand for one channel, for each of the channels."""
    return {
        name.format(channel.lower()): text.format(channel)
        for name, text in words.items()
        for channel in channels
    }


@dataclass(frozen=True, eq=False)
class Evidence:
    """All that is known of a subject beside its label; arrays are (X, Y, Z) on the study grid.

    Attributes:
        channels: BIDS suffix of each image.
        images: (C, X, Y, Z).
        tissues: (3, X, Y, Z) CSF, GM, WM.
        brain: bool.
        probability: of a lesion, by a detector that was not trained on this subject.
        candidates: of `probability`.
        grid: the study grid.
        rules: of candidates and hits.
        asymmetry: (C, X, Y, Z) smoothed images minus their left-right mirror images, in robust
            standard deviations.
    """

    channels: tuple[str, ...]
    images: np.ndarray
    tissues: np.ndarray
    brain: np.ndarray
    probability: np.ndarray
    candidates: list[Candidate]
    grid: Grid
    rules: CandidateRules
    asymmetry: np.ndarray


def read_evidence(subject: Subject, probability: np.ndarray, rules: CandidateRules) -> Evidence:
    """Read a subject's volumes; `probability` (X, Y, Z) must be out of fold."""
    grid = read_grid(subject)
    candidates = find_candidates(probability, grid, rules)
    images, tissues, brain = read_images(subject), read_tissues(subject), read_brain(subject)
    asymmetry = _asymmetry(images, brain, grid)
    return Evidence(
        subject.channels, images, tissues, brain, probability, candidates, grid, rules, asymmetry
    )


def _asymmetry(images: np.ndarray, brain: np.ndarray, grid: Grid) -> np.ndarray:
    sigma = SMOOTH_MM / np.asarray(grid.voxel_mm)
    mass = ndimage.gaussian_filter(brain.astype(np.float32), sigma) + 1e-3
    smooth = np.stack([ndimage.gaussian_filter(i * brain, sigma) / mass for i in images])
    both = brain & brain[::-1]
    return np.asarray((smooth - smooth[:, ::-1]) * both / ROBUST_SD)


def label_signals(evidence: Evidence, mask: np.ndarray) -> dict[str, float]:
    """Measure what speaks for and against a mask.

    Args:
        evidence: of the subject.
        mask: (X, Y, Z) bool, at least one voxel.

    Returns:
        The `signals` of the cohort (but for `neighbours`, which needs other subjects), and
        `volume_ml` of the mask.
    """
    probability, reach = evidence.probability, evidence.rules.tolerance_mm
    inside, outside = sort_candidates(evidence, mask)
    near = ndimage.distance_transform_edt(~mask, sampling=evidence.grid.voxel_mm) <= reach
    own = float(probability[near].max())
    found = candidates_mask(inside, probability.shape) & (probability > DICE_THRESHOLD)
    overlap = 2 * int((found & mask).sum()) / (int(found.sum()) + int(mask.sum()))
    ratio = float(np.log(found.sum() / mask.sum())) if found.any() else 0.0
    return {
        "loss": -float(np.log(max(own, 1e-3))),
        "disagreement": 1 - overlap,
        "elsewhere": outside[0].score if outside else 0.0,
        "larger": max(ratio, 0.0),
        "smaller": max(-ratio, 0.0),
        "uncertainty": 4 * own * (1 - own),
        **image_features(evidence, mask),
        "volume_ml": int(mask.sum()) * evidence.grid.voxel_mm3 / 1000,
    }


def sort_candidates(
    evidence: Evidence, mask: np.ndarray
) -> tuple[list[Candidate], list[Candidate]]:
    """Return the candidates that hit a mask (X, Y, Z; may be empty) and those that do not."""
    found = evidence.candidates
    matches, _ = match_candidates(found, mask, evidence.grid, evidence.rules)
    pairs = list(zip(found, matches, strict=True))
    return [c for c, match in pairs if match.hit], [c for c, match in pairs if not match.hit]


def image_features(evidence: Evidence, region: np.ndarray) -> dict[str, float]:
    """Measure what the images show in a region.

    Args:
        evidence: of the subject.
        region: (X, Y, Z) bool, of a mask or a candidate.

    Returns:
        blur and conspicuity (see `measure_conspicuity`), grey (mean probability of grey matter); of
        each channel its name in lower case (mean change, `Conspicuity.change`) and the same with
        `_side` (mean difference from the other side), in robust standard deviations; all 0 where
        the region is empty or lies outside the brain.
    """
    own = [channel.lower() for channel in evidence.channels]
    names = ("blur", "conspicuity", "grey", *own, *(f"{name}_side" for name in own))
    if not (region & evidence.brain).any():
        return dict.fromkeys(names, 0.0)
    try:
        found = measure_conspicuity(
            evidence.images, region, evidence.tissues, evidence.brain, evidence.grid.voxel_mm
        )
    except DataError:  # no brain around it
        return dict.fromkeys(names, 0.0)
    grey = float(evidence.tissues[1][region].mean())
    sides = evidence.asymmetry[:, region].mean(axis=1)
    values = (found.blur, found.total, grey, *found.change, *map(float, sides))
    return dict(zip(names, values, strict=True))
