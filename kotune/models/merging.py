"""Merge adapters into 16-bit weights, and prove that the merged model is the adapter's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from kotune.models.adapters import load_adapter, merge_adapter
from kotune.models.chat_template import render
from kotune.models.decoding import decode_tokens
from kotune.models.files import load_tokenizer
from kotune.models.loading import load_model, save_merged
from kotune.models.machine import Recipe
from kotune.models.sampling import Sampling
from kotune.models.sources import ModelSource
from prompts import Message
from utils import CourseError, relative, write_json

# What both models are asked. Fixed, and of several kinds, so that two runs can be compared.
PROMPTS = (
    "확정일자는 어디에서 받나요?",
    "전세와 월세의 차이를 세 문장으로 설명해 주세요.",
    "다음 문장을 존댓말로 바꿔 주세요.\n\n내일 몇 시에 만날까?",
    "근저당권이 무엇인지 초등학생도 알 수 있게 말해 주세요.",
    "아래 글을 한 문장으로 요약해 주세요.\n\n등기부는 부동산의 권리 관계를 적은 공적 장부입니다. 누구나 열람할 수 있습니다.",
    "LTV와 DSR은 어떻게 다른가요?",
    "What does a lease contract say?",
    "1에서 10까지의 수 가운데 소수를 모두 써 주세요.",
)
REPLY_TOKENS = 32
CARD = "merge.json"  # what was merged, and how near the result is to it: by this a folder is an earlier merge
# The two sums are rounded at different places. On Gemma 3 270M in bf16 the merged SFT adapter agreed on 98.8% of 251 tokens;
# with the adapter left out, as by a merge that loses a stage, 66.7% did.
LEAST_AGREEMENT = 0.9


@dataclass(frozen=True)
class Comparison:
    """How near a merged model is to its adapter, on a fixed prompt set.

    agreement: share of the adapter's own greedy tokens, with those before them given, that the merged model chooses too.
    logit_difference: the greatest, over all these positions and the vocabulary. same_replies: greedy replies, each model
    on its own, that are the same to the letter, of `prompts`.
    """

    prompts: int
    tokens: int
    agreement: float
    logit_difference: float
    same_replies: int

    def __str__(self) -> str:
        return (
            f"{self.agreement:.1%} of {self.tokens} greedy tokens agree, {self.same_replies} of {self.prompts} replies are "
            f"the same to the letter, greatest difference of a logit {self.logit_difference:.3f}"
        )


def merge(served: ModelSource, folder: str | Path, recipe: Recipe) -> tuple[Path, Comparison]:
    """Merge a model's adapters into its 16-bit base, save it whole, and compare what was saved with the adapter.

    The base is loaded whole, for a QLoRA adapter too: merged into 4 bits the sum would be quantised once more. Tokenizer,
    chat template and generation settings (end of turn) go with it.

    Raises:
        CourseError: there is no adapter to merge, the folder holds something else, or the two part (LEAST_AGREEMENT); the
            merged model is kept then, to be looked at.
    """
    folder, what = Path(folder), {"base": served.base, "adapters": [relative(adapter) for adapter in served.adapters]}
    if not served.adapters:
        raise CourseError(f"{served.name} has no adapter; pass the folder of one as --model_path.")
    require_replaceable(folder)
    whole = replace(recipe.unquantised(), model=served.base, dtype="bfloat16")
    tokenizer = load_tokenizer(served.base)
    model = load_model(whole)
    for adapter in served.adapters[:-1]:
        model = merge_adapter(model, adapter)
    adapted = load_adapter(model, served.adapters[-1])
    expected = replies(adapted, tokenizer)
    expected_logits = logits_of(adapted, tokenizer, expected)
    write_json(folder / CARD, what)  # so that a merge that dies in the middle may be done again
    save_merged(merge_adapter(adapted.unload(), served.adapters[-1]), tokenizer, folder)
    del model, adapted
    comparison = compare(load_model(whole, str(folder)), load_tokenizer(str(folder)), expected, expected_logits)
    write_json(folder / CARD, {**what, **asdict(comparison)})
    if comparison.agreement < LEAST_AGREEMENT:
        raise CourseError(
            f"The model in {relative(folder)} is not what its adapter is ({comparison}; {LEAST_AGREEMENT:.0%} must agree); "
            "do not use it, and check that the adapter belongs to this base."
        )
    return folder, comparison


def require_replaceable(folder: Path) -> None:
    """Raise a CourseError if a merge into this folder would write over something that is no earlier merge."""
    if folder.exists() and any(folder.iterdir()) and not (folder / CARD).exists():
        raise CourseError(f"{relative(folder)} holds files that are no earlier merge; pass an empty --merged_weights_path.")


def messages(question: str) -> list[Message]:
    """Return a question as a conversation."""
    return [{"role": "user", "content": question}]


def replies(model, tokenizer) -> list[list[int]]:
    """Return the greedy reply's token ids to each prompt of the set, its end token left out."""
    prompts = [render(tokenizer, messages(question)).ids for question in PROMPTS]
    return decode_tokens(model, tokenizer, prompts, Sampling(max_tokens=REPLY_TOKENS))


def logits_of(model, tokenizer, said: Sequence[Sequence[int]]) -> list:
    """Return the next token's logits after each prefix of each reply, [(reply + 1, vocabulary)], in float32.

    Each conversation runs alone, so that no padding and no neighbour changes a sum.
    """
    import torch

    found = []
    for question, reply in zip(PROMPTS, said, strict=True):
        prompt = render(tokenizer, messages(question)).ids
        ids = torch.tensor([[*prompt, *reply]], device=model.device)
        with torch.inference_mode():
            logits = model(input_ids=ids, logits_to_keep=len(reply) + 1).logits[0]
        found.append(logits.float())
    return found


def compare(model, tokenizer, expected: Sequence[Sequence[int]], expected_logits: Sequence) -> Comparison:
    """Return how near a model is to replies and logits of another one."""
    tokens = agreed = 0
    difference = 0.0
    for there, here in zip(expected_logits, logits_of(model, tokenizer, expected), strict=True):
        tokens += len(there)
        agreed += int((there.argmax(-1) == here.argmax(-1)).sum())
        difference = max(difference, float((there - here).abs().max()))
    same = sum(list(a) == list(b) for a, b in zip(expected, replies(model, tokenizer), strict=True))
    return Comparison(len(PROMPTS), tokens, agreed / tokens, difference, same)
