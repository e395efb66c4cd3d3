"""The SPADE generator and its training: the configuration."""

from dataclasses import dataclass
from typing import Literal

from lesionforge.errors import ConfigError
from lesionforge.ranges import check_finite

STRIDES = (4, 2, 1)
PATCH_MULTIPLE = 8
Precision = Literal["auto", "bf16-mixed", "32-true"]


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
        check_finite(self)
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
