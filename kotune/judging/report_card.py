"""The report card of a comparison: one page of HTML, one PNG, a table for the notebook, and the JSON that holds it all."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from kotune.judging.calibration import KIND_BAR, OVERALL_BAR, Calibration
from kotune.judging.comparison import Report, ScoreSummary
from kotune.judging.html_pages import render, write_page
from kotune.judging.judgments import JUDGED, Judgment, Winner
from kotune.language import display_width, said
from kotune.plots import BLUE, GREEN, GREY, ORANGE, RED, finish, new_axes, use_korean_font
from kotune.stats import Agreement, Interval, LengthControlled, agree
from utils import CourseError, atomic_path

TEMPLATE = Path(__file__).with_name("report_card.html.jinja")
MOST_INSTRUCTIVE = 10
HISTOGRAM_BINS = 10


@dataclass(frozen=True)
class Disagreement:
    """A question on which the judge disagreed with itself between orders, or with another judge."""

    id: str
    between: str  # "orders" or "judges"
    opposite: bool  # one verdict names A, another B
    question: str
    reference: str | None
    answer_a: str
    answer_b: str
    # who says which side is better (a, b or tie), and why where a reason was given
    said: tuple[tuple[str, Winner | None, str], ...]


@dataclass(frozen=True)
class SecondOpinion:
    """Another judge on the same answers."""

    report: Report
    agreement: Agreement | None  # with the first judge on these answers; None where they share no verdict
    calibration: Calibration | None = None
    calibration_agreement: Agreement | None = None  # on the calibration set; None where either was not calibrated

    def row(self) -> dict:
        """Return the opinion as one row for JSON."""
        return asdict(self) | {"calibration": self.calibration.row() if self.calibration else None}


@dataclass(frozen=True)
class Histogram:
    """Scores of A and B in the same bins."""

    edges: tuple[float, ...]  # of the bins, one more than there are bins
    a: tuple[int, ...]
    b: tuple[int, ...]


@dataclass(frozen=True)
class ReportCard:
    """All that is to be shown of a comparison."""

    name_a: str
    name_b: str
    report: Report
    calibration: Calibration | None = None
    scores: tuple[ScoreSummary, ScoreSummary] | None = None
    seconds: tuple[SecondOpinion, ...] = ()
    disagreements: tuple[Disagreement, ...] = ()  # the most instructive
    disagreements_of: int = 0  # how many there are
    histogram: Histogram | None = None

    def json(self) -> dict:
        """Return the card as JSON: the report's own fields at the top level, the rest beside them."""
        scores = [
            {name: value for name, value in summary.row().items() if name != "scores"} for summary in self.scores or ()
        ]
        return self.report.row() | {
            "name_a": self.name_a,
            "name_b": self.name_b,
            "calibration": self.calibration.row() if self.calibration else None,
            "scores": scores,
            "histogram": asdict(self.histogram) if self.histogram else None,
            "second_judges": [second.row() for second in self.seconds],
            "disagreements_of": self.disagreements_of,
            "disagreements": [asdict(one) for one in self.disagreements],
        }

    @property
    def warnings(self) -> list[str]:
        """What the judges may not be trusted with, the first judge's before the others'."""
        reports = (self.report, *(second.report for second in self.seconds))
        return [report.warning for report in reports if report.warning]

    @property
    def corrections(self) -> list[str]:
        """What each judge's corrected win rate assumes, or why there is none: a sentence a judge that was measured."""
        reports = (self.report, *(second.report for second in self.seconds))
        return [
            said(
                f"The correction for {one.judge}: {one.corrected.note}.", f"{one.judge} 심사자의 보정: {one.corrected.note}."
            )
            for one in reports
            if one.corrected
        ]

    def table(self):
        """Return a DataFrame for the notebook: warnings, a row a measure with its value, 95% interval and n, corrections."""
        import pandas as pd

        warned = [(said("warning", "주의"), warning, "", "") for warning in self.warnings]
        assumed = [(said("correction", "보정의 전제"), sentence, "", "") for sentence in self.corrections]
        columns = [said("measure", "항목"), said("value", "값"), said("95% interval", "95% 구간"), "n"]
        return pd.DataFrame([*warned, *self.lines(), *assumed], columns=columns).set_index(columns[0])

    def lines(self) -> list[tuple[str, str, str, str]]:
        """Return (measure, value, interval, n) in words, as the table and the page show them."""
        r = self.report
        lc = r.length_controlled
        none = said("no difference to show", "확인할 차이가 없음")
        needed = none if r.questions_needed is None else f"{r.questions_needed:,}"
        asked, judged, decided = f"{r.n_asked}", f"{r.n_judged}", f"{r.wins + r.losses}"
        outcome = said(f"wins / ties / losses of {self.name_a}", f"{self.name_a}의 승 / 무승부 / 패")
        changed = said("verdicts that changed with the order", "순서에 따라 뒤집힌 판정")
        lengths = f"{r.mean_length_a:.0f} / {r.mean_length_b:.0f}"
        first, longer = _of(r.first_place, r.first_place_of), _of(r.longer_won, r.longer_won_of)
        rows = [
            (
                said("asked / answered by both / judged", "질문 / 둘 다 답함 / 판정함"),
                f"{asked} / {r.n_answered} / {judged}",
                "",
                asked,
            ),
            (
                said("unparsed / failed / left out", "읽지 못함 / 실패 / 제외"),
                f"{r.unparsed} / {r.failed} / {r.left_out}",
                "",
                asked,
            ),
            (outcome, f"{r.wins} / {r.ties} / {r.losses}", "", judged),
            (said("win rate (a tie is half)", "승률 (무승부는 0.5승)"), _percent(r.win_rate), _interval(r.interval), judged),
            *_corrected_lines(said("  corrected for the judge's errors", "  심사자의 오류를 보정한 승률"), r),
            (said("sign test of wins against losses", "승과 패의 부호 검정"), f"p = {r.p_value:.2g}", "", decided),
            (said("win rate at equal length", "길이를 맞춘 승률"), _percent(lc.win_rate), _with_note(lc), judged),
            (said("questions that would show it (80% power)", "확인에 필요한 질문 (검정력 80%)"), needed, "", ""),
            (changed, _percent(r.flip_rate), _interval(r.flip_interval), _shown(r)),
            (said("of these, took the first place", "그중 첫 자리를 고른 것"), first, "", f"{r.first_place_of}"),
            (said("longer answer won", "더 긴 답변이 이긴 것"), longer, "", f"{r.longer_won_of}"),
            (said("mean length in characters, A / B", "평균 글자 수, A / B"), lengths, "", judged),
        ]
        for summary, name in zip(self.scores or (), (self.name_a, self.name_b), strict=False):
            measure = said(f"mean score of {name}", f"{name}의 평균 점수")
            rows.append((measure, f"{summary.mean:.2f}", _plain(summary.interval), f"{summary.n}"))
        for second in self.seconds:
            rows += _second_lines(second)
        return rows


