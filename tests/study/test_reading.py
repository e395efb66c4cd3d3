"""A study file is read as it looks, or refused."""

import pytest

from lesionforge.errors import ConfigError
from lesionforge.study.reading import load_text, read_lines


@pytest.fixture
def lines(tmp_path):
    def read(text: str):
        path = tmp_path / "my.yaml"
        path.write_text(text, encoding="utf-8")
        return read_lines(path)

    return read


def test_every_key_has_its_line(lines):
    found = lines("name: x\ndetector:\n  steps: 5\n  augment: {scale: [1, 2]}\n")
    assert found == {
        ("name",): 1,
        ("detector",): 2,
        ("detector", "steps"): 3,
        ("detector", "augment"): 4,
        ("detector", "augment", "scale"): 4,
    }


@pytest.mark.parametrize(
    ("text", "key", "first", "second"),
    [
        ("a: 1\nb: 2\na: 3\n", "a", 1, 3),
        ("d:\n  x: 1\n  y: 2\n  x: 1\n", "d.x", 2, 4),
        ("d: {x: 1}\ne: 1\nd: {y: 1}\n", "d", 1, 3),
        ("d: [{x: 1,\n  x: 2}]\n", "d.x", 1, 2),
        ("'no': 1\nno: 2\n", "no", 1, 2),
    ],
)
def test_a_key_that_stands_twice_is_refused(lines, text, key, first, second):
    with pytest.raises(ConfigError, match=rf"my\.yaml: line {second}: `{key}` .* line {first}"):
        lines(text)


def test_a_block_may_take_in_another_and_change_it(lines):
    text = "a: &a {x: 1, y: 2}\nb: &b {<<: *a, x: 3}\nc: {<<: *b, y: 4}\n"
    assert lines(text)["c", "y"] == 3
    assert load_text(text)["c"] == {"x": 3, "y": 4}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 1e-3), ("1e4", 1e4), ("1.5", 1.5), (".5", 0.5), ("1.", 1.0), ("-2.5E-3", -2.5e-3),
        ("1_000", 1000), ("0", 0), ("-7", -7), ("2024-01-02", "2024-01-02"), ("0x10", "0x10"),
        ("off", False), ("'01'", "01"), ("nan", "nan"), ("1e", "1e"), ("e5", "e5"), ("-", None),
    ],
)  # fmt: skip
def test_numbers_are_decimal(text, value):
    expected = [None] if value is None else value
    found = load_text(text)
    assert found == expected
    assert type(found) is type(expected)


@pytest.mark.parametrize("text", ["01", "-007", "010", "1:30", "0_1"])
def test_an_unclear_number_is_refused_with_its_line(lines, text):
    with pytest.raises(ConfigError, match=rf"my\.yaml: line 2: {text} .*'{text}'"):
        lines(f"a:\n- {text}\n")


def test_words_that_yaml_takes_for_truth_stay_names(lines):
    assert load_text("{no: 1, on: 2, null: 3, 5: 4}") == {"no": 1, "on": 2, "null": 3, "5": 4}


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("", "holds no study"),
        ("- a\n", "holds no study"),
        ("hello\n", "holds no study"),
        ("a:\n\tb: 1\n", "no YAML"),
        ("a: !!python/object/apply:os.system ['true']\n", "no YAML"),
        ("a: !!python/name:os.system\n", "no YAML"),
        ("a: {class_path: os.system}\n", "line 1: `a.class_path`"),
        ("? [a, b]\n: 1\n", "line 1"),
        ("a: *b\n", "no YAML"),
    ],
)
def test_what_is_no_study_is_refused_with_its_file(lines, text, what):
    with pytest.raises(ConfigError, match=r"my\.yaml") as refusal:
        lines(text)
    assert what in str(refusal.value)


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    (tmp_path / "latin.yaml").write_bytes("name: Größe\n".encode("latin-1"))
    for name in ("latin.yaml", "nowhere.yaml", "."):
        with pytest.raises(ConfigError, match="cannot be read"):
            read_lines(tmp_path / name)


def test_blocks_that_repeat_each_other_without_end_are_read_once(lines):
    text = "a0: &a0 {x: 1}\n"
    text += "".join(f"a{i}: &a{i} {{p: *a{i - 1}, q: *a{i - 1}}}\n" for i in range(1, 60))
    assert len(lines(text)) == 1 + 1 + 59 * 3
