"""The page of traced false positives: each beside the training lesions most like it."""

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

from lesionforge.data.subject import Subject, read_lesion
from lesionforge.report.html import write_page
from lesionforge.report.strips import join, through

PICTURES = 30


def write_trace_page(
    path: Path,
    traces: pd.DataFrame,
    summary: str,
    known: Mapping[str, Subject],
    place: Callable[[str, int], np.ndarray],
    whose: tuple[str, str, str],
) -> Path:
    """Write the page; the false positives that are new are drawn, best score first.

    Args:
        path: of the page.
        traces: see `lesionforge.synthetic_qc.false_positives.trace`.
        summary: what they say together.
        known: participant id to subject, tested and trained on.
        place: gives the place (X, Y, Z) of a participant's candidate by its number.
        whose: false positives they are, the regime that does not have them, and the role of the
            subjects.

    Returns:
        The page's path.
    """
    new = traces[traces["new"] == 1] if len(traces) else traces
    rows = new.sort_values("score", ascending=False).to_dict("records") if len(new) else []
    shown = []
    for row in tqdm(rows[:PICTURES], desc="draw false positives", unit="candidate"):
        tested = known[row["participant_id"]]
        pictures = through(tested, place(tested.id, int(row["candidate"])))
        for name in (row["nearest_synthetic"], row["nearest_real"]):
            pictures += through(known[name], read_lesion(known[name]))[1:]
        shown.append({**row, "picture": join(pictures)})
    return write_page(path, "traces.html", rows=shown, total=len(rows), summary=summary,
                      whose=whose)  # fmt: skip
