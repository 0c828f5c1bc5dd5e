"""A search that knows Korean: 보증금 finds 보증금을 and 전세보증금, and 보증금이 finds them too.

Sphinx takes Korean for English: it indexes 보증금을 as one word, and finds that alone. Here every piece of a Hangul word is
indexed, so that a word is found inside longer ones, and the page strips a particle from what is typed. A shorter query only
finds more, so a syllable that was no particle costs nothing. English words are stemmed as ever.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterator

from sphinx.application import Sphinx
from sphinx.search.en import SearchEnglish

LONGEST = 6  # syllables of an indexed piece; a longer query is looked for inside whole words by Sphinx itself
# the longer ones first, since one may end in another
PARTICLES = (
    "에서는", "에서도", "으로는", "으로도", "이라는", "이라고", "까지", "부터", "에서", "에게", "으로", "처럼", "보다",
    "마다", "이나", "이란", "라는", "라고", "하고", "은", "는", "이", "가", "을", "를", "에", "의", "도", "만", "로",
    "와", "과", "란",
)  # fmt: skip
_WORD = re.compile(r"[가-힣]+|[^\W가-힣]+")


def pieces(word: str) -> Iterator[str]:
    """Yield what a Hangul word is found by: the word, its pieces of two to six syllables, and its first syllable."""
    yield word
    yield word[0]
    for start in range(len(word) - 1):
        for end in range(start + 2, min(start + LONGEST, len(word)) + 1):
            yield word[start:end]


class SearchKorean(SearchEnglish):
    """Splits Hangul into pieces and stems English; the page's side of it is written in JavaScript below."""

    lang = "ko"
    language_name = "Korean"
    js_splitter_code = f"""
const PARTICLES = {json.dumps(PARTICLES, ensure_ascii=False)};

// words of one script each, as the index has them; a particle behind a Latin word ("LoRA를") is none
function splitQuery(query) {{
  const words = query.normalize("NFC").match(/[가-힣]+|(?:(?![가-힣])[\\p{{L}}\\p{{N}}_])+/gu) || [];
  return words.filter((word, at) => at === 0 || !PARTICLES.includes(word));
}}

function KoreanStemmer() {{
  const english = new EnglishStemmer();
  this.stemWord = (word) => {{
    if (!/^[가-힣]/.test(word)) return english.stemWord(word);
    const particle = PARTICLES.find((one) => word.endsWith(one) && word.length >= one.length + 2);
    return particle ? word.slice(0, -particle.length) : word;
  }};
}}
"""  # the stemmer, which Sphinx looks for under the language's name, stands here: the last code that a language may add

    def split(self, input: str) -> list[str]:
        """Return the words of a text, a Hangul word as its pieces."""
        words = _WORD.findall(unicodedata.normalize("NFC", input))
        return [piece for word in words for piece in (pieces(word) if "가" <= word[0] <= "힣" else (word,))]

    def stem(self, word: str) -> str:
        """Return the stem of an English word; Korean stays as it is."""
        return word if "가" <= word[0] <= "힣" else super().stem(word)


def setup(app: Sphinx) -> None:
    """Add the language to the search."""
    app.add_search_language(SearchKorean)
