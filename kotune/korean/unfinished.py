"""Whether a Korean text without a final mark breaks off, as a limit of tokens leaves it: 받아야, 마친, 합니, 받을 수.

A heading, an item of a list and a note in 개조식 have no final mark either, and are whole: what ends in a noun, or in
-음 or -기, is named only where the text before it shows that a sentence was going on.
"""

from __future__ import annotations

import re

from kotune.korean.banmal import WITH_L, WITH_SS, joins_or_is_hae, syllables_with_final
from kotune.korean.particles import is_noun

LONG_FRAGMENT = 12  # characters; a shorter one may be a title
_TAIL = 30  # characters: what the patterns below look at
_WORD_START = r"(?:^|\s)"
_WITH_B = syllables_with_final(17)


def _ends_in(*endings: str) -> re.Pattern:
    return re.compile(f"(?:{'|'.join(endings)})$")


# --- words that need another, whatever stands before them ------------------------------------

_PARTICLE_OR_ENDING = _ends_in(
    "[가-힣](?:[을를의던며]|에게|에[는도서]|에서[는의]|으로는|부터는|들은|[와과]의)",
    "[가-힣](?:하고|[으하되이리기치키]면|지만|므로?|면서|거나|려[면고]|더라도|니까|는데|도록|자마자|느라|고자|다가)",
    "[아어여해돼와워려져겨켜쳐춰줘둬봐놔써꺼](?:서|야)", "[가-힣](?:하|으)려", "[가-힣](?:이|리|기|키|치)려",
    "[가-힣]이고", "[따오모고이]르면", "[을를] [가-힣]{2,4}히", "(?:않으|있으|없으|되|하|끝나|지나|주|오)면",
)  # fmt: skip
_WORD = re.compile(
    rf"{_WORD_START}(?:등이|등을|등은|등의|등으로|및|또는|그리고|그래서|그러면|그런데|반면|반면에|게다가|하지만|그러나|따라서|"
    r"그러므로|때문에|위해|위해서|위한|대한|관한|따라|통해|통한|의한|있고|없고|하여|해서|되어|인한|같은|이러한|그러한|그|이|저|다음과|아래와|이와|"
    r"한|할|될|된|않고|있어|하지|경우에는|있는지는)$"
)
_SURELY_GOES_ON = _ends_in(
    r"\s(?:반드시|만약|만일|또한|다만|특히|오히려|즉)", rf"{_WORD_START}(?:예컨대|가령|왜냐하면|예를 들어|예를 들면)"
)
# 세금을 체납한, where the noun in 한 is no 권한
_DID_SOMETHING = re.compile(r"[을를] ([가-힣]{2,5})한$")
_ADNOMINAL = _ends_in(
    "(?:위|대|관|통|의|인|신고|신청|필요|가능|이사|계약|가입|취득|확인|설정|발생|해당|포함|지급|요구)한", "[가-힣]된",
    "(?:마|거|합|바|그|미)친", "[아어여해려겨쳐켜워빠가]진", "(?:따|다|바|오|부|모|이|빠)른",
    "(?:알|걸|올|내|빌|버|열|팔|돌|때|드|누|밀|벌|틀|물|늘)린",
    "(?:시|지|일)킨", "(?:맡|옮|넘|생|남|숨|당|새|잠)긴",
    "바뀐", "(?:보|끝|드러|나타)낸", "[려해어아] ?준", "(?:들어|나|돌아|내려)온",
    "(?:까|려|쉬|로|거|가벼|무서|고마|아름다)운", "(?:만|힘|모|잠)든",
    "(?:받|찾|많|좋|높|낮|적|같|넓|좁|늦|있|없|않|맞|얻|넣|갚|믿|맺)은",
    "[가-힣]는", "(?:[가-힣](?<!역)(?<!분)(?<!관)(?<!구)할|될|[알걸올내빌버열팔돌드누]릴|[지시일]킬)",
    "[아어여려들]갈", "[아어여려]올", "[아어여][볼줄]", "[받찾갚있없얻놓믿]을", "(?:생|옮|남|넘)길", "바뀔",
    "(?:보|끝|지)낼", "마칠",
)  # fmt: skip
_NO_ADNOMINAL = _ends_in("런던", "에던", "스노든", "모친", "부친", "(?:권|기|제|상|하|북|남|무|시|연|유|존)한", "최[소대]한")
_STEM = _ends_in(
    WITH_SS, f"{_WITH_B}니", "[없않싶받찾갚믿얻넣놓쌓잃끊많좋높낮읽얇넓짧젊같]",
    "[가-힣](?:(?<!무)렵|[쉽깝릅닙됩되])", "[가-힣]하시", "[없있했겠았었]습", "십시", "[가-힣]으", "[야도지] ?합", "야 하",
    "(?:[을를고] )(?:말|구|정|전|행|원|취)하",
    "[아어여해워려져](?<!강아)(?<!송아)(?<!망아)지", "[기되] ?때", "기 위", f"{WITH_L} 수",
    "(?:갖추|낮추|늦추|맞추|바꾸|나누|미루|모으|고르|따르|지키|시키|맡기|옮기|넘기|챙기|남기|올리|돌리|버리|빌리|기다리|만들)",
)  # fmt: skip
_STEM_WITH_HA = re.compile(rf"{_WORD_START}\W*([가-힣]{{2,}})하$")  # 작성하
_CUT_BEHIND_A_VERB = re.compile(r"[할될]\s([가-힣])$")
_NUMBER_AFTER = re.compile(rf"(?:부터|까지|{_WORD_START}(?:약|연|최대|최소|매달))\s\d[\d,.]*$")  # 이사한 날부터 14


