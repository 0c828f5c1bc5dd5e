"""Protects: Korean texts have tokens, ROUGE-L is right, and the fast deduplication is the Alpaca loop exactly."""

import random
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rouge_score import rouge_scorer, scoring

import similarity
from kotune.korean.radiology import fact_scores
from kotune.korean.zero_shot import Item, zero_shot_report
from similarity import Duplicate, rouge_l, rouge_scores
from utils import CourseError

WORDS = ["전세", "월세", "보증금을", "보증금은", "언제", "받나요", "돌려", "2024", "GPT", "등기", "3.5%", "漢字", "🏠"]
SENTENCE = st.lists(st.sampled_from(WORDS), min_size=1, max_size=8).map(" ".join)
THRESHOLD = st.one_of(st.sampled_from([0.5, 2 / 3, 0.7, 0.8, 1.0]), st.floats(0.05, 1.0))


def alpaca_f1(a, b):
    """Return the F1 of stanford_alpaca's loop: rouge_score's own function on tokens."""
    return rouge_scorer._score_lcs(a, b).fmeasure


def brute_force(tokens, threshold, against=()):
    """Return (kept, [(index, twin, f1)]) by comparing every text with every kept one."""
    pool = [(-1 - i, other) for i, other in enumerate(against)]
    kept, dropped = [], []
    for i, own in enumerate(tokens):
        scored = [(alpaca_f1(own, other), twin) for twin, other in pool]
        best = max(scored, key=lambda pair: pair[0], default=(0.0, 0))
        if best[0] > threshold:
            dropped.append((i, best[1], best[0]))
        else:
            kept.append(i)
            pool.append((i, own))
    return kept, dropped


def random_texts(count, seed, most_words=9):
    generator = random.Random(seed)
    texts = []
    for _ in range(count):
        if texts and generator.random() < 0.4:
            words = generator.choice(texts).split()
            words[generator.randrange(len(words))] = generator.choice(WORDS)
        else:
            words = generator.choices(WORDS, k=generator.randint(1, most_words))
        texts.append(" ".join(words))
    return texts


# --- units ---


@pytest.mark.parametrize("unit", ["eojeol", "morpheme", "syllable", "jamo"])
@given(text=SENTENCE)
@settings(max_examples=30, deadline=None)
def test_a_korean_text_is_identical_to_itself(unit, text):
    assert similarity.rouge_l(text, text, unit) == (1.0, 1.0, 1.0)


def test_googles_tokens_make_every_korean_pair_zero_or_wrong():
    assert similarity.rouge_l("확정일자란 무엇인가요?", "확정일자란 무엇인가요?", "ascii").f1 == 0
    assert similarity.rouge_l("2024 계획을 써라", "2024 요리법 알려줘", "ascii").f1 == 1


@given(a=st.text(max_size=80), b=st.text(max_size=80))
@settings(max_examples=200, deadline=None)
def test_ascii_reproduces_rouge_score(a, b):
    expected = rouge_scorer.RougeScorer(["rougeL"]).score(b, a)["rougeL"]
    assert scoring.Score(*similarity.rouge_l(a, b, "ascii")) == expected


def test_ascii_leaves_accents_as_rouge_score_does():
    decomposed = unicodedata.normalize("NFD", "café menu")
    expected = rouge_scorer.RougeScorer(["rougeL"]).score("cafe menu", decomposed)["rougeL"]
    assert scoring.Score(*similarity.rouge_l(decomposed, "cafe menu", "ascii")) == expected


@pytest.mark.parametrize("unit", ["eojeol", "morpheme", "syllable", "jamo"])
def test_text_typed_on_macos_matches(unit):
    text = "보증금을 언제 돌려받나요?"
    assert similarity.tokenize(unicodedata.normalize("NFD", text), unit) == similarity.tokenize(text, unit)


