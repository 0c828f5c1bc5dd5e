"""Protects: the judge of form sees form and no content, and the shipped pairs cannot be solved by it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kotune.data import registry
from kotune.models import surface_baseline
from kotune.models.surface_baseline import cross_validate, features, fit_surface_baseline, surface_accuracy

HELD_OUT = 60  # pairs, as dpo.ipynb keeps them back
CONTENT = {"wrong_fact", "off_topic"}
FACTS = [f"전입신고는 이사한 날부터 {days}일 안에 해야 합니다." for days in range(10, 50)]


def pair(chosen, rejected, kind="all"):
    return {
        "chosen": [{"role": "assistant", "content": chosen}],
        "rejected": [{"role": "assistant", "content": rejected}],
        "kind": kind,
    }


def turned(record):
    return {**record, "chosen": record["rejected"], "rejected": record["chosen"]}


@pytest.fixture(scope="module")
def shipped():
    return registry.load("real_estate_preference")


@pytest.mark.parametrize(
    "spoil",
    [
        lambda text: text.replace("해야 합니다", "해"),
        lambda text: text[:-4],
        lambda text: text.replace("안에", "以内에"),
        lambda text: text.replace("안에", "within으로"),
        lambda text: f"좋은 질문입니다. {text} 다시 말해 기한을 지키셔야 합니다. 도움이 되셨기를 바랍니다.",
        lambda text: f"- {text}\n- 이상입니다.",
    ],
)
def test_each_fault_of_form_is_learnt(spoil):
    pairs = [pair(text, spoil(text)) for text in FACTS]
    assert surface_accuracy(pairs[::2], pairs[1::2]).accuracy == 1


def test_what_differs_in_content_alone_is_a_coin():
    pairs = [pair(text, other) for text, other in zip(FACTS, reversed(FACTS), strict=True)]
    found = surface_accuracy(pairs[::2], pairs[1::2])
    assert (found.accuracy, found.cross_validated) == (0.5, 0.5)
    low, high = found.interval
    assert low < 0.5 < high


@given(st.lists(st.tuples(st.text(max_size=40), st.text(max_size=40)), min_size=1, max_size=12))
def test_a_pair_the_other_way_round_gets_the_other_verdict(texts):
    pairs = [pair(*both) for both in texts]
    judge = fit_surface_baseline(pairs)
    assert [1 - point for point in judge.points(pairs)] == judge.points([turned(one) for one in pairs])
    assert judge.points([pair(text, text) for text, _ in texts]) == [0.5] * len(texts)


def test_no_word_of_an_answer_counts():
    assert features("임대인은 보증금을 돌려주어야 합니다.") == features("세입자는 수리비를 부담하여야 합니다.")


def test_pairs_of_the_same_two_answers_are_judged_by_a_fit_to_others(monkeypatch):
    pairs = [one for text in FACTS[:20] for one in (pair(text, text + "요"), pair(text + "요", text))]
    fitted_to = []
    fit = fit_surface_baseline
    monkeypatch.setattr(surface_baseline, "fit_surface_baseline", lambda records: fitted_to.append(records) or fit(records))
    cross_validate(pairs)
    for records in fitted_to:
        texts = [record["chosen"][0]["content"] for record in records]
        assert all((text + "요" in texts) == (text in texts) for text in FACTS[:20])
    assert cross_validate(pairs[:2]) == [0.5, 0.5]


def test_accuracy_is_told_by_kind_with_its_interval(shipped):
    found = surface_accuracy(shipped[:-HELD_OUT], shipped[-HELD_OUT:])
    assert (found.pairs, found.fitted_pairs) == (HELD_OUT, len(shipped) - HELD_OUT)
    assert sum(n for n, _ in found.by_kind.values()) == HELD_OUT
    assert sum(n * accuracy for n, accuracy in found.by_kind.values()) == pytest.approx(HELD_OUT * found.accuracy)
    assert 0 < found.interval[0] < found.accuracy < found.interval[1] < 1


@pytest.mark.slow
def test_form_alone_does_not_solve_the_shipped_pairs(shipped):
    held_out = surface_accuracy(shipped[:-HELD_OUT], shipped[-HELD_OUT:])
    assert held_out.accuracy <= 0.65
    assert held_out.cross_validated <= 0.65
    points = cross_validate(shipped)
    assert sum(points) <= 0.65 * len(shipped)
    content = [point for point, record in zip(points, shipped, strict=True) if record["kind"] in CONTENT]
    form = [point for point, record in zip(points, shipped, strict=True) if record["kind"] not in CONTENT]
    assert sum(content) <= 0.56 * len(content)
    assert sum(form) >= 0.9 * len(form)  # a judge that missed these would prove nothing by missing the others
