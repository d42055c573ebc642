"""Merge the weights of a posterior sample into the model's dense layers, which then cost what the base model costs.

A quantised layer, to whose codes nothing can be added, computes the sample's part beside its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle
from transformers.pytorch_utils import Conv1D

from star_al.errors import ModelError
from star_al.models.lora import layer_named, require_fit
from star_al.models.out_of_memory import translate_out_of_memory
from star_al.models.posterior import Factors
from star_al.models.quantised import has_float_weight
from star_al.models.target_layers import dense_layers


@contextmanager
def merged(model: Any, layers: Iterable[str], factors: Factors) -> Iterator[None]:
    """Within, each of ``layers`` has B·A added to its weight; afterwards the model is bitwise what it was.

    The sum is taken in float32 from the original weight and rounded once. It becomes a parameter of its own,
    so that another module that shares the layer's weight keeps the original one. A quantised layer gets
    B·(A·x) added to its output instead, which costs more.

    Args:
        model: The model.
        layers: Names of layers.
        factors: What to add to each.

    Raises:
        ModelError: A layer is not in the model or has another size, or a sum or factor is not finite.
        OutOfMemoryError: The sums do not fit into memory.
    """
    modules: dict[str, Any] = dict(dense_layers(model))
    originals: dict[str, nn.Parameter] = {}
    hooks: list[RemovableHandle] = []
    try:
        for name in layers:
            layer, (b, a) = layer_named(name, modules), factors(name)
            require_fit(name, layer, b, a)
            if has_float_weight(layer):
                weight = _merged_weight(name, layer, b, a)
                originals[name], layer.weight = layer.weight, weight
            else:
                hooks.append(layer.register_forward_hook(_branch(name, layer, b, a)))
        yield
    finally:
        for hook in hooks:
            hook.remove()
        for name, original in originals.items():
            modules[name].weight = original


@torch.no_grad()
def _merged_weight(name: str, layer: Any, b: Tensor, a: Tensor) -> nn.Parameter:
    weight: Tensor = layer.weight.data
    message = (
        f"a sample's weights do not fit into the memory of {weight.device} (layer {name}). "
        "Set another model.device; only a new campaign may adapt fewer layers."
    )
    with translate_out_of_memory(message):
        merged_weight = _sum(weight, b, a, transposed=isinstance(layer, Conv1D))
    if not all(torch.isfinite(end) for end in torch.aminmax(merged_weight)):  # a tenth of isfinite's cost
        raise ModelError(f"{_why_not_finite(name, weight, b, a)}.")
    return nn.Parameter(merged_weight, requires_grad=False)


def _sum(weight: Tensor, b: Tensor, a: Tensor, *, transposed: bool) -> Tensor:
    a, b = a.to(weight.device), b.to(weight.device)
    left, right = (a.T, b.T) if transposed else (b, a)
    # In place on the float32 copy: on a CPU, fresh memory for one more large tensor costs more than the
    # product.
    return weight.to(torch.float32, copy=True).addmm_(left, right).to(weight.dtype)


def _branch(
    name: str, layer: Any, b: Tensor, a: Tensor
) -> Callable[[Any, tuple[Tensor, ...], Tensor], Tensor]:
    """Return a forward hook that adds B·(A·x), in the precision of x."""
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


def _why_not_finite(name: str, weight: Tensor, b: Tensor, a: Tensor) -> str:
    """Say why a sum is not finite, and what to do."""
    if not _are_finite(weight):
        return f"the model's own layer {name} holds NaN or infinity. Give a model with sound weights"
    if not _are_finite(b, a):
        return _damaged_adapter(name)
    return (
        f"a sample of layer {name} overflows {str(weight.dtype).removeprefix('torch.')}. "
        "Lower adapter.learning_rate; only a new campaign may set model.dtype: float32"
    )
