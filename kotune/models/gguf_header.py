"""What stands at the front of a GGUF file: its name, licence and shape, read without its weights and its vocabulary."""

from __future__ import annotations

import mmap
import struct
from dataclasses import dataclass
from pathlib import Path

from utils import CourseError, errors_of, relative, require_plain_file

MAGIC, VERSIONS = b"GGUF", (2, 3)
KEYS_MAX = 100_000  # more of them stand in no file; a number from elsewhere in a damaged one would
SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
STRING, ARRAY = 8, 9
SHORT = 512  # a list of one number a layer is kept; a vocabulary is passed over
UNQUANTISED = {0, 1, 32}  # general.file_type of f32, f16, bf16
CACHE_BYTES = 2  # of one number in llama.cpp's cache of keys and values
# Measured with the packaged 1.5B model in Q4_K_M: 2.1 GiB at a context of 8,192, of which the file is 1.04, the cache 0.22.
REPACKED = 0.6  # of the file, once more in memory: quantised weights are laid out anew as the CPU's instructions take them
WORK_BYTES = 0.25 * 2**30  # libraries and buffers of the computation


@dataclass(frozen=True)
class GgufHeader:
    """A language model as its file describes it; what the file does not say is None, or 0 in a sum."""

    size: int  # of the file, in bytes
    architecture: str
    name: str | None
    licence: str | None
    longest: int | None  # tokens of context that it was trained for
    quantised: bool
    cache_per_token: int  # bytes of keys and values over all layers

    def memory_bytes(self, context: int) -> float:
        """Return what llama.cpp takes at most with a context of so many tokens."""
        return self.size * (1 + REPACKED * self.quantised) + context * self.cache_per_token + WORK_BYTES


def read_header(file: str | Path) -> GgufHeader:
    """Return what a GGUF file says about itself.

    Raises:
        FileError: there is no such file, or it may not be read.
        CourseError: it is no GGUF file of a language model, or ends within its front part.
    """
    file = Path(file)
    require_plain_file(file)
    with errors_of(file), file.open("rb") as opened:
        size = file.stat().st_size
        if opened.read(4) != MAGIC:
            raise CourseError(f"{relative(file)} is no GGUF file; name one, as kotune merge --to gguf writes it.")
        with mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as content:
            try:
                said = _Front(content).values()
            except (struct.error, ValueError):
                raise CourseError(f"{relative(file)} ends or is damaged at its front; copy or make it again.") from None
    architecture = said.get("general.architecture")
    if not isinstance(architecture, str) or not isinstance(said.get(f"{architecture}.block_count"), int):
        raise CourseError(f"{relative(file)} is a GGUF file without a language model; name one with a model's weights.")
    return GgufHeader(
        size=size,
        architecture=architecture,
        name=_text(said.get("general.name")),
        licence=_text(said.get("general.license")),
        longest=_number(said.get(f"{architecture}.context_length")),
        quantised=said.get("general.file_type") not in UNQUANTISED,
        cache_per_token=_cache_per_token(said, architecture),
    )


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


def _number(value: object) -> int | None:
    return value if isinstance(value, int) and value > 0 else None


def _cache_per_token(said: dict[str, object], architecture: str) -> int:
    """Return the bytes that one token adds to the cache; layers that look back only so far count as if they kept all."""
    layers, heads = (_number(said.get(f"{architecture}.{name}")) for name in ("block_count", "attention.head_count"))
    hidden = _number(said.get(f"{architecture}.embedding_length"))
    kept = said.get(f"{architecture}.attention.head_count_kv", heads)
    each_layer = kept if isinstance(kept, list) else [kept] * (layers or 0)
    of_a_head = hidden // heads if hidden and heads else 0
    wide = sum(_number(said.get(f"{architecture}.attention.{name}_length")) or of_a_head for name in ("key", "value"))
    return wide * CACHE_BYTES * sum(count for count in each_layer if isinstance(count, int))


class _Front:
    """The keys and values at the front of a mapped file."""

    def __init__(self, content: mmap.mmap):
        self._content, self._at = content, len(MAGIC)

    def values(self) -> dict[str, object]:
        """Return the values by key, but for long lists.

        Raises:
            struct.error: the file ends too early.
            ValueError: something stands there that GGUF does not have.
        """
        version, _, keys = self._one("I"), self._one("Q"), self._one("Q")
        if version not in VERSIONS or keys > KEYS_MAX:
            raise ValueError
        return {self._string(): self._value(self._one("I")) for _ in range(keys)}

    def _one(self, kind: str):
        (value,) = struct.unpack_from(f"<{kind}", self._content, self._at)
        self._at += struct.calcsize(f"<{kind}")
        return value

    def _pass(self, length: int) -> int:
        """Return where the next bytes begin, and step over them."""
        begins, self._at = self._at, self._at + length
        if self._at > len(self._content):
            raise ValueError
        return begins

    def _string(self) -> str:
        begins = self._pass(self._one("Q"))
        return self._content[begins : self._at].decode(errors="replace")

    def _value(self, kind: int) -> object:
        if kind == STRING:
            return self._string()
        if kind != ARRAY:
            return self._one(self._scalar(kind))
        kind, count = self._one("I"), self._one("Q")
        if kind == ARRAY:
            raise ValueError
        if count <= SHORT:
            return [self._value(kind) for _ in range(count)]
        if kind != STRING:
            self._pass(count * struct.calcsize(f"<{self._scalar(kind)}"))
            return None
        for _ in range(count):
            self._pass(self._one("Q"))
        return None

    @staticmethod
    def _scalar(kind: int) -> str:
        if kind not in SCALARS:
            raise ValueError
        return SCALARS[kind]
