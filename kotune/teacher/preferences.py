"""Preference pairs: a good answer beside one that was spoilt in a stated way, or that a weaker model wrote.

The kind of the rejected side is kept with each pair, so that a reward model's accuracy can be read by kind.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from kotune.korean.sentences import has_final_mark
from kotune.korean.speech_levels import is_polite
from kotune.teacher.generation import Collection
from kotune.teacher.replies import Reply
from prompts import SPOIL, Message, SpoiltAnswer
from similarity import rouge_l

KINDS = tuple(SPOIL)
WEAKER_MODEL = "weaker_model"
FOREIGN_WORD = re.compile(r"[^\W\d_가-힣ㄱ-ㆎ]+")
PADDED_AT_LEAST = 1.8  # times the good answer's length; the prompt asks for twice
ALIKE_IN_LENGTH = 0.7  # of the longer side, where content alone is wrong


def plan(rows: Sequence[dict], named: Mapping[str, str]) -> list[tuple[dict, str]]:
    """Return each row with the way to spoil its answer: the one named for its question, else each kind in turn.

    Rows whose questions are named come first, in their order.
    """
    first = [(row, named[row["question"]]) for row in rows if row["question"] in named]
    rest = [row for row in rows if row["question"] not in named]
    return first + [(row, KINDS[i % len(KINDS)]) for i, row in enumerate(rest)]


def spoil_requests(planned: Sequence[tuple[dict, str]], documents: Sequence[dict]) -> list[list[Message]]:
    """Return one request a planned pair: question, good answer and the document behind it."""
    text_of = {document["id"]: document["text"] for document in documents}
    return [
        SPOIL[kind].messages(question=row["question"], answer=row["answer"], source=text_of[row["document_id"]])
        for row, kind in planned
    ]


def collect_pairs(planned: Sequence[tuple[dict, str]], replies: Sequence[Reply[SpoiltAnswer]]) -> Collection:
    """Return the pairs whose rejected side is spoilt as asked, and those that are not, each with the reason."""
    pairs: list[dict] = []
    rejected: list[dict] = []
    for (row, kind), reply in zip(planned, replies, strict=True):
        spoilt = reply.parsed.rejected.strip() if reply.parsed else ""
        reason = reply.error or not_spoilt(kind, row["answer"], spoilt)
        pair = {
            "id": f"pf-{len(pairs) + 1:04d}",
            "prompt": row["question"],
            "chosen": row["answer"],
            "rejected": spoilt,
            "kind": kind,
            "document_id": row.get("document_id"),
        }
        if reason:
            rejected.append(pair | {"reason": reason})
        else:
            pairs.append(pair)
    return Collection(pairs, rejected)


def not_spoilt(kind: str, chosen: str, rejected: str) -> str | None:
    """Return why a rejected answer is not what its kind says, where code can tell; None where it is, or cannot.

    What is wrong in content alone must not be told by tone or length: a reward model would learn those instead.
    """
    if not rejected:
        return "the rejected answer is empty"
    if rejected == chosen:
        return "the rejected answer is the chosen one"
    ratio = len(rejected) / len(chosen)
    other_length = not ALIKE_IN_LENGTH <= ratio <= 1 / ALIKE_IN_LENGTH
    if kind in ("wrong_fact", "off_topic"):
        return "it differs in tone as well" if not is_polite(rejected) else "it differs in length" if other_length else None
    problems = {
        "cut_short": (has_final_mark(rejected), "it does not stop in mid-sentence"),
        "wrong_language": (not foreign_words(rejected) - foreign_words(chosen), "it has no foreign word of its own"),
        "padded": (ratio < PADDED_AT_LEAST, "it is hardly longer than the chosen one"),
        "rude": (is_polite(rejected), "it is polite"),
    }
    wrong, reason = problems.get(kind, (False, ""))
    return reason if wrong else None


def foreign_words(text: str) -> set[str]:
    """Return the runs of letters of a text that are not Hangul."""
    return set(FOREIGN_WORD.findall(text))


def from_weaker_model(rows: Sequence[dict], samples: Sequence[str], alike: float = 0.9) -> Collection:
    """Return pairs whose rejected side a weaker model wrote: on-policy, where spoilt answers are made up.

    `samples` are that model's answers to the rows' questions. An empty one, or one that is as good as the chosen
    (ROUGE-L F1 on morphemes of at least `alike`), teaches nothing, and is set aside with the reason.
    """
    pairs: list[dict] = []
    rejected: list[dict] = []
    for row, sample in zip(rows, samples, strict=True):
        f1 = rouge_l(row["answer"], sample, "morpheme").f1
        reason = "the sample is empty" if not sample.strip() else ""
        if f1 >= alike:
            reason = f"ROUGE-L {f1:.2f} with the chosen"
        pair = {
            "id": f"weak-{len(pairs) + 1:04d}",
            "prompt": row["question"],
            "chosen": row["answer"],
            "rejected": sample.strip(),
            "kind": WEAKER_MODEL,
        }
        if reason:
            rejected.append(pair | {"reason": reason})
        else:
            pairs.append(pair)
    return Collection(pairs, rejected)
