"""What every synthetic subject must pass before it is kept."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from lesionforge.lesions.contrast import ContrastChange
from lesionforge.lesions.shape import CONNECTIVITY
from lesionforge.synthesis.config import SynthesisConfig

MIN_FLAW = 0.03  # a third of a robust standard deviation, somewhere
MIN_SPREAD = 0.01  # standard deviation in the brain; real images have about 0.15


@dataclass(frozen=True)
class Rejection:
    """One reason why a drawn subject was not kept: its `reason` in a word and the `detail`."""

    reason: str
    detail: str


def check_images(channels: Sequence[str], images: np.ndarray, brain: np.ndarray) -> list[Rejection]:
    """Check that images (C, X, Y, Z) are finite, in [0, 1], 0 outside and not flat."""
    if not np.isfinite(images).all():
        return [Rejection("finite", f"{int((~np.isfinite(images)).sum())} voxels are not finite")]
    found = []
    if images.min() < 0 or images.max() > 1:
        found.append(
            Rejection("range", f"values run from {images.min():.3g} to {images.max():.3g}")
        )
    if images[:, ~brain].any():
        found.append(Rejection("outside", "there is signal outside the brain mask"))
    flat = [n for n, i in zip(channels, images, strict=True) if i[brain].std() < MIN_SPREAD]
    if flat:
        found.append(Rejection("flat", f"{' and '.join(flat)} show no anatomy"))
    return found


def check_artifact(before: np.ndarray, after: np.ndarray) -> list[Rejection]:
    """Check that an artifact shows: images (C, X, Y, Z) without and with it."""
    largest = float(np.abs(after - before).max())
    if largest >= MIN_FLAW:
        return []
    return [Rejection("artifact", f"nothing changed by more than {largest:.3g}")]


def check_lesion(lesion: np.ndarray, brain: np.ndarray) -> list[Rejection]:
    """Check that a new lesion (X, Y, Z) is one 26-connected component inside the brain."""
    found = []
    count = ndimage.label(lesion, CONNECTIVITY)[1]
    if count != 1:
        found.append(Rejection("components", f"the mask has {count} components, not 1"))
    if (lesion & ~brain).any():
        found.append(Rejection("brain", f"{int((lesion & ~brain).sum())} voxels leave the brain"))
    return found


def check_contrast(
    made: ContrastChange, asked: ContrastChange, config: SynthesisConfig
) -> list[Rejection]:
    """Check that what a lesion does to grey and white matter points where it was asked to.

    Args:
        made: `lesionforge.synthesis.effect.effect_contrast` of what was added.
        asked: `expected_contrast` of the spec.
        config: its `min_contrast_cosine` is the limit.
    """
    sizes = float(np.linalg.norm(np.ravel(made)) * np.linalg.norm(np.ravel(asked)))
    cosine = float(np.sum(np.array(made) * asked)) / sizes if sizes > 0 else 0.0
    if cosine >= config.min_contrast_cosine:
        return []
    told, wanted = (
        " ".join(f"{value:+.2f}" for value in np.ravel(contrast)) for contrast in (made, asked)
    )
    return [Rejection("contrast", f"{told} SD where {wanted} were asked, cosine {cosine:.2f}")]


def check_effect(effect_sd: float, asked_sd: float, config: SynthesisConfig) -> list[Rejection]:
    """Check that the lesion changed the images enough to deserve its label.

    Args:
        effect_sd: `lesionforge.synthesis.effect.effect_size` of what was added.
        asked_sd: conspicuity that the spec asks for.
        config: its `min_effect_sd` and `min_effect_share` are the limits.
    """
    least = max(config.min_effect_sd, config.min_effect_share * asked_sd)
    if effect_sd >= least:
        return []
    return [
        Rejection(
            "effect", f"{effect_sd:.2f} SD, at least {least:.2f} needed ({asked_sd:.2f} asked)"
        )
    ]


def check_distance(distance: float, least: float) -> list[Rejection]:
    """Refuse a head that is nearer to a real one than two real ones are to each other."""
    if distance >= least:
        return []
    return [Rejection("copy", f"{distance:.2f} SD from a real head, two real ones {least:.2f}")]


def check_shown(
    before: float, after: float, asked: float, config: SynthesisConfig
) -> list[Rejection]:
    """Check that the delivered images show the lesion, and that it is the lesion that they show.

    Args:
        before: `Conspicuity.total` at the lesion's place in the images without it.
        after: the same with it, measured as in a real patient.
        asked: conspicuity that the spec asks for.
        config: its `min_shown_share` is the limit, of `after` from below and of `before` from
            above.
    """
    least = config.min_shown_share * asked
    found = []
    if after < least:
        found.append(
            Rejection("shown", f"the images show {after:.2f} SD where {asked:.2f} were asked")
        )
    if least > 0 and before >= least:
        found.append(
            Rejection("place", f"{before:.2f} SD are there without it, {asked:.2f} were asked")
        )
    return found
