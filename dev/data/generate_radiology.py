"""Write synthetic radiology reports as Korean hospitals write them: English body, Korean instruction.

The data teaches one task: a radiology Conclusion goes in, the Findings that belong to it come out. Each report is drawn
from facts (finding, side, site, size, change), so that both sections say the same, and a scorer can tell what a model
added, dropped or changed (`kotune.korean.radiology.facts_in`). No patient stands behind any report.

    python dev/data/generate_radiology.py        rewrite the files in data/radiology

The tables lie beside it, in `radiology/`: a file for each study (its findings and usual negatives), `shared.yaml` for
what several studies have in common, and `wording.yaml` for how changes, places and instructions are worded.

What the conclusion states, the findings repeat: every fact, and the degree where one is given. The findings add what
defines a finding ("posterior acoustic shadowing" of a stone) and the usual negatives of the study, and nothing else.
"""

from __future__ import annotations

import random
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import yaml

from kotune.data.excel import write_sheet
from kotune.korean.radiology import Fact, facts_in
from utils import DATA, read_jsonl, write_jsonl

TABLES = Path(__file__).with_name("radiology")
STUDY_FILES = ("chest_radiograph", "chest_ct", "abdomen_ultrasound", "abdomen_ct", "brain_mri")

SEED = 7  # of the files that the course ships
TRAIN_ROWS, TEST_ROWS, PAIRS_OF_A_KIND = 260, 60, 20
ERROR_KINDS = ("side", "lobe", "size", "invented_finding")

Place = tuple[str | None, str]  # side and site


@dataclass(frozen=True)
class Report:
    """One report with the facts that it was written from, the positive findings in the order of the conclusion."""

    id: str
    study: str
    facts: tuple[Fact, ...]
    instruction: str
    conclusion: str
    findings: str


@dataclass(frozen=True)
class Kind:
    """A finding as one study shows it: where it can be, its size, degree and changes, and the ways to write it."""

    finding: str
    places: tuple[Place, ...]
    impressions: tuple[str, ...]  # patterns of the conclusion, with the nouns of `nouns`
    sentences: tuple[str, ...]  # patterns of the findings, with the nouns of `terms`
    nouns: tuple[str, ...] = ("",)
    terms: tuple[str, ...] = ("",)
    sizes: range | None = None  # in mm
    degrees: tuple[str, ...] = ("",)
    changes: tuple[str, ...] = ("new", "unchanged", "increased", "decreased")
    measure: str = "in size"
    remarks: tuple[str, ...] = ("",)


@dataclass(frozen=True)
class Negative:
    """A usual negative of a study: its phrasings, the findings that it rules out, and when it fits.

    A negative fits a report that has none of the findings it rules out; with `of_the_rest`, it speaks of what else
    there could be ("the remaining lungs"), and fits a report that has one of them.
    """

    phrases: tuple[str, ...]
    rules_out: frozenset[str] = frozenset()
    of_the_rest: bool = False

    def fits(self, findings: set[str]) -> bool:
        """Return whether the negative can stand beside these positive findings."""
        return bool(self.rules_out & findings) == self.of_the_rest


@dataclass(frozen=True)
class Study:
    """A kind of examination: its name in Korean, what it can show, and its usual negatives from top to bottom."""

    name: str
    korean: str
    kinds: tuple[Kind, ...]
    negatives: tuple[Negative, ...]

    def kind_of(self, finding: str) -> Kind:
        """Return how this study shows a finding."""
        return next(kind for kind in self.kinds if kind.finding == finding)


# --- tables ----------------------------------------------------------------------------------


def _read_table(name: str) -> dict:
    return yaml.safe_load((TABLES / f"{name}.yaml").read_text(encoding="utf-8"))


def _with_shared(entries: list, shared: dict[str, list]) -> Iterator:
    """Yield the entries of a table, with the entries of a shared list in the place of its <name>."""
    for entry in entries:
        if isinstance(entry, str) and entry.startswith("<"):
            yield from shared[entry.strip("<>")]
        else:
            yield entry


def _read_places(entries: Iterable[dict[str, list[str]]]) -> tuple[Place, ...]:
    """Return the places of a table; `both` is each site on the right and on the left, `unsided` a site of no side."""
    sides = {"both": ("right", "left"), "unsided": (None,)}
    return tuple(
        (side, site)
        for entry in entries
        for key, sites in entry.items()
        for site in sites
        for side in sides.get(key, (key,))
    )


