"""Protects: a file loses its near duplicates and nothing else, and what went is kept with its twin."""

import json
import threading
from contextlib import contextmanager

import numpy as np
import pytest

from kotune import cli
from kotune.data import dedup
from kotune.data.dedup import deduplicate_file
from kotune.korean.contrasts import difference
from utils import CourseError, read_jsonl, write_jsonl

ROWS = [
    {"question": "전세 계약을 할 때 확정일자는 어디에서 받나요?", "answer": "주민센터입니다.", "난이도": 1},
    {"question": "월세 세액공제는 누가 받을 수 있나요?", "answer": "무주택 세대주입니다."},
    {"question": "전세 계약을 할 때 확정일자는 어디에서 받을까요?", "answer": "등기소입니다."},
]


def test_kept_rows_stay_as_they_are_and_dropped_ones_name_their_twins(tmp_path, capsys):
    source, target = write_jsonl(tmp_path / "a.jsonl", ROWS), tmp_path / "b.jsonl"
    assert cli.run(["data", "dedup", str(source), str(target), "--threshold", "0.7", "--unit", "syllable"]) == 0
    assert read_jsonl(target) == ROWS[:2]
    (dropped,) = read_jsonl(tmp_path / "b.dropped.jsonl")
    assert (dropped["row"], dropped["twin_row"], dropped["value"]) == (3, 1, ROWS[2])
    assert dropped["text"] == ROWS[2]["question"] and dropped["twin"] == ROWS[0]["question"] and 0.7 <= dropped["score"] < 1
    assert "2 rows; 1 near duplicates in" in capsys.readouterr().out
    assert dropped["measure"] == "ROUGE-L" and (tmp_path / "b.spared.jsonl").read_text() == ""


def test_another_field_may_be_compared(tmp_path):
    rows = [{"메모": "같은 글입니다"}, {"메모": "같은 글입니다"}, {"메모": "다른 이야기"}]
    done = deduplicate_file(write_jsonl(tmp_path / "a.jsonl", rows), tmp_path / "b.jsonl", field="메모")
    assert (done.kept, done.dropped) == (2, 1)
    with pytest.raises(CourseError, match="line 1 has no text in the field '제목'"):
        deduplicate_file(tmp_path / "a.jsonl", tmp_path / "c.jsonl", field="제목")


def test_nothing_is_dropped_where_nothing_repeats_and_the_input_is_never_the_output(tmp_path):
    source = write_jsonl(tmp_path / "a.jsonl", ROWS[:2])
    assert deduplicate_file(source, tmp_path / "b.jsonl").dropped == 0
    assert (tmp_path / "b.dropped.jsonl").read_text() == ""
    for target, words in ((source, "is the input"), (tmp_path / "b.csv", r"does not end in \.jsonl")):
        with pytest.raises(CourseError, match=words):
            deduplicate_file(source, target)
    assert [json.loads(line) for line in source.read_text().splitlines()] == ROWS[:2]


CLOSE = [
    {"question": "보증금 2억 원인 전세의 중개보수는 얼마인가요?", "answer": "네."},
    {"question": "보증금 5억 원인 전세의 중개보수는 얼마인가요?", "answer": "네."},
    {"question": "보증금 2억 원인 전세의 중개보수는 얼마인가요", "answer": "네."},
    {"question": "====", "answer": "네."},
    {"question": "보증금 3개월 안에 못 받으면 어떻게 하나요?", "answer": "네."},
    {"question": "보증금 3개월 안에 받으면 어떻게 하나요?", "answer": "네."},
    {"question": "----", "answer": "네."},
]