def test_finer_units_see_more_in_common():
    one, other = "보증금을 받아요", "보증금은 받아요"
    scores = [similarity.rouge_l(one, other, unit).f1 for unit in ("eojeol", "morpheme", "syllable", "jamo")]
    assert scores == sorted(scores)
    assert similarity.tokenize("보증금을")[0] == similarity.tokenize("보증금은")[0] == "보증금"
    assert similarity.tokenize("각", "jamo") == list(unicodedata.normalize("NFD", "각"))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("금리가 3.5%에서 1,000만원으로!", ["금리가", "3.5", "에서", "1,000만원으로"]),
        ("<td>전세</td><td>2억 원</td>", ["td", "전세", "td", "td", "2억", "원", "td"]),
        ("傳貰 계약 Contract", ["傳貰", "계약", "contract"]),
        ("집 🏠 좋아요 👍", ["집", "🏠", "좋아요", "👍"]),
        ("85㎡", ["85", "㎡"]),
        ("약3.5% 제3.5조 a_b ___", ["약3.5", "제3.5조", "a", "b"]),
        ("“전세”, 월세?!", ["전세", "월세"]),
    ],
)
def test_mixed_text_yields_the_words_that_a_reader_sees(text, words):
    assert similarity.tokenize(text, "eojeol") == words
    for unit in ("morpheme", "syllable", "jamo"):
        assert similarity.tokenize(text, unit)


# --- deduplication ---


@pytest.mark.parametrize("unit", ["eojeol", "syllable", "jamo", "morpheme"])
@given(texts=st.lists(SENTENCE, min_size=1, max_size=14), against=st.lists(SENTENCE, max_size=4), threshold=THRESHOLD)
@settings(max_examples=80, deadline=None)
def test_deduplication_is_the_alpaca_loop(unit, texts, against, threshold):
    tokens = [similarity.tokenize(text, unit) for text in texts]
    others = [similarity.tokenize(text, unit) for text in against]
    kept, dropped = brute_force(tokens, threshold, others)
    result = similarity.deduplicate(texts, threshold, unit, against)
    assert result.kept == kept
    assert [(d.index, d.twin, d.f1) for d in result.dropped] == dropped


@given(texts=st.lists(st.text("ab 01", min_size=1).filter(str.strip), min_size=1, max_size=12), threshold=THRESHOLD)
@settings(max_examples=80, deadline=None)
def test_the_ascii_unit_too(texts, threshold):
    kept, _ = brute_force([similarity.tokenize(text, "ascii") for text in texts], threshold)
    assert similarity.deduplicate(texts, threshold, "ascii").kept == kept


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("most_words", [3, 12, 60])
def test_many_texts_of_any_length_too(seed, most_words):
    texts = random_texts(250, seed, most_words)
    kept, dropped = brute_force([similarity.tokenize(text, "eojeol") for text in texts], 0.7)
    result = similarity.deduplicate(texts, 0.7)
    assert result.kept == kept
    assert [(d.index, d.twin, d.f1) for d in result.dropped] == dropped
    assert dropped


def test_more_tokens_than_code_points_change_nothing(monkeypatch):
    texts = random_texts(120, seed=9)
    expected = similarity.deduplicate(texts)
    monkeypatch.setattr(similarity, "_MOST_CODE_POINTS", 3)
    assert similarity.deduplicate(texts) == expected


def test_an_f1_of_exactly_the_threshold_is_kept():
    # 7 of 10 words in common: F1 = 0.7, which is not greater than 0.7
    one = "가 나 다 라 마 바 사 아 자 차"
    other = "가 나 다 라 마 바 사 a b c"
    expected = alpaca_f1(one.split(), other.split()) > 0.7  # as rouge_score's floats have it
    assert (len(similarity.deduplicate([one, other], 0.7).dropped) == 1) == expected
    assert len(similarity.deduplicate([one, other], 0.69).dropped) == 1
    assert similarity.deduplicate([one, one], 1.0).kept == [0, 1]


