"""Draw synthetic subjects: host, lesion, style and noise; all the chance of synthesis is here."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from lesionforge.cohort.subject import Subject
from lesionforge.generator.anatomy import Anatomy, bend_anatomy
from lesionforge.generator.recipe import SynthesisConfig, SynthesisSpec
from lesionforge.generator.warp import WarpSpec, sample_warp
from lesionforge.masks.prior import MaskPrior
from lesionforge.masks.sample import sample_spec
from lesionforge.masks.spec import MaskRequest
from lesionforge.seeding import stream

Group = Literal["patient", "control"]


@dataclass(frozen=True, eq=False)
class Pool:
    """What is drawn from.

    Attributes:
        subjects: the real training subjects.
        prior: what lesions are like.
        config: how subjects are made.
        seed: of the synthetic set.
        read: reads the anatomy of a subject.
    """

    subjects: tuple[Subject, ...]
    prior: MaskPrior
    config: SynthesisConfig
    seed: int
    read: Callable[[str], Anatomy]

    def hosts(self, group: Group) -> list[Subject]:
        """List who may be a host; empty where synthetic controls cannot be made.

        `insert` keeps real images, so its hosts are controls, or patients where there are none
        (never for synthetic controls). `whole` heals and bends tissues, so everybody may be one.
        """
        if self.config.mode == "whole":
            return list(self.subjects)
        controls = [s for s in self.subjects if s.group == "control"]
        if controls or group == "control":
            return controls
        return list(self.subjects)


def draw_subject(
    pool: Pool, group: Group, number: int, attempt: int, request: MaskRequest
) -> SynthesisSpec:
    """Draw one synthetic subject; depends on the pool, its group, number and attempt only.

    Hosts take turns, in an order drawn anew for each round; from the second attempt on the host is
    drawn freely.

    Args:
        pool: what is drawn from.
        group: patient or control.
        number: 1, 2 ... of the subject in its group.
        attempt: 0 for the first draw, more after rejections.
        request: what a plan fixes of the lesion.

    Raises:
        MaskError: no lesion fits the host.
    """
    config = pool.config
    rng = stream(pool.seed, "synthetic", group, number, attempt)
    host = _host(pool, group, number, attempt, rng)
    warp = _warp(config, rng)
    noise, other = (int(v) for v in rng.integers(2**31, size=2))
    redraw = config.redraw_noise and config.mode == "insert"
    styles, weights = _styles(pool, host, rng)
    lesion = None
    if group == "patient" or config.mode == "insert":
        anatomy = bend_anatomy(pool.read(host.id), warp)
        lesion = sample_spec(pool.prior, anatomy.as_host(), rng, request)
    return SynthesisSpec(
        mode=config.mode,
        group=group,
        host=host.id,
        attempt=attempt,
        warp=warp,
        lesion=lesion,
        styles=styles,
        style_weights=weights,
        noise_seed=noise,
        null_noise_seed=other if redraw else noise,
    )


def loosen(request: MaskRequest) -> MaskRequest:
    """Let go of lobe and side, keep volume and conspicuity."""
    return replace(request, lobe=None, side=None)


def _host(
    pool: Pool, group: Group, number: int, attempt: int, rng: np.random.Generator
) -> Subject:
    hosts = sorted(pool.hosts(group), key=lambda subject: subject.id)
    if attempt:
        return hosts[int(rng.integers(len(hosts)))]
    turn, place = divmod(number - 1, len(hosts))
    order = stream(pool.seed, "hosts", group, turn).permutation(len(hosts))
    return hosts[int(order[place])]


def _warp(config: SynthesisConfig, rng: np.random.Generator) -> WarpSpec:
    if config.mode == "whole":
        return sample_warp(rng, config.warp_mm, config.warp_scale_mm, config.flip_hosts)
    return sample_warp(rng, 0.0, config.warp_scale_mm, config.flip_hosts)


def _styles(
    pool: Pool, host: Subject, rng: np.random.Generator
) -> tuple[tuple[str, ...], tuple[float, ...]]:
    """Take the host's own style (`insert`), or one or two styles of a site (`whole`).

    Patients' and controls' styles are drawn alike for either group, so style marks no label.
    """
    if pool.config.mode == "insert":
        return (host.id,), (1.0,)
    everybody = sorted(pool.subjects, key=lambda subject: subject.id)
    first = everybody[int(rng.integers(len(everybody)))]
    alike = [s for s in everybody if s.site == first.site and s.id != first.id]
    weight = float(rng.uniform(0.5, 1.0))
    if not pool.config.mix_styles or not alike:
        return (first.id,), (1.0,)
    return (first.id, alike[int(rng.integers(len(alike)))].id), (weight, 1 - weight)
