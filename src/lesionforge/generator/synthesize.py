"""Make a set of synthetic patients and controls: label first, image second, checked, resumable."""

import logging
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from tqdm import tqdm

from lesionforge import __version__
from lesionforge.cohort.bids import (
    is_complete,
    json_path,
    write_participants,
    write_subject,
)
from lesionforge.cohort.subject import Subject
from lesionforge.errors import ConfigError, DataError, LineageError, MaskError
from lesionforge.evaluation.nearness import shrink
from lesionforge.generator.draw import draw_subject
from lesionforge.generator.job import Job, open_job
from lesionforge.generator.quality import check_distance
from lesionforge.generator.recipe import SynthesisConfig, SynthesisSpec
from lesionforge.generator.render import Made, render_synthetic
from lesionforge.generator.verify import damaged_files
from lesionforge.generator.wishes import Group, Wish
from lesionforge.masks.prior import MaskConfig
from lesionforge.provenance import read_json, read_tsv, write_tsv

logger = logging.getLogger(__name__)

REJECTED = ("participant_id", "attempt", "host", "reason", "detail")


def synthesize(  # noqa: PLR0913 (the stage's whole interface, in one call)
    subjects: list[Subject],
    generator: Path,
    out: Path,
    config: SynthesisConfig,
    masks: MaskConfig,
    n: int,
    n_controls: int,
    seed: int,
) -> list[Subject]:
    """Make `n` synthetic patients and `n_controls` synthetic controls as a BIDS derivative.

    Resumable: subjects that are complete, undamaged and of the same configuration are kept. Each
    depends on the seed and its own number only, so a set may grow later and keeps what it has.

    Args:
        subjects: the real training subjects of the baseline, patients and controls.
        generator: folder of the trained generator; it must have seen none but `subjects`. Mode
            `paste` needs none.
        out: folder of the set.
        config: how subjects are made.
        masks: how lesion masks are modelled.
        n: synthetic patients `sub-syn0001` ...; a set that has more keeps them.
        n_controls: synthetic controls `sub-syc0001` ....
        seed: of everything that is drawn.

    Returns:
        The subjects of the set, patients first.

    Raises:
        LineageError: the generator has seen others than `subjects`, or `subjects` are not real.
        DataError: the set on disk was made otherwise, or a subject cannot be made.
    """
    _check_request(subjects, n, n_controls)
    n, n_controls = _with_those_on_disk(out, n, n_controls)
    job = open_job(subjects, generator, out, config, masks, (n, n_controls), seed)
    if n_controls and not job.pool.hosts("control"):
        logger.warning(
            "No synthetic controls are made: mode `%s` keeps real images and the training set has "
            "no controls. Use mode `whole` or --n_controls 0.",
            config.mode,
        )
        n_controls = 0
    numbers: list[tuple[Group, int]] = [("patient", i + 1) for i in range(n)]
    numbers += [("control", i + 1) for i in range(n_controls)]
    kept = {key for key in numbers if _is_kept(job, *key)}
    _report_start(len(numbers), len(kept), out)
    start = time.monotonic()
    for key in tqdm(
        [key for key in numbers if key not in kept], desc="Synthetic subjects", disable=None
    ):
        _make_subject(job, *key)
    if made := len(numbers) - len(kept):
        logger.info("%.1f s a subject", (time.monotonic() - start) / made)
    return _write_tables(job, numbers)


def _check_request(subjects: list[Subject], n: int, n_controls: int) -> None:
    if n < 0 or n_controls < 0:
        raise ConfigError(f"`n` and `n_controls` must be 0 or more, got {n} and {n_controls}.")
    made = [s.id for s in subjects if s.synthetic]
    if made:
        raise LineageError(
            f"Synthetic subjects cannot be sources of synthesis: {', '.join(made[:10])}. "
            "Give the real training subjects."
        )
    if not any(s.group == "patient" for s in subjects):
        raise DataError("Synthesis needs at least one training patient, got none.")


def _with_those_on_disk(out: Path, n: int, n_controls: int) -> tuple[int, int]:
    """Never shrink a finished set."""
    if not (out / "participants.tsv").exists():
        return n, n_controls
    groups = read_tsv(out / "participants.tsv", participant_id=str, group=str)["group"]
    return max(n, int((groups == "patient").sum())), max(
        n_controls, int((groups == "control").sum())
    )


def _is_kept(job: Job, group: Group, number: int) -> bool:
    subject = job.subject(group, number)
    if not is_complete(subject):
        return False
    damaged = damaged_files(subject)
    if damaged:
        logger.warning("Made anew, since damaged: %s", ", ".join(map(str, damaged)))
    return not damaged


def _report_start(total: int, kept: int, out: Path) -> None:
    logger.info("%d synthetic subjects to make, %d are there already: %s", total - kept, kept, out)


