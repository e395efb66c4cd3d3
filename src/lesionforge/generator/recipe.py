"""How synthetic subjects are drawn: the configuration, and the frozen recipe of one."""

import dataclasses
from dataclasses import dataclass
from typing import Any, Literal, get_args

from lesionforge.errors import ConfigError, DataError
from lesionforge.generator.flaws import FlawKind, FlawSpec
from lesionforge.generator.warp import WarpSpec
from lesionforge.masks.spec import MaskSpec

Mode = Literal["insert", "whole", "paste"]


@dataclass(frozen=True)
class SynthesisConfig:
    """How synthetic subjects are made.

    Attributes:
        mode: `insert` adds a lesion's effect to real volumes; `whole` makes complete volumes on
            bent anatomy; `paste` copies real training lesions into training hosts, without a
            generator: the control that costs no training (CarveMix, Zhang et al. 2021).
        feather_mm: insert, paste: what is added fades out over this distance around the mask, with
            `insert` over the second half of it. Real lesions show beyond their masks too, so a
            short one makes synthetic lesions easy to tell from real ones.
        redraw_noise: insert: the passes with and without lesion get different noise. With the same
            noise the texture of the host is left alone and a null lesion changes nothing at all;
            different noise adds the generator's own texture in the mask, in controls too.
        flip_hosts: hosts may be mirrored left to right.
        warp_mm: whole: root mean square displacement of the anatomy; above 0.
        warp_scale_mm: whole: distance over which the displacement changes.
        mix_styles: whole: mix the style codes of two training scans of one site.
        detail: whole: share of what the generator leaves unexplained of its host (noise, shading,
            fine anatomy) that is bent with the anatomy and kept; 0 is the generator alone, whose
            volumes are easily told from real ones unless it was trained for long.
        smooth_voxels: insert, whole: a generator's effect is averaged over this (standard deviation
            of a Gaussian) before anything else is done to it: what it draws finer is texture of its
            own, not what lesions do (docs/results/generator); 0 leaves it.
        max_gain: an effect is brought to the signs and the strength asked for by at most this
            factor, or its inverse, in each sign, and then strengthened by at most this factor until
            the images show the conspicuity asked for; 1 leaves the generator's effect as it is.
        min_effect_sd: a lesion must change its voxels by at least this much (root mean square over
            both images, in robust standard deviations), or it is drawn again.
        min_effect_share: and by at least this share of the conspicuity asked for.
        min_shown_share: and the images, measured like a real patient's, must show at least this
            share of it, and less than this before the lesion was put there; 0 for no such check.
        min_sign_cosine: least cosine between what a lesion does to grey and white matter, in T1w
            and FLAIR, and what was asked for.
        plan: table of lesions to make (a `plan.tsv`, perhaps edited; see `lesionforge.masks.plan`);
            none draws one.
        flaw_share: share of the synthetic controls that carry a deliberate flaw and no lesion (hard
            negatives), spread evenly over their numbers.
        flaw_kinds: the flaws, which take turns: `motion` (ghosts and ringing), `bias` (a smooth
            field), `spots` (small bright spots in the FLAIR's white matter).
        max_attempts: draws for one subject before giving up.
        tile: edge in voxels of the tiles that volumes are made in; none makes them at once.
        device: where the generator runs; `auto` takes a GPU if there is one.
    """

    mode: Mode = "insert"
    feather_mm: float = 10.0
    redraw_noise: bool = False
    flip_hosts: bool = True
    warp_mm: float = 4.0
    warp_scale_mm: float = 30.0
    mix_styles: bool = True
    detail: float = 1.0
    smooth_voxels: float = 0.7
    max_gain: float = 2.0
    min_effect_sd: float = 0.2
    min_effect_share: float = 0.25
    min_shown_share: float = 0.5
    min_sign_cosine: float = 0.0
    plan: str | None = None
    flaw_share: float = 0.0
    flaw_kinds: tuple[FlawKind, ...] = get_args(FlawKind)
    max_attempts: int = 12
    tile: int | None = None
    device: str = "auto"

    def __post_init__(self) -> None:
        if self.mode not in get_args(Mode):
            raise ConfigError(f"`mode` must be insert, whole or paste, got {self.mode!r}.")
        _within("feather_mm", self.feather_mm, 0, 50)
        _within("warp_mm", self.warp_mm, 0.5, 20)
        _within("warp_scale_mm", self.warp_scale_mm, 10, 200)
        _within("detail", self.detail, 0, 1)
        _within("smooth_voxels", self.smooth_voxels, 0, 5)
        _within("max_gain", self.max_gain, 1, 10)
        _within("min_effect_sd", self.min_effect_sd, 0, 10)
        _within("min_effect_share", self.min_effect_share, 0, 1)
        _within("min_shown_share", self.min_shown_share, 0, 1)
        _within("flaw_share", self.flaw_share, 0, 1)
        _within("min_sign_cosine", self.min_sign_cosine, -1, 1)
        _within("max_attempts", self.max_attempts, 1, 1000)
        once = set(self.flaw_kinds)
        if not once or len(once) != len(self.flaw_kinds) or not once <= set(get_args(FlawKind)):
            raise ConfigError(
                f"`flaw_kinds` must be one or more of {', '.join(get_args(FlawKind))}, each once, "
                f"got {list(self.flaw_kinds)}. For no flaws set `flaw_share` to 0."
            )

    def content(self) -> dict[str, Any]:
        """Return what decides the voxels, JSON-able: what a set on disk is recognised by.

        Where it runs does not, a plan's rows are compared one by one, and knobs of flaws
        and detail count only where there are any.
        """
        values = dataclasses.asdict(dataclasses.replace(self, device="", plan=None))
        if not self.flaw_share:
            del values["flaw_share"], values["flaw_kinds"]
        if self.mode != "whole":
            del values["detail"]
        return values


