"""What a phantom's head has beyond health: focal cortical dysplasia and benign findings.

A lesion grows along the cortical ribbon from its seed and carries the signs of focal cortical
dysplasia: thickened cortex, blurred grey-white junction, FLAIR hyperintensity and, in some, a
tail that tapers toward the ventricle. Benign findings are drawn alike for patients and controls.
In version 3 lesions have many looks, and benign stretches of cortex grow as lesions do.
"""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage
from skimage.graph import MCP_Geometric

from lesionforge.phantoms.anatomy import Head, smooth_field
from lesionforge.phantoms.parameters import LOBES
from lesionforge.phantoms.spec import ConfounderSpec, LesionSpec, PhantomSpec
from lesionforge.seeding import stream

REACH_MM = 44.0  # half the side of the box a lesion grows in
BENEATH_MM = 3.0  # how far the white matter beneath a lesion takes part
Box = tuple[slice, slice, slice]


@dataclass
class Signs:
    """A head with its findings.

    Attributes:
        tissue: (3, X, Y, Z) CSF, GM, WM as the findings leave them.
        t1w: (X, Y, Z) intensity added on T1w.
        flair: (X, Y, Z) intensity added on FLAIR.
        lesion: (X, Y, Z) in [0, 1], the dysplasia's effect; an expert draws where it exceeds 0.5.
    """

    tissue: np.ndarray
    t1w: np.ndarray
    flair: np.ndarray
    lesion: np.ndarray


def add_findings(spec: PhantomSpec, head: Head) -> Signs:
    """Apply the benign findings of `spec`, then its lesion, to a healthy head."""
    empty = np.zeros(head.grid.shape, dtype=np.float32)
    signs = Signs(head.tissue.copy(), empty, empty.copy(), empty.copy())
    lobes = lobe_map(head)
    for number in range(len(spec.confounders)):
        _add_confounder(spec, head, signs, number, lobes)
    for number, mimic in enumerate(spec.mimics):
        rng = stream(spec.seed, "phantom", spec.id, "mimic shape", number)
        _add_stretch(rng, head, signs, mimic, lobes)
    if spec.lesion is not None:
        rng = stream(spec.seed, "phantom", spec.id, "lesion shape")
        signs.lesion = _add_stretch(rng, head, signs, spec.lesion, lobes)
    return signs


def lobe_map(head: Head) -> np.ndarray:
    """Return coarse lobes: 0 none, then 1 + the place in `LOBES`; (X, Y, Z) uint8.

    From template coordinates: brainstem, cerebellum and deep grey matter are 0.
    """
    x, y, z = np.abs(head.mni[:, 0]), head.mni[:, 1], head.mni[:, 2]
    sylvian = -10 + (20 - y) * 30 / 55
    central = -5 - (z - 20) * 0.45
    lobe = np.where(y > central, 1, 3)
    lobe[y < -74 + np.clip(x - 30, 0, 20) * 0.4] = 4
    lobe[(z < sylvian) & (x > 19) & (y < 20) & (y > -62)] = 2
    lobe[(((x - 38) / 6) ** 2 + ((y - 2) / 24) ** 2 + ((z - 2) / 14) ** 2) < 1] = 5
    tentorium = -0.4 * x - 0.2 * np.maximum(0, -60 - y)
    lobe[(y < -32) & (z < tentorium)] = 0
    lobe[(x < 19) & (y < -4) & (z < -4)] = 0
    deep = np.where(y < 22, ((x - 12) / 22) ** 2 + ((y + 4) / 30) ** 2 + ((z - 4) / 18) ** 2, 9)
    lobe[deep < 1] = 0
    found = np.zeros(head.grid.shape, dtype=np.uint8)
    found[head.inside] = lobe
    return found


def _pick(weight: np.ndarray, place: float) -> tuple[int, int, int]:
    """Return the voxel at the share `place` of the cumulated `weight`."""
    allowed = np.flatnonzero(weight)
    total = np.cumsum(weight.ravel()[allowed], dtype=np.float64)
    chosen = int(np.searchsorted(total, place * total[-1], side="right"))
    x, y, z = np.unravel_index(allowed[min(chosen, len(allowed) - 1)], weight.shape)
    return int(x), int(y), int(z)


def _box(head: Head, centre: tuple[int, int, int], reach_mm: float) -> Box:
    reach = int(np.ceil(reach_mm / head.grid.voxel_mm[0]))
    x, y, z = (
        slice(max(c - reach, 0), min(c + reach + 1, n))
        for c, n in zip(centre, head.grid.shape, strict=True)
    )
    return x, y, z


def _world(head: Head, box: Box) -> np.ndarray:
    """Return the head-frame coordinates (3, x, y, z) of a box's voxels in mm."""
    axes = [np.arange(s.start, s.stop) for s in box]
    index = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)
    return np.moveaxis(head.grid.world(index), -1, 0)


