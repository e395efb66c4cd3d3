"""First labels by a model: confident ones are taken, marked as its own, and partly looked at."""

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

from lesionforge.data.labels import Label, write_label_set
from lesionforge.data.subject import Subject, read_grid
from lesionforge.data.volume import Volume, write_volume
from lesionforge.label_qc.config import Acceptance
from lesionforge.label_qc.decision_log import Decision, DecisionLog, log_path
from lesionforge.metrics.config import CandidateRules
from lesionforge.metrics.matching import candidates_mask, find_candidates

COLUMNS = (
    "participant_id",
    "site",
    "score",
    "volume_ml",
    "x_mm",
    "y_mm",
    "z_mm",
    "accepted",
    "inspect",
)


@dataclass(frozen=True, eq=False)
class Prelabel:
    """What a model says of one unlabelled subject.

    Attributes:
        participant_id: whose.
        score: of its best candidate, 0 where it has none.
        mask: (X, Y, Z) bool; None where the model sees no lesion.
        centre_mm: of the candidate, (x, y, z) in RAS mm; None without one.
        volume_mm3: of the candidate.
    """

    participant_id: str
    score: float
    mask: np.ndarray | None
    centre_mm: tuple[float, float, float] | None = None
    volume_mm3: float = 0.0


@dataclass(frozen=True)
class Prelabelling:
    """What became of the pre-labels.

    Attributes:
        prelabels: of everybody who was unlabelled, by id.
        accepted: ids of those who get the candidate as mask.
        inspected: ids of the accepted that a person is to look at.
    """

    prelabels: tuple[Prelabel, ...]
    accepted: tuple[str, ...]
    inspected: tuple[str, ...]

    def table(self, sites: Mapping[str, str]) -> pd.DataFrame:
        """Return one row a subject, see `COLUMNS`: those to be inspected first, best score first.

        Args:
            sites: participant id to site.
        """
        rows = []
        for one in self.prelabels:
            seen = one.centre_mm is not None
            place = one.centre_mm or (None, None, None)
            volume = one.volume_mm3 / 1000 if seen else None
            flags = [int(one.participant_id in ids) for ids in (self.accepted, self.inspected)]
            name = one.participant_id
            rows.append([name, sites[name], one.score, volume, *place, *flags])
        table = pd.DataFrame(rows, columns=list(COLUMNS))
        order = ["inspect", "accepted", "score", "participant_id"]
        return table.sort_values(order, ascending=[False, False, False, True], ignore_index=True)


def read_prelabels(
    people: Sequence[Subject], probability_of: Callable[[Subject], Volume], rules: CandidateRules
) -> list[Prelabel]:
    """Find the best candidate of each subject; its voxels are the pre-label.

    Args:
        people: unlabelled patients.
        probability_of: returns the map of a subject.
        rules: of candidates.
    """
    found = []
    for subject in tqdm(people, desc="pre-label", unit="subject"):
        probability = probability_of(subject)
        candidates = find_candidates(probability.data, probability.grid, rules)
        if not candidates:
            found.append(Prelabel(subject.id, 0.0, None))
            continue
        best = candidates[0]
        mask = candidates_mask([best], probability.data.shape)
        found.append(Prelabel(subject.id, best.score, mask, best.centre_mm, best.volume_mm3))
    return found


def accept_prelabels(
    prelabels: Sequence[Prelabel], rule: Acceptance, rng: np.random.Generator
) -> Prelabelling:
    """Accept the pre-labels of patients whose best candidate scores high enough.

    They are known to be patients, so that nobody is called healthy for want of a candidate.
    """
    sure = (p for p in prelabels if p.mask is not None and p.score >= rule.accept)
    ids = tuple(p.participant_id for p in sure)
    wanted = min(len(ids), max(1, round(rule.share * len(ids))))
    inspected = sorted(str(i) for i in rng.choice(ids, wanted, replace=False)) if ids else []
    return Prelabelling(tuple(prelabels), ids, tuple(inspected))


def keep_prelabels(
    cohort: Path, base: str, name: str, outcome: Prelabelling, people: Sequence[Subject], model: str
) -> None:
    """Log the accepted pre-labels as a model's decisions, then write the label set `name`.

    What is in the log already (of a run that was stopped) is not written twice; the set comes last.

    Args:
        cohort: the prepared cohort.
        base: the label set that the patients are unlabelled in.
        name: of the new set.
        outcome: see `accept_prelabels`.
        people: the unlabelled patients.
        model: its name, for the log and the set.

    Raises:
        DataError: the set exists.
    """
    log, known = DecisionLog(log_path(cohort)), {s.id: s for s in people}
    made = {p.participant_id: p for p in outcome.prelabels}
    logged = {(d.participant_id, d.decided_by, d.mask, d.base, d.reason) for d in log.read()}
    labels = {}
    for subject_id in outcome.accepted:
        one = made[subject_id]
        if one.mask is None:
            continue
        reason = f"pre-label for the set {name}: its best candidate scores {one.score:.3f}"
        digest = _keep_mask(log, known[subject_id], one.mask)
        if (subject_id, model, digest, base, reason) not in logged:
            made_by = Decision(subject_id, "replace", model, reason, source="model", mask=digest)
            log.append(replace(made_by, base=base))
        labels[subject_id] = Label(one.mask, "model", model, reason)
    write_label_set(cohort, name, base, labels)


def _keep_mask(log: DecisionLog, subject: Subject, mask: np.ndarray) -> str:
    """Keep a mask beside the log; the same mask gives the same file."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "mask.nii.gz"
        write_volume(path, mask.astype(np.uint8), read_grid(subject))
        return log.keep_mask(path)
