"""Protects: a merged model answers in llama.cpp as it does in transformers: its tokens, template, ends and logits."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import Gemma3TextConfig, LlamaConfig, Qwen2Config

from kotune import cli
from kotune.models import gguf_export, loading, merging, sources
from kotune.models.chat_template import render, stop_ids
from kotune.models.decoding import decode_tokens
from kotune.models.files import load_tokenizer
from kotune.models.machine import choose
from kotune.models.sampling import Sampling
from tests.models.test_chat_templates import llama_3 as other_words
from tests.support import tiny_families
from tests.support.serving import save_tiny_model
from tests.support.tiny_families import FAMILIES
from tests.support.tiny_gemma import make_tiny_gemma
from utils import ASSETS, CourseError, read_jsonl

CHAT = [
    {"role": "system", "content": "짧게 답하세요."},
    {"role": "user", "content": "전세와 월세의 차이는?\n\n  보증금 5,000만 원 😀"},
    {"role": "assistant", "content": "보증금이 다릅니다."},
    {"role": "user", "content": "확정일자는 어디에서 받나요?"},
]
# what a family's vocabulary cuts in its own way: runs of spaces and lines, numbers, jamo, what it has no piece for
TEXT = st.text(st.sampled_from("가나다전세월확정일자  \n\t▁ab12345.,!'ㅋㅠ😀漢<>")) | st.text(max_size=20)


def log_probabilities(model, ids):
    with torch.inference_mode():
        return model(input_ids=torch.tensor([ids])).logits[0, -1].float().log_softmax(-1)


def in_llama_cpp(file):
    pytest.importorskip("xllamacpp", reason="llama.cpp is not installed: pip install xllamacpp")
    from tests.support.llama_cpp import LlamaCpp

    return LlamaCpp(file)


def save(model, tokenizer, folder):
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module", params=FAMILIES)
def family(request, tmp_path_factory):
    """(model, tokenizer, folder) of a tiny model on disk."""
    model, tokenizer = tiny_families.make(request.param)
    return model, tokenizer, save(model, tokenizer, tmp_path_factory.mktemp("tiny") / "merged")


@pytest.fixture(scope="module")
def loaded(family):
    """The tiny model's file with whole weights, in llama.cpp."""
    return in_llama_cpp(gguf_export.to_gguf(family[2], "f32"))