def _corrected_lines(measure: str, report: Report) -> list[tuple[str, str, str, str]]:
    """Return the row of the corrected win rate, and none where the judge's errors were not measured."""
    found = report.corrected
    if found is None:
        return []
    value = said("cannot be corrected", "보정할 수 없음") if found.win_rate is None else _percent(found.win_rate)
    pairs = said(f"{found.n} calibration pairs", f"정답을 아는 쌍 {found.n}")
    measured_by = pairs if found.by == "calibration" else said(f"{found.n} votes", f"투표 {found.n}")
    return [(measure, value, _interval(found.interval), f"{report.n_judged}, {measured_by}")]


def _with_note(fitted: LengthControlled) -> str:
    return "; ".join(part for part in (_interval(fitted.interval), fitted.note) if part)


def _shown(report: Report) -> str:
    return f"{report.n_judged - sum(n for name, n in report.problems.items() if name.startswith('empty_'))}"


def _second_lines(second: SecondOpinion) -> list[tuple[str, str, str, str]]:
    other = second.report
    rows = [
        (
            said(f"win rate by {other.judge}", f"{other.judge} 심사자의 승률"),
            _percent(other.win_rate),
            _interval(other.interval),
            f"{other.n_judged}",
        ),
        *_corrected_lines(said("  corrected for its errors", "  그 오류를 보정한 승률"), other),
    ]
    on_calibration = said(", calibration set", ", 정답을 아는 쌍")
    for where, agreed in (("", second.agreement), (on_calibration, second.calibration_agreement)):
        if agreed:
            kappa = said("undefined", "정의되지 않음") if agreed.kappa is None else f"{agreed.kappa:.2f}"
            same, cohen, gwet = (
                said("same verdict", "같은 판정"),
                said("Cohen's kappa", "코헨의 카파"),
                said("Gwet's AC1", "그웨트의 AC1"),
            )
            rows += [
                (f"  {same}{where}", _percent(agreed.share), _interval(agreed.share_interval), f"{agreed.n}"),
                (f"  {cohen}{where}", kappa, _plain(agreed.kappa_interval), f"{agreed.n}"),
                (f"  {gwet}{where}", f"{agreed.ac1:.2f}", _plain(agreed.ac1_interval), f"{agreed.n}"),
            ]
    return rows


