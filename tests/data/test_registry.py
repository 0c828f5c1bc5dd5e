"""Protects: every shape gives the same record, bad rows are named, and the shipped data keep their promises."""

import json

import pytest

from kotune import cli
from kotune.data import registry
from utils import CourseError

QUESTION, ANSWER = "전세란?", "보증금을 맡기고 사는 방식입니다."


def load(tmp_path, *rows):
    path = tmp_path / "my.jsonl"
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return registry.load(path)


@pytest.mark.parametrize(
    "row",
    [
        {"question": QUESTION, "answer": ANSWER},
        {"instruction": QUESTION, "input": "", "output": ANSWER},
        {"input": QUESTION, "output": ANSWER, "Task_name": "task08_01"},
        {"prompt": QUESTION, "completion": ANSWER},
        {"messages": [{"role": "user", "content": QUESTION}, {"role": "assistant", "content": ANSWER}]},
    ],
)
def test_every_supervised_shape_gives_one_record(tmp_path, row):
    (record,) = load(tmp_path, row)
    assert record["prompt"] == [{"role": "user", "content": QUESTION}]
    assert record["completion"] == [{"role": "assistant", "content": ANSWER}]
    assert record["id"] == "my-00001"


def test_an_input_follows_its_instruction(tmp_path):
    (record,) = load(tmp_path, {"instruction": "요약하세요.", "input": "긴 글", "output": "짧은 글"})
    assert record["prompt"][0]["content"] == "요약하세요.\n\n긴 글"


def test_a_missing_id_is_made_and_a_system_text_is_kept(tmp_path):
    rows = [{"id": None, "instruction": QUESTION, "system": "공손히.", "output": ANSWER}] * 2
    one, other = load(tmp_path, *rows)
    assert (one["id"], other["id"]) == ("my-00001", "my-00002")
    assert [turn["role"] for turn in one["prompt"]] == ["system", "user"]


def test_preference_pairs_of_texts_or_messages(tmp_path):
    text = {"prompt": QUESTION, "chosen": ANSWER, "rejected": "몰라요."}
    messages = {
        "prompt": [{"role": "user", "content": QUESTION}],
        "chosen": [{"role": "assistant", "content": ANSWER}],
        "rejected": [{"role": "assistant", "content": "몰라요."}],
    }
    one, other = load(tmp_path, text, messages)
    assert {**one, "id": ""} == {**other, "id": ""}


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"question": QUESTION}, "question; the course reads"),
        ({"question": QUESTION, "answer": " "}, "field answer"),
        ({"question": 3, "answer": ANSWER}, "field question"),
        ({"prompt": QUESTION, "chosen": ANSWER, "rejected": ANSWER}, "same text"),
        ({"messages": [{"role": "user", "content": QUESTION}]}, "last turn"),
        ({"messages": [{"role": "robot", "content": QUESTION}]}, "field messages"),
        ({"prompt": QUESTION, "completion": [{"role": "user", "content": ANSWER}]}, "one assistant turn"),
        ({"prompt": [{"role": "system", "content": "공손히"}], "completion": ANSWER}, "the roles are system"),
        (
            {
                "prompt": QUESTION,
                "chosen": [{"role": "user", "content": QUESTION}, {"role": "assistant", "content": ANSWER}],
                "rejected": "몰라요.",
            },
            "field chosen",
        ),
        ({"id": "a", "question": QUESTION, "answer": ANSWER}, "was used by line 1"),
    ],
)
def test_a_bad_row_is_named_with_file_and_row(tmp_path, row, words):
    good = {"id": "a", "question": QUESTION, "answer": ANSWER}
    with pytest.raises(CourseError, match=r"my\.jsonl, line 2") as error:
        load(tmp_path, good, row)
    assert words in str(error.value)


def test_an_unknown_name_lists_the_registered():
    with pytest.raises(CourseError, match="real_estate_train"):
        registry.load("real_estate")


# --- the registry ---


@pytest.fixture
def registered(tmp_path, monkeypatch):
    """Register entries of a test's own, beside data files of its own."""

    def register(**entries):
        (tmp_path / "dataset_info.json").write_text(json.dumps(entries, ensure_ascii=False), encoding="utf-8")
        monkeypatch.setattr(registry, "DATA", tmp_path)
        monkeypatch.setattr(registry, "registry", lambda: REGISTRY(tmp_path / "dataset_info.json"))
        return tmp_path

    return register


REGISTRY = registry.registry


