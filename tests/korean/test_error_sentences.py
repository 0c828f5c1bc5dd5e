"""Protects: an error reaches a reader of the Korean edition in Korean, with its values; the table is of the present sentences."""

import ast
import re
import subprocess
import sys
from functools import cache

import pytest

from kotune.korean.checks import check
from kotune.korean.error_sentences import FINDINGS, PLACEHOLDER, Template, in_edition, in_korean, templates
from utils import ROOT, CourseError, read_jsonl

# sentences of the source that have no Korean yet; a number that may only fall
MOST_WITHOUT_KOREAN = 256
SOURCES = [*sorted((ROOT / "kotune").rglob("*.py")), *(ROOT / f"{name}.py" for name in ("utils", "similarity", "prompts"))]


def template_of(node: ast.expr) -> str | None:
    """Return a literal's text with {} for each placeholder; None for what is no literal."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(part.value if isinstance(part, ast.Constant) else "{}" for part in node.values)
    return None


@cache
def trees() -> tuple[ast.Module, ...]:
    return tuple(ast.parse(path.read_text(encoding="utf-8")) for path in SOURCES)


def nodes():
    return (node for tree in trees() for node in ast.walk(tree))


@cache
def error_classes() -> frozenset[str]:
    """Return the names of CourseError and of every class that is one."""
    names = {"CourseError"}
    classes = [node for node in nodes() if isinstance(node, ast.ClassDef)]
    for _ in range(4):  # classes of classes
        names |= {each.name for each in classes if any(getattr(base, "id", "") in names for base in each.bases)}
    return frozenset(names)


def raised() -> set[str]:
    """Return the template of every CourseError that the source makes of a literal."""
    calls = (node for node in nodes() if isinstance(node, ast.Call) and node.args)
    made = (template_of(node.args[0]) for node in calls if getattr(node.func, "id", "") in error_classes())
    return {text for text in made if text and re.search("[A-Za-z]{2}", text)}


def key(template: Template) -> str:
    return PLACEHOLDER.sub("{}", template.english)


@pytest.mark.slow
def test_every_template_of_the_table_is_one_of_the_source():
    """Where this fails, a sentence was changed: change it in the table too, and its Korean."""
    literals = {text for node in nodes() if isinstance(node, ast.expr) and (text := template_of(node))}
    whole = [template for template in templates() if not template.is_part]
    assert [
        template.english
        for template in whole
        if key(template) not in literals and key(template).removeprefix("{} ") not in literals
    ] == []
    assert len({key(template) for template in templates()}) == len(templates())


def test_no_more_sentences_are_without_korean_than_before():
    """A new CourseError wants an entry in kotune/korean/error_sentences.yaml; where entries were added, lower the number."""
    without = sorted(raised() - {key(template) for template in templates()})
    assert len(without) <= MOST_WITHOUT_KOREAN, "\n".join(without)


def test_both_sides_have_the_same_values():
    for template in templates():
        assert set(PLACEHOLDER.findall(template.korean)) == set(template.names), template.english
        assert "}{" not in template.english, template.english  # where the first ends could not be told
        assert re.search("[가-힣]", template.korean), template.english


@pytest.mark.parametrize(
    ("english", "korean"),
    [
        ("data/x.jsonl does not exist; check the path.", "data/x.jsonl이 없습니다. 경로를 확인하세요."),
        ("data/x.csv does not exist; check the path.", "data/x.csv가 없습니다. 경로를 확인하세요."),
        ("자료 does not exist; check the path.", "자료가 없습니다. 경로를 확인하세요."),
        ("도움말 does not exist; check the path.", "도움말이 없습니다. 경로를 확인하세요."),
        (
            "a.jsonl, line 3, field answer: is empty; fill it in.",
            "a.jsonl 3행, answer 필드: 비어 있습니다. 채우세요.",
        ),
        (
            "a.jsonl, line 3, holds a list, not an object; write one {...} a line.",
            "a.jsonl 3행에 객체가 아니라 목록(list)이 있습니다. 한 줄에 {...} 하나씩 쓰세요.",
        ),
        (
            "COURSE_RECIPE is x: The recipe x.yaml cannot be read (gone); name a YAML file.",
            "COURSE_RECIPE의 값이 x입니다. 레시피 x.yaml을 읽을 수 없습니다(gone). YAML 파일을 지정하세요.",
        ),
        (
            "COURSE_RECIPE is 'x': There is no recipe 'gemma'; did you mean gemma-2b-qlora? The recipes are a, b.",
            "COURSE_RECIPE의 값이 'x'입니다. 'gemma'라는 레시피는 없습니다. 혹시 gemma-2b-qlora인가요? 있는 것: a, b.",
        ),
        ("There is no tune like this one.", None),
    ],
)
def test_a_sentence_is_put_into_korean_with_its_values_and_their_particles(english, korean):
    assert in_korean(english) == korean


def test_a_particle_stays_open_where_its_sound_is():
    assert in_korean("DSR is empty; pass at least one text.") == "DSR이(가) 비어 있습니다. 글을 하나 이상 주세요."


def test_the_edition_decides_and_without_korean_the_english_is_shown(monkeypatch):
    sentence = "자료 does not exist; check the path."
    monkeypatch.setenv("KOTUNE_LANG", "en")
    assert in_edition(sentence) == sentence
    monkeypatch.setenv("KOTUNE_LANG", "ko")
    assert in_edition(sentence).startswith("자료가 없습니다")
    assert in_edition("A sentence of nobody.") == "A sentence of nobody."
    assert CourseError(sentence)._render_traceback_() == ["CourseError: 자료가 없습니다. 경로를 확인하세요."]
    monkeypatch.setenv("KOTUNE_LANG", "ja")  # no reason to hide what went wrong
    assert CourseError(sentence)._render_traceback_() == [f"CourseError: {sentence}"]


@pytest.mark.slow
def test_the_command_line_speaks_korean_where_it_is_asked_to(tmp_path):
    import os

    done = subprocess.run(
        [sys.executable, "-m", "kotune", "data", "check", "없는파일.jsonl"],
        cwd=ROOT, capture_output=True, text=True, encoding="utf-8", env={**os.environ, "KOTUNE_LANG": "ko"}, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr.startswith("오류: 없는파일.jsonl은 파일도 등록된 데이터 세트도 아닙니다.")


# --- what the checks of Korean say ---


def test_every_finding_of_the_labelled_answers_is_said_in_korean_in_its_edition(monkeypatch):
    """Where this fails, a check says something new: put it into kotune/korean/finding_sentences.yaml, with its Korean."""
    monkeypatch.setenv("KOTUNE_LANG", "ko")
    rows = read_jsonl(ROOT / "tests" / "korean" / "korean_checks.jsonl")
    asked = [{name: row.get(name) for name in ("question", "source", "ended")} for row in rows]
    found = [one for row, given in zip(rows, asked, strict=True) for one in check(row["answer"], **given)]
    assert len({one.check for one in found}) > 20
    assert [one for one in found if not re.search(r"니다(?:\(|:|\.|$)", one.message)] == []
    monkeypatch.setenv("KOTUNE_LANG", "en")
    assert check("보증금를 맡깁니다.")[0].message == "보증금를 should be 보증금을."


def test_the_table_of_findings_is_of_the_present_sentences():
    literals = {text for node in nodes() if isinstance(node, ast.expr) and (text := template_of(node))}
    known = {PLACEHOLDER.sub("{}", text) for text in literals}
    table = templates(FINDINGS)
    assert [one.english for one in table if key(one) not in known] == []
    assert all(set(PLACEHOLDER.findall(one.korean)) == set(one.names) for one in table)
