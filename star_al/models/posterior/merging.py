"""Weights of a sample merged into the model's dense layers, which then cost what the base model costs.

Quantised layers, to whose codes nothing can be added, compute the sample's part beside their own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle
from transformers.pytorch_utils import Conv1D

from star_al.errors import ModelError
from star_al.models.lora import adaptable_modules, layer_named, require_fit
from star_al.models.out_of_memory import told
from star_al.models.quantised import holds_floats

Factors: TypeAlias = Callable[[str], tuple[Tensor, Tensor]]
"""The (B, A) of a layer, (d_out, r) and (r, d_in), with all scales in them; float32."""


@contextmanager
def merged(model: Any, layers: Mapping[str, object], factors: Factors) -> Iterator[None]:
    """Add B·A to each of ``layers`` within; afterwards the model is what it was, its weights untouched.

    The sum is taken in float32 from the pristine weight and cast once (methods, section 3). It is a parameter
    of its own, so that a layer that shares its weight with another module does not change that one. A
    quantised layer's output gets B·(A·x) in the precision of x, at some cost.

    Raises:
        ModelError: a layer is not in the model or of another size, a sum or factor is not finite, or the sums
            do not fit into memory.
    """
    modules: dict[str, Any] = dict(adaptable_modules(model))
    pristine: dict[str, nn.Parameter] = {}
    branches: list[RemovableHandle] = []
    try:
        for name in layers:
            layer, (b, a) = layer_named(name, modules), factors(name)
            require_fit(name, layer, b, a)
            if holds_floats(layer):
                own = _merged_weight(name, layer, b, a)
                pristine[name], layer.weight = layer.weight, own
            else:
                branches.append(layer.register_forward_hook(_branch(name, layer, b, a)))
        yield
    finally:
        for branch in branches:
            branch.remove()
        for name, weight in pristine.items():
            modules[name].weight = weight


@torch.no_grad()
def _merged_weight(name: str, layer: Any, b: Tensor, a: Tensor) -> nn.Parameter:
    weight: Tensor = layer.weight.data
    message = (
        f"a sample's weights do not fit into the memory of {weight.device} (layer {name}). "
        "Set another model.device; only a new campaign may adapt fewer layers."
    )
    with told(message):
        merged_weight = _sum(weight, b, a, transposed=isinstance(layer, Conv1D))
    if not all(torch.isfinite(end) for end in torch.aminmax(merged_weight)):  # a tenth of isfinite's cost
        raise ModelError(f"{_origin(name, weight, b, a)}.")
    return nn.Parameter(merged_weight, requires_grad=False)


def _sum(weight: Tensor, b: Tensor, a: Tensor, *, transposed: bool) -> Tensor:
    a, b = a.to(weight.device), b.to(weight.device)
    left, right = (a.T, b.T) if transposed else (b, a)
    # Into the copy: on a CPU fresh memory for one more big tensor costs more than the product.
    return weight.to(torch.float32, copy=True).addmm_(left, right).to(weight.dtype)


def _branch(
    name: str, layer: Any, b: Tensor, a: Tensor
) -> Callable[[Any, tuple[Tensor, ...], Tensor], Tensor]:
    """A forward hook that adds B·(A·x)."""
    if not _are_finite(b, a):
        raise ModelError(f"{_damaged_adapter(name)}.")
    a, b = a.to(layer.weight.device), b.to(layer.weight.device)

    def hook(_: Any, args: tuple[Tensor, ...], output: Tensor) -> Tensor:
        z = nn.functional.linear(args[0], a.to(args[0].dtype))
        return output + nn.functional.linear(z, b.to(z.dtype))

    return hook


def _are_finite(*tensors: Tensor) -> bool:
    return all(bool(torch.isfinite(tensor).all()) for tensor in tensors)


def _damaged_adapter(name: str) -> str:
    return f"the adapter's layer {name} holds NaN or infinity. Delete its folder and run again"


def _origin(name: str, weight: Tensor, b: Tensor, a: Tensor) -> str:
    """Why a sum is not finite, and what to do."""
    if not _are_finite(weight):
        return f"the model's own layer {name} holds NaN or infinity. Give a model with sound weights"
    if not _are_finite(b, a):
        return _damaged_adapter(name)
    return (
        f"a sample of layer {name} overflows {str(weight.dtype).removeprefix('torch.')}. "
        "Lower adapter.learning_rate; only a new campaign may set model.dtype: float32"
    )
