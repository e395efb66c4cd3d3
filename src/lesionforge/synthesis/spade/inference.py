"""Passes of the generator over a host, and what modes `insert` and `whole` make of them."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from lesionforge.errors import DataError
from lesionforge.hardware import find_device
from lesionforge.lesions.appearance import measure_conspicuity
from lesionforge.lesions.blending import feather_weight, smooth_within
from lesionforge.preprocessing.intensity import rescale_synthetic
from lesionforge.synthesis.anatomy import Anatomy
from lesionforge.synthesis.config import SynthesisConfig
from lesionforge.synthesis.effect import fit_effect, insert_effect, least_gain
from lesionforge.synthesis.spade.conditioning import conditioning_map
from lesionforge.synthesis.spade.tiling import apply_generator
from lesionforge.synthesis.spade.training import TrainedGenerator
from lesionforge.synthesis.spec import SynthesisSpec

UNCHANGED = np.ones(1, np.float32)


@dataclass(frozen=True, eq=False)
class Passes:
    """Everything that a generator pass needs."""

    spec: SynthesisSpec
    anatomy: Anatomy
    lesion: np.ndarray
    trained: TrainedGenerator
    config: SynthesisConfig

    def run(
        self,
        with_lesion: bool,
        noise_seed: int,
        part: tuple[tuple[int, int], ...] | None = None,
        styles: tuple[tuple[str, ...], tuple[float, ...]] | None = None,
    ) -> np.ndarray:
        """Make (C, X, Y, Z), or that part of it, with or without the new lesion.

        Styles (ids and weights) are the spec's unless others are given.
        """
        spec = self.spec
        lesion = (self.lesion & with_lesion).astype(np.int32)
        anatomy = self.anatomy
        contrasts = [] if spec.lesion is None else [spec.lesion.contrast]
        return apply_generator(
            self.trained.network,
            conditioning_map(
                len(anatomy.channels),
                anatomy.inpainted,
                lesion,
                contrasts,
                anatomy.grid.voxel_mm,
            ),
            self._style(*(styles or (spec.styles, spec.style_weights))),
            noise_seed,
            tile=self.config.tile,
            device=find_device(self.config.device),
            part=part,
        )

    def fit(
        self, delta: np.ndarray, compose: Callable[[np.ndarray], np.ndarray]
    ) -> tuple[np.ndarray, np.ndarray]:
        """Bring an effect to what the spec asks for, first by itself and then in the images.

        Returns:
            The images that `compose` makes of it, and the factor of each sign.
        """
        asked, anatomy, limit = self.spec.lesion, self.anatomy, self.config.max_gain
        if asked is None:
            return compose(delta), UNCHANGED
        voxel_mm, wanted = anatomy.grid.voxel_mm, (asked.contrast, asked.conspicuity)
        effect, gains = fit_effect(delta, self.lesion, anatomy.inpainted, voxel_mm, *wanted, limit)
        place = (self.lesion, anatomy.estimated(self.lesion), anatomy.brain, voxel_mm)

        def shown(gain: float) -> float:
            images = compose(gain * effect) * anatomy.brain
            return measure_conspicuity(images, *place).total

        try:
            gain = least_gain(shown, asked.conspicuity, limit)
        except DataError:  # nothing is left around the lesion: it will be rejected for that
            gain = 1.0
        return compose(np.float32(gain) * effect), gain * gains

    def detail(self) -> np.ndarray:
        """Return (C, X, Y, Z) what the generator leaves unexplained of the bent host's images.

        That is their noise, shading and fine anatomy, as far as no real lesion shows in them.
        """
        spec, anatomy, share = self.spec, self.anatomy, np.float32(self.config.detail)
        if not share:
            return np.zeros((len(anatomy.channels), *anatomy.brain.shape), np.float32)
        if anatomy.images is None or anatomy.ill is None:
            raise DataError(f"{spec.host} has no images to take detail from. Set `detail` to 0.")
        own = self.run(False, spec.null_noise_seed, styles=((spec.host,), (1.0,)))
        return share * (1 - anatomy.ill) * (anatomy.images - own)

    def _style(self, styles: tuple[str, ...], weights: tuple[float, ...]) -> np.ndarray:
        lacking = [name for name in styles if name not in self.trained.styles]
        if lacking:
            raise DataError(
                f"The generator has no style code of {', '.join(lacking)}. "
                "Train it on the subjects that are synthesized from."
            )
        codes = np.stack([np.asarray(self.trained.styles[name]) for name in styles])
        return (np.array(weights)[:, None] * codes).sum(0).astype(np.float32)


def insert(passes: Passes) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Add the difference of two passes to the host's images; return before, after and gains."""
    spec, images = passes.spec, passes.anatomy.images
    if images is None or passes.anatomy.ill is not None:
        raise DataError(f"{spec.host} was bent; `insert` keeps real images as they are.")
    if not spec.shows and spec.noise_seed == spec.null_noise_seed:
        return images, images, UNCHANGED  # the two passes would be the same
    reach_mm, voxel_mm = passes.config.feather_mm, passes.anatomy.grid.voxel_mm
    weight = feather_weight(passes.lesion, reach_mm, voxel_mm, whole_mm=reach_mm / 2)
    weight *= passes.anatomy.brain
    part = tuple((int(i.min()), int(i.max()) + 1) for i in np.nonzero(weight))
    delta = np.zeros_like(images)
    delta[(slice(None), *(slice(low, high) for low, high in part))] = passes.run(
        spec.shows, spec.noise_seed, part
    ) - passes.run(False, spec.null_noise_seed, part)
    delta = smooth_within(delta, passes.anatomy.brain, passes.config.smooth_voxels)
    if not spec.shows:
        return images, insert_effect(images, delta, weight), UNCHANGED
    return images, *passes.fit(delta, lambda effect: insert_effect(images, effect, weight))


def whole(passes: Passes) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Make complete images; return them without and with the lesion, and the gains."""
    spec, brain = passes.spec, passes.anatomy.brain
    made = passes.run(False, spec.null_noise_seed)
    healthy = made + passes.detail()
    if not spec.shows:
        fitted = rescale_synthetic(healthy, brain)
        return fitted, fitted, UNCHANGED
    delta = passes.run(True, spec.noise_seed) - made
    delta = smooth_within(delta, brain, passes.config.smooth_voxels)
    ill, gains = passes.fit(delta, lambda effect: rescale_synthetic(healthy + effect, brain))
    return rescale_synthetic(healthy, brain), ill, gains