def _of(count: int, n: int) -> str:
    return said(f"{count} of {n}", f"{count}/{n}")


def _percent(share: float | None) -> str:
    return said("none", "없음") if share is None else f"{100 * share:.1f}%"


def _interval(interval: Interval | None) -> str:
    return "" if interval is None else _between(*(f"{100 * end:.1f}%" for end in interval))


def _plain(interval: Interval | None) -> str:
    return "" if interval is None else _between(*(f"{end:.2f}" for end in interval))


def _between(low: str, high: str) -> str:
    return said(f"{low} to {high}", f"{low}–{high}")


# --- made ------------------------------------------------------------------------------------


def make_card(
    name_a: str,
    name_b: str,
    report: Report,
    judgments: Sequence[Judgment],
    *,
    calibration: Calibration | None = None,
    scores: tuple[ScoreSummary, ScoreSummary] | None = None,
    seconds: Sequence[tuple[Report, Sequence[Judgment]]] = (),
    second_calibrations: Sequence[Calibration] = (),
) -> ReportCard:
    """Return the card of a comparison; `seconds` are the reports and judgments of other judges on the same answers.

    `second_calibrations` are those of the other judges, in any order.

    Raises:
        CourseError: the calibration is of another judge, or one of the second calibrations is of none of the others.
    """
    if calibration and _who(calibration) != _who(report):
        raise CourseError(f"The calibration is of {calibration.judge}, the report of {report.judge}; give that judge's own.")
    others = {_who(other) for other, _ in seconds}
    for one in second_calibrations:
        if _who(one) not in others:
            raise CourseError(f"A second calibration is of {one.judge}, which is no second judge; leave it out.")
    winners = {line.id: line.winner for line in judgments}
    by_judge = {_who(one): one for one in second_calibrations}
    opinions = tuple(_second(winners, calibration, other, lines, by_judge.get(_who(other))) for other, lines in seconds)
    found = disagreements(judgments, [lines for _, lines in seconds])
    return ReportCard(
        name_a,
        name_b,
        report,
        calibration,
        scores,
        opinions,
        tuple(found[:MOST_INSTRUCTIVE]),
        len(found),
        histogram(*scores) if scores else None,
    )


def _who(measured: Report | Calibration) -> tuple[str, str]:
    return measured.judge, measured.fingerprint


def _second(
    winners: Mapping[str, str | None],
    calibration: Calibration | None,
    report: Report,
    judgments: Sequence[Judgment],
    own: Calibration | None,
) -> SecondOpinion:
    agreed = agree(winners, {line.id: line.winner for line in judgments})
    return SecondOpinion(report, agreed, own, calibration.agreement(own) if calibration and own else None)


