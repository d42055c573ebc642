"""A model spread over GPUs: what goes where, and that no operation meets tensors of two devices.

torch's fake tensors know their device and have no values, so that two of them need no GPU.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

from star_al.config.spec import AdapterSpec, CLoraSpec
from star_al.errors import ModelError
from star_al.models.backbone import Backbone, load_backbone
from star_al.models.lora import attached
from star_al.models.posterior.clora_training import ContextualTraining
from star_al.models.readout import Readout
from star_al.models.spread import device_map, join_blocks
from star_al.models.target_layers import transformer_blocks
from star_al.models.trunk import Trunk
from support.posteriors import learner
from support.tiny_model import build_tiny_model

GPUS = [torch.device("cuda", 0), torch.device("cuda", 1)]


def config(blocks: int = 4, **settings: Any) -> Any:
    small = {"hidden_size": 32, "intermediate_size": 64, "num_attention_heads": 2, "vocab_size": 500}
    return transformers.LlamaConfig(num_hidden_layers=blocks, **small | settings)


@pytest.fixture(params=["llama", "gpt2", "gpt_neox", "qwen2"])
def base(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return build_tiny_model(tmp_path / "base", architecture=request.param)


def test_each_part_of_a_model_has_a_place(base: Path) -> None:
    here = Backbone(base, "float32", torch.device("cpu"))
    places = device_map(here.config, GPUS, torch.float32, "none")
    start, blocks = transformer_blocks(here.model)
    assert places[f"{start}.{len(blocks) - 1}"] == "cuda:1"
    assert {place for name, place in places.items() if not name.startswith(f"{start}.")} == {"cuda:0"}
    for name, _ in here.model.named_parameters():
        assert sum(name == part or name.startswith(f"{part}.") for part in places) == 1, name


def test_gpus_hold_about_as_many_bytes_and_blocks_that_follow_each_other() -> None:
    gpus = [torch.device("cuda", number) for number in range(3)]
    places = device_map(config(12), gpus, torch.bfloat16, "none")
    order = [places[f"model.layers.{number}"] for number in range(12)]
    assert order == sorted(order) and {order.count(str(gpu)) for gpu in gpus[1:]} == {5}


def test_embeddings_weigh_more_beside_quantised_blocks() -> None:
    def blocks_on_first(bits: str) -> int:
        return list(device_map(config(12), GPUS, torch.bfloat16, bits).values()).count("cuda:0")

    assert blocks_on_first("none") > blocks_on_first("8bit") > blocks_on_first("4bit")


def test_more_gpus_than_blocks_are_refused() -> None:
    with pytest.raises(ModelError, match=r"model\.gpus is 2, but the model has only 1 blocks"):
        device_map(config(1), GPUS, torch.float32, "none")


def test_the_places_are_those_that_transformers_loads_into(
    base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two names of the CPU stand for two GPUs; all else is as it would be there."""
    auto, loaded = transformers.AutoModelForCausalLM, []
    load = auto.from_pretrained

    def from_pretrained(*args: Any, device_map: dict[str, str], **options: Any) -> Any:
        loaded.append((device_map, options))
        return load(*args, device_map=dict.fromkeys(device_map, "cpu"), **options)

    monkeypatch.setattr(auto, "from_pretrained", from_pretrained)
    spread = Backbone(base, "float32", torch.device("cpu"), gpus=2)
    ids = torch.arange(12)[None]
    found = spread.readout.hidden(ids)
    ((places, options),) = loaded
    assert set(places.values()) == {"cuda:0", "cuda:1"} and options["use_safetensors"]
    assert options["trust_remote_code"] is False
    monkeypatch.undo()
    expected = Backbone(base, "float32", torch.device("cpu")).readout.hidden(ids)
    torch.testing.assert_close(found, expected, rtol=0, atol=0)


def test_a_quantised_model_is_spread_as_well(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, Any] = {}

    def from_pretrained(*_: Any, **options: Any) -> Any:
        asked.update(options)
        raise RuntimeError("CUDA out of memory")

    monkeypatch.setattr(transformers.AutoModelForCausalLM, "from_pretrained", from_pretrained)
    with pytest.raises(ModelError, match=r"Set model\.quantise, model\.gpus or another model\.device"):
        _ = Backbone(base, "bfloat16", torch.device("cuda", 1), "4bit", 2).model
    assert set(asked["device_map"].values()) == {"cuda:1", "cuda:2"}
    quantised = asked["quantization_config"]
    assert quantised.load_in_4bit and quantised.bnb_4bit_compute_dtype == torch.bfloat16


def test_gpus_that_are_not_there_are_refused(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ModelError, match=r"model\.gpus: 2 needs GPUs of CUDA, not cpu\. Set it to 1"):
        _ = learner(base, model={"gpus": 2}).backbone
    monkeypatch.setattr("star_al.models.backbone.resolve_device", lambda _: torch.device("cuda", 1))
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(ModelError, match=r"model\.gpus is 2, but this machine has 1 GPU from cuda:1 on"):
        load_backbone(str(base), revision=None, dtype="float32", device="cuda:1", gpus=2)


# -- no operation meets tensors of two devices --------------------------------------------------------------


