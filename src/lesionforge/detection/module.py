"""The detector's configuration and its Lightning module: loss, optimiser, schedule, logging."""

import math
from typing import Any

import torch
from lightning import LightningModule
from monai.losses import DiceCELoss

from lesionforge.detection.config import IGNORED, DetectorConfig
from lesionforge.detection.networks import build_network

SURE_LOGIT = 100.0
"""Its probability is 1 in 32 bits."""


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
