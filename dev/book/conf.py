"""Sphinx's settings of the web book (`make book`); `dev/book/build.py` lays the pages out and names the edition."""

import os
import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parents[1]))

from dev.book.staging import read_glossary  # noqa: E402 (found by the line above)

language = os.environ["BOOK_LANGUAGE"]
project = {"en": "Instruction tuning for Korean", "ko": "한국어 지시 튜닝"}[language]
html_title = project
extensions = ["myst_nb", "dev.book.korean_search", "dev.book.hover", "dev.book.formulas"]
exclude_patterns = ["_readme.md"]
book_terms = read_glossary(Path(os.environ["BOOK_ROOT"]), language)
locale_dirs = [os.environ["BOOK_LOCALE"]]  # what Furo says and has no Korean for

nb_execution_mode = "off"  # the stored outputs are what the text speaks of
nb_merge_streams = True
nb_ipywidgets_js = {}  # else two scripts from other hosts
myst_enable_extensions = ["dollarmath", "colon_fence", "attrs_block"]
myst_heading_anchors = 4

html_theme = "furo"
html_extra_path = [os.environ["BOOK_EXTRA"]]
html_static_path = [str(HERE / "static")]
html_css_files = ["book.css"]
templates_path = [str(HERE / "templates")]
html_theme_options = {"top_of_page_buttons": ["view"]}  # templates/components/view-this-page.html: the other language
html_math_renderer = "mathml"
html_search_language = "ko"  # in both editions: the English one shows Korean data
html_show_sourcelink = html_copy_source = html_use_index = html_show_copyright = False


def setup(app):
    """Take `!kotune ...` in a block of Python for what it is in a notebook: a command."""
    from ipython_pygments_lexers import IPython3Lexer

    app.add_lexer("python", IPython3Lexer)
