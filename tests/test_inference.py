"""Protects: answers come back in order, sliced by tokens, and say whether they ended by themselves."""

import inference
from prompts import stop_ids


def prompts_of(records):
    return [record["prompt"] for record in records]


def test_a_batch_answers_as_one_by_one(tiny_model, tiny_recipe, tokenizer, records):
    from dataclasses import replace

    together = inference.generate(tiny_model, tokenizer, prompts_of(records), tiny_recipe)
    alone = inference.generate(tiny_model, tokenizer, prompts_of(records), replace(tiny_recipe, generation_batch=1))
    assert [a.text for a in together] == [a.text for a in alone]
    backwards = inference.generate(tiny_model, tokenizer, prompts_of(records)[::-1], tiny_recipe)
    assert backwards[::-1] == together


def test_a_model_that_never_ends_is_cut_and_says_so(tiny_model, tiny_recipe, tokenizer, records):
    answers = inference.generate(tiny_model, tokenizer, prompts_of(records), tiny_recipe)
    assert all(a.tokens == tiny_recipe.max_new_tokens and not a.ended for a in answers)


def test_the_end_of_turn_ends_an_answer_and_is_not_in_its_text(tokenizer):
    end = stop_ids(tokenizer)[-1]
    ids = tokenizer.encode("model이라는 낱말", add_special_tokens=False)
    answer = inference._answer(tokenizer, [*ids, end, tokenizer.pad_token_id], stop_ids(tokenizer))
    assert answer == inference.Answer("model이라는 낱말", len(ids), True)
    assert not inference._answer(tokenizer, ids, stop_ids(tokenizer)).ended
