"""What looks like the lesions that were drawn: candidates of a detector, and other masks.

Where a label says that there is no lesion, the candidate to be looked at is not the most probable
one: detectors are sure of benign findings too. What tells lesions from those is learnt from the
candidates at drawn lesions against all others, cross-fitted so that no subject judges itself.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy.special import expit, logit
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold
from sklearn.preprocessing import StandardScaler

from lesionforge.label_qc.evidence import Evidence, channel_words, image_features
from lesionforge.metrics.matching import Candidate, candidates_mask

FEATURES = {
    "logit": "the detector sees a lesion where the label has none",
    "mean_probability": "the detector is sure throughout the candidate",
    "log_volume": "the candidate has the size of lesions",
    "blur": "the grey-white junction at the candidate is as in lesions",
    "conspicuity": "the candidate stands out as lesions do",
    "grey": "the candidate holds as much grey matter as lesions do",
}
"""Features of a candidate in every cohort, and what each says if it makes it look like a lesion."""
IMAGE_FEATURES = {
    "{}": "{} at the candidate is as in lesions",
    "{}_side": "{} at the candidate differs from the other side as in lesions",
}
"""The same of each channel."""
LEAST = 1e-6
PENALTY = 10.0  # of a logistic regression on ten and more signals, against as many labels


def features(channels: Sequence[str]) -> dict[str, str]:
    """Return all features of candidates in a cohort with these channels, and what each says."""
    return FEATURES | channel_words(IMAGE_FEATURES, channels)


def table_channels(table: pd.DataFrame) -> list[str]:
    """Return the channels that a table of `image_features` was measured in, in lower case."""
    return [str(c).removesuffix("_side") for c in table if str(c).endswith("_side")]


def candidate_features(evidence: Evidence, candidate: Candidate) -> dict[str, float]:
    """Return the `features` of a candidate.

    Args:
        evidence: of the subject.
        candidate: one of the evidence's.

    Returns:
        logit (of the score), mean_probability in [0, 1], log_volume (natural logarithm of cubic
        millimetres), and what the images show (see `image_features`).
    """
    region = candidates_mask([candidate], evidence.probability.shape)
    return {
        "logit": float(logit(np.clip(candidate.score, LEAST, 1 - LEAST))),
        "mean_probability": float(evidence.probability[region].mean()),
        "log_volume": float(np.log(candidate.volume_mm3)),
        **image_features(evidence, region),
    }


def measure_likeness(table: pd.DataFrame, folds: int) -> tuple[np.ndarray, np.ndarray]:
    """Tell how alike each candidate is to candidates at drawn lesions.

    Args:
        table: one row a candidate: participant_id, `hit` (bool: at the drawn lesion of its
            subject), and `features`.
        folds: of the cross-fitting, by subject.

    Returns:
        (N,) probability in [0, 1] and (N, D) how far each feature moves its logit. Where a
        fold has nothing to learn from, it is the detector's own probability for all, moved by
        nothing.
    """
    values = table[list(features(table_channels(table)))].to_numpy(dtype=float)
    hit, groups = table["hit"].to_numpy(dtype=bool), table["participant_id"].to_numpy()
    likeness = expit(table["logit"].to_numpy(dtype=float))
    moved = np.zeros(values.shape)
    folds = min(folds, len(set(groups)))
    parts = list(GroupKFold(folds).split(values, groups=groups)) if folds > 1 else []
    if any(hit[train].all() or not hit[train].any() for train, _ in parts):
        return likeness, moved
    for train, held_out in parts:
        scale = StandardScaler().fit(values[train])
        model = LogisticRegression(C=1 / PENALTY, max_iter=2000)
        model.fit(scale.transform(values[train]), hit[train])
        points = scale.transform(values[held_out])
        likeness[held_out] = model.predict_proba(points)[:, 1]
        moved[held_out] = points * model.coef_[0]
    return likeness, moved


def unlike_neighbours(table: pd.DataFrame, neighbours: int) -> np.ndarray:
    """Return the share of the masks with similar image features that are no given lesion.

    Given lesions are compared with planted masks, which lie where no lesion is.

    Args:
        table: one row a mask: participant_id, kind (`given`, `shifted`, `spurious` or others, which
            are judged but compared with nothing), and `image_features`.
        neighbours: how many masks of other subjects are asked; near ones count more.

    Returns:
        (N,) in [0, 1]; 0 where nothing was planted.
    """
    away = table["kind"].isin(["shifted", "spurious"]).to_numpy()
    known = away | (table["kind"] == "given").to_numpy()
    own = [channel.lower() for channel in table_channels(table)]
    values = table[[*own, "blur", "conspicuity", "grey"]].to_numpy(dtype=float)
    if not away.any():
        return np.zeros(len(table))
    points = StandardScaler().fit(values[known]).transform(values)
    who = table["participant_id"].to_numpy()
    found = np.empty(len(table))
    for row, point in enumerate(points):
        others = known & (who != who[row])
        distance = np.linalg.norm(points[others] - point, axis=1)
        nearest = np.argsort(distance, kind="stable")[:neighbours]
        weight = 1 / (distance[nearest] + distance[nearest].mean() + 1e-12)
        found[row] = float((weight * away[others][nearest]).sum() / weight.sum())
    return found
