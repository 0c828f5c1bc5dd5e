"""Protects: the package speaks the language that is asked for, and a language that it does not know is told."""

import pytest

import utils
from kotune import language
from kotune.expectations import expect
from utils import CourseError


@pytest.mark.parametrize(("given", "meant"), [(None, "en"), ("", "en"), ("ko", "ko"), (" KO ", "ko"), ("en", "en")])
def test_the_language_is_that_of_the_environment(monkeypatch, given, meant):
    monkeypatch.delenv("KOTUNE_LANG", raising=False)
    if given is not None:
        monkeypatch.setenv("KOTUNE_LANG", given)
    assert language.language() == meant
    assert language.said("loss", "손실") == ("손실" if meant == "ko" else "loss")


def test_the_language_may_stand_in_the_file_of_settings(tmp_path, monkeypatch):
    (tmp_path / ".env").write_text("KOTUNE_LANG=ko\n", encoding="utf-8")
    monkeypatch.setattr(utils, "ROOT", tmp_path)
    monkeypatch.delenv("KOTUNE_LANG", raising=False)
    assert language.language() == "ko"


def test_an_unknown_language_is_told(monkeypatch):
    monkeypatch.setenv("KOTUNE_LANG", "ja")
    with pytest.raises(CourseError, match="KOTUNE_LANG is 'ja'; set it to one of en, ko"):
        language.language()


def test_a_lesson_s_claim_is_printed_in_the_language_of_its_edition(monkeypatch, capsys):
    monkeypatch.setenv("KOTUNE_LANG", "ko")
    expect(True, "손실이 줄었다")
    expect(False, "손실이 줄었다")
    assert capsys.readouterr().out == "본문과 같습니다: 손실이 줄었다\n본문과 다릅니다. 본문에서는: 손실이 줄었다\n"
