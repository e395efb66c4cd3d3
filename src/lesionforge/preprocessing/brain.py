"""Finds the brain: deepbet's network for whole heads, the non-zero part of skull-stripped data."""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from scipy import ndimage

from lesionforge.data.volume import Volume
from lesionforge.errors import DataError
from lesionforge.preprocessing.config import PrepareConfig
from lesionforge.preprocessing.intensity import background
from lesionforge.preprocessing.register import dilated, rigid_match
from lesionforge.preprocessing.resample import resample
from lesionforge.preprocessing.voxels import STRIPPED_ML

TRAINED_ON = "T1w"
"""The contrast that deepbet was trained on."""
MEASURED = (TRAINED_ON, "FLAIR")
"""Contrasts on which deepbet may run. On FLAIR its masks had a Dice of 0.96 to 0.98 with those of
the same heads' T1w images (ten heads of 0.9 x 0.9 x 6.5 mm), on T2w of 0.81 to 0.95: not enough."""
PLAUSIBLE_ML = (500.0, 2500.0)
PIECE = 0.2
"""Pieces of a brain mask, as a part of the largest, that count as brain."""


def find_brain(
    images: Mapping[str, Volume], given: Volume | None, config: PrepareConfig
) -> tuple[Volume, str]:
    """Return the brain mask on the reference's grid, and where it is from.

    A mask that came with the data, else what is not background in a skull-stripped reference, else
    deepbet: on the T1w image where there is one (brought to the reference by a rigid registration),
    else on a reference of another contrast on which it was measured.

    Args:
        images: BIDS suffix to image, the reference first.
        given: a mask that came with the data, on the reference's grid.
        config: `brain_mask` and `levels_mm`.

    Returns:
        Mask of 0 and 1, and `file`, `nonzero` or `deepbet`.

    Raises:
        DataError: there is no brain of plausible size, or nothing that can find it.
    """
    first, reference = next(iter(images.items()))
    if given is not None and config.brain_mask != "deepbet":
        data, method = resample(given, reference.grid) > 0.5, "file"
        if not data.any():
            raise DataError("The brain mask that came with the data is empty on the scan's grid.")
    elif config.brain_mask == "given" or (config.brain_mask == "auto" and is_stripped(reference)):
        data, method = nonzero_mask(reference), "nonzero"
    elif first != TRAINED_ON and TRAINED_ON in images:
        return _carried(images[TRAINED_ON], reference, config), "deepbet"
    elif first in MEASURED:
        data, method = deepbet_mask(reference), "deepbet"
    else:
        raise DataError(
            f"deepbet finds the brain on {' and '.join(MEASURED)}, not on {first}. Give brain "
            "masks (`*_desc-brain_mask.nii.gz` beside the scans) or skull-stripped scans, or name "
            "one of them in `channels`."
        )
    return Volume(data.astype(np.float32), reference.grid), method


def count_pieces(mask: Volume) -> int:
    """Count the pieces of a brain mask that are a fifth of the largest or more."""
    sizes = np.bincount(ndimage.label(mask.data > 0.5)[0].ravel())[1:]
    return int((sizes >= PIECE * sizes.max()).sum())


def _carried(image: Volume, reference: Volume, config: PrepareConfig) -> Volume:
    """Find the brain on one image and bring the mask to the reference of the same head."""
    mask = Volume(deepbet_mask(image).astype(np.float32), image.grid)
    match = rigid_match(image, reference, dilated(mask), config.levels_mm)
    data = resample(mask, reference.grid, np.linalg.inv(match.matrix)) > 0.5
    return Volume(_checked(_solid(data), reference).astype(np.float32), reference.grid)


def is_stripped(image: Volume) -> bool:
    """Tell whether a T1w volume is skull-stripped already.

    Its background must be one exact value that fills the volume's six faces, and the rest must be
    as large as a brain: a whole head whose air was set to zero is twice as large.
    """
    outside = background(image.data)
    if outside is None:
        return False
    millilitres = _solid(image.data != outside).sum() * image.grid.voxel_mm3 / 1000
    return bool(STRIPPED_ML[0] <= millilitres <= STRIPPED_ML[1])


def nonzero_mask(image: Volume) -> np.ndarray:
    """Return the brain mask of skull-stripped data: what is not background, cleaned up.

    Raises:
        DataError: nothing differs from the background.
    """
    outside = background(image.data)
    return _checked(_solid(image.data != (0.0 if outside is None else outside)), image)


def deepbet_mask(image: Volume) -> np.ndarray:
    """Return the brain mask of a whole head by deepbet (Fisch et al. 2024), on the CPU.

    Raises:
        DataError: no brain of plausible size was found.
    """
    try:
        probability = _network().run_model(np.nan_to_num(image.data).astype(np.float32))
    except (ValueError, AssertionError, IndexError):
        raise DataError("deepbet found no brain: is it a head, and is its affine right?") from None
    return _checked(_solid(probability > 0.5), image)


@lru_cache(maxsize=1)
def _network() -> Any:
    from deepbet import BrainExtraction

    with torch.no_grad():
        return BrainExtraction(no_gpu=True)


def _solid(mask: np.ndarray) -> np.ndarray:
    """Keep the largest piece (6-connected), close small gaps, fill holes.

    Other pieces of a fifth of its size or more stay too: a lost slice parts a brain.
    """
    labels, count = ndimage.label(mask)
    if count == 0:
        return np.zeros(mask.shape, dtype=bool)
    sizes = np.bincount(labels.ravel())[1:]
    largest = np.isin(labels, 1 + np.flatnonzero(sizes >= PIECE * sizes.max()))
    return ndimage.binary_fill_holes(ndimage.binary_closing(np.pad(largest, 2)))[2:-2, 2:-2, 2:-2]


def _checked(mask: np.ndarray, image: Volume) -> np.ndarray:
    millilitres = mask.sum() * image.grid.voxel_mm3 / 1000
    if not PLAUSIBLE_ML[0] <= millilitres <= PLAUSIBLE_ML[1]:
        raise DataError(
            f"The brain mask holds {millilitres:.0f} mL; {PLAUSIBLE_ML[0]:.0f} to "
            f"{PLAUSIBLE_ML[1]:.0f} mL are plausible. Look at the scan, check its header's voxel "
            "size, or set `brain_mask` to deepbet or given."
        )
    return mask
