"""The speech level that a Korean sentence ends in, and so whether a text is polite.

Levels: 합쇼체 (합니다, 하십시오), 해요체 (해요, 하죠), 해라체 (한다: the plain style of books) and 해체 (해, 하지: 반말).
A sentence that ends in a noun, as headings and list items do, has none, nor has an ending that fits several levels.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from kotune.korean.sentences import HIDDEN, Sentence, has_final_mark, hide_quotations, split_sentences

HAPSYO, HAEYO, HAERA, HAE = "합쇼체", "해요체", "해라체", "해체"
POLITE_LEVELS, PLAIN_LEVELS = (HAPSYO, HAEYO), (HAERA, HAE)

_MARKS = rf"[\s{HIDDEN}.!?…。~！？^*_`”’\"'」』)\]ㅋㅎㅠㅜ\u2190-\u2bff\ufe0f\U0001f000-\U0001faff]"
_BEHIND_THE_ENDING = re.compile(rf"(?<!{_MARKS}){_MARKS}++\Z")  # each run of marks is tried once

# --- endings ---------------------------------------------------------------------------------

_WITH_B = "[" + "".join(chr(code) for code in range(0xAC00, 0xD7A4) if (code - 0xAC00) % 28 == 17) + "]"
_HAPSYO = re.compile(rf"(?:{_WITH_B}(?:니다|니까|시다)|{_WITH_B}니다만|십시오|십시요|소서)$")
_HAEYO = re.compile(r"[가-힣](?:요|죠)$|^죠$")
_NOUNS_IN_YO = re.compile(r"(?:^|\s)(?:불?필요|중요|수요|개요|소요|강요|주요|동요|담요|가요|민요|긴요|요요|총수요|해요체)$")
_ANSWER = re.compile(r"^(?:네|예|응|아니요|아니오|아뇨|글쎄요|맞아요|그래요)$")
_WITH_SS = "[" + "".join(chr(code) for code in range(0xAC00, 0xD7A4) if (code - 0xAC00) % 28 == 20) + "]"
_HAERA = re.compile(r"[가-힣](?:다|냐)$|(?:하라|해라|마라|거라|어라|보아라)$")
_NOUNS_IN_DA = re.compile(
    r"(?:^|\s)(?:\S*바다|판다|캐나다|소다|사이다|람다|다|모두\s?다|둘\s?다|\S*마다|\S*보다|\S*에다|부다페스트)$"
)
_HAE = re.compile(
    r"(?:잖아|거든|거야|이야|뭐야|아니야|아냐|니야|[가-힣]더군|거지|하지|없지|싶지|야지|좋지|같지|않지|많지|되지|"
    r"이지|맞지|알지|"
    rf"{_WITH_SS}(?:어|지|네|니)|없어|싶어|같아|많아|좋아|않아|알아|몰라|맞아|괜찮아|"
    r"(?:^|\s|[아어여해])(?:봐|줘|둬|와|놔)|(?:^|\s|안)돼|(?:면|도|게) 돼|(?:야|지|게|좀|못|왜|꼭|다|빨리|그냥|"
    r"직접) 해|야 돼|말해|못해|안 해|"
    r"마세|지 마|[아어해] 보자|하네|없네|구나|(?:하|있|없|는|은|한|겠|었|았|했)군|하니|없니|할래|할게|을게|갈게|"
    r"줄게|볼게|ㄹ게|을걸|할걸|대도|하든가|하든지|말든지)$"
)
_HAE_ADJECTIVE = re.compile(
    r"(?:확인|신고|신청|필요|중요|가능|불가능|조심|주의|생각|준비|연락|문의|기억|시작|결정|선택|사용|이용|추천|"
    r"비교|계산|정리|등록|설치|삭제|저장|"
    r"상담|계약|검색|질문|대답|얘기|이야기|노력|운동|공부|청소|요리|시도|포기|부탁|미안|죄송|편|간단|복잡|위험|"
    r"안전|당연|충분|부족|유리|불리|다양|비슷|정확|확실|궁금|피곤|못|잘)해$"
)
_HAE_IF_ENDED = re.compile(
    r"(?:[가-힣]더라|받아|물어|따져|찾아|읽어|먹어|믿어|가져|그래|들어가|나가|당겨|생겨|맡겨|챙겨|지켜|시켜|고쳐|"
    r"바꿔|골라|잊어|써|적어|넣어|아파)$"
)
_NOT_HAE = re.compile(r"(?:^|\s)(?:토지|동네|그네|우리네|군|장군|국군|토요일|대학교 와|이군|역군|원군|박하지|기와|영하지)$")


def level_of(sentence: str) -> str | None:
    """Return the speech level in which a sentence ends, or None where it ends in a noun or is only a yes or no."""
    core = _BEHIND_THE_ENDING.sub("", sentence)
    if len(core) < 2 or _ANSWER.match(core):
        return None
    tail = core[-14:]
    last = tail[-1]
    if last in "다까만오요서" and _HAPSYO.search(tail):
        return HAPSYO
    if last in "요죠":
        return None if _NOUNS_IN_YO.search(tail) else HAEYO if _HAEYO.search(tail) else None
    if _HAERA.search(tail) and not (last == "다" and _NOUNS_IN_DA.search(tail)):
        return HAERA
    informal = _HAE.search(tail) or _HAE_ADJECTIVE.search(tail) or (_HAE_IF_ENDED.search(tail) and sentence[-1] in ".!?")
    return HAE if informal and not _NOT_HAE.search(tail) else None


def levels_of(hidden: str, sentences: Sequence[Sentence]) -> list[str | None]:
    """Return each sentence's speech level; an item of a list has one only where it ends in a final mark.

    hidden: the text as `hide_quotations` returns it, so that what others say gives no sentence its level.
    """
    stretches = (hidden[sentence.start : sentence.end] for sentence in sentences)
    return [
        None if sentence.is_item and not has_final_mark(stretch) else level_of(stretch)
        for sentence, stretch in zip(sentences, stretches, strict=True)
    ]


def is_polite(text: str) -> bool:
    """Say whether at least one sentence of a text is in 합쇼체 or 해요체, quotations aside."""
    hidden = hide_quotations(text)
    return any(level in POLITE_LEVELS for level in levels_of(hidden, split_sentences(text, hidden)))
