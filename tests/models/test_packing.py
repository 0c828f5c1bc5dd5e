"""Protects: packed weights give the same results to the last bit, only while they are in use, and only where there is room."""

import copy

import pytest
import torch

from kotune.models import packing
from kotune.models.decoding import decode_tokens
from kotune.models.packing import can_pack, pack
from kotune.models.sampling import Sampling
from kotune.serving.engine import LocalEngine

PROMPTS = [[2, 105, 107], [2, 9], [2, 3, 4, 5, 6]]
GREEDY = Sampling(max_tokens=8)

needs_packing = pytest.mark.skipif(not can_pack(), reason="this CPU or torch multiplies by no packed bfloat16 weights")


@pytest.fixture
def model(tiny_model, monkeypatch):
    """The tiny model in bfloat16, of which every layer is large enough to be packed."""
    monkeypatch.setattr(packing, "LEAST_WEIGHTS", 1)
    return tiny_model.to(torch.bfloat16)


def linear_layers(model):
    return [module for module in model.modules() if type(module) is torch.nn.Linear]


@needs_packing
@pytest.mark.parametrize("rows", [1, 2, 3, 4, 24, 65, 200])
def test_a_packed_product_is_the_plain_one_to_the_last_bit(rows):
    expected, found, _ = products(rows, bias=False)
    assert found.shape == expected.shape and torch.equal(found, expected)


@needs_packing
def test_a_packed_product_with_a_bias_is_rounded_once(rows=24):
    """The plain one is rounded before the bias is added, and again after it."""
    expected, found, exact = products(rows, bias=True)
    torch.testing.assert_close(found, expected, atol=0.01, rtol=0.01)
    assert (found - exact).abs().mean() <= (expected - exact).abs().mean()


def products(rows, bias):
    """Return what a layer makes of rows by itself, packed, and in float32."""
    torch.manual_seed(rows)
    layer = torch.nn.Linear(640, 256, bias=bias).to(torch.bfloat16)
    states = torch.randn(rows, 2, 640).to(torch.bfloat16)[:, -1:]  # not contiguous
    packed = pack(layer)
    assert len(packed.layers) == 1
    with torch.inference_mode():
        expected = layer(states)
        with packed.in_use():
            found = layer(states)
        return expected, found, copy.deepcopy(layer).float()(states.float())


@needs_packing
def test_replies_in_bfloat16_are_those_without_packing(model, tokenizer, monkeypatch):
    counted = []
    product = packing._product
    monkeypatch.setattr(packing, "_product", lambda *layer: counted.append(1) or product(*layer))
    found = decode_tokens(model, tokenizer, PROMPTS, GREEDY)
    assert counted
    monkeypatch.setattr(packing, "can_pack", lambda: False)
    assert decode_tokens(model, tokenizer, PROMPTS, GREEDY) == found


@needs_packing
def test_a_model_can_be_trained_after_it_was_packed_and_is_then_read_as_it_has_become(model):
    packed = pack(model)
    with packed.in_use():
        assert all("forward" in layer.__dict__ for layer in linear_layers(model))
    assert not any("forward" in layer.__dict__ for layer in linear_layers(model))
    ids = torch.tensor([[2, 105, 107]])
    loss = model(input_ids=ids, labels=ids).loss
    loss.backward()
    torch.optim.SGD(model.parameters(), lr=0.5).step()
    with torch.inference_mode():
        expected = model(input_ids=ids).logits
        with packed.in_use():  # nothing of it is current
            assert torch.equal(model(input_ids=ids).logits, expected)
    assert packed.layers == []


@needs_packing
def test_an_error_leaves_no_packed_product_behind(model):
    with pytest.raises(ValueError, match="no"), pack(model).in_use():
        raise ValueError("no")
    assert not any("forward" in layer.__dict__ for layer in linear_layers(model))


def test_without_room_nothing_is_packed(model, tokenizer, monkeypatch):
    expected = decode_tokens(model, tokenizer, PROMPTS, GREEDY)
    monkeypatch.setattr(packing, "unused_gib", lambda _: 0.001)
    assert pack(model).layers == []
    assert decode_tokens(model, tokenizer, PROMPTS, GREEDY) == expected


@needs_packing
def test_memory_that_runs_out_while_packing_packs_nothing(model, monkeypatch):
    def fail(*_):
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory")

    monkeypatch.setattr(packing, "can_pack", lambda: True)
    monkeypatch.setattr(torch.ops.mkldnn, "_reorder_linear_weight", fail)
    assert pack(model).layers == []


def test_float32_and_other_layers_are_left_alone(tiny_model):
    class Other(torch.nn.Linear):
        """As a layer of 4 bits, which is a subclass."""

    assert pack(tiny_model).layers == []
    assert pack(Other(640, 640).to(torch.bfloat16)).layers == []


def test_a_cpu_that_cannot_multiply_packed_weights_packs_none(model, monkeypatch):
    def fail(*_):
        raise RuntimeError("mkldnn_reorder_linear_weight: bf16 path needs the cpu support avx_ne_convert or avx512bw")

    monkeypatch.setattr(torch.ops.mkldnn, "_reorder_linear_weight", fail)
    assert not can_pack() and pack(model).layers == []


@needs_packing
def test_a_head_that_two_models_share_is_packed_once(model):
    other = copy.deepcopy(model)
    other.get_input_embeddings().weight = model.get_input_embeddings().weight
    other.tie_weights()
    first = pack(model)
    second = pack(other, beside=[first])
    heads = [next(one.packed for one in packed.layers if one.layer is of.get_output_embeddings())
             for packed, of in ((first, model), (second, other))]  # fmt: skip
    assert heads[0] is heads[1]
    assert sum(any(one.packed is its.packed for its in first.layers) for one in second.layers) == 1


@needs_packing
def test_the_server_gives_plain_weights_back_and_answers_the_same(model, tokenizer):
    expected = decode_tokens(copy.deepcopy(model), tokenizer, PROMPTS[:1], GREEDY)
    engine = LocalEngine({"tiny": model}, tokenizer)
    try:
        said, done = [], []
        ticket = engine.submit(
            "tiny", PROMPTS[0], GREEDY, lambda progress: (said.append(progress), done.append(progress.finish))
        )
        with engine.wake:
            engine.wake.notify()
        for _ in range(1000):
            if any(done):
                break
            engine.thread.join(0.02)
        assert ticket.reply == expected[0]
    finally:
        engine.close()
    assert model.get_output_embeddings().weight.numel() > 0  # the embedding reads it
    assert all(layer.weight.numel() == 0 for layer in linear_layers(model) if layer is not model.get_output_embeddings())
