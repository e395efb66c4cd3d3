"""What a lesion mask is like: size, shape, depth and place, as one table row."""

import numpy as np
from scipy import ndimage
from skimage.measure import marching_cubes, mesh_surface_area

from lesionforge.data.volume import Grid
from lesionforge.errors import MaskError
from lesionforge.lesions.host import Host
from lesionforge.preprocessing.regions import LOBES, REGIONS

PLACES = (*LOBES, "deep-grey")  # where a lesion can be said to lie
CONNECTIVITY = np.ones((3, 3, 3), bool)


def describe_mask(mask: np.ndarray, host: Host) -> dict[str, float]:
    """Describe a lesion mask on its host.

    Args:
        mask: (X, Y, Z) bool, at least one voxel, on the host's grid.
        host: the anatomy that it lies in.

    Returns:
        volume_mm3; sphericity (1 for a ball, of the marching-cubes surface); elongation and
        flatness (second and third over first principal axis, in (0, 1]); spread (root mean square
        radius over that of a ball of equal volume, 1 or more); inner_radius_mm (of the largest
        ball inside); depth_mm, depth_low_mm, depth_high_mm (mean, 10th and 90th percentile of the
        signed distance to the grey-white junction); grey_share; ribbon_share (in cortex or
        junction); x_mm, y_mm, z_mm (centroid); place (index into `REGIONS` of the commonest place)
        and side (-1 left, +1 right).
    """
    mask = np.asarray(mask, bool)
    if not mask.any():
        raise MaskError("An empty mask has no shape. Check the lesion mask.")
    grid = host.grid
    points = grid.world(np.argwhere(mask))
    centroid = points.mean(axis=0)
    depth = host.depth_mm[mask]
    low, high = np.percentile(depth, [10, 90])
    return {
        "volume_mm3": float(mask.sum() * grid.voxel_mm3),
        **_shape(mask, points - centroid, grid),
        "depth_mm": float(depth.mean()),
        "depth_low_mm": float(low),
        "depth_high_mm": float(high),
        "grey_share": float(host.tissues[1][mask].mean()),
        "ribbon_share": float(host.ribbon[mask].mean()),
        "x_mm": float(centroid[0]),
        "y_mm": float(centroid[1]),
        "z_mm": float(centroid[2]),
        "place": float(_place(mask, host)),
        "side": -1.0 if centroid[0] < 0 else 1.0,
    }


def largest_component(mask: np.ndarray) -> np.ndarray:
    """Keep the largest 26-connected component of a mask (X, Y, Z)."""
    labels, count = ndimage.label(mask, CONNECTIVITY)
    if count <= 1:
        return np.asarray(mask, bool)
    return labels == 1 + int(np.argmax(np.bincount(labels.ravel())[1:]))


def label_lesions(
    mask: np.ndarray, grid: Grid, min_volume_mm3: float = 0.0
) -> tuple[np.ndarray, int]:
    """Number the lesions of a mask, its 26-connected components.

    Components below `min_volume_mm3` are left out, unless all are: then the largest one is kept, so
    that no patient is left without a lesion.

    Args:
        mask: (X, Y, Z) bool.
        grid: of the mask.
        min_volume_mm3: least volume of a lesion that counts.

    Returns:
        (X, Y, Z) int32, 0 outside lesions and 1 to n in them, and n.
    """
    labels, count = ndimage.label(mask, CONNECTIVITY)
    if not count:
        return labels.astype(np.int32), 0
    sizes = np.bincount(labels.ravel())[1:] * grid.voxel_mm3
    kept = sizes >= min(min_volume_mm3, sizes.max())
    number = np.concatenate([[0], np.where(kept, np.cumsum(kept), 0)]).astype(np.int32)
    return number[labels], int(kept.sum())


def _place(mask: np.ndarray, host: Host) -> int:
    codes = [REGIONS.index(name) for name in PLACES]
    counts = np.bincount(host.regions[mask], minlength=len(REGIONS))[codes]
    return codes[int(np.argmax(counts))]


def _shape(mask: np.ndarray, offsets: np.ndarray, grid: Grid) -> dict[str, float]:
    box = tuple(ndimage.find_objects(mask.astype(np.uint8))[0])
    padded = np.pad(mask[box], 1)
    vertices, faces, _, _ = marching_cubes(padded.astype(np.float32), 0.5, spacing=grid.voxel_mm)
    area = mesh_surface_area(vertices, faces)
    volume = float(mask.sum() * grid.voxel_mm3)
    # A voxel is a box, not a point: its own variance keeps single rows and sheets finite.
    inertia = offsets.T @ offsets / len(offsets) + np.diag(np.square(grid.voxel_mm)) / 12
    third, second, first = np.sqrt(np.linalg.eigvalsh(inertia))
    ball_mm = (3 * volume / (4 * np.pi)) ** (1 / 3)
    return {
        "sphericity": float(np.pi ** (1 / 3) * (6 * volume) ** (2 / 3) / area),
        "elongation": float(second / first),
        "flatness": float(third / first),
        "spread": float(np.sqrt(np.trace(inertia)) / (ball_mm * np.sqrt(0.6))),
        "inner_radius_mm": float(
            ndimage.distance_transform_edt(padded, sampling=grid.voxel_mm).max()
        ),
    }
