"""Protects: task metrics agree with counts by hand and with plain definitions, and nothing that cannot be read is dropped."""

import math
import random
import re
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dev.data.generate_radiology import applicable_kinds, generate, plant_error
from kotune.data import registry
from kotune.korean import zero_shot
from kotune.korean.radiology import Fact, facts_in
from kotune.korean.task_metrics import (
    TaskOutput,
    compare_facts,
    fact_scores,
    macro_f1,
    macro_f1_interval,
    parse_lenient,
    parse_strict,
    read_output,
    rouge_scores,
    style_table,
    zero_shot_report,
)
from kotune.korean.tasks import TASKS
from kotune.korean.zero_shot import Item
from kotune.stats import expanded_tail, wilson
from prompts import ChoiceReply
from similarity import rouge_l
from utils import DATA, CourseError, read_jsonl

EXAMPLES = read_jsonl(DATA / "recorded" / "authored_tasks.jsonl")


# --- ROUGE-L ---------------------------------------------------------------------------------


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


# --- radiology -------------------------------------------------------------------------------

REFERENCE = "1) 7 mm nodule in the RUL. 2) Small Rt. pleural effusion. 3) Cardiomegaly."


@pytest.mark.parametrize(
    ("report", "kept", "changed", "dropped", "added"),
    [
        (REFERENCE, 3, [], 0, 0),
        ("A 7 mm nodule in the LUL. Small right pleural effusion. Cardiomegaly.", 2, [("side",)], 0, 0),
        ("A 9 mm nodule in the left lower lobe. Small right pleural effusion.", 1, [("side", "site", "size_mm")], 1, 0),
        ("A 7 mm nodule in the right upper lobe. Emphysema in both upper lobes.", 1, [], 2, 1),
        ("A 7 mm ground-glass nodule in the RUL. Rt. pleural effusion. Cardiomegaly.", 2, [("finding",)], 0, 0),
        ("No active lung lesion.", 0, [], 3, 0),
        ("", 0, [], 3, 0),
    ],
)
def test_what_a_report_keeps_changes_drops_and_adds(report, kept, changed, dropped, added):
    compared = compare_facts(report, REFERENCE)
    assert (len(compared.kept), len(compared.dropped), len(compared.added)) == (kept, dropped, added)
    assert [change.fields for change in compared.changed] == changed
    assert compared.exact == (report == REFERENCE)
    assert compared.n_reference == 3


def test_of_several_of_one_finding_the_nearest_are_paired():
    compared = compare_facts(
        "A 5 mm nodule in the LLL. A 7 mm nodule in the RUL.", "A 4 mm nodule in the LLL. An 8 mm nodule in the RUL."
    )
    assert [(c.reference.site, c.report.site, c.fields) for c in compared.changed] == [
        ("lower lobe", "lower lobe", ("size_mm",)), ("upper lobe", "upper lobe", ("size_mm",)),
    ]  # fmt: skip


def test_facts_summed_over_reports_by_hand():
    # kept 1 + 0 + 1, changed 0 + 1 + 0, dropped 1 + 0 + 0, added 0 + 0 + 1
    scores = fact_scores(
        ["Cardiomegaly.", "3 mm stone in the left kidney.", "Fatty liver. Splenomegaly."],
        ["Cardiomegaly. Rt. pleural effusion.", "3 mm stone in the right kidney.", "Fatty liver."],
    )
    assert (scores.kept, scores.changed, scores.dropped, scores.added) == (2, 1, 1, 1)
    assert (scores.precision, scores.recall, scores.f1) == (2 / 4, 2 / 4, 1 / 2)
    assert scores.exact_rate == 0 and scores.n == 3 == len(scores.rows)
    assert scores.changed_fields == {"finding": 0, "side": 1, "site": 0, "size_mm": 0, "change": 0}
    nothing = fact_scores(["No lesion."], ["No change."])
    assert nothing.exact_rate == 1 and math.isnan(nothing.precision) and math.isnan(nothing.f1)


