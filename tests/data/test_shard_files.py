"""Protects: shards are merged where they are one whole run, and refused in one sentence where they are not."""

import json

import pytest

from kotune.data.shard_files import merge
from kotune.shards import Shard, ShardCard, claim
from utils import CourseError, write_jsonl

IDS = ["가", "나", "다", "라", "7"]


def make(folder, count=2, ids=IDS, **changes):
    """Write the shards of a run, and return their files."""
    files = []
    for number in range(1, count + 1):
        shard = Shard(number, count)
        places = {one: place for place, one in enumerate(ids) if shard.holds(one)}
        file = shard.file(folder / "a.jsonl")
        fields = {"settings": {"judge": "심판"}, "input_sha256": "ab", "rows": len(ids), "places": places} | changes
        claim(file, ShardCard("judge", number, count, open_statuses=("failed",), **fields))
        write_jsonl(file, [{"id": one, "status": "judged"} for one in reversed(places)])
        files.append(file)
    return files


def test_lines_come_as_they_stand_in_the_order_of_the_input(tmp_path):
    files = make(tmp_path)
    done = merge([*reversed(files)], None)
    assert (done.file, done.lines, done.open) == (tmp_path / "a.jsonl", 5, {})
    assert [json.loads(line)["id"] for line in done.file.read_text().splitlines()] == IDS
    assert merge(files, None).file.read_bytes() == done.file.read_bytes()  # once more, and nothing is lost
    assert merge(files, tmp_path / "다른.jsonl").file.read_bytes() == done.file.read_bytes()


def test_a_line_that_was_asked_again_gives_way_and_one_that_failed_to_the_end_is_counted(tmp_path):
    files = make(tmp_path, count=1)
    write_jsonl(
        files[0],
        [{"id": one, "status": "failed"} for one in IDS]
        + [{"id": "나", "status": "judged"}, {"id": "나", "status": "failed"}],
    )
    done = merge(files, None)
    assert (
        done.open == {"failed": 4}
        and [json.loads(line)["status"] for line in done.file.read_text().splitlines()][1] == "judged"
    )


def test_gaps_overlaps_and_other_runs_are_refused(tmp_path):
    files = make(tmp_path, count=3)
    for given, words in (
        (files[:2], r"Of 3 shards 1 are missing \(3\); run --shard 3/3"),
        ([*files, files[0]], "are both shard 1 of 3"),
        ([], "There are no shards"),
        ([tmp_path / "none.shard-1-of-1.jsonl"], "does not exist"),
    ):
        with pytest.raises(CourseError, match=words):
            merge(given, None)
    (tmp_path / "b").mkdir()
    for changes, words in (
        ({"settings": {"judge": "다른 심판"}}, 'judge is "심판" in one and "다른 심판" in the other'),
        ({"input_sha256": "cd"}, "other input"),
        ({"count": 2}, "of is 3 in one and 2 in the other"),
    ):
        for old in (tmp_path / "b").iterdir():
            old.unlink()
        other = make(tmp_path / "b", **{"count": 3, **changes})
        with pytest.raises(CourseError, match=words):
            merge([files[0], *other[1:]], tmp_path / "out.jsonl")
    assert not (tmp_path / "out.jsonl").exists() and not (tmp_path / "a.jsonl").exists()


def test_an_unfinished_torn_or_foreign_shard_is_refused(tmp_path):
    files = make(tmp_path, count=1)
    whole = files[0].read_bytes()
    lines = whole.splitlines(keepends=True)
    for held, words in (
        (b"".join(lines[:3]), r"lacks 2 of its 5 lines \(the first of id '가'\); run --shard 1/1 again"),
        (whole[:-9], "line 5, is torn"),
        (whole + b'{"id": "other"}\n', r"line 6: the id 'other' is not of this shard"),
        (whole + b'{"id": [1]}\n', r"line 6: the id \[1\] is not of this shard"),
        (whole + b"[]\n", "line 6, is torn or no JSON object"),
        (b"", "lacks 5 of its 5"),
    ):
        files[0].write_bytes(held)
        with pytest.raises(CourseError, match=words):
            merge(files, None)
    files = make(tmp_path, count=1, rows=6)
    with pytest.raises(CourseError, match="No shard holds row 6 of 6"):
        merge(files, None)


def test_what_is_there_already_is_not_written_over(tmp_path):
    files = make(tmp_path)
    (tmp_path / "a.jsonl").write_text('{"id": "paid for"}\n')
    with pytest.raises(CourseError, match="is there already, with other lines"):
        merge(files, None)
    with pytest.raises(CourseError, match="is a shard; name another --out"):
        merge(files, files[0])
    assert (tmp_path / "a.jsonl").read_text() == '{"id": "paid for"}\n'
