"""The generator's configuration and its adversarial training step."""

import copy
from dataclasses import asdict, dataclass
from typing import Any, Literal

import torch
from lightning import LightningModule
from torch import Tensor, nn

from lesionforge.errors import ConfigError
from lesionforge.seeding import seeded_torch, stream, torch_stream
from lesionforge.synthesis.spade import losses
from lesionforge.synthesis.spade.conditioning import map_channels
from lesionforge.synthesis.spade.discriminator import MultiScaleDiscriminator
from lesionforge.synthesis.spade.layers import SPADEBlock
from lesionforge.synthesis.spade.network import STRIDES, Generator
from lesionforge.synthesis.spade.noise import position_noise
from lesionforge.synthesis.spade.style import StyleEncoder

PATCH_MULTIPLE = 8
Precision = Literal["auto", "bf16-mixed", "32-true"]
Batch = dict[str, Any]


@dataclass(frozen=True)
class GeneratorConfig:
    """The SPADE generator and its training.

    Attributes:
        features: feature channels at a quarter, half and full resolution.
        hidden: channels inside each SPADE layer.
        style_dim: length of the style code.
        discriminator_width: features of the discriminators' first layers.
        steps: training steps, each one update of discriminators and generator.
        checkpoint_every: steps between checkpoints; `steps` must be a multiple.
        batch_size: patches a step.
        patch: edge of a training patch in voxels, a multiple of 8.
        lesion_share: share of patches that are centred on a lesion, where there are patients.
        generator_learning_rate: learning rate of generator and style encoder.
        discriminator_learning_rate: learning rate of the discriminators.
        decay_share: last share of the steps over which both rates fall to 0.
        adversarial_weight: of the hinge term.
        feature_weight: of feature matching.
        reconstruction_weight: of the absolute difference in the brain.
        lesion_weight: of the absolute difference inside lesions, on top.
        style_weight: of the style code's divergence from the standard normal.
        gradient_clip: largest norm of the gradient, for each of the two updates.
        ema_decay: of the moving average of the weights that are kept in the end.
        precision: `auto` takes bf16 where the hardware has it.
        checkpointing: recompute activations: less memory, more time.
        workers: processes that cut patches; they do not change the result.
        accelerator: `auto`, `cpu`, `gpu`.
        log_every: steps between logged losses.
        panel_every: steps between logged panels of mask | real | synthetic.
    """

    features: tuple[int, int, int] = (48, 32, 16)
    hidden: int = 16
    style_dim: int = 16
    discriminator_width: int = 24
    steps: int = 350
    checkpoint_every: int = 50
    batch_size: int = 2
    patch: int = 40
    lesion_share: float = 0.5
    generator_learning_rate: float = 1.0e-3
    discriminator_learning_rate: float = 1.0e-3
    decay_share: float = 0.5
    adversarial_weight: float = 1.0
    feature_weight: float = 10.0
    reconstruction_weight: float = 50.0
    lesion_weight: float = 20.0
    style_weight: float = 0.01
    gradient_clip: float = 10.0
    ema_decay: float = 0.99
    precision: Precision = "auto"
    checkpointing: bool = False
    workers: int = 0
    accelerator: str = "auto"
    log_every: int = 10
    panel_every: int = 100

    def __post_init__(self) -> None:
        """Check the ranges."""
        counts = ("hidden", "style_dim", "discriminator_width", "steps", "checkpoint_every")
        for name in (*counts, "batch_size", "log_every", "panel_every"):
            self._require(name, getattr(self, name) >= 1, "at least 1")
        for name in ("generator_learning_rate", "discriminator_learning_rate", "gradient_clip"):
            self._require(name, getattr(self, name) > 0, "positive")
        for name in ("adversarial", "feature", "reconstruction", "lesion", "style"):
            self._require(f"{name}_weight", getattr(self, f"{name}_weight") >= 0, "0 or more")
        for name in ("lesion_share", "decay_share"):
            self._require(name, 0 <= getattr(self, name) <= 1, "in [0, 1]")
        self._require("ema_decay", 0 <= self.ema_decay < 1, "in [0, 1)")
        self._require("workers", self.workers >= 0, "0 or more")
        fits = len(self.features) == len(STRIDES) and min(self.features) >= 1
        self._require("features", fits, "three positive numbers")
        whole = self.patch >= 2 * PATCH_MULTIPLE and self.patch % PATCH_MULTIPLE == 0
        self._require("patch", whole, f"a multiple of {PATCH_MULTIPLE}, at least 16")
        whole = self.steps % self.checkpoint_every == 0
        self._require("steps", whole, f"a multiple of `checkpoint_every` ({self.checkpoint_every})")

    def _require(self, name: str, holds: bool, allowed: str) -> None:
        if not holds:
            raise ConfigError(f"`{name}` must be {allowed}, got {getattr(self, name)}.")


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
