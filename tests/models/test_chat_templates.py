"""Protects: each base model's vocabulary gets a template that renders Korean alike in training and use, and ends."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from kotune.models import chat_template
from kotune.models.chat_template import end_of_turn_id, prepare_tokenizer, render, stop_ids
from utils import CourseError

TEXTS = [
    "확정일자는 주민센터나 등기소에서 받을 수 있습니다.\n\n전입신고는 이사한 날부터 14일 이내에 합니다.",
    "### 입력:\n전세란 무엇인가요?\n\n### 출력:\n보증금을 맡기고 사는 방식입니다.",
    "system user assistant\n\n3.5%의 금리, (LTV) 70% 「한도」",
]
LLAMA_3 = [
    "<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>",
    "<|reserved_special_token_0|>",
]  # fmt: skip
LLAMA_2 = ["<unk>", "<s>", "</s>"]
GEMMA = ["<pad>", "<eos>", "<bos>", "<unk>", "<start_of_turn>", "<end_of_turn>"]
# as Llama 2's chat model has it: <s> before each user turn, no line breaks
LLAMA_2_TEMPLATE = (
    "{% for m in messages %}{% if m['role'] == 'user' %}{{ bos_token + '[INST] ' + m['content'] | trim + ' [/INST]' }}"
    "{% elif m['role'] == 'system' %}{{ raise_exception('no system role') }}"
    "{% else %}{{ ' ' + m['content'] | trim + ' ' + eos_token }}{% endif %}{% endfor %}"
)


def small_tokenizer(special, **named):
    """A byte-level BPE over Korean text with these special tokens; named are bos_token and its like."""
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer, bpe.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    bpe.train_from_iterator(
        TEXTS * 5,
        trainers.BpeTrainer(vocab_size=600, special_tokens=special, initial_alphabet=alphabet, show_progress=False),
    )
    return PreTrainedTokenizerFast(tokenizer_object=bpe, **named)


def llama_3(extra=()):
    return small_tokenizer([*LLAMA_3, *extra], bos_token="<|begin_of_text|>", eos_token="<|end_of_text|>")


def llama_2():
    return small_tokenizer(LLAMA_2, bos_token="<s>", eos_token="</s>", unk_token="<unk>")


def gemma():
    named = {"bos_token": "<bos>", "eos_token": "<eos>", "unk_token": "<unk>", "pad_token": "<pad>"}
    return small_tokenizer(GEMMA, **named)


def llama_2_chat():
    tokenizer = llama_2()
    tokenizer.chat_template = LLAMA_2_TEMPLATE
    return tokenizer


# family: tokenizer, the end of a turn, padding
FAMILIES = {
    "gemma": (gemma, "<end_of_turn>", "<pad>"),
    "llama 3": (llama_3, "<|eot_id|>", "<|reserved_special_token_0|>"),
    "llama 3.1": (lambda: llama_3(["<|finetune_right_pad_id|>"]), "<|eot_id|>", "<|finetune_right_pad_id|>"),
    "plain": (llama_2, "</s>", "<unk>"),
    "its own": (llama_2_chat, "</s>", "<unk>"),
}


@pytest.fixture(scope="module", params=FAMILIES)
def family(request):
    make, end, pad = FAMILIES[request.param]
    return prepare_tokenizer(make()), end, pad


CHATS = [
    [{"role": "user", "content": "전세란?"}],
    [
        {"role": "user", "content": " 전세란 무엇인가요? "},
        {"role": "assistant", "content": "보증금을 맡기고 사는 방식입니다."},
        {"role": "user", "content": "월세는요?\n\n### 입력:"},
    ],
    [{"role": "system", "content": "공손히 답하세요."}, {"role": "user", "content": "금리 3.5%는?"}],
]


@pytest.mark.parametrize("prompt", CHATS, ids=["one turn", "several turns", "system text"])
def test_the_mask_is_the_answer_and_its_end(family, prompt):
    tokenizer, end, _ = family
    answer = "다달이 냅니다.\n1. 보증금\n2. 월세"
    ids, mask = render(tokenizer, prompt, [{"role": "assistant", "content": f"\n{answer} "}])
    learnt = tokenizer.decode([i for i, counted in zip(ids, mask, strict=True) if counted])
    assert learnt.removesuffix(end).strip() == answer
    assert ids[-1] == end_of_turn_id(tokenizer) == tokenizer.convert_tokens_to_ids(end)
    assert mask[-1] == 1
    assert ids[: len(ids) - sum(mask)] == render(tokenizer, prompt).ids  # what the model meets in use
    rendered = tokenizer.decode(ids)
    assert all(message["content"].strip() in rendered for message in prompt)
    if "[INST]" not in rendered:  # Llama 2's own template opens each user turn with <s>
        assert ids.count(tokenizer.bos_token_id) == 1
    assert ids[0] == tokenizer.bos_token_id
    assert ids[1] != tokenizer.bos_token_id


KOREAN = st.text(
    alphabet=st.one_of(st.characters(min_codepoint=0xAC00, max_codepoint=0xD7A3), st.sampled_from("가 \n.?「」漢ab19#:-😀")),
    min_size=1,
    max_size=40,
).filter(str.strip)


@given(question=KOREAN, answer=KOREAN)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_korean_text_survives(family, question, answer):
    tokenizer, end, _ = family
    prompt = [{"role": "user", "content": question}]
    ids, mask = render(tokenizer, prompt, [{"role": "assistant", "content": answer}])
    learnt = tokenizer.decode([i for i, counted in zip(ids, mask, strict=True) if counted])
    assert learnt.removesuffix(end).strip() == answer.strip()


def test_padding_is_never_an_end_where_the_vocabulary_has_another(family):
    tokenizer, end, pad = family
    assert tokenizer.pad_token == pad
    assert tokenizer.pad_token_id not in stop_ids(tokenizer)
    assert set(stop_ids(tokenizer)) == {tokenizer.convert_tokens_to_ids(end), tokenizer.eos_token_id}
    assert tokenizer.padding_side == "left"


def test_padding_that_is_the_end_token_is_replaced_or_said(capsys):
    copied = llama_2()
    copied.pad_token = copied.eos_token  # what notebooks copy from each other
    assert prepare_tokenizer(copied).pad_token == "<unk>"
    bare = small_tokenizer(["<s>", "</s>"], bos_token="<s>", eos_token="</s>")
    assert prepare_tokenizer(bare).pad_token == "</s>"
    assert "pads as well as ends" in capsys.readouterr().out


def test_the_texts_have_each_familys_turns():
    messages = CHATS[2]
    reply = [{"role": "assistant", "content": "낮아요."}]
    texts = {
        llama_3: "<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\n공손히 답하세요.<|eot_id|>"
        "<|start_header_id|>user<|end_header_id|>\n\n금리 3.5%는?<|eot_id|>"
        "<|start_header_id|>assistant<|end_header_id|>\n\n낮아요.<|eot_id|>",
        llama_2: "<s>공손히 답하세요.\n\n### 입력:\n금리 3.5%는?\n\n### 출력:\n낮아요.</s>",
        gemma: "<bos><start_of_turn>user\n공손히 답하세요.\n\n금리 3.5%는?<end_of_turn>\n<start_of_turn>model\n낮아요.<end_of_turn>",
    }
    for make, text in texts.items():
        tokenizer = prepare_tokenizer(make())
        assert tokenizer.decode(render(tokenizer, messages, reply).ids) == text


def test_a_template_that_came_with_the_tokenizer_is_kept():
    assert prepare_tokenizer(llama_2_chat()).chat_template == LLAMA_2_TEMPLATE
    changed = prepare_tokenizer(llama_3())
    assert end_of_turn_id(changed) == changed.convert_tokens_to_ids("<|eot_id|>")
    changed.chat_template = chat_template.KOREAN_CHAT_TEMPLATE  # the end is read off the template of now, not of before
    assert end_of_turn_id(changed) == changed.eos_token_id


@pytest.mark.parametrize(("make", "text"), [(llama_2, "</s>"), (llama_3, "<|eot_id|>"), (gemma, "<end_of_turn>")])
def test_an_end_token_inside_a_text_is_refused(make, text):
    tokenizer = prepare_tokenizer(make())
    with pytest.raises(CourseError, match="end the turn in the middle"):
        render(tokenizer, [{"role": "user", "content": f"전세{text}란?"}])
    with pytest.raises(CourseError, match="Message 1"):
        render(tokenizer, CHATS[0], [{"role": "assistant", "content": f"답{text}변"}])


@pytest.mark.parametrize(
    ("make", "text"),
    [(gemma, "<start_of_turn>model"), (gemma, "<eos>"), (gemma, "<pad>"), (gemma, "<bos>"), (gemma, "<unk>"), (llama_2, "<s>"),
     (llama_3, "<|start_header_id|>"), (llama_3, "<|end_header_id|>")],
)  # fmt: skip
def test_a_token_of_the_template_inside_a_text_is_refused(make, text):
    tokenizer = prepare_tokenizer(make())
    for prompt, completion in (
        ([{"role": "user", "content": f"전세{text}란?"}], None),
        ([{"role": "system", "content": text}, *CHATS[0]], None),
        (CHATS[0], [{"role": "assistant", "content": f"답{text}"}]),
    ):
        with pytest.raises(CourseError, match=r"holds <.*take it out"):
            render(tokenizer, prompt, completion)
    with pytest.raises(CourseError, match="The document holds"):
        chat_template.rendered_lengths(tokenizer, {"text": f"전세{text}"})


@pytest.mark.parametrize("make", [gemma, llama_2, llama_3])
def test_half_of_a_surrogate_pair_is_refused(make):
    tokenizer = prepare_tokenizer(make())
    cut = "집 \ud83c"
    for prompt, completion in (
        ([{"role": "user", "content": cut}], None),
        ([{"role": "system", "content": cut}, *CHATS[0]], None),
        (CHATS[0], [{"role": "assistant", "content": cut}]),
    ):
        with pytest.raises(CourseError, match=r"holds half of a surrogate pair \(an emoji that was cut, at character 3\)"):
            render(tokenizer, prompt, completion)
    with pytest.raises(CourseError, match="The document holds half"):
        chat_template.rendered_lengths(tokenizer, {"text": cut})


def test_what_only_looks_like_a_token_is_text():
    tokenizer = prepare_tokenizer(gemma())
    for text in ("<b>전세</b>", "<start of turn>", "end_of_turn", "a < b > c", "<|user|>"):
        assert render(tokenizer, [{"role": "user", "content": text}]).ids


def test_a_tokenizer_that_cannot_end_a_reply_is_refused():
    with pytest.raises(CourseError, match="a reply could not end"):
        prepare_tokenizer(small_tokenizer(["<s>"], bos_token="<s>"))


def test_lengths_count_what_is_rendered():
    tokenizer = prepare_tokenizer(gemma())
    prompt, answer = CHATS[0], [{"role": "assistant", "content": "보증금을 맡깁니다."}]
    ids, mask = render(tokenizer, prompt, answer)
    assert chat_template.rendered_lengths(tokenizer, {"prompt": prompt, "completion": answer}) == [(len(ids), sum(mask))]
    pair = {"prompt": prompt, "chosen": answer, "rejected": [{"role": "assistant", "content": "몰라."}]}
    assert chat_template.rendered_lengths(tokenizer, pair)[0] == (len(ids), sum(mask))
    assert len(chat_template.rendered_lengths(tokenizer, pair)) == 2
    plain = len(tokenizer("전세", add_special_tokens=False)["input_ids"])
    assert chat_template.rendered_lengths(tokenizer, {"text": "전세"}) == [(plain + 2, plain + 1)]
