"""The language in which an exercise speaks."""

from __future__ import annotations

import os
from typing import Literal

Language = Literal["en", "ko"]
LANGUAGES: tuple[Language, ...] = ("en", "ko")


def language() -> Language:
    """Return the language of this run: Korean where `KOTUNE_LANG` asks for it, else English."""
    return "ko" if os.environ.get("KOTUNE_LANG", "").lower().startswith("ko") else "en"
