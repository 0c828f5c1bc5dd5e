"""How far to trust a judge: its verdicts on pairs whose right verdict is known by construction.

`data/judge_calibration.jsonl` holds good answers beside answers that were spoilt in eight ways, and pairs that say the same.
A judge is measured as it is used: both orders, disagreement a tie, an unreadable verdict wrong. What looks good overall may
be blind to one kind, so the bar looks at each: a judge that cannot tell a wrong number says nothing about facts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from kotune.answering.answer_files import Pair, Question
from kotune.data import readers
from kotune.judging.judges import Judge
from kotune.judging.judgments import FAILED, JUDGED, LEADS, UNPARSED, Judgment, Tally, judge_pairs
from kotune.korean.sentences import sentence_texts
from kotune.language import said
from kotune.stats import Agreement, Interval, agree, wilson
from utils import DATA, CourseError

CALIBRATION = DATA / "judge_calibration.jsonl"
EXPECTED = {"first": "a", "second": "b", "tie": "tie"}
# The bar: what the lower end of the 95% interval of the accuracy must reach.
OVERALL_BAR = 0.7
KIND_BAR = 0.5  # a coin that never says tie
LIST_PAIRS = 20
LIST_KIND = "list_form"


@dataclass(frozen=True)
class LabelledPair:
    """Two answers to a question, the right verdict on them, and how the worse one was spoilt."""

    pair: Pair
    right: str  # "a" for the first, "b" for the second, or "tie"
    kind: str


@dataclass(frozen=True)
class KindAccuracy:
    """Accuracy on one kind of corruption; an unreadable verdict is wrong."""

    kind: str
    n: int
    right: int
    unparsed: int
    accuracy: float
    interval: Interval  # Wilson's, at 95%
    passes: bool  # the low end of the interval reaches KIND_BAR


@dataclass(frozen=True)
class Preference:
    """How often a judge chose a trait of form where it chose at all, and how often a judge without error would have."""

    name: str
    n: int  # how often the judge chose; with 0 nothing is known
    chosen: int  # how often it chose the trait
    share: float | None
    interval: Interval  # Wilson's, at 95%
    fair: float  # the share of a judge that is always right
    biased: bool  # the interval does not hold the fair share


@dataclass(frozen=True)
class Calibration:
    """How often a judge is right, overall and on each kind of corruption, and what else moves its verdicts."""

    judge: str
    fingerprint: str
    n: int  # pairs with a known verdict that the judge was asked about
    right: int
    accuracy: float
    interval: Interval  # Wilson's, at 95%
    unparsed: int  # counted as wrong
    failed: int  # pairs that the judge could not be asked about
    flips: int  # verdicts that changed with the order
    flip_rate: float
    flip_interval: Interval
    better: Tally  # of the better answers over the worse, on the pairs that have one and a verdict that could be read
    kinds: tuple[KindAccuracy, ...]
    preferences: tuple[Preference, ...]
    warning: str  # what the judge may not be trusted with; empty where it clears the bar
    # the winner of each pair by id (a, b or tie; None where none could be read), without those of `list_probe`
    verdicts: dict[str, str | None] = field(repr=False)

    def row(self) -> dict:
        """Return the calibration as one row for JSON, without the single verdicts."""
        return {name: value for name, value in asdict(self).items() if name != "verdicts"}

    def agreement(self, other: Calibration) -> Agreement | None:
        """Return how far another judge agrees on the same pairs (see `stats.agree`); None where they share no pair."""
        return agree(self.verdicts, other.verdicts)

    def table(self):
        """Return a DataFrame with a row a kind, and one for all."""
        import pandas as pd

        lines = [
            {"kind": k.kind, "n": k.n, "right": k.right, "accuracy": k.accuracy, "low": k.interval[0],
             "high": k.interval[1], "clears the bar": k.passes}
            for k in self.kinds
        ]  # fmt: skip
        low, high = self.interval
        total = {"kind": "all", "n": self.n, "right": self.right, "accuracy": self.accuracy, "low": low, "high": high}
        return pd.DataFrame([*lines, total | {"clears the bar": low >= OVERALL_BAR}]).set_index("kind")


def load_calibration(path: str | Path = CALIBRATION) -> list[LabelledPair]:
    """Return the labelled pairs of a calibration file.

    Raises:
        CourseError: a row lacks a field, has no known verdict, an empty answer, or an id that came before.
    """
    labelled, seen = [], set()
    for place, row in readers.read(path):
        for name in ("id", "question", "reference", "first", "second", "verdict", "kind"):
            if not isinstance(row.get(name), str) or not row[name].strip():
                raise CourseError(
                    f"{place}, field {name}: a calibration pair needs a text there; it has id, question, reference, first, "
                    "second, verdict (first, second or tie) and kind."
                )
        if row["verdict"] not in EXPECTED:
            raise CourseError(f"{place}, field verdict: {row['verdict']!r} is not first, second or tie; fix the row.")
        if row["id"] in seen:
            raise CourseError(f"{place}, field id: {row['id']!r} was used before; give each pair its own.")
        seen.add(row["id"])
        question = Question(row["id"], row["question"], row["reference"])
        labelled.append(LabelledPair(Pair(question, row["first"], row["second"]), EXPECTED[row["verdict"]], row["kind"]))
    return labelled


def list_probe(labelled: Sequence[LabelledPair], count: int = LIST_PAIRS) -> list[LabelledPair]:
    """Return pairs of a good answer as prose and the same sentences as a bulleted list, the list first in every other pair.

    Word for word the same, so that neither is better. They are no part of the accuracy: a judge that prefers the list here
    prefers lists.
    """
    probes: dict[str, LabelledPair] = {}
    for one in labelled:
        good = {"a": one.pair.answer_a, "b": one.pair.answer_b}.get(one.right, "")
        sentences = sentence_texts(good)
        if len(sentences) < 2 or good in probes or len(probes) == count:
            continue
        bullets = "\n".join(f"- {sentence}" for sentence in sentences)
        question = Question(f"list-{one.pair.question.id}", one.pair.question.question, one.pair.question.reference)
        sides = (good, bullets) if len(probes) % 2 else (bullets, good)
        probes[good] = LabelledPair(Pair(question, *sides), "tie", LIST_KIND)
    return list(probes.values())


def calibrate(judge: Judge, source: str | Path = CALIBRATION, out: str | Path | None = None) -> Calibration:
    """Measure a judge on a calibration file, in both orders; `out` keeps its judgments as `compare` does.

    Raises:
        CourseError: the file is malformed, or the judge has not one verdict on it.
    """
    labelled = load_calibration(source)
    labelled += list_probe(labelled)
    judgments = judge_pairs(judge, [one.pair for one in labelled], out=out)
    return measure(labelled, judgments)


def measure(labelled: Sequence[LabelledPair], judgments: Sequence[Judgment]) -> Calibration:
    """Return what judgments of labelled pairs say about their judge; those of `list_probe` count for lists alone."""
    both = [(one, line) for one, line in zip(labelled, judgments, strict=True) if line.status != FAILED]
    core = [(one, line) for one, line in both if one.kind != LIST_KIND]
    if not any(line.status == JUDGED for _, line in core):
        problems = sorted({line.problem for line in judgments if line.problem})
        raise CourseError(
            f"The judge {judgments[0].judge} has not one verdict on the calibration set ({', '.join(problems)}); look at "
            "its raw replies."
        )
    judged = [line for _, line in core if line.status == JUDGED]
    flips = sum(line.flipped for line in judged)
    kinds = tuple(_kind(kind, [pair for pair in core if pair[0].kind == kind]) for kind in _kinds(core))
    right = sum(line.winner == one.right for one, line in core)
    interval = wilson(right, len(core))
    return Calibration(
        judge=judgments[0].judge,
        fingerprint=judgments[0].fingerprint,
        n=len(core),
        right=right,
        accuracy=right / len(core),
        interval=interval,
        unparsed=sum(line.status == UNPARSED for _, line in core),
        failed=len(labelled) - len(both),
        flips=flips,
        flip_rate=flips / len(judged),
        flip_interval=wilson(flips, len(judged)),
        better=Tally.of(_better_leads(core)),
        kinds=kinds,
        preferences=(_first_place(judged), _longer(core), _lists(both)),
        warning=_warning(judgments[0].judge, right, interval, kinds),
        verdicts={line.id: line.winner for _, line in core},
    )


def _better_leads(core: Sequence[tuple[LabelledPair, Judgment]]) -> list[int]:
    decided = [(one.right, line) for one, line in core if one.right != "tie" and line.status == JUDGED]
    return [LEADS[line.winner] if right == "a" else -LEADS[line.winner] for right, line in decided]


def _kinds(core: Sequence[tuple[LabelledPair, Judgment]]) -> list[str]:
    return sorted({one.kind for one, _ in core})


def _kind(kind: str, pairs: Sequence[tuple[LabelledPair, Judgment]]) -> KindAccuracy:
    right = sum(line.winner == one.right for one, line in pairs)
    interval = wilson(right, len(pairs))
    unparsed = sum(line.status == UNPARSED for _, line in pairs)
    return KindAccuracy(kind, len(pairs), right, unparsed, right / len(pairs), interval, interval[0] >= KIND_BAR)


def _warning(judge: str, right: int, interval: Interval, kinds: Sequence[KindAccuracy]) -> str:
    n = sum(kind.n for kind in kinds)
    counts = [(kind.kind, kind.right, kind.n) for kind in kinds if not kind.passes]
    if interval[0] < OVERALL_BAR:
        counts.insert(0, (said("overall", "전체"), right, n))
    if not counts:
        return ""
    below = ", ".join(said(f"{name} {right} of {n}", f"{name} {right}/{n}") for name, right, n in counts)
    return said(
        f"{judge} is below the bar (the 95% interval must reach {OVERALL_BAR:g} overall and {KIND_BAR:g} on each kind): "
        f"right on {below}. Its verdicts say little about these.",
        f"{judge} 심사자는 기준 미달입니다(95% 신뢰구간의 아래쪽 끝이 전체에서 {OVERALL_BAR:g}, "
        f"유형마다 {KIND_BAR:g} 이상이어야 합니다). 맞힌 수: {below}. 이런 것에 대한 판정은 믿을 만하지 않습니다.",
    )


# --- preferences of form ---------------------------------------------------------------------


def _preference(name: str, chosen: int, n: int, fair: float) -> Preference:
    interval = wilson(chosen, n)
    biased = n > 0 and not interval[0] <= fair <= interval[1]
    return Preference(name, n, chosen, chosen / n if n else None, interval, fair, biased)


def _first_place(judged: Sequence[Judgment]) -> Preference:
    """Each pair is shown in both orders, so a judge without bias takes the first place in half of its choices."""
    chosen = sum((line.verdict_ab == "a") + (line.verdict_ba == "b") for line in judged)
    decided = sum((line.verdict_ab != "tie") + (line.verdict_ba != "tie") for line in judged)
    return _preference(said("the first place", "첫 자리"), chosen, decided, 0.5)


def _longer(core: Sequence[tuple[LabelledPair, Judgment]]) -> Preference:
    """Where a pair is decided; a right judge takes the longer as often as it is the better, a half where they tie."""
    pairs = [
        (one.right, line.winner, "a" if len(one.pair.answer_a) > len(one.pair.answer_b) else "b")
        for one, line in core
        if line.winner in ("a", "b") and len(one.pair.answer_a) != len(one.pair.answer_b)
    ]
    chosen = sum(winner == longer for _, winner, longer in pairs)
    fair = sum(0.5 if right == "tie" else float(right == longer) for right, _, longer in pairs)
    return _preference(said("the longer", "더 긴 답변"), chosen, len(pairs), fair / len(pairs) if pairs else 0.5)


def _lists(both: Sequence[tuple[LabelledPair, Judgment]]) -> Preference:
    pairs = [
        (line.winner, "a" if one.pair.answer_a.startswith("- ") else "b")
        for one, line in both
        if one.kind == LIST_KIND and line.winner in ("a", "b")
    ]
    return _preference(said("lists", "목록"), sum(winner == bulleted for winner, bulleted in pairs), len(pairs), 0.5)
