"""One synthetic set in the making: what it is drawn from, what is asked for, what is there."""

import logging
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from lesionforge.data.cohort import is_complete, sidecar_path, write_description
from lesionforge.data.subject import Subject, read_grid, read_images
from lesionforge.errors import DataError, LineageError
from lesionforge.lesions.config import LesionConfig
from lesionforge.lesions.prior import LesionPrior, fit_prior
from lesionforge.lesions.spec import LesionRequest
from lesionforge.provenance import read_json, sha256_json, write_json, write_tsv
from lesionforge.synthesis.anatomy import anatomy_reader
from lesionforge.synthesis.config import Mode, SynthesisConfig
from lesionforge.synthesis.plan import (
    Group,
    SubjectRequest,
    control_requests,
    plan_table,
    sample_requests,
)
from lesionforge.synthesis.reference_set import ReferenceSet, gather, shrink
from lesionforge.synthesis.sampling import SamplingContext
from lesionforge.synthesis.spade.training import TrainedGenerator, check_volumes, load_generator
from lesionforge.training import volume_checksums

logger = logging.getLogger(__name__)
PREFIX: dict[Group, str] = {"patient": "sub-syn", "control": "sub-syc"}
RECIPE: dict[Mode, int] = {"insert": 2, "whole": 4, "paste": 2}
"""Raised when the same settings give other voxels, so that no set mixes two ways of making."""


