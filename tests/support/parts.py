"""Rows and ids that a run in parts has to take, and a stand-in of an engine whose answers depend on the prompt alone."""

from collections.abc import Iterator, Sequence
from hashlib import sha256
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from kotune.models.decoding import Answer
from kotune.models.sampling import Sampling

ANY_ROWS = settings(
    deadline=None, max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
KOREAN = st.text(st.characters(min_codepoint=0xAC00, max_codepoint=0xAC40), min_size=1, max_size=3)
WORDS = st.sampled_from(["전세", "월세", "계약", "확정일자는", "어디에서", "2억", "5억", "안", "받나요?", "🙂", "===="])
TEXTS = st.lists(WORDS, min_size=1, max_size=6).map(" ".join)
COUNTS = st.integers(1, 6)


@st.composite
def rows(draw, field: str, repeated_ids: bool = False, most: int = 14) -> list[dict]:
    """Return rows with a text in `field`, whose ids are Korean, whole numbers, or missing."""
    ids = draw(
        st.lists(st.one_of(KOREAN, st.integers(0, 50)), min_size=1, max_size=most, unique_by=None if repeated_ids else str)
    )
    return [{"id": identity, field: draw(TEXTS)} if draw(st.integers(0, 3)) else {field: draw(TEXTS)} for identity in ids]


class EchoEngine:
    """Answers with a hash of the prompt, two rows at a time; with `dies_after`, ends after that many batches."""

    name = "transformers"
    context = 10_000

    def __init__(self, tokenizer, dies_after: int | None = None):
        self.tokenizer, self.dies_after = tokenizer, dies_after
        self.sampling = Sampling(max_tokens=6)

    def answers(self, prompts: Sequence[Sequence[int]]) -> Iterator[list[tuple[int, Answer]]]:
        places = sorted(range(len(prompts)), key=lambda i: -len(prompts[i]))  # as the real one: the longest first
        for batch, start in enumerate(range(0, len(places), 2)):
            if batch == self.dies_after:
                raise KeyboardInterrupt
            yield [(i, Answer(sha256(str(prompts[i]).encode()).hexdigest(), 6, True)) for i in places[start : start + 2]]


def tear(file: Path, keep: int) -> None:
    """Leave of a file what a process leaves that is killed in the middle of a line: `keep` whole lines and a half."""
    lines = file.read_bytes().splitlines(keepends=True)
    half = lines[keep][: len(lines[keep]) // 2] if keep < len(lines) else b""
    file.write_bytes(b"".join(lines[:keep]) + half)
