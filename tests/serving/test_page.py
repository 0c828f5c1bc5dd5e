"""Protects: a person can use the page: type Korean, watch, stop, compare and vote; nothing comes from another host.

The stand-in behind it says what no real model says when it is told to: two models' answers, a record, hostile markup, a pause.
"""

import asyncio
import errno
import json
import re
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from uuid import uuid4

import pytest

from kotune.judging import votes
from kotune.models.sampling import Sampling
from kotune.serving import page_problems
from kotune.serving.chainlit_patches import without_outside_links
from kotune.serving.guard import Busy
from kotune.serving.page import author, conversation, read_settings
from kotune.serving.page_problems import KINDS
from kotune.serving.page_texts import ENGLISH, KOREAN, texts
from prompts import LISTING
from tests.support.serving import CHROMIUM, KEY, Script, ServerProcess, StandIn
from utils import DATA, CourseError

pytestmark = pytest.mark.slow  # servers, browsers and models are started

QUESTION = "확정일자는 어디에서 받을 수 있나요?"


def test_the_two_languages_say_the_same_things():
    assert set(KOREAN.settings) == set(ENGLISH.settings) and set(KOREAN.about) == set(ENGLISH.about)
    for name, said in vars(KOREAN).items():
        if isinstance(said, str):
            fields = re.findall(r"{\w+", said)
            assert sorted(fields) == sorted(re.findall(r"{\w+", getattr(ENGLISH, name))), name
    assert texts("ko-KR") is texts("ko") is KOREAN and texts("en-US") is texts(None) is texts("ja") is ENGLISH


@pytest.mark.parametrize(
    "spoilt", [{"max_tokens": 10**9, "temperature": "hot"}, {"top_p": 0, "top_k": -1, "max_tokens": True}, {}]
)
def test_settings_out_of_bounds_count_as_not_set(spoilt):
    assert read_settings(spoilt, 1024).sampling == Sampling()
    assert read_settings({"system": 5, "use_documents": "yes"}, 1024) == read_settings({"use_documents": False}, 1024)


def test_a_chat_is_told_in_alternating_turns():
    messages = conversation([("가", "나")], "합니다체로", "다")
    assert [m["role"] for m in messages] == ["system", "user", "assistant", "user"] and messages[-1]["content"] == "다"


def test_no_link_to_another_host_stays_and_names_fit_a_picture():
    page = '<link rel="preconnect" href="https://a.b" /><link\n href="https://c.d/x.css"\n rel="stylesheet"><link href="/own.css">'
    assert without_outside_links(page) == '<link href="/own.css">'
    assert re.fullmatch(r"[a-zA-Z0-9_ .-]+", author("google/gemma:2b-한국어"))


def errors():
    """An error of each kind that a page can meet, with the English sentence that the interface tells."""
    yield from (kind("English words") for kind in KINDS if kind is not Busy)
    yield Busy("All slots are taken; ask again in 7 s.", 7)
    yield CourseError("The text holds <start_of_turn>")


def subclasses(kind):
    return [kind, *(below for one in kind.__subclasses__() for below in subclasses(one))]


@pytest.mark.parametrize("error", errors(), ids=lambda error: type(error).__name__)
def test_on_the_korean_page_an_errors_sentence_is_korean(error):
    said = page_problems.sentence(error, KOREAN)
    assert re.search("[가-힣]", said) and not re.search("[A-Za-z{}]", said) and said.endswith(".")
    assert page_problems.sentence(error, ENGLISH) == str(error)


def test_every_error_of_serving_has_its_own_sentence():
    in_serving = {kind for kind in subclasses(CourseError) if kind.__module__.startswith("kotune.serving.")}
    assert in_serving <= set(KINDS) and set(KINDS.values()) == set(KOREAN.problems)
    assert "7초" in page_problems.sentence(Busy("x", 7), KOREAN)


