"""Outcomes made by simulation, with known truth."""

import numpy as np
import pytest

from lesionforge.metrics.outcomes import NONE, Outcome, Scores


def build_outcome(best_hit, false_patients, false_controls, threshold=0.5, confidence=None):
    """An `Outcome` from best hit scores (P,) and lists of false scores, one list a subject."""
    best_hit = np.asarray(best_hit, dtype=float)
    n, m = len(best_hit), len(false_controls)

    def flat(lists):
        owner = [i for i, scores in enumerate(lists) for _ in scores]
        return Scores(np.array([s for x in lists for s in x], float), np.array(owner, int))

    return Outcome(
        patients=np.array([f"sub-p{i:03d}" for i in range(n)]),
        controls=np.array([f"sub-c{i:03d}" for i in range(m)], dtype=str),
        site=np.array(["A", "B"] * n)[:n],
        lesion_ml=np.linspace(0.5, 6, n),
        best_hit=best_hit,
        best_hit_strict=best_hit,
        lesions=Scores(best_hit, np.arange(n)),
        false_in_patients=flat(false_patients),
        false_in_controls=flat(false_controls),
        confidence=np.maximum(best_hit, 0.1) if confidence is None else confidence,
        dice=np.clip(best_hit, 0, 1),
        threshold_patients=np.full(n, threshold),
        threshold_controls=np.full(m, threshold),
    )


def random_outcome(rng, n=40, m=20, sensitivity=0.5, rate=0.8, digits=2):
    """Random scores; few digits make ties."""
    hits = np.where(rng.random(n) < sensitivity, rng.uniform(0.2, 1, n).round(digits), NONE)
    false = [rng.uniform(0.2, 0.9, rng.poisson(rate)).round(digits).tolist() for _ in range(n + m)]
    return build_outcome(hits, false[:n], false[n:])


@pytest.fixture
def make_outcome():
    return build_outcome


@pytest.fixture
def make_random_outcome():
    return random_outcome
