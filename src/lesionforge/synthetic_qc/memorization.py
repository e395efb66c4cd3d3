"""Is a synthetic subject a copy? Nearest training neighbours, against those of fresh real ones."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from scipy import ndimage

from lesionforge.metrics.intervals import quantiles, wilson
from lesionforge.seeding import stream
from lesionforge.synthesis.reference_set import gather, head_distances
from lesionforge.synthetic_qc.finding import Finding
from lesionforge.synthetic_qc.subject_features import Patch, SubjectFeatures
from lesionforge.synthetic_qc.two_sample import LEAST, wins

COPY = 0.98  # correlation of images in a lesion from which on it is a copy
# Correlation of an inserted effect with that of a training lesion from which on it is a copy. Real
# effects hold noise: without their finest grain 35 of phantoms are like themselves by 0.85 to 0.97,
# and at most by 0.80 like another's. How many of a study's would be caught stands beside the count.
COPIED_EFFECT = 0.85
SHIFTS = tuple(product((-1, 0, 1), repeat=3))
LEAST_VOXELS = 12
DRAWS = 10_000  # bootstrap samples; of 1,000 an interval moves by 0.01 with chance


@dataclass(frozen=True)
class Match:
    """A subject and the training subject that it is most like.

    Attributes:
        id: of the subject.
        nearest: id of the training subject.
        likeness: correlation.
        by: `tissue`, or `effect` where the added effect is known.
    """

    id: str
    nearest: str
    likeness: float
    by: str


def copy_findings(
    made: Sequence[SubjectFeatures],
    fresh: Sequence[SubjectFeatures],
    trained: Sequence[SubjectFeatures],
    seed: int,
) -> tuple[list[Finding], list[Match]]:
    """Look for training lesions in synthetic ones.

    Args:
        made: synthetic patients.
        fresh: real patients that nothing was fitted to: how like the training set chance is.
        trained: the training patients.
        seed: of the bootstrap.

    Returns:
        The findings, and the nearest training lesion of every synthetic one, likest first: by its
        tissue, and then by the effect that was added to its host, where that is known.
    """
    tissue, usual = (_matches(group, trained, "images") for group in (made, fresh))
    effect, other = (_matches(group, trained, "effect") for group in (made, fresh))
    added = _matches([p for p in made if p.patch and p.patch.added is not None], trained, "added")
    found = [_copies(tissue, usual), _alike(tissue, usual, "tissue", seed)]
    if added:
        found.append(_copied_effects(added, trained))
    return [*found, _alike(effect, other, "effect", seed)], [*tissue, *added]


def likest(matches: Sequence[Match], number: int) -> list[Match]:
    """Return at most `number` of the matches, as many by tissue as by effect, likest first."""
    kinds = list(dict.fromkeys(match.by for match in matches))
    return [match for kind in kinds
            for match in [m for m in matches if m.by == kind][: number // len(kinds)]]  # fmt: skip


def lesion_likeness(one: Patch, other: Patch, what: str) -> float:
    """Return how alike two lesions are: the best correlation over mirroring and small shifts.

    Correlated are T1w and FLAIR together, each less its mean, in the first lesion; of a lesion of
    fewer than `LEAST_VOXELS` voxels, and of effects, which need something to stand out from, also
    in one voxel around it.

    Args:
        one: the lesion that decides where is looked.
        other: the lesion it may be a copy of.
        what: of the first lesion: `images`, `effect`, `averaged` or `added`; but for the images it
            is the other's effect that is looked at.
    """
    where, volumes = one.mask.copy(), other.images if what == "images" else other.effect
    if what != "images" or where.sum() < LEAST_VOXELS:
        where = ndimage.binary_dilation(where, np.ones((3, 3, 3)))
    where[[0, -1]] = where[:, [0, -1]] = where[:, :, [0, -1]] = False
    index = np.argwhere(where)
    mine = _centred(getattr(one, what)[:, *index.T])
    best = -1.0
    for volume in (volumes, volumes[:, ::-1]):
        for shift in SHIFTS:
            theirs = _centred(volume[:, *(index + shift).T])
            best = max(best, float((mine * theirs).sum()))
    return best


def _centred(values: np.ndarray) -> np.ndarray:
    """Take off each image's mean and scale both together to length 1; (2, N)."""
    values = values.astype(np.float64) - values.mean(axis=1, keepdims=True)
    return values / max(float(np.linalg.norm(values)), 1e-9)


