"""Metrics of single tasks: ROUGE-L on morphemes, facts of radiology reports, styles of the 23 tasks, zero-shot labels.

Each gives its value for every row beside the total, so that a notebook can put an interval on it. What a model wrote that
cannot be read (a label, the parts of a reply) is counted, never dropped.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from functools import lru_cache
from math import nan
from statistics import fmean

import numpy as np
from pydantic import BaseModel, ValidationError

from kotune.korean.radiology import Fact, facts_in
from kotune.korean.task_styles import check_reply
from kotune.korean.tasks import CHOICE_MARKS, TASKS
from kotune.korean.zero_shot import SETS, Item
from kotune.stats import BOOTSTRAP_DRAWS, Interval, expanded_tail, wilson
from prompts import ChoiceReply, KeywordReply, TextReply, YesNoReply
from similarity import RougeL, rouge_l
from utils import CourseError


def _check_lengths(ours: Sequence, theirs: Sequence, ours_name: str, theirs_name: str) -> None:
    if len(ours) != len(theirs):
        raise CourseError(f"There are {len(ours)} {ours_name} and {len(theirs)} {theirs_name}; pass one for each, in order.")
    if not ours:
        raise CourseError(f"There are no {ours_name}; pass at least one.")


# --- ROUGE-L ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class RougeScores:
    """ROUGE-L over a set: the mean of precision, recall and F1 over rows, and each row's own."""

    mean: RougeL
    rows: list[RougeL]


def rouge_scores(candidates: Sequence[str], references: Sequence[str], unit: str = "morpheme") -> RougeScores:
    """Return ROUGE-L (Lin, 2004) of each candidate against its reference, and the means; an empty candidate scores 0.

    Raises:
        CourseError: there are no candidates, or more or fewer than references.
    """
    _check_lengths(candidates, references, "candidates", "references")
    rows = [rouge_l(ours, theirs, unit) for ours, theirs in zip(candidates, references, strict=True)]
    return RougeScores(RougeL(*(fmean(values) for values in zip(*rows, strict=True))), rows)


# --- radiology -------------------------------------------------------------------------------

FACT_FIELDS = tuple(field.name for field in fields(Fact))  # finding, side, site, size_mm, change


@dataclass(frozen=True)
class ChangedFact:
    """A fact of the reference that a report states otherwise, and in which fields."""

    reference: Fact
    report: Fact
    fields: tuple[str, ...]


@dataclass(frozen=True)
class FactComparison:
    """What a report keeps, changes, drops and adds, against the facts of its conclusion or reference report."""

    kept: tuple[Fact, ...]
    changed: tuple[ChangedFact, ...]
    dropped: tuple[Fact, ...]
    added: tuple[Fact, ...]

    @property
    def n_reference(self) -> int:
        """How many facts the reference states."""
        return len(self.kept) + len(self.changed) + len(self.dropped)

    @property
    def n_report(self) -> int:
        """How many facts the report states."""
        return len(self.kept) + len(self.changed) + len(self.added)

    @property
    def exact(self) -> bool:
        """Whether the report states the facts of the reference and no others."""
        return len(self.kept) == self.n_reference == self.n_report


def compare_facts(report: str, reference: str) -> FactComparison:
    """Compare the positive facts of a report with those of its conclusion or reference; both are read by `facts_in`.

    A fact that is not kept whole counts as changed where the report has one of the same finding left, or else one at the
    same side and site; of several the pair with the fewest different fields is taken first.
    """
    wanted, stated = facts_in(reference), facts_in(report)
    dropped, added = _ordered(wanted - stated), _ordered(stated - wanted)
    changed = _pair_off(dropped, added, lambda one, other: one.finding == other.finding)
    changed += _pair_off(dropped, added, lambda one, other: (one.side, one.site) == (other.side, other.site))
    return FactComparison(tuple(_ordered(wanted & stated)), tuple(changed), tuple(dropped), tuple(added))


def _ordered(facts: set[Fact]) -> list[Fact]:
    return sorted(facts, key=lambda fact: tuple(str(getattr(fact, name)) for name in FACT_FIELDS))


