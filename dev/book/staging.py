"""The sources of one edition, laid out for Sphinx: a page has one name in both languages, and its links lead somewhere."""

from __future__ import annotations

import functools
import json
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from dev.book import glossary, notebooks
from dev.book.links import Links, shown_as
from dev.book.pages import CAPTIONS, Page, chapters, korean, name_of, pages

HERE = Path(__file__).parent
FRONT = {"en": "index.md", "ko": "index.ko.md"}
_STILL_ENGLISH = {"ko": ":::{note}\n이 페이지는 아직 한국어판이 없어 영어 원문을 보여 드립니다.\n:::"}


class BookError(Exception):
    """The book cannot be made of what is there; one sentence."""


@dataclass(frozen=True)
class Staged:
    """What an edition was made of: its pages, those still in English, and what has no place in a book."""

    pages: tuple[Page, ...]
    in_english: tuple[str, ...]
    left_out: tuple[str, ...]


def stage(root: Path, language: str, folder: Path) -> Staged:
    """Write the sources of an edition into a folder of its own: `pages/` for Sphinx, `extra/` for what it copies as it is.

    Raises:
        BookError: a link leads to no file, or the lesson `basics` has no glossary.
    """
    shutil.rmtree(folder, ignore_errors=True)
    of_edition = tuple(pages(root, language))
    links = Links(root, _page_files(root))
    solutions = notebooks.read_solutions(root / "assets" / "solutions")
    for page in of_edition:
        text = (root / page.source).read_text(encoding="utf-8")
        if page.source.endswith(".ipynb"):
            rewrite = functools.partial(_text, page=page, language=language, links=links)
            notebook = notebooks.shown(json.loads(text), language, rewrite, solutions)
            _write(folder / "pages" / f"{page.name}.ipynb", json.dumps(notebook, ensure_ascii=False))
        else:
            _write(folder / "pages" / f"{page.name}.md", _text(text, page, language, links))
    _front_page(root, language, folder / "pages", links)
    terms = read_glossary(root, language)
    _write(folder / "pages" / "glossary.md", glossary.page(terms, language))
    _files(root, folder, links)
    if links.broken:
        raise BookError(f"these links lead to no file: {'; '.join(sorted(set(links.broken)))}")
    still_english = tuple(page.source for page in of_edition if page.language != language)
    return Staged(of_edition, still_english, tuple(dict.fromkeys(links.left_out)))


def read_glossary(root: Path, language: str) -> list[glossary.Term]:
    """Return the terms of an edition, from its own `basics.ipynb` where there is one.

    Raises:
        BookError: the notebook has no glossary.
    """
    own = root / korean("basics.ipynb")
    try:
        return glossary.read(own if language == "ko" and own.exists() else root / "basics.ipynb")
    except ValueError as error:
        raise BookError(str(error)) from None


def _page_files(root: Path) -> dict[str, str]:
    """Return where the page of each file lies for Sphinx; both languages of a file have the same place in their editions."""
    files = {"README.md": "index.md", "README.ko.md": "index.md"}
    for sources in chapters(root).values():
        files |= {source: source for source in sources} | {korean(source): source for source in sources}
    return files


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def _text(text: str, page: Page, language: str, links: Links) -> str:
    # the line that leads to the other language is the switch at the head of every page
    text = re.sub(r"^\[(?:한국어|English)\]\([\w./]+\.md\)\n+", "", text, flags=re.MULTILINE)
    text = links.rewrite(text, page.source, page.name)
    if page.language == language or not text.startswith("# "):
        return text
    title, _, rest = text.partition("\n")
    return f"{title}\n\n{_STILL_ENGLISH[language]}\n{rest}"


def _front_page(root: Path, language: str, folder: Path, links: Links) -> None:
    """Write the front page, whose parts from the README it includes, and the contents below it."""
    readme = "README.ko.md" if language == "ko" else "README.md"
    _write(folder / "_readme.md", links.rewrite((root / readme).read_text(encoding="utf-8"), readme, "index"))
    text = links.rewrite((HERE / FRONT[language]).read_text(encoding="utf-8"), "index.md", "index")
    contents = [
        f"```{{toctree}}\n:hidden:\n:maxdepth: 1\n:caption: {CAPTIONS[language][chapter]}\n\n"
        + "\n".join(name_of(source) for source in sources)
        + "\n```"
        for chapter, sources in chapters(root).items()
    ]
    _write(folder / "index.md", "\n\n".join([text.strip(), *contents]) + "\n")


def _files(root: Path, folder: Path, links: Links) -> None:
    for file in links.shown:
        _write(folder / "pages" / "files" / f"{file}.md", _shown(root / file, file))
    copies = [(file, folder / "pages" / file) for file in links.pictures]
    copies += [(file, folder / "extra" / "files" / file) for file in links.kept]
    for file, copy in copies:
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(root / file, copy)


def _shown(path: Path, file: str) -> str:
    """Return a page that shows a file with an anchor at each line (`line-20`)."""
    from pygments import highlight
    from pygments.formatters import HtmlFormatter
    from pygments.lexers import get_lexer_by_name

    formatter = HtmlFormatter(linenos="inline", lineanchors="line", anchorlinenos=True, wrapcode=True)
    code = highlight(path.read_text(encoding="utf-8"), get_lexer_by_name(shown_as(path)), formatter)
    fence = "`" * (max(map(len, re.findall("`+", code)), default=2) + 3)
    return f"---\norphan: true\nnosearch: true\n---\n# `{file}`\n\n{fence}{{raw}} html\n{code}\n{fence}\n"
