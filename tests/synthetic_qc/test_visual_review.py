"""What a person says of synthetic subjects: recorded for good, and the rejected never train."""

import json
import logging
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pandas as pd
import pytest
import yaml
from filelock import FileLock

from lesionforge import provenance
from lesionforge.arguments import command_parser, parse, read_study
from lesionforge.cli import run
from lesionforge.data.cohort import read_cohort, sidecar_path
from lesionforge.data.config import SplitConfig
from lesionforge.data.splits import assign_splits, write_splits
from lesionforge.data.subject import Subject
from lesionforge.errors import ConfigError, DataError
from lesionforge.provenance import read_json, sha256, write_json, write_tsv
from lesionforge.study import runs as study_runs
from lesionforge.synthetic_qc import visual_review
from lesionforge.synthetic_qc.visual_review import (
    Inspection,
    accepted,
    count_rejected,
    digest,
    is_of_now,
    read_inspections,
    record_inspection,
    rejected,
    sample_sheet,
    standing,
)
from tests.conftest import write_toy_cohort

CONFIG = {
    "name": "toy",
    "synthetic": {"paste": {"mode": "paste", "min_effect_sd": 0.0}},
    "detector": {
        "steps": 1, "epoch_steps": 1, "patch": 32, "mirror": False, "filters": [4, 8, 8, 8],
        "batch_size": 1, "precision": "32-true", "accelerator": "cpu",
    },
    "regimes": {
        "baseline": {"patients": 3, "controls": 2},
        "augmented": {"patients": 3, "controls": 2, "synthetic": "paste", "ratio": 1.0},
    },
}  # fmt: skip


def people(n, group="patient"):
    prefix = {"patient": "sub-syn", "control": "sub-syc"}[group]
    return [
        Subject(f"{prefix}{i:04d}", group, "A", Path("set"), True, channels=("T1w", "FLAIR"))
        for i in range(1, n + 1)
    ]


def ids(subjects):
    return [s.id for s in subjects]


@pytest.mark.parametrize("share", [0.1, 0.25, 1.0])
def test_the_sheet_is_a_share_of_each_group_and_grows_with_the_set(share):
    few = ids(sample_sheet([*people(40), *people(20, "control")], share, seed=1))
    assert sum("syn" in name for name in few) == round(40 * share)
    assert sum("syc" in name for name in few) == round(20 * share)
    assert few == ids(sample_sheet([*people(40), *people(20, "control")], share, seed=1))
    more = ids(sample_sheet([*people(60), *people(20, "control")], share, seed=1))
    assert set(few) <= set(more)
    if share < 1:
        other = [*people(40), *people(20, "control")]
        assert few != ids(sample_sheet(other, share, seed=2))


def test_somebody_of_each_group_is_looked_at():
    for seed in range(20):
        drawn = sample_sheet([*people(3), *people(2, "control")], 0.01, seed)
        assert [s.group for s in drawn] == ["patient", "control"]
    assert ids(sample_sheet(people(3), 0.01, 0))[0].startswith("sub-syn")


@pytest.mark.parametrize("share", [0.0, -0.1, 1.1])
def test_the_share_is_checked(share):
    with pytest.raises(ConfigError, match="`inspect` must be a share above 0"):
        sample_sheet(people(3), share, 0)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory, toy_grid):
    """A prepared toy study with its synthetic set and a page; its folder of runs. Read-only."""
    runs = tmp_path_factory.mktemp("inspected")
    (runs / "toy.yaml").write_text(yaml.safe_dump(CONFIG))
    root = runs / "toy" / "cohort"
    made = write_toy_cohort(root, toy_grid, patients=6, controls=4)
    table = pd.DataFrame(
        {
            "participant_id": [s.id for s in made],
            "group": [s.group for s in made],
            "site": [s.site for s in made],
            "lesion_ml": 1.0,
        }
    )
    sizes = SplitConfig(
        validation_patients=1, validation_controls=1, test_patients=2, test_controls=1
    )
    write_splits(root / "splits.tsv", assign_splits(table, sizes, [0]))
    assert call(runs, "synthesize", "--set", "paste", "--inspect", "0.5") == 0
    return runs


