"""Protects: no file, conversation, reply or text, however odd, is more than one sentence for readers, renderer, parsers, similarity."""

import contextlib
import io
import json
from collections import Counter

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

import similarity
from kotune import overrides
from kotune.data import pii, readers, registry
from kotune.judging import judges
from kotune.korean import (
    abstention,
    checks,
    contrasts,
    grounding,
    listing_rules,
    listings,
    numbers,
    particles,
    radiology,
    radiology_form,
    sentences,
    speech_levels,
    task_styles,
    tasks,
    zero_shot,
)
from kotune.models.chat_template import end_of_turn_id, render
from kotune.teacher import reasoning, refusals, replies
from prompts import SEED_WORDS, ListingRecord
from tests.drills.drill import FULL, SIZE, drill
from tests.support.malformed import READ, REFUSED
from tests.support.tiny_families import GEMMA_SPECIAL, LLAMA_3_SPECIAL, gemma_tokenizer, llama_2_tokenizer, llama_3_tokenizer
from utils import ROOT, CourseError


def try_cases(kind, strategy, check):
    """Put so many cases to a check; the short form takes the same ones each time, so that no run differs from the last."""
    with drill(kind) as tally:

        @settings(
            max_examples=SIZE.cases, deadline=None, database=None, derandomize=SIZE is not FULL,
            suppress_health_check=list(HealthCheck), phases=[Phase.generate, Phase.shrink],
        )  # fmt: skip
        @given(strategy)
        def one(case):
            tally.tried += 1
            check(case)

        one()


def sentence_of(function, *arguments):
    """Return what a function returns, or None where it refuses with one sentence."""
    try:
        return function(*arguments)
    except CourseError as error:
        assert str(error) and "\n" not in str(error)
        return None


LETTERS = st.characters(min_codepoint=0xAC00, max_codepoint=0xD7A3)
ODD = "가나다 \n\r\t\"',;:=+-.?!()[]{}<>#@~%&*/\\\u2028\u0085\ufeff\u200b\u3164\u1100\u1161\x00\x1b漢あЯ😀①㎡½０９0123456789abcXYZ"
texts = st.one_of(
    st.text(alphabet=st.one_of(LETTERS, st.sampled_from(ODD)), max_size=60),
    st.text(max_size=40),
    st.lists(
        st.sampled_from(
            ["전세", "보증금 3억 5천만 원", "2024-03-01", "제3조의2", "전용 84.5㎡", "010-1234-5678", "900101-1234567", "30일", "습니다.",
             "해요", "아니라", "간 정상.", "1.5 cm", "중립", "<think>", "</think>", "```json\n", "\n```", '{"a": 1}', "- ", "1. ", "“", "”",
             "\ud83d", "e\u0301", "\u1112\u1161\u11ab", "https://a.kr/?q=1", "a@b.kr", "(주)한국", "약 절반", "두 달", "∙", "NaN", "null"]
        ),
        max_size=12,
    ).map(" ".join),
)  # fmt: skip


# --- readers ---------------------------------------------------------------------------------

SMALL = 20_000  # bytes; larger files of the corpus are there for their size
FILES = [(case.name, case.content) for case in [*REFUSED, *READ]] + [
    (path.name, path.read_bytes()) for path in sorted((ROOT / "tests" / "corpus").iterdir())
]
SUFFIXES = sorted(readers.READERS)
FILES = [(name, content) for name, content in FILES if len(content) <= SMALL and f".{name.rpartition('.')[2]}" in SUFFIXES]
PIECES = [
    b'"', b"'", b"\n", b"\r", b"\x00", b",", b"\t", b";", b"{", b"}", b"[", b"]", b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff", b"NaN", b"null",
    b"-", b"1e999", b"\\ud83d", b"\\u0000", b"\xed\xa0\xbd", "전세".encode(), "전세".encode("cp949"), "전세".encode("utf-16"), b"id", b"sep=",
    b"\x1f\x8b", b"PK\x03\x04", b'{"question": "q", "answer": "a"}', b"=1+1", b"\xe2\x80\xa8", b"\x85", b"\x1a",
]  # fmt: skip


