"""Protects: the figures are those that the generator draws, readable by anyone, in both languages, and have a place."""

import json
import re
from collections import Counter
from importlib.util import find_spec
from pathlib import Path
from xml.etree import ElementTree

import pytest
import yaml
from fontTools.ttLib import TTFont

from dev import draw_figures, place_figures
from dev.figures import canvas, facts, words
from dev.figures.drawings import DRAWINGS
from kotune.exercises.cells import TAG
from tests.support.serving import CHROMIUM
from utils import ROOT, read_text

FOLDER = draw_figures.FOLDER
BOTH = [(name, language) for name in DRAWINGS for language in words.LANGUAGES]
HANGUL = re.compile("[가-힣]")
# names, formulas and numbers that are the same in Korean
SAME_IN_KOREAN = re.compile(r"BM25|DPO|SFT|LoRA|α/r = .*|−log σ.*|A|B")
MINUS = "−"  # not in the NanumGothic of the package; every system has it in a font that browsers fall back to
SVG = "{http://www.w3.org/2000/svg}"
# what belongs to one text each: its box on the page, of the figure opened by itself
BOXES = """() => [...document.querySelectorAll('text')].map(text => {
  const box = text.getBBox(); return {text: text.textContent, x: box.x, y: box.y, width: box.width, height: box.height}})"""


def drawn(name, language):
    """Return a figure as the generator holds it, and its words."""
    its_words = words.of(name, language)
    return DRAWINGS[name](its_words, facts.load()), its_words


@pytest.fixture(scope="module")
def nanum():
    """Return the widths of NanumGothic's glyphs in em, regular and bold, by code point."""
    folder = Path(find_spec("koreanize_matplotlib").origin).parent / "fonts"
    widths = {}
    for bold, file in ((False, "NanumGothic.ttf"), (True, "NanumGothicBold.ttf")):
        font = TTFont(folder / file)
        em, advances = font["head"].unitsPerEm, font["hmtx"].metrics
        widths[bold] = {code: advances[glyph][0] / em for code, glyph in font.getBestCmap().items()}
    return widths


def test_the_files_are_what_the_generator_writes_byte_for_byte():
    expected = {name: text.encode() for name, text in draw_figures.files().items()}
    assert {path.name: path.read_bytes() for path in FOLDER.iterdir()} == expected


@pytest.mark.parametrize(("name", "language"), BOTH)
def test_a_figure_is_valid_says_what_it_shows_and_needs_nothing_from_elsewhere(name, language):
    text = read_text(FOLDER / f"{name}.{language}.svg")
    root = ElementTree.fromstring(text)
    assert root.get("lang") == root.get("{http://www.w3.org/XML/1998/namespace}lang") == language
    named = {element.get("id"): element.text for element in root if element.get("id")}
    assert all(named[part].strip() for part in root.get("aria-labelledby").split())
    assert {element.tag.removeprefix(SVG) for element in root} <= {
        "title",
        "desc",
        "style",
        "rect",
        "text",
        "polyline",
        "polygon",
    }
    assert not re.search(r"url\(|@import|href|data:|://", text.replace('xmlns="http://www.w3.org/2000/svg"', ""))
    assert "prefers-color-scheme:dark" in text


@pytest.mark.parametrize(("name", "language"), BOTH)
def test_every_text_has_a_contrast_of_four_and_a_half_and_every_line_of_three(name, language):
    figure, _ = drawn(name, language)
    for palette in canvas.PALETTES.values():
        fills, inks, lines = canvas.fills_of(palette), canvas.inks_of(palette), canvas.lines_of(palette)
        for placed in figure.placed:
            assert contrast(inks[placed.ink], fills[placed.ground]) >= 4.5, placed
        for line in figure.drawn_lines - {"frame"}:  # a frame only encloses what is told apart without it
            assert min(contrast(lines[line], ground) for ground in (palette.page, palette.band)) >= 3, line