@pytest.fixture
def runs(prepared, tmp_path):
    return Path(shutil.copytree(prepared, tmp_path / "runs"))


def call(runs, stage, *options):
    return run(stage, ["--config", str(runs / "toy.yaml"), "--runs", str(runs), *options])


def study_of(runs):
    arguments = ["--config", str(runs / "toy.yaml"), "--runs", str(runs)]
    return read_study(parse(command_parser("prepare"), arguments))


def set_of(runs):
    return runs / "toy" / "synthetic" / "paste" / "seed-0"


def saved(runs, verdicts, name="saved.json", **changes):
    """Write what the page saves: verdicts as participant id to reason, empty to accept."""
    known = {s.id: s for s in read_cohort(set_of(runs))}
    rows = [
        {
            "participant_id": name,
            "sha256": digest(known[name]),
            "verdict": "reject" if reason else "accept",
            "reason": reason,
        }
        for name, reason in verdicts.items()
    ]
    content = {"schema": 1, "page": "inspection", "asked": list(verdicts), "verdicts": rows}
    write_json(runs / name, content | changes)
    return str(runs / name)


def record(runs, file, by="A. Reader"):
    return call(runs, "inspect-synthetic", file, "--set", "paste", "--by", by)


def training(runs):
    return ids(study_runs.run_subjects(study_of(runs), "augmented", 0, None).training)


def test_an_audit_is_of_the_set_as_it_was(runs):
    root = set_of(runs)
    audit = {"subjects": {s.id: digest(s) for s in accepted(root)}}
    assert is_of_now(audit, root)
    assert record(runs, saved(runs, {"sub-syn0002": "a seam"})) == 0
    assert not is_of_now(audit, root)


def test_what_is_rejected_never_trains_and_is_made_up_for(runs, capsys, caplog):
    caplog.set_level(logging.INFO)
    assert (set_of(runs) / "inspect.html").exists()
    before = {p: sha256(p) for p in set_of(runs).rglob("*.nii.gz")}
    assert "sub-syn0002" in training(runs)
    assert call(runs, "train-detector", "--regime", "augmented") == 0
    assert record(runs, saved(runs, {"sub-syn0002": "a seam", "sub-syn0003": ""})) == 0
    assert "2 of 3 patients inspected, 1 rejected (50 %)" in caplog.text
    capsys.readouterr()

    assert call(runs, "train-detector", "--regime", "augmented") == 2
    error = capsys.readouterr().err
    assert "asks for 3 synthetic patients, the set `paste` has 2 besides 1 subject(s)" in error
    assert "Synthesize more" in error

    assert call(runs, "synthesize") == 0  # every set that a regime uses
    assert {p: sha256(p) for p in before} == before
    assert ids(read_cohort(set_of(runs)))[:4] == [f"sub-syn000{i}" for i in (1, 2, 3, 4)]
    assert len(read_cohort(set_of(runs))) == 6  # controls were not rejected, none is added
    chosen = training(runs)
    assert "sub-syn0002" not in chosen
    assert [n for n in chosen if "syn" in n] == ["sub-syn0001", "sub-syn0003", "sub-syn0004"]

    assert call(runs, "train-detector", "--regime", "augmented") == 2
    assert "another configuration, seed or training set" in capsys.readouterr().err
    finished = study_runs.finished_runs(study_of(runs), "detector")[0]
    (note,) = study_runs.outdated(study_of(runs), finished)
    assert "augmented_seed-0" in note
    assert "sub-syn0002" in note
    shutil.rmtree(runs / "toy" / "detector" / "augmented")
    assert call(runs, "train-detector", "--regime", "augmented") == 0
    lineage = read_json(runs / "toy" / "detector" / "augmented" / "seed-0" / "lineage.json")
    assert "sub-syn0002" not in lineage["training"]
    assert study_runs.outdated(study_of(runs), finished) == []


def test_what_is_rejected_is_not_shown_to_readers(runs, capsys):
    assert record(runs, saved(runs, {"sub-syn0002": "a seam"})) == 0
    assert "sub-syn0002" not in ids(accepted(set_of(runs)))
    assert len(accepted(set_of(runs))) == len(read_cohort(set_of(runs))) - 1
    options = ["--set", "paste", "--n", "3", "--out", str(runs / "kit")]
    assert call(runs, "reading-kit", *options) == 2
    assert "3 synthetic patients were asked for, the set has 2" in capsys.readouterr().err
    assert not (runs / "kit").exists()