@st.composite
def damaged_files(draw):
    """A file of some kind, with a few bytes changed, cut, repeated or put in, and now and then under the name of another."""
    name, content = draw(st.sampled_from(FILES))
    for _ in range(draw(st.integers(0, 4))):
        place = draw(st.integers(0, len(content)))
        change = draw(st.sampled_from(("change", "cut", "repeat", "put in", "end")))
        rest = draw(st.integers(1, 40))
        if change == "change" and place < len(content):
            content = content[:place] + bytes([draw(st.integers(0, 255))]) + content[place + 1 :]
        elif change == "cut":
            content = content[:place] + content[place + rest :]
        elif change == "repeat":
            content = content[:place] + content[place : place + rest] * 2 + content[place + rest :]
        elif change == "put in":
            content = content[:place] + draw(st.sampled_from(PIECES)) + content[place:]
        else:
            content = content[:place]
    suffix = f".{name.rpartition('.')[2]}"
    if draw(st.integers(0, 9)) == 0:
        suffix = draw(st.sampled_from(SUFFIXES))
    return f"file{suffix}", content


def test_readers(tmp_path):
    def check(case):
        name, content = case
        path = tmp_path / name
        path.write_bytes(content)
        with contextlib.redirect_stdout(io.StringIO()):
            loaded = sentence_of(registry.load, path)
            report = sentence_of(registry.check, str(path), None, [])
        path.unlink()
        assert loaded is None or loaded
        if report is not None and loaded is None:
            assert report.errors, "what is refused when it is loaded passes the check"

    try_cases("hypothesis: readers", damaged_files(), check)


# --- renderer --------------------------------------------------------------------------------

MARKS = [*GEMMA_SPECIAL, *LLAMA_3_SPECIAL, "<s>", "</s>", "### 입력:", "### 출력:", "[INST]", "\n\n", "model\n", "assistant"]
contents_of_turns = st.one_of(texts, st.lists(st.one_of(st.sampled_from(MARKS), texts), max_size=5).map("".join))


@st.composite
def conversations(draw):
    """Turns, mostly in an order that there can be, and mostly with an answer."""
    turns = [{"role": "system", "content": draw(contents_of_turns)}] if draw(st.booleans()) else []
    for _ in range(draw(st.integers(0, 2))):
        turns += [{"role": role, "content": draw(contents_of_turns)} for role in ("user", "assistant")]
    turns.append({"role": "user", "content": draw(contents_of_turns)})
    if draw(st.integers(0, 9)) == 0:
        turns = draw(st.permutations(turns))
    answer = draw(st.one_of(st.none(), contents_of_turns))
    return turns, None if answer is None else [{"role": "assistant", "content": answer}]


@pytest.mark.parametrize("family", [gemma_tokenizer, llama_2_tokenizer, llama_3_tokenizer])
def test_renderer(family):
    tokenizer = family()
    marks = set(tokenizer.all_special_ids) | {end_of_turn_id(tokenizer)}

    def marks_in(prompt, completion):
        return Counter(token for token in render(tokenizer, prompt, completion).ids if token in marks)

    def check(case):
        prompt, completion = case
        rendered = sentence_of(render, tokenizer, prompt, completion)
        if rendered is None:
            return
        ids, mask = rendered
        learnt = sum(mask)
        assert len(ids) == len(mask) and mask == [0] * (len(ids) - learnt) + [1] * learnt
        assert ids[: len(ids) - learnt] == render(tokenizer, prompt).ids
        assert (learnt > 0) == (completion is not None)
        if completion:
            assert ids[-1] == end_of_turn_id(tokenizer)
        plain = [[{**turn, "content": "가"} for turn in turns] for turns in (prompt, completion or [])]
        assert marks_in(prompt, completion) == marks_in(plain[0], plain[1] or None), "a text became a turn"

    try_cases(f"hypothesis: renderer, {family.__name__.removesuffix('_tokenizer')}", conversations(), check)


# --- parsers ---------------------------------------------------------------------------------

