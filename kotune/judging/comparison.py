"""Stage three of judging: what the judgments of two systems come to, and how sure that is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from kotune.judging.calibration import Calibration
from kotune.judging.correction import Corrected, by_calibration, by_votes
from kotune.judging.judgments import (
    FAILED,
    JUDGED,
    LEFT_OUT,
    UNPARSED,
    Judgment,
    ScoreLine,
    Winner,
    read_judgments,
    read_scores,
)
from kotune.language import said
from kotune.stats import (
    Interval,
    LengthControlled,
    length_controlled,
    mean_interval,
    questions_needed,
    sign_test,
    wilson,
    win_rate_interval,
)
from utils import CourseError

POINTS: dict[Winner | None, float] = {"a": 1.0, "tie": 0.5, "b": 0.0}


@dataclass(frozen=True)
class Origin:
    """Whose judgments these are."""

    judge: str
    fingerprint: str  # all that the judge's verdicts depend on
    served_by: tuple[str, ...]  # models and their fingerprints, as the endpoint named them
    prompts: tuple[str, ...]  # hashes of the prompts


@dataclass(frozen=True)
class Counts:
    """How many questions were asked and what became of them: n_asked = n_judged + unparsed + failed + left_out."""

    n_asked: int
    n_answered: int  # questions that both sides answer, with text
    n_judged: int
    unparsed: int  # the judge was asked, and no verdict could be read
    failed: int  # the judge could not be asked
    left_out: int  # the question cannot be compared


@dataclass(frozen=True)
class Wins:
    """Wins of A over B."""

    wins: int
    ties: int
    losses: int
    win_rate: float  # a tie counts as half
    interval: Interval  # 95%, bootstrap over questions
    p_value: float  # exact two-sided sign test of wins against losses
    questions_needed: int | None  # to show a difference of this size with 80% power; None where wins equal losses


@dataclass(frozen=True)
class Flips:
    """Verdicts that changed with the order; each is a tie."""

    flips: int
    flip_rate: float  # share of the pairs shown to the judge
    flip_interval: Interval  # Wilson's 95% interval
    first_place: int  # flips that took whatever stood first
    first_place_of: int  # flips in which neither order said tie


@dataclass(frozen=True)
class Lengths:
    """What the length of an answer, in characters, has to do with its winning."""

    mean_length_a: float
    mean_length_b: float
    longer_won: int
    longer_won_of: int  # decided pairs of two lengths
    length_controlled: LengthControlled


@dataclass(frozen=True)
class Problems:
    """What has no verdict, and the answers that were blank, by the reason."""

    problems: dict[str, int]  # of the questions that can be compared: how many
    problem_ids: dict[str, list[str]]
    left_out_ids: dict[str, list[str]]  # of those that cannot


@dataclass(frozen=True)
class Report(Problems, Lengths, Flips, Wins, Counts, Origin):
    """What the judgments of two systems come to: all fields of its parts, each of which is made by a function below."""

    corrected: Corrected | None  # the win rate without the judge's measured errors; None where they were not measured
    warning: str  # what its calibration says that the judge may not be trusted with; empty where it clears the bar

    def row(self) -> dict:
        """Return the report as one row for a table or JSON."""
        return asdict(self)


def report(
    judgments: str | Path | Sequence[Judgment],
    calibration: Calibration | None = None,
    seed: int = 0,
    votes: Mapping[str, Winner] | None = None,
) -> Report:
    """Count wins, ties and losses of A, with their intervals; `judgments` are those of one judge, or their file.

    Whatever has no verdict is counted by its reason, and is in no rate. `calibration` is that of the same judge.
    The corrected win rate is by people's `votes` on some of the pairs (id -> a, b or tie) where there are any, else by the
    calibration.

    Raises:
        CourseError: there is no verdict at all, or they are of several judges, or the calibration is of another.
    """
    lines = read_judgments(judgments)
    _require_one_judge(lines, calibration)
    judged = [line for line in lines if line.status == JUDGED]
    if not judged:
        reasons = Counter(line.problem for line in lines).most_common(1)
        why = f" (most often: {reasons[0][0]})" if reasons else ""
        raise CourseError(f"None of {len(lines)} judgments has a verdict{why}; look at the judge's raw replies.")
    parts = (_origin(lines), _counts(lines), _wins(judged, seed), _flips(judged), _lengths(judged), _problems(lines))
    warning = calibration.warning if calibration else _not_calibrated(lines[0].judge)
    fields = {name: value for part in parts for name, value in vars(part).items()}
    return Report(corrected=_corrected(judged, calibration, votes), warning=warning, **fields)


def _not_calibrated(judge: str) -> str:
    return said(
        f"{judge} was not calibrated: how often it is right is not known (calibrate it first).",
        f"{judge} 심사자는 검증하지 않아 얼마나 맞히는지 알 수 없습니다. 먼저 검증하세요.",
    )


def _corrected(
    judged: Sequence[Judgment], calibration: Calibration | None, votes: Mapping[str, Winner] | None
) -> Corrected | None:
    if votes:
        return by_votes(judged, votes)
    return by_calibration(judged, calibration) if calibration else None


def _require_one_judge(lines: Sequence[Judgment], calibration: Calibration | None) -> None:
    names = sorted({line.judge for line in lines})
    if len(names) > 1:
        raise CourseError(f"These judgments are of {len(names)} judges ({', '.join(names)}); report each by itself.")
    if calibration and lines and (calibration.judge, calibration.fingerprint) != (names[0], lines[0].fingerprint):
        raise CourseError(
            f"The calibration is of {calibration.judge} ({calibration.fingerprint}), the judgments are of {names[0]} "
            f"({lines[0].fingerprint}); calibrate the judge that judged."
        )


def _origin(lines: Sequence[Judgment]) -> Origin:
    return Origin(
        judge=lines[0].judge,
        fingerprint=lines[0].fingerprint,
        served_by=tuple(sorted({line.served_by for line in lines if line.served_by})),
        prompts=tuple(sorted({line.prompt for line in lines if line.prompt})),
    )


def _counts(lines: Sequence[Judgment]) -> Counts:
    status = Counter(line.status for line in lines)
    answered = sum(bool(line.answer_a.strip() and line.answer_b.strip()) for line in lines if line.status != LEFT_OUT)
    return Counts(len(lines), answered, status[JUDGED], status[UNPARSED], status[FAILED], status[LEFT_OUT])


def _wins(judged: Sequence[Judgment], seed: int) -> Wins:
    winners = Counter(line.winner for line in judged)
    wins, ties, losses = (winners[winner] for winner in ("a", "tie", "b"))
    return Wins(
        wins=wins,
        ties=ties,
        losses=losses,
        win_rate=(wins + ties / 2) / len(judged),
        interval=win_rate_interval(wins, ties, losses, seed),
        p_value=sign_test(wins, losses),
        questions_needed=questions_needed(wins, ties, losses),
    )


def _flips(judged: Sequence[Judgment]) -> Flips:
    shown = [line for line in judged if line.was_asked]
    flips = [line for line in shown if line.flipped]
    # a flip in which neither order said tie took the same place twice
    placed = [line.verdict_ab == "a" for line in flips if "tie" not in (line.verdict_ab, line.verdict_ba)]
    return Flips(
        flips=len(flips),
        flip_rate=len(flips) / len(shown) if shown else 0.0,
        flip_interval=wilson(len(flips), len(shown)),
        first_place=sum(placed),
        first_place_of=len(placed),
    )


def _lengths(judged: Sequence[Judgment]) -> Lengths:
    lengths = [(len(line.answer_a), len(line.answer_b)) for line in judged]
    longer = [
        (a > b) == (line.winner == "a")
        for line, (a, b) in zip(judged, lengths, strict=True)
        if line.winner != "tie" and a != b
    ]
    return Lengths(
        mean_length_a=sum(a for a, _ in lengths) / len(lengths),
        mean_length_b=sum(b for _, b in lengths) / len(lengths),
        longer_won=sum(longer),
        longer_won_of=len(longer),
        length_controlled=length_controlled([POINTS[line.winner] for line in judged], [a - b for a, b in lengths]),
    )


def _problems(lines: Sequence[Judgment]) -> Problems:
    named = _ids_by_problem([line for line in lines if line.status != LEFT_OUT])
    left_out = _ids_by_problem([line for line in lines if line.status == LEFT_OUT])
    return Problems({problem: len(ids) for problem, ids in named.items()}, named, left_out)


def _ids_by_problem(lines: Sequence[Judgment]) -> dict[str, list[str]]:
    named: dict[str, list[str]] = {}
    for line in lines:
        if line.problem:
            named.setdefault(line.problem, []).append(line.id)
    return named


# --- single scores ---------------------------------------------------------------------------


@dataclass(frozen=True)
class ScoreSummary:
    """The scores of one side."""

    side: str  # "A" or "B"
    judge: str
    n: int  # answers with a score
    without: int  # answers without
    mean: float
    interval: Interval  # of the mean: 95%, bootstrap over answers
    scores: tuple[float, ...] = field(repr=False)

    def row(self) -> dict:
        """Return the summary as one row for a table or JSON."""
        return asdict(self)


def summarise(side: str, scored: str | Path | Sequence[ScoreLine]) -> ScoreSummary:
    """Return the summary of one side's scores.

    Raises:
        CourseError: no answer has a score.
    """
    lines = read_scores(scored)
    scores = tuple(line.score for line in lines if line.score is not None)
    return _summary(side, lines[0].judge if lines else "", scores, len(lines))


def _summary(side: str, judge: str, scores: Sequence[float], n: int) -> ScoreSummary:
    if not scores:
        raise CourseError(f"None of {n} answers of {side} has a score; look at the judge's raw replies.")
    interval = mean_interval(scores)
    return ScoreSummary(side, judge, len(scores), n - len(scores), sum(scores) / len(scores), interval, tuple(scores))


def scores_behind(judgments: str | Path | Sequence[Judgment]) -> tuple[ScoreSummary, ScoreSummary] | None:
    """Return the scores of A and of B that a judge by scores compared; None for a judge that gives none."""
    lines = [line for line in read_judgments(judgments) if line.status == JUDGED]
    scored = [line.raw_ab for line in lines if isinstance(line.raw_ab, dict)]
    if not scored:
        return None
    first, second = ([raw[side] for raw in scored] for side in ("first", "second"))
    return _summary("A", lines[0].judge, first, len(lines)), _summary("B", lines[0].judge, second, len(lines))
