"""Whether DPO did good: margins alone look fine while a model unlearns both answers, or learns to be long.

`measure` takes the figures from a model whose DPO adapter can be switched off, so that policy and reference are one
set of weights; `verdict` says in words what they mean.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace

from kotune.models import loading
from kotune.models.decoding import Answer, generate
from kotune.models.loading import precision
from kotune.progress import bar
from kotune.recipes import Recipe
from kotune.training.encoding import TokenRows, encode_supervised, encode_text

# Where a figure counts as bad. A healthy run of the course's recipe stays far inside each; a learning rate ten times
# as high leaves them.
CHOSEN_FALL = 0.5  # nats a token that the chosen answer may lose: e^-0.5, each token 40% less likely
KL_LIMIT = 1.0  # nats a token
LENGTH_FACTOR = 1.5
REPETITION_RISE = 0.15  # of the 4-grams of an answer
ENDED_FALL = 0.25  # of the answers
LEAST_ACCURACY = 0.5
KL_ROWS = 128  # positions at a time: two tables of logits, each positions x vocabulary


@dataclass(frozen=True)
class PreferenceHealth:
    """The state of a model after DPO, on held-out pairs and on answers that it writes itself.

    margin: mean of chosen reward minus rejected reward (nats, with beta in it); accuracy: share of pairs with a margin
    above 0. chosen_change, rejected_change: log-probability against the reference, in nats a token. kl: mean over the
    chosen answers' positions of KL(policy || reference), in nats. length_ratio: mean length of the answers written,
    after / before; None where the model wrote nothing before. repetition_*: share of an answer's 4-grams that stood in
    it before. ended_*: share of answers that ended by themselves.
    """

    pairs: int
    answers: int
    margin: float
    accuracy: float
    chosen_change: float
    rejected_change: float
    kl: float
    length_before: float
    length_after: float
    repetition_before: float
    repetition_after: float
    ended_before: float
    ended_after: float
    verdict: str = ""
    reasons: tuple[str, ...] = ()

    @property
    def length_ratio(self) -> float | None:
        """Length after training by length before; None where nothing was written before."""
        return self.length_after / self.length_before if self.length_before else None

    def row(self) -> dict:
        """Return the report as one flat row for a table or JSON."""
        return {**asdict(self), "length_ratio": self.length_ratio, "reasons": list(self.reasons)}


def verdict(health: PreferenceHealth) -> PreferenceHealth:
    """Return the report with its verdict ("healthy", "collapse", "length-gaming" or "no effect") and the reasons."""
    collapse = [
        (
            health.chosen_change < -CHOSEN_FALL,
            f"the chosen answers lost {-health.chosen_change:.2f} nats a token (limit {CHOSEN_FALL})",
        ),
        (health.kl > KL_LIMIT, f"KL from the reference is {health.kl:.2f} nats a token (limit {KL_LIMIT})"),
        (
            health.repetition_after - health.repetition_before > REPETITION_RISE,
            f"repetition rose from {health.repetition_before:.0%} to {health.repetition_after:.0%} of the 4-grams",
        ),
        (
            health.ended_before - health.ended_after > ENDED_FALL,
            f"answers that end by themselves fell from {health.ended_before:.0%} to {health.ended_after:.0%}",
        ),
    ]
    ratio = health.length_ratio
    lengths = f"{health.length_before:.0f} to {health.length_after:.0f} characters"
    gaming = [
        (ratio is None and health.length_after > 0, f"answers went from {lengths}"),
        (
            ratio is not None and not 1 / LENGTH_FACTOR <= ratio <= LENGTH_FACTOR,
            f"answers became {ratio or 0:.2f} times as long",
        ),
    ]
    weak = [
        (health.accuracy <= LEAST_ACCURACY, f"{health.accuracy:.0%} of the held-out pairs are ranked right; chance is 50%"),
    ]
    for name, checks in (("collapse", collapse), ("length-gaming", gaming), ("no effect", weak)):
        reasons = tuple(reason for bad, reason in checks if bad)
        if reasons:
            return replace(health, verdict=name, reasons=reasons)
    reason = (
        f"the margin grew to {health.margin:.2f} with {health.accuracy:.0%} of the pairs ranked right, while chosen answers "
        f"changed by {health.chosen_change:+.2f} nats a token and length from {lengths}"
    )
    return replace(health, verdict="healthy", reasons=(reason,))


def measure(
    adapted, tokenizer, rows: Sequence[dict], prompts: Sequence[list[dict]], recipe: Recipe, *, label: str = "health"
) -> PreferenceHealth:
    """Measure a model with its DPO adapter on, against itself with the adapter off.

    rows: held-out pairs from `encoding.encode_preference`; prompts: questions that both answer.
    """
    was_training = adapted.training
    adapted.eval()
    after = generate(adapted, tokenizer, prompts, recipe, f"{label}: after")
    with adapted.disable_adapter():
        before = generate(adapted, tokenizer, prompts, recipe, f"{label}: before")
    chosen, rejected, kl = _against_reference(adapted, tokenizer, rows, recipe)
    adapted.train(was_training)
    margins = [recipe.dpo_beta * (c - r) for c, r in zip(chosen, rejected, strict=True)]
    chosen_tokens, rejected_tokens = (sum(len(row[f"{side}_ids"]) for row in rows) for side in ("chosen", "rejected"))
    return verdict(
        PreferenceHealth(
            pairs=len(rows),
            answers=len(prompts),
            margin=sum(margins) / len(margins),
            accuracy=sum(margin > 0 for margin in margins) / len(margins),
            chosen_change=sum(chosen) / chosen_tokens,
            rejected_change=sum(rejected) / rejected_tokens,
            kl=kl,
            length_before=_mean_length(before),
            length_after=_mean_length(after),
            repetition_before=_mean_repetition(before),
            repetition_after=_mean_repetition(after),
            ended_before=_ended_share(before),
            ended_after=_ended_share(after),
        )
    )


def _mean_length(answers: Sequence[Answer]) -> float:
    return sum(len(answer.text) for answer in answers) / len(answers)


def _mean_repetition(answers: Sequence[Answer]) -> float:
    return sum(repetition(answer.text) for answer in answers) / len(answers)


def _ended_share(answers: Sequence[Answer]) -> float:
    return sum(answer.ended for answer in answers) / len(answers)


def repetition(text: str, n: int = 4) -> float:
    """Return the share of a text's word n-grams that stood in it before: 0 for varied text, near 1 for a loop."""
    words = text.split()
    grams = [tuple(words[start : start + n]) for start in range(len(words) - n + 1)]
    return 1 - len(set(grams)) / len(grams) if grams else 0.0


