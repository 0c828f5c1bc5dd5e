"""Deterministic checks of replies to the 23 tasks: bullets that are bullets, answers that stand in the passage.

Each check returns sentences that say what is wrong; none means that the reply keeps to its task.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from pydantic import ValidationError

from kotune.korean.grounding import quotations, unsupported_numbers
from kotune.korean.sentences import LIST_MARK, has_final_mark, hide_quotations, sentence_texts
from kotune.korean.speech_levels import level_of
from kotune.korean.tasks import CHOICE_MARKS, TASKS, Task
from prompts import ChoiceReply, KeywordReply, SubjectiveReply, TaskReply, TextReply, YesNoReply
from similarity import rouge_l
from utils import CourseError

TITLE_LENGTH, PARAPHRASE_F1, SUMMARY_SHARE = 30, 0.7, 1 / 3


def check_reply(task_id: str, context: str, reply: TaskReply, levels: int = 1) -> list[str]:
    """Return what is wrong with a reply to a task on a context; an empty list where nothing is.

    levels: how many levels of bullets are asked for, as `levels_asked_for` reads it from the instruction.
    """
    task = TASKS[task_id]
    wrong = [*_check_style(task, reply, levels), *_check_question(reply), *_check_numbers(task, context, reply)]
    for check in _CHECKS.get(task_id[4:6], ()):
        wrong += check(task, context, reply)
    return wrong


def written(reply: TaskReply) -> str:
    """Return the part of a reply whose style the task states: its text, its rationale, or its answer."""
    parts = (getattr(reply, name, None) for name in ("output", "rationale", "answer"))
    return next((part for part in parts if part), "")


# --- style -----------------------------------------------------------------------------------

_TWO_LEVELS = re.compile(
    r"계층|두 단계|(?:윗|아랫|위|아래|상위|하위|큰|작은|세부) ?(?:단계|항목|글머리표)|(?<![가-힣])들여(?!다)"
)


def levels_asked_for(instruction: str) -> int:
    """Return 2 where an instruction asks for bullets under bullets (계층적 개조식, 하위 항목), else 1."""
    return 2 if _TWO_LEVELS.search(instruction) else 1


_BULLET = re.compile(r"([ \t\u3000]*)([-•*·▪○●◦–+])\s+(?=\S)")


def bullet_depth(line: str) -> int | None:
    """Return 1 for a line that starts "- ", 2 for a bullet under it (indented, or with another mark), None for others."""
    match = _BULLET.match(line)
    if not match:
        return None
    return 1 if match[0] == "- " else 2


def bullet_problems(text: str, fewest: int = 1, levels: int = 1) -> Iterable[str]:
    """Yield what keeps a text from being a list in 개조식: bullets of one or two levels that end in no verb.

    fewest: how many bullets of the first level there are to be. levels: 2 where a second level is asked for.
    """
    lines = [line for line in text.splitlines() if line.strip()]
    depths = [bullet_depth(line) for line in lines]
    if depths.count(1) < fewest:
        yield f"{depths.count(1)} bullets where at least {fewest} are due"
    if levels == 2 and 2 not in depths:
        yield "no bullet of the second level, which is asked for"
    first = depths.index(1) if 1 in depths else len(depths)
    for number, (line, depth) in enumerate(zip(lines, depths, strict=True)):
        if depth is None:
            yield f"the line {line[:20]!r} does not start with '- '"
        elif depth == 2 and number < first:
            yield f"the line {line[:20]!r} is under no bullet of the first level"
        if has_final_mark(line) or level_of(f"{hide_quotations(line)}."):  # as if it ended
            yield f"the line {line[:20]!r} ends like a sentence"


_YES_OR_NO = re.compile(r"(?:예|네|아니요|아뇨)[.!]")
_WRITTEN_QUESTION = re.compile(r"[가-힣][는은던인한된큰런떤린른운쁜진]가\?$")  # 무엇인가?: no level of its own, but a verb


def _ends_in_a_verb(sentence: str) -> bool:
    return bool(level_of(hide_quotations(sentence)) or _WRITTEN_QUESTION.search(sentence))


def sentence_problems(text: str) -> Iterable[str]:
    """Yield what keeps a text from being prose: list marks, and sentences that do not end or have no verb."""
    for line in text.splitlines():
        if LIST_MARK.match(line):
            yield f"the line {line[:20]!r} is a list item"
    for sentence in sentence_texts(text):
        if not has_final_mark(sentence):
            yield f"the sentence {sentence[-20:]!r} does not end"
        elif not (_ends_in_a_verb(sentence) or _YES_OR_NO.match(sentence)):
            yield f"the sentence {sentence[-20:]!r} ends in no verb"


def _check_style(task: Task, reply: TaskReply, levels: int) -> Iterable[str]:
    if task.style == "bullet":
        yield from bullet_problems(written(reply), fewest=2 if isinstance(reply, TextReply) else 1, levels=levels)
    elif task.style == "sentence":
        yield from sentence_problems(written(reply))


# --- content ---------------------------------------------------------------------------------


def _check_question(reply: TaskReply) -> Iterable[str]:
    question = getattr(reply, "question", None)
    if question is None:
        return
    if "\n" in question:
        yield "the question is more than one line"
    if not has_final_mark(question):
        yield f"the question {question[-20:]!r} does not end"


def _check_numbers(task: Task, context: str, reply: TaskReply) -> Iterable[str]:
    if task.given == "table":  # an answer may count rows, or take a difference
        return
    known = f"{context}\n{getattr(reply, 'question', '')}"  # a question may put a case of its own
    for number in unsupported_numbers(task.output(reply), known):
        yield f"the number {number} does not stand in the source"


def _check_summary(task: Task, context: str, reply: TextReply) -> Iterable[str]:
    share = len(reply.output) / len(context)
    if not SUMMARY_SHARE <= share < 1:
        yield f"the summary is {share:.2f} of its source, and should be a third or more, and less than the whole"


def _check_title(task: Task, context: str, reply: TextReply) -> Iterable[str]:
    if "\n" in reply.output or reply.output.endswith(".") or len(reply.output) > TITLE_LENGTH:
        yield f"a title is one line of at most {TITLE_LENGTH} characters without a full stop"


def _check_choices(task: Task, context: str, reply: ChoiceReply) -> Iterable[str]:
    if len(set(reply.choices)) < len(reply.choices):
        yield "two choices are the same"
    if reply.answer not in reply.choices:
        yield "the answer is none of the choices"
    if task.id.startswith("task06") and reply.answer not in context:
        yield "the answer does not stand in the passage"


def _check_quotation(task: Task, context: str, reply: ChoiceReply | YesNoReply) -> Iterable[str]:
    if not quotations(reply.rationale, context):
        yield "the rationale quotes nothing of the passage"


def _check_yes_no(task: Task, context: str, reply: YesNoReply) -> Iterable[str]:
    if not re.match(r"(예|아니요)\b", task.output(reply)):
        yield "the answer does not start with 예 or 아니요"


def _check_extract(task: Task, context: str, reply) -> Iterable[str]:
    bullets = [line[bullet.end() if (bullet := _BULLET.match(line)) else 0 :].strip() for line in reply.answer.splitlines()]
    for part in bullets if task.style == "bullet" else sentence_texts(reply.answer):
        if part not in context:
            yield f"{part[:20]!r} does not stand in the passage"


def _check_continuation(task: Task, context: str, reply: TextReply) -> Iterable[str]:
    for sentence in sentence_texts(reply.output):
        if sentence in context:
            yield f"{sentence[:20]!r} repeats the beginning"
        if not _ends_in_a_verb(sentence):
            yield f"{sentence[-20:]!r} does not end"


def _check_keywords(task: Task, context: str, reply: KeywordReply) -> Iterable[str]:
    if not 4 <= len(reply.keywords) <= 8 or len(set(reply.keywords)) < len(reply.keywords):
        yield "there should be 4 to 8 different keywords"
    for keyword in reply.keywords:
        if keyword not in context:
            yield f"the keyword {keyword!r} does not stand in the passage"


def _check_table(task: Task, context: str, reply) -> Iterable[str]:
    if "<table" not in context or "</table>" not in context:
        yield "the context is no HTML table"


def _check_paraphrase(task: Task, context: str, reply: TextReply) -> Iterable[str]:
    f1 = rouge_l(context, reply.output, "eojeol").f1
    if f1 >= PARAPHRASE_F1:
        yield f"the paraphrase repeats its source (ROUGE-L F1 {f1:.2f} on eojeol)"
    for number in unsupported_numbers(context, reply.output):
        yield f"the number {number} of the source is missing"


_CHECKS: dict[str, tuple[Callable[..., Iterable[str]], ...]] = {
    "01": (_check_summary,),
    "02": (_check_title,),
    "03": (_check_choices, _check_quotation),
    "05": (_check_yes_no, _check_quotation),
    "06": (_check_choices, _check_quotation),
    "07": (_check_yes_no, _check_quotation),
    "08": (_check_extract,),
    "09": (_check_continuation,),
    "11": (_check_keywords,),
    "12": (_check_table,),
    "13": (_check_paraphrase,),
}


# --- what a model wrote ----------------------------------------------------------------------

_CHOICE = (re.compile(r"- 정답: (.+)\n([\s\S]+)"), re.compile(r"정답은 ‘(.+?)’입니다\. ?([\s\S]+)"))
_YES_NO = re.compile(r"(예|아니요)[.,]?\s+([\s\S]+)")
_QUESTION = re.compile(r"질문:(.+)\n([\s\S]+)")
_QUESTION_WITH_CHOICES = re.compile(r"질문:(.+)\n①(.+)\n②(.+)\n③(.+)\n④(.+)\n([\s\S]+)")


def read_output(task_id: str, output: str, given: TaskReply | None) -> TaskReply | None:
    """Read what a model wrote for a task back into the task's reply; None where its parts cannot be told apart.

    given: the example's own reply, for the question and the choices that the model was shown; None where the model was to
    write them itself, as the first lines of its output. A choice may be named by its mark (②) as well.
    """
    task, text = TASKS[task_id], output.strip()
    try:
        if task.schema is TextReply:
            return TextReply(output=text)
        if task.schema is KeywordReply:
            return KeywordReply(keywords=[word.strip() for word in text.split(",") if word.strip()])
        asked, text = _split_question(task, text) if given is None else (_question_in(given), text)
        return _read_answer(task, text, asked) if asked else None
    except ValidationError:
        return None


def _read_answer(task: Task, text: str, asked: dict) -> TaskReply | None:
    if task.schema is ChoiceReply:  # None too where the example that was given is of another kind of task
        return _read_choice(text, asked) if "choices" in asked else None
    if task.schema is YesNoReply:
        match = _YES_NO.fullmatch(text)
        return YesNoReply.model_validate({**asked, "answer": match[1], "rationale": match[2]}) if match else None
    return SubjectiveReply.model_validate({**asked, "answer": text})


def _question_in(reply: TaskReply) -> dict:
    return reply.model_dump(include={"question", "choices"})


def _split_question(task: Task, text: str) -> tuple[dict, str]:
    """Return the question (and choices) that a text starts with, by their fields, and the rest; {} where there is none."""
    pattern = _QUESTION_WITH_CHOICES if task.schema is ChoiceReply else _QUESTION
    match = pattern.fullmatch(text)
    if not match:
        return {}, text
    question, *choices, rest = (part.strip() for part in match.groups())
    return {"question": question} | ({"choices": choices} if choices else {}), rest


def _read_choice(text: str, asked: dict) -> ChoiceReply | None:
    match = next((match for pattern in _CHOICE if (match := pattern.fullmatch(text))), None)
    if not match:
        return None
    answer = match[1].strip()
    if not answer:
        return None
    if answer[0] in CHOICE_MARKS:
        answer = answer[1:].strip() or asked["choices"][CHOICE_MARKS.index(answer[0])]
    return ChoiceReply(**asked, answer=answer, rationale=match[2])


@dataclass(frozen=True)
class TaskOutput:
    """What a model wrote for one example of a task.

    given: the example's own reply; None where the model was to write the question itself. levels: how many levels of
    bullets were asked for.
    """

    task: str
    context: str
    output: str
    given: TaskReply | None
    levels: int = 1


@dataclass(frozen=True)
class StyleCount:
    """The outputs of one task: n, how many could not be read, how many keep to the task, and what is wrong."""

    task: str
    name: str
    style: str
    n: int
    unparsed: int
    kept: int
    share: float
    problems: tuple[str, ...]


def style_table(outputs: Sequence[TaskOutput]) -> list[StyleCount]:
    """Return a row for each of the 23 tasks that has outputs, in the order of the tasks; `share` is kept of all n.

    Raises:
        CourseError: a task is unknown.
    """
    unknown = sorted({row.task for row in outputs} - set(TASKS))
    if unknown:
        raise CourseError(f"There is no task {unknown[0]!r}; the tasks are {', '.join(TASKS)}.")
    table = []
    for task_id, task in TASKS.items():
        own = [row for row in outputs if row.task == task_id]
        if not own:
            continue
        replies = [(row, read_output(task_id, row.output, row.given)) for row in own]
        problems = [check_reply(task_id, row.context, reply, row.levels) for row, reply in replies if reply is not None]
        kept = sum(not found for found in problems)
        named = tuple(sentence for found in problems for sentence in found)
        unparsed = len(own) - len(problems)
        table.append(StyleCount(task_id, task.name, task.style, len(own), unparsed, kept, kept / len(own), named))
    return table
