import math

import numpy as np
import pytest
import torch
from monai.losses import DiceCELoss
from torch import nn
from torch.nn import functional

from lesionforge.detection.config import IGNORED, DetectorConfig
from lesionforge.detection.module import DetectorModule, learning_rate_factor, supervision_loss
from lesionforge.detection.networks import (
    InstanceNorm,
    build_network,
    load_network_state,
    network_state,
)
from lesionforge.errors import ConfigError, DataError

FILTERS = (2, 4, 4, 8)
LOSS = DiceCELoss(sigmoid=True, batch=True)


def test_deep_supervision_has_three_heads_in_training_only():
    network = build_network(2, FILTERS, 0)
    images = torch.randn(2, 2, 16, 16, 16)
    heads = network(images)
    assert heads.shape == (2, 3, 1, 16, 16, 16)
    coarse = heads[:, 1]
    repeated = functional.interpolate(coarse[..., ::2, ::2, ::2], scale_factor=2.0)
    torch.testing.assert_close(coarse, repeated)
    network.eval()
    torch.testing.assert_close(network(images), heads[:, 0])


def test_an_untrained_network_expects_lesions_to_be_rare():
    images = torch.randn(1, 2, 16, 16, 16, generator=torch.Generator().manual_seed(0))
    heads = torch.sigmoid(build_network(2, (4, 8, 8, 8), 0)(images)).mean(dim=(0, 2, 3, 4, 5))
    assert ((heads > 0.01) & (heads < 0.04)).all()


def test_confident_probabilities_are_no_ties():
    network = build_network(2, FILTERS, 0).eval()
    nn.init.zeros_(network.output_block.conv.conv.weight)
    found = []
    for logit in (0.0, 17.0, 40.0, 60.0):
        nn.init.constant_(network.output_block.conv.conv.bias, logit)
        found.append(float(torch.sigmoid(network(torch.zeros(1, 2, 16, 16, 16))).detach().max()))
    assert found[0] == 0.5
    assert np.diff(found).min() > 1e-5  # more than the six digits of a table
    assert found[-1] < 1


def test_every_head_learns():
    network = build_network(2, FILTERS, 0)
    target = torch.zeros(2, 1, 16, 16, 16)
    target[0, :, 4:8, 4:8, 4:8] = 1
    supervision_loss(network(torch.randn(2, 2, 16, 16, 16)), target, LOSS).backward()
    for head in network.deep_supervision_heads:
        assert head.conv.conv.weight.grad.abs().sum() > 0


def test_weights_come_from_the_seed_and_leave_the_global_generator_alone():
    torch.manual_seed(3)
    before = torch.get_rng_state()
    states = [network_state(build_network(2, FILTERS, seed)) for seed in (0, 0, 1)]
    assert torch.equal(torch.get_rng_state(), before)
    key = "input_block.conv1.conv.weight"
    assert torch.equal(states[0][key], states[1][key])
    assert not torch.equal(states[0][key], states[2][key])


def test_saved_weights_rebuild_the_network_and_misfits_are_refused():
    one, two = build_network(2, FILTERS, 0).eval(), build_network(2, FILTERS, 1).eval()
    state = network_state(one)
    load_network_state(two, state)
    images = torch.randn(1, 2, 16, 16, 16)
    assert torch.equal(one(images), two(images))
    with pytest.raises(DataError, match="do not fit"):
        load_network_state(build_network(2, (2, 4, 8, 8), 0), state)
    del state["input_block.conv1.conv.weight"]
    with pytest.raises(DataError, match=r"input_block\.conv1"):
        load_network_state(two, state)


def test_the_loss_weighs_the_heads_1_half_quarter():
    heads = torch.randn(2, 3, 1, 8, 8, 8)
    target = (torch.rand(2, 1, 8, 8, 8) > 0.7).float()

    def dice_and_entropy(logits):
        p = torch.sigmoid(logits)
        dice = 1 - (2 * (p * target).sum() + 1e-5) / (p.sum() + target.sum() + 1e-5)
        return dice + functional.binary_cross_entropy(p, target)

    expected = sum(w * dice_and_entropy(heads[:, i]) for i, w in enumerate((4 / 7, 2 / 7, 1 / 7)))
    torch.testing.assert_close(supervision_loss(heads, target, LOSS), expected)


def test_a_batch_without_a_lesion_teaches_silence():
    logits = torch.zeros(1, 3, 1, 8, 8, 8, requires_grad=True)
    loss = supervision_loss(logits, torch.zeros(1, 1, 8, 8, 8), LOSS)
    loss.backward()
    assert torch.isfinite(loss)
    assert (logits.grad > 0).all()


