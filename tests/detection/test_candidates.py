"""Scores of candidates with planted truth."""

import numpy as np
import pandas as pd
import pytest
from scipy import ndimage
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from lesionforge.data.volume import grid
from lesionforge.detection.candidates import (
    FEATURES,
    FORMULA,
    CandidateScore,
    choose_scores,
    enough,
    features,
    fit_logistic,
    fit_score,
    hit_probability,
    probability,
    rescore,
)
from lesionforge.errors import DataError, LineageError
from lesionforge.metrics.calibration import calibrate
from lesionforge.metrics.config import CandidateRules
from lesionforge.metrics.evaluation import CANDIDATE_COLUMNS, LESION_COLUMNS, evaluate_subject
from lesionforge.metrics.matching import find_candidates
from lesionforge.seeding import stream

PLANTED = CandidateScore("fitted", -6.0, (0.5, 1.0, 0.8))


def planted(seed, n=400, truth=PLANTED, role="validation"):
    """Candidates whose log-odds of a hit are a known sum of the features."""
    rng = stream(seed, "planted-candidates")
    top = rng.uniform(0.3, 0.999, n)
    table = pd.DataFrame(
        {
            "participant_id": [f"sub-{i // 4}" for i in range(n)],
            "candidate": np.arange(n) % 4 + 1,
            "max_probability": top,
            "mean_probability": top * rng.uniform(0.5, 0.95, n),
            "volume_mm3": np.exp(rng.normal(5.5, 1.2, n)),
            "role": role,
        }
    )
    hit = (rng.random(n) < probability(truth.of(table))).astype(float)
    return table.assign(hit=hit, lesion_hit=hit)


def test_the_formula_by_hand():
    table = pd.DataFrame(
        {"max_probability": [0.5, 0.9], "mean_probability": [0.4, 0.5], "volume_mm3": [1.0, 100.0]}
    )
    assert FORMULA.of(table) == pytest.approx([0.0, np.log(9) + 2 * np.log(100)])
    assert FEATURES == ("logit_max", "log_volume", "logit_mean")


def test_masks_of_zeros_and_ones_are_ranked_by_volume():
    table = pd.DataFrame(
        {"max_probability": 1.0, "mean_probability": 1.0, "volume_mm3": [30.0, 500.0, 60.0]}
    )
    assert np.isfinite(FORMULA.of(table)).all()
    assert np.argsort(FORMULA.of(table)).tolist() == [0, 2, 1]


def test_no_candidate_of_a_map_is_below_the_floor():
    where = grid((20, 20, 20), np.diag([2.0, 2.0, 2.0, 1.0]))
    rng = stream(3, "floor")
    noise = ndimage.gaussian_filter(rng.normal(size=where.shape), 1.0)
    data = np.clip(noise / noise.std() / 4, 0, 1).astype(np.float32)
    rules = CandidateRules(candidate_threshold=0.3, min_volume_mm3=40)
    lesion = np.zeros(where.shape, bool)
    rows, _, _ = evaluate_subject("s", "patient", "A", data, lesion, where, rules)
    for score in (FORMULA, PLANTED):
        assert score.of(pd.DataFrame(rows)).min() >= score.floor(rules)
    assert CandidateScore(weights=(1.0, -0.5, 0.0)).floor(rules) == -np.inf
    assert len(find_candidates(data, where, rules)) == len(rows) > 3


def test_the_fit_finds_what_was_planted():
    score = fit_score(planted(0, n=20_000), "lesion")
    assert score.weights == pytest.approx(PLANTED.weights, abs=0.12)
    assert score.intercept == pytest.approx(PLANTED.intercept, abs=0.5)
    assert score.hits + score.false_positives == 20_000


def test_the_fit_equals_scikit_learn():
    rng = stream(1, "logistic")
    x = rng.normal(size=(150, 3))
    y = (rng.random(150) < probability(x @ [1.0, -2.0, 0.5] + 0.7)).astype(float)
    theirs = LogisticRegression(C=1 / 2.5, tol=1e-10, max_iter=1000).fit(x, y)
    intercept, weights = fit_logistic(x, y, ridge=2.5)
    assert weights == pytest.approx(theirs.coef_[0], abs=1e-5)
    assert intercept == pytest.approx(theirs.intercept_[0], abs=1e-5)


def test_separated_classes_do_not_break_the_fit():
    x = np.linspace(-1, 1, 120)[:, None]
    intercept, weights = fit_logistic(x, (x[:, 0] > 0.2).astype(float), ridge=1.0)
    assert np.isfinite(intercept)
    assert 1 < weights[0] < 20


def test_a_fit_ranks_new_candidates_better_than_the_maximum():
    validation, test = planted(2), planted(3, n=4000, role="test")
    score = choose_scores({"baseline": validation}, "lesion")["baseline"]
    assert score.kind == "fitted"
    by_maximum = roc_auc_score(test["hit"], test["max_probability"])
    assert roc_auc_score(test["hit"], score.of(test)) > by_maximum + 0.1
    assert roc_auc_score(test["hit"], FORMULA.of(test)) > by_maximum + 0.05