@pytest.mark.parametrize(
    "error",
    [OSError(errno.ENOSPC, "No space left on device"), PermissionError(errno.EACCES, "Permission denied"),
     OSError(errno.EROFS, "Read-only file system"), IsADirectoryError(errno.EISDIR, "Is a directory"),
     OSError(errno.EIO, "Input/output error"), CourseError("votes.jsonl, line 3, is not a JSON object")],
)  # fmt: skip
def test_why_a_vote_was_not_stored_is_told_in_korean(error):
    said = KOREAN.not_stored.format(reason=page_problems.file_reason(error, KOREAN))
    assert not re.search("[A-Za-z{}]", said) and re.search("[A-Za-z]", page_problems.file_reason(error, ENGLISH))


# --- in a browser ----------------------------------------------------------------------------

browser_only = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed (apt install chromium)")


@pytest.fixture(scope="module")
def standin():
    standin = StandIn()
    yield standin
    standin.close()


@pytest.fixture(scope="module")
def served(standin, tmp_path_factory):
    folder = tmp_path_factory.mktemp("page")
    served = ServerProcess(folder / "log.txt", "--backend", standin.url, "--votes", folder / "votes.jsonl",
                    "--documents", DATA / "documents.jsonl", "--ranking", "bm25")  # fmt: skip
    served.votes = folder / "votes.jsonl"
    yield served
    served.close()


class Socket:
    """A page without a browser: what it sends and is sent over its socket."""

    def __init__(self):
        import socketio

        self.client, self.said = socketio.AsyncClient(), []
        self.client.on("new_message", lambda step: self.said.append(step.get("output") or ""))

    async def open(self, url, transport):
        sign_on = {"sessionId": str(uuid4()), "clientType": "webapp", "userEnv": "{}", "chatProfile": "", "threadId": ""}
        await self.client.connect(
            url, headers={"Accept-Language": "ko-KR"}, auth=sign_on, transports=[transport], socketio_path="/ws/socket.io"
        )
        await self.client.emit("connection_successful")
        return self

    async def ask(self, question=QUESTION):
        step = {"id": str(uuid4()), "threadId": "", "name": "User", "type": "user_message", "output": question,
                "createdAt": "2026-01-01T00:00:00Z"}  # fmt: skip
        await self.client.emit("client_message", {"message": step, "fileReferences": []})


@pytest.mark.slow
@pytest.mark.parametrize("transport", ["websocket", "polling"])
def test_one_page_takes_no_more_than_its_slots_and_is_told_so_in_korean(served, standin, transport):
    standin.script = Script(pieces=["가"] * 2_000, pause=0.05)

    async def crowd():
        page = await Socket().open(served.url, transport)
        try:
            for _ in range(7):
                await page.ask()
            ends = time.monotonic() + 300
            while (
                len(refused := [text for text in page.said if "빈자리가 없습니다" in text]) < 3 and time.monotonic() < ends
            ):
                await asyncio.sleep(0.05)
            return len(refused), served.taken()
        finally:
            await page.client.disconnect()

    assert asyncio.run(crowd()) == (3, 4)
    ends = time.monotonic() + 300
    while served.taken() and time.monotonic() < ends:
        time.sleep(0.1)
    assert served.taken() == 0  # whoever leaves frees them


@pytest.fixture(scope="module")
def chromium():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


class Visit:
    """A page in a fresh browser window, with what it asked for and complained of."""

    def __init__(self, chromium, url, language="ko-KR", width=1200, phone=False):
        self.context = chromium.new_context(
            locale=language, viewport={"width": width, "height": 800}, is_mobile=phone, has_touch=phone
        )
        self.page = self.context.new_page()
        self.asked, self.errors, self.alerts = [], [], []
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.on("websocket", lambda link: self.asked.append(link.url))
        self.page.on("console", lambda line: self.errors.append(line.text) if line.type == "error" else None)
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("dialog", lambda dialog: (self.alerts.append(dialog.message), dialog.dismiss()))
        self.page.set_default_timeout(120_000)
        self.page.goto(url)

    def ready(self):
        self.page.wait_for_selector("#chat-input")
        self.page.wait_for_timeout(300)
        return self

    def ask(self, question=QUESTION):
        self.page.locator("#chat-input").click()
        self.page.keyboard.insert_text(question)
        self.page.keyboard.press("Enter")

    def profile(self, name):
        self.page.locator("#chat-profiles").click()
        self.page.get_by_role("option", name=name).click()
        self.page.wait_for_timeout(500)

    def sees(self, text):
        self.page.get_by_text(text).first.wait_for()

    @property
    def outside(self):
        return [url for url in self.asked if not re.match(r"(https?|wss?)://127\.0\.0\.1[:/]|data:|blob:", url)]