def test_the_table_is_only_appended_to_and_the_last_verdict_counts(runs):
    root = set_of(runs)
    assert (
        record(runs, saved(runs, {"sub-syn0001": 'too\tbright,\n "odd"', "sub-syc0001": ""})) == 0
    )
    first = (root / "inspected.tsv").read_text()
    assert rejected(root) == ["sub-syn0001"]
    assert standing(root)["sub-syn0001"].reason == 'too bright, "odd"'
    assert standing(root)["sub-syc0001"].reason == ""
    assert count_rejected(root) == {"patient": 1, "control": 0}
    assert record(runs, saved(runs, {"sub-syn0001": ""}), by="B") == 0
    second = (root / "inspected.tsv").read_text()
    assert second.startswith(first)
    assert rejected(root) == []
    assert [(r.participant_id, r.verdict, r.by) for r in read_inspections(root)] == [
        ("sub-syn0001", "reject", "A. Reader"),
        ("sub-syc0001", "accept", "A. Reader"),
        ("sub-syn0001", "accept", "B"),
    ]
    assert record(runs, saved(runs, {"sub-syn0001": ""}), by="B") == 0  # said already
    assert (root / "inspected.tsv").read_text() == second
    assert record(runs, saved(runs, {"sub-syc0001": "an infarct"}), by="B") == 0
    assert count_rejected(root) == {"patient": 0, "control": 1}
    study = study_of(runs)
    assert study_runs.synthetic_counts(study, "paste", 0, None) == (3, 3)
    table = pd.read_csv(root / "inspected.tsv", sep="\t")
    assert list(table.columns)[:5] == ["participant_id", "verdict", "by", "when", "reason"]


def test_two_people_who_record_at_once_lose_no_verdict(runs, monkeypatch):
    def slow(path, table):
        time.sleep(0.2)
        write_tsv(path, table)

    monkeypatch.setattr(visual_review, "write_tsv", slow)
    subjects = read_cohort(set_of(runs))
    files = {by: saved(runs, {f"sub-syn000{by}": ""}, f"{by}.json") for by in "123"}
    with ThreadPoolExecutor() as pool:
        said = [pool.submit(record_inspection, Path(f), subjects, by) for by, f in files.items()]
        assert [len(one.result()) for one in said] == [1, 1, 1]
    assert {row.by for row in read_inspections(set_of(runs))} == {"1", "2", "3"}


def test_who_waits_too_long_for_another_process_is_told(runs, monkeypatch, capsys):
    file = saved(runs, {"sub-syn0001": ""})
    monkeypatch.setattr(provenance, "PATIENCE_S", 0.1)
    with FileLock(set_of(runs) / visual_review.LOCK):
        assert record(runs, file) == 2
    assert "Another process has been writing" in capsys.readouterr().err
    assert read_inspections(set_of(runs)) == []
    (set_of(runs) / visual_review.LOCK).unlink()
    assert record(runs, file) == 0
    assert (set_of(runs) / visual_review.LOCK).stat().st_mode & 0o777 == 0o666  # others may follow


def test_a_set_with_a_page_and_verdicts_is_valid_bids(runs):
    assert record(runs, saved(runs, {"sub-syn0001": "a seam"})) == 0
    validator = Path(sys.executable).with_name("bids-validator-deno")
    command = [str(validator), "--json", str(set_of(runs))]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    found = json.loads(done.stdout)["issues"]["issues"]
    assert [i for i in found if i["severity"] == "error"] == []


def test_a_verdict_falls_with_the_volumes_it_was_about(runs):
    root = set_of(runs)
    assert record(runs, saved(runs, {"sub-syn0001": "a seam"})) == 0
    subject = read_cohort(root)[0]
    shutil.rmtree(root / "sub-syn0001")
    assert rejected(root) == []
    assert study_runs.synthetic_counts(study_of(runs), "paste", 0, None) == (3, 2)
    assert call(runs, "synthesize", "--set", "paste") == 0  # the same again: it stands again
    assert rejected(root) == ["sub-syn0001"]
    sidecar = read_json(sidecar_path(subject))
    sidecar["VolumeSHA256"] = dict.fromkeys(sidecar["VolumeSHA256"], "0" * 64)
    write_json(sidecar_path(subject), sidecar)
    assert rejected(root) == []
    assert len(read_inspections(root)) == 1


