"""A reward model: the tuned language model with a head that gives one number to a conversation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from kotune.models.adapters import require_weights
from kotune.models.chat_template import render
from kotune.models.loading import precision
from kotune.models.machine import Recipe
from kotune.models.weight_files import never_unpickled
from kotune.progress import bar
from utils import relative


def with_reward_head(model, tokenizer):
    """Return a classifier of one score that shares the language model's weights; the head is new, in float32.

    The score is read at the last token that is no padding: the end of the assistant's turn.
    """
    import torch
    from transformers import AutoModelForSequenceClassification

    config = model.config
    config.num_labels, config.pad_token_id = 1, tokenizer.pad_token_id
    with torch.device("meta"):  # no weights of its own: the decoder is replaced at once
        classifier = AutoModelForSequenceClassification.from_config(config)
    classifier.model = getattr(model, model.base_model_prefix)
    head = torch.nn.Linear(config.hidden_size, 1, bias=False, device=model.device)
    torch.nn.init.normal_(head.weight, std=1 / (config.hidden_size + 1))  # small: no answer is preferred yet
    classifier.score = head
    return classifier.eval()


def add_reward_adapter(classifier, recipe: Recipe):
    """Return the classifier with a fresh LoRA adapter; the head is trained and saved with it."""
    from peft import LoraConfig, get_peft_model

    config = LoraConfig(
        r=recipe.lora_r,
        lora_alpha=recipe.lora_alpha,
        lora_dropout=recipe.lora_dropout,
        target_modules=list(recipe.target_modules),
        task_type="SEQ_CLS",  # with any other, peft neither trains nor saves the head
    )
    return get_peft_model(classifier, config)


def load_reward_model(model, tokenizer, adapter: str | Path):
    """Return a saved reward model on the model that it was trained on (its SFT adapter merged in).

    Raises:
        CourseError: the folder holds no adapter, or a pickled or a changed one.
    """
    from peft import PeftModel

    require_weights(adapter)
    with never_unpickled(relative(adapter)):
        return PeftModel.from_pretrained(with_reward_head(model, tokenizer), adapter).eval()


def score(classifier, tokenizer, prompts: Sequence[list[dict]], answers: Sequence[str], recipe: Recipe) -> list[float]:
    """Return the reward of each answer to its prompt, in the order given."""
    import torch

    rows = [
        render(tokenizer, prompt, [{"role": "assistant", "content": answer}]).ids
        for prompt, answer in zip(prompts, answers, strict=True)
    ]
    order = sorted(range(len(rows)), key=lambda place: len(rows[place]))
    rewards = [0.0] * len(rows)
    with torch.no_grad(), precision(recipe), bar(len(rows), "reward", "answer") as shown:
        for start in range(0, len(order), recipe.batch_size):
            places = order[start : start + recipe.batch_size]
            batch = tokenizer.pad(
                {"input_ids": [rows[place] for place in places]}, padding_side="right", return_tensors="pt"
            )
            logits = classifier(**{name: values.to(recipe.device) for name, values in batch.items()}).logits
            for place, reward in zip(places, logits.float().squeeze(-1).tolist(), strict=True):
                rewards[place] = reward
            shown.update(len(places))
    return rewards


@dataclass(frozen=True)
class PairAccuracy:
    """How often the chosen answer of a pair has the higher reward, over all pairs and by kind of rejected answer.

    `longer_wins` is the accuracy of a judge that knows nothing but length: what a reward model must beat.
    """

    pairs: int
    accuracy: float
    longer_wins: float
    by_kind: dict[str, tuple[int, float, float]]  # kind -> pairs, accuracy, longer_wins


def pair_accuracy(classifier, tokenizer, records: Sequence[dict], recipe: Recipe) -> PairAccuracy:
    """Return the accuracy of a reward model over preference records; equal scores count as half."""
    prompts = [record["prompt"] for record in records]
    chosen, rejected = ([record[side][0]["content"] for record in records] for side in ("chosen", "rejected"))
    rewards = score(classifier, tokenizer, [*prompts, *prompts], [*chosen, *rejected], recipe)
    right = [_preferred(a, b) for a, b in zip(rewards[: len(records)], rewards[len(records) :], strict=True)]
    longer = [_preferred(len(a), len(b)) for a, b in zip(chosen, rejected, strict=True)]
    kinds: dict[str, list[int]] = {}
    for place, record in enumerate(records):
        kinds.setdefault(record.get("kind", "all"), []).append(place)
    by_kind = {
        kind: (len(places), _mean(right[p] for p in places), _mean(longer[p] for p in places))
        for kind, places in sorted(kinds.items())
    }
    return PairAccuracy(len(records), _mean(right), _mean(longer), by_kind)


def _preferred(one: float, other: float) -> float:
    return 1.0 if one > other else 0.5 if one == other else 0.0


def _mean(values) -> float:
    values = list(values)
    return sum(values) / len(values)
