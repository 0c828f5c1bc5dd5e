"""Record what a real instruct model says to the course's requests, as teacher and as judge.

    python dev/record_model.py                         everything (hours on two cores); `make record`
    python dev/record_model.py tasks spoilt            some parts
    python dev/record_model.py --most 2                two requests of each part, into outputs/, to try it
    python dev/record_model.py --answers outputs/eval  with the comparisons of evaluation.ipynb, after a run of it
    python dev/record_model.py --gguf FILE             another model than that of `kotune llm`

Asks through `kotune.teacher`, with its journal, so that a run which was stopped goes on where it was. Each reply goes into
`data/recorded/MODEL.jsonl` as `kotune.teacher.recording` replays it, with the model's name, its file's hash and the date;
`MODEL.json` beside it has the settings, and what became of each part. Replies that were cut at their length or fit no schema
are recorded too: they fail again when they are replayed. The answers that the judge compared are kept in
`compared_answers.jsonl`.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from itertools import zip_longest
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from pydantic import BaseModel

from kotune.answering.answer_files import Pair, read_answers, side_by_side
from kotune.judging.calibration import list_probe, load_calibration
from kotune.judging.judges import ShownPair, verdict_requests
from kotune.korean.tasks import TASK_PROMPTS, TASKS
from kotune.models.gguf_header import read_header
from kotune.models.packaged_gguf import QWEN_CODER, packaged_gguf, sha256_of
from kotune.serving.llm import CONTEXT, LlamaSettings, running
from kotune.teacher import generation, preferences
from kotune.teacher.client import Teacher, connect
from kotune.teacher.connection import MAX_COMPLETION_TOKENS
from kotune.teacher.journal import ReplyStore
from kotune.teacher.recording import read_recording, recording_key, write_recording
from kotune.teacher.replies import Request, as_request, journal_key, schema_name
from prompts import GROUNDED_ANSWER, SEED_WORDS, SPOIL, Verdict
from utils import DATA, OUTPUTS, CourseError, read_json, read_jsonl, read_text, relative, write_json, write_jsonl

RECORDED, WORK = DATA / "recorded", OUTPUTS / "record"
COMPARED_ANSWERS = RECORDED / "compared_answers.jsonl"
TEMPERATURE, SEED = 0.7, 2026  # of replies whose request names none; judges are asked at temperature 0
SINGLE_WORDS, ANSWERS, SPOILT = 60, 210, 40
COMPARED = (("SFT", "base"), ("DPO", "SFT"))  # as evaluation.ipynb compares them
PATIENCE_S = 3600.0
# what the model did say, and what is no reply: it would say the same again
SAID_BADLY = {"truncated", "invalid_json", "schema", "empty"}


@dataclass(frozen=True)
class Asked:
    """A request, the schema of its reply, and what it is about, in words."""

    request: Request
    schema: type[BaseModel]
    about: str


@dataclass(frozen=True)
class Model:
    """The model that is asked: its file, and what it is called by its server and by people."""

    file: Path
    name: str
    title: str
    sha256: str
    licence: str

    @property
    def source(self) -> str:
        """What each recorded reply names, with its date."""
        return f"{self.title} (SHA-256 {self.sha256[:12]})"


# --- the parts -------------------------------------------------------------------------------


def spread(items: Sequence, count: int) -> list:
    """Return so many items at even distances, from the first on; all where there are fewer."""
    count = min(count, len(items))
    return [items[place * len(items) // count] for place in range(count)]


def _seed_words() -> list[str]:
    return [line for line in read_text(DATA / "seed_words.txt").split("\n") if line]


def _seeded(words: Sequence[str], words_a_request: int) -> list[Asked]:
    requests = generation.seed_requests(words, words_a_request)
    groups = [words[start : start + words_a_request] for start in range(0, len(words), words_a_request)]
    return [
        Asked(as_request(messages), SEED_WORDS.schema, ", ".join(group))
        for messages, group in zip(requests, groups, strict=True)
    ]


def seed_words() -> list[Asked]:
    """Questions on one seed word a request."""
    return _seeded(_seed_words()[:SINGLE_WORDS], 1)


def seed_groups() -> list[Asked]:
    """The requests of preprocess.ipynb: questions on five seed words each."""
    return _seeded(_seed_words(), 5)


def answers() -> list[Asked]:
    """Answers to questions of the written recording, each with three passages."""
    written = [row["question"] for entry in read_jsonl(RECORDED / "authored.jsonl") for row in entry["questions"]]
    requests = generation.answer_requests(spread(written, ANSWERS), read_jsonl(DATA / "documents.jsonl"))
    return [Asked(as_request(one.messages), GROUNDED_ANSWER.schema, one.question) for one in requests]


def tasks() -> list[Asked]:
    """The 23 tasks, each on the context that preprocess.ipynb has for it."""
    examples = read_jsonl(RECORDED / "authored_tasks.jsonl")
    return [
        Asked(as_request(TASK_PROMPTS[row["task"]].messages(context=row["context"])), TASKS[row["task"]].schema, row["id"])
        for row in examples
        if row["id"].endswith("-1")
    ]


def spoilt() -> list[Asked]:
    """Good answers to be spoilt, of each kind as many."""
    rows = read_jsonl(DATA / "real_estate_preference.jsonl")
    by_kind = [[row for row in rows if row["kind"] == kind] for kind in preferences.KINDS]
    chosen = [row for turn in zip_longest(*by_kind) for row in turn if row is not None][:SPOILT]
    chosen.sort(key=lambda row: preferences.KINDS.index(row["kind"]))  # what begins alike is read once
    planned = [({**row, "question": row["prompt"], "answer": row["chosen"]}, row["kind"]) for row in chosen]
    requests = preferences.spoil_requests(planned, read_jsonl(DATA / "documents.jsonl"))
    return [
        Asked(as_request(messages), SPOIL[kind].schema, f"{kind}: {row['question']}")
        for messages, (row, kind) in zip(requests, planned, strict=True)
    ]


def calibration() -> list[Asked]:
    """The pairs of known verdict in both orders, with their reference."""
    return _judged(_calibration_pairs(), "calibration", guided=True)


def calibration_unguided() -> list[Asked]:
    """The same by the prompt without a reference."""
    return _judged(_calibration_pairs(), "calibration without reference", guided=False)


def comparisons() -> list[Asked]:
    """The comparisons of evaluation.ipynb in both orders, with the reference."""
    return _judged(_compared_pairs(), "comparison", guided=True)


def comparisons_unguided() -> list[Asked]:
    """The same by the prompt without a reference."""
    return _judged(_compared_pairs(), "comparison without reference", guided=False)


def _calibration_pairs() -> list[Pair]:
    labelled = load_calibration()
    return [one.pair for one in [*labelled, *list_probe(labelled)]]


def _compared_pairs() -> list[Pair]:
    if not COMPARED_ANSWERS.exists():
        raise CourseError(
            f"{relative(COMPARED_ANSWERS)} is not there; run evaluation.ipynb, and name its folder of answers, as in "
            "--answers outputs/eval."
        )
    by: dict[str, list[dict]] = {}
    for row in read_jsonl(COMPARED_ANSWERS):
        by.setdefault(row["by"], []).append({name: value for name, value in row.items() if name != "by"})
    return [pair for a, b in COMPARED for pair in side_by_side(by[a], by[b]).pairs]


def _judged(pairs: Sequence[Pair], about: str, *, guided: bool) -> list[Asked]:
    shown: list[ShownPair] = []
    for pair in pairs:
        if pair.answer_a.strip() and pair.answer_b.strip():  # the other is not shown to a judge
            shown += [ShownPair(pair.question, *sides) for sides in _both_orders(pair)]
    requests = verdict_requests(shown, guided)
    return [Asked(request, Verdict, f"{about}: {one.question.id}") for request, one in zip(requests, shown, strict=True)]


def _both_orders(pair: Pair) -> tuple[tuple[str, str], tuple[str, str]]:
    return (pair.answer_a, pair.answer_b), (pair.answer_b, pair.answer_a)


PARTS: dict[str, Callable[[], list[Asked]]] = {
    part.__name__: part
    for part in (
        tasks, spoilt, seed_words, seed_groups, answers, calibration, comparisons, calibration_unguided,
        comparisons_unguided,
    )
}  # fmt: skip


def keep_answers(folder: Path) -> None:
    """Copy the answers that evaluation.ipynb left in a folder, of each model the newest file, into the recordings.

    Raises:
        CourseError: the folder has none of a model.
    """
    rows = []
    for name in dict.fromkeys(side for pair in COMPARED for side in pair):
        files = sorted(folder.glob(f"answers_real_estate_{name}*.jsonl"), key=lambda file: file.stat().st_mtime)
        if not files:
            raise CourseError(f"{relative(folder)} has no answers_real_estate_{name}*.jsonl; run evaluation.ipynb first.")
        print(f"{name}: {relative(files[-1])}")
        rows += [{"by": name, **one.row()} for one in read_answers(files[-1])]
    write_jsonl(COMPARED_ANSWERS, rows)


# --- what was said ---------------------------------------------------------------------------


class Kept:
    """The replies that are there already: in the journal, among its failures, and in the recording."""

    def __init__(self, model: Model, journal: Path, recording: Path):
        """Read all three.

        Raises:
            CourseError: the recording holds what another model said.
        """
        self._model, self._recording = model, recording
        self._store = ReplyStore(journal)  # mends a line that a killed run has left half written
        self.recorded = read_recording(recording) if recording.exists() else {}
        others = {row["source"] for row in self.recorded.values() if not row["source"].startswith(model.source)}
        if others:
            raise CourseError(
                f"{relative(recording)} holds what {sorted(others)[0]} said, and the model is {model.source}; name another "
                "file with --out."
            )

    def rows(self) -> dict[str, dict]:
        """Return the journal's rows, and those of bad replies, by the key of their request."""
        file = self._store.failures.path
        failed = read_jsonl(file) if file.stat().st_size else []
        return {row["key"]: row for row in failed if row["failure"] in SAID_BADLY} | self._store.journal.rows

    def waiting(self, asked: Iterable[Asked]) -> list[Asked]:
        """Return the requests that have no reply."""
        said = self.rows()
        return [one for one in asked if self._key(one) not in said and _recording_key(one) not in self.recorded]

    def write(self, asked: Sequence[Asked], is_all: bool) -> None:
        """Put what was said to these requests into the recording; where they are all there are, nothing else stays in it."""
        self._store.journal.refresh()
        said = self.rows()
        for one in asked:
            if (row := said.get(self._key(one))) is not None:
                self.recorded[_recording_key(one)] = self._row(one, row)
        if is_all:
            made = {_recording_key(one) for one in asked}
            old = [key for key in self.recorded if key not in made]
            if old:
                print(f"{len(old)} replies to requests that are made no more are left out of {relative(self._recording)}.")
            self.recorded = {key: row for key, row in self.recorded.items() if key in made}
        if self.recorded:
            write_recording(self.recorded.values(), self._recording)

    def seconds(self, asked: Iterable[Asked]) -> list[float]:
        """Return how long each reply took that this machine's journal knows."""
        said = self.rows()
        return [said[key]["seconds"] for one in asked if (key := self._key(one)) in said]

    def _key(self, one: Asked) -> str:
        return journal_key(self._model.name, one.request, one.schema)

    def _row(self, one: Asked, row: dict) -> dict:
        cut = {"finish_reason": "length"} if row.get("failure") == "truncated" else {}
        failed = {"failure": row["failure"]} if "failure" in row else {}
        said = {"content": row["text"] or "", **cut, "usage": row["usage"], **failed}
        source = f"{self._model.source}, {row['at'][:10]}"
        return {"key": _recording_key(one), "about": one.about, **said, "source": source}


