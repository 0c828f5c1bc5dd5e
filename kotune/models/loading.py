"""Load language models as a recipe asks, in 16 bits or quantised to 4, and save merged ones."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path

from kotune.models import memory
from kotune.models.adapters import UNFINISHED
from kotune.models.chat_template import stop_ids
from kotune.models.files import MEMORY_NEEDED_GIB, from_pretrained, load_tokenizer, require_memory
from kotune.models.machine import Recipe, free_gib, require_runnable, shape_of
from utils import CourseError, machine_error

# NF4 leaves these whole: the head, whose weights the loss reads as they are, and a reward model's score. Embeddings and
# norms are no linear layers, and stay whole anyway.
NEVER_QUANTISED = ["lm_head", "score"]
CONFIG = "config.json"  # moved last: a folder without it is no model
WEIGHTS = re.compile(r"model(-\d{5}-of-\d{5})?\.safetensors(\.index\.json)?")
OF_A_MODEL = re.compile(
    rf"{WEIGHTS.pattern}|(config|generation_config|tokenizer\w*|special_tokens_map|added_tokens)\.\w+|chat_template\.\w+"
)


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
    model = from_pretrained(AutoModelForCausalLM, name, **options)
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
    return isinstance(machine_error(error), MemoryError)


def make_head_input_contiguous(model) -> None:
    """Keep generation fast on a CPU once weights are frozen.

    `generate` passes the last position of the prefill as a strided view; with frozen weights PyTorch then
    multiplies by a `bmm` over an expanded copy of the whole head (262,144 x 640) for each row of the batch. On two
    cores that was 15.8 of the 18.2 s of one call.
    """
    model.get_output_embeddings().register_forward_pre_hook(lambda _, inputs: (inputs[0].contiguous(),))


def save_merged(model, tokenizer, folder: Path) -> Path:
    """Save a merged model with its tokenizer, chat template and generation settings.

    All is written beside its place first, in a folder whose name begins with `saving-`. A run that is killed before the
    exchange leaves the model that was there, and one killed within it a folder without config.json, which is no model.
    """
    folder.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(dir=folder, prefix=UNFINISHED))
    try:
        model.save_pretrained(work)
        tokenizer.save_pretrained(work)
        _exchange(work, folder)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return folder


def _exchange(work: Path, folder: Path) -> None:
    """Put what was saved into the place of an earlier model, whose weights may lie in other files; the rest stays."""
    (folder / CONFIG).unlink(missing_ok=True)
    for old in folder.iterdir():
        if WEIGHTS.fullmatch(old.name):
            old.unlink()
        elif old != work and is_unfinished_model(old):
            shutil.rmtree(old)
    for new in sorted(work.iterdir(), key=lambda path: path.name == CONFIG):
        os.replace(new, folder / new.name)


def is_unfinished_model(path: Path) -> bool:
    """Say whether a folder was left by a run that died while it saved a model: by its name, and by what lies in it."""
    if not path.name.startswith(UNFINISHED) or path.is_symlink() or not path.is_dir():
        return False
    return all(OF_A_MODEL.fullmatch(inside.name) for inside in path.iterdir())
