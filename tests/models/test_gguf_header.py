"""Protects: a GGUF file's name, licence, shape and need of memory are read off its front, and what is none is one sentence."""

import gguf
import pytest

from kotune.models.gguf_header import read_header
from utils import CourseError, FileError


def write(path, *, heads_kv=2, file_type=None, words=3000, **more):
    """Write the front of a model's file with the package that llama.cpp's own scripts use."""
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_name("작은 모델")
    writer.add_license("apache-2.0")
    writer.add_block_count(3)
    writer.add_context_length(more.get("context", 4096))
    writer.add_embedding_length(64)
    writer.add_head_count(4)
    writer.add_head_count_kv(heads_kv)
    if "key" in more:
        writer.add_key_length(more["key"])
        writer.add_value_length(more["value"])
    if file_type is not None:
        writer.add_file_type(file_type)
    writer.add_token_list([f"낱말{number}" for number in range(words)])
    writer.add_token_scores([0.5] * words)
    writer.add_bool("general.odd", True)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def test_what_a_file_says_of_itself_is_read(tmp_path):
    file = write(tmp_path / "a.gguf", file_type=gguf.LlamaFileType.MOSTLY_F16)
    header = read_header(file)
    assert (header.architecture, header.name, header.licence, header.longest) == ("llama", "작은 모델", "apache-2.0", 4096)
    assert header.size == file.stat().st_size and not header.quantised


@pytest.mark.parametrize(("shape", "numbers"), [
    ({}, 3 * 2 * (16 + 16)),  # layers x heads x (key + value): 64 wide, 4 heads
    ({"key": 32, "value": 8}, 3 * 2 * (32 + 8)),
    ({"heads_kv": [2, 1, 4]}, 7 * (16 + 16)),
])  # fmt: skip
def test_the_cache_is_reckoned_from_the_shape(shape, numbers, tmp_path):
    header = read_header(write(tmp_path / "a.gguf", **shape))
    assert header.cache_per_token == 2 * numbers
    assert header.memory_bytes(1000) - header.memory_bytes(0) == 2 * numbers * 1000


def test_quantised_weights_are_counted_once_more_in_part(tmp_path):
    plain = read_header(write(tmp_path / "a.gguf", file_type=gguf.LlamaFileType.MOSTLY_BF16))
    packed = read_header(write(tmp_path / "b.gguf", file_type=gguf.LlamaFileType.MOSTLY_Q4_K_M))
    more = packed.memory_bytes(0) - plain.memory_bytes(0)
    assert packed.quantised and 0.2 * plain.size < more < plain.size


def test_a_file_that_ends_anywhere_within_its_front_is_one_sentence(tmp_path):
    whole = write(tmp_path / "a.gguf", words=20).read_bytes()
    cut = tmp_path / "cut.gguf"
    for length in range(0, len(whole) - 16, 7):
        cut.write_bytes(whole[:length])
        with pytest.raises(CourseError, match=r"no GGUF file|damaged at its front|without a language model") as caught:
            read_header(cut)
        assert "\n" not in str(caught.value)


def test_a_front_that_is_overwritten_is_one_sentence(tmp_path):
    whole = bytearray(write(tmp_path / "a.gguf", words=20).read_bytes())
    for begins in range(4, 200, 5):
        damaged = whole.copy()
        damaged[begins : begins + 8] = b"\xff" * 8
        (tmp_path / "b.gguf").write_bytes(damaged)
        try:
            read_header(tmp_path / "b.gguf")  # what hits a text or a number is none the reader can know
        except CourseError as error:
            assert "\n" not in str(error)


def test_what_is_no_model_is_named(tmp_path):
    (tmp_path / "text.gguf").write_text("전세")
    with pytest.raises(CourseError, match="is no GGUF file"):
        read_header(tmp_path / "text.gguf")
    writer = gguf.GGUFWriter(tmp_path / "other.gguf", "clip")
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
    with pytest.raises(CourseError, match="without a language model"):
        read_header(tmp_path / "other.gguf")
    with pytest.raises(FileError, match="does not exist"):
        read_header(tmp_path / "nowhere.gguf")
    with pytest.raises(FileError, match="is a folder"):
        read_header(tmp_path)