def _recording_key(one: Asked) -> str:
    return recording_key(one.request.messages, schema_name(one.schema))


def in_reading_order(asked: Iterable[Asked]) -> list[Asked]:
    """Return requests in the order of their texts: what one begins with as the one before it did is not read again."""
    return sorted(asked, key=lambda one: [message["content"] for message in one.request.messages])


def ask(who: Teacher, part: str, waiting: Sequence[Asked]) -> None:
    """Ask what has no reply, schema by schema.

    Raises:
        CourseError: a request could not be put to the model.
    """
    for schema in dict.fromkeys(one.schema for one in waiting):
        replies = who.ask([one.request for one in waiting if one.schema is schema], schema, step=part)
        lost = Counter(reply.error for reply in replies if reply.error and reply.failure not in SAID_BADLY)
        if lost:
            raise CourseError(
                f"{lost.total()} of {len(replies)} requests of {part} have no reply ({lost.most_common(1)[0][0]}); what was "
                "said is kept: run this again, and these alone are asked."
            )


def summary(kept: Kept, parts: dict[str, list[Asked]]) -> dict[str, dict]:
    """Return of each part: requests, replies, bad ones by kind, the dates, and the median seconds where they are known."""
    told = {}
    for name, asked in parts.items():
        rows = [kept.recorded[key] for one in asked if (key := _recording_key(one)) in kept.recorded]
        seconds = kept.seconds(asked)
        told[name] = {
            "requests": len(asked),
            "recorded": len(rows),
            "failed": dict(Counter(row["failure"] for row in rows if "failure" in row)),
            "dates": sorted({row["source"].rpartition(", ")[2] for row in rows}),
            # no mean: a machine that pauses for other work would spoil it
            "seconds_a_request": round(median(seconds), 1) if seconds else None,
            "seconds_are": "the median",
        }
    return told


