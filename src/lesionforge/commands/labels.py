"""Stages of the label audit: plant errors, judge labels, decide, pre-label, make label sets."""

import logging
from pathlib import Path
from typing import TYPE_CHECKING

from lesionforge.errors import DataError
from lesionforge.label_qc.config import Acceptance, CorruptConfig, LabelAuditConfig, Verdict
from lesionforge.provenance import write_tsv
from lesionforge.study.config import Study
from lesionforge.study.records import recorded

if TYPE_CHECKING:
    from lesionforge.data.subject import Subject
    from lesionforge.label_qc.evidence import Evidence

logger = logging.getLogger(__name__)


def corrupt_labels(
    study: Study,
    to: str,
    errors: CorruptConfig,
    seed: int = 0,
) -> None:
    """Plant label errors of known kinds in training subjects, as a new label set.

    The truth goes to `truth/labels/<set>.tsv`; validation and test labels stay as they are. With
    --folds every label may become wrong.

    Args:
        study: the study.
        to: name of the new label set.
        errors: which, and how many.
        seed: of the draw.
    """
    from lesionforge.data import splits
    from lesionforge.data.labels import new_set_path, write_label_set
    from lesionforge.label_qc import corruption
    from lesionforge.study import runs

    pool = runs.real_subjects(study)
    if not study.folds:
        training = splits.members(runs.read_splits(study, None), "train")
        pool = [s for s in pool if s.id in training]
    labels, kinds = corruption.corrupt_labels(pool, errors, seed)
    new_set_path(study.cohort_root, to)
    write_tsv(study.root / "truth" / "labels" / f"{to}.tsv", corruption.kinds_table(kinds))
    write_label_set(study.cohort_root, to, study.labels, labels)
    logger.info("Label set %s: %d of %d labels are wrong now", to, len(kinds), len(pool))


def audit_labels(
    study: Study,
    audit: LabelAuditConfig,
    regime: str = "baseline",
) -> Path:
    """Rank all labels by the risk that they are wrong, with reasons and slices.

    Needs detectors that have not seen the labels: with --folds K train the regime first, then every
    subject is judged by the fold that tests it. Without folds only validation and test subjects are
    judged, and test labels that are corrected after it favour the detectors under test: the report
    names them. Writes `audit/labels.tsv` and `audit/labels.html`.

    Args:
        study: the study.
        audit: how labels are judged.
        regime: whose predictions are used, all seeds of it together.
    """
    study.check_regime(regime)

    import numpy as np

    from lesionforge.data.volume import read_volume
    from lesionforge.label_qc import risk
    from lesionforge.label_qc.evidence import read_evidence
    from lesionforge.report.pages import labels as label_page
    from lesionforge.study import runs

    with recorded(study, "audit_labels"):
        maps = _out_of_fold(study, regime)
        subjects = [s for s in runs.real_subjects(study) if s.id in maps]
        rules = study.rules

        def read(subject: "Subject") -> "Evidence":
            volumes = [read_volume(path).data for path in maps[subject.id]]
            mean = np.asarray(np.mean(volumes, axis=0), dtype=np.float32)
            return read_evidence(subject, mean, rules)

        table = risk.audit_labels(subjects, read, audit)
        folder = study.labels_root / "audit"
        write_tsv(folder / "labels.tsv", table)
        page = label_page.write_label_page(
            folder / "labels.html", table, subjects, read, study.labels
        )
        first = table.head(5)
        for row in first.to_dict("records"):
            logger.info("%s: risk %.2f. %s", row["participant_id"], row["risk"], row["reasons"])
        logger.info("Look at %s", page)
        return page


def _out_of_fold(study: Study, regime: str) -> dict[str, list[Path]]:
    """Return the probability maps of every subject by detectors that were not trained on it."""
    from lesionforge.data import splits

    maps: dict[str, list[Path]] = {}
    for seed, fold in study.seeds_and_folds(None, None):
        table = splits.read_splits(study.splits_path(fold))
        roles = ("test",) if study.folds else ("validation", "test")
        folder = study.detector_root(regime, seed, fold) / "probability"
        for role in roles:
            for name in splits.members(table, role):
                path = folder / f"{name}_probability.nii.gz"
                if path.exists():
                    maps.setdefault(name, []).append(path)
    if not maps:
        raise DataError(
            f"Regime `{regime}` has no predictions in {study.labels_root}. Train it first, best "
            "with --folds 3, so that every label is judged by a detector that has not seen it."
        )
    return maps


