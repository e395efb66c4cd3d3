"""Do phantoms flatter a conditioning map? How much of lesions' effects tissue maps explain.

    python benchmarks/phantom_realism.py COHORT [--patients 8] [--voxel-mm 2.5]

COHORT is a prepared cohort of real patients with multiple sclerosis; as many phantoms of that
disease are made and prepared alike. A lesion's effect is fitted by least squares with a factor a
channel, tissue (grey, white) and zone (in the mask, around it); the share of its energy that this
explains is printed for real lesions (effect: what the tissue mix around them does not predict),
for phantoms measured in the same way, and for phantoms against their healthy twins, whose effect
is free of noise. Noise, as found in a shell around each lesion, is taken off the energy of effects
that are estimates. Expected: phantoms against twins explain at most 10 points more than real ones.
"""

import argparse
import json
import logging
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import ndimage
from tqdm import tqdm

from lesionforge.data.cohort import read_cohort, sidecar_path
from lesionforge.data.subject import (
    Subject,
    read_brain,
    read_grid,
    read_images,
    read_lesion,
    read_tissues,
)
from lesionforge.data.volume import Volume
from lesionforge.errors import DataError
from lesionforge.lesions.appearance import lesion_effect
from lesionforge.lesions.contrast import contrast_maps
from lesionforge.lesions.inpainting import inpaint_tissues
from lesionforge.phantoms.cohort import read_spec, sample_cohort, write_phantoms
from lesionforge.phantoms.config import PhantomConfig
from lesionforge.phantoms.render import render_phantom
from lesionforge.phantoms.spec import healthy_twin
from lesionforge.preprocessing.config import PrepareConfig
from lesionforge.preprocessing.intensity import robust_sd
from lesionforge.preprocessing.prepare import prepare_cohort
from lesionforge.preprocessing.resample import resample
from lesionforge.provenance import read_json

MIN_MM3 = 50.0
logger = logging.getLogger("phantom_realism")


def components(lesion: np.ndarray, voxel_mm3: float) -> list[np.ndarray]:
    """Return the 26-connected lesions of at least `MIN_MM3`."""
    labels, count = ndimage.label(lesion, np.ones((3, 3, 3)))
    parts = [labels == k + 1 for k in range(count)]
    return [part for part in parts if part.sum() * voxel_mm3 >= MIN_MM3]


def explained(effect: np.ndarray, maps: np.ndarray, noise: float) -> tuple[float, float]:
    """Return the energy of an effect and what the maps explain of it, noise taken off.

    Args:
        effect: (X, Y, Z) of one channel.
        maps: (4, X, Y, Z) tissues by zone.
        noise: variance of a voxel.
    """
    reached = maps.max(axis=0) > 0.05
    parts, values = maps[:, reached].T.astype(float), effect[reached].astype(float)
    factors, *_ = np.linalg.lstsq(parts, values, rcond=None)
    fitted = parts @ factors
    energy = float(values @ values) - noise * len(values)
    return energy, float(fitted @ fitted) - noise * parts.shape[1]


def measure(subject: Subject, truth: np.ndarray | None = None) -> list[dict[str, float]]:
    """Measure each lesion of a prepared subject; by `truth` (C, X, Y, Z) where it is known."""
    grid, brain, lesion = read_grid(subject), read_brain(subject), read_lesion(subject)
    images = read_images(subject)
    healthy = inpaint_tissues(read_tissues(subject), lesion, grid)
    rows = []
    for part in components(lesion, grid.voxel_mm3):
        try:
            found = lesion_effect(images, part, healthy, brain & ~(lesion & ~part), grid.voxel_mm)
        except DataError:
            continue  # nothing around it to compare it with
        values = found.values if truth is None else truth[(slice(None), *found.box)]
        others = ndimage.binary_dilation(lesion[found.box] & ~found.inside, iterations=2)
        maps = contrast_maps(found.inside, healthy[(slice(None), *found.box)], grid.voxel_mm)
        maps = maps * (brain[found.box] & ~others)
        for channel, effect in enumerate(values):
            noise = float(robust_sd(found.values[channel][found.rim & ~others])) ** 2
            energy, fit = explained(effect, maps, noise if truth is None else 0.0)
            rows.append({"channel": channel, "energy": energy, "explained": fit})
    return rows


def true_effect(subject: Subject, truth: Path) -> np.ndarray:
    """Return what a phantom's lesions do, on the study grid, in robust standard deviations."""
    spec, sidecar = read_spec(truth, subject.id), read_json(sidecar_path(subject))
    ill, well = render_phantom(spec), render_phantom(healthy_twin(spec))
    to_t1w = np.array(sidecar["T1wFromMNI"])
    matrices = {"T1w": to_t1w, "FLAIR": np.array(sidecar["FLAIRFromT1w"]) @ to_t1w}
    effects = []
    for channel, image in ill.images.items():
        change = Volume(image - well.images[channel], ill.grids[channel])
        spread = float(robust_sd(image[image > 0].astype(float)))
        effects.append(resample(change, read_grid(subject), matrices[channel]) / spread)
    return np.stack(effects)


def share(rows: list[dict[str, float]], channel: int | None = None) -> float:
    """Return the explained share of all lesions' energy together."""
    table = pd.DataFrame(rows)
    if channel is not None:
        table = table[table["channel"] == channel]
    return float(table["explained"].sum() / table["energy"].sum())


def main() -> None:
    """Run the benchmark."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("cohort", type=Path, help="prepared cohort of real patients")
    parser.add_argument("--patients", type=int, default=8, help="phantoms (default: 8)")
    parser.add_argument("--voxel-mm", type=float, default=2.5, help="of the study grid")
    parser.add_argument("--seed", type=int, default=9400, help="of the phantoms")
    arguments = parser.parse_args()
    patients = [s for s in read_cohort(arguments.cohort) if s.group == "patient"]
    rows = {"real": [row for s in tqdm(patients, desc="real") for row in measure(s)]}
    config = PhantomConfig(arguments.patients, 0, arguments.seed, 1.0, "ms")
    with tempfile.TemporaryDirectory() as folder:
        raw, truth, prepared = (Path(folder) / name for name in ("raw", "truth", "cohort"))
        write_phantoms(sample_cohort(config), raw, truth)
        knobs = replace(PrepareConfig(), voxel_mm=arguments.voxel_mm)
        phantoms = prepare_cohort(raw, prepared, knobs)
        rows["phantom"] = [row for s in phantoms for row in measure(s)]
        twins = tqdm(phantoms, desc="twins")
        rows["twin"] = [row for s in twins for row in measure(s, true_effect(s, truth))]
    figures = {f"{kind}_explained": round(share(found), 3) for kind, found in rows.items()}
    for kind, found in rows.items():
        for channel, name in enumerate(("t1w", "flair")):
            figures[f"{kind}_explained_{name}"] = round(share(found, channel), 3)
        figures[f"{kind}_lesions"] = len(found) // 2
        energy = pd.DataFrame(found).groupby("channel")["energy"].sum()
        figures[f"{kind}_t1w_share_of_energy"] = round(float(energy[0] / energy.sum()), 3)
    figures["phantom_minus_real"] = round(share(rows["phantom"]) - share(rows["real"]), 3)
    figures["twin_minus_real"] = round(share(rows["twin"]) - share(rows["real"]), 3)
    sys.stdout.write(json.dumps(figures) + "\n")


if __name__ == "__main__":
    main()
