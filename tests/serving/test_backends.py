"""Protects: whatever a backend sends, a reply is whole or an error: no cut text, no false end, no fault of this server.

By stand-ins, because each of these is a fault, or the way of another server, which llama.cpp does not have (its own ends,
cuts and refusals: `test_real_backend.py`).
"""

import asyncio
import itertools
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kotune.models.sampling import Sampling
from kotune.serving import backends
from kotune.serving.app import status_of
from kotune.serving.backends import (
    LONGEST_LINE,
    BackendBrokeOff,
    BackendError,
    BackendRefused,
    ChatRequest,
    RemoteBackend,
    WholeCharacters,
    read_event,
    stream_lines,
)
from kotune.serving.guard import Busy
from tests.support.endpoint import Endpoint
from tests.support.serving import Script, StandIn
from utils import CourseError

ASKED = ChatRequest("tiny", [{"role": "user", "content": "확정일자는 어디에서 받나요?"}], Sampling())
SEPARATORS = "\u2028\u2029\x85\x0b\x0c\x1c\x1d\x1e"  # what splits a text for Python, and is text in a stream


@pytest.fixture(scope="module")
def standin():
    standin = StandIn()
    yield standin
    standin.close()


def read(url):
    """Return a reply's pieces, or the error, and the last Progress."""

    async def run():
        backend = RemoteBackend(url)
        try:
            return [progress async for progress in backend.stream(ASKED)]
        finally:
            await backend.close()

    return asyncio.run(run())


def lines_of(chunks):
    async def run():
        async def source():
            for chunk in chunks:
                yield chunk

        return [line async for line in stream_lines(source())]

    return asyncio.run(run())


@given(
    st.lists(st.text(alphabet=st.one_of(st.sampled_from(SEPARATORS + "가a: "), st.characters(exclude_characters="\r\n", exclude_categories=["Cs"]))), min_size=1),
    st.sampled_from([b"\n", b"\r\n", b"\r"]),
    st.lists(st.integers(0, 200)),
)  # fmt: skip
def test_lines_are_the_same_however_they_are_ended_and_cut_into_chunks(lines, end, cuts):
    data = b"".join(line.encode() + end for line in lines)
    places = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    assert lines_of([data[a:b] for a, b in itertools.pairwise(places)]) == lines


def test_a_line_without_an_end_is_no_endless_memory():
    with pytest.raises(ValueError, match="without an end"):
        lines_of([b"x" * LONGEST_LINE, b"x"])
    assert lines_of([b"data: 1\n\n", b"data: 2"]) == ["data: 1", "", "data: 2"]


@pytest.mark.parametrize("character", [*SEPARATORS, "\r\n", "\x00", "\ufeff", "\U0001f3e0"])
def test_characters_that_split_lines_elsewhere_come_through(standin, character):
    standin.script = Script(pieces=["주민", f"{character}센터{character}", character])
    assert "".join(progress.text for progress in read(standin.url)) == f"주민{character}센터{character}{character}"


@pytest.mark.parametrize("reason", ["stop", "eos", "eos_token", "end_turn", "stop_sequence"])
def test_a_reply_that_ended_is_told_so(standin, reason):
    standin.script = Script(ends=reason)
    assert read(standin.url)[-1].finish == "stop"


@pytest.mark.parametrize("reason", ["length", "max_tokens", "model_length"])
def test_a_reply_that_was_cut_is_told_so(standin, reason):
    standin.script = Script(ends=reason)
    assert read(standin.url)[-1].finish == "length"


@pytest.mark.parametrize(
    "reason", ["abort", "error", "content_filter", "sensitive", "tool_calls", "function_call", "ERROR", {"a": 1}, 7, "취소"]
)
def test_what_is_no_end_is_an_error_that_names_it(standin, reason):
    standin.script = Script(ends=[reason] if isinstance(reason, int) else reason)
    with pytest.raises(BackendBrokeOff, match="did not finish the reply"):
        read(standin.url)


def test_a_reply_without_a_reason_broke_off(standin):
    standin.script = Script(ends=None)
    with pytest.raises(BackendBrokeOff, match="broke off"):
        read(standin.url)


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ([{"type": "text", "text": "주민"}, {"type": "text", "text": "센터"}], "주민센터"),
        ([{"type": "thinking", "thinking": [{"type": "text", "text": "음"}]}, {"type": "text", "text": "네"}], "네"),
        ([], ""),
        ([None, 5, "x", {"text": 7}], ""),
        (None, ""),
    ],
)
def test_a_content_in_parts_is_its_text(standin, content, text):
    standin.script = Script(pieces=[content, "끝"])
    assert "".join(progress.text for progress in read(standin.url)) == f"{text}끝"


@pytest.mark.parametrize("content", [5, {"text": "가"}, True])
def test_a_content_that_is_no_text_is_a_backends_error(standin, content):
    standin.script = Script(pieces=[content])
    with pytest.raises(BackendError):
        read(standin.url)


HALVES = ["\ud83c", "\udfe0"]  # of U+1F3E0, as a server sends it that cuts between UTF-16 units