def _pair_off(dropped: list[Fact], added: list[Fact], belong) -> list[ChangedFact]:
    """Take pairs that belong together out of both lists, those with the fewest different fields first."""
    pairs = sorted(
        (len(_different(one, other)), i, j)
        for i, one in enumerate(dropped)
        for j, other in enumerate(added)
        if belong(one, other)
    )
    taken: list[tuple[int, int]] = []
    for _, i, j in pairs:
        if all(i != one and j != other for one, other in taken):
            taken.append((i, j))
    changed = [ChangedFact(dropped[i], added[j], _different(dropped[i], added[j])) for i, j in taken]
    for place in sorted((i for i, _ in taken), reverse=True):
        del dropped[place]
    for place in sorted((j for _, j in taken), reverse=True):
        del added[place]
    return changed


def _different(one: Fact, other: Fact) -> tuple[str, ...]:
    return tuple(name for name in FACT_FIELDS if getattr(one, name) != getattr(other, name))


@dataclass(frozen=True)
class FactScores:
    """Facts over a set of reports, summed. A changed fact is neither right (precision) nor found (recall).

    precision: kept of stated; recall: kept of the references'; f1 of both, over sums; NaN where nothing was stated or due.
    exact_rate: share of the n reports without any difference. changed_fields: how often each field was changed.
    """

    n: int
    kept: int
    changed: int
    dropped: int
    added: int
    precision: float
    recall: float
    f1: float
    exact_rate: float
    changed_fields: dict[str, int]
    rows: list[FactComparison]


def fact_scores(reports: Sequence[str], references: Sequence[str]) -> FactScores:
    """Compare each report with its conclusion or reference, and sum up.

    Raises:
        CourseError: there are no reports, or more or fewer than references.
    """
    _check_lengths(reports, references, "reports", "references")
    rows = [compare_facts(report, reference) for report, reference in zip(reports, references, strict=True)]
    kept, changed, dropped, added = (
        sum(len(getattr(row, name)) for row in rows) for name in ("kept", "changed", "dropped", "added")
    )
    counts = Counter(name for row in rows for change in row.changed for name in change.fields)
    return FactScores(
        n=len(rows),
        kept=kept,
        changed=changed,
        dropped=dropped,
        added=added,
        precision=_share(kept, kept + changed + added),
        recall=_share(kept, kept + changed + dropped),
        f1=_share(2 * kept, 2 * kept + 2 * changed + dropped + added),
        exact_rate=_share(sum(row.exact for row in rows), len(rows)),
        changed_fields={name: counts[name] for name in FACT_FIELDS},
        rows=rows,
    )


def _share(part: float, whole: float) -> float:
    return part / whole if whole else nan


# --- the 23 tasks ----------------------------------------------------------------------------

_CHOICE = (re.compile(r"- 정답: (.+)\n([\s\S]+)"), re.compile(r"정답은 ‘(.+?)’입니다\. ?([\s\S]+)"))
_YES_NO = re.compile(r"(예|아니요)[.,]?\s+([\s\S]+)")


def read_output(task_id: str, output: str, given: BaseModel) -> BaseModel | None:
    """Read what a model wrote for a task back into the task's reply; None where its parts cannot be told apart.

    given: the example's own reply, for the question and the choices that the model was shown. A choice may be named by its
    mark (②) as well.
    """
    task, text = TASKS[task_id], output.strip()
    try:
        if task.schema is TextReply:
            return TextReply(output=text)
        if task.schema is KeywordReply:
            return KeywordReply(keywords=[word.strip() for word in text.split(",") if word.strip()])
        if task.schema is ChoiceReply:
            return _read_choice(text, given)
        if task.schema is YesNoReply:
            match = _YES_NO.fullmatch(text)
            return YesNoReply(question=given.question, answer=match[1], rationale=match[2]) if match else None
        return task.schema(question=given.question, answer=text)
    except ValidationError:
        return None


