"""Merging a sample into the weights: refusals, and the model gets its own weights back."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from star_al.errors import ModelError
from star_al.models.posterior import Factors, merging
from star_al.models.posterior.merging import merged


class Dense(nn.Module):
    """Three dense layers and a head; ``second`` and ``third`` share a weight."""

    def __init__(self, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        self.first, self.second, self.third = (nn.Linear(4, 4, bias=False, dtype=dtype) for _ in range(3))
        self.third.weight = self.second.weight
        self.head = nn.Linear(4, 2)

    def get_output_embeddings(self) -> nn.Module:
        return self.head


def factors(value: float = 1.0) -> Factors:
    """(B, A) that add ``value`` to every weight of ``first``, and two and three times ``value`` to the others."""
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
    with pytest.raises(ModelError, match=r"sample of layer first overflows float16.*learning_rate.*float32"):
        merge(half, "first", value=1e5)
    broken = Dense()
    broken.second.weight.data[1, 2] = torch.nan
    with pytest.raises(ModelError, match=r"model's own layer second holds NaN.*sound weights"):
        merge(broken, "first", "second")
    with pytest.raises(ModelError, match=r"adapter's layer first holds NaN.*Delete its folder and run again"):
        merge(Dense(), "first", value=float("nan"))


class Packed(nn.Linear):
    """A layer with codes of another shape, like quantised layers; it maps x to 2x."""

    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__(4, 4, bias=False)
        self.weight = nn.Parameter(torch.zeros(8, 1).to(dtype), requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        return 2 * x


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int8, torch.float8_e4m3fn], ids=str)
def test_a_quantised_layer_computes_the_sample_beside_its_own(dtype: torch.dtype) -> None:
    model = Dense()
    model.first = Packed(dtype)
    codes, plain, x = model.first.weight, model.second.weight.detach().clone(), torch.arange(4.0)
    with merged(model, dict.fromkeys(["first", "second"]), factors(3.0)):
        torch.testing.assert_close(model.first(x), 2 * x + 3 * x.sum())
        assert model.first(x.bfloat16()).dtype == torch.bfloat16
        torch.testing.assert_close(model.second.weight.data, plain + 6)
    assert model.first.weight is codes
    torch.testing.assert_close(model.first(x), 2 * x)


@pytest.mark.parametrize("failing", ["lack", "size", "body", "nan"])
def test_nothing_stays_beside_a_quantised_layer_whatever_happens(failing: str) -> None:
    model = Dense()
    model.first, x = Packed(torch.int8), torch.arange(4.0)
    if failing == "size":
        model.second = nn.Linear(4, 5)
    layers = dict.fromkeys(["first", "gone"] if failing == "lack" else ["first", "second"])
    value = float("nan") if failing == "nan" else 1.0
    with pytest.raises((ModelError, KeyboardInterrupt)), merged(model, layers, factors(value)):
        raise KeyboardInterrupt
    torch.testing.assert_close(model.first(x), 2 * x)


def test_factors_that_do_not_fit_a_quantised_layer_or_are_not_finite_are_refused() -> None:
    model = Dense()
    model.first = Packed(torch.uint8)
    with pytest.raises(ModelError, match=r"adapter's layer first holds NaN.*Delete its folder and run again"):
        merge(model, "first", value=float("nan"))
    model.first.in_features = 5
    with pytest.raises(ModelError, match="layer first has another size"):
        merge(model, "first")


def test_no_memory_for_the_sums_is_a_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> Tensor:
        raise torch.OutOfMemoryError

    model = Dense()
    monkeypatch.setattr(merging, "_sum", fail)
    with pytest.raises(ModelError, match=r"do not fit into the memory of cpu \(layer first\).*model\.device"):
        merge(model, "first")
