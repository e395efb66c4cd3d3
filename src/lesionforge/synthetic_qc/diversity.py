"""Is a set varied? Similarity of pairs, and how much of the real variety it covers."""

from collections.abc import Sequence

import numpy as np
import torch
from scipy.spatial.distance import cdist
from sklearn.neighbors import NearestNeighbors
from sklearn.preprocessing import StandardScaler
from torchmetrics.functional.image import multiscale_structural_similarity_index_measure as ms_ssim

from lesionforge.seeding import stream
from lesionforge.synthetic_qc.finding import Finding
from lesionforge.synthetic_qc.subject_features import SubjectFeatures
from lesionforge.synthetic_qc.two_sample import LIMIT

NEIGHBOURS = 5
PAIRS = 40
DRAWS = 20
BETAS = (0.3, 0.4, 0.3)  # three scales: five need 160 voxels an edge
KERNEL = 7


def variety_findings(
    made: Sequence[SubjectFeatures],
    fresh: Sequence[SubjectFeatures],
    trained: Sequence[SubjectFeatures],
    seed: int,
) -> list[Finding]:
    """Judge the variety of synthetic patients.

    Args:
        made: synthetic patients.
        fresh: real patients that nothing was fitted to.
        trained: those that the set was learnt from; with the fresh ones they give the yardstick.
        seed: of the pairs.
    """
    if min(len(made), len(fresh), len(trained)) < NEIGHBOURS + 1:
        why = (
            f"{len(made)} synthetic, {len(fresh)} fresh real and {len(trained)} training patients: "
            "too few"
        )
        return [Finding("diversity", "coverage", None, "higher", "", why=why)]
    found = [_similarity(made, fresh, seed)]
    for what, words in (("whole", "whole brains"), ("near", "lesions")):
        ours, real, known = (
            np.stack([getattr(p, what) for p in group]) for group in (made, fresh, trained)
        )
        n = min(len(ours), len(known))
        (density, coverage), usual = (
            _of_size(some, real, n, stream(seed, "coverage", what)) for some in (ours, known)
        )
        found += [
            Finding(
                "diversity",
                f"coverage of {words}",
                coverage,
                "higher",
                f"Of {n} synthetic patients, one is among what is near to {coverage:.0%} of the "
                f"fresh real ones; of {n} training patients it would be {usual[1]:.0%}.",
                real=usual[1],
            ),
            Finding(
                "diversity",
                f"density of {words}",
                density,
                "higher",
                "How often synthetic ones lie where real ones are common; about 1 for real data, "
                "far more means that the set keeps to the commonplace.",
                real=usual[0],
            ),
        ]
    return found


def _of_size(
    some: np.ndarray, real: np.ndarray, n: int, rng: np.random.Generator
) -> tuple[float, float]:
    """Return density and coverage of `n` of a sample, averaged over draws: both depend on n."""
    draws = DRAWS if len(some) > n else 1
    found = [
        density_coverage(some[np.sort(rng.permutation(len(some))[:n])], real) for _ in range(draws)
    ]
    density, coverage = np.mean(found, axis=0)
    return float(density), float(coverage)


def density_coverage(made: np.ndarray, real: np.ndarray) -> tuple[float, float]:
    """Return density and coverage (Naeem et al., ICML 2020) of features (N, D) and (M, D).

    A ball around each real point reaches to its fifth neighbour. Coverage is the share of balls
    with a synthetic point in them, density the number of balls a synthetic point lies in over five.
    """
    scale = StandardScaler().fit(real)
    ours, theirs = (np.clip(scale.transform(x), -LIMIT, LIMIT) for x in (made, real))
    neighbours = NearestNeighbors(n_neighbors=NEIGHBOURS + 1).fit(theirs)
    radius = neighbours.kneighbors(theirs)[0][:, -1]
    distance = cdist(theirs, ours)
    inside = distance <= radius[:, None]
    return float(inside.sum(axis=0).mean() / NEIGHBOURS), float(inside.any(axis=1).mean())


def _similarity(
    made: Sequence[SubjectFeatures], fresh: Sequence[SubjectFeatures], seed: int
) -> Finding:
    name = "MS-SSIM between pairs"
    if len({p.host for p in made}) < 2:
        why = "all synthetic patients have one host"
        return Finding("diversity", name, None, "lower", "", why=why)
    ours, theirs = (_pairs(group, seed) for group in (made, fresh))
    return Finding(
        "diversity",
        name,
        ours,
        "lower",
        f"Two synthetic patients are {ours:.3f} alike on average, two real ones {theirs:.3f}; "
        "1 would be the same image. Much higher than real means that the set repeats itself.",
        real=theirs,
    )


def _pairs(group: Sequence[SubjectFeatures], seed: int) -> float:
    """Return the mean multi-scale structural similarity (Wang et al. 2003) of random pairs."""
    n = len(group)
    every = np.array([(i, j) for i in range(n) for j in range(i) if group[i].host != group[j].host])
    drawn = stream(seed, "pairs").permutation(len(every))[:PAIRS]
    found = []
    for i, j in every[drawn]:
        a, b = (torch.from_numpy(group[k].small[:1].astype(np.float32))[None] for k in (i, j))
        found.append(float(ms_ssim(a, b, kernel_size=KERNEL, betas=BETAS, data_range=1.0)))
    return float(np.mean(found))
