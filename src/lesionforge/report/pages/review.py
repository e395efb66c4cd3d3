"""The page on which a person accepts or rejects a share of a synthetic set; it stands alone."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy import ndimage
from tqdm import tqdm

from lesionforge.data.cohort import read_cohort, sidecar_path
from lesionforge.data.subject import Subject, read_brain, read_grid, read_images, read_lesion
from lesionforge.data.volume import Grid
from lesionforge.lesions.shape import CONNECTIVITY, largest_component
from lesionforge.provenance import read_json, sha256_json
from lesionforge.report.html import write_page
from lesionforge.report.pictures import cut, lesion_slice, middle
from lesionforge.report.strips import css_colours, join, outlined
from lesionforge.synthetic_qc.visual_review import (
    PAGE,
    SCHEMA,
    Inspection,
    digest,
    sample_sheet,
    standing,
)

NAME = "inspect.html"
VIEWS = ("axial", "coronal", "sagittal")
LEVELS = (0.25, 0.35, 0.45, 0.55, 0.65, 0.75)  # of the brain's height, in controls
ARTIFACTS = {
    "motion": "motion in {}",
    "bias": "uneven field in {}",
    "spots": "small spots in white matter",
}
REASONS = (
    "the lesion does not show",
    "the lesion shows beyond its label",
    "a seam at the lesion's border",
    "no place for such a lesion",
    "the anatomy is wrong",
    "the intensities are wrong",
    "a control that looks ill",
)


@dataclass(frozen=True)
class Entry:
    """One subject on the page.

    Attributes:
        subject: who.
        sha256: see `lesionforge.synthetic_qc.visual_review.digest`.
        facts: what to know, as pairs of name and words.
        picture: data URI.
        earlier: the verdict that stands, if there is one.
    """

    subject: Subject
    sha256: str
    facts: tuple[tuple[str, str], ...]
    picture: str
    earlier: Inspection | None


def write_inspection_page(root: Path, share: float, seed: int, name: str) -> tuple[Path, int]:
    """Write `inspect.html` of a synthetic set: patients first, each with its lesion and figures.

    Args:
        root: folder of the set.
        share: of its patients and its controls that is shown, see
            `lesionforge.synthetic_qc.visual_review.sample_sheet`.
        seed: of the set.
        name: of the set, in words.

    Returns:
        The page's path, and of how many subjects no verdict stands yet.
    """
    sheet = sample_sheet(read_cohort(root), share, seed)
    known = standing(root)
    entries = [
        _entry(subject, known.get(subject.id))
        for subject in tqdm(sheet, desc="draw subjects to inspect", unit="subject", disable=None)
    ]
    shown = [(e.subject.id, e.sha256) for e in entries]
    asked = [e.subject.id for e in entries if e.earlier is None]
    content = {
        "schema": SCHEMA,
        "page": PAGE,
        "set": name,
        "sheet": sha256_json(shown),
        "shown": dict(shown),
        "asked": asked,
    }
    page = write_page(
        root / NAME,
        "inspect.html",
        entries=entries,
        content=content,
        name=name,
        reasons=REASONS,
        colours=css_colours("lesion"),
    )
    return page, len(asked)


def _entry(subject: Subject, earlier: Inspection | None) -> Entry:
    sidecar = read_json(sidecar_path(subject))
    patient = subject.group == "patient"
    facts = [*(_lesion_facts(subject.channels, sidecar) if patient else _control_facts(sidecar))]
    spec = sidecar["Spec"]
    flip = spec["warp"]["flip"]
    facts.append(("host", sidecar["Host"] + (", mirrored" if flip else "")))
    facts.append(("site", str(sidecar["Site"])))
    peak = sidecar["QualityChecks"].get("ArtifactPeakMM")
    picture = plot_lesion(subject, spec) if patient else plot_control(subject, peak)
    return Entry(subject, digest(subject) or "", tuple(facts), picture, earlier)


def _lesion_facts(channels: Sequence[str], sidecar: dict[str, Any]) -> list[tuple[str, str]]:
    """Return volume and conspicuity, asked against made."""
    checks, spec = sidecar["QualityChecks"], sidecar["Spec"]
    seen = checks["Conspicuity"]
    volume, strength = f"{checks['LesionVolumeML']:.2f} mL", f"{seen['total']:.1f} SD"
    if spec["lesion"]:
        volume += f" (asked {spec['lesion']['volume_mm3'] / 1000:.2f})"
        strength += f" (asked {checks['ConspicuityAsked']:.1f})"
    apart = ", ".join(
        f"{name} {change:+.1f}" for name, change in zip(channels, seen["change"], strict=True)
    )
    return [("volume", volume), ("conspicuity", strength), ("effect", f"{apart} SD")]


def _control_facts(sidecar: dict[str, Any]) -> list[tuple[str, str]]:
    artifact, facts = sidecar["Spec"].get("artifact"), []
    if artifact is not None:
        words = ARTIFACTS[artifact["kind"]].format(" and ".join(artifact["channels"]))
        facts.append(("artifact, on purpose", words))
    return facts


def plot_lesion(subject: Subject, spec: dict[str, Any]) -> str:
    """Draw each channel in three planes through the lesion, above without its outline.

    Args:
        subject: a synthetic patient.
        spec: its saved specification; of several labelled lesions the drawn one is shown.
    """
    images, label, box = _boxed(subject)
    lesion = _plotted_lesion(label, spec, box, read_grid(subject))
    place = (*middle(lesion)[:2], lesion_slice(lesion))
    columns = []
    for view in VIEWS:
        outline = [("lesion", cut(label, view, place))]
        for image in images:
            picture = cut(image, view, place)
            columns.append([outlined(picture, o, images.shape[2]) for o in ([], outline)])
    return _stacked(columns)


def plot_control(subject: Subject, peak_mm: Sequence[float] | None = None) -> str:
    """Draw axial slices of a synthetic control from below upwards, one channel a row.

    Args:
        subject: a synthetic control.
        peak_mm: where a deliberate artifact changes most (RAS): that slice comes
            first.
    """
    images, _, box = _boxed(subject)
    levels = [round(level * (images.shape[3] - 1)) for level in LEVELS]
    if peak_mm is not None:
        peak = read_grid(subject).index(np.array(peak_mm)).round()
        levels = [int(peak[2]) - box[2].start, *levels]
    columns = [
        [outlined(cut(image, "axial", (0, 0, z)), [], images.shape[2]) for image in images]
        for z in levels
    ]
    return _stacked(columns)


def _boxed(subject: Subject) -> tuple[np.ndarray, np.ndarray, tuple[slice, ...]]:
    """Return images (C, x, y, z) and label (x, y, z) in the brain's box, and the box."""
    box = ndimage.find_objects(read_brain(subject).astype(np.uint8))[0]
    return read_images(subject)[(slice(None), *box)], read_lesion(subject)[box], box


def _plotted_lesion(
    label: np.ndarray, spec: dict[str, Any], box: tuple[slice, ...], grid: Grid
) -> np.ndarray:
    """Return the labelled component that was drawn: the nearest to its seed, else the largest."""
    parts, count = ndimage.label(label, CONNECTIVITY)
    if count < 2:
        return label
    if not spec["lesion"]:
        return largest_component(label)
    seed = grid.index(np.array(spec["lesion"]["seed_mm"])) - [part.start for part in box]
    voxels = np.argwhere(parts > 0)
    nearest = voxels[np.linalg.norm(voxels - seed, axis=1).argmin()]
    return parts == parts[tuple(nearest)]


def _stacked(columns: list[list[np.ndarray]]) -> str:
    """Put columns of pictures side by side, each row as high as its highest; a data URI."""
    rows = [max(len(picture) for picture in row) for row in zip(*columns, strict=True)]
    return join(
        [
            np.concatenate(
                [
                    np.pad(picture, ((0, height - len(picture)), (0, 0), (0, 0)))
                    for picture, height in zip(column, rows, strict=True)
                ]
            )
            for column in columns
        ]
    )
