"""Formulas as MathML, which browsers draw by themselves: no script and no font from another host."""

from __future__ import annotations

from docutils import nodes
from docutils.utils.math import MathError
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.application import Sphinx
from sphinx.errors import ExtensionError


def mathml(formula: nodes.Element) -> str:
    """Return a formula's MathML.

    Raises:
        ExtensionError: the formula uses TeX that cannot be written so.
    """
    try:
        return tex2mathml(formula.astext(), as_block=isinstance(formula, nodes.math_block))
    except MathError as error:
        raise ExtensionError(f"the formula {formula.astext()!r} cannot be drawn: {error}; use simpler TeX") from None


def _inline(writer, node: nodes.math) -> None:
    writer.body.append(mathml(node))
    raise nodes.SkipNode


def _block(writer, node: nodes.math_block) -> None:
    writer.body.append(f'<div class="formula">{mathml(node)}</div>\n')
    raise nodes.SkipNode


def setup(app: Sphinx) -> None:
    """Add the renderer `mathml`."""
    app.add_html_math_renderer("mathml", (_inline, None), (_block, None))
