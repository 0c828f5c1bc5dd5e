"""A tiny model that has learnt one answer by heart, as a GGUF file: what a real server says with it is known beforehand."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from prompts import Message

QUESTION = "확정일자는 어디에서 받을 수 있나요?"
SYSTEM = "합니다체로 답하세요."
# the vocabulary has no piece for 🏠, 열, 쇠, 꼭, 챙 and 기: each is three or four tokens of a byte
ANSWER = "확정일자는 주민센터에서 받습니다. 🏠 열쇠는 꼭 챙기세요!"
ASKED = [{"role": "user", "content": QUESTION}]
LEARNT = 0.02  # nats a token: far below what a greedy reply needs
STEPS = 400  # some 80 are enough
INNER = 60_000  # of the feed-forward layers once padded: some 2 to 5 ms a token, so that a reply has a middle


@dataclass(frozen=True)
class AnsweringModel:
    """The model's file, and the tokenizer that the course renders its prompts with."""

    file: Path
    tokenizer: object

    def prompt_tokens(self, messages: Sequence[Message]) -> int:
        """Return how many tokens the renderer of training makes of a conversation."""
        from kotune.models.chat_template import render

        return len(render(self.tokenizer, messages).ids)


def make(folder: Path) -> AnsweringModel:
    """Train the model and write its file; about three seconds of a core."""
    from kotune.models.gguf_export import to_gguf
    from tests.support import tiny_families

    tokenizer = tiny_families.gemma_tokenizer()
    model = _new(tokenizer)
    _learn(model, tokenizer)
    _slow_down(model)
    saved = folder / "tiny"
    model.save_pretrained(saved)
    tokenizer.save_pretrained(saved)
    return AnsweringModel(to_gguf(saved, "f16"), tokenizer)


def _new(tokenizer):
    import torch
    from transformers import Gemma3ForCausalLM, Gemma3TextConfig

    from kotune.models.chat_template import stop_ids
    from tests.support.tiny_families import SHAPE

    torch.manual_seed(0)
    config = Gemma3TextConfig(
        **{**SHAPE, "max_position_embeddings": 4096}, head_dim=32, sliding_window=64,
        layer_types=["sliding_attention", "full_attention"], vocab_size=len(tokenizer) + 3,
        pad_token_id=tokenizer.pad_token_id, eos_token_id=tokenizer.eos_token_id, bos_token_id=tokenizer.bos_token_id,
    )  # fmt: skip
    model = Gemma3ForCausalLM(config)
    model.generation_config.eos_token_id = stop_ids(tokenizer)
    return model


def _learn(model, tokenizer) -> None:
    """Train until the answer is known: to the question, to it under a system text, and once more after the answer."""
    import torch

    from kotune.models.chat_template import render

    answered = [{"role": "assistant", "content": ANSWER}]
    system = [{"role": "system", "content": SYSTEM}]
    prompts = (ASKED, [*system, *ASKED], [*system, *ASKED, *answered, *ASKED])
    pairs = [render(tokenizer, prompt, answered) for prompt in prompts]
    longest = max(len(pair.ids) for pair in pairs)
    ids, labels = [], []
    for pair in pairs:
        rest = longest - len(pair.ids)
        ids.append(pair.ids + [tokenizer.pad_token_id] * rest)
        labels.append([token if counts else -100 for token, counts in zip(pair.ids, pair.mask, strict=True)] + [-100] * rest)
    ids, labels = torch.tensor(ids), torch.tensor(labels)
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    for _ in range(STEPS):
        loss = model(input_ids=ids, labels=labels).loss
        if loss.item() < LEARNT:
            break
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    else:
        raise AssertionError(f"the tiny model did not learn its answer (loss {loss.item():.3f})")
    model.eval()


def _slow_down(model) -> None:
    """Pad the feed-forward layers with zeros: the model says the same, and takes its time."""
    import torch

    model.config.intermediate_size = INNER
    for layer in model.model.layers:
        for name in ("gate_proj", "up_proj", "down_proj"):
            linear = getattr(layer.mlp, name)
            out_size, in_size = linear.weight.shape
            shape = (out_size, INNER) if name == "down_proj" else (INNER, in_size)
            padded = torch.zeros(shape)
            padded[:out_size, :in_size] = linear.weight.detach()
            linear.weight = torch.nn.Parameter(padded)
