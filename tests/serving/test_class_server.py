"""Protects: thirty phones vote at once and each vote counts once; nothing is shown before the end; no text is markup."""

import http.client
import re
import threading
import urllib.parse

import pytest

from kotune.serving.class_pages import TEXTS, language_of
from tests.judging.test_comparison import judged
from tests.support.serving import CHROMIUM, KEY, ServerProcess, free_port, refused
from utils import read_jsonl, write_jsonl

HOSTILE = '<script>alert("x")</script> & "따옴표" <b>굵게</b>'
PAIRS, PHONES = 4, 30
KOREAN = {"Accept-Language": "ko-KR,ko;q=0.9"}


@pytest.fixture(scope="module")
def judged_file(tmp_path_factory):
    folder = tmp_path_factory.mktemp("class")
    lines = [
        judged(
            number, verdict, verdict, a=f"첫째 {number} {HOSTILE}", b=f"둘째 {number}", question=f"질문 {number} {HOSTILE}"
        )
        for number, verdict in enumerate(("a", "b", "a", "a"))
    ]
    return write_jsonl(folder / "judgments.jsonl", [vars(line) for line in lines])


def start(judged_file, folder, *arguments, **settings):
    return ServerProcess(
        folder / "log.txt", "--class", judged_file, "--name_a", "SFT & 친구", "--name_b", "base", "--votes",
        folder / "votes.jsonl", *arguments, **settings,
    )  # fmt: skip


@pytest.fixture
def server(judged_file, tmp_path):
    served = start(judged_file, tmp_path)
    served.votes = tmp_path / "votes.jsonl"
    served.tally = re.search(r"http://127\.0\.0\.1:\d+(/tally/[0-9a-f]{32})", served.said)[1]
    yield served
    served.close()


class Phone:
    """A browser that keeps its cookies."""

    def __init__(self, server, headers=KOREAN):
        self.port, self.headers, self.cookies = server.port, dict(headers), {}

    def ask(self, method, path, body=None, **headers):
        link = http.client.HTTPConnection("127.0.0.1", self.port, timeout=300)
        cookie = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        sent = {**self.headers, **headers} | ({"Cookie": cookie} if cookie else {})
        if body is not None:
            body = urllib.parse.urlencode(body)
            sent.setdefault("Content-Type", "application/x-www-form-urlencoded")
        link.request(method, path, body, sent)
        reply = link.getresponse()
        text = reply.read().decode()
        for name, value in reply.getheaders():
            if name.lower() == "set-cookie":
                key, _, rest = value.partition("=")
                self.cookies[key] = rest.partition(";")[0]
        link.close()
        return reply.status, text, dict(reply.getheaders())

    def pair(self):
        """Return the pair that is shown, by its id, or None at the end."""
        found = re.search(r'name="pair" value="([^"]+)"', self.ask("GET", "/")[1])
        return found and found[1]

    def vote(self, pair, shown):
        return self.ask("POST", "/vote", {"pair": pair, "shown": shown})