LISTING = ListingRecord(**dict.fromkeys(listings.FIELDS))
LABELS = ("긍정", "부정", "중립")
OF_A_TEXT = {
    "a listing's record": listings.parse_record,
    "a listing's reply": lambda text: listings.check_reply(text, LISTING),
    "a listing by rules": listing_rules.listing_by_rules,
    "an amount": listing_rules.amount_of,
    "numbers": numbers.quantities,
    "facts of a report": radiology.facts_in,
    "two reports": lambda text: radiology.compare_facts(text, text[::-1]),
    "the form of a report": lambda text: radiology_form.report_form(text, text[:20], True),
    "particles": lambda text: list(particles.particle_errors(text)),
    "speech levels": speech_levels.is_polite,
    "sentences": sentences.split_sentences,
    "checks": lambda text: checks.check(text, question=text[:20], source=text[20:], ended=False),
    "contrasts": lambda text: contrasts.difference(text, text[::-1]),
    "grounding": lambda text: (grounding.unsupported_numbers(text, text[::2]), grounding.quotations(text, text)),
    "abstention": abstention.abstains,
    "a label": lambda text: (zero_shot.parse_strict(text, LABELS), zero_shot.parse_lenient(text, LABELS)),
    "a task's output": lambda text: [task_styles.read_output(task, text, None) for task in tasks.TASKS],
    "bullets": lambda text: list(task_styles.bullet_problems(text)),
    "reasoning": reasoning.without_reasoning,
    "a refusal": lambda text: refusals.words_of(refusals.parsed_body(text)),
    "a judge's marks": judges.without_marks,
    "personal data": pii.redact,
}
values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), texts),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(
            st.sampled_from(["choices", "message", "content", "refusal", "finish_reason", "usage", "prompt_tokens", "completion_tokens",
                             "prompt_tokens_details", "cached_tokens", "error", "code", "detail", "msg", "loc", "type", "text", "model"]),
            inner, max_size=4,
        ),
    ),
    max_leaves=12,
)  # fmt: skip


def test_parsers():
    def check(text):
        for name, read in OF_A_TEXT.items():
            try:
                sentence_of(read, text)
            except Exception as error:
                raise AssertionError(f"{name}: {error!r}") from error
        for finding in checks.check(text):
            assert 0 <= finding.start <= finding.end <= len(text)
        for find in pii.find(text):
            assert 0 <= find.start < find.end <= len(text)

    try_cases("hypothesis: parsers of texts", texts, check)


def test_parsers_of_what_a_server_sends():
    def check(value):
        for body in (value, {"choices": [{"index": 0, "finish_reason": "stop", "message": value}]}, {"error": value}):
            for schema in (None, SEED_WORDS.schema):
                outcome = replies.read_completion(body, schema)
                assert outcome.failure is None or outcome.error
            refusals.words_of(body)
        if isinstance(value, str):
            replies.read_completion(
                {"choices": [{"finish_reason": "stop", "message": {"content": value}}]}, SEED_WORDS.schema
            )

    try_cases("hypothesis: parsers of replies", values, check)


def test_settings_of_a_file(tmp_path):
    def check(case):
        suffix, value = case
        path = tmp_path / f"run{suffix}"
        path.write_bytes(value if isinstance(value, bytes) else json.dumps(value).encode())
        with contextlib.redirect_stdout(io.StringIO()):
            sentence_of(overrides.read_config, path)

    names = st.sampled_from([*overrides.RUN_ARGUMENTS, *overrides.SPELLINGS, *overrides.SWITCHES, *overrides.FIELDS, "x"])
    mappings = st.dictionaries(names, values, max_size=4)
    lines = st.lists(st.tuples(names, texts), max_size=4).map(
        lambda pairs: "\n".join(f"{name}: {text}" for name, text in pairs).encode("utf-8", "surrogatepass")
    )
    kinds = st.sampled_from([".yaml", ".json"])
    try_cases(
        "hypothesis: a run's file", st.tuples(kinds, st.one_of(mappings, values, lines, st.binary(max_size=40))), check
    )


# --- similarity ------------------------------------------------------------------------------


@pytest.mark.parametrize("unit", ["eojeol", "syllable", "jamo", "ascii"])
def test_similarity(unit):
    def check(case):
        some, threshold = case
        found = sentence_of(similarity.deduplicate, some, threshold, unit)
        if found is None:
            return
        gone = [one.index for one in found.dropped]
        assert sorted([*found.kept, *gone]) == list(range(len(some))), "a text was dropped in silence"
        for one in found.dropped:
            assert (one.twin in found.kept and threshold < one.f1 <= 1) or one.f1 == threshold == 1
            assert similarity.rouge_l(some[one.index], some[one.twin], unit).f1 == pytest.approx(one.f1)
        first, last = some[0], some[-1]
        there, back = similarity.rouge_l(first, last, unit), similarity.rouge_l(last, first, unit)
        assert 0 <= there.f1 <= 1 and there.f1 == pytest.approx(back.f1)

    cases = st.tuples(st.lists(texts, min_size=1, max_size=8), st.sampled_from([0.1, 0.5, 0.7, 0.99, 1.0]))
    try_cases(f"hypothesis: similarity, {unit}", cases, check)
