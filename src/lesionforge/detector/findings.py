"""What a detector takes for a lesion in its own training subjects and is none."""

from collections.abc import Sequence
from pathlib import Path

from tqdm import tqdm

from lesionforge.cohort.subject import Subject, read_lesion
from lesionforge.detector.predict import probability_maps
from lesionforge.errors import LineageError, named
from lesionforge.evaluation.matching import CandidateRules, find_candidates, match_candidates
from lesionforge.masks.host import CLEARANCE_MM
from lesionforge.masks.outline import Outline
from lesionforge.provenance import read_json

LEAST_SCORE = 0.5  # fainter candidates, mostly small ones, hardly show


def false_findings(
    folder: Path, subjects: Sequence[Subject], rules: CandidateRules
) -> list[Outline]:
    """Find what a detector is still wrong about after training on it.

    Args:
        folder: of a trained detector; the maps are kept there.
        subjects: those that it was trained on.
        rules: what a candidate is.

    Returns:
        Candidates that lie 10 mm or more from any lesion and that the detector thinks more likely
        than not, in the subjects' order, best score first.

    Raises:
        LineageError: the detector was trained on others.
        DataError: it is missing or damaged.
    """
    trained_on = set(read_json(folder / "lineage.json")["real_subjects"])
    if strangers := sorted(trained_on ^ {s.id for s in subjects}):
        raise LineageError(
            f"The detector in {folder} was not trained on just the training subjects: "
            f"{named(strangers)}. Train it again."
        )
    map_of, found = probability_maps(folder), []
    for subject in tqdm(subjects, desc="false findings", unit="subject", disable=None):
        probability = map_of(subject)
        candidates = find_candidates(probability.data, probability.grid, rules)
        matches, _ = match_candidates(candidates, read_lesion(subject), probability.grid, rules)
        found += [
            Outline(subject, candidate.voxels)
            for candidate, match in zip(candidates, matches, strict=True)
            if candidate.score > LEAST_SCORE
            and not match.distance_mm < CLEARANCE_MM  # nan where there is no lesion
        ]
    return found
