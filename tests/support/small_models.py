"""Small random models of many architectures, with plain forward passes to compare with."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers

from star_al.models.prompts import Prompt
from star_al.types import FloatArray
from support.tiny_model import build_tiny_model

VOCABULARY = 400

_SIZES: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 512,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}


def small_config(name: str, **settings: Any) -> Any:
    """Return the configuration ``<name>Config`` of two narrow layers; settings of ``None`` are left out."""
    values = {key: value for key, value in {**_SIZES, **settings}.items() if value is not None}
    return getattr(transformers, f"{name}Config")(**values)


def small_model(config: Any, *, seed: int = 0, spread: float = 0.15) -> Any:
    """Return a random causal language model in evaluation mode whose matrices have this standard deviation."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = transformers.AutoModelForCausalLM.from_config(config)
        for name, weight in model.named_parameters():
            if weight.ndim >= 2 and "A_log" not in name:
                torch.nn.init.normal_(weight, std=spread)
    model.tie_weights()
    return model.eval()


def save_small_model(folder: Path, config: Any, **settings: Any) -> Path:
    """Save a random model with a tokenizer of more or fewer tokens than it has."""
    build_tiny_model(folder)
    small_model(config, **settings).save_pretrained(folder)
    return folder


@torch.no_grad()
def plain_log_probs(model: Any, prompts: Sequence[Prompt]) -> FloatArray:
    """Return log-probabilities of labels (N, C), by a forward pass for each label of each prompt."""
    rows = []
    for prompt in prompts:
        sums = []
        for label in prompt.labels:
            ids = torch.tensor([[*prompt.tokens, *label]], device=model.device)
            steps = model(input_ids=ids, use_cache=False).logits[0].double().log_softmax(-1)
            start = len(prompt.tokens) - 1
            sums.append(sum(steps[start + depth, token] for depth, token in enumerate(label)))
        rows.append(torch.stack(sums).log_softmax(0))
    return np.asarray(torch.stack(rows).cpu())