def _within(name: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:
        raise ConfigError(f"`{name}` must be between {low:g} and {high:g}, got {value:g}.")


@dataclass(frozen=True)
class CarveSpec:
    """What is copied into a host, and how much around it.

    Attributes:
        region: id of the real patient whose lesion gives the shape and the place.
        donor: id of the real subject whose tissue is copied: the same patient, or for a control
            another control, so that the marks of copying tell no label.
        flip: whether both are mirrored left to right first.
        margin: how far beyond the lesion's border tissue is copied, in inradii of the lesion; below
            0 an inner part of the lesion is copied alone.
    """

    region: str
    donor: str
    flip: bool
    margin: float


@dataclass(frozen=True)
class SynthesisSpec:
    """One drawn synthetic subject; replaying it gives the same voxels.

    Attributes:
        mode: `insert`, `whole` or `paste`.
        group: `patient` or `control`; a control's lesion is a null one and is not labelled.
        host: id of the real subject whose anatomy is used.
        attempt: how many draws before this one were rejected.
        warp: how the host is mirrored or bent.
        lesion: the lesion; None for a control in mode `whole`.
        styles: ids of the real subjects whose style codes are mixed.
        style_weights: their weights; they sum to 1.
        noise_seed: of the generator's noise with the lesion.
        null_noise_seed: of its noise without.
        carve: paste: what is copied; None in the other modes.
        flaw: what is spoilt on purpose, in controls alone; None in most.
    """

    mode: Mode
    group: Literal["patient", "control"]
    host: str
    attempt: int
    warp: WarpSpec
    lesion: MaskSpec | None
    styles: tuple[str, ...]
    style_weights: tuple[float, ...]
    noise_seed: int
    null_noise_seed: int
    carve: "CarveSpec | None" = None
    flaw: FlawSpec | None = None

    def __post_init__(self) -> None:
        """Refuse a flaw where a lesion is.

        Raises:
            DataError: a patient has a flaw.
        """
        if self.flaw is not None and self.group == "patient":
            raise DataError("Flaws are for controls, so that they mark no lesion.")

    @property
    def shows(self) -> bool:
        """Whether a lesion is to be seen at `lesion`."""
        return self.group == "patient"

    def to_json(self) -> dict[str, Any]:
        """Return the spec as JSON-able values; `from_json` gives the same spec back."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "SynthesisSpec":
        """Make a spec from `to_json`'s values or from what JSON made of them.

        Raises:
            DataError: a field is missing or unknown.
        """
        try:
            warp = WarpSpec(**values["warp"])
            lesion = values["lesion"] and MaskSpec.from_json(values["lesion"])
            carve = values.get("carve") and CarveSpec(**values["carve"])
            flaw = values.get("flaw") and FlawSpec.from_json(values["flaw"])
            known = {"warp": warp, "lesion": lesion, "carve": carve, "flaw": flaw}
            spec = cls(**{**values, **known})
        except (KeyError, TypeError) as error:
            raise DataError(
                f"This is no synthesis spec ({error}). Synthesize the set again."
            ) from None
        (a, b, c), (x, y, z) = warp.scaling, warp.rotation_deg
        warp = dataclasses.replace(warp, scaling=(a, b, c), rotation_deg=(x, y, z))
        return dataclasses.replace(
            spec, warp=warp, styles=tuple(spec.styles), style_weights=tuple(spec.style_weights)
        )
