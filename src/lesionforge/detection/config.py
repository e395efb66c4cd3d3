"""The detector, its training and its augmentation: the configuration."""

from dataclasses import dataclass, field
from typing import Literal

from lesionforge.errors import ConfigError
from lesionforge.ranges import check_finite

STRIDE = 8
Precision = Literal["auto", "32-true", "bf16-mixed"]
Range = tuple[float, float]
IGNORED = -1.0
"""Of a target: what the voxel is does not count."""


@dataclass(frozen=True)
class AugmentConfig:
    """How strongly training patches are changed; probabilities are per patch, or per channel.

    Attributes:
        rotation_degrees: largest rotation about each axis.
        rotation_probability: share of patches that are rotated.
        scale: smallest and largest magnification.
        scale_probability: share of patches that are scaled.
        mirror_axes: axes that are mirrored in half of the patches each (x is left-right).
        noise_sd: largest standard deviation of added Gaussian noise (brain's SD is 1).
        noise_probability: share of patches with noise.
        blur_sigma: smallest and largest Gaussian blur, voxels.
        blur_probability: share of channels that are blurred.
        brightness: smallest and largest factor on the intensities.
        brightness_probability: share of channels.
        contrast: smallest and largest factor on the deviation from the mean.
        contrast_probability: share of channels.
        zoom: smallest and largest factor of the simulated lower resolution.
        zoom_probability: share of channels.
        gamma: smallest and largest exponent on the intensities scaled to [0, 1].
        gamma_probability: share of channels.
        invert_probability: share of channels whose gamma acts on the inverted image.
    """

    rotation_degrees: float = 30.0
    rotation_probability: float = 0.2
    scale: Range = (0.7, 1.4)
    scale_probability: float = 0.2
    mirror_axes: str = "x"
    noise_sd: float = 0.3
    noise_probability: float = 0.1
    blur_sigma: Range = (0.5, 1.0)
    blur_probability: float = 0.1
    brightness: Range = (0.75, 1.25)
    brightness_probability: float = 0.15
    contrast: Range = (0.75, 1.25)
    contrast_probability: float = 0.15
    zoom: Range = (0.5, 1.0)
    zoom_probability: float = 0.125
    gamma: Range = (0.7, 1.5)
    gamma_probability: float = 0.3
    invert_probability: float = 0.1

    def __post_init__(self) -> None:
        """Check the ranges."""
        check_finite(self)
        for name, value in vars(self).items():
            if name.endswith("_probability") and not 0 <= value <= 1:
                raise ConfigError(f"`{name}` must be in [0, 1], got {value}.")
            if isinstance(value, tuple) and not 0 < value[0] <= value[1]:
                raise ConfigError(f"`{name}` must be two rising positive numbers, got {value}.")
        if not 0 <= self.rotation_degrees <= 180:
            raise ConfigError(
                f"`rotation_degrees` must be in [0, 180], got {self.rotation_degrees}."
            )
        if not set(self.mirror_axes) <= set("xyz"):
            raise ConfigError(f"`mirror_axes` must name axes of xyz, got {self.mirror_axes!r}.")


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
        check_finite(self)
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
