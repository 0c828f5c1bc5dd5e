"""Source documents for grounded answers: the shipped ones, or Naver's search API where its keys are set.

No page is crawled: the API's own titles and summaries are used, and each document keeps the link that it came from.
Keys: NAVER_CLIENT_ID and NAVER_CLIENT_SECRET (developers.naver.com, 검색 API). What the API's results may be used for,
its terms say; look at them before you publish data made from them.
"""

from __future__ import annotations

import html
import re
from collections.abc import Sequence

from kotune.progress import track
from utils import DATA, CourseError, read_jsonl, setting

NAVER_URL = "https://openapi.naver.com/v1/search"
CATEGORIES = ("encyc", "kin", "webkr", "blog", "news", "cafearticle")  # 백과사전, 지식iN, 웹문서, 블로그, 뉴스, 카페
TIMEOUT_S = 20.0
TAG = re.compile(r"<[^>]+>")


def has_naver_keys() -> bool:
    """Return whether both keys of Naver's search API are set."""
    return bool(setting("NAVER_CLIENT_ID") and setting("NAVER_CLIENT_SECRET"))


def shipped() -> list[dict]:
    """Return the course's documents: {"id", "title", "text", ...}."""
    return read_jsonl(DATA / "documents.jsonl")


def collect(words: Sequence[str], category: str = "encyc", per_word: int = 5, base_url: str = NAVER_URL) -> list[dict]:
    """Return documents for seed words: from Naver where its keys are set, else the shipped ones.

    Raises:
        CourseError: Naver refuses the keys or the day's quota is spent; or the category is unknown.
    """
    if not has_naver_keys():
        return shipped()
    return search_naver(words, category, per_word, base_url)


def describe(documents: Sequence[dict]) -> str:
    """Return where documents come from, for the data card."""
    if documents and "link" in documents[0]:
        return f"{len(documents)} summaries found by Naver's search API, each with its link"
    return f"{len(documents)} documents written for the course (CC BY 4.0)"


def search_naver(words: Sequence[str], category: str, per_word: int, base_url: str = NAVER_URL) -> list[dict]:
    """Return what Naver finds for each word, each link once: {"id", "title", "text", "link", "seed_word"}."""
    import httpx2

    if category not in CATEGORIES:
        raise CourseError(f"Naver has no category {category!r}; choose one of {', '.join(CATEGORIES)}.")
    headers = {
        "X-Naver-Client-Id": setting("NAVER_CLIENT_ID") or "",
        "X-Naver-Client-Secret": setting("NAVER_CLIENT_SECRET") or "",
    }
    found: dict[str, dict] = {}
    with httpx2.Client(headers=headers, timeout=TIMEOUT_S) as client:
        for word in track(words, len(words), "Naver", "word"):
            for item in _search(client, f"{base_url}/{category}.json", word, per_word):
                found.setdefault(
                    item["link"],
                    {
                        "id": f"naver-{len(found) + 1:04d}",
                        "title": _plain(item["title"]),
                        "text": _plain(item["description"]),
                        "link": item["link"],
                        "seed_word": word,
                    },
                )
    return list(found.values())


def _search(client, url: str, word: str, count: int) -> list[dict]:
    import httpx2

    try:
        response = client.get(url, params={"query": word, "display": count})
    except httpx2.HTTPError as error:
        raise CourseError(
            f"Naver cannot be reached ({type(error).__name__}); remove its keys to use the shipped documents."
        ) from None
    if response.status_code == 401:
        raise CourseError("Naver refused the keys (401): check NAVER_CLIENT_ID and NAVER_CLIENT_SECRET.")
    if response.status_code == 429:
        raise CourseError("Naver's quota for today is spent (429): go on tomorrow, or remove its keys.")
    if not response.is_success:
        raise CourseError(f"Naver answered with status {response.status_code} to {word!r}; try again later.")
    return response.json()["items"]


def _plain(text: str) -> str:
    marked, last, rest = text.rpartition(">")  # behind the last one no tag ends, and each "<" would look for its end
    return html.unescape(TAG.sub("", marked + last) + rest).strip()
