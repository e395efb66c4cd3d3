"""A scan on the study grid, with the way back to where it came from."""

from dataclasses import dataclass, field

import numpy as np

from lesionforge.data.volume import Grid, Volume
from lesionforge.preprocessing.resample import resample


@dataclass(frozen=True, eq=False)
class PreparedScan:
    """One subject's scans on the study grid, and the way back.

    Attributes:
        channels: BIDS suffixes of the images; the first is the reference.
        volumes: BIDS suffix to (X, Y, Z) array: each channel, `desc-brain_mask`,
            `label-CSF_probseg`, `label-GM_probseg`, `label-WM_probseg`.
        grid: the study grid.
        reference_grid: grid of the reference's file (in closest RAS order).
        reference_from_mni: (4, 4) RAS matrix from the study grid's world to the reference's world.
        from_reference: channel to (4, 4) RAS matrix from the reference's world to the channel's;
            the identity for the reference itself.
        mask_method: `deepbet`, `nonzero` or `file`.
        figures: quality figures, see `lesionforge.preprocessing.quality`.
        notes: remarks.
    """

    channels: tuple[str, ...]
    volumes: dict[str, np.ndarray]
    grid: Grid
    reference_grid: Grid
    reference_from_mni: np.ndarray
    from_reference: dict[str, np.ndarray]
    mask_method: str
    figures: dict[str, float]
    notes: tuple[str, ...] = field(default=())

    def to_reference(self, data: np.ndarray) -> Volume:
        """Bring a map on the study grid (a probability, say) back to the reference's grid."""
        back = np.linalg.inv(self.reference_from_mni)
        target = self.reference_grid
        return Volume(resample(Volume(data, self.grid), target, back), target)

    def from_mni(self, channel: str) -> np.ndarray:
        """Return the (4, 4) RAS matrix from the study grid's world to a channel's world."""
        return self.from_reference[channel] @ self.reference_from_mni

    @property
    def images(self) -> np.ndarray:
        """The channels as (C, X, Y, Z) float32, in their order."""
        return np.stack([self.volumes[channel] for channel in self.channels])
