"""What the prompts demand of a reply beyond its schema, as tables of filters: each with the prompt's words and a reason.

A schema asks for an answer, and `yes` is one. Here a reply's text is held against what its prompt says of it: Korean, the
speech level, how many sentences, no copy of a passage, and so on. Each filter names what is surely wrong and leaves out what
is in doubt; a reply that passes is not proved right. Nothing is dropped: what fails is kept with every reason, and counted.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from math import log
from pathlib import Path
from typing import Generic, TypeVar

from kotune.korean import leftover_checks, repetition_checks, script_checks
from kotune.korean.abstention import abstains
from kotune.korean.answer import HANGUL, CheckedAnswer, Spans, bare_letters
from kotune.korean.contrasts import difference
from kotune.korean.ending_checks import check_unfinished
from kotune.korean.grounding import unsupported
from kotune.korean.numbers import exact_key, quantities
from kotune.korean.sentences import Sentence, has_final_mark
from kotune.korean.speech_levels import HAPSYO, is_banmal, is_of_either_polite_level, is_polite
from kotune.korean.task_styles import check_reply, written
from kotune.korean.tasks import TASKS
from kotune.language import said
from kotune.line_file import in_turn
from prompts import DOCUMENT_QUESTIONS, GROUNDED_ANSWER, SEED_WORDS, SELF_INSTRUCT, TaskReply
from similarity import content_words
from utils import normalized, write_jsonl

Given = TypeVar("Given")  # what a filter looks at: a reply's text with what it is to be held against

# --- a table and what comes of it ------------------------------------------------------------


@dataclass(frozen=True)
class Filter(Generic[Given]):
    """One demand: its name, the words of the prompt that make it, what finds a breach, and the sentence of the reason.

    find returns what shows the breach (it stands for {found} in the reason), or None where there is none.
    """

    name: str
    demand: str
    find: Callable[[Given], str | None]
    reason: str


@dataclass(frozen=True)
class Fault:
    """A demand that a reply does not meet: the filter's name and the reason as a sentence."""

    name: str
    reason: str


def faults(filters: Iterable[Filter[Given]], given: Given) -> list[Fault]:
    """Return every demand that a reply does not meet, in the order of the table; an empty list where it meets all."""
    found = ((one, one.find(given)) for one in filters)
    return [Fault(one.name, one.reason.format(found=shown)) for one, shown in found if shown is not None]


def with_reasons(row: dict, found: Sequence[Fault]) -> dict:
    """Return a rejected row with its reasons: `filters` has their names, `reason` says all of them in words."""
    return row | {"filters": [fault.name for fault in found], "reason": "; ".join(fault.reason for fault in found)}


@dataclass(frozen=True)
class Collected:
    """What can be used, and what cannot, each with the reason; as a sequence, it is what can be used."""

    rows: list[dict]
    rejected: list[dict]

    def __iter__(self) -> Iterator[dict]:
        """Yield the rows that can be used."""
        return iter(self.rows)

    def __len__(self) -> int:
        """Return how many rows can be used."""
        return len(self.rows)

    @property
    def counts(self) -> dict[str, int]:
        """How many rejected rows each filter names, most first; a row with two reasons counts under both.

        What the teacher itself set aside counts under its words before the colon (off topic: ...).
        """
        named = (row.get("filters") or [row["reason"].partition(":")[0]] for row in self.rejected)
        return dict(Counter(name for names in named for name in names).most_common())

    def table(self) -> str:
        """Return kept, rejected and the count of each reason, as lines of text."""
        kept, rejected = len(self.rows), len(self.rejected)
        lines = [said(f"{kept} kept, {rejected} rejected", f"남긴 것 {kept}개, 제외한 것 {rejected}개")]
        return "\n".join(lines + [f"{count:>7}  {name}" for name, count in self.counts.items()])

    def write(self, path: str | Path) -> None:
        """Write the rows, and beside them what was rejected with its reasons: data.jsonl and data.rejected.jsonl."""
        path = Path(path)
        with in_turn(path):
            write_jsonl(path, self.rows)
            write_jsonl(path.with_name(f"{path.stem}.rejected{path.suffix}"), self.rejected)


# --- what several prompts demand -------------------------------------------------------------

_SCRIPTS: tuple[Callable[[CheckedAnswer], Spans], ...] = (
    script_checks.check_empty,
    script_checks.check_low_hangul,
    script_checks.check_hanja,
    script_checks.check_kana,
    script_checks.check_cyrillic,
    script_checks.check_other_script,
    script_checks.check_latin_run,
)
_LOOPS = (
    repetition_checks.check_repeated_sentence,
    repetition_checks.check_repeated_ngram,
    repetition_checks.check_repeated_characters,
)
_LEFTOVERS = (leftover_checks.check_template_marker, leftover_checks.check_leftover)
_SMALL_LETTERS = re.compile(r"\b[A-Za-z]++(?<=[a-z]{2})\b")  # a word, where DSR and LTV are names
_SHOWN = 30  # characters of a text that a reason shows


def _checked(text: str) -> CheckedAnswer:
    return CheckedAnswer(normalized("NFC", text))


def _first(checks: Iterable[Callable[[CheckedAnswer], Spans]], answer: CheckedAnswer) -> str | None:
    spans = (span for check in checks for span in check(answer))
    return next((message.rstrip(".") for _, _, message in spans), None)


def not_korean(text: str) -> str | None:
    """Return what shows that a text is not Korean, however short it is; None where it is."""
    checked = _checked(text)
    words = checked.text.split()
    korean = sum(HANGUL.search(word) is not None for word in words)
    if not korean or len(_SMALL_LETTERS.findall(checked.text)) > korean:
        return f"{text[:_SHOWN]!r}"
    return _first(_SCRIPTS, checked)


def _loops(text: str) -> str | None:
    return _first(_LOOPS, _checked(text))


def _leftover(text: str) -> str | None:
    return _first(_LEFTOVERS, _checked(text))


def _unfinished(text: str) -> str | None:
    return _first((check_unfinished,), _checked(text))


def _eojeols(text: str) -> list[str]:
    """Return the words between spaces without their marks."""
    return [letters for word in normalized("NFC", text).split() if (letters := bare_letters(word))]


