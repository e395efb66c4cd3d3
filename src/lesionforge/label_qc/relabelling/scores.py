"""How suspicious is a label? Scores of given labels, where lower means look here first.

They need a classifier's embeddings or its out-of-sample probabilities, nothing of the classifier
itself. Out of sample matters: a network that was trained on a wrong label defends it.
"""

import numpy as np
from scipy import optimize
from sklearn.model_selection import KFold
from sklearn.neighbors import NearestNeighbors
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC

from lesionforge.errors import DataError

MISSING = -1
"""What stands in a table of annotations where an annotator gave no label."""


def boundary_scores(
    embeddings: np.ndarray, labels: np.ndarray, c: float = 0.1, folds: int = 5, seed: int = 0
) -> np.ndarray:
    """Return the signed distance of each label to a maximum-margin boundary (boundary noise).

    A linear support vector machine, one class against the rest, is fitted on standardized
    embeddings, and each case is judged by a machine that has not seen its label.

    Args:
        embeddings: (N, D), of a deep model's penultimate layer or any features.
        labels: (N,) given labels.
        c: penalty of the machine; smaller is smoother, so more tolerant of wrong labels.
        folds: of the cross-fitting.
        seed: of the folds.

    Returns:
        (N,) distance on the given label's side minus the best other side's; negative where another
        class is likelier.

    Raises:
        DataError: when fewer than two classes or fewer cases than folds are given.
    """
    classes, given = np.unique(labels, return_inverse=True)
    if len(classes) < 2 or len(labels) < folds:
        raise DataError(
            f"Boundary scores need two classes and at least {folds} labels, got {len(classes)} and "
            f"{len(labels)}. Label a few more cases first."
        )
    sides = np.full((len(labels), len(classes)), -np.inf)
    for train, held_out in KFold(folds, shuffle=True, random_state=seed).split(embeddings):
        seen = np.unique(given[train])
        if len(seen) < 2:
            sides[np.ix_(held_out, seen)] = 0.0
            continue
        machine = make_pipeline(StandardScaler(), LinearSVC(C=c, random_state=seed))
        machine.fit(embeddings[train], given[train])
        norm = np.linalg.norm(machine[-1].coef_, axis=1)
        found = machine.decision_function(embeddings[held_out]) / np.maximum(norm, 1e-12)
        sides[np.ix_(held_out, seen)] = np.stack([-found, found], 1) if found.ndim == 1 else found
    sides[np.isneginf(sides)] = sides[np.isfinite(sides)].min()
    rows = np.arange(len(labels))
    own = sides[rows, given].copy()
    sides[rows, given] = -np.inf
    return own - sides.max(axis=1)


def inconsistency_scores(
    embeddings: np.ndarray, labels: np.ndarray, neighbours: int = 10
) -> np.ndarray:
    """Return how far each label agrees with its nearest neighbours' (inconsistency noise).

    Args:
        embeddings: (N, D); standardized before distances are measured.
        labels: (N,) given labels.
        neighbours: how many are asked; fewer where there are fewer.

    Returns:
        (N,) in [0, 1], the share of neighbours with the same label, nearer ones counting more.

    Raises:
        DataError: when there is no neighbour to ask.
    """
    if len(labels) < 2:
        raise DataError("Inconsistency scores need at least two labelled cases.")
    features = StandardScaler().fit_transform(embeddings)
    search = NearestNeighbors(n_neighbors=min(neighbours, len(labels) - 1)).fit(features)
    distance, index = search.kneighbors()  # without arguments nobody is its own neighbour
    weight = 1 / (distance + distance.mean() + 1e-12)
    same = labels[index] == labels[:, None]
    return np.asarray((weight * same).sum(axis=1) / weight.sum(axis=1))


