"""Texts that make careless code take time that grows with the square of their length, one pattern a name.

Most regular expressions that are slow are slow on a run that goes on to the end of the text and is not followed by what the
expression wants there: each place of the run is then tried to its end. The patterns are such runs, and texts of very many
small finds.
"""

from collections.abc import Callable
from dataclasses import dataclass

PICTURE = "iVBORw0KGgoAAAANSUhEUgAAAAUAAAAFCAYAAACNbyblAAAAHElEQVQI12P4"  # base64, as of a picture in a text
PROSE = "전세 계약을 할 때 확정일자는 2024년 1월 3일에 3억 원입니다. "


@dataclass(frozen=True)
class Pattern:
    """A unit that is repeated, what stands before it and behind it; a unit that is a function makes each one differ."""

    unit: str | Callable[[int], str]
    start: str = ""
    end: str = ""

    def text(self, size: int) -> str:
        """Return a text of about so many characters."""
        if isinstance(self.unit, str):
            return self.start + self.unit * (size // len(self.unit)) + self.end
        parts, length, number = [], 0, 0
        while length < size:
            parts.append(self.unit(number))
            length, number = length + len(parts[-1]), number + 1
        return self.start + "".join(parts) + self.end


HOSTILE = {
    # runs without a space
    "base64": Pattern(PICTURE),
    "capital letters": Pattern("A"),
    "small letters, then a digit": Pattern("a", start="가 ", end="1"),
    "a syllable": Pattern("가"),
    "a syllable, then a letter": Pattern("가", end="A"),
    "은행": Pattern("은행"),
    "particles": Pattern("은는이가을를로"),
    "words joined by a dash": Pattern("Ab-"),
    "words joined by an underscore": Pattern("a_"),
    "apostrophes between letters": Pattern("a'"),
    "an address on the web": Pattern("a.b/", start="http://"),
    "www": Pattern("www."),
    # white space
    "spaces": Pattern(" "),
    "a syllable, spaces, a letter": Pattern(" ", start="가", end="x"),
    "a bracket and spaces": Pattern(" ", start="<"),
    "a role and spaces": Pattern(" ", start="user", end="x"),
    "a digit and spaces": Pattern(" ", start="1", end="x"),
    "a deposit and spaces": Pattern(" ", start="보증금", end="x"),
    "a label and spaces": Pattern(" ", start="모순", end="x"),
    "tabs": Pattern("\t", start="-", end="x"),
    "newlines": Pattern("\n", start="가", end="x"),
    "newlines and spaces": Pattern("\n ", start="가", end="x"),
    "carriage returns": Pattern("\r", start="가"),
    "other ends of lines": Pattern("\u2028\x85"),
    "no-break spaces": Pattern("\u00a0", start="가", end="x"),
    "words of one letter": Pattern("a "),
    "words of one syllable": Pattern("가 "),
    # quotation marks and brackets
    "opening quotation marks": Pattern("“"),
    "opening quotation marks and a syllable": Pattern("“가"),
    "single quotation marks": Pattern("'가 "),
    "double quotation marks": Pattern('"'),
    "backticks": Pattern("`"),
    "fences": Pattern("``` "),
    "a fence and spaces": Pattern(" ", start="```json\n{}\n", end="x"),
    "round brackets": Pattern("("),
    "round brackets and a syllable": Pattern("가("),
    "square brackets": Pattern("["),
    "square brackets of a format": Pattern("[$-412"),
    "curly brackets": Pattern("{"),
    "curly brackets two by two": Pattern("{{question"),
    "corner brackets": Pattern("「"),
    "angle brackets": Pattern("<"),
    "wide angle brackets": Pattern("＜ "),
    "angle brackets and a letter": Pattern("<a "),
    # JSON, HTML, escapes
    "backslashes": Pattern("\\"),
    "lists in lists": Pattern("[", start='{"a": '),
    "an object in an object": Pattern('{"a":'),
    "an object a line": Pattern("},{\n", start='{\n"a": [\n{\n'),
    "escaped quotation marks": Pattern('\\"', start='"'),
    "a digit in JSON": Pattern("1", start='{"a": '),
    "a list of numbers": Pattern("1,", start="[", end="1]"),
    "custom ids": Pattern('"custom_id": "'),
    "places and messages": Pattern("'loc': ("),
    "scripts": Pattern("<script>"),
    "styles and one end": Pattern("<style>", end="</style>"),
    "attributes": Pattern("a=b ", start="<p "),
    "entities": Pattern("&amp;"),
    "escapes of OOXML": Pattern("_x005F_"),
    "keys": Pattern("sk-aaaaaaa "),
    # templates and reasoning
    "half a token of a template": Pattern("<start_of_"),
    "half a token of another": Pattern("<|im_"),
    "ends of turns": Pattern("<end_of_turn>"),
    "a reply behind its reasoning, with many ends": Pattern("<|end|>", start="<think>가</think>나"),
    "openings of reasoning": Pattern("<think> "),
    "reasoning opened on a line of its own": Pattern("<think>\n"),
    "ends of reasoning": Pattern("</think>"),
    "channels": Pattern("<|channel|>final "),
    "an answer in marks": Pattern("<answer>"),
    "headings": Pattern("#"),
    "turns": Pattern("질문: 가\n답변: 나\n"),
    "a turn's name and spaces": Pattern(" ", start="질문", end="x"),
    # numbers
    "a digit": Pattern("1"),
    "digits apart": Pattern("1 "),
    "digits and commas": Pattern("1,"),
    "digits in threes": Pattern(",000", start="1"),
    "digits and points": Pattern("1."),
    "digits and dashes": Pattern("12-3456-"),
    "digits and slashes": Pattern("1/"),
    "measures": Pattern("1 x "),
    "amounts": Pattern("1억 "),
    "amounts without a space": Pattern("1억2천"),
    "numbers in words": Pattern("일"),
    "numbers in words with units": Pattern("두 달 "),
    "shares": Pattern("3분의 "),
    "articles": Pattern("제1조의"),
    "dates": Pattern("2024. 1. "),
    "years": Pattern("’24 "),
    "months": Pattern("1월에"),
    "ranges": Pattern("1~"),
    "wide digits": Pattern("１２－"),
    "phones": Pattern("010-1234-5678 "),
    "half a phone": Pattern("02-"),
    "list numbers": Pattern("1. "),
    "list numbers a line": Pattern("1.\n"),
    "letters and digits": Pattern("a1"),
    # e-mail, marks, signs
    "at": Pattern("a@"),
    "dots and at": Pattern("a.@"),
    "dots": Pattern("."),
    "letters and dots": Pattern("b."),
    "marks": Pattern("!?"),
    "marks and closing marks": Pattern(".”"),
    "ellipses": Pattern("… "),
    "commas": Pattern(","),
    "bullets": Pattern("- "),
    "bullets a line": Pattern("- 가\n"),
    "stars": Pattern("* "),
    "bars": Pattern("| "),
    "symbols": Pattern("★"),
    # letters of other kinds
    "decomposed": Pattern("\u1112\u1161\u11ab"),
    "vowels of jamo": Pattern("\u1161", start="\u1112"),
    "loose consonants": Pattern("ㅋ"),
    "loose jamo in a word": Pattern("ㄱㄴㄷㄹ", start="가"),
    "loose jamo between syllables": Pattern("가ㅋㅋ"),
    "marks over one letter": Pattern("\u0301\u0316", start="a"),
    "invisible letters": Pattern("1\u200b"),
    "joined emoji": Pattern("👩\u200d"),
    "flags": Pattern("🇰🇷"),
    "half an emoji": Pattern("\ud83d"),
    "hanja": Pattern("漢 "),
    "hanja in a bracket": Pattern("漢(", start="전세"),
    "kana": Pattern("か"),
    "cyrillic": Pattern("я "),
    "thai": Pattern("ก "),
    "broken bytes": Pattern("\ufffd▁"),
    "wrong encoding": Pattern("ì\u0095"),
    # many finds, and words that the checks look for
    "prose": Pattern(PROSE),
    "words that differ": Pattern(lambda number: f"가{number} "),
    "lines that differ": Pattern(lambda number: f"{number}번째 줄입니다.\n"),
    "amounts that differ": Pattern(lambda number: f"{number}원 "),
    "polite and plain": Pattern("합니다. 했다. 해. "),
    "plain questions": Pattern("하니? "),
    "missing spaces": Pattern("할수있다 못받은 "),
    "the question again": Pattern("무엇인가요? "),
    "what a document lacks": Pattern("문서에는 "),
    "labels": Pattern("모순이 "),
    "parties": Pattern("임대인에게 "),
    "negations": Pattern("안 "),
    "places": Pattern("서울시 중구 "),
    "labels of numbers": Pattern("계좌 번호 "),
    "districts": Pattern("중구 가로 "),
    "findings": Pattern("nodule "),
    "findings and commas": Pattern("nodule, "),
    "findings that differ": Pattern(lambda number: f"Right lung nodule {number} mm. "),
    "denials": Pattern("no "),
    "segments": Pattern("a segment of "),
    "changes": Pattern("no interval "),
    "English words": Pattern("the end of "),
    "names": Pattern("New "),
    "deposits": Pattern("보증금 1/"),
    "pets": Pattern("강아지"),
    "floors": Pattern("1층 "),
    "choices": Pattern("- 정답: "),
    "a question with choices": Pattern("①", start="질문:가\n"),
}  # fmt: skip
