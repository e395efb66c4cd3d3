import pytest
import torch

from lesionforge.synthesis.spade.config import STRIDES
from lesionforge.synthesis.spade.network import Generator, halos, pool


def make_generator(**options) -> Generator:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        settings = {
            "images": 2,
            "semantic_channels": 5,
            "style_dim": 4,
            "features": (8, 8, 8),
            "hidden": 4,
        }
        return Generator(**(settings | options))


def make_inputs(size: tuple[int, int, int], batch: int = 1):
    generator = torch.Generator().manual_seed(1)
    semantic = torch.rand(batch, 5, *size, generator=generator)
    semantic[:, :3] /= semantic[:, :3].sum(1, keepdim=True)
    noise = [torch.randn(batch, 2, *(n // s for n in size), generator=generator) for s in STRIDES]
    return semantic, torch.randn(batch, 4, generator=generator), noise


def test_output_is_two_volumes_in_the_unit_interval():
    semantic, style, noise = make_inputs((16, 20, 12), batch=2)
    made = make_generator()(semantic, style, noise)
    assert made.shape == (2, 2, 16, 20, 12)
    assert made.dtype == torch.float32
    assert 0 <= made.min() < made.max() <= 1


def test_background_is_exactly_zero():
    semantic, style, noise = make_inputs((16, 16, 16))
    semantic[..., :5, :] = 0
    made = make_generator()(semantic, style, noise)
    assert (made[..., :5, :] == 0).all()
    assert (made[..., 5:, :] > 0).all()


@pytest.mark.parametrize("corner", [(8, 8, 8), (9, 10, 11)])
def test_a_lesion_of_one_voxel_changes_its_own_voxel(corner):
    """Nearest down-sampling and a missing full-resolution SPADE layer both lose such a lesion."""
    network = make_generator()
    semantic, style, noise = make_inputs((16, 16, 16))
    semantic[:, 3:] = 0
    lesion = semantic.clone()
    lesion[(slice(None), 3, *corner)] = 1
    effect = (network(lesion, style, noise) - network(semantic, style, noise)).abs()[0].amax(0)
    assert effect[corner] > 1e-4
    coarse = pool(lesion, 4)[0, 3]
    assert coarse[tuple(c // 4 for c in corner)] == pytest.approx(1 / 64)


def test_an_effect_that_is_asked_for_shows_before_anything_is_learnt():
    semantic, style, noise = make_inputs((16, 16, 16))
    semantic[:, 3:] = 0
    semantic[0, 3, 5, 5, 5], semantic[0, 4, 9, 9, 9] = 1.0, -2.0  # T1w, FLAIR: robust SDs
    generator = make_generator()
    with torch.no_grad():
        generator.head.weight.zero_()
        generator.head.bias.zero_()
        change = generator(semantic, style, noise) - 0.5
    assert change[0, 0, 5, 5, 5] == pytest.approx(0.1, rel=0.05)
    assert change[0, 1, 9, 9, 9] == pytest.approx(-0.2, rel=0.06)
    assert (change.abs() > 1e-6).sum() == 2


def test_style_and_noise_change_the_image():
    network = make_generator()
    semantic, style, noise = make_inputs((16, 16, 16))
    made = network(semantic, style, noise)
    assert (network(semantic, style + 1, noise) - made).abs().max() > 1e-3
    for level in range(3):
        other = list(noise)
        other[level] = other[level] + 1
        assert (network(semantic, style, other) - made).abs().max() > 1e-4


def test_halos_are_exact():
    """The output at a voxel depends on each stride's map as far as `halos` says, not further."""
    network = make_generator(features=(4, 4, 4), hidden=8).double()
    size = 48
    semantic, style, noise = make_inputs((size, size, size))
    pyramid = [pool(semantic, s).double().requires_grad_() for s in STRIDES]
    made = network.render(pyramid, style.double(), [n.double() for n in noise])
    place = 28  # a multiple of the coarsest stride: a tile starts here
    made[0, 0, place, place, place].backward()
    for map_, stride, halo in zip(pyramid, STRIDES, halos(), strict=True):
        touched = (map_.grad != 0).any(1)[0].any(2).any(1).nonzero()[:, 0]
        assert place - int(touched[0]) * stride == halo


def test_checkpointing_changes_memory_only():
    plain, saving = make_generator(), make_generator(checkpointing=True)
    semantic, style, noise = make_inputs((16, 16, 16))
    gradients = []
    for network in (plain.train(), saving.train()):
        network(semantic, style, noise).square().mean().backward()
        gradients.append([p.grad for p in network.parameters()])
    for a, b in zip(*gradients, strict=True):
        assert torch.equal(a, b)


def test_every_parameter_learns():
    network = make_generator()
    network(*make_inputs((16, 16, 16))).square().mean().backward()
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in network.parameters())
