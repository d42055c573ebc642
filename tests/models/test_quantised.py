"""Each posterior on a quantised base model equals that on the dequantised weights."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers.quantizers import quantizer_bnb_4bit

from star_al.config.spec import AdapterSpec
from star_al.errors import ModelError
from star_al.models.backbone import Backbone, load_backbone
from star_al.models.devices import DTYPES
from star_al.models.fused_lora import fused_lora_layers
from star_al.models.lora import attached, lora_layers
from star_al.models.quantised import has_float_weight
from star_al.models.target_layers import choose_layers, dense_layers
from support.posteriors import EVERY, fit, ignore, items, learner, predict
from support.quantised_models import INT8, NF4, dequantised, quantise
from support.tiny_model import build_tiny_model


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_tiny_model(tmp_path_factory.mktemp("model") / "base")


@pytest.fixture(scope="module")
def nf4(base: Path) -> Path:
    return quantise(base, base.with_name("nf4"), **NF4)


@pytest.fixture(scope="module")
def int8(base: Path) -> Path:
    return quantise(base, base.with_name("int8"), **INT8)


def backbone(folder: Path, dtype: str = "float32") -> Backbone:
    return load_backbone(str(folder), revision=None, dtype=dtype, device="cpu")


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("bits", ["nf4", "int8"])
@pytest.mark.parametrize("name", sorted(EVERY))
def test_each_posterior_trains_and_samples_and_reloads(
    name: str, bits: str, dtype: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    model, posterior = request.getfixturevalue(bits), {**EVERY[name]}
    if name.startswith(
        "tfb"
    ):  # its default is below bfloat16's own rounding: some processors would leave it no noise
        posterior["tolerance"] = 0.1
    one = learner(model, posterior, dtype=dtype)
    before = one.base_predict(items(), ignore)
    folder = fit(one, tmp_path / "a")
    for left, right in zip(before, one.base_predict(items(), ignore), strict=True):
        np.testing.assert_array_equal(left.log_probs_C, right.log_probs_C)
    samples, mean = predict(one, folder), predict(one, folder, mean=True)
    assert np.isfinite(samples).all() and np.isfinite(mean).all()
    assert (np.abs(samples - mean).max() > 1e-3) == (name != "map")
    fresh = learner(model, posterior, dtype=dtype)
    np.testing.assert_array_equal(predict(fresh, folder), samples)
    np.testing.assert_array_equal(predict(fresh, folder, mean=True), mean)


@pytest.mark.parametrize("name", sorted(EVERY))
def test_a_posterior_is_that_of_the_dequantised_model(name: str, nf4: Path, tmp_path: Path) -> None:
    """Training, curvature and samples agree, though dequantised weights are merged and quantised ones are not."""
    here, there = (learner(model, EVERY[name]) for model in (nf4, dequantised(nf4)))
    expected = predict(there, fit(there, tmp_path / "there"))
    found = predict(here, fit(here, tmp_path / "here"))
    np.testing.assert_allclose(found, expected, atol=1e-3)


@pytest.mark.parametrize("name", ["clora", "laplace", "mc_dropout"])
def test_eight_bits_that_round_inputs_too_are_nearly_the_dequantised(
    name: str, int8: Path, tmp_path: Path
) -> None:
    here, there = (learner(model, EVERY[name]) for model in (int8, dequantised(int8)))
    expected = predict(there, fit(there, tmp_path / "there"))
    found = predict(here, fit(here, tmp_path / "here"))
    difference = np.abs(np.exp(found) - np.exp(expected)).mean()
    assert difference < 0.03  # 0.002; 0.02 on processors without VNNI, whose sums saturate; untrained: 0.05


def test_so_it_is_above_a_frozen_trunk(nf4: Path, tmp_path: Path) -> None:
    here, there = (
        learner(model, EVERY["mc_dropout"], adapter={"layers": 1}) for model in (nf4, dequantised(nf4))
    )
    expected = predict(there, fit(there, tmp_path / "there"))
    np.testing.assert_allclose(predict(here, fit(here, tmp_path / "here")), expected, atol=1e-3)


@pytest.mark.parametrize(
    ("bits", "saved"), [("4bit", NF4 | {"bnb_4bit_use_double_quant": True}), ("8bit", INT8)]
)
def test_weights_quantised_when_loaded_are_those_saved_quantised(
    bits: str, saved: dict[str, Any], base: Path, tmp_path: Path
) -> None:
    folder = quantise(base, tmp_path / "saved", **saved)
    here, there = learner(base, EVERY["laplace"], model={"quantise": bits}), learner(folder, EVERY["laplace"])
    expected = predict(there, fit(there, tmp_path / "there"))
    np.testing.assert_array_equal(predict(here, fit(here, tmp_path / "here")), expected)
    assert not any(has_float_weight(layer) for layer in dense_layers(here.backbone.model).values())


def test_another_quantisation_is_another_model(base: Path) -> None:
    keys = {learner(base, model={"quantise": bits}).base_key for bits in ("none", "8bit", "4bit")}
    assert len(keys) == 3
    assert (
        learner(base).backbone.fingerprint == learner(base, model={"quantise": "none"}).backbone.fingerprint
    )


def test_a_model_that_was_saved_quantised_is_not_quantised_again(nf4: Path) -> None:
    with pytest.raises(ModelError, match=r"was saved quantised\. Leave out model\.quantise"):
        _ = learner(nf4, model={"quantise": "4bit"}).backbone.model


def test_a_quantiser_that_is_missing_is_named_before_anything_is_loaded(
    base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(ModelError, match=r"model\.quantise: 8bit needs bitsandbytes.*star-al\[quantised\]"):
        _ = learner(base, model={"quantise": "8bit"}).backbone


@pytest.mark.parametrize("architecture", ["gpt2", "gpt_neox", "qwen2"])
def test_so_it_is_with_biases_and_transposed_weights(architecture: str, tmp_path: Path) -> None:
    """GPT-2's layers change their class when they are quantised."""
    base = build_tiny_model(tmp_path / "base", architecture=architecture)
    give_biases(base)
    model = quantise(base, tmp_path / "nf4", **NF4)
    here, there = (learner(folder, EVERY["laplace"]) for folder in (model, dequantised(model)))
    expected = predict(there, fit(there, tmp_path / "there"))
    np.testing.assert_allclose(predict(here, fit(here, tmp_path / "here")), expected, atol=1e-3)