def _against_reference(adapted, tokenizer, rows: Sequence[dict], recipe: Recipe) -> tuple[list[float], list[float], float]:
    """Return the gain in log-probability of each chosen and each rejected answer, and the mean KL of a chosen token."""
    import torch
    from trl.trainer.dpo_trainer import DataCollatorForPreference

    from kotune.training.trainers import sequence_logprobs

    collate = DataCollatorForPreference(pad_token_id=tokenizer.pad_token_id)
    chosen: list[float] = []
    rejected: list[float] = []
    divergence = tokens = 0.0
    with torch.no_grad(), precision(recipe), bar(len(rows), "against the reference", "pair") as shown:
        for start in range(0, len(rows), recipe.dpo_batch_size):
            part = rows[start : start + recipe.dpo_batch_size]
            batch = {name: values.to(recipe.device) for name, values in collate(part).items()}
            policy = sequence_logprobs(adapted, batch)
            with adapted.disable_adapter():
                good, bad = (policy - sequence_logprobs(adapted, batch)).chunk(2)
            chosen += good.tolist()
            rejected += bad.tolist()
            half = {name: batch[name].chunk(2)[0] for name in ("input_ids", "attention_mask", "completion_mask")}
            values = token_kl(adapted, **half)
            divergence, tokens = divergence + values.sum().item(), tokens + len(values)
            shown.update(len(part))
    return chosen, rejected, divergence / tokens


def token_kl(adapted, input_ids, attention_mask, completion_mask):
    """Return KL(policy || reference) over the whole vocabulary at every completion position: (tokens,).

    The reference is the model with its adapter off. Exact at each position, not an estimate from samples.
    """
    import torch

    causal_lm = adapted.get_base_model()
    decoder = getattr(causal_lm, causal_lm.base_model_prefix)
    inputs = {"input_ids": input_ids, "attention_mask": attention_mask, "use_cache": False}
    counted = completion_mask[:, 1:].bool()  # position t predicts token t + 1
    policy = decoder(**inputs).last_hidden_state[:, :-1][counted]  # (tokens, width)
    with adapted.disable_adapter():
        reference = decoder(**inputs).last_hidden_state[:, :-1][counted]
    head = causal_lm.get_output_embeddings()
    values = []
    for start in range(0, len(policy), KL_ROWS):
        logprobs, reference_logprobs = (
            torch.log_softmax(head(side[start : start + KL_ROWS].to(head.weight.dtype)).float(), dim=-1)
            for side in (policy, reference)
        )
        values.append((logprobs.exp() * (logprobs - reference_logprobs)).sum(dim=-1))
    return torch.cat(values)


