"""A Gemma 3 that is small enough to be made for a test."""


def make_tiny_gemma(tokenizer):
    """Return a Gemma 3 of two narrow layers with random weights and the real vocabulary, which ends where the real one does."""
    import torch
    from transformers import Gemma3ForCausalLM, Gemma3TextConfig

    from kotune.models.chat_template import stop_ids

    torch.manual_seed(0)
    config = Gemma3TextConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=16,
        sliding_window=64,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
        bos_token_id=tokenizer.bos_token_id,
    )
    model = Gemma3ForCausalLM(config).eval()
    model.generation_config.eos_token_id = stop_ids(tokenizer)
    return model
