"""Resampling of subjects and seeds together, paired across regimes, as matrices of weights."""

from dataclasses import dataclass

import numpy as np

from lesionforge.seeding import stream


@dataclass(frozen=True, eq=False)
class Resamples:
    """Weights of the observed study and of its bootstrap replicates.

    Row 0 is the study itself, so that one computation gives the value and its replicates.

    Attributes:
        patients: (1 + B, P) how often each patient is drawn.
        controls: (1 + B, C) the same of controls.
        seed: of the draws.
    """

    patients: np.ndarray
    controls: np.ndarray
    seed: int

    def seeds(self, seeds: tuple[int, ...]) -> np.ndarray:
        """Draw (1 + B, S) weights, summing to 1, of the study's `seeds`.

        The draw depends on the set of seeds alone, so regimes with the same seeds stay paired.
        """
        return _draw(
            len(seeds), len(self.patients) - 1, stream(self.seed, "bootstrap", "seeds", *seeds)
        ) / len(seeds)


def resample(n_patients: int, n_controls: int, replicates: int, seed: int) -> Resamples:
    """Draw `replicates` of patients and controls, each group with replacement to its own size."""
    return Resamples(
        _draw(n_patients, replicates, stream(seed, "bootstrap", "patients")),
        _draw(n_controls, replicates, stream(seed, "bootstrap", "controls")),
        seed,
    )


def _draw(n: int, replicates: int, rng: np.random.Generator) -> np.ndarray:
    if n == 0:
        return np.zeros((replicates + 1, 0))
    drawn = rng.multinomial(n, np.full(n, 1 / n), size=replicates)
    return np.concatenate([np.ones((1, n)), drawn])


def weighted_mean(per_seed: np.ndarray, weights: np.ndarray, seeds: np.ndarray) -> np.ndarray:
    """Average values of subjects and seeds in every replicate.

    Args:
        per_seed: (S, N) a value for each seed and subject; NaN is left out.
        weights: (R, N) of subjects.
        seeds: (R, S) of seeds, summing to 1.

    Returns:
        (R,) means over subjects, averaged over seeds; NaN where no subject with a value was drawn.
    """
    known = np.isfinite(per_seed)
    total = weights @ np.where(known, per_seed, 0.0).T
    count = weights @ known.T.astype(float)
    with np.errstate(invalid="ignore", divide="ignore"):
        return over_seeds(total / count, seeds)


def over_seeds(values: np.ndarray, seeds: np.ndarray) -> np.ndarray:
    """Average (R, S) values with the weights `seeds` (R, S); unweighted seeds do not count."""
    return np.where(seeds > 0, values * seeds, 0.0).sum(axis=1)
