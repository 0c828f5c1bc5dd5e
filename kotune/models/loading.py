"""Load language models as a recipe asks, in 16 bits or quantised to 4, and save merged ones."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from kotune.models import memory
from kotune.models.chat_template import stop_ids
from kotune.models.files import MEMORY_NEEDED_GIB, from_pretrained, load_tokenizer, require_memory
from kotune.models.machine import Recipe, free_gib, require_runnable, shape_of
from utils import CourseError

# NF4 leaves these whole: the head, whose weights the loss reads as they are, and a reward model's score. Embeddings and
# norms are no linear layers, and stay whole anyway.
NEVER_QUANTISED = ["lm_head", "score"]


def load_model(recipe: Recipe, name: str | None = None):
    """Load a recipe's model (or `name`) in the recipe's dtype on its device, set to stop at the end of a turn.

    With `quantization` "nf4" the linear layers of the decoder are quantised to 4 bits as they load (QLoRA; Dettmers et al.
    2023, arXiv 2305.14314) and computed in the recipe's dtype, on a CPU too. An adapter that was trained on them merges into
    whole weights: `load_model(recipe.unquantised())`.

    Raises:
        CourseError: too little memory, no such model, a hub that cannot be reached, or a recipe that this machine cannot
            run.
    """
    import torch
    from transformers import AutoModelForCausalLM, utils

    name = name or recipe.model
    require_runnable(recipe)
    _require_room(replace(recipe, model=name))
    stops = stop_ids(load_tokenizer(name))
    # a bar of its own over a load of a second is noise in a stored notebook
    utils.logging.disable_progress_bar()
    options = {"dtype": getattr(torch, recipe.dtype), "attn_implementation": recipe.attention}
    if recipe.quantization == "nf4":
        options |= {"quantization_config": _nf4(options["dtype"]), "device_map": {"": recipe.device}}
    model = from_pretrained(AutoModelForCausalLM, name, weights=True, **options)
    _keep_unpacked(model)
    model.generation_config.eos_token_id = stops
    if recipe.quantization is None:
        model.to(recipe.device)
    model.eval()
    make_head_input_contiguous(model)
    return model


def _nf4(dtype):
    from transformers import BitsAndBytesConfig

    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=dtype,
        llm_int8_skip_modules=NEVER_QUANTISED,
    )


def _keep_unpacked(model) -> None:
    """Keep 4-bit layers in the one order that their backward pass reads.

    Used without gradients on a CPU with AVX512-BF16, bitsandbytes (0.50) packs a layer's weights in another order for a
    faster kernel, and the backward pass of a later training step reads them as if they were not: its gradients point
    elsewhere (cosine 0.4 with the right ones), and no error is raised.
    """
    for module in model.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False


def _require_room(recipe: Recipe) -> None:
    """Raise a CourseError if the model's weights do not fit into the free memory of the recipe's device."""
    shape, free = shape_of(recipe), free_gib(recipe.device)
    overhead = memory.CUDA_OVERHEAD_GIB if recipe.device == "cuda" else memory.CPU_OVERHEAD_GIB
    needed = memory.weights_gib(shape, recipe) + overhead
    if needed > free:
        smaller = "" if recipe.quantization else "set quantization to nf4 (4 bits a weight), "
        raise CourseError(
            f"{recipe.model} needs {needed:.1f} GiB as {recipe.name} loads it and {free:.1f} are free on {recipe.device}; "
            f"{smaller}close other programs, or choose a smaller model, as that of gemma-3-270m-cpu."
        )
    if recipe.device == "cpu":
        require_memory(max(MEMORY_NEEDED_GIB, needed))


def precision(recipe: Recipe):
    """Return the context that TRL's trainers compute in, so that what is measured outside of them is the same."""
    import torch

    return torch.autocast(recipe.device, getattr(torch, recipe.dtype), enabled=recipe.dtype != "float32")


def is_out_of_memory(error: BaseException) -> bool:
    """Say whether an error means that memory ran out, on whatever device."""
    import torch

    signs = ("can't allocate memory", "not enough memory", "CUBLAS_STATUS_ALLOC_FAILED", "CUDA error: out of memory")
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or any(sign in str(error) for sign in signs)


def make_head_input_contiguous(model) -> None:
    """Keep generation fast on a CPU once weights are frozen.

    `generate` passes the last position of the prefill as a strided view; with frozen weights PyTorch then
    multiplies by a `bmm` over an expanded copy of the whole head (262,144 x 640) for each row of the batch. On two
    cores that was 15.8 of the 18.2 s of one call.
    """
    model.get_output_embeddings().register_forward_pre_hook(lambda _, inputs: (inputs[0].contiguous(),))


def save_merged(model, tokenizer, folder: Path) -> Path:
    """Save a merged model with its tokenizer, chat template and generation settings."""
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
