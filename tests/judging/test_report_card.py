"""Protects: the card shows every count, escapes what models wrote, renders Korean, and marks a judge below the bar."""

import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from matplotlib.figure import Figure

from kotune.judging.calibration import calibrate
from kotune.judging.comparison import report, scores_behind, summarise
from kotune.judging.judges import ReferenceJudge
from kotune.judging.judgments import Judgment, ScoreLine, compare
from kotune.judging.report_card import _wrapped, disagreements, histogram, html, make_card, write_html, write_png
from kotune.judging.run import summary
from tests.judging.test_calibration import By
from tests.judging.test_comparison import fifteen, judged
from utils import CourseError

SCRIPT = "<script>alert('가')</script>"


def said(winner, reason):
    return json.dumps({"reason": reason, "winner": winner}, ensure_ascii=False)


@pytest.fixture
def lines():
    """The 15 questions, with texts that a page must survive, and one without a verdict."""
    made = [
        replace(line, question=f"질문 {line.id} $x$ & <b>", answer_a=f"{line.answer_a}{SCRIPT}", reference="모범 \"답안\"",
                raw_ab=said("first", f"기한이 <i>맞습니다</i> {line.id}"), raw_ba=said("first", "뒤의 답이 낫습니다"))
        for line in fifteen()
    ]  # fmt: skip
    return [*made, Judgment("left", "left_out", problem="only_in_b", judge="j", fingerprint="1", question="질문")]


