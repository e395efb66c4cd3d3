"""A coarse region map of the MNI brain, made from nilearn's bundled maps and plain geometry.

nilearn's wheel carries the MNI152 2009a T1, grey and white matter maps, and no atlas. The map here
serves bookkeeping (where lesions lie, which lobes the training masks cover) and exclusion (no
lesion in ventricles, brainstem or cerebellum); it is no anatomical atlas, and borders inside
tissue are right to about 5 to 10 mm. Coordinates are MNI millimetres, x to the right; |x| makes it
symmetric.

Landmarks behind the planes: the central sulcus by its upper end (5, -36, 72), hand knob
(38, -22, 58) and lower end (62, -4, 16); the Sylvian fissure by its stem (40, 15, -12) and
posterior end (55, -42, 20); the parieto-occipital sulcus by its upper (10, -80, 38) and lower end
(15, -58, 8) and the preoccipital notch (50, -66, -10). They are read off the template's T1 map and
agree with the sulci's usual MNI coordinates. Cerebellum, brainstem and cerebrum are parted by a
watershed on the template's tissue (the tentorium is the valley), not by planes.
"""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from nilearn import datasets
from scipy import ndimage
from skimage.segmentation import watershed

from lesionforge.data.volume import Grid, grid

REGIONS: tuple[str, ...] = (
    "background",
    "frontal",
    "parietal",
    "temporal",
    "occipital",
    "insula",
    "deep-grey",
    "ventricles",
    "brainstem",
    "cerebellum",
)
LOBES = ("frontal", "parietal", "temporal", "occipital", "insula")
_CODE = {name: code for code, name in enumerate(REGIONS)}
_RESOLUTION_MM = 2
# Boxes (x from, to; y from, to; z from, to; x is |x|), in mm.
_SEEDS = {
    "cerebellum": [(12, 42, -76, -58, -44, -34), (0, 5, -72, -60, -32, -22)],
    "brainstem": [(0, 8, -34, -20, -46, -24), (0, 8, -32, -16, -18, -9)],
    "cerebrum": [
        (0, 70, -110, 75, 6, 90),
        (0, 70, 4, 75, -40, 90),
        (30, 70, -60, 10, -16, 10),
        (26, 60, -24, 10, -45, 0),
        (18, 34, -34, 0, -24, 0),
        (4, 40, -110, -92, -6, 10),
        (8, 22, -88, -60, -4, 10),
        (24, 38, -62, -38, -14, 0),
        (0, 20, -12, 10, -12, 10),
    ],
}
_VENTRICLES = [
    (1, 24, -44, 34, -4, 32),  # frontal horns and bodies
    (10, 40, -66, -28, -12, 28),  # atria and occipital horns
    (0, 4, -34, 8, -14, 14),  # third
    (0, 10, -52, -36, -44, -20),  # fourth
]
_THALAMUS = [(0, 23, -33, -3, -8, 17)]  # with the capsule's posterior limb and subthalamus
_DEEP_GREY = [
    (6, 22, -20, 26, -8, 26),  # caudate
    (10, 33, -20, 20, -12, 14),  # putamen, pallidum, accumbens
]


def region_map(grid: Grid) -> np.ndarray:
    """Label the voxels of an MNI grid with the regions of `REGIONS`.

    Args:
        grid: any grid in MNI space (see `lesionforge.volume.mni_grid`).

    Returns:
        (X, Y, Z) uint8 indices into `REGIONS`; 0 outside the template's brain. Lobes include their
        white matter.
    """
    labels, source = _template_map()
    points = source.index(grid.world(np.indices(grid.shape).transpose(1, 2, 3, 0)))
    coordinates = np.moveaxis(points, -1, 0)
    best = np.full(grid.shape, -1.0, dtype=np.float32)
    result = np.zeros(grid.shape, dtype=np.uint8)
    for code in range(len(REGIONS)):
        share = ndimage.map_coordinates(
            (labels == code).astype(np.float32), coordinates, order=1, cval=float(code == 0)
        )
        wins = share > best
        result[wins], best[wins] = code, share[wins]
    return result


def side_map(grid: Grid) -> np.ndarray:
    """Return the side of each voxel of an MNI grid: (X, Y, Z) int8, -1 left (x < 0), +1 right."""
    x = grid.world(np.indices(grid.shape).transpose(1, 2, 3, 0))[..., 0]
    return np.where(x < 0, -1, 1).astype(np.int8)