def _read_choice(text: str, given: ChoiceReply) -> ChoiceReply | None:
    match = next((match for pattern in _CHOICE if (match := pattern.fullmatch(text))), None)
    if not match:
        return None
    answer = match[1].strip()
    if not answer:
        return None
    if answer[0] in CHOICE_MARKS:
        answer = answer[1:].strip() or given.choices[CHOICE_MARKS.index(answer[0])]
    return ChoiceReply(question=given.question, choices=given.choices, answer=answer, rationale=match[2])


@dataclass(frozen=True)
class TaskOutput:
    """What a model wrote for one example of a task; given: the example's own reply."""

    task: str
    context: str
    output: str
    given: BaseModel


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
        problems = [check_reply(task_id, row.context, reply) for row, reply in replies if reply is not None]
        kept = sum(not found for found in problems)
        named = tuple(sentence for found in problems for sentence in found)
        unparsed = len(own) - len(problems)
        table.append(StyleCount(task_id, task.name, task.style, len(own), unparsed, kept, kept / len(own), named))
    return table


# --- zero-shot sets --------------------------------------------------------------------------

_ENDINGS = (
    r"(?:적)?(?:입니다|입니다만|이다|이에요|예요|이요|요|이며|이고|이라고|라고|이라는|이라|임|이지만|이므로|이라서|이어서|인|"
    r"은|는|이|가|을|를|과|와|로|으로|에|도|만|의|으로만)?"
)
_DENIED = re.compile(r"\s*(?:관계|경우|것)?(?:이|가|은|는)?\s*(?:아니|아닙|아님|않|없)")


@lru_cache(maxsize=16)
def _label_pattern(labels: tuple[str, ...]) -> re.Pattern:
    longest_first = "|".join(re.escape(label) for label in sorted(labels, key=len, reverse=True))
    return re.compile(rf"(?<![가-힣A-Za-z0-9])({longest_first}){_ENDINGS}(?![가-힣A-Za-z0-9])")


def parse_strict(answer: str, labels: Sequence[str]) -> str | None:
    """Return the label that an answer is, white space around it aside; None for anything else, as system D has it."""
    text = unicodedata.normalize("NFC", answer).strip()
    return text if text in labels else None


def parse_lenient(answer: str, labels: Sequence[str]) -> str | None:
    """Return the one label that an answer names: bare, with marks, with a particle, or inside a sentence; else None.

    A label counts as a word of its own (부정 in "부정적입니다", not in "부정확"), the longest where one begins another. A
    label that is denied ("모순이 아니라 중립") is not named. None, not a guess, where no label is named or more than one.
    """
    text = unicodedata.normalize("NFC", answer)
    found = _label_pattern(tuple(labels)).finditer(text)
    named = {match[1] for match in found if not _DENIED.match(text, match.end(1))}
    return named.pop() if len(named) == 1 else None


def macro_f1(gold: Sequence[str], predicted: Sequence[str | None]) -> float:
    """Return the mean F1 over the labels that occur in either list; NaN for no rows.

    None predicts no label: it is a miss for the gold label and a false alarm for none. The same labels as scikit-learn's
    `f1_score(average="macro")` has without its `labels`.
    """
    if not gold:
        return nan
    right = Counter(one for one, other in zip(gold, predicted, strict=True) if one == other)
    due, said = Counter(gold), Counter(label for label in predicted if label is not None)
    return fmean(2 * right[label] / (due[label] + said[label]) for label in due | said)


def macro_f1_interval(gold: Sequence[str], predicted: Sequence[str | None], seed: int = 0) -> Interval:
    """Return the 95% bootstrap interval of `macro_f1` over rows; with less than two rows nothing is known: (0, 1).

    Drawing rows with replacement gives multinomial counts of each (label, prediction), which are drawn at once. Where all
    are right, or all wrong, a bootstrap has no spread to go by: there it is Wilson's.
    """
    n = len(gold)
    if n < 2:
        return 0.0, 1.0
    counts = Counter(zip(gold, predicted, strict=True))
    labels = sorted({label for pair in counts for label in pair if label is not None})
    drawn = np.random.default_rng(seed).multinomial(n, [count / n for count in counts.values()], size=BOOTSTRAP_DRAWS)
    cells = list(counts)
    right, due, said = (
        np.column_stack([drawn[:, [belongs(cell, label) for cell in cells]].sum(axis=1) for label in labels])
        for belongs in (
            lambda cell, label: cell == (label, label),
            lambda cell, label: cell[0] == label,
            lambda cell, label: cell[1] == label,
        )
    )
    with np.errstate(invalid="ignore"):  # a label that a draw lacks has no F1 in it
        means = np.nanmean(2 * right / (due + said), axis=1)
    if np.ptp(means) == 0:
        return wilson(n * means[0], n)
    tail = expanded_tail(n)
    low, high = np.quantile(means, [tail, 1 - tail])
    return float(low), float(high)