class _Source:
    """The words of a text, to be asked which words of another stand in it in a row: a suffix automaton (Blumer et al. 1985).

    It is built, and asked, in a time that grows with the words alone, however often they are repeated.
    """

    def __init__(self, text: str):
        self._next: list[dict[str, int]] = [{}]  # a state stands for the runs that end at the same places of the text
        self._shorter: list[int] = [-1]  # the state of the longest ends of these runs that stand at more places
        self._length: list[int] = [0]  # of the longest of them
        last = 0
        for word in _eojeols(text):
            last = self._add(word, last)

    def _add(self, word: str, last: int) -> int:
        state = self._state({}, self._length[last] + 1, 0)
        while last >= 0 and word not in self._next[last]:
            self._next[last][word] = state
            last = self._shorter[last]
        if last >= 0:
            self._shorter[state] = self._of_length(last, word)
        return state

    def _of_length(self, before: int, word: str) -> int:
        """Return the state whose longest run is that of the state before with the word; it is split off where needed."""
        found = self._next[before][word]
        if self._length[found] == self._length[before] + 1:
            return found
        split = self._state(dict(self._next[found]), self._length[before] + 1, self._shorter[found])
        while before >= 0 and self._next[before].get(word) == found:
            self._next[before][word] = split
            before = self._shorter[before]
        self._shorter[found] = split
        return split

    def _state(self, following: dict[str, int], length: int, shorter: int) -> int:
        self._next.append(following)
        self._length.append(length)
        self._shorter.append(shorter)
        return len(self._next) - 1

    def runs(self, words: Sequence[str], shortest: int) -> list[tuple[int, int]]:
        """Return where words stand in a row as they do in the source: (start, end) of each run of at least `shortest`."""
        found: list[tuple[int, int]] = []
        state = length = 0
        for end, word in enumerate(words, start=1):
            while state and word not in self._next[state]:
                state = self._shorter[state]
                length = self._length[state]
            if word in self._next[state]:
                state, length = self._next[state][word], length + 1
            if length >= shortest:
                found.append((end - length, end))
        return found


_INSTRUCTION_RUN = 4  # words in a row; the recording shares three with its prompt at most (알 수 있게)


def repeats_instruction(text: str, instruction: str) -> str | None:
    """Return the words that a text has of the instruction that asked for it, where they are too many for chance."""
    words = _eojeols(text)
    runs = _Source(instruction).runs(words, _INSTRUCTION_RUN)
    if not runs:
        return None
    start, end = max(runs, key=lambda run: run[1] - run[0])
    return f"{' '.join(words[start:end])!r}"


def bare(text: str) -> str:
    """Return a text's letters and digits alone: what two texts that differ in spaces and marks have in common."""
    return bare_letters(normalized("NFC", text))


# --- questions -------------------------------------------------------------------------------


@dataclass(frozen=True)
class AskedQuestion:
    """A question with the prompt that asked for it, what it is to be about, and the questions before it.

    subject: the seed word, or a document's title and text. before: each as `bare` gives it. words: the seed words that
    questions were asked for, where they are known.
    """

    text: str
    instruction: str
    subject: str = ""
    before: Collection[str] = ()
    words: Collection[str] = ()

    @cached_property
    def checked(self) -> CheckedAnswer:
        """The question as the checks of Korean see it."""
        return _checked(self.text)


# what a prompt says of questions, and no tenant asks
_TALK_OF_THE_TASK = re.compile(
    r"해요체|합쇼체|합니다체|요청문|(?i:json|seed[_ ]?word|on_topic)|"
    r"(?:질문|문항)(?:을|를)?\s?(?:\d+|[한두세네]|여러|다섯|여섯)\s?(?:개|가지)|"
    r"질문(?:을|를|들을)?\s?(?:써|작성해|만들어|생성해|되풀이)|(?:낱말|주제|단어)(?:에 대한|에 관한|마다|별)\s질문|"
    r"(?:다음|주어진|위의?) (?:[낱날]말|단어|시드)"  # 날말: as a model of 1.5B copies 낱말
)
# whom an expert asks back, and what an assistant offers; who needs an answer says neither
_ASKS_THE_READER = re.compile(
    r"당신(?:은|이|의|에게|도)|도움이 필요하(?:신가요|십니까|세요)|"
    r"(?:알고|이해하고|궁금해) ?(?:계시나요|계세요|계신가요|계십니까)"
)
_STATES_AND_ASKS = re.compile(r"(?<=니다)[.!]?\?$")  # 계산됩니다?
_WORDS_OF_ANY_QUESTION = """
이것 그것 저것 이 그 저 이런 그런 낱말 단어 용어 말 주제 제도 개념 뜻 의미 절차 이유 까닭 차이 차이점 주의점 방법 질문
그리고 또 및 주의할 점 무엇 무엇인가요 무엇인지 무엇입니까 뭐 뭔가요 뭐예요 인가요 입니까 어떤 어떻게 왜 언제 어디 누가 것
수 때 좀 해 해야 알려 설명해 가르쳐 말해 주세요 주십시오 줘요 궁금해요 궁금합니다 설명 부탁드립니다 부탁해요 간단히 자세히
쉽게 정확히 있나요 있습니까 되나요 됩니까 하나요 합니까 다른가요 필요한가요 중요한가요 대해 대해서 대한 관해 관련 관련된
"""
_NAMES_NOTHING = frozenset(_WORDS_OF_ANY_QUESTION.split())
_PARTICLE = re.compile(r"(?<=.)(?:은|는|이|가|을|를|의|에|과|와|도|란|이란)$")
_SHOWN_TEXT = re.compile(
    r"(?:이|위|해당|다음|주어진|제시된|본|앞의)\s?(?:문서|글|지문|본문|자료|문단|내용)(?:에서|에|의|은|는|을|를|으로|로|만)?(?![가-힣])"
)
_OF_THE_MARKET = r"(?:집값|시세|가격|전셋값|매매가|아파트값|땅값|부동산 경기)"
_FORECAST = re.compile(
    rf"{_OF_THE_MARKET}[^?.]{{0,15}}(?:오를까|오르겠|내릴까|떨어질까|전망|예[측상]|오를 것|내릴 것|떨어질 것|상승할|하락할)|"
    r"투자(?:하면|해도|할|처|를 추천|하기 좋)|(?:오를|유망한|뜨는) (?:지역|동네|단지|아파트)|"
    r"(?:지금|올해|내년에?) [^?.]{0,15}(?:사도 될까|사야 할까|사는 게 (?:좋|나)|팔아야 할까)"
)


