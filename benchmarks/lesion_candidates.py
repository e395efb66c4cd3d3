"""Make a table of a detector's lesion candidates, hit or false positive, with image features.

    python benchmarks/lesion_candidates.py --cell CELL --config configs/phantom_study.yaml
    python benchmarks/relabelling.py --data CELL/lesion-candidates.tsv --seeds 10

CELL is the folder of a finished detector of the study, such as
`runs/phantom_study/detector/baseline/seed-0`. Its candidates are those of validation and test
subjects, whom it was not trained on (refused otherwise), judged by their right labels. Features are
those of the label audit (`lesionforge.label_qc.similarity`): the logit of a candidate's score, its mean
probability and volume, and what the images show in it: 10 numbers that exist already and cost no
second prediction. Nothing is chosen by these subjects: the strategies have no setting that is
learnt here. Subjects are read one by one and kept; the same command goes on.
"""

import argparse
import logging
from pathlib import Path
from typing import Any

import pandas as pd
from tqdm import tqdm

from arguments import read_arguments
from lesionforge.data.subject import Subject
from lesionforge.data.volume import read_volume
from lesionforge.errors import DataError
from lesionforge.label_qc.evidence import read_evidence
from lesionforge.label_qc.similarity import FEATURES, candidate_features
from lesionforge.provenance import read_json, read_tsv, sha256, write_tsv
from lesionforge.report.runs import Run, RunTables, check_lineage, read_run
from lesionforge.study.config import Study
from planting import check_made_with, right_labels

logger = logging.getLogger("lesion_candidates")


def read_finished(folder: Path, study: Study) -> RunTables:
    """Read a finished cell and refuse leaks; its numbers of subjects are those of its lineage."""
    known = read_json(folder / "lineage.json")
    real = {name for name, sources in known["training"].items() if name in sources}
    made, ill = known["training"].keys() - real, set(known["patients"])
    counts = [len(part) for who in (real, made) for part in (who & ill, who - ill)]
    run = Run(folder.name, 0, None, folder, *counts)
    tables = read_run(run, study.rules)
    check_lineage([tables])
    return tables


def subject_rows(subject: Subject, tables: RunTables, study: Study) -> list[dict[str, Any]]:
    """Return the rows of one subject's candidates.

    Raises:
        DataError: the probability map has other candidates than the cell's table.
    """
    known = tables.candidates[tables.candidates["participant_id"] == subject.id]
    if known.empty:
        return []
    probability = read_volume(tables.run.probability(subject.id)).data
    evidence = read_evidence(subject, probability, study.rules)
    if len(known) != len(evidence.candidates):
        raise DataError(
            f"{tables.run.folder}: candidates.tsv and the map of {subject.id} do not belong "
            "together. Run train_detector again: trained detectors and maps are kept."
        )
    hits = known.set_index("candidate")["hit"]
    return [
        {
            "participant_id": subject.id,
            "candidate": found.number,
            "hit": int(hits[found.number]),
            **candidate_features(evidence, found),
        }
        for found in evidence.candidates
    ]


def main() -> None:
    """Make the table."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cell", type=Path, required=True, help="folder of a finished detector")
    own, study = read_arguments(parser)
    tables, right = read_finished(own.run, study), right_labels(study)
    parts = own.run / "lesion-candidates"
    made_with = {"candidates": sha256(own.run / "candidates.tsv"), "features": list(FEATURES)}
    check_made_with(parts, made_with)
    for name in tqdm(sorted(tables.subjects["participant_id"]), desc="subjects", unit="subject"):
        if not (parts / f"{name}.tsv").exists():
            rows = subject_rows(right[name], tables, study)
            write_tsv(
                parts / f"{name}.tsv",
                pd.DataFrame(rows, columns=list(rows[0]) if rows else ["participant_id"]),
            )
    every = [read_tsv(path) for path in sorted(parts.glob("*.tsv"))]
    every = [part for part in every if len(part)]
    if not every:
        raise DataError(f"{own.run} has no candidates at all: train it for longer.")
    table = pd.concat(every, ignore_index=True)
    write_tsv(own.run / "lesion-candidates.tsv", table)
    logger.info(
        "%d candidates of %d subjects, %d are hits",
        len(table),
        table["participant_id"].nunique(),
        table["hit"].sum(),
    )


if __name__ == "__main__":
    main()
