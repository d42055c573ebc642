"""Faults of a model are reported when it is loaded, and the reports are true."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from star_al.errors import ModelError
from star_al.models import devices
from star_al.models.backbone import load_backbone
from star_al.models.devices import DTYPES, resolve_dtype
from star_al.models.readout_checks import open_readout
from support.tiny_model import ARCHITECTURES, build_tiny_model


def tiny(folder: Path, *, dtype: str = "float32", architecture: str = "llama") -> Any:
    build_tiny_model(folder, architecture=architecture)
    return load_backbone(str(folder), revision=None, dtype=dtype, device="cpu").model


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_weight_that_is_no_number_is_named(architecture: str, tmp_path: Path) -> None:
    model = tiny(tmp_path, architecture=architecture)
    name, parameter = next(
        (name, p) for name, p in model.named_parameters() if ".1.mlp" in name and p.ndim == 2
    )
    parameter.data[0, 0] = torch.nan
    with pytest.raises(
        ModelError, match=rf"{re.escape(name)} holds NaN or infinity in float32. Check the model's weights"
    ):
        open_readout(model)


def test_a_broken_head_is_named(tmp_path: Path) -> None:
    model = tiny(tmp_path, architecture="gpt_neox")  # its head is not tied
    model.get_output_embeddings().weight.data[3] = torch.inf
    with pytest.raises(ModelError, match="holds NaN or infinity"):
        open_readout(model)


def test_overflowing_activations_are_distinguished_from_weights(tmp_path: Path) -> None:
    model = tiny(tmp_path)
    for layer in model.model.layers:
        layer.mlp.down_proj.weight.data.mul_(1e30)
        layer.mlp.up_proj.weight.data.mul_(1e30)
    with pytest.raises(
        ModelError, match=r"activations overflow float32 or are NaN\. Check the model's weights"
    ):
        open_readout(model)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_model_that_was_saved_in_float16_runs_in_the_dtype_asked(dtype: str, tmp_path: Path) -> None:
    model = tiny(tmp_path)
    model.half().save_pretrained(tmp_path)
    backbone = load_backbone(str(tmp_path), revision=None, dtype=dtype, device="cpu")
    assert {parameter.dtype for parameter in backbone.model.parameters()} == {DTYPES[dtype]}
    assert backbone.readout.dtype == DTYPES[dtype]


@pytest.mark.parametrize(("cost", "dtype", "slowness"), [(0.3, "bfloat16", 1.0), (60.0, "float32", 60.0)])
def test_a_slow_dtype_is_told_apart(
    cost: float, dtype: str, slowness: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(devices, "bfloat16_cost", lambda: cost)
    assert resolve_dtype("auto", torch.device("cpu")) == dtype
    assert devices.slowness_of("bfloat16", "cpu") == slowness
    assert devices.slowness_of("float32", "cpu") == devices.slowness_of("bfloat16", "cuda") == 1.0


@pytest.mark.parametrize("slow", [torch.bfloat16, torch.float32])
def test_a_dtype_far_slower_is_found_by_few_products(
    slow: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    multiply, products = torch.mm, list[torch.dtype]()

    def slowly(left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
        products.append(left.dtype)
        time.sleep(0.05 if left.dtype == slow else 0.0)
        return multiply(left.float(), right.float())

    monkeypatch.setattr(torch, "mm", slowly)
    cost = devices.bfloat16_cost.__wrapped__()
    assert cost > 4 if slow == torch.bfloat16 else cost < 0.25
    assert len(products) == 2 * devices.FEWEST_TRIES


@pytest.mark.parametrize(("supported", "dtype"), [(True, "bfloat16"), (False, "float32")])
def test_auto_never_is_float16(supported: bool, dtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **_: supported)
    assert resolve_dtype("auto", torch.device("cuda")) == dtype
    with pytest.raises(
        ModelError, match=r"'float16' cannot be used.*bfloat16 or float32\. Start a new campaign"
    ):
        resolve_dtype("float16", torch.device("cuda"))  # which rounds of an older version have recorded


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_model_that_sees_the_future_is_refused(dtype: str, tmp_path: Path) -> None:
    model = tiny(tmp_path, dtype=dtype)
    open_readout(model)
    model.model.layers[0].mlp.register_forward_hook(lambda _, __, out: out + out.mean(dim=1, keepdim=True))
    with pytest.raises(ModelError, match="lets tokens see what follows"):
        open_readout(model)


def test_a_model_of_another_build_is_refused_in_one_line(tmp_path: Path) -> None:
    """What transformers calls its decoder is a dense layer."""
    sizes = {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    tokens = dict.fromkeys(
        ("pad_token_id", "bos_token_id", "eos_token_id", "cls_token_id", "sep_token_id"), 0
    )
    config = transformers.ModernBertDecoderConfig(vocab_size=480, **sizes, **tokens)  # type: ignore[arg-type]
    transformers.ModernBertDecoderForCausalLM(config).save_pretrained(tmp_path)
    backbone = load_backbone(str(tmp_path), revision=None, dtype="float32", device="cpu")
    with pytest.raises(ModelError, match=r"^ModernBertDecoderForCausalLM changes its logits in a way"):
        _ = backbone.readout
