"""Protects: results stay under the name that a learner sets, in one folder, and a disk that refuses them stops nothing."""

import json

import pytest

from kotune.exercises import check, results, set_name


def rows_of(folder):
    return {
        file.name: [json.loads(line) for line in file.read_text("utf-8").splitlines()] for file in folder.glob("*.jsonl")
    }


def test_a_name_is_kept_for_the_notebooks_to_come(own_folder, capsys):
    set_name("  김  민아 ")
    check("basics-1", 2)
    assert rows_of(own_folder)["김 민아.jsonl"][0]["who"] == "김 민아"
    assert results.learner() == "김 민아"
    assert "김 민아" in capsys.readouterr().out


def test_without_a_name_one_is_drawn_and_stays(own_folder):
    check("basics-1", 2)
    check("basics-1", 3)
    ((name, rows),) = rows_of(own_folder).items()
    assert name.startswith("learner-") and len(rows) == 2
    assert {row["who"] for row in rows} == {results.learner()}


def test_what_was_solved_before_a_name_was_set_goes_along(own_folder):
    check("basics-1", 2)
    set_name("Mina")
    check("basics-1", 2.718)
    assert {name: [row["who"] for row in rows] for name, rows in rows_of(own_folder).items()} == {"Mina.jsonl": ["Mina"] * 2}
    set_name("Jun")
    check("basics-1", 2.718)
    assert sorted(rows_of(own_folder)) == ["Jun.jsonl", "Mina.jsonl"]


@pytest.mark.parametrize("name", ["../../etc/passwd", "a/b\\c", "=1+1", "가" * 500, "\u0000\u202eabc", "CON.", "."])
def test_no_name_leads_out_of_the_folder(name, own_folder):
    set_name(name)
    check("basics-1", 2)
    (file,) = own_folder.glob("*.jsonl")
    assert file.parent == own_folder and len(file.name.encode()) < 255


@pytest.mark.parametrize("name", ["", "   ", None, 7, "\n"])
def test_what_is_no_name_is_told(name, own_folder, capsys):
    set_name(name)
    assert capsys.readouterr().out.startswith("A name is a text")
    assert not own_folder.exists()


def test_the_same_name_typed_on_macos_is_the_same(own_folder):
    for name in ("민아", "\u1106\u1175\u11ab\u110b\u1161"):
        set_name(name)
        check("basics-1", 2)
    assert [len(rows) for rows in rows_of(own_folder).values()] == [2]


def test_a_folder_that_cannot_be_written_is_told_and_the_verdict_stays(own_folder, capsys):
    own_folder.write_text("a file where the folder should be")
    check("basics-1", 2.718)
    verdict, told = capsys.readouterr().out.splitlines()
    assert verdict.startswith("basics-1 · right: ")
    assert told.startswith("(This try was not written down.")
    set_name("Mina")
    assert "not written down" in capsys.readouterr().out
