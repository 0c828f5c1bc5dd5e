"""Checks of what is said again: sentences, word sequences, characters, and the question handed back."""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Iterator
from operator import eq

from kotune.korean.answer import CheckedAnswer, Spans, bare_letters
from kotune.korean.particles import is_noun
from kotune.korean.sentences import FINAL_MARKS, LIST_MARK

NGRAM, NGRAM_TIMES = 5, 3
LEAST_REPEATED_LETTERS = 6  # of a sentence
_TIMES_IN_A_ROW, _LEAST_LETTERS_IN_A_ROW = 3, 4  # of a shorter one


_MAY_BE_SAID_THRICE = "정말 진짜 너무 아주 매우 제발 꼭 하나씩 조금씩 더 또 네 예 훨씬 많이 천천히 빨리"
_EMPHASIS = frozenset(_MAY_BE_SAID_THRICE.split())


_REPEATED_CHARACTER = re.compile(r"([가-힣!?~,;])\1{3,}|([가-힣]{2,6}?)\2{3,}|([^\s\w*=\-_.#|─━])\3{5,}|\.{7,}")


_LAUGHTER = frozenset("하호히흐크헤")


_OPENING_WORD = re.compile(rf"{LIST_MARK.pattern}|(?:네|예|아니요|또한|그리고|즉), ")


def check_repeated_sentence(answer: CheckedAnswer) -> Spans:
    if len(answer.sentences) < 2:
        return
    seen: set[str] = set()
    last, in_a_row = "", 0
    for sentence in answer.sentences:
        opening = _OPENING_WORD.match(answer.text, sentence.start)
        letters = bare_letters(answer.text[opening.end() if opening else sentence.start : sentence.end])
        in_a_row = in_a_row + 1 if letters == last else 1
        last = letters
        if letters in seen or (in_a_row >= _TIMES_IN_A_ROW and len(letters) >= _LEAST_LETTERS_IN_A_ROW):
            yield sentence.start, sentence.end, "This sentence stands in the answer before."
        elif len(letters) >= LEAST_REPEATED_LETTERS:
            seen.add(letters)


def check_repeated_ngram(answer: CheckedAnswer) -> Spans:
    written = answer.text.split()
    if len(written) < 3:
        return
    words = [word.strip(".,!?") for word in written]
    found: list[tuple[int, int, str]] = []
    covered = 0  # the first word behind the last loop
    for start, end, size in _loops(words):
        ends_a_sentence = written[start + size - 1].endswith(tuple(FINAL_MARKS))
        if ends_a_sentence and len(bare_letters("".join(words[start : start + size]))) >= LEAST_REPEATED_LETTERS:
            continue  # whole sentences: the check above has named them
        if size == 1 and end - start == 3 and words[start] in _EMPHASIS:
            continue
        if start >= covered:
            found.append((start, end, f"The same words stand {(end - start) // size} times in a row."))
            covered = end
    if len(words) - len(set(words)) >= NGRAM * (NGRAM_TIMES - 1):
        found += _scattered(words, covered)
    if found:
        yield from _spans_of_words(answer.text, found)


def _spans_of_words(text: str, found: list[tuple[int, int, str]]) -> Spans:
    """Yield findings in characters that are told in words: (first word, behind the last, message)."""
    wanted = {place for start, end, _ in found for place in (start, end - 1)}
    spans = {place: match.span() for place, match in enumerate(re.finditer(r"\S+", text)) if place in wanted}
    for start, end, message in found:
        yield spans[start][0], spans[end - 1][1], message