class Page(HTMLParser):
    """What a browser would make of the page: its elements, their attributes and its text."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.attributes, self.text = [], [], ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data):
        self.text += data


def test_the_page_is_whole_by_itself_and_escapes_what_models_wrote(lines):
    page = Page(html(make_card(f"SFT {SCRIPT}", 'B" onload="x', report(lines), lines)))
    assert {"script", "img", "link", "iframe", "i"}.isdisjoint(page.tags)
    assert not any(name.startswith("on") or (value or "").startswith("http") for name, value in page.attributes)
    assert page.text.count(SCRIPT) >= 4  # as text, in the title, the heading and the two disagreements
    assert "기한이 <i>맞습니다</i>" in page.text and "질문 q13 $x$ & <b>" in page.text
    for shown in ("73.3%", "p = 0.092", "10 / 2 / 3", "16 / 15 / 15", "0 / 0 / 1", "only_in_b", "was not calibrated"):
        assert shown in page.text
    assert dict(page.attributes)["lang"] == "en"  # as KOTUNE_LANG has it


def test_the_json_has_the_reports_fields_at_its_top(lines):
    found = json.loads(json.dumps(make_card("A", "B", report(lines), lines).json()))
    counts = {name: found[name] for name in ("n_asked", "n_judged", "unparsed", "wins", "ties", "losses")}
    assert counts == {"n_asked": 16, "n_judged": 15, "unparsed": 0, "wins": 10, "ties": 2, "losses": 3}
    assert found["win_rate"] == pytest.approx(0.7333, abs=1e-4) and found["p_value"] == pytest.approx(0.0923, abs=1e-4)
    assert (
        len(found["interval"]) == 2
        and found["flip_rate"] == pytest.approx(2 / 15)
        and found["left_out_ids"] == {"only_in_b": ["left"]}
    )
    assert len(found["disagreements"]) == found["disagreements_of"] == 2


def test_the_table_has_every_number_with_its_n(lines):
    table = make_card("SFT", "base", report(lines), lines).table()
    assert table.loc["win rate (a tie is half)"].tolist()[0] == "73.3%"
    assert table.loc["win rate (a tie is half)", "n"] == "15"
    assert table.loc["sign test of wins against losses", "n"] == "13"


@pytest.mark.slow
def test_a_calibrated_judge_is_shown_by_kind_with_its_warning(tmp_path):
    rows = [
        {"id": str(i), "question": "질문", "answer": "14일 이내에 합니다.", "reference": "14일입니다."} for i in range(3)
    ]
    judgments = compare(ReferenceJudge(), rows, [row | {"answer": "재산세입니다."} for row in rows])
    calibration = calibrate(ReferenceJudge())
    card = make_card("A", "B", report(judgments, calibration), judgments, calibration=calibration,
                     scores=scores_behind(judgments))  # fmt: skip
    page = Page(html(card)).text
    assert "is below the bar" in page and "wrong_number" in page and "25.9% to 51.8%" in page
    assert "Win rate corrected for the judge's errors 100.0%, 95% interval" in page
    assert "on the 208 calibration pairs with a better answer" in page
    assert card.table().loc["  corrected for the judge's errors", "n"] == "3, 208 calibration pairs"
    assert card.json()["corrected"]["win_rate"] == 1 and card.json()["corrected"]["sensitivity"] > 0.7
    assert sum(card.histogram.a) == sum(card.histogram.b) == 3
    picture = write_png(card, tmp_path / "card.png").read_bytes()
    assert picture.startswith(b"\x89PNG")
    with pytest.raises(CourseError, match="give that judge's own"):
        make_card("A", "B", replace(report(judgments), judge="other"), judgments, calibration=calibration)
    with pytest.raises(CourseError, match=r"end it in \.png"):
        write_png(card, tmp_path / "card.pdf")


def test_a_judge_no_better_than_chance_is_shown_as_one_whose_rate_cannot_be_corrected():
    rows = [{"id": str(i), "question": "질문", "answer": "네.", "reference": "네."} for i in range(4)]
    first = By(lambda pair: "first")  # all its verdicts change with the order
    judgments = compare(first, rows, [row | {"answer": "아니요."} for row in rows])
    calibration = calibrate(first)
    card = make_card("A", "B", report(judgments, calibration), judgments, calibration=calibration)
    said = "cannot be corrected: the judge is no better than chance on the calibration pairs"
    for text in (Page(html(card)).text, "\n".join(summary(card))):
        assert said in text and "50.0%" in text
    assert "The judge's errors cannot be corrected." in Page(html(card)).text
    assert card.json()["corrected"]["win_rate"] is None and said in card.json()["corrected"]["note"]
    assert card.table().loc["  corrected for the judge's errors", "value"] == "cannot be corrected"


def test_the_card_of_the_korean_edition_is_in_korean_with_the_same_figures(monkeypatch, lines):
    """What stays as it is: names of judges and kinds, n, p, the two sides and the reasons of a judge."""
    rows = [{"id": str(i), "question": "질문", "answer": "네.", "reference": "네."} for i in range(4)]

    def card():
        other = By(lambda pair: "first", name="다른 심사자")
        judgments, seconds = (
            compare(judge, rows, [row | {"answer": "아니요."} for row in rows]) for judge in (first, other)
        )
        own, theirs = calibrate(first), calibrate(other)
        return make_card(
            "가", "나", report(judgments, own), judgments, calibration=own, seconds=[(report(seconds, theirs), seconds)],
            second_calibrations=[theirs],
        )  # fmt: skip

    first = By(lambda pair: "first" if "네" in pair.first else "second", name="심사자")
    figures = [sorted(re.findall(r"\d+\.?\d*%?", " ".join(row[1:]))) for row in card().lines()]
    in_english = html(card())
    assert '<html lang="en">' in in_english
    words = Page(in_english).text.split("</style>")[-1]
    assert {*re.findall("[가-힣]+", words)} <= {
        "가",
        "나",
        "네",
        "아니요",
        "질문",
        "심사자",
        "다른",
    }  # data, and names of judges
    monkeypatch.setenv("KOTUNE_LANG", "ko")
    korean = card()
    assert [sorted(re.findall(r"\d+\.?\d*%?", " ".join(row[1:]))) for row in korean.lines()] == figures
    told = [*(" ".join(row) for row in korean.lines()), *korean.warnings, *korean.corrections]
    assert len(korean.warnings) == 2 == len(korean.corrections)
    assert [text for text in told if re.search("[A-Za-z]{2,} [A-Za-z]{2,}", text)] == []
    assert [*korean.table().columns] == ["값", "95% 구간", "n"]
    assert '<html lang="ko">' in html(korean)
    shown = Page(html(korean)).text.split("</style>")[-1]
    assert "심사자의 오류를 보정한 승률" in shown and "판정이 엇갈린 질문" in shown and "not calibrated" not in shown
    assert "구간의 아래쪽 끝이 전체에서 70.0%, 유형마다 50.0% 이상이어야 합니다." in shown
    assert "A tie counts as half" not in shown and "measure" not in shown
    uncalibrated = report(lines)
    assert uncalibrated.warning.endswith("심사자는 검증하지 않아 얼마나 맞히는지 알 수 없습니다. 먼저 검증하세요.")


def test_a_warning_is_drawn_in_lines_that_fit_the_picture():
    korean = _wrapped("심사자는 기준 미달입니다 " * 20, 60)
    english = _wrapped("a judge below the bar " * 20, 60)
    assert max(map(len, korean.splitlines())) <= 40 < max(map(len, english.splitlines())) <= 60
    assert korean.split() == ("심사자는 기준 미달입니다 " * 20).split()


def test_korean_and_dollars_are_drawn_with_glyphs_that_are_there(lines, tmp_path, recwarn):
    write_png(make_card("가나다 $x$ 모델", "기준 $모델", report(lines), lines), tmp_path / "card.png")
    assert not [one for one in recwarn if "Glyph" in str(one.message)]
    assert (tmp_path / "card.png").stat().st_size > 20_000
    assert write_html(make_card("가", "나", report(lines), lines), tmp_path / "x" / "card.html").read_text(encoding="utf-8")


@pytest.mark.slow
def test_every_judge_below_the_bar_is_marked_wherever_its_verdicts_appear(tmp_path, monkeypatch):
    rows = [
        {"id": str(i), "question": "질문", "answer": "14일 이내에 합니다.", "reference": "14일입니다."} for i in range(3)
    ]
    others = [row | {"answer": "재산세입니다."} for row in rows]
    first, second = ReferenceJudge(), ReferenceJudge(tie_below=0.3, name="reference with wide ties")
    found = {judge.name: (calibrate(judge), compare(judge, rows, others)) for judge in (first, second)}
    (own, lines), (other, other_lines) = found.values()
    card = make_card(
        "A", "B", report(lines, own), lines, calibration=own,
        seconds=[(report(other_lines, other), other_lines)], second_calibrations=[other],
    )  # fmt: skip
    assert own.warning and other.warning and card.warnings == [own.warning, other.warning]
    assert card.table().loc["warning", "value"].tolist() == card.warnings
    page, found = Page(html(card)).text, card.json()
    assert all(warning in page for warning in card.warnings)
    assert [found["warning"], found["second_judges"][0]["report"]["warning"]] == card.warnings
    assert found["second_judges"][0]["calibration_agreement"]["n"] == 228
    assert "  Cohen's kappa, calibration set" in card.table().index
    drawn = []
    monkeypatch.setattr(Figure, "supxlabel", lambda self, text, **style: drawn.append(text))
    write_png(card, tmp_path / "card.png")
    assert all("".join(one.split()) in "".join(drawn[0].split()) for one in card.warnings)
    with pytest.raises(CourseError, match="is no second judge"):
        make_card("A", "B", report(lines), lines, second_calibrations=[own])


def test_what_has_no_verdict_is_named_on_the_page(lines):
    unread = Judgment("long", "unparsed", problem="too_long", judge="j", fingerprint="1", answer_a="가", answer_b="나")
    page = Page(html(make_card("A", "B", report([*lines, unread]), [*lines, unread]))).text
    assert "too_long 1: long" in page and "only_in_b 1: left" in page


def test_opposite_verdicts_come_first_then_the_largest_difference_of_length():
    lines = [
        judged(1, "a", "tie", a="가" * 90),
        judged(2, "a", "b", a="가" * 20),
        judged(3, "a", "b", a="가" * 50),
        judged(4, "a", "a"),
        judged(5, "b", "b"),
    ]
    other = [replace(judged(number, "a", "a"), judge="k") for number in range(1, 6)]
    assert [one.id for one in disagreements(lines)] == ["q3", "q2", "q1"]
    found = disagreements(lines, [other])
    assert [(one.id, one.between, one.opposite) for one in found] == [
        ("q3", "orders", True), ("q2", "orders", True), ("q5", "judges", True), ("q1", "orders", False),
    ]  # fmt: skip
    assert [(who, verdict) for who, verdict, _ in found[2].said] == [("j", "b"), ("k", "a")]


def test_two_judges_are_compared_with_kappa_and_ac1(lines):
    other = [replace(line, judge="k", winner="a", verdict_ab="a", verdict_ba="a") for line in lines[:15]]
    card = make_card("A", "B", report(lines), lines, seconds=[(report(other), other)])
    assert card.seconds[0].agreement.share == pytest.approx(10 / 15)
    table = card.table()
    assert {"  Cohen's kappa", "  Gwet's AC1", "  same verdict"} <= set(table.index)


def test_scores_of_one_to_ten_have_a_bin_each():
    sides = [summarise(side, [ScoreLine(str(i), "judged", float(i), judge="j") for i in (1, 5, 5, 10)]) for side in "AB"]
    assert histogram(*sides).a == (1, 0, 0, 0, 2, 0, 0, 0, 0, 1)