def _add_confounder(
    spec: PhantomSpec, head: Head, signs: Signs, number: int, lobes: np.ndarray
) -> None:
    finding = spec.confounders[number]
    centre = _pick(_host(head, lobes, finding.kind), finding.place)
    box = _box(head, centre, 3.5 * finding.radius_mm + 10)
    offset = _world(head, box) - head.grid.world(np.array(centre))[:, None, None, None]
    offset += 0.3 * finding.radius_mm * _wobble(spec, box, number)
    if finding.kind == "blurred_junction":
        effect = np.exp(-0.5 * (offset**2).sum(0) / (0.7 * finding.radius_mm) ** 2)
        area = signs.tissue[(slice(None), *box)]
        _change_cortex(area, effect, 0.8, 1.6, head.grid.voxel_mm[0])
        return
    shape = _spot(offset, finding) * head.brain[box]
    if finding.kind != "vessel":
        shape = shape * head.tissue[2 if finding.kind == "wm_spot" else 1][box]
    signs.flair[box] += finding.flair * shape
    signs.t1w[box] += finding.t1w * shape


def _host(head: Head, lobes: np.ndarray, kind: str) -> np.ndarray:
    """Return how likely each voxel is to be the centre of a benign finding of `kind`."""
    csf, grey, white = head.tissue
    if kind == "wm_spot":
        near = np.exp(-np.maximum(head.ventricle_mm - 2, 0) / 12)
        return (white > 0.8) * (lobes > 0) * (0.15 + near)
    if kind == "cortical_spot":
        return (grey > 0.5) * (lobes > 0)
    if kind == "vessel":
        return (csf > 0.3) * (grey > 0.1) * (lobes > 0)
    return (grey > 0.3) * (white > 0.3) * (lobes > 0)


def _wobble(spec: PhantomSpec, box: Box, number: int) -> np.ndarray:
    """Draw a smooth displacement (3, x, y, z) of a box, so that spots are not ellipsoids."""
    rng = stream(spec.seed, "phantom", spec.id, "finding", number)
    field = rng.standard_normal((5, 5, 5, 3))
    for side in box:
        places = np.linspace(0, 4, side.stop - side.start)
        basis = np.exp(-0.5 * ((places[:, None] - np.arange(5)) / 0.7) ** 2)
        basis /= np.linalg.norm(basis, axis=1, keepdims=True)
        field = np.tensordot(field, basis, axes=(0, 1))
    return field  # tensordot has turned the axes once around: (3, x, y, z)


def _spot(offset: np.ndarray, finding: ConfounderSpec) -> np.ndarray:
    """Return an ellipsoid, or for a vessel a curved tube, with soft edges."""
    direction = np.array(finding.direction)
    axis = direction / max(float(np.linalg.norm(direction)), 1e-6)
    along = np.tensordot(axis, offset, axes=1)
    across = np.sqrt(np.maximum((offset**2).sum(0) - along**2, 0))
    length = finding.radius_mm * (1 + float(np.linalg.norm(direction)))
    if finding.kind == "vessel":
        length = 8.0 + 8.0 * float(np.linalg.norm(direction))
    radius = np.sqrt((along / length) ** 2 + (across / finding.radius_mm) ** 2)
    return 1 / (1 + np.exp((radius - 1) * 6))


def _change_cortex(
    tissue: np.ndarray, effect: np.ndarray, thickening_mm: float, blur_mm: float, step: float
) -> None:
    """Thicken the cortex into white matter, then blur its junction, in place.

    Works on grey matter's share of the tissue that is not CSF, so that sulci stay.

    Args:
        tissue: (3, x, y, z) CSF, GM, WM.
        effect: (x, y, z) in [0, 1], where and how much.
        thickening_mm: how far the junction moves.
        blur_mm: standard deviation of the blur.
        step: voxel size, mm.
    """
    solid = tissue[1] + tissue[2]
    share = tissue[1] / np.maximum(solid, 1e-3)
    if thickening_mm > 0.05:
        spread = ndimage.gaussian_filter(share, thickening_mm / step)
        share = share + effect * (np.maximum(share, np.clip(spread / 0.35, 0, 1)) - share)
    if blur_mm > 0.05:
        sigma = blur_mm / step
        mean = ndimage.gaussian_filter(share * solid, sigma)
        blurred = mean / np.maximum(ndimage.gaussian_filter(solid, sigma), 1e-3)
        share = share + effect * (blurred - share)
    tissue[1], tissue[2] = share * solid, (1 - share) * solid


