"""Every public function of the course that takes a text, as a call with that text alone; and those that are left out, and why.

Where a function takes several texts, each is given the hostile one in turn, and the others are ordinary. What is held against
each other in a time that grows with the length of both (a longest common subsequence) is so by its nature.
"""

import asyncio
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import prompts
import similarity
import utils
from kotune import first_cells, highlight, language, line_file, shards
from kotune.answering import answer_files, pair_files
from kotune.data import (
    addresses,
    card,
    dedup,
    pii,
    readers,
    records,
    registry,
    spreadsheets,
    text_files,
    validation,
    writers,
)
from kotune.data.ranking import Ranker
from kotune.data.retrieval import Library
from kotune.data.shown_numbers import shown
from kotune.exercises import leaderboard
from kotune.judging import class_votes, vote_pairs, votes
from kotune.judging.judges import without_marks
from kotune.judging.judgments import Judgment, read_line
from kotune.judging.report_card import disagreements
from kotune.korean import (
    abstention,
    banmal,
    checks,
    contrasts,
    ending_checks,
    error_sentences,
    grounding,
    leftover_checks,
    listing_rules,
    listings,
    numbers,
    particles,
    radiology,
    radiology_form,
    repetition_checks,
    script_checks,
    sentences,
    spacing_checks,
    speech_levels,
    task_styles,
    unfinished,
    zero_shot,
)
from kotune.korean.answer import CheckedAnswer, bare_letters
from kotune.korean.tasks import TASKS
from kotune.models.chat_template import fold_system
from kotune.models.sampling import StopTexts
from kotune.models.surface_baseline import features
from kotune.serving import api, class_pages, guard, record_table
from kotune.serving.backends import WholeCharacters, read_event, stream_lines
from kotune.serving.jobs import JOBS
from kotune.serving.page import author, conversation
from kotune.serving.page_texts import KOREAN
from kotune.teacher import costs, filters, generation, reasoning, recording, refusals, replies
from kotune.teacher.endpoint import Endpoint
from kotune.training.evaluation import repetition
from prompts import ChoiceReply, KeywordReply, ListingRecord, SubjectiveReply, TextReply, Verdict, YesNoReply

QUESTION = "전세 보증금은 언제 돌려받나요?"
SENTENCE = "보증금 2억 원은 계약이 끝나는 2024년 1월 31일에 돌려받습니다."
REPORT = "A nodule of 5 mm is seen in the right upper lobe. No pleural effusion is seen."
DOCUMENT = {"id": "d1", "title": "보증금", "text": SENTENCE}
RECORD = ListingRecord(
    deal="월세", kind="원룸", place=None, deposit=500, rent=40, price=None, area=None, floor=None, rooms=1, bathrooms=1,
    maintenance=None, pets=None, available=None,
)  # fmt: skip


@dataclass(frozen=True)
class TextFunction:
    """A public function, by its full name, and what is done with a text; `refused`: what it raises for a text it refuses."""

    name: str
    call: Callable[[str], object]
    refused: tuple[type[Exception], ...] = ()

    def __call__(self, text: str) -> None:
        with suppress(utils.CourseError, *self.refused):
            self.call(text)


@cache
def _folder() -> tempfile.TemporaryDirectory:
    return tempfile.TemporaryDirectory(prefix="hostile-")


@contextmanager
def _file(text: str, name: str) -> Iterator[Path]:
    path = Path(_folder().name, name)
    path.write_text(text, encoding="utf-8", errors="replace", newline="")
    try:
        yield path
    finally:
        for made in path.parent.iterdir():
            made.unlink()


def _run_through(rows: Iterable) -> None:
    for _ in rows:
        pass


def _read(text: str, *names: str) -> None:
    for name in names:
        with _file(text, name) as path, suppress(utils.CourseError):
            _run_through(readers.read_with_errors(path))


def _read_row(text: str) -> None:
    with _file(utils.json_line({"question": text, "answer": text}), "rows.jsonl") as path:
        _run_through(readers.read(path))


def _validated(text: str) -> str:
    row = readers.Row("a.jsonl, line 1", {"question": text, "answer": text})
    return str(validation.check(lambda: [row], "a"))


def _written(text: str, target: str, name: str) -> None:
    record = {
        "id": "1", "prompt": [{"role": "user", "content": text}], "completion": [{"role": "assistant", "content": text}],
        "source": "",
    }  # fmt: skip
    with _file("", name) as path:
        writers.write([record], path, target)


def _checked(check: Callable[[CheckedAnswer], Iterator]) -> Callable[[str], object]:
    def run(text: str) -> None:
        list(check(CheckedAnswer(text, QUESTION, SENTENCE, ended=False)))
        list(check(CheckedAnswer(SENTENCE, text, text, ended=False)))

    return run


def _parsed_shard(text: str) -> None:
    with suppress(utils.CourseError):
        shards.Shard.parse(text)


def _highlighted(text: str) -> None:
    found = checks.check(text)
    checks.highlight(text, found)
    checks.highlight_html(text, found)


def _pairs(text: str) -> None:
    vote = votes.Vote("1", text, text, SENTENCE, "a", {"a": "one", "b": "other"}, "a")
    vote_pairs.preference_pairs([vote, vote])


def _class_vote(text: str) -> None:
    vote = votes.Vote("1", text, text, SENTENCE, None, {}, "a")
    judged = Judgment("1", "judged", verdict_ab="a", verdict_ba="a", winner="a", judge=text, question=text)
    with _file("", "votes.jsonl") as path:
        box = class_votes.BallotBox(class_votes.ClassPairs([vote], [judged], (text, text)), path)
        for phone, identity in ((text, "1"), ("phone", text)):
            box.cast(phone, identity, "first")
        class_pages.ballot_page(box, "phone", "ko")
        box.is_closed = True
        class_pages.tally_page(box, "en", "/close")


