"""A tokenizer as a GGUF file writes it down: a text and a type for each id, and what merges them."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

from utils import CourseError

SPACE = "▁"  # how SentencePiece writes a space
_BYTE = re.compile(r"<0x[0-9A-F]{2}>")
# How Llama 3 cuts a text into words before it merges; llama.cpp knows this cut by the name "llama-bpe", and no other fits.
_LLAMA_3_WORDS = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


@dataclass(frozen=True)
class Vocabulary:
    """What llama.cpp needs to cut a text into the same tokens as the tokenizer does.

    model, pre: llama.cpp's names of the method and of the cut into words. tokens, types: one an id. scores: one an id, the
    higher merged first (SentencePiece); merges: pairs in their order (byte-level BPE). space_prefix: a text that follows a
    special token gets a space before it.
    """

    model: str
    pre: str
    tokens: tuple[str, ...]
    types: tuple[int, ...]
    scores: tuple[float, ...] | None = None
    merges: tuple[str, ...] | None = None
    space_prefix: bool = False


def vocabulary_of(tokenizer, size: int) -> Vocabulary:
    """Return a tokenizer's vocabulary for a model with so many rows of embedding; rows without a token become unused ones.

    Raises:
        CourseError: the tokenizer cuts texts in a way that llama.cpp has no name for, or has more tokens than rows.
    """
    described = json.loads(tokenizer.backend_tokenizer.to_str())
    model = described["model"]
    if len(tokenizer) > size:
        raise CourseError(
            f"The tokenizer has {len(tokenizer)} tokens and the model embeds {size}; save the tokenizer that the model was "
            "trained with beside it."
        )
    tokens, types = _tokens(described, size, tokenizer.unk_token)
    merges = [(pair.split(" ") if isinstance(pair, str) else pair) for pair in model.get("merges", ())]
    if model["type"] == "BPE" and model.get("byte_fallback"):
        return Vocabulary(
            "llama", "default", tokens, types,
            scores=_scores(tokens, merges), space_prefix=_has_space_prefix(tokenizer),
        )  # fmt: skip
    if model["type"] == "BPE" and _LLAMA_3_WORDS in _patterns(described.get("pre_tokenizer")):
        return Vocabulary("gpt2", "llama-bpe", tokens, types, merges=tuple(f"{left} {right}" for left, right in merges))
    raise CourseError(
        "This model's tokenizer cuts texts neither as SentencePiece (Gemma, Llama 2, SOLAR) nor as Llama 3 does, so that "
        "llama.cpp would read other tokens; serve it with `kotune serve`."
    )


def _tokens(described: dict, size: int, unknown: str | None) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """Return the text and the type of each id, as llama.cpp's converter tells them apart."""
    from gguf import TokenType

    texts = {number: f"[PAD{number}]" for number in range(size)}
    types = dict.fromkeys(range(size), TokenType.UNUSED)
    for text, number in described["model"]["vocab"].items():
        texts[number] = text
        types[number] = TokenType.BYTE if _BYTE.fullmatch(text) else TokenType.NORMAL
    for added in described["added_tokens"]:
        number = added["id"]
        types[number] = TokenType.CONTROL if added["special"] else TokenType.USER_DEFINED
        # looked for in the text before its spaces are rewritten
        texts[number] = added["content"] if added["special"] else added["content"].replace(SPACE, " ")
        if added["content"] == unknown and described["model"].get("byte_fallback"):
            types[number] = TokenType.UNKNOWN
    return tuple(texts[number] for number in range(size)), tuple(int(types[number]) for number in range(size))


def _scores(tokens: tuple[str, ...], merges: list) -> tuple[float, ...]:
    """Return SentencePiece's score of each token: the sooner a pair is merged into it, the higher.

    A tokenizer file keeps the order of the merges alone. All pairs that make one token follow each other there, and only the
    order of scores counts, so that the place of the first of them is as good as the score that was lost.
    """
    order: dict[str, int] = {}
    for place, (left, right) in enumerate(merges):
        order.setdefault(left + right, place)
    return tuple(-float(order.get(token, len(merges))) for token in tokens)


def _has_space_prefix(tokenizer) -> bool:
    """Say whether a text after the first token gets a space before it, as Llama 2's does and Gemma's does not."""
    first = tokenizer.bos_token or ""
    pieces = tokenizer.backend_tokenizer.encode(f"{first}가", add_special_tokens=False).tokens
    return pieces[1 if first else 0].startswith(SPACE)


def _patterns(step) -> list[str]:
    """Return every pattern that a tokenizer's cut into words splits at."""
    steps = (step or {}).get("pretokenizers", [step or {}])
    return [one["pattern"].get("Regex", "") for one in steps if one.get("type") == "Split"]
