"""The schemas of a teacher's replies.

Cost of import: pydantic.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class Reply(BaseModel):
    """Base of every reply schema: a field that the schema does not name is an error."""

    model_config = ConfigDict(extra="forbid")


# --- data ------------------------------------------------------------------------------------


class SeedQuestions(Reply):
    """The questions that belong to one seed word."""

    seed_word: str
    questions: list[str] = Field(min_length=1)


class SeedWordReply(Reply):
    """Reply to SEED_WORDS: one entry a seed word, in the order asked."""

    items: list[SeedQuestions]


class DocumentQuestions(Reply):
    """What one document is good for: off topic or unsafe, with the reason and no questions; else its questions."""

    document_id: str
    on_topic: bool
    safe: bool
    reason: str
    questions: list[str]


class DocumentQuestionsReply(Reply):
    """Reply to DOCUMENT_QUESTIONS: one entry a document, in the order asked."""

    items: list[DocumentQuestions]


class GroundedAnswer(Reply):
    """Reply to GROUNDED_ANSWER; both fields are null where no passage answers the question."""

    answer: str | None
    document_id: str | None


class NewTask(Reply):
    """A task in the manner of the seed tasks; `input` is empty where it needs none."""

    instruction: str = Field(min_length=1)
    input: str
    output: str = Field(min_length=1)


class SelfInstructReply(Reply):
    """Reply to SELF_INSTRUCT."""

    items: list[NewTask] = Field(min_length=1)


class SpoiltAnswer(Reply):
    """Reply to a prompt that spoils an answer in a stated way."""

    rejected: str = Field(min_length=1)


# --- the 23 tasks ----------------------------------------------------------------------------


class TextReply(Reply):
    """A text: a summary, a title, a continuation, contents for a title, a paraphrase."""

    output: str = Field(min_length=1)


class KeywordReply(Reply):
    """Keywords as they stand in the passage."""

    keywords: list[str] = Field(min_length=1)


class SubjectiveReply(Reply):
    """A question on the context, and its answer."""

    question: str = Field(min_length=1)
    answer: str = Field(min_length=1)


class ChoiceReply(Reply):
    """A question with four choices, the right one, and why."""

    question: str = Field(min_length=1)
    choices: list[str] = Field(min_length=4, max_length=4)
    answer: str = Field(min_length=1)
    rationale: str = Field(min_length=1)


class YesNoReply(Reply):
    """A question to be answered with 예 or 아니요, the answer, and why."""

    question: str = Field(min_length=1)
    answer: Literal["예", "아니요"]
    rationale: str = Field(min_length=1)


# --- judges ----------------------------------------------------------------------------------


class Verdict(Reply):
    """Reply to a pairwise judge: which of the two answers shown is better, as seen in this order."""

    reason: str
    winner: Literal["first", "second", "tie"]


class Score(Reply):
    """Reply to SCORE_JUDGE: why, and a score from 1 to 10."""

    reason: str
    score: int = Field(ge=1, le=10)
