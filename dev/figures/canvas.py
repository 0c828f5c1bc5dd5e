"""An SVG drawing of the course: boxes, arrows and text of one palette, light and dark, whose text must fit its room.

Colours have a meaning (`ROLES`): data, teacher, model, judge. A figure is read as an image in GitHub, Jupyter and the book,
where its own style sheet follows the reader's system and not the page; so it brings its own background.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple
from xml.sax.saxutils import escape

WIDTH, MARGIN = 600, 24
SHOWN_WIDTH = 660  # on a page that has room; a phone shows about 360
SMALL, PLAIN, LARGE = 13, 14.5, 17  # sizes of text; nothing is smaller
ROLES = ("data", "teacher", "model", "judge")

# fonts with Korean glyphs of macOS, Windows and Linux; their Latin letters fit to them
FONTS = "'Apple SD Gothic Neo','Malgun Gothic','Noto Sans CJK KR','Noto Sans KR',NanumGothic,'Nanum Gothic',sans-serif"
MONO_FONTS = (
    "ui-monospace,SFMono-Regular,Menlo,Consolas,D2Coding,NanumGothicCoding,'Noto Sans Mono CJK KR',"
    + FONTS.replace("sans-serif", "monospace")
)


# widths of letters in em; of those that are not here 0.62, of capitals 0.72, of Korean syllables 0.95
EMS = {"ijl|.,:;'!·": 0.31, 'frtI()[]{}/\\- "': 0.4, "aceskvxyzJ": 0.54, "mwM@%": 0.95, "W…": 1.1, "=+<>−→×≥": 0.8}


class Colours(NamedTuple):
    """Three tones of a role: the line, the area it encloses, and text on that area."""

    line: str
    area: str
    text: str


class Palette(NamedTuple):
    """All colours of a scheme."""

    page: str
    band: str  # an area that groups others
    frame: str
    ink: str
    soft: str
    roles: dict[str, Colours]


PALETTES = {
    "light": Palette(
        page="#ffffff", band="#f6f7f9", frame="#c9d0d8", ink="#1b2430", soft="#55606e",
        roles={
            "data": Colours("#66717f", "#e9edf1", "#39434f"),
            "teacher": Colours("#7a4bb5", "#f1eafa", "#5b2f94"),
            "model": Colours("#1f6fb2", "#e3eff9", "#134f85"),
            "judge": Colours("#b4580f", "#fceedd", "#86400a"),
        },
    ),
    "dark": Palette(
        page="#161b22", band="#1d242d", frame="#414b58", ink="#e8ecf1", soft="#a9b4c0",
        roles={
            "data": Colours("#93a0af", "#2a323d", "#d3dae2"),
            "teacher": Colours("#b794f0", "#2f2544", "#d9c6fa"),
            "model": Colours("#63aee8", "#17324a", "#b5dafa"),
            "judge": Colours("#eda35c", "#40290f", "#fbd3a6"),
        },
    ),
}  # fmt: skip


def fills_of(palette: Palette) -> dict[str, str]:
    """Return the colour of each class that fills an area."""
    return {"page": palette.page, "band": palette.band} | {f"{r}-area": c.area for r, c in palette.roles.items()}


def inks_of(palette: Palette) -> dict[str, str]:
    """Return the colour of each class of text."""
    return {"ink": palette.ink, "soft": palette.soft} | {f"{r}-text": c.text for r, c in palette.roles.items()}


def lines_of(palette: Palette) -> dict[str, str]:
    """Return the colour of each class of line."""
    return {"frame": palette.frame, "soft-line": palette.soft} | {f"{r}-line": c.line for r, c in palette.roles.items()}


def style() -> str:
    """Return the style sheet: light, and dark for readers whose system is."""
    return (
        f"text{{font-family:{FONTS}}}.mono{{font-family:{MONO_FONTS}}}.bold{{font-weight:700}}"
        ".line{fill:none;stroke-width:1.5}.dashed{stroke-dasharray:5 4}"
        f"{_rules(PALETTES['light'])}@media (prefers-color-scheme:dark){{{_rules(PALETTES['dark'])}}}"
    )


def _rules(palette: Palette) -> str:
    filled = {**fills_of(palette), **inks_of(palette)} | {
        f"{name}-head": colour for name, colour in lines_of(palette).items()
    }
    rules = [f".{name}{{fill:{colour}}}" for name, colour in filled.items()]
    return "".join(rules + [f".{name}{{stroke:{colour}}}" for name, colour in lines_of(palette).items()])


def width_of(text: str, size: float, *, bold: bool = False, mono: bool = False) -> float:
    """Return about the most that a text takes in the fonts above; never less than NanumGothic, to which a test holds it."""
    ems = sum(_em(letter, mono) for letter in text)
    return ems * size * (1.07 if bold and not mono else 1)


def _em(letter: str, mono: bool) -> float:
    if ord(letter) >= 0x1100 and not 0x2000 <= ord(letter) <= 0x2BFF:
        return 1.0 if mono else 0.95
    if mono:
        return 0.61
    return next((em for letters, em in EMS.items() if letter in letters), 0.72 if letter.isupper() else 0.62)


class Placed(NamedTuple):
    """A text of a figure: what a test needs to know of it."""

    text: str
    ink: str
    ground: str
    width: float
    room: float


class Canvas:
    """One figure in one language, drawn from the top left corner, in units of which a figure is 600 wide."""

    def __init__(self, height: int, title: str, description: str, language: str):
        """Begin a figure with its background, and its title at the head."""
        self.height, self.language = height, language
        self.title, self.description = title, description
        self.parts: list[str] = []
        self.placed: list[Placed] = []
        self.drawn_lines: set[str] = set()
        self.area(0.75, 0.75, WIDTH - 1.5, height - 1.5, "page", "frame", radius=10)
        self.text(MARGIN, 36, title, size=LARGE, bold=True, room=WIDTH - 2 * MARGIN)

    def area(
        self, x: float, y: float, width: float, height: float, fill: str, line: str, *, dashed: bool = False, radius: int = 6
    ) -> None:
        """Draw a rectangle with a thin line around it."""
        self.drawn_lines.add(line)
        self.parts.append(
            f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="{radius}" '
            f'class="{fill} {line}{" dashed" if dashed else ""}"/>'
        )

    def text(
        self, x: float, y: float, text: str, *, room: float, ink: str = "ink", ground: str = "page", size: float = PLAIN,
        bold: bool = False, mono: bool = False, anchor: str = "start",
    ) -> None:  # fmt: skip
        """Write one line of text whose baseline is at y.

        Raises:
            ValueError: it may be wider than its room.
        """
        width = width_of(text, size, bold=bold, mono=mono)
        if width > room:
            raise ValueError(f"{self.title!r}: {text!r} may be {width:.0f} wide and has room for {room:.0f}: shorten it.")
        self.placed.append(Placed(text, ink, ground, width, room))
        classes = " ".join([ink, *["bold"] * bold, *["mono"] * mono])
        anchored = "" if anchor == "start" else f' text-anchor="{anchor}"'
        self.parts.append(
            f'<text x="{x:g}" y="{y:g}" font-size="{size:g}" class="{classes}"{anchored}>{escape(text)}</text>'
        )

    def lines(self, x: float, y: float, lines: Sequence[str], *, step: float = 19, **settings) -> None:
        """Write lines of text below each other."""
        for number, line in enumerate(lines):
            self.text(x, y + number * step, line, **settings)

    def box(
        self, x: float, y: float, width: float, height: float, role: str, name: str, notes: Sequence[str] = (), *,
        dashed: bool = False,
    ) -> None:  # fmt: skip
        """Draw a box of a role with its name, and notes below it, in the middle."""
        ground = f"{role}-area"
        self.area(x, y, width, height, ground, f"{role}-line", dashed=dashed)
        middle, room = x + width / 2, width - 10
        top = y + (height - 17 * len(notes)) / 2 + 5
        settings = {"anchor": "middle", "ground": ground, "room": room}
        self.text(middle, top, name, ink=f"{role}-text", bold=True, **settings)
        self.lines(middle, top + 18, notes, step=17, size=SMALL, **settings)

    def formula(self, x: float, y: float, width: float, text: str) -> None:
        """Write a formula in a box without a role."""
        self.area(x, y, width, 34, "band", "soft-line")
        self.text(x + width / 2, y + 21, text, anchor="middle", ground="band", size=SMALL, room=width - 8)

    def arrow(self, *points: tuple[float, float], line: str = "soft-line", dashed: bool = False, head: bool = True) -> None:
        """Draw a line through points, along the axes, with a head at its end."""
        self.drawn_lines.add(line)
        *_, (x0, y0), (x1, y1) = points
        right, down = (x1 > x0) - (x1 < x0), (y1 > y0) - (y1 < y0)
        assert all(a[0] == b[0] or a[1] == b[1] for a, b in pairwise(points)), "an arrow runs along the axes"
        back = (x1 - 7 * right * head, y1 - 7 * down * head)
        path = " ".join(f"{x:g},{y:g}" for x, y in (*points[:-1], back))
        self.parts.append(f'<polyline points="{path}" class="line {line}{" dashed" if dashed else ""}"/>')
        if head:
            a, b = (back[0] + 4 * down, back[1] + 4 * right), (back[0] - 4 * down, back[1] - 4 * right)
            tip = " ".join(f"{x:g},{y:g}" for x, y in ((x1, y1), a, b))
            self.parts.append(f'<polygon points="{tip}" class="{line}-head"/>')

    def legend(self, y: float, entries: Sequence[tuple[str, str, bool]], x: float = MARGIN) -> None:
        """Name colours in a row: (role, word, dashed) each."""
        for role, word, dashed in entries:
            self.area(x, y - 11, 16, 13, f"{role}-area", f"{role}-line", dashed=dashed, radius=3)
            room = width_of(word, SMALL)
            self.text(x + 22, y, word, size=SMALL, ink="soft", room=room)
            x += 22 + room + 16
        if x - 16 > WIDTH - MARGIN:
            raise ValueError(f"{self.title!r}: the legend is too wide: shorten a word.")

    def svg(self) -> str:
        """Return the file's text."""
        shown = round(self.height * SHOWN_WIDTH / WIDTH)
        head = (
            f'<svg xmlns="http://www.w3.org/2000/svg" xml:lang="{self.language}" lang="{self.language}" role="img" '
            f'aria-labelledby="title desc" width="{SHOWN_WIDTH}" height="{shown}" viewBox="0 0 {WIDTH} {self.height}">'
        )
        words = f'<title id="title">{escape(self.title)}</title>\n<desc id="desc">{escape(self.description)}</desc>'
        return "\n".join([head, words, f"<style>{style()}</style>", *self.parts, "</svg>", ""])
