"""Protects: labels are read from what a model wrote, what cannot be read is counted, and macro F1 has an honest interval."""

import math
import random
import re
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kotune.korean import zero_shot
from kotune.korean.zero_shot import Item, parse_lenient, parse_strict, zero_shot_report
from kotune.stats import expanded_tail, macro_f1, macro_f1_interval, wilson
from utils import DATA, CourseError, read_jsonl

EXAMPLES = read_jsonl(DATA / "recorded" / "authored_tasks.jsonl")


# --- reading labels --------------------------------------------------------------------------

NLI = ["함의", "중립", "모순"]


@pytest.mark.parametrize(
    ("answer", "strict", "lenient"),
    [
        ("함의", "함의", "함의"), (" 함의\n", "함의", "함의"), ("함의.", None, "함의"), ("**함의**", None, "함의"), ("‘모순’", None, "모순"),
        ("정답: 모순", None, "모순"), ("답은 중립입니다.", None, "중립"), ("두 문장은 모순 관계입니다.", None, "모순"), ("중립이에요", None, "중립"),
        ("모순으로 볼 수 있습니다. 그러므로 모순입니다.", None, "모순"), ("모순이 아니라 중립입니다.", None, "중립"), ("모순이 아닙니다.", None, None),
        ("함의, 중립, 모순", None, None), ("함의 또는 중립", None, None), ("", None, None), ("잘 모르겠습니다.", None, None), ("비함의", None, None),
        ("중립국은 스위스입니다.", None, None), ("\u1112\u1161\u11b7\u110b\u1174", "함의", "함의"), ("entailment", None, None),
    ],
)  # fmt: skip
def test_labels_read_from_free_answers(answer, strict, lenient):
    assert parse_strict(answer, NLI) == strict
    assert parse_lenient(answer, NLI) == lenient


def test_labels_that_begin_one_another_and_labels_inside_words():
    labels = ["긍정", "긍정 아님", "긍정적", "같음"]
    assert parse_lenient("긍정 아님입니다.", labels) == "긍정 아님"
    assert parse_lenient("긍정적", labels) == "긍정적"
    assert parse_lenient("이 글은 긍정입니다.", labels) == "긍정"
    assert parse_lenient("부정적인 평입니다.", ["긍정", "부정"]) == "부정"
    assert parse_lenient("부정확한 평입니다.", ["긍정", "부정"]) is None
    assert parse_lenient("똑같음", labels) is None


@given(
    st.sampled_from(NLI),
    st.sampled_from(["", "은", "이", "을", "입니다", "으로", "이라고 봅니다"]),
    st.sampled_from(["", ".", "!", "\n", "*"]),
)
def test_a_label_with_a_particle_or_marks_is_read(label, ending, mark):
    assert parse_lenient(f"{mark}{label}{ending}{mark}", NLI) == label


# --- macro F1 --------------------------------------------------------------------------------


def plain_macro_f1(gold, predicted):
    """The definition, label by label."""
    scores = []
    for label in {*gold, *(p for p in predicted if p is not None)}:
        tp = sum(g == label and p == label for g, p in zip(gold, predicted, strict=True))
        fp = sum(g != label and p == label for g, p in zip(gold, predicted, strict=True))
        fn = sum(g == label and p != label for g, p in zip(gold, predicted, strict=True))
        precision = tp / (tp + fp) if tp + fp else 0
        recall = tp / (tp + fn) if tp + fn else 0
        scores.append(2 * precision * recall / (precision + recall) if precision + recall else 0)
    return sum(scores) / len(scores)


pairs = st.lists(st.tuples(st.sampled_from(NLI), st.sampled_from([*NLI, None])), min_size=1, max_size=40)


@given(pairs)
@settings(max_examples=300, deadline=None)
def test_macro_f1_is_its_definition(rows):
    gold, predicted = [g for g, _ in rows], [p for _, p in rows]
    assert macro_f1(gold, predicted) == pytest.approx(plain_macro_f1(gold, predicted))


def test_macro_f1_agrees_with_scikit_learn():
    metrics = pytest.importorskip("sklearn.metrics")
    rng = random.Random(0)
    for _ in range(50):
        gold, predicted = ([rng.choice(NLI) for _ in range(rng.randint(1, 30))] for _ in range(2))
        size = min(len(gold), len(predicted))
        ours = macro_f1(gold[:size], predicted[:size])
        assert ours == pytest.approx(metrics.f1_score(gold[:size], predicted[:size], average="macro", zero_division=0))


