"""`question`: a question with answers to choose from, each with what there is to say of it.

What it shows is HTML without script or network: an answer opens at a click, in a live notebook, in a stored one and in the
web book. Where HTML is not shown, the text says the same. (jupyterquiz needs scripts, which a notebook that is not trusted
does not run, and keeps no record.)
"""

from __future__ import annotations

from dataclasses import dataclass
from html import escape

from kotune.exercises import catalogue, results
from kotune.exercises.catalogue import find, nearest, phrases


@dataclass(frozen=True)
class Shown:
    """A question as Jupyter shows it, in HTML or as text."""

    text: str
    html: str

    def __repr__(self) -> str:
        """Return it as text."""
        return self.text

    def _repr_html_(self) -> str:
        return self.html


def question(id: str, choice: str | None = None) -> Shown | None:
    """Return a question to look at; with a letter, print what is said of that answer, and write the choice down."""
    asked, shared = find(id), phrases()
    if not isinstance(asked, catalogue.Question):
        print(shared["unknown_question"]().format(id=id, nearest=nearest(id)))
        return None
    if choice is None or choice is ...:
        return Shown(_as_text(asked), _as_html(asked))
    letter = str(choice).strip().strip("().").lower()
    if letter not in [*asked.letters]:
        print(f"{asked.id} · {shared['no_such_letter']().format(letters=', '.join(asked.letters))}")
        return None
    option = asked.options[asked.letters.index(letter)]
    print(f"{asked.id} · {_opening(option)} {option.feedback()}")
    if failed := results.record(asked.id, option.right, letter):
        print(failed)
    return None


def _opening(option: catalogue.Option) -> str:
    return phrases()["chosen_right" if option.right else "chosen_wrong"]()


def _as_text(asked: catalogue.Question) -> str:
    options = (f"  {letter}) {option.text()}" for letter, option in zip(asked.letters, asked.options, strict=True))
    return "\n".join([asked.text(), *options, phrases()["choose"]().format(id=asked.id)])


def _as_html(asked: catalogue.Question) -> str:
    rows = (
        f"<details><summary>{letter}) {_in_html(option.text())}</summary>"
        f'<p style="margin:0 0 0.5em 1.5em"><b>{escape(_opening(option))}</b> {_in_html(option.feedback())}</p></details>'
        for letter, option in zip(asked.letters, asked.options, strict=True)
    )
    return f"<div>{''.join(rows)}<p><small>{_in_html(phrases()['choose']().format(id=asked.id))}</small></p></div>"


def _in_html(said: str) -> str:
    """Return a text in HTML, with what stands between backticks as code."""
    return "".join(
        f"<code>{part}</code>" if place % 2 else part for place, part in enumerate(escape(said, quote=False).split("`"))
    )
