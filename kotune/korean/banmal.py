"""Endings of 반말: 해체 (해, 하지, 돈이야), and 해라체 that speaks to someone (가라, 쉬자, 모르니?).

Everything looks at the end of a sentence without its marks. Many endings are those of nouns too (배려, 샤워, 배우자), or
join a clause to the next (기다려, 찾아): the nouns are named, and what joins counts only before a final mark.
"""

from __future__ import annotations

import re

from kotune.korean.particles import is_noun


def syllables_with_final(number: int) -> str:
    """Return the class of the syllables whose final consonant has this number in Unicode's order (8 ㄹ, 17 ㅂ, 20 ㅆ)."""
    return "[" + "".join(chr(code) for code in range(0xAC00, 0xD7A4) if (code - 0xAC00) % 28 == number) + "]"


WITH_L, WITH_SS = syllables_with_final(8), syllables_with_final(20)
_WORD_START = r"(?:^|\s)"


def _ends_in(*endings: str) -> re.Pattern:
    return re.compile(f"(?:{'|'.join(endings)})$")


def _nouns(*words: str) -> re.Pattern:
    return re.compile(rf"{_WORD_START}(?:{'|'.join(words)})$")


# --- 해라체 that speaks to someone -----------------------------------------------------------

_ORDER = _ends_in(
    "[아어여해돼와둬줘봐놔춰켜꺼써떠져쳐려혀펴겨껴셔워빼꿔눠뤄퉈서러]라",  # 먹어라, 기다려라
    "[올골몰따]라라", "지 ?마라", "말아라", rf"(?:{_WORD_START}|[나어아려])가라",
    "(?:[을를도부터]|꼭|먼저|빨리|바로|얼른) (?:내|사|타|보내|만나|떠나)라", "(?:푹|잘|일찍|그만) 자라",
    "(?<![수후저청폐공])렴",  # 신청하렴; 수렴, 저렴, 폐렴
)  # fmt: skip
_PROPOSAL = _ends_in(
    "[쉬먹읽두놓받찾말믿쓰있없살얻넣잊씻닫열걸묻웃참잡]자", rf"(?:{_WORD_START}|[나어아려])가자",
    rf"(?:{_WORD_START}|[아어여해])보자", "[살알]펴보자", "[가-힣]하자",  # 확인하자; 하자 alone is a defect
    "(?:기로|[게록좀]|함께|같이|다시|그만|빨리|먼저|[그이저]렇게) 하자", "[려해아어] ?주자",
    "(?:만나|떠나|나오|들어오|나누|바꾸|지키|시키|챙기|맡기|옮기|넘기|남기|이기|즐기|아끼|미루|서두르|부르|따르|고르|모으)자",
    "(?:기다리|알리|버리|빌리|올리|내리|돌리|늘리|팔리|줄이|마시|마치|따지|가지|갖추|낮추|맞추|멈추|견디|드리|그리|고치)자",
    "(?:세우|채우|비우|지우|치우|배우|외우|보내|끝내|살피)자", rf"{_WORD_START}자자",
)  # fmt: skip
_NOUNS_IN_JA_OR_RA = _nouns(r"\S*(?:환자|배우자)", "의자", "피자", "나라", "우리나라", "카메라", "노자", "두자")
_QUESTION = re.compile(r"(?<![어할주아]머)(?<!언)(?<!비키)(?<!하모)니$")  # 모르니? but no 할머니?


def speaks_to_someone(tail: str, *, asks: bool) -> bool:
    """Say whether a tail is an order, a proposal or a question in 해라체; asks: whether a question mark follows."""
    last = tail[-1]
    if last == "니":
        return asks and bool(_QUESTION.search(tail))
    pattern = {"라": _ORDER, "렴": _ORDER, "자": _PROPOSAL}.get(last)
    if pattern is None:
        return last == "냐" and len(tail) > 1
    return bool(pattern.search(tail)) and not _NOUNS_IN_JA_OR_RA.search(tail)


# --- 해체 ------------------------------------------------------------------------------------