def give_biases(folder: Path) -> None:
    """Set random biases instead of zeros."""
    tensors = load_file(folder / "model.safetensors")
    generator = torch.Generator().manual_seed(0)
    for name, tensor in tensors.items():
        if name.endswith(".bias"):
            tensor.normal_(generator=generator)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def test_gradients_pass_a_layer_that_has_inferred(nf4: Path) -> None:
    """On some CPUs bitsandbytes repacks weights for inference and then lacks the gradient of the input."""
    model = backbone(nf4).model
    modules: dict[str, Any] = dict(dense_layers(model))
    name, layer = next(iter(modules.items()))
    x = torch.ones(3, layer.in_features)
    with torch.inference_mode():
        layer(x)
    x.requires_grad_()
    layer(x).sum().backward()
    expected = backbone(dequantised(nf4)).model.get_submodule(name).weight.sum(dim=0).expand_as(x)
    torch.testing.assert_close(x.grad, expected)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_what_is_not_quantised_runs_in_the_dtype_of_the_campaign(
    base: Path, tmp_path: Path, dtype: str
) -> None:
    """transformers loads such weights in the dtype they were saved in."""
    saved = "bfloat16" if dtype == "float32" else "float32"
    model = quantise(base, tmp_path / "other", dtype=saved, **NF4)
    one = backbone(model, dtype)
    assert one.readout.hidden(torch.arange(4)[None]).dtype == DTYPES[dtype]
    assert not any(has_float_weight(layer) for layer in dense_layers(one.model).values())


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_gradients_too_small_for_float16_pass_a_layer_that_was_saved_to_compute_in_it(
    base: Path, tmp_path: Path, dtype: str
) -> None:
    model = quantise(base, tmp_path / "half", dtype="float16", **{**NF4, "bnb_4bit_compute_dtype": "float16"})
    layer: Any = next(iter(dense_layers(backbone(model, dtype).model).values()))
    x = torch.ones(1, 3, layer.in_features, dtype=DTYPES[dtype], requires_grad=True)
    (1e-9 * layer(x)).sum().backward()
    assert x.grad is not None and x.grad.dtype == DTYPES[dtype] and (x.grad != 0).all()


def test_adapters_are_float32_and_the_layers_come_back(nf4: Path) -> None:
    model = backbone(nf4, "bfloat16").model
    before = dict(model.named_modules())
    with attached(model, AdapterSpec()) as wrapped:
        layers = lora_layers(wrapped)
        assert layers.keys() == {name for name in before if name.endswith("_proj")}
        assert {p.dtype for p in wrapped.parameters() if p.requires_grad} == {torch.float32}
    assert dict(model.named_modules()) == before


def test_a_library_that_is_missing_is_named(nf4: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quantizer_bnb_4bit, "is_bitsandbytes_available", lambda: False)
    with pytest.raises(ModelError, match=r"requires bitsandbytes.*\. Install star-al\[quantised\]") as caught:
        _ = backbone(nf4).model
    assert "\n" not in str(caught.value)


def test_a_quantised_head_is_refused(tmp_path: Path) -> None:
    base = build_tiny_model(tmp_path / "base", architecture="gpt_neox")
    model = quantise(base, tmp_path / "all", llm_int8_skip_modules=["none"], **NF4)
    with pytest.raises(ModelError, match=r"output head is quantised.*Quantise the model without its head"):
        _ = backbone(model).readout


def test_layers_of_another_kind_are_refused() -> None:
    class Foreign(nn.Module):
        def get_output_embeddings(self) -> None:
            return None

        def get_decoder(self) -> nn.Module:
            return nn.Embedding(2, 2)

        base_model = property(get_decoder)

    with pytest.raises(ModelError, match="Foreign has no dense layers"):
        choose_layers(Foreign(), AdapterSpec())


class Codes(Tensor):
    """A library's tensor that looks like a float matrix, like those of torchao."""


def test_a_tensor_of_a_library_is_no_plain_weight(base: Path) -> None:
    """nn.Linear keeps its type with such a weight, but the lean layers could not read it."""
    model = backbone(base).model
    model.model.layers[0].self_attn.q_proj.weight = nn.Parameter(
        model.model.layers[0].self_attn.q_proj.weight.data.as_subclass(Codes), requires_grad=False
    )
    with attached(model, AdapterSpec()) as wrapped, fused_lora_layers(wrapped):
        lean = {name for name, layer in lora_layers(wrapped).items() if "forward" in vars(layer)}
        assert lean == lora_layers(wrapped).keys() - {"model.layers.0.self_attn.q_proj"}