def test_clusters_and_table_show_who_dropped_whom():
    texts = ["전세 계약 언제 하나요", "월세란", "전세 계약 언제 하나요!", "전세 계약 언제 하나요?"]
    result = similarity.deduplicate(texts)
    assert result.clusters() == {0: [2, 3]}
    frame = result.to_frame()
    assert frame["twin_text"].tolist() == [texts[0]] * 2
    assert frame["cluster_size"].tolist() == [3, 3]
    beforehand = similarity.deduplicate(texts[:2], against=["집", "전세 계약 언제 하나요"])
    assert beforehand.dropped == [Duplicate(0, -2, 1.0)]
    assert beforehand.to_frame()["twin_text"].tolist() == ["전세 계약 언제 하나요"]


@pytest.mark.parametrize("unit", ["eojeol", "syllable"])
def test_overlap_is_found_as_by_brute_force(unit):
    train, evaluation = random_texts(150, seed=1), random_texts(40, seed=2)
    found = similarity.find_overlap(train, evaluation, 0.7, unit)
    expected = []
    for i, text in enumerate(train):
        own = similarity.tokenize(text, unit)
        scores = [alpaca_f1(own, similarity.tokenize(other, unit)) for other in evaluation]
        if max(scores) > 0.7:
            expected.append(Duplicate(i, scores.index(max(scores)), max(scores)))
    assert found == expected
    assert expected


def test_nearest_earlier_is_the_highest_score_before():
    texts = random_texts(40, seed=3)
    tokens = [similarity.tokenize(text, "eojeol") for text in texts]
    expected = [max(alpaca_f1(tokens[i], tokens[j]) for j in range(i)) for i in range(1, len(texts))]
    assert similarity.nearest_earlier(texts) == pytest.approx(expected)


@pytest.mark.slow
@pytest.mark.parametrize(("seed", "shard_rows", "num_proc"), [(0, 7, 2), (1, 40, None), (2, 1000, None)])
def test_sharded_deduplication_gives_the_same_result(seed, shard_rows, num_proc):
    from datasets import Dataset

    texts = random_texts(90, seed)
    expected = similarity.deduplicate(texts)
    result = similarity.deduplicate_dataset(Dataset.from_dict({"q": texts}), "q", num_proc=num_proc, shard_rows=shard_rows)
    assert (result.kept, result.dropped) == (expected.kept, expected.dropped)
    assert expected.dropped


@pytest.mark.slow
def test_workers_forked_after_the_analyser_was_used_do_not_hang():
    from datasets import Dataset

    texts = random_texts(40, seed=5)
    expected = similarity.deduplicate(texts, unit="morpheme")  # starts the analyser's threads in this process
    result = similarity.deduplicate_dataset(Dataset.from_dict({"q": texts}), "q", unit="morpheme", num_proc=2, shard_rows=15)
    assert (result.kept, result.dropped) == (expected.kept, expected.dropped)


def test_a_filtered_series_is_read_by_position():
    import numpy as np
    import pandas as pd

    series = pd.Series(["가 나 다", "전세 계약 언제", "전세 계약 언제!"])[1:]
    result = similarity.deduplicate(series, np.float32(0.7))
    assert result.to_frame()["twin_text"].tolist() == ["전세 계약 언제"]


# --- highlighting ---


def test_the_shared_words_are_marked_and_the_rest_is_escaped():
    marked = similarity.highlight("<b>전세</b> 계약은 언제?", "전세 언제")
    assert marked == "&lt;b&gt;<mark>전세</mark>&lt;/b&gt; 계약은 <mark>언제</mark>?"
    assert similarity.shared_tokens("가 나 다", "나 다 라") == ["나", "다"]


# --- relevance ---


