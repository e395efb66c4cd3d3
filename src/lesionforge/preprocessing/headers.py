"""Reads what a NIfTI file says of itself, without its voxels, and finds what is wrong with it."""

import gzip
import math
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from nibabel.spatialimages import HeaderDataError

from lesionforge.data.volume import Grid, grid, open_image
from lesionforge.errors import DataError
from lesionforge.preprocessing.privacy import REMEDY, telling_fields
from lesionforge.preprocessing.problems import Problem

VOXEL_MM = (0.2, 12.0)
MIN_VOXELS, MAX_VOXELS = 8, 1_000_000_000
THICK_MM = 3.0
SHORT_MM = 100.0
_GZIP = b"\x1f\x8b"
_AGAIN = "Copy or convert it again."


@dataclass(frozen=True)
class Header:
    """What a NIfTI header says.

    Attributes:
        path: of the file.
        shape: as stored, with a fourth axis of length 1 if there is one.
        grid: of the volume turned to RAS, as `lesionforge.volume.read_volume` returns it.
        sform: 4x4 in mm and RAS, None where its code is 0.
        qform: the same for the quaternion.
        units: of space: `mm`, `meter`, `micron` or `unknown`.
        kind: numpy dtype of the stored voxels.
        telling: fields that may identify a person.
        content: checksum and length of the uncompressed file, the same for the same content
            whatever the compression.
    """

    path: Path
    shape: tuple[int, ...]
    grid: Grid
    sform: np.ndarray | None
    qform: np.ndarray | None
    units: str
    kind: np.dtype
    content: tuple[int, int]
    telling: tuple[str, ...] = ()


def read_header(path: Path) -> Header:
    """Read the header of a NIfTI file, and make sure that the file is as long as it says.

    Raises:
        DataError: the file is missing, not NIfTI, not gzip though named so, truncated, or not one
            3D volume.
    """
    if path.is_symlink() and not path.exists():
        raise DataError(f"{path} is a link to a file that is not here. Fetch it (datalad get).")
    if not path.is_file():
        raise DataError(f"{path} is missing.")
    if path.name.endswith(".gz") and not _starts_with(path, _GZIP):
        raise DataError(f"{path} is named .gz but is not compressed. Rename it to .nii.")
    image, turned = open_image(path)
    try:
        sform, qform = image.get_sform(coded=True)[0], image.get_qform(coded=True)[0]
        units = image.header.get_xyzt_units()[0]
        voxels = math.prod(image.shape) * image.dataobj.dtype.itemsize
        content = _content(path, image.dataobj.offset + voxels)
    except (OSError, EOFError, ValueError, HeaderDataError) as error:
        raise DataError(f"{path} cannot be read as NIfTI ({error}).") from None
    if len(image.shape) < 3 or any(n != 1 for n in image.shape[3:]) or len(image.shape) > 4:
        raise DataError(f"{path} must be one 3D volume, its shape is {image.shape}.")
    area = grid(turned.shape[:3], turned.affine)
    kind = image.get_data_dtype()
    telling = tuple(telling_fields(image.header))
    return Header(path, image.shape, area, sform, qform, units, kind, content, telling)


def _starts_with(path: Path, magic: bytes) -> bool:
    with path.open("rb") as file:
        return file.read(len(magic)) == magic


def _content(path: Path, needed: int) -> tuple[int, int]:
    """Return checksum and length of the uncompressed file.

    The end of a gzip file holds both; only where they do not fit the header is all of it read.

    Raises:
        EOFError: there are fewer than `needed` bytes.
    """
    if path.name.endswith(".gz"):
        with path.open("rb") as file:
            file.seek(-8, 2)
            checksum, length = struct.unpack("<II", file.read())
        if length == needed % 2**32:
            return checksum, needed
    checksum, length = 0, 0
    opened = gzip.open if path.name.endswith(".gz") else open
    with opened(path, "rb") as file:
        while block := file.read(1 << 20):
            checksum, length = zlib.crc32(block, checksum), length + len(block)
    if length < needed:
        raise EOFError(f"it is truncated: {length} of {needed} bytes")
    return checksum, length


