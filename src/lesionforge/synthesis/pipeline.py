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
from lesionforge.data.cohort import is_complete, sidecar_path, write_participants, write_subject
from lesionforge.data.subject import Subject
from lesionforge.errors import ConfigError, DataError, LineageError, MaskError
from lesionforge.lesions.config import LesionConfig
from lesionforge.provenance import read_json, read_tsv, write_tsv
from lesionforge.synthesis.acceptance import check_distance
from lesionforge.synthesis.config import SynthesisConfig
from lesionforge.synthesis.plan import Group, SubjectRequest
from lesionforge.synthesis.reference_set import shrink
from lesionforge.synthesis.rendering import SyntheticVolume, render_synthetic
from lesionforge.synthesis.run import SynthesisRun, open_run
from lesionforge.synthesis.sampling import sample_subject
from lesionforge.synthesis.spec import SynthesisSpec
from lesionforge.synthesis.verification import damaged_files

logger = logging.getLogger(__name__)

REJECTED = ("participant_id", "attempt", "host", "reason", "detail")


def synthesize(  # noqa: PLR0913 (the stage's whole interface, in one call)
    subjects: list[Subject],
    generator: Path,
    out: Path,
    config: SynthesisConfig,
    masks: LesionConfig,
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
    run = open_run(subjects, generator, out, config, masks, (n, n_controls), seed)
    if n_controls and not run.pool.hosts("control"):
        logger.warning(
            "No synthetic controls are made: mode `%s` keeps real images and the training set has "
            "no controls. Use mode `whole` or --n_controls 0.",
            config.mode,
        )
        n_controls = 0
    numbers: list[tuple[Group, int]] = [("patient", i + 1) for i in range(n)]
    numbers += [("control", i + 1) for i in range(n_controls)]
    kept = {key for key in numbers if _is_kept(run, *key)}
    _report_start(len(numbers), len(kept), out)
    start = time.monotonic()
    for key in tqdm(
        [key for key in numbers if key not in kept], desc="Synthetic subjects", disable=None
    ):
        _make_subject(run, *key)
    if made := len(numbers) - len(kept):
        logger.info("%.1f s a subject", (time.monotonic() - start) / made)
    return _write_tables(run, numbers)


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


def _is_kept(run: SynthesisRun, group: Group, number: int) -> bool:
    subject = run.subject(group, number)
    if not is_complete(subject):
        return False
    damaged = damaged_files(subject)
    if damaged:
        logger.warning("Made anew, since damaged: %s", ", ".join(map(str, damaged)))
    return not damaged


def _report_start(total: int, kept: int, out: Path) -> None:
    logger.info("%d synthetic subjects to make, %d are there already: %s", total - kept, kept, out)


def _make_subject(run: SynthesisRun, group: Group, number: int) -> None:
    """Draw, render and check until one passes; then write it."""
    subject = run.subject(group, number)
    rejected: list[dict[str, Any]] = []
    for attempt in range(run.pool.config.max_attempts):
        try:
            spec = sample_subject(run.pool, run.request(group, number, attempt), attempt)
            made = render_synthetic(spec, run.pool.read, run.trained, run.pool.config)
            made = _kept_apart(run, spec, made)
        except MaskError as error:
            rejected.append(_row(subject.id, attempt, "n/a", "mask", str(error)))
            continue
        if not made.rejections:
            _write(run, run.request(group, number), spec, made, rejected)
            return
        rejected += [
            _row(subject.id, attempt, spec.host, r.reason, r.detail) for r in made.rejections
        ]
    raise DataError(_why_not(subject.id, rejected))


def _kept_apart(run: SynthesisRun, spec: SynthesisSpec, made: SyntheticVolume) -> SyntheticVolume:
    """Measure how far a complete volume is from every real head; too near is one more rejection."""
    if run.reference_set is None:
        return made
    images = np.stack([made.volumes[channel] for channel in run.pool.channels])
    distance = run.reference_set.distance(shrink(images, run.pool.read(spec.host).grid.voxel_mm))
    return replace(
        made,
        checks={**made.checks, "NearestHeadSD": round(distance, 4)},
        rejections=[*made.rejections, *check_distance(distance, run.reference_set.least)],
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
        "artifact": "Leave the kind out of `artifact_kinds`.",
        "copy": "Raise `warp_mm` and `warp_scale_mm`, or lower `detail`.",
    }.get(str(counts.index[0]), "Look at the generator's panels in TensorBoard; train it longer.")
    return (
        f"{name} could not be made, every draw was rejected ({causes}; the last: "
        f"{rejected[-1]['detail']}). {remedy} Or raise `max_attempts`."
    )


def _write(
    run: SynthesisRun,
    request: SubjectRequest,
    spec: SynthesisSpec,
    made: SyntheticVolume,
    rejected: list[dict[str, Any]],
) -> None:
    """Write a subject that passed, after what an earlier run left half-written."""
    subject = run.subject(request.group, request.number)
    folder = subject.brain.parent
    for old in folder.glob("*") if folder.exists() else ():
        old.unlink()
    loose = request.group == "patient" and spec.attempt >= run.loose_from
    sidecar: dict[str, Any] = {
        "Mode": spec.mode,
        "Seed": run.pool.seed,
        "SubjectRequest": request.to_json(),
        "Spec": spec.to_json(),
        "Host": spec.host,
        "Styles": list(spec.styles),
        "Site": _site(run, spec),
        "GeneratorSHA256": run.trained.sha256 if run.trained else None,
        "ConfigSHA256": run.config_sha256,
        "PackageVersion": __version__,
        "QualityChecks": {**made.checks, "PlaceOfPlanGivenUp": loose},
        "Rejected": rejected,
    }
    if spec.mode != "whole" or run.pool.config.detail:
        sidecar["ContainsRealAnatomyOf"] = spec.host
    write_subject(subject, made.volumes, run.pool.read(spec.host).grid, sidecar)


def _site(run: SynthesisRun, spec: SynthesisSpec) -> str:
    """Return the site whose look the subject has: the host's, or its main style's."""
    name = spec.styles[0] if spec.mode == "whole" else spec.host
    return next(s.site for s in run.pool.subjects if s.id == name)


def _write_tables(run: SynthesisRun, numbers: list[tuple[Group, int]]) -> list[Subject]:
    """Write participants.tsv and rejected.tsv from the sidecars, so that a resumed run's agree."""
    subjects, hosts, rejected = [], [], []
    with_artifact = 0
    for group, number in numbers:
        known = read_json(sidecar_path(run.subject(group, number)))
        subjects.append(run.subject(group, number, known["Site"]))
        hosts.append(known["Host"])
        rejected += known["Rejected"]
        with_artifact += known["Spec"].get("artifact") is not None
    write_tsv(run.out / "rejected.tsv", pd.DataFrame(rejected, columns=list(REJECTED)))
    write_participants(run.out, subjects, host=hosts)
    logger.info("%d draws were rejected and drawn again: rejected.tsv", len(rejected))
    controls = sum(subject.group == "control" for subject in subjects)
    if with_artifact:
        logger.info(
            "%d of %d synthetic controls carry a deliberate artifact", with_artifact, controls
        )
    return subjects
