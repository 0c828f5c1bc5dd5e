"""Protects: token counts near the real encoding's, prices as the table has them, a budget that adds up."""

import re
import time
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kotune.teacher import costs
from kotune.teacher.costs import Budget, CostEstimate, Price, Usage
from kotune.teacher.recording import read_recording


def test_the_approximation_is_near_the_counts_of_the_real_encoding():
    """The recording's completions were counted with o200k_base; one text may be off, their sum hardly."""
    rows = [row for row in read_recording().values() if row["usage"]]
    assert len(rows) > 500
    real = [row["usage"]["completion_tokens"] for row in rows]
    near = [costs.approximate_tokens(row["content"]) for row in rows]
    assert sum(near) == pytest.approx(sum(real), rel=0.05)
    errors = sorted(abs(a - b) / b for a, b in zip(near, real, strict=True))
    assert errors[int(0.95 * len(errors))] < 0.2


@pytest.mark.parametrize(
    ("text", "o200k"),
    [  # counted with tiktoken's o200k_base
        ("확정일자는 어디에서 받나요?", 9),
        ("The tenant should register the move within fourteen days.", 10),
        ("2024년 기준 1,000만 원의 2.5%입니다.", 18),
        ("", 0),
    ],
)
def test_single_texts(text, o200k):
    assert costs.approximate_tokens(text) == pytest.approx(o200k, abs=max(2, 0.25 * o200k))


@pytest.mark.slow
@given(st.text())
def test_any_text_can_be_counted(text):
    assert costs.approximate_tokens(text) >= 0


def test_without_its_file_tiktoken_is_not_asked_to_fetch_it(monkeypatch, tmp_path):
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(tmp_path))
    counter = costs.token_counter("gpt-4o-mini", may_download=False)
    assert "approximation" in counter.method
    messages = [{"role": "system", "content": "규칙"}, {"role": "user", "content": "질문"}]
    parts = sum(counter.count(m["content"]) for m in messages)
    assert counter.messages(messages) == parts + 2 * costs.TOKENS_PER_MESSAGE + costs.TOKENS_PER_REPLY
    assert counter.messages(messages, schema_text='{"type": "object"}') > counter.messages(messages)


@pytest.mark.parametrize(
    "fetch",
    [
        lambda name: time.sleep(60),
        lambda name: (_ for _ in ()).throw(ConnectionError("no route")),
        lambda name: (_ for _ in ()).throw(ValueError("Hash mismatch: a page of a proxy came in its place")),
    ],
    ids=["stalls", "fails", "is something else"],
)
def test_a_file_that_cannot_be_fetched_in_time_is_done_without(fetch, monkeypatch, tmp_path):
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(costs, "FETCH_S", 0.2)
    monkeypatch.setattr("tiktoken.get_encoding", fetch)
    costs._encoding.cache_clear()
    assert "approximation" in costs.token_counter("gpt-4o-mini", may_download=True).method
    costs._encoding.cache_clear()


@pytest.mark.parametrize("name", ["gpt-4o-mini", "gpt-4o-mini-2024-07-18", "openai/gpt-4o-mini"])
def test_a_dated_snapshot_costs_what_its_model_costs(name):
    assert costs.price_of(name) == Price(0.15, 0.60, 0.075)


def test_an_unknown_model_has_no_price():
    assert costs.price_of("gpt-4o-mini-tuned-by-me") is None


def test_cached_prompt_tokens_cost_less():
    price = Price(input=1.0, output=2.0, cached_input=0.5)
    assert price.usd(Usage(1_000_000, 0, cached_tokens=400_000)) == pytest.approx(0.6 + 0.2)


def test_more_cached_tokens_than_there_were_cost_nothing_below_zero():
    price = Price(input=1.0, output=2.0, cached_input=0.5)
    assert price.usd(Usage(400_000, 0, cached_tokens=1_000_000)) == pytest.approx(0.2)


@pytest.mark.parametrize("limit, usd", [(float("nan"), 0.1), (1.0, float("nan"))])
def test_what_is_no_number_is_not_spent(limit, usd):
    assert not Budget(limit).reserve(usd)


def test_the_table_says_its_date_and_source():
    table = costs.price_table()
    assert table["as_of"]
    assert "openai.com" in table["source"]


@given(st.lists(st.tuples(st.floats(0.001, 0.2), st.floats(0, 1)), max_size=60))
def test_a_budget_is_never_passed_whatever_the_order(requests):
    budget, flying = Budget(1.0), []
    for highest, share in requests:
        if budget.reserve(highest):
            flying.append((highest, highest * share))
        if len(flying) > 3:
            budget.settle(*flying.pop(0))
        assert budget.spent_usd + budget.reserved_usd <= 1.0 + 1e-9
    for entry in flying:
        budget.settle(*entry)
    assert budget.reserved_usd == 0
    assert budget.spent_usd <= 1.0 + 1e-9


EXPECTED = CostEstimate("gpt-4o-mini", 1018, 7, 6736, 13500, 36864, 0.0091, 0.0231, 0.42, "counted")


@pytest.mark.parametrize(
    ("estimate", "line"),
    [
        (EXPECTED, "USD 0.0091 likely, 0.0231 at most; about 0.4 minutes"),
        (replace(EXPECTED, minutes=None), "USD 0.0091 likely, 0.0231 at most; within a day"),
        (
            replace(EXPECTED, usd_low=None, usd_high=None),
            "unpriced (set TEACHER_PRICE to its USD per million tokens in and out); about 0.4 minutes",
        ),
    ],
)
def test_an_estimate_has_the_same_figures_in_the_language_of_its_edition(monkeypatch, estimate, line):
    english = str(estimate)
    assert english.splitlines() == [
        "1,018 requests to gpt-4o-mini, 7 more are in the journal already",
        "6,736 prompt tokens, 13,500 completion tokens likely, 36,864 at most",
        line,
        "(counted)",
    ]
    monkeypatch.setenv("KOTUNE_LANG", "ko")
    korean = str(estimate)
    figures = [[sorted(re.findall(r"\d[\d.,]*\d|\d", part)) for part in text.splitlines()] for text in (english, korean)]
    assert figures[0] == figures[1]
    assert not re.search("[A-Za-z]{2,} [A-Za-z]{2,}", korean)
    assert korean.splitlines()[0] == "gpt-4o-mini에 보낼 요청 1,018건, 저널에 이미 있는 응답 7건"


def test_the_counter_says_how_it_counts_in_the_language_of_the_edition(monkeypatch, tmp_path):
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(tmp_path))
    monkeypatch.setenv("KOTUNE_LANG", "ko")
    assert costs.token_counter("gpt-4o-mini", may_download=False).method == "한국어 글에 맞춘 어림셈(오차 약 10%)"
