"""Attention whose gradient is taken by matrix products: on a CPU the fused kernel's own takes five times that."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn.functional import scaled_dot_product_attention
from torch.overrides import TorchFunctionMode


class AttentionByProducts(TorchFunctionMode):
    """Within, attention without dropout keeps its value and gets another gradient, the same up to rounding."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Every torch function comes by here; one is changed."""
        if func is scaled_dot_product_attention:
            return _attention(*args, **kwargs or {})
        return func(*args, **kwargs or {})


def _attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    """Attention as torch computes it, by ``_Attention`` where that knows the case."""
    known = dropout_p == 0.0 and query.ndim == 4 and query.shape[-2] == key.shape[-2]
    if attn_mask is not None:
        known = known and attn_mask.is_floating_point() and attn_mask.ndim == 4 and attn_mask.shape[1] == 1
    if not known:
        return scaled_dot_product_attention(
            query, key, value, attn_mask, dropout_p, is_causal, scale=scale, enable_gqa=enable_gqa
        )
    scale = query.shape[-1] ** -0.5 if scale is None else scale
    return _Attention.apply(query, key, value, attn_mask, is_causal, scale)  # type: ignore[no-untyped-call,no-any-return]


class _Attention(torch.autograd.Function):
    """softmax(s·Q Kᵀ + mask) V for R sequences of S tokens, H heads of queries and G of keys, G dividing H."""

    @staticmethod
    def forward(
        ctx: Any,
        q_R_H_S_d: Tensor,
        k_R_G_S_d: Tensor,
        v_R_G_S_d: Tensor,
        mask_R_1_S_S: Tensor | None,
        causal: bool,
        scale: float,
    ) -> Tensor:
        """By torch's kernel; the weights of attention are not kept."""
        ctx.save_for_backward(q_R_H_S_d, k_R_G_S_d, v_R_G_S_d, mask_R_1_S_S)
        ctx.causal, ctx.scale = causal, scale
        gqa = q_R_H_S_d.shape[1] != k_R_G_S_d.shape[1]
        return scaled_dot_product_attention(
            q_R_H_S_d,
            k_R_G_S_d,
            v_R_G_S_d,
            mask_R_1_S_S,
            is_causal=causal,
            scale=scale,
            enable_gqa=gqa,
        )

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_R_H_S_d: Tensor) -> tuple[Tensor | None, ...]:
        """The weights once more, then four products; heads that share a key lie below one another."""
        q_R_H_S_d, k_R_G_S_d, v_R_G_S_d, mask = ctx.saved_tensors
        rows, heads, width, _ = q_R_H_S_d.shape
        groups = k_R_G_S_d.shape[1]
        stacked = (rows, groups, heads // groups * width, -1)
        q, grad = (q_R_H_S_d * ctx.scale).reshape(stacked), grad_R_H_S_d.reshape(stacked)
        scores = (q @ k_R_G_S_d.mT).view(rows, groups, -1, width, width)
        if ctx.causal:
            mask = _causal(width, scores)
        if mask is not None:
            scores += mask[:, :, None]
        weights = scores.softmax(-1).view(rows, groups, -1, width)
        grad_v = weights.mT @ grad
        grad_scores = torch._softmax_backward_data(grad @ v_R_G_S_d.mT, weights, -1, weights.dtype)
        grad_k = grad_scores.mT @ q
        grad_q = (grad_scores @ k_R_G_S_d).mul_(ctx.scale).view(q_R_H_S_d.shape)
        return grad_q, grad_k, grad_v, None, None, None


def _causal(width: int, like: Tensor) -> Tensor:
    hidden = torch.ones(width, width, dtype=torch.bool, device=like.device).triu(1)
    return torch.zeros_like(hidden, dtype=like.dtype).masked_fill_(hidden, -torch.inf)[None, None]