def test_columns_are_mapped_and_default_to_system_cs(registered):
    columns = {"prompt": "frage", "query": "mehr", "response": "antwort", "history": "vorher"}
    folder = registered(mine={"file_name": "a.json", "columns": columns}, plain={"file_name": "b.json"})
    row = {"frage": QUESTION, "mehr": "자료", "antwort": ANSWER, "vorher": [["안녕하세요", "네, 안녕하세요."]]}
    (folder / "a.json").write_text(json.dumps([row], ensure_ascii=False), encoding="utf-8")
    plain = {"instruction": QUESTION, "input": "자료", "output": ANSWER, "history": row["vorher"]}
    (folder / "b.json").write_text(json.dumps([plain], ensure_ascii=False), encoding="utf-8")
    mapped, default = registry.load("mine")[0], registry.load("plain")[0]
    assert mapped["prompt"] == default["prompt"]
    assert [turn["content"] for turn in mapped["prompt"]] == ["안녕하세요", "네, 안녕하세요.", f"{QUESTION}\n\n자료"]
    assert mapped["completion"] == default["completion"]


def test_a_script_is_refused_because_it_would_run_downloaded_code(registered):
    registered(theirs={"script_url": "https://example.com/load.py", "file_name": "a.json"})
    with pytest.raises(CourseError, match="would run downloaded code"):
        registry.load("theirs")


def test_a_file_with_another_sha1_is_refused(registered):
    import hashlib

    content = json.dumps([{"question": QUESTION, "answer": ANSWER}]).encode()
    right = {"file_name": "a.json", "file_sha1": hashlib.sha1(content).hexdigest()}
    folder = registered(right=right, wrong=right | {"file_sha1": "0" * 40}, gone=right | {"file_name": "b.json"})
    (folder / "a.json").write_bytes(content)
    assert len(registry.load("right")) == 1
    with pytest.raises(CourseError, match="another file, or was changed"):
        registry.load("wrong")
    with pytest.raises(CourseError, match="does not exist"):
        registry.load("gone")


def test_the_hub_wins_over_the_file_and_says_when_it_cannot_be_reached(registered):
    registered(hub={"hf_hub_url": "nobody/nothing-here", "script_url": "https://example.com/x.py", "file_name": "a.json"})
    with pytest.raises(CourseError, match="cannot be read from the Hugging Face hub"):
        registry.load("hub")
    assert "cannot be read from the Hugging Face hub" in str(registry.check("hub", None, []))


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ({"file_name": "a.json", "colums": {}}, "colums is not known"),
        ({"stage": "sft"}, "names no data"),
        ({"file_name": "a.json", "columns": {"promt": "q"}}, "with keys among"),
        ({"file_name": "a.json", "columns": ["q"]}, "with keys among"),
        (None, "an entry is an object"),
    ],
)
def test_a_malformed_entry_is_named(registered, entry, words):
    registered(mine=entry)
    with pytest.raises(CourseError, match=words):
        registry.load("mine")


def test_a_column_mapped_to_null_is_not_used_and_a_collision_is_refused(registered):
    columns = {"prompt": "question", "query": None, "response": "answer", "history": None}
    folder = registered(
        mine={"file_name": "a.jsonl", "columns": columns}, clash={"file_name": "a.jsonl", "columns": {"prompt": "question"}}
    )
    row = {"question": QUESTION, "answer": ANSWER, "input": "다른 것", "history": [["가", "나"]], "instruction": "남의 것"}
    (folder / "a.jsonl").write_text(json.dumps({k: v for k, v in row.items() if k != "instruction"}, ensure_ascii=False))
    (record,) = registry.load("mine")
    assert record["prompt"] == [{"role": "user", "content": QUESTION}]
    (folder / "a.jsonl").write_text(json.dumps(row, ensure_ascii=False))
    with pytest.raises(CourseError, match="which the row has as well"):
        registry.load("clash")


def test_records_for_another_stage_than_registered_are_errors(registered):
    folder = registered(mine={"file_name": "a.jsonl", "stage": "dpo"})
    (folder / "a.jsonl").write_text(json.dumps({"question": QUESTION, "answer": ANSWER}, ensure_ascii=False))
    assert "registered for dpo, and this record is for sft" in str(registry.check("mine", None, []))


def test_a_folder_of_shards_is_read_in_order_and_what_is_not_read_is_said(tmp_path, capsys):
    for number in (2, 1):
        row = {"question": f"질문 {number}", "answer": ANSWER}
        (tmp_path / f"shard-{number}.jsonl").write_text(json.dumps(row, ensure_ascii=False), encoding="utf-8")
    (tmp_path / "notes.md").write_text("메모")
    assert [record["prompt"][0]["content"] for record in registry.load(tmp_path)] == ["질문 1", "질문 2"]
    assert "notes.md" in capsys.readouterr().out


