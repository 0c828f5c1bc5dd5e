"""Protects: which rows are whose, whatever their ids are, and that a shard is never mixed with another run's."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kotune import cli, shards
from kotune.shards import Shard, ShardCard
from tests.support.parts import ANY_ROWS
from utils import CourseError, write_json


@ANY_ROWS
@given(st.lists(st.text(), unique=True), st.integers(1, 20))
def test_every_row_is_in_one_shard_alone_and_others_do_not_move_it(ids, count):
    parts = [Shard(number, count) for number in range(1, count + 1)]
    places = [shards.places_in(part, ids) for part in parts]
    assert sorted(place for part in places for place in part.values()) == list(range(len(ids)))
    assert all(shards.places_in(part, ids[:1]).keys() <= whole.keys() for part, whole in zip(parts, places, strict=True))


def test_the_hash_is_the_same_on_every_machine():
    assert [shards.shard_of(identity, 8) for identity in ("q1", "확정일자", "7")] == [3, 7, 7]


@pytest.mark.parametrize("text", ["0/2", "3/2", "1/0", "1", "1/2/3", "-1/2", "a/b", "١/٢", " 1/2", "1/2\n", "1.0/2", ""])
def test_what_is_no_shard_is_one_sentence(text):
    with pytest.raises(CourseError, match=r"--shard is .*; write i/n with 1 <= i <= n"):
        Shard.parse(text)


def test_the_command_line_says_so_too(capsys):
    with pytest.raises(SystemExit) as ended:
        cli.run(["data", "dedup", "a.jsonl", "b.jsonl", "--shard", "5/4"])
    assert ended.value.code == 2 and "--shard is '5/4'; write i/n with 1 <= i <= n" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("row", "identity"),
    [({"id": "전세"}, "전세"), ({"id": 7}, "7"), ({"id": 7.0}, "7"), ({"id": True}, "row 3"), ({"id": [1]}, "row 3"), ({}, "row 3"),
     ({"id": " "}, "row 3"), ({"id": None}, "row 3"), ({"id": 7.5}, "row 3")],
)  # fmt: skip
def test_ids_of_every_kind_tell_rows_apart(row, identity):
    assert shards.identity_of(row, 3) == identity


def test_files_are_named_by_their_shard_and_know_their_whole(tmp_path):
    file = Shard(2, 8).file(tmp_path / "한 글.v1.jsonl")
    assert file.name == "한 글.v1.shard-2-of-8.jsonl" and shards.whole_file(file) == tmp_path / "한 글.v1.jsonl"
    with pytest.raises(CourseError, match="is no shard's file"):
        shards.whole_file(tmp_path / "a.jsonl")


CARD = ShardCard("judge", 1, 2, {"judge": "나"}, "ab", 3, {"q": 0})


def test_a_file_of_another_run_is_refused_and_of_the_same_run_goes_on(tmp_path):
    file = tmp_path / "a.shard-1-of-2.jsonl"
    shards.claim(file, CARD)
    file.write_text("{}\n")
    shards.claim(file, CARD)
    for other, words in (({"settings": {"judge": "너"}}, 'judge is "나" in one and "너" in the other'),
                         ({"input_sha256": "cd"}, "other input"), ({"of": 3}, "of is 2 in one"), ({"places": {}}, "other rows")):  # fmt: skip
        with pytest.raises(CourseError, match=words):
            shards.claim(file, ShardCard(**{**CARD.__dict__, **other}))


@pytest.mark.parametrize(
    "held", [{}, [], {**CARD.__dict__, "shard": 5}, {**CARD.__dict__, "rows": "3"}, {**CARD.__dict__, "x": 1}]
)
def test_a_card_that_is_none_is_one_sentence(held, tmp_path):
    write_json(tmp_path / "a.card.json", held)
    with pytest.raises(CourseError, match="is not a shard's card"):
        shards.read_card(tmp_path / "a.jsonl")
    with pytest.raises(CourseError, match=r"has no b\.card\.json beside it"):
        shards.read_card(tmp_path / "b.jsonl")
