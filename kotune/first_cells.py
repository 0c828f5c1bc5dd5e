"""The head of each notebook, in both editions: badges that open it on Colab and Kaggle, the cell that fetches the course.

Both are written here and nowhere else. `kotune notebooks badges --repository OWNER/NAME` puts the address of a public copy
into all of them; until that was done, they say plainly what is to be set. When Colab or Kaggle change, the cell is changed
here, and the command run again.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from kotune.language import LANGUAGES, Language
from utils import ROOT, CourseError, read_text, relative, write_atomic

if TYPE_CHECKING:
    from nbformat import NotebookNode

NOTEBOOKS = ("basics", "preprocess", "train", "dpo", "evaluation")
BADGES_ID = "open-elsewhere"
_FETCHES = '"COURSE_REPOSITORY"'  # by this the cell is known, whatever its id
_GIVEN = re.compile(r"(?:https://github\.com/)?(?P<name>[\w-]+/[\w.-]+?)(?:\.git)?/?", re.ASCII)
_WRITTEN = re.compile(r'"COURSE_REPOSITORY", "(?:https://github\.com/([^"]+))?"')
_BRANCH = re.compile(r"/blob/([^/]+)/")


@dataclass(frozen=True)
class Repository:
    """A public copy of the course on GitHub, from which Colab and Kaggle open notebooks: OWNER/NAME, and its branch."""

    name: str
    branch: str = "main"

    @classmethod
    def parse(cls, text: str, branch: str = "main") -> Repository:
        """Return the repository that OWNER/NAME or its address names.

        Raises:
            CourseError: it is neither.
        """
        found = _GIVEN.fullmatch(text.strip())
        if not found:
            raise CourseError(f"{text!r} names no repository on GitHub; write OWNER/NAME, or https://github.com/OWNER/NAME.")
        return cls(found["name"], branch)

    @property
    def address(self) -> str:
        """Return the address that git clones."""
        return f"https://github.com/{self.name}"

    def file(self, path: str) -> str:
        """Return the address of a file's page."""
        return f"{self.address}/blob/{self.branch}/{path}"


# --- what stands there -----------------------------------------------------------------------

_CELL = """\
import os
import subprocess
import sys
import time

REPOSITORY = os.environ.get("COURSE_REPOSITORY", "{address}")  # {of_address}
began, on_kaggle = time.perf_counter(), "KAGGLE_KERNEL_RUN_TYPE" in os.environ
if on_kaggle or "google.colab" in sys.modules:  # {of_condition}
    folder = os.environ.get("COURSE_FOLDER", "/kaggle/temp/course" if on_kaggle else "/content/course")
    fetch = ["git", "clone", "-q", "--depth", "1", REPOSITORY, folder]
    if not os.path.isdir(f"{{folder}}/kotune") and subprocess.call(fetch):
        raise RuntimeError(f"{failure}")
    os.chdir(folder)
    sys.path.insert(0, folder)
    from kotune import hosted

    hosted.start(began)  # {of_start}"""
_WORDS = {
    "en": {
        "of_address": "on Colab, Kaggle: https://github.com/OWNER/NAME",
        "of_condition": "sets these up; does nothing elsewhere",
        "failure": "No course at {REPOSITORY!r}: set COURSE_REPOSITORY above (on Kaggle, switch Internet on).",
        "of_start": "installs the course, connects Drive",
    },
    "ko": {
        "of_address": "Colab과 Kaggle에서: https://github.com/소유자/이름",
        "of_condition": "Colab과 Kaggle을 준비한다. 다른 곳에서는 아무 일도 하지 않는다",
        "failure": "{REPOSITORY!r}에서 받지 못함: 위에 COURSE_REPOSITORY를 적으세요(Kaggle: 인터넷도 켜세요).",
        "of_start": "강의를 설치하고 드라이브를 연결한다",
    },
}
_NO_ADDRESS = {
    "en": """\
**On Colab or Kaggle** the next cell fetches the course, once it knows from where. This copy has no public address yet: write
the address of your own copy between the empty quotation marks behind `COURSE_REPOSITORY`. The command
`kotune notebooks badges --repository OWNER/NAME` writes it into every notebook, with badges that open it there in one click
(`colab_guide.md`).""",
    "ko": """\
**Colab이나 Kaggle에서는** 다음 셀이 강의를 받아 옵니다. 이 사본에는 아직 공개 주소가 없으니, 먼저 `COURSE_REPOSITORY` 뒤의
빈 따옴표 안에 내 사본의 주소를 적으세요. `kotune notebooks badges --repository OWNER/NAME`을 실행하면 모든 노트북에
주소가 들어가고, 클릭 한 번으로 여는 배지도 생깁니다(`colab_guide.md`).""",
}
_BELOW_BADGES = {
    "en": """\
Each badge opens this notebook on a machine of theirs. There the next cell fetches the course, installs it and connects a
place that keeps your results: [how, and what to do when it does not start]({guide}).""",
    "ko": """\
배지를 누르면 이 노트북이 그 서비스의 컴퓨터에서 열립니다. 거기서는 다음 셀이 강의를 받아 설치하고, 결과를 보관할
곳을 연결합니다. [자세한 방법과 시작되지 않을 때 할 일]({guide})도 읽어 보세요.""",
}
_BADGE = {"en": "Open in {place}", "ko": "{place}에서 열기"}


