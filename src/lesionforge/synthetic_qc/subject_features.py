"""What an audit keeps of a subject: features, the lesion's shape and contrast, a small copy."""

from dataclasses import dataclass, replace

import numpy as np

from lesionforge.data.subject import Subject, read_brain, read_grid, read_images, read_tissues
from lesionforge.errors import DataError
from lesionforge.lesions.appearance import (
    Conspicuity,
    describe_effect,
    lesion_effect,
    match_contrast,
)
from lesionforge.lesions.blending import smooth_within
from lesionforge.lesions.contrast import ContrastChange
from lesionforge.lesions.host import Host
from lesionforge.lesions.inpainting import inpaint_tissues
from lesionforge.lesions.shape import describe_mask, largest_component
from lesionforge.preprocessing.intensity import ROBUST_SD
from lesionforge.synthesis.config import SynthesisConfig
from lesionforge.synthesis.reference_set import shrink
from lesionforge.synthetic_qc.features import around_features, lesion_features, whole_features

HALF = 12  # voxels of a small copy, from a lesion's centre to the edge of its cube


@dataclass(frozen=True, eq=False)
class Patch:
    """A lesion's cube out of a small copy, centred on the lesion; (2 HALF + 1) voxels an edge.

    Attributes:
        images: (C, P, P, P) float32.
        effect: (C, P, P, P) float32, what the tissues do not explain, in robust SDs.
        mask: (P, P, P) bool, the lesion.
        averaged: (C, P, P, P) float32, the effect as smooth as sets insert one by default.
        added: (C, P, P, P) float32, what was added to the images of the host, in robust SDs; None
            where nothing was or the host is not kept.
    """

    images: np.ndarray
    effect: np.ndarray
    mask: np.ndarray
    averaged: np.ndarray
    added: np.ndarray | None = None


@dataclass(frozen=True, eq=False)
class SubjectFeatures:
    """One subject as the audit sees it.

    Attributes:
        id: participant id.
        group: patient or control.
        site: scanner or hospital.
        host: id of the real subject whose anatomy it shows.
        whole: (D,) features of the whole brain.
        small: (C, x, y, z) float16 images, voxels averaged up to at most 2 mm.
        around: (A,) features around its place; None where it has none.
        near: (L,) features of the lesion; None in controls.
        shown: how the lesion shows; None in controls.
        shape: of the lesion's largest component; None in controls.
        patch: the lesion's cube; None in controls.
        asked: conspicuity that was asked for; None in real subjects and controls.
        requested_contrast: the contrast that were asked for with it.
        matched: how much of those contrast the images show, see `match_contrast`.
        before: conspicuity and `matched` at the same place before the lesion was put there, where
            known.
    """

    id: str
    group: str
    site: str
    host: str
    whole: np.ndarray
    small: np.ndarray
    around: np.ndarray | None = None
    near: np.ndarray | None = None
    shown: Conspicuity | None = None
    shape: dict[str, float] | None = None
    patch: Patch | None = None
    asked: float | None = None
    requested_contrast: ContrastChange | None = None
    matched: float | None = None
    before: tuple[float, float] | None = None


def measure_subject(
    subject: Subject,
    place: np.ndarray | None,
    host: str,
    smooth_voxels: float = 0.0,
    lesion: bool | None = None,
    requested_contrast: ContrastChange | None = None,
    bare: np.ndarray | None = None,
) -> SubjectFeatures:
    """Read a subject once and keep what the audit needs.

    Tissues at the place are healed in patients and controls alike, real and synthetic: a lesion
    distorts its own segmentation.

    Args:
        subject: prepared or synthetic.
        place: (X, Y, Z) bool, its lesion, or where a control would have one; None for none.
        host: id of the real subject whose anatomy it shows.
        smooth_voxels: blur the images by this standard deviation first (a bad set, on purpose).
        lesion: whether the place is looked into as a lesion; None for patients only.
        requested_contrast: what was asked of a synthetic lesion.
        bare: (C, X, Y, Z) the host's images without the lesion that was inserted; None if unknown.

    Raises:
        DataError: there is no brain around the place.
    """
    images, tissues, brain = read_images(subject), read_tissues(subject), read_brain(subject)
    grid = read_grid(subject)
    if smooth_voxels:
        images = smooth_within(images, brain, smooth_voxels)
    if place is not None:
        tissues = inpaint_tissues(tissues, place, grid)
    whole = whole_features(subject.channels, images, tissues, brain, grid)
    small = shrink(images, grid.voxel_mm)
    features_of = SubjectFeatures(
        subject.id,
        subject.group,
        subject.site,
        host,
        np.array(list(whole.values())),
        small.astype(np.float16),
    )
    if place is None:
        return features_of
    try:
        effect = lesion_effect(images, place, tissues, brain, grid.voxel_mm)
    except DataError as error:
        raise DataError(f"{subject.id}: {error}") from None
    around = around_features(subject.channels, effect, images, place, brain, grid)
    features_of = replace(features_of, around=np.array(list(around.values())))
    if not (subject.group == "patient" if lesion is None else lesion):
        return features_of
    everywhere = np.zeros_like(images)
    everywhere[(slice(None), *effect.box)] = effect.values
    averaged = smooth_within(everywhere, brain, SynthesisConfig.smooth_voxels)
    added = None if bare is None else (images - bare) / ROBUST_SD
    where = Host(subject.id, tissues, brain, grid, np.zeros_like(brain))
    near = lesion_features(subject.channels, effect, images, place, brain, grid)
    return replace(
        features_of,
        near=np.array(list(near.values())),
        shown=describe_effect(effect, images, tissues, grid.voxel_mm),
        shape=describe_mask(largest_component(place & brain), where),
        requested_contrast=requested_contrast,
        matched=None
        if requested_contrast is None
        else match_contrast(effect, tissues, grid.voxel_mm, requested_contrast),
        patch=_patch(images, everywhere, place, averaged, added, grid.voxel_mm),
    )


def _patch(
    images: np.ndarray,
    effect: np.ndarray,
    place: np.ndarray,
    averaged: np.ndarray,
    added: np.ndarray | None,
    voxel_mm: tuple[float, float, float],
) -> Patch:
    """Cut the cube around a lesion out of small copies; what lies beyond the volume is 0."""
    mask = shrink(place[None], voxel_mm) > 0
    middle = np.argwhere(mask[0]).mean(axis=0).round().astype(int)
    box = tuple(slice(int(m), int(m) + 2 * HALF + 1) for m in middle)

    def cut(volumes: np.ndarray) -> np.ndarray:
        return np.stack([np.pad(small, HALF)[box] for small in shrink(volumes, voxel_mm)])

    return Patch(
        images=cut(images),
        effect=cut(effect),
        mask=np.pad(mask[0], HALF)[box],
        averaged=cut(averaged),
        added=None if added is None else cut(added),
    )
