"""Protects: a teacher can run the plans as they stand: their minutes add up, are those of the notebooks, and name what is there."""

import re

import pytest

from kotune.exercises.catalogue import ids
from utils import ASSETS, ROOT, read_json, read_text

FOLDER = ASSETS / "workshop"
PAGES = sorted(path.stem for path in FOLDER.glob("*.md") if not path.name.endswith(".ko.md"))
PLANS = {"three_hours": 180, "one_day": 450}
LESSONS = ("basics", "preprocess", "train", "dpo", "evaluation")
ROW = re.compile(r"^\| (?P<hours>\d):(?P<minutes>\d\d) \| (?P<lasts>\d+) \|", re.M)
EXERCISE = re.compile(rf"`((?:{'|'.join(LESSONS)})-\d)`")
# minutes as an opening cell states them: "two minutes on", "about 4 minutes on", "| 9 to 11, measured |"
STATED = re.compile(r"(?P<low>\d+|two)(?: to (?P<high>\d+))?(?: minutes on two|, measured)")
SECTION = re.compile(r"(?<!\*)\*([^*|]+)\*(?!\*)")
BUTTONS = {"Run All", "모두 실행"}  # in italics, and no section


def both(page: str) -> tuple[str, str]:
    """Return both editions of a page, the Korean one without the line that says of which English text it is."""
    return read_text(FOLDER / f"{page}.md"), read_text(FOLDER / f"{page}.ko.md").partition("\n")[2]


def cells(notebook: str) -> list[str]:
    return [
        "".join(cell["source"]) for cell in read_json(ROOT / f"{notebook}.ipynb")["cells"] if cell["cell_type"] == "markdown"
    ]


def anchors(text: str) -> set[str]:
    """Return what a link may have behind #, as GitHub and the web book make it of headings."""
    heads = re.findall(r"^#+ (.+)$", text, re.M)
    return {re.sub(r"[^\w -]", "", head.lower()).replace(" ", "-") for head in heads}


@pytest.mark.parametrize("plan", PLANS)
def test_each_row_of_a_plan_begins_where_the_one_before_ends(plan):
    for text in both(plan):
        at = 0
        for row in ROW.finditer(text):
            assert 60 * int(row["hours"]) + int(row["minutes"]) == at, row[0]
            at += int(row["lasts"])
        assert at == PLANS[plan]


@pytest.mark.parametrize("page", PAGES)
def test_both_editions_have_the_same_tables_figures_and_exercises(page):
    english, korean = both(page)
    shape = [[line.count("|") for line in text.splitlines() if line.startswith("|")] for text in (english, korean)]
    assert shape[0] == shape[1]
    assert [row.group() for row in ROW.finditer(english)] == [row.group() for row in ROW.finditer(korean)]
    assert sorted(EXERCISE.findall(english)) == sorted(EXERCISE.findall(korean))
    heads = [len(re.findall(r"^#+ ", text, re.M)) for text in (english, korean)]
    assert heads[0] == heads[1]
    asked = [len(re.findall(r"^\*\*.+\*\*$", text, re.M)) for text in (english, korean)]
    assert asked[0] == asked[1]
    figures = [set(re.findall(r"\d+[.,]\d+|\d{3,}", text)) for text in (english, korean)]
    assert figures[0] == figures[1]


def test_the_minutes_of_the_lessons_are_those_of_their_opening_cells():
    """The opening cell of preprocess names none: there the README's figure stands."""
    shown = dict(re.findall(r"^\| \[`(\w+)\.ipynb`\]\([^)]+\) \| ([\d.–]+) \|", both("three_hours")[0], re.M))
    assert set(shown) == set(LESSONS)
    for lesson in LESSONS:
        stated = STATED.search(cells(lesson)[0])
        if stated is None:
            readme = re.search(rf"^\| \[`{lesson}\.ipynb`\].*\| ([\d.–]+) \|$", read_text(ROOT / "README.md"), re.M)
            assert shown[lesson] == readme[1]
            continue
        low, high = stated["low"].replace("two", "2"), stated["high"]
        assert shown[lesson] == (f"{low}–{high}" if high else low)
    assert shown == dict(re.findall(r"^\| \[`(\w+)\.ipynb`\]\([^)]+\) \| ([\d.–]+) \|", both("three_hours")[1], re.M))


@pytest.mark.parametrize("file", [*FOLDER.glob("*.md"), *(ROOT / "docs").glob("workshop*.md")], ids=lambda file: file.name)
def test_a_link_into_a_page_leads_to_one_of_its_headings(file):
    links = re.findall(r"\]\(([^)#:]*)#([^)]+)\)", read_text(file))
    wrong = [
        (page, head)
        for page, head in links
        if head not in anchors(read_text(file.parent / page) if page else read_text(file))
    ]
    assert wrong == []


@pytest.mark.parametrize("page", PAGES)
def test_a_page_names_exercises_and_sections_that_are_there(page):
    english, korean = both(page)
    assert set(EXERCISE.findall(english)) <= set(ids())
    if page in PLANS:
        of_lessons = [line for lesson in LESSONS for cell in cells(lesson) for line in cell.splitlines()]
        of_texts = [line for text in (ROOT / "ko" / "text").glob("*.md") for line in read_text(text).splitlines()]
        for plan, lines in ((english, of_lessons), (korean, of_texts)):
            named = {name for row in plan.splitlines() if ROW.match(row) for name in SECTION.findall(row)} - BUTTONS
            headings = {line.lstrip("# ") for line in lines if line.startswith("#")}
            assert named and named <= headings, named - headings