@pytest.fixture
def visit(chromium, served, standin):
    standin.script = Script()
    opened = []

    def go(**options):
        opened.append(Visit(chromium, options.pop("url", served.url), **options))
        return opened[-1]

    yield go
    for one in opened:
        one.context.close()


@pytest.mark.slow
@browser_only
def test_a_korean_question_is_answered_as_it_is_written(visit, standin):
    standin.script = Script(pieces=[f"{n}번째 " for n in range(10)], pause=0.25)
    there = visit().ready()
    there.ask()
    there.sees("2번째")
    assert there.page.get_by_text("9번째").count() == 0  # it streams
    there.sees("tiny-sft · 10토큰")
    there.sees("참고한 문서: [1] 확정일자의 뜻과 효력")
    assert standin.requests[-1]["messages"][-1]["content"].startswith("다음 문서를 참고하여")
    there.page.get_by_role("button", name="문서 보기").click()
    there.sees("확정일자는 임대차계약서가 그 날짜에 존재하였음을")
    assert there.outside == [] and there.errors == []


@browser_only
def test_stop_ends_the_answer_and_frees_the_backend(visit, standin, served):
    standin.script = Script(pieces=["가나다 "] * 400, pause=0.05)
    there = visit().ready()
    there.ask()
    there.sees("가나다 가나다")
    there.page.locator("#stop-button").click()
    there.sees("멈췄습니다.")
    ends = time.monotonic() + 300
    while (standin.open or served.taken()) and time.monotonic() < ends:
        time.sleep(0.05)
    assert (standin.open, served.taken()) == (0, 0)
    standin.script = Script()
    there.ask("다시 묻습니다")
    there.sees("주민센터에서 받습니다.")


@pytest.mark.slow
@browser_only
@pytest.mark.parametrize("leave", ["close the tab", "start a new chat"])
def test_who_leaves_the_page_frees_the_backend(visit, standin, served, leave, chromium):
    standin.script = Script(pieces=["가나다 "] * 1000, pause=0.05)
    there = visit().ready()
    if leave == "close the tab":
        there.profile("나란히 비교")
    there.ask()
    there.sees("가나다 가나다")
    assert served.taken() == (2 if leave == "close the tab" else 1)
    if leave == "close the tab":
        there.page.close()
    else:
        there.page.locator("#new-chat-button").click()
    ends = time.monotonic() + 300
    while (standin.open or served.taken()) and time.monotonic() < ends:
        time.sleep(0.1)
    assert (standin.open, served.taken()) == (0, 0)


@pytest.mark.slow
@browser_only
def test_two_answers_are_voted_on_blindly(visit, served):
    there = visit().ready()
    there.profile("나란히 비교")
    there.ask()
    there.sees("어느 답변이 더 낫습니까?")
    boxes = [there.page.locator(f'.step:has(img[alt="Avatar for {side}"])').bounding_box() for side in "AB"]
    assert boxes[0]["y"] == boxes[1]["y"] and boxes[0]["x"] + boxes[0]["width"] <= boxes[1]["x"]
    assert "tiny" not in there.page.locator("body").inner_text()
    there.page.get_by_role("button", name="A가 낫다").click()
    there.sees("저장했습니다.")
    assert there.page.get_by_role("button", name="B가 낫다").count() == 0
    vote = votes.read(served.votes)[-1]
    assert vote.winner == vote.shown_first and vote.question == QUESTION and vote.models == {"a": "tiny-sft", "b": "tiny"}
    assert vote.prompt[-1]["role"] == "user" and QUESTION in vote.prompt[-1]["content"]
    first, second = (vote.models[side] for side in (vote.shown_first, "b" if vote.shown_first == "a" else "a"))
    there.sees(f"A는 {first}, B는 {second} 모델이었습니다")
    assert there.outside == [] and there.errors == []


