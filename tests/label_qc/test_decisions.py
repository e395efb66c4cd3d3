import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing

import numpy as np
import pytest

from lesionforge.data.cohort import read_cohort
from lesionforge.data.labels import read_labelled
from lesionforge.data.subject import read_grid, read_lesion
from lesionforge.data.volume import grid, write_volume
from lesionforge.errors import DataError, GeometryError
from lesionforge.label_qc import decision_log
from lesionforge.label_qc.decision_log import SCHEMA, Decision, DecisionLog, log_path
from lesionforge.label_qc.decisions import apply_decisions, decide
from lesionforge.provenance import read_tsv, write_tsv

APPEND = """
import sys
from pathlib import Path
from lesionforge.label_qc.decision_log import Decision, DecisionLog
log = DecisionLog(Path(sys.argv[1]))
for n in range(int(sys.argv[3])):
    log.append(Decision(f"sub-{n:04d}", "confirm", sys.argv[2], "seen"))
    print(n, flush=True)
"""


def decision(name="sub-p01", verdict="confirm", **others):
    return Decision(name, verdict, "Reader 1", "looked at it", **others)


def start(path, name, count):
    command = [sys.executable, "-c", APPEND, str(path), name, str(count)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


@pytest.fixture
def cohort(tmp_path, toy_cohort):
    return shutil.copytree(toy_cohort[0].root, tmp_path / "cohort")


def test_decisions_come_back_in_order(tmp_path):
    log = DecisionLog(tmp_path / "log.sqlite")
    assert log.read() == []
    sent = [decision(f"sub-{n}", minutes=n, decided_at=f"2026-01-0{n}") for n in (1, 2, 3)]
    assert [log.append(d) for d in sent] == [1, 2, 3]
    assert DecisionLog(log.path).read() == sent
    assert log.table()["number"].tolist() == [1, 2, 3]
    log.append(decision())
    assert log.read()[-1].decided_at.endswith("+00:00")


def test_a_killed_process_loses_no_earlier_decision(tmp_path):
    path = tmp_path / "log.sqlite"
    process = start(path, "Reader 1", 100_000)
    confirmed = [int(process.stdout.readline()) for _ in range(20)]
    process.kill()
    confirmed += [int(line) for line in process.stdout.read().split()]
    process.wait()
    kept = [d.participant_id for d in DecisionLog(path).read()]
    assert kept[: len(confirmed)] == [f"sub-{n:04d}" for n in confirmed]
    assert len(kept) <= len(confirmed) + 1
    DecisionLog(path).append(decision())


def test_two_processes_lose_none(tmp_path):
    path = tmp_path / "log.sqlite"
    both = [start(path, name, 60) for name in ("One", "Two")]
    for process in both:
        process.communicate()
        assert process.returncode == 0
    kept = DecisionLog(path).read()
    for name in ("One", "Two"):
        mine = [d.participant_id for d in kept if d.decided_by == name]
        assert mine == [f"sub-{n:04d}" for n in range(60)]


@pytest.mark.parametrize("change", ["UPDATE decisions SET minutes = 1", "DELETE FROM decisions"])
def test_the_file_refuses_changes(tmp_path, change):
    log = DecisionLog(tmp_path / "log.sqlite")
    log.append(decision())
    with sqlite3.connect(log.path) as connection, pytest.raises(sqlite3.Error, match="only ever"):
        connection.execute(change)
    assert len(log.read()) == 1


def test_a_log_whose_first_decision_never_came_is_empty_and_can_be_used(tmp_path):
    path = tmp_path / "log.sqlite"
    path.touch()  # as a process leaves it that is killed while it makes the log
    assert DecisionLog(path).read() == []
    assert DecisionLog(path).append(decision()) == 1


def test_who_waits_too_long_for_the_log_is_told(tmp_path, monkeypatch):
    log = DecisionLog(tmp_path / "log.sqlite")
    log.append(decision())
    monkeypatch.setattr(decision_log, "PATIENCE_S", 0.1)
    with closing(sqlite3.connect(log.path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(DataError, match="Another process has been writing"):
            log.append(decision())
    assert len(log.read()) == 1


def test_a_future_schema_and_a_strange_file_are_refused_untouched(tmp_path):
    log = DecisionLog(tmp_path / "log.sqlite")
    log.append(decision())
    with sqlite3.connect(log.path) as connection:
        connection.execute(f"PRAGMA user_version = {SCHEMA + 1}")
    before = log.path.read_bytes()
    for attempt in (lambda: DecisionLog(log.path), lambda: log.append(decision())):
        with pytest.raises(DataError, match="has schema 3, this LesionForge knows 2"):
            attempt()
    assert log.path.read_bytes() == before
    strange = tmp_path / "strange.sqlite"
    strange.write_text("not a database, but long enough to be mistaken for one" * 20)
    with pytest.raises(DataError, match="cannot be used as a log"):
        DecisionLog(strange).read()


def test_a_log_of_the_first_schema_is_read_and_goes_on(tmp_path):
    log = DecisionLog(tmp_path / "log.sqlite")
    log.append(decision())
    with sqlite3.connect(log.path) as connection:
        connection.execute("PRAGMA user_version = 1")
    assert log.read() == DecisionLog(log.path).read() != []
    log.append(decision("sub-u01", "withdraw"))
    with sqlite3.connect(log.path) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (SCHEMA,)
    assert [d.verdict for d in log.read()] == ["confirm", "withdraw"]


def test_decisions_make_a_new_label_set_and_overwrite_nothing(cohort, tmp_path):
    subjects = {s.id: s for s in read_cohort(cohort)}
    files = {p: p.read_bytes() for p in cohort.rglob("*.nii.gz")}
    drawn = np.roll(read_lesion(subjects["sub-p02"]), 1, axis=2)
    mask = tmp_path / "mask.nii.gz"
    write_volume(mask, drawn.astype(np.uint8), read_grid(subjects["sub-p02"]))
    decide(cohort, "original", decision("sub-p01", "healthy", minutes=4))
    decide(cohort, "original", decision("sub-p02", "confirm"), mask)
    decide(cohort, "original", decision("sub-p03", "confirm"))
    decide(cohort, "original", decision("sub-c01", "confirm"), mask)
    decide(cohort, "original", decision("sub-c01", "healthy"))  # the last one counts
    mask.unlink()
    assert apply_decisions(cohort, "original", "v2") == ["sub-c01", "sub-p01", "sub-p02"]
    after = {s.id: s for s in read_labelled(cohort, "v2")}
    assert [after[i].group for i in ("sub-p01", "sub-c01")] == ["control", "control"]
    np.testing.assert_array_equal(read_lesion(after["sub-p02"]), drawn)
    assert after["sub-p03"].lesion == subjects["sub-p03"].lesion
    assert all(path.read_bytes() == content for path, content in files.items())
    table = read_tsv(cohort / "labels" / "v2.tsv").set_index("participant_id")
    assert table.loc["sub-p02", "reader"] == "Reader 1"
    with pytest.raises(DataError, match="never changed"):
        apply_decisions(cohort, "original", "v2")


def test_decisions_about_who_has_left_the_cohort_are_passed_over(cohort, caplog):
    decide(cohort, "original", decision("sub-p01", "healthy"))
    decide(cohort, "original", decision("sub-p06", "healthy"))
    table = read_tsv(cohort / "participants.tsv")
    write_tsv(cohort / "participants.tsv", table[table["participant_id"] != "sub-p06"])
    assert apply_decisions(cohort, "original", "v2") == ["sub-p01"]
    assert "passed over: sub-p06" in caplog.text


def test_a_label_confirmed_in_another_set_is_taken_from_there(cohort):
    decide(cohort, "original", decision("sub-p01", "healthy"))
    apply_decisions(cohort, "original", "v2")
    decide(cohort, "v2", decision("sub-p01", "confirm"))
    decide(cohort, "original", decision("sub-p02", "confirm"))
    assert apply_decisions(cohort, "original", "v3") == ["sub-p01"]
    assert apply_decisions(cohort, "v2", "v4") == ["sub-p02"]
    for name in ("v3", "v4"):
        after = {s.id: s for s in read_labelled(cohort, name)}
        assert (after["sub-p01"].group, after["sub-p02"].group) == ("control", "patient")


def test_bad_decisions_are_refused_and_nothing_is_written(cohort, tmp_path):
    mask = tmp_path / "mask.nii.gz"
    subject = read_cohort(cohort)[0]
    with pytest.raises(DataError, match="no subject sub-x"):
        decide(cohort, "original", decision("sub-x"))
    write_volume(mask, np.ones((4, 4, 4), np.uint8), grid((4, 4, 4), np.eye(4)))
    with pytest.raises(GeometryError, match="Draw the mask on"):
        decide(cohort, "original", decision(subject.id), mask)
    write_volume(mask, np.zeros(read_grid(subject).shape, np.uint8), read_grid(subject))
    with pytest.raises(DataError, match="decide `healthy`"):
        decide(cohort, "original", decision(subject.id), mask)
    with pytest.raises(DataError, match="not both"):
        decide(cohort, "original", decision(subject.id, "healthy"), mask)
    with pytest.raises(DataError, match="no decision"):
        apply_decisions(cohort, "original", "v2")
    assert not log_path(cohort).exists()
    for wrong in (
        {"verdict": "replace"},
        {"mask": "0" * 64},
        {"verdict": "perhaps"},
        {"minutes": -1},
    ):
        with pytest.raises(DataError):
            decision(**wrong)
