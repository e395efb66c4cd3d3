"""What chance decides about a phantom: a frozen `PhantomSpec`, sampled once, saved, replayed."""

from dataclasses import dataclass, fields, is_dataclass, replace
from types import UnionType
from typing import Any, cast, get_args, get_origin, get_type_hints

import numpy as np

from lesionforge.data.subject import Group
from lesionforge.errors import ConfigError
from lesionforge.phantoms.benign import BenignSpec, sample_benign
from lesionforge.phantoms.config import Disease, PhantomConfig
from lesionforge.phantoms.fcd import FcdLesion, sample_fcd
from lesionforge.phantoms.head import HeadSpec, sample_head
from lesionforge.phantoms.ms import MsLesion, sample_ms
from lesionforge.phantoms.protocols import CHANNELS, SITES
from lesionforge.phantoms.rater import RaterSpec, sample_rater
from lesionforge.phantoms.scan import ScanSpec, sample_pose, sample_scan
from lesionforge.seeding import stream


@dataclass(frozen=True)
class PhantomSpec:
    """Everything that chance decided about one phantom.

    Attributes:
        id: its name.
        group: patient or control.
        site: its scanner, see `protocols.SITES`.
        seed: of the cohort.
        host: whose head, scans and streams these are; another phantom's id where the same head
            carries further lesions, else `id`.
        lesion_seed: tells sets of lesions of one host apart; 0 is the host's own.
        disease: of the cohort.
        head: anatomy.
        benign: what may be taken for disease.
        scans: one a channel, in the order that was asked for.
        rater: how lesions are outlined.
        lesions: of a patient; empty for a control, or a patient's healthy twin.
    """

    id: str
    group: Group
    site: str
    seed: int
    host: str
    lesion_seed: int
    disease: Disease
    head: HeadSpec
    benign: BenignSpec
    scans: dict[str, ScanSpec]
    rater: RaterSpec
    lesions: tuple[FcdLesion | MsLesion, ...] = ()

    @property
    def outlined_on(self) -> str:
        """The channel on which the rater outlines lesions: FLAIR, else the first."""
        return "FLAIR" if "FLAIR" in self.scans else next(iter(self.scans))

    def rng(self, *part: str | int) -> np.random.Generator:
        """Open the stream of a part of this phantom's head or scans."""
        return stream(self.seed, "phantom", self.host, *part)


def phantom_id(group: Group, number: int) -> str:
    """Return the id of the phantom of `group` with `number` (from 1): `sub-p0001`, `sub-c0001`."""
    return f"sub-{group[0]}{number:04d}"


def sample_phantom(
    config: PhantomConfig,
    group: Group,
    number: int,
    channels: tuple[str, ...] = ("T1w", "FLAIR"),
) -> PhantomSpec:
    """Draw a phantom; it does not depend on how many others a cohort has, nor on their channels.

    Raises:
        ConfigError: a channel that no scanner has.
    """
    unknown = [channel for channel in channels if channel not in CHANNELS]
    if unknown or not channels:
        raise ConfigError(
            f"Phantoms have the channels {', '.join(CHANNELS)}; `channels` asks for "
            f"{', '.join(unknown) or 'none'}."
        )
    name = phantom_id(group, number)

    def rng(part: str) -> np.random.Generator:
        return stream(config.seed, "phantom", name, part)

    shares = np.array([SITES[site].share for site in config.sites])
    site = str(rng("site").choice(list(config.sites), p=shares / shares.sum()))
    head, pose = sample_head(rng("anatomy")), sample_pose(rng("pose"))
    protocols = SITES[site].protocols
    spec = PhantomSpec(
        id=name,
        group=group,
        site=site,
        seed=config.seed,
        host=name,
        lesion_seed=0,
        disease=config.disease,
        head=head,
        benign=sample_benign(rng("benign"), head),
        scans={c: sample_scan(rng(c), protocols[c], config.voxel_mm, pose) for c in channels},
        rater=sample_rater(rng("rater")),
    )
    return spec if group == "control" else _with_lesions(spec, config, 0)


def _with_lesions(spec: PhantomSpec, config: PhantomConfig, lesion_seed: int) -> PhantomSpec:
    rng = spec.rng("lesions", config.disease, lesion_seed)
    lesions: tuple[FcdLesion | MsLesion, ...]
    if config.disease == "ms":
        lesions = sample_ms(rng, config.lesion_contrast, config.missed)
    else:
        lesions = (sample_fcd(rng, config.lesion_contrast),)
    return replace(spec, lesion_seed=lesion_seed, lesions=lesions)


def healthy_twin(spec: PhantomSpec) -> PhantomSpec:
    """Return the same head, scans and noise without lesions."""
    return replace(spec, lesions=())


def with_further_lesions(
    spec: PhantomSpec, config: PhantomConfig, lesion_seed: int, name: str
) -> PhantomSpec:
    """Return the same head and scans with other lesions, as the simulator draws them.

    Args:
        spec: the host; its own lesions are replaced.
        config: of the host's cohort.
        lesion_seed: 1 or more; each gives other lesions.
        name: id of the new phantom.
    """
    if lesion_seed < 1:
        raise ConfigError(f"`lesion_seed` must be 1 or more, got {lesion_seed}: 0 is the host.")
    return replace(_with_lesions(spec, config, lesion_seed), id=name, group="patient")


def spec_from_json(value: dict[str, Any]) -> PhantomSpec:
    """Make the `PhantomSpec` that `dataclasses.asdict` and JSON have turned into `value`."""
    return cast(PhantomSpec, _restore(PhantomSpec, value))


def _restore(kind: Any, value: Any) -> Any:
    if isinstance(kind, UnionType):  # of dataclasses: the one that has these fields
        kind = next(k for k in get_args(kind) if {f.name for f in fields(k)} == set(value))
    if is_dataclass(kind):
        hints = get_type_hints(kind)
        return cast(type, kind)(**{name: _restore(hints[name], value[name]) for name in hints})
    if get_origin(kind) is tuple:
        return tuple(_restore(get_args(kind)[0], item) for item in value)
    if get_origin(kind) is dict:
        return {key: _restore(get_args(kind)[1], item) for key, item in value.items()}
    return value


__all__ = [
    "PhantomSpec",
    "healthy_twin",
    "phantom_id",
    "sample_phantom",
    "spec_from_json",
    "with_further_lesions",
]
