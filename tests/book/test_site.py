"""Protects: the book is built without a network, and every page of it is whole in a browser, on a desk and on a phone."""

import functools
import importlib.util
import re
import subprocess
import sys
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urldefrag

import pytest

from dev.book.glossary import HANGUL
from tests.support.serving import CHROMIUM
from utils import ROOT

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not all(importlib.util.find_spec(name) for name in ("sphinx", "myst_nb", "furo")),
        reason='the extra "book" is not installed (pip install -e ".[book]" -c constraints.txt)',
    ),
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed (apt install chromium)"),
]
QUIET = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-component-update",
         "--disable-sync"]  # fmt: skip
WIDTHS = {"desk": 1280, "phone": 390}
# Runs the build where every attempt to connect ends it.
WITHOUT_NETWORK = """
import runpy, socket, sys
def refuse(*arguments):
    raise SystemExit(f"the build tried to connect: {arguments[1:]}")
socket.socket.connect = socket.socket.connect_ex = socket.getaddrinfo = refuse
sys.argv = ["build.py", sys.argv[1]]
runpy.run_path("dev/book/build.py", run_name="__main__")
"""
# What a page holds and what is wrong with it, told by the browser.
LOOK = """async () => {
  const width = document.documentElement.clientWidth;
  const scrolls = (element) => {
    for (let at = element.parentElement; at && !at.matches("article"); at = at.parentElement)
      if (["auto", "scroll", "hidden"].includes(getComputedStyle(at).overflowX)) return true;
    return false;
  };
  const named = (element) => `${element.tagName} ${element.className} ${element.textContent.slice(0, 60)}`;
  const pictures = [...document.images];
  pictures.forEach((picture) => (picture.loading = "eager"));
  await Promise.all(pictures.map((picture) => picture.decode().catch(() => {})));
  const prose = document.querySelector("article, body").cloneNode(true);
  prose.querySelectorAll("pre, code, script, style, .cell_output, .cell_input").forEach((element) => element.remove());
  return {
    title: document.title,
    language: document.documentElement.lang,
    page: [document.documentElement, ...document.querySelectorAll(".content, .main, .page")]
      .filter((element) => element.scrollWidth > element.clientWidth + 1).map(named),
    wide: [...document.querySelectorAll("article *")]
      .filter((element) => element.getBoundingClientRect().right > width + 1 && !scrolls(element)).map(named),
    pictures: pictures.filter((picture) => !picture.naturalWidth).map((picture) => picture.src),
    links: [...document.querySelectorAll("a[href]")].map((link) => link.href),
    ids: [...document.querySelectorAll("[id]")].map((element) => element.id),
    marks: prose.textContent.match(/(?<!\\*)\\*\\*(?!\\*).{0,40}|\\]\\(.{0,40}|\\$\\$.{0,40}/g) || [],
    text: document.querySelector("article, body").textContent,
  };
}"""


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The book's folder, and what its build said."""
    folder = tmp_path_factory.mktemp("site") / "book"
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_NETWORK, str(folder)], cwd=ROOT, capture_output=True, encoding="utf-8", check=False
    )
    assert done.returncode == 0, done.stderr[-5_000:]
    return folder, done.stdout


