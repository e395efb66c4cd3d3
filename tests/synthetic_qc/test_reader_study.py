import json
import secrets
from dataclasses import replace

import numpy as np
import pytest

from lesionforge.cli import run
from lesionforge.errors import ConfigError, DataError
from lesionforge.provenance import read_json, write_json
from lesionforge.synthetic_qc.reader_study import (
    Case,
    Reading,
    open_key,
    read_reading,
    sample_cases,
    score_readings,
    seal,
)


def made_of(subject, *sources):
    name = subject.id.replace("-p", "-syn")
    return replace(subject, id=name, synthetic=True, sources=sources)


@pytest.fixture
def cohorts(toy_cohort):
    """Six real patients, and three synthetic ones that go back to the first two."""
    patients = toy_cohort[:6]
    return patients, [made_of(s, "sub-p01", "sub-p02", "sub-c01") for s in patients[:3]]


@pytest.fixture
def kit(cohorts, tmp_path):
    cases = sample_cases(*cohorts, n=3, seed=0)
    return cases, seal(cases, secrets.token_bytes(32), tmp_path / "kit"), tmp_path / "kit"


def answers(cases, wrong=(), reader="One"):
    other = {"real": "synthetic", "synthetic": "real"}
    given = {c.name: other[c.truth] if c.name in wrong else c.truth for c in cases}
    return Reading(reader, given, dict.fromkeys(given, 3), dict.fromkeys(given, ""))


def saved(path, cases, promised, **changes):
    rows = [{"case": c.name, "answer": c.truth, "confidence": 2, "comment": "?"} for c in cases]
    known = {"schema": 1, "commitment": promised, "reader": "One", "answers": rows}
    write_json(path, known | changes)
    return path


def test_nobody_behind_a_synthetic_case_is_a_real_case(cohorts):
    cases = sample_cases(*cohorts, n=3, seed=0)
    assert len(cases) == 12
    for contrast in ("T1w", "FLAIR"):
        mine = [c for c in cases if c.contrast == contrast]
        assert sorted(c.name for c in mine) == [f"{contrast}-{n:02d}" for n in range(1, 7)]
        assert sorted(c.truth for c in mine) == ["real"] * 3 + ["synthetic"] * 3
        assert not {c.subject for c in mine if c.truth == "real"} & {"sub-p01", "sub-p02"}
    assert cases == sample_cases(*cohorts, n=3, seed=0)
    assert cases != sample_cases(*cohorts, n=3, seed=1)
    order = [[c.subject for c in cases if c.contrast == k] for k in ("T1w", "FLAIR")]
    assert order[0] != order[1]
    assert set(order[0]) == set(order[1])


def test_too_many_cases_are_refused(cohorts):
    with pytest.raises(ConfigError, match="the set has 3"):
        sample_cases(*cohorts, n=4, seed=0)
    with pytest.raises(ConfigError, match="4 of the cohort stand behind no"):
        sample_cases(cohorts[0], [*cohorts[1], *cohorts[1]], n=5, seed=0)


def test_the_key_opens_only_unchanged(kit):
    cases, promised, folder = kit
    assert open_key(folder) == cases
    assert promised == read_json(folder / "commitment.json")["sha256"]
    assert "sub-" not in (folder / "commitment.json").read_text()
    with pytest.raises(DataError, match="holds a reading kit already"):
        seal(cases, secrets.token_bytes(32), folder)
    path = folder / "key" / "key.json"
    key = read_json(path)
    key["cases"][0]["truth"] = "real" if key["cases"][0]["truth"] == "synthetic" else "synthetic"
    write_json(path, key)
    with pytest.raises(DataError, match="not the key that was committed to"):
        open_key(folder)
    write_json(path, {**key, "schema": 2})
    with pytest.raises(DataError, match="has schema 2, this LesionForge knows 1"):
        open_key(folder)
    write_json(path, {"schema": 1, "salt": "00"})
    with pytest.raises(DataError, match="whole reading kit"):
        open_key(folder)


def test_the_salt_hides_the_key(cohorts, tmp_path):
    cases = sample_cases(*cohorts, n=3, seed=0)
    digests = {seal(cases, secrets.token_bytes(32), tmp_path / str(k)) for k in range(3)}
    assert len(digests) == 3


def test_readings_with_faults_are_refused_with_all_of_them(kit, tmp_path):
    cases, promised, _ = kit
    path = tmp_path / "reading.json"
    good = read_reading(saved(path, cases, promised), cases, promised)
    assert good.answers == {c.name: c.truth for c in cases}
    rows = read_json(path)["answers"]
    rows[1]["confidence"] = 9
    lacking = [*rows[1:], {"case": "T2w-01", "answer": "real", "confidence": 1}]
    with pytest.raises(DataError) as caught:
        read_reading(saved(path, cases, promised, answers=lacking, reader=""), cases, promised)
    for part in (f"no answer for {cases[0].name}", "answers unknown T2w-01", "does not say who"):
        assert part in str(caught.value)
    assert f"no confidence for {cases[1].name}" in str(caught.value)
    for change, match in (
        ({"commitment": "0" * 64}, "another kit"),
        ({"schema": 7}, "schema 7"),
    ):
        with pytest.raises(DataError, match=match):
            read_reading(saved(path, cases, promised, **change), cases, promised)


def test_scores_by_hand():
    """Four volumes a contrast; Two takes both synthetic T1w for real, and agrees on FLAIR."""
    truths = ("real", "real", "synthetic", "synthetic")
    cases = [
        Case(f"{k}-{n}", k, f"sub-{n}", t, "")
        for k in ("T1w", "FLAIR")
        for n, t in enumerate(truths)
    ]
    two = answers(cases, ("T1w-2", "T1w-3"), "Two")
    two = replace(
        two, confidence={**two.confidence, "T1w-3": 5}, comments={**two.comments, "T1w-3": "a"}
    )
    scored = score_readings(cases, [answers(cases), two])
    one, other = scored["readers"]["One"], scored["readers"]["Two"]
    assert (one["T1w"]["right"], one["T1w"]["fooled_by"]) == (4, [])
    assert other["T1w"]["accuracy"] == 0.5
    np.testing.assert_allclose(other["T1w"]["ci95"], [0.1500, 0.8500], atol=5e-4)
    assert other["T1w"]["synthetic_called_real"] == 2
    assert [row["case"] for row in other["T1w"]["fooled_by"]] == ["T1w-3", "T1w-2"]
    assert other["T1w"]["fooled_by"][0]["comment"] == "a"
    kappas = {pair["contrast"]: pair["kappa"] for pair in scored["agreement"]}
    assert kappas == {"T1w": 0.0, "FLAIR": 1.0}
    with pytest.raises(DataError, match="same reader"):
        score_readings(cases, [two, two])


def test_the_command_scores_and_refuses(kit, tmp_path, capsys):
    cases, promised, folder = kit
    reading = saved(tmp_path / "one.json", cases, promised)
    assert run("score-reading", ["--kit", str(folder), str(reading)]) == 0
    assert "100 %" in capsys.readouterr().out
    kept = (folder / "scores.json").read_text()
    assert json.loads(kept)["readers"]["One"]["T1w"]["right"] == 6
    saved(reading, cases[1:], promised)
    assert run("score-reading", ["--kit", str(folder), str(reading)]) == 2
    assert f"has no answer for {cases[0].name}" in capsys.readouterr().err
    assert (folder / "scores.json").read_text() == kept
