"""Protects: there and back again is the identity wherever a format can hold the content, and a named loss elsewhere."""

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kotune.data import registry
from kotune.data.records import as_seen, is_blank
from kotune.data.writers import TARGETS, write
from utils import CourseError

FILES = {
    "sft": "a.jsonl", "dpo": "a.jsonl", "rw": "a.json", "pt": "a.txt", "messages": "a.jsonl", "sharegpt": "a.json",
    "qa": "a.jsonl", "task": "a.jsonl", "csv": "a.csv", "parquet": "a.parquet", "xlsx": "a.xlsx", "seed_word": "a.jsonl",
}  # fmt: skip
# any text that is not blank, Korean more often than not, with what breaks files: quotes, line ends, marks, signs
texts = st.one_of(
    st.text(min_size=1, max_size=30),
    st.text(alphabet="가나다 \n\r\t\"',=+-@\\{}[]<>&\u2028\ufeff\x00전세😀", min_size=1, max_size=20),
    st.sampled_from(["전세란?", "=1+1", "NA", "첫째\n둘째", "없음"]),
).filter(lambda text: not is_blank(text))
names = st.text(alphabet="abcdef가나다-0123456789", min_size=1, max_size=8)


@st.composite
def prompts(draw):
    turns = [{"role": "system", "content": draw(texts)}] if draw(st.booleans()) else []
    for _ in range(draw(st.integers(0, 2))):
        turns += [{"role": "user", "content": draw(texts)}, {"role": "assistant", "content": draw(texts)}]
    return [*turns, {"role": "user", "content": draw(texts)}]


def reply(content):
    return [{"role": "assistant", "content": content}]


@st.composite
def supervised(draw):
    record = {"prompt": draw(prompts()), "completion": reply(draw(texts)), "source": draw(st.one_of(st.just(""), names))}
    return record | ({"task": draw(names)} if draw(st.booleans()) else {})


@st.composite
def preference(draw):
    chosen, rejected = draw(st.lists(texts, min_size=2, max_size=2, unique_by=as_seen))
    record = {"prompt": draw(prompts()), "chosen": reply(chosen), "rejected": reply(rejected)}
    return record | {"source": draw(names)} | ({"kind": draw(names)} if draw(st.booleans()) else {})


def numbered(records):
    return [{"id": f"r{i}", **record} for i, record in enumerate(records)]


def there_and_back(records, target, folder):
    path = folder / FILES[target]
    losses = write(records, path, target)
    return losses, registry.load(path)


relaxed = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def in_order(record):
    """Return a record without empty optional fields, so that two can be compared."""
    return {field: value for field, value in sorted(record.items()) if value not in ("", None)}


@pytest.mark.slow
@pytest.mark.parametrize("target", ["sft", "messages", "sharegpt", "qa", "task", "csv", "parquet", "xlsx"])
@relaxed
@given(records=st.lists(supervised(), min_size=1, max_size=4).map(numbered))
def test_supervised_records(tmp_path_factory, target, records):
    folder = tmp_path_factory.mktemp("trip")
    try:
        losses, again = there_and_back(records, target, folder)
    except CourseError as error:  # every record was left out: a file without rows is refused
        assert "holds no rows" in str(error)
        again, losses = [], None
    left_out = folder / f"{FILES[target]}.left_out.jsonl"
    kept_aside = [json.loads(line) for line in left_out.open(encoding="utf-8", newline="\n")] if left_out.exists() else []
    assert [r["id"] for r in records] == sorted([r["id"] for r in again] + [r["id"] for r in kept_aside])
    by_id = {r["id"]: r for r in again}
    named = {loss.id for loss in losses or []}
    cleaned = any("control characters" in loss.what for loss in losses or [])
    for record in records:
        if record["id"] in by_id and record["id"] not in named and not cleaned:
            assert in_order(by_id[record["id"]]) == in_order(record)
    assert all(record in records for record in kept_aside)


@pytest.mark.parametrize("target", ["dpo", "rw"])
@relaxed
@given(records=st.lists(preference(), min_size=1, max_size=4).map(numbered))
def test_preference_records(tmp_path_factory, target, records):
    losses, again = there_and_back(records, target, tmp_path_factory.mktemp("trip"))
    assert losses == []
    assert [in_order(r) for r in again] == [in_order(r) for r in records]


