import torch

from lesionforge.label_qc.relabelling.deepfool import deepfool_distance
from lesionforge.seeding import torch_stream


def test_a_linear_classifier_has_exact_distances():
    generator = torch_stream(0, "deepfool")
    weight = torch.randn(4, 6, generator=generator)
    bias = torch.randn(4, generator=generator)
    x = torch.randn(50, 6, generator=generator)
    value = x @ weight.T + bias
    own = value.argmax(dim=1)
    gap = value.max(dim=1).values[:, None] - value
    norm = (weight[own][:, None] - weight[None]).norm(dim=2)
    exact = (gap / norm).masked_fill(norm == 0, torch.inf).min(dim=1).values
    found = deepfool_distance(lambda x: x @ weight.T + bias, x)
    torch.testing.assert_close(found, exact, rtol=1e-3, atol=1e-5)


def test_a_round_boundary_is_reached_in_a_few_steps():
    def inside(x: torch.Tensor) -> torch.Tensor:
        radius = (x**2).sum(dim=1)
        return torch.stack([1 - radius, radius - 1], dim=1)

    x = torch.tensor([[0.9, 0.0], [0.0, 2.0], [3.0, 4.0]])
    torch.testing.assert_close(
        deepfool_distance(inside, x), torch.tensor([0.1, 1.0, 4.0]), rtol=0.02, atol=0.02
    )


def test_images_are_walked_as_vectors():
    x = torch.zeros(2, 1, 2, 2)
    distance = deepfool_distance(
        lambda x: torch.stack([x.flatten(1).sum(1) + 2, 0 * x[:, 0, 0, 0]], 1), x
    )
    torch.testing.assert_close(distance, torch.tensor([1.0, 1.0]), rtol=1e-3, atol=1e-3)
