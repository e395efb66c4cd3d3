"""Pre-labels of a model are accepted, sampled, logged, marked, and never taken for a person's."""

import numpy as np
import pytest

from lesionforge.data.labels import drawn_by_model, read_joined, read_labelled, set_path
from lesionforge.data.subject import read_grid, read_lesion
from lesionforge.data.volume import Volume, write_volume
from lesionforge.errors import ConfigError, DataError
from lesionforge.label_qc.config import Acceptance
from lesionforge.label_qc.decision_log import Decision, DecisionLog, log_path
from lesionforge.label_qc.decisions import apply_decisions, decide, last_verdicts
from lesionforge.label_qc.prelabels import (
    Prelabel,
    accept_prelabels,
    keep_prelabels,
    read_prelabels,
)
from lesionforge.metrics.config import CandidateRules
from lesionforge.provenance import read_json, read_tsv
from lesionforge.seeding import stream
from tests.conftest import toy_volumes, write_toy_cohort

RULES = CandidateRules()
PEAKS = {"sub-u01": 0.95, "sub-u02": 0.91, "sub-u03": 0.6, "sub-u04": 0.1}


@pytest.fixture
def cohort(tmp_path, toy_grid):
    write_toy_cohort(tmp_path / "cohort", toy_grid, patients=2, controls=1, unlabelled=4)
    return tmp_path / "cohort"


def truth(subject):
    return toy_volumes(subject.id, True, read_grid(subject))["label-lesion_mask"]


def seen(subject):
    """What a good detector would see: the true lesion, more or less surely."""
    lesion = truth(subject).astype(np.float32)
    return Volume(np.float32(PEAKS[subject.id]) * lesion, read_grid(subject))


def pre_label(cohort, name="pre", base="original", share=0.1):
    people = [s for s in read_labelled(cohort, base) if not s.has_label]
    made = read_prelabels(people, seen, RULES)
    outcome = accept_prelabels(made, Acceptance(0.9, share), stream(0, "pre-label", name))
    keep_prelabels(cohort, base, name, outcome, people, "baseline_seed-0")
    return outcome


def test_confident_prelabels_are_sampled_for_inspection():
    some = np.ones((2, 2, 2), bool)
    models = [Prelabel(f"sub-{n:02d}", n / 40, some if n % 2 else None) for n in range(40)]
    outcome = accept_prelabels(models, Acceptance(0.875, 0.1), stream(0, "inspect"))
    assert outcome.accepted == ("sub-35", "sub-37", "sub-39")
    assert len(outcome.inspected) == 1
    assert set(outcome.inspected) <= set(outcome.accepted)
    everybody = accept_prelabels(models, Acceptance(0.875, 1.0), stream(0, "inspect"))
    assert everybody.inspected == everybody.accepted
    nobody = accept_prelabels(models, Acceptance(1.0, 0.1), stream(0, "inspect"))
    assert (nobody.accepted, nobody.inspected) == ((), ())


def test_whose_best_candidate_is_sure_gets_its_voxels_and_nobody_is_called_healthy(cohort):
    outcome = pre_label(cohort)
    assert outcome.accepted == ("sub-u01", "sub-u02")
    assert len(outcome.inspected) == 1
    people = {s.id: s for s in read_labelled(cohort, "pre")}
    assert [people[f"sub-u0{i}"].group for i in (1, 2, 3, 4)] == ["patient"] * 2 + [
        "unlabelled"
    ] * 2
    np.testing.assert_array_equal(read_lesion(people["sub-u01"]), truth(people["sub-u01"]))
    table = outcome.table({s.id: s.site for s in people.values()})
    assert table["participant_id"].tolist()[2:] == ["sub-u03", "sub-u04"]
    assert table["inspect"].tolist() == [1, 0, 0, 0]
    assert table["accepted"].tolist() == [1, 1, 0, 0]
    assert table["score"].tolist()[2:] == pytest.approx([0.6, 0.0])
    assert table["volume_ml"].isna().tolist() == [False, False, False, True]


