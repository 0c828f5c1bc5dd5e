"""Protects: the shipped data are there, as many and as balanced as the card says, grounded, varied and clean."""

import importlib.util
import json
import re
from collections import Counter
from itertools import pairwise

import pytest

from kotune.data import pii, registry
from kotune.korean import listings, zero_shot
from kotune.korean.grounding import unsupported_numbers
from kotune.korean.sentences import sentence_texts
from kotune.korean.speech_levels import HAEYO, HAPSYO, level_of
from kotune.korean.task_styles import bullet_depth, levels_asked_for
from kotune.korean.tasks import TASKS
from similarity import deduplicate, find_overlap, rouge_l
from utils import DATA, CourseError, read_jsonl

STAGES = ("pt", "sft", "rw", "dpo", "evaluation", "inference")


@pytest.mark.slow
def test_everything_registered_is_there_with_its_licence_and_checks_clean():
    for name, entry in registry.registry().items():
        report = registry.check(name, None, [])
        assert report.rows > 0
        assert not report.counts, f"{name}: {report}"
        assert entry["licence"] == "CC BY 4.0"
        assert entry["stage"] in STAGES


def test_sizes_are_what_the_data_card_says():
    sizes = {name: len(registry.load_rows(name)) for name in registry.registry()}
    card = (DATA / "README.md").read_text(encoding="utf-8")
    for name, size in sizes.items():
        assert f"| `{name}` | {size} |" in card, name
    least = {
        "real_estate_train": 450, "real_estate_evaluation": 60, "real_estate_preference": 340, "korean_tasks": 276,
        "radiology_train": 260, "radiology_test": 60, "radiology_preference": 80, "medical_dialogues": 40,
        "medical_ranked": 40, "pretraining": 400,
    }  # fmt: skip
    assert all(sizes[name] >= size for name, size in least.items())


def test_every_answer_rests_on_a_document_that_has_its_numbers():
    text_of = {d["id"]: d["text"] for d in read_jsonl(DATA / "documents.jsonl")}
    assert len(text_of) >= 90
    for name, field in (
        ("real_estate_train", "answer"),
        ("real_estate_validation", "answer"),
        ("real_estate_evaluation", "reference"),
        ("real_estate_preference", "chosen"),
    ):
        for row in registry.load_rows(name):
            assert not unsupported_numbers(row[field], text_of[row["document_id"]]), row


COUNSEL = ("counsel_train", "counsel_validation", "counsel_evaluation")
COUNSEL_KINDS = {
    "plain": 0.25, "wrong_premise": 0.1, "banmal": 0.1, "typo": 0.08, "two_in_one": 0.08, "multi_turn": 0.06, "steps": 0.06,
    "calculation": 0.05, "ask_professional": 0.03,
}  # fmt: skip


def test_counsel_rows_rest_on_their_documents_and_on_what_was_asked():
    text_of = {d["id"]: d["text"] for d in read_jsonl(DATA / "counsel_documents.jsonl")}
    assert len(text_of) >= 40
    rows = [row for name in COUNSEL for row in registry.load_rows(name)]
    assert len(rows) >= 1000
    assert {row["document_id"] for row in rows} == set(text_of)
    for row in rows:
        assert 20 <= len(row["output"]) <= 400, row["id"]
        assert ("history" in row) == (row["kind"] == "multi_turn"), row["id"]
        if row["kind"] != "calculation" and " = " not in row["output"]:  # what is worked out stands nowhere
            said = [
                text_of[row["document_id"]],
                row["instruction"],
                *(text for turn in row.get("history", []) for text in turn),
            ]
            assert not unsupported_numbers(row["output"], "\n".join(said)), row["id"]


