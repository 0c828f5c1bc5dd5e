"""Protects: what the Korean checks name is wrong (precision on labelled answers), where they say it is, and all of it in use."""

import json
import random
import subprocess
import sys
import unicodedata
from collections import Counter
from html.parser import HTMLParser

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kotune.data import registry
from kotune.korean.answer import Finding
from kotune.korean.checks import CHECKS, NEEDS, check, highlight, highlight_html, summary
from kotune.korean.particles import PARTNER, is_noun, particle_errors, sounds_after
from kotune.korean.script_checks import scripts
from kotune.korean.sentences import hide_quotations, split_sentences
from kotune.korean.speech_levels import HAE, HAERA, HAEYO, HAPSYO, is_banmal, level_of, levels_of
from kotune.korean.tasks import TASKS
from utils import DATA, ROOT, CourseError, read_json, read_jsonl, write_jsonl

LABELLED = read_jsonl(ROOT / "tests" / "korean" / "korean_checks.jsonl")
LEAST_PRECISION, LEAST_RECALL = 0.95, 0.8


def found_in(row):
    return check(row["answer"], **{field: row.get(field) for field in ("question", "source", "ended")})


# --- precision and recall on labelled answers ------------------------------------------------


def tallies():
    right, wrong, missed = Counter(), Counter(), Counter()
    for row in LABELLED:
        found = Counter((f.check, f.start, f.span) for f in found_in(row))
        expected = Counter((e["check"], e["start"], e["span"]) for e in row["expected"])
        for tally, difference in ((right, found & expected), (wrong, found - expected), (missed, expected - found)):
            tally.update(key[0] for key in difference.elements())
    return right, wrong, missed


def test_labels_are_many_sound_and_mostly_hard_negatives():
    assert len(LABELLED) >= 300
    assert len({row["id"] for row in LABELLED}) == len(LABELLED)
    assert len({json.dumps({**row, "id": ""}) for row in LABELLED}) == len(LABELLED)
    assert sum(not row["expected"] for row in LABELLED) >= 150
    for row in LABELLED:
        for label in row["expected"]:
            assert label["check"] in CHECKS
            assert row["answer"][label["start"] :].startswith(label["span"])
    assert {label["check"] for row in LABELLED for label in row["expected"]} == set(CHECKS)


@pytest.mark.parametrize("name", CHECKS)
def test_precision_and_recall_of_each_check(name):
    right, wrong, missed = tallies()
    assert right[name] >= 6
    assert right[name] >= LEAST_PRECISION * (right[name] + wrong[name])
    assert right[name] >= LEAST_RECALL * (right[name] + missed[name])


def good_answers():
    """Yield (place, answer, question, source) of the course's own texts that are meant to be right."""
    text_of = {row["id"]: row["text"] for row in read_jsonl(DATA / "documents.jsonl")}
    for name, question, answer in (
        ("real_estate_train", "question", "answer"), ("real_estate_validation", "question", "answer"),
        ("real_estate_evaluation", "question", "reference"), ("real_estate_preference", "prompt", "chosen"),
    ):  # fmt: skip
        for row in registry.load_rows(name):
            yield f"{name} {row['id']}", row[answer], row[question], text_of[row["document_id"]]
    for row in read_json(DATA / "medical_dialogues.json"):
        yield row["id"], row["output"], row["instruction"], None
    for row in read_json(DATA / "medical_ranked.json"):
        yield row["id"], row["output"][0], row["instruction"], None
    for row in read_jsonl(DATA / "recorded" / "authored_tasks.jsonl"):  # without the question that some outputs start with
        task = TASKS[row["task"]]
        yield row["id"], task.output(task.schema(**row["reply"])), None, None
    for number, line in enumerate((DATA / "pretraining.txt").read_text(encoding="utf-8").splitlines(), start=1):
        yield f"pretraining {number}", line, None, None