def held_out_loss(model, tokenizer, records: Sequence[dict], recipe: Recipe) -> float:
    """Return the mean negative log-likelihood of a completion token over held-out records, in nats."""
    return _mean_loss(model, tokenizer, encode_supervised(records, tokenizer, recipe.max_length), recipe)


def perplexity(model, tokenizer, records: Sequence[dict], recipe: Recipe) -> float:
    """Return the perplexity over held-out pre-training documents: exp of the mean loss of a token."""
    return math.exp(_mean_loss(model, tokenizer, encode_text(records, tokenizer, recipe.max_length), recipe))


def _mean_loss(model, tokenizer, encoded: TokenRows, recipe: Recipe) -> float:
    import torch
    from trl.trainer.sft_trainer import DataCollatorForLanguageModeling

    from kotune.training.losses import completion_logprobs

    encoded.report()
    collate = DataCollatorForLanguageModeling(pad_token_id=tokenizer.pad_token_id)
    total, tokens = 0.0, 0
    with torch.no_grad(), bar(len(encoded.rows), "held-out loss", "row") as shown:
        for start in range(0, len(encoded.rows), recipe.batch_size):
            batch = collate(encoded.rows[start : start + recipe.batch_size])
            batch = {name: values.to(recipe.device) for name, values in batch.items()}
            logprobs, _ = completion_logprobs(model, batch["input_ids"], batch["attention_mask"], batch["labels"])
            total, tokens = total - logprobs.sum().item(), tokens + len(logprobs)
            shown.update(len(batch["labels"]))
    return total / tokens


def reference_logprobs(model, rows: Sequence[dict], tokenizer, recipe: Recipe) -> list[dict]:
    """Return the preference rows with the policy's own log-probabilities before training: the reference."""
    complete = []
    with bar(len(rows), "reference", "pair") as shown:
        for start in range(0, len(rows), recipe.dpo_batch_size):
            part = rows[start : start + recipe.dpo_batch_size]
            complete += [
                {**row, "ref_chosen_logps": chosen, "ref_rejected_logps": rejected}
                for row, (chosen, rejected) in zip(part, _pair_logprobs(model, part, tokenizer, recipe), strict=True)
            ]
            shown.update(len(part))
    return complete


def _pair_logprobs(model, part: Sequence[dict], tokenizer, recipe: Recipe) -> list[tuple[float, float]]:
    """Return log p(chosen) and log p(rejected) of each row of one batch, in the trainer's own precision."""
    import torch
    from trl.trainer.dpo_trainer import DataCollatorForPreference

    from kotune.training.trainers import sequence_logprobs

    batch = DataCollatorForPreference(pad_token_id=tokenizer.pad_token_id)(list(part))
    batch = {name: values.to(recipe.device) for name, values in batch.items()}
    with torch.no_grad(), loading.precision(recipe):
        chosen, rejected = sequence_logprobs(model, batch).chunk(2)
    return list(zip(chosen.tolist(), rejected.tolist(), strict=True))


def preference_loss(model, rows: Sequence[dict], tokenizer, recipe: Recipe) -> dict[str, float]:
    """Return the DPO loss, mean margin and accuracy of the model over rows from `reference_logprobs`."""
    import torch

    from kotune.training.losses import dpo_loss

    chosen, rejected, reference_chosen, reference_rejected = (
        torch.tensor([row[f"ref_{side}_logps"] for row in part], dtype=torch.float64)
        for part in (reference_logprobs(model, rows, tokenizer, recipe), rows)
        for side in ("chosen", "rejected")
    )
    preference = dpo_loss(chosen, rejected, reference_chosen, reference_rejected, recipe.dpo_beta)
    return {
        "loss": preference.loss.mean().item(),
        "margin": preference.margins.mean().item(),
        "accuracy": (preference.margins > 0).double().mean().item(),
    }
