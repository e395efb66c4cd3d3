"""Does a synthetic volume show what was asked for, and as real lesions of equal strength do?"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from scipy.stats import spearmanr

from lesionforge.lesions.appearance import FAINT, Conspicuity
from lesionforge.lesions.contrast import SIGNS
from lesionforge.metrics.intervals import quantiles, wilson
from lesionforge.seeding import stream
from lesionforge.synthetic_qc.finding import Finding
from lesionforge.synthetic_qc.subject_features import SubjectFeatures

SHOWN = 0.5  # of what was asked; a lesion with less does not show
LIMIT = 0.98
FEWEST = 6  # lesions that a rank correlation is worth looking at for
NEIGHBOURS = 5
CALIPER = 0.5  # standard deviations of conspicuity; lesions further apart are not equal
CONTRASTS = {
    "t1w": "T1w contrast with the tissue around",
    "flair": "FLAIR contrast with the tissue around",
    "blur": "blur of the grey-white junction",
}


def asked_findings(
    made: Sequence[SubjectFeatures],
    fresh: Sequence[SubjectFeatures],
    trained: Sequence[SubjectFeatures],
    rejected: tuple[int, int],
    seed: int,
) -> list[Finding]:
    """Judge what lesions show.

    Args:
        made: synthetic patients.
        fresh: real patients that nothing was fitted to.
        trained: those that the set was learnt from, for the yardstick.
        rejected: draws that were rejected, and all draws.
        seed: of the bootstrap.
    """
    return [
        *_shown(made),
        *_contrast(made),
        *_likeness(made, fresh, trained, seed),
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


def _contrast(made: Sequence[SubjectFeatures]) -> list[Finding]:
    """Compare what was asked of grey and of white matter with what the images show.

    Both are shares of the strength, whose order `_order` judges: a generator that makes strong and
    weak lesions of one look does not keep contrast.
    """
    known = [
        (
            np.array(p.requested_contrast) / p.asked,
            np.array(p.shown.contrast) / max(p.shown.total, FAINT),
        )
        for p in made
        if p.requested_contrast and p.asked and p.shown
    ]
    if len(known) < FEWEST:
        return []
    asked, seen = (np.array([row[i] for row in known]) for i in (0, 1))
    varied = [i for i in range(len(SIGNS)) if min(np.ptp(asked[:, i]), np.ptp(seen[:, i])) > 1e-6]
    name = "contrast of the tissues kept"
    if not varied:
        why = "every lesion was asked for, or measured, alike"
        return [Finding("conditioning", name, None, "higher", "", why=why)]
    orders = [float(spearmanr(asked[:, i], seen[:, i]).statistic) for i in varied]
    each = ", ".join(f"{SIGNS[i]} {order:.2f}" for i, order in zip(varied, orders, strict=True))
    sentence = (
        "Mean of the rank correlations of what was asked with what is measured, as shares of the "
        f"strength: {each}."
    )
    return [Finding("conditioning", name, float(np.mean(orders)), "higher", sentence)]


def _likeness(
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
    for name, words in CONTRASTS.items():
        gaps, matched = _gaps(ours, theirs, name, stream(seed, "asked", name))
        if matched < NEIGHBOURS:
            why = f"{matched} lesions have real ones of nearly the same conspicuity"
            found.append(
                Finding("conditioning", f"difference of {words}", None, "lower", "", why=why)
            )
            continue
        usual = _gaps(known, theirs, name, stream(seed, "asked", name), 0)[0][0] if known else None
        low, high = quantiles(gaps[1:])
        found.append(
            Finding(
                "conditioning",
                f"difference of {words}",
                float(abs(gaps[0])),
                "lower",
                f"{gaps[0]:+.2f} standard deviations of real lesions ({low:+.2f} to {high:+.2f}), "
                f"at equal conspicuity; {matched} of {len(ours)} lesions could be matched."
                + (_ratio(ours, theirs) if name == "flair" else ""),
                real=None if usual is None else float(abs(usual)),
            )
        )
    return found


def _gaps(
    ours: Sequence[Conspicuity],
    theirs: Sequence[Conspicuity],
    name: str,
    rng: np.random.Generator,
    replicates: int = 500,
) -> tuple[np.ndarray, int]:
    """Measure a sign's mean gap at equal conspicuity; both samples are resampled.

    Returns:
        The gap and its bootstrap replicates (1 + B,), and how many lesions could be matched.
    """
    mine, real = (np.array([[s.total, getattr(s, name)] for s in x]) for x in (ours, theirs))
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


def _ratio(ours: Sequence[Conspicuity], theirs: Sequence[Conspicuity]) -> str:
    """Say how much of the conspicuity is FLAIR's, in synthetic and in real lesions."""
    made, real = (np.mean([s.flair / max(s.total, 0.1) for s in x]) for x in (ours, theirs))
    return f" FLAIR over all: {made:.2f} against {real:.2f}."


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