@pytest.fixture(scope="module")
def site(built):
    """The address of the book on loopback."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *arguments):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(built[0])))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def chromium():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        yield browser
        browser.close()


class Reader:
    """A window on the book, with what its pages asked for and complained of; nothing reaches another host."""

    def __init__(self, chromium, site, width, language="en-US"):
        self.site, self.asked, self.errors = site, [], []
        self.context = chromium.new_context(viewport={"width": width, "height": 800}, locale=language)
        self.context.route("**/*", lambda route: route.continue_() if self._is_own(route.request.url) else route.abort())
        self.page = self.context.new_page()
        self.page.set_default_timeout(300_000)  # for a machine that does something else
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.on("console", lambda line: self.errors.append(line.text) if line.type in ("error", "warning") else None)
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))

    def _is_own(self, url):
        return url.startswith((self.site, "data:", "blob:"))

    def open(self, path):
        self.page.goto(f"{self.site}/{path}")
        return self.page

    @property
    def outside(self):
        return [url for url in self.asked if not self._is_own(url)]


@pytest.fixture(scope="module")
def readers(chromium, site):
    readers = {name: Reader(chromium, site, width) for name, width in WIDTHS.items()}
    yield readers
    for reader in readers.values():
        reader.context.close()


@pytest.fixture(scope="module")
def looks(built, readers):
    """What the browser tells of each page at each width."""
    folder = built[0]
    paths = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.html") if "_static" not in path.parts)
    return {
        (path, name): reader.open(path).evaluate(LOOK)
        for name, reader in readers.items()
        for path in paths
        if path != "index.html"
    }


def faults(looks, kind):
    return {page: look[kind] for page, look in looks.items() if look[kind]}


def test_the_build_says_what_it_holds_and_what_is_still_in_english(built):
    folder, said = built
    missing = [
        name
        for name in ("basics", "preprocess", "train", "dpo", "evaluation")
        if not (ROOT / "ko" / f"{name}.ipynb").exists()
    ]
    assert all(f"{name}.ipynb" in said for name in missing)
    assert re.search(r"^en: \d+ pages$", said, re.M) and re.search(r"^ko: \d+ pages$", said, re.M)
    for name in ("index", "basics", "evaluation", "glossary", "docs/commands", "search"):
        assert (folder / "en" / f"{name}.html").exists() and (folder / "ko" / f"{name}.html").exists()


def test_no_page_scrolls_sideways_and_what_is_wide_scrolls_inside_itself(looks):
    assert faults(looks, "page") == {} and faults(looks, "wide") == {}


def test_every_picture_is_there(looks):
    assert faults(looks, "pictures") == {}


def test_no_mark_of_markdown_or_tex_is_left_in_the_text(looks):
    assert faults(looks, "marks") == {}


def test_every_link_inside_the_book_leads_to_a_page_and_a_place_on_it(built, site, looks):
    ids = {path: set(look["ids"]) for (path, _), look in looks.items()}
    broken = set()
    for (path, _), look in looks.items():
        for link in look["links"]:
            url, place = urldefrag(link)
            if not url.startswith(site):
                assert re.match(r"https?://|mailto:", url), (path, link)  # listed by the build's readers, never fetched here
                continue
            target = unquote(url.removeprefix(site).lstrip("/")) or "index.html"
            if not (built[0] / target).is_file() or (place and target in ids and unquote(place) not in ids[target]):
                broken.add((path, link.removeprefix(site)))
    assert broken == set()


def test_nothing_is_asked_of_another_host_and_no_script_complains(looks, readers):
    for reader in readers.values():
        assert reader.outside == [] and reader.errors == []
        assert len(reader.asked) > len(looks) / 2  # it did watch


def test_each_page_is_in_the_language_of_its_edition(looks):
    for (path, _), look in looks.items():
        if not path.startswith(("en/files/assets", "ko/files/assets")):  # an example of the report, which has its own
            assert look["language"] == path[:2] and look["title"]


def test_hangul_is_drawn_with_a_font_that_has_it(readers):
    page = readers["desk"].open("ko/index.html")
    devtools = page.context.new_cdp_session(page)
    devtools.send("DOM.enable")
    devtools.send("CSS.enable")
    root = devtools.send("DOM.getDocument")["root"]["nodeId"]
    for selector in ("article h1", "article p", ".sidebar-tree .caption"):
        node = devtools.send("DOM.querySelector", {"nodeId": root, "selector": selector})["nodeId"]
        fonts = devtools.send("CSS.getPlatformFontsForNode", {"nodeId": node})["fonts"]
        assert fonts and not any("LastResort" in font["familyName"] for font in fonts)
    # two syllables that differ look different; two boxes for a glyph that is missing do not
    assert (
        page.evaluate(
            """() => new Set(["가", "힣", "뷁"].map((syllable) => {
             const canvas = document.createElement("canvas");
             const pen = canvas.getContext("2d");
             pen.font = `40px ${getComputedStyle(document.body).fontFamily}`;
             pen.fillText(syllable, 5, 50);
             return canvas.toDataURL();
           })).size"""
        )
        == 3
    )


@pytest.mark.parametrize(
    ("language", "leads_to"), [("ko-KR", "/ko/index.html"), ("en-US", "/en/index.html"), ("fr-FR", "/en/index.html")]
)
def test_the_first_page_leads_to_the_language_of_the_browser(chromium, site, language, leads_to):
    reader = Reader(chromium, site, 1280, language)
    reader.open("")
    reader.page.wait_for_url(f"**{leads_to}")
    reader.context.close()


@pytest.mark.parametrize("width", WIDTHS)
def test_a_click_leads_to_the_same_page_in_the_other_language(readers, width):
    page = readers[width].open("en/docs/judging.html")
    page.get_by_role("link", name="한국어", exact=True).click()
    page.wait_for_url("**/ko/docs/judging.html")
    page.get_by_role("link", name="English", exact=True).click()
    page.wait_for_url("**/en/docs/judging.html")


def test_a_term_shows_its_meaning_while_the_pointer_rests_on_it(readers):
    page = readers["desk"].open("en/basics.html")
    meaning = page.locator(".meaning")
    assert not meaning.is_visible()
    for term in (page.locator(".glossed").first, page.locator(".glossed").last):
        term.scroll_into_view_if_needed()
        page.wait_for_timeout(300)  # a page that scrolls takes the meaning away
        term.hover()
        meaning.wait_for(state="visible")
        assert meaning.inner_text() == term.get_attribute("data-meaning") and HANGUL.search(meaning.inner_text())
        box = meaning.bounding_box()
        assert box["x"] >= 0 and box["x"] + box["width"] <= WIDTHS["desk"] and 0 <= box["y"] <= 800
    page.mouse.move(0, 0)
    assert not meaning.is_visible()
    page.locator(".glossed a").first.click()
    page.wait_for_url("**/en/glossary.html#term-*")


def test_folded_code_opens(readers):
    page = readers["phone"].open("en/basics.html")
    folded = page.locator("details", has_text="google.colab").first
    assert not folded.locator("pre").first.is_visible()
    folded.locator("summary").click()
    assert folded.locator("pre").first.is_visible()


@pytest.mark.parametrize("edition", ["en", "ko"])
@pytest.mark.parametrize(
    ("query", "word"),
    [("보증금", "보증금"), ("보증금을", "보증금"), ("보증금이", "보증금"), ("손실", "손실"), ("전입신고는", "전입신고"),
     ("LoRA를", r"\blora\b"), ("tokenizers", r"\btokenizer\b")],
)  # fmt: skip
def test_a_search_finds_every_page_that_has_the_word_in_any_form(readers, looks, edition, query, word):
    reader = readers["desk"]
    page = reader.open(f"{edition}/search.html?q={query}")
    page.locator(".search-summary:not(:empty)").wait_for()
    links = page.eval_on_selector_all("#search-results li > a", "links => links.map((link) => link.href)")
    found = {urldefrag(link)[0].removeprefix(f"{reader.site}/") for link in links}
    has_it = {
        path for (path, width), look in looks.items()
        if width == "desk" and path.startswith(edition) and "/files/" not in path and re.search(word, look["text"].lower())
    }  # fmt: skip
    assert has_it and has_it <= found
    assert not HANGUL.match(word) or found == has_it  # English stems: training finds trains
    if edition == "ko":
        assert page.locator(".search-summary").inner_text() == f"페이지 {len(links)}개를 찾았습니다."


def test_the_pages_are_files_that_open_without_a_server(built, chromium):
    page = chromium.new_context().new_page()
    page.goto((Path(built[0]) / "ko" / "index.html").as_uri())
    assert page.evaluate("getComputedStyle(document.querySelector('.sidebar-drawer')).display") != "inline"
    page.context.close()
