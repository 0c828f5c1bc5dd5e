"""What a teacher's replies cost: tokens counted, a dated price table, and an estimate before anything is spent."""

from __future__ import annotations

import hashlib
import math
import os
import re
import tempfile
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from kotune.language import said
from utils import DATA, CourseError, read_json, setting

PRICES = DATA / "prices.json"
SNAPSHOT = re.compile(r"-\d{4}-\d{2}-\d{2}$")  # gpt-4o-mini-2024-07-18 costs what gpt-4o-mini costs
ENCODING_URL = "https://openaipublic.blob.core.windows.net/encodings/{}.tiktoken"
FETCH_S = 20.0  # for that file
# Tokens that the chat format adds, as OpenAI's cookbook counts them: three a message, one for its role, three to
# open the reply.
TOKENS_PER_MESSAGE, TOKENS_PER_REPLY = 4, 3
# Seconds for a reply, where the journal has not measured any: a start, then tokens at this rate.
ASSUMED_START_S, ASSUMED_TOKENS_PER_S = 0.8, 60.0


@dataclass(frozen=True)
class Usage:
    """Tokens of one reply; `cached_tokens` are those of the prompt that the endpoint already had."""

    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int = 0


@dataclass(frozen=True)
class Price:
    """USD per million tokens."""

    input: float
    output: float
    cached_input: float | None = None

    def usd(self, usage: Usage) -> float:
        """Return what a reply of this usage costs."""
        cached = self.input if self.cached_input is None else self.cached_input
        known = min(usage.cached_tokens, usage.prompt_tokens)  # some count the cached ones apart
        fresh = usage.prompt_tokens - known
        return (fresh * self.input + known * cached + usage.completion_tokens * self.output) / 1e6


@lru_cache
def price_table() -> dict:
    """Return the price table as it stands in data/prices.json, with its date and source."""
    return read_json(PRICES)


def price_of(model: str) -> Price | None:
    """Return a model's price: that of the setting TEACHER_PRICE ("input,output"), else of the table, else None.

    Raises:
        CourseError: TEACHER_PRICE is not two numbers.
    """
    given = setting("TEACHER_PRICE")
    if given:
        try:
            paid_in, paid_out = (float(part) for part in given.split(","))
        except ValueError:
            raise CourseError(
                f"TEACHER_PRICE is {given!r}; write two numbers, USD per million tokens in and out, as in 0.15,0.60."
            ) from None
        if not all(math.isfinite(paid) and paid >= 0 for paid in (paid_in, paid_out)):
            raise CourseError(f"TEACHER_PRICE is {given!r}; a price is a number of USD, zero or more.")
        return Price(paid_in, paid_out)
    known = price_table()["models"].get(SNAPSHOT.sub("", model.removeprefix("openai/")))
    return Price(known["input"], known["output"], known["cached_input"]) if known else None


# --- counting --------------------------------------------------------------------------------

# Least squares on 2,500 texts of this course (documents, questions, answers, JSON replies, English prose and code)
# against o200k_base, the encoding of gpt-4o and later. `tests/test_costs.py` holds it to that encoding's counts.
SYLLABLE, KOREAN_WORD, LATIN_WORD, LATIN_LETTER, DIGITS, MARK, LINE = 0.72, 0.29, 0.96, 0.05, 1.8, 0.42, 0.85
LONGEST_WORD, BEYOND_IT = 14, 0.4  # letters; in a longer run (a hash, an address) a token is two or three
EMOJI = 3.0
PIECES = re.compile(
    r"(?P<korean>[가-힣]+)|(?P<latin>[A-Za-z]+)|(?P<digits>\d{1,3})|(?P<line>\n)|(?P<emoji>[\U00010000-\U0010ffff])|"
    r"(?P<mark>[^\w\s])|(?P<other>\w)|(?P<spaces>[^\S\n]{2,})"
)
APPROXIMATION_MARGIN = 1.3  # for a bound on what a request can cost; measured errors of single texts stay below it


def approximate_tokens(text: str) -> int:
    """Return about how many o200k_base tokens a Korean or English text has, by its syllables, words and marks."""
    total = 0.0
    for piece in PIECES.finditer(text):
        kind, length = piece.lastgroup, piece.end() - piece.start()
        if kind == "korean":
            total += KOREAN_WORD + SYLLABLE * length
        elif kind == "latin":
            total += LATIN_WORD + LATIN_LETTER * length + BEYOND_IT * max(0, length - LONGEST_WORD)
        elif kind == "mark":
            total += MARK
        elif kind == "line":
            total += LINE
        elif kind == "emoji":
            total += EMOJI
        elif kind == "spaces":
            total += 1 + length / 16
        else:  # three digits at most, or one character of another script
            total += DIGITS if kind == "digits" else 1.0
    return round(total)


def _has_encoding_file(encoding: str) -> bool:
    given = os.environ.get("TIKTOKEN_CACHE_DIR") or os.environ.get("DATA_GYM_CACHE_DIR")
    folder = Path(given) if given else Path(tempfile.gettempdir()) / "data-gym-cache"
    return (folder / hashlib.sha1(ENCODING_URL.format(encoding).encode()).hexdigest()).exists()


@dataclass(frozen=True)
class TokenCounter:
    """Counts a text's tokens; `method` says how, for the estimate to state."""

    count: Callable[[str], int]
    method: str
    margin: float = 1.0  # by which a text may have more tokens than counted

    def messages(self, messages: Sequence[dict], schema_text: str = "") -> int:
        """Return the prompt tokens of a chat request, its reply's schema included."""
        content = sum(self.count(message["content"]) + TOKENS_PER_MESSAGE for message in messages)
        return content + TOKENS_PER_REPLY + (self.count(schema_text) if schema_text else 0)


