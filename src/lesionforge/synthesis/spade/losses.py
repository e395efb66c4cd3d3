"""The terms that generator and discriminators minimise, each a plain function."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

LESION_FLOOR_VOXELS = 20.0


def hinge_discriminator(real: Sequence[Tensor], fake: Sequence[Tensor]) -> Tensor:
    """Mean over the scales of relu(1 - D(real)) + relu(1 + D(fake)); logits are unbounded."""
    losses = [
        functional.relu(1 - r.float()).mean() + functional.relu(1 + f.float()).mean()
        for r, f in zip(real, fake, strict=True)
    ]
    return torch.stack(losses).mean()


def hinge_generator(fake: Sequence[Tensor]) -> Tensor:
    """Mean over the scales of -D(fake)."""
    return -torch.stack([f.float().mean() for f in fake]).mean()


def feature_matching(real: Sequence[Tensor], fake: Sequence[Tensor]) -> Tensor:
    """Mean absolute difference of the discriminators' features, averaged over layers."""
    losses = [
        functional.l1_loss(f.float(), r.float().detach()) for r, f in zip(real, fake, strict=True)
    ]
    return torch.stack(losses).mean()


def brain_l1(fake: Tensor, real: Tensor, semantic: Tensor) -> Tensor:
    """Mean absolute difference over the brain's voxels; background, always right, does not dilute.

    Args:
        fake: (B, C, X, Y, Z).
        real: (B, C, X, Y, Z).
        semantic: (B, 4 + C, X, Y, Z); the first three channels sum to 1 in the brain.
    """
    brain = semantic[:, :3].sum(1, keepdim=True).float()
    return ((fake - real).float().abs() * brain).sum() / (fake.shape[1] * brain.sum()).clamp_min(1)


def lesion_l1(fake: Tensor, real: Tensor, semantic: Tensor) -> Tensor:
    """Mean absolute difference inside the lesions; each patch's lesion counts alike, small or big.

    A sliver of lesion at a patch's border counts by its size below `LESION_FLOOR_VOXELS`.

    Args:
        fake: (B, C, X, Y, Z).
        real: (B, C, X, Y, Z).
        semantic: (B, C, X, Y, Z); channel 3 is the soft lesion.
    """
    lesion = semantic[:, 3:4].float()
    difference = ((fake - real).float().abs() * lesion).sum((1, 2, 3, 4)) / fake.shape[1]
    mass = lesion.sum((1, 2, 3, 4))
    ill = (mass > 0).sum().clamp_min(1)
    return (difference / mass.clamp_min(LESION_FLOOR_VOXELS)).sum() / ill


def style_divergence(mean: Tensor, log_variance: Tensor) -> Tensor:
    """Kullback-Leibler divergence of the codes from the standard normal, a code dimension."""
    return 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).mean()
