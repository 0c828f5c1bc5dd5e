"""Protects: one conversation has the same token ids on every surface, from data preparation to the server."""

import asyncio
from dataclasses import replace

import pytest

from kotune.models import adapters, decoding, loading, reward_model, sources
from kotune.models.chat_template import END_OF_TURN, render
from kotune.models.sampling import Sampling
from kotune.serving import backends
from kotune.training import encoding, stages

CONVERSATIONS = {
    "one turn": [{"role": "user", "content": "  확정일자는 어디에서 받나요?\n"}],
    "system text": [
        {"role": "system", "content": "당신은 부동산 상담사입니다."},
        {"role": "user", "content": "전세와 월세의 차이를 알려 주세요."},
    ],
    "several turns": [
        {"role": "user", "content": "LTV가 뭐예요?"},
        {"role": "assistant", "content": "집값에 견준 대출의 비율입니다."},
        {"role": "user", "content": "그럼 <b>DSR</b>은요? 表도 보여 주세요 🙂"},
    ],
    "a document": [{"role": "user", "content": "다음 문서를 참고하여 답해 주세요.\n\n[1] 등기\n등기는 권리를 적는다."}],
}
ANSWER = [{"role": "assistant", "content": "주민센터나 등기소에서 받을 수 있습니다."}]


def seen_ids(model, run):
    """Return the token rows that a model is called with while `run` runs, without their padding."""
    seen = []

    def keep(module, arguments, inputs):
        ids = inputs.get("input_ids", arguments[0] if arguments else None)
        mask = inputs.get("attention_mask")
        for row, counted in zip(
            ids.tolist(), mask.tolist() if mask is not None else [[1] * ids.shape[1]] * len(ids), strict=True
        ):
            seen.append([token for token, kept in zip(row, counted[: len(row)], strict=False) if kept])

    hook = getattr(model, model.base_model_prefix).register_forward_pre_hook(keep, with_kwargs=True)
    try:
        run()
    finally:
        hook.remove()
    return seen


def read_ids(model, run):
    """Return the token ids that rounds read of the one prompt that is answered while `run` runs."""
    seen = []
    hook = model.get_decoder().register_forward_pre_hook(
        lambda module, arguments, inputs: seen.extend(inputs["input_ids"][0].tolist()), with_kwargs=True
    )
    try:
        run()
    finally:
        hook.remove()
    return seen


def served_ids(backend, model, prompt):
    """Return the token ids that the server's engine reads for one request."""

    async def ask():
        async for _ in backend.stream(backends.ChatRequest(model, prompt, Sampling(max_tokens=1))):
            pass
        await backend.close()

    return read_ids(backend.engine.runners[model].model, lambda: asyncio.run(ask()))


@pytest.mark.slow
@pytest.mark.parametrize("name", CONVERSATIONS)
def test_every_surface_has_the_same_ids(name, tiny_model, tiny_recipe, tokenizer, tmp_path):
    prompt = CONVERSATIONS[name]
    record = {"id": "x", "prompt": prompt, "completion": ANSWER, "source": ""}
    pair = {
        "id": "x",
        "prompt": prompt,
        "chosen": ANSWER,
        "rejected": [{"role": "assistant", "content": "몰라."}],
        "source": "",
    }
    recipe = replace(tiny_recipe, max_new_tokens=1)

    expected_prompt = tokenizer.apply_chat_template(
        prompt if prompt[0]["role"] != "system" else
        [{"role": "user", "content": f"{prompt[0]['content']}\n\n{prompt[1]['content']}"}],
        add_generation_prompt=True, return_dict=False,
    )  # fmt: skip
    end = tokenizer.convert_tokens_to_ids(END_OF_TURN)
    answer_ids = tokenizer(ANSWER[0]["content"], add_special_tokens=False)["input_ids"]
    whole = [*expected_prompt, *answer_ids, end]
    assert whole.count(tokenizer.bos_token_id) == 1
    assert whole.count(end) == sum(message["role"] != "system" for message in prompt) + 1

    # data preparation
    assert encoding.encode_supervised([record], tokenizer, 512).rows[0]["input_ids"] == whole
    preference = encoding.encode_preference([pair], tokenizer, 512).rows[0]
    assert preference["prompt_ids"] == expected_prompt
    assert preference["prompt_ids"] + preference["chosen_ids"] == whole

    # what the models are really called with
    sft = seen_ids(tiny_model, lambda: stages.sft(recipe, [record], tiny_model, tokenizer, tmp_path / "sft"))
    assert sft == [whole]
    parent = tmp_path / "sft"
    dpo = seen_ids(tiny_model, lambda: stages.dpo(recipe, [pair], tiny_model, tokenizer, tmp_path / "dpo", parent=parent))
    assert whole in dpo
    assert all(row[: len(expected_prompt)] == expected_prompt for row in dpo)
    reward = seen_ids(
        tiny_model, lambda: stages.reward(recipe, [pair], tiny_model, tokenizer, tmp_path / "reward", parent=parent)
    )
    assert whole in reward
    classifier = reward_model.load_reward_model(tiny_model, tokenizer, tmp_path / "reward")
    judged = seen_ids(
        tiny_model, lambda: reward_model.score(classifier, tokenizer, [prompt], [ANSWER[0]["content"]], recipe)
    )
    assert judged == [whole]
    classifier.unload()
    assert read_ids(tiny_model, lambda: decoding.generate(tiny_model, tokenizer, [prompt], recipe)) == expected_prompt

    # the merged model, from its own folder
    loading.save_merged(adapters.merge_adapter(tiny_model, parent), tokenizer, tmp_path / "merged")
    own = loading.load_tokenizer(str(tmp_path / "merged"))
    assert render(own, prompt, ANSWER).ids == whole
    merged = loading.load_model(recipe, str(tmp_path / "merged"))
    assert end in merged.generation_config.eos_token_id
    assert read_ids(merged, lambda: decoding.generate(merged, own, [prompt], recipe)) == expected_prompt

    # the server, on that folder
    backend = backends.LocalBackend(sources.find(str(tmp_path / "merged"), recipe), recipe)
    assert served_ids(backend, "merged", prompt) == expected_prompt