def _is_no_question(asked: AskedQuestion) -> str | None:
    """A word or the seed word alone asks nothing; a heading of several words does (특별공급과 일반공급의 차이)."""
    alone = len(asked.text.split()) < 2 and "?" not in asked.text
    of_the_subject = asked.subject and "\n" not in asked.subject and bare(asked.text) in bare(asked.subject)
    return f"{asked.text[:_SHOWN]!r}" if alone or of_the_subject else None


_DEFINES = re.compile(
    r"^[^.?]{1,25}(?:은|는|란)\s[^?]*(?:(?:제도|권리|것|말|계약|날짜|비율|금액|세금|뜻|절차)"
    r"(?:입니다|이에요|예요|[을를] (?:말|뜻)합니다)|"
    r"(?:해야|하면|할 수|받을 수|낼 수|있어야) (?:합니다|됩니다|있습니다))\.?$"
)
_OF_ONESELF = re.compile(
    r"(?<![가-힣])(?:저|제|저희|우리|내)(?:가|는|를|에게|도)?(?![가-힣])|[는은한]데|어서|라서|려고|까 봐"
)


def _is_an_answer(asked: AskedQuestion) -> str | None:
    """A rule stated as a fact is an answer; what somebody tells of a case of their own is a question."""
    states = _DEFINES.search(asked.text) and not _OF_ONESELF.search(asked.text)
    return f"{asked.text[:_SHOWN]!r}" if states else None


def _is_broken(asked: AskedQuestion) -> str | None:
    """A statement's ending under a question mark (계산됩니다?) is neither."""
    return f"{asked.text[-_SHOWN:]!r}" if _STATES_AND_ASKS.search(asked.text.rstrip()) else None


def _many_in_one(asked: AskedQuestion) -> str | None:
    items = sum(sentence.is_item for sentence in asked.checked.sentences)
    return f"{items} items" if items or "\n" in asked.text.strip() else None


def _banmal_question(asked: AskedQuestion) -> str | None:
    checked = asked.checked
    for sentence, level in zip(checked.sentences, checked.levels, strict=True):
        if is_banmal(checked.hidden[sentence.start : sentence.end], level):
            return f"{checked.text[sentence.start : sentence.end][-_SHOWN:]!r}"
    return None


def _instruction_in_question(asked: AskedQuestion) -> str | None:
    talk = _TALK_OF_THE_TASK.search(asked.text)
    return f"{talk[0]!r}" if talk else repeats_instruction(asked.text, asked.instruction)


def _names_no_topic(asked: AskedQuestion) -> str | None:
    words = [_PARTICLE.sub("", word) for word in _eojeols(asked.text)]
    return f"{asked.text[:_SHOWN]!r}" if all(word in _NAMES_NOTHING or len(word) < 2 for word in words) else None


def _of_another_word(asked: AskedQuestion) -> str | None:
    """A seed word may come back shortened (소액임차인 for 소액임차인 최우선변제권), but not as a word of the model's own."""
    subject, words = bare(asked.subject), [bare(word) for word in asked.words]
    return None if not words or any(subject in word or word in subject for word in words) else f"{asked.subject[:_SHOWN]!r}"


def _asked_before(asked: AskedQuestion) -> str | None:
    return f"{asked.text[:_SHOWN]!r}" if bare(asked.text) in asked.before else None


def _found(pattern: re.Pattern) -> Callable[[AskedQuestion], str | None]:
    def find(asked: AskedQuestion) -> str | None:
        match = pattern.search(asked.text)
        return f"{match[0]!r}" if match else None

    return find


def _of_text(find: Callable[[str], str | None]) -> Callable[[AskedQuestion], str | None]:
    return lambda asked: find(asked.text)


QUESTION_FILTERS: tuple[Filter[AskedQuestion], ...] = (
    Filter("not_korean", "한국어", _of_text(not_korean), "the question is not Korean: {found}"),
    Filter("no_question", "일반인이 실제로 물을 법한 질문", _is_no_question, "{found} is a word, not a question"),
    Filter("answers", "질문을 ", _is_an_answer, "{found} states a rule instead of asking"),
    Filter("many_in_one", "낱말마다 질문을", _many_in_one, "it is a list ({found}), not one question"),
    Filter("speech_level", "해요체, 합쇼체, 요청문", _banmal_question, "{found} is 반말"),
    Filter("instruction", "일반인이 실제로 물을 법한 질문", _instruction_in_question, "it repeats the instruction: {found}"),
    Filter("asks_reader", "일반인이 실제로 물을 법한 질문", _found(_ASKS_THE_READER), "it asks its reader: {found}"),
    Filter("broken", "일반인이 실제로 물을 법한 질문", _is_broken, "{found} is a statement with a question mark"),
    Filter("no_topic", "질문만 읽어도 무엇을 묻는지 알 수 있게", _names_no_topic, "{found} does not say what it is about"),
    Filter("other_word", "다음 낱말마다", _of_another_word, "{found} is no word that questions were asked for"),
    Filter("forecast", "시세 전망이나 투자 권유는 묻지 않습니다", _found(_FORECAST), "it asks for a forecast: {found}"),
    Filter("repeat", "같은 질문을 되풀이하지 않습니다", _asked_before, "{found} was asked before"),
    Filter("leftover", "답은 JSON으로만 씁니다", _of_text(_leftover), "it holds more than a question: {found}"),
    Filter("loops", "실제로 물을 법한 질문", _of_text(_loops), "the question repeats itself: {found}"),
)


_SAYS_LITTLE = frozenset(["있", "없", "하", "되", "같", "알", "보", "수", "때", "것", "그", "이", "등", "사람"])


def _of_another_document(asked: AskedQuestion) -> str | None:
    question, document = map(set, content_words([asked.text, asked.subject]))
    return None if (question & document) - _SAYS_LITTLE else f"{asked.text[:_SHOWN]!r}"


