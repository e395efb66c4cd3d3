"""Audits one synthetic set of a study: reads what is compared, writes `audit.json` and its page."""

import logging
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import numpy as np
import pandas as pd

from lesionforge.data import cohort
from lesionforge.data.subject import Subject
from lesionforge.detection.inference import load_detector
from lesionforge.metrics.outcomes import outcome
from lesionforge.provenance import write_json, write_tsv
from lesionforge.report.pages import synthetic as synthetic_page
from lesionforge.report.results import jsonable, score_threshold
from lesionforge.report.runs import read_run
from lesionforge.study import runs as study_runs
from lesionforge.study.config import Study
from lesionforge.synthetic_qc import visual_review
from lesionforge.synthetic_qc.audit import judge
from lesionforge.synthetic_qc.audit_data import new_lesions, read_audit_data
from lesionforge.synthetic_qc.config import SyntheticAuditConfig
from lesionforge.synthetic_qc.finding import Finding
from lesionforge.synthetic_qc.memorization import likest
from lesionforge.synthetic_qc.visibility import NAME, found_finding

logger = logging.getLogger(__name__)

# What an audit counts of the data it judged.
COUNTED = ("patients", "controls", "fresh", "healthy", "trained", "hosts", "masks")


def audit_set(
    study: Study,
    config: SyntheticAuditConfig,
    names: tuple[str, str],
    run: tuple[int, int | None],
) -> None:
    """Audit one set, and write `audit.json`, `nearest.tsv` and `audit.html` into its folder.

    Args:
        study: the study.
        config: how the set is judged.
        names: of the set, and of the regime whose detector looks for the lesions.
        run: seed and fold.
    """
    name, regime = names
    root = study.synthetic_root(name, *run)
    behind = study_runs.baseline_subjects(study, *run)
    fresh = study_runs.fresh_subjects(study, behind, config.against, run[1])
    made = visual_review.accepted(root)
    audit_data = read_audit_data(made, behind, fresh, study.synthetic[name], config)
    findings, matches = judge(audit_data, config.seed)
    ill = [s for s in made if s.group == "patient"]
    place = new_lesions(behind, study.synthetic[name])
    findings.append(found_by_detector(study, regime, run, ill, place))
    audit: dict[str, Any] = {
        "schema": 1,
        "set": name,
        "seed": run[0],
        "against": list(config.against),
        "counts": {part: len(getattr(audit_data, part)) for part in COUNTED}
        | {"with_artifact": audit_data.with_artifact},
        "subjects": {s.id: visual_review.digest(s) for s in made},
        "findings": [finding.to_json() for finding in findings],
    }
    audit = jsonable(audit)
    cohort.write_bidsignore(root)  # the set may be older than what is listed there
    write_json(root / "audit.json", audit)
    write_tsv(root / "nearest.tsv", pd.DataFrame([asdict(m) for m in matches]))
    known = {s.id: s for s in [*behind, *made]}
    worst = likest(matches, config.pictures)
    page = synthetic_page.write_synthetic_page(root / "audit.html", audit, worst, known)
    logger.info("%s Look at %s", synthetic_page.headline(audit["findings"]), page)


def found_by_detector(
    study: Study,
    regime: str,
    where: tuple[int, int | None],
    patients: list[Subject],
    place: Callable[[Subject], np.ndarray],
) -> Finding:
    """Look for the synthetic lesions with a regime's detector, if it is trained."""
    folder = study.detector_root(regime, *where)
    if not (folder / "subjects.tsv").exists():
        why = f"regime {regime} is not trained yet"
        return Finding("conditioning", NAME, None, "higher", "", why=why)
    done = study_runs.finished_runs(study, "detector")[0]
    run = next(c for c in done if (c.regime, c.seed, c.fold) == (regime, *where))
    tables = read_run(run, study.rules)
    threshold = score_threshold(tables, study.rules, study.evaluation)
    members = tables.subjects[tables.subjects["role"] == "validation"]
    seen = outcome(tables.candidates, members, dict.fromkeys(members["participant_id"], threshold))
    usual = int(seen.detected.sum()), len(seen.patients)
    return found_finding(load_detector(folder), patients, study.rules, threshold, usual, place)
