"""The outputs of an English cell as the Korean one would print them, where that can be told without running it.

What a cell prints comes from its strings, and each of those that was translated has its Korean: a printed line, or a table's
cell, that is of an f-string's form is put into the Korean form with the same values. A picture wants a run, and so does a
line that holds a translated string in another way.
"""

from __future__ import annotations

import ast
import copy
import re
from collections.abc import Sequence
from html import escape, unescape

from dev.editions.code_texts import Pair
from kotune.expectations import AS_TOLD, OTHERWISE
from kotune.korean.error_sentences import PLACEHOLDER, Template

_IN_A_TABLE = re.compile(r"(?<=>)[^<>]+(?=</t[hd]>)")
OF_THE_PACKAGE = (Template(*AS_TOLD), Template(*OTHERWISE))


def in_korean(outputs: Sequence[dict], pairs: Sequence[Pair]) -> list[dict] | None:
    """Return a cell's outputs in Korean; None where they can be had by a run alone."""
    templates = [*OF_THE_PACKAGE, *(template_of(pair) for pair in pairs if not pair.english.startswith("#"))]
    if any("image/png" in output.get("data", {}) for output in outputs):
        return None
    if not any(_shows(output, templates) for output in outputs):
        return [*outputs]
    if any(set(PLACEHOLDER.findall(template.korean)) - set(template.names) for template in templates):
        return None  # one of the braces chooses between words that are translated too
    korean = []
    for output in copy.deepcopy([*outputs]):
        if "text" in output:
            output["text"] = _lines("".join(output["text"]), templates)
        elif set(output.get("data", {})) <= {"text/plain", "text/html"} and "data" in output:
            _put_table(output["data"], templates)
        else:
            return None
        if _shows(output, templates):
            return None
        korean.append(output)
    return korean


def template_of(pair: Pair) -> Template:
    """Return a pair of strings as a template of what they print, with a name for what stands in each pair of braces."""
    names: dict[str, str] = {}
    return Template(_named(pair.english, names), _named(pair.korean, names))


def _named(literal: str, names: dict[str, str]) -> str:
    tree = ast.parse(literal, mode="eval").body
    text = ""
    for part in tree.values if isinstance(tree, ast.JoinedStr) else [tree]:
        if isinstance(part, ast.Constant):
            text += str(part.value)
        else:
            text += "{" + names.setdefault(ast.unparse(part), "v" + "_" * len(names)) + "}"
    return text


def _shows(output: dict, templates: Sequence[Template]) -> bool:
    """Say whether an output holds the words of a template, in whatever form."""
    data = output.get("data", {})
    cells = _IN_A_TABLE.findall("".join(data.get("text/html", "")))  # not the names of its style
    shown = "\n".join(["".join(output.get("text", "")), "".join(data.get("text/plain", "")), *cells])
    words = {part.strip() for template in templates for part in template.fixed if re.search("[A-Za-z]{2}", part)}
    return any(re.search(rf"(?<![A-Za-z]){re.escape(each)}(?![A-Za-z])", shown) for each in words)


def _lines(text: str, templates: Sequence[Template]) -> list[str]:
    return [
        _printed(line.rstrip("\n"), templates) + line[len(line.rstrip("\n")) :] for line in text.splitlines(keepends=True)
    ]


def _printed(line: str, templates: Sequence[Template]) -> str:
    """Return a printed line in Korean; it may begin with a string of its own, as in print("loss", 1)."""
    for template in _worded(templates):
        if not template.names and line.startswith(f"{template.english} "):
            return f"{template.korean} {_printed(line.removeprefix(f'{template.english} '), templates)}"
    return _put(line, templates)


def _worded(templates: Sequence[Template]) -> list[Template]:
    """Return the templates that hold a word, those with the most text first."""
    worded = [template for template in templates if re.search("[A-Za-z]{2}", "".join(template.fixed))]
    return sorted(worded, key=lambda one: -len("".join(one.fixed)))


def _put(text: str, templates: Sequence[Template], depth: int = 0) -> str:
    """Return a text in the Korean form of the template that it is of; as it is where it is of none."""
    for template in _worded(templates):
        values = template.values(text)
        if values is not None:
            korean = {name: _put(value, templates, depth + 1) if depth < 2 else value for name, value in values.items()}
            return PLACEHOLDER.sub(lambda match, korean=korean: korean[match[1]], template.korean)
    return text


def _put_table(data: dict, templates: Sequence[Template]) -> None:
    """Put the cells of a table into Korean, and the same words of its plain form, at their width where they fit."""
    if "text/html" not in data:
        data["text/plain"] = _lines("".join(data["text/plain"]), templates)
        return
    changed: dict[str, str] = {}

    def put(match: re.Match) -> str:
        english = unescape(match[0])
        changed[english] = _put(english, templates)
        return escape(changed[english], quote=False)

    data["text/html"] = _IN_A_TABLE.sub(put, "".join(data["text/html"])).splitlines(keepends=True)
    plain = "".join(data["text/plain"])
    for english, korean in sorted(changed.items(), key=lambda pair: -len(pair[0])):
        if english != korean:
            plain = re.sub(rf"(?<!\S){re.escape(english)}(?!\S)", korean.rjust(len(english)).replace("\\", r"\\"), plain)
    data["text/plain"] = plain.splitlines(keepends=True)