def test_a_models_masks_are_marked_everywhere(cohort):
    pre_label(cohort)
    table = read_tsv(set_path(cohort, "pre")).set_index("participant_id")
    assert table.loc[["sub-u01", "sub-u02"], "source"].tolist() == ["model"] * 2
    assert table.loc["sub-p01", "source"] == "human"
    assert table["source"].isna().sum() == 2
    assert drawn_by_model(cohort, "pre") == {"sub-u01", "sub-u02"}
    assert drawn_by_model(cohort, "original") == set()
    logged = DecisionLog(log_path(cohort)).read()
    assert [(d.participant_id, d.source, d.verdict) for d in logged] == [
        ("sub-u01", "model", "replace"), ("sub-u02", "model", "replace")
    ]  # fmt: skip
    assert last_verdicts(cohort) == {}
    lesion = next(s for s in read_labelled(cohort, "pre") if s.id == "sub-u01").lesion
    sidecar = read_json(lesion.with_name(lesion.name.replace(".nii.gz", ".json")))
    assert sidecar["LabelSource"] == "model"


def test_a_stopped_run_is_not_logged_twice(cohort):
    pre_label(cohort)
    before = set_path(cohort, "pre").read_bytes()
    set_path(cohort, "pre").unlink()  # as if it had been killed before the last step
    pre_label(cohort)
    assert set_path(cohort, "pre").read_bytes() == before
    assert len(DecisionLog(log_path(cohort)).read()) == 2
    with pytest.raises(DataError, match="never changed"):
        pre_label(cohort)
    pre_label(cohort, "other")
    assert len(DecisionLog(log_path(cohort)).read()) == 4


def test_people_outrank_the_model_and_its_decisions_are_not_applied_again(cohort, tmp_path):
    pre_label(cohort)
    with pytest.raises(DataError, match="no decision of a person"):
        apply_decisions(cohort, "original", "v2")
    known = {s.id: s for s in read_labelled(cohort)}
    decide(cohort, "pre", Decision("sub-u01", "confirm", "R", "looks right"))
    mask = tmp_path / "mask.nii.gz"
    grid = read_grid(known["sub-u02"])
    write_volume(mask, np.roll(truth(known["sub-u02"]), 1, axis=2), grid)
    decide(cohort, "pre", Decision("sub-u02", "confirm", "R", "too low"), mask)
    assert apply_decisions(cohort, "pre", "v2") == ["sub-u02"]
    assert drawn_by_model(cohort, "v2") == {"sub-u01"}
    assert [j.participant_id for j in read_joined(cohort, "v2")] == ["sub-u01", "sub-u02"]
    assert apply_decisions(cohort, "original", "v3") == ["sub-u01", "sub-u02"]
    assert drawn_by_model(cohort, "v3") == {"sub-u01"}  # confirmed, but not outlined by hand
    table = read_tsv(set_path(cohort, "v3")).set_index("participant_id")
    assert table.loc["sub-u01", "reader"] == "a model, confirmed by R"
    assert table.loc["sub-u02", ["source", "reader"]].tolist() == ["human", "R"]


def test_a_wrong_prelabel_can_be_taken_back_and_labelled_later(cohort, tmp_path):
    pre_label(cohort)
    before = set_path(cohort, "pre").read_bytes()
    log = DecisionLog(log_path(cohort))
    for base, who in (("pre", "sub-p01"), ("original", "sub-u01"), ("pre", "sub-u03")):
        with pytest.raises(DataError, match="cannot be unlabelled again"):
            decide(cohort, base, Decision(who, "withdraw", "R", "not a lesion"))
    assert len(log.read()) == 2
    decide(cohort, "pre", Decision("sub-u01", "withdraw", "R", "a vein; the lesion is elsewhere"))
    assert apply_decisions(cohort, "pre", "v2") == ["sub-u01"]
    assert set_path(cohort, "pre").read_bytes() == before
    people = {s.id: s for s in read_labelled(cohort, "v2")}
    assert not people["sub-u01"].has_label
    assert [(j.participant_id, j.rank) for j in read_joined(cohort, "v2")] == [("sub-u02", 0)]
    row = read_tsv(set_path(cohort, "v2")).set_index("participant_id").loc["sub-u01"]
    assert [row["group"], row["reader"], row["version"]] == ["unlabelled", "R", "v2"]
    assert apply_decisions(cohort, "original", "bare") == []
    mask = tmp_path / "mask.nii.gz"
    write_volume(mask, truth(people["sub-u01"]), read_grid(people["sub-u01"]))
    decide(cohort, "v2", Decision("sub-u01", "confirm", "R", "found it"), mask)
    assert apply_decisions(cohort, "v2", "v3") == ["sub-u01"]
    assert [j.participant_id for j in read_joined(cohort, "v3")] == ["sub-u02", "sub-u01"]
    assert drawn_by_model(cohort, "v3") == {"sub-u02"}