def disagreements(judgments: Sequence[Judgment], others: Sequence[Sequence[Judgment]] = ()) -> list[Disagreement]:
    """Return where a judge disagrees with itself between orders, or with other judges, the most instructive first.

    First those that name opposite winners, then those with a tie on one side; among these, answers that differ most in
    length come first, because length is what misleads judges most often. Each question stands once.
    """
    by_id = [{line.id: line for line in lines if line.status == JUDGED} for lines in others]
    found = []
    for line in judgments:
        if line.status != JUDGED:
            continue
        second = [lines[line.id] for lines in by_id if line.id in lines]
        differing = [other for other in second if other.winner != line.winner]
        if line.flipped:
            verdicts, between = {line.verdict_ab, line.verdict_ba}, "orders"
        elif differing:
            verdicts, between = {line.winner, *(other.winner for other in differing)}, "judges"
        else:
            continue
        a_first, b_first = said("A shown first", "A를 먼저"), said("B shown first", "B를 먼저")
        verdicts_of = [
            (f"{line.judge}, {a_first}", line.verdict_ab, _reason(line.raw_ab)),
            (f"{line.judge}, {b_first}", line.verdict_ba, _reason(line.raw_ba)),
        ]
        if not line.flipped:
            verdicts_of = [(line.judge, line.winner, _reason(line.raw_ab))]
        verdicts_of += [(other.judge, other.winner, _reason(other.raw_ab)) for other in second]
        opposite = {"a", "b"} <= verdicts
        texts = (line.question, line.reference, line.answer_a, line.answer_b)
        found.append(Disagreement(line.id, between, opposite, *texts, tuple(verdicts_of)))
    return sorted(found, key=lambda one: (not one.opposite, -abs(len(one.answer_a) - len(one.answer_b))))


def _reason(raw: str | dict | None) -> str:
    """Return the reason in a judge's reply, or the scores behind its verdict (first and second, as shown)."""
    if isinstance(raw, dict):
        scores = ", ".join(f"{side} {score:.3f}" for side, score in raw.items())
        return said(f"{scores} (as shown)", f"{scores} (보여 준 순서)")
    try:
        replied = json.loads(raw or "")
    except (ValueError, RecursionError):  # the latter where a model repeats "[" to its limit
        return (raw or "").strip()
    return str(replied.get("reason", "")) if isinstance(replied, dict) else str(replied)


def histogram(a: ScoreSummary, b: ScoreSummary) -> Histogram:
    """Return both sides' scores in the same bins: one a score where all are whole numbers from 1 to 10, else ten."""
    scores = np.array([*a.scores, *b.scores])
    if np.all((scores == np.round(scores)) & (scores >= 1) & (scores <= 10)):
        edges = np.arange(0.5, 11)
    else:
        edges = np.histogram_bin_edges(scores, HISTOGRAM_BINS)
    counts = [tuple(np.histogram(side.scores, edges)[0].tolist()) for side in (a, b)]
    return Histogram(tuple(edges.tolist()), *counts)


# --- HTML ------------------------------------------------------------------------------------


def html(card: ReportCard) -> str:
    """Return the card as one page of HTML that needs nothing else; every text in it is escaped."""
    names = {"a": card.name_a, "b": card.name_b, "tie": said("tie", "무승부")}
    tallest = max([*card.histogram.a, *card.histogram.b, 1]) if card.histogram else 1
    filters = {"percent": _percent, "interval": _interval}
    bars = OVERALL_BAR, KIND_BAR
    values = {"card": card, "r": card.report, "lines": card.lines(), "names": names, "tallest": tallest, "bars": bars}
    return render(TEMPLATE, filters, said=said, **values)


def write_html(card: ReportCard, path: str | Path) -> Path:
    """Write the page."""
    return write_page(path, html(card))


