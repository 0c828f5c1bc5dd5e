"""Protects: without keys the shipped documents are used; with them Naver's results, cleaned, each link once."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import pytest

from kotune.data import documents
from utils import CourseError


@pytest.fixture
def naver(monkeypatch):
    """A stand-in for Naver on loopback that answers with `status` and keeps what it was asked."""
    asked = []

    class Handler(BaseHTTPRequestHandler):
        status = 200

        def do_GET(self):
            url = urlsplit(self.path)
            asked.append((url.path, parse_qs(url.query), dict(self.headers)))
            word = parse_qs(url.query)["query"][0]
            items = [
                {
                    "title": f"<b>{word}</b>의 뜻",
                    "description": "&quot;뜻&quot;은 <b>이렇다</b>.",
                    "link": f"https://x/{word}",
                },
                {"title": "모두에 나오는 글", "description": "같은 글", "link": "https://x/same"},
            ]
            payload = json.dumps({"items": items}).encode()
            self.send_response(self.status)
            self.send_header("Content-Length", str(len(payload)))
            self.end_headers()
            self.wfile.write(payload)

        def log_message(self, *arguments):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("NAVER_CLIENT_ID", "id-of-the-test")
    monkeypatch.setenv("NAVER_CLIENT_SECRET", "secret-of-the-test")
    Handler.asked, Handler.url = asked, f"http://127.0.0.1:{server.server_port}/v1/search"
    yield Handler
    server.shutdown()


def test_without_keys_the_shipped_documents_are_used(monkeypatch):
    monkeypatch.setenv("NAVER_CLIENT_ID", "")
    assert documents.collect(["전세"]) == documents.shipped()


def test_results_are_plain_text_and_each_link_comes_once(naver):
    found = documents.collect(["전세", "월세"], "encyc", 2, naver.url)
    assert [d["title"] for d in found] == ["전세의 뜻", "모두에 나오는 글", "월세의 뜻"]
    assert found[0]["text"] == '"뜻"은 이렇다.'
    assert [d["id"] for d in found] == ["naver-0001", "naver-0002", "naver-0003"]
    path, query, headers = naver.asked[0]
    assert path.endswith("/encyc.json")
    assert query == {"query": ["전세"], "display": ["2"]}
    assert {k.lower(): v for k, v in headers.items()}["x-naver-client-id"] == "id-of-the-test"


@pytest.mark.parametrize(("status", "words"), [(401, "refused the keys"), (429, "quota"), (500, "status 500")])
def test_refusals_are_one_sentence_without_the_secret(naver, status, words):
    naver.status = status
    with pytest.raises(CourseError, match=words) as error:
        documents.collect(["전세"], "kin", 2, naver.url)
    assert "secret-of-the-test" not in str(error.value)


def test_an_unknown_category_and_a_dead_server_are_named(naver):
    with pytest.raises(CourseError, match="no category 'cafe'"):
        documents.collect(["전세"], "cafe", 2, naver.url)
    with pytest.raises(CourseError, match="cannot be reached"):
        documents.collect(["전세"], "kin", 2, "http://127.0.0.1:9/v1/search")