def test_halves_of_a_character_are_put_together_and_a_lone_one_is_no_fault(standin):
    assert [WholeCharacters().feed(text) for text in ("가", "", "\udfe0", "".join(HALVES))] == [
        "가",
        "",
        "\ufffd",
        "\U0001f3e0",
    ]
    joined = WholeCharacters()
    assert "".join(joined.feed(text) for text in ["집", HALVES[0], "", HALVES[1], HALVES[0], "끝"]) == "집\U0001f3e0\ufffd끝"


@given(st.lists(st.text(alphabet=st.characters())))
def test_no_piece_is_left_that_cannot_be_sent(pieces):
    joined = WholeCharacters()
    for piece in pieces:
        joined.feed(piece).encode()


def answering(*lines, status=200, kind="text/event-stream"):
    """An endpoint that writes these bytes and closes."""

    def write(handler):
        handler.send_response(status)
        handler.send_header("Content-Type", kind)
        handler.send_header("Connection", "close")
        handler.end_headers()
        handler.wfile.write(b"".join(lines))
        handler.close_connection = True

    return Endpoint(lambda body: write)


def event(**fields):
    return b"data: " + json.dumps({"choices": [{"index": 0, **fields}]}, ensure_ascii=True).encode() + b"\n\n"


END = event(delta={}, finish_reason="stop")


@pytest.mark.parametrize(
    "lines",
    [
        [HALVES[0]],
        [HALVES[0], HALVES[1]],
        ["가", HALVES[1]],
    ],
)
def test_what_came_over_the_wire_can_be_sent_on(lines):
    endpoint = answering(*(event(delta={"content": text}) for text in lines), END)
    "".join(progress.text for progress in read(endpoint.url)).encode()


@pytest.mark.parametrize(
    ("sent", "text"),
    [
        ([b": a comment\n\n", b"event: message\nid: 5\nretry: 9\n", event(delta={"content": "가"}), END], "가"),
        ([event(delta={"content": "가"}).replace(b"\n", b"\r"), END.replace(b"\n", b"\r\n")], "가"),
        ([event(delta={"content": "가"}), END, b"data: [DONE]\n\n"], "가"),
        ([event(delta={"content": "가"}, finish_reason=None), END.strip()], "가"),
        ([event(message={"content": "가"}, finish_reason="stop")[6:]], "가"),  # whole, though a stream was asked for
        ([event(delta={"role": "assistant", "reasoning_content": "음"}), event(delta={"content": "가"}), END], "가"),
        (
            [b'data: {"choices": [], "usage": {"prompt_tokens": "7", "completion_tokens": -1}}\n\n', event(text="가"), END],
            "가",
        ),
    ],
)
def test_streams_that_are_written_otherwise_are_read(sent, text):
    assert "".join(progress.text for progress in read(answering(*sent).url)) == text


@pytest.mark.parametrize(
    "sent",
    [
        [b"<html>502</html>"],
        [b"data: <html>\n\n"],
        [b"data: [1, 2]\n\n"],
        [b'data: "text"\n\n'],
        [b"data: {\n\n"],
        [b'data: {"choices": 5}\n\n'],
        [b'data: {"choices": ["x"]}\n\n'],
        [b'data: {"choices": [{"delta": "x"}]}\n\n'],
        [b'data: {"choices": [{"delta": {"content": "x"}}], "usage": [1]}\n\n'],
        [b'data: {"error": "no memory"}\n\n'],
        [b'data: {"error": {"message": "no memory", "code": 500}}\n\n'],
        [b'data: {"object": "error", "message": "no memory"}\n\n'],
        [b'{"error": {"message": "no memory"}}'],
        [b"\xff\xfe\x00"],
        [],
    ],
)
def test_what_is_no_stream_is_a_backends_error(sent):
    with pytest.raises(BackendError) as caught:
        read(answering(*sent).url)
    assert status_of(caught.value)[0] == 502 and ("no memory" in str(caught.value)) == any(b"no memory" in s for s in sent)


@pytest.mark.parametrize("status", [400, 413, 422])
@pytest.mark.parametrize("said", ['{"error": {"message": "too long"}}', '{"error": "too long"}', '{"detail": "too long"}',
                                  '{"detail": [{"loc": ["body"], "msg": "too long"}]}', "too long"])  # fmt: skip
def test_what_the_client_asked_wrongly_is_told_in_the_backends_words(status, said):
    with pytest.raises(BackendRefused, match="too long") as caught:
        read(answering(said.encode(), status=status, kind="application/json").url)
    assert status_of(caught.value)[0] == 422


def test_a_busy_backend_says_when_to_come_again():
    endpoint = Endpoint(lambda body: (429, {"error": {"message": "wait"}}, {"retry-after": "7"}))
    with pytest.raises(Busy) as caught:
        read(endpoint.url)
    assert caught.value.retry_after_s == 7


def test_lines_that_say_nothing_are_none():
    assert [read_event(line) for line in ("", ": x", "data:", "data: [DONE]", "event: message")] == [None] * 5
    assert issubclass(BackendRefused, CourseError) and not issubclass(BackendRefused, BackendError)
    assert backends.ENDED and "length" not in backends.ENDED