@pytest.mark.parametrize("kind", ["formula", "fitted"])
def test_probabilities_are_calibrated_on_new_candidates_and_keep_the_ranks(kind):
    like = CandidateScore("formula", -8.0, (0.5, 1.0, 0.0))  # what the formula can tell
    truth = like if kind == "formula" else PLANTED
    validation, test = planted(9, n=3000, truth=truth), planted(10, n=3000, truth=truth)
    score = FORMULA if kind == "formula" else fit_score(validation, "lesion")
    told = hit_probability(score, validation, test, "lesion")
    figures = calibrate(told, test["hit"].to_numpy())
    assert figures.brier_skill > 0.1
    assert figures.ece < 2 * figures.perfect_ece_95
    assert (np.argsort(told, kind="stable") == np.argsort(score.of(test), kind="stable")).all()
    wrong = calibrate(probability(FORMULA.of(test)), test["hit"].to_numpy())
    assert wrong.ece > 3 * wrong.perfect_ece_95


def test_probabilities_of_the_formula_need_both_kinds():
    table = planted(11)
    with pytest.raises(DataError, match="hits and false positives"):
        hit_probability(FORMULA, table.assign(hit=0), table, "patient")


def test_one_training_with_too_few_gives_the_formula_to_all():
    many = planted(4)
    hits = many[many["hit"] == 1]
    few = pd.concat([hits[:49], many[many["hit"] == 0]])
    assert not enough(few, "lesion")
    assert enough(pd.concat([hits[:50], many[many["hit"] == 0][:50]]), "lesion")
    chosen = choose_scores({"baseline": many, "augmented": few}, "lesion")
    assert set(chosen.values()) == {FORMULA}


def test_candidates_that_count_as_neither_are_left_out_of_the_fit():
    table = planted(5)
    neither = table.assign(lesion_hit=table["lesion_hit"].where(table.index >= 100))
    assert fit_score(neither, "lesion") == fit_score(table[100:], "lesion")


def test_test_subjects_are_refused():
    mixed = pd.concat([planted(6), planted(7, role="test")])
    with pytest.raises(LineageError, match="test subjects"):
        choose_scores({"baseline": mixed}, "patient")


def test_faulty_tables_are_refused_by_name():
    table = planted(8)
    with pytest.raises(DataError, match="`mean_probability`"):
        features(table.drop(columns="mean_probability"))
    with pytest.raises(DataError, match="`max_probability`"):
        features(table.assign(max_probability=1.5))
    with pytest.raises(DataError, match="`volume_mm3`"):
        features(table.assign(volume_mm3=0))
    with pytest.raises(DataError, match="`lesion_hit`"):
        fit_score(table.drop(columns="lesion_hit"), "lesion")
    with pytest.raises(DataError, match="hits and false positives"):
        fit_score(table.assign(hit=1), "patient")


def random_tables(seed, score=None):
    """Two subjects evaluated on maps; with `score`, each candidate's maximum is replaced by it."""
    where = grid((22, 22, 22), np.diag([2.0, 2.0, 2.0, 1.0]))
    rules = CandidateRules(min_volume_mm3=0)
    candidates, lesions = [], []
    for i in range(2):
        rng = stream(seed, "rescore", i)
        noise = ndimage.gaussian_filter(rng.normal(size=where.shape), 1.1)
        data = np.clip(noise / noise.std() / 4, 0, 1).astype(np.float32)
        truth = ndimage.gaussian_filter(rng.normal(size=where.shape), 1.6)
        near = ndimage.gaussian_filter(data, 1) + 0.02 * truth / truth.std()
        rows = evaluate_subject(
            f"sub-{i}", "patient", "A", data, near > np.quantile(near, 0.96), where, rules
        )
        candidates += rows[0]
        lesions += rows[1]
    return (
        pd.DataFrame(candidates, columns=list(CANDIDATE_COLUMNS)),
        pd.DataFrame(lesions, columns=list(LESION_COLUMNS)),
    )


@pytest.mark.parametrize("seed", range(3))
def test_rescoring_with_the_maximum_gives_the_same_tables(seed):
    candidates, lesions = random_tables(seed)
    maximum = CandidateScore(weights=(1.0, 0.0, 0.0))
    scored, found = rescore(candidates, lesions, maximum)
    assert np.isfinite(found["score"]).sum() > 3
    for column in ("score", "score_strict"):
        kept = lesions[column].clip(upper=1 - 1e-6)
        logit = np.log(kept) - np.log1p(-kept)
        assert found[column].tolist() == pytest.approx(logit.tolist(), abs=1e-6, nan_ok=True)
    assert scored["candidate"].tolist() == candidates["candidate"].tolist()


def test_rescored_lesions_are_found_where_their_candidates_say():
    candidates, lesions = random_tables(5)
    scored, found = rescore(candidates, lesions, FORMULA)
    by_key = scored.set_index(["participant_id", "candidate"])["score"]
    for (_, old), (_, new) in zip(lesions.iterrows(), found.iterrows(), strict=True):
        if not isinstance(old["covered_by"], str):
            assert np.isnan(new["score"])
            continue
        parts = [part.split(":") for part in old["covered_by"].split(",")]
        mine = [(by_key[old["participant_id"], int(c)], float(share)) for c, share in parts]
        works = [t for t, _ in mine if sum(s for u, s in mine if u >= t) >= 0.1 - 1e-9]
        assert new["score"] == pytest.approx(max(works, default=np.nan), nan_ok=True)


def test_the_record_names_the_features():
    assert FORMULA.to_json() == {
        "kind": "formula",
        "intercept": 0.0,
        "weights": {"logit_max": 1.0, "log_volume": 2.0, "logit_mean": 0.0},
        "hits": 0,
        "false_positives": 0,
    }