def _make_subject(job: Job, group: Group, number: int) -> None:
    """Draw, render and check until one passes; then write it."""
    subject = job.subject(group, number)
    rejected: list[dict[str, Any]] = []
    for attempt in range(job.pool.config.max_attempts):
        try:
            spec = draw_subject(job.pool, job.wish(group, number, attempt), attempt)
            made = render_synthetic(spec, job.pool.read, job.trained, job.pool.config)
            made = _kept_apart(job, spec, made)
        except MaskError as error:
            rejected.append(_row(subject.id, attempt, "n/a", "mask", str(error)))
            continue
        if not made.rejections:
            _write(job, job.wish(group, number), spec, made, rejected)
            return
        rejected += [
            _row(subject.id, attempt, spec.host, r.reason, r.detail) for r in made.rejections
        ]
    raise DataError(_why_not(subject.id, rejected))


def _kept_apart(job: Job, spec: SynthesisSpec, made: Made) -> Made:
    """Measure how far a complete volume is from every real head; too near is one more rejection."""
    if job.crowd is None:
        return made
    images = np.stack([made.volumes[suffix] for suffix in ("T1w", "FLAIR")])
    distance = job.crowd.distance(shrink(images, job.pool.read(spec.host).grid.voxel_mm))
    return replace(
        made,
        checks={**made.checks, "NearestHeadSD": round(distance, 4)},
        rejections=[*made.rejections, *check_distance(distance, job.crowd.least)],
    )


def _row(name: str, attempt: int, host: str, reason: str, detail: str) -> dict[str, Any]:
    return dict(zip(REJECTED, (name, attempt, host, reason, detail), strict=True))


def _why_not(name: str, rejected: list[dict[str, Any]]) -> str:
    counts = pd.Series([row["reason"] for row in rejected]).value_counts()
    causes = ", ".join(f"{count} x {reason}" for reason, count in counts.items())
    remedy = {
        "mask": "Raise `masks.attempts`, or lower `masks.volume_margin`.",
        "effect": "Train the generator for longer, raise `max_gain`, or lower `min_effect_sd`.",
        "shown": "Train the generator for longer, raise `max_gain`, or lower `min_shown_share`.",
        "place": "Ask for stronger lesions in a plan, or raise `min_shown_share` (or 0: no check).",
        "flaw": "Leave the kind out of `flaw_kinds`.",
        "copy": "Raise `warp_mm` and `warp_scale_mm`, or lower `detail`.",
    }.get(str(counts.index[0]), "Look at the generator's panels in TensorBoard; train it longer.")
    return (
        f"{name} could not be made, every draw was rejected ({causes}; the last: "
        f"{rejected[-1]['detail']}). {remedy} Or raise `max_attempts`."
    )


def _write(
    job: Job, wish: Wish, spec: SynthesisSpec, made: Made, rejected: list[dict[str, Any]]
) -> None:
    """Write a subject that passed, after what an earlier run left half-written."""
    subject = job.subject(wish.group, wish.number)
    folder = subject.t1w.parent
    for old in folder.glob("*") if folder.exists() else ():
        old.unlink()
    loose = wish.group == "patient" and spec.attempt >= job.loose_from
    sidecar: dict[str, Any] = {
        "Mode": spec.mode,
        "Seed": job.pool.seed,
        "Wish": wish.to_json(),
        "Spec": spec.to_json(),
        "Host": spec.host,
        "Styles": list(spec.styles),
        "Site": _site(job, spec),
        "GeneratorSHA256": job.trained.sha256 if job.trained else None,
        "ConfigSHA256": job.config_sha256,
        "PackageVersion": __version__,
        "QualityChecks": {**made.checks, "PlaceOfPlanGivenUp": loose},
        "Rejected": rejected,
    }
    if spec.mode != "whole" or job.pool.config.detail:
        sidecar["ContainsRealAnatomyOf"] = spec.host
    write_subject(subject, made.volumes, job.pool.read(spec.host).grid, sidecar)


def _site(job: Job, spec: SynthesisSpec) -> str:
    """Return the site whose look the subject has: the host's, or its main style's."""
    name = spec.styles[0] if spec.mode == "whole" else spec.host
    return next(s.site for s in job.pool.subjects if s.id == name)


def _write_tables(job: Job, numbers: list[tuple[Group, int]]) -> list[Subject]:
    """Write participants.tsv and rejected.tsv from the sidecars, so that a resumed run's agree."""
    subjects, hosts, rejected = [], [], []
    flawed = 0
    for group, number in numbers:
        known = read_json(json_path(job.subject(group, number), "T1w"))
        subjects.append(job.subject(group, number, known["Site"]))
        hosts.append(known["Host"])
        rejected += known["Rejected"]
        flawed += known["Spec"].get("flaw") is not None
    write_tsv(job.out / "rejected.tsv", pd.DataFrame(rejected, columns=list(REJECTED)))
    write_participants(job.out, subjects, host=hosts)
    logger.info("%d draws were rejected and drawn again: rejected.tsv", len(rejected))
    controls = sum(subject.group == "control" for subject in subjects)
    if flawed:
        logger.info("%d of %d synthetic controls carry a deliberate flaw", flawed, controls)
    return subjects
