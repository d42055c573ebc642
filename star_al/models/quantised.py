"""Quantised base models: dense layers whose weights are packed codes, to which nothing can be added.

transformers loads them from a folder whose config.json says how they were quantised (bitsandbytes, torchao), or
quantises them when it loads them (``model.quantise``).
Such a layer maps inputs and passes gradients on to them, and what a posterior sample adds is computed beside
it.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from transformers import BitsAndBytesConfig

_REPACKS = "support_avx512bf16_for_cpu"  # an attribute of bitsandbytes' layers
_FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


def quantised_on(device: str, bits: str, dtype: torch.dtype) -> dict[str, Any]:
    """Return how transformers is to load a model that it quantises, all but the head; nothing if it does not.

    Args:
        device: Where the model goes.
        bits: ``model.quantise``.
        dtype: What the layers compute in.
    """
    settings: dict[str, dict[str, Any]] = {
        "8bit": {"load_in_8bit": True},
        "4bit": {
            "load_in_4bit": True,
            "bnb_4bit_quant_type": "nf4",
            "bnb_4bit_use_double_quant": True,
            "bnb_4bit_compute_dtype": dtype,
        },
    }
    if bits not in settings:
        return {}
    return {"quantization_config": BitsAndBytesConfig(**settings[bits]), "device_map": {"": device}}


def has_float_weight(layer: Any) -> bool:
    """Return whether the layer's weight is a plain matrix of floats, and not a library's tensor that poses as one."""
    weight = layer.weight
    return type(weight) in (Tensor, nn.Parameter) and weight.dtype in _FLOATS


def is_quantised(model: nn.Module) -> bool:
    """Return whether any dense layer of the model is quantised."""
    return any(isinstance(module, nn.Linear) and not has_float_weight(module) for module in model.modules())


def cast_unquantised(model: nn.Module, dtype: torch.dtype) -> None:
    """Cast what is not quantised to ``dtype``: transformers leaves it in the dtype that it was saved in."""
    for module in model.modules():
        for name, parameter in module.named_parameters(recurse=False):
            # Scales of the codes have other names, and codes another dtype or class.
            if name in ("weight", "bias") and type(parameter) is nn.Parameter and parameter.dtype in _FLOATS:
                parameter.data = parameter.data.to(dtype)


def keep_differentiable(model: Any, dtype: torch.dtype) -> None:
    """Make sure that gradients pass the quantised layers; a model that has none stays as it is.

    On CPUs with bfloat16 units, bitsandbytes packs 4-bit weights anew when they first infer, and after that
    gives a wrong gradient of the input without an error. This turns the repacking off. And a layer that was
    saved to compute in float16, where most gradients underflow to zero, computes in ``dtype``.
    """
    for module in model.modules():
        if hasattr(module, _REPACKS):
            setattr(module, _REPACKS, False)
        if getattr(module, "compute_dtype", None) == torch.float16:
            module.compute_dtype = dtype