def contrast(one: str, other: str) -> float:
    """Return the contrast ratio of two colours (WCAG 2.2, relative luminance)."""
    lighter, darker = sorted((luminance(one), luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def luminance(colour: str) -> float:
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_the_contrast_is_that_of_the_standard():
    assert contrast("#ffffff", "#000000") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)


@pytest.mark.parametrize(("name", "language"), BOTH)
def test_a_korean_font_has_every_glyph_and_no_text_is_wider_than_it_is_reckoned(name, language, nanum):
    root = ElementTree.parse(FOLDER / f"{name}.{language}.svg").getroot()
    for element in root.iter(f"{SVG}text"):
        text, classes = element.text, element.get("class").split()
        missing = {letter for letter in text if ord(letter) not in nanum[False]}
        assert missing <= {MINUS}, (text, missing)
        if "mono" in classes:  # in a font of its own, whose letters are all as wide
            continue
        bold, size = "bold" in classes, float(element.get("font-size"))
        width = sum(nanum[bold][ord(letter)] for letter in text.replace(MINUS, "+")) * size
        assert width <= canvas.width_of(text, size, bold=bold), text


def test_a_text_that_may_not_fit_is_refused():
    figure = canvas.Canvas(100, "title", "what it shows", "en")
    with pytest.raises(ValueError, match="shorten it"):
        figure.text(0, 0, "보증금을 돌려받지 못하면", room=60)


@pytest.mark.parametrize("name", DRAWINGS)
def test_every_word_is_used_and_korean_is_korean(name):
    entry = words.table()[name]
    for language in words.LANGUAGES:
        assert drawn(name, language)[1].used == set(entry["words"])
    texts = {"title": entry["title"], "description": entry["description"], "alt": entry["alt"], **entry["words"]}
    for key, text in texts.items():
        assert set(text) == set(words.LANGUAGES), key
        assert not HANGUL.search(text["en"]), key
        assert HANGUL.search(text["ko"]) or SAME_IN_KOREAN.fullmatch(text["ko"]), key
    for sentence in (entry["description"]["ko"], entry["alt"]["ko"]):
        assert re.search(r"니다[.]?$", sentence.strip()), sentence


@pytest.mark.parametrize(("name", "language"), BOTH)
def test_a_text_for_those_who_do_not_see_the_figure_has_its_numbers(name, language):
    figure, _ = drawn(name, language)
    shown = " ".join([figure.title, figure.description, *(placed.text for placed in figure.placed)]).replace(",", "")
    said = words.table()[name]["alt"][language].replace(",", "")
    assert set(re.findall(r"\d+(?:\.\d+)?", said)) <= set(re.findall(r"\d+(?:\.\d+)?", shown))
    assert len(said) <= 250


def test_every_figure_has_a_place_that_is_there():
    rows = yaml.safe_load(read_text(FOLDER / "places.yaml"))
    assert [row["figure"] for row in rows] == list(words.table())
    assert set(words.table()) == set(DRAWINGS)
    for row in rows:
        assert row["places"] and all((ROOT / file).exists() for file in row["files"].values())
        for place in row["places"]:
            cells = json.loads(read_text(ROOT / place["notebook"]))["cells"]
            cells = [cell for cell in cells if TAG not in cell["metadata"].get("tags", [])]  # an exercise may stand between
            at = next(i for i, cell in enumerate(cells) if cell["id"] == place["cell"])
            assert cells[at]["cell_type"] == "markdown"
            if place["before"]:
                assert cells[at + 1]["id"] == place["before"] and cells[at + 1]["cell_type"] == "code"
            blocks = "".join(cells[at]["source"]).split("\n\n")
            assert place["paragraph"] is None or 1 <= place["paragraph"] <= len(blocks)


@pytest.mark.slow
def test_a_figure_is_placed_once_and_only_its_cell_changes(tmp_path):
    rows = yaml.safe_load(read_text(FOLDER / "places.yaml"))
    by_notebook = Counter(place["notebook"] for row in rows for place in row["places"])
    for name in by_notebook:
        (tmp_path / name).write_text(read_text(ROOT / name), encoding="utf-8")
    place_figures.place(tmp_path, "en")
    for name, count in by_notebook.items():
        before, after = (json.loads(read_text(folder / name))["cells"] for folder in (ROOT, tmp_path))
        assert len(re.findall(r"!\[[^]]+\]\(assets/figures/\w+\.en\.svg\)", read_text(tmp_path / name))) == count
        for cell in (*before, *after):
            cell["source"] = "".join(cell["source"])  # a text that ends in a line break is kept as lines in two ways
        changed = [new for old, new in zip(before, after, strict=True) if old != new]
        assert len(changed) in {0, count} and all(cell["cell_type"] == "markdown" for cell in changed)
    placed = {name: read_text(tmp_path / name) for name in by_notebook}
    place_figures.place(tmp_path, "en")
    assert {name: read_text(tmp_path / name) for name in by_notebook} == placed


@pytest.mark.slow
def test_the_facts_are_what_the_course_works_out():
    kept, now = facts.load(), facts.work_out()
    for line in (kept["journal_line"], now["journal_line"]):
        for name in facts.CHANGING:
            assert line.pop(name)
    assert now == kept


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed (apt install chromium)")
def test_in_a_browser_no_text_leaves_the_figure_or_lies_on_another_and_the_dark_page_is_dark():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        try:
            page = browser.new_page(color_scheme="dark")
            for name, language in BOTH:
                page.goto((FOLDER / f"{name}.{language}.svg").as_uri())
                boxes = page.evaluate(BOXES)
                height = page.evaluate("document.documentElement.viewBox.baseVal.height")
                for number, box in enumerate(boxes):
                    assert box["x"] >= 12 and box["x"] + box["width"] <= canvas.WIDTH - 12, (name, box)
                    assert box["y"] >= 4 and box["y"] + box["height"] <= height - 4, (name, box)
                    assert not [other for other in boxes[number + 1 :] if lie_on_each_other(box, other)], (name, box)
                fill = page.evaluate("getComputedStyle(document.querySelector('.page')).fill")
                assert fill == "rgb({}, {}, {})".format(*bytes.fromhex(canvas.PALETTES["dark"].page[1:]))
        finally:
            browser.close()


def lie_on_each_other(one: dict, other: dict) -> bool:
    across = min(one["x"] + one["width"], other["x"] + other["width"]) - max(one["x"], other["x"])
    down = min(one["y"] + one["height"], other["y"] + other["height"]) - max(one["y"], other["y"])
    return across > 1 and down > 3  # lines of one paragraph may touch