def _judged(text: str) -> None:
    judged = {"verdict_ab": "a", "verdict_ba": "b", "winner": "tie", "raw_ab": text, "raw_ba": text, "answer_a": text}
    disagreements([Judgment("1", "judged", question=text, **judged)])


def _lines(text: str) -> None:
    with _file(text + "\n", "a.jsonl") as path:
        line_file.LineFile(path)


def _tall(text: str) -> None:
    with _file(f'{{\n"a": [\n{text}\n', "a.jsonl") as path:
        _run_through(readers.read_with_errors(path))


def _table(text: str) -> None:
    with _file(f"question,answer\n{text},나\n", "a.csv") as path, suppress(utils.CourseError):
        _run_through(readers.read_with_errors(path))
    with _file(f"question\tanswer\n{text}\t나\n", "a.tsv") as path, suppress(utils.CourseError):
        _run_through(readers.read_with_errors(path))


def _with_lines(text: str) -> None:
    with _file(text, "a.txt") as path:
        _run_through(text_files.lines(path, "utf-8"))
        text_files.first_character(path, "utf-8")


def _pair_file(text: str) -> None:
    row = {"id": "1", "input1": text, "input2": text, "completion1": text, "completion2": "가", "reference": text}
    with _file(utils.json_line(row), "a.jsonl") as path:
        pair_files.read_pairs(path)


def _event(line: str) -> None:
    with suppress(ValueError, AttributeError, TypeError):  # as its docstring says of what is no chat completion's
        read_event(line)


def _tree(words: list) -> list:
    """Return words in lists of twenty, as deep as it takes."""
    while len(words) > 20:
        words = [words[start : start + 20] for start in range(0, len(words), 20)]
    return words


def _said(text: str) -> None:
    for body in (
        text,
        {"error": {"message": text}},
        [[text] * 3] * 20,
        _tree(text.split()),
        f"<html>{text}",
        f"<html>{text}</style>",
    ):
        refusals.words_of(body)


def _streamed(text: str) -> list[str]:
    async def chunks():
        data = text.encode("utf-8", "replace")
        for start in range(0, len(data), 64):
            yield data[start : start + 64]

    async def run():
        return [line async for line in stream_lines(chunks())]

    return asyncio.run(run())


def _stopped(text: str) -> None:
    whole, stops = StopTexts(("합니다.", "\n\n", "</s>")), StopTexts(("합니다.", "\n\n", "</s>"))
    whole.feed(text)
    for start in range(0, len(text), 3):
        stops.feed(text[start : start + 3])


def _joined(text: str) -> None:
    characters = WholeCharacters()
    for start in range(0, len(text), 3):
        characters.feed(text[start : start + 3])


def _completed(text: str) -> None:
    for schema in (None, Verdict):
        replies.read_completion({"choices": [{"message": {"content": text}, "finish_reason": "stop"}]}, schema)
    replies.read_completion({"choices": [{"message": {"content": "가"}, "finish_reason": text}]}, None)


def _tasks(text: str) -> None:
    for task_id in ("task03_01", "task03_02", "task05_01", "task08_01", "task09", "task11"):
        task_styles.read_output(task_id, text, None)


def _task_replies(text: str) -> Iterator[tuple[str, prompts.TaskReply]]:
    """Yield a reply of each kind, its texts hostile, with a task that asks for it."""
    text = text.encode("utf-8", "replace").decode().strip() or "가"  # its classes take no half of a character
    yield "task01_01", TextReply(output=text)
    yield "task01_02", TextReply(output=text)
    yield "task03_01", ChoiceReply(question=text, choices=["가", "나", "다", text], answer=text, rationale=text)
    yield "task05_02", YesNoReply(question=text, answer="예", rationale=text)
    yield "task08_02", SubjectiveReply(question=text, answer=text)
    yield "task11", KeywordReply(keywords=[text])


def _task_checked(check: Callable) -> Callable[[str], object]:
    def run(text: str) -> None:
        for task_id, reply in _task_replies(text):
            check(task_id, SENTENCE, reply)
        check("task01_02", text, TextReply(output=SENTENCE))

    return run


def _task_rows(text: str) -> None:
    for task_id, reply in _task_replies(text):
        TASKS[task_id].row(text, reply, instruction=text)
        task_styles.written(reply)


@cache
def _ranker() -> Ranker:
    return Ranker([SENTENCE, QUESTION])


@cache
def _library() -> Library:
    with _file(utils.json_line(DOCUMENT), "a.jsonl") as path:
        return Library(path)


@cache
def _content_words() -> filters.ContentWords:
    return filters.ContentWords([DOCUMENT])


def _answer_checked(text: str) -> None:
    words = _content_words().of([(QUESTION, text, ["d1"])])[0]
    filters.check_answer(QUESTION, text, "d1", {"d1": SENTENCE}, words)
    filters.check_answer(text, SENTENCE, "d1", {"d1": text})


def _spoilt(text: str) -> None:
    for kind in filters.SPOILT_FILTERS:
        filters.check_spoilt(kind, text, SENTENCE, QUESTION)
        filters.check_spoilt(kind, SENTENCE, text, QUESTION)
        filters.check_spoilt(kind, text, f"{text}.", QUESTION)


