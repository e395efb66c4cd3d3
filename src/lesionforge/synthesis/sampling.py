"""Draw synthetic subjects: host, lesion, style and noise; all the chance of synthesis is here."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from lesionforge.data.subject import Subject
from lesionforge.errors import MaskError
from lesionforge.lesions.prior import LesionPrior
from lesionforge.lesions.sampling import sample_spec
from lesionforge.seeding import stream
from lesionforge.synthesis.anatomy import Anatomy, bend_anatomy
from lesionforge.synthesis.artifacts import ArtifactSpec, choose_kind, sample_artifact
from lesionforge.synthesis.config import SynthesisConfig
from lesionforge.synthesis.plan import Group, SubjectRequest
from lesionforge.synthesis.spec import CarveSpec, SynthesisSpec
from lesionforge.synthesis.warp import WarpSpec, sample_warp


@dataclass(frozen=True, eq=False)
class SamplingContext:
    """What is drawn from.

    Attributes:
        subjects: the real training subjects.
        prior: what lesions are like; None in mode `paste`, which copies them.
        config: how subjects are made.
        seed: of the synthetic set.
        read: reads the anatomy of a subject.
    """

    subjects: tuple[Subject, ...]
    prior: LesionPrior | None
    config: SynthesisConfig
    seed: int
    read: Callable[[str], Anatomy]

    @property
    def channels(self) -> tuple[str, ...]:
        """The channels of the real training subjects, in the study's order."""
        return self.subjects[0].channels

    def hosts(self, group: Group) -> list[Subject]:
        """List who may be a host; empty where synthetic controls cannot be made.

        `insert` and `paste` keep real images, so their hosts are controls, or patients where there
        are none (never for synthetic controls). `whole` heals and bends tissues, so everybody may
        be one.
        """
        if self.config.mode == "whole":
            return list(self.subjects)
        controls = [s for s in self.subjects if s.group == "control"]
        if controls or group == "control":
            return controls
        return list(self.subjects)


def sample_subject(pool: SamplingContext, request: SubjectRequest, attempt: int) -> SynthesisSpec:
    """Draw one synthetic subject; depends on the pool, the wish and the attempt only.

    Hosts take turns, in an order drawn anew for each round; from the second attempt on the host is
    drawn freely.

    Args:
        pool: what is drawn from.
        request: what is asked for.
        attempt: 0 for the first draw, more after rejections.

    Raises:
        MaskError: no lesion fits the host.
    """
    config = pool.config
    rng = stream(pool.seed, "synthetic", request.group, request.number, attempt)
    host = _host(pool, request, attempt, rng)
    if pool.prior is None:
        return _sample_copy(pool, request, attempt, host, rng)
    warp = _warp(config, rng)
    noise, other = (int(v) for v in rng.integers(2**31, size=2))
    redraw = config.redraw_noise and config.mode == "insert"
    styles, weights = _styles(pool, host, request, rng)
    lesion = None
    if request.group == "patient" or config.mode == "insert":
        anatomy = bend_anatomy(replace(pool.read(host.id), images=None), warp)
        lesion = sample_spec(pool.prior, anatomy.as_host(), rng, request.lesion)
    return SynthesisSpec(
        mode=config.mode,
        group=request.group,
        host=host.id,
        attempt=attempt,
        warp=warp,
        lesion=lesion,
        styles=styles,
        style_weights=weights,
        noise_seed=noise,
        null_noise_seed=other if redraw else noise,
        artifact=_artifact(pool, request, attempt),
    )


def _sample_copy(
    pool: SamplingContext,
    request: SubjectRequest,
    attempt: int,
    host: Subject,
    rng: np.random.Generator,
) -> SynthesisSpec:
    """Draw whose lesion is copied, and how much around it as CarveMix does.

    The margin is drawn from U(-1/2, 0) or U(0, 1), each half of the time, in inradii.
    """
    others = [s for s in sorted(pool.subjects, key=lambda s: s.id) if s.id != host.id]
    patients = [s for s in others if s.group == "patient"]
    donors = patients if request.group == "patient" else [s for s in others if s.group == "control"]
    if not patients or not donors:
        raise MaskError(f"Nobody but {host.id} has tissue to copy.")
    region = patients[int(rng.integers(len(patients)))]
    donor = region if request.group == "patient" else donors[int(rng.integers(len(donors)))]
    flip, inner, part = rng.random(3)
    margin = float(-part / 2 if inner < 0.5 else part)
    carve = CarveSpec(region.id, donor.id, bool(flip < 0.5), margin)
    return SynthesisSpec(
        mode="paste",
        group=request.group,
        host=host.id,
        attempt=attempt,
        warp=_warp(pool.config, rng),
        lesion=None,
        styles=(host.id,),
        style_weights=(1.0,),
        noise_seed=0,
        null_noise_seed=0,
        carve=carve,
        artifact=_artifact(pool, request, attempt),
    )


def _artifact(pool: SamplingContext, request: SubjectRequest, attempt: int) -> ArtifactSpec | None:
    """Draw a control's artifact in a stream of its own: everything else is drawn as without one."""
    config = pool.config
    if request.group == "patient":
        return None
    kind = choose_kind(request.number, config.artifact_share, config.artifact_kinds, pool.seed)
    return kind and sample_artifact(
        stream(pool.seed, "flaw", request.number, attempt), kind, pool.channels
    )


def _host(
    pool: SamplingContext, request: SubjectRequest, attempt: int, rng: np.random.Generator
) -> Subject:
    hosts = sorted(pool.hosts(request.group), key=lambda subject: subject.id)
    if pool.config.mode != "whole" or pool.config.detail:
        hosts = _of_site(hosts, request.site)
    if attempt:
        return hosts[int(rng.integers(len(hosts)))]
    turn, place = divmod(request.turn, len(hosts))
    order = stream(pool.seed, "hosts", request.group, str(request.site), turn).permutation(
        len(hosts)
    )
    return hosts[int(order[place])]


def _of_site(subjects: list[Subject], site: str | None) -> list[Subject]:
    """Keep the subjects of a site; all, where it is open or has none."""
    return [s for s in subjects if s.site == site] or subjects


def _warp(config: SynthesisConfig, rng: np.random.Generator) -> WarpSpec:
    if config.mode == "whole":
        return sample_warp(rng, config.warp_mm, config.warp_scale_mm, config.flip_hosts)
    return sample_warp(rng, 0.0, config.warp_scale_mm, config.flip_hosts)


def _styles(
    pool: SamplingContext, host: Subject, request: SubjectRequest, rng: np.random.Generator
) -> tuple[tuple[str, ...], tuple[float, ...]]:
    """Take the host's own style (`insert`), or one or two styles of a site (`whole`).

    Patients' and controls' styles are drawn alike for either group, so style marks no label.
    """
    if pool.config.mode == "insert":
        return (host.id,), (1.0,)
    everybody = _of_site(sorted(pool.subjects, key=lambda subject: subject.id), request.site)
    first = everybody[int(rng.integers(len(everybody)))]
    alike = [s for s in pool.subjects if s.site == first.site and s.id != first.id]
    alike.sort(key=lambda subject: subject.id)
    weight = float(rng.uniform(0.5, 1.0))
    if not pool.config.mix_styles or not alike:
        return (first.id,), (1.0,)
    return (first.id, alike[int(rng.integers(len(alike)))].id), (weight, 1 - weight)
