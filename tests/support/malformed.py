"""Malformed data files: each a name, the bytes, and what must come of it.

`LINE` cases must give one sentence that names the line (or row, or cell) in `where` and holds `words`. `READ` cases must
be read right, for people's files are odd in harmless ways too: `count` rows, and `first` in the first question.
"""

import json
from dataclasses import dataclass

Q, A = "전세란 무엇인가요?", "보증금을 맡기고 사는 방식입니다."
GOOD = json.dumps({"question": Q, "answer": A}, ensure_ascii=False)


@dataclass(frozen=True)
class Line:
    """A file that must be refused, with the place and words that the one sentence must hold."""

    name: str
    content: bytes
    where: str
    words: str


@dataclass(frozen=True)
class Read:
    """A file that must be read right."""

    name: str
    content: bytes
    count: int
    first: str = Q


def jsonl(*lines: str) -> bytes:
    return "\n".join(lines).encode() + b"\n"


def row(**fields) -> str:
    return json.dumps(fields, ensure_ascii=False)


DEEP = "[" * 100_000
REFUSED = [
    # broken JSON
    Line("truncated.jsonl", jsonl(GOOD, GOOD[:-10]), "line 2", "truncated"),
    Line("truncated_mid_string.jsonl", jsonl(GOOD, '{"question": "전'), "line 2", "not valid JSON"),
    Line("single_quotes.jsonl", jsonl("{'question': '전세'}"), "line 1", "not valid JSON"),
    Line("trailing_comma.jsonl", jsonl(GOOD, '{"question": "가", "answer": "나",}'), "line 2", "not valid JSON"),
    Line("two_objects_a_line.jsonl", jsonl(GOOD + GOOD), "line 1", "not valid JSON"),
    Line("nan.jsonl", jsonl('{"question": NaN, "answer": "나"}'), "line 1", "NaN is no JSON value"),
    Line("infinity.jsonl", jsonl(GOOD, '{"question": "가", "answer": -Infinity}'), "line 2", "no JSON value"),
    Line("duplicate_keys.jsonl", jsonl(GOOD, '{"question": "가", "question": "나", "answer": "다"}'), "line 2", "'question' stands twice"),
    Line("number_line.jsonl", jsonl(GOOD, "3"), "line 2", "holds a number"),
    Line("text_line.jsonl", jsonl(GOOD, '"전세"'), "line 2", "holds a text"),
    Line("null_line.jsonl", jsonl(GOOD, "null"), "line 2", "holds a null"),
    Line("list_line.jsonl", jsonl(GOOD, "[1, 2]"), "line 2", "holds a list"),
    Line("deep.jsonl", jsonl(GOOD, DEEP), "line 2", "not valid JSON"),
    Line("python_none.jsonl", jsonl('{"question": None, "answer": "나"}'), "line 1", "not valid JSON"),
    Line("raw_newline_in_string.jsonl", '{"question": "전\n세", "answer": "나"}\n'.encode(), "line 1", "not valid JSON"),
    Line("raw_tab_in_string.jsonl", '{"question": "전\t세", "answer": "나"}\n'.encode(), "line 1", "not valid JSON"),
    Line("comment.jsonl", jsonl("// 주석", GOOD), "line 1", "not valid JSON"),
    Line("truncated.json", f"[{GOOD}, {GOOD[:-5]}".encode(), "line 1", "truncated"),
    Line("truncated_later.json", f"[\n{GOOD},\n{GOOD[:-5]}".encode(), "line 3", "truncated"),
    Line("one_object.json", b'{"data": "x"}', "holds one object", "[...]"),
    Line("one_text.json", '"전세"'.encode(), "holds one text", "[...]"),
    Line("list_of_texts.json", '["전세", "월세"]'.encode(), "row 1", "is a text"),
    Line("list_with_null.json", f"[{GOOD}, null]".encode(), "row 2", "is a null"),
    Line("duplicate_keys.json", b'[{"question": "a", "question": "b", "answer": "c"}]', "duplicate_keys.json", "stands twice"),
    # nothing there
    Line("empty.jsonl", b"", "empty.jsonl", "holds no rows"),
    Line("blank_lines.jsonl", b"\n\n  \n", "blank_lines.jsonl", "holds no rows"),
    Line("empty.json", b"", "empty.json", "holds no rows"),
    Line("empty_list.json", b"[]", "empty_list.json", "holds no rows"),
    Line("empty.csv", b"", "empty.csv", "holds no rows"),
    Line("header_only.csv", b"question,answer\n", "header_only.csv", "holds no rows"),
    Line("empty.txt", b"\n\n", "empty.txt", "holds no rows"),
    Line("unknown.docx", b"PK", "unknown.docx", "no kind that the course reads"),
    # encodings
    Line("neither.jsonl", GOOD.encode() + b"\n\xff\xfe\xfd\x80\x81 broken\n", "line 2", "neither UTF-8 nor CP949"),
    Line("binary.txt", bytes(range(128, 256)) * 40, "line 1", "neither UTF-8 nor CP949"),
    Line("bom_and_a_bad_byte.jsonl", b"\xef\xbb\xbf" + GOOD.encode() + b'\n{"question": "\xff"}\n', "line 2", "byte order mark"),
    Line("cut_utf16.jsonl", (GOOD + "\n" + GOOD + "\n").encode("utf-16")[:-1], "line 2", "may be cut"),
    # fields
    Line("missing_answer.jsonl", jsonl(GOOD, row(question=Q)), "line 2", "has the fields question"),
    Line("no_fields.jsonl", jsonl("{}"), "line 1", "(none)"),
    Line("unknown_columns.jsonl", jsonl(row(Frage="a", Antwort="b")), "line 1", "Frage, Antwort"),
    Line("empty_question.jsonl", jsonl(row(question=" ", answer=A)), "line 1", "field question"),
    Line("empty_answer.jsonl", jsonl(GOOD, row(question=Q, answer="")), "line 2", "field answer"),
    Line("null_answer.jsonl", jsonl(row(question=Q, answer=None)), "line 1", "field answer"),
    Line("number_for_text.jsonl", jsonl(row(question=Q, answer=14)), "line 1", "field answer"),
    Line("list_for_text.jsonl", jsonl(row(instruction=["가"], output=A)), "line 1", "field instruction: expected a text"),
    Line("number_input.jsonl", jsonl(row(instruction=Q, input=3, output=A)), "line 1", "field input"),
    Line("number_source.jsonl", jsonl(row(question=Q, answer=A, source=3)), "line 1", "field source"),
    Line("list_id.jsonl", jsonl(row(id=["x"], question=Q, answer=A)), "line 1", "field id"),
    Line("duplicate_id.jsonl", jsonl(row(id="a", question=Q, answer=A), row(id="a", question=Q, answer=A)), "line 2",
         "used by line 1"),
    Line("nested_nulls.jsonl", jsonl(row(messages=[None, None])), "line 1", "field messages"),
    Line("null_content.jsonl", jsonl(row(messages=[{"role": "user", "content": None}])), "line 1", "field messages"),
    Line("null_messages.jsonl", jsonl(row(messages=None)), "line 1", "field messages"),
    Line("unknown_role.jsonl", jsonl(row(messages=[{"role": "tool", "content": "가"}])), "line 1", "field messages"),
    Line("assistant_first.jsonl", jsonl(row(messages=[{"role": "assistant", "content": "가"},
                                                      {"role": "user", "content": "나"},
                                                      {"role": "assistant", "content": "다"}])), "line 1", "the roles are"),
    Line("two_users.jsonl", jsonl(row(messages=[{"role": "user", "content": "가"}, {"role": "user", "content": "나"},
                                                {"role": "assistant", "content": "다"}])), "line 1", "the roles are"),
    Line("system_in_the_middle.jsonl", jsonl(row(messages=[{"role": "user", "content": "가"},
                                                           {"role": "system", "content": "나"},
                                                           {"role": "assistant", "content": "다"}])), "line 1", "the roles"),
    Line("ends_with_user.jsonl", jsonl(row(messages=[{"role": "user", "content": "가"}])), "line 1", "last turn"),
    Line("sharegpt_unknown.jsonl", jsonl(row(conversations=[{"from": "robot", "value": "가"}])), "line 1", "'robot'"),
    Line("sharegpt_text.jsonl", jsonl(row(conversations="가나다")), "line 1", "list of turns"),
    Line("history_of_texts.json", f"[{row(instruction=Q, output=A, history=['가', '나'])}]".encode(), "row 1", "history"),
    Line("history_of_triples.json", f"[{row(instruction=Q, output=A, history=[['가', '나', '다']])}]".encode(), "row 1",
         "[user, assistant] pairs"),
    Line("history_null.json", f"[{row(instruction=Q, output=A, history=[['가', None]])}]".encode(), "row 1", "history, pair 1"),
    Line("ranked_one.json", f"[{row(instruction=Q, output=[A])}]".encode(), "row 1", "two answers"),
    Line("ranked_three.json", f"[{row(instruction=Q, output=[A, '나', '다'])}]".encode(), "row 1", "two answers"),
    Line("ranked_same.json", f"[{row(instruction=Q, output=[A, A])}]".encode(), "row 1", "same text"),
    Line("same_sides.jsonl", jsonl(row(prompt=Q, chosen=A, rejected=A)), "line 1", "same text"),
    Line("empty_rejected.jsonl", jsonl(row(prompt=Q, chosen=A, rejected="")), "line 1", "field rejected"),
    Line("seed_word_text.jsonl", jsonl(row(seed_word="전세", answer="질문")), "line 1", "list of its questions"),
    Line("seed_word_without_questions.jsonl", jsonl(row(seed_word="전세", answer=[])), "line 1", "at least one"),
    Line("two_system_texts.jsonl", jsonl(row(system="a", prompt=[{"role": "system", "content": "b"}, {"role": "user", "content": "c"}], completion="d")), "line 1", "keep one of the two"),
    Line("number_kind.jsonl", jsonl(row(prompt=Q, chosen=A, rejected="나", kind=3)), "line 1", "field kind"),
    Line("deep_object.json", ('{"a":' * 100_000).encode(), "deep_object.json", "not valid JSON"),
    # CSV
    Line("ragged.csv", f"question,answer\n{Q},{A}\n{Q}\n".encode(), "line 3", "1 fields where the header has 2"),
    Line("comma_in_text.csv", f"question,answer\n전세, 월세란?,{A}\n".encode(), "line 2", "double quotes"),
    Line("open_quote.csv", f'question,answer\n"{Q},{A}\n'.encode(), "line 2", "not valid CSV"),
    Line("quote_in_the_middle.csv", f'question,answer\n"가" 나,{A}\n'.encode(), "line 2", "not valid CSV"),
    Line("nameless_column.csv", f"question,,answer\n{Q},x,{A}\n".encode(), "line 1", "column 2 has no name"),
    Line("twin_columns.csv", f"question,question\n{Q},{A}\n".encode(), "line 1", "comes twice"),
    Line("semicolons.csv", f"question;answer\n{Q};{A}\n".encode(), "line 2", "question;answer"),
    # other
    Line("not_parquet.parquet", b"PAR1 but no more", "not_parquet.parquet", "not a whole Parquet file"),
    Line("not_excel.xlsx", b"PK\x03\x04 broken", "not_excel.xlsx", "no Excel workbook"),
    Line("csv_named_excel.xlsx", f"question,answer\n{Q},{A}\n".encode(), "csv_named_excel.xlsx", "no Excel workbook"),
]  # fmt: skip

