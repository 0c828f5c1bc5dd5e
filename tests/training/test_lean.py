"""Protects: without padding and with fused layers, losses and gradients are those of padded batches and the libraries' layers."""

import csv
import json
from dataclasses import replace

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from peft import LoraConfig, get_peft_model
from transformers import AutoConfig, AutoModelForCausalLM
from trl.trainer.dpo_trainer import DataCollatorForPreference
from trl.trainer.sft_trainer import DataCollatorForLanguageModeling

from kotune.recipes import LINEAR_LAYERS, RECIPES
from kotune.training import encoding, end_to_end, fused, lean, stages, trainers
from kotune.training.end_to_end import PairsEndToEnd, RowLayout, RowsEndToEnd, attention_by_row
from kotune.training.losses import completion_logprobs, dpo_loss, sum_by_row

CPU = RECIPES["gemma-3-270m-cpu"]
VOCABULARY, WINDOW = 40, 4
SHAPE = {
    "vocab_size": VOCABULARY, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "head_dim": 8, "pad_token_id": 0,
}  # fmt: skip
WINDOWED = {"sliding_window": WINDOW, "layer_types": ["sliding_attention", "full_attention"]}
FAMILIES = {
    "gemma": {"num_key_value_heads": 1},
    "gemma3_text": {**WINDOWED, "query_pre_attn_scalar": 20},
    "llama": {"attention_bias": True},
    "mistral": {"sliding_window": WINDOW},
    "qwen2": {**WINDOWED, "use_sliding_window": True},
    "qwen3": {**WINDOWED, "use_sliding_window": True},
}


def make(kind, dtype=torch.float32, **more):
    """Return a model of a family with weights that are not all alike, and an adapter that changes it."""
    torch.manual_seed(0)
    config = AutoConfig.for_model(kind, **{**SHAPE, **FAMILIES[kind], **more})
    model = AutoModelForCausalLM.from_config(config, attn_implementation="sdpa")
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0.0, 0.3) if parameter.dim() > 1 else parameter.add_(torch.randn_like(parameter) * 0.2)
    adapted = get_peft_model(model.to(dtype), LoraConfig(r=2, lora_alpha=6, target_modules=list(LINEAR_LAYERS)))
    with torch.no_grad():
        for name, parameter in adapted.named_parameters():
            if "lora_B" in name:
                parameter.normal_(0.0, 0.2)
    return adapted.train()


@pytest.fixture(scope="module")
def families():
    """A model of each family, made once."""
    return {kind: make(kind) for kind in FAMILIES}


def gradients(adapted, value):
    trained = [parameter for parameter in adapted.parameters() if parameter.requires_grad]
    return torch.cat([gradient.flatten() for gradient in torch.autograd.grad(value, trained)])


def lean_logprobs(adapted, batch):
    layout = RowLayout.of(batch["row_lengths"], batch["shared_lengths"])
    return completion_logprobs(
        adapted, batch["input_ids"], None, batch["labels"], layout=layout, position_ids=batch["position_ids"]
    )


def supervised(lengths, seed=0):
    """Rows of these lengths, of random tokens, some of which are learnt."""
    dice = torch.Generator().manual_seed(seed)
    rows = []
    for length in lengths:
        ids = torch.randint(1, VOCABULARY, (length,), generator=dice).tolist()
        prompt = int(torch.randint(1, length + 1, (), generator=dice))
        rows.append({"input_ids": ids, "labels": [-100] * prompt + ids[prompt:]})
    return rows


def test_the_families_that_are_lean_are_those_tested_here():
    assert set(lean.FAMILIES) == set(FAMILIES)


@pytest.mark.parametrize("kind", FAMILIES)
@settings(max_examples=12, deadline=None)
@given(lengths=st.lists(st.integers(1, 3 * WINDOW), min_size=1, max_size=5), seed=st.integers(0, 99))
@example(lengths=[1, 2, 3 * WINDOW], seed=0)  # a row of one token, and one longer than the window
@example(lengths=[6, 6, 6], seed=1)  # rows of equal length
@example(lengths=[WINDOW, WINDOW + 1], seed=2)  # a row as long as the window, and the shortest that is longer
def test_rows_end_to_end_have_the_logprobs_and_gradients_of_padded_ones(families, kind, lengths, seed):
    adapted, rows = families[kind], supervised(lengths, seed)
    padded = DataCollatorForLanguageModeling(pad_token_id=0)(rows)
    expected, expected_rows = completion_logprobs(adapted, **padded)
    if not len(expected):
        return
    weights = torch.randn(len(expected), generator=torch.Generator().manual_seed(seed))  # no token weighs what another does
    with fused.fused(adapted):
        found, found_rows = lean_logprobs(adapted, RowsEndToEnd()(rows))
        gradient = gradients(adapted, (weights * found).sum())
    expected_gradient = gradients(adapted, (weights * expected).sum())
    assert found_rows.tolist() == expected_rows.tolist()
    assert found.tolist() == pytest.approx(expected.tolist(), abs=1e-4)
    assert torch.allclose(gradient, expected_gradient, rtol=1e-3, atol=1e-4 * expected_gradient.abs().max().item())