def test_counsel_questions_are_put_in_every_way():
    rows = [row for name in COUNSEL for row in registry.load_rows(name)]
    counts = Counter(row["kind"] for row in rows)
    assert counts.keys() == COUNSEL_KINDS.keys()
    assert all(counts[kind] >= share * len(rows) for kind, share in COUNSEL_KINDS.items())
    lengths = sorted(len(row["output"]) for row in rows)
    assert lengths[len(rows) // 4] < 70
    assert lengths[3 * len(rows) // 4] > 160


def test_counsel_answers_are_polite_throughout():
    for row in (row for name in COUNSEL for row in registry.load_rows(name)):
        levels = {level_of(sentence) for sentence in sentence_texts(row["output"])} - {None}
        assert levels in ({HAPSYO}, {HAEYO}), (row["id"], levels)


@pytest.mark.slow
def test_reviews_are_asked_as_the_zero_shot_set_is_and_say_nothing_by_number():
    texts = {}
    for part in ("train", "written", "test"):
        rows = registry.load_rows(f"reviews_{part}")
        assert Counter(row["output"] for row in rows) == {"긍정": len(rows) // 2, "부정": len(rows) // 2}
        texts[part] = [row["instruction"].split("감상평: ")[1].split("\n\n")[0] for row in rows]
        for row, record, text in zip(rows, registry.load(f"reviews_{part}"), texts[part], strict=True):
            item = zero_shot.Item(row["id"], (text,), row["output"])
            assert record["prompt"] == zero_shot.messages("sentiment", item)
    sample = [item.texts[0] for item in zero_shot.read("sentiment")]
    for unit in ("eojeol", "morpheme"):
        assert not find_overlap(texts["train"] + texts["written"], texts["test"] + sample, 0.7, unit=unit)
    assert len(set(texts["train"] + texts["written"])) == len(texts["train"]) + len(texts["written"])


def test_handwritten_listings_are_records_by_the_rules():
    rows = registry.load_rows("listings_handwritten")
    assert len(rows) == 60
    assert listings.score([row["output"] for row in rows], [row["output"] for row in rows]).exact == 60
    generated = [row["input"] for part in ("train", "validation", "test") for row in registry.load_rows(f"listings_{part}")]
    assert not find_overlap(generated, [row["input"] for row in rows], 0.7)


def korean_tasks():
    return [(TASKS[example["task"]], example) for example in read_jsonl(DATA / "recorded" / "authored_tasks.jsonl")]


def test_the_23_tasks_have_many_examples_on_many_passages_in_both_readings():
    examples = korean_tasks()
    assert min(Counter(task.id for task, _ in examples).values()) >= 12
    assert len({example["context"] for task, example in examples if task.given == "passage"}) >= 60
    asked = [(task, example) for task, example in examples if "question" in example["reply"]]
    for reading in (True, False):
        of_reading = Counter(task.id for task, example in asked if example.get("writes_question", False) == reading)
        assert of_reading.keys() == {task.id for task, _ in asked}
        assert min(of_reading.values()) >= 3
    assert sum(example.get("context_first", False) for _, example in examples) >= 15


def test_a_third_of_the_bullets_have_a_second_level_and_those_that_ask_for_one_do():
    bullets = [
        (task.output(task.schema(**e["reply"])), e["instruction"]) for task, e in korean_tasks() if task.style == "bullet"
    ]
    deep = [any(bullet_depth(line) == 2 for line in output.splitlines()) for output, _ in bullets]
    assert sum(deep) >= len(bullets) / 3
    assert deep == [levels_asked_for(instruction) == 2 for _, instruction in bullets]


def test_the_rows_of_the_23_tasks_are_those_that_were_written():
    """Fails when an authored example or a wording changed and `make recording` was not run."""
    path = DATA.parent / "dev" / "data" / "build_korean_tasks.py"
    spec = importlib.util.spec_from_file_location("build_korean_tasks", path)
    build = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(build)
    assert list(build.rows(read_jsonl(build.AUTHORED))) == read_jsonl(build.BUILT)


def test_no_wording_of_a_task_asks_for_another_style():
    for task in TASKS.values():
        words = " ".join([*task.wordings.plain, *task.wordings.question])
        assert ("합니다체" in words or "문장" in words) or task.style != "sentence"
        assert not (task.style == "sentence" and "개조식" in words), task.id
        assert not (task.id == "task11" and ("개조식" in words or "글머리표" in words))
    assert all("쉼표" in wording for wording in TASKS["task11"].wordings.plain)


VARIED = [
    ("real_estate_train", "question"), ("real_estate_train", "answer"), ("real_estate_evaluation", "question"),
    ("counsel_train", "instruction"), ("counsel_train", "output"), ("korean_tasks", "output"), ("radiology_train", "output"), ("medical_dialogues", "instruction"),
    ("listings_train", "input"), ("listings_test", "input"), ("medical_dialogues", "output"), ("medical_ranked", "instruction"), ("pretraining", "text"), ("seed_tasks", "instruction"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "field"), VARIED)
def test_texts_vary(name, field):
    texts = [row[field] for row in registry.load_rows(name)]
    assert len(deduplicate(texts, 0.7).dropped) <= 0.02 * len(texts)


def test_no_evaluation_question_was_trained_on():
    rows = registry.load_rows("real_estate_train") + registry.load_rows("real_estate_validation")
    held_out = [row["question"] for row in registry.load_rows("real_estate_evaluation")]
    assert not find_overlap([row["question"] for row in rows], held_out, 0.7)
    assert not find_overlap([row["question"] for row in rows], held_out, 0.7, unit="morpheme")
    counsel = [row["instruction"] for name in COUNSEL[:2] for row in registry.load_rows(name)]
    counsel_held_out = [row["instruction"] for row in registry.load_rows("counsel_evaluation")]
    for unit in ("eojeol", "morpheme"):
        assert not find_overlap(counsel, held_out + counsel_held_out, 0.7, unit=unit)
        assert not find_overlap([row["question"] for row in rows], counsel_held_out, 0.7, unit=unit)
    references = [row["reference"] for row in registry.load_rows("real_estate_evaluation")]
    assert not find_overlap([row["text"] for row in registry.load_rows("pretraining")], held_out + references, 0.7)
    trained = {row["input"] for row in registry.load_rows("radiology_train")}
    assert not trained & {row["input"] for row in registry.load_rows("radiology_test")}


@pytest.mark.parametrize(
    ("name", "kinds", "share"),
    [
        ("real_estate_preference", "wrong_fact off_topic cut_short wrong_language padded rude", 0.1),
        ("radiology_preference", "side lobe size invented_finding", 1.0),
        ("medical_ranked", "unsafe vague overconfident off_topic rude", 1.0),
    ],
)
def test_preference_pairs_have_every_kind_in_fair_shares(name, kinds, share):
    counts = Counter(record["kind"] for record in registry.load(name))
    assert set(counts) == set(kinds.split())
    assert min(counts.values()) >= share * max(counts.values())


@pytest.mark.parametrize("part", ["train", "validation", "evaluation"])
def test_open_book_rows_are_the_closed_book_ones_with_three_documents(part):
    closed = {record["id"]: record for record in registry.load(f"real_estate_{part}")}
    documents = {d["id"]: d for d in read_jsonl(DATA / "documents.jsonl")}
    places, without = Counter(), 0
    for row in registry.load_rows(f"real_estate_open_book_{part}"):
        assert closed[row["id"]]["prompt"][0]["content"] in row["instruction"]
        assert sum(document["text"] in row["input"] for document in documents.values()) == 3
        own = documents[row["document_id"]]
        if row.get("kind") == "no_answer":
            without += 1
            assert own["text"] not in row["input"]
            assert own["seed_word"] not in row["input"]
        else:
            assert closed[row["id"]]["completion"][0]["content"] == row["output"]
            places[row["input"].partition(own["text"])[0].count("\n\n")] += 1
    assert len(places) == 3
    assert min(places.values()) > 0.2 * sum(places.values())  # the right one may stand anywhere
    assert 0.12 <= without / len(closed) <= 0.21


def test_dialogues_have_a_history_that_is_one():
    with_history = [row for row in registry.load_rows("medical_dialogues") if row["history"]]
    assert len(with_history) >= 40
    for row in with_history:
        turns = [text for pair in row["history"] for text in pair] + [row["instruction"]]
        assert all(one != other for one, other in pairwise(turns))


# --- judges and zero-shot --------------------------------------------------------------------


def test_calibration_verdicts_are_balanced_within_each_kind():
    rows = read_jsonl(DATA / "judge_calibration.jsonl")
    assert len(rows) >= 220
    by_kind = Counter((row["kind"], row["verdict"]) for row in rows)
    for kind in {row["kind"] for row in rows} - {"tie"}:
        assert by_kind[kind, "first"] == by_kind[kind, "second"]
        assert by_kind[kind, "tie"] == 0
    assert by_kind["tie", "tie"] >= 15
    assert len({row["id"] for row in rows}) == len(rows)


def test_calibration_pairs_are_what_their_kind_says():
    questions = {row["id"]: row for row in registry.load_rows("real_estate_evaluation")}
    for row in read_jsonl(DATA / "judge_calibration.jsonl"):
        source = questions[row["question_id"]]
        assert (row["question"], row["reference"]) == (source["question"], source["reference"])
        if row["verdict"] == "tie":
            continue
        good, bad = (row["first"], row["second"]) if row["verdict"] == "first" else (row["second"], row["first"])
        assert rouge_l(good, row["reference"]).f1 < 0.85  # in words of its own
        if row["kind"] == "padded":
            assert len(bad) >= 1.8 * len(good)
        if row["kind"] == "cut_short":
            assert not bad.rstrip().endswith((".", "!", "?"))


def test_most_wrong_facts_of_the_calibration_set_are_one_stretch_of_a_few_words():
    """A judge of words in common is then blind, and one that reads is not."""
    narrow = Counter()
    for row in read_jsonl(DATA / "judge_calibration.jsonl"):
        if row["kind"] not in ("wrong_fact", "wrong_number"):
            continue
        first, second = row["first"].split(), row["second"].split()
        before = _same(first, second)
        behind = _same(first[before:][::-1], second[before:][::-1])
        narrow[row["kind"]] += max(len(first), len(second)) - before - behind <= 5
    assert min(narrow.values()) >= 30
    assert narrow.total() >= 60


def _same(some, others):
    return next(
        (n for n, (one, other) in enumerate(zip(some, others, strict=False)) if one != other), min(len(some), len(others))
    )


def test_zero_shot_samples_are_balanced():
    for name, chosen in zero_shot.SETS.items():
        items = zero_shot.read(name)
        counts = Counter(item.label for item in items)
        assert len(items) >= 40
        assert set(counts) == set(chosen.labels.values())
        assert len(set(counts.values())) == 1, counts
        assert len({item.texts for item in items}) == len(items)


def test_the_sets_own_files_are_read_and_odd_ones_named(tmp_path, capsys):
    path = tmp_path / "ratings_test.txt"
    path.write_text('id\tdocument\tlabel\n1\t"좋다 정말\t1\n2\t\t0\n3\t별로\t0\n', encoding="utf-8")
    items = zero_shot.read("sentiment", path)
    assert [(item.texts, item.label) for item in items] == [(('"좋다 정말',), "긍정"), (("별로",), "부정")]
    assert "1 lines without a text" in capsys.readouterr().out
    path.write_text("id\tdocument\tlabel\n1\t좋다\t5\n", encoding="utf-8")
    with pytest.raises(CourseError, match=r"line 2: the label is '5'"):
        zero_shot.read("sentiment", path)
    path.write_text("id\ttext\tlabel\n1\t좋다\t1\n", encoding="utf-8")
    with pytest.raises(CourseError, match="lacks the column document"):
        zero_shot.read("sentiment", path)
    with pytest.raises(CourseError, match="no zero-shot set 'nsmc'"):
        zero_shot.read("nsmc")


def test_the_full_sets_say_what_to_do_without_the_hub():
    with pytest.raises(CourseError, match=r"zero_shot\.read"):
        zero_shot.load_full("sentiment")


# --- personal data ---------------------------------------------------------------------------


@pytest.mark.slow
def test_no_personal_data_but_in_the_document_that_has_it_on_purpose():
    found = read_jsonl(DATA / "found_documents.jsonl")
    hits = {found[hit["row"] - 1]["id"] for hit in pii.scan(found, ("title", "text"))}
    assert hits == {"web-9"}
    for path in sorted(DATA.rglob("*.json*")):
        if path.name != "found_documents.jsonl":
            # the keys of recordings are hashes, and sixteen digits of one may be a card's number by chance
            text = re.sub(r'"key": ?"[0-9a-f]{24}"', "", path.read_text(encoding="utf-8"))
            assert not pii.find(json.dumps(text, ensure_ascii=False)), path.name
