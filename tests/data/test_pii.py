"""Protects: personal data in its usual Korean forms is found, and what only looks so in this domain is not."""

import re

import pytest

from kotune import cli
from kotune.data import pii
from utils import CourseError, read_jsonl, write_jsonl


@pytest.mark.parametrize(
    ("text", "kinds"),
    [
        ("주민등록번호는 900101-1234567입니다.", ["resident number"]),
        ("외국인등록번호 850315-5123456", ["resident number"]),
        ("010-1234-5678로 전화 주세요", ["mobile phone"]),
        ("01012345678로 문자를", ["mobile phone"]),
        ("국제전화 +82-10-1234-5678", ["mobile phone"]),
        ("사무실은 02-123-4567, 지점은 031-123-4567", ["phone", "phone"]),
        ("인터넷 전화 070-1234-5678", ["phone"]),
        ("주민번호 9001011234567", ["resident number"]),
        ("0212345678로 연락", ["phone"]),
        ("메일은 hong.gildong@example.co.kr", ["e-mail"]),
        ("국민은행 123456-04-123456으로 보내 주세요", ["account number"]),
        ("계좌번호: 1002-123-456789", ["account number"]),
        ("농협 3021234567891 홍길동", ["account number"]),
        ("카드 1234-5678-1234-5678", ["card number"]),
        ("연락처 010-1234-5678, 메일 a@b.kr", ["mobile phone", "e-mail"]),
    ],
)
def test_finds(text, kinds):
    assert [finding.kind for finding in pii.find(text)] == kinds


@pytest.mark.parametrize(
    "text",
    [
        "보증금 1000000000원",
        "2024년 1월 1일부터 2024-12-31까지입니다.",
        "대지 면적 123-4번지, 지번 산 12-34",
        "면적은 84.97제곱미터, 가격은 1,234,567,890원입니다.",
        "사건번호 2023타경12345, 관리번호 2024-12345-678",
        "은행 대출 한도는 70%에서 80%로, 금리는 3.5%입니다.",
        "등기부 고유번호 1101-1996-123456",  # a property, not a person
        "991332-1234567",  # no such month
        "1345-6789 번호판",
    ],
)
def test_leaves_alone(text):
    assert pii.find(text) == []


def test_what_is_shown_of_a_find_is_covered():
    (finding,) = pii.find("번호는 900101-1234567이다")
    assert finding.covered == "90****-*****67"
    text = "번호는 900101-1234567이고 메일은 a@example.com"
    assert pii.redact(text) == "번호는 [resident number]이고 메일은 [e-mail]"


def test_a_scan_names_row_and_field_and_counts_every_kind():
    rows = [{"q": "가", "a": None}, {"q": "나", "a": "010-1234-5678"}]
    findings = pii.scan(rows, ("q", "a"))
    assert findings == [{"row": 2, "field": "a", "kind": "mobile phone", "covered": "01*-****-**78"}]
    assert pii.count(findings)["mobile phone"] == 1
    assert pii.count(findings)["e-mail"] == 0


def test_a_file_is_scanned_in_every_text_and_places_are_exact(tmp_path, capsys):
    phone, mail = "010-1234-5678", "a.b@example.co.kr"
    rows = [
        {"question": "번호는?", "answer": f"제 번호는 {phone}입니다."},
        {"messages": [{"role": "user", "content": "메일은?"}, {"role": "assistant", "content": f"{mail}로 주세요."}]},
    ]
    source, out = write_jsonl(tmp_path / "a.jsonl", rows), tmp_path / "f.jsonl"
    assert cli.run(["data", "scan", str(source), "--out", str(out)]) == 0
    first, second = read_jsonl(out)
    assert first == {"row": 1, "field": "answer", "kind": "mobile phone", "start": 6, "end": 19}
    assert rows[0]["answer"][first["start"] : first["end"]] == phone
    assert (second["row"], second["field"], second["kind"]) == (2, "messages[1].content", "e-mail")
    assert phone not in out.read_text() and mail not in out.read_text()
    assert re.search(r"mobile phone +1\n", capsys.readouterr().out)
    with pytest.raises(CourseError, match="is the input"):
        pii.scan_file(source, source)
