"""Protects: one renderer, the same ids everywhere, the loss on exactly the answer and its end token."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import prompts
from kotune.models import chat_template
from kotune.models.chat_template import END_OF_TURN, render
from utils import CourseError

KOREAN = st.text(
    alphabet=st.one_of(
        st.characters(min_codepoint=0xAC00, max_codepoint=0xD7A3), st.sampled_from("가나 다라\n.,?!「」漢字abc019-*#😀")
    ),
    min_size=1,
    max_size=60,
).filter(str.strip)


def conversation(question, answer):
    return [{"role": "user", "content": question}], [{"role": "assistant", "content": answer}]


@given(question=KOREAN, answer=KOREAN)
@settings(max_examples=60, deadline=None)
def test_the_mask_decodes_to_exactly_the_answer_and_its_end(tokenizer, question, answer):
    prompt, completion = conversation(question, answer)
    ids, mask = render(tokenizer, prompt, completion)
    learnt = tokenizer.decode([i for i, counted in zip(ids, mask, strict=True) if counted])
    assert learnt == answer.strip() + END_OF_TURN
    assert ids.count(tokenizer.bos_token_id) == 1
    assert ids[: len(ids) - sum(mask)] == render(tokenizer, prompt).ids  # what the model meets in use


def test_rendering_is_the_chat_template_that_every_other_surface_uses(tokenizer):
    prompt, completion = conversation("전세란?", "보증금을 맡기고 사는 방식입니다.")
    through_template = tokenizer.apply_chat_template(prompt, add_generation_prompt=True, return_dict=False)
    assert render(tokenizer, prompt).ids == through_template
    whole = tokenizer.apply_chat_template(prompt + completion, return_dict=False)
    ids = render(tokenizer, prompt, completion).ids
    assert whole[: len(ids)] == ids
    assert tokenizer.decode(whole[len(ids) :]) == "\n"  # the template's own, never generated


def test_the_text_has_gemmas_markers(tokenizer):
    prompt, completion = conversation(" 전세란? ", "답")
    assert tokenizer.decode(render(tokenizer, prompt, completion).ids) == (
        "<bos><start_of_turn>user\n전세란?<end_of_turn>\n<start_of_turn>model\n답<end_of_turn>"
    )


def test_a_system_text_opens_the_first_user_turn(tokenizer):
    system = {"role": "system", "content": "공손히 답하세요."}
    user = {"role": "user", "content": "전세란?"}
    assert render(tokenizer, [system, user]).ids == render(tokenizer, chat_template.fold_system([system, user])).ids


@pytest.mark.slow
def test_a_template_without_a_system_role_gets_it_folded(tokenizer):
    import copy

    strict = copy.deepcopy(tokenizer)  # as gemma-2b-it, which refuses a system role
    strict.chat_template = (
        "{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
        + chat_template.GEMMA_CHAT_TEMPLATE
    )
    messages = [{"role": "system", "content": "공손히."}, {"role": "user", "content": "전세란?"}]
    assert render(strict, messages).ids == render(tokenizer, messages).ids


def test_earlier_turns_are_context_and_only_the_last_answer_is_trained(tokenizer):
    prompt = [
        {"role": "user", "content": "전세란?"},
        {"role": "assistant", "content": "빌리는 방식입니다."},
        {"role": "user", "content": "월세는?"},
    ]
    ids, mask = render(tokenizer, prompt, [{"role": "assistant", "content": "다달이 냅니다."}])
    assert tokenizer.decode([i for i, m in zip(ids, mask, strict=True) if m]) == "다달이 냅니다." + END_OF_TURN


@pytest.mark.parametrize(
    ("prompt", "words"),
    [
        ([{"role": "user", "content": " "}], "has no text"),
        ([{"role": "assistant", "content": "가"}], "no user turn"),
        ([{"role": "user", "content": "가"}, {"role": "user", "content": "나"}], "user -> user"),
        ([{"role": "user", "content": "<bos>가"}], "two <bos>"),
        ([{"role": "system", "content": "공손히"}], "no user turn"),
        ([{"role": "system", "content": "공손히"}, *[{"role": "user", "content": "가"}] * 2], "user -> user"),
    ],
)
def test_a_conversation_that_cannot_be_rendered_says_why(tokenizer, prompt, words):
    with pytest.raises(CourseError, match=words):
        render(tokenizer, prompt)


def test_a_reply_ends_at_the_turn_or_at_eos(tokenizer):
    assert chat_template.end_of_turn_id(tokenizer) == tokenizer.convert_tokens_to_ids(END_OF_TURN)
    assert set(chat_template.stop_ids(tokenizer)) == {chat_template.end_of_turn_id(tokenizer), tokenizer.eos_token_id}


def test_every_prompt_fills_in_and_names_a_missing_field():
    for prompt, fields in (
        (prompts.SEED_WORDS, {"count": "3", "seed_words": "- 전세"}),
        (prompts.GROUNDED_ANSWER, {"question": "전세란?", "documents": "[doc-1]"}),
        (prompts.REFERENCE_JUDGE, {"question": "q", "reference": "r", "first": "$5", "second": "{b}"}),
    ):
        system, user = prompt.messages(**fields)
        assert (system["role"], user["role"]) == ("system", "user")
        assert all(value in user["content"] for value in fields.values())
        with pytest.raises(CourseError, match=prompt.name):
            prompt.messages()