def _read_kind(entry: dict, shared: dict[str, dict]) -> Kind:
    """Return a finding of a study's table; `sizes_mm` are the smallest and the largest size."""
    values = {name: tuple(value) if isinstance(value, list) else value for name, value in entry.items()}
    smallest_and_largest = values.pop("sizes_mm", None)
    if smallest_and_largest:
        smallest, largest = smallest_and_largest
        values["sizes"] = range(smallest, largest + 1)
    values["places"] = _read_places(_with_shared(entry["places"], shared["places"]))
    for name in ("impressions", "sentences"):
        values[name] = tuple(_with_shared(entry[name], shared[name]))
    return Kind(**values)


def _read_negative(entry: dict) -> Negative:
    phrases, rules_out = tuple(entry["phrases"]), frozenset(entry.get("rules_out", ()))
    return Negative(phrases, rules_out, entry.get("of_the_rest", False))


def _read_study(name: str, shared: dict[str, dict]) -> Study:
    table = _read_table(name)
    kinds = tuple(_read_kind(entry, shared) for entry in table["findings"])
    negatives = tuple(_read_negative(entry) for entry in _with_shared(table["negatives"], shared["negatives"]))
    return Study(table["name"], table["korean"], kinds, negatives)


_SHARED, _WORDING = _read_table("shared"), _read_table("wording")

STUDIES = tuple(_read_study(name, _SHARED) for name in STUDY_FILES)
INSTRUCTIONS: list[str] = _WORDING["instructions"]
BILATERAL_PLACES: dict[str, str] = _WORDING["bilateral_places"]
SHORT_LOBES: dict[str, str] = _WORDING["short_lobes"]
CHANGES_IN_CONCLUSION: dict[str, list[str]] = _WORDING["changes_in_conclusion"]
CHANGES_IN_FINDINGS: dict[str, list[str]] = _WORDING["changes_in_findings"]
LOBES = {
    site for places in ("lung zones", "lung lobes", "brain lobes") for _, site in _read_places(_SHARED["places"][places])
}

# --- places ----------------------------------------------------------------------------------

SHORT_SIDES = {"right": "Rt.", "left": "Lt.", "bilateral": "bilateral", None: ""}


def _place(fact: Fact) -> str:
    """Return a fact's place as the findings write it: "the upper pole of the right kidney"."""
    if fact.side == "bilateral" and fact.site in BILATERAL_PLACES:
        return BILATERAL_PLACES[fact.site]
    part, _, organ = fact.site.rpartition(" of ")
    whole = f"the {fact.side} {organ}" if fact.side else f"the {organ}"
    if not part:
        return whole
    return f"{part} of {whole}" if part.startswith("segment ") and part[-1].isdigit() else f"the {part} of {whole}"


def _short_place(fact: Fact) -> str:
    """Return a fact's place as a terse conclusion writes it: RUL, S6, GB neck, Rt. kidney upper pole."""
    part, _, organ = fact.site.rpartition(" of ")
    if organ == "liver" and part:
        return part.replace("segment ", "S")
    if fact.side == "bilateral" and fact.site in BILATERAL_PLACES:
        return BILATERAL_PLACES[fact.site].removeprefix("the ")
    whole = f"{fact.side or ''} {organ}".strip()
    if whole in SHORT_LOBES:
        return f"{part} of {SHORT_LOBES[whole]}" if part else SHORT_LOBES[whole]
    organ = organ.replace("lung zone", "lung field").replace("gallbladder", "GB")
    return " ".join(word for word in (SHORT_SIDES[fact.side], organ, part) if word)


# --- reports -------------------------------------------------------------------------------------

OTHER_SIDE = {"right": "left", "left": "right", "Right": "Left", "Left": "Right"}
LEAST_IN_CM = 30  # a size from here on is never written in mm
ADVERBS = {"mild": "mildly", "moderate": "moderately"}


@dataclass(frozen=True)
class _Lesion:
    """A fact with the degree and the size as both sections of its report write them."""

    kind: Kind
    fact: Fact
    degree: str
    size: str


def generate(count: int, seed: int) -> list[Report]:
    """Return reports of which no two name the same findings at the same places, so that every text is distinct."""
    rng = random.Random(seed)
    reports: list[Report] = []
    seen: set[frozenset] = set()
    while len(reports) < count:
        study = rng.choice(STUDIES)
        lesions = _draw_lesions(study, rng)
        facts = tuple(lesion.fact for lesion in lesions)
        places = frozenset((fact.finding, fact.side, fact.site) for fact in facts)
        if places not in seen and not _is_implausible(facts):
            seen.add(places)
            reports.append(_write_report(f"radiology-{len(reports) + 1:04d}", study, lesions, rng))
    return reports


