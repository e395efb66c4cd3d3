"""The page of one new scan: what a detector found, with pictures inside, on its own."""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lesionforge.detection.new_scans import Detection
from lesionforge.metrics.matching import Candidate
from lesionforge.report.html import data_uri, write_page
from lesionforge.report.pictures import PREDICTION_COLOUR, cut, middle, write_tile

SHOWN = 5
PAGE = "index.html"
VIEWS = ("axial", "coronal", "sagittal")


def write_scan_page(found: Detection, out: Path) -> Path:
    """Write `index.html` of a detection to `out`: the candidates' table, and pictures of the best.

    Args:
        found: see `detect_scan`.
        out: folder of the page.

    Returns:
        The page's path.
    """
    return write_page(
        out / PAGE,
        "scan.html",
        name=found.name,
        record=found.record,
        rows=found.table.to_dict("records"),
        strips=[_strip(found, candidate) for candidate in found.candidates[:SHOWN]],
        overview=_overview(found),
    )


def _overview(found: Detection) -> list[dict[str, str]]:
    """Draw a scan without candidates through the middle of its brain."""
    if found.candidates:
        return []
    return _pictures(found, middle(found.scan.volumes["desc-brain_mask"]))


def _strip(found: Detection, candidate: Candidate) -> dict[str, Any]:
    values = found.probability[tuple(candidate.voxels.T)]
    peak = candidate.voxels[int(values.argmax())]
    return {"candidate": candidate, "pictures": _pictures(found, peak)}


def _pictures(found: Detection, voxel: Sequence[int] | np.ndarray) -> list[dict[str, str]]:
    """Draw each channel through `voxel` in three planes, the prediction outlined."""
    pictures = []
    threshold, steps = found.record["rules"]["candidate_threshold"], found.scan.grid.steps
    for name in found.scan.channels:
        for view in VIEWS:
            picture = cut(found.scan.volumes[name], view, voxel, steps)
            outline = cut(found.probability, view, voxel, steps)
            pictures.append(
                {
                    "caption": f"{name}, {view}",
                    "data": _encode(picture, [(outline, PREDICTION_COLOUR, threshold)]),
                }
            )
    return pictures


def _encode(picture: np.ndarray, outlines: list[tuple[np.ndarray, str, float]]) -> str:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "picture.png"
        write_tile(file, picture, outlines)
        return data_uri(file.read_bytes(), "png")
