"""Compare what preparation found in phantoms with their truth: tissue maps, place of the FLAIR.

    python benchmarks/phantom_preparation.py runs/phantom [--subjects 100] [--out TABLE.tsv]

Tissue maps are compared as hard labels inside the brain mask, the truth brought to the study grid
by the registration that was found. The FLAIR's place is compared with the drawn poses of the head.
"""

import argparse
import logging
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

from lesionforge.data.cohort import read_cohort, sidecar_path
from lesionforge.data.subject import TISSUES, Subject, read_brain, read_grid, read_tissues
from lesionforge.data.volume import read_volume
from lesionforge.phantoms.cohort import read_spec
from lesionforge.phantoms.scan import head_to_scanner
from lesionforge.preprocessing.quality import motion_figures
from lesionforge.preprocessing.resample import resample
from lesionforge.provenance import read_json, write_tsv

logger = logging.getLogger("phantom_preparation")


def compare(subject: Subject, truth: Path) -> dict[str, object]:
    """Return Dice of grey and white matter, and the FLAIR's error, of one phantom."""
    sidecar = read_json(sidecar_path(subject))
    t1w_from_mni = np.array(sidecar["T1wFromMNI"])
    brain, grid = read_brain(subject), read_grid(subject)
    names = [
        truth / subject.id / "anat" / f"{subject.id}_label-{t}_probseg.nii.gz" for t in TISSUES
    ]
    true = np.stack([resample(read_volume(name), grid, t1w_from_mni) for name in names])
    found, known = read_tissues(subject).argmax(0), true.argmax(0)
    where = brain & (true.sum(0) > 0.5)
    spec = read_spec(truth, subject.id)
    drawn = head_to_scanner(spec.scans["FLAIR"]) @ np.linalg.inv(head_to_scanner(spec.scans["T1w"]))
    middle = (np.append(grid.world(np.argwhere(brain).mean(axis=0)), 1) @ t1w_from_mni.T)[:3]
    off = np.linalg.inv(drawn) @ np.array(sidecar["FLAIRFromT1w"])
    shift, angle = motion_figures(off, middle).values()
    row: dict[str, object] = {"participant_id": subject.id, "site": subject.site}
    for k, tissue in enumerate(TISSUES):
        a, b = (found == k) & where, (known == k) & where
        row[f"dice_{tissue}"] = 2 * (a & b).sum() / (a.sum() + b.sum())
    return {**row, "flair_error_mm": shift, "flair_error_deg": angle}


def main() -> None:
    """Run the benchmark."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("study", type=Path, help="folder of a phantom study: runs/<study>")
    parser.add_argument("--subjects", type=int, default=100, help="at most (default: 100)")
    parser.add_argument("--out", type=Path, help="table to write")
    arguments = parser.parse_args()
    subjects = read_cohort(arguments.study / "cohort")
    every = max(1, len(subjects) // arguments.subjects)
    chosen = subjects[::every][: arguments.subjects]
    table = pd.DataFrame([compare(s, arguments.study / "truth") for s in tqdm(chosen)])
    figures = table.drop(columns=["participant_id", "site"])
    logger.info("%s", figures.describe(percentiles=[0.05, 0.5, 0.95]).round(3).to_string())
    logger.info("%s", figures.groupby(table["site"]).mean().round(3).to_string())
    if arguments.out:
        write_tsv(arguments.out, table)


if __name__ == "__main__":
    main()