def test_the_interval_of_macro_f1_is_that_of_rows_drawn_one_by_one():
    rng = np.random.default_rng(0)
    gold = [str(label) for label in rng.choice(NLI, 60)]
    predicted = [g if rng.random() < 0.7 else rng.choice([*NLI, None]) for g in gold]
    draws = rng.integers(60, size=(3000, 60))
    drawn = [macro_f1([gold[i] for i in draw], [predicted[i] for i in draw]) for draw in draws]
    tail = expanded_tail(60)
    low, high = macro_f1_interval(gold, predicted)
    assert (low, high) == pytest.approx(np.quantile(drawn, [tail, 1 - tail]), abs=0.015)
    assert low < macro_f1(gold, predicted) < high


@pytest.mark.slow
@pytest.mark.parametrize("n", [40, 120])
def test_a_95_percent_interval_of_macro_f1_covers_the_truth_in_93_to_97_of_100(n):
    joint = np.array([[0.3, 0.1, 0.1], [0.1, 0.3, 0.1]])  # rows: labels; columns: what is read, nothing last
    truth = np.mean([2 * joint[i, i] / (joint[i].sum() + joint[:, i].sum()) for i in (0, 1)])
    cells = [(gold, read) for gold in "가나" for read in ("가", "나", None)]
    generator, covered, trials = np.random.default_rng(n), 0, 600
    for trial in range(trials):
        drawn = generator.choice(6, size=n, p=joint.ravel())
        low, high = macro_f1_interval(*zip(*(cells[i] for i in drawn), strict=True), seed=trial)
        covered += low <= truth <= high
    assert 0.93 <= covered / trials <= 0.975


def test_without_any_spread_the_interval_is_wilsons():
    assert macro_f1_interval(["가"] * 48, [None] * 48) == wilson(0, 48)
    assert macro_f1_interval(["가", "나"] * 9, ["가", "나"] * 9) == wilson(18, 18)
    assert macro_f1_interval([], []) == macro_f1_interval(["가"], ["가"]) == (0, 1)


# --- the labels of the public sets -----------------------------------------------------------

