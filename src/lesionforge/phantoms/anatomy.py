"""The healthy head of a phantom: the MNI152 template, warped, refolded and given contrast.

Everything here lives in the *head frame*: MNI-like, RAS, upright, in mm. Scanning
(`phantom_scan`) turns the head and cuts it into voxels.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from nilearn import datasets
from scipy import ndimage

from lesionforge.data.volume import Grid, grid
from lesionforge.phantoms.spec import AnatomySpec, PhantomSpec, ScanSpec
from lesionforge.seeding import stream

HEAD_CORNER_MM = (-90.0, -126.0, -86.0)
HEAD_SIZE_MM = (180.0, 216.0, 180.0)
HEAD_VOXEL = 0.8  # of the nominal voxel: finer than the scans, so that scanning blurs
WARPS_MM = ((55.0, 2.0), (28.0, 1.4), (14.0, 1.1), (8.0, 0.8))  # scale, standard deviation
REGIONS_MM = ((32.0, 0.6), (16.0, 0.6), (9.0, 0.5))  # scale, share of `regional_sd`
SHARPNESS = 1.8  # exponent on the template's probabilities: an average head is too smooth
FLOOR = 0.01
# CSF, GM, brain, texture of T1w, deep grey, distance to the ventricles in mm
CHANNELS = 6


@dataclass(frozen=True)
class Template:
    """MNI152 maps: `maps` (`CHANNELS`, X, Y, Z) float32 and `ventricle_pull` (3, x, y, z)."""

    maps: np.ndarray
    origin_mm: np.ndarray
    ventricle_pull: np.ndarray


@dataclass
class Head:
    """A healthy head in the head frame.

    Attributes:
        grid: working grid.
        inside: (X, Y, Z) bool, voxels near or in the brain; the (N,) arrays list them.
        mni: (N, 3) template coordinates, mm.
        tissue: (3, X, Y, Z) float32 CSF, GM, WM; sums to `brain`.
        brain: (X, Y, Z) float32 in [0, 1].
        texture, deep_grey, ventricle_mm: (X, Y, Z) float32.
    """

    grid: Grid
    inside: np.ndarray
    mni: np.ndarray
    tissue: np.ndarray
    brain: np.ndarray
    texture: np.ndarray
    deep_grey: np.ndarray
    ventricle_mm: np.ndarray


def head_grid(voxel_mm: float) -> Grid:
    """Return the working grid for scans of `voxel_mm`."""
    step = HEAD_VOXEL * voxel_mm
    affine = np.diag([step, step, step, 1.0])
    affine[:3, 3] = HEAD_CORNER_MM
    return grid(tuple(int(np.ceil(size / step)) for size in HEAD_SIZE_MM), affine)


def smooth_field(rng: np.random.Generator, grid: Grid, scale_mm: float) -> np.ndarray:
    """Draw a smooth random field on an axis-aligned `grid`; float32, mean 0, variance 1.

    A sum of Gaussian bumps with normal weights, `scale_mm` apart, in world space: the same
    stream gives the same field on a finer grid.
    """
    bases, counts = [], []
    for axis in range(3):
        count = int(np.ceil(HEAD_SIZE_MM[axis] / scale_mm)) + 3
        centres = HEAD_CORNER_MM[axis] + scale_mm * (np.arange(count) - 1)
        step = grid.matrix[axis, axis]
        places = grid.matrix[axis, 3] + step * np.arange(grid.shape[axis])
        basis = np.exp(-0.5 * ((places[:, None] - centres) / (0.7 * scale_mm)) ** 2)
        bases.append(basis / np.linalg.norm(basis, axis=1, keepdims=True))
        counts.append(count)
    field = rng.standard_normal(counts)
    for basis in bases:
        field = np.tensordot(field, basis.astype(np.float32), axes=(0, 1))
    return field.astype(np.float32)


@lru_cache(maxsize=1)
def load_template(voxel_mm: float) -> Template:
    """Load nilearn's bundled MNI152 maps (1 mm), smoothed for scans of `voxel_mm`.

    Cached: one loading a process.
    """
    images = [
        load(resolution=1)
        for load in (
            datasets.load_mni152_template,
            datasets.load_mni152_gm_template,
            datasets.load_mni152_wm_template,
            datasets.load_mni152_brain_mask,
        )
    ]
    t1w, grey, white, brain = (np.asarray(i.dataobj, dtype=np.float32) for i in images)
    spans = [np.flatnonzero(brain.any(axis=(a - 1, a - 2))) for a in range(3)]
    box = tuple(slice(max(s[0] - 6, 0), s[-1] + 7) for s in spans)
    origin = images[0].affine[:3, 3] + [s.start for s in box]
    t1w, grey, white, brain = (a[box] for a in (t1w, grey, white, brain))
    total = np.maximum(grey + white, 1)
    grey, white = grey / total * brain, white / total * brain
    csf = brain - grey - white
    distance = _ventricle_distance(csf, origin)
    texture, deep = _texture(t1w, csf, grey, white), _deep_grey(grey, origin)
    sigma = 0.3 * HEAD_VOXEL * voxel_mm
    maps = [ndimage.gaussian_filter(m, sigma) for m in (csf, grey, brain)]
    stacked = np.stack([*maps, texture, deep, distance], dtype=np.float32)
    return Template(stacked, np.asarray(origin, dtype=float), _ventricle_pull(distance))


def _world(shape: tuple[int, ...], origin: np.ndarray, step: int) -> list[np.ndarray]:
    axes = [origin[a] + step * np.arange(shape[a]) for a in range(3)]
    return list(np.meshgrid(*axes, indexing="ij", sparse=True))


def _ventricle_distance(csf: np.ndarray, origin: np.ndarray) -> np.ndarray:
    """Return the distance (mm) to the lateral and third ventricles, negative inside."""
    fluid = csf[::2, ::2, ::2] > 0.5  # half the resolution is enough for a distance
    x, y, z = _world(fluid.shape, origin, 2)
    fluid &= (np.abs(x) < 40) & (y > -60) & (y < 45) & (z > -22) & (z < 36)
    labels, count = ndimage.label(fluid)
    numbers = np.arange(1, count + 1)
    from_centre = np.abs(x) + np.abs(y + 10) + np.abs(z - 14)
    near = ndimage.minimum(from_centre, labels, numbers) < 40
    large = ndimage.sum_labels(fluid, labels, numbers) > 20
    inside = np.isin(labels, numbers[near & large])
    half = ndimage.distance_transform_edt(~inside) - ndimage.distance_transform_edt(inside)
    return ndimage.affine_transform(
        2 * half.astype(np.float32),
        np.full(3, 0.5),
        output_shape=csf.shape,
        order=1,
        mode="nearest",
    )


def _ventricle_pull(distance: np.ndarray) -> np.ndarray:
    """Return the outward direction, fading over 12 mm, on every second voxel."""
    smooth = ndimage.gaussian_filter(distance, 3.0)[::2, ::2, ::2]
    return np.stack(np.gradient(smooth, 2.0)) * np.exp(-np.abs(smooth) / 12.0)


def _texture(t1w: np.ndarray, csf: np.ndarray, grey: np.ndarray, white: np.ndarray) -> np.ndarray:
    """Return what the template's T1w has beyond a mix of tissues: myelin, iron; as shares of WM."""
    inside = csf + grey + white > 0.9
    parts = np.stack([a[inside][::20] for a in (csf, grey, white)], axis=1)
    weights, *_ = np.linalg.lstsq(parts, t1w[inside][::20], rcond=None)
    csf_level, grey_level, white_level = (float(w) for w in weights)
    rest = (t1w - csf_level * csf - grey_level * grey - white_level * white) / white_level
    return ndimage.gaussian_filter(np.clip(rest, -0.15, 0.2) * (grey + white), 1.0)


