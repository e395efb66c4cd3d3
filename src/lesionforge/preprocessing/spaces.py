"""Decides which image a mask was drawn on, and never guesses: name, grid or configuration."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np

from lesionforge.data.volume import Grid, grid
from lesionforge.errors import DataError
from lesionforge.preprocessing.config import PrepareConfig
from lesionforge.preprocessing.headers import Header
from lesionforge.preprocessing.naming import entity

DRAWN_ON = ("FLAIR", "T2w", "T1w")
"""The image on which experts draw, the likeliest first, where a mask lies on several grids."""


@dataclass(frozen=True)
class Space:
    """Where a mask lies.

    Attributes:
        channel: the image in whose world it lies.
        grid: its grid where that is not the one that its own header says.
        remark: why it is so, where neither name nor grid settled it alone.
        others: channels on whose grid it lies too.
    """

    channel: str
    grid: Grid | None = None
    remark: str = ""
    others: tuple[str, ...] = ()


def find_space(mask: Header, images: Mapping[str, Header], config: PrepareConfig) -> Space:
    """Decide where a mask lies.

    In this order: `space-` in its name; its grid; the other frame that its header or an image's has
    (sform or qform), with the same voxels; `drawn_on` and `mask_affine` of the configuration.

    Args:
        mask: of the mask.
        images: channel to header, the reference first.
        config: `drawn_on` and `mask_affine`.

    Raises:
        DataError: nothing decides.
    """
    named = entity(mask.path, "space") or ""
    if named in images:
        return Space(named)
    if named and named not in {entity(h.path, "space") for h in images.values()}:
        raise DataError(f"is in space {named}, and no image is")
    on = [c for c, header in images.items() if mask.grid.matches(header.grid)]
    if on:
        return _preferred(mask.path, on)
    for channel, header in images.items():
        if any(_meet(one, other) for one in _frames(mask) for other in _frames(header)):
            why = f"by sform or qform its voxels are those of {header.path.name}"
            return Space(channel, header.grid, f"mask taken as {channel}'s: {why}")
    said = config.drawn_on or ""
    if said in images:
        header = images[said]
        if config.mask_affine == "own":
            return Space(said)
        if mask.grid.shape == header.grid.shape:
            return Space(said, header.grid)
        raise DataError(
            f"has {mask.grid.shape} voxels and {header.path.name} {header.grid.shape}, so "
            "`mask_affine: image` cannot be"
        )
    raise DataError(f"lies on the grid of no image ({', '.join(images)})")


def _preferred(mask: Path, on: list[str]) -> Space:
    """Choose among images on one grid: the one in the mask's name, else where experts draw."""
    name = mask.name.lower()
    named = [channel for channel in on if channel.lower() in name]
    first = [*named, *(c for c in DRAWN_ON if c in on), *on][0]
    return Space(first, others=() if named else tuple(c for c in on if c != first))


def _frames(header: Header) -> list[tuple[np.ndarray, Grid]]:
    """Return orientation and grid of a volume as its sform and its qform place it."""
    shape = header.shape[:3]
    found = []
    for affine in (header.sform, header.qform):
        if affine is None or not np.isfinite(affine).all() or not np.linalg.det(affine[:3, :3]):
            continue
        turn = nib.orientations.io_orientation(affine)
        turned = affine @ nib.orientations.inv_ornt_aff(turn, shape)
        order = np.argsort(turn[:, 0])
        found.append((turn, grid(tuple(np.array(shape)[order]), turned)))
    return found


def _meet(one: tuple[np.ndarray, Grid], other: tuple[np.ndarray, Grid]) -> bool:
    return np.array_equal(one[0], other[0]) and one[1].matches(other[1])