def preferences(lengths, seed=0):
    """Pairs with prompts and answers of these lengths."""
    dice = torch.Generator().manual_seed(seed)
    names = ("prompt_ids", "chosen_ids", "rejected_ids")
    return [
        {
            name: torch.randint(1, VOCABULARY, (length,), generator=dice).tolist()
            for name, length in zip(names, row, strict=True)
        }
        for row in lengths
    ]


@pytest.mark.parametrize("kind", FAMILIES)
@settings(max_examples=8, deadline=None)
@given(
    lengths=st.lists(st.tuples(*[st.integers(1, 2 * WINDOW)] * 3), min_size=1, max_size=3),
    seed=st.integers(0, 99),
)
@example(lengths=[(1, 1, 1), (2 * WINDOW, 1, 2 * WINDOW)], seed=0)
def test_two_answers_behind_one_prompt_have_the_loss_and_gradients_of_padded_pairs(families, kind, lengths, seed):
    adapted, pairs = families[kind], preferences(lengths, seed)
    padded = DataCollatorForPreference(pad_token_id=0)(pairs)
    batch = PairsEndToEnd()(pairs)
    assert batch["input_ids"].numel() == sum(map(sum, lengths))  # each prompt once

    def loss(chosen, rejected):
        return dpo_loss(chosen, rejected, chosen.detach() - 0.3, rejected.detach() + 0.2, 0.5).loss.mean()

    expected = trainers.sequence_logprobs(adapted, padded).chunk(2)
    with fused.fused(adapted):
        logprobs, rows = lean_logprobs(adapted, batch)
        found = sum_by_row(logprobs, rows, 2 * len(pairs)).view(-1, 2).unbind(1)
        gradient = gradients(adapted, loss(*found))
    expected_gradient = gradients(adapted, loss(*expected))
    for one, other in zip(found, expected, strict=True):
        assert one.tolist() == pytest.approx(other.tolist(), abs=1e-4)
    assert torch.allclose(gradient, expected_gradient, rtol=1e-3, atol=1e-4 * expected_gradient.abs().max().item())


def test_packed_rows_end_to_end_are_the_rows_they_were_made_of(families):
    adapted, rows = families["gemma3_text"], supervised([3, 9, 4, 7, 2], seed=3)
    packed = encoding.pack(rows, 12).to_list()
    assert len(packed) < len(rows)
    apart = lean_logprobs(adapted, RowsEndToEnd()(rows)).logprobs
    together = lean_logprobs(adapted, RowsEndToEnd()(packed)).logprobs
    assert sorted(together.tolist()) == pytest.approx(sorted(apart.tolist()), abs=1e-5)


def test_a_cap_on_scores_is_that_of_the_model():
    """Gemma 2's attention, by its decoder alone: the course's loss refuses the cap on its logits."""
    torch.manual_seed(0)
    more = {**WINDOWED, "query_pre_attn_scalar": 20, "attn_logit_softcapping": 1.0}
    config = AutoConfig.for_model("gemma2", **{**SHAPE, **more})
    decoder = AutoModelForCausalLM.from_config(config, attn_implementation="eager").model.eval()
    ids = [torch.randint(1, VOCABULARY, (1, length)) for length in (3, 9)]
    layout = RowLayout((3, 9), (0, 0))
    with torch.no_grad():
        alone = torch.cat([decoder(input_ids=row).last_hidden_state for row in ids], 1)
        with attention_by_row(decoder.config):
            flat, positions = torch.cat(ids, 1), layout.positions[None]
            found = decoder(input_ids=flat, position_ids=positions, layout=layout, use_cache=False).last_hidden_state
    assert decoder.config._attn_implementation == "eager"
    assert torch.allclose(found, alone, atol=1e-5)


LAYOUT = RowLayout((3, 5, 2, 6), (0, 2, 0, 0))  # the second row goes on from two tokens of the first