def _add_stretch(
    rng: np.random.Generator, head: Head, signs: Signs, lesion: LesionSpec, lobes: np.ndarray
) -> np.ndarray:
    """Add a stretch of abnormal cortex; return its effect, (X, Y, Z) in [0, 1]."""
    whole = np.zeros(head.grid.shape, dtype=np.float32)
    seed = _lesion_seed(head, lesion, lobes)
    box = _box(head, seed, REACH_MM)
    effect = _grow(rng, lesion, head, box, seed, _ribbon(head, box, lobes))
    area = signs.tissue[(slice(None), *box)]
    step = head.grid.voxel_mm[0]
    _change_cortex(area, effect, lesion.thickening_mm, lesion.blur_mm, step)
    bright = effect * (area[1] + 0.6 * area[2])
    signs.flair[box] += lesion.flair * bright
    signs.t1w[box] -= lesion.t1w * bright
    if lesion.white_flair or lesion.white_t1w:
        beneath = np.clip(ndimage.gaussian_filter(effect, BENEATH_MM / step) / 0.3, 0, 1) * area[2]
        signs.flair[box] += lesion.white_flair * beneath
        signs.t1w[box] -= lesion.white_t1w * beneath
    whole[box] = effect
    if lesion.transmantle:
        box, tail = _tail(head, whole)
        tail = tail * signs.tissue[2][box]
        signs.flair[box] += 0.8 * lesion.flair * tail
        signs.t1w[box] -= 0.8 * (lesion.t1w + 0.3 * lesion.flair) * tail
        whole[box] = np.maximum(whole[box], tail)
    return whole


def _lesion_seed(head: Head, lesion: LesionSpec, lobes: np.ndarray) -> tuple[int, int, int]:
    right = np.zeros(head.grid.shape, dtype=bool)
    right[head.inside] = head.mni[:, 0] > 2
    left = np.zeros(head.grid.shape, dtype=bool)
    left[head.inside] = head.mni[:, 0] < -2
    hemisphere = right if lesion.side == "right" else left
    cortex = (head.tissue[1] > 0.55) & (lobes == 1 + LOBES.index(lesion.lobe)) & hemisphere
    return _pick(cortex.astype(np.float32), lesion.place)


def _ribbon(head: Head, box: Box, lobes: np.ndarray) -> np.ndarray:
    """Return cortex and its junction as a soft mask: where a dysplasia can be."""
    csf, grey, _ = head.tissue[(slice(None), *box)]
    spread = ndimage.gaussian_filter(grey, 1.6 / head.grid.voxel_mm[0])
    soft = np.clip((spread - 0.12) / 0.22, 0, 1) * np.clip((0.75 - csf) / 0.35, 0, 1)
    return soft * (lobes[box] > 0)


def _grow(
    rng: np.random.Generator,
    lesion: LesionSpec,
    head: Head,
    box: Box,
    seed: tuple[int, int, int],
    ribbon: np.ndarray,
) -> np.ndarray:
    """Grow along the ribbon from `seed` until the drawn volume is reached; (x, y, z) in [0, 1].

    Distance runs through cortex, hardly across a sulcus, and is stretched by a random field, so
    that outlines are irregular.
    """
    step = head.grid.voxel_mm[0]
    start = tuple(c - s.start for c, s in zip(seed, box, strict=True))
    speed = np.exp(0.45 * smooth_field(rng, head.grid, 9.0)[box])
    cost = np.where(ribbon > 0.15, speed * (1 + 6 * head.tissue[0][box]), -1.0)
    cost[start] = 1.0
    distance, _ = MCP_Geometric(cost.astype(np.float64)).find_costs([start])
    distance *= step
    core = np.sort(distance[(ribbon > 0.5) & np.isfinite(distance)])
    wanted = max(round(lesion.volume_mm3 / step**3), 1)
    edge = core[min(wanted, len(core)) - 1]
    return _sigmoid((edge - distance) / lesion.softness_mm) * ribbon


def _sigmoid(value: np.ndarray) -> np.ndarray:
    return (1 / (1 + np.exp(-np.clip(value, -30, 30)))).astype(np.float32)


def _tail(head: Head, lesion: np.ndarray) -> tuple[Box, np.ndarray]:
    """Return a cone from the lesion's middle to the nearest ventricle, with the box it lies in."""
    cells = np.argwhere(lesion > 0.5)
    middle = head.grid.world(cells.mean(axis=0))
    wall = head.grid.world(np.argwhere((head.ventricle_mm < 0.5) & (head.brain > 0.5)))
    end = wall[np.argmin(((wall - middle) ** 2).sum(axis=1))]
    corners = np.rint(head.grid.index(np.stack([middle, end]))).astype(int)
    margin = int(np.ceil(8 / head.grid.voxel_mm[0]))
    x, y, z = (
        slice(max(low - margin, 0), high + margin + 1)
        for low, high in zip(corners.min(0), corners.max(0), strict=True)
    )
    offset = _world(head, (x, y, z)) - middle[:, None, None, None]
    line = end - middle
    along = np.clip(np.tensordot(line, offset, 1) / (line @ line), 0, 1)
    across = np.sqrt(((offset - line[:, None, None, None] * along) ** 2).sum(axis=0))
    radius = 1.2 + 0.5 * np.cbrt(len(cells)) * head.grid.voxel_mm[0] * 0.5 * (1 - along)
    return (x, y, z), _sigmoid((radius - across) * 2.0) * (1 - 0.55 * along).astype(np.float32)
