"""How each figure is drawn: one function a figure, of its words and the facts, in the order of the lessons."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence

from dev.figures.canvas import MARGIN, PLAIN, SMALL, WIDTH, Canvas, width_of
from dev.figures.words import Words

INNER = WIDTH - 2 * MARGIN
END = WIDTH - MARGIN


def _canvas(height: int, t: Words, **values: object) -> Canvas:
    return Canvas(height, t.title, t.description.format(**values), t.language)


# --- the pipeline ------------------------------------------------------------------------------

COLUMNS, BOX_WIDTH = (40, 220, 400), 160


def pipeline(t: Words, facts: dict) -> Canvas:
    """Four bands, one a notebook, with what goes from one to the next and the branches beside."""
    c = _canvas(686, t)

    def box(column: int, y: float, role: str, name: str, *, dashed: bool = False) -> None:
        c.box(COLUMNS[column], y, BOX_WIDTH, 50, role, t(name), [t(f"{name}_note")], dashed=dashed)

    left, middle, right = (x + BOX_WIDTH / 2 for x in COLUMNS)
    for name, y, height in (("preprocess", 56, 188), ("train", 256, 160), ("dpo", 428, 100), ("evaluation", 540, 100)):
        c.area(MARGIN, y, INNER, height, "band", "frame")
        c.text(COLUMNS[0], y + 21, f"{name}.ipynb", size=SMALL, mono=True, ink="soft", ground="band", room=200)

    first, second = 86, 176
    box(0, first, "data", "seeds")
    box(1, first, "teacher", "questions")
    box(2, first, "data", "distinct")
    box(0, second, "data", "documents")
    box(1, second, "teacher", "answers")
    box(2, second, "teacher", "spoilt")
    for y in (first + 25, second + 25):
        c.arrow((COLUMNS[0] + BOX_WIDTH, y), (COLUMNS[1], y))
        c.arrow((COLUMNS[1] + BOX_WIDTH, y), (COLUMNS[2], y))
    c.arrow((right, first + 50), (right, 156), (middle, 156), (middle, second))

    box(0, 286, "model", "pretraining", dashed=True)
    box(0, 354, "model", "listings", dashed=True)
    c.box(COLUMNS[1], 305, BOX_WIDTH, 74, "model", t("sft"), t.lines("sft_notes"))
    c.arrow((middle, second + 50), (middle, 305))

    box(0, 460, "model", "own", dashed=True)
    box(1, 460, "model", "dpo")
    box(2, 460, "model", "reward")
    c.arrow((left, 404), (left, 460), dashed=True)
    c.arrow((middle, 379), (middle, 460))
    c.arrow((right, second + 50), (right, 460))
    c.arrow((right, 442), (middle + 44, 442), (middle + 44, 460))

    box(0, 572, "data", "compared")
    box(1, 572, "judge", "verdict")
    box(2, 572, "judge", "report")
    c.arrow((middle - 44, 510), (middle - 44, 534), (left + 62, 534), (left + 62, 572))  # past the band's name
    c.arrow((right, 510), (right, 534), (middle + 44, 534), (middle + 44, 572))
    c.arrow((COLUMNS[0] + BOX_WIDTH, 597), (COLUMNS[1], 597))
    c.arrow((COLUMNS[1] + BOX_WIDTH, 597), (COLUMNS[2], 597))
    roles = [(role, t(role), False) for role in ("data", "teacher", "model", "judge")]
    c.legend(664, [*roles, ("model", t("side"), True)])
    return c


# --- preprocess --------------------------------------------------------------------------------


def journal_line(t: Words, facts: dict) -> Canvas:
    """The fields of a real line, each with what it is for."""
    line, step, top = facts["journal_line"], 41, 84
    c = _canvas(652, t)
    c.text(MARGIN, 60, t("sub"), size=SMALL, ink="soft", room=INNER)
    code, notes = 336, 362  # where the code's area ends, and the notes begin
    c.area(MARGIN, top - 8, code - MARGIN, step * len(line) + 12, "teacher-area", "teacher-line")
    for number, (name, value) in enumerate(line.items()):
        y = top + 19 + number * step
        written = f'"{name}": {_shortened(value, code - MARGIN - 24, name)}'
        c.text(MARGIN + 12, y, written, size=SMALL, mono=True, ground="teacher-area", room=code - MARGIN - 16)
        c.arrow((code, y - 4), (notes - 8, y - 4), line="frame", head=False)
        explained = t.lines(name)
        c.lines(notes, y - 8.5 * (len(explained) - 1), explained, step=17, size=SMALL, ink="soft", room=END - notes)
    for y, asked, done in ((562, "again", "found"), (604, "changed", "sent")):
        c.box(MARGIN, y, 220, 34, "data", t(asked))
        c.arrow((MARGIN + 220, y + 17), (284, y + 17))
        c.box(284, y, END - 284, 34, "teacher", t(done))
    return c


def _shortened(value: object, room: float, name: str) -> str:
    text = json.dumps(value, ensure_ascii=False)
    left = room - width_of(f'"{name}": ', SMALL, mono=True)
    if width_of(text, SMALL, mono=True) <= left:
        return text
    while width_of(text + " …", SMALL, mono=True) > left:
        text = text[:-1]
    return text.rstrip(' ,"{') + " …"


def grounded_answers(t: Words, facts: dict) -> Canvas:
    """From a question by search, teacher and checks to what is kept."""
    c = _canvas(386, t)
    left, middle, right = MARGIN, 216, 408
    width = 168
    c.box(left, 62, width, 46, "data", t("question"))
    c.box(left, 128, width, 46, "data", t("documents"))
    c.box(middle, 95, width, 46, "data", t("search"), [t("search_note")])
    c.arrow((left + width, 85), (middle - 12, 85), (middle - 12, 111), (middle, 111))
    c.arrow((left + width, 151), (middle - 12, 151), (middle - 12, 126), (middle, 126))
    c.box(right, 95, width, 46, "data", t("passages"))
    c.arrow((middle + width, 118), (right, 118))

    c.box(right, 186, width, 50, "data", t("prompt"), [t("prompt_note")])
    c.arrow((right + width / 2, 141), (right + width / 2, 186))
    c.box(middle, 186, width, 50, "teacher", t("teacher"))
    c.arrow((right, 211), (middle + width, 211))
    c.box(left, 186, width, 50, "teacher", t("reply"), [t("reply_note")])
    c.arrow((middle, 211), (left + width, 211))

    c.box(left, 280, width, 70, "judge", t("checks"), t.lines("checks_notes"))
    c.arrow((left + width / 2, 236), (left + width / 2, 280))
    c.box(middle, 290, width, 50, "data", t("kept"), [t("kept_note")])
    c.arrow((left + width, 315), (middle, 315))
    c.box(right, 290, width, 50, "data", t("rejected"), [t("rejected_note")], dashed=True)
    c.arrow(
        (left + width / 2, 350), (left + width / 2, 366), (right + width / 2, 366), (right + width / 2, 340), dashed=True
    )
    return c


# --- train -------------------------------------------------------------------------------------


def tokens_and_mask(t: Words, facts: dict) -> Canvas:
    """A row of tokens, broken into four, each cell with piece, number and label."""
    tokens = facts["tokens"]
    values = {"n": len(tokens), "counted": sum(token["trained"] for token in tokens)}
    c = _canvas(508, t, **values)
    c.text(MARGIN, 60, t("gloss"), size=SMALL, ink="soft", room=INNER)
    first = next(i for i, token in enumerate(tokens) if token["id"] > 1000 and not token["token"].isascii())
    ends = next(i for i, token in enumerate(tokens) if token["token"] == "<end_of_turn>")
    answer = next(i for i, token in enumerate(tokens) if token["trained"])
    rows = {"opens": tokens[:first], "question": tokens[first:ends], "turns": tokens[ends:answer], "answer": tokens[answer:]}
    y = 86
    for name, row in rows.items():
        c.text(MARGIN, y, t(name), size=SMALL, ink="soft", room=INNER)
        x = MARGIN
        for token in row:
            x += _token(c, x, y + 8, token) + 4
        y += 94
    c.legend(y + 2, [("data", t("masked"), False), ("model", t("trained"), False)])
    c.text(MARGIN, y + 28, t("reading", **values), size=SMALL, ink="soft", room=INNER)
    return c


def _token(c: Canvas, x: float, y: float, token: dict) -> float:
    """Draw a cell of a token and return its width."""
    role = "model" if token["trained"] else "data"
    piece = _piece(token["token"])
    marker = _is_marker(piece)
    size = SMALL if marker else 15
    width = max(54, round(width_of(piece, size, mono=marker)) + 12)
    c.area(x, y, width, 66, f"{role}-area", f"{role}-line", radius=4)
    shared = {"ground": f"{role}-area", "anchor": "middle", "room": width - 2}
    c.text(x + width / 2, y + 20, piece, size=size, mono=marker, ink=f"{role}-text", bold=not marker, **shared)
    label = f"{token['id']}" if token["trained"] else "−100"
    c.text(x + width / 2, y + 39, f"{token['id']}", size=SMALL, mono=True, ink="ink", **shared)
    c.text(x + width / 2, y + 57, label, size=SMALL, mono=True, ink=f"{role}-text", bold=token["trained"], **shared)
    return width


def _is_marker(piece: str) -> bool:
    """Say whether a piece is written in the fixed-width font: a Korean font shows a backslash as a won sign."""
    return piece.isascii() and len(piece) > 1


def _piece(token: str) -> str:
    return token.replace("\n", "\\n").replace(" ", "·")


def loss_positions(t: Words, facts: dict) -> Canvas:
    """Which positions go through the layers, which through the last one, and what the loss is of."""
    tokens = facts["tokens"]
    counted = [i for i, token in enumerate(tokens) if token["trained"]]
    begin, n = counted[0] - 1, len(tokens)  # the first position whose next token is counted
    values = {
        "n": n, "counted": len(counted), "skipped": n - len(counted),
        "layers": facts["lora"]["layers"], "vocabulary": f"{facts['lora']['vocabulary']:,}",
    }  # fmt: skip
    c = _canvas(418, t, **values)
    cell, start = 48, 118
    xs = [start + i * (cell + 4) for i in range(len(counted))]
    right = xs[-1] + cell
    c.text(MARGIN, 68, t("read"), size=SMALL, ink="soft", room=INNER)
    c.box(MARGIN, 78, start - MARGIN - 6, 34, "data", t("earlier", n=begin))
    for x, token in zip(xs, tokens[begin:-1], strict=True):
        c.area(x, 78, cell, 34, "data-area", "data-line", radius=4)
        settings = {"anchor": "middle", "ground": "data-area", "ink": "data-text", "room": cell - 2}
        piece = _piece(token["token"])
        c.text(x + cell / 2, 100, piece, mono=_is_marker(piece), bold=not _is_marker(piece), **settings)
        c.arrow((x + cell / 2, 112), (x + cell / 2, 132))
        c.arrow((x + cell / 2, 168), (x + cell / 2, 200), line="model-line")
        c.arrow((x + cell / 2, 236), (x + cell / 2, 268), line="model-line")
    for x in (MARGIN + 14, MARGIN + 44, MARGIN + 74):
        c.arrow((x, 112), (x, 132))
    last = right + 4
    c.area(last, 78, END - last, 34, "data-area", "data-line", radius=4)
    c.text((last + END) / 2, 100, "…", anchor="middle", ground="data-area", room=END - last)
    c.arrow(((last + END) / 2, 112), ((last + END) / 2, 132))
    c.box(MARGIN, 132, INNER, 36, "model", t("layers", **values))
    for x in (MARGIN + 14, MARGIN + 44, MARGIN + 74, (last + END) / 2):
        c.arrow((x, 168), (x, 184), line="frame", head=False, dashed=True)
    c.text(MARGIN, 206, t("left_out"), size=SMALL, ink="soft", room=start - MARGIN - 6)
    c.box(start, 200, right - start, 36, "model", t("head", **values))
    c.text(MARGIN, 290, t("next"), size=SMALL, ink="soft", room=start - MARGIN - 6)
    for x, token in zip(xs, tokens[begin + 1 :], strict=True):
        c.area(x, 268, cell, 34, "model-area", "model-line", radius=4)
        piece = "<end…" if token["token"] == "<end_of_turn>" else _piece(token["token"])
        settings = {"anchor": "middle", "ground": "model-area", "ink": "model-text", "room": cell - 2}
        marker = piece.startswith("<")
        c.text(x + cell / 2, 290, piece, size=SMALL if marker else PLAIN, bold=not marker, mono=marker, **settings)
    c.formula(start, 318, right - start, t("loss", **values))
    c.lines(MARGIN, 380, t.lines("why", **values), size=SMALL, ink="soft", room=INNER)
    return c


def lora(t: Words, facts: dict) -> Canvas:
    """W, B and A with their shapes, one scale for all but the rank."""
    known = facts["lora"]
    inputs, outputs, rank, scale = known["inputs"], known["outputs"], known["rank"], known["alpha"] / known["rank"]
    c = _canvas(446, t, **known, scale=f"{scale:g}")
    c.text(MARGIN, 60, t("sub", **known), size=SMALL, ink="soft", room=INNER)
    wide, high, thin, top = inputs * 0.2, outputs * 0.2, 14, 124
    w, b, a = 70, 334, 404
    middle = top + high / 2
    c.area(w, top, wide, high, "data-area", "data-line")
    c.area(b, top, thin, high, "model-area", "model-line", radius=3)
    c.area(a, middle - thin / 2, wide, thin, "model-area", "model-line", radius=3)

    def about(x: float, y: float, text: str, **settings) -> None:
        c.text(x, y, text, **({"anchor": "middle", "room": 130, "size": SMALL, "ink": "soft"} | settings))

    about(w + wide / 2, middle - 6, "W", size=22, ink="data-text", ground="data-area", bold=True)
    about(w + wide / 2, middle + 16, t("frozen"), ground="data-area", ink="data-text")
    about(w + wide / 2, top - 10, f"{inputs}")
    about(w - 8, middle + 5, f"{outputs:,}", room=44, anchor="end")
    about(w + wide / 2, top + high + 22, t("numbers", n=f"{outputs * inputs:,}"), room=150)
    c.text(264, middle + 5, f"+  {t('scale', scale=f'{scale:g}')}  ×", anchor="middle", size=15, room=130)

    about(b + thin / 2, top - 10, f"{rank}")
    about(b - 18, top + 18, "B", size=20, ink="ink", bold=True, room=30)
    about(b + thin / 2, top + high + 22, t("numbers", n=f"{outputs * rank:,}"))
    about(b + thin / 2, top + high + 40, t("zero"))
    about(376, middle + 5, "×", size=15, ink="ink", room=20)

    about(a + wide / 2, middle - 30, "A", size=20, ink="ink", bold=True, room=30)
    about(a + wide / 2, middle - 14, f"{inputs}")
    about(a + wide + 14, middle + 5, f"{rank}", room=20)
    about(a + wide / 2, middle + 28, t("numbers", n=f"{rank * inputs:,}"), room=150)
    about(a + wide / 2, middle + 46, t("random"), room=150)
    about(a + wide / 2, top + high + 40, t("drawn"), room=190)

    trained = rank * (inputs + outputs)
    y = 406
    share, whole = f"{trained / (inputs * outputs):.1%}", known["frozen"] + known["trained"]
    c.text(MARGIN, y, t("here", n=f"{trained:,}", of=f"{inputs * outputs:,}", share=share), room=INNER)
    text = t(
        "whole", layers=known["layers"], n=f"{known['trained']:,}", of=f"{whole:,}", share=f"{known['trained'] / whole:.2%}"
    )
    c.text(MARGIN, y + 22, text, room=INNER)
    c.legend(86, [("data", t("frozen"), False), ("model", t("trained"), False)], x=a - 20)
    return c


def memory(t: Words, facts: dict) -> Canvas:
    """One bar a part of memory, the largest first."""
    known = facts["memory"]
    sizes = dict(sorted(known["gib"].items(), key=lambda part: -part[1]))
    total = f"{known['total']:.2f}"
    c = _canvas(456, t, total=total, **{part: f"{size:.2f}" for part, size in sizes.items()})
    begin, longest = 262, 225
    c.legend(64, [("data", t("any_rank"), False), ("model", t("with_rank"), False)])
    for number, (part, size) in enumerate(sizes.items()):
        y = 96 + number * 48
        c.text(MARGIN, y, t(part), bold=True, room=begin - MARGIN - 8)
        c.text(MARGIN, y + 18, t(f"{part}_why"), size=SMALL, ink="soft", room=begin - MARGIN - 8)
        role = "model" if part in {"adapter", "optimiser"} else "data"
        width = max(3, longest * size / max(sizes.values()))
        c.area(begin, y - 11, width, 26, f"{role}-area", f"{role}-line", radius=2)
        c.text(begin + width + 8, y + 7, f"{size:.2f} GiB", size=SMALL, mono=True, room=END - begin - width - 8)
    c.text(begin, 392, t("total", total=total), bold=True, room=END - begin)
    c.lines(MARGIN, 420, t.lines("source", rows=known["batch_size"], **known), size=SMALL, ink="soft", room=INNER)
    return c


def open_book(t: Words, facts: dict) -> Canvas:
    """Three lanes: the model alone, with the document, and the search without a model."""
    c = _canvas(404, t)
    lanes = [
        ("closed", ("question",), "model", "answer", "from_weights"),
        ("open", ("question", "document"), "model", "answer", "from_document"),
        ("search", ("question", "document"), "bm25", "sentence", "quoted"),
    ]
    for number, (name, given, worker, result, note) in enumerate(lanes):
        y = 58 + number * 114
        c.area(MARGIN, y, INNER, 100, "band", "frame")
        c.text(MARGIN + 14, y + 22, t(name), bold=True, ground="band", room=180)
        c.text(END - 14, y + 22, t(note), size=SMALL, ink="soft", ground="band", anchor="end", room=340)
        middle = y + 63
        height = 25 if len(given) > 1 else 44
        for place, what in enumerate(given):
            top = y + 36 + place * 29 if len(given) > 1 else middle - 22
            c.box(MARGIN + 14, top, 150, height, "data", t(what))
            side = middle - 8 + 16 * place if len(given) > 1 else middle
            level = top + height / 2
            c.arrow((MARGIN + 164, level), (208, level), (208, side), (226, side)) if level != side else c.arrow(
                (MARGIN + 164, level), (226, level)
            )
        if worker == "model":
            c.box(226, middle - 22, 170, 44, "model", t("model"))
        else:
            c.box(226, middle - 22, 170, 44, "data", t("bm25"), [t("bm25_note")])
        c.arrow((396, middle), (436, middle))
        c.box(436, middle - 22, END - 14 - 436, 44, "model" if worker == "model" else "data", t(result))
    return c


# --- dpo and evaluation ------------------------------------------------------------------------


def reward_and_dpo(t: Words, facts: dict) -> Canvas:
    """A real pair, and the two ways from it to a loss."""
    pair = facts["pair"]
    c = _canvas(596, t)
    half, right = 266, 310
    c.area(MARGIN, 56, INNER, 52, "data-area", "data-line")
    settings = {"anchor": "middle", "ground": "data-area", "room": INNER - 20}
    c.text(WIDTH / 2, 78, pair["prompt"], bold=True, ink="data-text", **settings)
    c.text(WIDTH / 2, 97, t("question_gloss", id=pair["id"]), size=SMALL, **settings)
    for x, side in ((MARGIN, "chosen"), (right, "rejected")):
        c.area(x, 122, half, 88, "data-area", "data-line", dashed=side == "rejected")
        settings = {"ground": "data-area", "room": half - 20}
        c.text(x + 12, 142, t(side), bold=True, ink="data-text", **settings)
        first, _, rest = pair[side].partition(". ")
        c.lines(x + 12, 161, [f"{first}.", rest, t(f"{side}_gloss")], step=18, size=SMALL, **settings)
    c.arrow((MARGIN + half / 2, 210), (MARGIN + half / 2, 250))
    c.arrow((right + half / 2, 210), (right + half / 2, 250))
    c.arrow((MARGIN + half / 2, 230), (right + half / 2, 230), head=False)

    for x, name in ((MARGIN, "reward"), (right, "dpo")):
        c.area(x, 250, half, 288, "band", "frame")
        c.text(x + half / 2, 273, t(name), bold=True, anchor="middle", ground="band", room=half - 20)
        c.arrow((x + half / 2, 388), (x + half / 2, 410))
        c.text(x + 14, 406, t("loss"), size=SMALL, ink="soft", ground="band", room=90)
        c.arrow((x + half / 2, 444), (x + half / 2, 474))
        c.text(x + 14, 466, t("result"), size=SMALL, ink="soft", ground="band", room=110)
        c.formula(x + 12, 410, half - 24, t(f"{name}_loss"))
        role = "judge" if name == "reward" else "model"
        c.box(x + 12, 474, half - 24, 50, role, t(f"{name}_result"), [t(f"{name}_result_note")])
    c.box(MARGIN + 12, 286, half - 24, 102, "model", t("one_output"), [t("reward_reads"), t("reward_gives")])
    c.box(right + 12, 286, 116, 60, "model", t("policy"), [t("policy_note")])
    c.box(right + 138, 286, 116, 60, "data", t("reference"), [t("reference_note")])
    c.text(right + half / 2, 374, t("gain"), size=SMALL, anchor="middle", ground="band", room=half - 20)
    c.text(WIDTH / 2, 568, t("foot"), size=SMALL, ink="soft", anchor="middle", room=INNER)
    return c


def judge_orders(t: Words, facts: dict) -> Canvas:
    """Three cases of a pair in both orders, and fifteen questions as verdicts and as wins."""
    c = _canvas(484, t)
    columns, width = (MARGIN, 214, 404), 172
    for x, name in zip(columns, ("a_first", "b_first", "counts"), strict=True):
        c.text(x + width / 2, 66, t(name), size=SMALL, ink="soft", anchor="middle", room=width)
    cases = [("A", "A", "a_wins", "both_agree"), ("B", "B", "b_wins", "both_agree"), ("A", "B", "flip", "flip_notes")]
    for number, (first, second, outcome, note) in enumerate(cases):
        y = 80 + number * 76
        _shown(c, columns[0], y, "AB", first, t)
        _shown(c, columns[1], y, "BA", second, t)
        c.arrow((columns[1] + width, y + 16), (columns[2], y + 16))
        c.box(columns[2], y, width, 62, "judge", t(outcome), t.lines(note), dashed=outcome == "flip")

    c.text(MARGIN, 352, t("fifteen"), bold=True, room=INNER)
    c.text(MARGIN, 373, t("verdicts"), size=SMALL, ink="soft", room=INNER)
    c.text(MARGIN, 402, t("upper"), size=SMALL, ink="soft", room=64)
    c.text(MARGIN, 430, t("lower"), size=SMALL, ink="soft", room=64)
    x = 92.0
    for verdicts, count, name in (("AA", 10, "wins"), ("AB", 2, "flips"), ("BB", 3, "losses")):
        begin = x
        for _ in range(count):
            for row, verdict in enumerate(verdicts):
                role = "model" if verdict == "A" else "data"
                c.area(x, 386 + 28 * row, 24, 24, f"{role}-area", f"{role}-line", radius=3)
                settings = {"anchor": "middle", "ground": f"{role}-area", "ink": f"{role}-text", "room": 22}
                c.text(x + 12, 403 + 28 * row, verdict, size=SMALL, bold=True, **settings)
            x += 28
        c.text((begin + x - 4) / 2, 462, t(name), size=SMALL, anchor="middle", bold=True, room=max(x - begin + 10, 80))
        x += 28
    return c


def _shown(c: Canvas, x: float, y: float, order: Sequence[str], chosen: str, t: Words) -> None:
    """Draw a pair as a judge sees it, and what the judge says."""
    for place, answer in enumerate(order):
        role = "model" if answer == "A" else "data"
        left = x + place * 88
        c.area(left, y, 84, 32, f"{role}-area", f"{role}-line", radius=4)
        c.text(left + 42, y + 21, answer, bold=True, anchor="middle", ink=f"{role}-text", ground=f"{role}-area", room=80)
    c.text(x + 86, y + 52, t("says", answer=chosen), size=SMALL, anchor="middle", bold=True, ink="judge-text", room=170)


DRAWINGS: dict[str, Callable[[Words, dict], Canvas]] = {
    draw.__name__: draw
    for draw in (
        pipeline, journal_line, grounded_answers, tokens_and_mask, loss_positions, lora, memory, open_book,
        reward_and_dpo, judge_orders,
    )
}  # fmt: skip
