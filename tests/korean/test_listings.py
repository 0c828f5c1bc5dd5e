"""Protects: one form of a listing's record, read back as it was written, and a score that counts what it says."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kotune.korean.listings import (
    FIELDS,
    UnreadableReply,
    area_m2,
    check_reply,
    parse_record,
    render_record,
    score,
)
from prompts import LISTING, ListingRecord
from utils import CourseError

LINE = (
    '{"deal":"월세","kind":"투룸","place":"마포구 망원동","deposit":500,"rent":40,"price":null,"area":"12평",'
    '"floor":"반지하","rooms":2,"bathrooms":1,"maintenance":7.5,"pets":true,"available":"05"}'
)
RECORD = parse_record(LINE)


def one_of(*values):
    return st.sampled_from((None, *values))


NUMBERS = st.none() | st.integers(0, 1_000_000)
RECORDS = st.builds(
    ListingRecord,
    deal=one_of("매매", "전세", "월세", "단기"),
    kind=one_of("아파트", "오피스텔", "투룸", "사무실"),
    place=one_of("망원동", "서울 마포구 망원동", '"따옴표" \\ 동', '"deal":1'),
    deposit=NUMBERS,
    rent=NUMBERS,
    price=NUMBERS,
    area=one_of("7평", "59.97㎡", "84㎡", "33.5평"),
    floor=one_of("3", "3/5", "반지하", "옥탑", "지하1", "고층/15", "저층"),
    rooms=NUMBERS,
    bathrooms=NUMBERS,
    maintenance=NUMBERS | st.integers(1, 500).filter(lambda tenth: tenth % 10).map(lambda tenth: tenth / 10),
    pets=one_of(True, False),
    available=one_of("즉시", "협의", "05", "05-20", "2026-12", "2027-01-31"),
)


@given(record=RECORDS)
def test_a_record_is_read_back_as_it_was_written(record):
    line = render_record(record)
    assert "\n" not in line and parse_record(line) == record
    spaced = json.dumps(json.loads(line), ensure_ascii=False, indent=2)
    assert parse_record(f"\n {spaced}\n") == record and render_record(parse_record(spaced)) == line


def without(name):
    return json.dumps({key: value for key, value in json.loads(LINE).items() if key != name}, ensure_ascii=False)


@pytest.mark.parametrize(
    ("reply", "field", "says"),
    [
        ("", None, "not JSON"),
        ("기록: " + LINE, None, "not JSON"),
        (LINE + " 감사합니다", None, "not JSON"),
        (LINE + LINE, None, "not JSON"),
        (LINE[:-1], None, "not JSON"),
        (f"```json\n{LINE}\n```", None, "not JSON"),
        ("[" * 100_000, None, "not JSON"),
        (LINE.replace("500", "NaN"), None, "not JSON"),
        (f"[{LINE}]", None, "not an object"),
        ('"월세"', None, "not an object"),
        (without("deal"), "deal", "'kind' stands where deal is due"),
        (without("available"), "available", "available is missing"),
        (LINE.replace('"deal":"월세",', '"deal":"월세","deal":"월세",'), "kind", "'deal' stands where kind is due"),
        (LINE[:-1] + ',"phone":null}', None, "'phone' is one too many"),
        (LINE.replace("500", '"500"'), "deposit", "valid integer"),
        (LINE.replace("500", "500.0"), "deposit", "valid integer"),
        (LINE.replace("500", "true"), "deposit", "valid integer"),
        (LINE.replace("500", "-500"), "deposit", "greater than or equal to 0"),
        (LINE.replace("7.5", "7.0"), "maintenance", "written whole"),
        (LINE.replace("7.5", "7.55"), "maintenance", "one decimal"),
        (LINE.replace("7.5", "1e999"), "maintenance", "finite"),
        (LINE.replace('"월세"', '"월셋방"'), "deal", "'매매', '전세'"),
        (LINE.replace("12평", "12"), "area", "match pattern"),
        (LINE.replace("12평", "전용 12평"), "area", "match pattern"),
        (LINE.replace("반지하", "3층"), "floor", "match pattern"),
        (LINE.replace("마포구 망원동", "마포구  망원동"), "place", "match pattern"),
        (LINE.replace("마포구 망원동", ""), "place", "match pattern"),
        (LINE.replace('"05"', '"13"'), "available", "match pattern"),
        (LINE.replace('"05"', '"5월 말"'), "available", "match pattern"),
        (LINE.replace(":true", ':"가능"'), "pets", "valid boolean"),
    ],
)
def test_nothing_but_a_record_is_read_and_the_field_that_spoils_it_is_named(reply, field, says):
    found = parse_record(reply)
    assert isinstance(found, UnreadableReply)
    assert found.field == field and says in found.message
    assert not check_reply(reply, RECORD).valid and not check_reply(reply, RECORD).right_fields


@given(due=RECORDS, given=RECORDS)
def test_faults_and_right_fields_share_out_the_fields_and_each_fault_stands_where_it_says(due, given):
    reply = json.dumps(json.loads(render_record(given)), ensure_ascii=False, indent=1)
    check = check_reply(reply, due)
    assert sorted([*check.right_fields, *(fault.field for fault in check.faults)]) == sorted(FIELDS)
    assert check.exact == (due == given)
    for fault in check.faults:
        assert json.loads(reply[fault.start : fault.end]) == fault.given == getattr(given, fault.field)
        assert fault.due == getattr(due, fault.field) != fault.given
        assert (fault.fault == "missing") == (fault.given is None) and (fault.fault == "invented") == (fault.due is None)


def test_a_fault_is_told_in_words_of_the_edition(monkeypatch):
    reply = LINE.replace("500", "5000").replace("true", "null").replace('"price":null', '"price":3')
    faults = check_reply(reply, RECORD).faults
    assert [str(fault) for fault in faults] == [
        "deposit is 5000 and should be 500 (wrong)",
        "price is 3 and should be null (invented)",
        "pets is null and should be true (missing)",
    ]
    monkeypatch.setenv("KOTUNE_LANG", "ko")
    assert [str(fault) for fault in faults] == [
        "deposit: 응답은 5000, 정답은 500(틀림)",
        "price: 응답은 3, 정답은 null(지어냄)",
        "pets: 응답은 null, 정답은 true(빠뜨림)",
    ]


@given(pairs=st.lists(st.tuples(RECORDS, RECORDS | st.just(None)), min_size=1, max_size=8))
@settings(deadline=None)
def test_a_score_adds_up_its_checks(pairs):
    references = [render_record(due) for due, _ in pairs]
    replies = ["깨진 답" if given is None else render_record(given) for _, given in pairs]
    found = score(replies, references)
    assert found.n == len(pairs)
    assert found.exact == sum(due == given for due, given in pairs) <= found.valid == sum(g is not None for _, g in pairs)
    for name in FIELDS:
        assert found.exact <= found.right_fields[name] <= found.valid
        low, high = found.field_interval(name)
        assert low <= found.right_fields[name] / found.n <= high
    assert found.exact_interval[0] <= found.exact / found.n <= found.exact_interval[1]
    low, high = found.field_share_interval
    assert low - 1e-9 <= found.field_share <= high + 1e-9
    assert score(references, references).exact == found.n
    assert json.loads(json.dumps(found.row()))["exact"] == found.exact


def test_a_reference_that_is_no_record_is_named():
    with pytest.raises(CourseError, match=r"Reference 2 is no record: .* docs/listings.md"):
        score([LINE, LINE], [LINE, "{}"])
    with pytest.raises(CourseError, match="2 replies and 1 references"):
        score([LINE, LINE], [LINE])


@pytest.mark.parametrize(("area", "square_metres"), [("7평", 23.1), ("34평", 112.4), ("59.97㎡", 59.97), (None, None)])
def test_code_converts_what_the_model_copies(area, square_metres):
    assert area_m2(RECORD.model_copy(update={"area": area})) == square_metres


def test_the_fields_are_those_of_the_guide_in_its_order():
    from utils import ROOT

    table = (ROOT / "docs" / "listings.md").read_text(encoding="utf-8").split("## Fields")[1].split("## Rules")[0]
    assert tuple(line.split("`")[1] for line in table.splitlines() if line.startswith("| `")) == FIELDS


@pytest.mark.slow
def test_the_prompt_renders_as_the_rows_of_the_data_do(tokenizer):
    from kotune.data import records
    from kotune.models.chat_template import render

    messages = LISTING.messages(listing="망원동 원룸 500/45")
    row = {"instruction": LISTING.system, "input": "망원동 원룸 500/45", "output": LINE}
    record = records.canonical(row, "row 1", "a")[0]
    assert render(tokenizer, messages).ids == render(tokenizer, record["prompt"]).ids


def test_every_record_that_is_shipped_is_one():
    from utils import DATA, read_jsonl

    files = sorted((DATA / "listings").glob("*.jsonl"))
    assert len(files) >= 3
    for path in files:
        for number, row in enumerate(read_jsonl(path), start=1):
            assert row["instruction"] == LISTING.system, f"{path.name}, line {number}"
            assert not isinstance(parse_record(row["output"]), UnreadableReply), f"{path.name}, line {number}"
            assert render_record(parse_record(row["output"])) == row["output"], f"{path.name}, line {number}"


def test_the_page_shows_the_prompt_and_a_record_as_they_are():
    from utils import ROOT

    page = (ROOT / "docs" / "listings.md").read_text(encoding="utf-8")
    assert f'--system_prompt "{LISTING.system}"' in page
    shown = [line for line in page.splitlines() if line.startswith('{"deal"')]
    assert [render_record(parse_record(line)) for line in shown] == shown != []
