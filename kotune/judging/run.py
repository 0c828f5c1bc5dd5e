"""The command `kotune judge`: two answers files (`id`, `question`, `answer` and, where known, `reference`) and a report.

    kotune judge --answers_a a.jsonl --answers_b b.jsonl --judge reference --out report.json --calibrate
    kotune judge --pairs eval_dataset.jsonl --name_a base --name_b tuned --judge openai:gpt-4o-mini --out report.json
    kotune judge ... --judge reward --reward_model outputs/reward --sft outputs/sft
    kotune judge ... --judge openai:gpt-4o-mini --budget_usd 0.5 --second_judge reference --html report.html

Each judge keeps its verdicts in a file beside the report, so that a run that was stopped goes on where it was.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from kotune.answering.answer_files import Question, SideBySide, Source, read_answers, side_by_side
from kotune.answering.pair_files import read_pairs
from kotune.data import readers
from kotune.data.records import COMPARED
from kotune.data.registry import locate
from kotune.judging.calibration import Calibration, calibrate, list_probe, load_calibration
from kotune.judging.comparison import Report, ScoreSummary, report, scores_behind, summarise
from kotune.judging.judges import Judge, LLMJudge, ReferenceJudge, ShownPair, SingleAnswer, load_reward_judge
from kotune.judging.judgments import Judgment, Winner, judge_pairs, score
from kotune.judging.report_card import ReportCard, make_card, write_html, write_png
from kotune.judging.votes import read_winners
from kotune.shards import Shard
from kotune.teacher.client import connect, has_real_teacher
from utils import OUTPUTS, CourseError, relative, require_other_files, write_json

JUDGES = "reference, reward or openai:MODEL"
SHOWN_PLACES = 20


def load_judge(
    name: str,
    *,
    reward_model: str | Path = OUTPUTS / "reward",
    sft: str | Path = OUTPUTS / "sft",
    journal: str | Path = OUTPUTS / "eval" / "judge_journal.jsonl",
    budget_usd: float | None = None,
    is_guided: bool = True,
) -> Judge:
    """Return a judge by name: reference, reward, or openai:MODEL (any OpenAI-compatible endpoint that the settings name).

    is_guided: whether an LLM is shown the references.

    Raises:
        CourseError: the name is unknown, the reward model cannot be loaded, or no endpoint is set.
    """
    kind, _, model = name.partition(":")
    if name == "reference":
        return ReferenceJudge()
    if name == "reward":
        from kotune.models.machine import choose

        return load_reward_judge(reward_model, sft, choose().recipe)
    if kind == "openai" and model.strip():
        if not has_real_teacher():
            raise CourseError(
                f"The judge {name} needs an endpoint: set OPENAI_API_KEY, or OPENAI_BASE_URL for a local server, or take "
                "the judge reference, which needs none."
            )
        return LLMJudge(connect(model.strip(), journal=journal, budget_usd=budget_usd), is_guided=is_guided)
    raise CourseError(f"The judge {name!r} is unknown; choose {JUDGES}.")


# --- what is compared ------------------------------------------------------------------------


@dataclass(frozen=True)
class _Compared:
    """What the command line gives to compare: the pairs, and the two sides as each is by itself."""

    paired: SideBySide
    sides: tuple[Source, Source]  # the answers of A and of B
    names: tuple[str, str]  # what they are called if not told otherwise
    places: dict[str, str]  # where the pair of an id stands; empty for two answers files

    def require_references(self, judge: Judge) -> None:
        """Say which pairs a judge by references can have no verdict on.

        Raises:
            CourseError: it can have none on any.
        """
        pairs = self.paired.pairs
        lacking = [pair.question.id for pair in pairs if pair.question.reference is None]
        if not lacking or not isinstance(judge, ReferenceJudge):
            return
        named = [self.places.get(one, f"id {one!r}") for one in lacking]
        if len(lacking) == len(pairs):
            raise CourseError(
                f"{named[0]}, field reference: missing, as in all of the {len(pairs)} pairs, and the judge {judge.name} "
                "compares with it; add references, or take the judge reward or openai:MODEL."
            )
        shown = [named[0], *(readers.seen_from(named[0], place) for place in named[1:SHOWN_PLACES])]
        more = ", ..." if len(named) > SHOWN_PLACES else ""
        print(
            f"{len(lacking)} of {len(pairs)} pairs have no reference, and no verdict of the judge {judge.name}: "
            f"{', '.join(shown)}{more}"
        )


def _files_to_compare(chosen: argparse.Namespace) -> list[str | Path]:
    """Return the files with the answers: one of pairs, or two.

    Raises:
        CourseError: the command line names neither, or both.
    """
    given = (chosen.answers_a, chosen.answers_b)
    if chosen.pairs and any(given):
        raise CourseError("--pairs holds the answers of both sides; leave --answers_a and --answers_b out, or --pairs.")
    if not chosen.pairs and not all(given):
        raise CourseError("There is nothing to compare; name --answers_a and --answers_b, or --pairs.")
    return [locate(chosen.pairs)] if chosen.pairs else [*given]


def _compared(chosen: argparse.Namespace) -> _Compared:
    """Read what the command line gives to compare.

    Raises:
        CourseError: a file is malformed, or two have no question in common.
    """
    if chosen.pairs:
        file = read_pairs(chosen.pairs)
        return _Compared(SideBySide(file.pairs, []), file.answers(), COMPARED, file.places)
    sides = (chosen.answers_a, chosen.answers_b)
    return _Compared(side_by_side(*sides), sides, (Path(sides[0]).stem, Path(sides[1]).stem), {})


# --- command line ----------------------------------------------------------------------------


def _beside(out: Path, judge: Judge, what: str) -> Path:
    """Return the file of a judge's verdicts beside the report: each judge has its own."""
    return out.with_name(f"{out.stem}.{re.sub(r'[^0-9A-Za-z.-]+', '_', judge.name).strip('_')}.{what}.jsonl")


