"""From a drawn synthetic subject to its voxels: two generator passes and no chance."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from lesionforge.data.cohort import subject_volumes
from lesionforge.data.volume import Grid
from lesionforge.errors import DataError
from lesionforge.lesions.appearance import describe_effect, lesion_effect, match_contrast
from lesionforge.lesions.contrast import contrast_maps
from lesionforge.lesions.growth import render_mask
from lesionforge.preprocessing.tissues import tissue_maps
from lesionforge.synthesis.acceptance import (
    Rejection,
    check_artifact,
    check_contrast,
    check_effect,
    check_images,
    check_lesion,
    check_shown,
)
from lesionforge.synthesis.anatomy import Anatomy, bend_anatomy
from lesionforge.synthesis.artifacts import apply_artifact
from lesionforge.synthesis.config import SynthesisConfig
from lesionforge.synthesis.copy_paste import copy_tissue
from lesionforge.synthesis.effect import effect_contrast, effect_size, expected_contrast
from lesionforge.synthesis.spade.inference import Passes, insert, whole
from lesionforge.synthesis.spade.training import TrainedGenerator
from lesionforge.synthesis.spec import SynthesisSpec


@dataclass(frozen=True, eq=False)
class SyntheticVolume:
    """A synthetic subject in memory.

    Attributes:
        volumes: BIDS suffix to (X, Y, Z) array, as `lesionforge.data.cohort.write_subject` takes.
        lesion: (X, Y, Z) bool, the new lesion alone (null in controls, where it is no label).
        checks: what was measured, for the sidecar.
        rejections: why it must not be kept; empty if all is well.
    """

    volumes: dict[str, np.ndarray]
    lesion: np.ndarray
    checks: dict[str, Any]
    rejections: list[Rejection]


def render_synthetic(
    spec: SynthesisSpec,
    read: Callable[[str], Anatomy],
    trained: TrainedGenerator | None,
    config: SynthesisConfig,
) -> SyntheticVolume:
    """Make the volumes of a drawn synthetic subject.

    Args:
        spec: the draw.
        read: reads the anatomy of a real subject.
        trained: the generator; None in mode `paste`.
        config: how; the same spec, generator and configuration give the same voxels.

    Raises:
        MaskError: the lesion does not fit its host.
    """
    anatomy = bend_anatomy(read(spec.host), spec.warp)
    strength: dict[str, list[float]] = {}
    if trained is None:
        before, after, lesion = copy_tissue(spec, anatomy, read, config)
    else:
        lesion = _grown(spec, anatomy)
        passes = Passes(spec, anatomy, lesion, trained, config)
        before, after, gains = insert(passes) if spec.mode == "insert" else whole(passes)
        strength = {"Gain": np.round(gains.astype(float), 4).tolist()}
    images = after * anatomy.brain
    checks: dict[str, Any] = {"InImages": "finite, in [0, 1], 0 outside the brain, not flat"}
    rejections: list[Rejection] = []
    sound = images
    if spec.artifact is not None:
        images = apply_artifact(
            anatomy.channels, sound, anatomy.inpainted, anatomy.brain, spec.artifact, anatomy.grid
        )
        rejections += check_artifact(sound, images)
        checks |= _artifact_figures(sound, images, anatomy.grid)
    rejections += check_images(anatomy.channels, images, anatomy.brain)
    if spec.shows:
        effect = effect_size(before, sound, lesion)
        rejections += check_lesion(lesion, anatomy.brain)
        asked = spec.lesion.conspicuity if spec.lesion is not None else 0.0
        rejections += check_effect(effect, asked, config)
        if spec.lesion is not None and lesion.any():
            maps = contrast_maps(lesion, anatomy.inpainted, anatomy.grid.voxel_mm)
            made = effect_contrast(sound - before, maps, anatomy.grid.voxel_mm3)
            wanted = expected_contrast(spec.lesion.contrast, maps, anatomy.grid.voxel_mm3)
            rejections += check_contrast(made, wanted, config)
            strength["ContrastSD"] = np.round(made, 4).tolist()
        checks |= {"EffectSD": round(effect, 4), **strength}
        try:
            figures, shown = _lesion_figures(spec, anatomy, lesion, (before, sound))
            checks |= figures
            rejections += check_shown(*shown, asked, config)
        except DataError as error:  # nothing is left around the lesion to compare it with
            rejections.append(Rejection("surroundings", str(error)))
    tissues = anatomy.tissues
    if spec.mode == "whole":  # complete volumes are segmented like real ones, before any artifact
        tissues = tissue_maps(sound, anatomy.brain, anatomy.grid)
    label = lesion | anatomy.lesion if spec.group == "patient" else None
    volumes = subject_volumes(anatomy.channels, images, anatomy.brain, tissues, label)
    return SyntheticVolume(volumes, lesion, checks, rejections)


def find_place(
    spec: SynthesisSpec, read: Callable[[str], Anatomy], config: SynthesisConfig
) -> np.ndarray | None:
    """Return where a synthetic subject was changed, without making it; arguments as above.

    Returns:
        (X, Y, Z) bool: the new lesion of a patient, the null lesion of a control; None for controls
        of mode `whole`, which have none.
    """
    anatomy = bend_anatomy(read(spec.host), spec.warp)
    if spec.mode == "paste":
        return copy_tissue(spec, anatomy, read, config)[2]
    return None if spec.lesion is None else _grown(spec, anatomy)


def _grown(spec: SynthesisSpec, anatomy: Anatomy) -> np.ndarray:
    if spec.lesion is None:
        return np.zeros_like(anatomy.brain)
    return render_mask(spec.lesion, anatomy.as_host())


def _artifact_figures(sound: np.ndarray, spoilt: np.ndarray, grid: Grid) -> dict[str, Any]:
    """Return how much a artifact changes what it reaches, and where it changes most (mm)."""
    change = np.abs(spoilt - sound).max(axis=0)
    peak = grid.world(np.array(np.unravel_index(change.argmax(), change.shape)))
    return {
        "ArtifactSD": round(effect_size(sound, spoilt, change > 0), 4),
        "ArtifactPeakMM": [round(float(v), 4) for v in peak],
    }


def _lesion_figures(
    spec: SynthesisSpec,
    anatomy: Anatomy,
    lesion: np.ndarray,
    images: tuple[np.ndarray, np.ndarray],
) -> tuple[dict[str, Any], tuple[float, float]]:
    """Measure what shows at the lesion's place in the images before and after it was put there.

    Returns:
        What the sidecar keeps, and the conspicuity before and after.
    """
    voxel_mm, tissues = anatomy.grid.voxel_mm, anatomy.estimated(lesion)
    found = [lesion_effect(i, lesion, tissues, anatomy.brain, voxel_mm) for i in images]
    bare, seen = (
        describe_effect(effect, i, tissues, voxel_mm)
        for effect, i in zip(found, images, strict=True)
    )
    figures = {
        "LesionVolumeML": round(float(lesion.sum() * anatomy.grid.voxel_mm3 / 1000), 4),
        "ConspicuityBefore": round(bare.total, 4),
        "Conspicuity": {name: np.round(value, 4).tolist() for name, value in asdict(seen).items()},
    }
    if spec.lesion is not None:
        before = match_contrast(found[0], tissues, voxel_mm, spec.lesion.contrast)
        figures["ConspicuityAsked"] = round(spec.lesion.conspicuity, 4)
        figures["MatchBefore"] = round(before, 4)
    return figures, (bare.total, seen.total)
