"""Engines for batch inference behind one interface: transformers in this process, or vLLM on CUDA GPUs.

An engine gets token ids, made by the renderer of training, and yields answers as they are finished.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from kotune.models.adapters import load_adapter
from kotune.models.chat_template import end_of_turn_id, stop_ids
from kotune.models.decoding import Answer, decode, read_reply, write
from kotune.models.files import load_tokenizer, model_path
from kotune.models.loading import load_model
from kotune.models.machine import Recipe
from kotune.models.sampling import Sampling
from kotune.models.sources import VLLM_EXPERIMENTAL, ModelSource, load, lora_rank
from utils import CourseError, relative

CPU_ROWS, GPU_ROWS = 32, 128  # replies at once, at most: a run that is killed loses what these had said
VLLM_ROWS = 512  # handed over at once: vLLM batches them itself, and their lines are written together
# BeamSearchParams has no field for these
VLLM_BEAMS_LACK = ("presence_penalty", "frequency_penalty", "repetition_penalty")


class Engine(Protocol):
    """What inference needs of an engine. context: the most tokens that a prompt and its reply may have."""

    name: str
    tokenizer: object
    context: int
    sampling: Sampling

    def answers(self, prompts: Sequence[Sequence[int]]) -> Iterator[list[tuple[int, Answer]]]:
        """Yield (index, Answer)s of prompts, (prompts, tokens), as they are finished."""

    def stream(self, prompt: Sequence[int]) -> Iterator[str]:
        """Yield the pieces of one reply."""


class TransformersEngine:
    """A model in this process on a CPU, a CUDA GPU or Apple's; adapters merged, or on top of 4-bit weights."""

    def __init__(self, served: ModelSource, recipe: Recipe, sampling: Sampling, max_rows: int | None = None):
        self.name = "transformers"
        self.sampling = sampling
        self.max_rows = max_rows or (CPU_ROWS if recipe.device == "cpu" else GPU_ROWS)
        if recipe.quantization is None:
            loaded, self.tokenizer = load([served], recipe)
            self.model = loaded[served.name]
        else:
            self.model, self.tokenizer = _quantised(served, recipe), load_tokenizer(served.base)
        self.context = self.model.config.get_text_config().max_position_embeddings

    def answers(self, prompts: Sequence[Sequence[int]]) -> Iterator[list[tuple[int, Answer]]]:
        """Yield (index, Answer)s of prompts, (prompts, tokens), as they are finished."""
        return decode(self.model, self.tokenizer, prompts, self.sampling, self.max_rows)

    def stream(self, prompt: Sequence[int]) -> Iterator[str]:
        """Yield the pieces of one reply; beam search has the whole of it at the end."""
        yield from write(self.model, self.tokenizer, prompt, self.sampling)


def _quantised(served: ModelSource, recipe: Recipe):
    if len(served.adapters) > 1:
        raise CourseError(
            f"{relative(served.adapters[-1])} stands on another adapter, and adapters merge into 16 bits alone; merge them "
            "first (kotune merge), or choose a recipe without 4-bit weights."
        )
    model = load_model(replace(recipe, model=served.base))
    return load_adapter(model, served.adapters[0]) if served.adapters else model


