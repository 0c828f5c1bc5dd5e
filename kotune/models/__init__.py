"""Language models: what this machine can run, loading, the renderer, adapters, sampling and merging.

`machine` chooses a recipe, `memory` reckons what it takes, `files` finds a model's files, `weight_files` holds them to
their sums and refuses pickles, `loading` loads it, and `chat_template` renders messages into tokens. `adapters` and
`reward_model` hold what training leaves, and `surface_baseline` judges by form alone, for a reward model to beat. `sampling`
and `decoding` write text: by `rounds`, with weights that `packing` puts in order, as many rows as `room` says, and what
rounds cannot do by `padded_batches`. `sources` says which model a path stands for, and `merging` makes a whole model of an
adapter. `gguf_export` writes that for llama.cpp, its tokenizer by `gguf_vocabulary`; `gguf_header` reads such a file's
front, and `packaged_gguf` joins one out of packages.
"""

from kotune.models.adapters import (
    adapter_hash,
    add_adapter,
    find_adapters,
    load_adapter,
    merge_adapter,
    merge_chain,
    require_adapter,
)
from kotune.models.chat_template import END_OF_TURN, label_table, render
from kotune.models.decoding import generate, stream
from kotune.models.files import load_tokenizer
from kotune.models.loading import load_model, save_merged
from kotune.models.machine import choose
from kotune.models.reward_model import load_reward_model, pair_accuracy
from kotune.models.surface_baseline import surface_accuracy

__all__ = [
    "END_OF_TURN",
    "adapter_hash",
    "add_adapter",
    "choose",
    "find_adapters",
    "generate",
    "label_table",
    "load_adapter",
    "load_model",
    "load_reward_model",
    "load_tokenizer",
    "merge_adapter",
    "merge_chain",
    "pair_accuracy",
    "render",
    "require_adapter",
    "save_merged",
    "stream",
    "surface_accuracy",
]
