"""Spatially adaptive normalization (SPADE), written from the paper, and its residual block.

Park et al., Semantic Image Synthesis with Spatially-Adaptive Normalization, arXiv:1903.07291.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

SLOPE = 0.2


def pixel_norm(x: Tensor) -> Tensor:
    """Divide each voxel's channels by their root mean square; no parameters, no statistics.

    The paper normalizes with the mean and spread over the batch. Those, like an instance's, differ
    from tile to tile, so a volume made in tiles would not equal one made whole; a voxel's own
    channels (Karras et al., arXiv:1710.10196) are the same in any tile.

    Args:
        x: (B, C, X, Y, Z).
    """
    return x * torch.rsqrt(x.float().square().mean(1, keepdim=True) + 1e-6).to(x.dtype)


class SPADE(nn.Module):
    """Normalize, then scale and shift each voxel by the semantic map and each channel by the style.

    The scale and shift convolutions have no normalization of their own. The style acts after the
    map, so that it changes the contrast between tissues and not only an image's overall level.
    """

    def __init__(
        self, channels: int, *, semantic_channels: int, hidden: int, style_dim: int
    ) -> None:
        super().__init__()
        self.embed = nn.Conv3d(semantic_channels, hidden, 3, padding=1)
        self.gamma_beta = nn.Conv3d(hidden, 2 * channels, 3, padding=1)
        self.style = nn.Linear(style_dim, 2 * channels)
        nn.init.zeros_(self.style.bias)

    def forward(self, x: Tensor, semantic: Tensor, style: Tensor) -> Tensor:
        """Modulate `x` (B, C, X, Y, Z) by `semantic` (B, S, X, Y, Z) and `style` (B, style_dim)."""
        gamma, beta = self.gamma_beta(functional.relu(self.embed(semantic))).chunk(2, dim=1)
        scale, shift = self.style(style)[..., None, None, None].chunk(2, dim=1)
        normal = pixel_norm(x)
        mapped = torch.addcmul(normal + beta, normal, gamma)
        return torch.addcmul(mapped + shift, mapped, scale)


class SPADEBlock(nn.Module):
    """Residual block of two SPADE layers and two convolutions, with noise after the first.

    Noise has one learned strength a channel (Karras et al., arXiv:1812.04948).
    """

    NOISES = 2
    CONVOLUTIONS = 2
    MODULATION_REACH = 2

    def __init__(
        self, channels: int, *, semantic_channels: int, hidden: int, style_dim: int
    ) -> None:
        super().__init__()
        options = {
            "semantic_channels": semantic_channels,
            "hidden": hidden,
            "style_dim": style_dim,
        }
        self.first = SPADE(channels, **options)
        self.second = SPADE(channels, **options)
        self.convolve_first = nn.Conv3d(channels, channels, 3, padding=1)
        self.convolve_second = nn.Conv3d(channels, channels, 3, padding=1)
        self.strength = nn.Parameter(torch.full((self.NOISES, channels, 1, 1, 1), 0.05))

    def forward(self, x: Tensor, semantic: Tensor, style: Tensor, noise: Tensor) -> Tensor:
        """Refine `x` (B, C, X, Y, Z); `noise` is (B, NOISES, X, Y, Z)."""
        x = x + self.strength[0] * noise[:, :1]
        inner = functional.leaky_relu(self.first(x, semantic, style), SLOPE)
        inner = self.convolve_first(inner) + self.strength[1] * noise[:, 1:]
        inner = functional.leaky_relu(self.second(inner, semantic, style), SLOPE)
        return x + self.convolve_second(inner)
