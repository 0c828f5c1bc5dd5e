"""The web book, in both languages, from the notebooks as they are stored: nothing is run and nothing is fetched.

    python dev/book/build.py [FOLDER]     into outputs/book/ (pip install -e ".[book]" -c constraints.txt)

Open `index.html` in it. A warning of Sphinx ends the build.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from dev.book.pages import LANGUAGES  # noqa: E402 (found by the line above)
from dev.book.staging import BookError, Staged, stage  # noqa: E402

HERE = Path(__file__).parent


def build(folder: Path, root: Path = ROOT) -> dict[str, Staged]:
    """Build both editions into `folder/en` and `folder/ko`, with a page above them that leads to the reader's language.

    Raises:
        BookError: a link leads nowhere, the glossary is missing, or Sphinx warned of something; it has said of what.
    """
    staged = {}
    folder.mkdir(parents=True, exist_ok=True)
    for language in LANGUAGES:
        sources = folder.with_name(f"{folder.name}_sources") / language
        staged[language] = stage(root, language, sources)
        _sphinx(root, sources, language)
        shutil.rmtree(folder / language, ignore_errors=True)
        shutil.move(sources / "html", folder / language)  # a build that fails leaves the book that was there
    shutil.copyfile(HERE / "choose.html", folder / "index.html")
    return staged


def _sphinx(root: Path, sources: Path, language: str) -> None:
    from sphinx.cmd.build import build_main

    locale = shutil.copytree(HERE / "locale", sources / "locale")  # Sphinx compiles it where it lies
    os.environ.update(
        BOOK_ROOT=str(root), BOOK_LANGUAGE=language, BOOK_EXTRA=str(sources / "extra"), BOOK_LOCALE=str(locale)
    )
    (sources / "extra").mkdir(exist_ok=True)
    options = ["-q", "-W", "--keep-going", "-d", str(sources / "doctrees"), "-c", str(HERE)]
    if build_main([*options, "-b", "html", str(sources / "pages"), str(sources / "html")]):
        raise BookError(f"the {language} edition has the faults above; its pages lie in {sources / 'pages'}")


def main() -> int:
    """Build the book, and say what it holds and what is still in English."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", nargs="?", type=Path, default=ROOT / "outputs" / "book")
    folder = parser.parse_args().folder.resolve()
    try:
        staged = build(folder)
    except ImportError as error:
        print(f'error: {error.name} is not installed; run: pip install -e ".[book]" -c constraints.txt', file=sys.stderr)
        return 1
    except BookError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    for language, edition in staged.items():
        print(f"{language}: {len(edition.pages) + 2} pages")  # with the front page and the glossary
        if edition.in_english:
            print(f"  still in English: {', '.join(edition.in_english)}")
        for line in edition.left_out:
            print(f"  left out: {line}")
    print(f"open {folder / 'index.html'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
