"""Checks of a Korean answer that need no model: script, speech level, particles, repetition, ending, echo, numbers.

    kotune korean answers.jsonl --out findings.jsonl

`check` returns what is wrong with one answer, each finding with the span of the text that shows it; `summary` counts over
many answers; `highlight` and `highlight_html` show the spans. The checks name what is surely wrong and leave out what is in
doubt: a text without findings is not proved right. They are made for answers that should be Korean prose; an English report
is rightly named as not Korean. What they find and miss is measured on `tests/korean_checks.jsonl`.
"""

from __future__ import annotations

import argparse
import html
import itertools
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from operator import eq

from kotune.data.readers import read
from kotune.korean.grounding import unsupported
from kotune.korean.particles import is_noun, particle_errors
from kotune.korean.speech_levels import HAE, HIDDEN, LIST_MARK, PLAIN, POLITE, Sentence, masked, sentences
from utils import CourseError, write_jsonl


@dataclass(frozen=True)
class Finding:
    """What one check found: `span` is answer[start:end], and `message` says in a sentence what is wrong with it."""

    check: str
    start: int
    end: int
    span: str
    message: str


class Answer:
    """An answer in NFC with what several checks need, each worked out once."""

    def __init__(self, text: str, question: str | None = None, source: str | None = None, ended: bool | None = None):
        self.text = text
        self.question = question
        self.source = source
        self.ended = ended

    @cached_property
    def hidden(self) -> str:
        """The text with quotations and brackets hidden."""
        return masked(self.text)

    @cached_property
    def sentences(self) -> list[Sentence]:
        """The sentences with their speech levels."""
        return sentences(self.text, self.hidden)

    @cached_property
    def words(self) -> list[re.Match]:
        """What stands between spaces."""
        return list(re.finditer(r"\S+", self.text))


Found = Iterator[tuple[int, int, str]]  # start, end, message


# --- nothing, or no Korean -------------------------------------------------------------------

_CODE = re.compile(r"```.*?(?:```|\Z)|`[^`\n]+`|(?:https?://|www\.)[!-~]+|[\w.+-]+@[\w-]+\.[\w.]+", re.DOTALL | re.ASCII)
_LETTER = re.compile(r"[^\W\d_]")
_HANGUL = re.compile(r"[\u1100-\u11ff\u3131-\u318e\ua960-\ua97c\uac00-\ud7a3\ud7b0-\ud7fb]")
_NAMES = re.compile(r"\b[A-Z][\w-]*,?(?= (?:and |of )?[A-Z]|[가-힣])")  # New York Stock Exchange is no leak
_HANGUL_RUN = re.compile(f"{_HANGUL.pattern}+")
FEWEST_LETTERS, LEAST_HANGUL = 20, 0.4


def _check_empty(answer: Answer) -> Found:
    if not re.search(r"\w", answer.text):
        yield 0, len(answer.text), "The answer has no word."


def _check_low_hangul(answer: Answer) -> Found:
    if 2 * sum(map(len, _HANGUL_RUN.findall(answer.text))) >= len(answer.text):
        return  # the common case, without looking at each letter
    letters = _LETTER.findall(unicodedata.normalize("NFD", _NAMES.sub("", _CODE.sub("", answer.text))))
    hangul = sum(map(bool, map(_HANGUL.match, letters)))
    total = len(letters) + 2 * len(_WIDE.findall(answer.text))
    if total >= FEWEST_LETTERS and hangul < LEAST_HANGUL * total:
        yield 0, len(answer.text), f"Only {hangul / total:.0%} of the letters are Hangul, jamo counted one by one."


def scripts(text: str) -> dict[str, float]:
    """Return the share of each script among a text's letters: hangul, latin, hanja, kana, cyrillic, other.

    Jamo of either kind and NFD count as the Hangul that they are; digits, marks and emoji are no letters. All shares are 0
    for a text without letters.
    """
    counts = Counter(_script_of(letter) for letter in _LETTER.findall(unicodedata.normalize("NFC", text)))
    total = counts.total() or 1
    return {name: counts[name] / total for name in ("hangul", "latin", "hanja", "kana", "cyrillic", "other")}


def _script_of(letter: str) -> str:
    if _HANGUL.match(letter):
        return "hangul"
    return next((name for name, pattern in _SCRIPTS.items() if re.match(pattern, letter)), "other")


# --- other scripts ---------------------------------------------------------------------------

