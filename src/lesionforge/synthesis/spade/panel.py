"""A picture of the training: mask | real | synthetic, for a fixed set of patches."""

import numpy as np
from torch import Tensor


def plot_panel(real: Tensor, made: Tensor, semantic: Tensor) -> np.ndarray:
    """Lay out the axial middle slices of patches, one patch a row.

    Columns: grey and white matter with the lesion on top, then each channel real and synthetic.

    Args:
        real: (B, C, X, Y, Z) in [0, 1].
        made: (B, C, X, Y, Z) in [0, 1].
        semantic: (B, 4 + C, X, Y, Z).

    Returns:
        (3, height, width) float32 in [0, 1].
    """
    rows = []
    for index in range(len(real)):
        middle = real.shape[-1] // 2
        truth, fake, label = (
            v[index, ..., middle].detach().float().cpu().numpy() for v in (real, made, semantic)
        )
        grey = [image for pair in zip(truth, fake, strict=True) for image in pair]
        tiles = [_mask_colours(label), *(np.repeat(g[None], 3, axis=0) for g in grey)]
        rows.append(np.concatenate([_upright(tile) for tile in tiles], axis=2))
    return np.clip(np.concatenate(rows, axis=1), 0, 1).astype(np.float32)


def _mask_colours(label: np.ndarray) -> np.ndarray:
    """Paint tissues in greys (CSF dark, GM, WM bright) and the lesion red."""
    base = 0.15 * label[0] + 0.5 * label[1] + 0.8 * label[2]
    lesion = np.clip(label[3], 0, 1)
    return np.stack([base * (1 - lesion) + lesion, base * (1 - lesion), base * (1 - lesion)])


def _upright(tile: np.ndarray) -> np.ndarray:
    """Turn (3, x, y) so that anterior is up and the subject's right is on the right."""
    return np.pad(tile.transpose(0, 2, 1)[:, ::-1], ((0, 0), (1, 1), (1, 1)))