_TO_A_DOCUMENT = "질문은 문서만으로 답할 수 있어야"
_TO_A_STRANGER = "문서를 보지 않은 사람도 무엇을 묻는지 알 수 있어야"

DOCUMENT_QUESTION_FILTERS: tuple[Filter[AskedQuestion], ...] = (
    Filter("not_korean", _TO_A_STRANGER, _of_text(not_korean), "the question is not Korean: {found}"),
    Filter("no_question", "질문을 ", _is_no_question, "{found} is a word, not a question"),
    Filter("many_in_one", "문서마다 질문을", _many_in_one, "it is a list ({found}), not one question"),
    Filter("instruction", "질문을 ", _instruction_in_question, "it repeats the instruction: {found}"),
    Filter("no_topic", _TO_A_STRANGER, _names_no_topic, "{found} does not say what it is about"),
    Filter("points_at_text", _TO_A_STRANGER, _found(_SHOWN_TEXT), "it points at a text that its reader has not: {found}"),
    Filter("other_document", _TO_A_DOCUMENT, _of_another_document, "{found} has no word of its document"),
    Filter("repeat", "질문을 ", _asked_before, "{found} was asked before"),
)


def check_question(text: str, seed_word: str, before: Collection[str] = (), seed_words: Collection[str] = ()) -> list[Fault]:
    """Return what is wrong with a question on a seed word.

    `before` has the questions before it, each as `bare` gives it; `seed_words` those that were asked about, where known.
    """
    instruction = f"{SEED_WORDS.system} {SEED_WORDS.user}"
    return faults(QUESTION_FILTERS, AskedQuestion(text, instruction, seed_word, before, seed_words))


def check_document_question(text: str, document: dict, before: Collection[str] = ()) -> list[Fault]:
    """Return what is wrong with a question on a document."""
    subject = f"{document['title']}\n{document['text']}"
    return faults(DOCUMENT_QUESTION_FILTERS, AskedQuestion(text, DOCUMENT_QUESTIONS.system, subject, before))


# --- grounded answers ------------------------------------------------------------------------


@dataclass(frozen=True)
class GivenAnswer:
    """An answer with its question, the passage that it names, and all passages that were shown (id -> title and text).

    words: content words of the question, the answer and each passage shown, by `ContentWords`; None leaves out the filters
    that compare them.
    """

    question: str
    text: str
    document_id: str | None
    shown: Mapping[str, str]
    words: AnswerWords | None = None

    @cached_property
    def checked(self) -> CheckedAnswer:
        """The answer as the checks of Korean see it."""
        return CheckedAnswer(normalized("NFC", self.text), question=self.question)

    @property
    def compared(self) -> tuple[AnswerWords, str] | None:
        """The words and the id of the passage that is named, where that is one whose words are known; else None."""
        if self.words is None or self.document_id is None or self.document_id not in self.words.shown:
            return None
        return self.words, self.document_id

    @property
    def spoken(self) -> list[tuple[Sentence, str | None, str]]:
        """Each sentence with its level and its text, quotations hidden."""
        checked = self.checked
        pairs = zip(checked.sentences, checked.levels, strict=True)
        return [(sentence, level, checked.hidden[sentence.start : sentence.end]) for sentence, level in pairs]


@dataclass(frozen=True)
class AnswerWords:
    """Content words of a question, its answer and the passages shown; what is rare among all documents tells most.

    common: words of a quarter of the documents and more (집, 계약), by which an answer is on no topic. weight: the inverse
    document frequency of each word.
    """

    question: frozenset[str]
    answer: frozenset[str]
    shown: Mapping[str, frozenset[str]]
    common: frozenset[str] = field(repr=False)
    weight: Mapping[str, float] = field(repr=False)

    def asked_in(self, document_id: str) -> float:
        """Return how much of the question stands in a passage, by weight."""
        return self._standing(self.question, document_id)

    def said_in(self, document_id: str) -> float:
        """Return how much of the answer stands in a passage, by weight."""
        return self._standing(self.answer, document_id)

    def _standing(self, words: frozenset[str], document_id: str) -> float:
        return sum(self.weight.get(word, 0.0) for word in words & self.shown[document_id])


_YES_OR_NO = re.compile(r"(?:네|예|아니요|아니오|아뇨)[.,!]?")
_MOST_SENTENCES = 4


_SAYS_YES_OR_NO = frozenset(
    [
        "네",
        "예",
        "아니요",
        "아니오",
        "맞습니다",
        "아닙니다",
        "그렇습니다",
        "없습니다",
        "있습니다",
        "됩니다",
        "안",
        "물론",
        "물론입니다",
    ]
)


def _no_sentence(answer: GivenAnswer) -> str | None:
    """An answer needs a sentence, or a list; a word, a heading or a bare yes (네, 맞습니다) is none."""
    if _SAYS_YES_OR_NO.issuperset(_eojeols(answer.text)):
        return f"{answer.text[:_SHOWN]!r}"
    for sentence, level, hidden in answer.spoken:
        if sentence.is_item or level is not None:
            return None
        if _is_written_out(hidden):
            return None
    return f"{answer.text[:_SHOWN]!r}"


def _is_written_out(hidden: str) -> bool:
    return hidden.rstrip().endswith(":") and len(hidden.split()) > 1


def _not_formal(answer: GivenAnswer) -> str | None:
    for sentence, level, hidden in answer.spoken:
        if level == HAPSYO or (level is not None and is_of_either_polite_level(hidden)):
            continue
        if level is None and (sentence.is_item or hidden.rstrip().endswith(":") or _YES_OR_NO.fullmatch(hidden.strip())):
            continue
        ending = answer.checked.text[sentence.start : sentence.end][-_SHOWN:]
        return f"{ending!r} " + (f"is {level}" if level else "ends in no verb")
    return None


def _too_many_sentences(answer: GivenAnswer) -> str | None:
    items = [sentence.is_item for sentence in answer.checked.sentences]
    count = items.count(False) + any(items)  # the items of a list are one sentence
    return str(count) if count > _MOST_SENTENCES else None


_COPIED_RUN, _COPIED_SHARE = 4, 0.95
_SHORTEST_COPY = 3  # words; what is shorter has hardly another wording


