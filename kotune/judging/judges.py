"""Judges behind one interface: an LLM, the reward model, and the overlap with a reference answer.

A judge compares two answers as they are shown to it (`verdicts`) and scores single ones (`scores`). What it said is
kept raw; a reply that holds no verdict is a problem with a name, never a default. Shown in one order alone no judge is
to be believed: `judgments.compare` shows every pair in both.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol

from kotune.answering.answer_files import Question
from kotune.models.adapters import adapter_hash, merge_chain
from kotune.models.chat_template import render
from kotune.models.loading import load_model, load_tokenizer
from kotune.models.machine import Recipe
from kotune.models.reward_model import load_reward_model
from kotune.models.reward_model import score as reward_scores
from kotune.teacher.client import Teacher
from kotune.teacher.costs import CostEstimate
from kotune.teacher.replies import Reply, Request, Schema
from prompts import PAIRWISE_JUDGE, REFERENCE_JUDGE, SCORE_JUDGE, SCORE_JUDGE_UNGUIDED, Prompt, Score, Verdict
from similarity import rouge_l
from utils import CourseError, read_json, relative

if TYPE_CHECKING:
    from transformers import PreTrainedModel

Side = Literal["first", "second", "tie"]


@dataclass(frozen=True)
class ShownPair:
    """A pair as one judge call sees it."""

    question: Question
    first: str
    second: str


class SingleAnswer(NamedTuple):
    """An answer that is to be scored by itself."""

    question: Question
    answer: str


@dataclass(frozen=True)
class JudgeReply:
    """What a judge replied, whether or not a verdict can be read in it."""

    raw: str | dict | None = None  # the reply as it came, or the scores behind its verdict
    problem: str | None = None  # why no verdict can be read
    failed: bool = False  # the judge could not be asked, so that asking again may help
    prompt: str | None = None  # the hash of the prompt
    served_by: str | None = None  # the model and its fingerprint, as the endpoint names them


@dataclass(frozen=True)
class PairVerdict:
    """A verdict on a pair as shown; None where none could be read."""

    verdict: Side | None
    reply: JudgeReply = field(default_factory=JudgeReply)


@dataclass(frozen=True)
class AnswerScore:
    """A score of one answer; None where none could be read."""

    score: float | None
    reply: JudgeReply = field(default_factory=JudgeReply)


class Judge(Protocol):
    """Says which of two answers is better, and how good one is."""

    @property
    def name(self) -> str: ...

    @property
    def fingerprint(self) -> str: ...  # all that the verdicts depend on: judgments with two are never mixed

    @property
    def batch_size(self) -> int: ...  # how many pairs it is handed at a time

    def verdicts(self, pairs: Sequence[ShownPair]) -> list[PairVerdict]: ...

    def scores(self, singles: Sequence[SingleAnswer]) -> list[AnswerScore]: ...


# --- judges by a score -----------------------------------------------------------------------


def verdicts_of_scores(judge: Judge, pairs: Sequence[ShownPair], tie_below: float) -> list[PairVerdict]:
    """Return verdicts for the higher score; scores that are equal, or closer than `tie_below`, are a tie.

    Each answer is scored once however often it is shown, so that such a judge cannot change with the order.
    """
    sides = [(SingleAnswer(pair.question, pair.first), SingleAnswer(pair.question, pair.second)) for pair in pairs]
    singles = list(dict.fromkeys(single for pair in sides for single in pair))
    marks = dict(zip(singles, judge.scores(singles), strict=True))
    return [_higher(marks[first], marks[second], tie_below) for first, second in sides]


def _higher(first: AnswerScore, second: AnswerScore, tie_below: float) -> PairVerdict:
    scores = {"first": first.score, "second": second.score}  # of a side that cannot be scored, None
    if first.score is None or second.score is None:
        problem = first.reply.problem if first.score is None else second.reply.problem
        return PairVerdict(None, JudgeReply(scores, problem))
    gap = first.score - second.score
    verdict: Side = "tie" if gap == 0 or abs(gap) < tie_below else "first" if gap > 0 else "second"
    return PairVerdict(verdict, JudgeReply(scores))


@dataclass(frozen=True)
class ReferenceJudge:
    """Prefers the answer that shares more with the reference: ROUGE-L F1 on Korean morphemes, from 0 to 1.

    Real and free, but blind to meaning: a fluent answer with a wrong number scores almost as well as a right one.
    Two scores closer than `tie_below` are a tie. A question without a reference has no verdict.
    """

    tie_below: float = 0.02
    name: str = "reference (ROUGE-L on morphemes)"
    batch_size: int = 200

    @property
    def fingerprint(self) -> str:
        """What the verdicts depend on."""
        return f"ROUGE-L F1 on morphemes, tie below {self.tie_below:g}"

    def verdicts(self, pairs: Sequence[ShownPair]) -> list[PairVerdict]:
        """Return the verdict on each pair."""
        return verdicts_of_scores(self, pairs, self.tie_below)

    def scores(self, singles: Sequence[SingleAnswer]) -> list[AnswerScore]:
        """Return the ROUGE-L F1 of each answer with its reference."""
        return [
            AnswerScore(None, JudgeReply(problem="no_reference"))
            if single.question.reference is None
            else AnswerScore(rouge_l(single.answer, single.question.reference).f1)
            for single in singles
        ]


@dataclass(frozen=True)
class RewardJudge:
    """Prefers the answer with the higher reward, a number without bounds; see `load_reward_judge`.

    It never saw the reference: it prefers what its training pairs preferred. An answer that does not fit the model's
    context with its question is a problem, `too_long`, and is not cut.
    """

    classifier: PreTrainedModel
    tokenizer: object
    recipe: Recipe
    fingerprint: str
    tie_below: float = 0.0
    name: str = "reward model"
    batch_size: int = 64

    def verdicts(self, pairs: Sequence[ShownPair]) -> list[PairVerdict]:
        """Return the verdict on each pair."""
        return verdicts_of_scores(self, pairs, self.tie_below)

    def scores(self, singles: Sequence[SingleAnswer]) -> list[AnswerScore]:
        """Return the reward of each answer."""
        prompts = [[{"role": "user", "content": single.question.question}] for single in singles]
        longest = self.classifier.config.max_position_embeddings
        lengths = [
            len(render(self.tokenizer, prompt, [{"role": "assistant", "content": single.answer}]).ids)
            for prompt, single in zip(prompts, singles, strict=True)
        ]
        fitting = [place for place, length in enumerate(lengths) if length <= longest]
        rewards = reward_scores(
            self.classifier,
            self.tokenizer,
            [prompts[place] for place in fitting],
            [singles[place].answer for place in fitting],
            self.recipe,
        )
        marks = [AnswerScore(None, JudgeReply(problem="too_long")) for _ in singles]
        for place, reward in zip(fitting, rewards, strict=True):
            marks[place] = AnswerScore(reward)
        return marks


def load_reward_judge(adapter: str | Path, sft: str | Path, recipe: Recipe) -> RewardJudge:
    """Return the judge of a saved reward model; `sft` is the adapter that it was trained on top of.

    Raises:
        CourseError: a folder holds no adapter, or the reward model was trained on another model or SFT adapter.
    """
    for folder, what in ((Path(adapter), "the reward model"), (Path(sft), "its SFT adapter")):
        if not (folder / "run.json").exists():
            raise CourseError(f"{relative(folder)} holds no run.json of {what}; train it first, or name its folder.")
    card = read_json(Path(adapter) / "run.json")
    if card.get("stage") != "reward":
        raise CourseError(f"{relative(adapter)} is an adapter of {card.get('stage')}, not a reward model; name another.")
    if card.get("base") != recipe.model:
        raise CourseError(
            f"{relative(adapter)} was trained on {card.get('base')} and the recipe is for {recipe.model}; set COURSE_RECIPE."
        )
    if card.get("parent_sha256") != adapter_hash(sft):
        raise CourseError(f"{relative(adapter)} was not trained on top of {relative(sft)}; name its own SFT adapter.")
    tokenizer = load_tokenizer(recipe.model)
    classifier = load_reward_model(merge_chain(load_model(recipe), sft), tokenizer, adapter)
    return RewardJudge(classifier, tokenizer, recipe, f"reward adapter {adapter_hash(adapter)[:12]} on {recipe.model}")


# --- an LLM ----------------------------------------------------------------------------------

# What the model saw and did not answer with a verdict: asking again would be choosing among its replies. (`bad_request`: a
# text that cannot be sent.) Whatever else fails is the endpoint's trouble, and open for the next run.
FINAL_FAILURES = {"truncated", "content_filter", "refusal", "empty", "no_text", "invalid_json", "schema", "bad_request"}
REFUSED_INPUT = {"status_400", "status_413", "status_422"}
TOO_LONG = re.compile(r"context|too long|maximum.{0,20}(length|tokens)", re.IGNORECASE)
# The marks between the parts of a judge's prompt, as an answer might write them to pass for another part: in wide brackets,
# with characters of no width, or in decomposed Hangul too.
_GAP = r"[\s\u00ad\u200b-\u200f\u2060\ufeff]*+"
_PARTS = ("질문", f"모범{_GAP}답안", "답변", "first", "second")
_NAMES = "|".join([*_PARTS, *(unicodedata.normalize("NFD", part) for part in _PARTS[:3])])
MARKS = re.compile(f"[<＜﹤]({_GAP}[/／]?+{_GAP}(?:{_NAMES}){_GAP}[/／]?+{_GAP})[>＞﹥]", re.IGNORECASE)


def without_marks(text: str) -> str:
    """Return a text whose imitations of the prompt's own marks (`</first>` and the like) have round brackets."""
    return MARKS.sub(r"(\1)", text)