@dataclass(frozen=True)
class LabelRow:
    """One item: its label, what the model wrote, and the label that each way of reading sees in it."""

    id: str
    gold: str
    answer: str
    strict: str | None
    lenient: str | None


@dataclass(frozen=True)
class LabelScore:
    """Macro F1 with its 95% interval, and accuracy, over n rows."""

    n: int
    macro_f1: float
    interval: Interval
    accuracy: float


@dataclass(frozen=True)
class ZeroShotReport:
    """A zero-shot set read in three ways.

    strict: only an exact label counts, and what is none is wrong. lenient: a label inside a sentence counts, and what names
    none is wrong. dropped: what is no exact label is left out and the rest scored, as system D did: `inflation` is how much
    that adds to the strict macro F1. coverage, lenient_coverage: the shares of the n answers that could be read.
    """

    name: str
    n: int
    coverage: float
    lenient_coverage: float
    strict: LabelScore
    lenient: LabelScore
    dropped: LabelScore
    rows: list[LabelRow]

    @property
    def inflation(self) -> float:
        """By how much dropping raises the macro F1; NaN where nothing is left."""
        return self.dropped.macro_f1 - self.strict.macro_f1

    def row(self) -> dict:
        """Return the report as one flat row for a table; low and high bound the strict macro F1 (95%)."""
        low, high = self.strict.interval
        return {
            "set": self.name,
            "n": self.n,
            "coverage": self.coverage,
            "lenient coverage": self.lenient_coverage,
            "strict": self.strict.macro_f1,
            "low": low,
            "high": high,
            "lenient": self.lenient.macro_f1,
            "dropped": self.dropped.macro_f1,
            "n dropped": self.n - self.dropped.n,
            "inflation": self.inflation,
        }


def zero_shot_report(
    name: str, items: Sequence[Item], answers: Sequence[str], labels: Mapping[str, str] | None = None
) -> ZeroShotReport:
    """Read the answers to a set's items in three ways, and score each.

    labels: those of the set, where it is none of `zero_shot.SETS`.

    Raises:
        CourseError: the set is unknown, or there are no items, or more or fewer than answers.
    """
    _check_lengths(items, answers, "items", "answers")
    if labels is None and name not in SETS:
        raise CourseError(f"There is no zero-shot set {name!r}; choose one of {', '.join(SETS)}, or pass its labels.")
    known = list((labels or SETS[name].labels).values())
    rows = [
        LabelRow(item.id, item.label, answer, parse_strict(answer, known), parse_lenient(answer, known))
        for item, answer in zip(items, answers, strict=True)
    ]
    read = [row for row in rows if row.strict is not None]
    return ZeroShotReport(
        name=name,
        n=len(rows),
        coverage=len(read) / len(rows),
        lenient_coverage=sum(row.lenient is not None for row in rows) / len(rows),
        strict=_score([(row.gold, row.strict) for row in rows]),
        lenient=_score([(row.gold, row.lenient) for row in rows]),
        dropped=_score([(row.gold, row.strict) for row in read]),
        rows=rows,
    )


def _score(pairs: Sequence[tuple[str, str | None]]) -> LabelScore:
    gold, predicted = [one for one, _ in pairs], [other for _, other in pairs]
    right = sum(one == other for one, other in pairs)
    interval = macro_f1_interval(gold, predicted)
    return LabelScore(len(pairs), macro_f1(gold, predicted), interval, _share(right, len(pairs)))