def _copied(answer: GivenAnswer) -> str | None:
    """A sentence word for word, or nearly all of an answer in long runs: 한다 made 합니다 is still a copy."""
    words = _eojeols(answer.text)
    for id, text in answer.shown.items():
        source = _Source(text)
        for sentence, _, _ in answer.spoken:
            own = _eojeols(answer.checked.text[sentence.start : sentence.end])
            if not sentence.is_item and len(own) >= _SHORTEST_COPY and source.runs(own, len(own)):
                return id
        covered = _count_covered(source.runs(words, _COPIED_RUN))
        last_words = sum(not sentence.is_item for sentence, _, _ in answer.spoken)  # their endings are made polite
        if len(words) > _COPIED_RUN and covered + last_words >= _COPIED_SHARE * len(words) and covered:
            return id
    return None


def _count_covered(runs: Sequence[tuple[int, int]]) -> int:
    """Return how many places lie in runs, which come in the order of their ends."""
    covered, counted = 0, None  # places from here on are counted
    for start, end in reversed(runs):
        covered += max(0, (end if counted is None else min(end, counted)) - start)
        counted = start if counted is None else min(start, counted)
    return covered


def _is_the_question(answer: GivenAnswer) -> str | None:
    if bare(answer.text) == bare(answer.question):
        return f"{answer.text[:_SHOWN]!r}"
    if _first((repetition_checks.check_echo,), answer.checked):
        return f"{answer.text[:_SHOWN]!r}"
    sentences = [hidden.rstrip() for _, _, hidden in answer.spoken]
    return f"{answer.text[:_SHOWN]!r}" if sentences and all(text.endswith("?") for text in sentences) else None


def _names_no_passage(answer: GivenAnswer) -> str | None:
    return None if answer.document_id else "document_id"


def _names_another(answer: GivenAnswer) -> str | None:
    return answer.document_id if answer.document_id and answer.document_id not in answer.shown else None


def _invented_numbers(answer: GivenAnswer) -> str | None:
    source = answer.shown.get(answer.document_id or "")
    if source is None:
        return None
    invented = unsupported(answer.text, source, answer.question)
    written_as = ", ".join(answer.text[number.start : number.end] for number in invented)
    return f"{written_as} does not stand in {answer.document_id}" if written_as else None


_LEAST_SHARE = 0.5  # of what the best passage has; the written answers that share no word have 0.55 and more


def _off_topic(answer: GivenAnswer) -> str | None:
    """Neither a word of the question in the answer, nor in the passage half as much of it as in another that was shown.

    Of answers to other questions it finds 86% (459 of 533 drawn from the recording), of those from one of the other
    passages shown, which are mostly on the topic, 13%.
    """
    if answer.compared is None:
        return None
    words, named = answer.compared
    if (words.question & words.answer) - words.common:
        return None
    best = max(map(words.asked_in, words.shown))
    return f"{answer.text[:_SHOWN]!r}" if words.asked_in(named) < _LEAST_SHARE * best else None


_LEAST_SUPPORT, _FEWEST_WORDS = 0.1, 4  # the written answers have 0.2 and more


def _unsupported_words(answer: GivenAnswer) -> str | None:
    if answer.compared is None:
        return None
    words, named = answer.compared
    new = {word for word in words.answer - words.question - _SAYS_LITTLE if not word.isdigit()}
    there = len(new & words.shown[named])
    return f"{there} of {len(new)}" if len(new) >= _FEWEST_WORDS and there < _LEAST_SUPPORT * len(new) else None


_LEAST_SHARE_SAID = 0.45  # of what stands in the best passage; the written answers have 0.51 and more


def _of_another_passage(answer: GivenAnswer) -> str | None:
    """What is said stands in another of the passages shown, and hardly in the one that is named."""
    if answer.compared is None:
        return None
    words, named = answer.compared
    best = max(words.shown, key=words.said_in)
    return best if words.said_in(named) < _LEAST_SHARE_SAID * words.said_in(best) else None


def _declines(answer: GivenAnswer) -> str | None:
    return f"{answer.text[:_SHOWN]!r}" if abstains(answer.text) else None


def _names_an_id(answer: GivenAnswer) -> str | None:
    return next((id for id in answer.shown if id in answer.text), None)


def _loose_jamo(answer: GivenAnswer) -> str | None:
    return _first((script_checks.check_loose_jamo,), answer.checked)


def _instruction_in_answer(answer: GivenAnswer) -> str | None:
    return repeats_instruction(answer.text, GROUNDED_ANSWER.system)


_FORMAL = "합니다체로 한 문장에서 네 문장까지"
_IN_OWN_WORDS = "문서의 문장을 그대로 옮기지 않고 풀어 씁니다"
_FROM_THE_PASSAGE = "문서에 없는 숫자나 사실은 쓰지 않습니다"
_TO_THE_QUESTION = "질문에 답합니다"

ANSWER_FILTERS: tuple[Filter[GivenAnswer], ...] = (
    Filter("not_korean", _FORMAL, lambda given: not_korean(given.text), "the answer is not Korean: {found}"),
    Filter("no_sentence", _FORMAL, _no_sentence, "{found} is no sentence"),
    Filter("speech_level", _FORMAL, _not_formal, "{found}, where 합니다체 is asked for"),
    Filter("sentences", _FORMAL, _too_many_sentences, "the answer has {found} sentences, where four are the most"),
    Filter("copy", _IN_OWN_WORDS, _copied, "the answer copies {found} word for word"),
    Filter("is_question", _TO_THE_QUESTION, _is_the_question, "{found} is a question, not an answer"),
    Filter("names_none", "근거로 삼은 문서의 번호를 document_id에", _names_no_passage, "the answer names no passage"),
    Filter(
        "not_shown",
        "주어진 문서 가운데 하나만 근거로",
        _names_another,
        "the answer names {found}, which was not shown",
    ),
    Filter("numbers", _FROM_THE_PASSAGE, _invented_numbers, "{found}"),
    Filter("off_topic", _TO_THE_QUESTION, _off_topic, "{found} is not about the question"),
    Filter("unsupported", _FROM_THE_PASSAGE, _unsupported_words, "of its own words only {found} stand in the passage"),
    Filter(
        "other_passage",
        "근거로 삼은 문서의 번호를 document_id에",
        _of_another_passage,
        "what it says stands in {found}, and another passage is named",
    ),
    Filter("declines", "모두 null로 둡니다", _declines, "{found} declines, which null is to say"),
    Filter("id_in_text", "문서의 번호를 document_id에", _names_an_id, "{found} stands in the text of the answer"),
    Filter("instruction", _TO_THE_QUESTION, _instruction_in_answer, "the answer repeats the instruction: {found}"),
    Filter(
        "leftover",
        "답은 JSON으로만 씁니다",
        lambda given: _leftover(given.text),
        "the answer holds more than that: {found}",
    ),
    Filter("loops", _IN_OWN_WORDS, lambda given: _loops(given.text), "the answer repeats itself: {found}"),
    Filter("jamo", _FORMAL, _loose_jamo, "the answer is chat or broken: {found}"),
    Filter("unfinished", _FORMAL, lambda given: _unfinished(given.text), "the answer breaks off: {found}"),
)