def test_taking_back_a_models_mask_leaves_a_persons_other_mask_alone(cohort, tmp_path):
    people = {s.id: s for s in read_labelled(cohort)}
    mask = tmp_path / "mask.nii.gz"
    drawn = np.roll(truth(people["sub-u01"]), 2, axis=2)
    write_volume(mask, drawn, read_grid(people["sub-u01"]))
    pre_label(cohort)
    decide(cohort, "original", Decision("sub-u01", "confirm", "R", "drawn"), mask)
    assert apply_decisions(cohort, "original", "expert") == ["sub-u01"]
    decide(cohort, "pre", Decision("sub-u01", "withdraw", "S", "not this"))
    decide(cohort, "pre", Decision("sub-u02", "withdraw", "S", "nor this"))
    assert last_verdicts(cohort) == {"sub-u01": "replace", "sub-u02": "withdraw"}
    for number, base in enumerate(("original", "expert", "pre")):
        apply_decisions(cohort, base, f"again{number}")
        found = {s.id: s for s in read_labelled(cohort, f"again{number}")}
        np.testing.assert_array_equal(read_lesion(found["sub-u01"]), drawn)
        assert not found["sub-u02"].has_label
    decide(cohort, "expert", Decision("sub-u01", "withdraw", "S", "I see nothing there"))
    apply_decisions(cohort, "expert", "bare")
    assert not any(s.has_label for s in read_labelled(cohort, "bare") if "-u" in s.id)


def test_who_was_withdrawn_and_labelled_again_is_last_on_every_route(cohort, tmp_path):
    people = {s.id: s for s in read_labelled(cohort)}

    def draw(base, who):
        mask = tmp_path / f"{who}.nii.gz"
        write_volume(mask, truth(people[who]), read_grid(people[who]))
        decide(cohort, base, Decision(who, "confirm", "R", "drawn"), mask)

    draw("original", "sub-u01")
    apply_decisions(cohort, "original", "a")
    decide(cohort, "a", Decision("sub-u01", "withdraw", "R", "a vein"))
    apply_decisions(cohort, "a", "b")
    draw("b", "sub-u02")
    apply_decisions(cohort, "b", "c")
    draw("c", "sub-u01")
    apply_decisions(cohort, "c", "d")
    apply_decisions(cohort, "original", "atonce")
    routes = [[j.participant_id for j in read_joined(cohort, name)] for name in ("d", "atonce")]
    assert routes == [["sub-u02", "sub-u01"]] * 2


def test_withdrawing_goes_without_a_mask(cohort, tmp_path):
    pre_label(cohort)
    with pytest.raises(DataError, match="`withdraw` goes without a mask"):
        decide(cohort, "pre", Decision("sub-u01", "withdraw", "R", "vein"), tmp_path / "m.nii.gz")


@pytest.mark.parametrize(
    ("values", "said"),
    [({"accept": 0.2}, r"`accept` must be in \[0.5, 1\], got 0.2"),
     ({"share": 1.5}, "`share` must be between 0 and 1, got 1.5")],
)  # fmt: skip
def test_bad_shares_are_refused(values, said):
    with pytest.raises(ConfigError, match=said):
        Acceptance(**values)
