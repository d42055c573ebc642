"""Attention whose gradient recomputes the attention weights and takes four matrix products.

    out = softmax(scale · Q Kᵀ + mask) V

for R sequences of S tokens, H query heads and G key heads, G dividing H. With ``lengths_R`` the sequences lie
one after another in a single row, so that R is 1 for Q, K and V; the mask is still (R, 1, S, S).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import groupby
from typing import Any, TypeAlias

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn.functional import scaled_dot_product_attention

_CHUNK_ELEMENTS = 2**19  # attention weights held at once: 1 MiB in bfloat16, which stays in the CPU's cache

_Place: TypeAlias = Callable[[Tensor], Tensor]
"""Gives the part of Q, K, V or the output that holds some sequences, (n, heads, tokens, d), in their memory."""


def sequence_parts(
    q_R_H_S_d: Tensor, mask_R_1_S_S: Tensor | None, lengths_R: tuple[int, ...] | None
) -> Iterator[tuple[_Place, Tensor | None]]:
    """Cut attention into parts that can be computed one after another.

    Args:
        q_R_H_S_d: Queries.
        mask_R_1_S_S: Additive mask, with R or one sequence; ``None`` for none.
        lengths_R: Lengths of sequences that lie in a single row; ``None`` if each sequence has a row of its
            own.

    Yields:
        Where the part lies in Q, K and V, and its mask: a few rows, or a few joined sequences of one length.
    """
    rows, heads, width, _ = q_R_H_S_d.shape
    if lengths_R is None:
        size = _sequences_at_once(heads, width)
        for first in range(0, rows, size):
            yield _rows(first, size), _mask_of(mask_R_1_S_S, first, size, width)
        return
    start = first = 0
    for length, run in groupby(lengths_R):
        left, most = len(list(run)), _sequences_at_once(heads, length)
        while left:
            size = min(left, most)
            yield _joined(start, size, length), _mask_of(mask_R_1_S_S, first, size, length)
            start, first, left = start + size * length, first + size, left - size


def _sequences_at_once(heads: int, width: int) -> int:
    return max(1, _CHUNK_ELEMENTS // (heads * width**2))


def _mask_of(mask_R_1_S_S: Tensor | None, first: int, size: int, width: int) -> Tensor | None:
    if mask_R_1_S_S is None:
        return None
    rows = mask_R_1_S_S if len(mask_R_1_S_S) == 1 else mask_R_1_S_S[first : first + size]
    return rows[:, :, :width, :width]


def _rows(first: int, size: int) -> _Place:
    return lambda x_R_H_S_d: x_R_H_S_d[first : first + size]


def _joined(start: int, size: int, length: int) -> _Place:
    """Return where ``size`` sequences of one length lie that follow one another in a row."""
    end = start + size * length
    return lambda x_1_H_S_d: x_1_H_S_d[0, :, start:end].unflatten(1, (size, length)).transpose(0, 1)


class RecomputedAttention(torch.autograd.Function):
    """Values by torch's kernel; gradients from the attention weights, which are computed again."""

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
        """Return the output (R, H, S, d); the attention weights are not kept."""
        ctx.save_for_backward(q_R_H_S_d, k_R_G_S_d, v_R_G_S_d, mask_R_1_S_S)
        ctx.causal, ctx.scale, ctx.lengths_R = causal, scale, lengths_R
        out_R_H_S_d = _empty_output(q_R_H_S_d, v_R_G_S_d)
        grouped = q_R_H_S_d.shape[1] != k_R_G_S_d.shape[1]
        for place, mask in sequence_parts(q_R_H_S_d, mask_R_1_S_S, lengths_R):
            q, k, v = (place(tensor) for tensor in (q_R_H_S_d, k_R_G_S_d, v_R_G_S_d))
            place(out_R_H_S_d).copy_(
                scaled_dot_product_attention(q, k, v, mask, is_causal=causal, scale=scale, enable_gqa=grouped)
            )
        return out_R_H_S_d

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_R_H_S_d: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients of Q, K and V."""
        q_R_H_S_d, k_R_G_S_d, v_R_G_S_d, mask_R_1_S_S = ctx.saved_tensors
        grads = [torch.empty_like(tensor) for tensor in (q_R_H_S_d, k_R_G_S_d, v_R_G_S_d)]
        for place, mask in sequence_parts(q_R_H_S_d, mask_R_1_S_S, ctx.lengths_R):
            q, k, v, grad = (place(tensor) for tensor in (q_R_H_S_d, k_R_G_S_d, v_R_G_S_d, grad_R_H_S_d))
            part_mask = _causal_mask(q.shape[-2], q) if ctx.causal else mask
            for whole, part in zip(grads, _gradients(q, k, v, grad, part_mask, ctx.scale), strict=True):
                place(whole).copy_(part)
        return *grads, None, None, None, None


def _empty_output(q_R_H_S_d: Tensor, v_R_G_S_d: Tensor) -> Tensor:
    """Return an empty (R, H, S, d) whose memory is ordered by token, as the projection that follows reads it."""
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
    """Return the gradients of Q, K and V of one part."""
    q, grad = _grouped(q_R_H_S_d * scale, k_R_G_S_d), _grouped(grad_R_H_S_d, k_R_G_S_d)
    weights = _weights(q, k_R_G_S_d, mask_R_1_S_S)
    grad_v = weights.mT @ grad
    # The fused backward of softmax: one pass over the weights in place of three elementwise ones.
    grad_scores = torch._softmax_backward_data(grad @ v_R_G_S_d.mT, weights, -1, weights.dtype)
    grad_k = grad_scores.mT @ q
    return (grad_scores @ k_R_G_S_d).mul_(scale).view(q_R_H_S_d.shape), grad_k, grad_v


def _grouped(x_R_H_S_d: Tensor, k_R_G_S_d: Tensor) -> Tensor:
    """Stack the heads that share a key head, (R, G, H/G·S, d): one product serves them all."""
    rows, heads, width, _ = x_R_H_S_d.shape
    groups = k_R_G_S_d.shape[1]
    return x_R_H_S_d.reshape(rows, groups, heads // groups * width, -1)


def _weights(q_R_G_hS_d: Tensor, k_R_G_S_d: Tensor, mask_R_1_S_S: Tensor | None) -> Tensor:
    """Return softmax(Q Kᵀ + mask) of scaled, grouped queries, (R, G, H/G·S, S)."""
    scores = q_R_G_hS_d @ k_R_G_S_d.mT
    if mask_R_1_S_S is not None:
        rows, groups, _, width = scores.shape
        scores.view(rows, groups, -1, width, width).add_(mask_R_1_S_S[:, :, None])
    return scores.softmax(-1)


def _causal_mask(width: int, like: Tensor) -> Tensor:
    hidden = torch.ones(width, width, dtype=torch.bool, device=like.device).triu(1)
    return torch.zeros_like(hidden, dtype=like.dtype).masked_fill_(hidden, -torch.inf)[None, None]
