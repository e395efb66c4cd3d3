"""Training patches of the generator: scans in memory, patches a pure function of (seed, step)."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset, Sampler

from lesionforge.data.subject import Subject
from lesionforge.errors import DataError
from lesionforge.lesions.appearance import measure_conspicuity
from lesionforge.lesions.contrast import ContrastChange
from lesionforge.lesions.shape import label_lesions
from lesionforge.seeding import stream
from lesionforge.synthesis.anatomy import Anatomy, read_anatomy
from lesionforge.synthesis.spade.conditioning import conditioning_map
from lesionforge.synthesis.spade.config import GeneratorConfig
from lesionforge.synthesis.spade.network import TISSUE_CHANNELS

PANEL_SIZE = 4
Centre = tuple[int, int, int]


@dataclass(frozen=True, eq=False)
class Scan:
    """A training subject in memory, cut to its brain.

    Attributes:
        id: participant id.
        images: (C, X, Y, Z) float16 in [0, 1].
        semantic: (4 + C, X, Y, Z) float16, see `conditioning_map`; tissues are healed.
        brain: (N, 3) int16 indices of brain voxels.
        lesion: (M, 3) int16 indices of lesion voxels; M is 0 in controls.
        contrasts: of each lesion, measured; none in controls.
    """

    id: str
    images: np.ndarray
    semantic: np.ndarray
    brain: np.ndarray
    lesion: np.ndarray
    contrasts: tuple[ContrastChange, ...]


@dataclass(frozen=True)
class PatchSpec:
    """One drawn patch: whose, where, where the style is taken, and which of both are mirrored."""

    scan: int
    centre: Centre
    style_centre: Centre
    flip: bool
    style_flip: bool


def read_scan(subject: Subject) -> Scan:
    """Read a training subject, inpaint its tissues and measure each of its lesions.

    Args:
        subject: prepared.

    Raises:
        DataError: the brain mask is empty, a patient has no lesion in the brain, or its
            lesions cannot be measured.
    """
    anatomy = read_anatomy(subject)
    if not anatomy.brain.any():
        raise DataError(f"{subject.brain} is empty. Prepare {subject.id} again or leave it out.")
    labels, contrasts = _lesions(subject, anatomy)
    images = anatomy.images
    if images is None or not np.isfinite(images).all():
        named_files = " or ".join(map(str, subject.images))
        raise DataError(f"{named_files} is not finite. Prepare it again.")
    semantic = conditioning_map(
        len(subject.channels), anatomy.inpainted, labels, contrasts, anatomy.grid.voxel_mm
    )
    box = tuple(slice(int(i.min()), int(i.max()) + 1) for i in np.nonzero(anatomy.brain))
    brain, lesion = anatomy.brain[box], (anatomy.lesion & anatomy.brain)[box]
    return Scan(
        subject.id,
        np.ascontiguousarray(images[(slice(None), *box)], dtype=np.float16),
        np.ascontiguousarray(semantic[(slice(None), *box)], dtype=np.float16),
        np.argwhere(brain).astype(np.int16),
        np.argwhere(lesion).astype(np.int16),
        contrasts,
    )


def _lesions(subject: Subject, anatomy: Anatomy) -> tuple[np.ndarray, tuple[ContrastChange, ...]]:
    """Number the lesions of a subject, (X, Y, Z) int32, and measure each one's contrast change.

    A lesion that has no brain around it to compare with takes the change of all together.
    """
    labels, count = label_lesions(anatomy.lesion, anatomy.grid)
    if subject.group != "patient":
        return labels, ()
    try:
        together = _contrast(anatomy, anatomy.lesion)
    except DataError as error:
        raise DataError(f"{subject.lesion}: {error}") from None
    if count == 1:
        return labels, (together,)
    contrasts = []
    for number in range(1, count + 1):
        try:
            contrasts.append(_contrast(anatomy, labels == number))
        except DataError:
            contrasts.append(together)
    return labels, tuple(contrasts)


def _contrast(anatomy: Anatomy, lesion: np.ndarray) -> ContrastChange:
    """Measure a lesion; the patient's other lesions are no healthy surroundings."""
    if anatomy.images is None:
        raise DataError(f"{anatomy.id} has no images.")
    brain = anatomy.brain & ~(anatomy.lesion & ~lesion)
    return measure_conspicuity(
        anatomy.images, lesion, anatomy.inpainted, brain, anatomy.grid.voxel_mm
    ).contrast