# --- PNG -------------------------------------------------------------------------------------


def write_png(card: ReportCard, path: str | Path) -> Path:
    """Draw the card as one picture: verdicts, win rates, the judge's calibration and the scores.

    Raises:
        CourseError: the path is not that of a PNG.
    """
    from matplotlib.figure import Figure

    path = Path(path)
    if path.suffix.lower() != ".png":
        raise CourseError(f"{path.name} is no name of a PNG; end it in .png.")
    use_korean_font()
    figure = Figure(figsize=(10, 7.6), dpi=110, layout="constrained")
    top, bottom = figure.subplots(2, 2)
    _draw_verdicts(top[0], card)
    _draw_rates(top[1], card)
    _draw_calibration(bottom[0], card)
    _draw_scores(bottom[1], card)
    r = card.report
    judge = said("judge", "심사자")
    title = f"A = {card.name_a},  B = {card.name_b}\n{judge}: {r.judge}, n = {r.n_judged} / {r.n_asked}, p = {r.p_value:.2g}"
    figure.suptitle(_plain_text(title), fontsize=12)
    if card.warnings:
        begins = said("Warning", "주의")
        warned = "\n".join(_wrapped(f"{begins}: {warning}", 120) for warning in card.warnings)
        figure.supxlabel(_plain_text(warned), fontsize=8.5, color=RED)
    with atomic_path(path) as temporary:
        figure.savefig(temporary)
    return path


def _plain_text(text: str) -> str:
    """Return a text that matplotlib draws: a pair of dollar signs is mathematics to it, and half of an emoji no text."""
    return text.replace("$", r"\$").encode(errors="replace").decode()


def _wrapped(text: str, width: int) -> str:
    """Return a text in lines of so many columns at most, a syllable of Hangul taking two."""
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".lstrip()
        if lines[-1] and display_width(longer) > width:
            lines.append(word)
        else:
            lines[-1] = longer
    return "\n".join(lines)


def _draw_verdicts(axes, card: ReportCard) -> None:
    r = card.report
    left = 0
    for count, colour, label in (
        (r.wins, BLUE, said("A wins", "A 승")),
        (r.ties, GREY, said("ties", "무승부")),
        (r.losses, ORANGE, said("B wins", "B 승")),
    ):
        axes.barh(0, count, left=left, color=colour, label=f"{label} {count}")
        left += count
    without = r.n_asked - r.n_judged
    if without:
        axes.barh(
            0,
            without,
            left=left,
            color="white",
            edgecolor=GREY,
            hatch="//",
            label=said(f"no verdict {without}", f"판정 없음 {without}"),
        )
    axes.set(
        yticks=[],
        ylim=(-0.8, 1.2),
        title=said("Verdicts (won where both orders agree)", "판정 (두 순서가 같을 때만 승)"),
        xlabel=said("questions", "질문"),
    )
    axes.legend(loc="upper center", ncols=2, fontsize=8, frameon=False)


def _draw_rates(axes, card: ReportCard) -> None:
    r = card.report
    rates = [(said("win rate (a tie is half)", "승률 (무승부 = 0.5)"), r.win_rate, r.interval)]
    if r.corrected and r.corrected.win_rate is not None and r.corrected.interval is not None:
        rates.append(
            (said("corrected for the judge's errors", "심사 오류를 보정한 승률"), r.corrected.win_rate, r.corrected.interval)
        )
    fitted = r.length_controlled
    if fitted.win_rate is not None and fitted.interval is not None:
        guess = said(" (a guess)", " (추정)") if fitted.note else ""
        rates.append((said("at equal length", "길이를 맞춘 승률") + guess, fitted.win_rate, fitted.interval))
    rates += [(second.report.judge, second.report.win_rate, second.report.interval) for second in card.seconds]
    rates.append((said("changed with the order", "순서에 따라 바뀐 비율"), r.flip_rate, r.flip_interval))
    _draw_intervals(axes, rates, BLUE)
    axes.axvline(0.5, color=GREY, linestyle="--")
    axes.set_title(said("Shares with 95% intervals", "비율과 95% 구간"))