def _draw_lesions(study: Study, rng: random.Random) -> list[_Lesion]:
    """Draw one to three findings; in half of the cases each is compared with an earlier study."""
    kinds = rng.sample(study.kinds, rng.choices((1, 2, 3), weights=(35, 40, 25))[0])
    compared = rng.random() < 0.5
    in_unit = rng.choice((_in_mm, _in_cm, _in_mm_or_cm))
    return [_draw_lesion(kind, compared, in_unit, rng) for kind in kinds]


def _draw_lesion(kind: Kind, compared: bool, in_unit: Callable[[float], str], rng: random.Random) -> _Lesion:
    side, site = rng.choice(kind.places)
    size = rng.choice(kind.sizes) if kind.sizes else None
    fact = Fact(kind.finding, side, site, size, rng.choice(kind.changes) if compared else None)
    return _Lesion(kind, fact, rng.choice(kind.degrees), in_unit(size) if size else "")


def _is_implausible(facts: tuple[Fact, ...]) -> bool:
    """Return whether a ureter stone and a hydronephrosis lie on different sides."""
    sides = {fact.side for fact in facts if fact.finding in {"ureter stone", "hydronephrosis"}}
    return len(sides) > 1


def _in_mm(size: float) -> str:
    return f"{size:g} mm" if size < LEAST_IN_CM else _in_cm(size)


def _in_cm(size: float) -> str:
    return f"{size / 10:.1f} cm"


def _in_mm_or_cm(size: float) -> str:
    return _in_mm(size) if size < 10 else _in_cm(size)


def _write_report(report_id: str, study: Study, lesions: list[_Lesion], rng: random.Random) -> Report:
    instruction = rng.choice(INSTRUCTIONS).format(study=study.korean)
    conclusion = _write_conclusion(lesions, rng)
    positives = [_positive(lesion, rng) for lesion in lesions]
    findings = " ".join(positives + _draw_negatives(study, lesions, rng))
    return Report(report_id, study.name, tuple(lesion.fact for lesion in lesions), instruction, conclusion, findings)


def _write_conclusion(lesions: list[_Lesion], rng: random.Random) -> str:
    """Write the impression: mostly a single line for one finding, and a numbered list for several."""
    items = [_impression(lesion, rng) for lesion in lesions]
    if rng.random() < (0.7 if len(items) == 1 else 0.2):
        return " ".join(items)
    mark = rng.choice((".", ")"))
    return "\n".join(f"{number}{mark} {item}" for number, item in enumerate(items, 1))


def _impression(lesion: _Lesion, rng: random.Random) -> str:
    kind = lesion.kind
    pattern = rng.choice(kind.impressions) + _change(CHANGES_IN_CONCLUSION, lesion, rng) + rng.choice(kind.remarks)
    return _fill(pattern, rng.choice(kind.nouns), lesion)


def _positive(lesion: _Lesion, rng: random.Random) -> str:
    pattern = rng.choice(lesion.kind.sentences) + _change(CHANGES_IN_FINDINGS, lesion, rng)
    return _fill(pattern, rng.choice(lesion.kind.terms), lesion)


def _change(phrases: dict[str, list[str]], lesion: _Lesion, rng: random.Random) -> str:
    return rng.choice(phrases[lesion.fact.change]) if lesion.fact.change else ""


def _fill(pattern: str, noun: str, lesion: _Lesion) -> str:
    """Return a pattern as a sentence: its fields filled, its articles right, its first letter a capital."""
    fact, side, paired = lesion.fact, lesion.fact.side or "", lesion.fact.side == "bilateral"
    text = pattern.replace("{noun}", noun).format(
        degree=lesion.degree,
        adverb=ADVERBS.get(lesion.degree, ""),
        size=lesion.size,
        measure=lesion.kind.measure,
        site=fact.site,
        side=side,
        short_side=SHORT_SIDES[fact.side],
        place=_place(fact),
        short=_short_place(fact),
        on_side="on both sides" if paired else f"on the {side} side",
        angles="both costophrenic angles" if paired else f"the {side} costophrenic angle",
        apices="both lung apices" if paired else f"the {side} lung apex",
        hemithorax=f"the {side} hemithorax",
        areas="areas" if paired else "an area",
        are="are" if paired else "is",
        shows="show" if paired else "shows",
    )
    text = _with_articles(re.sub(r"\s+", " ", text).strip())
    return f"{_capital(text)}."


