"""Terms of the glossary in running text: a dotted line, and the meaning where the pointer rests."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from docutils import nodes
from sphinx.application import Sphinx

from dev.book.glossary import Term, pattern

# What says a term otherwise than in passing: headings, links, code, formulas, outputs; and bold, which defines it there.
_NO_PROSE = (
    nodes.title, nodes.rubric, nodes.reference, nodes.literal, nodes.FixedTextElement, nodes.math, nodes.math_block,
    nodes.raw, nodes.strong, nodes.thead, nodes.container,
)  # fmt: skip


class Glossed(nodes.inline):
    """A term with its meaning around the link to its entry."""


@dataclass
class Explainer:
    """Explains each term once in a section of a page."""

    app: Sphinx
    page: str
    explained: set[tuple[int, str]] = field(default_factory=set)

    def explain(self, doctree: nodes.document) -> None:
        """Put a `Glossed` node in the place of the first mention of each term in each section."""
        terms = {name.lower(): term for term in self.app.config.book_terms for name in (term.english, term.korean)}
        for text in list(doctree.findall(nodes.Text)):
            if (section := _section_of_prose(text)) is not None:
                pieces = list(self._pieces(text.astext(), section, terms))
                if len(pieces) > 1:
                    text.parent.replace(text, pieces)

    def _pieces(self, text: str, section: int, terms: dict[str, Term]) -> Iterator[nodes.Node]:
        done = 0
        for match in pattern(terms).finditer(text):
            term = terms[match["term"].lower()]
            if (section, term.english) not in self.explained:
                self.explained.add((section, term.english))
                yield nodes.Text(text[done : match.start()])
                yield self._glossed(match["shown"], term)
                done = match.end()
        yield nodes.Text(text[done:])

    def _glossed(self, shown: str, term: Term) -> Glossed:
        language = self.app.config.language
        entry = self.app.env.domains.standard_domain.objects["term", term.named(language)]
        uri = f"{self.app.builder.get_relative_uri(self.page, entry[0])}#{entry[1]}"
        link = nodes.reference(shown, shown, internal=True, refuri=uri)
        return Glossed("", "", link, meaning=f"{term.other(language)}: {term.meaning}")


def _section_of_prose(text: nodes.Text) -> int | None:
    """Return which section below the page's title a text stands in; None where it is no running text."""
    sections, within = [], text.parent
    in_paragraph = False
    while within is not None:
        if isinstance(within, _NO_PROSE):
            return None
        in_paragraph = in_paragraph or isinstance(within, nodes.paragraph)
        if isinstance(within, nodes.section):
            sections.append(id(within))
        within = within.parent
    return (sections[-2] if len(sections) > 1 else 0) if in_paragraph else None


def _explain_page(app: Sphinx, doctree: nodes.document, page: str) -> None:
    if page != "glossary" and not page.startswith("files/"):
        Explainer(app, page).explain(doctree)


def _open(writer, node: Glossed) -> None:
    writer.body.append(f'<span class="glossed" data-meaning="{writer.attval(node["meaning"])}">')


def _close(writer, node: Glossed) -> None:
    writer.body.append("</span>")


def setup(app: Sphinx) -> None:
    """Add the explanations to a build for the web; `book_terms` is the glossary."""
    app.add_config_value("book_terms", [], "env")
    app.add_node(Glossed, html=(_open, _close))
    app.connect("doctree-resolved", _explain_page)
    app.add_js_file("glossary.js", loading_method="defer")
