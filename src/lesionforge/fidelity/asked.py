"""Does a synthetic volume show what was asked for, and as real lesions of equal strength do?"""

from collections.abc import Sequence

import numpy as np
from scipy.stats import spearmanr

from lesionforge.evaluation.statistics import quantiles, wilson
from lesionforge.fidelity.finding import Finding
from lesionforge.fidelity.portrait import Portrait
from lesionforge.seeding import stream

SHOWN = 0.5  # a lesion shows if it is measured at this share of what was asked
LIMIT = 0.98
NEIGHBOURS = 5
SIGNS = {
    "t1w": "T1w contrast with the tissue around",
    "flair": "FLAIR contrast with the tissue around",
    "blur": "blur of the grey-white junction",
}


def asked_findings(
    made: Sequence[Portrait], real: Sequence[Portrait], rejected: tuple[int, int], seed: int
) -> list[Finding]:
    """Judge what lesions show.

    Args:
        made: synthetic patients.
        real: real patients, whoever they are.
        rejected: draws that were rejected, and all draws.
        seed: of the bootstrap.
    """
    return [
        *_shown(made),
        *_likeness(made, real, seed),
        _rejected(*rejected),
    ]


def _shown(made: Sequence[Portrait]) -> list[Finding]:
    """Count the lesions that the images show; the check before delivery looked at the change."""
    known = [(p.asked, p.signs.total, p.before) for p in made if p.asked and p.signs]
    if not known:
        why = "nothing was asked of these lesions (mode paste asks for nothing)"
        return [Finding("conditioning", "lesions that show", None, "higher", "", why=why)]
    asked, seen = (np.array([row[i] for row in known]) for i in (0, 1))
    k, n = int((seen >= SHOWN * asked).sum()), len(known)
    empty = [row[2] >= SHOWN * row[0] for row in known if row[2] is not None]
    null = f" At the same places before, {sum(empty)} of {len(empty)} did." if empty else ""
    shown = Finding(
        "conditioning",
        "lesions that show",
        k / n,
        "higher",
        f"{k} of {n} are measured, from the images alone, at half of the conspicuity asked or more."
        + null,
        ci95=wilson(k, n),
        counts=(k, n),
        limit=LIMIT,
    )
    if n < 6:
        return [shown]
    order = float(spearmanr(asked, seen).statistic)
    ratio = float(np.median(seen / asked))
    sentence = (
        f"Lesions asked to be stronger are stronger; the median is {ratio:.2f} times what was asked"
        f" ({np.median(asked):.2f} asked, {np.median(seen):.2f} measured)."
    )
    return [shown, Finding("conditioning", "order of strengths kept", order, "higher", sentence)]


def _likeness(made: Sequence[Portrait], real: Sequence[Portrait], seed: int) -> list[Finding]:
    """Compare signs with those of real lesions of nearly the same conspicuity."""
    ours = [p.signs for p in made if p.signs]
    theirs = [p.signs for p in real if p.signs]
    if min(len(ours), len(theirs)) < NEIGHBOURS + 1:
        return []
    total = np.array([s.total for s in theirs])
    nearest = [np.argsort(abs(total - s.total), kind="stable")[:NEIGHBOURS] for s in ours]
    draws = stream(seed, "asked").integers(len(ours), size=(1000, len(ours)))
    found = []
    for name, words in SIGNS.items():
        values = np.array([getattr(s, name) for s in theirs])
        usual = max(float(values.std()), 1e-6)
        gap = np.array([
            getattr(s, name) - values[near].mean() for s, near in zip(ours, nearest, strict=True)
        ]) / usual  # fmt: skip
        bounds = quantiles(gap[draws].mean(axis=1))
        ratio = _ratio(ours, theirs, nearest) if name == "flair" else ""
        found.append(
            Finding(
                "conditioning",
                f"difference of {words}",
                float(abs(gap.mean())),
                "lower",
                f"{gap.mean():+.2f} standard deviations of real lesions "
                f"({bounds[0]:+.2f} to {bounds[1]:+.2f}), at equal conspicuity.{ratio}",
            )
        )
    return found


def _ratio(ours: list, theirs: list, nearest: list) -> str:
    """Say how much of the conspicuity is FLAIR's, in synthetic and in matched real lesions."""

    def share(signs: Sequence) -> float:
        return float(np.mean([s.flair / max(s.total, 0.1) for s in signs]))

    matched = [theirs[i] for near in nearest for i in near]
    return f" FLAIR over all: {share(ours):.2f} against {share(matched):.2f}."


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