DEVICES = [torch.device("cpu"), torch.device("cpu", 1)]
"""Two devices for fake tensors; without CUDA, torch cannot take a slice of a fake one there."""


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    # A parameter that is fake is no plain one for torch and for star_al, and cannot be changed in place.
    monkeypatch.setattr(nn.Module, "_apply", _replace_tensors)
    for module in ("readout", "fused_lora", "posterior.merging"):
        monkeypatch.setattr(f"star_al.models.{module}.has_float_weight", lambda _: True)
    monkeypatch.setattr("star_al.models.readout.is_quantised", lambda _: False)
    tensor = torch.tensor  # an empty one does not take the second device

    def tensor_on(data: Any, device: Any = None, **more: Any) -> torch.Tensor:
        return torch.empty(0, device=device, **more) if data == [] else tensor(data, device=device, **more)

    monkeypatch.setattr(torch, "tensor", tensor_on)
    with FakeTensorMode(allow_non_fake_inputs=True):
        yield


def _replace_tensors(self: nn.Module, change: Any, recurse: bool = True) -> nn.Module:
    for module in self.modules():
        for name, tensor in module._buffers.items():
            module._buffers[name] = None if tensor is None else change(tensor)
        for name, weight in module._parameters.items():
            if weight is not None:
                module._parameters[name] = nn.Parameter(change(weight.data), weight.requires_grad)
    return self


def spread_model(architecture: str = "llama") -> Any:
    """Two blocks on each of two fake GPUs."""
    kinds: dict[str, Any] = {
        "llama": lambda: transformers.LlamaForCausalLM(config()),
        "gpt2": lambda: transformers.GPT2LMHeadModel(
            transformers.GPT2Config(n_embd=32, n_layer=4, n_head=2, vocab_size=500)
        ),
        "qwen2": lambda: transformers.Qwen2ForCausalLM(
            transformers.Qwen2Config(**config().to_diff_dict() | {"model_type": "qwen2"})
        ),
    }
    model = kinds[architecture]().eval().requires_grad_(False)
    model.to(DEVICES[0])
    for block in transformer_blocks(model)[1][2:]:
        block.to(DEVICES[1])
    model.tie_weights()
    join_blocks(model)
    return model


@pytest.mark.parametrize("architecture", ["llama", "gpt2", "qwen2"])
def test_hidden_states_come_from_the_first_gpu(architecture: str, fake: None) -> None:
    readout = Readout(spread_model(architecture))
    ids = torch.zeros(3, 12, dtype=torch.long, device=readout.device)
    hidden = readout.hidden(ids)
    assert readout.device == hidden.device == DEVICES[0]
    assert readout.logits(hidden[:, -1], slice(0, 7)).device == DEVICES[0]
    prefix = readout.read_prefix([1, 2, 3])
    positions = torch.arange(3, 15, device=DEVICES[0]).repeat(3, 1)
    assert readout.hidden(ids, positions, None, prefix).device == DEVICES[0]
    mask = torch.zeros(3, 1, 12, 12, device=DEVICES[0])
    assert readout.hidden(ids, positions, mask).device == DEVICES[0]


def test_adapters_are_trained_where_their_blocks_are(fake: None) -> None:
    model = spread_model()
    readout = Readout(model)
    with attached(model, AdapterSpec(dropout=0.0)) as wrapped:
        trained = [parameter for parameter in wrapped.parameters() if parameter.requires_grad]
        assert {parameter.device for parameter in trained} == set(DEVICES)
        ids = torch.zeros(3, 12, dtype=torch.long, device=DEVICES[0])
        readout.hidden(ids).sum().backward()
        optimiser = torch.optim.AdamW(trained)
        nn.utils.clip_grad_norm_(trained, 1.0)
        optimiser.step()
        assert all(p.grad is not None and p.grad.device == p.device for p in trained)


def test_frozen_blocks_may_be_left_out(fake: None) -> None:
    """The first adapted block is on the second GPU."""
    model = spread_model()
    readout = Readout(model)
    trunk = Trunk(readout, transformer_blocks(model)[1], 1, None)
    ids = torch.zeros(3, 12, dtype=torch.long, device=DEVICES[0])
    below = trunk._compute(ids, None, None)
    with trunk.skipping(below):
        assert below.device == readout.hidden(ids).device == DEVICES[0]


@pytest.mark.parametrize("context", ["sequence", "token"])
def test_so_are_context_networks(context: Any, fake: None) -> None:
    model = spread_model()
    extension = ContextualTraining(CLoraSpec(kind="clora", context=context, hidden=4), 1.0, 0, {})
    on_first: dict[str, Any] = {"device": DEVICES[0]}
    rows, ids = torch.arange(3, **on_first), torch.zeros(3, 12, dtype=torch.long, **on_first)
    with attached(model, AdapterSpec(dropout=0.0)) as wrapped:
        extension.attach(wrapped)
        extension.positions = positions = _positions(rows)
        for name, network in extension.networks.items():
            rank = network.rank
            extension._noise_B_r_r[name] = torch.zeros(3, rank, rank, device=network.inner.weight.device)
        loss = Readout(model).hidden(ids).sum() + extension.penalty()
        loss.backward()
    assert loss.device == DEVICES[0] and positions.lengths_B.device == DEVICES[0]


def _positions(rows: torch.Tensor) -> Any:
    from star_al.models.posterior.context_network import PromptPositions

    return PromptPositions(rows, rows, torch.full_like(rows, 8))