def _each(*calls: Callable[[str], object]) -> Callable[[str], object]:
    def run(text: str) -> None:
        for call in calls:
            with suppress(utils.CourseError):
                call(text)

    return run


def _turns(text: str) -> list[dict]:
    return [{"role": "system", "content": text}, {"role": "user", "content": text}]


def _row_shapes(text: str) -> None:
    for row in (
        {"question": text, "answer": text}, {"instruction": text, "input": text, "output": text}, {"text": text},
        {"prompt": text, "chosen": text, "rejected": f"{text}가"}, {"messages": [*_turns("가"), {"role": "assistant", "content": text}]},
        {"input1": text, "input2": text, "completion1": text, "completion2": "가"}, {"question": text, "context": text, "answer": text},
        {"No.": 1, "Conclusion": text, "SystemPrompt": text, "Findings": text}, {text: text}, {"id": text, "question": "가", "answer": "나"},
    ):  # fmt: skip
        with_names = records.known_names(row)
        records.shape_of(with_names)
        records.unknown_fields(with_names)
        try:
            records.canonical(row, "a.jsonl, line 1", "1")
        except utils.CourseError:
            continue


TEXT_FUNCTIONS = tuple(
    TextFunction(*entry)
    for entry in (
        # --- the modules at the top
        ("utils.normalized", lambda text: [utils.normalized(form, text) for form in ("NFC", "NFD", "NFKC")]),
        ("utils.json_line", lambda text: utils.json_line({"a": text, text: 1})),
        ("kotune.first_cells.Repository.parse", first_cells.Repository.parse),
        ("kotune.first_cells.fetches", first_cells.fetches),
        ("kotune.first_cells.in_korean", lambda text: first_cells.in_korean("train", "cell", text, None)),
        ("kotune.first_cells.repository_of", lambda text: first_cells.repository_of({"cell": text})),
        ("utils.http_address", lambda text: utils.http_address(text, "--backend")),
        ("prompts.open_book_prompt", lambda text: prompts.open_book_prompt(text, [{"title": text, "text": text}])),
        ("prompts.format_documents", lambda text: prompts.format_documents([{"id": text, "title": text, "text": text}])),
        ("similarity.tokenize", lambda text: [similarity.tokenize(text, unit) for unit in similarity.UNITS]),
        ("similarity.rouge_l", _each(lambda text: similarity.rouge_l(text, SENTENCE), lambda text: similarity.rouge_l(SENTENCE, text))),
        ("similarity.shared_tokens", lambda text: similarity.shared_tokens(text, SENTENCE)),
        ("similarity.highlight", _each(lambda text: similarity.highlight(text, SENTENCE), lambda text: similarity.highlight(SENTENCE, text))),
        ("similarity.deduplicate", lambda text: similarity.deduplicate([text, SENTENCE, text, QUESTION])),
        ("similarity.matching_pairs", lambda text: [*similarity.matching_pairs([text, SENTENCE], [QUESTION, text])]),
        ("similarity.wordless_among", lambda text: [similarity.wordless_among([text], unit) for unit in similarity.UNITS]),
        ("similarity.find_overlap", lambda text: similarity.find_overlap([text, SENTENCE], [QUESTION])),
        ("similarity.nearest_earlier", lambda text: similarity.nearest_earlier([SENTENCE, text])),
        ("similarity.rank", _each(lambda text: similarity.rank(text, [SENTENCE, QUESTION]), lambda text: similarity.rank(QUESTION, [text, SENTENCE]))),
        ("similarity.content_words", lambda text: similarity.content_words([text])),
        ("kotune.highlight.underlined", lambda text: highlight.underlined(text, [(at, at + 2, text[:9]) for at in range(0, len(text), 3)])),
        # --- data
        ("kotune.data.addresses.find_addresses", lambda text: list(addresses.find_addresses(text))),
        ("kotune.data.card.lengths", lambda text: card.lengths([{"a": text}], "a")),
        ("kotune.shards.shard_of", lambda text: shards.shard_of(text, 3)),
        ("kotune.shards.identity_of", lambda text: shards.identity_of({"id": text}, 1)),
        ("kotune.shards.Shard.holds", lambda text: shards.Shard(1, 2).holds(text)),
        ("kotune.shards.Shard.parse", _parsed_shard),
        ("kotune.data.dedup.text_to_compare", lambda text: dedup.text_to_compare({"question": text, "answer": text}, "a")),
        ("kotune.data.pii.find", pii.find),
        ("kotune.data.pii.redact", pii.redact),
        ("kotune.data.pii.scan", lambda text: [finding["covered"] for finding in pii.scan([{"a": text}], ["a"])]),
        ("kotune.data.pii.scan_rows", lambda text: list(pii.scan_rows([{"a": [text]}]))),
        ("kotune.data.readers.read_with_errors", _each(lambda text: _read(text, "a.jsonl", "a.json", "a.csv", "a.tsv", "a.txt"), _tall, _table)),
        ("kotune.data.readers.read", _read_row),
        ("kotune.data.records.nfc", records.nfc),
        ("kotune.data.records.same_text", lambda text: records.same_text(text, f"{text} ")),
        ("kotune.data.records.is_blank", records.is_blank),
        ("kotune.data.records.of_a_table", lambda text: [records.of_a_table(text, kind) for kind in (int, bool, str)]),
        ("kotune.data.records.canonical", _row_shapes),
        ("kotune.data.records.to_answer", lambda text: records.to_answer({"question": text, "input": text}, "a", "1")),
        ("kotune.data.records.as_seen", records.as_seen),
        ("kotune.data.records.with_input", lambda text: records.with_input(text, text)),
        ("kotune.data.records.data_hash", lambda text: records.data_hash([{"text": text}])),
        ("kotune.data.registry.from_answers", lambda text: registry.from_answers([_turns(text)], [text])),
        ("kotune.data.ranking.Ranker", lambda text: Ranker([text, SENTENCE])),
        ("kotune.data.ranking.Ranker.rank", lambda text: _ranker().rank(text)),
        ("kotune.data.ranking.Ranker.find", lambda text: _ranker().find(text, 1)),
        ("kotune.data.retrieval.Library.find", lambda text: _library().find(text)),
        ("kotune.data.retrieval.Library.ask", lambda text: _library().ask(text)),
        ("kotune.data.shown_numbers.shown", lambda text: shown(45321.5, text)),
        ("kotune.data.spreadsheets.unescape", spreadsheets.unescape),
        ("kotune.data.spreadsheets.escape", spreadsheets.escape),
        ("kotune.data.text_files.lines", _with_lines),
        ("kotune.data.validation.check", _validated),
        ("kotune.data.writers.write", lambda text: _written(text, "csv", "a.csv")),
        # --- Korean
        ("kotune.korean.abstention.abstains", abstention.abstains),
        ("kotune.korean.answer.bare_letters", bare_letters),
        ("kotune.korean.banmal.speaks_to_someone", lambda text: [banmal.speaks_to_someone(text + end, asks=True) for end in "니라렴자냐"]),
        ("kotune.korean.banmal.is_hae", lambda text: [banmal.is_hae(text + end, ended=True) for end in ("가", "야", "해", "지 마", "어")]),
        ("kotune.korean.banmal.joins_or_is_hae", lambda text: banmal.joins_or_is_hae(f"{text}가")),
        ("kotune.korean.checks.check", _each(lambda text: checks.check(text, question=QUESTION, source=SENTENCE, ended=True), lambda text: checks.check(text, question=text, source=text))),
        ("kotune.korean.checks.highlight", _highlighted),
        *(
            (f"{module.__name__}.{name}", _checked(getattr(module, name)))
            for module in (checks, ending_checks, leftover_checks, repetition_checks, script_checks, spacing_checks)
            for name, value in vars(module).items()
            if name.startswith("check_") and getattr(value, "__module__", "") == module.__name__ and "answer" in value.__annotations__
        ),
        ("kotune.korean.contrasts.contrast", contrasts.contrast),
        ("kotune.korean.contrasts.difference", lambda text: contrasts.difference(text, f"{text} 언제")),
        ("kotune.korean.error_sentences.in_korean", lambda text: [error_sentences.in_korean(f"{start}{text}{end}") for start, end in (("", ""), ("", " does not exist; check the path."), ("a.jsonl, line ", ": is empty; fill it in."))]),
        ("kotune.korean.grounding.unsupported", _each(lambda text: list(grounding.unsupported(text, SENTENCE)), lambda text: list(grounding.unsupported(SENTENCE, text)))),
        ("kotune.korean.grounding.unsupported_numbers", lambda text: grounding.unsupported_numbers(text, text)),
        ("kotune.korean.grounding.misplaced", _each(lambda text: list(grounding.misplaced(text, SENTENCE)), lambda text: list(grounding.misplaced(SENTENCE, text)))),
        ("kotune.korean.grounding.quotations", lambda text: grounding.quotations(text, SENTENCE)),
        ("kotune.korean.grounding.support", lambda text: grounding.support([text, SENTENCE], [SENTENCE, text], [QUESTION, text])),
        ("kotune.korean.listing_rules.amount_of", listing_rules.amount_of),
        ("kotune.korean.listing_rules.listing_by_rules", listing_rules.listing_by_rules),
        ("kotune.korean.listings.parse_record", listings.parse_record),
        ("kotune.korean.listings.check_reply", lambda text: listings.check_reply(text, RECORD)),
        ("kotune.korean.numbers.amount", numbers.amount),
        ("kotune.korean.numbers.quantities", numbers.quantities),
        ("kotune.korean.numbers.different", lambda text: numbers.different(numbers.quantities(text), text)),
        ("kotune.korean.particles.sounds_after", lambda text: [particles.sounds_after(text + end) for end in ("", "1", "l", "m")]),
        ("kotune.korean.particles.is_noun", particles.is_noun),
        ("kotune.korean.particles.particle_errors", lambda text: list(particles.particle_errors(text))),
        ("kotune.korean.radiology.facts_in", radiology.facts_in),
        ("kotune.korean.radiology.compare_facts", _each(lambda text: radiology.compare_facts(text, REPORT), lambda text: radiology.compare_facts(REPORT, text), lambda text: radiology.compare_facts(text, text.replace("Right", "Left")))),
        ("kotune.korean.radiology_form.report_form", _each(lambda text: radiology_form.report_form(text, REPORT, True), lambda text: radiology_form.report_form(REPORT, text, True))),
        ("kotune.korean.script_checks.scripts", script_checks.scripts),
        ("kotune.korean.sentences.hide_quotations", sentences.hide_quotations),
        ("kotune.korean.sentences.split_sentences", sentences.split_sentences),
        ("kotune.korean.sentences.sentence_texts", sentences.sentence_texts),
        ("kotune.korean.sentences.has_final_mark", sentences.has_final_mark),
        ("kotune.korean.speech_levels.level_of", speech_levels.level_of),
        ("kotune.korean.speech_levels.is_banmal", lambda text: [speech_levels.is_banmal(f"{text}가", level) for level in (speech_levels.HAE, speech_levels.HAERA)]),
        ("kotune.korean.speech_levels.is_of_either_polite_level", speech_levels.is_of_either_polite_level),
        ("kotune.korean.speech_levels.levels_of", lambda text: speech_levels.levels_of(text, sentences.split_sentences(text, text))),
        ("kotune.korean.speech_levels.is_polite", speech_levels.is_polite),
        ("kotune.korean.task_styles.check_reply", _task_checked(task_styles.check_reply)),
        ("kotune.korean.task_styles.levels_asked_for", task_styles.levels_asked_for),
        ("kotune.korean.task_styles.bullet_depth", task_styles.bullet_depth),
        ("kotune.korean.task_styles.bullet_problems", lambda text: list(task_styles.bullet_problems(text, 2, 2))),
        ("kotune.korean.task_styles.sentence_problems", lambda text: list(task_styles.sentence_problems(text))),
        ("kotune.korean.task_styles.read_output", _tasks),
        ("kotune.korean.tasks.Task.row", _task_rows),
        ("kotune.korean.unfinished.needs_another_word", lambda text: unfinished.needs_another_word(f"{text}가")),
        ("kotune.korean.unfinished.is_cut_in_a_word", lambda text: unfinished.is_cut_in_a_word(f"{text}가")),
        ("kotune.korean.unfinished.has_a_clause_that_breaks_off", lambda text: [unfinished.has_a_clause_that_breaks_off(f"{start}{text}가", f"{start}{text}가") for start in ("", "네, ")]),
        ("kotune.korean.unfinished.is_a_signature", lambda text: unfinished.is_a_signature(f"{text}가")),
        ("kotune.korean.zero_shot.parse_strict", lambda text: zero_shot.parse_strict(text, ["함의", "모순"])),
        ("kotune.korean.zero_shot.parse_lenient", lambda text: zero_shot.parse_lenient(text, ["함의", "모순"])),
        # --- answers, judges, votes
        ("kotune.answering.answer_files.read_answers", lambda text: answer_files.read_answers([{"id": "1", "question": f"가{text}", "answer": text, "tokens": text}])),
        ("kotune.answering.pair_files.read_pairs", _pair_file),
        ("kotune.judging.judges.without_marks", without_marks),
        ("kotune.judging.judgments.read_line", lambda text: read_line({"id": text, "status": "failed", "question": text}, "a", Judgment)),
        ("kotune.judging.report_card.disagreements", _judged),
        ("kotune.exercises.leaderboard.team_name", leaderboard.team_name),
        ("kotune.judging.class_votes.BallotBox.cast", _class_vote),
        ("kotune.judging.vote_pairs.preference_pairs", _pairs),
        ("kotune.language.display_width", language.display_width),
        ("kotune.line_file.LineFile", _lines),
        # --- models and training
        ("kotune.models.chat_template.fold_system", lambda text: fold_system(_turns(text))),
        ("kotune.models.sampling.StopTexts.feed", _stopped),
        ("kotune.models.surface_baseline.features", features),
        ("kotune.training.evaluation.repetition", repetition),
        # --- the server
        ("kotune.serving.api.misfit_sentence", lambda text: api.misfit_sentence([text], "value_error", text)),
        ("kotune.serving.backends.stream_lines", _streamed, (ValueError,)),
        ("kotune.serving.backends.read_event", lambda text: [_event(line) for line in (text, f"data:{text}", utils.json_line({"choices": [{"text": text}]}))]),
        ("kotune.serving.backends.WholeCharacters.feed", _joined),
        ("kotune.serving.class_pages.language_of", class_pages.language_of),
        ("kotune.serving.guard.is_loopback", guard.is_loopback),
        ("kotune.serving.guard.same_key", lambda text: guard.same_key(text, "key")),
        ("kotune.serving.guard.valid_cookie", lambda text: [guard.valid_cookie(cookie, "key") for cookie in (text, f"1.{text}")]),
        ("kotune.serving.guard.has_key", lambda text: guard.has_key({"authorization": f"Bearer {text}", "cookie": text}, "key")),
        ("kotune.serving.guard.split_host", guard.split_host),
        ("kotune.serving.guard.urlsplit_safe", guard.urlsplit_safe),
        ("kotune.serving.guard.content_security_policy", lambda text: guard.content_security_policy(host=text)),
        ("kotune.serving.guard.Door.has", lambda text: guard.Door(("/a", "/b/"), {}, (), None, None).has(f"/b/{text}")),
        ("kotune.serving.jobs.Job.ask", lambda text: [job.ask(text, text) for job in JOBS.values()]),
        ("kotune.serving.jobs.Job.prompt_of", lambda text: JOBS["listings"].prompt_of([{"role": "user", "content": text}])),
        ("kotune.serving.page.author", author),
        ("kotune.serving.page.conversation", lambda text: conversation([(text, text)], text, text)),
        ("kotune.serving.record_table.shown", lambda text: record_table.shown(text, KOREAN)),
        # --- the teacher
        ("kotune.teacher.costs.approximate_tokens", costs.approximate_tokens),
        ("kotune.teacher.endpoint.Endpoint.scrub", lambda text: Endpoint("a", lambda: None, False, False, "sk-secret1").scrub(text)),
        ("kotune.teacher.filters.not_korean", filters.not_korean),
        ("kotune.teacher.filters.repeats_instruction", _each(lambda text: filters.repeats_instruction(text, text), lambda text: filters.repeats_instruction(SENTENCE, text))),
        ("kotune.teacher.filters.bare", filters.bare),
        ("kotune.teacher.filters.check_question", _each(lambda text: filters.check_question(text, "전세"), lambda text: filters.check_question(QUESTION, text))),
        ("kotune.teacher.filters.check_document_question", _each(lambda text: filters.check_document_question(text, DOCUMENT), lambda text: filters.check_document_question(QUESTION, {"title": "가", "text": text}))),
        ("kotune.teacher.filters.check_answer", _answer_checked),
        ("kotune.teacher.filters.check_new_task", lambda text: filters.check_new_task({"instruction": text, "input": text, "output": text})),
        ("kotune.teacher.filters.check_task", _task_checked(filters.check_task)),
        ("kotune.teacher.filters.foreign_words", filters.foreign_words),
        ("kotune.teacher.filters.check_spoilt", _spoilt),
        ("kotune.teacher.generation.format_tasks", lambda text: generation.format_tasks([{"instruction": text, "input": text, "output": text}])),
        ("kotune.teacher.reasoning.without_reasoning", reasoning.without_reasoning),
        ("kotune.teacher.recording.recording_key", lambda text: recording.recording_key(_turns(text), None)),
        ("kotune.teacher.refusals.parsed_body", refusals.parsed_body),
        ("kotune.teacher.refusals.words_of", _said),
        ("kotune.teacher.refusals.is_about_length", refusals.is_about_length),
        ("kotune.teacher.refusals.is_about_structure", refusals.is_about_structure),
        ("kotune.teacher.refusals.is_about_one_schema", refusals.is_about_one_schema),
        ("kotune.teacher.refusals.is_about_temperature", refusals.is_about_temperature),
        ("kotune.teacher.replies.parse_reply", lambda text: replies.parse_reply(text, Verdict), (ValueError, replies.AmbiguousReply)),
        ("kotune.teacher.replies.answer_of", lambda text: replies.answer_of(text, None)),
        ("kotune.teacher.replies.as_request", replies.as_request),
        ("kotune.teacher.replies.journal_key", lambda text: replies.journal_key("m", replies.Request(text), None)),
        ("kotune.teacher.replies.read_completion", _completed),
    )
)  # fmt: skip

