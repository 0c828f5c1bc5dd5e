"""Protects: what is measured on this machine decides, and a kernel counts as working only when it does."""

import sys
import types
from dataclasses import replace

import pytest

from kotune.models import machine
from kotune.models.memory import ModelShape
from kotune.recipes import RECIPES
from kotune.training import speed as probes

CPU = RECIPES["gemma-3-270m-cpu"]


def test_bf16_and_float32_are_timed():
    bf16, fp32 = machine.bf16_speed(0.05)
    assert bf16 > 0
    assert fp32 > 0


def fake_flash_attention(monkeypatch, attention):
    monkeypatch.setitem(sys.modules, "flash_attn", types.SimpleNamespace(flash_attn_func=attention))


def test_flash_attention_counts_only_when_a_backward_step_passes(monkeypatch):
    import torch

    monkeypatch.setitem(sys.modules, "flash_attn", None)
    assert machine.flash_attention(device="cpu") == (False, "flash-attn is not installed")

    def real(query, key, value, causal):
        return torch.nn.functional.scaled_dot_product_attention(query, key, value, is_causal=causal)

    fake_flash_attention(monkeypatch, real)
    works, why = machine.flash_attention(256, device="cpu")
    assert works
    assert "head size 256" in why

    def refuses(query, key, value, causal):
        raise RuntimeError("FlashAttention backward for head dim > 192 requires A100/A800 or H100/H800\nmore")

    fake_flash_attention(monkeypatch, refuses)
    works, why = machine.flash_attention(256, device="cpu")
    assert not works
    assert "requires A100" in why
    assert "\n" not in why

    fake_flash_attention(monkeypatch, lambda q, k, v, causal: real(q, k, v, causal) * float("nan"))
    works, why = machine.flash_attention(256, device="cpu")
    assert (works, "no finite gradient" in why) == (False, True)


@pytest.mark.parametrize("quantization", [None, "nf4"])
def test_a_layer_and_the_head_are_timed(quantization):
    shape = ModelShape("llama", 128, 2, 2, 1, 64, 256, 512, False)
    speed = probes.training_speed(shape, replace(CPU, quantization=quantization), rows=2, width=16)
    assert 0 < speed.layer_token < 1
    assert 0 < speed.head_token < 1


def test_a_layer_too_large_for_a_short_probe_is_timed_in_part(monkeypatch):
    asked = []
    monkeypatch.setattr(probes, "_best", lambda action, device: asked.append(action) or 1.0)
    shape = ModelShape("llama", 256, 2, 2, 1, 128, 1024, 64, False)
    monkeypatch.setitem(probes.WORK, "cpu", 6 * shape.linear_parameters / shape.layers * 64)  # 64 tokens
    assert probes._layer_seconds(shape, CPU, rows=8, width=128) == pytest.approx(1 / 64)
    assert probes._layer_seconds(shape, CPU, rows=8, width=16) == pytest.approx(1 / 64)
    assert probes._layer_seconds(shape, CPU, rows=2, width=16) == pytest.approx(1 / 32)
