"""Tables as BIDS has them: tabs, no quoting, ids as text; what is not so is refused by line."""

from pathlib import Path

import pytest

from lesionforge.errors import DataError
from lesionforge.preprocessing.tables import offer, read_participants, same_id


def _written(folder: Path, content: str | bytes) -> Path:
    path = folder / "participants.tsv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def test_quotes_are_text_and_swallow_no_row(tmp_path: Path) -> None:
    text = 'participant_id\tgroup\tcomment\n01\tfcd\t"scar" left\n002\tms\t"second\n3\thc\t6"\n'
    found = read_participants(_written(tmp_path, text))
    assert {name: row["group"] for name, row in found.rows.items()} == {
        "01": "fcd", "002": "ms", "3": "hc"
    }  # fmt: skip
    assert found.unused == ["comment"]


@pytest.mark.parametrize("ends", ["\n", "\r\n", "\r"])
def test_byte_order_marks_ends_of_lines_and_what_is_missing(tmp_path: Path, ends: str) -> None:
    lines = ["participant_id\tgroup\tsite", "sub-1\t hc \tn/a", "", "sub-2\t\tKöln", ""]
    content = "\ufeff" + ends.join(lines)
    rows = read_participants(_written(tmp_path, content)).rows
    assert rows == {"sub-1": {"group": "hc"}, "sub-2": {"site": "Köln"}}


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("participant_id\tgroup\tage\nsub-1\thc\n", "line 2 has 2 values"),
        ("participant_id\tgroup\n\nsub-1\thc\nsub-2\thc\t3\n", "line 4 has 3 values"),
        ("participant_id,group\nsub-1,hc\n", "participant_id,group"),
        ("participant_id\tgroup\tgroup\n", "different names"),
        ("", "must have a first line"),
        (b"participant_id\tsite\nsub-1\tK\n" + b"sub-2\tK\xf6ln\n", "not UTF-8 (line 3)"),
        ("participant_id\tgroup\nsub-1\thc\n".encode("utf-16"), "not UTF-8 (line 1)"),
    ],
)
def test_what_is_no_such_table_is_refused_by_file_and_line(
    tmp_path: Path, content: str | bytes, words: str
) -> None:
    with pytest.raises(DataError) as caught:
        read_participants(_written(tmp_path, content))
    assert words in str(caught.value)
    assert "participants.tsv" in str(caught.value)


def test_rows_that_contradict_each_other_are_told(tmp_path: Path) -> None:
    text = "participant_id\tgroup\tage\nsub-1\thc\t3\nsub-1\thc\t4\nsub-2\thc\t3\nsub-2\tfcd\t3\n"
    found = read_participants(_written(tmp_path, text))
    assert [p.subject for p in found.problems] == ["sub-2"]


def test_without_a_table_nothing_is_known(tmp_path: Path) -> None:
    assert read_participants(tmp_path / "participants.tsv").rows == {}


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("1", "sub-01"), ("sub-1", "sub-01"), ("SUB-01", "sub-01"), ("sub-01 ", "sub-01"),
        ("sub01", "sub-01"), ("1.0", "sub-01"), ("10", "sub-010"), ("a7", "sub-A07"),
        ("sub-02", None), ("100", None),
    ],
)  # fmt: skip
def test_a_slip_is_prefix_zeros_blanks_or_case(name: str, meant: str | None) -> None:
    assert same_id(name, ["sub-01", "sub-010", "sub-A07"]) == meant


def test_an_id_that_is_nobodys_gets_the_nearest_offered() -> None:
    assert offer("sub-TO1", ["sub-T01", "sub-X99"]) == "sub-T01"
    assert offer("sub-zzz", ["sub-T01"]) is None