def test_ranking_finds_the_passage_whatever_the_particle():
    documents = ["재산세는 6월 1일의 소유자가 낸다.", "전입신고를 하면 대항력이 생긴다.", "청약통장을 만든다."]
    assert similarity.rank("대항력은 언제 생기나요?", documents)[0].index == 1
    assert [r.index for r in similarity.rank("xyz", documents)] == [0, 1, 2]  # ties keep the input order
    assert [r.index for r in similarity.rank("대항력", documents, threshold=0.01)] == [1]
    assert [r.score for r in similarity.rank("전세", ["!!!", "..."])] == [0, 0]


def test_equal_documents_keep_their_order_and_scores_stay_with_their_index():
    documents = ["월세를 낸다.", "전세를 얻는다.", "전세를 얻는다.", "집을 산다."]
    ranked = similarity.rank("전세", documents)
    assert [r.index for r in ranked[:2]] == [1, 2]
    assert ranked[0].score == ranked[1].score > ranked[2].score
    cut = similarity.rank("전세", documents, top_k=1, threshold=0.01)
    assert cut == ranked[:1]


@pytest.fixture
def static_model(tmp_path):
    """Return a function that saves a sentence-transformers model of word vectors under a name."""
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import StaticEmbedding
    from tokenizers import Tokenizer, models, pre_tokenizers

    def save(name):
        words = ["[UNK]", "전세", "월세", "등기", "query", "passage", ":"]
        tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="[UNK]"))
        tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
        model = SentenceTransformer(modules=[StaticEmbedding(tokenizer, embedding_weights=torch.eye(len(words)))])
        model.save(str(tmp_path / name))
        return str(tmp_path / name)

    return save


def test_embeddings_rank_by_cosine_and_e5_gets_its_prefixes(static_model):
    documents = ["월세", "전세 등기", "전세"]
    plain = similarity.rank("전세", documents, method=static_model("plain"))
    assert [r.index for r in plain] == [2, 1, 0]
    assert plain[0].score == pytest.approx(1)
    prefixed = similarity.rank("전세", documents, method=static_model("tiny-e5"))
    assert prefixed[0].index == 2
    assert prefixed[0].score == pytest.approx(2 / 3, abs=1e-5)  # "query" and "passage" differ, ":" and the word do not


def test_an_embedding_model_that_is_not_there_is_named(tmp_path):
    with pytest.raises(CourseError, match="cannot be loaded"):
        similarity.rank("전세", ["월세"], method=str(tmp_path / "nothing"))


# --- bad input ---


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: similarity.tokenize(None), r"text\[0\] is NoneType"),
        (lambda: similarity.tokenize("가", "word"), "Unknown unit 'word'"),
        (lambda: similarity.deduplicate(["가"], threshold=0), "threshold is 0"),
        (lambda: similarity.deduplicate(["가"], threshold=1.01), "threshold is 1.01"),
        (lambda: similarity.deduplicate(["가"], threshold="0.7"), "threshold is '0.7'"),
        (lambda: similarity.deduplicate(["가"], threshold=float("nan")), "threshold is nan"),
        (lambda: similarity.deduplicate(["가", None]), r"texts\[1\] is NoneType"),
        (lambda: similarity.deduplicate(["가", 3.0]), r"texts\[1\] is float"),
        (lambda: similarity.deduplicate("가나"), "texts is str"),
        (lambda: similarity.deduplicate(None), "texts is NoneType"),
        (lambda: similarity.deduplicate([]), "texts is empty"),
        (lambda: similarity.deduplicate(["가"], against="나"), "against is str"),
        (lambda: similarity.find_overlap([], ["가"]), "train is empty"),
        (lambda: similarity.find_overlap(["가"], []), "evaluation is empty"),
        (lambda: similarity.nearest_earlier([]), "texts is empty"),
        (
            lambda: similarity.deduplicate(["전세", "월세"], unit="ascii"),
            "None of the 2 texts has a token of the unit ascii",
        ),
        (lambda: similarity.deduplicate(["===="]), "None of the 1 texts"),
        (lambda: similarity.deduplicate(["가"], against=[" "]), "None of the 1 against"),
        (lambda: similarity.find_overlap(["가"], [""]), "None of the 1 evaluation"),
        (lambda: similarity.find_overlap(["가", None], ["나"]), r"train\[1\]"),
        (lambda: similarity.rank("가", []), "documents is empty"),
        (lambda: similarity.rank("가", "전세 계약"), "documents is str"),
        (lambda: similarity.rank("가", ["나"], top_k=-1), "top_k is -1"),
        (lambda: similarity.rank("가", ["나", None]), r"documents\[1\]"),
        (lambda: similarity.rank(None, ["나"]), "query"),
    ],
)
def test_bad_input_names_its_place(call, words):
    with pytest.raises(CourseError, match=words):
        call()


