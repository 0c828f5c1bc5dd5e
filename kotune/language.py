"""The language of the edition at hand: `KOTUNE_LANG`, en or ko, from the environment or `.env`.

The notebooks in `ko/` set it to ko. What the package prints in a lesson follows it; names of files and fields do not.
"""

from __future__ import annotations

from typing import Literal
from unicodedata import east_asian_width

from utils import CourseError, written_setting

Language = Literal["en", "ko"]
LANGUAGES: tuple[Language, ...] = ("en", "ko")


def language() -> Language:
    """Return the language in which the package speaks, English where none is set.

    Raises:
        CourseError: `KOTUNE_LANG` names another one.
    """
    asked = (written_setting("KOTUNE_LANG") or "en").strip().lower()
    for known in LANGUAGES:
        if asked == known:
            return known
    raise CourseError(f"KOTUNE_LANG is {asked!r}; set it to one of {', '.join(LANGUAGES)}, or leave it out.")


def said(english: str, korean: str) -> str:
    """Return a text in the language of the edition at hand."""
    return korean if language() == "ko" else english


def display_width(text: str) -> int:
    """Return how many columns a text takes in a fixed-width font, a syllable of Hangul taking two."""
    return sum(2 if east_asian_width(letter) in "WF" else 1 for letter in text)