READ = [
    Read("utf16_korean_without_bom.jsonl", (jsonl(row(question=Q, answer=A * 9)).decode()).encode("utf-16-le"), 1),
    Read("utf16_korean_big_endian.txt.jsonl", (jsonl(row(question=Q, answer=A * 9)).decode()).encode("utf-16-be"), 1),
    Read("empty_columns_at_the_end.csv", f"question,answer,,\n{Q},{A},,\n".encode(), 1),
    Read("bom.jsonl", b"\xef\xbb\xbf" + jsonl(GOOD), 1),
    Read("crlf.jsonl", jsonl(GOOD, GOOD).replace(b"\n", b"\r\n"), 2),
    Read("blank_between.jsonl", jsonl(GOOD, "", "   ", GOOD), 2),
    Read("no_final_newline.jsonl", jsonl(GOOD, GOOD)[:-1], 2),
    Read("utf16.jsonl", (GOOD + "\n").encode("utf-16"), 1),
    Read("utf16_no_bom.jsonl", (row(question="What is jeonse?", answer="a deposit") + "\n").encode("utf-16-le"), 1, "What is jeonse?"),
    Read("cp949.jsonl", (GOOD + "\n").encode("cp949"), 1),
    Read("cp949.csv", f"question,answer\n{Q},{A}\n".encode("cp949"), 1),
    Read("list_named_jsonl.jsonl", f"[{GOOD},\n{GOOD}]".encode(), 2),
    Read("lines_named_json.json", jsonl(GOOD, GOOD), 2),
    Read("line_separator.jsonl", jsonl(row(question=f"가\u2028{Q}", answer="나\x0c다\x85라")), 1, f"가\u2028{Q}"),
    Read("escaped.jsonl", json.dumps({"question": Q, "answer": A}).encode(), 1),
    Read("quoted_newline.csv", f'question,answer\n"{Q}","가\n나, ""다"""\n'.encode(), 1),
    Read("excel_csv.csv", b"\xef\xbb\xbf" + f"question,answer\r\n{Q},{A}\r\n".encode(), 1),
    Read("tabs.tsv", f"question\tanswer\n{Q}\t{A}\n".encode(), 1),
    Read("blank_line.csv", f"question,answer\n\n{Q},{A}\n".encode(), 1),
    Read("numeric_id.jsonl", jsonl(row(id=7, question=Q, answer=A)), 1),
    Read("fifty_megabytes_in_a_line.jsonl", jsonl(row(question=Q, answer="가" * 17_500_000)), 1),
]  # fmt: skip
