"""Protects: near duplicates found in parts are those that one process finds, byte for byte, and a killed part goes on."""

import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import similarity
from kotune import cli
from kotune.data.dedup import deduplicate_file
from kotune.data.dedup_shards import find_matches, shards_to_meet
from kotune.data.shard_files import merge
from kotune.korean.contrasts import difference
from kotune.shards import Shard
from tests.support.parts import ANY_ROWS, COUNTS, TEXTS, rows, tear
from utils import CourseError, write_jsonl

PARTS = ("", ".dropped", ".spared")


@pytest.mark.parametrize("count", range(1, 14))
def test_every_two_shards_meet_once(count):
    met = [
        tuple(sorted((number, other))) for number in range(1, count + 1) for other in shards_to_meet(Shard(number, count))
    ]
    assert len(met) == len(set(met)) == count * (count + 1) // 2


def one_sided(text, other):
    """A difference that depends on which text comes first."""
    return "longer" if len(text) > len(other) else None


@ANY_ROWS
@given(
    st.lists(TEXTS, min_size=1, max_size=20),
    st.sampled_from([0.3, 0.7, 1.0]),
    st.sampled_from([None, difference, one_sided]),
)
def test_decisions_over_pairs_are_those_of_the_loop(texts, threshold, differ):
    first: dict[str, int] = {}
    same_as = [first.setdefault(text, place) for place, text in enumerate(texts)]
    if not any(similarity.tokenize(text, "eojeol") for text in texts):
        return
    wordless = similarity.wordless_among(texts)
    same_as = [place if place in wordless else original for place, original in enumerate(same_as)]
    places = sorted({*same_as})
    found = similarity.matching_pairs([texts[place] for place in places], None, threshold)
    matches = [similarity.Match(places[one], places[other], f1) for one, other, f1 in found]
    whole = similarity.deduplicate(texts, threshold, differ=differ)
    made = similarity.decide(same_as, matches, texts, threshold, differ=differ, wordless=wordless)
    for what in ("kept", "dropped", "spared", "wordless"):
        assert getattr(made, what) == getattr(whole, what)


@ANY_ROWS
@given(rows("글", repeated_ids=True), COUNTS, st.sampled_from([0.3, 0.7, 1.0]), st.booleans(), st.data())
def test_merged_shards_are_one_processs_files_byte_for_byte(made, count, threshold, alpaca, data):
    if all(row["글"].strip("= ") == "" for row in made):
        return
    differ = None if alpaca else difference
    with tempfile.TemporaryDirectory() as folder:
        source = write_jsonl(Path(folder) / "글.jsonl", made)
        whole, merged = Path(folder) / "whole.jsonl", Path(folder) / "merged.jsonl"
        deduplicate_file(source, whole, threshold, field="글", differ=differ)
        for number in range(1, count + 1):
            file = find_matches(source, merged, Shard(number, count), threshold, field="글", alpaca=alpaca)
            if data.draw(st.booleans()):  # killed, and run again
                kept = file.read_bytes()
                tear(file, data.draw(st.integers(0, len(kept.splitlines()))))
                find_matches(source, merged, Shard(number, count), threshold, field="글", alpaca=alpaca)
                assert file.read_bytes() == kept
        files = [Shard(number, count).file(merged) for number in range(1, count + 1)]
        done = merge(files, None, difference)
        assert done.lines == len(whole.read_bytes().splitlines())
        for part in PARTS:
            assert whole.with_name(f"whole{part}.jsonl").read_bytes() == merged.with_name(f"merged{part}.jsonl").read_bytes()


ROWS = [
    {"id": "가", "question": "전세 계약을 할 때 확정일자는 어디에서 받나요?", "answer": "주민센터입니다."},
    {"id": 7, "question": "월세 세액공제는 누가 받을 수 있나요?", "answer": "무주택 세대주입니다."},
    {"question": "전세 계약을 할 때 확정일자는 어디에서 받을 수 있나요?", "answer": "등기소입니다."},
]


@pytest.fixture
def call(tmp_path, capsys):
    """Return a function that runs the command on ROWS, and returns what it printed."""
    write_jsonl(tmp_path / "a.jsonl", ROWS)

    def run(*arguments, out="b.jsonl"):
        cli.run(["data", "dedup", str(tmp_path / "a.jsonl"), str(tmp_path / out), "--unit", "syllable", *arguments])
        return capsys.readouterr().out

    return run


def test_from_the_command_line(call, tmp_path, capsys):
    call(out="whole.jsonl")
    shards = [tmp_path / f"b.shard-{number}-of-2.jsonl" for number in (1, 2)]
    for number in (1, 2):
        assert f"b.shard-{number}-of-2.jsonl: pairs of rows that match" in call("--shard", f"{number}/2")
    cli.run(["data", "merge", *map(str, shards)])
    assert "b.jsonl: 2 rows; 1 near duplicates" in capsys.readouterr().out
    assert (tmp_path / "b.jsonl").read_bytes() == (tmp_path / "whole.jsonl").read_bytes()


def test_another_setting_or_another_input_is_not_mixed_in(call, tmp_path):
    call("--shard", "1/2")
    with pytest.raises(CourseError, match=r"another run \(threshold is 0.7 in one and 0.5 in the other\)"):
        call("--shard", "1/2", "--threshold", "0.5")
    call("--shard", "2/2")
    write_jsonl(tmp_path / "a.jsonl", ROWS[:2])
    files = [Shard(number, 2).file(tmp_path / "b.jsonl") for number in (1, 2)]
    with pytest.raises(CourseError, match="is not the file that the shards compared"):
        merge(files, None)
    elsewhere = write_jsonl(tmp_path / "c.jsonl", ROWS)
    assert merge(files, None, source=str(elsewhere)).lines == 2
    (tmp_path / "a.jsonl").unlink()
    with pytest.raises(CourseError, match="which the shards compared, is not here; pass --input"):
        merge(files, None)


def test_what_no_shard_can_do_is_one_sentence(call, tmp_path):
    with pytest.raises(CourseError, match="--semantic compares all rows in one process"):
        call("--shard", "1/2", "--semantic")
    with pytest.raises(CourseError, match="pass --ray N too"):
        call("--ray-address", "auto")
    with pytest.raises(CourseError, match="The threshold is 2"):
        call("--shard", "1/2", "--threshold", "2")
    assert not (tmp_path / "b.shard-1-of-2.jsonl").exists()