def needs_another_word(fragment: str) -> bool:
    """Return whether the last word of a fragment cannot be the last: 을, 및, 있는, 마친, 받아야, 합니, 받을 수, 작성하."""
    tail = fragment[-_TAIL:]
    if _WORD.search(tail) or _SURELY_GOES_ON.search(tail) or is_cut_in_a_word(tail):
        return True
    if (did := _DID_SOMETHING.search(tail)) and not is_noun(f"{did[1]}한"):
        return True
    if _PARTICLE_OR_ENDING.search(tail):
        return not is_noun(_last_word(tail))
    if _ADNOMINAL.search(tail):
        return not is_noun(_last_word(tail)) and not _NO_ADNOMINAL.search(tail)
    return bool(_NUMBER_AFTER.search(tail))


def is_cut_in_a_word(fragment: str) -> bool:
    """Return whether a fragment ends in half a verb: 합니, 받을 수 있, 갖추, 작성하."""
    tail = fragment[-_TAIL:]
    if _STEM.search(tail):
        return not is_noun(_last_word(tail))
    cut = _CUT_BEHIND_A_VERB.search(tail)
    if cut and (cut[1] == "권" or cut[1] not in _NOUNS_OF_A_SYLLABLE | _NOUNS_AFTER_A_VERB):  # 청구할 권, 돌려놓을 의
        return True
    stem = _STEM_WITH_HA.search(tail)
    return bool(stem and is_noun(stem[1]) and not is_noun(stem[1] + "하"))


def _last_word(tail: str) -> str:
    return tail.rsplit(maxsplit=1)[-1].strip("“”‘’'\"(")


# --- words that a longer fragment hardly ends in ---------------------------------------------

_BREAKS_OFF_LONG = _ends_in(
    "[가-힣](?:부터|더라도|[아어해]도|보다|으로|에|째는|없이|많이|[하다르있없쉽낮높]게|하여)",
    "[아어여해려져]지지", r"\s더한", r"\s대체로", "[은한] 다음",
    rf"{_WORD_START}(?:집|때|곳|날|것|앞|뒤|안|밖|위)(?:에|은|이|을|의|과)", "(?:에|으로) 따라", "에 앞서",
)  # fmt: skip
_ADVERB_LAST = re.compile(
    r"\s(?:현재|우선|먼저|바로|곧바로|다시|모두|가장|매우|더|더욱|또|약|단|즉|특히|반드시|이미|아직|보통|대개|주로|만약|"
    r"만일|직접|미리|새로|함께|서로|모든|어떤|여러|다만|또한|완전히|충분히|원칙적으로)$"
)
_CLAUSE = re.compile(r"(?:지만|므로|으며|하며|면서|는데|니까|으면|하면|해서|때문에|는다면|있어서|않아|하고),?\s")
_NOMINAL = re.compile(r"(?:[음함됨임움남림짐김킴침춤꿈뀜큼씀냄옴봄님기것듯중전후때뿐]|배상)$")
_NOTE = re.compile(  # a verbal noun that ends a note: 서류는 계약서와 함께 보관
    r"(?:보관|신고|신청|확인|제출|접수|발급|납부|지급|작성|방문|준비|문의|등록|변경|가능|불가|불가능|필요|필수|권장|금지|제한|적용|발생|부과|"
    r"감소|증가|상승|하락|이용|사용|선택|완료|예정|진행|면제|공제|포함|제외|해당|유지|발송|통보|보호|부담|종료|시작|참고|주의|추천|지참|과세|당부|실패|성공|여부|지점|상당|외|준용|환급|비활성)$"
)
_SIGNATURE = re.compile(r"(?:드림|올림|배상|이상|끝)$|[:：]")
_PARTICLE = re.compile(r"[은는이가을를]\s")
_PARTICLE_AFTER_NOUN = re.compile(rf"{_WORD_START}\W*([가-힣]{{2,}}?)(?:은|는|이|가|을|를|과|와|의|에|도|으로|로)$")
_NUMBER_LAST = re.compile(r"[가-힣][의은는이가을를에로]\s\d[\d,.]*$")
_JOINS = _ends_in("[떼주추두누꾸우루리기지치키이시쓰피비뀌되세매배]어")  # 갖추어
_ANSWERS = re.compile(r"(?:네|예|아니요|아니오|아뇨), .*[은는이가을를]\s")
_SYLLABLE_LAST = re.compile(r"[가-힣] ([가-힣])$")
_NOUNS_AFTER_A_VERB = frozenset("것건게터바셈뿐줄틈색자판점")
_NOUNS_OF_A_SYLLABLE = frozenset(
    "일때것뜻점법집돈값날달해곳길힘말글책답물약등외내전후중간안밖앞뒤옆위밑끝꼴꿈몸눈손발빛땅산강꽃밥옷차병문방벽창층년"
    "월원명개권건회번호동면리씨분님군양팀편쪽줄칸장표식형률율액비료세금수예네응만죄벌빚삶앎봄줌덤짐잠빵컵팁앱"
)