# Characters of the short text, for what calls many of the others and takes its time: their own part in it is small.
SHORTER = {
    "kotune.data.readers.read_with_errors": 2_000,
    "kotune.data.validation.check": 1_000,
    "kotune.judging.vote_pairs.preference_pairs": 1_000,
    "kotune.korean.banmal.is_hae": 500,
    "kotune.korean.checks.check": 500,
    "kotune.korean.checks.check_misplaced_number": 1_000,
    "kotune.korean.checks.check_unsupported_number": 1_000,
    "kotune.korean.checks.highlight": 1_000,
    "kotune.korean.grounding.support": 500,
    "kotune.korean.listing_rules.listing_by_rules": 1_000,
    "kotune.korean.radiology.compare_facts": 250,
    "kotune.korean.radiology.facts_in": 1_000,
    "kotune.korean.task_styles.check_reply": 250,
    "kotune.models.sampling.StopTexts.feed": 2_000,
    "kotune.teacher.filters.check_answer": 250,
    "kotune.teacher.filters.check_document_question": 1_000,
    "kotune.teacher.filters.check_question": 1_000,
    "kotune.teacher.filters.check_spoilt": 250,
    "kotune.teacher.filters.check_task": 250,
    "kotune.teacher.refusals.words_of": 1_000,
}