def _deep_grey(grey: np.ndarray, origin: np.ndarray) -> np.ndarray:
    """Return a soft mask of thalamus, caudate, putamen and pallidum."""
    x, y, z = _world(grey.shape, origin, 1)
    ball = ((np.abs(x) - 14) / 20) ** 2 + ((y + 4) / 28) ** 2 + ((z - 5) / 17) ** 2
    return ndimage.gaussian_filter(grey * (ball < 1), 1.5)


def build_head(spec: PhantomSpec) -> Head:
    """Build the healthy head of `spec` on its working grid."""
    template = load_template(spec.voxel_mm)
    area = head_grid(spec.voxel_mm)
    places = _template_places(spec, area, template)
    limits = np.array(template.maps.shape[1:]) - 1
    nearest = [np.clip(np.rint(places[a]), 0, limits[a]).astype(np.intp) for a in range(3)]
    inside = template.maps[2][tuple(nearest)] > 0.01
    points = places[:, inside]
    sampled = np.zeros((CHANNELS, *area.shape), dtype=np.float32)
    for channel in range(CHANNELS):
        sampled[channel][inside] = ndimage.map_coordinates(
            template.maps[channel], points, order=1, mode="nearest", output=np.float32
        )
    csf, grey, brain, texture, deep_grey, ventricle_mm = sampled
    white = np.maximum(brain - csf - grey, 0)
    tissue = _refold(spec, area, np.stack([csf, grey, white])) * brain
    return Head(
        grid=area,
        inside=inside,
        mni=points.T + template.origin_mm,
        tissue=tissue,
        brain=brain,
        texture=texture,
        deep_grey=deep_grey,
        ventricle_mm=np.where(inside, ventricle_mm, 99.0).astype(np.float32),
    )