def test_nothing_is_found_in_the_courses_own_good_texts():
    found = {place: check(answer, question=q, source=s, ended=True) for place, answer, q, s in good_answers()}
    assert len(found) > 1000
    assert {place: findings for place, findings in found.items() if findings} == {}


def test_rejected_sides_are_found_by_what_is_wrong_with_them():
    rejected = list(registry.load_rows("real_estate_preference"))
    for kind, names, least in (
        ("cut_short", {"unfinished"}, 0.7),  # an item of a list may end in any noun
        ("rude", {"banmal"}, 0.95),
        ("wrong_language", {"hanja", "kana"}, 0.7),  # one English word may be a name or a term
    ):
        rows = [row for row in rejected if row["kind"] == kind]
        hit = sum(bool(names & {finding.check for finding in check(row["rejected"])}) for row in rows)
        assert hit >= least * len(rows), kind


# --- particles -------------------------------------------------------------------------------

syllable = st.integers(0xAC00, 0xD7A3).map(chr)
MARKS = ("‘’", "“”", "「」", "**")


def is_plain(word):
    """Say whether a word has no wrong particle of its own, as 가슴가 does; nothing is then named but what a test adds."""
    return word[-1] not in "으이" and not any(list(particle_errors(f"{a}{word}{b}")) for a, b in ("  ", *MARKS))


words = st.text(syllable, min_size=1, max_size=6).filter(is_plain)
PAIRS = (("은", "는"), ("이", "가"), ("을", "를"), ("과", "와"), ("으로", "로"))


def jamo_choice(word, pair):
    """Return (right, wrong) by the jamo of the last syllable: written apart, a final consonant is the third."""
    jamo = unicodedata.normalize("NFD", word[-1])
    closed = len(jamo) == 3 and not (pair[0] == "으로" and jamo[2] == "ᆯ")
    return pair if closed else pair[::-1]


@given(word=words, pair=st.sampled_from(PAIRS), rest=st.sampled_from(["", " 좋다.", ", 그리고", "\n다음"]))
@settings(max_examples=500, deadline=None)
def test_a_particle_that_fits_is_never_named(word, pair, rest):
    right, _ = jamo_choice(word, pair)
    for text in (f"{word}{right}{rest}", f"‘{word}’{right}{rest}", f"{word}(傳貰){right}{rest}"):
        assert list(particle_errors(text)) == []


@given(word=words, pair=st.sampled_from(PAIRS), marks=st.sampled_from(MARKS))
@settings(max_examples=500, deadline=None)
def test_a_particle_that_does_not_fit_is_always_named_behind_a_mark(word, pair, marks):
    right, wrong = jamo_choice(word, pair)
    quoted = marks[0] + word + marks[1]
    (error,) = particle_errors(f"그래서 {quoted}{wrong} 좋다.")
    assert (error.found, error.right) == (quoted + wrong, quoted + right)


def test_a_wrong_particle_within_marks_and_one_behind_them_are_both_named():
    errors = list(particle_errors("그래서 ‘가슴가’은 좋다."))
    assert [(error.found, error.right) for error in errors] == [("‘가슴가’은", "‘가슴가’는"), ("가슴가", "가슴이")]


def test_a_particle_that_does_not_fit_is_named_after_every_listed_noun_unless_it_makes_another_word():
    nouns = sorted((DATA / "nouns.txt").read_text(encoding="utf-8").split())
    missed = []
    for noun in nouns:
        for pair in PAIRS:
            right, wrong = jamo_choice(noun, pair)
            assert list(particle_errors(f"{noun}{right} 있다")) == []
            if not list(particle_errors(f"{noun}{wrong} 있다")):
                missed.append(noun + wrong)
    assert len(missed) < 0.015 * len(nouns) * len(PAIRS), missed
    assert {"주택가", "나이"} & set(missed) == {"주택가"}


