"""The page of a blinded reading: volumes in three planes, answers, one file; it stands alone."""

import base64
import gzip
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from lesionforge.data.subject import Subject, read_brain, read_grid, read_images
from lesionforge.report.html import write_page
from lesionforge.synthetic_qc.reader_study import SCHEMA, Case

MARGIN = 2  # voxels around the brain


def write_reading_page(
    path: Path, cases: Sequence[Case], subjects: Mapping[str, Subject], commitment: str
) -> Path:
    """Write the page; every volume is inside, and nothing in it says what is real.

    Args:
        path: of the page.
        cases: in reading order.
        subjects: participant id to subject.
        commitment: of the kit, see `lesionforge.synthetic_qc.reader_study.seal`.

    Returns:
        The page's path.
    """
    shown = [
        {"name": case.name, **encode_volume(subjects[case.subject], case.contrast)}
        for case in tqdm(cases, desc="encode volumes", unit="volume")
    ]
    kit = {"schema": SCHEMA, "commitment": commitment, "cases": shown}
    return write_page(path, "reading.html", kit=kit, count=len(cases))


def encode_volume(subject: Subject, contrast: str) -> dict[str, Any]:
    """Encode a subject's volume for the page.

    Returns:
        `shape` (x, y, z) of the brain's box, `voxel_mm`, and `data`: its intensities 0 to 255, x
        slowest, as base64 of gzip. The box is all that is left of the file: no name, no header.
    """
    volume = read_images(subject)[subject.channels.index(contrast)]
    found = np.argwhere(read_brain(subject))
    low = np.maximum(found.min(axis=0) - MARGIN, 0)
    high = np.minimum(found.max(axis=0) + MARGIN + 1, volume.shape)
    box = volume[tuple(slice(int(a), int(b)) for a, b in zip(low, high, strict=True))]
    data = np.clip(np.rint(255 * box), 0, 255).astype(np.uint8)
    return {
        "shape": list(data.shape),
        "voxel_mm": [float(v) for v in read_grid(subject).voxel_mm],
        "data": base64.b64encode(gzip.compress(data.tobytes(), mtime=0)).decode(),
    }