def _print_price(judge: Judge, compared: _Compared, chosen: argparse.Namespace) -> None:
    """Print what an LLM will cost over all that it is going to be asked, before the first request."""
    if not isinstance(judge, LLMJudge):
        return
    pairs = list(compared.paired.pairs)
    if chosen.calibrate:
        labelled = load_calibration(chosen.calibration)
        pairs += [one.pair for one in [*labelled, *list_probe(labelled)]]
    full = [pair for pair in pairs if pair.answer_a.strip() and pair.answer_b.strip()]
    shown = [ShownPair(pair.question, *sides) for pair in full for sides in
             ((pair.answer_a, pair.answer_b), (pair.answer_b, pair.answer_a))]  # fmt: skip
    singles = []
    if chosen.scores:
        given = [answered for side in compared.sides if side for answered in read_answers(side)]
        singles = [SingleAnswer(Question(a.id, a.question, a.reference), a.answer) for a in given if a.answer.strip()]
    print(f"--- {judge.name}: what it will cost ---")
    for estimate in judge.estimate(shown, singles):
        print(estimate)


def _judge_once(
    judge: Judge, compared: _Compared, chosen: argparse.Namespace, judgments: Path, winners: dict[str, Winner] | None
) -> tuple[Report, list[Judgment], Calibration | None]:
    _print_price(judge, compared, chosen)
    calibration = None
    if chosen.calibrate:
        calibration = calibrate(judge, chosen.calibration, _beside(Path(chosen.out), judge, "calibration"))
    lines = judge_pairs(judge, compared.paired.pairs, compared.paired.left_out, judgments)
    return report(lines, calibration, chosen.seed, winners), lines, calibration


def _scores(
    judge: Judge, compared: _Compared, chosen: argparse.Namespace, lines: Sequence[Judgment]
) -> tuple[ScoreSummary, ScoreSummary] | None:
    if not chosen.scores:
        return scores_behind(lines)
    a, b = (
        summarise(side, score(judge, answers, _beside(Path(chosen.out), judge, f"scores_{side.lower()}")))
        for side, answers in zip("AB", compared.sides, strict=True)
    )
    return a, b


REPORT_ALONE = ("calibrate", "votes", "html", "png")  # what is done with all verdicts, and with no shard of them


