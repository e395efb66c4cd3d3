"""The detector's configuration and its Lightning module: loss, optimiser, schedule, logging."""

import math
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from lightning import LightningModule
from monai.losses import DiceCELoss

from lesionforge.detection.augmentation import AugmentConfig
from lesionforge.detection.networks import STRIDE, build_network
from lesionforge.errors import ConfigError

Precision = Literal["auto", "32-true", "bf16-mixed"]
IGNORED = -1.0
"""Of a target: what the voxel is does not count."""
SURE_LOGIT = 100.0
"""Its probability is 1 in 32 bits."""


@dataclass(frozen=True)
class DetectorConfig:
    """The detector, the same in every regime: network, training and inference.

    Attributes:
        filters: channels of the network's four levels.
        steps: optimiser steps, the same number in every regime; the last weights are kept.
        batch_size: patches a step, over all devices.
        patch: edge of the cubic patches, voxels, a multiple of 8.
        learning_rate: its peak.
        warmup: share of the steps over which the learning rate rises; then it falls to 0 as half a
            cosine.
        weight_decay: AdamW's.
        gradient_clip: largest norm of the gradient.
        foreground_share: share of patches that are centred near a lesion voxel (of a patient drawn
            uniformly); the others lie anywhere in the brain of any patient or control.
        synthetic_share: share of patches drawn from synthetic subjects where a regime has any; by
            default their share among the training subjects.
        epoch_steps: steps between two checkpoints.
        workers: processes that prepare patches; the result does not depend on it. With few cores
            they compete with the training, with a GPU they feed it.
        precision: `auto` is bf16 on GPUs and on CPUs that multiply in it, else 32 bit.
        accelerator: Lightning's accelerator.
        devices: devices a node.
        num_nodes: nodes.
        overlap: of neighbouring windows at inference.
        mirror: average the prediction with that of the left-right mirrored volume.
        augment: augmentation of the training patches.
    """

    filters: tuple[int, int, int, int] = (8, 16, 32, 64)
    steps: int = 900
    batch_size: int = 8
    patch: int = 24
    learning_rate: float = 3.0e-3
    warmup: float = 0.05
    weight_decay: float = 0.01
    gradient_clip: float = 1.0
    foreground_share: float = 0.25
    synthetic_share: float | None = None
    epoch_steps: int = 100
    workers: int = 0
    precision: Precision = "auto"
    accelerator: str = "auto"
    devices: int = 1
    num_nodes: int = 1
    overlap: float = 0.25
    mirror: bool = True
    augment: AugmentConfig = field(default_factory=AugmentConfig)

    def __post_init__(self) -> None:
        """Check the ranges."""
        for name in ("steps", "batch_size", "epoch_steps", "devices", "num_nodes"):
            if getattr(self, name) < 1:
                raise ConfigError(f"`{name}` must be at least 1, got {getattr(self, name)}.")
        if self.patch < 2 * STRIDE or self.patch % STRIDE:
            raise ConfigError(
                f"`patch` must be a multiple of {STRIDE}, at least {2 * STRIDE}, got {self.patch}."
            )
        if self.batch_size % (self.devices * self.num_nodes):
            raise ConfigError(
                f"`batch_size` ({self.batch_size}) must be a multiple of the "
                f"{self.devices * self.num_nodes} devices, the same in every regime."
            )
        if len(self.filters) != 4 or min(self.filters) < 1:
            raise ConfigError(f"`filters` must be four positive numbers, got {self.filters}.")
        if not 0 < self.foreground_share <= 1:
            raise ConfigError(f"`foreground_share` must be in (0, 1], got {self.foreground_share}.")
        if self.synthetic_share is not None and not 0 <= self.synthetic_share <= 1:
            raise ConfigError(f"`synthetic_share` must be in [0, 1], got {self.synthetic_share}.")
        if not 0 <= self.overlap < 1 or not 0 <= self.warmup < 1:
            raise ConfigError(
                f"`overlap` and `warmup` must be in [0, 1), got {self.overlap} and {self.warmup}."
            )
        if self.workers < 0 or self.learning_rate <= 0 or self.gradient_clip <= 0:
            raise ConfigError(
                "`workers` must not be negative; `learning_rate` and `gradient_clip` must be "
                f"positive, got {self.workers}, {self.learning_rate}, {self.gradient_clip}."
            )


def learning_rate_factor(step: int, config: DetectorConfig) -> float:
    """Return the share of the peak learning rate at `step` (from 0): linear rise, cosine fall."""
    warmup = round(config.warmup * config.steps)
    if step < warmup:
        return (step + 1) / (warmup + 1)
    return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, config.steps - warmup)))


def supervision_loss(logits: torch.Tensor, target: torch.Tensor, loss: DiceCELoss) -> torch.Tensor:
    """Average the loss over the supervised outputs with weights 1, 1/2, 1/4, normalised.

    Args:
        logits: (B, S, 1, X, Y, Z), full resolution first.
        target: (B, 1, X, Y, Z): 1 lesion, 0 none, `IGNORED` where neither counts: such voxels are
            certain background in output and target, so they have no gradient.
        loss: of one output.
    """
    counts = target != IGNORED
    sure = torch.full_like(target, -SURE_LOGIT)
    outputs = [torch.where(counts, o, sure) for o in logits.float().unbind(dim=1)]
    weights = [0.5**i for i in range(len(outputs))]
    known = target * counts
    total = sum(w * loss(o, known) for w, o in zip(weights, outputs, strict=True))
    return total / sum(weights)


class DetectorModule(LightningModule):
    """Train the network with Dice and cross-entropy under deep supervision.

    Dice is taken over the whole batch, so that patches without a lesion count as false positives
    rather than as an undefined ratio.

    Args:
        config: the detector's configuration.
        images: number of image channels.
        seed: of the initial weights.
    """

    def __init__(self, config: DetectorConfig, images: int, seed: int) -> None:
        super().__init__()
        self.config = config
        self.network = build_network(images, config.filters, seed)
        self.loss = DiceCELoss(sigmoid=True, batch=True)
        self.curve: list[tuple[int, float, float]] = []

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return logits for `images` (B, C, X, Y, Z); see `build_network`."""
        return self.network(images)

    def training_step(self, batch: tuple[torch.Tensor, torch.Tensor], _: int) -> torch.Tensor:
        """Return the loss of a batch of patches and note it in the curve."""
        images, target = batch
        logits = self(images.contiguous(memory_format=torch.channels_last_3d))
        with torch.autocast(self.device.type, enabled=False):
            loss = supervision_loss(logits, target, self.loss)
        rate = self.optimizers().param_groups[0]["lr"]  # type: ignore[union-attr]
        self.log_dict({"loss": loss, "learning_rate": rate})
        self.curve.append((self.global_step + 1, float(loss.detach()), float(rate)))
        return loss

    def configure_optimizers(self) -> Any:
        """Return AdamW with a learning rate that is set before every step."""
        optimizer = torch.optim.AdamW(
            self.network.parameters(),
            lr=self.config.learning_rate,
            weight_decay=self.config.weight_decay,
        )
        schedule = torch.optim.lr_scheduler.LambdaLR(
            optimizer, lambda step: learning_rate_factor(step, self.config)
        )
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": schedule, "interval": "step"},
        }

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep the loss curve, so that a resumed run shows all of it."""
        checkpoint["curve"] = self.curve

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take the loss curve up again."""
        self.curve = [tuple(row) for row in checkpoint["curve"]]