def test_the_learning_rate_rises_and_falls_to_zero():
    config = DetectorConfig(steps=200, warmup=0.1)
    rates = [learning_rate_factor(step, config) for step in range(201)]
    assert rates[20] == max(rates) == 1
    assert 0 < rates[0] < rates[10] < rates[19]
    assert rates[110] == pytest.approx(0.5 * (1 + math.cos(math.pi / 2)))
    assert rates[200] == pytest.approx(0, abs=1e-12)


def _with_instance_norm(module):
    for name, child in module.named_children():
        if isinstance(child, InstanceNorm):
            norm = nn.InstanceNorm3d(len(child.weight), eps=child.eps, affine=True)
            norm.load_state_dict(child.state_dict())
            setattr(module, name, norm)
        else:
            _with_instance_norm(child)


def test_the_fast_norm_is_instance_norm():
    network = build_network(2, FILTERS, 0)
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=0.3, generator=torch.Generator().manual_seed(1))
    images = torch.randn(2, 2, 16, 16, 16, generator=torch.Generator().manual_seed(2))
    ours = network(images)
    assert not any(isinstance(m, nn.InstanceNorm3d) for m in network.modules())
    _with_instance_norm(network)
    assert any(isinstance(m, nn.InstanceNorm3d) for m in network.modules())
    theirs = network(images)
    torch.testing.assert_close(theirs, ours, atol=1e-4, rtol=1e-4)
    parameters = [p for p in network.parameters() if p.dim() > 1]
    gradients = [torch.autograd.grad(out.square().sum(), parameters) for out in (ours, theirs)]
    torch.testing.assert_close(gradients[0], gradients[1], atol=1e-3, rtol=1e-3)


def test_the_fast_norms_own_gradients_and_its_half_precision():
    ours, theirs = InstanceNorm(3, 1e-5), nn.InstanceNorm3d(3, affine=True)
    x = torch.randn(2, 3, 6, 6, 6, generator=torch.Generator().manual_seed(0)) + 2
    x = x.contiguous(memory_format=torch.channels_last_3d)
    for norm in (ours, theirs):
        norm(x).pow(3).sum().backward()
    torch.testing.assert_close(ours.weight.grad, theirs.weight.grad, atol=0.01, rtol=1e-4)
    torch.testing.assert_close(ours.bias.grad, theirs.bias.grad, atol=0.01, rtol=1e-4)
    with torch.autocast("cpu", torch.bfloat16):
        half = ours(x.bfloat16())
    assert half.is_contiguous(memory_format=torch.channels_last_3d)
    torch.testing.assert_close(half.float(), theirs(x), atol=0.03, rtol=0.02)


def test_the_optimiser_follows_the_configuration():
    config = DetectorConfig(filters=FILTERS, steps=100, learning_rate=0.01)
    made = DetectorModule(config, 2, 0).configure_optimizers()
    assert made["optimizer"].param_groups[0]["lr"] == pytest.approx(0.01 / 6)
    assert made["optimizer"].defaults["weight_decay"] == config.weight_decay


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"steps": 0}, "`steps` must be at least 1"),
        ({"patch": 50}, "`patch` must be a multiple of 8"),
        ({"patch": 8}, "at least 16, got 8"),
        ({"batch_size": 3, "devices": 2}, "must be a multiple of the 2 devices"),
        ({"filters": (8, 16, 32)}, "`filters` must be four"),
        ({"foreground_share": 0.0}, r"`foreground_share` must be in \(0, 1\]"),
        ({"synthetic_share": 1.4}, r"`synthetic_share` must be in \[0, 1\], got 1.4"),
        ({"overlap": 1.0}, r"must be in \[0, 1\)"),
        ({"learning_rate": 0.0}, "must be positive"),
    ],
)
def test_bad_values_are_refused(change, message):
    with pytest.raises(ConfigError, match=message):
        DetectorConfig(**change)


def test_ignored_voxels_have_no_weight():
    logits = torch.randn(2, 3, 1, 8, 8, 8)
    target = (torch.rand(2, 1, 8, 8, 8) > 0.7).float()
    ignored = torch.rand(target.shape) > 0.8
    marked = torch.where(ignored, IGNORED, target)
    one = logits.clone().requires_grad_()
    loss = supervision_loss(one, marked, LOSS)
    loss.backward()
    assert not one.grad[ignored[:, None].expand_as(one)].any()
    assert (one.grad[~ignored[:, None].expand_as(one)] != 0).all()
    other = torch.where(ignored[:, None], 50 * torch.randn_like(logits), logits)
    torch.testing.assert_close(supervision_loss(other, marked, LOSS), loss.detach())
    relabelled = torch.where(ignored, IGNORED, 1 - target).where(ignored, target)
    torch.testing.assert_close(supervision_loss(logits, relabelled, LOSS), loss.detach())
