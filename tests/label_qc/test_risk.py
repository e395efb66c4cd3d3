from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from lesionforge.data.labels import Label, read_labelled, write_label_set
from lesionforge.data.subject import read_brain, read_lesion
from lesionforge.errors import ConfigError, DataError
from lesionforge.label_qc.config import CorruptConfig, LabelAuditConfig
from lesionforge.label_qc.corruption import corrupt_labels
from lesionforge.label_qc.evidence import SIGNALS, label_signals, read_evidence
from lesionforge.label_qc.risk import audit_labels
from lesionforge.metrics.config import CandidateRules
from lesionforge.seeding import stream
from tests.conftest import write_toy_cohort

RULES = CandidateRules()
CONFIG = LabelAuditConfig(copies=1)


@pytest.fixture(scope="module")
def cohort(tmp_path_factory, toy_grid):
    """Fifteen patients and fifteen controls, and a label set with nine planted errors."""
    root = tmp_path_factory.mktemp("audit") / "cohort"
    subjects = write_toy_cohort(root, toy_grid, patients=15, controls=15)
    labels, kinds = corrupt_labels(subjects, CorruptConfig(rate=0.3), seed=0)
    write_label_set(root, "planted", "original", labels)
    return subjects, kinds


def prediction(subject):
    """What a good detector would say: the true lesion, softly, but for every fifth patient."""
    rng = stream(0, "prediction", subject.id)
    sight = 0.9 * (rng.random() > 0.2)
    soft = sight * ndimage.gaussian_filter(read_lesion(subject).astype(np.float32), 0.7)
    noise = 0.3 * ndimage.gaussian_filter(rng.random(soft.shape), 2.0)
    return (np.clip(soft + noise, 0, 1) * read_brain(subject)).astype(np.float32)


@pytest.fixture(scope="module")
def audited(cohort):
    truth = {s.id: s for s in cohort[0]}

    def read(subject):
        return read_evidence(subject, prediction(truth[subject.id]), RULES)

    given = read_labelled(cohort[0][0].root, "planted")
    return audit_labels(given, read, CONFIG), audit_labels(given[::-1], read, CONFIG)


def test_planted_errors_come_first(cohort, audited):
    kinds, table = cohort[1], audited[0]
    first = set(table["participant_id"].head(len(kinds)))
    assert len(first & set(kinds)) >= 0.7 * len(kinds)
    assert table["risk"].is_monotonic_decreasing
    assert table["risk"].between(0, 1).all()
    assert table["rank"].tolist() == list(range(1, 31))


def test_every_label_is_judged_and_explained(cohort, audited):
    kinds, table = cohort[1], audited[0].set_index("participant_id")
    assert set(table.index) == {s.id for s in cohort[0]}
    missing = [i for i, kind in kinds.items() if kind == "missing"]
    assert (table.loc[missing, "group"] == "control").all()
    assert (table.loc[table["group"] == "control", "suspected"] == "missing").all()
    assert table.loc[table["risk"] > 0.5, "reasons"].str.len().gt(0).all()
    assert set(SIGNALS) <= set(table.columns)
    assert (table["consequence"] >= 0).all()


def test_the_order_of_subjects_does_not_matter_much(audited):
    one, other = (t.set_index("participant_id")["risk"] for t in audited)
    assert one.corr(other, method="spearman") > 0.8


def test_the_assumed_rate_moves_the_odds_and_leaves_the_order(cohort, audited):
    truth = {s.id: s for s in cohort[0]}
    given = read_labelled(cohort[0][0].root, "planted")
    even = audit_labels(
        given,
        lambda s: read_evidence(s, prediction(truth[s.id]), RULES),
        replace(CONFIG, expected_rate=0.5),
    )
    rare = audited[0]
    assert even["participant_id"].tolist() == rare["participant_id"].tolist()
    odds = [t["risk"] / (1 - t["risk"]) for t in (even, rare)]
    np.testing.assert_allclose(odds[0] / odds[1], 9, rtol=1e-6)
    wrong = even["participant_id"].isin(cohort[1])
    assert even["risk"][wrong].mean() > 0.6 > 0.4 > even["risk"][~wrong].mean()


