import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from lesionforge.data.subject import read_brain, read_lesion
from lesionforge.label_qc.evidence import read_evidence
from lesionforge.label_qc.similarity import candidate_features, features, measure_likeness
from lesionforge.metrics.config import CandidateRules

NAMES = list(features(("T1w", "FLAIR")))


def test_features_of_a_candidate(toy_cohort):
    subject = next(s for s in toy_cohort if s.group == "patient")
    lesion = read_lesion(subject)
    probability = (0.7 * lesion).astype(np.float32) * read_brain(subject)
    probability[tuple(np.argwhere(lesion)[0])] = 0.9
    evidence = read_evidence(subject, probability, CandidateRules())
    found = candidate_features(evidence, evidence.candidates[0])
    assert found["logit"] == pytest.approx(np.log(9), rel=1e-4)
    assert 0.7 < found["mean_probability"] < 0.72
    assert found["log_volume"] == pytest.approx(np.log(lesion.sum() * 125))
    assert found["flair"] > 1  # the toy lesions are bright there
    assert set(found) == set(NAMES)
    assert np.isfinite(list(found.values())).all()


def candidates(subjects, seed=0):
    """Lesions are as probable as false positives, but stand out on FLAIR."""
    rng = np.random.default_rng(seed)
    table = pd.DataFrame(rng.normal(size=(3 * subjects, len(NAMES))), columns=NAMES)
    hit = np.arange(3 * subjects) % 3 == 0
    names = [f"sub-{i // 3:03d}" for i in range(3 * subjects)]
    return table.assign(flair=table["flair"] + 2 * hit, hit=hit, participant_id=names)


def test_what_lesions_look_like_is_learnt_and_named():
    table = candidates(60)
    likeness, moved = measure_likeness(table, 5)
    assert roc_auc_score(table["hit"], likeness) > 0.85
    assert roc_auc_score(table["hit"], table["logit"]) < 0.6
    named = np.array(NAMES)[moved[table["hit"]].argmax(axis=1)]
    assert pd.Series(named).value_counts().idxmax() == "flair"


def test_no_subject_judges_itself():
    """Who alone says that a feature marks lesions is not judged by it."""
    table = candidates(40).assign(flair=0.0)
    odd = (table["participant_id"] == "sub-007") & table["hit"]
    before = measure_likeness(table, 5)[0][odd]
    table.loc[odd, "flair"] = 50.0
    assert measure_likeness(table, 5)[0][odd] == pytest.approx(before, abs=0.02)


@pytest.mark.parametrize("hit", [True, False])
def test_with_nothing_to_learn_from_the_detector_is_believed(hit):
    table = candidates(10).assign(hit=hit)
    likeness, moved = measure_likeness(table, 5)
    np.testing.assert_allclose(likeness, 1 / (1 + np.exp(-table["logit"])))
    assert not moved.any()
    assert measure_likeness(candidates(1), 5)[1].sum() == 0


def test_one_scale_for_all_where_a_fold_has_nothing_to_learn_from():
    table = candidates(20)
    table["hit"] = table.index == 30
    likeness, _ = measure_likeness(table, 5)
    np.testing.assert_allclose(likeness, 1 / (1 + np.exp(-table["logit"])))