@browser_only
def test_on_a_phone_nothing_is_wider_than_the_screen(visit):
    there = visit(width=390, phone=True).ready()
    there.profile("나란히 비교")
    there.ask()
    there.sees("어느 답변이 더 낫습니까?")
    boxes = [there.page.locator(f'.step:has(img[alt="Avatar for {side}"])').bounding_box() for side in "AB"]
    assert boxes[0]["y"] + boxes[0]["height"] <= boxes[1]["y"]
    assert there.page.evaluate("document.documentElement.scrollWidth") <= 390


@browser_only
def test_english_browsers_see_english_and_settings_are_used(visit, standin):
    there = visit(language="en-US").ready()
    there.page.locator("#chat-settings-open-modal").click()
    there.sees("Longest answer (tokens)")
    there.page.get_by_label("System text").fill("짧게 답하세요.")
    there.page.locator("#confirm").click()
    there.page.wait_for_timeout(300)
    there.ask()
    there.sees("Sources: [1]")
    assert standin.requests[-1]["messages"][0] == {"role": "system", "content": "짧게 답하세요."}
    assert there.page.title().endswith("Korean instruction tuning")


# --- a model that does one job ---------------------------------------------------------------

AD = KOREAN.job_starters["listings"][0][1]
RECORD = (
    '{"deal":"월세","kind":"투룸","place":"망원동","deposit":500,"rent":40,"price":null,"area":"12평","floor":"반지하",'
    '"rooms":2,"bathrooms":1,"maintenance":5,"pets":true,"available":"05"}'
)


@pytest.fixture(scope="module")
def with_a_job(standin, tmp_path_factory):
    folder = tmp_path_factory.mktemp("jobs")
    program = ["tests.support.serving_a_job"]
    served = ServerProcess(folder / "log.txt", "--backend", standin.url, "--votes", folder / "votes.jsonl", program=program)
    served.votes = folder / "votes.jsonl"
    yield served
    served.close()


@pytest.mark.slow
@browser_only
def test_an_advertisement_becomes_a_table(visit, standin, with_a_job):
    there = visit(url=with_a_job.url).ready()
    there.page.locator("#chat-profiles").click()
    there.sees("매물 정리 (tiny-sft)")
    there.page.get_by_role("option", name="매물 정리 (tiny-sft)").hover()
    there.sees(KOREAN.roles["listings"])
    there.page.get_by_role("option", name="매물 정리 (tiny-sft)").click()
    standin.script = Script(pieces=[RECORD[:20], RECORD[20:]])
    there.page.get_by_role("button", name="월세 광고").click()
    there.sees("거래 종류")
    rows = there.page.locator(".step table tr").all_inner_texts()
    assert [row.split("\t") for row in rows][:4] == [
        ["항목", "내용"],
        ["거래 종류", "월세"],
        ["건물 종류", "투룸"],
        ["위치", "망원동"],
    ]
    assert there.page.locator(".step code").inner_text().strip() == RECORD
    assert [turn["role"] for turn in standin.requests[-1]["messages"]] == ["user"]
    assert standin.requests[-1]["messages"][0]["content"] == f"{LISTING.system}\n\n{AD}"
    standin.script = Script(pieces=["모르겠습니다"])
    there.ask("두 번째 광고")
    there.sees("표로 정리하지 못했습니다.")
    assert len(standin.requests[-1]["messages"]) == 1 and "망원동" not in standin.requests[-1]["messages"][0]["content"]
    there.page.locator("#chat-settings-open-modal").click()
    there.sees(KOREAN.settings["max_tokens"])
    assert there.page.get_by_label(KOREAN.settings["system"]).count() == 0
    assert there.outside == [] and there.errors == []


