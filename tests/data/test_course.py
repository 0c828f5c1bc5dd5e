"""Protects: the lessons run on a learner's own data as on the course's, held-out parts apart from what is trained on."""

import pytest

from kotune.data import course, registry
from utils import CourseError, write_jsonl


@pytest.fixture(autouse=True)
def no_outputs(tmp_path, monkeypatch):
    monkeypatch.setattr(course, "OUTPUTS", tmp_path / "outputs")
    monkeypatch.setenv("COURSE_DATA", "")


def rows(count):
    return [
        {"instruction": f"{i}번 질문입니다. 무엇입니까?", "input": "", "output": f"{i}번 답입니다."} for i in range(count)
    ]


def prompts(records):
    return {record["prompt"][-1]["content"] for record in records}


def test_without_a_name_it_is_the_courses_own_with_its_documents():
    own = course.course_set()
    assert (len(own.train), len(own.validation), len(own.evaluation), len(own.pairs)) == (475, 40, 90, 348)
    assert all(row["document_id"] in own.documents for row in own.questions(90))
    assert own.questions(1)[0] == {
        "id": "ev-001",
        "question": own.evaluation[0]["prompt"][0]["content"],
        "reference": own.evaluation[0]["completion"][0]["content"],
        "prompt": own.evaluation[0]["prompt"],
        "document_id": own.evaluation[0]["source"],
    }


def test_the_learners_own_pairs_on_housing_come_first(tmp_path):
    shipped = registry.load_rows("real_estate_train")
    write_jsonl(tmp_path / "outputs" / "data" / "train.jsonl", shipped[:50])
    assert len(course.course_set().train) == 50


@pytest.mark.parametrize("name", ["radiology", "korean_tasks", "medical_dialogues", "listings", "reviews", "counsel"])
def test_a_registered_set_has_parts_that_do_not_overlap(name, monkeypatch):
    monkeypatch.setenv("COURSE_DATA", name)
    chosen = course.course_set()
    parts = [prompts(part) for part in (chosen.train, chosen.validation, chosen.evaluation)]
    assert all(parts)
    for one, other in ((0, 1), (0, 2), (1, 2)):
        assert len(parts[one] & parts[other]) <= 0.02 * len(parts[0])
    assert all(pair["chosen"] != pair["rejected"] for pair in chosen.pairs)
    assert not chosen.documents
    again = course.course_set()
    assert again == chosen  # the same rows are held back each time


def test_a_file_brings_the_pairs_that_lie_beside_it(tmp_path):
    file = write_jsonl(tmp_path / "내 자료.jsonl", rows(60))
    made = course.course_set(str(file))
    assert len(made.train) + len(made.validation) + len(made.evaluation) == 60
    assert {pair["kind"] for pair in made.pairs} == {"off_topic"}
    assert "each answer against that to another question" in made.origin
    write_jsonl(tmp_path / "내 자료_preference.jsonl", [{"prompt": "가?", "chosen": "네.", "rejected": "아니요."}] * 1)
    beside = course.course_set(str(file))
    assert len(beside.pairs) == 1
    assert "내 자료_preference.jsonl" in beside.origin
    assert beside.label == "내 자료"


def test_what_cannot_be_learnt_from_is_one_sentence(tmp_path):
    with pytest.raises(CourseError, match="COURSE_DATA is 'absent'"):
        course.course_set("absent")
    few = write_jsonl(tmp_path / "few.jsonl", rows(12))
    with pytest.raises(CourseError, match="has 12 rows to train on, and the lessons need 30"):
        course.course_set(str(few))
    pairs_alone = write_jsonl(tmp_path / "pairs.jsonl", [{"prompt": "가?", "chosen": "네.", "rejected": "아니요."}] * 40)
    with pytest.raises(CourseError, match=r"pairs\.jsonl, row .* no completion"):
        course.course_set(str(pairs_alone))