def decide(  # noqa: PLR0913 (each is an option of the command)
    study: Study,
    subject: str,
    by: str,
    reason: str,
    verdict: Verdict = "confirm",
    mask: str | None = None,
    minutes: float = 0.0,
    reviewed_by: str = "",
) -> None:
    """Write a person's decision about one label to the cohort's log; no label changes yet.

    Args:
        study: the study.
        subject: participant id.
        by: who decides.
        reason: why, in words.
        verdict: `confirm` the label, call the subject `healthy`, or `withdraw` a first label (a
            model's) that is wrong while nobody knows the right one: unlabelled again.
        mask: NIfTI file of a new mask, drawn on the prepared T1w or FLAIR. Of an unlabelled
            patient it is the first label: in the set that `apply-decisions` makes, the patient
            trains, behind everybody else in the order.
        minutes: that it took.
        reviewed_by: a second person.
    """
    from lesionforge.label_qc import decisions
    from lesionforge.label_qc.decision_log import Decision

    made = Decision(subject, verdict, by, reason, minutes, reviewed_by=reviewed_by)
    drawn = None if mask is None else Path(mask)
    number, written = decisions.decide(study.cohort_root, study.labels, made, drawn)
    logger.info("Decision %d: %s %s", number, written.participant_id, written.verdict)


def apply_decisions(study: Study, to: str) -> None:
    """Make a new label set from the study's with the last decision about each subject.

    Args:
        study: the study.
        to: name of the new label set; train on it with `--labels NAME`.
    """
    from lesionforge.label_qc import decisions

    changed = decisions.apply_decisions(study.cohort_root, study.labels, to)
    logger.info("Label set %s: %d labels are new (%s)", to, len(changed), ", ".join(changed))


def pre_label(
    study: Study,
    regime: str,
    to: str,
    accept: float = Acceptance.accept,
    share: float = Acceptance.share,
    seed: int | None = None,
    fold: int | None = None,
) -> Path:
    """Let a trained detector label unlabelled patients, and sample some for a person to look at.

    Whose best candidate scores high enough gets its voxels as mask in a new label set, always
    marked `source: model`; the others stay unlabelled, as do those whose label a person has
    withdrawn. Writes `pre-labels/SET.tsv` and the page `pre-labels/SET.html`; then train with
    `--labels SET`.

    Args:
        study: the study; its label set is what the new one is made from.
        regime: whose detector.
        to: name of the new label set.
        accept: score from which on a best candidate becomes the mask.
        share: of the accepted that is sampled for a person, at least one.
        seed: of the detector (default: the study's first).
        fold: of the detector, with --folds (default: the first).
    """
    rule = Acceptance(accept, share)
    study.check_regime(regime)

    from lesionforge.data.labels import new_set_path
    from lesionforge.detection import inference
    from lesionforge.label_qc import decisions, prelabels
    from lesionforge.report.pages import prelabels as prelabel_page
    from lesionforge.seeding import stream
    from lesionforge.study import runs

    with recorded(study, "pre_label"):
        new_set_path(study.cohort_root, to)
        seen = decisions.last_verdicts(study.cohort_root)
        waiting = runs.unlabelled_people(study)
        people = [s for s in waiting if s.id not in seen]
        if not people:
            raise DataError(
                f"Nobody waits for a model's label in the set `{study.labels}` ({len(waiting)} "
                "whose labels were withdrawn wait for a person). Patients without a mask are those "
                "whose `group` is `unlabelled` in participants.tsv of the raw data."
            )
        one_seed, one_fold = next(study.seeds_and_folds(seed, fold))
        maps = inference.probability_maps(study.detector_root(regime, one_seed, one_fold))
        model = runs.run_name(regime, one_seed, one_fold)
        made = prelabels.read_prelabels(people, maps, study.rules)
        rng = stream(one_seed, "pre-label", to)
        outcome = prelabels.accept_prelabels(made, rule, rng)
        folder = study.labels_root / "pre-labels"
        table = outcome.table({s.id: s.site for s in people})
        write_tsv(folder / f"{to}.tsv", table)
        if not outcome.accepted:
            raise DataError(
                f"No set `{to}` was made: the best of {len(made)} best candidates scores "
                f"{table['score'].max():.3f}, below {rule.accept:g}. See {folder / to}.tsv."
            )
        page = prelabel_page.write_prelabel_page(
            folder / f"{to}.html", table, outcome, people, (to, model, rule)
        )
        prelabels.keep_prelabels(study.cohort_root, study.labels, to, outcome, people, model)
    logger.info("%d of %d unlabelled patients have a mask", len(outcome.accepted), len(made))
    logger.info("Look at %d of them in %s", len(outcome.inspected), page)
    return page
