"""How synthetic subjects are made: the configuration."""

import dataclasses
from dataclasses import dataclass
from typing import Any, Literal, get_args

from lesionforge.errors import ConfigError
from lesionforge.ranges import check_finite

ArtifactKind = Literal["motion", "bias", "spots"]
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
        max_gain: an effect is brought to the contrast and the strength asked for by at most this
            factor, or its inverse, in each sign, and then strengthened by at most this factor until
            the images show the conspicuity asked for; 1 leaves the generator's effect as it is.
        min_effect_sd: a lesion must change its voxels by at least this much (root mean square over
            both images, in robust standard deviations), or it is drawn again.
        min_effect_share: and by at least this share of the conspicuity asked for.
        min_shown_share: and the images, measured like a real patient's, must show at least this
            share of it, and less than this before the lesion was put there; 0 for no such check.
        min_contrast_cosine: least cosine between the contrast change that a lesion makes and the
            one that was asked for.
        plan: table of lesions to make (a `plan.tsv`, perhaps edited); none samples one.
        artifact_share: share of the synthetic controls that carry a simulated artifact and no
            lesion (hard negatives), spread evenly over their numbers.
        artifact_kinds: the artifacts, which take turns: `motion` (ghosts and ringing), `bias` (a
            smooth field), `spots` (small bright spots in the FLAIR's white matter).
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
    min_contrast_cosine: float = 0.0
    plan: str | None = None
    artifact_share: float = 0.0
    artifact_kinds: tuple[ArtifactKind, ...] = get_args(ArtifactKind)
    max_attempts: int = 12
    tile: int | None = None
    device: str = "auto"

    def __post_init__(self) -> None:
        check_finite(self)
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
        _within("artifact_share", self.artifact_share, 0, 1)
        _within("min_contrast_cosine", self.min_contrast_cosine, -1, 1)
        _within("max_attempts", self.max_attempts, 1, 1000)
        once = set(self.artifact_kinds)
        if (
            not once
            or len(once) != len(self.artifact_kinds)
            or not once <= set(get_args(ArtifactKind))
        ):
            raise ConfigError(
                f"`artifact_kinds` must be one or more of {', '.join(get_args(ArtifactKind))}, "
                f"each once, got {list(self.artifact_kinds)}. For none set `artifact_share` to 0."
            )

    def content(self) -> dict[str, Any]:
        """Return what decides the voxels, JSON-able: what a set on disk is recognised by.

        Where it runs does not, a plan's rows are compared one by one, and knobs of artifacts
        and detail count only where there are any.
        """
        values = dataclasses.asdict(dataclasses.replace(self, device="", plan=None))
        if not self.artifact_share:
            del values["artifact_share"], values["artifact_kinds"]
        if self.mode != "whole":
            del values["detail"]
        return values


def _within(name: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:
        raise ConfigError(f"`{name}` must be between {low:g} and {high:g}, got {value:g}.")
