"""Does a synthetic volume show what was asked for, and as real lesions of equal strength do?"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from scipy.stats import spearmanr

from lesionforge.lesions.appearance import FAINT, Conspicuity
from lesionforge.lesions.contrast import contrast_names
from lesionforge.metrics.intervals import quantiles, wilson
from lesionforge.seeding import stream
from lesionforge.synthetic_qc.finding import Finding
from lesionforge.synthetic_qc.subject_features import SubjectFeatures

SHOWN = 0.5  # of what was asked; a lesion with less does not show
LIMIT = 0.98
FEWEST = 6  # lesions that a rank correlation is worth looking at for
NEIGHBOURS = 5
CALIPER = 0.5  # standard deviations of conspicuity; lesions further apart are not equal


def asked_findings(
    channels: Sequence[str],
    groups: tuple[Sequence[SubjectFeatures], Sequence[SubjectFeatures], Sequence[SubjectFeatures]],
    rejected: tuple[int, int],
    seed: int,
) -> list[Finding]:
    """Judge what lesions show.

    Args:
        channels: BIDS suffixes of the images.
        groups: synthetic patients, real patients that nothing was fitted to, and those that the
            set was learnt from, for reference.
        rejected: draws that were rejected, and all draws.
        seed: of the bootstrap.
    """
    made, fresh, trained = groups
    return [
        *_shown(made),
        *_contrast(channels, made),
        *_likeness(channels, made, fresh, trained, seed),
        _rejected(*rejected),
    ]


def _shown(made: Sequence[SubjectFeatures]) -> list[Finding]:
    """Count the lesions that the images show, by a check that nothing was fitted or rejected by."""
    known = [p for p in made if p.asked and p.shown and p.matched is not None]
    if not known:
        why = "nothing was asked of these lesions (mode paste asks for nothing)"
        return [Finding("conditioning", "lesions that show", None, "higher", "", why=why)]
    nothing = (float("nan"), float("nan"))
    asked, seen, matched, seen_before, matched_before = np.array(
        [[p.asked, p.shown.total, p.matched, *(p.before or nothing)] for p in known if p.shown]
    ).T
    shown = _count(
        "lesions that show",
        (matched, matched_before),
        SHOWN,
        "hold, by the images alone, at least half of the effect on grey and white matter that was "
        "asked for (a matched filter; no volume is fitted or rejected by it).",
        LIMIT,
    )
    reached = _count(
        "strengths reached",
        (seen, seen_before),
        SHOWN * asked,
        "are measured, from the images alone, at half of the conspicuity asked or more; volumes "
        "are strengthened and rejected by this.",
    )
    if np.isfinite(seen_before).any():
        usual, level = np.nanmedian(seen_before), np.median(seen)
        text = f" Median conspicuity before {usual:.2f}, after {level:.2f}."
        reached = replace(reached, sentence=reached.sentence + text)
    return [shown, reached, *([_order(asked, seen)] if len(known) >= FEWEST else [])]


def _count(
    name: str,
    values: tuple[np.ndarray, np.ndarray],
    least: float | np.ndarray,
    words: str,
    limit: float | None = None,
) -> Finding:
    """Report the share of values at `least` or above; of places before, where known, beside it."""
    after, before = values
    k, n = int((after >= least).sum()), len(after)
    empty, places = int((before >= least).sum()), int(np.isfinite(before).sum())
    null = f" At the same places before, {empty} of {places} did." if places else ""
    return Finding(
        "conditioning",
        name,
        k / n,
        "higher",
        f"{k} of {n} {words}{null}",
        ci95=wilson(k, n),
        counts=(k, n),
        limit=limit,
    )


def _order(asked: np.ndarray, seen: np.ndarray) -> Finding:
    name = "order of strengths kept"
    if min(np.ptp(asked), np.ptp(seen)) < 1e-6:
        why = "every lesion was asked for, or measured, alike"
        return Finding("conditioning", name, None, "higher", "", why=why)
    order = spearmanr(asked, seen)
    follows = order.statistic > 0 and order.pvalue < 0.05
    words = (
        "Lesions asked to be stronger are stronger"
        if follows
        else ("Strength does not surely follow what was asked")
    )
    sentence = (
        f"{words} (rank correlation, p = {order.pvalue:.2g}); the median is "
        f"{np.median(seen / asked):.2f} times what was asked "
        f"({np.median(asked):.2f} asked, {np.median(seen):.2f} measured)."
    )
    return Finding("conditioning", name, float(order.statistic), "higher", sentence)


def _contrast(channels: Sequence[str], made: Sequence[SubjectFeatures]) -> list[Finding]:
    """Compare what was asked of grey and of white matter with what the images show.

    Both are shares of the strength, whose order `_order` judges: a generator that makes strong and
    weak lesions of one look does not keep contrast.
    """
    known = [
        (
            np.ravel(p.requested_contrast) / p.asked,
            np.ravel(p.shown.contrast) / max(p.shown.total, FAINT),
        )
        for p in made
        if p.requested_contrast and p.asked and p.shown
    ]
    if len(known) < FEWEST:
        return []
    asked, seen = (np.array([row[i] for row in known]) for i in (0, 1))
    names = contrast_names(channels)
    varied = [i for i in range(len(names)) if min(np.ptp(asked[:, i]), np.ptp(seen[:, i])) > 1e-6]
    name = "contrast of the tissues kept"
    if not varied:
        why = "every lesion was asked for, or measured, alike"
        return [Finding("conditioning", name, None, "higher", "", why=why)]
    orders = [float(spearmanr(asked[:, i], seen[:, i]).statistic) for i in varied]
    each = ", ".join(f"{names[i]} {order:.2f}" for i, order in zip(varied, orders, strict=True))
    sentence = (
        "Mean of the rank correlations of what was asked with what is measured, as shares of the "
        f"strength: {each}."
    )
    return [Finding("conditioning", name, float(np.mean(orders)), "higher", sentence)]


def _likeness(
    channels: Sequence[str],
    made: Sequence[SubjectFeatures],
    fresh: Sequence[SubjectFeatures],
    trained: Sequence[SubjectFeatures],
    seed: int,
) -> list[Finding]:
    """Compare contrast with those of fresh real lesions of nearly the same conspicuity."""
    ours, theirs, known = ([p.shown for p in g if p.shown] for g in (made, fresh, trained))
    if min(len(ours), len(theirs)) < NEIGHBOURS + 1:
        return []
    found = []
    words_of = {
        **{name: f"{name} contrast with the tissue around" for name in channels},
        "blur": "blur of the grey-white junction",
    }
    for name, words in words_of.items():
        samples = _values(channels, ours, name), _values(channels, theirs, name)
        gaps, matched = _gaps(*samples, stream(seed, "asked", name.lower()))
        if matched < NEIGHBOURS:
            why = f"{matched} lesions have real ones of nearly the same conspicuity"
            found.append(
                Finding("conditioning", f"difference of {words}", None, "lower", "", why=why)
            )
            continue
        usual = None
        if known:
            trained_values = _values(channels, known, name)
            usual = _gaps(trained_values, samples[1], stream(seed, "asked", name.lower()), 0)[0][0]
        low, high = quantiles(gaps[1:])
        found.append(
            Finding(
                "conditioning",
                f"difference of {words}",
                float(abs(gaps[0])),
                "lower",
                f"{gaps[0]:+.2f} standard deviations of real lesions ({low:+.2f} to {high:+.2f}), "
                f"at equal conspicuity; {matched} of {len(ours)} lesions could be matched.",
                real=None if usual is None else float(abs(usual)),
            )
        )
    return found


def _values(channels: Sequence[str], shown: Sequence[Conspicuity], name: str) -> np.ndarray:
    """Return (N, 2): conspicuity, and the blur or the change in the channel called `name`."""
    if name == "blur":
        return np.array([[s.total, s.blur] for s in shown])
    index = list(channels).index(name)
    return np.array([[s.total, s.change[index]] for s in shown])


def _gaps(
    mine: np.ndarray,
    real: np.ndarray,
    rng: np.random.Generator,
    replicates: int = 500,
) -> tuple[np.ndarray, int]:
    """Measure the mean gap of a value at equal conspicuity; both samples are resampled.

    Args:
        mine: (N, 2) conspicuity and value of synthetic lesions.
        real: (M, 2) of real ones.
        rng: of the bootstrap.
        replicates: how many.

    Returns:
        The gap and its bootstrap replicates (1 + B,), and how many lesions could be matched.
    """
    usual = max(float(real[:, 1].std()), 1e-6)
    reach = CALIPER * max(float(real[:, 0].std()), 1e-6)

    def gap(a: np.ndarray, b: np.ndarray) -> tuple[float, int]:
        distance = abs(a[:, :1] - b[None, :, 0])
        nearest = np.argsort(distance, axis=1, kind="stable")[:, :NEIGHBOURS]
        close = np.take_along_axis(distance, nearest, axis=1).max(axis=1) <= reach
        if not close.any():
            return float("nan"), 0
        expected = b[nearest, 1].mean(axis=1)
        return float((a[close, 1] - expected[close]).mean() / usual), int(close.sum())

    value, matched = gap(mine, real)
    drawn = [
        gap(mine[rng.integers(len(mine), size=len(mine))],
            real[rng.integers(len(real), size=len(real))])[0]
        for _ in range(replicates)
    ]  # fmt: skip
    return np.array([value, *drawn]), matched


def _rejected(rejected: int, draws: int) -> Finding:
    share = rejected / draws if draws else None
    return Finding(
        "conditioning",
        "draws rejected",
        share,
        "lower",
        f"{rejected} of {draws} draws failed a check before delivery and were drawn again.",
        counts=(rejected, draws),
        limit=0.2,
        why="" if draws else "there is no draw",
    )
