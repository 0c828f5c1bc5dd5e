"""Protects: the page to show holds what was measured, in either language, and no text of a model becomes part of its HTML."""

import re

import pytest

from kotune.judging.result_page import TEXTS, Example, LossCurve, ResultPage, Score, html, training_facts, write_html
from utils import ASSETS, CourseError

ADVERT = "망원동 투룸 전세 2억 3천, 3층"
PAGE = ResultPage(
    "매물 광고를 표로",
    "광고 글에서 열세 항목을 뽑습니다.",
    [Example(ADVERT, "<script>alert(1)</script>", '{"deposit": 23000}')],
    [Score("학습 전", 0, 200), Score("정규식", 102, 200), Score("학습 후", 159, 200, is_trained=True)],
    LossCurve("내 학습", [1, 2, 3], [3.0, 1.5, 0.75]),
)


def test_what_a_model_wrote_is_text_and_nothing_else():
    page = html(PAGE)
    assert "<script>" not in page
    assert "&lt;script&gt;" in page
    assert "default-src 'none'" in page


@pytest.mark.parametrize("language", TEXTS)
def test_the_page_has_each_example_and_score_in_its_language(language):
    page = html(PAGE, language)
    assert f'<html lang="{language}">' in page
    assert ADVERT in page
    assert TEXTS[language]["of"].format(right=159, n=200) in page
    assert TEXTS[language]["before"] in page
    assert ("학습 곡선" in page) == (language == "ko")


def test_both_languages_have_the_same_texts_with_the_same_places_for_figures():
    assert TEXTS["ko"].keys() == TEXTS["en"].keys()
    for name, korean in TEXTS["ko"].items():
        assert sorted(re.findall(r"\{[^}]*\}", korean)) == sorted(re.findall(r"\{[^}]*\}", TEXTS["en"][name])), name


def test_a_page_asks_no_other_host(tmp_path):
    page = write_html(PAGE, tmp_path / "page.html").read_text(encoding="utf-8")
    assert not re.findall(r"(?:src|href|url\()\s*=?\s*[\"']?(?:https?:)?//", page)


def test_the_curve_stays_in_its_box_with_the_highest_loss_at_the_top():
    points = [tuple(map(float, point.split(","))) for point in PAGE.curve.points(100, 50).split()]
    assert points == [(0, 0), (50, 25), (100, 37.5)]


def test_a_long_curve_is_drawn_by_means_and_a_validation_is_no_part_of_it():
    log = [{"step": step, "loss": 2.0} for step in range(1, 5001)] + [{"step": 5000, "eval_loss": 9.0, "loss": float("nan")}]
    curve = LossCurve.from_log("a long run", log)
    assert len(curve.steps) == 5000
    assert max(curve.losses) == 2.0
    assert len(curve.points(100, 50).split()) == 200


def test_a_run_of_one_step_and_a_loss_of_nought_draw():
    assert LossCurve("one", [1], [0.0]).points(100, 50) == "0.0,50.0"


def test_the_facts_are_those_of_the_run_card():
    facts = dict(training_facts(ASSETS / "listings", "en"))
    assert facts["base model"] == "gemma-3-270m"
    assert facts["rows of data"] == "6,116"
    assert facts["LoRA rank"] == "16"


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        (lambda: training_facts("nowhere"), "no run.json"),
        (lambda: html(PAGE, "fr"), "languages are ko, en"),
        (lambda: html(ResultPage("t", "j", [], PAGE.scores)), "needs an example"),
    ],
)
def test_what_cannot_be_shown_is_one_sentence(wrong, told):
    with pytest.raises(CourseError, match=told):
        wrong()
