"""Strips of slices with outlines, side by side in one small JPEG: for pages of many subjects."""

import io

import numpy as np
from matplotlib.image import imsave
from scipy import ndimage

from lesionforge.data.subject import Subject, read_images
from lesionforge.report.html import data_uri
from lesionforge.report.pictures import cut, middle

COLOURS = {
    "brain": (74, 222, 128),
    "grey matter": (250, 204, 21),
    "white matter": (248, 113, 113),
    "lesion": (56, 189, 248),
    "prediction": (251, 146, 60),
}
ROWS = 240
GAP = 6


def css_colours(*names: str) -> dict[str, str]:
    """Return what is outlined in which colour, as a style sheet writes it."""
    return {name: "#{:02x}{:02x}{:02x}".format(*COLOURS[name]) for name in names}


def outlined(picture: np.ndarray, outlines: list[tuple[str, np.ndarray]], rows: int) -> np.ndarray:
    """Draw the borders of masks on a slice.

    Args:
        picture: (R, C) in [0, 1].
        outlines: name of a colour and (R, C) bool, drawn in this order.
        rows: of a whole axial slice; the picture is enlarged as it would be to about 240.

    Returns:
        (rows, columns, 3) uint8.
    """
    times = max(1, round(ROWS / rows))
    grey = ndimage.zoom(picture.astype(np.float32), times, order=1, grid_mode=True, mode="nearest")
    colour = np.repeat((255 * np.clip(grey, 0, 1)).astype(np.uint8)[..., None], 3, axis=2)
    for name, mask in outlines:
        soft = ndimage.zoom(mask.astype(np.float32), times, order=1, grid_mode=True, mode="nearest")
        large = soft > 0.5
        colour[large & ~ndimage.binary_erosion(large, border_value=1)] = COLOURS[name]
    return colour


def through(subject: Subject, place: np.ndarray) -> list[np.ndarray]:
    """Cut each channel, then the last with a place's outline, through the place (axial)."""
    images = read_images(subject)
    at = middle(place)
    outline = [("lesion", cut(place, "axial", at))]
    return [
        outlined(cut(volume, "axial", at), outlines, images.shape[2])
        for volume, outlines in (*((image, []) for image in images), (images[-1], outline))
    ]


def join(pictures: list[np.ndarray]) -> str:
    """Put pictures (rows, columns, 3) side by side; returns a JPEG as data URI."""
    rows = max(len(picture) for picture in pictures)
    padded = [np.pad(p, ((0, rows - len(p)), (0, GAP), (0, 0))) for p in pictures]
    file = io.BytesIO()
    options = {"quality": 85, "subsampling": 0}
    imsave(file, np.concatenate(padded, axis=1), format="jpg", pil_kwargs=options)
    return data_uri(file.getvalue(), "jpeg")
