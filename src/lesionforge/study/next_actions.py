"""Ranks what an expert could do next in a study, by expected gain a minute."""

import logging
from collections.abc import Collection

import pandas as pd

from lesionforge.data import splits
from lesionforge.data.labels import read_labelled
from lesionforge.data.subject import Subject, read_lesion
from lesionforge.detection.inference import load_detector
from lesionforge.errors import DataError
from lesionforge.label_qc import next_cases as cases
from lesionforge.label_qc.config import NextConfig
from lesionforge.label_qc.new_patients import highest_probabilities, value_new_patients
from lesionforge.label_qc.worth import Worth, measure_worth
from lesionforge.provenance import read_json, read_tsv, write_json, write_tsv
from lesionforge.report.results import score_threshold
from lesionforge.report.runs import read_run
from lesionforge.study import runs
from lesionforge.study.config import Study
from lesionforge.synthesis.verification import read_synthetic
from lesionforge.synthetic_qc.audit_data import new_lesions
from lesionforge.synthetic_qc.visual_review import standing

logger = logging.getLogger(__name__)
SHOWN = 12


def rank_actions(
    study: Study, costs: NextConfig, minutes: float, readers: tuple[str, ...], set: str | None
) -> pd.DataFrame:
    """Write `audit/next.tsv` and `audit/next.json`, and return the table.

    Args:
        study: the study; compared before.
        costs: minutes of each action, and how readers err.
        minutes: to be spent.
        readers: two label sets of two readers, or none.
        set: a synthetic set to be looked at.
    """
    worth = measure_worth(read_json(study.report_root() / "metrics.json"))
    labels = _audited(study)
    actions = [
        *([] if labels is None else cases.inspect_actions(labels, worth, costs)),
        *_repeats(study, worth, costs),
        *_adjudications(study, readers, worth, costs),
        *_predicted(study, set, worth, costs, labels),
    ]
    table = cases.plan(actions, minutes)
    folder = study.labels_root / "audit"
    write_tsv(folder / "next.tsv", table)
    write_json(
        folder / "next.json",
        {
            "minutes": minutes,
            "return": "(gain - risk) / minutes, points of sensitivity a minute",
            "formulas": cases.FORMULAS,
            "worth_of_a_label": worth.label,
            "worth_of_a_synthetic_patient": worth.synthetic,
            "worth_of_a_false_positive": worth.false_positive,
            "basis": worth.basis,
        },
    )
    logger.info("A label is worth %.2f points: %s", worth.label, worth.basis)
    for row in table[table["chosen"] == 1].head(SHOWN).to_dict("records"):
        what = cases.WORDS[row["action"]]
        logger.info("%5.3f a minute: %s, %s (%s)", row["return"], what, row["subject"], row["why"])
    return table


def _audited(study: Study) -> pd.DataFrame | None:
    """Return what `audit-labels` has written, None where it has not."""
    path = study.labels_root / "audit" / "labels.tsv"
    if not path.exists():
        logger.warning("No labels to inspect in the list: run audit-labels first.")
        return None
    labels = read_tsv(path, participant_id=str, risk=float, reasons=str)
    labels["reasons"] = labels["reasons"].fillna("")
    return labels


def _repeats(study: Study, worth: Worth, costs: NextConfig) -> list[cases.Action]:
    """Find false positives, above each training's threshold, that several trainings share."""
    found, held_out = [], []
    for run in runs.finished_runs(study, "detector")[0]:
        tables = read_run(run, study.rules)
        threshold = score_threshold(tables, study.rules, study.evaluation)
        found.append(tables.candidates[tables.candidates["score"] >= threshold])
        held_out.append(tables.subjects["participant_id"].tolist())
    repeats = cases.repeated_false_positives(found, held_out)
    return cases.look_actions(repeats, len({i for ids in held_out for i in ids}), worth, costs)


def _adjudications(
    study: Study, readers: tuple[str, ...], worth: Worth, costs: NextConfig
) -> list[cases.Action]:
    if not readers:
        return []
    if len(readers) != 2:
        raise DataError(f"`readers` names two label sets, got {', '.join(readers)}.")
    one, other = (read_labelled(study.cohort_root, name) for name in readers)
    dice = {}
    for mine, theirs in zip(one, other, strict=True):
        same = mine.lesion == theirs.lesion and mine.group == theirs.group
        if same or not (mine.has_label and theirs.has_label):
            continue
        masks = read_lesion(mine), read_lesion(theirs)
        size = int(masks[0].sum() + masks[1].sum())
        dice[mine.id] = 2 * int((masks[0] & masks[1]).sum()) / size if size else 1.0
    return cases.adjudicate_actions(dice, (readers[0], readers[1]), worth, costs)


def _predicted(
    study: Study,
    set: str | None,
    worth: Worth,
    costs: NextConfig,
    labels: pd.DataFrame | None,
) -> list[cases.Action]:
    """Value what needs the baseline's detector: unlabelled patients, synthetic volumes."""
    seed, fold = next(study.seeds_and_folds(None, None))
    weights = study.detector_root("baseline", seed, fold)
    detector = load_detector(weights)
    behind = read_json(weights / "lineage.json")["real_subjects"]
    fresh = _new_patients(study, fold, behind)
    actions = value_new_patients(detector, fresh, labels, worth, costs)
    if set is not None:
        root = study.synthetic_root(set, seed, fold)
        seen = standing(root)  # by a person, who need not look again
        made = [s for s in read_synthetic(root) if s.id not in seen]
        ill = [s for s in made if s.group == "patient"]
        behind_set = runs.baseline_subjects(study, seed, fold)
        place = new_lesions(behind_set, study.synthetic[set])
        shows = highest_probabilities(
            detector, ill, "synthetic patients", lambda p, s: p * place(s)
        )
        bad = {name: 1 - peak for name, peak in shows.items()}
        actions += cases.validate_actions(bad, worth, costs)
    return actions


def _new_patients(study: Study, fold: int | None, behind: Collection[str]) -> list[Subject]:
    """Return the unlabelled patients; where nobody is, training patients that the baseline lacks.

    Args:
        study: the study.
        fold: of the baseline's detector.
        behind: ids that it was trained on.
    """
    people = read_labelled(study.cohort_root, study.labels)
    if not all(s.has_label for s in people):
        return runs.unlabelled_people(study)
    logger.info(
        "Nobody is unlabelled: training patients beyond the baseline stand in for new patients."
    )
    pool = set(splits.members(runs.read_splits(study, fold), "train")) - {*behind}
    return [s for s in people if s.id in pool and s.group == "patient"]
