"""Lines that several writers share: rewritten in one step, and read as a dictionary by key."""

from dataclasses import dataclass

import pytest

from kotune.line_file import KeyedLines, LineFile
from utils import CourseError, read_jsonl


def row(key: str, value: int) -> dict:
    return {"id": key, "value": value}


@dataclass(frozen=True)
class Checked:
    id: str
    value: int


def checked(line: dict, place: str) -> Checked:
    if line["value"] < 0:
        raise CourseError(f"{place}: negative; fix that line.")
    return Checked(line["id"], line["value"])


def test_a_rewritten_file_holds_what_others_wrote_and_can_be_appended_to(tmp_path):
    path = tmp_path / "lines.jsonl"
    mine, other = KeyedLines(path), KeyedLines(path)
    mine.append([row("b", 1), row("c", 2)])
    other.append([row("a", 3)])
    mine.rewrite(lambda: [mine.rows[key] for key in sorted(mine.rows)])
    assert [line["id"] for line in read_jsonl(path)] == ["a", "b", "c"]
    mine.append([row("d", 4)])
    mine.refresh()
    assert [line["id"] for line in read_jsonl(path)] == ["a", "b", "c", "d"] and list(mine.rows) == ["b", "c", "a", "d"]
    assert {file.name for file in tmp_path.iterdir()} <= {"lines.jsonl", "lines.jsonl.lock"}


def test_a_shorter_rewritten_file_is_no_file_cut_short(tmp_path):
    path = tmp_path / "lines.jsonl"
    lines = KeyedLines(path, keep="last")
    lines.append([row("a", 1), row("a", 2), row("b", 3)])
    lines.rewrite(lines.rows.values)
    lines.refresh()
    lines.append([row("c", 4)])
    assert read_jsonl(path) == [row("a", 2), row("b", 3), row("c", 4)]
    path.write_bytes(path.read_bytes() + b'{"value": 5}\n')
    with pytest.raises(CourseError, match=r"lines\.jsonl, line 4, has no id"):
        lines.refresh()


@pytest.mark.parametrize(
    ("keep", "value", "lines"),
    [("first", 1, 2), ("last", 3, 4), (lambda held, new: row("a", held["value"] + new["value"]), 6, 4)],
)
def test_which_line_of_a_key_counts(tmp_path, keep, value, lines):
    path = tmp_path / "lines.jsonl"
    file = KeyedLines(path, keep=keep)
    file.append([row("a", 1), row("a", 2)])
    file.append([row("a", 3), row("b", 9)])
    assert file.rows == {"a": row("a", value), "b": row("b", 9)}
    assert len(read_jsonl(path)) == lines
    assert KeyedLines(path, keep=keep).rows == file.rows
    assert isinstance(file, LineFile)


def test_rows_are_held_as_the_check_returns_them_and_refused_with_their_line(tmp_path):
    path = tmp_path / "lines.jsonl"
    KeyedLines(path, check=checked).append([row("a", 1)])
    assert KeyedLines(path, check=checked).rows == {"a": Checked("a", 1)}
    KeyedLines(path).append([row("b", -1)])
    with pytest.raises(CourseError, match=r"lines\.jsonl, line 2: negative"):
        KeyedLines(path, check=checked)


def test_any_field_may_be_the_key(tmp_path):
    file = KeyedLines(tmp_path / "lines.jsonl", key="name", keep="last")
    file.append([{"name": "a", "value": 1}, {"name": "a", "value": 2}])
    assert file.rows == {"a": {"name": "a", "value": 2}}
