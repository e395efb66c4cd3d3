"""The generator's configuration and its adversarial training step."""

import copy
from dataclasses import asdict
from typing import Any

import torch
from lightning import LightningModule
from torch import Tensor, nn

from lesionforge.seeding import seeded_torch, stream, torch_stream
from lesionforge.synthesis.spade import losses
from lesionforge.synthesis.spade.conditioning import map_channels
from lesionforge.synthesis.spade.config import STRIDES, GeneratorConfig
from lesionforge.synthesis.spade.discriminator import MultiScaleDiscriminator
from lesionforge.synthesis.spade.layers import SPADEBlock
from lesionforge.synthesis.spade.network import Generator
from lesionforge.synthesis.spade.noise import position_noise
from lesionforge.synthesis.spade.style import StyleEncoder

Batch = dict[str, Any]


class SpadeModel(nn.Module):
    """Generator and style encoder, which are trained, averaged and kept together.

    Args:
        config: of the networks.
        images: number of image channels.
    """

    def __init__(self, config: GeneratorConfig, images: int) -> None:
        super().__init__()
        self.network = Generator(
            images=images,
            semantic_channels=map_channels(images),
            style_dim=config.style_dim,
            features=config.features,
            hidden=config.hidden,
            checkpointing=config.checkpointing,
        )
        self.encoder = StyleEncoder(images=images, style_dim=config.style_dim)