class PatchBatches(Dataset):
    """Batches by their step; the same in any process and after any interruption.

    A batch has `step` (int), `images` (B, C, P, P, P), `semantic` (B, 4 + C, P, P, P), and, from
    another place of the same scans, `style_images` (B, C, P, P, P) and `style_tissues`
    (B, 3, P, P, P); float32. Scans smaller than a patch are padded with background.

    Args:
        scans: the training subjects.
        config: of the training.
        seed: of the training.
    """

    def __init__(self, scans: list[Scan], config: GeneratorConfig, seed: int) -> None:
        if not scans:
            raise DataError("There is no training subject for the generator.")
        self.scans = scans
        self.config = config
        self.seed = seed
        self.ill = [i for i, scan in enumerate(scans) if len(scan.lesion)]

    def __len__(self) -> int:
        return self.config.steps

    def spec(self, position: int) -> PatchSpec:
        """Draw patch number `position`; those at lesions are spread evenly over positions."""
        rng = stream(self.seed, "generator", "patch", position)
        share = self.config.lesion_share
        at_lesion = int((position + 1) * share + 1e-9) > int(position * share + 1e-9)
        at_lesion = at_lesion and bool(self.ill)
        allowed = self.ill if at_lesion else range(len(self.scans))
        number = int(allowed[rng.integers(len(allowed))])
        scan, reach = self.scans[number], self.config.patch // 4
        places = scan.lesion if at_lesion else scan.brain
        centre = places[rng.integers(len(places))] + rng.integers(-reach, reach + 1, 3)
        style_centre = scan.brain[rng.integers(len(scan.brain))]
        flips = rng.random(2) < 0.5
        return PatchSpec(number, _ints(centre), _ints(style_centre), bool(flips[0]), bool(flips[1]))

    def __getitem__(self, step: int) -> dict[str, Any]:
        """Return the batch of `step`."""
        first = step * self.config.batch_size
        specs = [self.spec(first + slot) for slot in range(self.config.batch_size)]
        return {"step": step, **self.render(specs)}

    def panel(self) -> dict[str, Any]:
        """Return the same few patches for the pictures of every step: lesions, then a control."""
        healthy = [i for i in range(len(self.scans)) if i not in self.ill]
        chosen = [*self.ill[: PANEL_SIZE - 1], *healthy[:1]] or [0]
        specs = []
        for number in chosen:
            scan = self.scans[number]
            places = scan.lesion if len(scan.lesion) else scan.brain
            middle = _ints(places.mean(axis=0).round())
            specs.append(PatchSpec(number, middle, middle, flip=False, style_flip=False))
        return self.render(specs)

    def render(self, specs: list[PatchSpec]) -> dict[str, torch.Tensor]:
        """Cut the patches of `specs`; nothing is drawn here."""
        size = self.config.patch
        parts: dict[str, list[np.ndarray]] = {
            "images": [], "semantic": [], "style_images": [], "style_tissues": []
        }  # fmt: skip
        for spec in specs:
            scan = self.scans[spec.scan]
            parts["images"].append(_cut(scan.images, spec.centre, size, spec.flip))
            parts["semantic"].append(_cut(scan.semantic, spec.centre, size, spec.flip))
            cut = partial(_cut, centre=spec.style_centre, size=size, flip=spec.style_flip)
            images, tissues = style_view(scan, cut)
            parts["style_images"].append(images)
            parts["style_tissues"].append(tissues)
        return {name: torch.from_numpy(np.stack(values)) for name, values in parts.items()}


def style_view(
    scan: Scan, cut: Callable[[np.ndarray], np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """Return the images and tissues that a style is read from: nothing in a lesion or around it.

    Else the style of a patient could tell what its lesion looks like, which is the map's to say.

    Args:
        scan: the training subject.
        cut: takes a part of a (channels, X, Y, Z) volume, or all of it.

    Returns:
        (C, x, y, z) and (3, x, y, z) float32.
    """
    plain = (cut(scan.semantic[TISSUE_CHANNELS:]) == 0).all(axis=0)
    views = (cut(scan.images), cut(scan.semantic[:TISSUE_CHANNELS]))
    images, tissues = ((view * plain).astype(np.float32) for view in views)
    return images, tissues


def _cut(data: np.ndarray, centre: Centre, size: int, flip: bool) -> np.ndarray:
    """Cut a cube around `centre`, moved inside the volume where it can be, padded where not."""
    patch = np.zeros((len(data), size, size, size), dtype=np.float32)
    source, target = [], []
    for c, n in zip(centre, data.shape[1:], strict=True):
        start = min(max(c - size // 2, 0), max(n - size, 0))
        source.append(slice(start, min(start + size, n)))
        target.append(slice(0, min(size, n)))
    patch[(slice(None), *target)] = data[(slice(None), *source)]
    return np.ascontiguousarray(patch[:, ::-1]) if flip else patch


def _ints(values: np.ndarray) -> Centre:
    x, y, z = (int(v) for v in values)
    return x, y, z


class StepSampler(Sampler[int]):
    """The steps from the training's own count to the next checkpoint, in order.

    Lightning's `set_epoch` would not do: it counts a resumed run's first epoch from 0.

    Args:
        done: tells how many steps are done.
        size: steps between two checkpoints.
    """

    def __init__(self, done: Callable[[], int], size: int) -> None:
        self.done = done
        self.size = size

    def __iter__(self) -> Iterator[int]:
        first = self.done()
        return iter(range(first, first + self.size))

    def __len__(self) -> int:
        return self.size
