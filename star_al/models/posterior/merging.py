"""Weights of a sample merged into the model's dense layers, which then cost what the base model costs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from star_al.errors import ModelError
from star_al.models.lora import adaptable_modules, layer_named, require_fit

Factors: TypeAlias = Callable[[str], tuple[Tensor, Tensor]]
"""The (B, A) of a layer, (d_out, r) and (r, d_in), with all scales in them; float32."""

_MERGEABLE = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


@contextmanager
def merged(model: Any, layers: Mapping[str, object], factors: Factors) -> Iterator[None]:
    """Add B·A to each of ``layers`` within; afterwards the model has its own weights, untouched.

    The sum is taken in float32 from the pristine weight and cast once (methods, section 3). It is a parameter
    of its own, so that a layer that shares its weight with another module does not change that one.

    Raises:
        ModelError: a layer is not in the model, of another size or quantised, a sum is not finite, or the
            sums do not fit into memory.
    """
    modules: dict[str, Any] = dict(adaptable_modules(model))
    pristine: dict[str, nn.Parameter] = {}
    try:
        for name in layers:
            own = _merged_weight(name, layer_named(name, modules), *factors(name))
            pristine[name], modules[name].weight = modules[name].weight, own
        yield
    finally:
        for name, weight in pristine.items():
            modules[name].weight = weight


@torch.no_grad()
def _merged_weight(name: str, layer: Any, b: Tensor, a: Tensor) -> nn.Parameter:
    weight: Tensor = layer.weight.data
    if type(weight) is not Tensor or weight.dtype not in _MERGEABLE:
        raise ModelError(
            f"layer {name} is quantised ({type(layer).__name__}, {weight.dtype}); star_al merges samples into "
            "float weights. Load the model in bfloat16."
        )
    require_fit(name, layer, b, a)
    try:
        merged_weight = _sum(weight, b, a, transposed=isinstance(layer, Conv1D))
    except torch.OutOfMemoryError as exc:
        raise ModelError(
            f"a sample's weights do not fit into the memory of {weight.device} (layer {name}). "
            "Set another model.device; only a new campaign may adapt fewer layers."
        ) from exc
    if not all(torch.isfinite(end) for end in torch.aminmax(merged_weight)):  # a tenth of isfinite's cost
        raise ModelError(f"{_origin(name, weight, b, a)}.")
    return nn.Parameter(merged_weight, requires_grad=False)


def _sum(weight: Tensor, b: Tensor, a: Tensor, *, transposed: bool) -> Tensor:
    a, b = a.to(weight.device), b.to(weight.device)
    left, right = (a.T, b.T) if transposed else (b, a)
    # Into the copy: on a CPU fresh memory for one more big tensor costs more than the product.
    return weight.to(torch.float32, copy=True).addmm_(left, right).to(weight.dtype)


def _origin(name: str, weight: Tensor, b: Tensor, a: Tensor) -> str:
    """Why a sum is not finite, and what to do."""
    if not torch.isfinite(weight).all():
        return f"the model's own layer {name} holds NaN or infinity. Give a model with sound weights"
    if not (torch.isfinite(a).all() and torch.isfinite(b).all()):
        return f"the adapter's layer {name} holds NaN or infinity. Delete its folder and run again"
    return (
        f"a sample of layer {name} overflows {str(weight.dtype).removeprefix('torch.')}. "
        "Set model.dtype: bfloat16 or float32"
    )
