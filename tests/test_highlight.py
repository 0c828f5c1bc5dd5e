"""Protects: spans are underlined where they stand, text is escaped, and nothing of it is lost."""

import re
from html import unescape

from hypothesis import given
from hypothesis import strategies as st

from kotune.highlight import underlined


def plain(html):
    return unescape(re.sub("<[^>]+>", "", html))


def test_a_wrong_field_is_underlined_with_the_reason():
    html = underlined('{"rent":40,"pets":<b>}', [(8, 10, 'rent is "40"')])
    assert re.search(r'<span style="[^"]+" title="rent is &quot;40&quot;">40</span>', html)
    assert plain(html) == '{"rent":40,"pets":<b>}'


@given(st.text(max_size=40), st.lists(st.tuples(st.integers(0, 40), st.integers(0, 40), st.text(max_size=5)), max_size=5))
def test_no_character_is_lost_however_the_spans_lie(text, spans):
    assert plain(underlined(text, spans)) == text
