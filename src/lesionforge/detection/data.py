"""Training patches: a pure function of (seed, position in the training), in any worker."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from scipy import ndimage
from torch.utils.data import Dataset, Sampler

from lesionforge.data.subject import Subject, read_brain, read_ignore, read_images, read_lesion
from lesionforge.detection.augmentation import (
    AugmentSpec,
    change_intensities,
    cut_patch,
    sample_augment,
)
from lesionforge.detection.config import IGNORED, DetectorConfig
from lesionforge.errors import DataError
from lesionforge.seeding import stream

Box = tuple[slice, slice, slice]


@dataclass(frozen=True, eq=False)
class Case:
    """A training subject in memory, cut to its brain.

    Attributes:
        id: participant id.
        synthetic: whether LesionForge made it.
        volume: (C + 1, X, Y, Z) float16: images standardised, lesion (0 or 1).
        brain: (N, 3) int16 indices of brain voxels.
        lesion: (M, 3) int16 indices of lesion voxels; M is 0 in controls.
        ignore: (1, X, Y, Z) float16, 1 where nothing counts; None where everything does.
    """

    id: str
    synthetic: bool
    volume: np.ndarray
    brain: np.ndarray
    lesion: np.ndarray
    ignore: np.ndarray | None = None


@dataclass(frozen=True)
class PatchSpec:
    """One drawn patch: whose, where (index in the case's volume), and how it is changed."""

    case: int
    centre: tuple[int, int, int]
    augment: AugmentSpec


def standardise(images: np.ndarray, brain: np.ndarray) -> np.ndarray:
    """Scale each image (C, X, Y, Z) to mean 0 and SD 1 inside the brain; 0 outside."""
    inside = images[:, brain]
    mean = inside.mean(axis=1, dtype=np.float64)[:, None, None, None]
    sd = np.maximum(inside.std(axis=1, dtype=np.float64), 1e-6)[:, None, None, None]
    return (((images - mean) / sd) * brain).astype(np.float32)


def brain_box(brain: np.ndarray) -> Box:
    """Return the bounding box of a brain mask (X, Y, Z)."""
    x, y, z = ndimage.find_objects(brain.astype(np.uint8))[0]
    return x, y, z


def read_case(subject: Subject) -> Case:
    """Read a training subject.

    Raises:
        DataError: its brain mask is empty, or it is a patient without a lesion.
    """
    brain, lesion = read_brain(subject), read_lesion(subject)
    if not brain.any():
        raise DataError(f"{subject.brain} is empty. Prepare {subject.id} again or leave it out.")
    if subject.group == "patient" and not lesion.any():
        raise DataError(
            f"{subject.lesion} is empty, but {subject.id} is a patient. Mend its mask, or make it "
            "a control."
        )
    box = brain_box(brain | lesion)
    images = standardise(read_images(subject), brain)[(slice(None), *box)]
    volume = np.concatenate([images, lesion[box][None]]).astype(np.float16)
    inside, places = (np.argwhere(mask[box]).astype(np.int16) for mask in (brain, lesion))
    ignore = read_ignore(subject)[box][None] & ~lesion[box]
    left_out = ignore.astype(np.float16) if ignore.any() else None
    return Case(subject.id, subject.synthetic, volume, inside, places, left_out)


class PatchDataset(Dataset):
    """Patches by their position in the training, from 0 to steps * batch_size.

    Args:
        cases: the training subjects; at least one has a lesion.
        config: the detector's configuration.
        seed: of the training.
    """

    def __init__(self, cases: list[Case], config: DetectorConfig, seed: int) -> None:
        self.cases = cases
        self.config = config
        self.seed = seed
        if not any(len(case.lesion) for case in cases):
            raise DataError("No training subject has a lesion; nothing can be learned.")

    def __len__(self) -> int:
        return self.config.steps * self.config.batch_size

    def spec(self, position: int) -> PatchSpec:
        """Draw the patch at `position`; lesion patches are spread evenly over positions."""
        rng = stream(self.seed, "detector", "patch", position)
        share = self.config.foreground_share
        foreground = int((position + 1) * share + 1e-9) > int(position * share + 1e-9)
        number = self._choose_case(rng, foreground)
        case = self.cases[number]
        places = case.lesion if foreground else case.brain
        jitter = rng.integers(-(self.config.patch // 4), self.config.patch // 4 + 1, 3)
        centre = places[rng.integers(len(places))] + (jitter if foreground else 0)
        centre = _sample_inside(centre, case.volume.shape[1:], self.config.patch)
        augment = sample_augment(self.config.augment, rng, len(case.volume) - 1)
        return PatchSpec(number, (int(centre[0]), int(centre[1]), int(centre[2])), augment)

    def _choose_case(self, rng: np.random.Generator, foreground: bool) -> int:
        allowed = [i for i, case in enumerate(self.cases) if len(case.lesion) or not foreground]
        share, kind = self.config.synthetic_share, rng.random()
        if share is not None and len({self.cases[i].synthetic for i in allowed}) == 2:
            allowed = [i for i in allowed if self.cases[i].synthetic == (kind < share)]
        return allowed[rng.integers(len(allowed))]

    def __getitem__(self, position: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Return images (C, P, P, P) and target (1, P, P, P), float32; see `render_patch`."""
        return render_patch(self.cases, self.spec(position), self.config.patch)


def _sample_inside(centre: np.ndarray, shape: tuple[int, ...], patch: int) -> np.ndarray:
    """Move a centre so that an eighth of the patch at most lies outside; air teaches little."""
    low = np.minimum(patch // 2 - patch // 8, np.array(shape) // 2)
    return np.clip(centre, low, np.maximum(np.array(shape) - low, low))


def render_patch(
    cases: list[Case], spec: PatchSpec, size: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Cut and change a patch as its spec says; nothing is drawn here but the spec's own noise.

    Returns:
        Images (C, P, P, P), and the target (1, P, P, P): 1 lesion, 0 none, `IGNORED`.
    """
    case, centre = cases[spec.case], np.array(spec.centre)
    patch = cut_patch(case.volume, centre, size, spec.augment)
    images = change_intensities(patch[:-1], spec.augment)
    target = (patch[-1:] > 0.5).astype(np.float32)
    if case.ignore is not None:
        left_out = cut_patch(case.ignore, centre, size, spec.augment) > 0.5
        target[left_out & (target == 0)] = IGNORED
    return torch.from_numpy(images), torch.from_numpy(target)


class StepSampler(Sampler[int]):
    """The positions that one process takes of an epoch's steps, in order.

    Args:
        config: the detector's configuration.
        rank: of the process.
        world: how many processes share a step's batch.
    """

    def __init__(self, config: DetectorConfig, rank: int = 0, world: int = 1) -> None:
        self.config = config
        self.rank = rank
        self.part = config.batch_size // world
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch (from 0) that the next iteration goes through; Lightning calls this."""
        self.epoch = epoch

    def _steps(self) -> range:
        first = self.epoch * self.config.epoch_steps
        return range(first, min(first + self.config.epoch_steps, self.config.steps))

    def __iter__(self) -> Iterator[int]:
        for step in self._steps():
            first = step * self.config.batch_size + self.rank * self.part
            yield from range(first, first + self.part)

    def __len__(self) -> int:
        return len(self._steps()) * self.part
