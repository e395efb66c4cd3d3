"""Stages that vet a synthetic set: by figures beside real data, and by a person's eyes."""

import logging
import secrets
import sys
from pathlib import Path
from typing import Literal

from lesionforge.errors import ConfigError, DataError
from lesionforge.provenance import read_json, write_json
from lesionforge.study.config import Study
from lesionforge.study.records import recorded
from lesionforge.synthetic_qc.config import SyntheticAuditConfig

logger = logging.getLogger(__name__)


def audit_synthetic(
    study: Study,
    audit: SyntheticAuditConfig,
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
        audit: how it is judged.
        set: name of the synthetic set.
        regime: without synthetic data; its detector looks for the lesions, where it is trained.
        seed: only this seed (default: all of the study's).
        fold: only this fold (default: all, with --folds).
    """
    if set not in study.synthetic:
        raise ConfigError(f"`set` must be one of {', '.join(study.synthetic)}, got {set}.")
    study.check_regime(regime)
    if study.regimes[regime].synthetic is not None:
        raise ConfigError(f"`regime` must be one without synthetic data, got {regime}.")

    from lesionforge.study.runs import run_name
    from lesionforge.study.synthetic_audit import audit_set

    for one_seed, one_fold in study.seeds_and_folds(seed, fold):
        with recorded(study, run_name(f"audit_synthetic_{set}", one_seed, one_fold)):
            audit_set(study, audit, (set, regime), (one_seed, one_fold))


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
    from lesionforge.study import runs as study_runs
    from lesionforge.study.false_positive_trace import trace_run

    wanted = list(study.seeds_and_folds(seed, fold))
    done = {(c.regime, c.seed, c.fold): c for c in study_runs.finished_runs(study, "detector")[0]}
    runs = [run for run in wanted if all((r, *run) in done for r in (regime, against))]
    if not runs:
        raise DataError(f"Train `{regime}` and `{against}` first; no seed has both.")
    for run in runs:
        with recorded(study, study_runs.run_name(f"trace_{regime}", *run)):
            trace_run(study, done[regime, *run], done[against, *run], role)


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
    runs = list(study.seeds_and_folds(seed, fold))
    if len(runs) > 1:
        raise ConfigError(
            f"The study has {len(runs)} sets `{set}`, verdicts belong to one: name its --seed"
            + (" and --fold." if study.folds else ".")
        )

    from lesionforge.data import cohort
    from lesionforge.synthetic_qc import visual_review

    root = study.synthetic_root(set, *runs[0])
    subjects = cohort.read_cohort(root)
    written = visual_review.record_inspection(Path(saved), subjects, by)
    for row in written:
        if row.verdict == "reject":
            logger.info("%s is rejected: %s", row.participant_id, row.reason)
    logger.info("%d new verdicts in %s", len(written), root / visual_review.TABLE)
    logger.info("%s", visual_review.summary(root, subjects))


def reading_kit(
    study: Study,
    n: int = 14,
    set: str = "spade",
    seed: int = 0,
    out: str = "reading",
) -> Path:
    """Make a blinded reading of real against synthetic volumes: a page, a commitment, a sealed key.

    Send `reading.html` to readers, publish `commitment.json` before they begin, keep `key/`.

    Args:
        study: the study.
        n: real patients, and as many synthetic ones; T1w and FLAIR are read apart.
        set: name of the synthetic set (of the study's first seed and fold).
        seed: of choice and order.
        out: folder of the kit.
    """
    from lesionforge.report.pages.reading import write_reading_page
    from lesionforge.study.runs import real_subjects
    from lesionforge.synthetic_qc import reader_study
    from lesionforge.synthetic_qc.visual_review import accepted

    one_seed, one_fold = next(study.seeds_and_folds(None, None))
    made = accepted(study.synthetic_root(set, one_seed, one_fold))
    real = real_subjects(study)
    cases = reader_study.sample_cases(real, made, n, seed)
    promised = reader_study.seal(cases, secrets.token_bytes(reader_study.SALT_BYTES), Path(out))
    known = {s.id: s for s in [*real, *made]}
    page = write_reading_page(Path(out) / "reading.html", cases, known, promised)
    logger.info("%d volumes to read in %s; keep %s to yourself", len(cases), page, Path(out, "key"))
    return page


def score_reading(kit: str, readings: list[str]) -> None:
    """Score readings against a kit's key: accuracy, agreement, and what fooled each reader.

    Writes `scores.json` into the kit.

    Args:
        kit: folder that `reading-kit` made.
        readings: files that the page has saved, one a reader.
    """
    from lesionforge.synthetic_qc import reader_study

    folder = Path(kit)
    cases = reader_study.open_key(folder)
    promised = read_json(folder / "commitment.json")["sha256"]
    found = [reader_study.read_reading(Path(path), cases, promised) for path in readings]
    scored = reader_study.score_readings(cases, found)
    write_json(folder / "scores.json", scored)
    sys.stdout.write(reader_study.reading_table(scored).to_string(index=False) + "\n")
    for pair in scored["agreement"]:
        kappa = "undefined" if pair["kappa"] is None else f"{pair['kappa']:.2f}"
        names = " and ".join(pair["readers"])
        sys.stdout.write(f"Kappa of {names}, {pair['contrast']}: {kappa}\n")
