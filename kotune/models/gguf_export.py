"""Write a merged model as one GGUF file, for llama.cpp and Ollama, with the package `gguf` alone.

What llama.cpp computes by itself is kept out of the file, and what it computes otherwise than transformers is put into the
weights: Gemma's norms multiply by 1 + w there and by w here, and Llama's rotation takes neighbours here and halves there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from kotune.models.chat_template import end_of_turn_id, render
from kotune.models.files import from_pretrained, load_tokenizer, model_path, prepare_libraries
from kotune.models.gguf_vocabulary import Vocabulary, vocabulary_of
from utils import CourseError, atomic_path, relative

if TYPE_CHECKING:
    from gguf import GGMLQuantizationType

OUTTYPES = ("bf16", "f16", "q8_0", "f32")  # llama.cpp's names; bf16 is what a merge writes, to the bit
PLAIN, LLAMA_3 = "default", "llama3"  # transformers' names of rotary embeddings: as it is, and as Llama 3.1 slows it
_F16_MAX = 65504  # a block's scale in q8_0 is an f16 too


@dataclass(frozen=True)
class Family:
    """How the models of one `model_type` are written: llama.cpp's name, its settings, and what its weights become.

    settings: adds what this family has beyond the common ones to a writer. change: a tensor's name, the tensor in float32
    and the configuration in, the tensor that llama.cpp expects out. rotations: the rotary embeddings that are written.
    """

    name: str  # for people
    architecture: str
    settings: Callable
    change: Callable
    rotations: tuple[str, ...] = (PLAIN,)


# --- families --------------------------------------------------------------------------------


def _rotation(config, kind: str = "full_attention") -> dict:
    """Return the parameters of the rotary embedding; Gemma 3 has those of two kinds of layers."""
    rotation = config.rope_parameters
    return rotation.get(kind, rotation)


def _add_nothing(writer, config) -> None:
    """Leave the common settings as they are."""


def _change_gemma(name: str, tensor, config):
    return tensor + 1 if name.endswith("norm.weight") else tensor


def _add_gemma_3(writer, config) -> None:
    writer.add_rope_freq_base_swa(_rotation(config, "sliding_attention")["rope_theta"])
    writer.add_sliding_window(config.sliding_window)
    writer.add_sliding_window_pattern(_period(config.layer_types))


def _period(kinds) -> int:
    """Return after how many layers one attends to everything: that layer is the last of each period.

    Raises:
        CourseError: the layers follow no period, which is all that GGUF can say of them.
    """
    first = next((place for place, kind in enumerate(kinds) if kind == "full_attention"), len(kinds))
    period = first + 1
    if any((kind == "full_attention") != ((place + 1) % period == 0) for place, kind in enumerate(kinds)):
        raise CourseError(
            "The model's full-attention layers follow no period, which GGUF cannot say; serve it with `kotune serve`."
        )
    return period


def _change_gemma_3(name: str, tensor, config):
    tensor = _change_gemma(name, tensor, config)
    if name.endswith("q_norm.weight"):
        # llama.cpp divides by the root of head_dim; what the model's own scale has beside it goes into the norm before
        tensor = tensor * (config.head_dim / config.query_pre_attn_scalar) ** 0.5
    return tensor


def _add_llama(writer, config) -> None:
    writer.add_vocab_size(config.vocab_size)
    writer.add_rope_dimension_count(config.head_dim)


def _change_llama(name: str, tensor, config):
    heads = {"q_proj.weight": config.num_attention_heads, "k_proj.weight": config.num_key_value_heads}
    number = heads.get(".".join(name.rsplit(".", 2)[-2:]))
    if number is None:
        return tensor
    rows, columns = tensor.shape
    return tensor.reshape(number, 2, rows // number // 2, columns).swapaxes(1, 2).reshape(rows, columns)


FAMILIES = {
    "gemma": Family("Gemma 1", "GEMMA", _add_nothing, _change_gemma),
    "gemma3_text": Family("Gemma 3 for text", "GEMMA3", _add_gemma_3, _change_gemma_3),
    "llama": Family("Llama 2, 3 and 3.1, SOLAR", "LLAMA", _add_llama, _change_llama, (PLAIN, LLAMA_3)),
}


def require_convertible(name: str) -> None:
    """Raise a CourseError if a model, by its folder or name, has no place in GGUF here; no weights are read."""
    config = _configuration(model_path(name))
    vocabulary_of(load_tokenizer(name), config.vocab_size)


def _configuration(name: str):
    prepare_libraries()
    from transformers import AutoConfig

    config = from_pretrained(AutoConfig, name)
    family = FAMILIES.get(config.model_type)
    if family is None:
        known = "; ".join(one.name for one in FAMILIES.values())
        raise CourseError(
            f"{name} is of the family {config.model_type}, and GGUF is written here for {known}; choose one of them."
        )
    for kind in ("full_attention", "sliding_attention"):
        rotation = _rotation(config, kind)["rope_type"]
        if rotation not in family.rotations:
            raise CourseError(
                f"{name} has the rotary embedding {rotation}, and GGUF is written here for {', '.join(family.rotations)}; "
                "serve it with `kotune serve`."
            )
    if config.model_type == "gemma3_text":
        _period(config.layer_types)
    return config


# --- the file --------------------------------------------------------------------------------


def to_gguf(folder: Path, outtype: str = OUTTYPES[0]) -> Path:
    """Write a merged model as GGUF beside its folder, with its tokenizer, chat template and end tokens; return the file.

    One tensor is in memory at a time. Vectors stay in float32, and matrices whose rows are no multiple of 32 in f16 where
    q8_0 is asked for, as llama.cpp's own converter leaves them.

    Raises:
        CourseError: as `require_convertible`; or a tensor has no place in llama.cpp, or no finite value in this type.
    """
    from gguf import GGUFWriter

    config = _configuration(str(folder))
    tokenizer = load_tokenizer(str(folder))
    family = FAMILIES[config.model_type]
    target = folder.with_name(f"{folder.name}-{outtype}.gguf")
    with atomic_path(target) as unfinished:
        writer = GGUFWriter(unfinished, _architecture_name(family))
        try:
            _add_settings(writer, folder.name, config, outtype)
            _add_tokenizer(writer, tokenizer, vocabulary_of(tokenizer, config.vocab_size))
            _write_tensors(writer, folder, config, outtype)
        finally:
            writer.close()
    return target


def _architecture_name(family: Family) -> str:
    from gguf import MODEL_ARCH, MODEL_ARCH_NAMES

    return MODEL_ARCH_NAMES[MODEL_ARCH[family.architecture]]


def _add_settings(writer, name: str, config, outtype: str) -> None:
    """Add what llama.cpp builds the network of."""
    from gguf import GGML_QUANT_VERSION, LlamaFileType

    writer.add_type("model")
    writer.add_name(name)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_key_length(config.head_dim)
    writer.add_value_length(config.head_dim)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(_rotation(config)["rope_theta"])
    FAMILIES[config.model_type].settings(writer, config)
    writer.add_file_type(LlamaFileType.ALL_F32 if outtype == "f32" else LlamaFileType[f"MOSTLY_{outtype.upper()}"])
    writer.add_quantization_version(GGML_QUANT_VERSION)


def _add_tokenizer(writer, tokenizer, vocabulary: Vocabulary) -> None:
    """Add the tokenizer, its template, and both tokens that end a reply: that of a turn, and that of a document."""
    writer.add_tokenizer_model(vocabulary.model)
    writer.add_tokenizer_pre(vocabulary.pre)
    writer.add_token_list(vocabulary.tokens)
    writer.add_token_types(vocabulary.types)
    if vocabulary.scores is not None:
        writer.add_token_scores(vocabulary.scores)
        writer.add_add_space_prefix(vocabulary.space_prefix)
    if vocabulary.merges is not None:
        writer.add_token_merges(vocabulary.merges)
    end = end_of_turn_id(tokenizer)
    writer.add_eot_token_id(end)
    writer.add_eos_token_id(end if tokenizer.eos_token_id is None else tokenizer.eos_token_id)
    for number, add in (
        (tokenizer.bos_token_id, writer.add_bos_token_id),
        (tokenizer.unk_token_id, writer.add_unk_token_id),
        (tokenizer.pad_token_id, writer.add_pad_token_id),
    ):
        if number is not None:
            add(number)
    # as in training: llama.cpp writes the first token where the template does, and not twice
    first = render(tokenizer, [{"role": "user", "content": "가"}]).ids[0]
    writer.add_add_bos_token(first == tokenizer.bos_token_id)
    writer.add_add_eos_token(False)
    writer.add_chat_template(tokenizer.chat_template)


@dataclass(frozen=True)
class _Placed:
    """A tensor of the model: its names here and there, its shape, its type in the file, and how to read it in float32."""

    name: str
    gguf_name: str
    shape: tuple[int, ...]
    kind: GGMLQuantizationType
    read: Callable


def _write_tensors(writer, folder: Path, config, outtype: str) -> None:
    """Write the head of the file, and then each tensor as it is read, changed and quantised."""
    import numpy as np
    from gguf import GGMLQuantizationType, quant_shape_to_byte_shape, quantize

    change = FAMILIES[config.model_type].change
    placed = list(_place_tensors(folder, config, outtype))
    for one in placed:
        stored = quant_shape_to_byte_shape(one.shape, one.kind)
        writer.add_tensor_info(one.gguf_name, stored, np.dtype(np.uint8), int(np.prod(stored)), one.kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    for one in placed:
        data = change(one.name, one.read(), config)
        if one.kind in (GGMLQuantizationType.F16, GGMLQuantizationType.Q8_0) and not np.abs(data).max() < _F16_MAX:
            raise CourseError(f"{one.name} has values beyond what {outtype} can hold; pass --outtype bf16.")
        writer.write_tensor_data(quantize(np.ascontiguousarray(data), one.kind))


def _place_tensors(folder: Path, config, outtype: str) -> Iterator[_Placed]:
    """Yield every tensor of a model with its place in llama.cpp.

    Raises:
        CourseError: a tensor has none, so that the model would compute something else without it.
    """
    from gguf import MODEL_ARCH, MODEL_TENSOR, TENSOR_NAMES, GGMLQuantizationType, get_tensor_name_map

    architecture = MODEL_ARCH[FAMILIES[config.model_type].architecture]
    names = get_tensor_name_map(architecture, config.num_hidden_layers)
    for name, shape, read in _tensors(folder):
        if name == "lm_head.weight" and config.tie_word_embeddings:
            continue  # the embedding, once more
        gguf_name = names.get_name(name, try_suffixes=(".weight",))
        if gguf_name is None:
            raise CourseError(
                f"{name} of {relative(folder)} has no place in llama.cpp's {architecture.name}; serve it with "
                "`kotune serve`."
            )
        yield _Placed(name, gguf_name, shape, _kind(shape, outtype), read)
    if _rotation(config)["rope_type"] == LLAMA_3:
        factors = _llama_3_factors(config)
        frequencies = f"{TENSOR_NAMES[MODEL_TENSOR.ROPE_FREQS]}.weight"
        yield _Placed(frequencies, frequencies, factors.shape, GGMLQuantizationType.F32, lambda: factors)


def _kind(shape: tuple[int, ...], outtype: str) -> GGMLQuantizationType:
    """Return the type that a tensor of this shape is stored in."""
    from gguf import GGMLQuantizationType

    if len(shape) == 1:
        return GGMLQuantizationType.F32
    if outtype == "q8_0" and shape[-1] % 32:
        return GGMLQuantizationType.F16
    return GGMLQuantizationType[outtype.upper()]


def _tensors(folder: Path) -> Iterator[tuple[str, tuple[int, ...], Callable]]:
    """Yield name, shape and reader of each tensor in a model's files; a reader returns float32."""
    from safetensors import safe_open

    for file in sorted(folder.glob("*.safetensors")):
        with safe_open(file, framework="pt") as opened:
            shapes = {name: tuple(opened.get_slice(name).get_shape()) for name in opened.keys()}  # noqa: SIM118
        for name, shape in shapes.items():
            yield name, shape, _reader(file, name)


def _reader(file: Path, name: str) -> Callable:
    def read():
        from safetensors import safe_open

        with safe_open(file, framework="pt") as opened:
            return opened.get_tensor(name).float().numpy()

    return read


def _llama_3_factors(config):
    """Return by how much Llama 3.1 slows each frequency of its rotation, (head_dim / 2,)."""
    import torch
    from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

    slowed, _ = ROPE_INIT_FUNCTIONS[LLAMA_3](config, torch.device("cpu"))
    plain = _rotation(config)["rope_theta"] ** -(torch.arange(0, config.head_dim, 2).float() / config.head_dim)
    return (plain / slowed).float().numpy()
