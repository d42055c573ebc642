"""Build a tiny random model of any architecture that transformers knows, for ``sweep_architectures.py``.

A configuration is made of the class's own defaults, with every field of size, count or window made small. What
architectures need besides that is in ``OVERRIDES``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers.models.auto.modeling_auto import (
    MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
    MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES,
)

LAYERS = 4
"""Blocks, enough for one of each kind in most models that mix them."""
RESERVED = 50
"""Rows of the embedding beyond the tokenizer's, for tokens of images and the like."""
WINDOW = 16
"""Tokens that a layer with local attention sees. Texts are longer."""
POSITIONS = 256
"""Tokens that a model can read."""

SIZES: tuple[tuple[str, object], ...] = (
    (r"vocab_size|.*_vocab_size|vocab_size_.*", "vocabulary"),
    (r"full_attention_interval|(attn|expert)_layer_period|sliding_window_pattern|layer_group_size", 2),
    (r"global_attn_every_n_layers", 2),
    (r"(attn|expert)_layer_offset", 1),
    (r"rotary_dim", 4),
    (r"index_head_dim", 32),  # with few features, scores of an indexer tie
    (r"index_n_heads|index_num_heads", 16),
    (r"mamba_(d_head|head_?dim)", 16),
    (r"(.*_)?(head_dim|d_kv|head_size|d_head|kv_channels)", 8),
    (r"qk_nope_head_dim|qk_rope_head_dim|v_head_dim", 8),
    (r"(.*_)?(lora_rank|rank|lora_dim)", 8),
    (r"(.*_)?(state_size|d_state|state_dim)", 8),
    (r"moe_.*intermediate_size|expert_.*size|shared_expert_intermediate_size|.*expert_hidden_size", 32),
    (r"(.*_)?(intermediate_size|ffn_dim|d_ff|n_inner|d_inner|ffn_hidden_size)", 64),
    (r"(.*_)?(mlp_dim|inner_dim|intermediate_dim)", 64),
    (r"(.*_)?(hidden_size|d_model|n_embd|embed_dim|hidden_dim|embedding_size|projection_dim|proj_dim)", 32),
    (r"dim", 32),
    (r"(.*_)?(num_hidden_layers|n_layers?|num_layers|encoder_layers|decoder_layers|depth)", LAYERS),
    (r"(.*_)?(num_key_value_heads|num_kv_heads|n_kv_heads?|kv_n_heads|kv_heads|num_key_heads)", 2),
    (r"(.*_)?(num_attention_heads|num_heads|n_heads?|attention_heads|num_value_heads|mamba_heads)", 4),
    (r"(.*_)?(n_groups|ngroups)", 2),
    (r"max_position_embeddings|n_positions|n_ctx|max_.*length|max_seq_len|model_max_length", POSITIONS),
    (r"seq_length|context_length", POSITIONS),
    (r"(.*_)?(sliding_window(_size)?|attention_window(_size)?|window_size)", WINDOW),
    (r"local_attention|attention_chunk_size|index_topk", WINDOW),
    (r"num_experts|num_local_experts|n_routed_experts|moe_num_experts|num_routed_experts", 4),
    (r"num_experts_per_tok|num_experts_per_token|moe_top_?k|moe_k|top_k_experts|experts_per_token", 2),
    (r"n_shared_experts|num_shared_experts|moe_num_shared_experts", 1),
    (r"n_group|num_expert_group|topk_group|first_k_dense_replace", 1),
    (r"image_size", 28),
    (r"patch_size|(.*_)?temporal_patch_size", 14),
    (r"chunk_size|mamba_chunk_size", 8),
)
"""Fields by pattern of their names; the first that matches counts."""

OVERRIDES: Mapping[str, Mapping[str, Any]] = {
    "cohere_compass_text": {"layer_types": ["sliding_attention", "full_attention"] * 2},
    "dbrx": {
        "attn_config.rope_theta": 10000.0,
        "rope_parameters": {"rope_type": "default", "rope_theta": 1e4},
    },
    "dots1": {"n_routed_experts": 4, "num_experts_per_tok": 2, "n_shared_experts": 1},
    "dots3_note_text": {"num_key_value_heads": 4},
    "gemma3n_text": {"num_kv_shared_layers": 0},
    "glm5_next": {"text_config.num_key_value_heads": 4},
    "gpt_neo": {"attention_types": [[["global", "local"], 2]]},
    "hunyuan_v1_dense": {"head_dim": 8},
    "hunyuan_v1_moe": {"head_dim": 8},
    "lfm2_moe": {"layer_types": ["conv", "full_attention"] * 2},
    "mamba2": {"num_heads": 4, "head_dim": 16},
    "ministral": {"head_dim": 8},
    "nemotron": {"num_key_value_heads": 2},
    "nemotron_h": {"mamba_num_heads": 4},
    "reformer": {"axial_pos_embds": False},
    "xmod": {"default_language": "en_XX"},
    "zamba": {
        "layer_types": ["mamba", "hybrid"] * 2,
        "attention_hidden_size": 64,
        "attention_head_dim": 16,
    },
    "zamba2": {
        "layer_types": ["mamba", "hybrid"] * 2,
        "attention_hidden_size": 64,
        "attention_head_dim": 16,
        "mamba_headdim": 16,
        "mamba_ngroups": 1,
    },
}
"""Further settings of model types. A setting of an inner configuration is named ``text_config.hidden_size``."""