def test_a_bad_row_of_a_data_set_is_named():
    from datasets import Dataset

    with pytest.raises(CourseError, match=r"q\[2\] is NoneType"):
        similarity.deduplicate_dataset(Dataset.from_dict({"q": ["가", "나", None]}), "q")
    with pytest.raises(CourseError, match="No text of the column 'q' has a token"):
        similarity.deduplicate_dataset(Dataset.from_dict({"q": ["!!", "?!"]}), "q")
    with pytest.raises(CourseError, match="Unknown unit 'word'"):
        similarity.deduplicate_dataset(Dataset.from_dict({"q": ["가"]}), "q", unit="word")
    with pytest.raises(CourseError, match="no column 'r'"):
        similarity.deduplicate_dataset(Dataset.from_dict({"q": ["가"]}), "r")


@pytest.mark.parametrize("unit", ["eojeol", "morpheme", "syllable", "jamo"])
@pytest.mark.parametrize("text", ["전세 \ud83d 월세", "전세\x00\x1b[31m월세\u200b", "전\u3164세", "\u1100\u1161\u11a8"])
def test_odd_code_points_do_not_crash(unit, text):
    assert similarity.tokenize(text, unit)
    assert len(similarity.deduplicate([text, text, "전세 월세"], unit=unit).dropped) >= 1


@pytest.mark.slow
@pytest.mark.parametrize("unit", ["eojeol", "morpheme", "syllable"])
def test_a_text_of_a_megabyte_does_not_hang(unit):
    long_text = "보증금을 돌려받는 방법 " * 30_000  # 1 MB in UTF-8
    result = similarity.deduplicate([long_text, "보증금을 돌려받는 방법", "가" * 340_000], unit=unit)
    assert result.kept == [0, 1, 2]


# --- texts without words, and pairs that must not count as repeats ---


@pytest.mark.parametrize("unit", ["eojeol", "syllable"])
def test_texts_of_signs_alone_are_kept_and_named_and_change_nothing_else(unit):
    texts = random_texts(60, seed=4)
    expected = similarity.deduplicate(texts, unit=unit)
    with_signs = list(texts)
    for place in (0, 7, 20, 63):
        with_signs.insert(place, "====")
    result = similarity.deduplicate(with_signs, unit=unit)
    assert result.wordless == [0, 7, 20, 63]
    assert [with_signs[i] for i in result.kept if i not in result.wordless] == [texts[i] for i in expected.kept]
    assert [d.f1 for d in result.dropped] == [d.f1 for d in expected.dropped]
    assert similarity.nearest_earlier(["==", "!!", "가 나"]) == [0, 0]
    assert similarity.find_overlap(["==", "가 나"], ["!!", "가 나"]) == [Duplicate(1, 1, 1.0)]


@pytest.mark.slow
def test_a_data_set_with_texts_of_signs_alone_gives_the_same_result():
    from datasets import Dataset

    texts = [*random_texts(40, seed=6), "====", "----", "===="]
    expected = similarity.deduplicate(texts)
    result = similarity.deduplicate_dataset(Dataset.from_dict({"q": texts}), "q", shard_rows=9)
    assert (result.kept, result.dropped, result.wordless) == (expected.kept, expected.dropped, [40, 41, 42])


