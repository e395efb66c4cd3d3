"""Stages that vet a synthetic set: by figures beside real data, and by a person's eyes."""

import logging
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from lesionforge import arms
from lesionforge.audit import inspection
from lesionforge.cohort import bids
from lesionforge.cohort.subject import Subject, read_lesion
from lesionforge.detector.predict import load_detector
from lesionforge.errors import ConfigError, DataError
from lesionforge.evaluation.outcomes import outcome
from lesionforge.fidelity import traces
from lesionforge.fidelity.copies import likest
from lesionforge.fidelity.finding import Finding
from lesionforge.fidelity.found import NAME, found_finding
from lesionforge.fidelity.judge import FidelityConfig, judge
from lesionforge.fidelity.scene import new_lesions, read_scene
from lesionforge.provenance import write_json, write_tsv
from lesionforge.recording import recorded
from lesionforge.report import synthetic_page, trace_page
from lesionforge.report.cells import Cell, read_cell
from lesionforge.report.results import jsonable, score_threshold
from lesionforge.study import Study
from lesionforge.volume import Volume, read_volume

logger = logging.getLogger(__name__)

# What an audit counts of the scene it judged.
COUNTED = ("patients", "controls", "fresh", "healthy", "trained", "hosts", "masks")


def audit_synthetic(
    study: Study,
    fidelity: FidelityConfig,
    set: str = "spade",
    regime: str = "baseline",
    seed: int | None = None,
    fold: int | None = None,
) -> None:
    """Audit a synthetic set: does it show what was asked, is it real enough, is it a copy?

    Compares what a person has not rejected of it with real subjects that do not stand behind it.
    Writes `audit.json`, `nearest.tsv` and `audit.html` into the set's folder; the report shows the
    same.

    Args:
        study: the study.
        fidelity: how it is judged.
        set: name of the synthetic set.
        regime: without synthetic data; its detector looks for the lesions, where it is trained.
        seed: only this seed (default: all of the study's).
        fold: only this fold (default: all, with --folds).
    """
    if set not in study.synthetic:
        raise ConfigError(f"`set` must be one of {', '.join(study.synthetic)}, got {set}.")
    arms.check_regime(study, regime)
    if study.regimes[regime].synthetic is not None:
        raise ConfigError(f"`regime` must be one without synthetic data, got {regime}.")
    for one_seed, one_fold in study.cells(seed, fold):
        with recorded(study, arms.cell_name(f"audit_synthetic_{set}", one_seed, one_fold)):
            _audit_set(study, fidelity, (set, regime), (one_seed, one_fold))


def _audit_set(
    study: Study, fidelity: FidelityConfig, names: tuple[str, str], cell: tuple[int, int | None]
) -> None:
    name, regime = names
    root = study.synthetic_root(name, *cell)
    behind = arms.baseline_subjects(study, *cell)
    fresh = arms.fresh_subjects(study, behind, fidelity.against, cell[1])
    made = inspection.accepted(root)
    scene = read_scene(made, behind, fresh, study.synthetic[name], fidelity)
    findings, matches = judge(scene, fidelity.seed)
    ill = [s for s in made if s.group == "patient"]
    place = new_lesions(behind, study.synthetic[name])
    findings.append(_found(study, regime, cell, ill, place))
    audit: dict[str, Any] = {
        "schema": 1,
        "set": name,
        "seed": cell[0],
        "against": list(fidelity.against),
        "counts": {part: len(getattr(scene, part)) for part in COUNTED} | {"flawed": scene.flawed},
        "subjects": {s.id: inspection.digest(s) for s in made},
        "findings": [finding.to_json() for finding in findings],
    }
    audit = jsonable(audit)
    bids.write_bidsignore(root)  # the set may be older than what is listed there
    write_json(root / "audit.json", audit)
    write_tsv(root / "nearest.tsv", pd.DataFrame([asdict(m) for m in matches]))
    known = {s.id: s for s in [*behind, *made]}
    worst = likest(matches, fidelity.pictures)
    page = synthetic_page.write_synthetic_page(root / "audit.html", audit, worst, known)
    logger.info("%s Look at %s", synthetic_page.headline(audit["findings"]), page)