# What took a time that grew with the square of the text, or faster, or ended in an error that no user can read, with a length
# at which that takes minutes.
SLOW_ONCE = (
    ("utils.normalized", "marks over one letter", 500_000),
    ("kotune.data.readers.read_with_errors", "an object a line", 250_000),
    ("kotune.data.shown_numbers.shown", "square brackets of a format", 1_000_000),
    ("kotune.korean.checks.check", "a syllable, then a letter", 1_000_000),
    ("kotune.korean.checks.check", "a role and spaces", 1_000_000),
    ("kotune.korean.checks.highlight", "hanja in a bracket", 250_000),
    ("kotune.korean.checks.highlight", "loose jamo between syllables", 250_000),
    ("kotune.korean.listing_rules.amount_of", "a digit", 1_000_000),
    ("kotune.korean.listing_rules.listing_by_rules", "digits and commas", 250_000),
    ("kotune.korean.listing_rules.listing_by_rules", "numbers in words", 250_000),
    ("kotune.korean.radiology.compare_facts", "findings that differ", 250_000),
    ("kotune.korean.radiology.facts_in", "findings", 500_000),
    ("kotune.korean.radiology.facts_in", "newlines and spaces", 1_000_000),
    ("kotune.korean.radiology_form.report_form", "newlines", 1_000_000),
    ("kotune.korean.repetition_checks.check_echo", "prose", 1_000_000),
    ("kotune.korean.task_styles.check_reply", "a syllable, spaces, a letter", 1_000_000),
    ("kotune.korean.zero_shot.parse_lenient", "a label and spaces", 1_000_000),
    ("kotune.judging.judges.without_marks", "a bracket and spaces", 1_000_000),
    ("kotune.judging.report_card.disagreements", "lists in lists", 1_000_000),
    ("kotune.line_file.LineFile", "lists in lists", 1_000_000),
    ("kotune.serving.backends.read_event", "lists in lists", 1_000_000),
    ("kotune.serving.backends.stream_lines", "flags", 250_000),
    ("kotune.serving.guard.split_host", "marks over one letter", 1_000_000),
    ("kotune.teacher.filters.repeats_instruction", "digits apart", 500_000),
    ("kotune.teacher.filters.not_korean", "small letters, then a digit", 1_000_000),
    ("kotune.teacher.reasoning.without_reasoning", "a reply behind its reasoning, with many ends", 1_000_000),
    ("kotune.teacher.refusals.words_of", "scripts", 1_000_000),
)