_HAE = _ends_in(
    "잖아", "거든", rf"(?:[렇는있없좋많같싶쁘크이르]|{WITH_SS})구나",
    "더라고?", "더군", "(?:하|있|없|는|은|한|겠|었|았|했)군", f"{WITH_SS}[어지네니]", "야지", "마세",
    "괜찮아", "(?:지|걱정|염려) 마", rf"(?:{_WORD_START}|[아어여해와워려져겨켜쳐봐])[봐줘둬놔]", "돼",
    "[하없되좋많같]네", f"{WITH_L}래", f"{WITH_L}게", "[할갈볼줄둘쓸을럴될일낼날살올]걸", "(?:하|말)든[가지]",
)  # fmt: skip
_HAE_IF_ENDED = _ends_in(
    "[없싶]어", "[같많좋않알맞]아", "[야지게좀못왜뭐꼭다안잘터] 해",
    "(?:더|가장|제일|훨씬|너무|아주|꽤) 싸", "(?:빨리|그냥|직접) 해", "[말못]해",
    "(?<![가-힣])거지", "[가-힣](?<![양우좌상])하지", "[안못도만고게지] 하지",  # 하지 alone are the legs
    "[없싶좋같않많되맞알]지", "(?<![페데에테레케베세게])이지",  # not 홈페이지
    "[받찾알살팔놓작남막앉낮높날달볶닦깎참잡갚밝얇쫓쏟담감돌낳쌓솟나모짧맡닳낡밟안잦]아",
    "[먹찍읽늦적입믿넣씻걸물들열길묻얻죽접집줄늘풀밀끌굳깊겪섞꺾벗웃굶긁끊뚫잃싫앓썩식익덮엮젖찢뜯틀힘벌털덜썰널맺넘걷]어",
    "(?:바뀌|뛰|되)어", rf"{_WORD_START}[이지쉬]어", "[겨껴쳐켜춰꿔눠뤄퉈둬줘봐놔져려워써꺼여]", "[가-힣]혀", "[마모]셔",
    r"(?:들어|나|가져|돌아|다녀|올라|내려|걸어|찾아|따라|데려|[을를도])\s?와",
    "(?:^|[을를걸도] )해", "[정구전택더명응곱속]해",
    rf"(?:살|{_WORD_START})펴", "[달올골몰빨갈발잘말따]라", "(?:불|눌|흘|서둘|길|찔|이르|머물)러", rf"{_WORD_START}들러",
    "아파", "[나바]빠", "예뻐", "기뻐", "슬퍼", "고파", "비싸", rf"{_WORD_START}커", "어때", "[그이저]래",
    "(?:[을를이가도]|꼭|다|더|안|못|먼저|매달|따로|빨리|얼른) [내빼떼사타나]", "[푹잘안못더] 자", "일찍 자",
    "(?:끝|늘어|드러|나타|일어|벗어|떠|만)나", rf"{_WORD_START}지나", "(?:끝|보|드러|나타|알아)내",
    rf"(?:{_WORD_START}|들어|올라|내려|돌아|넘어|지나|따라|뛰어|걸어|찾아|가져|데려)나?가",
    "[다라]니까", "[는던은]데", "(?:안|못) [가-힣]+지", "[그이저]러지", "[받살찾얻늦맺갚믿읽넣낮높쉽렵깝들]지",
    "[다모부따오빠]르지",
    "(?:크|쓰|나오|들어오|바꾸|나누|미루|내리|올리|돌리|버리|걸리|알리|기다리|지키|맡기|챙기|옮기|넘기|생기|따지|떨어지)지",
    "(?:나|들어)가지", "[려해아어] ?주지", "[이맞싸크받늦쉽렵리기르치키추꾸누]네", "나오네", rf"{_WORD_START}[가오]네",
)  # fmt: skip
# no noun ends so, whatever its last two syllables are: 이사했대, 불법인데, 위험한데
_SURELY_HAE_IF_ENDED = _ends_in(rf"(?:{WITH_SS}|는|된)대", "[가-힣]인데", "[가-힣]{2}한데", "[텐건]데")
_SAYS_OF_COURSE = re.compile(r"(?<![가-힣])([가-힣]{2,8})하지$")  # 위험하지, though 하지 is a noun
_NOUNS_IN_HAE = _nouns(
    r"\S*(?:[고배염우독격장심]려|승려|고구려|하려|으려|[참기대부수투급증잔관상]여|파워|샤워|타워|플라워|아워|목적어|수식어|벌써|"
    r"가운데|토지|동네|그네|우리네|장군|국군|기와|박하지|영하지)",
    "(?:길|멀|달|힘들|둥글|가늘|거칠|잘|널)게", "(?:[빨갈달몰길]|강강술)래",
    "[이역원]?군", "나", "남아", "밀어", "가", "혀", "와",
)  # fmt: skip
_ACTION = re.compile(rf"{_WORD_START}([가-힣]{{2,}})해$")  # 신고해, 건조해
_NOUN_IN_HAE = re.compile(  # 손해, 이듬해, 지중해
    r"(?:[손피오이방침재저상공유박항화견양난폐곡시살자가융분용와올새동남서북흑황]|이듬|연근|지중|발트|카리브|태평양|대서양|에게)해$"
)