@dataclass(frozen=True, eq=False)
class SynthesisRun:
    """A synthetic set in the making.

    Attributes:
        out: folder of the set.
        pool: what is drawn from.
        trained: the generator; None in mode `paste`.
        requests: what is asked of each patient and each control.
        sources: ids of all real subjects behind the set.
        config_sha256: checksum of everything that decides what the subjects are.
        reference_set: the real heads that no complete volume may repeat; None in modes that keep
            a head.
    """

    out: Path
    pool: SamplingContext
    trained: TrainedGenerator | None
    requests: dict[Group, list[SubjectRequest]]
    sources: tuple[str, ...]
    config_sha256: str
    reference_set: ReferenceSet | None = None

    def subject(self, group: Group, number: int, site: str = "n/a") -> Subject:
        """Return where a synthetic subject is written."""
        name = f"{PREFIX[group]}{number:04d}"
        return Subject(name, group, site, self.out, True, self.sources, channels=self.pool.channels)

    def request(self, group: Group, number: int, attempt: int = 0) -> SubjectRequest:
        """Return what is asked of a subject; the second half of the attempts may lie anywhere."""
        request = self.requests[group][number - 1]
        return request.relax_location() if attempt >= self.loose_from else request

    @property
    def loose_from(self) -> int:
        """The attempt from which lobe and side of the plan are given up."""
        return max(1, self.pool.config.max_attempts // 2)


def open_run(
    subjects: list[Subject],
    generator: Path,
    out: Path,
    config: SynthesisConfig,
    masks: LesionConfig,
    counts: tuple[int, int],
    seed: int,
) -> SynthesisRun:
    """Read the generator, fit the prior, draw the plan, and write what describes the set.

    Args:
        subjects: the real training subjects.
        generator: folder of the generator; not read in mode `paste`.
        out: folder of the set.
        config: how subjects are made.
        masks: how masks are modelled.
        counts: numbers of synthetic patients and controls.
        seed: of the set.

    Raises:
        LineageError: the generator has seen others than `subjects`.
        DataError: `out` holds subjects that were made otherwise.
    """
    ids = tuple(sorted(s.id for s in subjects))
    by_id = {s.id: s for s in subjects}
    trained = None if config.mode == "paste" else _load(generator, by_id)
    prior = None if trained is None else fit_prior(subjects, masks)

    pool = SamplingContext(tuple(subjects), prior, config, seed, anatomy_reader(subjects))
    requests = _requests(prior, counts, seed, config.plan)
    content = {
        "recipe": RECIPE[config.mode],
        "synthesis": config.content(),
        "masks": asdict(masks),
        "seed": seed,
        "subjects": ids,
        "volumes": volume_checksums([by_id[name] for name in ids]),
        "generator": trained and trained.sha256,
    }
    reference_set = None
    if config.mode == "whole":
        heads = tqdm(subjects, desc="real heads", unit="subject")
        reference_set = gather([shrink(read_images(s), read_grid(s).voxel_mm) for s in heads])
    run = SynthesisRun(out, pool, trained, requests, ids, sha256_json(content), reference_set)
    check_same(run)
    _tell_sites(run)
    write_description(out, f"Synthetic subjects ({config.mode})", pool.channels)
    if prior is not None:
        write_json(out / "prior.json", prior.to_json())
        write_tsv(out / "plan.tsv", plan_table(requests["patient"]))
    return run


def _tell_sites(run: SynthesisRun) -> None:
    """Say which sites the plan asks for in vain: `insert` keeps the look of its hosts' sites."""
    if run.pool.config.mode == "whole":
        return
    for group, requests in run.requests.items():
        there = {host.site for host in run.pool.hosts(group)}
        lacking = sorted({request.site for request in requests if request.site is not None} - there)
        if lacking:
            logger.warning(
                "No %s's host is of site %s: the plan's site is given up there, and synthetic "
                "subjects look like the sites of the hosts.",
                group,
                ", ".join(lacking),
            )


def _load(generator: Path, subjects: Mapping[str, Subject]) -> TrainedGenerator:
    """Load the generator; refuse one that has seen others than `subjects`, or other volumes."""
    trained = load_generator(generator)
    strangers = sorted(set(trained.sources) - set(subjects))
    if strangers:
        raise LineageError(
            f"The generator in {generator} has seen subjects that are not given as training "
            f"subjects: {', '.join(strangers[:10])}. Train it on these subjects."
        )
    check_volumes(generator, subjects)
    return trained


def _requests(
    prior: LesionPrior | None, counts: tuple[int, int], seed: int, plan: str | None
) -> dict[Group, list[SubjectRequest]]:
    """Plan what is asked of each subject; without a prior nothing is."""
    if prior is None:
        return {
            "patient": [
                SubjectRequest("patient", i + 1, i, None, LesionRequest()) for i in range(counts[0])
            ],
            "control": [
                SubjectRequest("control", i + 1, i, None, LesionRequest()) for i in range(counts[1])
            ],
        }
    return {
        "patient": sample_requests(prior, counts[0], seed, plan),
        "control": control_requests(sample_requests(prior, counts[1], seed, plan)),
    }


def existing(run: SynthesisRun) -> Iterator[tuple[Subject, dict[str, Any]]]:
    """Yield the complete subjects on disk with their sidecars."""
    for group, prefix in PREFIX.items():
        for folder in sorted(run.out.glob(f"{prefix}[0-9]*")):
            subject = run.subject(group, int(folder.name.removeprefix(prefix)))
            if is_complete(subject):
                yield subject, read_json(sidecar_path(subject))


def check_same(run: SynthesisRun) -> None:
    """Refuse to mix two configurations in one set, or two versions of a plan's row.

    Raises:
        DataError: names the subjects in the way.
    """
    known = list(existing(run))
    others = [s.id for s, sidecar in known if sidecar.get("ConfigSHA256") != run.config_sha256]
    if others:
        raise DataError(
            f"{run.out} holds {len(others)} subject(s) made with another configuration, generator, "
            f"seed or training set ({', '.join(others[:5])} ...). Delete the folder to make them "
            "anew, or give the set another name."
        )
    rows = {run.subject("patient", w.number).id: w.to_json() for w in run.requests["patient"]}
    changed = [
        s.id for s, sidecar in known if s.id in rows and sidecar["SubjectRequest"] != rows[s.id]
    ]
    if changed:
        raise DataError(
            f"The plan has changed for subjects that {run.out} holds already: "
            f"{', '.join(changed[:10])}. Delete their folders to make them anew."
        )