@dataclass(frozen=True)
class LLMJudge:
    """Asks a teacher model through a schema: guided by the reference where there is one, else without.

    With `is_guided` false no reference is shown, so that one can see what it is worth to the judge. Every reply is kept, the
    unreadable ones too. Requests that failed for want of an endpoint, credit or budget are open for the next run. Asked at
    temperature 0 where the model takes it; that steadies a judge and does not make it repeatable.
    """

    teacher: Teacher
    batch_size: int = 500
    is_guided: bool = True

    @property
    def name(self) -> str:
        """The judge's name."""
        return f"LLM ({self.teacher.model})" if self.is_guided else f"LLM ({self.teacher.model}, without reference)"

    @property
    def fingerprint(self) -> str:
        """What the verdicts depend on: the model, and the prompts that a judgment may have been made by."""
        hashes = "".join(p.hash for p in (REFERENCE_JUDGE, PAIRWISE_JUDGE, SCORE_JUDGE, SCORE_JUDGE_UNGUIDED))
        unguided = "" if self.is_guided else ", without reference"
        return f"{self.teacher.model_in_journal}, prompts {sha256(hashes.encode()).hexdigest()[:12]}{unguided}"

    def estimate(self, pairs: Sequence[ShownPair], singles: Sequence[SingleAnswer] = ()) -> list[CostEstimate]:
        """Return what judging would take, without asking: one estimate for the pairs, one for the single scores."""
        on_answers = [_on_answer(one, self.is_guided)[1] for one in singles]
        asked = ((verdict_requests(pairs, self.is_guided), Verdict), (on_answers, Score))
        return [self.teacher.estimate(requests, schema) for requests, schema in asked if requests]

    def verdicts(self, pairs: Sequence[ShownPair]) -> list[PairVerdict]:
        """Return the verdict on each pair.

        Raises:
            CourseError: not one request could be put to the model.
        """
        replies = self._ask([_on_pair(pair, self.is_guided) for pair in pairs], Verdict)
        return [PairVerdict(parsed.winner if parsed else None, reply) for parsed, reply in replies]

    def scores(self, singles: Sequence[SingleAnswer]) -> list[AnswerScore]:
        """Return a score from 1 to 10 for each answer.

        Raises:
            CourseError: not one request could be put to the model.
        """
        replies = self._ask([_on_answer(single, self.is_guided) for single in singles], Score)
        return [AnswerScore(float(parsed.score) if parsed else None, reply) for parsed, reply in replies]

    def _ask(self, asked: Sequence[tuple[Prompt, Request]], schema: type[Schema]) -> list[tuple[Schema | None, JudgeReply]]:
        replies = self.teacher.ask([request for _, request in asked], schema)
        read = [_judge_reply(prompt, reply) for (prompt, _), reply in zip(asked, replies, strict=True)]
        failed = Counter(reply.error for reply, one in zip(replies, read, strict=True) if one.failed)
        if replies and sum(failed.values()) == len(replies):
            raise CourseError(f"None of {len(replies)} requests was answered: {failed.most_common(1)[0][0]}.")
        for error, count in failed.most_common():
            print(f"{count} of {len(replies)} requests failed: {error}.")
        return [(reply.parsed, one) for reply, one in zip(replies, read, strict=True)]


