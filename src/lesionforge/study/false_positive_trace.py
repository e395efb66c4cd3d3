"""Traces the false positives of one run to training lesions, and writes the table and its page."""

import logging
from collections.abc import Callable

import numpy as np

from lesionforge.data.subject import Subject, read_lesion
from lesionforge.data.volume import Volume, read_volume
from lesionforge.provenance import write_tsv
from lesionforge.report.pages import false_positives as trace_page
from lesionforge.report.results import score_threshold
from lesionforge.report.runs import Run, read_run
from lesionforge.study import runs as study_runs
from lesionforge.study.config import Study
from lesionforge.synthetic_qc import false_positives
from lesionforge.synthetic_qc.audit_data import new_lesions

logger = logging.getLogger(__name__)


def trace_run(study: Study, run: Run, other: Run, role: str) -> None:
    """Trace what `run` finds wrongly and `other` does not.

    Args:
        study: the study.
        run: whose false positives are traced.
        other: the run whose false positives are no news.
        role: of the subjects, `validation` or `test`.
    """
    both = [read_run(one, study.rules) for one in (run, other)]
    thresholds = [score_threshold(one, study.rules, study.evaluation) for one in both]
    members = both[0].ids(role)
    mine, theirs = (t.candidates[t.candidates["participant_id"].isin(members)] for t in both)
    false = false_positives.false_candidates(mine, theirs, (thresholds[0], thresholds[1]))
    training = study_runs.trained_subjects(study, run, both[0].training)
    place_of: Callable[[Subject], np.ndarray] = read_lesion
    if run.source:
        behind = study_runs.baseline_subjects(study, run.seed, run.fold)
        place_of = new_lesions(behind, study.synthetic[run.source])
    lesions = false_positives.read_training_lesions(training, place_of)
    held_out = [s for s in study_runs.real_subjects(study) if s.id in members]

    def read(name: str) -> Volume:
        return read_volume(run.probability(name))

    def place(name: str, number: int) -> np.ndarray:
        return false_positives.candidate_place(read(name), study.rules, number)

    found = false_positives.trace(false, held_out, read, study.rules, lesions)
    write_tsv(run.folder / "false_positives.tsv", found)
    summary = false_positives.summarise(found, lesions, len(false) - len(found))
    known = {s.id: s for s in [*training, *held_out]}
    page = trace_page.write_trace_page(
        run.folder / "false_positives.html",
        found,
        summary,
        known,
        place,
        (run.regime, other.regime, role),
    )
    logger.info("%s Look at %s", summary, page)