def strange(file, runs, content):
    content["verdicts"][0]["participant_id"] = "sub-syn0099"


def other_set(file, runs, content):
    content["verdicts"][0]["sha256"] = "f" * 64


def lacking(file, runs, content):
    del content["verdicts"][0]


def undecided(file, runs, content):
    content["verdicts"][0]["verdict"] = "perhaps"


def reasonless(file, runs, content):
    content["verdicts"][0]["reason"] = "  "


def later(file, runs, content):
    content["schema"] = 2


def reading(file, runs, content):
    del content["page"]


def unreadable(file, runs, content):
    content["verdicts"][0]["reason"] = "n/a"  # which would be read back as nothing


def torn(file, runs, content):
    content["verdicts"] = None


def empty(file, runs, content):
    content["verdicts"] = content["asked"] = []


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (strange, "does not have: sub-syn0099; has no verdict about sub-syn0001"),
        (other_set, r"another set or seed\?\): sub-syn0001"),
        (lacking, "has no verdict about sub-syn0001"),
        (undecided, "has no verdict about sub-syn0001"),
        (reasonless, "gives no reason to reject sub-syn0001"),
        (unreadable, "gives no reason to reject sub-syn0001"),
        (later, "schema 2, this LesionForge knows 1"),
        (reading, "was not saved by an inspection page"),
        (torn, "is not whole"),
        (empty, "has no verdict at all"),
    ],
)
def test_a_faulty_file_is_one_message_and_nothing_is_written(prepared, tmp_path, fault, message):
    file = Path(saved(prepared, {"sub-syn0001": "a seam", "sub-syn0002": ""}))
    content = read_json(file)
    fault(file, prepared, content)
    write_json(tmp_path / "faulty.json", content)
    with pytest.raises(DataError, match=message):
        record_inspection(tmp_path / "faulty.json", read_cohort(set_of(prepared)), "A. Reader")
    assert not (set_of(prepared) / "inspected.tsv").exists()


def test_the_commands_say_what_is_wrong(prepared, capsys):
    file = saved(prepared, {"sub-syn0001": ""})
    (prepared / "half.json").write_text('{"schema": 1')
    for options, message in (
        ([file, "--set", "other"], "`set` must be one of paste"),
        ([file, "--set", "paste", "--seeds", "[0, 1]"], "name its --seed"),
        ([str(prepared / "none.json"), "--set", "paste"], "none.json is missing"),
        ([str(prepared / "half.json"), "--set", "paste"], "is not JSON"),
    ):
        assert call(prepared, "inspect-synthetic", *options, "--by", "R") == 2
        assert message in capsys.readouterr().err
    for nobody in (" ", "n/a"):
        assert record(prepared, file, by=nobody) == 2
        assert "give a name" in capsys.readouterr().err
    assert call(prepared, "synthesize", "--set", "paste", "--inspect", "2") == 2
    assert "`inspect` must be a share" in capsys.readouterr().err
    assert not (set_of(prepared) / "inspected.tsv").exists()


def test_a_table_changed_by_hand_is_named(runs):
    record(runs, saved(runs, {"sub-syn0001": "a seam"}))
    path = set_of(runs) / "inspected.tsv"
    path.write_text(path.read_text().replace("reject", "rejct"))
    with pytest.raises(DataError, match=r"inspected.tsv was changed by hand: .*'rejct'"):
        rejected(set_of(runs))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"verdict": "maybe"}, "accept or reject"),
        ({"by": ""}, "give a name"),
        ({"reason": ""}, "needs a reason"),
    ],
)
def test_an_inspection_is_checked(values, message):
    good = {
        "participant_id": "sub-syn0001", "verdict": "reject", "by": "R", "when": "now",
        "reason": "seam", "sha256": "0",
    }  # fmt: skip
    with pytest.raises(DataError, match=message):
        Inspection(**good | values)
