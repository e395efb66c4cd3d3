from dataclasses import dataclass

import numpy as np
import pytest

from lesionforge.phantoms.config import PhantomConfig
from lesionforge.phantoms.head import Head, build_head
from lesionforge.phantoms.scan import Sampler, ScanSpec, place_head
from lesionforge.phantoms.signal import Matter, healthy_matter
from lesionforge.phantoms.spec import PhantomSpec, sample_phantom
from lesionforge.seeding import stream


@dataclass(frozen=True)
class Case:
    """A healthy head at 1 mm with its relaxation; tests change copies of `matter` only."""

    spec: PhantomSpec
    head: Head
    matter: Matter

    def far(self) -> np.ndarray:
        return np.full(self.head.tissue.shape[1], -4.0, dtype=np.float32)

    def place(self, scan: ScanSpec) -> Sampler:
        return place_head(self.head, scan, stream(0, "place"))


@pytest.fixture(scope="package")
def case() -> Case:
    config = PhantomConfig(seed=9100, voxel_mm=2.5, sites=("A",))
    spec = sample_phantom(config, "control", 1)
    head = build_head(spec.head, spec.seed, spec.host)
    return Case(spec, head, healthy_matter(spec.head, head, spec.rng("matter")))
