"""The page of a model's pre-labels: those that a person is to look at first, with slices."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

from lesionforge.data.subject import Subject, read_images
from lesionforge.label_qc.config import Acceptance
from lesionforge.label_qc.prelabels import Prelabelling
from lesionforge.report.html import write_page
from lesionforge.report.pictures import cut, middle
from lesionforge.report.strips import css_colours, join, outlined

PICTURES = 60


def write_prelabel_page(
    path: Path,
    table: pd.DataFrame,
    outcome: Prelabelling,
    people: Sequence[Subject],
    about: tuple[str, str, Acceptance],
) -> Path:
    """Write the page of a pre-labelling.

    Args:
        path: of the page.
        table: see `Prelabelling.table`.
        outcome: what was accepted, and what is to be inspected.
        people: the unlabelled patients.
        about: name of the label set, of the model, and what was accepted.

    Returns:
        The page's path.
    """
    known = {s.id: s for s in people}
    masks = {p.participant_id: p.mask for p in outcome.prelabels if p.mask is not None}
    rows = [{str(k): v for k, v in row.items()} for row in table.to_dict("records")]
    shown = [row for row in rows if row["accepted"]][:PICTURES]
    for row in tqdm(shown, desc="draw pre-labels", unit="subject"):
        name = row["participant_id"]
        row["picture"] = plot_prelabel(known[name], masks[name])
    to, model, rule = about
    return write_page(
        path,
        "prelabels.html",
        rows=rows,
        labels=to,
        model=model,
        rule=rule,
        accepted=len(outcome.accepted),
        inspected=len(outcome.inspected),
        colours=css_colours("prediction"),
    )


def plot_prelabel(subject: Subject, mask: np.ndarray) -> str:
    """Draw a model's mask: each channel without it, the last with it in three planes.

    Args:
        subject: whose images.
        mask: (X, Y, Z) bool, not empty.

    Returns:
        A data URI.
    """
    images = read_images(subject)
    place = middle(mask)
    rows = images.shape[2]
    pictures = [outlined(cut(image, "axial", place), [], rows) for image in images]
    for view in ("axial", "coronal", "sagittal"):
        outline = [("prediction", cut(mask, view, place))]
        pictures.append(outlined(cut(images[-1], view, place), outline, rows))
    return join(pictures)