def fetching_cell(repository: Repository | None, which: Language) -> str:
    """Return the code that fetches the course, with the address that it fetches from; empty where none is known."""
    return _CELL.format(address=repository.address if repository else "", **_WORDS[which])


def badges_cell(name: str, repository: Repository | None, which: Language) -> str:
    """Return the text with the badges of a notebook, such as train; or what is to be set where no address is known."""
    if repository is None:
        return _NO_ADDRESS[which]
    path = f"ko/{name}.ipynb" if which == "ko" else f"{name}.ipynb"
    colab = f"https://colab.research.google.com/github/{repository.name}/blob/{repository.branch}/{path}"
    kaggle = f"https://kaggle.com/kernels/welcome?src={repository.file(path)}"
    guide = "colab_guide.ko.md" if which == "ko" and (ROOT / "colab_guide.ko.md").exists() else "colab_guide.md"
    shown = [
        _badge("Colab", which, "https://colab.research.google.com/assets/colab-badge.svg", colab),
        _badge("Kaggle", which, "https://kaggle.com/static/images/open-in-kaggle.svg", kaggle),
    ]
    return "\n".join([*shown, "", _BELOW_BADGES[which].format(guide=repository.file(guide))])


def _badge(place: str, which: Language, picture: str, address: str) -> str:
    return f"[![{_BADGE[which].format(place=place)}]({picture})]({address})"


def fetches(source: str) -> bool:
    """Say whether a cell's code is the one that fetches the course."""
    return _FETCHES in source


def in_korean(name: str, identity: str, source: str, repository: Repository | None) -> str | None:
    """Return the Korean of a cell of a notebook's head; None for any other cell, which a translator puts into Korean."""
    if identity == BADGES_ID:
        return badges_cell(name, repository, "ko")
    return fetching_cell(repository, "ko") if fetches(source) else None


def repository_of(sources: dict[str, str]) -> Repository | None:
    """Return the repository that a notebook's cells name, by their ids; None where they name none."""
    found = next((match for source in sources.values() if (match := _WRITTEN.search(source))), None)
    if found is None or not found[1]:
        return None
    branch = _BRANCH.search(sources.get(BADGES_ID, ""))
    return Repository(found[1], branch[1] if branch else "main")


# --- the command -----------------------------------------------------------------------------


def write_heads(folder: Path = ROOT, repository: Repository | None = None, *, dry_run: bool = False) -> Iterator[str]:
    """Write the head of every notebook of a folder, in both editions; yield a line for each.

    repository: whose address they get; without it, each keeps the one that it has. dry_run: nothing is written.

    Raises:
        CourseError: a notebook is missing or is none, or has no cell that fetches the course; nothing is written then.
    """
    import nbformat

    changed = []
    for name in NOTEBOOKS:
        for which in LANGUAGES:
            path = folder / ("ko" if which == "ko" else ".") / f"{name}.ipynb"
            if which == "ko" and not path.exists():
                continue
            notebook = _read(path)
            before = nbformat.writes(notebook)
            set_head(notebook, name, repository, which)
            changed.append((path, before, nbformat.writes(notebook)))
    for path, before, after in changed:
        yield f"{relative(path)}: {'as it was' if before == after else 'new'}"
        if before != after and not dry_run:
            write_atomic(path, after + "\n")


def set_head(notebook: NotebookNode, name: str, repository: Repository | None, which: Language) -> None:
    """Set the badges and the fetching cell of a notebook; every other cell, and all outputs, stay.

    Raises:
        CourseError: no cell fetches the course.
    """
    from nbformat.v4 import new_markdown_cell

    repository = repository or repository_of({cell.id: cell.source for cell in notebook.cells})
    fetching = next((cell for cell in notebook.cells if cell.cell_type == "code" and fetches(cell.source)), None)
    if fetching is None:
        raise CourseError(f"{name}.ipynb has no cell that reads COURSE_REPOSITORY; fetch the notebook again.")
    fetching.source = fetching_cell(repository, which)
    badges = next((cell for cell in notebook.cells if cell.id == BADGES_ID), None) or new_markdown_cell(id=BADGES_ID)
    badges.source = badges_cell(name, repository, which)
    if badges not in notebook.cells:
        notebook.cells.insert(notebook.cells.index(fetching), badges)


def _read(path: Path) -> NotebookNode:
    import nbformat

    try:
        return nbformat.reads(read_text(path), as_version=4)
    except (ValueError, KeyError, AttributeError) as error:
        raise CourseError(f"{relative(path)} is not a notebook ({error}); fetch it again.") from None
