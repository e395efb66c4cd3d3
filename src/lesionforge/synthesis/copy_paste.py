"""Copy a real lesion into another real head: the control regime that costs no training.

After CarveMix (Zhang et al., MICCAI 2021): the region within a drawn distance of the lesion's
border is carved out of one training subject and put at the same place of another one. Here its edge
is blended where healthy tissue comes along, either side of the brain may be used, and controls get
tissue of other controls.
"""

from collections.abc import Callable

import numpy as np
from scipy import ndimage

from lesionforge.errors import DataError, MaskError
from lesionforge.lesions.blending import feather_weight
from lesionforge.lesions.shape import largest_component
from lesionforge.synthesis.anatomy import Anatomy, bend_anatomy
from lesionforge.synthesis.config import SynthesisConfig
from lesionforge.synthesis.spec import CarveSpec, SynthesisSpec
from lesionforge.synthesis.warp import WarpSpec

MIN_INSIDE = 0.8
CSF, MAX_FLUID = 0, 0.3


def copy_tissue(
    spec: SynthesisSpec, host: Anatomy, read: Callable[[str], Anatomy], config: SynthesisConfig
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Put the carved tissue into the host.

    Args:
        spec: the draw, of mode `paste`.
        host: its anatomy, mirrored as drawn.
        read: reads the anatomy of a subject.
        config: its `feather_mm` is the width of the blended edge.

    Returns:
        (2, X, Y, Z) images before and after, and (X, Y, Z) bool lesion.

    Raises:
        MaskError: the region does not fit the host: too much of it lies outside the brain or in
            fluid, it comes near the host's own lesion, or lesion would be copied without a label.
    """
    carve = spec.carve
    if carve is None or host.images is None:
        raise DataError(f"{spec.host} cannot be pasted into; synthesize the set again.")
    region = _mirrored(read(carve.region), carve)
    donor = _mirrored(read(carve.donor), carve)
    lesion, carved = carve_region(region.lesion, carve.margin, host.grid.voxel_mm)
    lesion = largest_component(lesion & host.brain & donor.brain)
    _check_fit(carved, lesion, host)
    # an inner part is cut off sharply: blending would copy some of the lesion beyond its label
    feather_mm = config.feather_mm if carve.margin >= 0 else 0.0
    weight = feather_weight(carved, feather_mm, host.grid.voxel_mm)
    weight = weight * (host.brain & donor.brain)
    if carve.margin >= 0 and ((weight > 0) & donor.lesion & ~lesion).any():
        raise MaskError(f"More of the lesion of {donor.id} would be copied than is labelled.")
    images = (host.images + weight * (donor.images - host.images)).astype(np.float32)
    return host.images, images, lesion


def carve_region(
    lesion: np.ndarray, margin: float, voxel_mm: tuple[float, float, float]
) -> tuple[np.ndarray, np.ndarray]:
    """Return the part of the lesion that is copied, and the whole region that is.

    Args:
        lesion: (X, Y, Z) bool; of several components the largest counts.
        margin: see `CarveSpec`.
        voxel_mm: voxel size.
    """
    lesion = largest_component(lesion)
    inner = ndimage.distance_transform_edt(lesion, sampling=voxel_mm)
    outer = ndimage.distance_transform_edt(~lesion, sampling=voxel_mm)
    carved = outer - inner <= margin * inner.max()
    carved |= inner == inner.max()  # never nothing
    return lesion & carved, carved


def _mirrored(anatomy: Anatomy, carve: CarveSpec) -> Anatomy:
    return bend_anatomy(anatomy, WarpSpec(0, 0.0, 1.0, flip=carve.flip))


def _check_fit(carved: np.ndarray, lesion: np.ndarray, host: Anatomy) -> None:
    inside = carved[host.brain].sum() / carved.sum()
    if inside < MIN_INSIDE or not lesion.any():
        raise MaskError(f"{inside:.0%} of the region lies inside the brain of {host.id}.")
    if (carved & host.as_host().forbidden).any():
        raise MaskError(f"The region comes near the lesion that {host.id} has.")
    fluid = float(host.inpainted[CSF][lesion].mean())
    if fluid > MAX_FLUID:
        raise MaskError(f"{fluid:.0%} of the lesion would lie in the fluid of {host.id}.")
