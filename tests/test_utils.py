"""Protects: files are written whole, errors name file and line, and secrets come from where they should."""

import json
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import utils
from utils import CourseError


def test_jsonl_round_trip_keeps_korean_as_it_is(tmp_path):
    rows = [{"질문": "전세란?", "n": 1}, {"질문": "줄\n바꿈 \u2028 포함", "n": 2}]
    path = utils.write_jsonl(tmp_path / "a.jsonl", rows)
    assert utils.read_jsonl(path) == rows
    assert "전세란?" in path.read_text(encoding="utf-8")


def test_a_byte_order_mark_and_crlf_are_read(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_bytes('\ufeff{"a": 1}\r\n\r\n{"a": 2}\r\n'.encode())
    assert utils.read_jsonl(path) == [{"a": 1}, {"a": 2}]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b'{"a": 1}\n{"a": "tr', ["line 2", "truncated"]),
        (b'{"a": 1}\n[1, 2]\n', ["line 2", "list"]),
        (b"\n\n", ["no rows"]),
        ("전세".encode("cp949"), ["not UTF-8"]),
    ],
)
def test_a_bad_file_gives_one_sentence_with_its_place(tmp_path, content, words):
    path = tmp_path / "bad.jsonl"
    path.write_bytes(content)
    with pytest.raises(CourseError) as error:
        utils.read_jsonl(path)
    for word in ["bad.jsonl", *words]:
        assert word in str(error.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(CourseError, match=r"nothing\.jsonl does not exist"):
        utils.read_jsonl(tmp_path / "nothing.jsonl")


def test_a_failed_write_leaves_the_old_file(tmp_path):
    path = utils.write_json(tmp_path / "a.json", {"old": True})
    with pytest.raises(TypeError):
        utils.write_json(path, {"new": object()})
    with pytest.raises(UnicodeEncodeError):
        utils.write_atomic(path, "half \udc80")
    assert json.loads(path.read_text()) == {"old": True}
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]


def test_settings_come_from_the_environment_before_the_env_file(tmp_path, monkeypatch):
    monkeypatch.setattr(utils, "ROOT", tmp_path)
    (tmp_path / ".env").write_text("COURSE_TEST_SETTING=from_file\n")
    assert utils.setting("COURSE_TEST_SETTING") == "from_file"
    monkeypatch.setenv("COURSE_TEST_SETTING", "from_environment")
    assert utils.setting("COURSE_TEST_SETTING") == "from_environment"
    monkeypatch.setenv("COURSE_TEST_SETTING", "")
    assert utils.setting("COURSE_TEST_SETTING") is None


def test_jupyter_shows_the_sentence_alone(capsys):
    from IPython.core.interactiveshell import InteractiveShell

    InteractiveShell().run_cell("import utils; raise utils.CourseError('do this')")
    assert capsys.readouterr().out.strip() == "CourseError: do this"


# syllables whole and in their letters, marks over a letter, half-width kana whose mark is a letter of its own
LETTERS = "가각a 1\u1112\u1161\u11ab\u0301\u0316\u0345は\u3099ﾊ\uff9eﾡￂﬁ\u0b95\u0bcb"


@settings(max_examples=60)
@given(st.text(LETTERS, min_size=1, max_size=30), st.integers(0, 600), st.integers(1, 40))
def test_a_long_text_has_the_unicode_form_of_its_parts_put_together(unit, fill, times):
    text = "가" * fill + unit * times
    for form in ("NFC", "NFD", "NFKC", "NFKD"):
        if len(max("".join("m" if unicodedata.combining(one) else " " for one in text).split(), key=len, default="")) < 250:
            assert utils.normalized(form, text) == unicodedata.normalize(form, text)


def test_a_megabyte_of_marks_over_one_letter_is_put_in_order_in_parts():
    marks = "a" + "\u0301\u0316" * 1_000
    assert utils.normalized("NFC", marks).count("\u0316") == 1_000
    assert utils.normalized("NFD", "가" * 1_000) == "\u1100\u1161" * 1_000
