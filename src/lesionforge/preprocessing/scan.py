"""A scan on the study grid, with the way back to where it came from."""

from dataclasses import dataclass, field

import numpy as np

from lesionforge.data.volume import Grid, Volume
from lesionforge.preprocessing.resample import resample


@dataclass(frozen=True)
class PreparedScan:
    """One subject's scans on the study grid, and the way back.

    Attributes:
        volumes: BIDS suffix to (X, Y, Z) array: `T1w`, `FLAIR`, `desc-brain_mask`,
            `label-CSF_probseg`, `label-GM_probseg`, `label-WM_probseg`.
        grid: the study grid.
        t1w_grid: the T1w file's grid (in closest RAS order).
        t1w_from_mni: (4, 4) RAS matrix from study-grid world to T1w world.
        flair_from_t1w: (4, 4) RAS matrix from T1w world to FLAIR world.
        mask_method: `deepbet`, `nonzero` or `file`.
        figures: quality figures, see `lesionforge.preprocessing.quality`.
        notes: remarks.
    """

    volumes: dict[str, np.ndarray]
    grid: Grid
    t1w_grid: Grid
    t1w_from_mni: np.ndarray
    flair_from_t1w: np.ndarray
    mask_method: str
    figures: dict[str, float]
    notes: tuple[str, ...] = field(default=())

    def to_t1w(self, data: np.ndarray) -> Volume:
        """Bring a map on the study grid (a probability, say) back to the T1w scan's grid."""
        back = np.linalg.inv(self.t1w_from_mni)
        return Volume(resample(Volume(data, self.grid), self.t1w_grid, back), self.t1w_grid)

    @property
    def channels(self) -> tuple[str, ...]:
        """BIDS suffixes of the images, the reference first."""
        return ("T1w", "FLAIR")

    @property
    def images(self) -> np.ndarray:
        """T1w and FLAIR as (2, X, Y, Z) float32."""
        return np.stack([self.volumes["T1w"], self.volumes["FLAIR"]])