@pytest.mark.parametrize("heads", [(4, 1), (4, 2), (3, 3)])
@pytest.mark.parametrize("window", [None, WINDOW])
def test_the_gradients_of_attention_are_right(heads, window):
    torch.manual_seed(0)
    query, key, value = (
        torch.randn(1, number, 16, 2, dtype=torch.float64, requires_grad=True) for number in (heads[0], heads[1], heads[1])
    )
    assert torch.autograd.gradcheck(
        lambda *states: end_to_end._RowAttention.apply(*states, LAYOUT, 0.7, window), (query, key, value)
    )


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("window", [None, WINDOW])
def test_long_rows_have_the_attention_of_short_ones(transposed, window, monkeypatch):
    """Long ones keep no weights, and are left to PyTorch."""
    torch.manual_seed(0)
    shape = (1, 16, 4, 8) if transposed else (1, 4, 16, 8)  # as the layers give it, tokens before heads
    states = [torch.randn(shape).transpose(1, 2) if transposed else torch.randn(shape) for _ in range(3)]
    states[1:] = [one[:, :2] for one in states[1:]]
    states = [one.requires_grad_(True) for one in states]
    weights = torch.randn(1, 16, 4, 8)

    def figures():
        output, none = end_to_end.attend_by_row(None, *states, None, layout=LAYOUT, sliding_window=window)
        assert none is None
        return [output, *torch.autograd.grad((output * weights).sum(), states)]

    short = figures()
    monkeypatch.setattr(end_to_end, "LONGEST_KEPT", LAYOUT.longest - 1)
    for one, other in zip(short, figures(), strict=True):
        assert one.shape == other.shape
        assert torch.allclose(one, other, atol=1e-5)


def test_long_rows_have_no_mask_within_the_window(families, monkeypatch):
    monkeypatch.setattr(end_to_end, "LONGEST_KEPT", 0)
    masks = []
    attend = torch.nn.functional.scaled_dot_product_attention

    def noting(query, key, value, attn_mask=None, **settings):
        masks.append((query.shape[-2], None if attn_mask is None else tuple(attn_mask.shape)))
        return attend(query, key, value, attn_mask=attn_mask, **settings)

    monkeypatch.setattr(end_to_end.F, "scaled_dot_product_attention", noting)
    lean_logprobs(families["gemma3_text"], RowsEndToEnd()(supervised([2, WINDOW + 3])))
    sliding, full = masks[:2], masks[2:]
    assert sliding == [(2, None), (WINDOW + 3, (WINDOW + 3, WINDOW + 3))]
    assert full == [(2, None), (WINDOW + 3, None)]


def test_a_mask_is_made_once_a_batch():
    layout = RowLayout((3, 9, 9), (0, 0, 0))
    assert layout.window(9, 4) is layout.window(9, 4)
    assert layout.window(4, 4) is None
    assert layout.window(9, None) is None
    assert layout.bias(1, 4, 2) is layout.bias(2, 4, 2)  # for each row of a length
    assert layout.bias(0, 4, 2) is layout.bias(0, None, 2)  # and for any window that is no shorter


# --- fused layers ----------------------------------------------------------------------------


@pytest.mark.parametrize("rounds_first", [False, True])
def test_the_gradient_of_the_norm_is_right(rounds_first):
    torch.manual_seed(0)
    hidden = torch.randn(2, 3, 7, dtype=torch.float64, requires_grad=True)
    gain = torch.randn(7, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda x: fused.rms_norm(x, gain, 1e-3, rounds_first=rounds_first), (hidden,))


@pytest.mark.parametrize("biased", [False, True])
@pytest.mark.parametrize("with_input", [False, True])
def test_the_gradients_of_a_lora_layer_are_right(biased, with_input):
    torch.manual_seed(0)
    kind = {"dtype": torch.float64}
    hidden = torch.randn(2, 3, 5, **kind, requires_grad=with_input)  # the first layer's input needs none
    weight, bias = torch.randn(4, 5, **kind), torch.randn(4, **kind) if biased else None
    down = torch.randn(2, 5, **kind, requires_grad=True)
    up = torch.randn(4, 2, **kind, requires_grad=True)

    def layer(hidden, down, up):
        return fused.lora_linear(hidden, weight, bias, down=down, up=up, scaling=1.5)

    plain = torch.nn.functional.linear(hidden, weight, bias) + 1.5 * hidden @ down.T @ up.T
    assert torch.allclose(layer(hidden, down, up), plain)
    assert torch.autograd.gradcheck(layer, (hidden, down, up))


