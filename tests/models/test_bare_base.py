"""The base model is the bare weights: adapters beside them are refused, and training leaves it as it was."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import peft
import pytest
import torch
import transformers

from star_al.errors import ModelError
from star_al.models.backbone import load_backbone
from star_al.models.bare_base import left_as_it_was, require_bare
from support.posteriors import EVERY, fit, ignore, items, learner
from support.tiny_model import build_tiny_model


def adapter_in(folder: Path, model: Path, **settings: Any) -> Path:
    """Save an adapter of ``model`` into ``folder``."""
    base = transformers.AutoModelForCausalLM.from_pretrained(model)
    config = peft.LoraConfig(r=2, target_modules=["q_proj"], task_type="CAUSAL_LM", init_lora_weights=False)
    wrapped = peft.get_peft_model(base, config)
    wrapped.peft_config["default"].base_model_name_or_path = settings.get("base", "someone/base")
    wrapped.save_pretrained(str(folder))
    return folder


def open_model(folder: Path) -> Any:
    return load_backbone(str(folder), revision=None, dtype="float32", device="cpu")


def test_an_adapter_beside_the_weights_is_refused(tmp_path: Path) -> None:
    folder = build_tiny_model(tmp_path / "m")
    adapter_in(folder, folder)
    with pytest.raises(ModelError) as caught:
        learner(folder, EVERY["map"]).check(items())
    message = str(caught.value)
    assert "is an adapter beside the model's weights" in message
    assert "move adapter_config.json and adapter_model.safetensors out" in message
    assert "merge_and_unload" in message


def test_without_its_files_the_folder_is_the_bare_model(tmp_path: Path) -> None:
    """The advice works."""
    folder = build_tiny_model(tmp_path / "m")
    before = learner(folder, EVERY["map"]).base_predict(items(), ignore)
    adapter_in(folder, folder)
    for name in ("adapter_config.json", "adapter_model.safetensors"):
        (folder / name).unlink()
    after = learner(folder, EVERY["map"]).base_predict(items(), ignore)
    for left, right in zip(before, after, strict=True):
        np.testing.assert_array_equal(left.log_probs_C, right.log_probs_C)


def test_an_adapter_is_no_model(tmp_path: Path) -> None:
    folder = adapter_in(tmp_path / "a", build_tiny_model(tmp_path / "m"))
    with pytest.raises(
        ModelError,
        match=r"holds an adapter of 'someone/base', not a model\. Set model\.name to 'someone/base'",
    ):
        open_model(folder)
    (folder / "adapter_config.json").write_text("[]")
    with pytest.raises(
        ModelError, match=r"holds an adapter, not a model\. Set model\.name to its base model"
    ):
        open_model(folder)


def test_an_adapter_on_the_hub_is_no_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = adapter_in(tmp_path / "a", build_tiny_model(tmp_path / "m"))
    monkeypatch.setattr("star_al.models.backbone.download_model", lambda *_, **__: folder)
    with pytest.raises(ModelError, match=r"model 'someone/adapter': .* not a model"):
        load_backbone("someone/adapter", revision=None, dtype="float32", device="cpu")


def test_a_model_with_layers_of_an_adapter_is_refused(tmp_path: Path) -> None:
    model = open_model(build_tiny_model(tmp_path / "m")).model
    require_bare(model, tmp_path)
    config = peft.LoraConfig(r=2, target_modules=["q_proj"], task_type="CAUSAL_LM")
    peft.inject_adapter_in_model(config, model)
    with pytest.raises(ModelError, match=r"with an adapter in its layer model\.layers\.0\.self_attn\.q_proj"):
        require_bare(model, tmp_path)


@pytest.mark.parametrize("name", EVERY)
def test_predictions_of_the_base_are_the_same_after_a_training(name: str, tmp_path: Path) -> None:
    one = learner(build_tiny_model(tmp_path / "m"), EVERY[name])
    before = one.base_predict(items(), ignore)
    with left_as_it_was(one.backbone.model):
        fit(one, tmp_path / "a")
    for left, right in zip(before, one.base_predict(items(), ignore), strict=True):
        np.testing.assert_array_equal(left.log_probs_C, right.log_probs_C)


def change_a_weight(model: Any) -> None:
    with torch.no_grad():
        model.model.layers[0].mlp.up_proj.weight[0, 0] += 1e-6


def replace_a_weight(model: Any) -> None:
    layer = model.model.layers[1].self_attn.q_proj
    layer.weight = torch.nn.Parameter(layer.weight.clone(), requires_grad=False)


def leave_a_hook(model: Any) -> None:
    model.model.norm.register_forward_hook(lambda *_: None)


def leave_an_adapter(model: Any) -> None:
    peft.inject_adapter_in_model(peft.LoraConfig(r=2, target_modules=["q_proj"]), model)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (change_a_weight, "model.layers.0.mlp.up_proj.weight"),
        (replace_a_weight, "model.layers.1.self_attn.q_proj.weight"),
        (leave_a_hook, "model.norm"),
        (leave_an_adapter, "model.layers.0.self_attn.q_proj"),
    ],
)
def test_what_training_leaves_in_the_base_is_named(change: Any, named: str, tmp_path: Path) -> None:
    model = open_model(build_tiny_model(tmp_path / "m")).model
    with (
        pytest.raises(ModelError, match=r"training has changed the base model") as caught,
        left_as_it_was(model),
    ):
        change(model)
    assert named in str(caught.value)
