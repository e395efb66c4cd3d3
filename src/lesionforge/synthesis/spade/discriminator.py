"""Two patch discriminators at two scales that see the images beside their semantic map.

After Wang et al. (arXiv:1711.11585): the second works on averaged inputs and so judges larger
structures. Spectral normalization after Miyato et al. (arXiv:1802.05957).
"""

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.parametrizations import spectral_norm

from lesionforge.synthesis.spade.layers import SLOPE
from lesionforge.synthesis.spade.network import pool

SCALES = 2


class PatchDiscriminator(nn.Module):
    """Judge overlapping patches: two halvings of resolution, then one value a place.

    Args:
        in_channels: of images and conditioning map together.
        width: features of the first layer; doubled with each halving.
    """

    def __init__(self, in_channels: int, *, width: int) -> None:
        super().__init__()
        widths = (in_channels, width, 2 * width)
        self.layers = nn.ModuleList(
            spectral_norm(nn.Conv3d(a, b, 4, stride=2, padding=1)) for a, b in pairwise(widths)
        )
        self.layers.append(spectral_norm(nn.Conv3d(2 * width, 2 * width, 3, padding=1)))
        self.head = spectral_norm(nn.Conv3d(2 * width, 1, 3, padding=1))

    def forward(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Return the logits (B, 1, x, y, z), higher is more real, and each layer's features."""
        features = []
        for layer in self.layers:
            x = functional.leaky_relu(layer(x), SLOPE)
            features.append(x)
        return self.head(x), features


class MultiScaleDiscriminator(nn.Module):
    """The same patch discriminator (with weights of its own) at full and at half resolution.

    Args:
        images: number of image channels C.
        semantic_channels: channels of the conditioning map.
        width: features of the first layers.
    """

    def __init__(self, *, images: int, semantic_channels: int, width: int) -> None:
        super().__init__()
        self.scales = nn.ModuleList(
            PatchDiscriminator(images + semantic_channels, width=width) for _ in range(SCALES)
        )

    def forward(self, images: Tensor, semantic: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """Return the logits of both scales and the features of all layers.

        Args:
            images: (B, C, X, Y, Z) in [0, 1], axes multiples of 8.
            semantic: (B, semantic_channels, X, Y, Z).
        """
        x = torch.cat([2 * images - 1, semantic], dim=1)
        logits, features = [], []
        for index, scale in enumerate(self.scales):
            value, layers = scale(pool(x, 2**index))
            logits.append(value)
            features.extend(layers)
        return logits, features