def verdict_requests(pairs: Sequence[ShownPair], is_guided: bool = True) -> list[Request]:
    """Return what an LLM is asked about each pair, as it is shown: by the reference's prompt where there is one to show."""
    return [_on_pair(pair, is_guided)[1] for pair in pairs]


def _on_pair(pair: ShownPair, is_guided: bool) -> tuple[Prompt, Request]:
    fields = {"question": pair.question.question, "first": pair.first, "second": pair.second}
    return _request(PAIRWISE_JUDGE, REFERENCE_JUDGE if is_guided else None, pair.question, fields)


def _on_answer(single: SingleAnswer, is_guided: bool) -> tuple[Prompt, Request]:
    fields = {"question": single.question.question, "answer": single.answer}
    return _request(SCORE_JUDGE_UNGUIDED, SCORE_JUDGE if is_guided else None, single.question, fields)


def _request(unguided: Prompt, guided: Prompt | None, question: Question, fields: dict) -> tuple[Prompt, Request]:
    prompt = unguided
    if guided is not None and question.reference is not None:
        prompt, fields = guided, fields | {"reference": question.reference}
    messages = prompt.messages(**{name: without_marks(text) for name, text in fields.items()})
    return prompt, Request(messages, id=question.id, temperature=0)


def _judge_reply(prompt: Prompt, reply: Reply) -> JudgeReply:
    if reply.error is None:
        return JudgeReply(reply.raw or reply.text, prompt=prompt.hash, served_by=reply.served_by)
    too_long = reply.failure in REFUSED_INPUT and TOO_LONG.search(reply.error)
    return JudgeReply(
        reply.raw,
        problem="too_long" if too_long else reply.failure or "not_sent",
        failed=not too_long and reply.failure not in FINAL_FAILURES,
        prompt=prompt.hash,
        served_by=reply.served_by,
    )
