"""The page of a label audit: the riskiest labels first, with the slices to look at."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

from lesionforge.data.subject import Subject, read_lesion
from lesionforge.label_qc.evidence import Evidence
from lesionforge.label_qc.risk import WORDS
from lesionforge.report.html import write_page
from lesionforge.report.pictures import cut
from lesionforge.report.strips import css_colours, join, outlined

Place = tuple[int, int, int]


def write_label_page(
    path: Path,
    table: pd.DataFrame,
    subjects: Sequence[Subject],
    read: Callable[[Subject], Evidence],
    labels: str,
    pictures: int = 60,
) -> Path:
    """Write the page of an audit.

    Args:
        path: of the page.
        table: see `lesionforge.label_qc.risk.audit_labels`.
        subjects: that were audited.
        read: gives a subject's evidence.
        labels: name of the label set.
        pictures: how many of the riskiest are drawn.

    Returns:
        The page's path.
    """
    known = {s.id: s for s in subjects}
    rows = [{str(k): v for k, v in row.items()} for row in table.to_dict("records")]
    for row in tqdm(rows[:pictures], desc="draw labels", unit="label"):
        subject = known[row["participant_id"]]
        judged_by = None if np.isnan(row["candidate"]) else int(row["candidate"])
        row["picture"] = plot_label(read(subject), read_lesion(subject), judged_by)
    for row in rows:
        row["suspected"] = WORDS.get(row["suspected"], "")
    return write_page(
        path,
        "labels.html",
        rows=rows,
        labels=labels,
        patients=sum(s.group == "patient" for s in subjects),
        colours=css_colours("lesion", "prediction"),
    )


def plot_label(evidence: Evidence, mask: np.ndarray, judged_by: int | None) -> str:
    """Draw a label and what the detector sees, there and at a candidate elsewhere.

    Each channel at the label, the last one from the front, each channel elsewhere; a data URI. The
    candidate is number `judged_by`, or the most probable one beside the mask.
    """
    seen = evidence.probability > evidence.rules.candidate_threshold
    beside = [c for c in evidence.candidates if not mask[tuple(c.voxels.T)].any()]
    chosen = [c for c in beside if c.number == judged_by] or beside
    other = _middle(chosen[0].voxels) if chosen else None
    place = _middle(np.argwhere(mask)) if mask.any() else other
    place = _middle(np.argwhere(evidence.brain)) if place is None else place
    images = evidence.images
    views = [*((image, "axial", place) for image in images), (images[-1], "coronal", place)]
    if mask.any() and other is not None:
        views += [(image, "axial", other) for image in images]
    pictures = []
    for volume, view, at in views:
        outlines = [("lesion", cut(mask, view, at)), ("prediction", cut(seen, view, at))]
        pictures.append(outlined(cut(volume, view, at), outlines, images.shape[2]))
    return join(pictures)


def _middle(voxels: np.ndarray) -> Place:
    x, y, z = (int(v) for v in voxels.mean(axis=0).round())
    return x, y, z
