"""A thin stand-in for vLLM's offline interface, on a CPU through transformers: the same names, no others.

It refuses a parameter that vLLM (0.22 to 0.31) does not have, takes token ids alone, and keeps what it was given.
"""

from dataclasses import dataclass, field
from types import SimpleNamespace

from .lora.request import LoRARequest
from .sampling_params import BeamSearchParams, SamplingParams

__all__ = ["LLM", "BeamSearchParams", "LoRARequest", "SamplingParams"]


@dataclass
class LLM:
    model: str
    tokenizer: str | None = None
    tensor_parallel_size: int = 1
    gpu_memory_utilization: float = 0.9
    generation_config: str = "auto"
    load_format: str = "auto"
    seed: int = 0
    enable_lora: bool = False
    max_lora_rank: int = 16
    asked: list = field(default_factory=list)

    def __post_init__(self):
        from transformers import AutoModelForCausalLM, AutoTokenizer

        self.loaded = AutoModelForCausalLM.from_pretrained(self.model, dtype="float32").eval()
        self.end = AutoTokenizer.from_pretrained(self.tokenizer or self.model).eos_token_id
        limit = self.loaded.config.max_position_embeddings
        self.llm_engine = SimpleNamespace(model_config=SimpleNamespace(max_model_len=limit))

    def _with(self, lora_request):
        if lora_request is None:
            return self.loaded
        assert self.enable_lora
        from peft import PeftModel

        return PeftModel.from_pretrained(self.loaded, lora_request.lora_path)

    def _reply(self, model, ids, ends, **options):
        import torch

        with torch.inference_mode():
            output = model.generate(input_ids=torch.tensor([ids]), attention_mask=torch.ones(1, len(ids), dtype=torch.long),
                                    do_sample=False, eos_token_id=ends, pad_token_id=0, **options)  # fmt: skip
        return output[0, len(ids) :].tolist()

    def generate(self, prompts, sampling_params, *, use_tqdm=True, lora_request=None):
        self.asked.append((prompts, sampling_params, lora_request))
        assert sampling_params.temperature == 0
        model, outputs = self._with(lora_request), []
        for prompt in prompts:
            ends = sampling_params.stop_token_ids
            tokens = self._reply(model, prompt["prompt_token_ids"], ends, max_new_tokens=sampling_params.max_tokens)
            ended = tokens[-1] in ends
            said = SimpleNamespace(token_ids=tokens, finish_reason="stop" if ended else "length")
            outputs.append(SimpleNamespace(outputs=[said]))
        return outputs

    def beam_search(self, prompts, params, lora_request=None, use_tqdm=False, concurrency_limit=None):
        self.asked.append((prompts, params, lora_request))
        model, outputs = self._with(lora_request), []
        for prompt in prompts:
            ids = prompt["prompt_token_ids"]
            tokens = self._reply(model, ids, self.end, max_new_tokens=params.max_tokens, num_beams=params.beam_width)
            outputs.append(SimpleNamespace(sequences=[SimpleNamespace(tokens=[*ids, *tokens])]))
        return outputs