def check_answer(
    question: str,
    answer: str,
    document_id: str | None,
    shown: Mapping[str, str],
    words: AnswerWords | None = None,
) -> list[Fault]:
    """Return what is wrong with an answer from passages: shown has the title and text of each by its id."""
    return faults(ANSWER_FILTERS, GivenAnswer(question, answer, document_id, shown, words))


class ContentWords:
    """The content words of documents, read once for many answers, and how rare each word is among them."""

    def __init__(self, documents: Sequence[dict]):
        texts = [f"{document['title']}\n{document['text']}" for document in documents]
        self._of = {d["id"]: frozenset(words) for d, words in zip(documents, content_words(texts), strict=True)}
        counts = Counter(word for words in self._of.values() for word in words)
        most = max(1, len(documents) / 4)
        self._common = frozenset(word for word, count in counts.items() if count > most)
        self._weight = {word: log(1 + len(documents) / count) for word, count in counts.items()}

    def of(self, asked: Sequence[tuple[str, str, Sequence[str]]]) -> list[AnswerWords]:
        """Return the words of each (question, answer, ids of the passages shown)."""
        texts = [text for question, answer, _ in asked for text in (question, answer)]
        words = [frozenset(found) for found in content_words(texts)] if texts else []
        return [
            AnswerWords(question, answer, {id: self._of[id] for id in ids}, self._common, self._weight)
            for question, answer, (_, _, ids) in zip(words[::2], words[1::2], asked, strict=True)
        ]


# --- tasks from tasks ------------------------------------------------------------------------


@dataclass(frozen=True)
class WrittenTask:
    """A new task in the manner of the seed tasks: its instruction, its input ("" for none) and its output."""

    instruction: str
    input: str
    output: str


_MOST_SENTENCES_OF_AN_INSTRUCTION = 2


def _long_instruction(task: WrittenTask) -> str | None:
    count = len(_checked(task.instruction).sentences)
    return str(count) if count > _MOST_SENTENCES_OF_AN_INSTRUCTION else None


def _no_output(task: WrittenTask) -> str | None:
    """An output that is the input again may differ from it in marks alone, where those are to be put right."""
    output = task.output.strip()
    return f"{output[:_SHOWN]!r}" if output in ("", task.input.strip()) or bare(output) == bare(task.instruction) else None


_HANDS_OVER = re.compile(
    r"(?:다음|아래|주어진) (?:글|문장|표|대화|자료|메일|편지|기사|목록|시|단락|문단|낱말|숫자)(?:들)?"
    r"(?=[을를의은는이가에과와로])"
)


def _promised_input(task: WrittenTask) -> str | None:
    """An instruction that hands something over (다음 글, 아래 표) needs it in the input, or behind its own colon."""
    match = _HANDS_OVER.search(task.instruction)
    return f"{match[0]!r}" if match and not task.input.strip() and ":" not in task.instruction else None


NEW_TASK_FILTERS: tuple[Filter[WrittenTask], ...] = (
    Filter("not_korean", "한국어", lambda task: not_korean(task.instruction), "the instruction is not Korean: {found}"),
    Filter("long", "instruction은 한두 문장으로", _long_instruction, "the instruction has {found} sentences"),
    Filter(
        "instruction",
        "예시와 겹치지 않는 새 과제",
        lambda task: repeats_instruction(task.instruction, SELF_INSTRUCT.system),
        "it repeats the instruction that asked for it: {found}",
    ),
    Filter(
        "no_input", "자료가 필요하면 input에 실제 자료를", _promised_input, "it promises {found}, and its input is empty"
    ),
    Filter("no_output", "과제에 대한 바르고 빠짐없는 답", _no_output, "its output is no answer: {found}"),
)


def check_new_task(task: dict) -> list[Fault]:
    """Return what is wrong with a new task of instruction, input and output."""
    return faults(NEW_TASK_FILTERS, WrittenTask(task["instruction"], task["input"], task["output"]))


# --- the 23 tasks ----------------------------------------------------------------------------


@dataclass(frozen=True)
class TaskExample:
    """A reply to one of the 23 tasks, on its context."""

    task_id: str
    context: str
    reply: TaskReply

    @property
    def text(self) -> str:
        """All that the teacher wrote, a line a part."""
        parts = self.reply.model_dump().values()
        return "\n".join(line for part in parts for line in (part if isinstance(part, list) else [part]))


def _breaks_style(example: TaskExample) -> str | None:
    return "; ".join(check_reply(example.task_id, example.context, example.reply)) or None


def _task_not_formal(example: TaskExample) -> str | None:
    """Sentences are to be in 합니다체, but for those that a task has copied out of its passage."""
    if TASKS[example.task_id].style != "sentence" or example.task_id == "task08_02":
        return None
    return _not_formal(GivenAnswer("", written(example.reply), None, {}))


def _instruction_in_example(example: TaskExample) -> str | None:
    directions = TASKS[example.task_id].directions
    own = "\n".join(line for line in example.text.splitlines() if line.strip() not in example.context)
    return repeats_instruction(own, directions)


def _copies_the_passage(example: TaskExample) -> str | None:
    if not example.task_id.startswith("task04"):
        return None
    return _copied(GivenAnswer("", written(example.reply), None, {"the passage": example.context}))