def check_header(
    subject: str, path: Path, is_mask: bool = False
) -> tuple[Header | None, list[Problem]]:
    """Read a header and list what is wrong with it.

    Args:
        subject: participant id, for the messages.
        path: NIfTI file.
        is_mask: whether it is a mask, of which less is asked than of an image.

    Returns:
        The header (None if it cannot be read) and the problems.
    """
    try:
        header = read_header(path)
    except DataError as error:
        what = str(error).removeprefix(f"{path} ").rstrip(".")
        return None, [Problem(subject, str(path), what, _AGAIN)]
    found = [*_shape(header), *_voxels(header), *_orientation(header)]
    if header.telling:
        what = f"has a header that may identify a person ({', '.join(header.telling)})"
        found.append((what, REMEDY, False))
    if not is_mask and not any(fatal for *_, fatal in found):
        found += _coverage(header)
    return header, [Problem(subject, str(path), *finding) for finding in found]


Finding = tuple[str, str, bool]


def _shape(header: Header) -> list[Finding]:
    found: list[Finding] = []
    if len(header.shape) == 4:
        found.append(("is 4D with one volume", "It is taken as 3D.", False))
    if min(header.shape[:3]) < MIN_VOXELS:
        found.append((f"has only {header.shape} voxels", "Use a full volume.", True))
    if math.prod(header.shape) > MAX_VOXELS:
        found.append((f"claims {header.shape} voxels", "Use a scan at its own size.", True))
    if header.kind.kind not in "biuf":
        found.append((f"holds {header.kind} values", "Save one number a voxel.", True))
    return found


def _voxels(header: Header) -> list[Finding]:
    size = header.grid.voxel_mm
    shown = " x ".join(f"{s:.3g}" for s in size)
    if header.units in ("meter", "micron"):
        return [(f"says its voxels are in {header.units}", "Save it in mm.", True)]
    if not all(VOXEL_MM[0] <= s <= VOXEL_MM[1] for s in size):
        remedy = "Voxels of 0.2 to 12 mm are allowed: mend the header."
        return [(f"has voxels of {shown} mm", remedy, True)]
    return []


def _coverage(header: Header) -> list[Finding]:
    size = header.grid.voxel_mm
    shown = " x ".join(f"{s:.3g}" for s in size)
    found: list[Finding] = []
    if max(size) > THICK_MM:
        found.append((f"has thick slices ({shown} mm)", "Small lesions may not show.", False))
    extent = min(n * s for n, s in zip(header.grid.shape, size, strict=True))
    if extent < SHORT_MM:
        found.append((f"covers only {extent:.0f} mm", "Use a scan of the whole head.", False))
    return found


def _orientation(header: Header) -> list[Finding]:
    if header.sform is None and header.qform is None:
        remedy = "Convert it from DICOM again, or set the sform if left and right are known."
        return [("has neither sform nor qform: left and right are unknown", remedy, True)]
    if not header.grid.is_orthogonal:
        remedy = "Resample it to an unsheared grid, or convert it from DICOM again."
        return [("has a sheared or singular affine", remedy, True)]
    if header.sform is None or header.qform is None:
        return []
    if np.linalg.det(header.sform[:3, :3]) * np.linalg.det(header.qform[:3, :3]) < 0:
        remedy = "Find out which is true and set both to it."
        return [("has an sform and a qform that swap left and right", remedy, True)]
    apart = _apart_mm(header)
    if apart > min(header.grid.voxel_mm) / 2:
        what = f"has an sform and a qform that lie up to {apart:.1f} mm apart"
        return [(what, "The sform is used.", False)]
    return []


def _apart_mm(header: Header) -> float:
    """Return the largest distance between the corners as sform and qform place them."""
    if header.sform is None or header.qform is None:
        return 0.0
    ends = np.array(header.shape[:3]) - 1
    corners = np.array(list(np.ndindex(2, 2, 2))) * ends
    moves = header.sform - header.qform
    return float(np.linalg.norm(corners @ moves[:3, :3].T + moves[:3, 3], axis=1).max())
