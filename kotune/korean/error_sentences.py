"""The package's sentences in Korean: written in English where they are made, looked up here where they are shown.

`error_sentences.yaml` has those of errors, `finding_sentences.yaml` those of the checks of Korean. A table pairs an English
template with a Korean one. A sentence is of a template when the template's fixed parts stand in it, in their order; what
stands between them are its values. They are put into the Korean as they are, or in Korean where they are themselves in the
table. Behind a value, 을(를) and the like become the form that its last sound asks for.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path, PurePath

from kotune.korean.particles import CONSONANT, RIEUL, VOWEL, sounds_after
from kotune.language import language
from utils import read_text

PLACEHOLDER = re.compile(r"\{([a-z_]+)\}")
# after a consonant, after ㄹ, after a vowel
_PARTICLES = {
    "은(는)": ("은", "은", "는"),
    "이(가)": ("이", "이", "가"),
    "을(를)": ("을", "을", "를"),
    "과(와)": ("과", "과", "와"),
    "(으)로": ("으로", "로", "로"),
    "(이)라": ("이라", "이라", "라"),
    "(이)나": ("이나", "이나", "나"),
}
_PIECE = re.compile(r"\{(?P<name>[a-z_]+)\}(?P<particle>" + "|".join(map(re.escape, _PARTICLES)) + ")?")
# how the end of a file's name is read, where its letters alone would not tell: 제이슨엘, 제이슨, 야믈
_ENDINGS = {".jsonl": RIEUL, ".json": CONSONANT, ".yaml": RIEUL, ".yml": RIEUL, ".html": RIEUL, ".safetensors": VOWEL}
_READ_BY_LETTER = {"l": RIEUL, "m": CONSONANT, "n": CONSONANT, "r": RIEUL}
_GLOSS = re.compile(r"\([^()]*\)$")  # 목록(list) is read 목록
_DEEPEST = 3  # a sentence within a sentence within a sentence
_LONGEST = 4000  # characters; what is longer quotes a file, and is shown as it is


@dataclass(frozen=True)
class Template:
    """A sentence in both languages; a part is one only inside another sentence, as `line 3` is."""

    english: str
    korean: str
    is_part: bool = False

    @property
    def fixed(self) -> list[str]:
        """Return what stands around the placeholders of the English, in order."""
        return PLACEHOLDER.split(self.english)[::2]

    @property
    def names(self) -> list[str]:
        """Return the placeholders of the English, in order."""
        return PLACEHOLDER.findall(self.english)

    def values(self, sentence: str) -> dict[str, str] | None:
        """Return what a sentence has in the place of each placeholder; None where it is not of this template."""
        first, *middle = self.fixed
        if not middle:
            return {} if sentence == first else None
        *middle, last = middle
        if not sentence.startswith(first):
            return None
        found, place = [], len(first)
        for part in middle:
            end = sentence.find(part, place)
            if end < 0:
                return None
            found.append(sentence[place:end])
            place = end + len(part)
        if len(sentence) - len(last) < place or not sentence.endswith(last):
            return None
        found.append(sentence[place : len(sentence) - len(last)])
        return dict(zip(reversed(self.names), reversed(found), strict=True))  # of equal names the first counts


ERRORS = "error_sentences.yaml"
FINDINGS = "finding_sentences.yaml"


@cache
def templates(table: str = ERRORS) -> tuple[Template, ...]:
    """Return a table, those with the most fixed words first, so that the closest template of a sentence is met first."""
    import yaml

    rows = yaml.safe_load(read_text(Path(__file__).with_name(table)))
    pairs = [Template(row["en"], row["ko"], row.get("part", False)) for row in rows]
    return tuple(sorted(pairs, key=lambda pair: -len("".join(pair.fixed))))


def in_korean(sentence: str, table: str = ERRORS) -> str | None:
    """Return a sentence in Korean, or None where the table has no template of it."""
    return _translated(sentence, table, depth=0)


def in_edition(sentence: str) -> str:
    """Return an error sentence in the language of the edition at hand; in English where it has no Korean."""
    return (in_korean(sentence) or sentence) if language() == "ko" else sentence


def _translated(sentence: str, table: str, depth: int) -> str | None:
    if len(sentence) > _LONGEST or depth > _DEEPEST:
        return None
    for template in templates(table):
        if template.is_part and depth == 0:
            continue
        values = template.values(sentence)
        if values is not None:
            return _filled(
                template.korean, {name: _translated(text, table, depth + 1) or text for name, text in values.items()}
            )
    return None


def _filled(korean: str, values: dict[str, str]) -> str:
    def piece(match: re.Match) -> str:
        value, particle = values[match["name"]], match["particle"]
        return value + (_fitting(particle, value) if particle else "")

    return _PIECE.sub(piece, korean)


def _fitting(particle: str, value: str) -> str:
    """Return the form of a particle that fits a value's last sound; both, as written, where the sound is open."""
    bare = _GLOSS.sub("", value).rstrip("'\"`]}”’ ")
    ending = PurePath(bare).suffix.lower() if "/" in bare or "." in bare else ""
    if ending and ending[1:].isalpha():
        sounds = frozenset({_ENDINGS.get(ending) or _READ_BY_LETTER.get(ending[-1], VOWEL)})
    else:
        sounds = sounds_after(bare)
    forms = dict(zip((CONSONANT, RIEUL, VOWEL), _PARTICLES[particle], strict=True))
    fitting = {forms[sound] for sound in sounds}
    return fitting.pop() if len(fitting) == 1 else particle
