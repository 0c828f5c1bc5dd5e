"""Links of a page, made for the book: to other pages, and to files of the repository that the book takes along."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from html import escape
from pathlib import Path, PurePosixPath

# code is left alone; a link's text may hold code, brackets in pairs, and a picture
_PARTS = re.compile(
    r"(?P<fence>^(?P<ticks>```+|~~~+).*?^(?P=ticks))"
    r"|(?P<mark>!?)\[(?P<text>(?:[^\[\]]|\[[^\[\]]*\])*)\]\((?P<target>[^)\s]+)(?P<title>\s+\"[^\"]*\")?\)"
    r"|(?P<code>(?P<tick>`+)(?!`).*?(?<!`)(?P=tick)(?!`))"
    r"|(?P<tag><(?:a|img|source)\b[^>]*>)",
    re.MULTILINE | re.DOTALL,
)
_ATTRIBUTE = re.compile(r'\b(?P<name>href|src|srcset)="(?P<target>[^"]*)"')
_ELSEWHERE = re.compile(r"(?:https?:)?//|mailto:|data:")
_SOURCES = {".py": "python", ".yml": "yaml", ".yaml": "yaml", ".toml": "toml", ".cff": "yaml", "": "text", ".txt": "text"}
_LONGEST_SOURCE = 200_000  # characters of a file that is shown as a page


@dataclass
class Links:
    """What the links of one edition lead to.

    `pages` holds, for each file of the repository that is a page, its place among Sphinx's sources. What the texts need
    besides is collected on the way: `pictures`, `shown` (files that become pages with line numbers), `kept` (files that are
    copied as they are), `left_out` (links without a place in the book, pictures on other hosts), and `broken`.
    """

    root: Path
    pages: Mapping[str, str]
    pictures: set[str] = field(default_factory=set)
    shown: set[str] = field(default_factory=set)
    kept: set[str] = field(default_factory=set)
    left_out: list[str] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)

    def rewrite(self, text: str, source: str, page: str) -> str:
        """Return a text of the file `source` with the links that it has as the page `page`."""

        def part(match: re.Match[str]) -> str:
            if match["tag"]:
                return self._tag(match["tag"], source, page)
            if match["target"] is None:
                return match[0]
            inside = self.rewrite(match["text"], source, page)
            if match["mark"]:
                return self._picture(inside, match["target"], match["title"] or "", source)
            return self._link(inside, match["target"], match["title"] or "", source, page)

        return _PARTS.sub(part, text)

    def _link(self, text: str, target: str, title: str, source: str, page: str) -> str:
        if _ELSEWHERE.match(target) or target.startswith("#"):
            return f"[{text}]({target}{title})"
        path, _, place = target.partition("#")
        file = _normal(source, path)
        if file in self.pages:
            return f"[{text}](/{self.pages[file]}{'#' if place else ''}{place}{title})"
        address = self._address(file, place, source, page)
        return text if address is None else f'<a href="{escape(address)}">{text}</a>'

    def _picture(self, text: str, target: str, title: str, source: str) -> str:
        if _ELSEWHERE.match(target):
            self.left_out.append(f"{source}: the picture {target} lies on another host")
            return text
        file = _normal(source, target)
        if not (self.root / file).is_file():
            self.broken.append(f"{source}: {target}")
            return text
        self.pictures.add(file)
        return f"![{text}](/{file}{title})"

    def _tag(self, tag: str, source: str, page: str) -> str:
        if tag.startswith("<img") and (outside := re.search(r'\bsrc="((?:https?:)?//[^"]*)"', tag)):
            self.left_out.append(f"{source}: the picture {outside[1]} lies on another host")
            named = re.search(r'\balt="([^"]*)"', tag)
            return named[1] if named else ""

        def attribute(match: re.Match[str]) -> str:
            target = match["target"]
            if _ELSEWHERE.match(target) or target.startswith("#"):
                return match[0]
            path, _, place = target.partition("#")
            file = _normal(source, path)
            if file in self.pages:
                address = _up(page) + self.pages[file].rpartition(".")[0] + ".html" + ("#" + place if place else "")
            else:
                address = self._address(file, place, source, page) or target
            return f'{match["name"]}="{escape(address)}"'

        return _ATTRIBUTE.sub(attribute, tag)

    def _address(self, file: str, place: str, source: str, page: str) -> str | None:
        """Return where a file that is no page lies in the book; None, counted, where it does not."""
        path = self.root / file
        if path.is_dir():
            self.left_out.append(f"{source}: {file}/ is a folder")
            return None
        if not path.is_file():
            self.broken.append(f"{source}: {file}")
            return None
        if shown_as(path) is not None:
            self.shown.add(file)
            line = re.fullmatch(r"L(\d+)(?:-L?\d+)?", place)
            return f"{_up(page)}files/{file}.html" + (f"#line-{line[1]}" if line else "")
        self.kept.add(file)
        return f"{_up(page)}files/{file}"


def shown_as(path: Path) -> str | None:
    """Return the language in which a file is shown as a page; None for one that is taken along as it is."""
    return _SOURCES.get(path.suffix) if path.stat().st_size <= _LONGEST_SOURCE else None


def _normal(source: str, path: str) -> str:
    return os.path.normpath(PurePosixPath(source).parent / path).replace(os.sep, "/")


def _up(page: str) -> str:
    return "../" * page.count("/")