@lru_cache
def _encoding(name: str):
    """Return tiktoken's encoding; None where its file cannot be had, or does not come in time.

    tiktoken fetches it without a limit of time: behind a firewall that drops what it gets, that takes minutes, and before a
    server that stalls it never ends. A page that a proxy sends in the file's place is a ValueError.
    """
    import tiktoken

    got = []

    def fetch() -> None:
        with suppress(OSError, ValueError):
            got.append(tiktoken.get_encoding(name))

    fetching = threading.Thread(target=fetch, daemon=True)
    fetching.start()
    fetching.join(FETCH_S)
    return got[0] if got else None


def token_counter(model: str, may_download: bool) -> TokenCounter:
    """Return tiktoken's counter where it knows the model and has, or may get, its file; else the approximation."""
    try:
        import tiktoken

        name = tiktoken.encoding_name_for_model(model)
        encoding = _encoding(name) if _has_encoding_file(name) or may_download else None
        if encoding is not None:
            encode = encoding.encode_ordinary
            return TokenCounter(lru_cache(100_000)(lambda text: len(encode(text))), f"tiktoken {name}")
    except (ImportError, KeyError):  # not installed; a model it does not know
        pass
    counted = lru_cache(100_000)(approximate_tokens)
    method = said("an approximation for Korean prose, within about 10%", "한국어 글에 맞춘 어림셈(오차 약 10%)")
    return TokenCounter(counted, method, APPROXIMATION_MARGIN)


# --- estimates -------------------------------------------------------------------------------


@dataclass(frozen=True)
class CostEstimate:
    """What a run will take, before it starts.

    requests counts those to be sent; from_journal those already answered. Tokens are sums over the requests to be
    sent; usd_low has the likely completion, usd_high the longest that is allowed; both are None without a price.
    minutes is None for a batch.
    """

    model: str
    requests: int
    from_journal: int
    prompt_tokens: int
    completion_tokens_likely: int
    completion_tokens_highest: int
    usd_low: float | None
    usd_high: float | None
    minutes: float | None
    basis: str

    def __str__(self) -> str:
        """Return the estimate in words."""
        return said(self._in_english(), self._in_korean())

    def _in_english(self) -> str:
        if self.usd_low is None:
            cost = "unpriced (set TEACHER_PRICE to its USD per million tokens in and out)"
        else:
            cost = f"USD {self.usd_low:.4f} likely, {self.usd_high:.4f} at most"
        return (
            f"{self.requests:,} requests to {self.model}, {self.from_journal:,} more are in the journal already\n"
            f"{self.prompt_tokens:,} prompt tokens, {self.completion_tokens_likely:,} completion tokens likely, "
            f"{self.completion_tokens_highest:,} at most\n"
            f"{cost}; {'within a day' if self.minutes is None else f'about {self.minutes:.1f} minutes'}\n({self.basis})"
        )

    def _in_korean(self) -> str:
        if self.usd_low is None:
            cost = "알 수 없음(TEACHER_PRICE에 입력과 출력 토큰 백만 개당 USD를 설정하세요)"
        else:
            cost = f"예상 USD {self.usd_low:.4f}, 최대 USD {self.usd_high:.4f}"
        return (
            f"{self.model}에 보낼 요청 {self.requests:,}건, 저널에 이미 있는 응답 {self.from_journal:,}건\n"
            f"프롬프트 {self.prompt_tokens:,}토큰, 응답은 예상 {self.completion_tokens_likely:,}토큰, "
            f"최대 {self.completion_tokens_highest:,}토큰\n"
            f"비용: {cost}, 시간: {'하루 이내' if self.minutes is None else f'약 {self.minutes:.1f}분'}\n({self.basis})"
        )


@dataclass(frozen=True)
class StepCost:
    """One `ask`: what was sent and what it cost, beside the estimate; `failed` are among those sent.

    `reasoned` counts the replies, those from the journal included, whose reasoning was cut off.
    """

    step: str
    sent: int = 0
    from_journal: int = 0
    failed: int = 0
    reasoned: int = 0
    prompt_tokens_estimated: int = 0
    prompt_tokens: int = 0
    completion_tokens_estimated: int = 0
    completion_tokens: int = 0
    usd_estimated: float | None = 0.0
    usd: float | None = 0.0
    seconds: float = 0.0


class Budget:
    """Keeps what was spent, and what requests in flight may still cost, below a limit in USD.

    `spent_elsewhere` tells what other processes have spent meanwhile.
    """

    def __init__(self, limit_usd: float | None, spent_usd: float = 0.0, spent_elsewhere: Callable[[], float] = float):
        self.limit_usd, self.spent_usd, self._elsewhere = limit_usd, spent_usd, spent_elsewhere
        self.reserved_usd, self.in_flight = 0.0, 0

    @property
    def left_usd(self) -> float:
        """What may still be spent, requests in flight not counted."""
        return math.inf if self.limit_usd is None else self.limit_usd - self.spent_usd - self._elsewhere()

    def reserve(self, usd: float) -> bool:
        """Set aside what a request may cost; False, and nothing set aside, where that could pass the limit."""
        if not self.reserved_usd + usd <= self.left_usd:  # nor where one of them is no number
            return False
        self.reserved_usd += usd
        self.in_flight += 1
        return True

    def settle(self, reserved: float, usd: float) -> None:
        """Turn what was set aside for a request into what it did cost."""
        self.in_flight -= 1
        # to exactly zero: what rounding leaves would be waited for without end
        self.reserved_usd = self.reserved_usd - reserved if self.in_flight else 0.0
        self.spent_usd += usd
