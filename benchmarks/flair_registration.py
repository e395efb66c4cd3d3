"""Undo known rigid moves of the FLAIR: how near does preparation come, and does a failure show?

    python benchmarks/flair_registration.py HEADS [--draws 20] [--out TABLE.tsv]

HEADS is a BIDS-like folder. Each draw takes a head by turns, moves its FLAIR by up to 15 mm and 15
degrees, by its affine alone, so that nothing is interpolated, prepares it, and compares the place
that was found for the FLAIR with where it must be: the move after the place that was found without
a move (the scans of a head need not lie on each other). A failure is feigned by leaving the move as
it is: the quality figure of such a head must be flagged among the others.
"""

import argparse
import logging
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from joblib import Parallel, delayed
from scipy.spatial.transform import Rotation
from tqdm import tqdm

from lesionforge.data.volume import Volume, grid, read_volume
from lesionforge.preprocessing.config import PrepareConfig
from lesionforge.preprocessing.pipeline import prepare_images
from lesionforge.preprocessing.quality import doubts, motion_figures, unusual, usual_figures
from lesionforge.preprocessing.raw import RawSubject, read_raw
from lesionforge.preprocessing.register import centroid
from lesionforge.preprocessing.single import single_threaded
from lesionforge.provenance import write_tsv
from lesionforge.seeding import stream

logger = logging.getLogger("flair_registration")
LARGEST_MM, LARGEST_DEG = 15.0, 15.0
CHANNELS = ("T1w", "FLAIR")


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


def place_of_flair(
    head: RawSubject, move: np.ndarray, config: PrepareConfig | None = None
) -> tuple[np.ndarray, dict[str, Any]]:
    """Prepare a head whose FLAIR is moved; return the place found and the quality figures."""
    images = {channel: read_volume(path) for channel, path in head.images.items()}
    flair = images["FLAIR"]
    images["FLAIR"] = Volume(flair.data, grid(flair.grid.shape, move @ flair.grid.matrix))
    with single_threaded():
        scan = prepare_images(images, None, config or PrepareConfig())
    return scan.from_reference["FLAIR"], scan.figures


def undo(head: RawSubject, draw: int, unmoved: np.ndarray) -> dict[str, Any]:
    """Draw a move, undo it, and return how far it was and what is left of it."""
    start = time.monotonic()
    centre = centroid(read_volume(head.images["T1w"]))
    move = draw_move(stream(0, "flair-registration", draw), centre)
    found, figures = place_of_flair(head, move)
    row: dict[str, Any] = {"participant_id": head.id}
    row["moved_mm"], row["moved_deg"] = error_of(move, np.eye(4), centre)
    row["error_mm"], row["error_deg"] = error_of(found, move @ unmoved, centre)
    row["seconds"] = time.monotonic() - start
    _, left = place_of_flair(head, move, PrepareConfig(register_channels=False))
    return {**row, **figures, "margin_if_left": left["flair_t1w_margin"]}


def main() -> None:
    """Run the benchmark."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("heads", type=Path, help="BIDS-like folder")
    parser.add_argument("--draws", type=int, default=20, help="moves (default: 20)")
    parser.add_argument("--workers", type=int, default=2, help="processes (default: 2)")
    parser.add_argument("--out", type=Path, help="table to write")
    arguments = parser.parse_args()
    heads = read_raw(arguments.heads, CHANNELS)[0][: arguments.draws]
    pool = Parallel(arguments.workers)
    logger.info("%d heads, each once without a move, then %d moves", len(heads), arguments.draws)
    unmoved = pool(delayed(place_of_flair)(head, np.eye(4)) for head in tqdm(heads))
    turns = [draw % len(heads) for draw in range(arguments.draws)]
    rows = pool(
        delayed(undo)(heads[turn], draw, unmoved[turn][0]) for draw, turn in enumerate(tqdm(turns))
    )
    table = pd.DataFrame(rows)
    usual = usual_figures(table, CHANNELS)
    table["flags"] = [
        "; ".join([*doubts(row, CHANNELS), *unusual(row, usual, CHANNELS)])
        for row in table.to_dict("records")
    ]
    good = (table["error_mm"] <= 1) & (table["error_deg"] <= 1)
    shown = ["participant_id", "moved_mm", "moved_deg", "error_mm", "error_deg", "seconds"]
    logger.info("%s", table[shown].round(3).to_string())
    logger.info("%d of %d undone to within 1 mm and 1 degree", good.sum(), len(good))
    left = table[(table["moved_mm"] > 1) | (table["moved_deg"] > 1)]["margin_if_left"]
    noticed = sum(bool(doubts({"flair_t1w_margin": margin}, CHANNELS)) for margin in left)
    logger.info("left as they are, %d of %d of these moves are flagged", noticed, len(left))
    for row in table[~good].to_dict("records"):
        logger.info("not undone: %s, flags: %s", row["participant_id"], row["flags"] or "none")
    if arguments.out:
        write_tsv(arguments.out, table)


if __name__ == "__main__":
    main()
