"""Protects: whatever a text holds, the time that it takes grows with its length; a new function that takes one is tried too.

Short texts tell a square from a line: every pattern goes to every function. Long ones go where they once took minutes; with
EVERY_TEXT=1 a megabyte of every pattern goes to every function, which takes hours.
"""

import ast
import os
import re
from typing import NamedTuple

import pytest

import similarity
from tests.support.growth import assert_linear_growth, faster_growth
from tests.support.hostile import HOSTILE
from tests.support.text_functions import LEFT_OUT, NOT_TEXT, SHORTER, SLOW_ONCE, TEXT_FUNCTIONS
from utils import ROOT

SIZE = 4_000  # characters, and four times as many
MEGABYTE = 1_000_000
BY_NAME = {function.name: function for function in TEXT_FUNCTIONS}
HOLDS_TEXT = re.compile(r"\b(?:str|bytes|dict|Mapping|Message|CheckedAnswer|Vote|Reply|TaskReply|Any|object)\b")
NO_TEXT = re.compile(r"\b(?:Path|Literal|Callable|type)\b")


def public_functions():
    """Yield (full name, {parameter: annotation}) of every public function and method of the package and the modules at the top."""
    for path in sorted(
        [*(ROOT / "kotune").rglob("*.py"), *(ROOT / f"{name}.py" for name in ("utils", "prompts", "similarity"))]
    ):
        module = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        yield from _functions_in(ast.parse(path.read_text(encoding="utf-8")).body, module)


def _functions_in(body, prefix):
    for node in body:
        name = getattr(node, "name", "_")
        if isinstance(node, ast.ClassDef) and not name.startswith("_"):
            yield from _functions_in(node.body, f"{prefix}.{name}")
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            given = node.args
            every = [*given.posonlyargs, *given.args, *given.kwonlyargs, *([given.vararg] if given.vararg else [])]
            annotated = {one.arg: ast.unparse(one.annotation) for one in every if one.annotation}
            if name in ("__init__", "__call__"):
                yield (prefix if name == "__init__" else f"{prefix}.{name}"), annotated
            elif not name.startswith("_"):
                yield f"{prefix}.{name}", annotated


def takes_text(annotated):
    return any(
        HOLDS_TEXT.search(kind) and not NO_TEXT.search(kind) and name not in NOT_TEXT for name, kind in annotated.items()
    )


def test_every_public_function_that_takes_a_text_is_tried_or_left_out_for_a_reason():
    public = dict(public_functions())
    of_text = {name for name, annotated in public.items() if takes_text(annotated)}
    left_out = {name for names in LEFT_OUT.values() for name in names.split()}
    assert not of_text - BY_NAME.keys() - left_out, "put each into TEXT_FUNCTIONS, or into LEFT_OUT with the reason"
    assert not (BY_NAME.keys() | left_out) - public.keys(), "these are no public functions any more"
    assert not BY_NAME.keys() & left_out, "these are tried, and need no reason"
    assert not left_out - of_text, "these take no text any more"


def test_a_new_function_is_noticed_by_its_annotations():
    new = "class Box:\n def put(self, answer: str | None): ...\ndef f(rows: list[dict]): ...\ndef g(path: str | Path, n: int): ..."
    found = {name for name, annotated in _functions_in(ast.parse(new).body, "kotune.new") if takes_text(annotated)}
    assert found == {"kotune.new.Box.put", "kotune.new.f"}


def test_a_square_is_told_from_a_line():
    run = HOSTILE["a syllable, then a letter"].text
    assert faster_growth(re.compile("[가-힣]+(?![가-힣A-Za-z])").findall, run, 1_500)
    assert not faster_growth(re.compile("(?<![가-힣])[가-힣]++(?![A-Za-z])").findall, run, 1_500)


class Token(NamedTuple):
    """A word as the analyser of Korean gives it."""

    form: str
    tag: str


class Splitter:
    """Stands in for the analyser of Korean, whose time is its own: a word is a token."""

    def tokenize(self, texts):
        return [[Token(word, "NNG") for word in text.split()] for text in texts]


@pytest.mark.slow
@pytest.mark.parametrize("name", BY_NAME)
def test_the_time_of_no_function_grows_with_the_square_of_a_text(name, monkeypatch):
    monkeypatch.setattr(similarity, "_kiwi", Splitter)
    function = BY_NAME[name]
    function("가 나")  # what it loads at its first call
    size = SHORTER.get(name, SIZE)
    grown = {pattern: faster_growth(function, hostile.text, size) for pattern, hostile in HOSTILE.items()}
    assert not {pattern: said for pattern, said in grown.items() if said}


MEGABYTES = [(name, pattern, MEGABYTE) for name in BY_NAME for pattern in HOSTILE]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "pattern", "size"), MEGABYTES if os.environ.get("EVERY_TEXT") == "1" else SLOW_ONCE)
def test_a_long_text_takes_eight_times_as_long_as_its_eighth(name, pattern, size, monkeypatch):
    monkeypatch.setattr(similarity, "_kiwi", Splitter)
    BY_NAME[name]("가 나")
    assert_linear_growth(BY_NAME[name], HOSTILE[pattern].text, size)
