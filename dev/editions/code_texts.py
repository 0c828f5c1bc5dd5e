"""The texts in a cell's code that a learner reads, comments and string literals, put into another language.

Only what a pair names is put in the place of what it names, and everything else of the code stays as it is.
"""

from __future__ import annotations

import ast
import io
import tokenize
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from utils import CourseError

_STARTS = {getattr(tokenize, name) for name in ("FSTRING_START",) if hasattr(tokenize, name)}  # from Python 3.12
_ENDS = {getattr(tokenize, name) for name in ("FSTRING_END",) if hasattr(tokenize, name)}


@dataclass(frozen=True)
class Pair:
    """A comment or string literal as the English code has it, and the one that takes its place.

    occurrence: which of several equal ones of the cell, from 1; None takes all of them.
    line: where the pair stands in its file.
    """

    english: str
    korean: str
    occurrence: int | None = None
    line: int = 0


@dataclass(frozen=True)
class CodeText:
    """A comment or string literal: code[start:end] is its text, with quotation marks and prefix."""

    start: int
    end: int
    text: str

    @property
    def is_comment(self) -> bool:
        """Say whether it is a comment, and no string."""
        return self.text.startswith("#")


def code_texts(code: str) -> Iterator[CodeText]:
    """Yield the comments and string literals of a cell in order; an f-string is one, with what stands in its braces."""
    offsets = [0]
    for line in code.splitlines(keepends=True):
        offsets.append(offsets[-1] + len(line))
    depth, opened = 0, 0
    for token in tokenize.generate_tokens(io.StringIO(code).readline):
        start, end = (offsets[row - 1] + column for row, column in (token.start, token.end))
        if token.type in _STARTS:
            opened = start if depth == 0 else opened
            depth += 1
        elif token.type in _ENDS:
            depth -= 1
            if depth == 0:
                yield CodeText(opened, end, code[opened:end])
        elif depth == 0 and token.type in (tokenize.STRING, tokenize.COMMENT):
            yield CodeText(start, end, code[start:end])


def translated(code: str, pairs: Sequence[Pair]) -> str:
    """Return a cell's code with the pairs' Korean in the place of their English.

    Raises:
        CourseError: a pair names nothing in the code, or its sides are not of one kind.
    """
    by_text: dict[str, list[CodeText]] = {}
    for found in code_texts(code):
        by_text.setdefault(found.text, []).append(found)
    changes: dict[int, tuple[int, str]] = {}
    for pair in pairs:
        require_same_kind(pair)
        places = by_text.get(pair.english, [])
        if pair.occurrence is not None:
            places = places[pair.occurrence - 1 : pair.occurrence]
        if not places:
            which = "" if pair.occurrence is None else f", {pair.occurrence} times over"
            raise CourseError(
                f"line {pair.line}: the cell holds no comment or string {pair.english}{which}; copy it from the code, with "
                "its quotation marks and the letter before them."
            )
        for place in places:
            if place.start in changes:
                raise CourseError(f"line {pair.line}: {pair.english} has two translations; keep one of them.")
            changes[place.start] = (place.end, pair.korean)
    parts, done = [], 0
    for start, (end, korean) in sorted(changes.items()):
        parts += [code[done:start], korean]
        done = end
    return "".join(parts) + code[done:]


def require_same_kind(pair: Pair) -> None:
    """Raise a CourseError unless a comment takes a comment's place, and a string one with the same placeholders."""
    if pair.english.startswith("#") or pair.korean.startswith("#"):
        if not (pair.english.startswith("#") and pair.korean.startswith("#") and "\n" not in pair.korean):
            raise CourseError(f"line {pair.line}: a comment needs a comment of one line in its place; begin it with #.")
        return
    try:
        kept, given = placeholders(pair.english), placeholders(pair.korean)
    except (SyntaxError, ValueError) as error:
        raise CourseError(
            f"line {pair.line}: {pair.korean} is no string of Python ({error}); write it with its quotation marks."
        ) from None
    if kept != given:
        differ = ", ".join(sorted({*kept, *given} - ({*kept} & {*given}))) or "one more often than the other"
        raise CourseError(
            f"line {pair.line}: the placeholders of {pair.english} and of its translation differ ({differ}); keep each of "
            "them, in any order."
        )


def placeholders(literal: str) -> list[str]:
    """Return what stands in the braces of a string literal, sorted, with the strings in there blanked; [] without any.

    Raises:
        ValueError: it is no string literal.
        SyntaxError: it is no Python.
    """
    tree = ast.parse(literal, mode="eval").body
    if [text.text for text in code_texts(literal)] != [literal]:
        raise ValueError("it is more than one string")
    if isinstance(tree, ast.Constant) and isinstance(tree.value, str):
        return []
    if not isinstance(tree, ast.JoinedStr):
        raise ValueError("it is no string literal")
    return sorted(ast.unparse(_Blanked().visit(part)) for part in tree.values if isinstance(part, ast.FormattedValue))


class _Blanked(ast.NodeTransformer):
    """Takes the words out of strings, and leaves what stands in their braces."""

    def visit_Constant(self, node: ast.Constant) -> ast.AST:
        return ast.copy_location(ast.Constant(""), node) if isinstance(node.value, str) else node

    def visit_JoinedStr(self, node: ast.JoinedStr) -> ast.AST:
        values = [self.visit(part) for part in node.values if isinstance(part, ast.FormattedValue)]
        return ast.copy_location(ast.JoinedStr(sorted(values, key=ast.dump)), node)

    def visit_FormattedValue(self, node: ast.FormattedValue) -> ast.AST:
        node.value = self.visit(node.value)
        return node  # how it is written, as in {x:.2f}, stays


def skeleton(code: str) -> str:
    """Return a cell's code as its tree without comments and without the words of its strings, for a comparison."""
    return ast.dump(_Blanked().visit(ast.parse(code)))
