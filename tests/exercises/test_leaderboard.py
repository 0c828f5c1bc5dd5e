"""Protects: a team's place rests on records that nobody in the room has, and says how far to believe it."""

import json

import pytest

from dev.data.generate_listings import generate_hidden, main
from kotune import cli, data
from kotune.answering.workbook import read_rows
from kotune.exercises import leaderboard
from utils import DATA, CourseError, read_jsonl, write_jsonl

ROWS = 20


@pytest.fixture(scope="module")
def hidden(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hidden")
    main(["--hidden", str(ROWS), "--seed", "77", "--out", str(folder)])
    return folder


@pytest.fixture
def key(hidden):
    return read_jsonl(hidden / "key.jsonl")


def hand_in(folder, team, key, right, **other):
    """Write the predictions of a team that is right on the first listings, and on no other."""
    rows = [
        {"id": row["id"], "answer": row["output"] if number < right else "모르겠습니다."} for number, row in enumerate(key)
    ]
    return write_jsonl(folder / f"{team}.jsonl", [{**row, "question": "…", **other} for row in rows])


def test_what_teams_get_has_no_record_and_stands_in_no_shipped_file(hidden, key):
    texts = read_jsonl(hidden / "texts.jsonl")
    assert len(texts) == len(key) == ROWS and all(set(row) == {"id", "instruction", "input"} for row in texts)
    assert [row["input"] for row in texts] == [row["input"] for row in key]
    shipped = {row["input"] for path in (DATA / "listings").glob("*.jsonl") for row in read_jsonl(path)}
    assert not shipped & {row["input"] for row in texts}
    assert len({one.text for one in generate_hidden(ROWS, 78)} & {row["input"] for row in texts}) == 0  # another seed
    assert [one.text for one in generate_hidden(ROWS, 77)] == [row["input"] for row in texts]


def test_kotune_infer_asks_them_as_the_listings_model_was_trained(hidden, tmp_path):
    asked = read_rows(hidden / "texts.jsonl")[0]
    text = read_jsonl(hidden / "texts.jsonl")[0]["input"]
    write_jsonl(tmp_path / "like_training.jsonl", read_jsonl(hidden / "key.jsonl")[:1])
    assert asked.prompt == data.load(tmp_path / "like_training.jsonl")[0]["prompt"] and text in asked.prompt[-1]["content"]


@pytest.mark.parametrize(
    "arguments",
    [
        ["--hidden", "5", "--out", "x"],
        ["--hidden", "0", "--out", "x", "--seed", "1"],
        ["--hidden", "5", "--seed", "1"],
        ["--hidden", "5", "--wide", "5", "--out", "x"],
    ],
)
def test_hidden_listings_need_a_seed_of_ones_own_and_a_folder(arguments, capsys):
    with pytest.raises(SystemExit):
        main(arguments)
    assert "--hidden" in capsys.readouterr().err


def test_the_command_writes_a_line_a_team_with_the_baseline_beside_them(hidden, key, tmp_path, capsys):
    folder = tmp_path / "handed in"
    for team, right in (("가팀", 15), ("나팀", 14), ("다팀", 14), ("라팀", 2)):
        hand_in(folder / team, team, key, right)
    assert (
        cli.run(
            ["class", "leaderboard", str(folder), "--key", str(hidden / "key.jsonl"), "--out", str(tmp_path / "b.jsonl")]
        )
        == 0
    )
    lines = read_jsonl(tmp_path / "b.jsonl")
    assert [(line["rank"], line["team"], line["exact"]) for line in lines[:4]] == [
        (1, "가팀", 15), (2, "나팀", 14), (2, "다팀", 14), (4, "라팀", 2),
    ]  # fmt: skip
    baseline = lines[4]
    assert baseline["rank"] is None and baseline["team"] == leaderboard.RULES and baseline["n"] == ROWS and len(lines) == 5
    low, high = lines[0]["exact_interval"]
    assert 0.5 < low < 0.75 < high < 0.9
    said = capsys.readouterr().out
    assert (
        "15 of 20" in said and "가팀 and 나팀 are not told apart: 1 right where the other is wrong, 0 the other way." in said
    )
    assert said.rstrip().splitlines()[-1].startswith("4 teams: ")


def test_teams_far_apart_are_told_apart(hidden, key, tmp_path):
    hand_in(tmp_path, "good", key, ROWS)
    hand_in(tmp_path, "poor", key, 4)
    found = leaderboard.board(tmp_path, leaderboard.read_key(hidden / "key.jsonl"))
    assert leaderboard.notes(found) == ["good and poor are told apart: 16 right where the other is wrong, 0 the other way."]
    assert "20 of 20" in leaderboard.table(found)[1] and leaderboard.RULES in leaderboard.table(found)[-1]


def test_a_missing_prediction_is_wrong_and_told(hidden, key, tmp_path):
    rows = [{"id": row["id"], "answer": row["output"]} for row in key[:-3]] + [
        {"id": "of another set", "answer": key[0]["output"]}
    ]
    write_jsonl(tmp_path / "half.jsonl", rows)
    found = leaderboard.board(tmp_path, leaderboard.read_key(hidden / "key.jsonl"))
    place = found.places[0]
    assert (place.exact, place.missing, place.unknown, place.n) == (ROWS - 3, 3, 1, ROWS)
    assert leaderboard.notes(found) == [
        "half: 3 listings have no prediction.", "half: 1 predictions are for no listing of the key.",
    ]  # fmt: skip


def test_a_file_that_is_none_stops_no_other_and_is_named(hidden, key, tmp_path):
    hand_in(tmp_path, "good", key, 5)
    (tmp_path / "broken.jsonl").write_text("{", encoding="utf-8")
    (tmp_path / "empty.jsonl").write_text("", encoding="utf-8")
    write_jsonl(tmp_path / "twice.jsonl", [{"id": "hidden-001", "answer": "가"}] * 2)
    write_jsonl(tmp_path / "record.jsonl", [{"id": "hidden-001", "answer": json.loads(key[0]["output"])}])
    write_jsonl(tmp_path / "texts.jsonl", read_jsonl(hidden / "texts.jsonl"))
    (tmp_path / "again").mkdir()
    hand_in(tmp_path / "again", "good", key, 9)
    found = leaderboard.board(tmp_path, leaderboard.read_key(hidden / "key.jsonl"))
    assert [(place.team, place.rank) for place in found.places] == [("good", 1)]
    assert len(found.refused) == 6
    said = "\n".join(leaderboard.notes(found))
    for reason in (
        "was predicted before",
        "no id and answer as texts",
        "carries the name of another team's file",
        "empty.jsonl",
    ):
        assert "Not counted: " in said and reason in said


def test_what_cannot_be_scored_is_one_sentence(hidden, key, tmp_path):
    keyed = leaderboard.read_key(hidden / "key.jsonl")
    with pytest.raises(CourseError, match="is no folder; name the one that holds the teams"):
        leaderboard.board(tmp_path / "nothing", keyed)
    with pytest.raises(CourseError, match=r"holds no predictions; collect"):
        leaderboard.board(tmp_path, keyed)
    with pytest.raises(CourseError, match=r"line 1, is no listing with its record"):
        leaderboard.read_key(hidden / "texts.jsonl")
    folder = tmp_path / "handed in"
    hand_in(folder, "a", key, 1)
    write_jsonl(folder / "key.jsonl", key)
    with pytest.raises(CourseError, match="lies among the teams' files; move the key"):
        leaderboard.leaderboard_command(folder, folder / "key.jsonl", tmp_path / "out.jsonl")
    with pytest.raises(CourseError, match="name another output"):
        leaderboard.leaderboard_command(folder, hidden / "key.jsonl", folder / "a.jsonl")


@pytest.mark.parametrize(
    ("stem", "name"),
    [("team 1", "team 1"), ("a\u0007b\nc", "a b c"), ("\u1100\u1161팀", "가팀"), ("x" * 100, "x" * 40), ("\u200b", "?")],
)
def test_a_teams_name_stands_on_one_line(stem, name):
    assert leaderboard.team_name(stem) == name