def majority(annotations: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Return the majority of each case's annotations; the classifier decides between equals.

    Args:
        annotations: (N, A) labels, `MISSING` where an annotator gave none.
        probabilities: (N, K) out-of-sample.

    Returns:
        (N,) labels, `MISSING` where nobody gave one.
    """
    votes = _votes(annotations, probabilities.shape[1])
    best = votes == votes.max(axis=1, keepdims=True)
    label = np.where(best, probabilities, -1.0).argmax(axis=1)
    return np.where(votes.any(axis=1), label, MISSING)


def activelab_scores(
    annotations: np.ndarray, probabilities: np.ndarray, temperature: float | None = None
) -> np.ndarray:
    """Return ActiveLab's scores of labelled and unlabelled cases alike (Goh & Mueller 2023).

    The quality of the consensus (CROWDLAB, Goh et al. 2022; of a single label its probability),
    weighed against chance by how much trusted evidence there is. arXiv:2301.11856, 2210.06812.

    Args:
        annotations: (N, A) labels, `MISSING` where an annotator gave none.
        probabilities: (N, K), out of sample for what is labelled.
        temperature: of the probabilities; by default the one that fits the annotations best, where
            any case has several, else 1.

    Returns:
        (N,) in [0, 1]; annotate the lowest next, first or again.
    """
    count = (annotations != MISSING).sum(axis=1)
    labelled, classes = count > 0, probabilities.shape[1]
    trust = np.ones(annotations.shape[1])
    model = 1.0
    quality = probabilities.max(axis=1)
    if count.max(initial=0) <= 1:
        consensus = majority(annotations, probabilities)
        rows = np.flatnonzero(labelled)
        quality[rows] = probabilities[rows, consensus[rows]]
    else:
        given = annotations[labelled]
        temperature = temperature or best_temperature(given, probabilities[labelled])
        probabilities = _heat(probabilities, temperature)
        quality = probabilities.max(axis=1)
        quality[labelled], trust, model = crowdlab(given, probabilities[labelled])
    evidence = model + ((annotations != MISSING) * trust).sum(axis=1)
    return np.asarray((evidence * quality + trust.mean() / classes) / (evidence + trust.mean()))


def crowdlab(
    annotations: np.ndarray, probabilities: np.ndarray
) -> tuple[np.ndarray, np.ndarray, float]:
    """Return the consensus' quality (N,), each annotator's trust (A,) and the model's.

    Goh et al. 2022 (arXiv:2210.06812): trust is accuracy above that of always giving the commonest
    class; annotators are judged by each other, the model by the consensus, on cases with several
    annotations.

    Args:
        annotations: (N, A), each case annotated at least once, some more often.
        probabilities: (N, K) out-of-sample.
    """
    count = (annotations != MISSING).sum(axis=1)
    several = count > 1
    consensus = majority(annotations, probabilities)
    quality, trust, model = _posterior(annotations, probabilities, consensus, several)
    consensus = quality.argmax(axis=1)
    quality, trust, model = _posterior(annotations, probabilities, consensus, several)
    return quality[np.arange(len(consensus)), consensus], trust, model


def _posterior(
    annotations: np.ndarray, probabilities: np.ndarray, consensus: np.ndarray, several: np.ndarray
) -> tuple[np.ndarray, np.ndarray, float]:
    classes = probabilities.shape[1]
    shared, agreed = annotations[several], consensus[several]
    present = shared != MISSING
    agreement = float((((shared == agreed[:, None]) & present).sum(1) / present.sum(1)).mean())
    commonest = np.bincount(agreed, minlength=classes).argmax()
    chance_error = max(float((agreed != commonest).mean()), 1e-6)
    votes = _votes(shared, classes)
    same = np.take_along_axis(votes, np.maximum(shared, 0), axis=1) - 1
    others = np.where(present, present.sum(axis=1, keepdims=True) - 1, 0).sum(axis=0)
    peers = np.where(present, same, 0).sum(axis=0) / np.maximum(others, 1)
    peers = np.where(others > 0, peers, peers[others > 0].mean())
    trust = np.maximum(1 - (1 - peers) / chance_error, 1e-6)
    error = float((probabilities[several].argmax(axis=1) != agreed).mean())
    every = float((annotations != MISSING).sum(axis=1).mean())
    model = max(1 - error / chance_error, 1e-6) * np.sqrt(every)
    total = model * probabilities
    for annotator, weight in enumerate(trust):
        label = annotations[:, annotator]
        given = np.flatnonzero(label != MISSING)
        belief = np.full((len(given), classes), (1 - agreement) / (classes - 1))
        belief[np.arange(len(given)), label[given]] = agreement
        total[given] += weight * belief
    weight_sum = model + ((annotations != MISSING) * trust).sum(axis=1)
    return total / weight_sum[:, None], trust, float(model)


def best_temperature(annotations: np.ndarray, probabilities: np.ndarray) -> float:
    """Return the temperature at which `probabilities` explain the annotations' shares best."""
    votes = _votes(annotations, probabilities.shape[1])
    shares = votes / votes.sum(axis=1, keepdims=True)

    def loss(logarithm: float) -> float:
        heated = _heat(probabilities, float(np.exp(logarithm)))
        return -float((shares * np.log(np.maximum(heated, 1e-12))).sum(axis=1).mean())

    found = optimize.minimize_scalar(loss, bounds=(np.log(0.1), np.log(10)), method="bounded")
    return float(np.exp(found.x))


def _heat(probabilities: np.ndarray, temperature: float) -> np.ndarray:
    logits = np.log(np.maximum(probabilities, 1e-12)) / temperature
    heated = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(heated / heated.sum(axis=1, keepdims=True))


def _votes(annotations: np.ndarray, classes: int) -> np.ndarray:
    """Count the annotations of each class: (N, K)."""
    return np.asarray((annotations[:, :, None] == np.arange(classes)).sum(axis=1))