def test_shipped_reports_are_exact_and_planted_errors_are_one_difference():
    rows = registry.load_rows("radiology_test")
    whole = fact_scores([row["output"] for row in rows], [row["input"] for row in rows])
    assert whole.exact_rate == whole.f1 == 1
    rng = random.Random(0)
    named = {"side": "side", "lobe": "site", "size": "size_mm"}
    for report in generate(120, 3):
        for kind in applicable_kinds(report):
            compared = compare_facts(plant_error(report, kind, rng), report.conclusion)
            if kind == "invented_finding":
                assert (len(compared.added), len(compared.changed), len(compared.dropped)) == (1, 0, 0)
            else:
                (change,) = compared.changed
                assert change.fields == (named[kind],) and not compared.added and not compared.dropped


facts = st.builds(
    Fact,
    st.sampled_from(["nodule", "consolidation"]),
    st.sampled_from(["right", "left"]),
    st.sampled_from(["upper lobe", "lower lobe"]),
)


@given(st.sets(facts, max_size=5), st.sets(facts, max_size=5))
@settings(max_examples=100, deadline=None)
def test_every_fact_of_either_side_is_counted_once(wanted, stated):
    def written(those):
        return " ".join(f"A {f.finding} in the {f.side} {f.site}." for f in those)

    assert facts_in(written(wanted)) == wanted
    compared = compare_facts(written(stated), written(wanted))
    assert {*compared.kept, *compared.dropped, *(c.reference for c in compared.changed)} == wanted
    assert {*compared.kept, *compared.added, *(c.report for c in compared.changed)} == stated
    assert (compared.n_reference, compared.n_report) == (len(wanted), len(stated))
    swapped = compare_facts(written(wanted), written(stated))
    assert (len(swapped.added), len(swapped.dropped)) == (len(compared.dropped), len(compared.added))


# --- the 23 tasks ----------------------------------------------------------------------------


def outputs():
    for example in EXAMPLES:
        task = TASKS[example["task"]]
        given_reply = task.schema(**example["reply"])
        yield TaskOutput(task.id, example["context"], task.output(given_reply), given_reply)


def test_what_a_task_writes_is_read_back_and_keeps_to_its_task():
    for row in outputs():
        task = TASKS[row.task]
        read = read_output(row.task, row.output, row.given)
        assert read is not None and task.output(read) == row.output
    table = style_table(list(outputs()))
    assert [count.task for count in table] == list(TASKS)
    assert all((count.n, count.kept, count.unparsed, count.share, count.problems) == (4, 4, 0, 1.0, ()) for count in table)


def test_what_cannot_be_read_and_what_breaks_a_rule_is_counted_and_named():
    rows = [row for row in outputs() if row.task == "task05_01"]
    spoilt = [
        rows[0],
        replace(rows[1], output="글쎄요."),
        replace(rows[2], output=""),
        replace(rows[3], output="예\n그렇습니다."),
    ]
    (count,) = style_table(spoilt)
    assert (count.n, count.unparsed, count.kept, count.share) == (4, 2, 1, 0.25)
    assert any("does not start with" in problem for problem in count.problems)
    with pytest.raises(CourseError, match="no task 'task99'"):
        style_table([replace(rows[0], task="task99")])


def test_a_choice_may_be_named_by_its_mark():
    shown = ChoiceReply(question="어디?", choices=["서울", "부산", "대구", "광주"], answer="부산", rationale="까닭")
    assert read_output("task03_01", "- 정답: ②\n- 까닭", shown).answer == "부산"
    assert read_output("task03_02", "정답은 ‘② 부산’입니다. 까닭이 있습니다.", shown).answer == "부산"
    assert read_output("task03_02", "부산입니다.", shown) is None


@pytest.mark.parametrize("blank", ["", " ", "\u3000"])
def test_a_blank_choice_is_no_choice(blank):
    shown = ChoiceReply(question="어디?", choices=["서울", "부산", "대구", "광주"], answer="부산", rationale="까닭")
    assert read_output("task03_01", f"- 정답: {blank} \n- 까닭", shown) is None
    assert read_output("task03_02", f"정답은 ‘{blank} ’입니다. 까닭이 있습니다.", shown) is None


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