@relaxed
@given(records=st.lists(texts.map(lambda text: {"text": text}), min_size=1, max_size=5))
def test_pre_training_text(tmp_path_factory, records):
    try:
        losses, again = there_and_back(records, "pt", tmp_path_factory.mktemp("trip"))
    except CourseError as error:
        assert "holds no rows" in str(error)
        assert all("\x00" in record["text"] or not record["text"].strip("\ufeff \r\n") for record in records)
        return
    named = {int(loss.id) - 1 for loss in losses}
    left_out = {int(loss.id) - 1 for loss in losses if loss.what.startswith("left out")}
    kept = [number for number in range(len(records)) if number not in left_out]
    assert len(again) == len(kept)
    for number, record in zip(kept, again, strict=True):
        assert record == records[number] or number in named


def test_what_excel_cannot_hold_is_named(tmp_path, capsys):
    system = [{"role": "system", "content": "공손히"}, {"role": "user", "content": "질문"}]
    long = [{"role": "user", "content": "가"}, *reply("나"), {"role": "user", "content": "다"}]
    records = numbered(
        [
            {"prompt": system, "completion": reply("답"), "source": "문서", "task": "t"},
            {"prompt": long, "completion": reply("답")},
        ]
    )
    losses, again = there_and_back(records, "xlsx", tmp_path)
    said = " / ".join(loss.what for loss in losses)
    assert "source" in said and "task" in said and "system role" in said and "left out: xlsx holds no earlier turns" in said
    assert again[0]["prompt"] == [{"role": "user", "content": "공손히\n\n질문"}]
    assert "left_out.jsonl" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("record", "target", "words"),
    [
        (
            {"id": "a", "prompt": [], "chosen": reply("가"), "rejected": reply("나")},
            "sft",
            "for dpo, which sft does not hold",
        ),
        ({"id": "a", "prompt": [], "completion": reply("가")}, "dpo", "for sft, which dpo does not hold"),
        ({"text": "글"}, "xlsx", "convert it to pt"),
        ({"text": "글"}, "docx", "no format 'docx'"),
    ],
)
def test_a_stage_that_a_format_does_not_hold_is_refused_and_nothing_is_written(tmp_path, record, target, words):
    with pytest.raises(CourseError, match=words):
        write([record], tmp_path / f"out{TARGETS[target].suffixes[0] if target in TARGETS else '.docx'}", target)
    assert not list(tmp_path.iterdir())


def test_seed_words_with_their_questions(tmp_path):
    rows = [{"seed_word": "전세", "answer": ["전세란?", "왜 전세인가요?"]}, {"seed_word": "월세", "answer": ["월세란?"]}]
    path = tmp_path / "in.jsonl"
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    losses, again = there_and_back(registry.load(path), "seed_word", tmp_path)
    assert {loss.what for loss in losses} == {"ids: they are made anew from the place in the file"}
    assert (tmp_path / "a.jsonl").read_text(encoding="utf-8") == path.read_text(encoding="utf-8")
    assert [(r["source"], r["prompt"][0]["content"]) for r in again] == [
        ("전세", "전세란?"), ("전세", "왜 전세인가요?"), ("월세", "월세란?")
    ]  # fmt: skip


def test_a_name_that_does_not_fit_the_format_is_refused(tmp_path):
    with pytest.raises(CourseError, match=r"ends in \.jsonl"):
        write(
            [{"id": "a", "prompt": [{"role": "user", "content": "가"}], "completion": reply("나")}],
            tmp_path / "a.xlsx",
            "messages",
        )


def test_what_an_earlier_run_left_out_does_not_stay(tmp_path):
    long = [{"role": "user", "content": "가"}, *reply("나"), {"role": "user", "content": "다"}]
    short = [{"role": "user", "content": "가"}]
    for prompt, left in ((long, True), (short, False)):
        write([{"id": "a", "prompt": prompt, "completion": reply("라"), "source": ""}], tmp_path / "a.jsonl", "qa")
        assert (tmp_path / "a.jsonl.left_out.jsonl").exists() == left


def test_a_folder_in_the_place_of_the_output_is_named(tmp_path):
    (tmp_path / "a.txt").mkdir()
    with pytest.raises(CourseError, match=r"a\.txt cannot be written"):
        write([{"text": "글"}], tmp_path / "a.txt", "pt")


def test_every_target_is_covered_here():
    assert set(FILES) == set(TARGETS)