TASK_FILTERS: tuple[Filter[TaskExample], ...] = (
    Filter("not_korean", "한국어", lambda given: not_korean(given.text), "the reply is not Korean: {found}"),
    Filter("task_style", "형식: ", _breaks_style, "{found}"),
    Filter("speech_level", "형식: ", _task_not_formal, "{found}, where 합니다체 is asked for"),
    Filter("instruction", "할 일: ", _instruction_in_example, "the reply repeats its directions: {found}"),
    Filter("copy", "주어진 자료 하나만으로 과제를 채웁니다", _copies_the_passage, "the answer copies {found}"),
    Filter(
        "leftover", "답은 JSON으로만 씁니다", lambda given: _leftover(given.text), "the reply holds more than that: {found}"
    ),
)


def check_task(task_id: str, context: str, reply: TaskReply) -> list[Fault]:
    """Return what is wrong with a reply to one of the 23 tasks; `task_styles` knows what each task's style demands."""
    return faults(TASK_FILTERS, TaskExample(task_id, context, reply))


# --- answers spoilt on purpose ---------------------------------------------------------------


@dataclass(frozen=True)
class SpoiltPair:
    """A good answer to a question, and the answer that is to be worse than it in one stated way.

    question: "" where it is not known; whether the rejected side adds a number then cannot be told.
    """

    chosen: str
    rejected: str
    question: str = ""

    @property
    def ratio(self) -> float:
        """The length of the rejected side, in lengths of the chosen one."""
        return len(self.rejected) / max(1, len(self.chosen))

    @property
    def alike(self) -> float:
        """The share of words between spaces that both have, of those that either has."""
        ours, theirs = set(_eojeols(self.chosen)), set(_eojeols(self.rejected))
        return len(ours & theirs) / max(1, len(ours | theirs))

    @cached_property
    def answer(self) -> GivenAnswer:
        """The rejected side as the filters of answers see it."""
        return GivenAnswer(self.question, self.rejected, None, {})


FOREIGN_WORD = re.compile(r"[^\W\d_가-힣ㄱ-ㆎ]+")
PADDED_AT_LEAST = 1.8  # times the good answer's length; the prompt asks for twice
ALIKE_IN_LENGTH = 0.7  # of the longer side, where content alone is wrong
_ANOTHER_ANSWER, _SAME_ANSWER = 0.15, 0.4  # words in common; the recording has 0.6 and more, and 0.2 and less
_SHORTEST_CUT, _AS_IT_STOOD = 0.3, 0.9
_EXPLAINS = re.compile(
    r"(?:수정|변경|바꾼|고친|나쁘게|잘못된|틀린) ?(?:한|된|고친)? ?(?:부분|내용|답변|점)(?:은|:| 설명)|"
    r"좋은 답변(?:과|에서|을|:)|나쁜 답변(?:은|:|입니다)|(?:일부러|의도적으로) (?:틀리|바꾸|바꿨|나쁘)"
)
_ABUSE = re.compile(r"멍청|바보|한심|닥쳐|병신|꺼져|새끼|등신|미친|찌질|쓰레기 같")


def foreign_words(text: str) -> set[str]:
    """Return the runs of letters of a text that are not Hangul."""
    return set(FOREIGN_WORD.findall(text))


def _is_empty(pair: SpoiltPair) -> str | None:
    return None if pair.rejected else ""


def _is_the_chosen(pair: SpoiltPair) -> str | None:
    return "" if bare(pair.rejected) == bare(pair.chosen) else None


def _explains(pair: SpoiltPair) -> str | None:
    match = _EXPLAINS.search(pair.rejected)
    return f"{match[0]!r}" if match and match[0] not in pair.chosen else None


def _is_rude(pair: SpoiltPair) -> str | None:
    return None if is_polite(pair.rejected) else ""


def _differs_in_length(pair: SpoiltPair) -> str | None:
    return None if ALIKE_IN_LENGTH <= pair.ratio <= 1 / ALIKE_IN_LENGTH else ""


def _says_the_same(pair: SpoiltPair) -> str | None:
    """Other endings and marks change no fact: the words, their order, the numbers and the negations are the same."""
    (ours, rest), (theirs, other_rest) = map(_numbers_and_rest, (pair.chosen, pair.rejected))
    if ours != theirs or difference(pair.chosen, pair.rejected):
        return None
    words, other_words = content_words([rest, other_rest])
    return "" if words == other_words else None


def _numbers_and_rest(text: str) -> tuple[list, str]:
    """Return the values of a text's numbers in order, and the text without them: 14일 and 2주 are one."""
    found, between, behind = quantities(text), [], 0
    for number in found:
        between.append(text[behind : number.start])
        behind = max(behind, number.end)
    return [exact_key(number) for number in found], "".join([*between, text[behind:]])


def _is_another_answer(pair: SpoiltPair) -> str | None:
    return "" if pair.alike < _ANOTHER_ANSWER else None


def _answers_after_all(pair: SpoiltPair) -> str | None:
    return "" if pair.alike >= _SAME_ANSWER else None


def _ends(pair: SpoiltPair) -> str | None:
    return "" if has_final_mark(pair.rejected) else None


def _is_not_the_start(pair: SpoiltPair) -> str | None:
    ours, theirs = bare(pair.chosen), bare(pair.rejected)
    same = next((place for place, (one, other) in enumerate(zip(ours, theirs, strict=False)) if one != other), len(theirs))
    return "" if same < _AS_IT_STOOD * len(theirs) else None


def _is_cut_early(pair: SpoiltPair) -> str | None:
    return "" if pair.ratio < _SHORTEST_CUT else None


def _has_no_foreign_word(pair: SpoiltPair) -> str | None:
    return None if foreign_words(pair.rejected) - foreign_words(pair.chosen) else ""


def _is_hardly_longer(pair: SpoiltPair) -> str | None:
    return "" if pair.ratio < PADDED_AT_LEAST else None


def _is_polite(pair: SpoiltPair) -> str | None:
    return "" if is_polite(pair.rejected) else None


