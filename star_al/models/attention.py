"""Attention on a CPU where it is differentiated: sequence by sequence, its derivatives by matrix products.

The gradient of torch's fused kernel takes far longer there, a tangent it has none, and padding counts in full.
One sequence at a time, the weights of attention stay in the processor's cache, and sequences need not be padded
to one length.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import scaled_dot_product_attention
from torch.overrides import TorchFunctionMode

from star_al.models.quantised import forward_ad

_CHUNK_ELEMENTS = 2**19  # weights of attention held at once: 1 MiB in bfloat16


class SequenceAttention(TorchFunctionMode):
    """Within, attention keeps its value and gets another gradient, the same up to rounding.

    With ``lengths_R`` the sequences lie one after another in one row, and none sees another: each is masked by
    its part of ``mask_R_1_S_S`` (additive) or, without one, causally, whatever mask the model gives.
    """

    def __init__(self, lengths_R: tuple[int, ...] | None = None, mask_R_1_S_S: Tensor | None = None) -> None:
        super().__init__()
        self._lengths_R, self._mask = lengths_R, mask_R_1_S_S

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Every torch function comes by here; one is changed."""
        if func is not scaled_dot_product_attention:
            return func(*args, **kwargs or {})
        return self._attention(*args, **kwargs or {})

    def _attention(
        self,
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
        lengths_R = self._lengths_R
        if lengths_R is not None:
            attn_mask, is_causal = self._mask, self._mask is None
        square = query.ndim == 4 and query.shape[-2] == key.shape[-2]
        if dropout_p == 0.0 and square and (attn_mask is None or _is_shared_by_heads(attn_mask)):
            scale = query.shape[-1] ** -0.5 if scale is None else scale
            return self._own(query, key, value, attn_mask, is_causal, scale, lengths_R)
        if lengths_R is None:
            return scaled_dot_product_attention(
                query, key, value, attn_mask, dropout_p, is_causal, scale=scale, enable_gqa=enable_gqa
            )
        outs = [
            scaled_dot_product_attention(
                query[place],
                key[place],
                value[place],
                own,
                dropout_p,
                own is None,
                scale=scale,
                enable_gqa=enable_gqa,
            )
            for place, own in _parts(query, attn_mask, lengths_R)
        ]
        return torch.cat(outs, dim=-2)

    def _own(self, *args: Any) -> Tensor:
        """Attention by ``_Attention``, whose arguments these are."""
        return _Attention.apply(*args)  # type: ignore[no-untyped-call,no-any-return]


def _is_shared_by_heads(mask: Tensor) -> bool:
    """Whether a mask is added to scores, the same for all heads, and nothing that is trained."""
    shared = mask.ndim == 4 and mask.shape[1] == 1
    return shared and mask.is_floating_point() and not mask.requires_grad


class WatchedAttention(SequenceAttention):
    """Says whether its own masks do for a model."""

    _seen, _biased = False, False

    @property
    def replaced(self) -> bool:
        """Whether attention came by here, and no mask held a bias, of distance say, which would be lost."""
        return self._seen and not self._biased

    def _attention(self, *args: Any, **kwargs: Any) -> Tensor:
        self._seen = True
        mask = args[3] if len(args) > 3 else kwargs.get("attn_mask")
        if mask is not None and mask.is_floating_point():
            hidden = mask <= torch.finfo(mask.dtype).min / 2
            self._biased |= bool(((mask != 0) & ~hidden).any())
        return super()._attention(*args, **kwargs)


class TangentAttention(SequenceAttention):
    """Within, attention of dual numbers has a tangent too (forward-mode differentiation)."""

    def _attention(self, *args: Any, **kwargs: Any) -> Tensor:
        if not any(_tangent(given) is not None for given in (*args, *kwargs.values())):
            return scaled_dot_product_attention(*args, **kwargs)
        with sdpa_kernel([SDPBackend.MATH]):  # of torch's kernels only this one has a tangent
            return super()._attention(*args, **kwargs)

    def _own(self, *args: Any) -> Tensor:
        return _dual_attention(*args)


def _tangent(given: Any) -> Tensor | None:
    return forward_ad.unpack_dual(given).tangent if isinstance(given, Tensor) else None


def attention_for(device: torch.device, kind: type[SequenceAttention]) -> AbstractContextManager[object]:
    """``kind`` on a CPU; elsewhere torch's own attention in single steps, which has every derivative."""
    return kind() if device.type == "cpu" else sdpa_kernel([SDPBackend.MATH])


def no_mask(width: int, dtype: torch.dtype) -> Tensor:
    """An additive mask (1, 1, S, S) that hides nothing and takes no memory.

    Given none, a model would make one from positions that start anew.
    """
    return torch.zeros((), dtype=dtype).expand(1, 1, width, width)


_Place = tuple[slice, slice, slice]


def _parts(
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


class _Attention(torch.autograd.Function):
    """softmax(s·Q Kᵀ + mask) V for R sequences of S tokens, H heads of queries and G of keys, G dividing H.

    With ``lengths_R``, R is 1 and the sequences lie one after another; the mask is still (R, 1, S, S).
    """

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
        for place, mask in _parts(q_R_H_S_d, mask_R_1_S_S, lengths_R):
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
        for place, mask in _parts(q_R_H_S_d, mask_R_1_S_S, ctx.lengths_R):
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


def _dual_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    mask_R_1_S_S: Tensor | None,
    causal: bool,
    scale: float,
    lengths_R: tuple[int, ...] | None,
) -> Tensor:
    """The value of ``_Attention`` and its tangent, from the same weights of attention, part by part."""
    duals = [forward_ad.unpack_dual(given) for given in (query, key, value)]
    values, changes = zip(*((x, torch.zeros_like(x) if dx is None else dx) for x, dx in duals), strict=True)
    out_R_H_S_d = _like(values[0], values[2])
    change_R_H_S_d = torch.empty_like(out_R_H_S_d)
    for place, mask in _parts(values[0], mask_R_1_S_S, lengths_R):
        (q, k, v), (dq, dk, dv) = ([one[place] for one in three] for three in (values, changes))
        rows_q, rows_dq = _grouped(q * scale, k), _grouped(dq * scale, k)
        weights = _weights(rows_q, k, _causal(q.shape[-2], q) if causal else mask)
        change = (rows_dq @ k.mT).add_(rows_q @ dk.mT)
        change = torch._softmax_backward_data(change, weights, -1, weights.dtype)  # softmax's is symmetric
        shape = (*q.shape[:-1], v.shape[-1])
        out_R_H_S_d[place] = (weights @ v).view(shape)
        change_R_H_S_d[place] = (change @ v).add_(weights @ dv).view(shape)
    dual: Tensor = forward_ad.make_dual(out_R_H_S_d, change_R_H_S_d)
    return dual


def _causal(width: int, like: Tensor) -> Tensor:
    hidden = torch.ones(width, width, dtype=torch.bool, device=like.device).triu(1)
    return torch.zeros_like(hidden, dtype=like.dtype).masked_fill_(hidden, -torch.inf)[None, None]