@pytest.mark.parametrize(
    ("text", "right"),
    [
        ("LTV은 낮다", "LTV는"), ("DSR으로 잰다", "DSR로"), ("API을 쓴다", "API를"), ("3는 작다", "3은"), ("4은 짝수다", "4는"),
        ("100와 50", "100과"), ("7으로 나눈다", "7로"), ("10로 나눈다", "10으로"), ("5%을 낸다", "5%를"), ("85㎡을 넘는다", "85㎡를"),
        ("서울으로 간다", "서울로"), ("학교으로부터 온", "학교로부터"), ("보증금(保證金)는 크다", "보증금(保證金)은"), ("20만원를 낸다", "20만원을"),
    ],
)  # fmt: skip
def test_numbers_letters_and_symbols_are_read_aloud(text, right):
    (error,) = particle_errors(text)
    assert error.right == right


@pytest.mark.parametrize(
    "text",
    [
        "나이가 마을을 회의는 사과 결과와 국가 높은 하는 이는", "LTV는 DSR은 3은 4는", "ZIP은 ZIP는", "MP3를 MP3을", "5kg은 5kg는",
        "주택담보대출비율(LTV)은 주택담보대출비율(LTV)는", "집(으)로 사용자은(는) 은/는을", "1)이 경우", "삼성로 12에서", "app은 cache를 x는 n은",
    ],
)  # fmt: skip
def test_what_fits_or_can_be_read_in_two_ways_is_not_named(text):
    assert list(particle_errors(text)) == []


def test_every_particle_has_its_partner():
    assert all(PARTNER[PARTNER[particle]] == particle for particle in PARTNER)
    assert is_noun("전세보증금") and not is_noun("받는")
    open_ends = [sounds_after(text) for text in ("집", "물", "차", "A4", "L", "R", "1/2", "1,000,000,000,000", "AIR", "%s")]
    assert open_ends == [
        {"consonant"}, {"rieul"}, {"vowel"}, set(), {"rieul"}, {"vowel", "rieul"}, {"vowel", "rieul"}, {"vowel"}, set(), set(),
    ]  # fmt: skip


# --- speech levels ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sentence", "level"),
    [
        ("전입신고를 합니다.", HAPSYO), ("확인하십시오.", HAPSYO), ("가능합니까?", HAPSYO), ("가능해요!", HAEYO), ("그렇죠?", HAEYO),
        ("주민센터에서 한다.", HAERA), ("그것은 사실이 아니다.", HAERA), ("고깃집이 다니다.", HAERA), ("그건 네가 해야지.", HAE), ("벌써 갔어.", HAE),
        ("그렇잖아?", HAE), ("합니다(2024년 기준).", HAPSYO), ("넓은 바다.", None), ("담요.", None), ("아니요.", None), ("신청서 제출", None),
        ("신청서를 제출함.", None), ("토지", None), ("오해.", None), ("우리 동네.", None),
    ],
)  # fmt: skip
def test_the_level_of_a_sentence(sentence, level):
    assert level_of(sentence.replace("(2024년 기준)", "\x01" * 10)) == level


def test_no_noun_of_the_list_has_a_level():
    nouns = (DATA / "nouns.txt").read_text(encoding="utf-8").split()
    assert [noun for noun in nouns if level_of(f"{noun}.") or level_of(noun)] == []


@pytest.mark.parametrize(
    "forms",
    [
        "기다려 알려 돌려받아 찾아 먹어 읽어 더워 어려워 나아 내려와 확인해 건조해 말해 바꿔 이뤄 줄여 눌러 몰라 안돼",
        "가라 먹어라 기다려라 챙겨라 불러라 올라라 둬라 봐라 신청해라 만들어라",
        "가자 쉬자 먹자 확인하자 살펴보자 기다리자 맡기자 채우자 미루자 잊자",
        "친구야 손해야 확정일자야 의무야 돈이야 것이야 아니야 이력서야 시기야",
        "하렴 기다리렴 먹으렴 했니 있니 갔네 없네 하네 좋네 했지 알지 그러지 하거든 하잖아 먹을래 갈게",
    ],
)
def test_forms_of_banmal(forms):
    assert [form for form in forms.split() if not is_banmal(f"그걸 {form}?", level_of(f"그걸 {form}?"))] == []


