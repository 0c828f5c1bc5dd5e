"""Protects: a reply is the same alone and among others, rounds are fair, and who leaves gives everything back."""

import random
import threading
import time

import pytest
import torch

from kotune.models.chat_template import render
from kotune.models.rounds import Runner
from kotune.models.sampling import Sampling
from kotune.serving import engine as local_engine
from kotune.serving.engine import LocalEngine
from utils import CourseError


class Reader:
    """Collects what one reply delivers."""

    def __init__(self):
        self.pieces, self.done = [], threading.Event()
        self.times = []

    def __call__(self, progress):
        self.pieces.append(progress)
        self.times.append(time.monotonic())
        if isinstance(progress, Exception) or progress.finish:
            self.done.set()

    @property
    def text(self):
        assert self.done.wait(60)
        return "".join(piece.text for piece in self.pieces)

    @property
    def last(self):
        assert self.done.wait(60)
        return self.pieces[-1]


@pytest.fixture
def engine(tiny_model, tokenizer):
    engine = LocalEngine({"tiny": tiny_model}, tokenizer)
    yield engine
    engine.close()


def ids_of(tokenizer, text):
    return render(tokenizer, [{"role": "user", "content": text}]).ids


def by_generate(model, tokenizer, ids, tokens):
    with torch.inference_mode():
        output = model.generate(input_ids=torch.tensor([ids]), max_new_tokens=tokens, do_sample=False)
    return tokenizer.decode(output[0, len(ids) :], skip_special_tokens=True)


# longer than the model's window of 64, longer than what a round reads, and short ones
TEXTS = ["전세가 뭐예요?", "확정일자 " * 40, "가", "보증금을 돌려받지 못하면 어떻게 하나요? " * 60, "월세와 전세의 차이"]


@pytest.mark.slow
def test_replies_among_others_are_those_of_generate(engine, tiny_model, tokenizer):
    readers, order = [], random.Random(0)
    for number in range(15):
        ids, tokens = ids_of(tokenizer, TEXTS[number % 5]), 4 + 3 * (number % 7)
        readers.append((Reader(), ids, tokens))
        engine.submit("tiny", ids, Sampling(max_tokens=tokens), readers[-1][0])
        time.sleep(order.random() * 0.03)  # some join while others speak
    for reader, ids, tokens in readers:
        assert reader.text == by_generate(tiny_model, tokenizer, ids, tokens)
        assert (reader.last.tokens, reader.last.finish, reader.last.prompt_tokens) == (tokens, "length", len(ids))


def test_a_long_prompt_does_not_stop_those_who_are_speaking(engine, tokenizer, monkeypatch):
    monkeypatch.setattr(local_engine, "PREFILL_TOKENS", 32)
    speaking, late = Reader(), Reader()
    engine.submit("tiny", ids_of(tokenizer, "가"), Sampling(max_tokens=200), speaking)
    while not speaking.pieces:
        time.sleep(0.001)
    before = speaking.pieces[-1].tokens
    engine.submit("tiny", ids_of(tokenizer, TEXTS[3]), Sampling(max_tokens=1), late)
    assert late.done.wait(60)
    assert len(ids_of(tokenizer, TEXTS[3])) / 32 > 10
    assert sum(t < late.times[0] for t in speaking.times) - before > 10


@pytest.mark.slow
def test_every_reader_gets_the_same_share(engine, tokenizer):
    readers = [Reader() for _ in range(50)]
    for number, reader in enumerate(readers):
        engine.submit("tiny", ids_of(tokenizer, f"{number}번 질문"), Sampling(max_tokens=40), reader)
    ends = [(reader.last, reader.times[-1])[1] for reader in readers]
    begins = [reader.times[0] for reader in readers]
    assert max(ends) - min(ends) < 0.5 * (max(ends) - min(begins))


def test_who_leaves_frees_the_place_and_hears_nothing_more(engine, tokenizer):
    reader, other = Reader(), Reader()
    ticket = engine.submit("tiny", ids_of(tokenizer, "가"), Sampling(max_tokens=1500), reader)
    while not reader.pieces:
        time.sleep(0.001)
    engine.cancel(ticket)
    engine.submit("tiny", ids_of(tokenizer, "나"), Sampling(max_tokens=2), other)
    assert other.done.wait(60)
    heard = len(reader.pieces)
    time.sleep(0.1)
    assert engine.occupancy == (0, 0) and len(reader.pieces) == heard < 1500
    assert engine.runners["tiny"].cache.keys == []