def judge_command(chosen: argparse.Namespace, shard: Shard | None = None) -> list[Path]:
    """Compare two answers files, or the two answers of each row of one file, and write the report.

    With `shard`, ask for that shard's verdicts alone, and return the files that hold them: the report is that of all shards,
    once they are merged.
    """
    out = Path(chosen.out)
    if shard is not None:
        chosen = _of_a_shard(chosen, shard)
    for given, ending in ((chosen.out, ".json"), (chosen.png, ".png")):
        if given and Path(given).suffix.lower() != ending:
            raise CourseError(f"{given} does not end in {ending}; name the file so.")
    judgments = Path(chosen.judgments) if chosen.judgments else None
    read = [*_files_to_compare(chosen), chosen.votes, *([chosen.calibration] if chosen.calibrate else [])]
    written = [out, chosen.html, chosen.png, chosen.journal]
    require_other_files(read, [*written, judgments])
    compared = _compared(chosen)  # what is wrong with the answers is said before a judge is loaded
    if chosen.calibrate:
        load_calibration(chosen.calibration)
    winners = read_winners(chosen.votes) if chosen.votes else None
    options = {"reward_model": chosen.reward_model, "sft": chosen.sft, "journal": chosen.journal}
    options |= {"budget_usd": chosen.budget_usd, "is_guided": not chosen.without_reference}
    judges = [load_judge(name, **options) for name in [chosen.judge, *chosen.second_judge]]
    if len({judge.name for judge in judges}) < len(judges):
        raise CourseError("A judge is named twice; --second_judge takes another than --judge.")
    for judge in judges:
        compared.require_references(judge)
    judgments = judgments or _beside(out, judges[0], "judgments")
    kept = [_beside(out, judge, what) for judge in judges for what in ("calibration", "scores_a", "scores_b")]
    kept += [_beside(out, judge, "judgments") for judge in judges[1:]]
    if shard is not None:
        kept = [shard.file(path) for path in kept]
    require_other_files(read, [*written, judgments, *kept], instead="another --out")
    if shard is not None:
        wholes = [judgments, *(_beside(out, judge, "judgments") for judge in judges[1:])]
        files = [_judge_shard(*one, compared, chosen, shard) for one in zip(judges, wholes, strict=True)]
        return [*files, *(_score_shard(judges[0], compared, chosen, shard) if chosen.scores else [])]
    first, lines, calibration = _judge_once(judges[0], compared, chosen, judgments, winners)
    seconds = [_judge_once(one, compared, chosen, _beside(out, one, "judgments"), winners) for one in judges[1:]]
    card = make_card(
        chosen.name_a or compared.names[0],
        chosen.name_b or compared.names[1],
        first,
        lines,
        calibration=calibration,
        scores=_scores(judges[0], compared, chosen, lines),
        seconds=[(one, judgments) for one, judgments, _ in seconds],
        second_calibrations=[own for _, _, own in seconds if own],
    )
    done = [judgments, write_json(out, card.json())]
    if chosen.html:
        done.append(write_html(card, chosen.html))
    if chosen.png:
        done.append(write_png(card, chosen.png))
    print("\n".join(summary(card)))
    print(f"written: {', '.join(map(relative, done))}")
    return []


def _of_a_shard(chosen: argparse.Namespace, shard: Shard) -> argparse.Namespace:
    """Return the options with which a shard is judged: a journal of its own, and its part of the budget.

    Raises:
        CourseError: the command line asks for what only the report of all shards has.
    """
    asked = next((name for name in REPORT_ALONE if getattr(chosen, name)), None)
    if asked:
        raise CourseError(
            f"--{asked} belongs to the report, which comes once the shards are merged; leave it out with --shard."
        )
    budget = None if chosen.budget_usd is None else chosen.budget_usd / shard.of
    return argparse.Namespace(**{**vars(chosen), "journal": shard.file(chosen.journal), "budget_usd": budget})


def _judge_shard(judge: Judge, whole: Path, compared: _Compared, chosen: argparse.Namespace, shard: Shard) -> Path:
    """Ask for the verdicts of a shard, its price first; return its file."""
    _print_price(judge, _part(compared, shard), chosen)
    lines = judge_pairs(judge, compared.paired.pairs, compared.paired.left_out, whole, shard)
    of_all = len(compared.paired.pairs) + len(compared.paired.left_out)
    print(f"{relative(shard.file(whole))}: {len(lines)} of {of_all} questions")
    return shard.file(whole)


def _score_shard(judge: Judge, compared: _Compared, chosen: argparse.Namespace, shard: Shard) -> list[Path]:
    files = []
    for side, answers in zip("ab", compared.sides, strict=True):
        whole = _beside(Path(chosen.out), judge, f"scores_{side}")
        score(judge, answers, whole, shard)
        files.append(shard.file(whole))
    return files


def _part(compared: _Compared, shard: Shard) -> _Compared:
    """Return what a shard compares, which is what it has to pay for."""
    pairs = [pair for pair in compared.paired.pairs if shard.holds(pair.question.id)]
    a, b = ([one for one in read_answers(side) if shard.holds(one.id)] for side in compared.sides)
    return replace(compared, paired=SideBySide(pairs, []), sides=(a, b))


def summary(card: ReportCard) -> list[str]:
    """Return the report in lines of text, with what cannot be trusted about it first."""
    warnings = [f"warning: {warning}" for warning in card.warnings]
    lines = [(measure, f"{value}  [{interval}]" if interval else value) for measure, value, interval, _ in card.lines()]
    named = [
        *((f"left out, {reason}", ids) for reason, ids in card.report.left_out_ids.items()),
        *card.report.problem_ids.items(),
    ]
    ids = [f"{reason}: {', '.join(ids[:8])}{' ...' if len(ids) > 8 else ''} ({len(ids)})" for reason, ids in named]
    measures = [f"{name:44} {value}" for name, value in lines]
    return [*warnings, f"judge: {card.report.judge}", *measures, *card.corrections, *ids]
