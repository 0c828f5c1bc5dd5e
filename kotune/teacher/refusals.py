"""What a server says when it refuses: its words, in whatever form they come, and what they are about."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

SAID_IN = ("message", "msg", "detail", "details", "error", "errors", "error_message", "error_msg", "reason", "title",
           "description", "metadata", "raw", "innererror", "data")  # fmt: skip
DEPTH, MOST_SENTENCES = 12, 50
# pydantic's list of errors, printed as text: each has the place, the words, and the request itself, which says nothing
PRINTED_LOC = re.compile(r"['\"]loc['\"]: ?[(\[]([^)\]]{0,200})[)\]]")
PRINTED_MSG = re.compile(r"['\"]msg['\"]: ?(?:'([^']{0,300})'|\"([^\"]{0,300})\")")
TAG = re.compile(r"<[^<>]{1,500}>")
SCRIPT = re.compile(r"<(?:style|script)\b.*?</(?:style|script)>", re.DOTALL | re.IGNORECASE)
SCRIPT_ENDS = re.compile(r"</(?:style|script)>", re.IGNORECASE)
LONGEST = 20_000  # characters of a body that are looked at

STRUCTURE = re.compile(
    r"response[_ -]?format|json[_ -]?schema|json[_ -]?object|json[_ -]?mode|structured|guided|grammar|"
    r"schema conversion|requested parameters|required for format|invalid format",
    re.IGNORECASE,
)
# what one schema cannot be, as against what an endpoint cannot do
ONE_SCHEMA = re.compile(
    r"grammar|invalid (?:json )?schema|schema conversion|not supported by xgrammar|unsupported (?:json )?schema|"
    r"schema (?:is |contains |has )|unrecognized schema|in context=|too (?:complex|many states|deep)|"
    r"failed to (?:compile|process regex)",
    re.IGNORECASE,
)
TOO_LARGE = re.compile(
    r"too (?:large|long|high|many|big)|context (?:length|window|size)|exceed|at most|less than", re.IGNORECASE
)
NOT_KNOWN = re.compile(
    r"unsupported|not support|no longer supported|unknown|unrecogni[sz]ed|not permitted|extra|unexpected|not allowed|"
    r"does not (?:exist|match)|cannot find|instead",
    re.IGNORECASE,
)


def parsed_body(text: str) -> object:
    """Return a body as JSON, or as the text that it is."""
    try:
        return json.loads(text.removeprefix("\ufeff"))
    except (ValueError, RecursionError):
        return text


def words_of(body: object) -> str:
    """Return what a server says in a body: its sentences and the names of fields, never the request that it repeats."""
    said: list[str] = []
    for words in _words(body, DEPTH):
        if words and not any(words in before for before in said):
            said = [before for before in said if before not in words] + [words]
        if len(said) >= MOST_SENTENCES:
            break
    return "; ".join(said)


def _words(body: object, depth: int) -> Iterator[str]:
    if depth == 0 or body is None or isinstance(body, bool):
        return
    if isinstance(body, str):
        yield from _words_of_text(body[:LONGEST], depth)
    elif isinstance(body, list):
        for part in body[:20]:
            yield from _words(part, depth - 1)
    elif isinstance(body, dict):
        place = body.get("loc")
        where = ".".join(map(str, place)) if isinstance(place, list) else body.get("param")
        parts = [words for name in SAID_IN for words in _words(body.get(name), depth - 1)]
        if isinstance(where, str) and where and not any(where in part for part in parts):
            parts = [f"{where}: {parts[0]}", *parts[1:]] if parts else [where]
        if not parts:  # the code alone is better than nothing
            parts = [str(body[name]) for name in ("code", "type", "status") if isinstance(body.get(name), str | int)][:1]
        yield from parts


def _words_of_text(text: str, depth: int) -> Iterator[str]:
    inner = parsed_body(text) if text.lstrip("\ufeff \r\n\t")[:1] in ("{", "[") else text
    if not isinstance(inner, str):
        yield from _words(inner, depth - 1)
    elif places := PRINTED_LOC.findall(text):
        messages = [one or other for one, other in PRINTED_MSG.findall(text)]
        for number, place in enumerate(places[:5]):
            name = ".".join(part.strip(" '\"") for part in place.split(",") if part.strip())
            yield f"{name}: {messages[number]}" if number < len(messages) else name
    elif "<" in text and re.match(r"\s*<(?:!doctype|html|\?xml|head|body)", text, re.IGNORECASE):
        yield " ".join(TAG.sub(" ", _without_scripts(text)).split())
    else:
        yield " ".join(text.split())


def _without_scripts(text: str) -> str:
    """Return a page without its scripts and styles; behind the end of the last of them each "<script" is left unread."""
    behind = max((match.end() for match in SCRIPT_ENDS.finditer(text)), default=0)
    return SCRIPT.sub(" ", text[:behind]) + text[behind:]


def is_about_length(said: str) -> bool:
    """Return whether words refuse `max_completion_tokens` itself, as against a value that is too large."""
    return "max_completion_tokens" in said and (not TOO_LARGE.search(said) or NOT_KNOWN.search(said) is not None)


def is_about_structure(said: str) -> bool:
    """Return whether words refuse the form in which JSON was asked for."""
    return STRUCTURE.search(said) is not None


def is_about_one_schema(said: str) -> bool:
    """Return whether words refuse this schema, where another may be taken."""
    return ONE_SCHEMA.search(said) is not None


def is_about_temperature(said: str) -> bool:
    """Return whether words refuse a temperature."""
    return "temperature" in said.lower()