def has_a_clause_that_breaks_off(fragment: str, hidden: str) -> bool:
    """Return whether a longer fragment is a clause without its end; hidden: the same with quotations hidden.

    A shorter one may be a title, but for one that begins as only a sentence does (따라서 임차인은). What ends in -음, -기
    or 것 is whole, and so is a noun with all that is said of it before it (전입신고를 하고 확정일자를 받은 임차인).
    """
    if len(fragment) < LONG_FRAGMENT and not _GOES_ON_FROM.match(fragment):
        return False
    tail = fragment[-_TAIL:]
    if _BREAKS_OFF_LONG.search(tail) or _ends_in_a_particle(tail) or _ADVERB_LAST.search(tail) or _NUMBER_LAST.search(tail):
        return True
    if joins_or_is_hae(tail) or (_JOINS.search(tail) and not is_noun(_last_word(tail))):
        return True
    if _NOMINAL.search(tail) or _NOTE.search(tail) or _is_a_noun_with_its_clause(fragment):
        return False
    if _ANSWERS.match(fragment):
        return True
    syllable = _SYLLABLE_LAST.search(tail)
    cut_in_a_word = syllable is not None and syllable[1] not in _NOUNS_OF_A_SYLLABLE
    return cut_in_a_word or bool(_CLAUSE.search(hidden))


_GOES_ON_FROM = re.compile(
    r"(?:따라서|그러나|하지만|그리고|또한|다만|그래서|그러므로|그런데|만약|만일|예를 들어|왜냐하면),? "
)
_LAST_TWO = re.compile(r"([가-힣]+(?:[은는을던된한할될]|[가-힣](?<=[있없]는))) ([가-힣]{2,})$")
_TOPIC = re.compile(r"(?<![^\s(‘“「])([가-힣]{2,12}?)[은는](?=[\s,])")


def _is_a_noun_with_its_clause(fragment: str) -> bool:
    """Return whether a fragment has no topic, and ends in a noun behind a verb that describes it: 확정일자를 받은 임차인."""
    if any(is_noun(match[1]) for match in _TOPIC.finditer(fragment)):
        return False
    last = _LAST_TWO.search(fragment[-_TAIL:])
    return bool(last and is_noun(last[2]) and not is_noun(last[1]))


def _ends_in_a_particle(tail: str) -> bool:
    match = _PARTICLE_AFTER_NOUN.search(tail)
    last = _last_word(tail)
    return not is_noun(last) and (last.endswith("고") or bool(match and is_noun(match[1])))  # 낮추고, 혈압이; not 신고, 나이


def is_a_signature(fragment: str) -> bool:
    """Return whether a fragment behind a sentence is no sentence of its own: 홍길동 드림, 출처: 국토교통부, 명령 비활성."""
    return bool(_SIGNATURE.search(fragment) or (_NOTE.search(fragment) and not _PARTICLE.search(fragment)))
