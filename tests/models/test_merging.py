"""Merging a sample into the weights: what is refused, and that the model gets its own weights back."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from star_al.errors import ModelError
from star_al.models.posterior import merging
from star_al.models.posterior.merging import merged


class Dense(nn.Module):
    """Three dense layers and a head; ``second`` and ``third`` share one weight."""

    def __init__(self, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        self.first, self.second, self.third = (nn.Linear(4, 4, bias=False, dtype=dtype) for _ in range(3))
        self.third.weight = self.second.weight
        self.head = nn.Linear(4, 2)

    def get_output_embeddings(self) -> nn.Module:
        return self.head


def factors(value: float = 1.0) -> merging.Factors:
    """(B, A) that add ``value`` to every weight of ``first``, twice and three times that to the others."""
    times = {"first": 1.0, "second": 2.0, "third": 3.0}
    return lambda name: (torch.full((4, 1), value * times[name]), torch.ones(1, 4))


def merge(model: Any, *layers: str, value: float = 1.0) -> None:
    with merged(model, dict.fromkeys(layers), factors(value)):
        pass


def test_layers_that_share_a_weight_get_each_its_own_sum() -> None:
    model = Dense()
    parameter, pristine = model.second.weight, model.second.weight.detach().clone()
    with merged(model, dict.fromkeys(["second", "third"]), factors()):
        torch.testing.assert_close(model.second.weight.data, pristine + 2.0)
        torch.testing.assert_close(model.third.weight.data, pristine + 3.0)
    assert model.second.weight is parameter and model.third.weight is parameter
    assert torch.equal(parameter, pristine)
    with merged(model, {"second": None}, factors()):
        assert torch.equal(model.third.weight, pristine)


@pytest.mark.parametrize("failing", ["lack", "size", "body"])
def test_the_weights_come_back_whatever_happens(failing: str) -> None:
    model = Dense()
    if failing == "size":
        model.second.weight = nn.Parameter(torch.ones(5, 4))
    before = dict(model.named_parameters())
    values = {name: parameter.detach().clone() for name, parameter in before.items()}
    layers = {"first": None, "gone": None} if failing == "lack" else {"first": None, "second": None}
    with pytest.raises((ModelError, KeyboardInterrupt)), merged(model, layers, factors()):
        raise KeyboardInterrupt
    after = dict(model.named_parameters())
    assert all(after[name] is before[name] and torch.equal(after[name], values[name]) for name in before)


def test_a_sum_that_is_not_finite_names_its_layer_and_why() -> None:
    half = Dense(torch.float16)
    with pytest.raises(ModelError, match=r"sample of layer first overflows float16.*bfloat16 or float32"):
        merge(half, "first", value=1e5)
    broken = Dense()
    broken.second.weight.data[1, 2] = torch.nan
    with pytest.raises(ModelError, match=r"model's own layer second holds NaN.*sound weights"):
        merge(broken, "first", "second")
    with pytest.raises(ModelError, match=r"adapter's layer first holds NaN.*Delete its folder and run again"):
        merge(Dense(), "first", value=float("nan"))


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int8, torch.float8_e4m3fn], ids=str)
def test_a_quantised_layer_is_called_so(dtype: torch.dtype) -> None:
    """Packed weights have another shape too, which is not what is wrong with them."""
    model = Dense()
    model.first.weight = nn.Parameter(torch.zeros(8, 1).to(dtype), requires_grad=False)
    with pytest.raises(ModelError, match=r"layer first is quantised \(Linear, .*Load the model in bfloat16"):
        merge(model, "first")


def test_a_weight_class_of_a_library_is_called_quantised() -> None:
    class Packed(Tensor):
        """What a library hides its codes in."""

    model = Dense()
    model.first.weight = nn.Parameter(torch.zeros(4, 4).as_subclass(Packed), requires_grad=False)
    with pytest.raises(ModelError, match="layer first is quantised"):
        merge(model, "first")


def test_no_memory_for_the_sums_is_a_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> Tensor:
        raise torch.OutOfMemoryError

    model = Dense()
    monkeypatch.setattr(merging, "_sum", fail)
    with pytest.raises(ModelError, match=r"do not fit into the memory of cpu \(layer first\).*model\.device"):
        merge(model, "first")