_HANJA = r"\u3005\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U000323af"
_KANA = r"\u3041-\u309f\u30a1-\u30fa\u30fc-\u30ff\u31f0-\u31ff\uff66-\uff9d"
_CYRILLIC = r"\u0400-\u052f\u1c80-\u1c8f\u2de0-\u2dff\ua640-\ua69f"
_LATIN = r"A-Za-zªº\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u024f\u1e00-\u1eff\uff21-\uff3a\uff41-\uff5a"
_SCRIPTS = {"latin": f"[{_LATIN}]", "hanja": f"[{_HANJA}]", "kana": f"[{_KANA}]", "cyrillic": f"[{_CYRILLIC}]"}
_WIDE = re.compile(rf"[{_HANJA}{_KANA}]")  # says as much as a Hangul syllable, of two or three jamo
_HANJA_RUN = re.compile(rf"[{_HANJA}]+(?:[\s，。、；：,]*[{_HANJA}]+)*")
_KANA_RUN = re.compile(rf"[{_KANA}{_HANJA}]*[\u3041-\u3096\u30a1-\u30fa\u31f0-\u31ff\uff66-\uff9d][{_KANA}{_HANJA}]*")
_CYRILLIC_RUN = re.compile(rf"[{_CYRILLIC}]+(?:[ -][{_CYRILLIC}]+)*")
# Greek letters stand as symbols (α, μ, π) one by one; ª and the letters of Latin and phonetic use are no leak
_OTHER_RUN = re.compile(
    r"[\u0370-\u03ff\u1f00-\u1fff]{2,}|[\u0530-\u109f\u10a0-\u10ff\u1200-\u1bff\u2c00-\u2dff\u0e00-\u0eff\u0600-\u06ff]+"
    r"(?:[ ][\u0530-\u109f\u10a0-\u10ff\u1200-\u1bff\u2c00-\u2dff]+)*"
)
_PARTIES = frozenset("甲乙丙丁")  # the parties of a contract, the heavenly stems
_NEWS = frozenset("故前現新美中日北韓英獨佛伊對與野女男")  # stands alone before a name: 故 김 선생
_READING = re.compile(r"[가-힣]+(?: [가-힣]+)*$")
_NAMED_AS_HANJA = re.compile(r"한자(?:어|로|명)?[는은도]?:? ?$")
_GLOSS_AFTER = re.compile(r"\(([가-힣 ]+)")


def _is_gloss(text: str, start: int, end: int, *, same_length: bool) -> bool:
    """Return whether a run in brackets follows its Korean reading: 전세(傳貰), 도쿄(東京), 모스크바(Москва)."""
    opening = text.rfind("(", 0, start)
    if opening < 0 or ")" in text[opening:start] or _HANGUL.search(text, opening + 1, start):
        return False
    reading = _READING.search(text[max(0, opening - 40) : opening].rstrip("’”'\"」』"))
    return bool(reading) and (not same_length or len(reading[0].replace(" ", "")) >= len(re.sub(r"\W", "", text[start:end])))


def _check_hanja(answer: Answer) -> Found:
    text = answer.text
    for match in _HANJA_RUN.finditer(text):
        start, end = match.span()
        run = match[0]
        if _KANA_RUN.search(text, max(0, start - 1), end + 1) or _is_gloss(text, start, end, same_length=True):
            continue
        after = _GLOSS_AFTER.match(text, end)
        is_named = _NAMED_AS_HANJA.search(text[max(0, start - 6) : start]) or _is_quoted(text, start, end)
        named = len(run) <= 4 and is_named
        apart = text[end : end + 1].isspace() and not text[max(0, start - 1) : start].strip()
        alone = run in _PARTIES or (run in _NEWS and apart)
        if (after and len(after[1].replace(" ", "")) >= len(run)) or named or alone:
            continue
        yield start, end, f"{run} is Hanja or Chinese without its Korean reading."


def _is_quoted(text: str, start: int, end: int) -> bool:
    return text[max(0, start - 1) : start] in tuple("‘'“\"「") and text[end : end + 1] in tuple("’'”\"」")


def _check_kana(answer: Answer) -> Found:
    for match in _KANA_RUN.finditer(answer.text):
        if not _is_gloss(answer.text, *match.span(), same_length=False):
            yield *match.span(), f"{match[0]} is Japanese."


def _check_cyrillic(answer: Answer) -> Found:
    for match in _CYRILLIC_RUN.finditer(answer.text):
        if not _is_gloss(answer.text, *match.span(), same_length=False):
            yield *match.span(), f"{match[0]} is Cyrillic."


def _check_other_script(answer: Answer) -> Found:
    for match in _OTHER_RUN.finditer(answer.text):
        if not _is_gloss(answer.text, *match.span(), same_length=False):
            name = unicodedata.name(match[0][0], "UNKNOWN").split()[0].capitalize()
            yield *match.span(), f"{match[0]} is in another script ({name})."