def test_a_mask_too_large_to_be_moved_is_judged_nevertheless(cohort):
    subjects = cohort[0]
    huge = read_brain(subjects[0])
    label = Label(huge, "human", "Reader", "all of it")
    write_label_set(subjects[0].root, "huge", "original", {subjects[0].id: label})
    given = read_labelled(subjects[0].root, "huge")

    def read(subject):
        return read_evidence(subject, np.zeros(huge.shape, np.float32), RULES)

    table = audit_labels(given, read, CONFIG)
    assert subjects[0].id in table["participant_id"].tolist()


def test_signals_of_a_seen_and_an_unseen_lesion(toy_cohort):
    subject = toy_cohort[0]
    lesion = read_lesion(subject)
    seen = read_evidence(subject, np.where(lesion, 0.9, 0.0).astype(np.float32), RULES)
    blind = read_evidence(subject, np.zeros(lesion.shape, np.float32), RULES)
    right, unseen = label_signals(seen, lesion), label_signals(blind, lesion)
    assert right["loss"] == pytest.approx(-np.log(0.9), abs=1e-6)
    assert (right["disagreement"], right["elsewhere"], right["larger"]) == (0, 0, 0)
    assert right["flair"] > 1
    assert unseen["loss"] == pytest.approx(-np.log(1e-3))
    assert unseen["disagreement"] == 1
    half = lesion & (np.cumsum(lesion).reshape(lesion.shape) <= lesion.sum() // 2)
    assert label_signals(seen, half)["larger"] == pytest.approx(np.log(2), rel=0.1)


def test_a_label_without_a_mask_is_judged_by_its_most_lesion_like_candidate(cohort):
    """The detector is surest of flat places, and there is nothing in them."""
    subjects = cohort[0]
    place = np.zeros(read_brain(subjects[0]).shape, bool)
    middle = np.argwhere(read_brain(subjects[0])).mean(axis=0).round().astype(int)
    place[tuple(slice(m - 2, m + 3) for m in middle)] = True

    def read(subject):
        lesion = read_lesion(subject)
        apart = place & ~ndimage.binary_dilation(lesion, iterations=4)
        seen = np.maximum(0.6 * lesion, 0.9 * apart) * read_brain(subject)
        return read_evidence(subject, seen.astype(np.float32), RULES)

    unread = subjects[2]  # a patient who is read as normal
    assert read_lesion(unread).any()
    label = Label(None, "human", "Reader", "normal")
    write_label_set(subjects[0].root, "overlooked", "original", {unread.id: label})
    truth = {s.id: s for s in subjects}
    given = read_labelled(subjects[0].root, "overlooked")
    table = audit_labels(given, lambda s: read(truth[s.id]), CONFIG).set_index("participant_id")
    mine = table.loc[unread.id]
    evidence = read(unread)
    judged = next(c for c in evidence.candidates if c.number == mine["candidate"])
    assert read_lesion(unread)[tuple(judged.voxels.T)].any()
    assert judged.score < max(c.score for c in evidence.candidates)
    controls = table[table["group"] == "control"]
    assert controls["likeness"].idxmax() == controls["risk"].idxmax() == unread.id
    assert mine["suspected"] == "missing"


def test_too_few_patients_and_bad_settings_are_refused(toy_cohort):
    with pytest.raises(DataError, match="at least 10 labelled patients, got 6"):
        audit_labels(toy_cohort, lambda s: None, CONFIG)
    with pytest.raises(ConfigError, match="expected_rate"):
        replace(CONFIG, expected_rate=0)
    with pytest.raises(ConfigError, match="candidates"):
        replace(CONFIG, candidates=0)
    with pytest.raises(ConfigError, match="kinds"):
        replace(CONFIG, kinds=("swapped",))


@pytest.mark.parametrize("controls", [0, 1])
def test_a_cohort_of_patients_alone_can_be_audited(cohort, controls):
    ill = [s for s in cohort[0] if s.group == "patient"]
    well = [s for s in cohort[0] if s.group == "control"][:controls]
    truth = {s.id: s for s in cohort[0]}

    def read(subject):
        return read_evidence(subject, prediction(truth[subject.id]), RULES)

    table = audit_labels([*ill, *well], read, CONFIG).set_index("participant_id")
    assert len(table) == 15 + controls
    assert table.loc[[s.id for s in ill], "risk"].nunique() > 10
    for subject in well:  # nothing to compare it with
        assert table.loc[subject.id, "risk"] == CONFIG.expected_rate