def test_a_dataset_is_one_that_trainers_take(tmp_path):
    rows = [{"question": QUESTION, "answer": ANSWER}, {"input": QUESTION, "output": ANSWER, "Task_name": "task08_02"}]
    path = tmp_path / "a.jsonl"
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    loaded = registry.dataset(path)
    assert loaded[1]["task"] == "task08_02"
    assert loaded[0]["completion"] == [{"role": "assistant", "content": ANSWER}]
    path.write_text('{"text": "글"}\n' + json.dumps(rows[0]) + "\n", encoding="utf-8")
    with pytest.raises(CourseError, match="mixes records for pt, sft"):
        registry.dataset(path)


# --- the command line ---


def run(capsys, *arguments):
    with pytest.raises(SystemExit) as ended:
        cli.main(["data", *map(str, arguments)])
    code, out = ended.value.code, capsys.readouterr().out
    return (1, out, code) if isinstance(code, str) else (code, out, "")  # a text is printed as the error, with code 1


def test_check_prints_a_table_and_its_exit_code_says_whether_there_are_errors(tmp_path, capsys):
    path = tmp_path / "a.jsonl"
    rows = [
        {"question": QUESTION, "answer": ANSWER, "note": "쓰이지 않음"},
        {"id": "x", "question": "전화번호는?", "answer": "010-1234-5678입니다."},
        {"id": "x", "question": "깨진 글은?", "answer": "ì•ˆë…•í•˜ì„¸ìš” 占쏙옙"},
        {"question": "보이지 않는 글자는?", "answer": "여기\u200b에 있습니다."},
    ]
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    code, out, _ = run(capsys, "check", path)
    assert code == 1
    for words in (
        "line 1, field note: no format of the course has it",
        "line 2, field completion: a likely mobile phone",
        "line 3, field id: 'x' was used by line 2",
        "line 3, field completion: the text was read in a wrong encoding",
        "line 4, field completion: the text holds invisible characters",
        "4 rows: 1 errors, 4 warnings",
    ):
        assert words in out, words
    assert "010-1234-5678" not in out
    code, out, _ = run(capsys, "check", "real_estate_validation")
    assert (code, out) == (0, "40 rows: 0 errors, 0 warnings\n")


@pytest.mark.slow
def test_check_finds_what_is_too_long_for_a_recipe_and_what_overlaps(tmp_path, capsys):
    held_out = registry.load_rows("real_estate_evaluation")[0]["question"]
    path = tmp_path / "a.jsonl"
    rows = [{"question": "긴 글은?", "answer": "가나다라 " * 400}, {"question": held_out, "answer": ANSWER}]
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    code, out, _ = run(capsys, "check", path, "--recipe", "gemma-3-270m-cpu", "--against", "real_estate_evaluation")
    assert code == 1
    assert "line 1: " in out and "leaves out what is beyond 512" in out
    assert "line 2: the question is near the held-out" in out
    code, _, err = run(capsys, "check", path, "--recipe", "gpt-9")
    assert code == 1 and "There is no recipe 'gpt-9'" in err


def test_many_findings_of_a_kind_are_counted_and_the_first_shown(tmp_path, capsys):
    path = tmp_path / "a.jsonl"
    path.write_text('{"question": "", "answer": "나"}\n' * 500, encoding="utf-8")
    _, out, _ = run(capsys, "check", path)
    assert out.count("field question") == 20
    assert "and 480 more" in out


def test_convert_from_the_hospitals_excel_and_back(tmp_path, capsys):
    code, out, _ = run(capsys, "convert", "radiology_train", tmp_path / "a.xlsx", "--to", "xlsx")
    assert code == 0 and "written" in out
    code, _, _ = run(capsys, "convert", tmp_path / "a.xlsx", tmp_path / "b.jsonl", "--to", "messages")
    assert code == 0
    again, original = registry.load(tmp_path / "b.jsonl"), registry.load("radiology_train")
    assert [(r["id"], r["prompt"], r["completion"]) for r in again] == [
        (r["id"], r["prompt"], r["completion"]) for r in original
    ]
    code, _, err = run(capsys, "convert", "radiology_preference", tmp_path / "c.jsonl", "--to", "sft")
    assert code == 1 and "convert it to dpo or rw" in err