@pytest.mark.parametrize(
    "words",
    [
        "베란다 바다 캐나다 사이다 르완다", "배우자 환자 사용자 하자 이자 투자 감자 의자", "임야 분야 시야 받아야 해야 이제야",
        "배려 고려 샤워 타워 참여 급여 목적어 국어 언어", "손해 피해 올해 지중해 산업재해 이해", "동네 토지 편지 가지 이미지 홈페이지",
        "저렴 폐렴 수렴 청렴 나라 카메라 우리나라 고릴라 빌라 길게 힘들게 빨래 가운데",
    ],
)  # fmt: skip
def test_what_only_looks_like_banmal(words):
    assert [word for word in words.split() if level_of(f"새 {word}.")] == []


def spoken(text):
    hidden = hide_quotations(text)
    return levels_of(hidden, split_sentences(text, hidden))


def test_quoted_sentences_neither_end_a_sentence_nor_give_it_a_level():
    (only,) = spoken("지문은 “늦으면 낸다. 꼭 낸다.”라고 설명합니다.")
    assert only == HAPSYO
    assert spoken("1. 등기부를 떼어 본다\n2. 집주인을 만난다") == [None, None]


# --- spans, forms of Unicode, scripts --------------------------------------------------------

messy = st.text(alphabet="가는은 사람집을를로 .!?\n漢字かПр(“”)aB3%ㅋㅠ<>_#-e\u0301\u1112\u1161\u11ab", max_size=80)


@pytest.mark.slow
@given(messy)
@settings(max_examples=500, deadline=None)
def test_every_span_slices_to_its_text_in_any_form_of_unicode(text):
    for form in (text, unicodedata.normalize("NFD", text)):
        for finding in check(form, question=text[:20], source="3", ended=False):
            assert form[finding.start : finding.end] == finding.span
            assert finding.check in CHECKS
            assert finding.message.endswith(".")


@pytest.mark.parametrize("row", LABELLED[::3], ids=[row["id"] for row in LABELLED[::3]])
def test_nfd_has_the_findings_of_nfc(row):
    apart = found_in({**row, "answer": unicodedata.normalize("NFD", row["answer"])})
    composed = [(f.check, unicodedata.normalize("NFC", f.span), f.message) for f in apart]
    assert composed == [(f.check, f.span, f.message) for f in found_in(row)]


def test_shares_of_scripts_add_up_whatever_the_form():
    text = "전세(傳貰)는 LTV와 すし, Москва ㅋㅋ ไทย 2024!"
    shares = scripts(text)
    assert shares == scripts(unicodedata.normalize("NFD", text))
    assert sum(shares.values()) == pytest.approx(1)
    assert shares["hangul"] == 6 / 22 and shares["hanja"] == 2 / 22 and shares["kana"] == 2 / 22
    assert set(scripts("2024 !").values()) == {0.0}
    assert scripts("\u1112\u1161\u11ab\u1100\u1173\u11af")["hangul"] == 1


def test_an_answer_that_is_no_string_is_refused():
    with pytest.raises(CourseError, match="NoneType, not a string"):
        check(None)


def test_what_needs_a_question_a_source_or_an_end_says_nothing_without_it():
    assert check("보증금은 77만 원입니다.") == []
    (number,) = check("보증금은 77만 원입니다.", source="보증금은 70만 원이다.")
    assert (number.check, number.span) == ("unsupported_number", "77만 원")
    assert check("보증금은 77만 원입니다.", source="보증금", question="77만 원인가요?") == []
    assert [f.check for f in check("네, 그렇습니다.", ended=False)] == ["no_end_token"]


# --- summaries and highlights ----------------------------------------------------------------


