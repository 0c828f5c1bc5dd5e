"""Checks of the end of an answer: cut short, no end token, and marks of a chat template that do not belong."""

from __future__ import annotations

import re

from kotune.korean.answer import CheckedAnswer, Spans
from kotune.korean.particles import is_noun
from kotune.korean.sentences import FINAL_MARKS, HIDDEN, Sentence

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


def check_unfinished(answer: CheckedAnswer) -> Spans:
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
    if not core or core[-1] in FINAL_MARKS:
        return
    reason = _why_unfinished(answer, core, last_line)
    if reason:
        yield _last_word(core), len(core), reason


def _last_word(text: str) -> int:
    return max(text.rfind(" "), text.rfind("\n")) + 1


def _why_unfinished(answer: CheckedAnswer, core: str, last_line: int) -> str | None:
    """Return why a text without a final mark is cut short, or None where it may be a title, an item or a sentence."""
    last = answer.sentences[-1]
    is_remark = not answer.hidden[last.start : last.end].strip(HIDDEN)
    if is_remark or answer.levels[-1] or core.endswith(("|", "```")):
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


def _follows_a_sentence(answer: CheckedAnswer, last: Sentence, last_line: int) -> bool:
    """Return whether a whole sentence stands before the last one in the same line."""
    before = answer.text[last_line : last.start].rstrip()
    return last.start > last_line and before.endswith(tuple(FINAL_MARKS)) and any(answer.levels[:-1])


def _ends_in_a_particle(tail: str) -> bool:
    match = _PARTICLE_AFTER_NOUN.search(tail)
    last = tail.rsplit(maxsplit=1)[-1]
    return not is_noun(last) and (last.endswith("고") or bool(match and is_noun(match[1])))  # 낮추고, 혈압이; not 신고, 나이


def check_no_end_token(answer: CheckedAnswer) -> Spans:
    if answer.ended is False and answer.text.strip():
        text = answer.text.rstrip()
        yield _last_word(text), len(text), "The model did not end the answer: it was cut at the limit of tokens."


_TOKENS = (
    r"</?(?:start_of_turn|end_of_turn|start_of_image|bos|eos|pad|unk|mask|s|sep|cls|turn|im_start|im_end|endoftext)>"
    r"|<unused\d+>|<0x[0-9A-Fa-f]{2}>|<\|[^|<>\n]{1,40}\|>|\[/?INST\]|<</?SYS>>|\[(?:PAD|UNK|CLS|SEP|MASK|EOS|BOS)\]"
)


_MARKERS = re.compile(
    rf"{_TOKENS}"
    r"|#{2,}[ ]?(?:출력|입력|지시|지시문|지시사항|명령|명령어|응답|답변|답|질문|문맥|맥락|Instruction|Response|"
    r"Input|Output|Question|CheckedAnswer|Context)\b[ ]?:?"
    r"|\{\{?(?:question|answer|instruction|input|output|context|document|response|query|prompt)s?\}\}?"
    r"|[▁�]+"
    r"|(?m:^(?:user|model|assistant|system|human|instruction|response)[ ]*:?[ ]*$)",
    re.IGNORECASE,
)


_TOKENS_LAST = re.compile(rf"(?:\s|{_TOKENS})+\Z", re.IGNORECASE)


def check_template_marker(answer: CheckedAnswer) -> Spans:
    for match in _MARKERS.finditer(answer.text):
        yield *match.span(), f"{match[0]} belongs to the template or the tokenizer, not to the answer."
