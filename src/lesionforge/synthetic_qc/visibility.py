"""Does a detector that was trained on real data find the lesions of a synthetic set?"""

from collections.abc import Callable, Sequence

import numpy as np
from tqdm import tqdm

from lesionforge.data.subject import Subject, read_brain, read_grid, read_images
from lesionforge.detection.inference import TrainedDetector, predict_probability
from lesionforge.metrics.config import CandidateRules
from lesionforge.metrics.intervals import wilson
from lesionforge.metrics.matching import find_candidates, match_candidates
from lesionforge.synthetic_qc.finding import Finding

NAME = "lesions that a detector of real data finds"


def found_finding(
    detector: TrainedDetector,
    patients: Sequence[Subject],
    rules: CandidateRules,
    threshold: float,
    usual: tuple[int, int],
    place: Callable[[Subject], np.ndarray],
) -> Finding:
    """Look for the lesions of synthetic patients with a detector that has seen none of them.

    Its training controls may be their hosts, so it knows their healthy anatomy.

    Args:
        detector: trained on real subjects alone.
        patients: synthetic.
        rules: of candidates and hits.
        threshold: the detector's score threshold.
        usual: validation patients that it finds, and how many there are.
        place: gives the lesion that a synthetic patient was given. A host that is a patient keeps
            its own besides, which the detector may know from training.
    """
    k = sum(
        _finds(detector, subject, place(subject), rules, threshold)
        for subject in tqdm(patients, desc="detect synthetic lesions", unit="patient")
    )
    n, (found, real) = len(patients), usual
    share = found / real if real else None
    beside = f"; of {real} real validation patients, {found}" if real else ""
    return Finding(
        "conditioning",
        NAME,
        k / n,
        "higher",
        f"Of {n} synthetic lesions it finds {k}{beside}. Far more than of real ones means that "
        "synthetic lesions are too easy, far fewer that they are not like real ones.",
        ci95=wilson(k, n),
        counts=(k, n),
        real=share,
    )


def _finds(
    detector: TrainedDetector,
    subject: Subject,
    lesion: np.ndarray,
    rules: CandidateRules,
    threshold: float,
) -> bool:
    probability = predict_probability(detector, read_images(subject), read_brain(subject))
    grid = read_grid(subject)
    candidates = find_candidates(np.asarray(probability), grid, rules)
    matches, _ = match_candidates(candidates, lesion, grid, rules)
    return any(m.hit and c.score >= threshold for c, m in zip(candidates, matches, strict=True))
