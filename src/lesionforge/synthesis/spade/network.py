"""The generator: conditioning map, style and noise to images, SPADE at every resolution."""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from lesionforge.synthesis.spade.config import STRIDES
from lesionforge.synthesis.spade.layers import SLOPE, SPADEBlock

ALIGNMENT = STRIDES[0]
TISSUE_CHANNELS = 3
EFFECT_LOGITS = 0.4  # a robust SD is 0.1, and the sigmoid's slope 1/4 at the brain's median, 0.5
Crop = tuple[slice, slice, slice]


def pool(x: Tensor, factor: int) -> Tensor:
    """Average over cubes of `factor` voxels; axes of (B, C, X, Y, Z) must be multiples of it.

    Averaging, unlike taking the nearest voxel, keeps a lesion smaller than a cube. Written with
    a mean since PyTorch's pooling has no deterministic gradient on a GPU.
    """
    if factor == 1:
        return x
    b, c, *size = x.shape
    split = [part for n in size for part in (n // factor, factor)]
    return x.reshape(b, c, *split).mean((3, 5, 7))


class Generator(nn.Module):
    """SPADE generator with residual blocks at strides 4, 2 and 1; all channels come out jointly.

    The effect that the map asks for is added to the output's logits, so that what is left to learn
    from a few dozen lesions is how real ones differ from it.

    Args:
        images: number of image channels C.
        semantic_channels: channels of the conditioning map; the first three are CSF, GM and WM, the
            last C the contrast change asked of each image, in robust standard deviations.
        style_dim: length of the style code.
        features: feature channels at strides 4, 2 and 1.
        hidden: channels inside each SPADE layer.
        checkpointing: recompute activations in the backward pass: less memory, more time.
    """

    def __init__(
        self,
        *,
        images: int,
        semantic_channels: int,
        style_dim: int,
        features: tuple[int, int, int],
        hidden: int,
        checkpointing: bool = False,
    ) -> None:
        super().__init__()
        self.images, self.checkpointing = images, checkpointing
        self.stem = nn.Conv3d(semantic_channels + style_dim, features[0], 3, padding=1)
        self.blocks = nn.ModuleList(
            SPADEBlock(n, semantic_channels=semantic_channels, hidden=hidden, style_dim=style_dim)
            for n in features
        )
        self.reduce = nn.ModuleList(nn.Conv3d(a, b, 1) for a, b in pairwise(features))
        self.head = nn.Conv3d(features[-1], images, 3, padding=1)

    def forward(self, semantic: Tensor, style: Tensor, noise: Sequence[Tensor]) -> Tensor:
        """Make the images of whole maps or training patches.

        Args:
            semantic: (B, semantic_channels, X, Y, Z), axes multiples of 4.
            style: (B, style_dim).
            noise: for each stride s a (B, NOISES, X/s, Y/s, Z/s) standard normal tensor.

        Returns:
            (B, C, X, Y, Z) float32 in [0, 1]; 0 where the tissue classes are all 0.
        """
        return self.render([pool(semantic, s) for s in STRIDES], style, noise)

    def render(
        self,
        pyramid: Sequence[Tensor],
        style: Tensor,
        noise: Sequence[Tensor],
        crops: Sequence[Crop] | None = None,
    ) -> Tensor:
        """Make the images from maps at every stride, each on its own (shrinking) window.

        Args:
            pyramid: maps at strides 4, 2, 1.
            style: as in `forward`.
            noise: as in `forward`, on the windows of `pyramid`.
            crops: where, in the features brought up from stride 4 (from stride 2), the window of
                stride 2 (of stride 1) lies; None when all windows are the same.
        """
        dtype = self.stem.weight.dtype
        flat = style[..., None, None, None].expand(-1, -1, *pyramid[0].shape[2:])
        x = self.stem(torch.cat([pyramid[0], flat.to(pyramid[0].dtype)], dim=1).to(dtype))
        for level, block in enumerate(self.blocks):
            if level:
                x = functional.interpolate(self.reduce[level - 1](x), scale_factor=2)
                x = x if crops is None else x[(..., *crops[level - 1])]
            x = self._run(block, x, pyramid[level], style, noise[level])
        logits = self.head(functional.leaky_relu(x, SLOPE)).float()
        logits = logits + EFFECT_LOGITS * pyramid[-1][:, -self.images :]
        inside = pyramid[-1][:, :TISSUE_CHANNELS].sum(1, keepdim=True).clamp(0, 1)
        return torch.sigmoid(logits) * inside

    def _run(self, block: nn.Module, *inputs: Tensor) -> Tensor:
        if self.checkpointing and self.training:
            return checkpoint(block, *inputs, use_reentrant=False, preserve_rng_state=False)
        return block(*inputs)


def halos() -> tuple[int, int, int]:
    """Return how many voxels (of stride 1) around a tile each stride's map must be known.

    Counted back from the output convolution: a block's output `need` voxels away asks for features
    `CONVOLUTIONS` voxels further and, through its first SPADE layer, for the map
    `MODULATION_REACH` further still; an upsampling halves the distance, rounded up. The stem's
    reach is covered by the coarsest block's. Windows are aligned to 4 voxels on top of this.
    """
    need, reach = 1, []
    for stride in reversed(STRIDES):
        features = need + SPADEBlock.CONVOLUTIONS
        reach.append((features + SPADEBlock.MODULATION_REACH) * stride)
        need = -(-features // 2)
    return reach[2], reach[1], reach[0]