@pytest.mark.slow
@browser_only
def test_a_job_stands_beside_the_base_for_a_blind_vote(visit, standin, with_a_job):
    standin.script = Script(pieces=[RECORD])
    there = visit(url=with_a_job.url).ready()
    there.profile("매물 정리: 나란히 비교")
    there.ask("망원동 투룸")
    there.sees("어느 답변이 더 낫습니까?")
    assert there.page.locator(".step table").count() == 2
    asked = standin.requests[-2:]
    assert {request["model"] for request in asked} == {"tiny", "tiny-sft"}
    assert all(request["messages"][0]["content"] == f"{LISTING.system}\n\n망원동 투룸" for request in asked)
    there.page.get_by_role("button", name="A가 낫다").click()
    there.sees("저장했습니다.")
    vote = votes.read(with_a_job.votes)[-1]
    assert vote.models == {"a": "tiny-sft", "b": "tiny"} and vote.answer_a == vote.answer_b == RECORD
    assert vote.prompt == [{"role": "user", "content": f"{LISTING.system}\n\n망원동 투룸"}]


class Outside:
    """Another host, as far as a browser is concerned: it lists what it was asked for."""

    def __init__(self):
        self.asked = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                outer.asked.append(self.path)
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *arguments):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def outside():
    outside = Outside()
    yield outside
    outside.close()


EVIL = """<script>alert(1)</script><img src=x onerror=alert(2)><b>굵게</b> [눌러](javascript:alert(3)) ![그림]({url}/image.png)

<iframe src="{url}/frame"></iframe><link rel="stylesheet" href="{url}/style.css"><script src="{url}/script.js"></script>

[글]({url}/link) {url}/bare.png ![][g]

[g]: {url}/reference.png

```html
<img src="{url}/code.png">
```
![그림](data:image/svg+xml;base64,PHN2ZyBvbmxvYWQ9YWxlcnQoNCkgeG1sbnM9Imh0dHA6Ly93d3cudzMub3JnLzIwMDAvc3ZnIi8+)
"""


@pytest.mark.slow
@browser_only
@pytest.mark.parametrize("compared", [False, True])
def test_what_a_model_writes_runs_nothing_and_asks_no_other_host(visit, standin, outside, compared):
    standin.script = Script(pieces=[EVIL.replace("{url}", outside.url)])
    there = visit().ready()
    if compared:
        there.profile("나란히 비교")
    there.ask()
    there.sees("어느 답변이 더 낫습니까?" if compared else "tiny-sft ·")
    there.page.wait_for_timeout(800)
    for link in there.page.locator(".step a").all():
        assert not (link.get_attribute("href") or "").startswith("javascript:")
    assert there.alerts == [] and there.page.locator(".step iframe, .step script, .step b, .step link").count() == 0
    assert outside.asked == []
    visit(url=f"{outside.url}/by-hand")  # such a request would have been seen
    assert "/by-hand" in outside.asked


@browser_only
def test_a_backend_that_breaks_off_is_said_on_the_page(visit, standin):
    standin.script = Script(ends="break")
    there = visit().ready()
    there.ask()
    there.sees("모델이 답변을 끝까지 쓰지 못했습니다.")
    there.sees("주민센터에서 받습니다.")  # what came stays
    assert there.page.get_by_text("broke off").count() == 0
    there = visit(language="en-US").ready()
    there.ask()
    there.sees("broke off in the middle")


@pytest.mark.slow
@browser_only
def test_with_a_key_the_page_asks_for_it(chromium, standin, tmp_path):
    standin.script = Script()
    served = ServerProcess(tmp_path / "log.txt", "--backend", standin.url, SERVE_API_KEY=KEY)
    there = Visit(chromium, served.url)
    try:
        there.page.get_by_label("서버의 키를").fill("a wrong one")
        there.page.get_by_role("button").click()
        there.sees("키가 맞지 않습니다.")
        there.page.get_by_label("서버의 키를").fill(KEY)
        there.page.get_by_role("button").click()
        there.ready().ask()
        there.sees("주민센터에서 받습니다.")
        assert KEY not in served.said and KEY not in json.dumps(there.context.cookies())
    finally:
        there.context.close()
        served.close()