@pytest.mark.slow
def test_what_does_not_fit_waits_and_is_answered(tiny_model, tokenizer):
    engine = LocalEngine({"tiny": tiny_model}, tokenizer, cache_tokens=2048)
    readers = [Reader() for _ in range(6)]
    for reader in readers:
        engine.submit("tiny", ids_of(tokenizer, "가"), Sampling(max_tokens=240), reader)
    peak = 0
    while not all(reader.done.is_set() for reader in readers):
        cache = engine.runners["tiny"].cache
        peak = max(peak, cache.rows * cache.width)
        time.sleep(0.001)
    assert [reader.last.finish for reader in readers] == ["length"] * 6 and peak <= 2 * 2048
    with pytest.raises(CourseError, match="shorten the prompt"):
        engine.submit("tiny", ids_of(tokenizer, "가" * 300), Sampling(max_tokens=100), Reader())
    with pytest.raises(CourseError, match="searches no beams"):
        engine.submit("tiny", ids_of(tokenizer, "가"), Sampling(beam_width=2), Reader())
    engine.close()


def test_a_failure_is_told_to_its_readers_and_ends_nothing_else(engine, tokenizer, monkeypatch, capsys):
    step = Runner.step
    monkeypatch.setattr(Runner, "step", lambda self: (_ for _ in ()).throw(MemoryError("no room")))
    failed = Reader()
    engine.submit("tiny", ids_of(tokenizer, "가"), Sampling(max_tokens=5), failed)
    assert isinstance(failed.last, MemoryError)
    monkeypatch.setattr(Runner, "step", step)
    reader = Reader()
    engine.submit("tiny", ids_of(tokenizer, "가"), Sampling(max_tokens=5), reader)
    assert reader.last.finish == "length"


def test_the_end_of_turn_ends_a_reply_and_is_not_shown(engine, tiny_model, tokenizer, monkeypatch):
    end, said = sorted(engine.ends)[-1], tokenizer.encode("네, 그렇습니다.", add_special_tokens=False)
    script = iter([*said, end])
    monkeypatch.setattr(Runner, "_choose", lambda *_: [next(script)])
    reader = Reader()
    engine.submit("tiny", ids_of(tokenizer, "가"), Sampling(max_tokens=50), reader)
    assert (reader.text, reader.last.finish, reader.last.tokens) == ("네, 그렇습니다.", "stop", len(said))


def test_korean_spelt_in_bytes_comes_whole(engine, tokenizer, monkeypatch):
    text = "뷁쀍 🏠 확정일자"
    script = iter([*tokenizer.encode(text, add_special_tokens=False), sorted(engine.ends)[-1]])
    monkeypatch.setattr(Runner, "_choose", lambda *_: [next(script)])
    reader = Reader()
    engine.submit("tiny", ids_of(tokenizer, "가"), Sampling(max_tokens=50), reader)
    assert reader.text == text and "\ufffd" not in reader.text


@pytest.mark.slow
def test_a_seed_says_the_same_again_whoever_else_speaks(engine, tokenizer):
    sampling = Sampling(max_tokens=20, temperature=1.5, top_p=0.9, seed=3)
    first = Reader()
    engine.submit("tiny", ids_of(tokenizer, "가"), sampling, first)
    alone = first.text
    readers = [Reader() for _ in range(3)]
    for reader in readers:
        engine.submit("tiny", ids_of(tokenizer, "가"), sampling, reader)
    assert {reader.text for reader in readers} == {alone}


def test_a_model_without_sliding_layers_is_read_right(tokenizer):
    from transformers import LlamaConfig, LlamaForCausalLM

    from kotune.models.chat_template import stop_ids

    torch.manual_seed(0)
    config = LlamaConfig(vocab_size=len(tokenizer), hidden_size=32, intermediate_size=64, num_hidden_layers=2,
                         num_attention_heads=4, num_key_value_heads=2, pad_token_id=0, bos_token_id=2, eos_token_id=1)  # fmt: skip
    model = LlamaForCausalLM(config).eval()
    model.generation_config.eos_token_id = stop_ids(tokenizer)
    engine = LocalEngine({"llama": model}, tokenizer)
    readers = [Reader() for _ in range(3)]
    for reader, text in zip(readers, TEXTS, strict=False):
        engine.submit("llama", ids_of(tokenizer, text), Sampling(max_tokens=12), reader)
    for reader, text in zip(readers, TEXTS, strict=False):
        assert reader.text == by_generate(model, tokenizer, ids_of(tokenizer, text), 12)
    engine.close()