def _with_articles(text: str) -> str:
    """Put "an" before a vowel and before eight, eleven and eighteen, and "a" elsewhere."""
    return re.sub(
        r"\b([Aa])n? (?=(\S+))",
        lambda match: f"{match[1]}{'n' if re.match(r'[aeio]|8|1[18](?![.0-9])', match[2]) else ''} ",
        text,
    )


def _draw_negatives(study: Study, lesions: list[_Lesion], rng: random.Random) -> list[str]:
    """Draw negatives that fit the positive findings and do not repeat one another, in the order of the study."""
    present = {lesion.fact.finding for lesion in lesions}
    fitting = [negative for negative in study.negatives if negative.fits(present)]
    wanted = rng.randint(1, min(4, 6 - len(lesions)))
    chosen: list[Negative] = []
    for negative in rng.sample(fitting, len(fitting)):
        if len(chosen) < wanted and not any(negative.rules_out & other.rules_out for other in chosen):
            chosen.append(negative)
    return [rng.choice(negative.phrases) for negative in fitting if negative in chosen]


# --- planted errors ------------------------------------------------------------------------------


def applicable_kinds(report: Report) -> tuple[str, ...]:
    """Return the kinds of error that can be planted in a report's findings."""
    return tuple(kind for kind in ERROR_KINDS if _candidates(report, kind))


def plant_error(report: Report, kind: str, rng: random.Random) -> str:
    """Return the findings with exactly one error of a kind: the other side, another lobe or size, or a finding more.

    Raises:
        ValueError: the kind does not apply to this report.
    """
    candidates = _candidates(report, kind)
    if not candidates:
        raise ValueError(f"No error of the kind {kind!r} can be planted in {report.id}.")
    chosen = rng.choice(candidates)
    sentences = _split(report.findings)
    if isinstance(chosen, Kind):
        sentences.insert(rng.randint(0, len(report.facts)), _invented_sentence(report, chosen, rng))
    else:
        right, wrong = chosen
        sentences = [_rewrite(text, right, wrong) if facts_in(text) == {right} else text for text in sentences]
    return " ".join(sentences)


def _candidates(report: Report, kind: str) -> list[tuple[Fact, Fact]] | list[Kind]:
    """Return the possible errors of a kind: facts with their wrong twins, or findings that could be invented."""
    if kind == "invented_finding":
        return _inventions(report)
    wrong_twins = {"side": _other_sides, "lobe": _other_lobes, "size": _other_sizes}[kind]
    study = _study_of(report)
    return [(fact, twin) for fact in report.facts for twin in wrong_twins(fact, study.kind_of(fact.finding))]


def _study_of(report: Report) -> Study:
    return next(study for study in STUDIES if study.name == report.study)


def _other_sides(fact: Fact, kind: Kind) -> list[Fact]:
    """Return the fact on the other side, where the finding can be there."""
    other = OTHER_SIDE.get(fact.side or "")
    return [replace(fact, side=other)] if other and (other, fact.site) in kind.places else []


def _other_lobes(fact: Fact, kind: Kind) -> list[Fact]:
    """Return the fact in each other lobe (or lung zone of a radiograph) of its side; a segment counts as its lobe."""
    lobe = fact.site.rpartition(" of ")[2]
    others = [site for side, site in kind.places if side == fact.side and site in LOBES - {lobe}]
    return [replace(fact, site=site) for site in others] if lobe in LOBES else []


def _other_sizes(fact: Fact, kind: Kind) -> list[Fact]:
    """Return the fact in each size that is at least 1.5 times larger or smaller and is written in the same unit."""
    if fact.size_mm is None:
        return []
    sizes = [size for size in kind.sizes if fact.size_mm >= LEAST_IN_CM or size < LEAST_IN_CM]
    return [replace(fact, size_mm=size) for size in sizes if max(size, fact.size_mm) >= 1.5 * min(size, fact.size_mm)]


