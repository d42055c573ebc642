"""Sizes of models without their weights, and the speed of this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, MixtralConfig

from star_al.models.speed import parameters_used, products_per_second
from support.tiny_model import ARCHITECTURES, build_tiny_model


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_parameters_are_counted_from_the_configuration(architecture: str, tmp_path: Path) -> None:
    folder = build_tiny_model(tmp_path / "m", architecture=architecture)
    model = AutoModelForCausalLM.from_pretrained(folder)
    embeddings = {id(each.weight) for each in (model.get_input_embeddings(), model.get_output_embeddings())}
    counted = sum(each.numel() for each in model.parameters() if id(each) not in embeddings)
    for file in folder.glob("*.safetensors"):
        file.unlink()
    assert parameters_used(str(folder), None) == counted > 0


def test_of_experts_only_those_in_use_count(tmp_path: Path) -> None:
    sizes: dict[str, Any] = {
        "hidden_size": 16,
        "intermediate_size": 32,
        "num_hidden_layers": 2,
        "vocab_size": 50,
    }
    heads: dict[str, Any] = {"num_attention_heads": 2, "num_key_value_heads": 2}

    def counted(experts: int, used: int) -> float | None:
        config = MixtralConfig(**sizes, **heads, num_local_experts=experts, num_experts_per_tok=used)
        config.save_pretrained(tmp_path)
        return parameters_used(str(tmp_path), None)

    all_used, one_used = counted(8, 8), counted(8, 1)
    assert all_used is not None and one_used is not None
    assert all_used - one_used == 7 * 2 * 3 * 16 * 32


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("HuggingFaceTB/SmolLM2-135M-Instruct", 135e6),
        ("Qwen/Qwen3-0.6B", 0.6e9),
        ("my/model", None),
        ("my/v2-large", None),
    ],
)
def test_a_name_may_tell_the_size(
    name: str, parameters: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert parameters_used(name, None) == parameters


def test_products_are_timed_with_the_threads_as_they_were() -> None:
    threads = torch.get_num_threads()
    assert products_per_second("cpu", "float32") > 1e6
    assert torch.get_num_threads() == threads