def _matches(
    group: Sequence[SubjectFeatures], trained: Sequence[SubjectFeatures], what: str
) -> list[Match]:
    """Return each lesion's nearest training lesion, likest first."""
    found, by = [], "tissue" if what == "images" else "effect"
    for features_of in group:
        mine = features_of.patch
        likeness = {
            t.id: lesion_likeness(mine, t.patch, what)
            for t in trained
            if mine is not None and t.patch is not None and t.id != features_of.id
        }
        if likeness:
            nearest = max(sorted(likeness), key=lambda name: likeness[name])
            found.append(Match(features_of.id, nearest, likeness[nearest], by))
    return sorted(found, key=lambda m: (-m.likeness, m.id))


def _copies(ours: Sequence[Match], theirs: Sequence[Match]) -> Finding:
    if not ours:
        return Finding("memorisation", "copied lesions", None, "lower", "", why="no lesion")
    k, n = sum(m.likeness >= COPY for m in ours), len(ours)
    first = ours[0]
    return Finding(
        "memorisation",
        "copied lesions",
        k / n,
        "lower",
        f"{k} of {n} lesions hold the very tissue of a training lesion (correlation {COPY} or "
        f"more). The likest: {first.id} and {first.nearest}, {first.likeness:.3f}.",
        ci95=wilson(k, n),
        counts=(k, n),
        real=float(np.mean([m.likeness >= COPY for m in theirs])) if theirs else None,
        limit=0.0,
    )


def _copied_effects(ours: Sequence[Match], trained: Sequence[SubjectFeatures]) -> Finding:
    k, n, first = sum(m.likeness >= COPIED_EFFECT for m in ours), len(ours), ours[0]
    known = [t.patch for t in trained if t.patch is not None]
    caught = sum(lesion_likeness(p, p, "averaged") >= COPIED_EFFECT for p in known)
    return Finding(
        "memorisation",
        "copied effects",
        k / n,
        "lower",
        f"What was added to the host is the effect of a training lesion (correlation "
        f"{COPIED_EFFECT} or more) in {k} of {n} lesions. The likest: {first.id} and "
        f"{first.nearest}, {first.likeness:.3f}. Of the effects of {len(known)} training lesions, "
        f"drawn as smoothly as a generator draws, {caught} would be caught.",
        ci95=wilson(k, n),
        counts=(k, n),
        limit=0.0,
    )


def _alike(ours: Sequence[Match], theirs: Sequence[Match], words: str, seed: int) -> Finding:
    """Ask whether synthetic lesions are more like training lesions than fresh real ones are."""
    name = f"nearness to training lesions ({words})"
    if min(len(ours), len(theirs)) < LEAST:
        why = "too few lesions to know what chance is"
        return Finding("memorisation", name, None, "half", "", why=why)
    a, b = (np.array([m.likeness for m in group]) for group in (ours, theirs))
    rng = stream(seed, "nearness", words)
    drawn = [wins(rng.choice(a, len(a)), rng.choice(b, len(b))).mean() for _ in range(DRAWS)]
    value, (low, high) = float(wins(a, b).mean()), quantiles(np.array(drawn))
    return Finding(
        "memorisation",
        name,
        value,
        "half",
        f"A synthetic lesion is nearer to its nearest training lesion than a fresh real one is to "
        f"its own in {100 * value:.0f} % of pairs (median correlation {np.median(a):.2f} against "
        f"{np.median(b):.2f}). Well above 50 % they repeat the training lesions.",
        ci95=(low, high),
    )


def volume_findings(
    made: Sequence[SubjectFeatures],
    fresh: Sequence[SubjectFeatures],
    behind: Sequence[SubjectFeatures],
) -> list[Finding]:
    """Look for training volumes among complete synthetic ones (mode `whole`).

    Args:
        made: synthetic patients and controls.
        fresh: real subjects that nothing was fitted to.
        behind: all real subjects that the generator has seen.
    """
    nearest = volume_distances(made, behind).min(axis=1)
    usual = volume_distances(fresh, behind).min(axis=1)
    closest = gather([p.small for p in (*behind, *fresh)]).least
    k = int((nearest < closest).sum())
    return [
        Finding(
            "memorisation",
            "volumes closer than two real subjects",
            k / len(made),
            "lower",
            f"{k} of {len(made)} volumes are closer to a training subject than the closest two "
            f"real ones are to each other ({closest:.2f} standard deviations a voxel); the closest "
            f"is at {nearest.min():.2f}. Median distance to the nearest training subject: "
            f"{np.median(nearest):.2f}, of fresh real subjects {np.median(usual):.2f}.",
            counts=(k, len(made)),
            limit=0.0,
        )
    ]


def volume_distances(a: Sequence[SubjectFeatures], b: Sequence[SubjectFeatures]) -> np.ndarray:
    """Return how far apart the small copies of portraits are (N, M), see `head_distances`."""
    return head_distances([p.small for p in a], [p.small for p in b])