def _is_no_banmal(pair: SpoiltPair) -> str | None:
    """A sentence that ends is believed where its level cannot be told (14일 안에 해.); a heading or 한다 is no 반말."""
    for sentence, level, hidden in pair.answer.spoken:
        if is_banmal(hidden, level) or (level is None and has_final_mark(hidden) and not sentence.is_item):
            return None
    return ""


def _abuses(pair: SpoiltPair) -> str | None:
    match = _ABUSE.search(pair.rejected)
    return match[0] if match and match[0] not in pair.chosen else None


def _numbers_of(text: str, *sources: str) -> str | None:
    written_as = ", ".join(text[number.start : number.end] for number in unsupported(text, *sources))
    return written_as or None


def _loses_numbers(pair: SpoiltPair) -> str | None:
    return _numbers_of(pair.chosen, pair.rejected, pair.question)


def _adds_numbers(pair: SpoiltPair) -> str | None:
    return _numbers_of(pair.rejected, pair.chosen, pair.question) if pair.question else None


def _loses_the_facts(pair: SpoiltPair) -> str | None:
    """Facts that are to stay leave words or numbers: where the good answer's are all gone, it is another answer."""
    if quantities(pair.chosen) and not _loses_numbers(pair):
        return None
    good, spoilt = map(set, content_words([pair.chosen, pair.rejected]))
    return "" if good and good.isdisjoint(spoilt) else None


def _pair_not_korean(pair: SpoiltPair) -> str | None:
    return not_korean(pair.rejected)


_WORSE_IN_ONE_WAY = "좋은 답변을 한 가지 방식으로만 나쁘게 고칩니다"
_ALL_ELSE_THE_SAME = "그 밖의 점은 좋은 답변과 같게 둡니다"
_FACTS_STAY = "사실은 그대로"
_OF_ANY_KIND: tuple[Filter[SpoiltPair], ...] = (
    Filter("empty", _WORSE_IN_ONE_WAY, _is_empty, "the rejected answer is empty"),
    Filter("is_chosen", _WORSE_IN_ONE_WAY, _is_the_chosen, "the rejected answer is the chosen one"),
    Filter("explains", "무엇을 고쳤는지 설명하지 않습니다", _explains, "it says what was changed: {found}"),
)
_IN_KOREAN: Filter[SpoiltPair] = Filter(
    "not_korean", _ALL_ELSE_THE_SAME, _pair_not_korean, "it is in another language as well: {found}"
)
_IN_TONE: Filter[SpoiltPair] = Filter("tone", _ALL_ELSE_THE_SAME, _is_rude, "it differs in tone as well")
_IN_LENGTH: Filter[SpoiltPair] = Filter("length", _ALL_ELSE_THE_SAME, _differs_in_length, "it differs in length")
_NO_NUMBER_LOST: Filter[SpoiltPair] = Filter("loses_numbers", _FACTS_STAY, _loses_numbers, "it lost {found}")
_NO_NUMBER_ADDED: Filter[SpoiltPair] = Filter("adds_numbers", _FACTS_STAY, _adds_numbers, "it adds {found}")
_KEEPS_THE_FACTS: Filter[SpoiltPair] = Filter(
    "loses_facts", _FACTS_STAY, _loses_the_facts, "it has no word of the chosen answer's facts"
)

SPOILT_FILTERS: dict[str, tuple[Filter[SpoiltPair], ...]] = {
    "wrong_fact": (
        *_OF_ANY_KIND,
        _IN_TONE,
        _IN_LENGTH,
        _IN_KOREAN,
        Filter("same_fact", "하나만 자료와 어긋나게 바꿉니다", _says_the_same, "it changes no fact"),
        Filter("other_answer", "하나만 자료와 어긋나게 바꿉니다", _is_another_answer, "it changes far more than one fact"),
    ),
    "off_topic": (
        *_OF_ANY_KIND,
        _IN_TONE,
        _IN_LENGTH,
        _IN_KOREAN,
        Filter("answers", "질문이 아닌 다른 것에 답합니다", _answers_after_all, "it says what the chosen one says"),
    ),
    "cut_short": (
        *_OF_ANY_KIND,
        _IN_KOREAN,
        Filter("ends", "낱말이나 구절 중간에서 끊습니다", _ends, "it does not stop in mid-sentence"),
        Filter("not_the_start", _ALL_ELSE_THE_SAME, _is_not_the_start, "it is not the start of the chosen one"),
        Filter("cut_early", "뒷부분의 낱말이나 구절", _is_cut_early, "it stops before a third of the chosen one"),
    ),
    "wrong_language": (
        *_OF_ANY_KIND,
        Filter(
            "no_foreign_word", "중국어, 일본어, 영어로 씁니다", _has_no_foreign_word, "it has no foreign word of its own"
        ),
        Filter("other_answer", "낱말 한두 개만", _is_another_answer, "it changes far more than one or two words"),
    ),
    "padded": (
        *_OF_ANY_KIND,
        _IN_KOREAN,
        Filter("not_longer", "두 배 이상으로 늘립니다", _is_hardly_longer, "it is hardly longer than the chosen one"),
        _IN_TONE,
        _NO_NUMBER_LOST,
        _NO_NUMBER_ADDED,
        _KEEPS_THE_FACTS,
    ),
    "rude": (
        *_OF_ANY_KIND,
        _IN_KOREAN,
        Filter("polite", "반말로 무뚝뚝하게 씁니다", _is_polite, "it is polite"),
        Filter("no_banmal", "반말로 무뚝뚝하게 씁니다", _is_no_banmal, "it is not in 반말"),
        Filter("abuse", "욕설도 쓰지 않습니다", _abuses, "it is abusive: {found}"),
        _NO_NUMBER_LOST,
        _NO_NUMBER_ADDED,
        _KEEPS_THE_FACTS,
    ),
}


def check_spoilt(kind: str, chosen: str, rejected: str, question: str = "") -> list[Fault]:
    """Return why a rejected answer is not worse in the way that its kind says, or in other ways besides.

    What is wrong in content alone must not be told by tone or length: a reward model would learn those instead. An empty
    answer, or the chosen one itself, has no other fault.
    """
    pair = SpoiltPair(chosen, rejected, question)
    table = SPOILT_FILTERS.get(kind, _OF_ANY_KIND)
    return faults(table[:2], pair) or faults(table[2:], pair)
