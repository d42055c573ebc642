"""LoRA layers for training that compute what peft's layers compute, with fewer passes over large tensors.

peft casts, drops, multiplies, scales and adds; each step reads and writes a tensor of all tokens, and again
in the backward pass. Here both products are added onto W₀x in place, and dropout, which has one mask a
sequence, is applied to A instead of x: x·diag(m)·Aᵀ = x·(A·diag(m))ᵀ.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from transformers.pytorch_utils import Conv1D

from star_al.models.lora import ADAPTER, lora_layers
from star_al.models.quantised import has_float_weight


@contextmanager
def fused_lora_layers(model: nn.Module) -> Iterator[None]:
    """Within, the adapted layers of ``model`` compute by ``LoraLinear``, if they are ordinary dense layers.

    Layers with a LoRA variant, and those on a base of another kind, such as a quantised one, stay peft's.
    """
    layers = [layer for layer in lora_layers(model).values() if _is_plain(layer)]
    for layer in layers:
        layer.forward = partial(_forward, layer)
    try:
        yield
    finally:
        for layer in layers:
            del layer.forward


def _is_plain(layer: Any) -> bool:
    base = layer.base_layer
    return type(base) in (nn.Linear, Conv1D) and has_float_weight(base) and not layer.lora_variant


def _forward(layer: Any, x: Tensor) -> Tensor:
    base = layer.base_layer
    weight_O_I = base.weight.T if isinstance(base, Conv1D) else base.weight
    a, b = layer.lora_A[ADAPTER].weight, layer.lora_B[ADAPTER].weight
    dropout, scale = layer.lora_dropout[ADAPTER], layer.scaling[ADAPTER]
    masks = dropout.masks(x)
    x = x.to(weight_O_I.dtype)
    out: Tensor = LoraLinear.apply(x, weight_O_I, base.bias, a, b, scale, masks, dropout.lengths)  # type: ignore[no-untyped-call]
    return out


class LoraLinear(torch.autograd.Function):
    """y = W₀x + bias + s·B·A·diag(m)·x in the precision of W₀, differentiable in x, A and B."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight_O_I: Tensor,
        bias_O: Tensor | None,
        a_r_I: Tensor,
        b_O_r: Tensor,
        scale: float,
        masks_R_I: Tensor | None,
        lengths_R: tuple[int, ...] | None = None,
    ) -> Tensor:
        """Compute y.

        Args:
            ctx: torch's context.
            x: Inputs (..., I).
            weight_O_I: W₀.
            bias_O: Bias of the base layer.
            a_r_I: A, float32.
            b_O_r: B, float32.
            scale: s.
            masks_R_I: Dropout masks, one for each sequence, or (1, I) for all; ``None`` for no dropout.
            lengths_R: Tokens of each sequence along the second axis of x; ``None`` if each entry of its first
                axis is a sequence.

        Returns:
            Outputs (..., O).
        """
        dtype = weight_O_I.dtype
        # Masks and the scale go into the small factors, not into the activations.
        down_R_r_I = (a_r_I[None] if masks_R_I is None else a_r_I * masks_R_I[:, None]).to(dtype)
        up_O_r = (b_O_r * scale).to(dtype)
        with torch.autocast(x.device.type, enabled=False):
            x_T_I = x.reshape(-1, x.shape[-1])
            rows = len(down_R_r_I)
            sizes = [len(x_T_I) // rows] * rows if rows == 1 or lengths_R is None else list(lengths_R)
            z_T_r = torch.cat(
                [part @ a.T for part, a in zip(torch.split(x_T_I, sizes), down_R_r_I, strict=True)]
            )
            y = nn.functional.linear(x, weight_O_I, bias_O)
            y.view(-1, y.shape[-1]).addmm_(z_T_r, up_O_r.T)
        ctx.save_for_backward(x_T_I, weight_O_I, down_R_r_I, up_O_r, z_T_r, masks_R_I)
        ctx.scale, ctx.sizes = scale, sizes
        return y  # not a view of something: a model may change it in place

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients of x (if it is needed), A and B."""
        x_T_I, weight_O_I, down_R_r_I, up_O_r, z_T_r, masks_R_I = ctx.saved_tensors
        grad_T_O = grad.reshape(-1, grad.shape[-1])
        grad_b_O_r = (z_T_r.T @ grad_T_O).T.float() * ctx.scale
        grad_z = torch.split(grad_T_O @ up_O_r, ctx.sizes)
        xs = torch.split(x_T_I, ctx.sizes)
        grad_a_R_r_I = torch.stack([one.T @ x for one, x in zip(grad_z, xs, strict=True)]).float()
        if masks_R_I is not None:
            grad_a_R_r_I *= masks_R_I[:, None]
        grad_x = None
        if ctx.needs_input_grad[0]:  # not in the first adapted block, below which nothing is trained
            grad_x_T_I = grad_T_O @ weight_O_I
            for part, one, a in zip(torch.split(grad_x_T_I, ctx.sizes), grad_z, down_R_r_I, strict=True):
                part.addmm_(one, a)
            grad_x = grad_x_T_I.view(*grad.shape[:-1], -1)
        return grad_x, None, None, grad_a_R_r_I.sum(0), grad_b_O_r, None, None, None