# Parameters that hold no text of a user or a model, by their names: what something is called, where it lies, how it is to be
# done, and what only a message names.
NOT_TEXT = frozenset(
    [
        "name",
        "names",
        "name_a",
        "name_b",
        "name_or_path",
        "unit",
        "model",
        "models",
        "path",
        "paths",
        "label",
        "title",
        "place",
        "where",
        "what",
        "field",
        "fields",
        "method",
        "code",
        "form",
        "kind",
        "kinds",
        "device",
        "dtype",
        "column",
        "columns",
        "host",
        "newline",
        "encoding",
        "mode",
        "target",
        "category",
        "base_url",
        "url",
        "recipe",
        "step",
        "mark",
        "key",
        "keys",
        "id",
        "ids",
        "task_id",
        "document_id",
        "language",
        "called",
        "instead",
        "ours_name",
        "theirs_name",
        "default_id",
        "stage",
        "list_name",
        "worker",
        "batch_id",
        "severity",
        "endpoint_name",
        "api_key",
        "weights",
        "page",
        "outtype",
        "library",
        "schema_name",
        "schema_text",
        "parent_sha256",
        "left_out",
        "output_dir",
        "data",
        "side",
        "categories",
        "choice",
        "level",
        "model_path",
        "adapter",
    ]
)