def test_what_differs_in_a_number_or_a_negation_is_spared_and_shown(tmp_path, capsys):
    source, target = write_jsonl(tmp_path / "a.jsonl", CLOSE), tmp_path / "b.jsonl"
    assert cli.run(["data", "dedup", str(source), str(target)]) == 0
    assert read_jsonl(target) == [CLOSE[place] for place in (0, 1, 3, 4, 5, 6)]
    assert [row["row"] for row in read_jsonl(tmp_path / "b.dropped.jsonl")] == [3]
    spared = read_jsonl(tmp_path / "b.spared.jsonl")
    assert [(row["row"], row["twin_row"], row["difference"]) for row in spared] == [(2, 1, "numbers"), (6, 5, "negation")]
    assert spared[0]["text"] == CLOSE[1]["question"] and spared[0]["value"] == CLOSE[1]
    out = capsys.readouterr().out
    assert "2 of them are near another and differ from it (numbers 1, negation 1)" in out
    assert "2 hold no word of the unit eojeol to compare and were kept: rows 4, 7" in out


def test_the_alpaca_loop_drops_them(tmp_path, capsys):
    source, target = write_jsonl(tmp_path / "a.jsonl", CLOSE), tmp_path / "b.jsonl"
    assert cli.run(["data", "dedup", str(source), str(target), "--alpaca"]) == 0
    assert [row["row"] for row in read_jsonl(tmp_path / "b.dropped.jsonl")] == [2, 3, 6]
    assert "near another" not in capsys.readouterr().out


def test_a_score_at_the_threshold_is_no_repeat(tmp_path):
    rows = [{"question": "가 나 다 라", "answer": "네."}, {"question": "가 나 마 바", "answer": "네."}]  # F1 of one half
    source = write_jsonl(tmp_path / "a.jsonl", rows)
    assert deduplicate_file(source, tmp_path / "b.jsonl", threshold=0.5).dropped == 0
    assert deduplicate_file(source, tmp_path / "c.jsonl", threshold=0.49).dropped == 1


def test_repeats_in_other_words_are_dropped_on_request_and_say_so(tmp_path):
    texts = [
        "집을 비우면 돈을 언제 받나요?",
        "====",
        "퇴거한 뒤 보증금 반환 시기",
        "집을 비우면 돈을 언제 받나요!",
        "퇴거한 뒤 보증금 2억 반환",
    ]
    source = write_jsonl(tmp_path / "a.jsonl", [{"question": text, "answer": "네."} for text in texts])

    def embed(compared):
        assert "====" not in compared
        return np.ones((len(compared), 1))

    done = deduplicate_file(source, tmp_path / "b.jsonl", differ=difference, semantic_threshold=0.95, embed=embed)
    assert (done.kept, done.dropped, done.wordless, dict(done.spared)) == (3, 2, [2], {"numbers": 1})
    one, other = read_jsonl(tmp_path / "b.dropped.jsonl")
    assert (one["row"], one["twin_row"], one["measure"], one["score"]) == (3, 1, "cosine", 1.0)
    assert (other["row"], other["twin_row"], other["measure"]) == (4, 1, "ROUGE-L")
    assert [row["row"] for row in read_jsonl(tmp_path / "b.spared.jsonl")] == [5]


def test_of_two_runs_that_drop_repeats_into_one_file_all_three_files_are_the_later_ones(tmp_path, monkeypatch):
    """The first is held up between its files; without a turn the second's would come between them."""
    for name in "ab":
        write_jsonl(tmp_path / f"{name}.jsonl", [{"question": f"{name} 전세란 무엇인가요?", "answer": "네."}] * 2)
    written, go_on, place = [], threading.Event(), dedup.atomic_path

    @contextmanager
    def slow(path):
        with place(path) as temporary:
            yield temporary
        written.append(path.name)
        if len(written) == 1:
            go_on.wait(0.5)

    monkeypatch.setattr(dedup, "atomic_path", slow)
    runs = [
        threading.Thread(target=deduplicate_file, args=(tmp_path / f"{name}.jsonl", tmp_path / "o.jsonl")) for name in "ab"
    ]
    for run in runs:
        run.start()
    for run in runs:
        run.join()
    kept, dropped = read_jsonl(tmp_path / "o.jsonl"), read_jsonl(tmp_path / "o.dropped.jsonl")
    assert len(written) == 6 and kept[0]["question"] == dropped[0]["text"]
    assert written[:3] == written[3:] == ["o.spared.jsonl", "o.dropped.jsonl", "o.jsonl"]