_WORD = r"[A-Za-z][A-Za-z'’]*(?:-[A-Za-z]+)*"
_LATIN_RUN = re.compile(rf"(?<![\w/.@\\$-]){_WORD}(?:[ ,;:]{{1,2}}{_WORD}){{2,}}")
_SMALL_WORDS = frozenset(("of", "and", "the", "for", "in", "on", "to", "a"))  # part of many a name
_TERMS = frozenset(("end to end", "peer to peer", "point of sale", "do it yourself", "state of the art"))


def _check_latin_run(answer: Answer) -> Found:
    if not re.search(r"[a-z] [a-z]", answer.text):
        return
    text = _CODE.sub(lambda match: "\x01" * len(match[0]), answer.text)
    for match in _LATIN_RUN.finditer(text):
        start, end = match.span()
        words = match[0].split()
        lower = [word for word in words if word[0].islower() and word not in _SMALL_WORDS]
        is_gloss = text[max(0, start - 1) : start] == "(" and text[end : end + 1] in tuple("),") and len(words) <= 6
        if len(lower) >= 2 and not is_gloss and match[0].lower() not in _TERMS:
            yield start, end, f"{len(words)} words run on in another language."


_LOOSE_JAMO = re.compile(
    r"(?:(?<=[가-힣])[ㄱ-ㅎㅏ-ㅣ]+(?=[가-힣])|([ㄱ-ㅎㅏ-ㅣ])\1+|[ㅋㅎㅠㅜㅇㄴㄷㅈㅅㄱ]{2,})[ㄱ-ㅎㅏ-ㅣ]*"
)
_ANY_JAMO = re.compile("[ㄱ-ㅎㅏ-ㅣ]")
_IN_ORDER = "ㄱㄴㄷㄹㅁㅂㅅㅇㅈㅊㅋㅌㅍㅎ"


def _check_loose_jamo(answer: Answer) -> Found:
    if not _ANY_JAMO.search(answer.text):
        return
    for match in _LOOSE_JAMO.finditer(answer.text):
        if len(match[0]) == 1 or match[0] not in _IN_ORDER:  # ㄱㄴㄷ 순서
            yield *match.span(), f"{match[0]} is no syllable: chat, or a broken one."


# --- speech level and particles --------------------------------------------------------------


def _check_mixed_speech(answer: Answer) -> Found:
    polite = [sentence for sentence in answer.sentences if sentence.level in POLITE]
    plain = [sentence for sentence in answer.sentences if sentence.level in PLAIN]
    if polite and plain:
        fewer, most = (polite, plain) if len(polite) < len(plain) else (plain, polite)
        for sentence in fewer:
            yield sentence.start, sentence.end, f"This sentence is {sentence.level}, and others are {most[0].level}."


def _check_banmal(answer: Answer) -> Found:
    for sentence in answer.sentences:
        if sentence.level == HAE:
            yield sentence.start, sentence.end, "This sentence is 반말 (해체)."


def _check_particle(answer: Answer) -> Found:
    for error in particle_errors(answer.text):
        yield error.start, error.end, f"{error.found} should be {error.right}."


# --- repetition ------------------------------------------------------------------------------

LEAST_REPEATED_LETTERS = 6  # of a sentence
NGRAM, NGRAM_TIMES = 5, 3
_EMPHASIS = frozenset(("정말", "진짜", "너무", "아주", "매우", "제발", "꼭", "하나씩", "조금씩"))  # may be said thrice
_REPEATED_CHARACTER = re.compile(r"([가-힣!?~,;])\1{3,}|([가-힣]{2,6}?)\2{3,}|([^\s\w*=\-_.#|─━])\3{5,}|\.{7,}")
_LAUGHTER = frozenset("하호히흐크헤")


_OPENING_WORD = re.compile(rf"{LIST_MARK.pattern}|(?:네|예|아니요|또한|그리고|즉), ")


_LETTERS = re.compile(r"[^\W_]+")


def _bare(text: str) -> str:
    return "".join(_LETTERS.findall(text))


def _check_repeated_sentence(answer: Answer) -> Found:
    if len(answer.sentences) < 2:
        return
    seen: set[str] = set()
    for sentence in answer.sentences:
        opening = _OPENING_WORD.match(answer.text, sentence.start)
        letters = _bare(answer.text[opening.end() if opening else sentence.start : sentence.end])
        if letters in seen:
            yield sentence.start, sentence.end, "This sentence stands in the answer before."
        elif len(letters) >= LEAST_REPEATED_LETTERS:
            seen.add(letters)