@pytest.mark.slow
def test_the_logits_are_those_of_transformers(family, loaded):
    model, tokenizer, _ = family
    ids = render(tokenizer, CHAT).ids
    for length in (2, len(ids) // 2, len(ids)):
        theirs = torch.tensor(loaded.log_probabilities(ids[:length], model.config.vocab_size))
        ours = log_probabilities(model, ids[:length])
        assert ours.std() > 2  # so that a difference would be seen
        assert (theirs - ours).abs().max() < 0.03  # llama.cpp reads the activation off a table in f16


@pytest.mark.slow
@pytest.mark.parametrize(("outtype", "bound"), [("bf16", 0.998), ("f16", 0.9999), ("q8_0", 0.98)])
def test_shorter_weights_change_little(family, outtype, bound):
    model, tokenizer, folder = family
    ids = render(tokenizer, CHAT).ids
    llama_cpp = in_llama_cpp(gguf_export.to_gguf(folder, outtype))
    theirs = torch.tensor(llama_cpp.log_probabilities(ids, model.config.vocab_size))
    assert torch.corrcoef(torch.stack((theirs, log_probabilities(model, ids))))[0, 1] > bound


@pytest.mark.slow
def test_the_files_template_renders_the_prompt_of_training(family, loaded):
    _, tokenizer, _ = family
    for chat in (CHAT, CHAT[1:], CHAT[-1:]):
        assert loaded.tokens(loaded.rendered(chat), first=True) == render(tokenizer, chat).ids


@pytest.mark.slow
def test_texts_are_cut_into_the_same_tokens(family, loaded):
    _, tokenizer, _ = family

    @settings(max_examples=60, deadline=None)
    @given(TEXT)
    def same(text):
        assert loaded.tokens(text) == tokenizer(text, add_special_tokens=False).input_ids

    same()


@pytest.mark.slow
def test_replies_are_those_of_transformers_and_end_where_they_do(family, loaded):
    model, tokenizer, _ = family
    said = decode_tokens(model, tokenizer, [render(tokenizer, CHAT).ids], Sampling(max_tokens=12))[0]
    assert loaded.reply(CHAT, 12)[0][: len(said)] == said
    for end in stop_ids(tokenizer):
        forced = loaded.ask("/completion", {"prompt": loaded.rendered(CHAT), "n_predict": 4, "logit_bias": [[end, 1000.0]]})
        assert (forced["stop_type"], forced["content"]) == ("eos", "")


@pytest.mark.slow
def test_the_courses_own_vocabulary_is_cut_the_same(tokenizer, tmp_path):
    """262,144 tokens, whose scores were lost when the model's package was converted."""
    loaded = in_llama_cpp(gguf_export.to_gguf(save(make_tiny_gemma(tokenizer), tokenizer, tmp_path / "tiny"), "f16"))
    rows = read_jsonl("data/documents.jsonl")[:60] + read_jsonl("data/real_estate_evaluation.jsonl")[:40]
    texts = [text for row in rows for text in row.values() if isinstance(text, str)]
    texts += [
        "  들여쓰기\n\n\n\t줄",
        "2026년 11월 29일 5억 3,200만 원",
        "ㅋㅋㅋ 😀 漢字 뷁",
        "<table><tr>",
        "def f(x):\n        return x",
    ]
    different = [text for text in texts if loaded.tokens(text) != tokenizer(text, add_special_tokens=False).input_ids]
    assert len(texts) > 100 and not different
    assert loaded.tokens(loaded.rendered(CHAT), first=True) == render(tokenizer, CHAT).ids


@pytest.mark.slow
def test_the_command_writes_it_beside_the_merged_model(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("COURSE_RECIPE", "gemma-3-270m-cpu")
    _, adapter = save_tiny_model(*tiny_families.make("gemma 3"), tmp_path)
    cli.run(
        [
            "merge",
            "--model_path",
            str(adapter),
            "--merged_weights_path",
            str(tmp_path / "m"),
            "--to",
            "gguf",
            "--outtype",
            "q8_0",
        ]
    )
    assert "m-q8_0.gguf: for llama.cpp and Ollama" in capsys.readouterr().out
    model, tokenizer = (
        loading.load_model(choose("gemma-3-270m-cpu").recipe, str(tmp_path / "m")),
        load_tokenizer(str(tmp_path / "m")),
    )
    ids = render(tokenizer, CHAT).ids
    theirs = torch.tensor(in_llama_cpp(tmp_path / "m-q8_0.gguf").log_probabilities(ids, model.config.vocab_size))
    assert torch.corrcoef(torch.stack((theirs, log_probabilities(model, ids))))[0, 1] > 0.99


@pytest.mark.slow
def test_the_merged_270m_says_in_llama_cpp_what_it_says_in_transformers(tmp_path):
    recipe = choose("gemma-3-270m-cpu").recipe
    folder, _ = merging.merge(sources.find(str(ASSETS / "sft"), recipe)[-1], tmp_path / "merged", recipe)
    model, tokenizer = loading.load_model(recipe, str(folder)), load_tokenizer(str(folder))
    prompts = [render(tokenizer, merging.messages(question)).ids for question in merging.PROMPTS[:4]]
    said = decode_tokens(model, tokenizer, prompts, Sampling(max_tokens=96))
    expected = [[*reply, stop_ids(tokenizer)[-1]][:96] for reply in said]
    for outtype in ("f16", "q8_0"):
        loaded = in_llama_cpp(gguf_export.to_gguf(folder, outtype))
        agreed = [
            loaded.next_token([*prompt, *reply[:place]]) == token
            for prompt, reply in zip(prompts, expected, strict=True)
            for place, token in enumerate(reply)
        ]
        print(f"{outtype}: {sum(agreed)} of {len(agreed)} greedy tokens, ends included")
        assert sum(agreed) >= 0.9 * len(agreed)


# --- what cannot be written ------------------------------------------------------------------


@pytest.mark.slow
def test_another_family_is_refused_before_the_model_is_loaded(tmp_path, monkeypatch):
    """There are no weights in the folder, so that loading them would fail in another way."""
    monkeypatch.setenv("COURSE_RECIPE", "gemma-3-270m-cpu")
    base, adapter = save_tiny_model(*tiny_families.make("llama 2"), tmp_path)
    Qwen2Config(hidden_size=32, num_hidden_layers=1).save_pretrained(base)
    (base / "model.safetensors").unlink()
    with pytest.raises(CourseError, match=r"family qwen2.*Gemma 1; Gemma 3 for text; Llama 2, 3 and 3\.1, SOLAR") as caught:
        cli.run(["merge", "--model_path", str(adapter), "--merged_weights_path", str(tmp_path / "m"), "--to", "gguf"])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("config", "says"), [
    (LlamaConfig(rope_parameters={"rope_type": "yarn", "rope_theta": 1e4, "factor": 4.0}), "rotary embedding yarn"),
    (Gemma3TextConfig(num_hidden_layers=3, layer_types=["full_attention", "sliding_attention", "full_attention"]), "no period"),
])  # fmt: skip
def test_a_network_that_gguf_cannot_describe_is_refused(config, says, tmp_path):
    config.save_pretrained(tmp_path)
    with pytest.raises(CourseError, match=says):
        gguf_export.require_convertible(str(tmp_path))


def test_a_tokenizer_that_llama_cpp_has_no_name_for_is_refused(tmp_path):
    save(tiny_families.make("llama 3.1")[0], other_words(), tmp_path)
    with pytest.raises(CourseError, match="neither as SentencePiece"):
        gguf_export.require_convertible(str(tmp_path))


def test_a_tokenizer_longer_than_the_embedding_is_refused(tmp_path):
    model, tokenizer = tiny_families.make("gemma 1")
    tokenizer.add_tokens([f"단어{number}" for number in range(4)])
    save(model, tokenizer, tmp_path)
    with pytest.raises(CourseError, match="embeds"):
        gguf_export.require_convertible(str(tmp_path))


def test_a_tensor_without_a_place_or_beyond_the_type_leaves_no_file(tmp_path):
    from safetensors.torch import load_file, save_file

    folder = save(*tiny_families.make("gemma 1"), tmp_path / "merged")
    weights = load_file(folder / "model.safetensors")
    name = "model.layers.0.mlp.up_proj.weight"
    for more, says in (
        ({"model.layers.0.extra.weight": torch.ones(2, 2)}, r"model\.layers\.0\.extra\.weight of .* has no place"),
        ({name: weights[name] + 1e6}, "beyond what f16 can hold"),
        ({name: weights[name] * float("nan")}, "beyond what f16 can hold"),
    ):
        save_file({**weights, **more}, folder / "model.safetensors", metadata={"format": "pt"})
        with pytest.raises(CourseError, match=says):
            gguf_export.to_gguf(folder, "f16")
    assert [path.name for path in tmp_path.iterdir()] == ["merged"]