def _inventions(report: Report) -> list[Kind]:
    """Return the findings that a report neither has nor rules out, each with the sites that the report has not."""
    study, sites = _study_of(report), {fact.site for fact in report.facts}
    stated = set(_split(report.findings))
    ruled_out = {finding for negative in study.negatives if stated & {*negative.phrases} for finding in negative.rules_out}
    taken = ruled_out | {fact.finding for fact in report.facts}
    free = [
        replace(kind, places=tuple(place for place in kind.places if place[1] not in sites))
        for kind in study.kinds
        if kind.finding not in taken
    ]
    return [kind for kind in free if kind.places]


def _invented_sentence(report: Report, kind: Kind, rng: random.Random) -> str:
    compared = any(fact.change for fact in report.facts)
    return _positive(_draw_lesion(kind, compared, _in_cm if " cm" in report.findings else _in_mm, rng), rng)


def _rewrite(sentence: str, right: Fact, wrong: Fact) -> str:
    """Return a sentence with the side, the place or the size of one fact replaced by that of its wrong twin."""
    if right.side != wrong.side:
        return re.sub(r"\b(?:[Rr]ight|[Ll]eft)\b", lambda match: OTHER_SIDE[match[0]], sentence)
    if right.site != wrong.site:
        old, new = _place(right), _place(wrong)
        return sentence.replace(old, new).replace(_capital(old), _capital(new))
    in_unit = _in_cm if _in_cm(right.size_mm) in sentence else _in_mm
    return _with_articles(sentence.replace(in_unit(right.size_mm), in_unit(wrong.size_mm)))


def _capital(text: str) -> str:
    return text[0].upper() + text[1:]


def _split(findings: str) -> list[str]:
    return re.split(r"(?<=\.) ", findings)


# --- files ---------------------------------------------------------------------------------------


def write(folder: Path | str, seed: int) -> None:
    """Write the training, test and preference files; the pairs come from training reports, each used once at most."""
    folder = Path(folder)
    reports = generate(TRAIN_ROWS + TEST_ROWS, seed)
    train, test = reports[:TRAIN_ROWS], reports[TRAIN_ROWS:]
    write_jsonl(folder / "radiology_train.jsonl", [_row(report) for report in train])
    write_jsonl(folder / "radiology_test.jsonl", [_row(report) for report in test])
    write_jsonl(folder / "radiology_preference.jsonl", _preference_rows(train, random.Random(f"preference {seed}")))
    # the test as the hospital's system takes it in: without its findings
    write_sheet(folder / "radiology_test.xlsx", ["No.", "Conclusion", "SystemPrompt"], [_excel_row(r) for r in test])


def more_rows(rows: int, seed: int) -> list[dict[str, str]]:
    """Return the shipped training rows and `rows` others, none with the conclusion of another or of a test."""
    shipped = read_jsonl(DATA / "radiology" / "radiology_train.jsonl")
    seen = {row["input"] for row in (*read_jsonl(DATA / "radiology" / "radiology_test.jsonl"), *shipped)}
    more: list[dict[str, str]] = []
    for report in generate(4 * rows, seed):
        if len(more) == rows:
            break
        if report.conclusion not in seen:
            seen.add(report.conclusion)
            more.append({**_row(report), "id": f"more-{report.id}"})
    return [*shipped, *more]


def _row(report: Report) -> dict[str, str]:
    return {
        "id": report.id,
        "instruction": report.instruction,
        "input": report.conclusion,
        "output": report.findings,
    }


def _preference_rows(reports: list[Report], rng: random.Random) -> list[dict[str, str]]:
    """Pair the findings of reports with findings that hold one planted error, as many of each kind."""
    left = rng.sample(reports, len(reports))
    rows = []
    for kind in ("lobe", "side", "size", "invented_finding"):  # the rarest first
        chosen = [report for report in left if kind in applicable_kinds(report)][:PAIRS_OF_A_KIND]
        left = [report for report in left if report not in chosen]
        rows += [_pair(report, kind, rng) for report in chosen]
    rng.shuffle(rows)
    return rows


def _pair(report: Report, kind: str, rng: random.Random) -> dict[str, str]:
    return {
        "id": report.id,
        "prompt": f"{report.instruction}\n\n{report.conclusion}",
        "chosen": report.findings,
        "rejected": plant_error(report, kind, rng),
        "kind": kind,
    }


def _excel_row(report: Report) -> dict[str, str]:
    return {"No.": report.id, "Conclusion": report.conclusion, "SystemPrompt": report.instruction}


if __name__ == "__main__":
    write(DATA / "radiology", seed=SEED)
