"""Attention part by part, and its derivatives by matrix products; what ``attention.py`` puts in torch's place.

softmax(s·Q Kᵀ + mask) V for R sequences of S tokens, H heads of queries and G of keys, G dividing H. With
``lengths_R``, R is 1 and the sequences lie one after another; the mask is still (R, 1, S, S).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn.functional import scaled_dot_product_attention

_CHUNK_ELEMENTS = 2**19  # weights of attention held at once: 1 MiB in bfloat16

_Place = tuple[slice, slice, slice]


def parts(
    q_R_H_S_d: Tensor, mask_R_1_S_S: Tensor | None, lengths_R: tuple[int, ...] | None
) -> Iterator[tuple[_Place, Tensor | None]]:
    """Where to take sequences from, all axes but the last, and their mask: some rows, or one of ``lengths_R``."""
    every = slice(None)
    if lengths_R is None:
        rows, heads, width, _ = q_R_H_S_d.shape
        size = max(1, _CHUNK_ELEMENTS // (heads * width**2))
        for start in range(0, rows, size):
            own = slice(start, start + size)
            shared = mask_R_1_S_S is None or len(mask_R_1_S_S) == 1
            yield (own, every, every), mask_R_1_S_S if shared else mask_R_1_S_S[own]  # type: ignore[index]
        return
    start = 0
    for row, length in enumerate(lengths_R):
        mask = None if mask_R_1_S_S is None else mask_R_1_S_S[row : row + 1, :, :length, :length]
        yield (every, every, slice(start, start + length)), mask
        start += length


class Attention(torch.autograd.Function):
    """The value by torch's kernel; the gradient from the weights of attention, computed once more."""

    @staticmethod
    def forward(
        ctx: Any,
        q_R_H_S_d: Tensor,
        k_R_G_S_d: Tensor,
        v_R_G_S_d: Tensor,
        mask_R_1_S_S: Tensor | None,
        causal: bool,
        scale: float,
        lengths_R: tuple[int, ...] | None,
    ) -> Tensor:
        """By torch's kernel; the weights of attention are not kept."""
        ctx.save_for_backward(q_R_H_S_d, k_R_G_S_d, v_R_G_S_d, mask_R_1_S_S)
        ctx.causal, ctx.scale, ctx.lengths_R = causal, scale, lengths_R
        out_R_H_S_d = _like(q_R_H_S_d, v_R_G_S_d)
        gqa = q_R_H_S_d.shape[1] != k_R_G_S_d.shape[1]
        for place, mask in parts(q_R_H_S_d, mask_R_1_S_S, lengths_R):
            q, k, v = (tensor[place] for tensor in (q_R_H_S_d, k_R_G_S_d, v_R_G_S_d))
            out_R_H_S_d[place] = scaled_dot_product_attention(
                q, k, v, mask, is_causal=causal, scale=scale, enable_gqa=gqa
            )
        return out_R_H_S_d

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_R_H_S_d: Tensor) -> tuple[Tensor | None, ...]:
        """Part by part as forward."""
        q_R_H_S_d, k_R_G_S_d, v_R_G_S_d, mask_R_1_S_S = ctx.saved_tensors
        grads = [torch.empty_like(tensor) for tensor in (q_R_H_S_d, k_R_G_S_d, v_R_G_S_d)]
        for place, mask in parts(q_R_H_S_d, mask_R_1_S_S, ctx.lengths_R):
            q, k, v, grad = (tensor[place] for tensor in (q_R_H_S_d, k_R_G_S_d, v_R_G_S_d, grad_R_H_S_d))
            own = _causal(q.shape[-2], q) if ctx.causal else mask
            for whole, part in zip(grads, _gradients(q, k, v, grad, own, ctx.scale), strict=True):
                whole[place] = part
        return *grads, None, None, None, None


def _like(q_R_H_S_d: Tensor, v_R_G_S_d: Tensor) -> Tensor:
    """An empty output, which lies in memory as what follows reads it: token by token."""
    rows, heads, width, _ = q_R_H_S_d.shape
    return q_R_H_S_d.new_empty(rows, width, heads, v_R_G_S_d.shape[-1]).transpose(1, 2)


def _gradients(
    q_R_H_S_d: Tensor,
    k_R_G_S_d: Tensor,
    v_R_G_S_d: Tensor,
    grad_R_H_S_d: Tensor,
    mask_R_1_S_S: Tensor | None,
    scale: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """The weights once more, then four products."""
    q, grad = _grouped(q_R_H_S_d * scale, k_R_G_S_d), _grouped(grad_R_H_S_d, k_R_G_S_d)
    weights = _weights(q, k_R_G_S_d, mask_R_1_S_S)
    grad_v = weights.mT @ grad
    grad_scores = torch._softmax_backward_data(grad @ v_R_G_S_d.mT, weights, -1, weights.dtype)
    grad_k = grad_scores.mT @ q
    return (grad_scores @ k_R_G_S_d).mul_(scale).view(q_R_H_S_d.shape), grad_k, grad_v


def _grouped(x_R_H_S_d: Tensor, k_R_G_S_d: Tensor) -> Tensor:
    """(R, G, H/G·S, d): heads that share a key lie below one another."""
    rows, heads, width, _ = x_R_H_S_d.shape
    groups = k_R_G_S_d.shape[1]
    return x_R_H_S_d.reshape(rows, groups, heads // groups * width, -1)


def _weights(q_R_G_hS_d: Tensor, k_R_G_S_d: Tensor, mask_R_1_S_S: Tensor | None) -> Tensor:
    """softmax(Q Kᵀ + mask) of scaled, grouped queries, (R, G, H/G·S, S)."""
    scores = q_R_G_hS_d @ k_R_G_S_d.mT
    if mask_R_1_S_S is not None:
        rows, groups, _, width = scores.shape
        scores.view(rows, groups, -1, width, width).add_(mask_R_1_S_S[:, :, None])
    return scores.softmax(-1)


def _causal(width: int, like: Tensor) -> Tensor:
    hidden = torch.ones(width, width, dtype=torch.bool, device=like.device).triu(1)
    return torch.zeros_like(hidden, dtype=like.dtype).masked_fill_(hidden, -torch.inf)[None, None]