def _found(
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
    done = arms.finished_cells(study, "detector")[0]
    cell = next(c for c in done if (c.regime, c.seed, c.fold) == (regime, *where))
    tables = read_cell(cell, study.rules)
    threshold = score_threshold(tables, study.rules, study.evaluation)
    members = tables.subjects[tables.subjects["role"] == "validation"]
    seen = outcome(tables.candidates, members, dict.fromkeys(members["participant_id"], threshold))
    usual = int(seen.detected.sum()), len(seen.patients)
    return found_finding(load_detector(folder), patients, study.rules, threshold, usual, place)


def trace_false_positives(
    study: Study,
    regime: str = "augmented",
    against: str = "baseline",
    role: Literal["validation", "test"] = "validation",
    seed: int | None = None,
    fold: int | None = None,
) -> None:
    """Trace a regime's new false positives to the training lesions most like them.

    Writes `false_positives.tsv` and `false_positives.html` beside the regime's tables.

    Args:
        study: the study.
        regime: with real and synthetic training patients.
        against: the regime whose false positives are no news.
        role: whose false positives; `test` is for a last report: a generator that was mended by it
            has made the test set a training set.
        seed: only this seed (default: all that both regimes have).
        fold: only this fold (default: all, with --folds).
    """
    wanted = list(study.cells(seed, fold))
    done = {(c.regime, c.seed, c.fold): c for c in arms.finished_cells(study, "detector")[0]}
    cells = [cell for cell in wanted if all((r, *cell) in done for r in (regime, against))]
    if not cells:
        raise DataError(f"Train `{regime}` and `{against}` first; no seed has both.")
    for cell in cells:
        with recorded(study, arms.cell_name(f"trace_{regime}", *cell)):
            _trace_cell(study, done[regime, *cell], done[against, *cell], role)


def _trace_cell(study: Study, cell: Cell, other: Cell, role: str) -> None:
    both = [read_cell(one, study.rules) for one in (cell, other)]
    thresholds = [score_threshold(one, study.rules, study.evaluation) for one in both]
    members = both[0].ids(role)
    mine, theirs = (t.candidates[t.candidates["participant_id"].isin(members)] for t in both)
    false = traces.false_candidates(mine, theirs, (thresholds[0], thresholds[1]))
    training = arms.trained_subjects(study, cell, both[0].training)
    place_of: Callable[[Subject], np.ndarray] = read_lesion
    if cell.source:
        behind = arms.baseline_subjects(study, cell.seed, cell.fold)
        place_of = new_lesions(behind, study.synthetic[cell.source])
    lesions = traces.read_training_lesions(training, place_of)
    held_out = [s for s in arms.real_subjects(study) if s.id in members]

    def read(name: str) -> Volume:
        return read_volume(cell.probability(name))

    def place(name: str, number: int) -> np.ndarray:
        return traces.candidate_place(read(name), study.rules, number)

    found = traces.trace(false, held_out, read, study.rules, lesions)
    write_tsv(cell.folder / "false_positives.tsv", found)
    summary = traces.summarise(found, lesions, len(false) - len(found))
    known = {s.id: s for s in [*training, *held_out]}
    page = trace_page.write_trace_page(
        cell.folder / "false_positives.html",
        found,
        summary,
        known,
        place,
        (cell.regime, other.regime, role),
    )
    logger.info("%s Look at %s", summary, page)


def inspect_synthetic(
    study: Study,
    saved: str,
    by: str,
    set: str = "spade",
    seed: int | None = None,
    fold: int | None = None,
) -> None:
    """Record what a person said on the page of `synthesize --inspect`; the rejected do not train.

    Verdicts are appended to `inspected.tsv` in the set's folder, and the last one counts. Then
    `synthesize` makes as many more as were rejected.

    Args:
        study: the study.
        saved: file that the page has saved.
        by: who has looked.
        set: name of the synthetic set.
        seed: of the set (needed where the study has several).
        fold: of the set (needed with --folds).
    """
    if set not in study.synthetic:
        raise ConfigError(f"`set` must be one of {', '.join(study.synthetic)}, got {set}.")
    cells = list(study.cells(seed, fold))
    if len(cells) > 1:
        raise ConfigError(
            f"The study has {len(cells)} sets `{set}`, verdicts belong to one: name its --seed"
            + (" and --fold." if study.folds else ".")
        )
    root = study.synthetic_root(set, *cells[0])
    subjects = bids.read_cohort(root)
    written = inspection.record_inspection(Path(saved), subjects, by)
    for row in written:
        if row.verdict == "reject":
            logger.info("%s is rejected: %s", row.participant_id, row.reason)
    logger.info("%d new verdicts in %s", len(written), root / inspection.TABLE)
    logger.info("%s", inspection.summary(root, subjects))
