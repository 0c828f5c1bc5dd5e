"""Mend the line numbers in the notebooks' links to code: [`deduplicate`](similarity.py#L420) leads to its definition.

    python dev/link_lines.py          mends them in the notebooks
    python dev/link_lines.py --check  names those that are old, and mends nothing

A link's text is the name that is defined there, between backticks. A test holds the stored notebooks to this.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from utils import ROOT, CourseError, read_text, write_atomic

TO_A_LINE = re.compile(r"\[`(?P<name>\w+)`\]\((?P<file>[\w./-]+\.py)#L(?P<line>\d+)\)")


@dataclass(frozen=True)
class LineLink:
    """A link to the line of a file of the course at which a name is defined, as a text has it."""

    name: str
    file: str
    line: int


def line_links(text: str) -> Iterator[LineLink]:
    """Yield the links to lines of code in a text."""
    for match in TO_A_LINE.finditer(text):
        yield LineLink(match["name"], match["file"], int(match["line"]))


def defined_at(file: str, name: str) -> int:
    """Return the number of the line at which a file of the course defines a function, class or constant.

    Raises:
        CourseError: the file is not there, or defines no such name at its outermost level.
    """
    defines = re.compile(rf"(?:def|class) {name}\b|{name}\b[^=(]*=")
    for number, line in enumerate(read_text(ROOT / file).splitlines(), start=1):
        if defines.match(line):
            return number
    raise CourseError(f"{file} defines no {name}, to which a notebook has a link; change the link.")


def with_right_lines(text: str) -> str:
    """Return a text whose links lead to the lines at which their names are defined."""
    return TO_A_LINE.sub(
        lambda match: f"[`{match['name']}`]({match['file']}#L{defined_at(match['file'], match['name'])})", text
    )


def main(arguments: list[str]) -> int:
    """Mend or check the notebooks at the top, and return the exit code."""
    old = 0
    for path in sorted(ROOT.glob("*.ipynb")):
        text = read_text(path)
        mended = with_right_lines(text)
        for was, now in zip(line_links(text), line_links(mended), strict=True):
            if was != now:
                old += 1
                print(f"{path.name}: {was.name} stands at line {now.line} of {was.file}, the link says {was.line}")
        if mended != text and "--check" not in arguments:
            write_atomic(path, mended)
    return 1 if old and "--check" in arguments else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
