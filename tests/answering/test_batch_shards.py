"""Protects: answers made in parts are one process's answers byte for byte, and a killed part goes on where it was."""

import tempfile
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kotune import cli
from kotune.answering import batch
from kotune.data.shard_files import merge
from kotune.models.sampling import Sampling
from kotune.models.sources import ModelSource
from kotune.shards import Shard
from tests.answering.test_batch import run, tuned  # noqa: F401
from tests.support.parts import ANY_ROWS, COUNTS, EchoEngine, rows
from utils import CourseError, read_jsonl, write_jsonl

SERVED = ModelSource("모델", "base", ())


@ANY_ROWS
@given(rows("question"), COUNTS, st.data())
def test_merged_shards_are_one_processs_file_byte_for_byte(tokenizer, tiny_recipe, made, count, data):
    def answer(out, shard=None, dies_after=None):
        patch.setattr(batch.engines, "open_engine", lambda *_: EchoEngine(tokenizer, dies_after))
        return batch.infer(folder / "질문.jsonl", SERVED, tiny_recipe, Sampling(max_tokens=6), folder / out, shard=shard)

    with tempfile.TemporaryDirectory() as name, pytest.MonkeyPatch.context() as patch:
        folder = Path(name)
        write_jsonl(folder / "질문.jsonl", made)
        answer("whole.jsonl")
        files = []
        for number in range(1, count + 1):
            shard = Shard(number, count)
            if data.draw(st.booleans()):
                with suppress(KeyboardInterrupt):
                    answer("parts.jsonl", shard, dies_after=data.draw(st.integers(0, 2)))
            files.append(answer("parts.jsonl", shard).lines)
        merge(files, None)
        assert (folder / "parts.jsonl").read_bytes() == (folder / "whole.jsonl").read_bytes()
        assert (folder / "parts.run.json").read_bytes() == (folder / "whole.run.json").read_bytes()
        assert answer("parts.jsonl", dies_after=0).answered == 0  # the whole run finds all of it done


@pytest.mark.slow
def test_the_model_itself_row_by_row(run, tmp_path, capsys):  # noqa: F811
    data = write_jsonl(tmp_path / "q.jsonl", [{"id": i, "question": "전세가 무엇인가요? " * (i % 4 + 1)} for i in range(7)])
    # rows answered in other batches are rounded otherwise: one row at a time, answers depend on nothing else
    arguments = ["--inference_data", data, "--batch_size", "1", "--save_name"]
    run(*arguments, tmp_path / "whole.jsonl")
    for number in (1, 2, 3):
        said = run(*arguments, tmp_path / "parts", "--shard", f"{number}/3")
        assert f"parts.shard-{number}-of-3.jsonl: " in said and not (tmp_path / "parts.xlsx").exists()
    cli.run(["data", "merge", *(str(path) for path in tmp_path.glob("parts.shard-*.jsonl"))])
    assert "7 lines of 3 shards" in capsys.readouterr().out
    assert (tmp_path / "parts.jsonl").read_bytes() == (tmp_path / "whole.jsonl").read_bytes()
    assert "0 answered now" in run(*arguments, tmp_path / "parts") and (tmp_path / "parts.xlsx").exists()
    with pytest.raises(CourseError, match=r"another run \(repetition_penalty is 1.0 in one and 1.5 in the other\)"):
        run(*arguments, tmp_path / "parts", "--shard", "1/3", "--repetition_penalty", "1.5")
    assert [row["id"] for row in read_jsonl(tmp_path / "parts.jsonl")] == [str(i) for i in range(7)]


def test_what_a_shard_cannot_have_is_one_sentence(tmp_path):
    data = str(write_jsonl(tmp_path / "q.jsonl", [{"question": "전세가 무엇인가요?"}]))
    with pytest.raises(CourseError, match="--shard is for a file of questions"):
        cli.run(["infer", "--prompt", "전세가 무엇인가요?", "--shard", "1/2"])
    with pytest.raises(CourseError, match="a shard has none; merge first"):
        cli.run(["infer", "--inference_data", data, "--columns_from_json", "--shard", "1/2"])
