"""Files appear whole or not at all, and what a killed process left behind is deleted."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest

from lesionforge import provenance
from lesionforge.errors import DataError
from lesionforge.provenance import (
    alone,
    atomic,
    is_hidden,
    read_json,
    read_tsv,
    sweep,
    write_json,
    write_tsv,
    write_tsv_once,
)

WRITER = """
import sys, time
from pathlib import Path
from lesionforge.provenance import atomic
with atomic(Path(sys.argv[1])) as part:
    part.write_text("half")
    print("writing", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def writer(tmp_path):
    """A process that is writing `a.nii.gz`, in a folder that did not exist."""
    path = tmp_path / "new" / "a.nii.gz"
    process = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "writing\n"
    yield process
    process.kill()
    process.communicate()


def parts(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.part-*"))


def test_a_file_appears_when_it_is_whole(tmp_path):
    path = tmp_path / "some" / "where" / "a.nii.gz"
    with atomic(path) as part:
        part.write_text("new")
        assert not path.exists()
        assert part.name.endswith(".nii.gz")
        assert is_hidden(part, tmp_path)
    assert path.read_text() == "new"
    assert path.stat().st_mode & 0o777 == 0o666 & ~provenance._umask()
    assert parts(tmp_path) == []


def test_an_error_leaves_the_old_file(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(TypeError), atomic(path) as part:
        part.write_text(None)
    assert path.read_text() == "old"
    assert parts(tmp_path) == []


def test_content_is_on_disk_before_its_name_and_the_name_before_it_counts(tmp_path, monkeypatch):
    events = []
    replace, fsync = os.replace, os.fsync

    def synced(handle):
        events.append(("sync", os.fstat(handle).st_ino))
        fsync(handle)

    def replaced(old, new):
        events.append(("name", Path(old).stat().st_ino))
        replace(old, new)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(os, "replace", replaced)
    path = tmp_path / "new" / "a.txt"
    with atomic(path) as part:
        part.write_text("x")
    above, folder, file = (p.stat().st_ino for p in (tmp_path, path.parent, path))
    expected = [("sync", above), ("sync", file), ("name", file), ("sync", folder)]
    assert events == expected


def test_what_a_killed_process_left_is_swept_and_the_living_ones_file_is_not(tmp_path, writer):
    assert sweep(tmp_path) == []
    (left,) = parts(tmp_path)
    writer.kill()
    writer.wait()
    assert sweep(tmp_path) == [left]
    assert list((tmp_path / "new").iterdir()) == []


def test_a_temporary_file_of_another_machine_stays_for_a_day(tmp_path, writer, monkeypatch):
    writer.kill()
    writer.wait()
    monkeypatch.setattr(provenance.platform, "node", lambda: "another")
    assert sweep(tmp_path) == []
    (left,) = parts(tmp_path)
    old = time.time() - 25 * 3600
    os.utime(left, (old, old))
    assert sweep(tmp_path) == [left]


def test_sweeping_follows_no_link_and_deletes_nothing_else(tmp_path):
    inside, outside = tmp_path / "study", tmp_path / "elsewhere"
    for folder in (inside, outside):
        folder.mkdir()
        (folder / f"{provenance._own_prefix()}x-a.txt").touch()
    (inside / "a.part-b.txt").touch()
    (inside / "link").symlink_to(outside)
    assert [path.parent for path in sweep(inside)] == [inside]
    assert len(list(outside.iterdir())) == 1
    assert (inside / "a.part-b.txt").exists()


@pytest.mark.parametrize(
    ("name", "hidden"),
    [("a/b.nii", False), ("a/.b.nii", True), (".a/b.nii", True), ("a/b.c/d.nii", False)],
)
def test_a_dot_hides(tmp_path, name, hidden):
    root = tmp_path / ".above" / "root"
    assert is_hidden(root / name, root) is hidden


def test_a_folder_that_another_process_writes_is_named(tmp_path):
    lock = tmp_path / "new" / ".lock"
    second = alone(lock, tmp_path, 0)
    with alone(lock, tmp_path), pytest.raises(DataError, match=str(tmp_path)):
        second.__enter__()
    with alone(lock, tmp_path, 0):  # it is free again
        pass


def test_a_table_that_is_never_changed(tmp_path):
    path, table = tmp_path / "a.tsv", pd.DataFrame({"a": ["x", None], "b": [0.1 + 0.2, 1.0]})
    assert write_tsv_once(path, table)
    before = path.read_bytes()
    assert before == b"a\tb\nx\t0.3\nn/a\t1\n"
    assert write_tsv_once(path, table)
    assert not write_tsv_once(path, table.assign(b=2.0))
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["a.tsv"]


def test_tables_and_records_read_back_in_any_locale(tmp_path):
    write_json(tmp_path / "a.json", {"site": "Köln"})
    write_tsv(tmp_path / "a.tsv", pd.DataFrame({"site": ["Köln"]}))
    assert read_json(tmp_path / "a.json") == {"site": "Köln"}
    assert read_tsv(tmp_path / "a.tsv", site=str)["site"].tolist() == ["Köln"]


@pytest.mark.parametrize(
    ("name", "content", "remedy"),
    [
        ("runs/x/cohort/a.json", None, "prepare"),
        ("runs/x/synthetic/spade/a.json", None, "synthesize --set spade"),
        ("a.json", None, "path"),
        ("a.json", b"{", "again"),
        ("a.json", b"\xff", "again"),
    ],
)
def test_a_record_that_cannot_be_read_is_named_with_a_remedy(tmp_path, name, content, remedy):
    path = tmp_path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DataError) as caught:
        read_json(path)
    assert str(path) in str(caught.value)
    assert remedy in str(caught.value)