def _check_repeated_ngram(answer: Answer) -> Found:
    words = [match[0].strip(".,!?") for match in answer.words]
    if len(words) < 3:
        return
    covered = -1
    for start, end, size in _loops(words):
        unit_end = answer.words[start + size - 1][0]
        if unit_end.endswith(_ENDED) and len(_bare("".join(words[start : start + size]))) >= LEAST_REPEATED_LETTERS:
            continue  # whole sentences: the check above has named them
        if size == 1 and end - start == 3 and words[start] in _EMPHASIS:
            continue
        first, last = answer.words[start].start(), answer.words[end - 1].end()
        if first > covered:
            yield first, last, f"The same words stand {(end - start) // size} times in a row."
            covered = last
    if len(words) > len(set(words)) + NGRAM * (NGRAM_TIMES - 1) - 1:
        yield from _scattered(answer, words, covered)


def _loops(words: list[str]) -> list[tuple[int, int, int]]:
    """Return (first word, behind the last, words a phrase) of phrases in a row: of up to two words thrice, of more twice."""
    found = []
    if len(set(words)) == len(words):
        return found
    for size in range(1, min(8, len(words) // 2) + 1):
        equal = list(map(eq, words[size:], words))
        if sum(equal) < min(size, 3):
            continue
        same = 0
        for place, is_same in enumerate([*equal, False], start=size):
            if is_same:
                same += 1
                continue
            least = size if size >= 3 else 2 * size  # three words said twice in a row are enough
            if same >= least and any(words[place - same : place]):
                found.append((place - same - size, place, size))
            same = 0
    return sorted(found, key=lambda loop: (loop[0], -loop[1]))


def _scattered(answer: Answer, words: list[str], covered: int) -> Found:
    """Yield the third and later places of the same five words, where no loop has been named there."""
    counts: Counter[tuple[str, ...]] = Counter()
    behind = 0
    for place in range(len(words) - NGRAM + 1):
        gram = tuple(words[place : place + NGRAM])
        counts[gram] += 1
        first, last = answer.words[place].start(), answer.words[place + NGRAM - 1].end()
        if counts[gram] >= NGRAM_TIMES and place >= behind and first > covered and len(_bare("".join(gram))) >= 8:
            yield first, last, f"These {NGRAM} words stand here for the {counts[gram]}th time."
            behind = place + NGRAM


def _check_repeated_characters(answer: Answer) -> Found:
    for match in _REPEATED_CHARACTER.finditer(answer.text):
        if not set(match[0]) <= _LAUGHTER:
            yield *match.span(), "The same characters repeat."


# --- the ending ------------------------------------------------------------------------------

_ENDED = tuple(".!?…。~！？")
_AFTER_THE_END = re.compile(r"[\s”’\"'」』)\]*_`|ㅋㅎㅠㅜ\u2190-\u21ff\u2300-\u2bff\ufe0f\U0001f000-\U0001faff]+$")
_NEVER_LAST = tuple(",:;·、(/+=&,‘“「『(")
_OPEN_BRACKET = re.compile(r"[“‘「『(][^”’」』)\n]*$")
_BARE_MARK = re.compile(r"(?:^|\n)\s*(?:\d{1,3}[.)]|[-*•])$")
_DANGLING = re.compile(
    r"(?:[가-힣](?:을|를|의|에게|하고|하며|하면|지만|므로|면서|거나|려면|니까|는데|으며|에는|에도|에서|에서는|"
    r"으로는|부터는|들은|에서의|와의|과의)|"
    r"(?:^|\s)(?:등이|등을|등은|등의|등으로|및|또는|그리고|그래서|그러면|그런데|반면|반면에|게다가|하지만|그러나|"
    r"따라서|그러므로|때문에|위해|위해서|위한|대한|관한|따라|통해|통한|의한|있는|하는|되는|않는|없는|받는|있고|"
    r"없고|하여|해서|되어|인한|"
    r"같은|이러한|그러한|그|이|저|한|할|될|된|있을|없을|않고|않으면|있으면|있어|되면|하지|경우에는))$"
)
_ITEM_DANGLING = re.compile(  # "- 잔금: 서류를 넘기면서" is whole
    r"(?:[가-힣](?:을|를|의)|(?:^|\s)(?:및|또는|그리고|위한|대한|관한|통한|있는|하는|되는|않는|없는))$"
)
_ADVERB_LAST = re.compile(
    r"\s(?:현재|우선|먼저|바로|다시|모두|가장|매우|더|더욱|또|약|단|즉|특히|반드시|이미|아직|보통|대개|주로|만약|"
    r"만일|직접|미리|새로|함께|서로|모든|어떤|여러)$"
)
_BREAKS_OFF_LONG = re.compile(
    r"(?:[가-힣](?:부터|더라도|아도|어도|해도|보다|적으로|째는)|[가-힣][되하지주받시]는|\s더한|\s대체로|(?:^|"
    r"\s)(?:집|때|곳|날|것|앞|뒤|안|밖|위)(?:에|은|이|을|의|과))$"
)
_CLAUSE = re.compile(r"(?:지만|므로|으며|하며|면서|는데|니까|으면|하면|해서|때문에|는다면|있어서|않아|하고),?\s")
_NOMINAL = re.compile(r"(?:음|함|됨|임|기|것|듯|중|전|후|때|뿐|드림|올림|배상)$")
_PARTICLE_AFTER_NOUN = re.compile(r"(?:^|\s)\W*([가-힣]{2,}?)(?:은|는|이|가|을|를|과|와|의|에|도|으로|로)$")
LONG_FRAGMENT = 12  # characters; a shorter one may be a title


def _check_unfinished(answer: Answer) -> Found:
    text = _TOKENS_LAST.sub("", answer.text)
    if not text:
        return
    last_line = text.rfind("\n") + 1
    if text.count("```") % 2:
        yield text.rfind("```"), len(text), "A block of code does not end."
        return
    if _BARE_MARK.search(text):
        yield last_line, len(text), "The last item of the list is empty."
        return
    opened = _OPEN_BRACKET.search(text, last_line)
    if opened:
        yield opened.start(), len(text), "A bracket or quotation does not end."
        return
    if text[-1] in _NEVER_LAST:
        yield _last_word(text), len(text), "The answer does not end here."
        return
    core = _AFTER_THE_END.sub("", text)
    if not core or core[-1] in _ENDED:
        return
    reason = _why_unfinished(answer, core, last_line)
    if reason:
        yield _last_word(core), len(core), reason


def _last_word(text: str) -> int:
    return max(text.rfind(" "), text.rfind("\n")) + 1


def _why_unfinished(answer: Answer, core: str, last_line: int) -> str | None:
    """Return why a text without a final mark is cut short, or None where it may be a title, an item or a sentence."""
    last = answer.sentences[-1]
    is_remark = not answer.hidden[last.start : last.end].strip(HIDDEN)
    if is_remark or last.level or core.endswith(("|", "```")):
        return None
    fragment = core[last.start :] if last.start < len(core) else core
    if last.is_item:
        return "The last item breaks off after a word that needs another." if _ITEM_DANGLING.search(fragment[-30:]) else None
    if _needs_another_word(fragment):
        return "The answer breaks off after a word that needs another."
    if _NOMINAL.search(fragment):
        return None
    if _follows_a_sentence(answer, last, last_line):
        return "The last sentence has no end."
    return "The answer breaks off in a sentence." if _is_clause(fragment, answer.hidden[last.start :]) else None


def _needs_another_word(fragment: str) -> bool:
    """Return whether the last word cannot be the last: 을, 및, 있는, or, of a longer fragment, 않아도 and 혈압이."""
    tail = fragment[-30:]
    if _DANGLING.search(tail):
        return True
    return len(fragment) >= LONG_FRAGMENT and bool(_BREAKS_OFF_LONG.search(tail) or _ends_in_a_particle(tail))


def _is_clause(fragment: str, hidden: str) -> bool:
    return len(fragment) >= LONG_FRAGMENT and bool(_ADVERB_LAST.search(fragment[-30:]) or _CLAUSE.search(hidden))


def _follows_a_sentence(answer: Answer, last: Sentence, last_line: int) -> bool:
    """Return whether a whole sentence stands before the last one in the same line."""
    before = answer.text[last_line : last.start].rstrip()
    return last.start > last_line and before.endswith(_ENDED) and any(s.level for s in answer.sentences[:-1])


def _ends_in_a_particle(tail: str) -> bool:
    match = _PARTICLE_AFTER_NOUN.search(tail)
    last = tail.rsplit(maxsplit=1)[-1]
    return not is_noun(last) and (last.endswith("고") or bool(match and is_noun(match[1])))  # 낮추고, 혈압이; not 신고, 나이


def _check_no_end_token(answer: Answer) -> Found:
    if answer.ended is False and answer.text.strip():
        text = answer.text.rstrip()
        yield _last_word(text), len(text), "The model did not end the answer: it was cut at the limit of tokens."


# --- what does not belong --------------------------------------------------------------------

_TOKENS = (
    r"</?(?:start_of_turn|end_of_turn|start_of_image|bos|eos|pad|unk|mask|s|sep|cls|turn|im_start|im_end|endoftext)>"
    r"|<unused\d+>|<0x[0-9A-Fa-f]{2}>|<\|[^|<>\n]{1,40}\|>|\[/?INST\]|<</?SYS>>|\[(?:PAD|UNK|CLS|SEP|MASK|EOS|BOS)\]"
)
_MARKERS = re.compile(
    rf"{_TOKENS}"
    r"|#{2,}[ ]?(?:출력|입력|지시|지시문|지시사항|명령|명령어|응답|답변|답|질문|문맥|맥락|Instruction|Response|"
    r"Input|Output|Question|Answer|Context)\b[ ]?:?"
    r"|\{\{?(?:question|answer|instruction|input|output|context|document|response|query|prompt)s?\}\}?"
    r"|[▁�]+"
    r"|(?m:^(?:user|model|assistant|system|human|instruction|response)[ ]*:?[ ]*$)",
    re.IGNORECASE,
)
_TOKENS_LAST = re.compile(rf"(?:\s|{_TOKENS})+\Z", re.IGNORECASE)


def _check_template_marker(answer: Answer) -> Found:
    for match in _MARKERS.finditer(answer.text):
        yield *match.span(), f"{match[0]} belongs to the template or the tokenizer, not to the answer."


LEAST_ECHO_LETTERS = 8
ECHO_SHARE = 0.8  # of the pairs of letters that a question and a sentence have in common (Dice)
ECHO_SHARE_WHEN_SAID = 0.55
WHOLE_ECHO = 0.42, 0.68  # of the answer's pairs in the question, and of the question's in the answer
_SAYS_WHAT_WAS_ASKED = re.compile(r"(?:물으셨|물어보셨|문의하셨|질문하셨|질문이군|질문입니|궁금해하시|궁금하시|답해 달라고)")
_OPENS_A_LIST = re.compile(r"(?:다음과|아래와) 같|들 수 있습니다|이렇습니다")
# "신고하지 않아도 되나요?" is rightly answered in its own words; a question with one of these is not
_OPEN_QUESTION = re.compile(
    r"무엇|무슨|뭐|뭘|뭔|어떤|어떻|어떡|어디|언제|누구|누가|왜|얼마|몇|어느|까닭|이유|방법|차이|알려|알고 싶|설명|"
    r"추천|말해|말씀해|가르쳐|짚어|예를|소개|써 주"
)


def _check_echo(answer: Answer) -> Found:
    question = _bare(answer.question or "")
    if len(question) < LEAST_ECHO_LETTERS:
        return
    repeated = _repeated_start(answer.text, question)
    if repeated:
        yield *repeated, "The answer begins with the question."
        return
    said_again = _bare(answer.text)
    if sum(question[place : place + 2] in said_again for place in range(len(question) - 1)) < 0.4 * len(question):
        return  # no share below can be reached
    is_open = bool(_OPEN_QUESTION.search(answer.question))
    asked = Counter(itertools.pairwise(question))
    whole = Counter[tuple[str, str]]()
    found = False
    for sentence in answer.sentences:
        text = answer.text[sentence.start : sentence.end]
        letters = _bare(text)
        own = Counter(itertools.pairwise(letters))
        whole += own
        if not 0.5 * len(question) <= len(letters) <= 2 * len(question):
            continue
        share = 2 * (asked & own).total() / (asked.total() + own.total())
        said = share >= ECHO_SHARE_WHEN_SAID and _SAYS_WHAT_WAS_ASKED.search(text)
        same = share >= ECHO_SHARE and (is_open or text.endswith("?")) and not _OPENS_A_LIST.search(text)
        if said or same:
            found = True
            yield sentence.start, sentence.end, "This sentence only says the question again."
    common = (asked & whole).total()
    if is_open and not found and common >= WHOLE_ECHO[0] * whole.total() and common >= WHOLE_ECHO[1] * asked.total():
        yield 0, len(answer.text), "The answer hardly says more than the question."


def _repeated_start(text: str, question: str) -> tuple[int, int] | None:
    """Return the span at the start of a text whose letters are those of the question."""
    letters = re.finditer(r"[^\W_]", text)
    start = end = None
    for wanted in question:
        match = next(letters, None)
        if match is None or match[0] != wanted:
            return None
        start = match.start() if start is None else start
        end = match.end()
    return start, end


def _check_unsupported_number(answer: Answer) -> Found:
    if answer.source is None:
        return
    for match in unsupported(answer.text, f"{answer.source}\n{answer.question or ''}"):
        yield *match.span(), f"The number {match[0]} stands neither in the source nor in the question."


# --- all of them -----------------------------------------------------------------------------

_CHECKS: dict[str, tuple[Callable[[Answer], Found], str]] = {
    "empty": (_check_empty, "no word at all"),
    "low_hangul": (_check_low_hangul, "less than 40% of the letters are Hangul, each jamo a letter"),
    "hanja": (_check_hanja, "Hanja or Chinese, unless it stands in brackets after its reading"),
    "kana": (_check_kana, "Japanese"),
    "cyrillic": (_check_cyrillic, "Cyrillic"),
    "other_script": (_check_other_script, "letters of other scripts: Thai, Arabic, Devanagari, words in Greek"),
    "latin_run": (_check_latin_run, "three or more words of English prose"),
    "loose_jamo": (_check_loose_jamo, "consonants or vowels that form no syllable: ㅋㅋ, 하ㄴ다"),
    "mixed_speech": (_check_mixed_speech, "존댓말 and 해라체 or 반말 in one answer: the sentences of the rarer kind"),
    "banmal": (_check_banmal, "a sentence in 반말 (해체)"),
    "particle": (_check_particle, "은/는, 이/가, 을/를, 과/와 or (으)로 that does not fit the sound before it"),
    "repeated_sentence": (_check_repeated_sentence, "a sentence that stands in the answer before"),
    "repeated_ngram": (
        _check_repeated_ngram,
        "words three times in a row, a longer phrase twice, or the same five words thrice",
    ),
    "repeated_characters": (_check_repeated_characters, "the same syllables or marks four times and more"),
    "unfinished": (_check_unfinished, "the last sentence, bracket, item or block of code breaks off"),
    "no_end_token": (_check_no_end_token, "the model was cut at the limit of tokens (needs `ended`)"),
    "template_marker": (_check_template_marker, "special tokens, template headings, broken bytes"),
    "echo": (_check_echo, "the question again (needs `question`)"),
    "unsupported_number": (_check_unsupported_number, "a number that source and question do not have (needs `source`)"),
}
CHECKS = {name: description for name, (_, description) in _CHECKS.items()}
NEEDS = {"no_end_token": "ended", "echo": "question", "unsupported_number": "source"}


def check(
    answer: str, *, question: str | None = None, source: str | None = None, ended: bool | None = None
) -> list[Finding]:
    """Return what is wrong with an answer, in the order of the checks; an empty list where nothing is.

    question and source serve the checks `echo` and `unsupported_number`, `ended` (whether the model wrote its end token)
    serves `no_end_token`; each is left out where what it needs is None. Starts and ends count characters of the answer
    as it was given: an answer in NFD (as macOS names files) has the findings of its NFC.

    Raises:
        CourseError: the answer is no string.
    """
    if not isinstance(answer, str):
        raise CourseError(f"An answer is {type(answer).__name__}, not a string; write an empty string where there is none.")
    if unicodedata.is_normalized("NFC", answer):
        return _findings(Answer(answer, question, source, ended))
    composed, starts, ends = _composed(answer)
    found = _findings(Answer(composed, question, source, ended))
    return [_moved(finding, answer, starts, ends) for finding in found]


def _findings(answer: Answer) -> list[Finding]:
    if not re.search(r"\w", answer.text):  # nothing else can be said of it
        return [Finding("empty", *span, answer.text, message) for *span, message in _check_empty(answer)]
    return [
        Finding(name, start, end, answer.text[start:end], message)
        for name, (function, _) in _CHECKS.items()
        for start, end, message in function(answer)
    ]


_CLUSTER = re.compile(r".[\u0300-\u036f\u1160-\u11ff\u302a-\u302f\u3099\u309a]*", re.DOTALL)


def _composed(text: str) -> tuple[str, list[int], list[int]]:
    """Return a text in NFC, and for each of its characters where it starts and ends in the text as given."""
    pieces, starts, ends = [], [], []
    for match in _CLUSTER.finditer(text):
        piece = unicodedata.normalize("NFC", match[0])
        pieces.append(piece)
        starts += [match.start()] * len(piece)
        ends += [match.end()] * len(piece)
    return "".join(pieces), starts, ends


def _moved(finding: Finding, text: str, starts: list[int], ends: list[int]) -> Finding:
    start = starts[finding.start] if finding.start < len(starts) else len(text)
    end = ends[finding.end - 1] if finding.end > finding.start else start
    return Finding(finding.check, start, end, text[start:end], finding.message)


# --- many answers ----------------------------------------------------------------------------


@dataclass(frozen=True)
class Count:
    """How often one check found something: in `answers` of `n` answers that it applied to, `findings` times in all."""

    check: str
    n: int
    answers: int
    share: float
    findings: int


def summary(found: Sequence[Sequence[Finding]], applied: dict[str, int] | None = None) -> list[Count]:
    """Return a count a check over the findings of many answers, checks that found nothing included.

    applied: for the checks of NEEDS, to how many answers they applied (those with a question, a source, a known end); all
    where it says nothing. A share is NaN where a check applied to none.
    """
    answers = Counter(name for findings in found for name in {finding.check for finding in findings})
    totals = Counter(finding.check for findings in found for finding in findings)
    counts = []
    for name in CHECKS:
        n = (applied or {}).get(name, len(found))
        counts.append(Count(name, n, answers[name], answers[name] / n if n else float("nan"), totals[name]))
    return counts


def applied_to(rows: Sequence[dict]) -> dict[str, int]:
    """Return to how many rows each check of NEEDS applies: those whose field is there."""
    return {name: sum(row.get(field) is not None for row in rows) for name, field in NEEDS.items()}


# --- to read ---------------------------------------------------------------------------------


def _segments(answer: str, findings: Sequence[Finding]) -> Iterator[tuple[str, list[Finding]]]:
    """Yield the answer in pieces, each with the findings that cover it; overlaps become pieces of their own."""
    cuts = sorted({0, len(answer)} | {place for finding in findings for place in (finding.start, finding.end)})
    for start, end in itertools.pairwise(cuts):
        yield answer[start:end], [f for f in findings if f.start <= start and end <= f.end]


def highlight(answer: str, findings: Sequence[Finding]) -> str:
    """Return an answer as text with each finding's span in 【】 and the names of its checks behind it."""
    pieces = []
    for piece, covering in _segments(answer, findings):
        names = ", ".join(dict.fromkeys(finding.check for finding in covering))
        pieces.append(f"【{piece}】({names})" if covering else piece)
    return "".join(pieces) or "【】(" + ", ".join(finding.check for finding in findings) + ")" * bool(findings)


def highlight_html(answer: str, findings: Sequence[Finding]) -> str:
    """Return an answer as HTML with each finding's span in <mark>, its message as the title; everything is escaped."""
    pieces = []
    for piece, covering in _segments(answer, findings):
        text = html.escape(piece).replace("\n", "<br>")
        if covering:
            title = html.escape(" ".join(f"{finding.check}: {finding.message}" for finding in covering))
            text = f'<mark title="{title}">{text}</mark>'
        pieces.append(text)
    if not answer and findings:
        pieces.append(f"<mark>{html.escape(', '.join(finding.check for finding in findings))}</mark>")
    return "".join(pieces)


# --- command line ----------------------------------------------------------------------------

_FIELDS = {"answer": str, "question": str, "source": str, "ended": bool}


def check_rows(path: str) -> tuple[list[dict], list[list[Finding]]]:
    """Return the rows of a file of answers, and each row's findings.

    A row has `answer` and, where known, `question`, `source` and `ended`.

    Raises:
        CourseError: a row has no answer, or a field is of another kind; the message names the line.
    """
    rows, found = [], []
    for place, row in read(path):
        if row.get("answer") is None:
            raise CourseError(f"{place}, has no answer; every row needs the field answer, if only as an empty string.")
        for field, kind in _FIELDS.items():
            value = row.get(field)
            if value is not None and not isinstance(value, kind):
                wanted = "true or false" if kind is bool else "a string"
                raise CourseError(f"{place}, field {field}, is {type(value).__name__}; write {wanted}.")
        rows.append(row)
        found.append(check(row["answer"], **{field: row.get(field) for field in ("question", "source", "ended")}))
    return rows, found


def table(counts: Sequence[Count]) -> str:
    """Return the counts as lines of text, one a check."""
    lines = [f"{'check':<20}{'answers':>8}{'of':>7}{'share':>8}  finds"]
    for count in counts:
        share = f"{count.share:.1%}" if count.n else "-"
        lines.append(f"{count.check:<20}{count.answers:>8}{count.n:>7}{share:>8}  {CHECKS[count.check]}")
    return "\n".join(lines)


def check_command(chosen: argparse.Namespace) -> None:
    """Check a file of answers as the command line asks: print the counts and, where asked, write a line a finding."""
    rows, found = check_rows(chosen.answers)
    if chosen.out:
        lines = [
            {"row": number, **({"id": row["id"]} if "id" in row else {}), **asdict(finding)}
            for number, (row, findings) in enumerate(zip(rows, found, strict=True), start=1)
            for finding in findings
        ]
        write_jsonl(chosen.out, lines)
    clean = sum(not findings for findings in found)
    print(f"{len(found)} answers, {clean} without findings\n{table(summary(found, applied_to(rows)))}")
