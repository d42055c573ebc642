"""Weights of a sample merged into the model's dense layers, which then cost what the base model costs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeAlias

import torch
from torch import Tensor
from transformers.pytorch_utils import Conv1D

from star_al.errors import ModelError
from star_al.models.lora import adaptable_modules

Factors: TypeAlias = Callable[[str], tuple[Tensor, Tensor]]
"""The (B, A) of a layer, (d_out, r) and (r, d_in), with all scales in them; float32."""


@contextmanager
def merged(model: Any, layers: Mapping[str, object], factors: Factors) -> Iterator[None]:
    """Add B·A to each of ``layers`` within; afterwards the model has its own weights, untouched.

    The sum is taken in float32 from the pristine weight and cast once (methods, section 3).

    Raises:
        ModelError: a layer is not in the model or of another size, or a sum is not finite.
    """
    modules = adaptable_modules(model)
    pristine: dict[str, Tensor] = {}
    try:
        for name in layers:
            if name not in modules:
                raise ModelError(
                    f"the adapter's layer {name} is not in the model. Give the model it was trained on."
                )
            layer: Any = modules[name]
            pristine[name] = layer.weight.data
            layer.weight.data = _sum(name, layer, *factors(name))
        yield
    finally:
        for name, weight in pristine.items():
            modules[name].weight.data = weight


@torch.no_grad()
def _sum(name: str, layer: Any, b: Tensor, a: Tensor) -> Tensor:
    weight: Tensor = layer.weight.data
    shape = (weight.shape[1], weight.shape[0]) if isinstance(layer, Conv1D) else tuple(weight.shape)
    if (b.shape[0], a.shape[1]) != shape or a.shape[0] != b.shape[1]:
        raise ModelError(f"the adapter's layer {name} has another size. Give the model it was trained on.")
    if not (torch.isfinite(a).all() and torch.isfinite(b).all()):
        raise ModelError(f"the adapter's layer {name} holds NaN or infinity. Train the round again.")
    a, b = a.to(weight.device), b.to(weight.device)
    delta = a.T @ b.T if isinstance(layer, Conv1D) else b @ a
    return (weight.float() + delta).to(weight.dtype)