LEFT_OUT = {
    "is called with the text in what stands above for another": """
        kotune.data.pii.text_fields kotune.data.records.known_names kotune.data.records.rename kotune.data.records.shape_of
        kotune.data.records.unknown_fields kotune.data.writers.stage_of kotune.korean.answer.CheckedAnswer
        kotune.korean.checks.highlight_html kotune.korean.error_sentences.Template.values kotune.korean.numbers.way_of_writing kotune.korean.error_sentences.templates
        kotune.korean.error_sentences.in_edition kotune.korean.task_styles.written kotune.korean.tasks.Task.output
        kotune.models.sampling.StopTexts kotune.teacher.filters.ContentWords kotune.teacher.filters.ContentWords.of
        kotune.teacher.replies.Request kotune.judging.class_votes.BallotBox.pair kotune.judging.class_votes.BallotBox.waiting
        kotune.judging.class_votes.voter_of kotune.serving.class_pages.ballot_page kotune.serving.class_pages.tally_page
    """,
    "hands its texts as they are to functions that are tried, one after another": """
        kotune.data.card.card kotune.data.documents.search_naver kotune.data.documents.collect kotune.data.registry.check
        kotune.data.registry.convert kotune.judging.votes.write kotune.judging.votes.write_csv kotune.judging.votes.widget
        kotune.korean.abstention.count_abstentions kotune.korean.listings.score
        kotune.korean.radiology.fact_scores kotune.korean.radiology_form.score_reports kotune.korean.zero_shot.zero_shot_report
        kotune.models.surface_baseline.pair_differences kotune.models.surface_baseline.SurfaceBaseline.points
        kotune.models.surface_baseline.fit_surface_baseline kotune.models.surface_baseline.surface_accuracy
        kotune.models.surface_baseline.cross_validate kotune.serving.desk.Desk.sources
        kotune.teacher.costs.TokenCounter.messages kotune.teacher.generation.answer_requests
        kotune.teacher.generation.collect_answers kotune.teacher.generation.collect_document_questions
        kotune.teacher.generation.collect_examples kotune.teacher.generation.collect_questions
        kotune.teacher.generation.collect_tasks kotune.teacher.preferences.collect_pairs
        kotune.teacher.preferences.from_weaker_model kotune.teacher.preferences.not_spoilt kotune.teacher.replies.reply_of
        similarity.decide similarity.rouge_scores
    """,
    "puts its texts into a file, a message or a request, and does not look into them": """
        kotune.answering.answer_files.answer kotune.answering.answer_files.write_answers
        kotune.answering.workbook.write_workbook kotune.data.dedup.write_result kotune.data.excel.write_sheet kotune.data.registry.from_question
        kotune.data.card.table kotune.judging.html_pages.render kotune.judging.html_pages.write_page kotune.judging.result_page.LossCurve.from_log kotune.models.model_card.model_card kotune.models.model_card.push
        kotune.models.model_card.write_model_card
        kotune.judging.votes.answers kotune.judging.votes.by_models kotune.judging.votes.judgments kotune.judging.votes.pair kotune.judging.votes.store
        kotune.line_file.LineFile.append kotune.models.merging.messages kotune.serving.event_stream.EventStream
        kotune.serving.guard.problem kotune.serving.guard.respond kotune.serving.page.read_settings
        kotune.teacher.client.answered kotune.teacher.filters.with_reasons kotune.teacher.generation.ask_tasks
        kotune.teacher.generation.document_requests kotune.teacher.generation.seed_requests
        kotune.teacher.generation.self_instruct_requests kotune.teacher.generation.split kotune.teacher.journal.ReplyStore.keep
        kotune.teacher.preferences.plan kotune.teacher.preferences.spoil_requests kotune.teacher.recording.add_to_recording
        kotune.teacher.recording.transport kotune.teacher.recording.write_recording utils.write_atomic utils.write_jsonl
    """,
    "hands its texts to a tokenizer and a model, whose time is their own, and which refuse what is longer than they take": """
        kotune.answering.answer_files.LocalModel.__call__ kotune.answering.answer_files.TeacherModel.__call__
        kotune.data.embeddings.embed_passages kotune.data.embeddings.embed_questions
        kotune.data.semantic_repeats.find_semantic_repeats
        kotune.models.chat_template.render kotune.models.chat_template.rendered_lengths
        kotune.models.chat_template.require_no_marks kotune.models.decoding.generate kotune.models.decoding.stream
        kotune.models.reward_model.pair_accuracy kotune.models.reward_model.score kotune.training.encoding.encode_preference
        kotune.training.encoding.encode_supervised kotune.training.encoding.encode_text kotune.training.encoding.pack
        kotune.training.evaluation.held_out_loss kotune.training.evaluation.measure kotune.training.evaluation.perplexity
        kotune.training.evaluation.preference_loss kotune.training.evaluation.reference_logprobs
        kotune.training.trainers.PackedCollator.__call__
    """,
    "is given what a learner wrote, and the check as a whole is stopped after two seconds": """
        kotune.exercises.answers.Tried.__call__ kotune.exercises.answers.choice kotune.exercises.answers.function
        kotune.exercises.answers.is_open kotune.exercises.answers.number kotune.exercises.answers.numbers
        kotune.exercises.answers.plain kotune.exercises.answers.require_number kotune.exercises.answers.same
        kotune.exercises.answers.shown kotune.exercises.answers.text kotune.exercises.basics_checks.adapter_size
        kotune.exercises.basics_checks.loss kotune.exercises.basics_checks.one_step
        kotune.exercises.basics_checks.softmax kotune.exercises.basics_checks.softmax_ratio
        kotune.exercises.basics_checks.too_large_a_rate kotune.exercises.checking.check kotune.exercises.checking.judge
        kotune.exercises.dpo_checks.bradley_terry kotune.exercises.dpo_checks.dpo_loss
        kotune.exercises.dpo_checks.lower_loss kotune.exercises.dpo_checks.pair_accuracy
        kotune.exercises.dpo_checks.pair_of_samples kotune.exercises.dpo_checks.ten_nats
        kotune.exercises.evaluation_checks.blind_judge kotune.exercises.evaluation_checks.both_orders
        kotune.exercises.evaluation_checks.object_particle kotune.exercises.evaluation_checks.strict_and_dropped
        kotune.exercises.evaluation_checks.wilson kotune.exercises.evaluation_checks.win_rate
        kotune.exercises.preprocess_checks.cost kotune.exercises.preprocess_checks.rouge
        kotune.exercises.preprocess_checks.rouge_of_lengths kotune.exercises.preprocess_checks.split
        kotune.exercises.preprocess_checks.trap kotune.exercises.preprocess_checks.unsupported_numbers
        kotune.exercises.train_checks.amount kotune.exercises.train_checks.epochs kotune.exercises.train_checks.labels
        kotune.exercises.train_checks.lora kotune.exercises.train_checks.masked_loss
        kotune.exercises.train_checks.one_in kotune.exercises.train_checks.steps
    """,
    "takes a sentence, a name or a setting of the course's own": """
        kotune.answering.answer_files.AnswerFile kotune.answering.batch.infer kotune.answering.batch.settings_card
        kotune.answering.workbook.read_rows kotune.cli.main kotune.cli.parse kotune.cli.run kotune.data.documents.describe
        kotune.data.shard_files.merge kotune.data.embeddings.EmbeddingsMissing kotune.data.ranking.choose_ranking
        kotune.data.readers.seen_from kotune.data.retrieval.open_library kotune.data.records.unused_when_answered kotune.data.validation.ValidationReport.add
        kotune.exercises.results.record kotune.expectations.expect kotune.language.said kotune.licences.packages kotune.models.adapters.save_adapter
        kotune.models.memory.ModelShape.adapter_parameters
        kotune.models.sources.load_merged kotune.models.sources.own_bytes kotune.models.weight_files.changed_files
        kotune.notebooks.execute kotune.notebooks.in_edition kotune.notebooks.outputs_digest kotune.notebooks.store
        kotune.notebooks.write_notebook kotune.serving.llama_server.main kotune.serving.llm.RunningServer
        kotune.overrides.sort_settings kotune.overrides.with_overrides kotune.serving.child.Child kotune.serving.desk.Desk
        kotune.serving.class_pages.problem_page kotune.serving.guard.Busy kotune.serving.guard.WrongKeys.add
        kotune.teacher.client.Teacher.collect
        kotune.teacher.endpoint.endpoint_of_recording
        kotune.training.runs.experiment kotune.training.runs.resume_point kotune.training.runs.run_card similarity.TextError
        utils.FileError
    """,
    "takes verdicts, labels and figures": """
        kotune.data.pii.count kotune.judging.comparison.report kotune.judging.correction.by_votes
        kotune.judging.report_card.win_rates kotune.judging.votes.agreement kotune.korean.checks.applied_to
        kotune.korean.checks.summary kotune.notebooks.course_figures kotune.notebooks.job_lines kotune.notebooks.summary
        kotune.plots.finish kotune.plots.kept_shares kotune.plots.loss_curve kotune.plots.loss_figure
        kotune.plots.losses_by_learning_rate kotune.plots.next_tokens kotune.plots.reward_margins kotune.plots.save_losses
        kotune.plots.setting_effects kotune.plots.shares_with_intervals kotune.plots.two_losses kotune.stats.agree
        kotune.stats.macro_f1 kotune.stats.macro_f1_interval
    """,
}
