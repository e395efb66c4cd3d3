import numpy as np
import pytest
from cleanlab import multiannotator as cleanlab

from lesionforge.errors import DataError
from lesionforge.label_qc.relabelling.scores import (
    MISSING,
    activelab_scores,
    best_temperature,
    boundary_scores,
    crowdlab,
    inconsistency_scores,
    majority,
)
from tests.label_qc.planted import blobs


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("score", [boundary_scores, inconsistency_scores])
def test_planted_wrong_labels_score_lowest(score, classes):
    points, labels, wrong = blobs(classes=classes)
    scores = score(points, labels)
    np.testing.assert_array_equal(np.sort(np.argsort(scores)[: len(wrong)]), wrong)


def test_boundary_scores_are_signed_distances():
    """Two lines of points at x = -1 and x = 3: the boundary lies at x = 1, two away from both."""
    y = np.linspace(0, 1, 40)
    points = np.concatenate([np.stack([np.full(40, x), y], 1) for x in (-1.0, 3.0)])
    labels = np.repeat([0, 1], 40)
    scores = boundary_scores(points, labels, c=100.0)
    # standardized, x has a standard deviation of 2: each is 1 away, own side minus the other is 2
    np.testing.assert_allclose(scores, 2.0, atol=0.1)
    labels[0] = 1
    assert boundary_scores(points, labels, c=100.0)[0] < -1.5


def test_boundary_scores_live_with_a_class_of_one_case():
    points, labels, _ = blobs(flips=0)
    labels[0] = 7
    scores = boundary_scores(points, labels)
    assert np.isfinite(scores).all()
    assert scores[0] == scores.min()


def test_inconsistency_counts_near_neighbours_more():
    points = np.array([[0.0], [1.0], [1.1], [4.0]])
    near = inconsistency_scores(points, np.array([0, 0, 1, 1]), neighbours=3)
    assert near[0] > 0.5 * inconsistency_scores(points, np.array([0, 0, 0, 1]), neighbours=3)[0]
    alike = inconsistency_scores(points, np.zeros(4, int), neighbours=3)
    np.testing.assert_allclose(alike, 1.0)
    far = inconsistency_scores(points, np.array([0, 1, 1, 0]), neighbours=3)
    assert far[0] < 1 / 3  # the one that agrees is the farthest


@pytest.mark.parametrize(
    ("score", "labels"),
    [(boundary_scores, [1] * 9), (boundary_scores, [0, 1]), (inconsistency_scores, [1])],
)
def test_too_few_labels_are_refused(score, labels):
    with pytest.raises(DataError, match="least"):
        score(np.zeros((len(labels), 2)), np.array(labels))


def test_majority_and_its_ties():
    probabilities = np.array([[0.2, 0.3, 0.5]] * 4)
    table = np.array([[1, 1, 2], [0, 1, MISSING], [MISSING] * 3, [0, MISSING, MISSING]])
    np.testing.assert_array_equal(majority(table, probabilities), [1, 1, MISSING, 0])


def reference_set(annotators=4, cases=200, classes=3):
    """Make annotators of different accuracy, about half of whom see a case; 20 cases have none."""
    rng = np.random.default_rng(0)
    truth = rng.integers(classes, size=cases)
    probabilities = rng.dirichlet(np.ones(classes), cases)
    probabilities[np.arange(cases), truth] += 1
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    chance = rng.random((cases, annotators)) < np.linspace(0.5, 0.9, annotators)
    table = np.where(chance, truth[:, None], rng.integers(classes, size=(cases, annotators)))
    table[rng.random(table.shape) < 0.5] = MISSING
    table[:20] = MISSING
    return table, probabilities


def test_activelab_of_single_labels_is_the_published_formula():
    table, probabilities = reference_set(annotators=1)
    scores = activelab_scores(table, probabilities)
    given = np.flatnonzero(table[:, 0] != MISSING)
    own = probabilities[given, table[given, 0]]
    np.testing.assert_allclose(scores[given], (2 * own + 1 / 3) / 3)
    others = np.flatnonzero(table[:, 0] == MISSING)
    np.testing.assert_allclose(scores[others], (probabilities[others].max(axis=1) + 1 / 3) / 2)


def test_activelab_agrees_with_cleanlab():
    table, probabilities = reference_set()
    given = (table != MISSING).any(axis=1)
    wide = np.where(table == MISSING, np.nan, table)[given]
    temperature = cleanlab.find_best_temp_scaler(wide, probabilities[given])
    scores = activelab_scores(table, probabilities, temperature)
    theirs = cleanlab.get_active_learning_scores(wide, probabilities[given], probabilities[~given])
    np.testing.assert_allclose(scores[given], theirs[0], atol=1e-12)
    np.testing.assert_allclose(scores[~given], theirs[1], atol=1e-12)
    found = cleanlab.get_label_quality_multiannotator(
        wide, probabilities[given], return_weights=True, verbose=False
    )
    quality, trust, model = crowdlab(table[given], probabilities[given])
    np.testing.assert_allclose(quality, found["label_quality"]["consensus_quality_score"])
    np.testing.assert_allclose(trust, found["annotator_weight"])
    assert model == pytest.approx(found["model_weight"])


def test_the_temperature_is_found_again():
    rng = np.random.default_rng(1)
    logits = rng.normal(size=(4000, 4)) * 2
    right = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    labels = np.array([rng.choice(4, p=p) for p in right])[:, None]
    sharp = right**3 / (right**3).sum(axis=1, keepdims=True)
    assert best_temperature(labels, sharp) == pytest.approx(3, rel=0.1)
    assert best_temperature(labels, right) == pytest.approx(1, rel=0.1)
