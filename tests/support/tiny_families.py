"""A tiny model of each family that ships, with a small vocabulary of its family's kind and weights that are not all alike."""

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import (
    Gemma3ForCausalLM,
    Gemma3TextConfig,
    GemmaConfig,
    GemmaForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
)

from kotune.models.chat_template import prepare_tokenizer, stop_ids

TEXTS = [
    "확정일자는 주민센터나 등기소에서 받을 수 있습니다.\n\n전입신고는 이사한 날부터 14일 이내에 합니다.",
    "전세와 월세의 차이를 세 문장으로 설명해 주세요.   보증금 5,000만 원, 월 45만 원!",
    "What does a lease contract say? (LTV) 70% 「한도」, 금리 3.5%",
    "### 입력:\n전세란 무엇인가요?\n\n### 출력:\n보증금을 맡기고 사는 방식입니다.",
]
BYTES = [f"<0x{number:02X}>" for number in range(256)]
GEMMA_SPECIAL = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>", "<start_of_turn>", "<end_of_turn>"]
LLAMA_3_SPECIAL = [
    "<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>",
    "<|finetune_right_pad_id|>",
]  # fmt: skip
LLAMA_3_WORDS = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def sentence_piece(special, plain=(), prefix=False, **named):
    """A SentencePiece vocabulary as transformers keeps one: merges in the order of the scores, bytes for what is unknown."""
    trained = Tokenizer(models.BPE())
    trained.pre_tokenizer = pre_tokenizers.Metaspace()
    trained.train_from_iterator(TEXTS * 5, trainers.BpeTrainer(vocab_size=330, show_progress=False))
    learnt = sorted(trained.get_vocab(), key=trained.get_vocab().get)
    pieces = [*special, *plain, *BYTES, *learnt]
    pieces = list(dict.fromkeys(pieces))
    known = set(pieces)
    merges = [
        (piece[:cut], piece[cut:])
        for piece in learnt
        for cut in range(1, len(piece))
        if piece[:cut] in known and piece[cut:] in known
    ]
    vocabulary = {piece: number for number, piece in enumerate(pieces)}
    tokenizer = Tokenizer(
        models.BPE(vocab=vocabulary, merges=merges, byte_fallback=True, fuse_unk=True, unk_token=named["unk_token"])
    )
    steps = [normalizers.Prepend("▁")] if prefix else []
    tokenizer.normalizer = normalizers.Sequence([*steps, normalizers.Replace(" ", "▁")])
    ending = [decoders.Strip(" ", 1, 0)] if prefix else []
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), *ending])
    tokenizer.add_special_tokens(list(special))
    tokenizer.add_tokens(list(plain))
    first = named["bos_token"]
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{first} $A", special_tokens=[(first, vocabulary[first])]
    )
    return prepare_tokenizer(PreTrainedTokenizerFast(tokenizer_object=tokenizer, **named))


def gemma_tokenizer():
    named = {"bos_token": "<bos>", "eos_token": "<eos>", "unk_token": "<unk>", "pad_token": "<pad>"}
    return sentence_piece(GEMMA_SPECIAL, plain=("\n", "\n\n", "<table>"), **named)


def llama_2_tokenizer():
    named = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
    return sentence_piece(["<unk>", "<s>", "</s>"], prefix=True, **named)


def llama_3_tokenizer():
    bpe = Tokenizer(models.BPE(ignore_merges=True))
    bpe.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(LLAMA_3_WORDS), "isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
    ])  # fmt: skip
    bpe.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    bpe.train_from_iterator(
        TEXTS * 5,
        trainers.BpeTrainer(vocab_size=600, special_tokens=LLAMA_3_SPECIAL, initial_alphabet=alphabet, show_progress=False),
    )
    named = {"bos_token": "<|begin_of_text|>", "eos_token": "<|end_of_text|>"}
    return prepare_tokenizer(PreTrainedTokenizerFast(tokenizer_object=bpe, **named))


SHAPE = {
    "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
    "max_position_embeddings": 512,
}  # fmt: skip
LLAMA_3_1_ROTATION = {
    "rope_type": "llama3", "rope_theta": 1000.0, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
    "original_max_position_embeddings": 32,
}  # fmt: skip


def _gemma_3(ids):
    # one layer sees four tokens back, one sees everything; each has a rotation of its own, and the query's scale is unusual
    return Gemma3ForCausalLM(
        Gemma3TextConfig(
            **ids,
            **SHAPE,
            head_dim=32,
            sliding_window=4,
            query_pre_attn_scalar=20,
            layer_types=["sliding_attention", "full_attention"],
        )
    )


def _gemma_1(ids):
    return GemmaForCausalLM(GemmaConfig(**ids, **{**SHAPE, "num_key_value_heads": 1}, head_dim=32))


def _llama(ids, **more):
    return LlamaForCausalLM(LlamaConfig(**ids, **SHAPE, tie_word_embeddings=False, **more))


FAMILIES = {
    "gemma 3": (gemma_tokenizer, _gemma_3),
    "gemma 1": (gemma_tokenizer, _gemma_1),
    "llama 2": (llama_2_tokenizer, _llama),
    "llama 3.1": (llama_3_tokenizer, lambda ids: _llama(ids, rope_parameters=LLAMA_3_1_ROTATION)),
}


def make(family: str):
    """Return (model, tokenizer) of a family; its vocabulary has a few rows more than the tokenizer, as the real ones have."""
    import torch

    make_tokenizer, make_model = FAMILIES[family]
    tokenizer = make_tokenizer()
    torch.manual_seed(0)
    ids = {
        "vocab_size": len(tokenizer) + 3, "pad_token_id": tokenizer.pad_token_id, "eos_token_id": tokenizer.eos_token_id,
        "bos_token_id": tokenizer.bos_token_id,
    }  # fmt: skip
    model = make_model(ids).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            # a norm that does nothing and logits that are all alike would hide what is stored wrongly
            parameter.normal_(0.0, 0.3) if parameter.dim() > 1 else parameter.add_(torch.randn_like(parameter) * 0.2)
        model.tie_weights()
    model.generation_config.eos_token_id = stop_ids(tokenizer)
    return model, tokenizer
