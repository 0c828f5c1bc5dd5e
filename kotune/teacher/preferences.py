"""Preference pairs: a good answer beside one that was spoilt in a stated way, or that a weaker model wrote.

The kind of the rejected side is kept with each pair, so that a reward model's accuracy can be read by kind.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from kotune.teacher.filters import Collected, Fault, check_spoilt, with_reasons
from kotune.teacher.replies import Reply
from prompts import SPOIL, Message, SpoiltAnswer
from similarity import rouge_l

KINDS = tuple(SPOIL)
WEAKER_MODEL = "weaker_model"


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


def collect_pairs(planned: Sequence[tuple[dict, str]], replies: Sequence[Reply[SpoiltAnswer]]) -> Collected:
    """Return the pairs whose rejected side is spoilt as asked, and those that are not, each with the reasons."""
    pairs: list[dict] = []
    rejected: list[dict] = []
    for (row, kind), reply in zip(planned, replies, strict=True):
        spoilt = reply.parsed.rejected.strip() if reply.parsed else ""
        error = [Fault("no_reply", reply.error)] if reply.error else []
        found = error or check_spoilt(kind, row["answer"], spoilt, row["question"])
        pair = {
            "id": f"pf-{len(pairs) + 1:04d}",
            "prompt": row["question"],
            "chosen": row["answer"],
            "rejected": spoilt,
            "kind": kind,
            "document_id": row.get("document_id"),
        }
        if found:
            rejected.append(with_reasons(pair, found))
        else:
            pairs.append(pair)
    return Collected(pairs, rejected)


def not_spoilt(kind: str, chosen: str, rejected: str, question: str = "") -> str | None:
    """Return why a rejected answer is not what its kind says, where code can tell; None where it is, or cannot."""
    return "; ".join(fault.reason for fault in check_spoilt(kind, chosen, rejected, question)) or None


def from_weaker_model(rows: Sequence[dict], samples: Sequence[str], alike: float = 0.9) -> Collected:
    """Return pairs whose rejected side a weaker model wrote: on-policy, where spoilt answers are made up.

    `samples` are that model's answers to the rows' questions. An empty one, or one that is as good as the chosen
    (ROUGE-L F1 on morphemes of at least `alike`), teaches nothing, and is set aside with the reason.
    """
    pairs: list[dict] = []
    rejected: list[dict] = []
    for row, sample in zip(rows, samples, strict=True):
        f1 = rouge_l(row["answer"], sample, "morpheme").f1
        found = [] if sample.strip() else [Fault("empty", "the sample is empty")]
        if f1 >= alike:
            found = [Fault("as_good", f"ROUGE-L {f1:.2f} with the chosen")]
        pair = {
            "id": f"weak-{len(pairs) + 1:04d}",
            "prompt": row["question"],
            "chosen": row["answer"],
            "rejected": sample.strip(),
            "kind": WEAKER_MODEL,
        }
        if found:
            rejected.append(with_reasons(pair, found))
        else:
            pairs.append(pair)
    return Collected(pairs, rejected)