class GeneratorModule(LightningModule):
    """Train a `SpadeModel` against two discriminators; both updates in one step.

    All chance comes from streams named by the step, so a resumed training repeats no draw and
    skips none. `average` holds the moving average of the weights, `done` counts the steps.

    Args:
        config: of generator and training.
        images: number of image channels.
        seed: of initial weights, noise and style draws.
    """

    def __init__(self, config: GeneratorConfig, images: int, seed: int) -> None:
        super().__init__()
        self.save_hyperparameters({"config": asdict(config), "images": images, "seed": seed})
        self.automatic_optimization = False
        self.config = config
        self.seed = seed
        with seeded_torch(seed, "generator", "weights"):
            self.synthesizer = SpadeModel(config, images)
            self.discriminator = MultiScaleDiscriminator(
                images=images,
                semantic_channels=map_channels(images),
                width=config.discriminator_width,
            )
        self.average = copy.deepcopy(self.synthesizer).requires_grad_(False)
        self.done: Tensor
        self.register_buffer("done", torch.zeros((), dtype=torch.int64))

    def training_step(self, batch: Batch, _: int) -> None:
        """Update the discriminators, then generator and encoder, then the average.

        Args:
            batch: see `lesionforge.synthesis.spade.data.PatchBatches`.
            _: index in the epoch; the step in `batch` counts.
        """
        step = int(batch["step"])
        self._set_rates(step)
        images, semantic, style_images, style_tissues = (
            batch[name].contiguous(memory_format=torch.channels_last_3d)
            for name in ("images", "semantic", "style_images", "style_tissues")
        )
        mean, log_variance = self.synthesizer.encoder(style_images, style_tissues)
        style = mean + torch.exp(log_variance / 2) * self._style_noise(step, mean)
        made = self.synthesizer.network(semantic, style, self._position_noise(step, images))
        terms = {"discriminator": self._update_discriminator(images, made.detach(), semantic)}
        terms |= self._generator_terms(images, made, semantic)
        terms["style"] = losses.style_divergence(mean, log_variance)
        self._update_generator(terms)
        self._update_average(step)
        self.done += 1
        self.log_dict({f"loss/{name}": value.detach() for name, value in terms.items()})

    def configure_optimizers(self) -> list[torch.optim.Optimizer]:
        """Return Adam for the synthesizer and Adam for the discriminators."""
        return [
            torch.optim.Adam(self.synthesizer.parameters(), betas=(0.0, 0.99)),
            torch.optim.Adam(self.discriminator.parameters(), betas=(0.0, 0.99)),
        ]

    def _set_rates(self, step: int) -> None:
        """Hold the learning rates, then let them fall in a line to 0 at the end."""
        left = (self.config.steps - step) / self.config.steps
        factor = min(1.0, left / max(self.config.decay_share, 1e-9))
        rates = (self.config.generator_learning_rate, self.config.discriminator_learning_rate)
        for optimizer, rate in zip(self.optimizers(), rates, strict=True):
            for group in optimizer.param_groups:
                group["lr"] = rate * factor

    def _style_noise(self, step: int, like: Tensor) -> Tensor:
        draw = torch_stream(self.seed, "generator", "style", step)
        return torch.randn(like.shape, generator=draw).to(like)

    def _position_noise(self, step: int, images: Tensor) -> list[Tensor]:
        """Draw the noise of each patch with a seed of its own, as if it were a whole volume."""
        rng = stream(self.seed, "generator", "noise", step)
        seeds = [int(s) for s in rng.integers(2**62, size=len(images))]
        x, y, z = images.shape[2:]
        return [
            torch.stack(
                [
                    position_noise(
                        seed, level, SPADEBlock.NOISES, (0, 0, 0), (x // s, y // s, z // s),
                        images.device,
                    )
                    for seed in seeds
                ]
            )
            for level, s in enumerate(STRIDES)
        ]  # fmt: skip

    def _update_discriminator(self, real: Tensor, fake: Tensor, semantic: Tensor) -> Tensor:
        both, _ = self.discriminator(torch.cat([real, fake]), torch.cat([semantic, semantic]))
        halves = [logits.chunk(2) for logits in both]
        loss = losses.hinge_discriminator([r for r, _ in halves], [f for _, f in halves])
        self._descend(1, loss)
        return loss

    def _generator_terms(self, real: Tensor, fake: Tensor, semantic: Tensor) -> dict[str, Tensor]:
        """Judge the fake by discriminators that pass gradients on but take none themselves."""
        self.discriminator.requires_grad_(False)
        with torch.no_grad():
            _, wanted = self.discriminator(real, semantic)
        logits, features = self.discriminator(fake, semantic)
        self.discriminator.requires_grad_(True)
        return {
            "adversarial": losses.hinge_generator(logits),
            "feature": losses.feature_matching(wanted, features),
            "reconstruction": losses.brain_l1(fake, real, semantic),
            "lesion": losses.lesion_l1(fake, real, semantic),
        }

    def _update_generator(self, terms: dict[str, Tensor]) -> None:
        names = ("adversarial", "feature", "reconstruction", "lesion", "style")
        total = torch.stack([getattr(self.config, f"{n}_weight") * terms[n] for n in names]).sum()
        self._descend(0, total)

    def _descend(self, index: int, loss: Tensor) -> None:
        optimizer: Any = self.optimizers()[index]  # type: ignore[index]
        optimizer.zero_grad()
        self.manual_backward(loss)
        self.clip_gradients(optimizer, self.config.gradient_clip, "norm")
        optimizer.step()

    @torch.no_grad()
    def _update_average(self, step: int) -> None:
        """Move the average towards the weights; faster at first, with little to average."""
        decay = min(self.config.ema_decay, (1 + step) / (10 + step))
        pairs = zip(self.average.parameters(), self.synthesizer.parameters(), strict=True)
        for average, value in pairs:
            average.lerp_(value, 1 - decay)


def reconstruct(synthesizer: SpadeModel, batch: Batch, noise_seed: int) -> Tensor:
    """Make a batch's patches again from their maps and their scans' mean style codes.

    Returns:
        (B, C, X, Y, Z) on the batch's device.
    """
    with torch.no_grad():
        style, _ = synthesizer.encoder(batch["style_images"], batch["style_tissues"])
        semantic = batch["semantic"]
        x, y, z = semantic.shape[2:]
        noise = [
            position_noise(
                noise_seed, level, SPADEBlock.NOISES, (0, 0, 0), (x // s, y // s, z // s),
                semantic.device,
            ).expand(len(semantic), -1, -1, -1, -1)
            for level, s in enumerate(STRIDES)
        ]  # fmt: skip
        return synthesizer.network(semantic, style, noise)