# --- the command -----------------------------------------------------------------------------


def find_model(gguf: str | None) -> Model:
    """Return the packaged model, joined and checked, or that of a file."""
    if gguf is None:
        print(f"{QWEN_CODER.told}. Nothing is downloaded.", flush=True)
        return Model(packaged_gguf(), QWEN_CODER.model, QWEN_CODER.name, QWEN_CODER.sha256, QWEN_CODER.licence)
    file, header = Path(gguf), read_header(gguf)
    return Model(file, file.stem, header.name or file.stem, sha256_of(file), header.licence or "not said")


def build(names: Sequence[str], most: int | None) -> dict[str, list[Asked]]:
    """Return the requests of parts by name; without names of all that can be made, and what cannot is said."""
    parts = {}
    for name in names or PARTS:
        try:
            parts[name] = PARTS[name]()[:most]
        except CourseError as error:
            if names:
                raise
            print(f"{name}: left out. {error}")
    return parts


def main(arguments: Sequence[str] | None = None) -> None:
    """Record the parts named on the command line, or all."""
    parser = argparse.ArgumentParser(description="Record what a real instruct model says to the course's requests.")
    parser.add_argument("names", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)}; all if none is given")
    parser.add_argument("--most", type=int, help="so many requests of each part, into outputs/")
    parser.add_argument("--gguf", metavar="FILE", help="another model's file")
    parser.add_argument("--answers", type=Path, metavar="FOLDER", help="where evaluation.ipynb left the models' answers")
    parser.add_argument("--out", type=Path, metavar="JSONL", help="another recording than data/recorded/MODEL.jsonl")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--tokens", type=int, default=MAX_COMPLETION_TOKENS, help="the longest reply")
    chosen = parser.parse_args(arguments)
    unknown = set(chosen.names) - set(PARTS)
    if unknown:
        parser.error(f"no part {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}.")
    if chosen.answers:
        keep_answers(chosen.answers)
    parts, model = build(chosen.names, chosen.most), find_model(chosen.gguf)
    recording = chosen.out or (WORK if chosen.most else RECORDED) / f"{model.name}.jsonl"
    is_all = list(parts) == list(PARTS) and chosen.most is None
    record(model, parts, recording, threads=chosen.threads, tokens=chosen.tokens, is_all=is_all)


