"""Prepare raw heads: a BIDS-like folder in, a cohort on one MNI grid out; or one new scan.

The steps themselves (`single`, `pipeline`) are imported when work begins.
"""

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import joblib
import pandas as pd
from tqdm import tqdm

from lesionforge.data.cohort import write_description, write_participants
from lesionforge.data.labels import write_reader_sets
from lesionforge.data.subject import Subject
from lesionforge.errors import DataError
from lesionforge.preprocessing.checks import Check, check_raw, check_scan, sum_up
from lesionforge.preprocessing.config import PrepareConfig
from lesionforge.preprocessing.grids import plan_voxel_mm
from lesionforge.preprocessing.headers import read_header
from lesionforge.preprocessing.lesion_masks import COLUMNS, ROWS
from lesionforge.preprocessing.problems import Problem
from lesionforge.preprocessing.quality import columns
from lesionforge.preprocessing.raw import RawSubject
from lesionforge.preprocessing.scan import PreparedScan
from lesionforge.provenance import write_tsv
from lesionforge.stopping import worker_pool

PROBLEM_COLUMNS = ("participant_id", "file", "what", "remedy", "fatal")
_log = logging.getLogger("lesionforge.prepare")


def prepare_scan(images: Mapping[str, Path], config: PrepareConfig) -> PreparedScan:
    """Prepare one new scan without a label, as a cohort's subjects are.

    Args:
        images: channel to file, the reference first.
        config: how.

    Raises:
        DataError: a file cannot be read or used; the message names it.
    """
    from lesionforge.preprocessing.single import prepare_files, single_threaded

    raw = check_scan(images)
    with single_threaded():
        scan = prepare_files(raw, config)
    return replace(scan, notes=(*raw.notes, *scan.notes))


def prepare_cohort(
    bids: Path | Sequence[Path],
    cohort: Path,
    config: PrepareConfig,
    channels: Sequence[str],
    labels: Mapping[int, str] | None = None,
) -> list[Subject]:
    """Prepare every subject of BIDS-like folders and write the cohort and its tables.

    Masks of several readers become a label set a reader, once every subject is prepared.

    A subject that is complete on disk with the same inputs and configuration is kept. A bad subject
    does not stop the others.

    Args:
        bids: the data set, or several.
        cohort: folder of the cohort.
        config: how.
        channels: BIDS suffixes of the images, the reference first.
        labels: what the values of lesion masks mean, `lesion` or `ignore`; see `check_raw`.

    Returns:
        The subjects, by id.

    Raises:
        DataError: some subjects could not be prepared; all are listed, the others are written. Or
            a reader has other masks than the label set of the reader holds.
    """
    from lesionforge.preprocessing.single import prepare_subject

    cohort = Path(cohort)
    check = check_raw(bids, channels, config, labels)
    raws, problems = check.subjects, check.problems
    config = planned(config, raws)
    write_description(cohort, "Prepared cohort", channels)
    begun = time.perf_counter()
    jobs = (joblib.delayed(prepare_subject)(raw, cohort, config) for raw in raws)
    workers = min(config.workers, max(len(raws), 1))
    parallel = worker_pool(workers, return_as="generator", batch_size=1)
    outcomes = list(tqdm(parallel(jobs), total=len(raws), desc="prepare", unit="subject"))
    problems += [problem for _, _, found in outcomes for problem in found]
    done = {s: figures for s, figures, _ in outcomes if s is not None}
    _log.info("%d subjects in %.0f s", len(done), time.perf_counter() - begun)
    _write_tables(cohort, channels, check, done, problems)
    if check.unused:
        _log.info("%d files, columns and folders are not used: see problems.tsv", len(check.unused))
    _report(problems, bids, len(done))
    readers: dict[str, dict[str, str]] = {}
    for raw in raws:
        for name, path in raw.readers:
            readers.setdefault(name, {})[raw.id] = path.name
    write_reader_sets(cohort, readers)
    return list(done)


def planned(config: PrepareConfig, raws: Sequence[RawSubject]) -> PrepareConfig:
    """Return a configuration whose voxel size is in mm: what `auto` means for these subjects."""
    if config.voxel_mm != "auto" or not raws:
        return config
    size = plan_voxel_mm([read_header(raw.reference).grid for raw in raws])
    shown = " x ".join(f"{edge:g}" for edge in size)
    _log.info("voxels of %s mm, after %d scans (`voxel_mm: auto`)", shown, len(raws))
    return replace(config, voxel_mm=size)


def _write_tables(
    cohort: Path,
    channels: Sequence[str],
    check: Check,
    done: Mapping[Subject, dict[str, Any]],
    problems: Sequence[Problem],
) -> None:
    """Write who was prepared, how it went, what became of each lesion, and what was wrong."""
    parts = {raw.id: raw.split for raw in check.subjects}
    write_participants(
        cohort,
        list(done),
        split=[parts[subject.id] for subject in done],
        lesion_ml=[f.get("lesion_ml", 0.0 if s.has_label else None) for s, f in done.items()],
    )
    shown = columns(channels)
    rows = [{"participant_id": s.id, **{c: f.get(c) for c in shown}} for s, f in done.items()]
    lesions = [{"participant_id": s.id, **row} for s, f in done.items() for row in f.get(ROWS, [])]
    found = [(p.subject, p.file, p.what, p.remedy, int(p.fatal)) for p in problems]
    found += [("n/a", one.what, f"not used: {one.why}", "n/a", 0) for one in check.unused]
    tables = {
        "quality.tsv": pd.DataFrame(rows, columns=["participant_id", *shown]),
        "lesions.tsv": pd.DataFrame(lesions, columns=["participant_id", *COLUMNS]),
        "problems.tsv": pd.DataFrame(found, columns=list(PROBLEM_COLUMNS)),
    }
    for name, table in tables.items():
        write_tsv(cohort / name, table)


def prepare_one(
    bids: Path | Sequence[Path],
    cohort: Path,
    config: PrepareConfig,
    channels: Sequence[str],
    name: str,
    labels: Mapping[int, str] | None = None,
) -> None:
    """Prepare one subject of BIDS-like folders, without the cohort's tables.

    For clusters: one job a subject; `prepare_cohort` then keeps them all and writes the tables.

    Raises:
        DataError: there is no such subject, or it cannot be prepared.
    """
    from lesionforge.preprocessing.single import prepare_subject

    check = check_raw(bids, channels, config, labels)
    raws = {raw.id: raw for raw in check.subjects}
    config = planned(config, check.subjects)
    problems = [problem for problem in check.problems if problem.subject == name]
    if name in raws:
        _, _, found = prepare_subject(raws[name], Path(cohort), config)
        problems += found
    elif not problems:
        raise DataError(f"{bids} has no subject {name}; it has {', '.join(sorted(raws)[:5])} ...")
    _report(problems, bids, int(not any(problem.fatal for problem in problems)))


def _report(problems: list[Problem], bids: object, prepared: int) -> None:
    """Log the remarks; raise one error that lists everything that must be fixed."""
    for line in sum_up([problem for problem in problems if not problem.fatal]):
        _log.warning("%s", line)
    fatal = [str(p) for p in problems if p.fatal]
    if fatal:
        raise DataError(
            f"{len(fatal)} problem(s) in {bids}; {prepared} subject(s) were prepared and kept. "
            "Fix these, or name the subjects in `cohort.prepare.exclude` (`[sub-01]`), and "
            "run the same command again:\n- " + "\n- ".join(fatal)
        )
