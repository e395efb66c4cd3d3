"""How far is a case from a network's decision boundary? DeepFool's perturbation norm."""

from collections.abc import Callable

import torch


def deepfool_distance(
    logits: Callable[[torch.Tensor], torch.Tensor], x: torch.Tensor, steps: int = 10
) -> torch.Tensor:
    """Return the length of the shortest move found that changes each case's class.

    Moosavi-Dezfooli et al. 2016 (arXiv:1511.04599): walk to the nearest of the linearized
    boundaries until the class changes. For a linear classifier one step is exact.

    Args:
        logits: maps (N, ...) to (N, K); must treat cases one by one (no batch statistics).
        x: (N, ...) cases.
        steps: at most so many.

    Returns:
        (N,) Euclidean distances in the units of `x`.
    """
    with torch.no_grad():
        own = logits(x).argmax(dim=1)
    rows = torch.arange(len(x))
    move = torch.zeros_like(x)
    unmoved = torch.ones(len(x), dtype=torch.bool)
    for _ in range(steps):
        place = (x + move).requires_grad_()
        value = logits(place)
        unmoved &= value.argmax(dim=1) == own
        if not unmoved.any():
            break
        slopes = [
            torch.autograd.grad(value[:, k].sum(), place, retain_graph=True)[0]
            for k in range(value.shape[1])
        ]
        slope = torch.stack(slopes, dim=1).flatten(2)
        slope = slope - slope[rows, own][:, None]
        gap = (value - value[rows, own][:, None]).detach().abs()
        norm = slope.norm(dim=2).clamp_min(1e-12)
        reach = (gap / norm).scatter(1, own[:, None], torch.inf)
        nearest = reach.argmin(dim=1)
        length = (reach[rows, nearest] / norm[rows, nearest])[:, None]
        step = (length * slope[rows, nearest] * 1.0001).view_as(x)
        move = move + step * unmoved.view(-1, *[1] * (x.dim() - 1))
    return move.flatten(1).norm(dim=1)