@pytest.mark.slow
def test_thirty_phones_vote_at_once_and_each_vote_counts_once(server):
    faults = []

    def take_part(number):
        phone = Phone(server)
        for _ in range(PAIRS):
            pair = phone.pair()
            first = phone.vote(pair, "first")
            again = phone.vote(pair, "second")  # pressed twice, by a finger that is in a hurry
            if (first[0], again[0]) != (303, 303) or "again" not in again[2]["location"]:
                faults.append((number, first, again))
        if phone.pair() is not None:
            faults.append((number, "a pair after the last"))

    threads = [threading.Thread(target=take_part, args=(number,)) for number in range(PHONES)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    rows = read_jsonl(server.votes)
    assert not faults
    assert len(rows) == len({row["vote"] for row in rows}) == PAIRS * PHONES
    assert len({row["voter"] for row in rows}) == PHONES and all(row["winner"] == row["shown_first"] for row in rows)
    said = Phone(server).ask("GET", server.tally)[1]
    assert f"휴대전화 {PHONES}대, {PAIRS * PHONES}표" in said


@pytest.mark.slow
def test_nothing_is_told_before_the_vote_is_closed_and_then_all_of_it(server):
    phones = [Phone(server) for _ in range(3)]
    shown = set()
    for phone in phones:
        page = phone.ask("GET", "/")[1]
        assert "SFT" not in page and "base" not in page
        assert HOSTILE not in page and "&lt;script&gt;" in page
        shown.add(re.search(r'<div class="text">(첫째|둘째)', page)[1])
        for _ in range(PAIRS):
            phone.vote(phone.pair(), "tie")
    teacher = Phone(server, {"Accept-Language": "en"})
    before = teacher.ask("GET", server.tally)[1]
    assert (
        "3 phones, 12 votes" in before
        and "kappa" not in before
        and "질문" not in before
        and 'http-equiv="refresh"' in before
    )
    assert teacher.ask("POST", f"{server.tally}/close")[0] == 303
    after = teacher.ask("GET", server.tally)[1]
    assert "The room and the judge say the same on 0 of 4 pairs" in after and "kappa" in after
    assert "SFT &amp; 친구" in after and HOSTILE not in after and "&lt;script&gt;" in after and "<script" not in after
    late = Phone(server)
    page = late.ask("GET", "/")[1]
    assert "투표가 끝났습니다." in page and "<form" not in page
    assert late.vote("q0", "first")[0] == 303 and len(read_jsonl(server.votes)) == 12
    assert {row["winner"] for row in read_jsonl(server.votes.with_suffix(".room.jsonl"))} == {"tie"}


@pytest.mark.slow
def test_what_is_no_vote_is_refused_and_stores_nothing(server):
    phone = Phone(server)
    assert phone.vote("q0", "first")[0] == 403  # it has no cookie yet
    phone.pair()
    for body in (
        {"pair": "q0"},
        {"pair": "q0", "shown": "a"},
        {"pair": "nothing", "shown": "first"},
        {f"x{n}": "1" for n in range(40)},
    ):
        status, page, _ = phone.ask("POST", "/vote", body)
        assert status == 422 and "알아볼 수 없는 표입니다" in page
    forged = Phone(server, {"Cookie": "class_phone=../../x"})
    assert forged.vote("q0", "first")[0] == 403
    assert phone.ask("GET", "/vote")[0] == 405 and phone.ask("POST", "/")[0] == 405
    assert phone.ask("GET", "/tally/" + "0" * 32)[0] == 404 and phone.ask("GET", "/tally/")[0] == 404
    assert phone.ask("POST", "/tally/" + "0" * 32 + "/close")[0] == 404
    assert phone.ask("GET", "/docs")[0] == 404 and phone.ask("GET", "/openapi.json")[0] == 404
    assert phone.ask("GET", "/", Host="evil.example")[0] == 421
    assert phone.ask("POST", "/vote", {"pair": "q0", "shown": "first"}, Origin="https://evil.example")[0] == 403
    assert server.votes.read_text() == "" and "Traceback" not in server.said


@pytest.mark.slow
def test_a_server_that_was_started_again_goes_on_with_the_votes(judged_file, tmp_path):
    first = start(judged_file, tmp_path)
    phone = Phone(first)
    pair = phone.pair()
    phone.vote(pair, "first")
    first.close()
    second = start(judged_file, tmp_path)
    try:
        assert "has 1 votes already; the vote goes on" in second.said
        phone.port = second.port
        assert phone.pair() not in (pair, None)
    finally:
        second.close()


@pytest.mark.slow
def test_in_a_room_the_phones_are_asked_for_the_key_and_the_tally_is_not(judged_file, tmp_path):
    served = start(judged_file, tmp_path, "--host", "0.0.0.0", SERVE_API_KEY=KEY)
    try:
        phone = Phone(served)
        assert phone.ask("GET", "/")[0] == 401
        assert phone.vote("q0", "first")[0] == 401
        assert phone.ask("POST", "/sign-in", {"key": KEY})[0] == 303
        pair = phone.pair()
        assert phone.vote(pair, "first")[0] == 303
        assert len(read_jsonl(tmp_path / "votes.jsonl")) == 1
        tally = re.search(r"(/tally/[0-9a-f]{32})", served.said)[1]
        assert "휴대전화 1대, 1표" in Phone(served).ask("GET", tally)[1]
        assert KEY not in served.said
    finally:
        served.close()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--class", "--host", "0.0.0.0"), "needs --api_key"),
        (("--class", "nothing.jsonl"), "does not exist"),
        (("--class", "--model_path", "outputs/sft"), "leave --model_path out"),
        (("--class", "--name_a", "SFT"), "name their file behind --class"),
        (("--class", "--ballots", "0"), "choose 1 to 100"),
        (("--ballots", "5"), "pass --class too"),
    ],
)
def test_a_vote_that_cannot_start_says_why_in_one_sentence(arguments, said):
    assert said in refused("--port", free_port(), *arguments)


def test_both_languages_say_the_same_things():
    assert set(TEXTS["ko"]) == set(TEXTS["en"])
    for name, text in TEXTS["ko"].items():
        fields = re.findall(r"{\w+", text)
        assert sorted(fields) == sorted(re.findall(r"{\w+", TEXTS["en"][name])), name
    assert language_of("ko-KR,ko;q=0.9,en") == "ko" and language_of("en-US,ko;q=0.5") == language_of(None) == "en"


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed (apt install chromium)")
def test_a_phone_shows_a_pair_without_scrolling_sideways_and_asks_no_other_host(server):
    from playwright.sync_api import sync_playwright

    hosts = set()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        phone = browser.new_context(viewport={"width": 320, "height": 640}, locale="ko-KR").new_page()
        phone.on("request", lambda request: hosts.add(urllib.parse.urlsplit(request.url).netloc))
        phone.goto(server.url)
        for number in range(PAIRS):
            assert f"{PAIRS}쌍 중 {number + 1}번째" in phone.inner_text("body")
            assert phone.evaluate("document.documentElement.scrollWidth") <= 320
            buttons = phone.locator("button")
            assert buttons.count() == 3 and all(buttons.nth(n).bounding_box()["height"] >= 44 for n in range(3))
            buttons.nth(number % 3).click()
        assert "모두 투표하셨습니다" in phone.inner_text("body")
        phone.goto(f"{server.url}{server.tally}")
        phone.get_by_role("button").click()
        assert "카파" in phone.inner_text("body") and phone.evaluate("document.documentElement.scrollWidth") <= 320
        browser.close()
    assert hosts == {f"127.0.0.1:{server.port}"}
    assert len(read_jsonl(server.votes)) == PAIRS
