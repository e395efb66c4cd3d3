"""The style encoder: how a scan looks (contrast, noise, sharpness) as a short code."""

from itertools import pairwise, product

import torch
from torch import Tensor, nn
from torch.nn import functional

from lesionforge.synthesis.spade.layers import SLOPE
from lesionforge.synthesis.spade.network import TISSUE_CHANNELS

MIN_BRAIN_SHARE = 0.1


class StyleEncoder(nn.Module):
    """Encode a patch of a scan as the mean and log variance of its style code.

    Features are averaged over the brain, so the code says nothing of where things are. In training
    the patch is drawn anywhere in the same scan. Images and tissues are 0 where a lesion is (see
    `spade.data.style_view`): the code may know that there is one, not its looks.

    Args:
        images: number of image channels C.
        style_dim: length of the code.
        features: feature channels at strides 2, 4 and 8.
    """

    def __init__(
        self, *, images: int, style_dim: int, features: tuple[int, int, int] = (16, 32, 48)
    ) -> None:
        super().__init__()
        counts = (images + TISSUE_CHANNELS, *features)
        self.convolutions = nn.ModuleList(
            nn.Conv3d(a, b, 3, stride=2, padding=1) for a, b in pairwise(counts)
        )
        self.mean = nn.Linear(features[-1], style_dim)
        self.log_variance = nn.Linear(features[-1], style_dim)
        nn.init.zeros_(self.log_variance.weight)
        nn.init.constant_(self.log_variance.bias, -3.0)

    def forward(self, images: Tensor, tissues: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and log variance, each (B, style_dim).

        Args:
            images: (B, C, X, Y, Z) in [0, 1].
            tissues: (B, 3, X, Y, Z) probabilities; their sum marks the brain.
        """
        x = torch.cat([images, tissues], dim=1)
        for convolution in self.convolutions:
            x = functional.leaky_relu(convolution(x), SLOPE)
        size = (x.shape[2], x.shape[3], x.shape[4])
        brain = functional.adaptive_avg_pool3d(tissues.sum(1, keepdim=True), size)
        weight = brain / brain.sum((2, 3, 4), keepdim=True).clamp_min(1e-3)
        pooled = (x.float() * weight.float()).sum((2, 3, 4))
        return self.mean(pooled), self.log_variance(pooled).clamp(-8, 2)


@torch.no_grad()
def encode_scan(encoder: StyleEncoder, images: Tensor, tissues: Tensor, patch: int) -> Tensor:
    """Return a scan's style code (style_dim,): the mean over a fixed grid of patches with brain.

    Args:
        encoder: in evaluation mode.
        images: (C, X, Y, Z) in [0, 1].
        tissues: (3, X, Y, Z) probabilities.
        patch: edge of a patch in voxels, as in training.
    """
    stack, first = torch.cat([images, tissues]), len(images)
    padding = [p for n in reversed(stack.shape[1:]) for p in (0, max(0, patch - n))]
    stack = functional.pad(stack, padding)
    codes, weights = [], []
    for x, y, z in product(*(_starts(n, patch) for n in stack.shape[1:])):
        part = stack[None, :, x : x + patch, y : y + patch, z : z + patch]
        share = float(part[:, first:].sum()) / patch**3
        if share >= MIN_BRAIN_SHARE:
            codes.append(encoder(part[:, :first], part[:, first:])[0][0])
            weights.append(share)
    if not codes:
        codes, weights = [encoder(stack[None, :first], stack[None, first:])[0][0]], [1.0]
    weight = torch.tensor(weights, device=stack.device)
    return (torch.stack(codes) * weight[:, None]).sum(0) / weight.sum()


def _starts(size: int, patch: int) -> list[int]:
    """Cover an axis of `size` voxels with patches that overlap as little as they must."""
    count = -(-size // patch)
    return [round(i * (size - patch) / max(count - 1, 1)) for i in range(count)]
