"""Data sets by name or path, in every format of the four systems, as one canonical record; checked, and written back.

    kotune data check PATH|NAME [--recipe NAME] [--against NAME]
    kotune data convert IN OUT --to sft|dpo|rw|pt|messages|sharegpt|qa|seed_word|task|csv|parquet|xlsx

`data/dataset_info.json` registers data sets as the medical trainer does: `hf_hub_url` (wins), `script_url` (refused),
`file_name`, `file_sha1`, `columns` (`prompt`, `query`, `response`, `history`; defaults instruction, input, output, none),
and beside them `stage`, `licence`, `source`, `description`, and `held_out`, an evaluation set not to overlap with. The
records are described in `records.py`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from kotune.data import readers, records
from utils import DATA, CourseError, read_json, relative, require_other_files

if TYPE_CHECKING:
    from kotune.data.validation import ValidationReport

TokenLimit = tuple[Callable[[dict], int], int]  # counts the tokens of a record; the most that a recipe takes
REGISTRY = DATA / "dataset_info.json"
KNOWN_KEYS = {
    "hf_hub_url", "script_url", "file_name", "file_sha1", "columns", "stage", "description", "licence", "source",
    "held_out",
}  # fmt: skip

KNOWN_COLUMNS = {*records.DEFAULT_COLUMNS, "chosen", "rejected"}


def registry(path: str | Path = REGISTRY) -> dict[str, dict]:
    """Return every registered data set by name.

    Raises:
        CourseError: an entry names no data, or has a key that is not known.
    """
    entries = read_json(path)
    for name, entry in entries.items():
        columns = entry.get("columns", {}) if isinstance(entry, dict) else None
        if not isinstance(columns, dict) or set(columns) - KNOWN_COLUMNS:
            raise CourseError(
                f"{relative(path)}, {name}: an entry is an object, and its columns one with keys among "
                f"{', '.join(sorted(KNOWN_COLUMNS))}."
            )
        unknown = set(entry) - KNOWN_KEYS
        if unknown:
            raise CourseError(
                f"{relative(path)}, {name}: {', '.join(sorted(unknown))} is not known; the keys are "
                f"{', '.join(sorted(KNOWN_KEYS))}."
            )
        if not {"hf_hub_url", "script_url", "file_name"} & set(entry):
            raise CourseError(f"{relative(path)}, {name}, names no data; give it a file_name or an hf_hub_url.")
    return entries


def locate(name_or_path: str | Path) -> Path:
    """Return the file or folder of a registered name or of a path, its SHA-1 checked where one is registered.

    Raises:
        CourseError: neither a registered name nor something that exists; a script; a file that is not the one registered.
    """
    known = registry()
    entry = known.get(str(name_or_path))
    if entry is None:
        path = Path(name_or_path)
        try:
            return path if path.is_dir() else readers.existing(path)
        except CourseError:
            if path.exists():
                raise
            raise CourseError(
                f"{name_or_path} is neither a file nor a registered data set; registered are {', '.join(known)}."
            ) from None
    if "script_url" in entry and "hf_hub_url" not in entry:
        raise CourseError(
            f"{name_or_path} is registered with a script_url, which would run downloaded code on this machine; download the "
            "data yourself and register its file_name."
        )
    if "hf_hub_url" in entry:
        raise CourseError(f"{name_or_path} lies on the Hugging Face hub and is no local file; load it by its name.")
    path = DATA / entry["file_name"]
    if "file_sha1" in entry:
        _check_sha1(path, entry["file_sha1"], str(name_or_path))
    return path


def _check_sha1(path: Path, expected: str, name: str) -> None:
    digest = hashlib.sha1()
    if not path.is_file():
        raise CourseError(f"{relative(path)}, registered as {name}, does not exist; fetch it, or fix the entry.")
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    if digest.hexdigest() != expected:
        raise CourseError(
            f"{relative(path)} has the SHA-1 {digest.hexdigest()[:12]}..., and {name} is registered with "
            f"{expected[:12]}...: it is another file, or was changed; fetch it again, or register the new SHA-1."
        )


def require_other_outputs(name_or_path: str | Path, *outputs: str | Path | None, **words: str) -> None:
    """Raise a CourseError if an output is a file that the data set is read from, or if two outputs are one file.

    words: as `require_other_files` takes them.
    """
    on_the_hub = "hf_hub_url" in registry().get(str(name_or_path), {})
    require_other_files([] if on_the_hub else [locate(name_or_path)], outputs, **words)


def read_with_errors(name_or_path: str | Path) -> Iterator[readers.Found]:
    """Yield what is found in a data set: rows, columns renamed as registered; doubts; what is wrong with broken lines."""
    entry = registry().get(str(name_or_path), {})
    columns = entry.get("columns")
    source = _read_hub(entry["hf_hub_url"]) if "hf_hub_url" in entry else readers.read_with_errors(locate(name_or_path))
    for row in source:
        if columns is None or not isinstance(row, readers.Row):
            yield row
            continue
        try:
            yield readers.Row(row.place, records.rename(row.value, columns))
        except CourseError as error:
            yield CourseError(f"{row.place}: {error}")


def read(name_or_path: str | Path) -> Iterator[readers.Row]:
    """Yield the rows of a data set as they stand there, with their places, columns renamed as registered.

    Raises:
        CourseError: a line is broken.
    """
    yield from readers.only_rows(read_with_errors(name_or_path))


def _read_hub(name: str) -> Iterator[readers.Row]:
    import datasets

    try:
        stream = datasets.load_dataset(name, split="train", streaming=True)
        for number, value in enumerate(stream, start=1):
            yield readers.Row(f"{name}, row {number}", value)
    except (OSError, ValueError, RuntimeError) as error:  # RuntimeError: the set comes with a script, which is not run
        raise CourseError(
            f"The data set {name} cannot be read from the Hugging Face hub ({type(error).__name__}); check its name and "
            "the network, or download it and register its file_name."
        ) from None


def load_rows(name_or_path: str | Path) -> list[dict]:
    """Return the rows of a data set as they stand in its file, columns as they are there."""
    if "hf_hub_url" in registry().get(str(name_or_path), {}):
        return [row.value for row in read(name_or_path)]
    return [row.value for row in readers.read(locate(name_or_path))]


def iterate(name_or_path: str | Path, unused: records.UnusedFields | None = None) -> Iterator[dict]:
    """Yield the canonical records of a data set, one after the other, in memory that does not grow with it.

    unused: counts the fields that were not used.

    Raises:
        CourseError: a row has no known shape, an empty text, or an id that another row has.
    """
    stem = Path(str(name_or_path)).stem
    seen: set[int] = set()  # hashes alone: a file of a gigabyte has millions of ids
    for number, (place, value) in enumerate(read(name_or_path), start=1):
        if unused is not None:
            unused.add(records.unknown_fields(value), place)
        for record in records.canonical(value, place, default_id=f"{stem}-{number:05d}"):
            if "id" in record:
                if hash(record["id"]) in seen:
                    first = readers.seen_from(place, _first_place(name_or_path, record["id"]))
                    raise CourseError(f"{place}: the id {record['id']!r} was used by {first}; give each row its own.")
                seen.add(hash(record["id"]))
            yield record


def _first_place(name_or_path: str | Path, identity: str) -> str:
    stem = Path(str(name_or_path)).stem
    for number, (place, value) in enumerate(read(name_or_path), start=1):
        for record in records.canonical(value, place, default_id=f"{stem}-{number:05d}"):
            if record.get("id") == identity:
                return place
    return "another row"


def load(name_or_path: str | Path) -> list[dict]:
    """Return the canonical records of a data set, and say which fields of its rows were not used. See `iterate`."""
    unused = records.UnusedFields("no format of the course has them")
    loaded = list(iterate(name_or_path, unused))
    unused.say()
    return loaded


def dataset(name_or_path: str | Path):
    """Return the canonical records as a `datasets.Dataset`.

    Raises:
        CourseError: as `iterate`; or the data set mixes stages, which no trainer takes.
    """
    import datasets

    from kotune.data.writers import stage_of

    loaded = load(name_or_path)
    stages = {stage_of(record) for record in loaded}
    if len(stages) > 1:
        raise CourseError(
            f"{name_or_path} mixes records for {', '.join(sorted(stages))}; split it into one data set for each."
        )
    fields = dict.fromkeys(field for record in loaded for field in record)
    return datasets.Dataset.from_dict({field: [record.get(field) for record in loaded] for field in fields})


def from_question(row: dict) -> list[dict]:
    """Return the prompt of a question row, as the training records hold it."""
    return [{"role": "user", "content": row["question"]}]


def from_answers(prompts: Iterable[list[dict]], answers: Iterable[str]) -> list[dict]:
    """Return supervised records of prompts and the answers that are right for them; raises ValueError if one is missing."""
    return [
        {"id": str(number), "prompt": prompt, "completion": [{"role": "assistant", "content": answer}], "source": ""}
        for number, (prompt, answer) in enumerate(zip(prompts, answers, strict=True), start=1)
    ]


# --- command line ----------------------------------------------------------------------------


def held_out_questions(names: Iterable[str]) -> list[str]:
    """Return the questions of evaluation sets, for the check on overlap."""
    return [record["prompt"][-1]["content"] for name in names for record in iterate(name)]


def check(name_or_path: str, limit: TokenLimit | None, against: list[str]) -> ValidationReport:
    """Return the findings on a data set; a registered one is compared with the evaluation set that it names too.

    limit: how the tokens of a record are counted, and how many a recipe takes; None leaves lengths unchecked.
    """
    from kotune.data.validation import check as check_rows

    entry = registry().get(name_or_path, {})
    if entry.get("held_out") and not against:
        against = [entry["held_out"]]
    count, longest = limit or (None, 0)
    if "hf_hub_url" not in entry:
        locate(name_or_path)  # whether it is there, before it is read
    return check_rows(
        lambda: read_with_errors(name_or_path),
        Path(name_or_path).stem,
        stage=entry.get("stage"),
        token_count=count,
        longest=longest,
        held_out=held_out_questions(against),
    )


def convert(source: str, target: str, to: str) -> None:
    """Write a data set in another format, and say what that format could not hold."""
    from kotune.data.writers import NOT_HELD, Loss, left_out_file, write

    require_other_outputs(source, target, left_out_file(target))
    losses = write(iterate(source), target, to)
    for row in read(source):
        losses += [Loss(row.place, f"the field {name}, which no format has") for name in records.unknown_fields(row.value)]
    kinds: dict[str, list[str]] = {}
    for loss in losses:
        kinds.setdefault(loss.what, []).append(loss.id)
    for what, ids in kinds.items():
        verb = what if what.startswith(NOT_HELD) else f"lost: {what}"
        print(f"{verb} ({len(ids)} records, the first {ids[0]})")
    print(f"{target} written")