class UnbuiltError(Exception):
    """A tiny model could not be made; says why."""


def architectures() -> dict[str, bool]:
    """Return all model types with a head for text, and whether transformers loads them as causal language models."""
    causal = dict.fromkeys(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES, True)
    return {**dict.fromkeys(MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES, False), **causal}


def save_tiny(folder: Path, model_type: str, tokenizer: Any, *, causal: bool = True) -> None:
    """Save a tiny random model and the tokenizer.

    Args:
        folder: An empty folder.
        model_type: A key of ``architectures``.
        tokenizer: Its length, with ``RESERVED``, becomes the size of the vocabulary.
        causal: False to write the configuration with weights that no model has.

    Raises:
        UnbuiltError: The model could not be made.
    """
    tokenizer.save_pretrained(folder)
    try:
        config = tiny_config(model_type, len(tokenizer) + RESERVED)
        if not causal:
            from safetensors.torch import save_file

            config.save_pretrained(folder)
            save_file({"none": torch.zeros(1)}, folder / "model.safetensors")
            return
        model = transformers.AutoModelForCausalLM.from_config(config).eval()
        _randomise(model)
        with torch.no_grad():
            model(input_ids=torch.arange(2 * WINDOW)[None] + 3, use_cache=False)
        model.save_pretrained(folder)
    except Exception as exc:
        raise UnbuiltError(f"{type(exc).__name__}: {' '.join(str(exc).split())[:300]}") from exc


def tiny_config(model_type: str, vocabulary: int) -> Any:
    """Return a configuration of the model type in which everything is small."""
    kind = transformers.CONFIG_MAPPING[model_type]
    further = OVERRIDES.get(model_type, {})
    config = kind(**_settings(kind, vocabulary, further))
    if not hasattr(config, "model_type"):
        raise ValueError("no model type")
    return config


def _settings(kind: Any, vocabulary: int, further: Mapping[str, Any]) -> dict[str, Any]:
    default = kind()
    inner = getattr(kind, "sub_configs", {})
    settings: dict[str, Any] = {}
    for name, value in default.to_dict().items():
        if name in inner:
            continue
        small = _small(name, value, vocabulary)
        if small is not None:
            settings[name] = small
    for name in inner:
        own = getattr(default, name, None)
        if own is None:
            continue
        start = f"{name}."
        below = {key.removeprefix(start): value for key, value in further.items() if key.startswith(start)}
        settings[name] = {"model_type": own.model_type, **_settings(type(own), vocabulary, below)}
    if "kv_lora_rank" in settings:  # latent attention makes keys and values for every head
        settings["num_key_value_heads"] = settings.get("num_attention_heads", 4)
    own_settings = {key: value for key, value in further.items() if "." not in key}
    return {key: value for key, value in {**settings, **own_settings}.items() if value is not ...}


def _small(name: str, value: object, vocabulary: int) -> object:
    """Return a small value for a field, or ``None`` to keep the class's default."""
    if re.search(r"dropout|pdrop|drop_rate|jitter|layerdrop", name) and isinstance(value, float):
        return 0.0
    if name == "is_decoder":
        return True
    if isinstance(value, bool) or not isinstance(value, int):
        return None
    if re.fullmatch(r".*_token_(id|index)|.*_index", name):
        return _token(name, value, vocabulary)
    for pattern, small in SIZES:
        if re.fullmatch(pattern, name):
            size = vocabulary if small == "vocabulary" else int(str(small))
            return size if small == "vocabulary" or 0 < size < value else value
    return 32 if value >= 512 else None


def _token(name: str, value: int, vocabulary: int) -> int | None:
    known = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
    if name in known:
        return known[name]
    if value < 3:
        return None
    return vocabulary - 1 - sum(name.encode()) % RESERVED  # a token that no text has


def _randomise(model: Any) -> None:
    """Give all matrices weights large enough that texts and labels differ clearly."""
    generator = torch.Generator().manual_seed(0)
    for name, weight in model.named_parameters():
        if weight.ndim >= 2 and not re.search(r"conv|A_log|norm", name):
            weight.data = torch.randn(weight.shape, generator=generator).to(weight.dtype) * 0.15
        elif name.endswith("scale") and not weight.any():
            weight.data.fill_(0.5)  # zero in a new model, and what it scales has no effect
    model.tie_weights()