def brute_force_with(differ, texts, threshold, against=()):
    """Return (kept, dropped, spared) by comparing every text with every kept one."""
    tokens = [similarity.tokenize(text, "eojeol") for text in texts]
    pool = [(-1 - i, other) for i, other in enumerate(against)]
    kept, dropped, spared = [], [], []
    for i, own in enumerate(texts):
        scored = [
            (alpaca_f1(tokens[i], similarity.tokenize(other, "eojeol")), twin, differ(own, other)) for twin, other in pool
        ]
        near = [match for match in scored if match[0] > threshold]
        best = max((match for match in near if match[2] is None), key=lambda match: match[0], default=None)
        if best:
            dropped.append((i, best[1], best[0]))
            continue
        kept.append(i)
        pool.append((i, own))
        if near:
            f1, twin, difference = max(near, key=lambda match: match[0])
            spared.append((i, twin, f1, difference))
    return kept, dropped, spared


@given(texts=st.lists(SENTENCE, min_size=1, max_size=25), against=st.lists(SENTENCE, max_size=4), threshold=THRESHOLD)
@settings(max_examples=150, deadline=None)
def test_what_differs_is_no_repeat_and_all_else_is_decided_as_before(texts, against, threshold):
    def differ(text, other):
        return "years" if ("2024" in text) != ("2024" in other) else None

    result = similarity.deduplicate(texts, threshold, against=against, differ=differ)
    found = (
        result.kept,
        [(d.index, d.twin, d.f1) for d in result.dropped],
        [(s.index, s.twin, s.f1, s.difference) for s in result.spared],
    )
    assert found == brute_force_with(differ, texts, threshold, against)
    assert similarity.deduplicate(texts, threshold, against=against, differ=lambda *_: None) == similarity.deduplicate(
        texts, threshold, against=against
    )


def test_texts_equal_in_their_tokens_may_still_differ():
    def differ(text, other):
        return "percent" if ("%" in text) != ("%" in other) else None

    texts = ["5% 오르면 되나요", "5 오르면 되나요", "5 오르면 되나요?", "5% 오르면 되나요?"]
    result = similarity.deduplicate(texts, differ=differ)
    assert result.kept == [0, 1] and [(d.index, d.twin) for d in result.dropped] == [(2, 1), (3, 0)]
    assert result.spared_frame().iloc[0].tolist() == [1, texts[1], 0, texts[0], 1.0, "percent"]


def test_a_bad_text_of_a_data_set_is_named_by_its_row_whatever_it_says():
    from datasets import Dataset

    texts = ["전세금은 [7] 무엇인가요?", "월세는 무엇인가요?", "batch[0] !!", None]
    with pytest.raises(CourseError) as caught:
        similarity.deduplicate_dataset(Dataset.from_dict({"text": texts}), "text")
    assert str(caught.value).startswith("text[3] is NoneType")
    assert caught.value.index == 3


def test_rouge_of_a_set_is_the_mean_of_its_rows():
    pairs = [("집을 산다", "집을 샀다"), ("", "집"), ("비가 온다", "비가 온다"), ("하늘", "바다")]
    scores = rouge_scores(*zip(*pairs, strict=True))
    assert scores.rows == [rouge_l(*pair) for pair in pairs]
    assert scores.rows[1].f1 == 0 and scores.rows[2].f1 == 1
    for name in ("precision", "recall", "f1"):
        assert getattr(scores.mean, name) == pytest.approx(sum(getattr(row, name) for row in scores.rows) / 4)


def test_rows_that_do_not_match_are_refused():
    with pytest.raises(CourseError, match="1 candidates and 2 references"):
        rouge_scores(["가"], ["가", "나"])
    with pytest.raises(CourseError, match="no reports"):
        fact_scores([], [])
    with pytest.raises(CourseError, match="1 items and 0 answers"):
        zero_shot_report("nli", [Item("1", ("가",), "함의")], [])