def test_a_summary_counts_answers_once_and_findings_all():
    found = [check("사람는 집를 산다."), check("집을 삽니다."), check("사람는 간다.")]
    (count,) = (c for c in summary(found) if c.check == "particle")
    assert (count.n, count.answers, count.findings, count.share) == (3, 2, 3, 2 / 3)
    counts = {c.check: c for c in summary(found, {"echo": 0, "no_end_token": 2})}
    assert list(counts) == list(CHECKS)
    assert counts["echo"].n == 0 and counts["echo"].share != counts["echo"].share
    assert counts["no_end_token"].n == 2 and counts["hanja"].n == 3
    assert set(NEEDS) <= set(CHECKS)


class Marks(HTMLParser):
    def __init__(self):
        super().__init__()
        self.text, self.tags = "", []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.text += "\n" * (tag == "br")

    def handle_data(self, data):
        self.text += data


@given(messy)
@settings(max_examples=300, deadline=None)
def test_a_highlight_in_html_is_escaped_and_shows_the_whole_answer(text):
    page = Marks()
    page.feed(highlight_html(text, check(text)))
    page.close()
    assert set(page.tags) <= {"mark", "br"}
    if text:
        assert page.text == text


def test_a_highlight_in_text_names_the_checks_behind_each_span():
    answer = "사람는 좋아요."
    assert highlight(answer, check(answer)) == "【사람는】(particle) 좋아요."
    assert highlight("", check("")) == "【】(empty)"
    assert highlight("좋아요.", []) == "좋아요."
    both = [Finding("a", 0, 4, "abcd", "."), Finding("b", 2, 6, "cdef", ".")]
    assert highlight("abcdefg", both) == "【ab】(a)【cd】(a, b)【ef】(b)g"
    assert "&lt;script&gt;" in highlight_html("<script>사람는</script>", check("<script>사람는</script>"))


# --- command line ----------------------------------------------------------------------------


def run(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "kotune", "korean", *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
    )


def test_the_command_prints_counts_and_writes_a_line_a_finding(tmp_path):
    rows = [
        {"id": "a", "answer": "사람는 집을 삽니다.", "question": "누가 집을 사는지 알려 주세요."},
        {"id": "b", "answer": "", "ended": True},
        {"answer": "값은 7원입니다.", "source": "값은 6원이다.", "ended": False},
    ]
    path = write_jsonl(tmp_path / "answers.jsonl", rows)
    done = run(path, "--out", tmp_path / "findings.jsonl")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("3 answers, 0 without findings")
    lines = read_jsonl(tmp_path / "findings.jsonl")
    assert [(line["row"], line.get("id"), line["check"], line["span"]) for line in lines] == [
        (1, "a", "particle", "사람는"), (2, "b", "empty", ""), (3, None, "no_end_token", "7원입니다."), (3, None, "unsupported_number", "7원"),
    ]  # fmt: skip
    line = next(line for line in done.stdout.splitlines() if line.startswith("no_end_token"))
    assert line.split()[1:4] == ["1", "2", "50.0%"]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"text": "가"}', "line 2, has no answer"), ('{"answer": 3}', "line 2, field answer, is int"),
        ('{"answer": "가", "ended": "yes"}', "line 2, field ended, is str; write true or false"), ('{"answer": ', "line 2, column"),
    ],
)  # fmt: skip
def test_a_bad_line_is_named_in_one_sentence(tmp_path, line, message):
    path = tmp_path / "answers.jsonl"
    path.write_text(json.dumps({"answer": "좋습니다."}) + "\n" + line + "\n", encoding="utf-8")
    done = run(path)
    assert done.returncode == 1
    assert message in done.stderr and done.stderr.startswith("error: ") and "Traceback" not in done.stderr


def test_random_good_sentences_put_together_stay_without_findings_of_their_words():
    rng = random.Random(0)
    parts = [row["answer"] for row in registry.load_rows("real_estate_train") if "\n" not in row["answer"]]
    for _ in range(100):
        answer = " ".join(rng.sample(parts, 3))
        assert not {f.check for f in check(answer)} & {"particle", "hanja", "unfinished", "mixed_speech", "banmal"}