@lru_cache(maxsize=1)
def _template_map() -> tuple[np.ndarray, Grid]:
    """Make the map on the template's own grid at 2 mm."""
    grey_image = datasets.load_mni152_gm_template(resolution=_RESOLUTION_MM)
    grey = grey_image.get_fdata(dtype=np.float32)
    white = datasets.load_mni152_wm_template(resolution=_RESOLUTION_MM).get_fdata(dtype=np.float32)
    brain = datasets.load_mni152_brain_mask(resolution=_RESOLUTION_MM).get_fdata() > 0.5
    source = grid(grey.shape, grey_image.affine)
    world = np.moveaxis(source.world(np.indices(grey.shape).transpose(1, 2, 3, 0)), -1, 0)
    x, y, z = np.abs(world[0]), world[1], world[2]
    labels = _lobes(x, y, z)
    labels[_insula(x, y, z)] = _CODE["insula"]
    nuclei = _boxes(_DEEP_GREY, x, y, z) & (grey > 0.35) & ~_insula(x, y, z)
    labels[nuclei | _boxes(_THALAMUS, x, y, z)] = _CODE["deep-grey"]
    parts = _parts(grey + white, brain, x, y, z)
    for name in ("brainstem", "cerebellum"):
        labels[parts == _CODE[name]] = _CODE[name]
    labels[_ventricles(grey + white, brain, x, y, z)] = _CODE["ventricles"]
    labels[~brain] = _CODE["background"]
    return labels, source


def _boxes(
    boxes: Sequence[tuple[int, ...]], x: np.ndarray, y: np.ndarray, z: np.ndarray
) -> np.ndarray:
    inside = np.zeros(x.shape, dtype=bool)
    for x0, x1, y0, y1, z0, z1 in boxes:
        inside |= (x >= x0) & (x <= x1) & (y >= y0) & (y <= y1) & (z >= z0) & (z <= z1)
    return inside


def _lobes(x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Divide the cerebrum by planes; `x` is the distance from the midline."""
    central = -19.9 + 0.32 * x - 0.246 * z
    labels = np.where(y > central, _CODE["frontal"], _CODE["parietal"]).astype(np.uint8)
    lateral = np.clip((x - 12) / 20, 0, 1)
    medial_border = np.clip(-80 + 0.733 * (38 - z), -82, -52)
    occipital = y < (1 - lateral) * medial_border + lateral * (-68 - 0.2 * z)
    sylvian = np.minimum(-12 - 0.56 * (y - 15), 18)
    outer = (x > 33) & (z < sylvian) & (y < 24)
    inner = (x > 10) & (x <= 33) & (z < -6) & (y < 5)
    pole = (x > 20) & (x <= 33) & (z < -20) & (y >= 5) & (y < 22)
    behind = (x > 26) & (x <= 33) & (y < -38) & (z < 10)
    labels[outer | inner | pole | behind] = _CODE["temporal"]
    labels[occipital] = _CODE["occipital"]
    return labels


def _insula(x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Take the slab between the putamen and the opercula, tilted outward toward the back."""
    inner = 30 + 0.06 * np.abs(y) + 0.05 * np.abs(z)
    return (x > inner) & (x < 43) & (y > -26) & (y < 26) & (z > -16 - 0.2 * y) & (z < 18)


def _parts(
    tissue: np.ndarray, brain: np.ndarray, x: np.ndarray, y: np.ndarray, z: np.ndarray
) -> np.ndarray:
    """Part cerebellum and brainstem from the cerebrum along the valleys of tissue density."""
    markers = np.zeros(tissue.shape, dtype=np.int32)
    for name, boxes in _SEEDS.items():
        markers[_boxes(boxes, x, y, z) & (tissue > 0.6)] = _CODE.get(name, len(REGIONS))
    relief = -ndimage.gaussian_filter(tissue, 0.7)
    return watershed(relief, markers, mask=brain)


def _ventricles(
    tissue: np.ndarray, brain: np.ndarray, x: np.ndarray, y: np.ndarray, z: np.ndarray
) -> np.ndarray:
    """Take the fluid (neither grey nor white) of the deep boxes, in pieces of 0.2 mL or more."""
    fluid = brain & (tissue < 0.5) & _boxes(_VENTRICLES, x, y, z)
    labels, count = ndimage.label(fluid)
    sizes = ndimage.sum_labels(fluid, labels, np.arange(1, count + 1))
    return np.isin(labels, 1 + np.flatnonzero(sizes >= 200 / _RESOLUTION_MM**3))