def _loops(words: list[str]) -> list[tuple[int, int, int]]:
    """Return (first word, behind the last, words a phrase) of phrases in a row: of up to two words thrice, of more twice."""
    found: list[tuple[int, int, int]] = []
    if len(set(words)) == len(words):
        return found
    for size in range(1, min(8, len(words) // 2) + 1):
        least = size if size >= 3 else 2 * size  # three words said twice in a row are enough
        equal = bytes(map(eq, words[size:], words))  # 1 where a word is the one `size` words before it
        if b"\1" * least not in equal:
            continue
        for run in re.finditer(rb"\x01{%d,}" % least, equal):
            if any(words[run.start() + size : run.end() + size]):
                found.append((run.start(), run.end() + size, size))
    return sorted(found, key=lambda loop: (loop[0], -loop[1]))


def _scattered(words: list[str], covered: int) -> Iterator[tuple[int, int, str]]:
    """Yield the third and later places of the same five words, from the word on where no loop has been named."""
    grams = list(zip(*(words[step:] for step in range(NGRAM)), strict=False)) if covered + NGRAM <= len(words) else []
    often = {gram for gram, count in Counter(grams).items() if count >= NGRAM_TIMES}
    if not often:
        return
    counts = Counter(grams[:covered])
    behind = 0
    for place in range(covered, len(grams)):
        gram = grams[place]
        if gram not in often:
            continue
        counts[gram] += 1
        if counts[gram] >= NGRAM_TIMES and place >= behind and len(bare_letters("".join(gram))) >= 8:
            yield place, place + NGRAM, f"These {NGRAM} words stand here for the {counts[gram]}th time."
            behind = place + NGRAM


def check_repeated_characters(answer: CheckedAnswer) -> Spans:
    for match in _REPEATED_CHARACTER.finditer(answer.text):
        if not set(match[0]) <= _LAUGHTER:
            yield *match.span(), "The same characters repeat."


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


def check_echo(answer: CheckedAnswer) -> Spans:
    question = bare_letters(answer.question or "")
    if len(question) < LEAST_ECHO_LETTERS:
        return
    repeated = _repeated_start(answer.text, question)
    if repeated and not _says_more_of_it(answer.text[repeated[1] :], question):
        yield *repeated, "The answer begins with the question."
        return
    said_again = set(itertools.pairwise(bare_letters(answer.text)))
    if sum(pair in said_again for pair in itertools.pairwise(question)) < 0.4 * len(question):
        return  # no share below can be reached
    is_open = bool(_OPEN_QUESTION.search(answer.question or ""))
    asked = Counter(itertools.pairwise(question))
    found = False
    for sentence in answer.sentences:
        if sentence.end - sentence.start < 0.5 * len(question):
            continue
        text = answer.text[sentence.start : sentence.end]
        if _says_the_question_again(text, asked, is_open):
            found = True
            yield sentence.start, sentence.end, "This sentence only says the question again."
    if is_open and not found and (_is_circular(answer, asked) or _hardly_says_more(answer, asked)):
        yield 0, len(answer.text), "The answer hardly says more than the question."


def _says_the_question_again(text: str, asked: Counter[tuple[str, str]], is_open: bool) -> bool:
    letters = bare_letters(text)
    length = asked.total() + 1
    if not 0.5 * length <= len(letters) <= 2 * length:
        return False
    own = Counter(itertools.pairwise(letters))
    share = 2 * (asked & own).total() / (asked.total() + own.total())
    said = share >= ECHO_SHARE_WHEN_SAID and _SAYS_WHAT_WAS_ASKED.search(text)
    return bool(said or (share >= ECHO_SHARE and (is_open or text.endswith("?")) and not _OPENS_A_LIST.search(text)))


_ANNOUNCES = re.compile(  # what it will speak of, and nothing of it
    r"에 ?(?:대해|대하여|대한|관해|관하여)(?:서)? ?(?:자세히|간단히|바로)? ?(?:설명|안내|답변?|말씀|정리)(?:을|를)? ?"
    r"(?:해|하|드리)?(?: ?드리)?(?:겠습니다|도록 하겠습니다|릴게요|할게요)[.!]?$|"
    r"궁금하(?:시군요|신가요|시죠|시네요|셨군요)[.!?]?$|(?:물어보셨네요|물으셨네요|질문하셨네요|문의하셨네요)[.!]?$"
)
CIRCULAR = 0.7, 0.4  # of the answer's pairs, those of the question; of the question's, those of the answer
_WORD_AND_PARTICLE = re.compile(r"([가-힣]{2,}?)(?:은|는|이|가|을|를|의|에|에서|으로|로|과|와|도|입니다|이다|이에요|예요)?$")
_OBJECT = re.compile(r"([가-힣]{2,})(?:을|를|에서|에게)$")
_WORDS_OF_ANY_ANSWER = """
경우 질문 답변 내용 문제 방법 때문 정도 사항 설명 안내 이유 위해 대해 통해 관해 다음 여러 가지 중요 필요 사람 우리 여기
이것 그것
"""
_LONGEST_WORD = 24
_SAYS_NOTHING_NEW = frozenset(_WORDS_OF_ANY_ANSWER.split())


def _is_circular(answer: CheckedAnswer, asked: Counter[tuple[str, str]]) -> bool:
    """Return whether an answer only announces itself, or says a thing by itself: 차이는 전세와 월세의 차이입니다."""
    text = answer.text.strip()
    own = list(itertools.pairwise(bare_letters(text)))
    if not own or len(own) > 3 * asked.total():
        return False
    of_answer, of_question = CIRCULAR
    said = set(own)
    in_question = sum(pair in asked for pair in own) / len(own)
    in_answer = sum(count for pair, count in asked.items() if pair in said) / asked.total()
    if len(answer.sentences) == 1 and in_answer >= of_question and _ANNOUNCES.search(text):
        return True
    is_once = len(own) == len(said)  # what is said twice is said by itself
    return in_question >= of_answer and in_answer >= of_question and not is_once and not text.endswith("?")


def _names_something_new(answer: CheckedAnswer) -> bool:
    """Return whether an answer has a noun, or a number, that the question has not."""
    asked = _Stretches(answer.question or "")
    if any(answer.text[number.start : number.end] not in asked for number in answer.quantities):
        return True
    for word in (word.strip(FINAL_MARKS)[-_LONGEST_WORD:] for word in answer.text.split()):
        match = _OBJECT.search(word) or _WORD_AND_PARTICLE.search(word)
        noun = match[1] if match else ""
        stem = noun[:-1] if len(noun) > 2 else noun  # 돌려받기 is the question's 돌려받지
        known = noun in _SAYS_NOTHING_NEW or stem in asked
        if noun and not known and (is_noun(noun) or _OBJECT.search(word)):
            return True
    return False


class _Stretches:
    """The short stretches of a text, found at once however long it is; a longer one than a word is not known."""

    def __init__(self, text: str):
        self._text, self._by_length = text, dict[int, set[str]]()

    def __contains__(self, stretch: str) -> bool:
        length = len(stretch)
        if length > _LONGEST_WORD:
            return False
        if length not in self._by_length:
            self._by_length[length] = {self._text[at : at + length] for at in range(len(self._text) - length + 1)}
        return stretch in self._by_length[length]


def _hardly_says_more(answer: CheckedAnswer, asked: Counter[tuple[str, str]]) -> bool:
    """Return whether the pairs of letters of the whole answer are mostly the question's; a longer answer says more."""
    of_answer, of_question = WHOLE_ECHO
    whole = Counter[tuple[str, str]]()
    said = 0
    for sentence in answer.sentences:
        letters = bare_letters(answer.text[sentence.start : sentence.end])
        whole.update(itertools.pairwise(letters))
        said += max(0, len(letters) - 1)
        if of_answer * said > asked.total():
            return False
    common = (asked & whole).total()
    is_echo = common >= of_answer * said and common >= of_question * asked.total()
    return is_echo and not _names_something_new(answer)


# "갱신이 안 되는 두 경우" is asked, and "갱신이 안 되는 두 경우는 차임 연체와 ..." answers: a topic, and what is said of it
_TOPIC = re.compile(r"(?:에서|에게|으로|로|에)?(?:은|는|이|가)\s+(?P<said>[^.!?\n]*)")
_LEAST_NEW_PAIRS = 6


def _says_more_of_it(rest: str, question: str) -> bool:
    """Return whether what follows the question's words makes them a topic, and says something of it in other words."""
    topic = _TOPIC.match(rest)
    if topic is None:
        return False
    new = set(itertools.pairwise(bare_letters(topic["said"]))) - set(itertools.pairwise(question))
    return len(new) >= _LEAST_NEW_PAIRS


def _repeated_start(text: str, question: str) -> tuple[int, int] | None:
    """Return the span at the start of a text whose letters are those of the question."""
    letters = re.finditer(r"[^\W_]", text)
    places = []
    for wanted in question:
        match = next(letters, None)
        if match is None or match[0] != wanted:
            return None
        places.append(match.start())
    return (places[0], places[-1] + 1) if places else None
