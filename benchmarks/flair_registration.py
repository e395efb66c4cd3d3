"""Undo known rigid moves of the FLAIR: how near does preparation come, and does a failure show?

    python benchmarks/flair_registration.py HEADS [--draws 20] [--out TABLE.tsv]

HEADS is a BIDS-like folder. Each draw takes a head by turns, moves its FLAIR by up to 15 mm and 15
degrees, by its affine alone, so that nothing is interpolated, prepares it, and compares the place
that was found for the FLAIR with where it must be: the move after the place that was found without
a move (the scans of a head need not lie on each other).
"""

import argparse
import logging
import time
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.spatial.transform import Rotation

from lesionforge.cohort.pipeline import prepare_images
from lesionforge.cohort.prepare import PrepareConfig
from lesionforge.cohort.quality import doubts, motion_figures, unusual, usual_figures
from lesionforge.cohort.rawdata import read_raw
from lesionforge.cohort.register import centroid
from lesionforge.cohort.single import single_threaded
from lesionforge.provenance import write_tsv
from lesionforge.seeding import stream
from lesionforge.volume import Volume, grid, read_volume

logger = logging.getLogger("flair_registration")
LARGEST_MM, LARGEST_DEG = 15.0, 15.0


def draw_move(rng: np.random.Generator, centre: np.ndarray) -> np.ndarray:
    """Draw a 4x4 rigid move about `centre` with uniform angle and shift in random directions."""
    axis, direction = (v / np.linalg.norm(v) for v in rng.normal(size=(2, 3)))
    turn = Rotation.from_rotvec(np.radians(rng.uniform(0, LARGEST_DEG)) * axis).as_matrix()
    move = np.eye(4)
    move[:3, :3] = turn
    move[:3, 3] = centre - turn @ centre + rng.uniform(0, LARGEST_MM) * direction
    return move


def error_of(found: np.ndarray, true: np.ndarray, centre: np.ndarray) -> tuple[float, float]:
    """Return how far apart two rigid moves bring `centre` (mm), and their angle (degrees)."""
    place = (true @ np.append(centre, 1.0))[:3]
    shift, angle = motion_figures(found @ np.linalg.inv(true), place).values()
    return shift, angle


def main() -> None:
    """Run the benchmark."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("heads", type=Path, help="BIDS-like folder")
    parser.add_argument("--draws", type=int, default=20, help="moves (default: 20)")
    parser.add_argument("--out", type=Path, help="table to write")
    arguments = parser.parse_args()
    heads, _ = read_raw(arguments.heads)
    unmoved: dict[str, np.ndarray] = {}
    rows = []
    for draw in range(arguments.draws):
        head = heads[draw % len(heads)]
        t1w, flair = read_volume(head.t1w), read_volume(head.flair)
        centre = centroid(t1w)
        move = draw_move(stream(0, "flair-registration", draw), centre)
        moved = Volume(flair.data, grid(flair.grid.shape, move @ flair.grid.matrix))
        with single_threaded():
            if head.id not in unmoved:
                unmoved[head.id] = prepare_images(t1w, flair, None, PrepareConfig()).flair_from_t1w
            start = time.monotonic()
            scan = prepare_images(t1w, moved, None, PrepareConfig())
        shift, angle = error_of(scan.flair_from_t1w, move @ unmoved[head.id], centre)
        moved_mm, moved_deg = error_of(move, np.eye(4), centre)
        logger.info(
            "%2d  %s  moved %4.1f mm %4.1f deg, error %.2f mm %.2f deg, %.0f s",
            *(draw, head.id, moved_mm, moved_deg, shift, angle, time.monotonic() - start),
        )
        known = {"participant_id": head.id, "moved_mm": moved_mm, "moved_deg": moved_deg}
        rows.append({**known, "error_mm": shift, "error_deg": angle, **scan.figures})
    table = pd.DataFrame(rows)
    usual = usual_figures(table)
    table["flags"] = ["; ".join([*doubts(r), *unusual(r, usual)]) for r in table.to_dict("records")]
    good = (table["error_mm"] <= 1) & (table["error_deg"] <= 1)
    logger.info("%d of %d undone to within 1 mm and 1 degree", good.sum(), len(good))
    for row in table[~good].to_dict("records"):
        logger.info("not undone: %s, flags: %s", row["participant_id"], row["flags"] or "none")
    if arguments.out:
        write_tsv(arguments.out, table)


if __name__ == "__main__":
    main()
