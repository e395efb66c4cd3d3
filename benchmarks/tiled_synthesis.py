"""Time and memory of making one whole head tile by tile, and its difference from one made whole.

    python benchmarks/tiled_synthesis.py --t1w T1W [--flair FLAIR] [--generator DIR] [--whole]

The tissue map is crude (three intensity classes), which is enough for timing; without a generator
the weights are random and enlarged, so that a difference between tiles would show. Peak memory is
that of the whole process; give `--whole` in a run of its own to compare.
"""

import argparse
import logging
import resource
import time
from pathlib import Path

import numpy as np
import torch
from skimage.filters import threshold_multiotsu

from lesionforge.data.volume import read_volume
from lesionforge.lesions.contrast import as_contrast
from lesionforge.synthesis.spade.conditioning import conditioning_map
from lesionforge.synthesis.spade.config import GeneratorConfig
from lesionforge.synthesis.spade.module import SpadeModel
from lesionforge.synthesis.spade.network import Generator
from lesionforge.synthesis.spade.tiling import apply_generator
from lesionforge.synthesis.spade.training import load_generator

logger = logging.getLogger("tiled_synthesis")


def crude_map(
    t1w: np.ndarray, flair: np.ndarray | None, voxel_mm: tuple[float, float, float]
) -> np.ndarray:
    """Classify a head by T1w intensity (FLAIR, if on the same grid, thins out bright fat)."""
    low, middle, high = threshold_multiotsu(t1w[::4, ::4, ::4], 4)
    classes = np.digitize(t1w, [low, middle, high])
    if flair is not None and flair.shape == t1w.shape:
        classes[flair > np.quantile(flair, 0.999)] = 0
    tissues = np.stack([classes == k for k in (1, 2, 3)]).astype(np.float32)
    index = np.indices(t1w.shape, dtype=np.float32)
    middle_voxel = np.array(t1w.shape, dtype=np.float32)[:, None, None, None] * 0.45
    lesion = ((index - middle_voxel) ** 2).sum(0) < 12**2
    change = as_contrast(np.broadcast_to(np.reshape([-1.0, 2.0], (2, 1, 1)), (2, 2, 2)))
    return conditioning_map(2, tissues, lesion.astype(int), [change], voxel_mm)


def random_generator() -> Generator:
    """Make a generator of the default size with random weights, enlarged."""
    torch.manual_seed(0)
    network = SpadeModel(GeneratorConfig(), images=2).network
    for parameter in network.parameters():
        parameter.data.mul_(1.3)
    return network


def peak_gib() -> float:
    """Return the process's peak memory so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def main() -> None:
    """Run the benchmark."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--t1w", type=Path, required=True)
    parser.add_argument("--flair", type=Path)
    parser.add_argument("--generator", type=Path, help="folder of a trained generator")
    parser.add_argument("--tile", type=int, default=96)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--whole", action="store_true", help="also make it whole and compare")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    flair = read_volume(options.flair).data if options.flair else None
    t1w = read_volume(options.t1w)
    semantic = crude_map(t1w.data, flair, t1w.grid.voxel_mm)
    if options.generator:
        trained = load_generator(options.generator)
        network, style = trained.network, next(iter(trained.styles.values()))
    else:
        network, style = random_generator(), np.linspace(-1, 1, GeneratorConfig().style_dim)
    logger.info("volume %s, peak %.2f GiB before the generator", semantic.shape[1:], peak_gib())
    start, busy = time.monotonic(), time.process_time()
    tiled = apply_generator(network, semantic, style, 0, tile=options.tile)
    logger.info(
        "tiles of %d: %.1f s (%.1f s of processor time), peak %.2f GiB",
        options.tile,
        time.monotonic() - start,
        time.process_time() - busy,
        peak_gib(),
    )
    if options.whole:
        start = time.monotonic()
        whole = apply_generator(network, semantic, style, 0)
        logger.info("whole: %.1f s, peak %.2f GiB", time.monotonic() - start, peak_gib())
        logger.info("largest difference %.2e", np.abs(whole - tiled).max())


if __name__ == "__main__":
    main()
