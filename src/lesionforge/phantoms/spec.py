"""What chance decides about a phantom: a frozen `PhantomSpec`, drawn once, saved, replayed."""

from dataclasses import dataclass, fields, is_dataclass
from types import UnionType
from typing import Any, cast, get_args, get_origin, get_type_hints

import numpy as np

from lesionforge.data.subject import Group
from lesionforge.phantoms.config import PhantomVersion
from lesionforge.phantoms.parameters import (
    DIFFICULTY,
    LOBE_SHARES,
    LOBES,
    SCANNERS,
    ConfounderKind,
    Difficulty,
    Look,
    Protocol,
)
from lesionforge.seeding import stream


@dataclass(frozen=True)
class AnatomySpec:
    """The head: size, ventricles, folding. Fields come from the streams of the subject's name."""

    scale: tuple[float, float, float]
    warp: float
    ventricle_mm: float
    atrophy: float
    thickness: float
    cortex_sd: float
    fold_sd: float
    regional_sd: float
    texture: float
    caps: float


@dataclass(frozen=True)
class ScanSpec:
    """One acquisition: voxels, pose of the head (degrees, mm), contrast and faults."""

    voxel_mm: tuple[float, float, float]
    tilt_deg: float
    orientation: str
    rotation_deg: tuple[float, float, float]
    translation_mm: tuple[float, float, float]
    tissue: tuple[float, float, float]
    deep_grey: float
    blur_mm: float
    noise: float
    bias: float
    gain: float
    ghost: float
    ghost_axis: int
    ghost_shift: float


@dataclass(frozen=True)
class LesionSpec:
    """A stretch of abnormal cortex: a focal cortical dysplasia, or a benign stretch.

    `place` in [0, 1) picks a seed among the lobe's cortex; `white_flair` and `white_t1w` are the
    signs of the white matter beneath.
    """

    lobe: str
    side: str
    place: float
    subtype: str
    conspicuity: float
    volume_mm3: float
    thickening_mm: float
    blur_mm: float
    flair: float
    t1w: float
    softness_mm: float
    transmantle: bool
    white_flair: float = 0.0
    white_t1w: float = 0.0


@dataclass(frozen=True)
class ConfounderSpec:
    """A benign finding; `place` in [0, 1) picks its voxel among those its kind allows."""

    kind: str
    place: float
    radius_mm: float
    flair: float
    t1w: float
    direction: tuple[float, float, float]


@dataclass(frozen=True)
class PhantomSpec:
    """Everything that chance decided about one phantom."""

    version: PhantomVersion
    seed: int
    id: str
    group: Group
    site: str
    voxel_mm: float
    anatomy: AnatomySpec
    t1w: ScanSpec
    flair: ScanSpec
    confounders: tuple[ConfounderSpec, ...]
    lesion: LesionSpec | None
    mimics: tuple[LesionSpec, ...] = ()


def phantom_id(group: Group, number: int) -> str:
    """Return the id of the phantom of `group` with `number` (from 1): `sub-p0001`, `sub-c0001`."""
    return f"sub-{group[0]}{number:04d}"


def sample_phantom(
    seed: int, group: Group, number: int, voxel_mm: float, version: PhantomVersion = "1"
) -> PhantomSpec:
    """Draw a phantom of `version`; it does not depend on how many others a cohort has."""
    name, difficulty = phantom_id(group, number), DIFFICULTY[version]
    ill = group == "patient"

    def rng(part: str) -> np.random.Generator:
        return stream(seed, "phantom", name, part)

    site = str(rng("site").choice(list(SCANNERS), p=[s.share for s in SCANNERS.values()]))
    scanner = SCANNERS[site]
    t1w = _sample_scan(rng("T1w"), scanner.t1w, voxel_mm, difficulty)
    return PhantomSpec(
        version=version,
        seed=seed,
        id=name,
        group=group,
        site=site,
        voxel_mm=voxel_mm,
        anatomy=_sample_anatomy(rng("anatomy"), difficulty),
        t1w=t1w,
        flair=_sample_scan(rng("FLAIR"), scanner.flair, voxel_mm, difficulty, after=t1w),
        confounders=_sample_confounders(rng("confounders"), difficulty),
        lesion=sample_lesion(rng("lesion"), difficulty, difficulty.lesions) if ill else None,
        mimics=_sample_mimics(rng("mimics"), difficulty),
    )


def _sample_anatomy(rng: np.random.Generator, difficulty: Difficulty) -> AnatomySpec:
    size = rng.normal(0.95, 0.035)  # the template is larger than most heads
    scale = np.clip(size * rng.normal(1.0, 0.025, 3), 0.83, 1.06)
    return AnatomySpec(
        scale=_floats(scale),
        warp=float(rng.uniform(0.7, 1.3)),
        ventricle_mm=float(np.clip(rng.gamma(2.0, 0.9) - 1.0, -1.0, 4.5)),
        atrophy=float(rng.normal(0.7, 0.35)),
        thickness=float(rng.normal(0.1, 0.2)),
        cortex_sd=float(difficulty.cortex_sd * rng.uniform(0.6, 1.4)),
        fold_sd=difficulty.fold_sd,
        regional_sd=float(difficulty.regional_sd * rng.uniform(0.5, 1.5)),
        texture=float(rng.uniform(0.5, 1.1)),
        caps=float(rng.uniform(0.05, 0.32)),
    )