# a row or two of each public set as its own files write them
PUBLISHED = {
    "nli": (
        "sentence1\tsentence2\tgold_label\n"
        "글쎄, 나는 그것에 관해 생각조차 하지 않았지만, 나는 너무 좌절했고, 결국 나는 그에게 다시 이야기하게 되었다.\t"
        "나는 그와 다시 이야기하지 않았다.\tcontradiction\n",
        ["모순"],
    ),
    "question_pair": (
        "id,qid1,qid2,question1,question2,is_duplicate\n"
        "1,1,2,문 안열림,문이 안열려,0\n2,3,4,1000일 만난 여자친구와 이별,10년 연예의끝,1\n",
        ["같음", "다름"],
    ),
    "sentiment": ("id\tdocument\tlabel\n9976970\t아 더빙.. 진짜 짜증나네요 목소리\t0\n6270596\t굳 ㅋ\t1\n", ["부정", "긍정"]),
    "bias": (
        "comments\tcontain_gender_bias\tbias\thate\n"
        "알바쓰고많이만들면되지 돈욕심없으면골목식당왜나온겨 기댕기게나하고 산에가서팔어라\tFalse\tnone\thate\n",
        ["없음"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", zero_shot.SETS)
def test_known_rows_of_the_public_sets_get_the_labels_that_their_authors_meant(name, tmp_path):
    text, labels = PUBLISHED[name]
    (tmp_path / "set").write_text(text, encoding="utf-8")
    assert [item.label for item in zero_shot.read(name, tmp_path / "set")] == labels


def test_the_sample_of_question_pairs_calls_the_same_question_0():
    by_id = {item.id: item for item in zero_shot.read("question_pair")}
    assert by_id["qp-41"].texts == ("고양이가 자꾸 우는 이유", "고양이가 왜 자꾸 울어요?") and by_id["qp-41"].label == "같음"
    assert by_id["qp-13"].label == "다름"  # how long the train takes, and what it costs
    assert "바나나 오래 보관하려면 어떻게 해요,0\n" in (DATA / "zero_shot" / "kor_pair.csv").read_text(encoding="utf-8")


# --- strict, lenient, dropped ----------------------------------------------------------------


def items_of(labels):
    return [Item(str(number), ("글",), label) for number, label in enumerate(labels)]


def test_the_three_ways_by_hand_and_how_dropping_inflates():
    items = items_of(["긍정", "긍정", "긍정", "부정", "부정", "부정"])
    answers = ["긍정", "긍정", "부정입니다.", "부정", "글쎄요", "긍정과 부정"]
    report = zero_shot_report("sentiment", items, answers)
    assert (report.n, report.coverage, report.lenient_coverage) == (6, 3 / 6, 4 / 6)
    assert report.strict.macro_f1 == pytest.approx((4 / 5 + 2 / 4) / 2)  # 긍정: 2 of 3 due, 2 said; 부정: 1 of 3 due, 1 said
    assert report.lenient.macro_f1 == pytest.approx((4 / 5 + 2 / 5) / 2)  # 부정 said twice
    assert report.dropped.macro_f1 == 1.0 and report.dropped.n == 3
    assert report.inflation == pytest.approx(1 - report.strict.macro_f1)
    assert [report.strict.accuracy, report.lenient.accuracy, report.dropped.accuracy] == [3 / 6, 3 / 6, 1.0]
    assert [row.answer for row in report.rows] == answers
    assert report.row()["n dropped"] == 3
    assert report.row()["low"] < report.row()["strict"] < report.row()["high"]


def test_the_columns_of_the_table_are_korean_in_the_korean_edition(monkeypatch):
    """`ko/text/evaluation.md` asks for these by name."""
    report = zero_shot_report("sentiment", items_of(["긍정", "부정"]), ["긍정", "글쎄요"])
    english = report.row()
    monkeypatch.setenv("KOTUNE_LANG", "ko")
    korean = report.row()
    assert [*korean.values()] == [*english.values()]
    assert {"n", "읽힌 비율", "엄격", "하한", "상한"} <= set(korean)
    assert {name for name in korean if name.isascii()} == {"n"}


def test_constant_answers_and_answers_without_a_label():
    items = zero_shot.read("sentiment")
    constant = zero_shot_report("sentiment", items, ["긍정"] * len(items))
    assert constant.coverage == 1 and constant.inflation == 0
    assert constant.strict.macro_f1 == pytest.approx((2 * 0.5 / 1.5 + 0) / 2)
    assert constant.strict.accuracy == 0.5
    nothing = zero_shot_report("sentiment", items, ["모르겠습니다"] * len(items))
    assert (nothing.coverage, nothing.strict.macro_f1, nothing.dropped.n) == (0, 0, 0)
    assert math.isnan(nothing.dropped.macro_f1) and math.isnan(nothing.inflation)
    with pytest.raises(CourseError, match="no zero-shot set 'nsmc'"):
        zero_shot_report("nsmc", items, ["긍정"] * len(items))
    assert zero_shot_report("mine", items, ["긍정"] * len(items), {"0": "부정", "1": "긍정"}).n == len(items)


@pytest.mark.slow
@given(
    st.lists(
        st.tuples(st.sampled_from(["긍정", "부정"]), st.sampled_from(["긍정", "부정", "긍정입니다.", "", "둘 다"])),
        min_size=1,
        max_size=30,
    )
)
@settings(max_examples=200, deadline=None)
def test_lenient_reads_all_that_strict_reads_and_dropping_never_lowers_accuracy(rows):
    report = zero_shot_report("sentiment", items_of([gold for gold, _ in rows]), [answer for _, answer in rows])
    assert all(row.lenient == row.strict for row in report.rows if row.strict)
    assert report.lenient_coverage >= report.coverage
    assert report.lenient.accuracy >= report.strict.accuracy
    if report.dropped.n:
        assert report.dropped.accuracy >= report.strict.accuracy


# --- what a model sees -----------------------------------------------------------------------


@pytest.mark.parametrize("name", zero_shot.SETS)
def test_a_model_sees_the_task_its_texts_and_every_label_and_not_the_answer(name):
    chosen = zero_shot.SETS[name]
    labels = list(chosen.labels.values())
    for item in zero_shot.read(name):
        (message,) = zero_shot.messages(name, item)
        assert message["role"] == "user"
        text = message["content"]
        assert all(own in text for own in item.texts)
        assert text.endswith("쓰세요: " + ", ".join(labels))
        assert zero_shot.messages(name, replace(item, label=labels[0])) == [message]
        for heading, own in zip(chosen.headings, item.texts, strict=True):
            assert f"{heading}: {own}\n" in text
        for label in labels:
            assert re.search(rf"{label}(?:[,이입]|$)", chosen.task)
    with pytest.raises(CourseError, match="no zero-shot set"):
        zero_shot.messages("nsmc", Item("1", ("가",), "긍정"))


@pytest.mark.parametrize("name", zero_shot.SETS)
def test_every_label_can_be_read_back_and_the_list_of_labels_names_none(name):
    labels = list(zero_shot.SETS[name].labels.values())
    for label in labels:
        assert parse_strict(label, labels) == parse_lenient(f"정답은 {label}입니다.", labels) == label
    assert parse_lenient(", ".join(labels), labels) is None