def _draw_intervals(axes, rates: Sequence[tuple[str, float, Interval]], colour: str | Sequence[str]) -> None:
    colours = [colour] * len(rates) if isinstance(colour, str) else colour
    for place, ((_, value, (low, high)), one) in enumerate(zip(rates, colours, strict=True)):
        axes.plot([low, high], [place, place], color=one, linewidth=2.5)
        axes.plot(value, place, "o", color=one)
    axes.set_yticks(range(len(rates)), [_plain_text(name) for name, _, _ in rates], fontsize=8)
    axes.set(xlim=(-0.02, 1.02), ylim=(len(rates) - 0.4, -0.6))


def _draw_calibration(axes, card: ReportCard) -> None:
    axes.set_title(
        said("Calibration of the judge: accuracy on pairs of known verdict", "심사자 검증: 정답을 아는 쌍에서의 정확도")
    )
    if card.calibration is None:
        _draw_absence(axes, said("not calibrated", "검증하지 않음"))
        return
    c = card.calibration
    rates = [(f"{k.kind} (n={k.n})", k.accuracy, k.interval) for k in c.kinds]
    colours = [GREEN if kind.passes else RED for kind in c.kinds]
    rates.append((said(f"all (n={c.n})", f"전체 (n={c.n})"), c.accuracy, c.interval))
    _draw_intervals(axes, rates, [*colours, GREEN if c.interval[0] >= OVERALL_BAR else RED])
    axes.axvline(KIND_BAR, color=GREY, linestyle="--")


def _draw_scores(axes, card: ReportCard) -> None:
    axes.set_title(said("Scores", "점수 분포"))
    if card.histogram is None or card.scores is None:
        _draw_absence(axes, said("no scores", "점수 없음"))
        return
    edges = np.array(card.histogram.edges)
    widths = np.diff(edges)
    for counts, shift, colour, name in (
        (card.histogram.a, 0.0, BLUE, f"A = {card.name_a}"),
        (card.histogram.b, 0.4, ORANGE, f"B = {card.name_b}"),
    ):
        axes.bar(edges[:-1] + (0.3 + shift) * widths, counts, width=0.4 * widths, color=colour, label=_plain_text(name))
    axes.set(xlabel=said(f"score: {card.scores[0].judge}", f"점수: {card.scores[0].judge}"), ylabel=said("answers", "답변"))
    axes.legend(fontsize=8, frameon=False)


def _draw_absence(axes, what: str) -> None:
    axes.text(0.5, 0.5, what, ha="center", va="center", color=GREY, transform=axes.transAxes)
    axes.set(xticks=[], yticks=[])


def win_rates(reports: Sequence[tuple[str, Report]]) -> None:
    """Win rate of A with its 95% interval, one row a comparison; 0.5 is no difference.

    A judge that is below the bar of its calibration, or was not calibrated, is marked.
    """
    axes = new_axes(height=0.9 + 0.7 * len(reports))
    for place, (_, report) in enumerate(reports):
        low, high = report.interval
        axes.plot([low, high], [place, place], color=BLUE, linewidth=3)
        axes.plot(report.win_rate, place, "o", color=BLUE, markersize=9)
    axes.axvline(0.5, color=GREY, linestyle="--")
    below_the_bar = said("careful: its judge is below the bar", "주의: 심사자(judge) 기준 미달")
    marked = [f"{name}\n({below_the_bar})" if report.warning else name for name, report in reports]
    axes.set_yticks(range(len(reports)), marked)
    axes.set(xlim=(0, 1), ylim=(-0.6, len(reports) - 0.4))
    title = said("Win rates and their 95% intervals (a tie is half a win)", "승률과 95% 구간 (무승부는 0.5승)")
    finish(axes, title, said("win rate", "승률"), "")