def _sample_scan(
    rng: np.random.Generator,
    protocol: Protocol,
    voxel_mm: float,
    difficulty: Difficulty,
    after: ScanSpec | None = None,
) -> ScanSpec:
    """Draw a scan; `after` an earlier one the head has moved by at most 2 degrees and 2 mm."""
    turn, move = rng.uniform(-2, 2, 3), _in_ball(rng) * 2
    if after is None:
        turn, move = rng.normal(0, 4, 3).clip(-10, 10), rng.normal(0, 5, 3).clip(-12, 12)
    else:
        turn, move = turn / np.sqrt(3) + after.rotation_deg, move + after.translation_mm
    ghosted = rng.random() < difficulty.ghost_share
    ghost = rng.uniform(*difficulty.ghost)
    return ScanSpec(
        voxel_mm=_floats(np.array(protocol.voxel) * voxel_mm),
        tilt_deg=protocol.tilt_deg,
        orientation=protocol.orientation,
        rotation_deg=_floats(turn),
        translation_mm=_floats(move),
        tissue=_floats(np.array(protocol.tissue) + rng.normal(0, difficulty.contrast_sd, 3)),
        deep_grey=float(protocol.deep_grey + rng.normal(0, 0.02)),
        blur_mm=float(protocol.blur * voxel_mm * rng.uniform(0.85, 1.15)),
        noise=float(difficulty.noise * protocol.noise * np.exp(rng.normal(0, 0.2))),
        bias=float(protocol.bias * rng.uniform(0.6, 1.3)),
        gain=float(protocol.gain * np.exp(rng.normal(0, 0.15))),
        ghost=float(ghost) if ghosted else 0.0,
        ghost_axis=int(rng.integers(2)),
        ghost_shift=float(rng.uniform(0.15, 0.5)),
    )


def sample_lesion(
    rng: np.random.Generator, difficulty: Difficulty, looks: tuple[Look, ...]
) -> LesionSpec:
    """Draw a lesion, or a benign stretch that looks like one of `looks`."""
    low, high = difficulty.conspicuity
    conspicuity = low + (high - low) * rng.beta(*difficulty.conspicuity_shape)
    look = looks[int(rng.choice(len(looks), p=[one.share for one in looks]))]
    full = (difficulty.thickening_mm, difficulty.blur_mm, *2 * (difficulty.flair, difficulty.t1w))
    spread = np.append(rng.uniform(0.75, 1.25, 4), [1, 1])
    signs = np.array(full) * look.signs * conspicuity * spread
    smallest, median, largest = difficulty.volume_mm3
    volume = median * np.exp(rng.normal(0, difficulty.volume_log_sd))
    thickening, blur, flair, t1w, white_flair, white_t1w = _floats(signs)
    return LesionSpec(
        lobe=str(rng.choice(LOBES, p=LOBE_SHARES)),
        side=str(rng.choice(["left", "right"])),
        place=float(rng.random()),
        subtype=look.name,
        conspicuity=float(conspicuity),
        volume_mm3=float(np.clip(volume, smallest, largest)),
        thickening_mm=thickening,
        blur_mm=blur,
        flair=flair,
        t1w=t1w,
        softness_mm=float(rng.uniform(0.8, 2.0)),
        transmantle=bool(rng.random() < difficulty.transmantle_share),
        white_flair=white_flair,
        white_t1w=white_t1w,
    )


def _sample_mimics(rng: np.random.Generator, difficulty: Difficulty) -> tuple[LesionSpec, ...]:
    number = rng.poisson(difficulty.mimic_rate)
    return tuple(sample_lesion(rng, difficulty, difficulty.mimics) for _ in range(number))


def _sample_confounders(
    rng: np.random.Generator, difficulty: Difficulty
) -> tuple[ConfounderSpec, ...]:
    radius = {
        "wm_spot": (1.5, 4.0),
        "cortical_spot": (2.0, 5.0),
        "vessel": (1.2, 2.2),
        "blurred_junction": (5.0, 12.0),
    }
    found = []
    for kind, rate in zip(get_args(ConfounderKind), difficulty.confounder_rates, strict=True):
        for _ in range(rng.poisson(rate)):
            flair = rng.uniform(*difficulty.confounder_flair)
            flair += difficulty.wm_spot_extra * (kind == "wm_spot")
            found.append(
                ConfounderSpec(
                    kind=kind,
                    place=float(rng.random()),
                    radius_mm=float(rng.uniform(*radius[kind])),
                    flair=float(flair) if kind != "blurred_junction" else 0.0,
                    t1w=float(-rng.uniform(0.0, 0.5) * flair) if kind == "wm_spot" else 0.0,
                    direction=_floats(_in_ball(rng)),
                )
            )
    return tuple(found)


def _in_ball(rng: np.random.Generator) -> np.ndarray:
    vector = rng.normal(size=3)
    return vector / np.linalg.norm(vector) * rng.random() ** (1 / 3)


def _floats(values: Any) -> Any:
    return tuple(float(v) for v in values)


def spec_from_json(value: dict[str, Any]) -> PhantomSpec:
    """Make the `PhantomSpec` that `dataclasses.asdict` and JSON have turned into `value`.

    What an earlier LesionForge did not know, such as benign stretches, has its default.
    """
    return cast(PhantomSpec, _restore(PhantomSpec, value))


def _restore(kind: Any, value: Any) -> Any:
    if get_origin(kind) is UnionType:
        kind = get_args(kind)[0] if value is not None else type(None)
    if is_dataclass(kind):
        hints = get_type_hints(kind)
        known = [f.name for f in fields(kind) if f.name in value]
        return cast(type, kind)(**{name: _restore(hints[name], value[name]) for name in known})
    if get_origin(kind) is tuple:
        inner = get_args(kind)[0]
        return tuple(_restore(inner, item) for item in value)
    return value
