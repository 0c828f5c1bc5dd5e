"""Which file of the repository is which page of the book, in both languages."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

LANGUAGES = ("en", "ko")
LESSONS = ("basics", "preprocess", "train", "dpo", "evaluation")

# The English file of each page, in the order of the contents. A page's name is that file without its ending.
CHAPTERS = {
    "lessons": (*(f"{name}.ipynb" for name in LESSONS), "glossary.md"),
    "workshop": ("docs/workshop.md", "assets/workshop/three_hours.md", "assets/workshop/one_day.md"),
    "use": (
        "colab_guide.md", *(f"docs/{name}.md" for name in ("commands", "formats", "settings", "serving", "llm", "gguf")),
    ),
    "behind": (
        *(f"docs/{name}.md" for name in ("listings", "korean_checks", "judging", "speed", "not_run")),
        "data/README.md",
    ),
    "project": (
        *(f"docs/{name}.md" for name in ("structure", "supply_chain", "drills")), "CONTRIBUTING.md", "CHANGELOG.md",
    ),
}  # fmt: skip
CAPTIONS = {
    "en": {
        "lessons": "Lessons",
        "workshop": "Workshop",
        "use": "Guides",
        "behind": "How it is done",
        "project": "The project",
    },
    "ko": {
        "lessons": "강의",
        "workshop": "워크숍",
        "use": "안내서",
        "behind": "더 깊이 알아보기",
        "project": "프로젝트",
    },
}
WRITTEN_HERE = ("glossary.md",)  # pages that no file of the repository holds


@dataclass(frozen=True)
class Page:
    """A page of one edition: its name, the file that it is made of, and that file's language."""

    name: str
    source: str
    language: str


def korean(source: str) -> str:
    """Return where the Korean edition of an English file lies: notebooks in `ko/`, text beside the English one."""
    path = Path(source)
    return f"ko/{path.name}" if path.suffix == ".ipynb" else path.with_suffix(".ko.md").as_posix()


def name_of(source: str) -> str:
    """Return the name of the page that an English file makes."""
    return source.rpartition(".")[0]


def chapters(root: Path) -> dict[str, tuple[str, ...]]:
    """Return the English files of each chapter; what lies in `docs/` and is in none comes into the last."""
    named = {source for sources in CHAPTERS.values() for source in sources}
    found = {
        chapter: [s for s in sources if s in WRITTEN_HERE or (root / s).exists()] for chapter, sources in CHAPTERS.items()
    }
    for chapter, folder in (("project", "docs"), ("workshop", "assets/workshop")):
        for path in sorted((root / folder).glob("*.md")):
            source = path.relative_to(root).as_posix()
            if source not in named and not source.endswith(".ko.md"):
                found[chapter].append(source)
    return {chapter: tuple(sources) for chapter, sources in found.items() if sources}


def pages(root: Path, language: str) -> Iterator[Page]:
    """Yield the pages of an edition in the order of its contents; a page that has no Korean file keeps the English one."""
    for sources in chapters(root).values():
        for source in sources:
            if source not in WRITTEN_HERE:
                own = language == "ko" and (root / korean(source)).exists()
                yield Page(name_of(source), korean(source) if own else source, "ko" if own else "en")