def record(
    model: Model, parts: dict[str, list[Asked]], recording: Path, *, threads: int, tokens: int, is_all: bool = False
) -> None:
    """Ask what has no reply yet, and write recording and summary, also where something stops it in the middle.

    Raises:
        CourseError: a request could not be put to the model, or its server cannot be started.
    """
    context = min(CONTEXT, read_header(model.file).longest or CONTEXT)
    server = LlamaSettings(str(model.file), model.name, 0, context, threads, TEMPERATURE, SEED)
    journal = WORK / f"{model.name}-{model.sha256[:12]}.jsonl"
    kept = Kept(model, journal, recording)
    waiting = {name: left for name, asked in parts.items() if (left := kept.waiting(asked))}
    try:
        if waiting:
            with running(server, WORK / "server.log") as lent:
                os.environ |= {"OPENAI_BASE_URL": lent.base_url, "TEACHER_MODEL": model.name, "RECORD": ""}
                # one at a time: what two requests begin with alike is read once, and a reply is the same again
                who = connect(model.name, journal=journal, concurrency=1, max_completion_tokens=tokens, timeout_s=PATIENCE_S)
                for name, left in waiting.items():
                    ask(who, name, in_reading_order(left))
    finally:
        kept.write([one for asked in parts.values() for one in asked], is_all)
        told = _write_about(model, server, tokens, recording, summary(kept, parts))
    for name in parts:
        one = told[name]
        failed = ", ".join(f"{count} {kind}" for kind, count in one["failed"].items())
        print(
            f"{name}: {one['recorded']} of {one['requests']} recorded{f' ({failed})' if failed else ''}; "
            f"{one['seconds_a_request']} s a request"
        )
    print(f"written: {relative(recording)}")


# what a part's run came to; kept where this machine's journal does not know it
_OF_A_RUN = ("seconds_a_request", "seconds_are", "threads", "max_completion_tokens")


def _write_about(
    model: Model, server: LlamaSettings, tokens: int, recording: Path, parts: dict[str, dict]
) -> dict[str, dict]:
    """Write who was asked, and how, beside a recording; return what became of each part, of earlier runs' too."""
    file = recording.with_suffix(".json")
    before = read_json(file)["parts"] if file.exists() else {}
    for name, one in parts.items():
        one |= {"threads": server.threads, "max_completion_tokens": tokens}
        if one["seconds_a_request"] is None and name in before:  # recorded on another machine
            one |= {known: before[name].get(known) for known in _OF_A_RUN}
    about = {
        "model": model.title,
        "name": model.name,
        "file": model.file.name,
        "sha256": model.sha256,
        "licence": model.licence,
        "server": f"llama.cpp in xllamacpp {version('xllamacpp')}",
        "settings": {
            "temperature": server.temperature,
            "temperature_of_a_judge": 0.0,
            "seed": server.seed,
            "other_sampling": "llama.cpp's own",
            "context": server.context,
            "requests_at_once": 1,
        },
        "parts": before | parts,
    }
    write_json(file, about)
    return about["parts"]


if __name__ == "__main__":
    try:
        main()
    except CourseError as stopped:
        sys.exit(f"error: {stopped}")
    except KeyboardInterrupt:
        sys.exit(130)
