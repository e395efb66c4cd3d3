"""The rater of a phantom: outlines with a bias, a smooth jitter and missed lesions."""

from dataclasses import dataclass

import numpy as np

from lesionforge.phantoms.cortex import smooth_noise
from lesionforge.phantoms.head import Head
from lesionforge.phantoms.scan import Sampler, largest_piece

FAR_MM = 4.0  # distances are cut here, so that a thick slice takes the majority's side


@dataclass(frozen=True)
class RaterSpec:
    """How far outside (+) the true edge a rater draws, and how that varies along it, mm."""

    bias_mm: float
    jitter_mm: float


def sample_rater(rng: np.random.Generator) -> RaterSpec:
    """Draw a rater's way of one day."""
    return RaterSpec(float(rng.normal(0.1, 0.25)), float(rng.uniform(0.25, 0.6)))


def drawn(spec: RaterSpec, head: Head, outline: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return the drawn depth (X, Y, Z) inside lesions in mm from the true one, `outline` (N,)."""
    jitter = spec.jitter_mm * smooth_noise(rng, head.inside.shape, 6.0)[head.inside]
    depth = np.full(head.inside.shape, -FAR_MM, dtype=np.float32)
    depth[head.inside] = np.clip(outline + spec.bias_mm + jitter, -FAR_MM, FAR_MM)
    return depth


def outline_mask(depth: np.ndarray, sampler: Sampler, one: bool) -> np.ndarray:
    """Return the mask (bool) that the rater draws on a scan, of a drawn depth (X, Y, Z) in mm.

    Where a coarse scan hides all of it, the most likely voxels are drawn.

    Args:
        depth: see `drawn`.
        sampler: the scan.
        one: the disease has one lesion: its largest piece is drawn.
    """
    seen = np.where(sampler.mask, sampler.sample(depth + FAR_MM) - FAR_MM, -FAR_MM)
    mask = (seen > min(0.0, float(seen.max()) - 0.5)) & sampler.mask
    return largest_piece(mask) if one else mask
