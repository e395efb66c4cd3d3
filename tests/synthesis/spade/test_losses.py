import numpy as np
import pytest
import torch

from lesionforge.seeding import torch_stream
from lesionforge.synthesis.spade import losses
from lesionforge.synthesis.spade.discriminator import MultiScaleDiscriminator


def random(*shape: int, name: str = "a") -> torch.Tensor:
    return torch.rand(*shape, generator=torch_stream(0, name))


def test_hinge_is_linear_in_the_logits_and_never_saturates_for_the_generator():
    real, fake = [torch.tensor([2.0, 0.0])], [torch.tensor([-3.0, 0.5])]
    assert losses.hinge_discriminator(real, fake).item() == pytest.approx(0.5 + 0.75)
    assert losses.hinge_generator([torch.tensor([5.0])]).item() == -5
    assert losses.hinge_generator([torch.tensor([-5.0])]).item() == 5


def test_feature_matching_pulls_the_fake_only():
    real = [random(1, 3, name="r").requires_grad_()]
    fake = [random(1, 3, name="f").requires_grad_()]
    loss = losses.feature_matching(real, fake)
    expected = np.abs(real[0].detach().numpy() - fake[0].detach().numpy()).mean()
    assert loss.item() == pytest.approx(expected)
    loss.backward()
    assert real[0].grad is None
    assert fake[0].grad is not None


def test_brain_l1_ignores_background():
    semantic = torch.zeros(1, 5, 4, 4, 4)
    semantic[:, 1, :2] = 1
    real, fake = torch.zeros(1, 2, 4, 4, 4), torch.zeros(1, 2, 4, 4, 4)
    fake[:, :, 2:] = 9
    fake[:, 0, :2] = 0.5
    assert losses.brain_l1(fake, real, semantic).item() == pytest.approx(0.25)
    assert losses.brain_l1(fake, real, torch.zeros_like(semantic)).item() == 0


def test_small_and_large_lesions_count_alike():
    semantic = torch.zeros(3, 5, 8, 8, 8)
    semantic[0, 3, :3, :3, :3] = 1  # 27 voxels
    semantic[1, 3, :6, :6, :6] = 1  # 216 voxels; the third patch has none
    real = torch.zeros(3, 2, 8, 8, 8)
    first, second = torch.zeros_like(real), torch.zeros_like(real)
    first[0] = 0.2
    second[1] = 0.2
    assert losses.lesion_l1(first, real, semantic).item() == pytest.approx(0.1)
    assert losses.lesion_l1(second, real, semantic).item() == pytest.approx(0.1)
    assert losses.lesion_l1(first, real, semantic[[2, 2, 2]]).item() == 0


def test_style_divergence_is_that_of_two_normals():
    mean, log_variance = random(4, 3, name="m"), random(4, 3, name="v")
    ours = losses.style_divergence(mean, log_variance)
    theirs = torch.distributions.kl_divergence(
        torch.distributions.Normal(mean, (log_variance / 2).exp()),
        torch.distributions.Normal(torch.zeros(4, 3), torch.ones(4, 3)),
    )
    assert ours.item() == pytest.approx(theirs.mean().item(), rel=1e-5)


def test_discriminators_judge_patches_at_two_scales_and_see_the_map():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        judge = MultiScaleDiscriminator(images=2, semantic_channels=5, width=4).eval()
    images, semantic = random(1, 2, 16, 16, 16, name="i"), random(1, 5, 16, 16, 16, name="s")
    logits, features = judge(images, semantic)
    assert [tuple(v.shape[2:]) for v in logits] == [(4, 4, 4), (2, 2, 2)]
    assert len(features) == 6
    for other in (judge(images, semantic + 1)[0], judge(images * 0.5, semantic)[0]):
        assert all((a - b).abs().max() > 1e-4 for a, b in zip(logits, other, strict=True))


def test_discriminators_are_lipschitz_bound():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        judge = MultiScaleDiscriminator(images=2, semantic_channels=5, width=4).train()
        for _ in range(20):  # power iteration
            judge(random(1, 2, 16, 16, 16), random(1, 5, 16, 16, 16, name="s"))
    for scale in judge.scales:
        for layer in [*scale.layers, scale.head]:
            norm = torch.linalg.matrix_norm(layer.weight.flatten(1), ord=2)
            assert norm.item() == pytest.approx(1, abs=0.05)
