"""Quantised base models: dense layers whose weight is packed codes, to which nothing can be added.

transformers loads them from a folder whose config.json says how they were quantised (bitsandbytes, torchao).
Such a layer maps inputs and passes gradients on to them; a sample is computed beside it.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

_REPACKS = "support_avx512bf16_for_cpu"  # what bitsandbytes asks its layers
_FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


def holds_floats(layer: Any) -> bool:
    """Whether the layer's weight is the plain matrix of floats that it looks like."""
    weight = layer.weight
    return type(weight) in (Tensor, nn.Parameter) and weight.dtype in _FLOATS


def is_quantised(model: nn.Module) -> bool:
    """Whether some dense layer of the model is."""
    return any(isinstance(module, nn.Linear) and not holds_floats(module) for module in model.modules())


def cast_rest(model: nn.Module, dtype: torch.dtype) -> None:
    """Cast what is not quantised: transformers leaves it in the dtype that it was saved in."""
    for module in model.modules():
        for name, parameter in module.named_parameters(recurse=False):
            # Scales of codes have other names, codes another dtype or class.
            if name in ("weight", "bias") and type(parameter) is nn.Parameter and parameter.dtype in _FLOATS:
                parameter.data = parameter.data.to(dtype)


def keep_differentiable(model: Any, dtype: torch.dtype) -> None:
    """Keep bitsandbytes from packing 4-bit weights anew when it first infers, on CPUs with bfloat16 units.

    So packed they have no gradient of their input: training would go on with wrong ones and no error. And a
    layer that was saved to compute in float16, in which most gradients are zero, computes in ``dtype``.
    """
    for module in model.modules():
        if hasattr(module, _REPACKS):
            setattr(module, _REPACKS, False)
        if getattr(module, "compute_dtype", None) == torch.float16:
            module.compute_dtype = dtype
