"""The pages of a class vote, in Korean and English: a ballot for a phone, and the tally for the projector.

They hold no script, so that they work on whatever phone comes along; every text in them is escaped.
"""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

from kotune.judging.class_votes import BallotBox, tally
from kotune.judging.html_pages import render
from kotune.stats import Agreement, Interval
from utils import relative

TEMPLATE = Path(__file__).with_name("class_page.html.jinja")
LOOK_AGAIN_S = 3  # seconds between two looks of the projector at the count
TEXTS = {
    "ko": {
        "title": "블라인드 투표",
        "place": "{of}쌍 중 {number}번째",
        "blind": "누가 썼는지는 투표가 끝난 뒤에 알려 드립니다.",
        "first": "A가 낫다",
        "tie": "비슷하다",
        "second": "B가 낫다",
        "done": "{of}쌍에 모두 투표하셨습니다.",
        "thanks": "고맙습니다. 결과는 앞 화면에 나옵니다.",
        "closed": "투표가 끝났습니다.",
        "again": "이 쌍에는 이미 투표하셨습니다.",
        "counted": "휴대전화 {phones}대, {votes}표 ({of}쌍)",
        "open": "투표하는 동안에는 결과를 보여 드리지 않습니다.",
        "close": "투표를 마치고 결과 보기",
        "agreed": "수강생과 심사자의 판정이 같은 쌍: {n}쌍 중 {same}쌍",
        "kappa": "카파 {value:.2f} ({low:.2f}에서 {high:.2f})",
        "ac1": "AC1 {value:.2f} ({low:.2f}에서 {high:.2f})",
        "no_kappa": "카파는 구할 수 없음(모두 같은 판정)",
        "few": "심사자: {judge}. 괄호 안은 95% 신뢰구간이며, 쌍이 적으면 넓습니다. "
        "거의 모든 판정이 한쪽이면 아무리 자주 일치해도 카파는 0에 가깝고, AC1은 그렇지 않습니다.",
        "no_agreement": "투표와 판정이 모두 있는 쌍이 없어 비교할 수 없습니다.",
        "first_place": "한쪽을 고른 {of}표 가운데 먼저 보인 답변을 고른 표: {first}표",
        "room": "수강생",
        "judge": "심사자",
        "nobody": "없음",
        "tie_name": "비슷함",
        "good": "좋은 답변",
        "spoilt": "일부러 망가뜨린 답변",
        "kept": "쌍마다 가장 많은 표를 얻은 판정을 {file}에 적어 두었습니다.",
        "cookies": "이 휴대전화가 쿠키를 받지 않아 표를 셀 수 없습니다. 쿠키를 허용하고 다시 열어 주세요.",
        "not_stored": "표를 저장하지 못했습니다. 다시 눌러 주시고, 계속되면 강사에게 알려 주세요.",
        "full": "투표할 수 있는 휴대전화의 수를 넘었습니다. 강사에게 알려 주세요.",
        "wrong": "알아볼 수 없는 표입니다. 페이지를 다시 열어 주세요.",
    },
    "en": {
        "title": "Blind vote",
        "place": "Pair {number} of {of}",
        "blind": "Who wrote which is told after the vote.",
        "first": "A is better",
        "tie": "About the same",
        "second": "B is better",
        "done": "You have voted on all {of} pairs.",
        "thanks": "Thank you. The result comes on the screen in front.",
        "closed": "The vote is closed.",
        "again": "You have voted on that pair already.",
        "counted": "{phones} phones, {votes} votes ({of} pairs)",
        "open": "No result is shown while people vote.",
        "close": "Close the vote and show the result",
        "agreed": "The room and the judge say the same on {same} of {n} pairs",
        "kappa": "kappa {value:.2f} ({low:.2f} to {high:.2f})",
        "ac1": "AC1 {value:.2f} ({low:.2f} to {high:.2f})",
        "no_kappa": "no kappa (all verdicts are the same)",
        "few": "The judge: {judge}. In brackets the 95% interval, which is wide where pairs are few. Where nearly all "
        "verdicts are for one side, kappa is near 0 however often both agree; AC1 is not.",
        "no_agreement": "No pair has both a vote and a verdict, so that there is nothing to compare.",
        "first_place": "Of {of} votes for one side, {first} are for the answer that stood first",
        "room": "room",
        "judge": "judge",
        "nobody": "none",
        "tie_name": "about the same",
        "good": "the good answer",
        "spoilt": "the answer spoilt on purpose",
        "kept": "The verdict of most on each pair is written to {file}.",
        "cookies": "This phone takes no cookies, and its vote cannot be counted; allow them and open the page again.",
        "not_stored": "The vote could not be stored. Press again; if it stays, tell the teacher.",
        "full": "More phones have voted than may. Tell the teacher.",
        "wrong": "That is no vote; open the page again.",
    },
}


def language_of(accept: str | None) -> str:
    """Return the language of a page for a browser that asks for these: Korean for ko, English for all others."""
    return "ko" if (accept or "").strip().lower().startswith("ko") else "en"


def ballot_page(box: BallotBox, phone: str, language: str, note: str = "") -> str:
    """Return a phone's next pair, or that it is done; note: the key of a sentence to say above it."""
    waiting = box.waiting(phone)
    of = len(box.pairs.votes)
    return _page(
        language,
        note=TEXTS[language].get(note, ""),
        ballot=waiting[0] if waiting and not box.is_closed else None,
        done=of - len(waiting),
        of=of,
        closed=box.is_closed,
    )


def tally_page(box: BallotBox, language: str, close_at: str) -> str:
    """Return the projector's page: how many have voted, and the result once the vote is closed.

    close_at: the address that closes the vote.
    """
    found, texts = tally(box), TEXTS[language]
    a, b = box.pairs.names or (texts["good"], texts["spoilt"])
    agreed = found.agreement
    texts = texts | {"few": texts["few"].format(judge=box.pairs.judge)}
    return _page(
        language,
        texts,
        tally=found,
        closed=box.is_closed,
        close_at=close_at,
        of=len(found.pairs),
        refresh_s=0 if box.is_closed else LOOK_AGAIN_S,
        same=sum(agreed.table[place][place] for place in range(len(agreed.table))) if agreed else 0,
        measures=_measures(agreed, texts),
        names={"a": a, "b": b, "tie": texts["tie_name"]},
        kept=relative(box.room_file),
    )


def _measures(agreed: Agreement | None, texts: dict[str, str]) -> str:
    """Return kappa and AC1 with their intervals; nothing where there is nothing to compare."""
    if agreed is None:
        return ""
    kappa = texts["no_kappa"]
    if agreed.kappa is not None and agreed.kappa_interval is not None:
        kappa = _measure(texts["kappa"], agreed.kappa, agreed.kappa_interval)
    return f"{kappa}, {_measure(texts['ac1'], agreed.ac1, agreed.ac1_interval)}"


def _measure(text: str, value: float, interval: Interval) -> str:
    return text.format(value=value, low=interval[0], high=interval[1])


def problem_page(language: str, problem: str) -> str:
    """Return a page that says why a vote was not taken; problem: the key of its sentence."""
    return _page(language, problem=TEXTS[language][problem])


def _page(language: str, texts: dict[str, str] | None = None, **values: Any) -> str:
    blank: dict[str, Any] = {
        "ballot": None,
        "tally": None,
        "note": "",
        "problem": "",
        "closed": False,
        "refresh_s": 0,
        "of": 0,
    }
    shown = SimpleNamespace(**(texts or TEXTS[language]))
    return render(TEMPLATE, None, **(blank | values), language=language, t=shown)