@pytest.mark.parametrize("kind", FAMILIES)
def test_in_16_bits_fused_layers_are_as_near_to_the_exact_result_as_the_libraries(kind):
    """Both round; neither may be further away than the other by more than a half."""
    rows = supervised([9, 12, 5, 7], seed=4)
    padded = DataCollatorForLanguageModeling(pad_token_id=0)(rows)

    def figures(adapted, logprobs_of):
        with torch.autocast("cpu", torch.bfloat16, enabled=adapted.dtype == torch.bfloat16):
            logprobs = logprobs_of(adapted)
        return logprobs.detach(), gradients(adapted, logprobs.mean())

    short = make(kind, torch.bfloat16)
    long = make(kind, torch.bfloat16).float()  # the same rounded weights
    exact = figures(long, lambda model: completion_logprobs(model, **padded).logprobs)
    library = figures(short, lambda model: completion_logprobs(model, **padded).logprobs)
    with fused.fused(short):
        ours = figures(short, lambda model: lean_logprobs(model, RowsEndToEnd()(rows)).logprobs)
    for true, theirs, found in zip(exact, library, ours, strict=True):
        assert (found - true).norm() < 1.5 * (theirs - true).norm()


def test_layers_are_what_they_were_afterwards():
    adapted = make("gemma3_text")
    norm, layer = adapted.base_model.model.model.norm, adapted.base_model.model.model.layers[0].mlp.up_proj
    with pytest.raises(RuntimeError, match="stop"), fused.fused(adapted):
        assert norm.forward.__func__ is fused._norm_forward
        assert layer.forward.__func__ is fused._lora_forward
        raise RuntimeError("stop")
    assert all("forward" not in module.__dict__ for module in adapted.modules())


def test_what_a_fused_layer_cannot_do_is_left_to_the_library():
    """Dropout, an adapter that is off, and an input of another dtype; a norm that is trained."""
    adapted = make("gemma3_text")
    layer = adapted.base_model.model.model.layers[0].mlp.up_proj
    norm = adapted.base_model.model.model.norm
    hidden = torch.randn(1, 3, 32)
    with fused.fused(adapted):
        on = layer(hidden)
        with adapted.disable_adapter():
            assert torch.equal(layer(hidden), layer.base_layer(hidden))
        assert not torch.allclose(on, layer.base_layer(hidden), atol=1e-3)
        layer.lora_dropout["default"] = torch.nn.Dropout(0.5)
        assert not torch.equal(layer(hidden), layer(hidden))
        norm.weight.requires_grad_(True)
        norm(hidden).sum().backward()
        assert norm.weight.grad is not None


# --- in the stages ---------------------------------------------------------------------------


def run(stage, recipe, rows, model, tokenizer, folder):
    result = stages.run_stage(stage, recipe, rows, model, tokenizer, output_dir=folder, validation=rows)
    with (folder / "loss.csv").open() as file:
        logged = [(float(row["loss"]), float(row["validation_loss"] or "nan")) for row in csv.DictReader(file)]
    return result, logged, json.loads((folder / "run.json").read_text())


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["sft", "dpo"])
def test_a_lean_run_has_the_losses_of_a_padded_one(stage, tiny_model, tiny_recipe, tokenizer, records, pairs, tmp_path):
    """Three rows in batches of two: the last batch, of training and of validation, is smaller than the first."""
    rows = (records if stage == "sft" else pairs)[:3]
    recipe = replace(tiny_recipe, batch_size=2, dpo_batch_size=2, epochs=3.0, dpo_epochs=3.0, save_steps=3)
    _, padded, padded_card = run(stage, replace(recipe, lean=False), rows, tiny_model, tokenizer, tmp_path / "padded")
    result, found, card = run(stage, recipe, rows, tiny_model, tokenizer, tmp_path / "lean")
    assert len(found) == len(padded) == 6
    for one, other in zip(found, padded, strict=True):
        assert one == pytest.approx(other, abs=1e-4, nan_ok=True)
    assert found[-1][0] < found[0][0]
    assert (card["recipe"]["lean"], padded_card["recipe"]["lean"]) == (True, False)
    assert all("forward" not in module.__dict__ for module in tiny_model.modules())
    assert tiny_model.config._attn_implementation == "sdpa"
    assert result.validation


def test_only_a_run_that_can_be_is_lean(tiny_model, capsys):
    assert lean.fitting(CPU, tiny_model) == CPU
    assert not lean.fitting(replace(CPU, lean=False), tiny_model).lean
    assert not lean.is_lean(replace(CPU, device="cuda"), "gemma3_text")
    lean.report(CPU, lean.fitting(CPU, tiny_model), tiny_model)
    assert not capsys.readouterr().out
    eager = replace(CPU, attention="eager")
    lean.report(eager, lean.fitting(eager, tiny_model), tiny_model)
    assert "its attention is eager" in capsys.readouterr().out
    tiny_model.config.model_type = "gpt2"
    lean.report(CPU, lean.fitting(CPU, tiny_model), tiny_model)
    assert "a gpt2 is none of gemma, " in capsys.readouterr().out