def _template_places(spec: PhantomSpec, area: Grid, template: Template) -> np.ndarray:
    """Return where in the template (voxels) each voxel of the head comes from, (3, X, Y, Z)."""
    rng = stream(spec.seed, "phantom", spec.id, "warp")
    places = np.zeros((3, *area.shape), dtype=np.float32)
    for axis in range(3):
        for scale, spread in WARPS_MM:
            places[axis] += spread * spec.anatomy.warp * smooth_field(rng, area, scale)
        world = area.matrix[axis, 3] + area.matrix[axis, axis] * np.arange(area.shape[axis])
        turned = [1, 1, 1]
        turned[axis] = -1
        places[axis] += (world / spec.anatomy.scale[axis] - template.origin_mm[axis]).reshape(
            turned
        )
    half = np.array(template.ventricle_pull.shape[1:]) - 1
    index = tuple(np.clip(np.rint(places[a] / 2), 0, half[a]).astype(np.intp) for a in range(3))
    for axis in range(3):
        places[axis] -= spec.anatomy.ventricle_mm * template.ventricle_pull[axis][index]
    return places


def _refold(spec: PhantomSpec, area: Grid, tissue: np.ndarray) -> np.ndarray:
    """Sharpen the template's tissues and move their boundaries, so that folds are the subject's."""
    anatomy = spec.anatomy
    rng = stream(spec.seed, "phantom", spec.id, "folds")
    fold = anatomy.fold_sd * smooth_field(rng, area, 7.0) + anatomy.atrophy
    cortex = anatomy.thickness + anatomy.cortex_sd * (
        0.7 * smooth_field(rng, area, 22.0) + 0.7 * smooth_field(rng, area, 9.0)
    )
    odds = np.power(tissue + FLOOR, SHARPNESS)
    odds[0] *= np.exp(fold)
    odds[1] *= np.exp(cortex)
    return odds / odds.sum(axis=0)


def healthy_contrast(spec: PhantomSpec, head: Head, scan: ScanSpec, name: str) -> np.ndarray:
    """Return the intensity of each tissue (3, X, Y, Z) in a `T1w` or `FLAIR` of the healthy head.

    Tissues are not constant: deep grey matter, myelin texture, slow regional changes, and on
    FLAIR a brighter limbic cortex and periventricular caps.
    """
    anatomy = spec.anatomy
    rng = stream(spec.seed, "phantom", spec.id, "regions", name)
    slow = sum(
        (share * smooth_field(rng, head.grid, scale) for scale, share in REGIONS_MM),
        start=np.zeros(head.grid.shape, dtype=np.float32),
    )
    white = smooth_field(rng, head.grid, 40.0)
    levels = np.empty_like(head.tissue)
    levels[0] = scan.tissue[0]
    levels[1] = scan.tissue[1] + anatomy.regional_sd * slow + scan.deep_grey * head.deep_grey
    levels[2] = scan.tissue[2] + 0.6 * anatomy.regional_sd * white
    if name == "T1w":
        levels[1:] += anatomy.texture * head.texture
        return levels
    levels[1:] -= 0.4 * anatomy.texture * head.texture
    limbic = np.zeros(head.grid.shape, dtype=np.float32)
    limbic[head.inside] = _limbic(head.mni)
    levels[1] += 0.07 * limbic
    levels[2] += _caps(anatomy, head)
    return levels


def _limbic(mni: np.ndarray) -> np.ndarray:
    x, y, z = np.abs(mni[:, 0]), mni[:, 1], mni[:, 2]
    insula = ((x - 37) / 8) ** 2 + ((y - 3) / 26) ** 2 + ((z - 2) / 16) ** 2
    cingulate = (x / 12) ** 2 + ((np.hypot(y + 5, 1.2 * (z - 12)) - 32) / 11) ** 2
    mesial = ((x - 24) / 10) ** 2 + ((y + 16) / 22) ** 2 + ((z + 18) / 9) ** 2
    return np.exp(-(np.minimum(np.minimum(insula, cingulate + 9 * (z < -5)), mesial) ** 2))


def _caps(anatomy: AnatomySpec, head: Head) -> np.ndarray:
    """Return the bright rims of the ventricles' horns and the faint terminal zones behind them."""
    y = np.zeros(head.grid.shape, dtype=np.float32)
    y[head.inside] = head.mni[:, 1]
    horns = np.clip((np.abs(y + 2) - 14) / 18, 0.15, 1)
    distance = np.maximum(head.ventricle_mm, 0)
    zone = 0.25 * np.exp(-(((y + 62) / 14) ** 2) - ((distance - 8) / 6) ** 2)
    return anatomy.caps * (horns * np.exp(-distance / 2.5) + zone)
