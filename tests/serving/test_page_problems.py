"""Protects: the page says what went wrong in its visitor's language, in the error's own words where these exist."""

import pytest

from kotune.serving.page_problems import sentence
from kotune.serving.page_texts import ENGLISH, KOREAN
from utils import CourseError

KNOWN = "This server has no documents; start it with --documents docs.jsonl."


@pytest.mark.parametrize(
    ("said", "texts", "shown"),
    [
        (KNOWN, ENGLISH, KNOWN),
        (KNOWN, KOREAN, "이 서버에는 문서가 없습니다. --documents docs.jsonl로 시작하세요."),
        ("A sentence that has no Korean.", KOREAN, KOREAN.problems["refused"]),
    ],
)
def test_a_refusal_is_said_in_the_visitors_language(said, texts, shown):
    assert sentence(CourseError(said), texts) == shown