def is_hae(tail: str, *, ended: bool) -> bool:
    """Say whether a tail is 해체; ended: whether a final mark stands behind it."""
    last = tail[-1]
    if last == "야":
        return _is_noun_with_ya(tail.rsplit(maxsplit=1)[-1], ended)
    if last == "해" and (action := _ACTION.search(tail)):
        known = is_noun(action[1])
        return known if _NOUN_IN_HAE.search(tail) else ended or known  # 배상해, but no 산업재해
    words = tail.split()
    if ended and (_SURELY_HAE_IF_ENDED.search(tail) or ((said := _SAYS_OF_COURSE.search(tail)) and is_noun(said[1]))):
        return True
    if last == "마" and len(words) > 1 and re.fullmatch("[가-힣]지", words[-2]) and is_noun(words[-2]):  # 라. 농지 마. 임야
        return False
    if _HAE.search(tail):
        return not _NOUNS_IN_HAE.search(tail)
    informal = ended and _HAE_IF_ENDED.search(tail)
    return bool(informal) and not _NOUNS_IN_HAE.search(tail) and not is_noun(words[-1])


def joins_or_is_hae(tail: str) -> bool:
    """Say whether a tail without a mark joins a clause to the next, or is 해체: 돌려주어, 기다려, 나아지지."""
    return tail[-1] != "야" and is_hae(tail, ended=True)


_HANGUL_SYLLABLE = re.compile("[가-힣]")
_PARTICLE_YA = re.compile(r"(?:그제|이제|[고아어여해와가]서|[에고라])야$")  # 이제야, 하고서야
_PAPER_WITH_YA = re.compile("(?:신고|보고|원고|광고|권고)서야$")  # 전입신고서야, and no 하고서야
_SIGN_OR_LETTER = re.compile(r"(?:[%㎡℃]|[A-Z]{2}|\d[A-Za-z]{1,2})$")  # 10%야, LTV야
_NOUNS_IN_YA = re.compile(r"(?:분|시|평|심|임|전|광|재|초|철|주)야$")
_STEM_WITH_A = re.compile(r"[아어여해돼와워려져겨켜쳐춰줘둬봐놔써꺼떠내가사자타세셔펴]$")  # 받아야: no noun, but a clause


def _is_noun_with_ya(word: str, ended: bool) -> bool:
    """Say whether a word is a noun with the 해체 of 이다: 돈이야, 친구야, 손해야; not 분야, 받아야, 이제야."""
    noun = word[:-1]
    if ended and _PAPER_WITH_YA.search(word):
        return True
    if ended and _SIGN_OR_LETTER.search(noun):
        return True
    if not _HANGUL_SYLLABLE.match(noun[-1:]) or _NOUNS_IN_YA.search(word) or _PARTICLE_YA.search(word):
        return False
    if noun.endswith(("이", "아니")):
        return True
    if (ord(noun[-1]) - 0xAC00) % 28:  # a vowel stands before 야
        return False
    return ended and is_noun(noun) if _STEM_WITH_A.search(noun) else True