class VllmEngine:
    """vLLM in this process: an adapter on its base, or a whole model, over as many GPUs as asked for.

    Experimental: tested with stand-ins of vLLM's names alone, never with vLLM.
    """

    def __init__(self, served: ModelSource, sampling: Sampling, tensor_parallel: int = 1, memory_share: float = 0.9):
        self.name = "vllm"
        self.sampling = sampling
        lacking = [name for name in VLLM_BEAMS_LACK if getattr(sampling, name) != getattr(Sampling, name)]
        if sampling.beam_width > 1 and lacking:
            raise CourseError(f"vLLM's beam search has no {lacking[0]}; leave it out, or pass --engine transformers.")
        if len(served.adapters) > 1:
            raise CourseError(
                f"{relative(served.adapters[-1])} stands on another adapter, and vLLM puts one on the base; merge them "
                "first (kotune merge)."
            )
        try:
            import vllm
        except ImportError:
            raise CourseError(
                "vLLM is not installed; it needs a CUDA GPU and a separate environment (pip install -e '.[gpu]'), or pass "
                "--engine transformers."
            ) from None
        self.vllm = vllm
        self.tokenizer = load_tokenizer(served.base)
        self._folder = tempfile.TemporaryDirectory(prefix="vllm-")
        options = {"enable_lora": True, "max_lora_rank": lora_rank([served])} if served.adapters else {}
        self.llm = vllm.LLM(
            model=model_path(served.base, weights=True),
            load_format="safetensors",
            tokenizer=self._ending_tokenizer(),
            tensor_parallel_size=tensor_parallel,
            gpu_memory_utilization=memory_share,
            generation_config="vllm",  # its default takes the model's own sampling settings, which are seldom greedy
            seed=sampling.seed or 0,
            **options,
        )
        self.lora = None
        if served.adapters:
            from vllm.lora.request import LoRARequest

            self.lora = LoRARequest(served.name, 1, str(served.adapters[0].resolve()))
        self.context = self.llm.llm_engine.model_config.max_model_len

    def _ending_tokenizer(self) -> str:
        """Return a folder with the tokenizer whose end token is the end of a turn: the one at which beam search ends."""
        self.tokenizer.save_pretrained(self._folder.name)
        saved = type(self.tokenizer).from_pretrained(self._folder.name)
        saved.eos_token = self.tokenizer.convert_ids_to_tokens(end_of_turn_id(self.tokenizer))
        saved.save_pretrained(self._folder.name)
        return self._folder.name

    def answers(self, prompts: Sequence[Sequence[int]]) -> Iterator[list[tuple[int, Answer]]]:
        """Yield (index, Answer)s of prompts, (prompts, tokens), as they are finished."""
        for start in range(0, len(prompts), VLLM_ROWS):
            chosen = prompts[start : start + VLLM_ROWS]
            said = self._searched(chosen) if self.sampling.beam_width > 1 else self._sampled(chosen)
            yield [(start + i, answer) for i, answer in enumerate(said)]

    def stream(self, prompt: Sequence[int]) -> Iterator[str]:
        """Yield one reply whole: this interface of vLLM has no streaming."""
        [[(_, answer)]] = self.answers([prompt])
        yield answer.text

    def _sampled(self, prompts: Sequence[Sequence[int]]) -> list[Answer]:
        sampling = self.sampling
        parameters = self.vllm.SamplingParams(
            max_tokens=sampling.max_tokens,
            temperature=sampling.temperature,
            presence_penalty=sampling.presence_penalty,
            frequency_penalty=sampling.frequency_penalty,
            repetition_penalty=sampling.repetition_penalty,
            top_p=sampling.top_p,
            top_k=sampling.top_k or -1,  # -1 is vLLM's way to say: all tokens
            min_p=sampling.min_p,
            seed=sampling.seed,
            stop_token_ids=stop_ids(self.tokenizer),
        )
        outputs = self.llm.generate(_token_prompts(prompts), parameters, use_tqdm=False, lora_request=self.lora)
        return [self._read(list(output.outputs[0].token_ids), output.outputs[0].finish_reason) for output in outputs]

    def _searched(self, prompts: Sequence[Sequence[int]]) -> list[Answer]:
        from vllm.sampling_params import BeamSearchParams

        parameters = BeamSearchParams(
            beam_width=self.sampling.beam_width,
            max_tokens=self.sampling.max_tokens,
            length_penalty=self.sampling.length_penalty,
        )
        outputs = self.llm.beam_search(_token_prompts(prompts), parameters, lora_request=self.lora)
        return [
            self._read(list(output.sequences[0].tokens[len(prompt) :]), None)
            for prompt, output in zip(prompts, outputs, strict=True)
        ]

    def _read(self, tokens: list[int], finish_reason: str | None) -> Answer:
        answer = read_reply(self.tokenizer, tokens, stop_ids(self.tokenizer))
        return replace(answer, ended=answer.ended or finish_reason == "stop")  # the end token may be left out of the ids


def _token_prompts(prompts: Sequence[Sequence[int]]) -> list[dict]:
    return [{"prompt_token_ids": list(prompt)} for prompt in prompts]


@dataclass(frozen=True)
class EngineChoice:
    """Which engine, how many rows at once (None: as memory allows), and over how many GPUs (vLLM alone)."""

    name: str = "transformers"
    max_rows: int | None = None
    tensor_parallel: int | None = None


def open_engine(choice: EngineChoice, served: ModelSource, recipe: Recipe, sampling: Sampling) -> Engine:
    """Return the engine that is chosen, with its model loaded.

    Raises:
        CourseError: a setting is out of range, or one that this engine lacks; the model cannot be loaded.
    """
    sampling.require_sound()
    if sampling.stop:
        raise CourseError("Stop texts end a reply of the server alone; leave stop out.")
    if choice.max_rows is not None and choice.max_rows < 1:
        raise CourseError(f"--batch_size is {choice.max_rows}; pass 1 or more.")
    if choice.name == "vllm":
        if recipe.device != "cuda":
            raise CourseError("vLLM needs a CUDA GPU and none is here; pass --engine transformers.")
        if choice.max_rows is not None:
            raise CourseError("vLLM sizes its batches itself; leave --batch_size out, or pass --engine transformers.")
        print(VLLM_EXPERIMENTAL)
        return VllmEngine(served, sampling, choice.tensor_parallel or 1)
    if choice.tensor_parallel is not None:
        raise CourseError("The engine transformers has no --tensor_parallel_size; leave it out, or pass --engine vllm.")
    return TransformersEngine(served, recipe, sampling, choice.max_rows)
